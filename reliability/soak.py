"""Soak: twenty live streams in real time that come and go in every way, for an hour; nothing grows and nothing stays.

    python -m reliability.soak [MINUTES] [CSV]

Both servers run in processes of their own; pages of the studio and streams of `earmark serve` come from this one. Every
ten seconds the servers' memory, files, threads and tasks are noted in the CSV.
"""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import httpx
import psutil

from benchmarks.table import Claim
from reliability.soak_clients import Client, PageClient, StreamClient, everybody

PAGES, STREAMS = 15, 5
LONG_SECONDS, SHORT_SECONDS = 3_600.0, 12.0
WARM_UP = 1 / 6  # of the time; ten minutes of the hour
FILLING_SECONDS = 5.0  # in which all clients come once, before what a server holds without any is noted
GONE_SECONDS = 90.0  # in which all that they held must be let go of
MOST_GROWTH = 1.05  # of the memory, in the long form
MOST_SHORT_GROWTH = 60 << 20  # bytes, in the short one
MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """What a server held at a moment."""

    server: str
    seconds: float
    resident_bytes: int
    own_bytes: int
    files: int
    threads: int
    tasks: int


class Watched:
    """A running server.

    Args:
        name: of it.
        process: its process.
        told_to: where it tells its tasks, see `soak_server`.
        port: where it answers.
    """

    def __init__(self, name: str, process: subprocess.Popen[str], told_to: Path, port: int) -> None:
        self.name, self.port = name, port
        self._process, self._told_to = psutil.Process(process.pid), told_to

    def sample(self, seconds: float) -> Sample:
        """What it holds now."""
        memory = self._process.memory_full_info()
        files, threads = self._process.num_fds(), self._process.num_threads()
        return Sample(self.name, round(seconds, 1), memory.rss, memory.uss, files, threads, self._tasks())

    def _tasks(self) -> int:
        before = len(_lines(self._told_to))
        os.kill(self._process.pid, signal.SIGUSR1)
        until = time.monotonic() + 30
        while len(told := _lines(self._told_to)) <= before:
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} doesn't tell its tasks: it is stuck")
            time.sleep(0.01)
        return int(told[-1])


def run(long: bool) -> list[Claim]:
    """A soak of an hour, or of some seconds."""
    return soak(LONG_SECONDS if long else SHORT_SECONDS, long, Path(tempfile.gettempdir()) / "earmark-soak.csv")


def soak(seconds: float, long: bool, table: Path) -> list[Claim]:
    """Let them come and go for so long.

    Args:
        long: whether memory is to be flat; else it may grow by some MiB, for nothing is warm yet.
        table: a CSV file for the samples.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        _server(Path(name), "studio") as studio,
        _server(Path(name), "serve") as api,
    ):
        return asyncio.run(_soak([studio, api], seconds, long, table))


async def _soak(servers: list[Watched], seconds: float, long: bool, table: Path) -> list[Claim]:
    studio, api = servers
    counts: Counter[str] = Counter()
    stays = (20.0, 120.0) if long else (1.0, 4.0)

    def clients(stays: tuple[float, float], seed: int) -> list[Client]:
        pages: list[Client] = [PageClient(studio.port, stays, seed + number, counts) for number in range(PAGES)]
        return pages + [StreamClient(api.port, stays, seed - number, counts) for number in range(1, STREAMS + 1)]

    await everybody(clients((1.0, 3.0), 1_000), FILLING_SECONDS, lambda: _fill_threads(studio))
    base = await _at_rest(servers, None)
    began, samples = time.monotonic(), []

    async def watch() -> None:
        while True:
            await asyncio.sleep(10 if long else 1)
            samples.extend([server.sample(time.monotonic() - began) for server in servers])
            _write(table, samples)
            if long and len(samples) % 60 == 0:
                print(f"soak: {samples[-1].seconds / 60:.0f} min, {_told(counts)}", file=sys.stderr, flush=True)

    counts.clear()
    await everybody(clients(stays, 2_000), seconds, watch)
    end = await _at_rest(servers, base)
    _write(table, samples + end)
    print(f"soak: {_told(counts)}; samples in {table}", file=sys.stderr, flush=True)
    return [_connections(counts, seconds), *_leaks(base, end), *_growth(servers, samples, seconds, long)]


async def _at_rest(servers: list[Watched], base: list[Sample] | None) -> list[Sample]:
    """What they hold without clients, once it is no more than before, or doesn't change any more."""
    began, before = time.monotonic(), [server.sample(0) for server in servers]
    while True:
        await asyncio.sleep(2)
        now = [server.sample(time.monotonic() - began) for server in servers]
        settled = list(map(_held, now)) == list(map(_held, before)) if base is None else not _more(base, now)
        if settled or time.monotonic() - began > GONE_SECONDS:
            return now
        before = now


