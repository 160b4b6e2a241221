"""A page's live session: commands and chunks of sound in, messages out. docs/studio-protocol.md describes them."""

from __future__ import annotations

import asyncio
import json
import math
import re
import struct
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from earmark.audio.clip import Encoding, Samples, decode_pcm
from earmark.audio.sound_file import is_rate
from earmark.errors import EarmarkError
from earmark.recognizer.recognizer import WORDS_MODEL, Recognizer
from earmark.studio.live_sound import LiveSound
from earmark.studio.recorder import Recorder
from earmark.studio.state import Studio
from earmark.web.limits import Allowance
from earmark.web.session import Drop, LiveSession, ProtocolError

HEADER = struct.Struct("<IB3xd")  # a chunk's number, format, and time of capture
ENCODINGS: tuple[Encoding, ...] = ("s16le", "f32le")
PROJECT = "project"  # the protocol's name for the project's own model; other models go by their own names
COMMANDS_A_SECOND, COMMANDS_AT_ONCE = 50.0, 1_000.0  # per page: resending a hundred recordings takes two for each
UNSENT_MESSAGES = 2_000  # about 20 s of live messages: a page further behind is dropped


class Outbox:
    """A queue of messages to a page.

    Attributes:
        overflowed: set when the page is too far behind.
    """

    def __init__(self) -> None:
        self.overflowed = asyncio.Event()
        self._messages: asyncio.Queue[dict[str, Any] | bytes] = asyncio.Queue(UNSENT_MESSAGES)

    def put(self, message: dict[str, Any] | bytes) -> None:
        """Queue a message. A page too far behind is disconnected, and resends its recordings on its next connection."""
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self.overflowed.set()

    async def next(self) -> dict[str, Any] | bytes:
        """Wait for a message."""
        return await self._messages.get()

    def clear(self) -> None:
        """Discard all messages, and those still to come."""
        self._messages = asyncio.Queue(1)


class PageSession(LiveSession):
    """A connected page.

    Args:
        studio: what all pages share.
        websocket: the connection, not accepted yet.
    """

    def __init__(self, studio: Studio, websocket: WebSocket) -> None:
        super().__init__(studio.sessions, websocket)
        self._studio = studio
        self._outbox = Outbox()
        self._sound = LiveSound(studio.scoring, self._outbox.put)
        self._recorder = Recorder(studio, self._outbox.put)
        self._commands = Allowance(COMMANDS_A_SECOND, COMMANDS_AT_ONCE)

    async def run(self) -> None:
        try:
            await super().run()
        finally:  # a complete recording is saved even if its page has gone
            await self._recorder.wait_until_saved()

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        return [self._receive_all(), self._send_all(), self._drop_if_behind()]

    def free(self) -> None:
        self._sound.free()
        self._recorder.discard_all()
        self._outbox.clear()

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message for the page."""
        self._outbox.put(message)

    def use(self, recognizer: Recognizer | None) -> None:
        """If the page listens with the project's model, listen with this recognizer from now on."""
        self._sound.replace(PROJECT, recognizer)

    async def _receive_all(self) -> None:
        while True:
            message = await self.receive()
            if isinstance(message, bytes):
                await self._on_chunk(message)
            else:
                await self._on_command(message)

    async def _send_all(self) -> None:
        while True:
            await self.transmit(await self._outbox.next())

    async def _drop_if_behind(self) -> None:
        await self._outbox.overflowed.wait()
        self.drop(Drop.SLOW, "The page is too far behind the sound.")

    async def _on_command(self, text: str) -> None:
        if self._commands.take():
            raise ProtocolError("More messages than the studio takes in a second.")
        try:
            message = json.loads(text)
            kind = message["type"]
            if kind == "hello":
                self._sound.begin(_rate(message["sample_rate"]), int(message.get("next", 0)))
                self.send({"type": "ready"})
            elif kind == "listen":
                await self._listen(message)
            elif kind == "threshold":
                self._change_threshold(_number(message["probability_threshold"]))
            elif kind == "record":
                self._record(_recording_id(message), message)
            elif kind == "stop":
                self._recorder.stop(_recording_id(message), int(message["end"]))
            elif kind == "discard":
                self._recorder.discard(_recording_id(message))
            else:
                raise ProtocolError("Unknown message type.")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ProtocolError("Message not understood.") from error

    async def _listen(self, message: dict[str, Any]) -> None:
        """Start or stop listening. While the pretrained model loads, the page's sound waits."""
        on, model, threshold = bool(message["on"]), message.get("model", PROJECT), message.get("probability_threshold")
        if not isinstance(model, str):
            raise ProtocolError("Model not understood.")
        if threshold is not None:
            threshold = _number(threshold)
        self._check_hello()
        self._sound.stop_listening()
        recognizer = None
        try:
            recognizer = await self._recognizer(model)
            if on and recognizer is None:
                raise EarmarkError("There is no trained model yet: train first.")
            if on and recognizer is not None:
                self._sound.listen(model, recognizer, threshold)
        except EarmarkError as error:
            self.send({"type": "error", "error": str(error)})
        self._sound.tell_listening(model, recognizer)

    async def _recognizer(self, model: str) -> Recognizer | None:
        if model == PROJECT:
            return self._studio.recognizer
        if model == WORDS_MODEL:
            return await self._studio.words()
        raise EarmarkError(f"There is no model {model!r} to listen with: choose {PROJECT!r} or {WORDS_MODEL!r}.")

    def _change_threshold(self, value: float) -> None:
        try:
            self._sound.change_threshold(value)
        except EarmarkError as error:
            self.send({"type": "error", "error": str(error)})

    def _record(self, identity: str, message: dict[str, Any]) -> None:
        if self._recorder.takes(identity):
            label = message["label"]
            if not isinstance(label, str):
                raise ProtocolError("Label not understood.")
            self._recorder.begin(identity, label, _rate(message["sample_rate"]), int(message["first"]))

    async def _on_chunk(self, data: bytes) -> None:
        came = time.monotonic()
        self._check_hello()
        rate = self._sound.sample_rate
        number, samples, captured = _decode(data, rate)
        self._recorder.process(number, samples)
        if self._sound.is_new(number):
            windows = await self._sound.process(number, samples, captured)
            self.count(len(samples) / rate, bool(windows), came)

    def _check_hello(self) -> None:
        if not self._sound.sample_rate:
            raise ProtocolError("Say hello first.")


def _decode(data: bytes, rate: int) -> tuple[int, Samples, float]:
    """Decode a chunk into its number, its samples, and when the last of them was captured (ms since 1970)."""
    if len(data) < HEADER.size:
        raise ProtocolError("Chunk too short.")
    number, encoding, captured = HEADER.unpack_from(data)
    body = data[HEADER.size :]
    if encoding >= len(ENCODINGS) or len(body) % (2 if encoding == 0 else 4):
        raise ProtocolError("Chunk format unknown.")
    samples = decode_pcm(body, ENCODINGS[encoding])
    if len(samples) > rate:
        raise ProtocolError("Chunk longer than a second.")
    if not (math.isfinite(captured) and np.isfinite(samples).all()):
        raise ProtocolError("Samples or their time are not finite.")
    return number, samples, captured


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
