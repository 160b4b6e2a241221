"""The clients of a soak: pages that listen and record, and live streams. Each leaves in one of four ways and returns.

Clean: it says goodbye. Reset: the network ends the connection. Stalled: it speaks on but reads nothing. Half open: it
neither speaks nor reads, as a phone whose network is gone.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import string
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import numpy as np
import numpy.typing as npt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests import sounds

CHUNK_SECONDS = 0.1
PAGE_RATE, STREAM_RATE = sounds.RATE, sounds.RATE // 3
SOUND_SECONDS = 20  # after which it begins again
RECORDING_CHUNKS = 8
GONE_SECONDS = 60.0  # that a client which is stalled or half open stays: longer than the server waits for it
WAYS = ("clean", "reset", "stalled", "half open")


class Client:
    """One client, which connects again and again until it is told to stop.

    Args:
        port: of the server.
        stays: seconds that a connection lasts, the shortest and the longest.
        seed: of all that is random.
        counts: of what happened, shared by all clients.
    """

    path = ""

    def __init__(self, port: int, stays: tuple[float, float], seed: int, counts: Counter[str]) -> None:
        self._address = f"ws://127.0.0.1:{port}{self.path}"
        self._port, self._stays, self._counts = port, stays, counts
        self._gone = min(GONE_SECONDS, stays[1])
        self._random = random.Random(seed)
        self._is_reading = True

    async def run(self, ends: asyncio.Event) -> None:
        """Come and go until then; whoever has gone by then is gone at once."""
        while not ends.is_set():
            try:
                async with connect(self._address, ping_interval=None, max_queue=None, close_timeout=5) as connection:
                    await self._stay(connection, ends)
            except (ConnectionClosed, OSError, asyncio.TimeoutError) as error:
                self._counts[f"lost: {error}"[:80]] += 1
            await _wait(ends, self._random.uniform(0.1, 1.0))

    async def _stay(self, connection: ClientConnection, ends: asyncio.Event) -> None:
        way = self._random.choice(WAYS)
        self._is_reading = True
        reading = asyncio.create_task(self._read(connection))
        self._counts["connections"] += 1
        try:
            await self._begin(connection)
            await self._speak(connection, ends, self._random.uniform(*self._stays))
            self._counts[way] += 1
            if way == "clean":
                await self._finish(connection)
                return
            if way != "reset":
                connection.transport.pause_reading()
            if way == "stalled":
                self._is_reading = False
                with suppress(ConnectionClosed):
                    await self._speak(connection, ends, self._gone)
            elif way == "half open":
                await _wait(ends, self._gone)
            reset(connection)
        finally:
            reading.cancel()
            if way != "clean":
                reset(connection)

    async def _speak(self, connection: ClientConnection, ends: asyncio.Event, seconds: float) -> None:
        """Send sound in real time."""
        began, number = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds and not ends.is_set():
            # A stalled server would hold the client up, and the client is to leave when it wants.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._send_chunk(connection), 5)
            number += 1
            await _wait(ends, max(0.0, number * CHUNK_SECONDS - passed))

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for message in connection:
                if isinstance(message, str):
                    await self._on_message(json.loads(message))
        except (ConnectionClosed, httpx.HTTPError) as error:
            self._counts[f"while reading: {error}"[:80]] += 1

    async def _begin(self, connection: ClientConnection) -> None:
        raise NotImplementedError

    async def _send_chunk(self, connection: ClientConnection) -> None:
        raise NotImplementedError

    async def _finish(self, connection: ClientConnection) -> None:
        await connection.close()

    async def _on_message(self, message: dict[str, object]) -> None:
        if message["type"] == "error":
            self._counts[f"error: {message['error']}"[:80]] += 1


class StreamClient(Client):
    """A program at `earmark serve`."""

    path = "/api/stream"

    async def _begin(self, connection: ClientConnection) -> None:
        self._sound, self._at = stream_sound(), 0
        start = {"type": "start", "sample_rate": STREAM_RATE, "scores": self._random.random() < 0.5}
        await connection.send(json.dumps(start))

    async def _send_chunk(self, connection: ClientConnection) -> None:
        size = 2 * int(STREAM_RATE * CHUNK_SECONDS)
        self._at = (self._at + size) % (len(self._sound) - size)
        await connection.send(self._sound[self._at : self._at + size])

    async def _finish(self, connection: ClientConnection) -> None:
        await connection.send('{"type": "end"}')
        await asyncio.wait_for(connection.wait_closed(), 30)


class PageClient(Client):
    """A page of the studio: it listens with the pretrained words, records now and then, and deletes that again."""

    path = "/api/live"

    async def _begin(self, connection: ClientConnection) -> None:
        self._sound, self._number, self._recording, self._until = page_sound(), 0, "", 0
        self._next_recording = time.monotonic() + self._random.uniform(0, 1) * self._stays[0] / 2
        await connection.send(json.dumps({"type": "hello", "sample_rate": PAGE_RATE}))
        listen = {"type": "listen", "on": True, "model": "words", "probability_threshold": 0.75}
        await connection.send(json.dumps(listen))

    async def _send_chunk(self, connection: ClientConnection) -> None:
        if not self._recording and time.monotonic() > self._next_recording and self._is_reading:
            self._recording = "".join(self._random.choices(string.ascii_lowercase + string.digits, k=8))
            self._until = self._number + RECORDING_CHUNKS
            named = {"type": "record", "recording": self._recording, "label": "Left"}
            await connection.send(json.dumps({**named, "sample_rate": PAGE_RATE, "first": self._number}))
        size = int(PAGE_RATE * CHUNK_SECONDS)
        at = self._number * size % (len(self._sound) - size)
        head = struct.pack("<IB3xd", self._number, 1, time.time() * 1000)
        await connection.send(head + self._sound[at : at + size].tobytes())
        self._number += 1
        if self._recording and self._number == self._until:
            await connection.send(json.dumps({"type": "stop", "recording": self._recording, "end": self._until}))

    async def _on_message(self, message: dict[str, object]) -> None:
        await super()._on_message(message)
        if message["type"] == "saved":
            self._recording = ""
            self._next_recording = time.monotonic() + self._random.uniform(0.5, 1.5) * self._stays[0]
            await self._delete(str(message["clip"]))
        elif message["type"] == "refused":
            self._counts[f"refused: {message['error']}"[:80]] += 1

    async def _delete(self, clip: str) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            answer = await client.delete(
                f"http://127.0.0.1:{self._port}/api/clips", params={"clip": clip}, headers={"X-Earmark": "studio"}
            )
        self._counts["recordings" if answer.status_code == 200 else f"not deleted: {answer.text}"[:80]] += 1


def reset(connection: ClientConnection) -> None:
    """End a connection by a reset, with no closing handshake."""
    lingering = connection.transport.get_extra_info("socket")
    if lingering is not None and lingering.fileno() >= 0:
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


async def everybody(clients: list[Client], seconds: float, meanwhile: Callable[[], Awaitable[None]]) -> None:
    """Run all clients for so long, and something beside them."""
    ends = asyncio.Event()
    running = [asyncio.create_task(client.run(ends)) for client in clients]
    beside = asyncio.create_task(_call(meanwhile))
    await asyncio.sleep(seconds)
    beside.cancel()
    ends.set()
    await asyncio.gather(*running)


async def _call(function: Callable[[], Awaitable[None]]) -> None:
    await function()


async def _wait(ends: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(ends.wait(), seconds)


def page_sound() -> npt.NDArray[np.float32]:
    """Murmur and whistles at 48 kHz, shape [samples]."""
    return np.tile(np.concatenate([sounds.murmur(1.5, 1), sounds.whistle(0.5, 2)]), SOUND_SECONDS // 2).astype("<f4")


def stream_sound() -> bytes:
    """The same at 16 kHz, as 16-bit samples."""
    return bytes((32_767 * page_sound()[::3]).astype("<i2").tobytes())