def _held(sample: Sample) -> tuple[int, int, int]:
    return sample.files, sample.threads, sample.tasks


def _more(base: list[Sample], now: list[Sample]) -> bool:
    return any(
        has > had
        for one, other in zip(base, now, strict=True)
        for had, has in zip(_held(one), _held(other), strict=True)
    )


def _connections(counts: Counter[str], seconds: float) -> Claim:
    faults = sum(count for what, count in counts.items() if what.startswith(("error: The server met", "not deleted")))
    left = ", ".join(f"{counts[way]} {way}" for way in ("clean", "reset", "stalled", "half open"))
    measured = f"{counts['connections']} connections ({left}), {counts['recordings']} recordings, {faults} errors"
    return Claim(
        f"{PAGES + STREAMS} streams for {seconds / 60:.3g} min", "0 errors of the server's own", measured, not faults
    )


def _leaks(base: list[Sample], end: list[Sample]) -> list[Claim]:
    checks = []
    for before, after in zip(base, end, strict=True):
        measured = ", ".join(f"{had} → {has} {what}" for had, has, what in
                             zip(_held(before), _held(after), ("files", "threads", "tasks"), strict=True))  # fmt: skip
        what = f"{before.server}: files, threads, tasks when all are gone"
        checks.append(Claim(what, "no more than before", measured, not _more([before], [after])))
    return checks


def _growth(servers: list[Watched], samples: list[Sample], seconds: float, long: bool) -> list[Claim]:
    checks = []
    for server in servers:
        warm = [one for one in samples if one.server == server.name and one.seconds >= WARM_UP * seconds]
        tenth = max(1, len(warm) // 10)
        first, last = (statistics.median(one.resident_bytes for one in part) for part in (warm[:tenth], warm[-tenth:]))
        own = [statistics.median(one.own_bytes for one in part) for part in (warm[:tenth], warm[-tenth:])]
        measured = (
            f"{first / MIB:.1f} → {last / MIB:.1f} MiB ({last / first - 1:+.1%}; its own {own[1] / own[0] - 1:+.1%})"
        )
        holds = last <= first * MOST_GROWTH if long else last - first <= MOST_SHORT_GROWTH
        asked = "≤ 5 % growth" if long else f"≤ {MOST_SHORT_GROWTH // MIB} MiB growth"
        checks.append(Claim(f"{server.name}: memory after warm-up", asked, measured, holds))
    return checks


@contextmanager
def _server(folder: Path, name: str) -> Iterator[Watched]:
    arguments = ["studio", str(folder / "project"), "--no-browser"] if name == "studio" else ["serve", "words"]
    told_to = folder / f"{name}.tasks"
    told_to.touch()
    command = [sys.executable, "-m", "reliability.soak_server", str(told_to), *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        port = int(line.split("http://", 1)[1].split()[0].rsplit(":", 1)[1])
        yield Watched(name, process, told_to, port)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


async def _fill_threads(studio: Watched) -> None:
    """Have the studio start all threads that it may: Python's pool keeps them."""
    async with httpx.AsyncClient(timeout=60) as client:
        await asyncio.gather(*(client.get(f"http://127.0.0.1:{studio.port}/api/project") for _ in range(40)))


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _write(table: Path, samples: list[Sample]) -> None:
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Sample)])
        writer.writerows(astuple(sample) for sample in samples)


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else LONG_SECONDS / 60
    table = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.gettempdir()) / "earmark-soak.csv"
    checks = soak(60 * minutes, True, table)
    for check in checks:
        print(f"{'holds' if check.holds else 'DOES NOT HOLD'}: {check.what}: {check.measured} (asked: {check.asked})")
    sys.exit(0 if all(check.holds for check in checks) else 1)


if __name__ == "__main__":
    main()
