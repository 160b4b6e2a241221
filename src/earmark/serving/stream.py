"""One client's stream: sound in, scores and detections out. docs/serve.md describes the messages."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from typing import Any, Literal

from pydantic import ValidationError
from starlette.websockets import WebSocket

from earmark.audio.clip import Encoding, Samples, decode_pcm
from earmark.audio.sound_file import RATES, as_mono, is_rate
from earmark.errors import EarmarkError
from earmark.front_end.frames import Frames
from earmark.recognizer.decisions import Detection, ScoredWindow, as_dict
from earmark.recognizer.recognizer import Recognizer
from earmark.serving.options import Start
from earmark.web.answers import what_is_wrong
from earmark.web.batching import ScoringThread
from earmark.web.hearing import DetectionHearing, Hearing, ScoreHearing
from earmark.web.metrics import Metrics
from earmark.web.session import Drop, LiveSession, ProtocolError, Sessions

WATCHED_SECONDS = 1.0  # how often streams are checked
STOPPING_SECONDS = 2.0  # how long all clients together have to read that the server stops
MESSAGE_SECONDS = 1  # the most sound in one message
STOPPING = "The server is stopping: connect again later."


class Streams(Sessions["Stream"]):
    """The live streams of one server.

    Args:
        recognizer: the recognizer of all streams.
        scoring: the thread that scores all streams.
        metrics: where streams are counted.
        most: how many may be open at once.
        slow_seconds: how long a client may leave a message unread before it is dropped.
        idle_seconds: how long a client may send nothing before it is dropped.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        scoring: ScoringThread,
        metrics: Metrics,
        *,
        most: int,
        slow_seconds: float,
        idle_seconds: float,
    ) -> None:
        super().__init__(metrics, most, f"The server has all {most} streams that it takes: try again later.")
        self.recognizer, self.scoring = recognizer, scoring
        self.slow_seconds, self.idle_seconds = slow_seconds, idle_seconds
        self._is_stopping = False

    def refusal(self) -> tuple[Drop, str] | None:
        return (Drop.STOPPED, STOPPING) if self._is_stopping else super().refusal()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a client until it has ended its stream, has gone, or must be dropped."""
        await Stream(self, websocket).run()

    async def watch(self) -> None:
        """Run for ever, and drop clients that don't read their messages or that send nothing."""
        while True:
            await asyncio.sleep(WATCHED_SECONDS)
            now = time.monotonic()
            for stream in self:
                stream.check(now)

    async def end(self) -> None:
        """End all streams as the server stops. Clients that reconnect meanwhile are refused."""
        self._is_stopping = True
        for stream in self:
            stream.drop(Drop.STOPPED, STOPPING)
        until = time.monotonic() + STOPPING_SECONDS
        while len(self) and time.monotonic() < until:
            await asyncio.sleep(0.01)


