"""CPU seconds for an hour of sound: Earmark's words beside openwakeword and local-wake, from PyPI.

    python -m benchmarks.wake_words

All hear the same minutes of real recordings, in turn, each in a process of its own; the table gives medians over the
rounds, as if of an hour. Loading and the first seconds aren't counted, threads are: all are told to use one, and with
their own defaults the peers are measured as well. At ten predictions a second means: what a program took, by its own
number of predictions, times 36,000. openwakeword predicts 12.5 times a second and can't be told otherwise, so this
takes a fifth off its time; local-wake predicts four times by default, and is measured at its slide of 0.1 s too.

The peers go into a virtual environment in the user's cache (0.6 GB, once), without silero-vad and sounddevice, which
local-wake uses to record only; the former brings PyTorch.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import soundfile

from benchmarks.recordings import DATA, RATE, dense_hour, field_hour
from benchmarks.table import Claim, print_claims, print_table
from tests.corpus import clip_rows, read_row

PROGRAM = Path(__file__).parent / "peers" / "wake_words.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "earmark-benchmarks" / "wake-words"
PACKAGES = ("openwakeword==0.4.0", "librosa==0.11.0", "soundfile", "onnxruntime")
WITHOUT_THEIRS = ("local-wake==0.1.2",)
PEERS = (
    "openwakeword, one word",
    "openwakeword, its five models",
    "local-wake, slide 0.25 s",
    "local-wake, slide 0.1 s",
)
OURS = ("earmark, every window scored", "earmark, as it listens")
MINUTES, ROUNDS = 1, 5
PER_HOUR = 10 * 3_600  # predictions
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


@dataclass(frozen=True)
class Cost:
    """CPU seconds for an hour: as the program runs by itself, and at ten predictions a second."""

    hour: float
    at_ten: float
    predictions: float  # a second


def install_peers() -> Path:
    """The Python of the peers' virtual environment, which is made where it isn't there."""
    python = CACHE / "bin" / "python"
    if not (CACHE / "complete").exists():
        venv.create(CACHE, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        subprocess.run([*pip, "--no-deps", *WITHOUT_THEIRS], check=True)
        (CACHE / "complete").touch()
    return python


def write_sounds(folder: Path) -> dict[str, Path]:
    """A recording in the field and one of words alone, 16-bit samples; and local-wake's references, three of a word."""
    made = {}
    for name, hour in (("field", field_hour(1)), ("words", dense_hour(1))):
        made[name] = folder / name
        (hour[: MINUTES * 60 * RATE] * 32_767).astype("<i2").tofile(made[name])
    made["references"] = folder / "references"
    made["references"].mkdir()
    rows = [row for row in clip_rows(DATA, "wake_words") if row["word"] == "jarvis"]
    for number, row in enumerate(rows[:3]):
        samples, rate = read_row(DATA, "wake_words", row)
        soundfile.write(made["references"] / f"{number}.wav", samples, rate)
    return made


def run(python: Path | str, name: str, sound: Path, references: Path, one_thread: bool = True) -> Cost:
    environment = {**os.environ, **(ONE_THREAD if one_thread else {})}
    command = [str(python), str(PROGRAM), name, str(sound), str(references)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed: {done.stderr[-2_000:]}")
    report = json.loads(done.stdout.splitlines()[-1])
    hour = report["cpu"] * 60 / MINUTES
    return Cost(hour, report["cpu"] / report["predictions"] * PER_HOUR, report["predictions"] / (MINUTES * 60))


def measure() -> dict[str, list[Cost]]:
    python = install_peers()
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        sounds = write_sounds(Path(scratch))
        references = sounds["references"]
        for _ in range(ROUNDS):
            for name in OURS:
                costs.setdefault(name, []).append(run(sys.executable, name, sounds["field"], references))
            words = run(sys.executable, OURS[1], sounds["words"], references)
            costs.setdefault("… words without a pause", []).append(words)
            for name in PEERS:
                costs.setdefault(name, []).append(run(python, name, sounds["field"], references))
                free = run(python, name, sounds["field"], references, one_thread=False)
                costs.setdefault(f"{name}, threads by default", []).append(free)
    return costs


def claims(costs: dict[str, list[Cost]]) -> list[Claim]:
    """Ours beside the cheaper one of the peers, at ten predictions a second."""
    at_ten = {name: statistics.median(cost.at_ten for cost in runs) for name, runs in costs.items()}
    cheaper = min(PEERS, key=at_ten.__getitem__)
    made = []
    for name in OURS:
        share = statistics.median(
            peer.at_ten / mine.at_ten for peer, mine in zip(costs[cheaper], costs[name], strict=True)
        )
        made.append(
            Claim(f"CPU for an hour at ten a second: {name}, beside {cheaper}", "≤ 1/5", f"1/{share:.1f}", share >= 5)
        )
    return made


def rows() -> list[Claim]:
    """Measure, print the table, and say what holds; nothing where the recordings are missing."""
    if not DATA.is_dir():
        print("the recordings in ../shared/data are missing", file=sys.stderr)
        return []
    costs = measure()
    table = [
        (name, *(statistics.median(getattr(run, part) for run in runs) for part in ("predictions", "hour", "at_ten")))
        for name, runs in costs.items()
    ]
    columns = ("", "predictions a second", "CPU s an hour", "the same at ten a second")
    print_table(f"An hour of sound, median of {ROUNDS}", columns, table)
    return claims(costs)


def main() -> None:
    print_claims("Wake words", rows())


if __name__ == "__main__":
    main()
