"""One client's stream: sound in, scores and detections out. docs/serve.md describes what is said."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Literal

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from earmark.audio.clip import Encoding, Samples, decode_pcm
from earmark.audio.reading import RATES, as_mono, is_rate
from earmark.errors import EarmarkError
from earmark.front_end.frames import Frames
from earmark.recognizer.decisions import Detection, ScoredWindow
from earmark.recognizer.recognizer import Recognizer
from earmark.serving.options import Start
from earmark.web.answers import close, what_is_wrong
from earmark.web.batching import Scorer
from earmark.web.hearing import Hearing, Watching
from earmark.web.metrics import Metrics

WATCHED_SECONDS = 1.0  # how often streams are looked at
STOPPING_SECONDS = 2.0  # that all clients together have to read that the server stops
MESSAGE_SECONDS = 1  # of sound that a message may hold
STOPPING = "The server is stopping: connect again later."


class ProtocolError(Exception):
    """The client sent what can't be understood."""


class GoneError(Exception):
    """The client has gone."""


class Streams:
    """The live streams of one server.

    Args:
        recognizer: what they hear by.
        scorer: what scores them.
        metrics: where they are counted.
        most: how many may be open at once.
        slow_seconds: a client that reads nothing for so long, while there is something to read, is let go.
        idle_seconds: one that sends nothing for so long is, too.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        scorer: Scorer,
        metrics: Metrics,
        *,
        most: int,
        slow_seconds: float,
        idle_seconds: float,
    ) -> None:
        self.recognizer, self.scorer, self.metrics = recognizer, scorer, metrics
        self.slow_seconds, self.idle_seconds = slow_seconds, idle_seconds
        self._most = most
        self._open: set[Stream] = set()
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a client until it has ended its stream, is gone, or has to be let go."""
        await websocket.accept()
        if self._is_stopping:
            await close(websocket, 1001, STOPPING, message=True)
            return
        if len(self._open) >= self._most:
            self.metrics.dropped.labels("full").inc()
            reason = f"The server has all {self._most} streams that it takes: try again later."
            await close(websocket, 1013, reason, message=True)
            return
        stream = Stream(self, websocket)
        self._open.add(stream)
        self.metrics.open.inc()
        self.metrics.streams.inc()
        try:
            await stream.run()
        finally:
            self._open.discard(stream)
            self.metrics.open.dec()

    async def watch(self) -> None:
        """Let go of clients that don't read what they are sent, or send nothing, for ever."""
        while True:
            await asyncio.sleep(WATCHED_SECONDS)
            now = time.monotonic()
            for stream in list(self._open):
                stream.check(now)

    async def end(self) -> None:
        """End all of them, as the server does; who comes back meanwhile is sent away, too."""
        self._is_stopping = True
        for stream in list(self._open):
            stream.drop("stopped", 1001, STOPPING)
        until = time.monotonic() + STOPPING_SECONDS
        while self._open and time.monotonic() < until:
            await asyncio.sleep(0.01)


