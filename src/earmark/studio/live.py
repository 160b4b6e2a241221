"""One page's live connection: sound in; spectrogram, scores and saved recordings out."""

from __future__ import annotations

import asyncio
import json
import math
import re
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.websockets import WebSocket, WebSocketDisconnect

from earmark.audio.clip import Clip, Encoding, Samples, as_clip, decode_pcm
from earmark.audio.reading import is_rate
from earmark.clips.settings import WORDS_MODE
from earmark.errors import EarmarkError
from earmark.front_end.examples import SOUND_FRAMES, example_count
from earmark.front_end.spectrogram import Spectrogram, StreamingSpectrogram
from earmark.recognizer.decisions import Detection, ScoredWindow
from earmark.recognizer.recognizer import WORDS_MODEL, Recognizer
from earmark.studio.hearing import PageHearing
from earmark.studio.state import RECORDING_SECONDS, Studio
from earmark.web.answers import close
from earmark.web.limits import Allowance

HEADER = struct.Struct("<IB3xd")  # a chunk's number, format, time of capture
HEARD_HEADER = struct.Struct("<IfHHHxx")  # first frame's index, peak level; how many frames, windows and labels
WINDOW_HEADER = struct.Struct("<dd")  # a window's end in the stream, and when that was captured
ENCODINGS: tuple[Encoding, ...] = ("s16le", "f32le")
PROJECT = "project"  # the model of the project itself, as the protocol calls it; any other goes by its own name
PICTURE_FLOOR, PICTURE_RANGE = -120.0, 100.0  # dB; a byte of a picture spans them
HELD_SECONDS = 20 * RECORDING_SECONDS  # of all unfinished recordings of one page
HELD_RECORDINGS = 100
MOST_PAGES = 32  # at a time
COMMANDS_A_SECOND, COMMANDS_AT_ONCE = 50.0, 1_000.0  # of a page: a hundred recordings are sent again by two each
# Live sound that a page may send: it lasts as long as it takes, but for what a busy network held up.
SOUND_RATE, SOUND_AT_ONCE = 2.0, 180.0  # seconds a second, and seconds
UNSENT_MESSAGES = 2_000  # about 20 s of live messages: a page that far behind is let go


class ProtocolError(Exception):
    """The page sent what the protocol doesn't know."""


@dataclass
class Recording:
    """A recording under way: chunks first ≤ number < end, in whatever order they come, each once."""

    label: str
    sample_rate: int
    first: int
    is_one_example: bool
    end: int | None = None
    chunks: dict[int, Samples] = field(default_factory=dict)
    samples: int = 0

    def wants(self, number: int) -> bool:
        return self.first <= number and (self.end is None or number < self.end) and number not in self.chunks

    def complete(self) -> bool:
        return self.end is not None and len(self.chunks) >= self.end - self.first

    def examples(self) -> int:
        """How many it would count now; see `Project.examples_in`."""
        windows = example_count(self.samples, self.sample_rate, SOUND_FRAMES)
        return min(1, windows) if self.is_one_example else windows

    def clip(self) -> Clip:
        chunks = (self.chunks[number] for number in sorted(self.chunks))
        return as_clip(np.concatenate([np.zeros(0, np.float32), *chunks]), self.sample_rate, "the recording")


