"""How many live streams `earmark serve` holds, and what breaks first.

    python -m benchmarks.server [STREAMS] [SECONDS]

The server runs in a process of its own. The load comes over loopback from a second one, which sends each stream's
sound in real time, in chunks of 100 ms, each stream at a phase of its own; it speaks just enough WebSocket (RFC 6455)
to cost little, for the two share the machine. Latency is from sending a chunk to receiving the scores of the windows
that it completes; of streams that want detections alone, only what they cost is told. "Load late" is by how much the
load process missed the moment at which a chunk was due (p99). After the streams that were asked for, their number grows
until one answer in a hundred takes more than 100 ms. What broke first then is the event loop or the scoring thread,
where that is near 100 % of a core; else the machine, whose cores others had.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import statistics
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import psutil
import soxr

import earmark
from benchmarks.table import Claim, print_claims, print_table
from earmark.front_end.frames import Windows
from tests import sounds

CHUNK_SECONDS = 0.1
LIMIT_MS = 100  # of the p99
ROUNDS = 3  # of as many streams as were asked for; the claim is about their median
STEP = 100  # streams more at a time,
MOST_STREAMS = 2_000  # up to so many
WARM_UP = 3.0  # seconds that don't count
CONNECTING = 6.0  # seconds until the load process plays, about
START = {"type": "start", "encoding": "s16le", "detections": False}
HANDSHAKE = (
    b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
COLUMNS = ("streams", "p50 ms", "p95", "p99", "max", "load late", "loop %", "scorer %", "load %", "batch")


@dataclass
class Load:
    """What the load process is to do."""

    port: int
    streams: int
    seconds: float
    rate: int = 16_000
    start: dict[str, Any] = field(default_factory=dict)


class Client(asyncio.Protocol):
    """One live stream.

    Args:
        load: what to send.
        chunks: frames to send, one after the other, again and again.
        completing: which of a stream's chunks complete windows, in their order.
        begins: when the first chunk is due, in `time.monotonic`.
        counts_from: answers before that time don't count.
    """

    def __init__(
        self, load: Load, chunks: list[bytes], completing: list[int], begins: float, counts_from: float
    ) -> None:
        self._load, self._chunks, self._completing = load, chunks, completing
        self._begins, self._counts_from = begins, counts_from
        self._loop = asyncio.get_running_loop()
        self._held = b""
        self._is_open = False
        self._sent: list[float] = []
        self._answers = 0
        self.latencies: list[float] = []
        self.late: list[float] = []
        self.lost = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        held = self._held + data if self._held else data
        if not self._is_open:
            head, found, held = held.partition(b"\r\n\r\n")
            if not found:
                self._held = head
                return
            assert b" 101 " in head, head
            self._is_open = True
            self._transport.write(frame(1, json.dumps({**START, "sample_rate": self._load.rate, **self._load.start})))
            self._loop.call_later(self._begins - time.monotonic(), self._send)
        at = 0
        while len(held) - at >= 2:
            size, body = held[at + 1] & 127, at + 2
            if size == 126:
                size, body = int.from_bytes(held[at + 2 : at + 4], "big"), at + 4
            if len(held) < body + size:
                break
            self._take(held[at] & 15, held[body : body + size], now)
            at = body + size
        self._held = held[at:]

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = self.lost or f"connection lost ({error})"

    def _take(self, kind: int, body: bytes, now: float) -> None:
        if kind == 8:
            self.lost = body[2:].decode()
        elif kind == 9:
            self._transport.write(frame(10, body.decode("latin-1")))
        elif body.startswith(b'{"type":"scores"'):
            sent = self._sent[self._completing[self._answers]]
            self._answers += 1
            if sent >= self._counts_from:
                self.latencies.append(now - sent)

    def _send(self) -> None:
        number, now = len(self._sent), time.monotonic()
        due = self._begins + number * CHUNK_SECONDS
        self._sent.append(now)
        if now >= self._counts_from:
            self.late.append(now - due)
        self._transport.write(self._chunks[number % len(self._chunks)])
        if number + 1 < int(self._load.seconds / CHUNK_SECONDS) and not self.lost:
            self._loop.call_later(due + CHUNK_SECONDS - now, self._send)


def frame(kind: int, body: str | bytes) -> bytes:
    """A WebSocket frame as a client sends it, by the mask 0, which changes nothing."""
    data = body.encode("latin-1") if isinstance(body, str) else body
    size = struct.pack(">B", 128 | len(data)) if len(data) < 126 else struct.pack(">BH", 128 | 126, len(data))
    return bytes([128 | kind]) + size + bytes(4) + data


def sound(rate: int) -> np.ndarray:
    """Ten seconds of whatever, 16-bit, shape [samples]."""
    parts = [sounds.murmur(4.0, 1), sounds.snaps(2.0, 2), sounds.whistle(2.0, 3), sounds.room(2.0, 4)]
    resampled = soxr.resample(np.concatenate(parts), sounds.RATE, rate)
    return np.asarray(resampled * 32_767, "<i2")


def completing(load: Load, chunks: int) -> list[int]:
    """The chunks that complete windows: the same in each stream."""
    recognizer = earmark.load("words")
    front_end = recognizer.front_end.stream(load.rate)
    windows = Windows(recognizer.metadata.window_frames, recognizer.hop_frames(), front_end=recognizer.front_end)
    silence = np.zeros(int(load.rate * CHUNK_SECONDS), np.float32)
    return [number for number in range(chunks) if windows.process(front_end.process(silence))[1]]


async def play(load: Load) -> dict[str, Any]:
    """Play all streams, and tell how it went."""
    size = int(load.rate * CHUNK_SECONDS)
    samples = sound(load.rate)
    chunks = [frame(2, samples[at : at + size].tobytes()) for at in range(0, len(samples) - size + 1, size)]
    complete = completing(load, int(load.seconds / CHUNK_SECONDS))
    loop = asyncio.get_running_loop()
    draw = random.Random(0)
    connecting = 1 + load.streams / 200
    begins = time.monotonic() + connecting
    clients = []
    for _ in range(load.streams):
        client = Client(load, chunks, complete, begins + draw.uniform(0, CHUNK_SECONDS), begins + WARM_UP)
        await loop.create_connection(lambda client=client: client, "127.0.0.1", load.port)  # type: ignore[misc]
        clients.append(client)
    await asyncio.sleep(max(0.0, begins - time.monotonic()))
    process = psutil.Process()
    before = process.cpu_times()
    await asyncio.sleep(load.seconds + 0.5)
    after = process.cpu_times()
    return {
        "latencies": [value for client in clients for value in client.latencies],
        "late": [value for client in clients for value in client.late],
        "lost": [client.lost for client in clients if client.lost],
        "cpu": 100 * (after.user + after.system - before.user - before.system) / (load.seconds + 0.5),
    }


def _work() -> None:
    """The load process: a load on standard input, how it went on standard output."""
    load = Load(**json.loads(sys.stdin.read()))
    try:
        import uvloop

        result = uvloop.run(play(load))
    except ModuleNotFoundError:
        result = asyncio.run(play(load))
    json.dump(result, sys.stdout)


@contextmanager
def server(*options: str) -> Iterator[tuple[int, psutil.Process]]:
    """`earmark serve words` in a process of its own: its port and process."""
    command = [sys.executable, "-m", "earmark", "serve", "words", "--port", "0", "--max-streams", "10000", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("http://127.0.0.1:")[1].split()[0])
        try:
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def measure(port: int, process: psutil.Process, load: Load) -> tuple[tuple[object, ...], float]:
    """A row of the table, and the p99 in ms."""
    before = figures(port)
    command = [sys.executable, "-m", "benchmarks.server", "--load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loading:
        assert loading.stdin is not None
        assert loading.stdout is not None
        loading.stdin.write(json.dumps(vars(load)))
        loading.stdin.close()
        time.sleep(CONNECTING + load.streams / 200)  # it loads and connects
        cpu, began = used(process), time.perf_counter()
        time.sleep(max(2.0, load.seconds - CONNECTING))
        took = time.perf_counter() - began
        loop, scorer = (100 * (after - before) / took for before, after in zip(cpu, used(process), strict=True))
        found = json.loads(loading.stdout.read())
    after = figures(port)
    if found["lost"]:
        print(f"{len(found['lost'])} streams were lost, the first: {found['lost'][0]}")
        found["latencies"] = [math.inf] * 2
    latencies = sorted(1000 * value for value in found["latencies"])
    p99 = percentile(latencies, 99)
    windows = after["windows"] - before["windows"]
    batch = windows / max(1, after["batches"] - before["batches"])
    late = percentile(sorted(1000 * value for value in found["late"]), 99)
    shown = (percentile(latencies, 50), percentile(latencies, 95), p99, max(latencies, default=math.nan), late)
    cpu_shares = map(round, (loop, scorer, found["cpu"]))
    return (load.streams, *(f"{value:.1f}" for value in shown), *cpu_shares, f"{batch:.1f}"), p99


def used(process: psutil.Process) -> tuple[float, float]:
    """CPU seconds of the server's event loop and of the thread that scores."""
    threads = {thread.id: thread.user_time + thread.system_time for thread in process.threads()}
    loop = threads.pop(process.pid)
    return loop, max(threads.values(), default=0.0)