class Stream(LiveSession):
    """One live stream.

    Each chunk is answered before the next one is read. So a client that sends too fast, or doesn't read, is slowed
    down by the network's own flow control, and no other client is.

    Args:
        streams: the server's streams, with what they share.
        websocket: the connection, not accepted yet.
    """

    tells_why = True

    def __init__(self, streams: Streams, websocket: WebSocket) -> None:
        super().__init__(streams, websocket)
        self._streams = streams
        self._state: Literal["receiving", "working", "sending"] = "working"
        self._since = 0.0  # when this state began, by `time.monotonic`
        self._detections = 0
        self._unsent: list[dict[str, Any]] = []  # messages of detections

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        return [self._serve()]

    def check(self, now: float) -> None:
        """Drop the stream if it has been stuck for too long."""
        waited, slow, idle = now - self._since, self._streams.slow_seconds, self._streams.idle_seconds
        if self._state == "sending" and waited > slow:
            self.drop(Drop.SLOW, f"The client has not read its messages for {slow:g} s.")
        elif self._state == "receiving" and waited > idle:
            self.drop(Drop.IDLE, f"The client has sent nothing for {idle:g} s.")

    async def receive(self) -> str | bytes:
        self._state, self._since = "receiving", time.monotonic()
        message = await super().receive()
        self._state = "working"
        return message

    async def transmit(self, message: dict[str, Any] | bytes) -> None:
        self._state, self._since = "sending", time.monotonic()
        await super().transmit(message)
        self._state = "working"

    async def _serve(self) -> None:
        """Read the start message, then sound. Unusable options and samples count as protocol errors too."""
        try:
            start = await self._receive_start()
            await self._answer(start, self._hearing(start))
        except EarmarkError as error:
            raise ProtocolError(str(error)) from error

    async def _answer(self, start: Start, hearing: Hearing) -> None:
        recognizer = self._streams.recognizer
        front_end = recognizer.front_end.stream(int(start.sample_rate))
        decoder = _Decoder(start)
        window = {"window_seconds": recognizer.params.window_ms / 1000}
        hop = recognizer.hop_frames(start.overlap_factor) * recognizer.front_end.frame_seconds
        await self.transmit({"type": "ready", "labels": recognizer.labels, **window, "hop_seconds": hop})
        while (data := await self._receive_sound()) is not None:
            came = time.monotonic()
            samples = decoder.decode(data)
            windows = await self._hear(hearing, front_end.process(samples), start.scores)
            self.count(len(samples) / decoder.sample_rate, bool(windows), came)
        await self._hear(hearing, front_end.finish(), start.scores)
        hearing.finish()
        await self._send_detections()
        await self.transmit({"type": "ended", "seconds": decoder.seconds})
        await self.close(1000, "The stream has ended.")

    async def _receive_start(self) -> Start:
        message = await self.receive()
        if isinstance(message, bytes):
            raise ProtocolError("Say start before the first sound.")
        try:
            start = Start.model_validate_json(message)
        except ValidationError as error:
            raise ProtocolError(what_is_wrong("The start message", error.errors())) from error
        if not is_rate(start.sample_rate):
            raise ProtocolError(f"sample_rate must be from {RATES.start} to {RATES.stop - 1} Hz.")
        return start

    def _hearing(self, start: Start) -> Hearing:
        recognizer, scoring = self._streams.recognizer, self._streams.scoring
        decisions = start.decisions(recognizer, start.label_thresholds)
        overlap = start.overlap_factor
        if not start.scores:
            return DetectionHearing(scoring, recognizer, decisions, self._note, overlap_factor=overlap)
        wanted = decisions if start.detections else None
        return ScoreHearing(scoring, recognizer, wanted, self._note, overlap_factor=overlap)

    async def _hear(self, hearing: Hearing, frames: Frames, scores: bool) -> list[ScoredWindow]:
        windows = await hearing.process(frames)
        if windows and scores:
            await self.transmit({"type": "scores", "windows": [_told(window) for window in windows]})
        await self._send_detections()
        return windows

    def _note(self, detection: Detection, is_new: bool, has_ended: bool) -> None:
        self._detections += is_new
        state = "ended" if has_ended else "begun" if is_new else "grown"
        told = {"type": "detection", "detection": self._detections, "state": state, **as_dict(detection)}
        self._unsent.append(told)

    async def _send_detections(self) -> None:
        for message in self._unsent:
            await self.transmit(message)
        self._unsent.clear()

    async def _receive_sound(self) -> bytes | None:
        """Wait for the next message of sound; None at the end of the stream."""
        message = await self.receive()
        if isinstance(message, bytes):
            return message
        try:
            command = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise ProtocolError("The message is not JSON.") from error
        if not isinstance(command, dict) or command.get("type") != "end":
            raise ProtocolError("After start come binary messages of sound, and end.")
        return None


class _Decoder:
    """Decodes a stream's bytes, which may be split anywhere, into mono samples."""

    def __init__(self, start: Start) -> None:
        self.sample_rate = int(start.sample_rate)
        self._encoding: Encoding = start.encoding
        self._channels = start.channels
        self._step = (2 if start.encoding == "s16le" else 4) * start.channels
        self._rest = b""
        self._samples = 0

    @property
    def seconds(self) -> float:
        """The duration of the sound so far."""
        return self._samples / self.sample_rate

    def decode(self, data: bytes) -> Samples:
        """Decode the samples that the next bytes complete, shape [samples].

        Raises:
            ProtocolError: the message holds too much sound.
            EarmarkError: a sample is not finite.
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