class Stream:
    """One of them.

    Each chunk is answered before the next is taken in: who sends faster than the server hears, or doesn't read, is
    held up by the network itself, and nobody else is.

    Args:
        streams: what it shares with others.
        websocket: the connection, accepted.
    """

    def __init__(self, streams: Streams, websocket: WebSocket) -> None:
        self._streams, self._websocket = streams, websocket
        self._state: Literal["receiving", "working", "sending"] = "working"
        self._since = 0.0  # when that began, in `time.monotonic`
        self._work: asyncio.Task[None] | None = None
        self._dropped: tuple[int, str] | None = None
        self._detections = 0
        self._unsent: list[dict[str, Any]] = []  # detections

    async def run(self) -> None:
        """Serve the client."""
        self._work = asyncio.create_task(self._serve())
        try:
            await asyncio.wait({self._work})
            await self._end(self._work)
        finally:
            self._work.cancel()
            # Its error holds the frames, those hold the stream, and it the work: a circle, which Python lets go of
            # minutes later, with all that hears.
            self._work = None

    def check(self, now: float) -> None:
        """Drop it if it has been stuck for too long."""
        waited, slow, idle = now - self._since, self._streams.slow_seconds, self._streams.idle_seconds
        if self._state == "sending" and waited > slow:
            self.drop("slow", 1013, f"The client has not read its messages for {slow:g} s.")
        elif self._state == "receiving" and waited > idle:
            self.drop("idle", 1001, f"The client has sent nothing for {idle:g} s.")

    def drop(self, kind: str, code: int, reason: str) -> None:
        """End it from the server's side."""
        if self._dropped is None and self._work is not None:
            self._dropped = (code, reason)
            self._streams.metrics.dropped.labels(kind).inc()
            self._work.cancel()

    async def _end(self, work: asyncio.Task[None]) -> None:
        """Close the connection, and say why."""
        if work.cancelled():
            if self._dropped is not None:
                await close(self._websocket, *self._dropped, message=True)
            return
        error = work.exception()
        if isinstance(error, (ProtocolError, EarmarkError)):
            self._streams.metrics.dropped.labels("protocol").inc()
            await close(self._websocket, 1008, str(error), message=True)
        elif error is not None and not isinstance(error, (GoneError, WebSocketDisconnect)):
            self._streams.metrics.dropped.labels("failed").inc()
            await close(self._websocket, 1011, "The server met an error of its own.", message=True)
            raise error

    async def _serve(self) -> None:
        start = await self._receive_start()
        recognizer = self._streams.recognizer
        hearing = self._hearing(start)
        front_end = recognizer.front_end.stream(int(start.sample_rate))
        decoder = _Decoder(start)
        window = {"window_seconds": recognizer.params.window_ms / 1000}
        hop = recognizer.hop_frames(start.overlap_factor) * recognizer.front_end.frame_seconds
        await self._send({"type": "ready", "labels": recognizer.labels, **window, "hop_seconds": hop})
        while (data := await self._receive_sound()) is not None:
            began = time.monotonic()
            samples = decoder.decode(data)
            windows = await self._hear(hearing, front_end.process(samples), start.scores)
            self._streams.metrics.chunks.inc()
            self._streams.metrics.audio.inc(len(samples) / decoder.sample_rate)
            if windows:
                self._streams.metrics.latency.observe(time.monotonic() - began)
        await self._hear(hearing, front_end.finish(), start.scores)
        hearing.finish()
        await self._send_detections()
        await self._send({"type": "ended", "seconds": decoder.seconds})
        await close(self._websocket, 1000, "The stream has ended.")

    async def _receive_start(self) -> Start:
        message = await self._receive()
        text = message.get("text")
        if text is None:
            raise ProtocolError("Say start before the first sound.")
        try:
            start = Start.model_validate_json(text)
        except ValidationError as error:
            raise ProtocolError(what_is_wrong("The start message", error.errors())) from error
        if not is_rate(start.sample_rate):
            raise ProtocolError(f"sample_rate must be from {RATES.start} to {RATES.stop - 1} Hz.")
        return start

    def _hearing(self, start: Start) -> Hearing | Watching:
        streams = self._streams
        decisions = start.decisions(streams.recognizer, start.label_thresholds)
        overlap = start.overlap_factor
        if not start.scores:
            return Watching(streams.scorer, streams.recognizer, decisions, self._note, overlap_factor=overlap)
        wanted = decisions if start.detections else None
        return Hearing(streams.scorer, streams.recognizer, wanted, self._note, overlap_factor=overlap)

    async def _hear(self, hearing: Hearing | Watching, frames: Frames, scores: bool) -> list[ScoredWindow]:
        windows = await hearing.process(frames)
        if windows and scores:
            await self._send({"type": "scores", "windows": [_told(window) for window in windows]})
        await self._send_detections()
        return windows

    def _note(self, detection: Detection, is_new: bool, has_ended: bool) -> None:
        self._detections += is_new
        state = "ended" if has_ended else "begun" if is_new else "grown"
        heard = {key: getattr(detection, key) for key in ("label", "score", "start", "end")}
        self._unsent.append({"type": "detection", "detection": self._detections, "state": state, **heard})

    async def _send_detections(self) -> None:
        for message in self._unsent:
            await self._send(message)
        self._unsent.clear()

    async def _receive_sound(self) -> bytes | None:
        """The next message of sound; None where the stream ends."""
        message = await self._receive()
        data: bytes | None = message.get("bytes")
        if data is not None:
            return data
        try:
            command = json.loads(message.get("text") or "")
        except (ValueError, RecursionError) as error:
            raise ProtocolError("The message is not JSON.") from error
        if not isinstance(command, dict) or command.get("type") != "end":
            raise ProtocolError("After start come binary messages of sound, and end.")
        return None

    async def _receive(self) -> dict[str, Any]:
        self._state, self._since = "receiving", time.monotonic()
        message = await self._websocket.receive()
        self._state = "working"
        if message["type"] == "websocket.disconnect":
            raise GoneError
        return dict(message)

    async def _send(self, message: dict[str, Any]) -> None:
        self._state, self._since = "sending", time.monotonic()
        try:
            await self._websocket.send_text(json.dumps(message, separators=(",", ":")))
        except RuntimeError as error:  # the connection was closed meanwhile
            raise GoneError from error
        self._state = "working"


class _Decoder:
    """A stream's sound from bytes, cut anywhere, to mono samples."""

    def __init__(self, start: Start) -> None:
        self.sample_rate = int(start.sample_rate)
        self._encoding: Encoding = start.encoding
        self._channels = start.channels
        self._step = (2 if start.encoding == "s16le" else 4) * start.channels
        self._rest = b""
        self._samples = 0

    @property
    def seconds(self) -> float:
        """How much sound has come."""
        return self._samples / self.sample_rate

    def decode(self, data: bytes) -> Samples:
        """The samples that the next bytes complete, shape [samples].

        Raises:
            ProtocolError: more than a message may hold.
            EarmarkError: one is not a finite number.
        """
        if len(data) > MESSAGE_SECONDS * self.sample_rate * self._step:
            raise ProtocolError("The message holds more than a second of sound: send shorter ones.")
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % self._step
        self._rest = data[whole:]
        samples = as_mono(decode_pcm(data[:whole], self._encoding).reshape(-1, self._channels), "the sound")
        self._samples += len(samples)
        return samples


def _told(window: ScoredWindow) -> dict[str, Any]:
    return {"start": window.start, "end": window.end, "scores": window.scores.tolist()}
