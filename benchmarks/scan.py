"""`earmark scan`: how fast, in how much memory, and whether its cost grows with the hours and with nothing else.

    python -m benchmarks.scan [--hours 100] [--quick]

Each scan is the command in a process of its own, with `words` and its defaults: a window every 93 ms. The recordings
are joined from real ones; see `benchmarks.recordings`. Two different hours stand for all the others, by links: after
the first scan they lie in the system's memory, so that the speed of a disk or a network is not in these numbers.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import psutil

from benchmarks.recordings import dense_hour, field_hour, write_hours
from benchmarks.table import Claim, print_claims, print_table
from earmark.audio.clip import Resampler
from earmark.audio.finding import open_sound_file
from earmark.front_end.spectrogram import SAMPLE_RATE
from earmark.recognizer.detecting import Detector
from earmark.recognizer.recognizer import Recognizer, load
from earmark.recognizer.scoring import Result
from earmark.scan.scanner import CHUNK_SECONDS

COMMAND = Path(sys.executable).with_name("earmark")
CORES = 2
ROUNDS = 3
SIZES = (1, 10, 100)  # hours
SAMPLED_EVERY = 0.2  # seconds
STAGES = ("decode", "resample", "front end", "network", "decisions")

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Scan:
    """What one run of the command took.

    Attributes:
        hours: of sound.
        wall: seconds from its start to its end.
        processor: seconds of processor time, of all its processes.
        memory: MB that its processes held at most, all together, pages that they share counted once.
        largest: MB that the largest of them held at most.
        output: what it wrote.
    """

    hours: float
    wall: float
    processor: float
    memory: float
    largest: float
    output: bytes

    @property
    def speed(self) -> float:
        """Seconds of sound for each second on the clock."""
        return 3_600 * self.hours / self.wall

    @property
    def seconds_per_hour(self) -> float:
        """Processor seconds for an hour of sound."""
        return self.processor / self.hours


def scan(files: list[Path], hours: float, workers: int | None = None) -> Scan:
    """Run the command on files that last so many hours together, by so many processes or as it does by default."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "detections.csv"
        options = ["--model", "words", "--output", str(output)]
        options += ["--workers", str(workers)] if workers else []
        before, begun = _processor_time(), time.perf_counter()
        process = psutil.Popen([COMMAND, "scan", *map(str, files), *options], stdout=subprocess.DEVNULL)
        memory = largest = 0.0
        while process.poll() is None:
            sizes = [_sizes(one) for one in (process, *_children(process))]
            memory = max(memory, sum(now for now, _ in sizes))
            largest = max(largest, *(most for _, most in sizes))
            time.sleep(SAMPLED_EVERY)
        wall = time.perf_counter() - begun
        if process.returncode:
            raise SystemExit(f"The scan failed with exit code {process.returncode}.")
        return Scan(hours, wall, _processor_time() - before, memory, largest, output.read_bytes())


def _sizes(process: psutil.Process) -> tuple[float, float]:
    """MB that a process holds now, its part of shared pages alone; and MB that it held at most, with all of them."""
    try:
        now = _kilobytes(Path(f"/proc/{process.pid}/smaps_rollup"), "Pss")
        most = _kilobytes(Path(f"/proc/{process.pid}/status"), "VmHWM")  # Linux keeps count: no sample misses it
    except OSError:  # it has ended
        return 0.0, 0.0
    return now * 1_024 / 1e6, most * 1_024 / 1e6