class LiveSession:
    """A connected page.

    Args:
        studio: what it shares with other pages.
        websocket: the connection, not accepted yet.
    """

    def __init__(self, studio: Studio, websocket: WebSocket) -> None:
        self._studio, self._websocket = studio, websocket
        self._outgoing: asyncio.Queue[dict[str, Any] | bytes] = asyncio.Queue(UNSENT_MESSAGES)
        self._front_end: StreamingSpectrogram | None = None
        self._rate = 0
        self._next = 0  # the live stream's next chunk
        self._shown = 0  # frames since the page connected
        self._frames = 0  # frames, and
        self._seconds = 0.0  # seconds of sound, since the live stream began anew
        self._behind = asyncio.Event()
        self._began = 0.0  # when its first sample was captured, in ms since 1970
        self._hearing: PageHearing | None = None
        self._detections = 0  # told since the page connected
        self._recordings: dict[str, Recording] = {}
        self._saving: set[asyncio.Task[None]] = set()
        self._commands = Allowance(COMMANDS_A_SECOND, COMMANDS_AT_ONCE)
        self._sound = Allowance(SOUND_RATE, SOUND_AT_ONCE)

    async def run(self) -> None:
        """Serve the page until it goes, or breaks the protocol, or falls too far behind."""
        await self._websocket.accept()
        if len(self._studio.sessions) >= MOST_PAGES:
            self._studio.metrics.dropped.labels("full").inc()
            await close(self._websocket, 1013, f"{MOST_PAGES} pages are open already: close one of them.")
            return
        self._studio.sessions.add(self)
        self._studio.metrics.open.inc()
        self._studio.metrics.streams.inc()
        work = {asyncio.create_task(part) for part in (self._receive_all(), self._send_all(), self._behind.wait())}
        try:
            ended, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            await self._close(ended)
        finally:
            self._studio.sessions.discard(self)
            self._studio.metrics.open.dec()
            for task in work:
                task.cancel()
            self._let_go()
            if self._saving:  # a recording that is complete gets saved, whether or not its page still waits
                await asyncio.wait(self._saving)

    def send(self, message: dict[str, Any] | bytes) -> None:
        """Queue a message; a page too far behind loses its connection, and resends on the next."""
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self._behind.set()

    def use(self, recognizer: Recognizer | None) -> None:
        """Listen with this recognizer from now on, if the page listens with the project's."""
        if self._hearing is not None and self._hearing.model == PROJECT:
            threshold = self._hearing.probability_threshold
            self._end_hearing()
            if recognizer is not None:
                self._hear(PROJECT, recognizer, threshold)
            self._tell_listening(PROJECT, recognizer)

    def _let_go(self) -> None:
        """Free at once what is large: what hears tells this session, which holds it, and such a circle stays in memory
        until Python looks for those, which a busy server does once in minutes."""
        self._front_end = self._hearing = None
        self._recordings.clear()
        self._outgoing = asyncio.Queue(1)

    async def _close(self, ended: set[asyncio.Task[Any]]) -> None:
        """Say why, unless it was the page that went."""
        for error in (task.exception() for task in ended):
            if isinstance(error, ProtocolError):
                self._studio.metrics.dropped.labels("protocol").inc()
                await close(self._websocket, 1008, str(error))
            elif error is not None and not isinstance(error, WebSocketDisconnect):
                self._studio.metrics.dropped.labels("failed").inc()
                await close(self._websocket, 1011, "The server met an error of its own.")
                raise error
        if self._behind.is_set():
            self._studio.metrics.dropped.labels("slow").inc()
            await close(self._websocket, 1013, "The page is too far behind the sound.")

    async def _receive_all(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                await self._on_chunk(message["bytes"])
            else:
                await self._on_command(message.get("text") or "")

    async def _send_all(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                if isinstance(message, bytes):
                    await self._websocket.send_bytes(message)
                else:
                    await self._websocket.send_text(json.dumps(message, separators=(",", ":")))
            except RuntimeError:  # the connection was closed meanwhile
                return

    # Commands

    async def _on_command(self, text: str) -> None:
        if self._commands.take():
            raise ProtocolError("More messages than the studio takes in a second.")
        try:
            message = json.loads(text)
            kind = message["type"]
            if kind == "hello":
                self._hello(_rate(message["sample_rate"]), int(message.get("next", 0)))
            elif kind == "listen":
                await self._listen(message)
            elif kind == "threshold":
                self._change_threshold(_number(message["probability_threshold"]))
            elif kind == "record":
                self._record(_recording_id(message), message)
            elif kind == "stop":
                self._stop(_recording_id(message), int(message["end"]))
            elif kind == "discard":
                self._recordings.pop(_recording_id(message), None)
            else:
                raise ProtocolError("Unknown message type.")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ProtocolError("Message not understood.") from error

    def _hello(self, sample_rate: int, number: int) -> None:
        self._rate, self._next = sample_rate, number
        self._restart()
        self.send({"type": "ready"})

    async def _listen(self, message: dict[str, Any]) -> None:
        """Start or stop; the page's sound waits here for the moment in which the pretrained model is loaded."""
        on, model, threshold = bool(message["on"]), message.get("model", PROJECT), message.get("probability_threshold")
        if not isinstance(model, str):
            raise ProtocolError("Model not understood.")
        if threshold is not None:
            threshold = _number(threshold)
        if self._front_end is None:
            raise ProtocolError("Say hello first.")
        self._end_hearing()
        recognizer = None
        try:
            recognizer = await self._recognizer(model)
            if on and recognizer is None:
                raise EarmarkError("There is no trained model yet: train first.")
            if on and recognizer is not None:
                self._hear(model, recognizer, threshold)
        except EarmarkError as error:
            self.send({"type": "error", "error": str(error)})
        self._tell_listening(model, recognizer)

    async def _recognizer(self, model: str) -> Recognizer | None:
        if model == PROJECT:
            return self._studio.recognizer
        if model == WORDS_MODEL:
            return await self._studio.words()
        raise EarmarkError(f"There is no model {model!r} to listen with: choose {PROJECT!r} or {WORDS_MODEL!r}.")

    def _hear(self, model: str, recognizer: Recognizer, threshold: float | None) -> None:
        self._hearing = PageHearing(
            model, self._studio.scorer, recognizer, threshold, self._tell_detection,
            sample_rate=self._rate, first_frame=self._frames, seconds=self._seconds,
        )  # fmt: skip

    def _end_hearing(self) -> None:
        if self._hearing is not None:
            self._hearing.finish()
        self._hearing = None

    def _change_threshold(self, value: float) -> None:
        if self._hearing is None:
            return  # it came after the listening had ended
        try:
            self._hearing.probability_threshold = value
        except EarmarkError as error:
            self.send({"type": "error", "error": str(error)})

    def _tell_listening(self, model: str, recognizer: Recognizer | None) -> None:
        labels = list(recognizer.labels) if recognizer else []
        self.send({"type": "listening", "on": self._hearing is not None, "model": model, "labels": labels})

    def _tell_detection(self, detection: Detection, is_new: bool, has_ended: bool) -> None:
        self._detections += is_new
        heard = {key: getattr(detection, key) for key in ("label", "score", "start", "end")}
        told = {"type": "detection", "detection": self._detections, **heard, "ended": has_ended}
        self.send({**told, "captured": self._captured(detection.end)})

    def _record(self, identity: str, message: dict[str, Any]) -> None:
        if (clip := self._studio.saved(identity)) is not None:
            self.send({"type": "saved", "recording": identity, "clip": clip})
        elif len(self._recordings) >= HELD_RECORDINGS:
            self._refuse(identity, f"More than {HELD_RECORDINGS} recordings are under way: wait for them to be saved.")
        else:
            label = message["label"]
            if not isinstance(label, str):
                raise ProtocolError("Label not understood.")
            is_one_example = self._studio.project.mode == WORDS_MODE
            rate, first = _rate(message["sample_rate"]), int(message["first"])
            self._recordings[identity] = Recording(label, rate, first, is_one_example)

    def _stop(self, identity: str, end: int) -> None:
        recording = self._recordings.get(identity)
        if recording is not None:
            recording.end = end
            recording.chunks = {number: chunk for number, chunk in recording.chunks.items() if number < end}
            recording.samples = sum(map(len, recording.chunks.values()))
            self._save_if_complete(identity, recording)

    # Sound

    async def _on_chunk(self, data: bytes) -> None:
        came = time.monotonic()
        number, samples, captured = self._decode(data)
        for identity, recording in list(self._recordings.items()):
            if recording.wants(number):
                self._keep(identity, recording, number, samples)
        if number < self._next:
            return  # sent again for a recording; the live stream had it
        if self._sound.take(len(samples) / self._rate):
            raise ProtocolError("Sound comes faster than it lasts.")
        if number > self._next:
            self._restart()
        self._next = number + 1
        assert self._front_end is not None
        frames = self._front_end.process(samples)
        self._seconds += len(samples) / self._rate
        self._began = captured - 1000 * self._seconds
        # Counted before the scores are in: meanwhile another model may take over, and hear what comes after these.
        first = self._shown
        self._frames += len(frames)
        self._shown += len(frames)
        windows = await self._hearing.process(frames, samples) if self._hearing is not None else []
        if len(frames) or windows:
            self.send(self._heard(first, frames, samples, windows))
        self._count(samples, windows, came)

    def _count(self, samples: Samples, windows: list[ScoredWindow], came: float) -> None:
        metrics = self._studio.metrics
        metrics.chunks.inc()
        metrics.audio.inc(len(samples) / self._rate)
        if windows:
            metrics.latency.observe(time.monotonic() - came)

    def _decode(self, data: bytes) -> tuple[int, Samples, float]:
        if self._front_end is None:
            raise ProtocolError("Say hello first.")
        if len(data) < HEADER.size:
            raise ProtocolError("Chunk too short.")
        number, encoding, captured = HEADER.unpack_from(data)
        body = data[HEADER.size :]
        if encoding >= len(ENCODINGS) or len(body) % (2 if encoding == 0 else 4):
            raise ProtocolError("Chunk format unknown.")
        samples = decode_pcm(body, ENCODINGS[encoding])
        if len(samples) > self._rate:
            raise ProtocolError("Chunk longer than a second.")
        if not (math.isfinite(captured) and np.isfinite(samples).all()):
            raise ProtocolError("Samples or their time are not finite.")
        return number, samples, captured

    def _restart(self) -> None:
        """Begin anew after a gap: frames must not join what lies on its two sides."""
        self._front_end = StreamingSpectrogram(self._rate)
        hearing = self._hearing
        self._end_hearing()
        self._frames, self._seconds = 0, 0.0
        if hearing is not None:
            self._hear(hearing.model, hearing.recognizer, hearing.probability_threshold)

    def _captured(self, seconds: float) -> float:
        """When this moment of the live stream was captured, in ms since 1970."""
        return self._began + 1000 * seconds

    def _heard(self, first: int, frames: Spectrogram, samples: Samples, windows: list[ScoredWindow]) -> bytes:
        """What the page shows of a chunk. One message for all of it: at 43 a second, each one costs."""
        peak = 20 * math.log10(max(float(np.abs(samples).max(initial=0)), 1e-8))
        labels = len(windows[0].scores) if windows else 0
        parts = [HEARD_HEADER.pack(first & 0xFFFFFFFF, peak, len(frames), len(windows), labels)]
        for window in windows:
            parts.append(WINDOW_HEADER.pack(window.end, self._captured(window.end)))
            parts.append(window.scores.astype("<f4").tobytes())
        return b"".join([*parts, picture(frames).tobytes()])

    # Recordings

    def _keep(self, identity: str, recording: Recording, number: int, samples: Samples) -> None:
        held = sum(other.samples / other.sample_rate for other in self._recordings.values())
        longest = RECORDING_SECONDS * recording.sample_rate
        if recording.samples + len(samples) > longest + recording.sample_rate or held > HELD_SECONDS:
            self._refuse(identity, f"A recording can last at most {RECORDING_SECONDS} s: record it in parts.")
            return
        recording.chunks[number] = samples
        recording.samples += len(samples)
        self.send({"type": "recording", "recording": identity, "examples": recording.examples()})
        self._save_if_complete(identity, recording)

    def _save_if_complete(self, identity: str, recording: Recording) -> None:
        if recording.complete():
            del self._recordings[identity]
            task = asyncio.create_task(self._save(identity, recording))
            self._saving.add(task)
            task.add_done_callback(self._saving.discard)

    async def _save(self, identity: str, recording: Recording) -> None:
        try:
            # Off the event loop: a minute of sound is long enough to hold up everybody's live sound.
            clip = await asyncio.to_thread(recording.clip)
            saved = await self._studio.save(identity, recording.label, clip)
            self.send({"type": "saved", "recording": identity, "clip": saved})
        except EarmarkError as error:
            self._refuse(identity, str(error))
        except Exception:
            self._refuse(identity, "The studio met an error of its own: its terminal tells more.")
            raise

    def _refuse(self, identity: str, error: str) -> None:
        self._recordings.pop(identity, None)
        self.send({"type": "refused", "recording": identity, "error": error})


def picture(frames: Spectrogram) -> npt.NDArray[np.uint8]:
    """Frames as bytes for a picture: −120 dB is 0, −20 dB is 255."""
    scaled = (frames - np.float32(PICTURE_FLOOR)) * np.float32(255 / PICTURE_RANGE)
    return scaled.clip(0, 255).astype(np.uint8)


def _rate(value: object) -> int:
    if not isinstance(value, (int, float)) or not is_rate(value):
        raise ProtocolError("Sample rate not supported.")
    return int(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProtocolError("Probability threshold not understood.")
    return value


def _recording_id(message: dict[str, Any]) -> str:
    identity = message["recording"]
    if not isinstance(identity, str) or not re.fullmatch("[a-z0-9]{8}", identity):
        raise ProtocolError("Recording id not understood.")
    return identity