def figures(port: int) -> dict[str, float]:
    """What the server's `/metrics` counts."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    names = {"windows": "earmark_windows_scored_total", "batches": "earmark_batch_windows_count"}
    return {key: float(re.findall(rf"^{name} (.*)$", text, re.MULTILINE)[0]) for key, name in names.items()}


def percentile(values: list[float], share: int) -> float:
    return statistics.quantiles(values, n=100)[share - 1] if len(values) > 1 else math.nan


def rows(streams: int = 200, seconds: float = 20.0) -> list[Claim]:
    """Measure, print the table, and say what holds."""
    with server() as (port, process):
        table = [("16 kHz", *measure(port, process, Load(port, count, seconds))[0]) for count in (1, 50)]
        p99s = []
        for _ in range(ROUNDS):
            row, p99 = measure(port, process, Load(port, streams, seconds))
            table.append(("16 kHz", *row))
            p99s.append(p99)
        table.append(("44.1 kHz", *measure(port, process, Load(port, streams, seconds, 44_100))[0]))
        alone = {"scores": False, "detections": True}
        table.append(("detections alone", *measure(port, process, Load(port, streams, seconds, start=alone))[0]))
        more, p99 = streams, 0.0
        while p99 <= LIMIT_MS and more < MOST_STREAMS:
            more += STEP
            row, p99 = measure(port, process, Load(port, more, seconds))
            table.append(("16 kHz", *row))
    print_table(f"Live streams, {seconds:.0f} s each, chunks of 100 ms", ("", *COLUMNS), table)
    middle = statistics.median(p99s)
    return [
        Claim(
            f"{streams} live streams, p99 from chunk to scores",
            f"≤ {LIMIT_MS} ms",
            f"{middle:.0f} ms",
            middle <= LIMIT_MS,
        )
    ]


def main() -> None:
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    print_claims("earmark serve", rows(streams, seconds))


if __name__ == "__main__":
    _work() if "--load" in sys.argv else main()