def _kilobytes(file: Path, name: str) -> int:
    lines = (line.split() for line in file.read_text().splitlines())
    return next((int(words[1]) for words in lines if words and words[0] == f"{name}:"), 0)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _processor_time() -> float:
    """Seconds of the processes that this one has started and that have ended, with those that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Kind:
    """Recordings of one kind, of an hour each.

    Attributes:
        name: for the tables.
        files: two, with different sound.
    """

    name: str
    files: list[Path]

    def hours(self, count: int) -> list[Path]:
        """So many files of an hour."""
        folder = self.files[0].parent / f"{count}-{self.files[0].name}"
        folder.mkdir(exist_ok=True)
        for number in range(count):
            link = folder / f"{number:03}{self.files[0].suffix}"
            if not link.exists():
                os.link(self.files[number % len(self.files)], link)
        return sorted(folder.iterdir())


def make_kinds(folder: Path) -> list[Kind]:
    """The recordings; the first kind is the one whose numbers count."""
    field, dense = [field_hour(1), field_hour(2)], [dense_hour(3), dense_hour(4)]

    def kind(name: str, hours: list[npt.NDArray[np.float32]], file: str, rate: int, channels: int = 1) -> Kind:
        paths = [folder / f"{number}-{file}" for number in range(len(hours))]
        return Kind(name, [write_hours([hour], path, rate, channels) for hour, path in zip(hours, paths, strict=True)])

    return [
        kind("WAV, 44.1 kHz", field, "field.wav", 44_100),
        kind("FLAC, 44.1 kHz", field, "field.flac", 44_100),
        kind("WAV, 16 kHz", field, "field16.wav", 16_000),
        kind("WAV, 48 kHz stereo", field, "field48.wav", 48_000, 2),
        kind("WAV, 44.1 kHz, all words", dense, "dense.wav", 44_100),
    ]


class _TimedRecognizer(Recognizer):
    """Counts its windows, and the time of its network with their normalization."""

    seconds, windows = 0.0, 0

    def recognize_windows(
        self, windows: npt.NDArray[np.float32], include_spectrogram: bool = False, include_embedding: bool = False
    ) -> list[Result]:
        begun = time.process_time()
        results = super().recognize_windows(windows, include_spectrogram, include_embedding)
        self.seconds += time.process_time() - begun
        self.windows += len(windows)
        return results


def split(file: Path) -> tuple[dict[str, float], float]:
    """Where one process's time goes: milliseconds of each stage for a second of sound; and windows scored in it."""
    recognizer = _TimedRecognizer(load("words").content)
    detector = Detector(recognizer, recognizer.decisions())
    spent = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, work: Callable[[], Thing]) -> Thing:
        begun = time.process_time()
        result = work()
        spent[stage] += time.process_time() - begun
        return result

    with open_sound_file(str(file), CHUNK_SECONDS) as source:
        resampler, stream = Resampler(source.sample_rate, SAMPLE_RATE), detector.front_end.stream(SAMPLE_RATE)
        chunks, samples = iter(source), 0
        while (chunk := timed("decode", lambda: next(chunks, None))) is not None:
            sound = timed("resample", partial(resampler.process, chunk))
            frames = timed("front end", partial(stream.process, sound))
            timed("decisions", partial(detector.process, frames))
            samples += len(chunk)
        seconds = samples / source.sample_rate
    spent["network"] = recognizer.seconds
    spent["decisions"] -= recognizer.seconds
    return {stage: 1_000 * took / seconds for stage, took in spent.items()}, recognizer.windows / seconds


@dataclass(frozen=True)
class Found:
    """All that was measured.

    Attributes:
        sizes: one scan of each number of hours of the first kind, by two processes.
        kinds: of each kind, by two processes, several of the same size.
        alone: the same as the first of `kinds`, by one process.
        long: one file of many hours, by default.
        splits: of each kind, see `split`.
    """

    sizes: list[Scan]
    kinds: dict[str, list[Scan]]
    alone: Scan
    long: Scan
    splits: dict[str, tuple[dict[str, float], float]]


def measure(sizes: Sequence[int], hours: int, long_hours: int, rounds: int = ROUNDS) -> Found:
    """Run everything.

    Args:
        sizes: hours of the scans that show how the cost grows.
        hours: of the scans that compare kinds.
        long_hours: of the one long file.
        rounds: how often the kinds are compared.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-scan-") as name:
        folder = Path(name)
        kinds = make_kinds(folder)
        main = kinds[0]
        scan(main.hours(1), 1, CORES)  # so that what the command needs lies in memory, as for the others
        growing = [scan(main.hours(size), size, CORES) for size in sizes]
        runs: dict[str, list[Scan]] = {kind.name: [] for kind in kinds}
        for _ in range(rounds):  # in turn, so that a slow minute of the machine hits all
            for kind in kinds:
                runs[kind.name].append(scan(kind.hours(hours), hours, CORES))
        alone = scan(main.hours(hours), hours, 1)
        splits = {kind.name: split(kind.files[0]) for kind in kinds}
        long_file = write_hours(
            [field_hour(5 + at) for at in range(2)] * (long_hours // 2), folder / "long.wav", 44_100
        )
        return Found(growing, runs, alone, scan([long_file], long_hours), splits)


def claims(found: Found) -> list[Claim]:
    """What must hold."""
    main, *_ = found.kinds.values()
    speed = statistics.median(run.speed for run in main)
    first, last = found.sizes[0], found.sizes[-1]
    growth, most = last.processor / first.processor, 1.1 * last.hours / first.hours
    memory = max(found.long.memory, found.long.largest)
    same = all(run.output == found.alone.output for run in main)
    return [
        Claim("scan, two cores", "≥ 1,500 × real time", f"{speed:,.0f} ×", speed >= 1_500),
        Claim(f"highest memory on a file of {found.long.hours:g} h", "≤ 300 MB", f"{memory:.0f} MB", memory <= 300),
        Claim(
            f"processor time of {last.hours:g} h by that of {first.hours:g} h", f"≤ {most:.0f} ×", f"{growth:.1f} ×",
            growth <= most,
        ),
        Claim("output of one and of two processes", "the same bytes", "the same" if same else "different", same),
    ]  # fmt: skip


def rows() -> list[Claim]:
    """What must hold, measured at full size; it takes a quarter of an hour."""
    found = measure(SIZES, 6, 10)
    show(found)
    return claims(found)


def show(found: Found) -> None:
    columns = ("", "hours", "wall s", "× real time", "processor s an hour", "MB", "MB of one process")
    print_table("Growing, two processes", columns, [(f"{run.hours} h", *_cells([run])) for run in found.sizes])
    kinds: list[tuple[object, ...]] = [(name, *_cells(runs)) for name, runs in found.kinds.items()]
    others = [("WAV, 44.1 kHz, one process", *_cells([found.alone])), ("one WAV, 44.1 kHz", *_cells([found.long]))]
    print_table(
        f"Kinds of recordings, two processes, medians of {len(next(iter(found.kinds.values())))}",
        columns,
        kinds + others,
    )
    splits: list[tuple[object, ...]] = [
        (name, *spent.values(), sum(spent.values()), windows) for name, (spent, windows) in found.splits.items()
    ]
    print_table("Milliseconds for a second of sound", ("", *STAGES, "in all", "windows scored"), splits)


def _cells(runs: list[Scan]) -> tuple[object, ...]:
    def median(name: str) -> float:
        values: list[float] = [getattr(run, name) for run in runs]
        return statistics.median(values)

    return (
        f"{runs[0].hours:g}", f"{median('wall'):.1f}", f"{median('speed'):,.0f}", f"{median('seconds_per_hour'):.2f}",
        f"{median('memory'):.0f}", f"{median('largest'):.0f}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=int, default=100, choices=SIZES, help="of the largest scan")
    parser.add_argument("--quick", action="store_true", help="everything small: it tells whether this works, no more")
    arguments = parser.parse_args()
    sizes = [size for size in SIZES if size <= arguments.hours]
    found = measure((1, 2), 2, 2, 1) if arguments.quick else measure(sizes, min(10, sizes[-1]), 10)
    show(found)
    print_claims("earmark scan", claims(found))


if __name__ == "__main__":
    main()
