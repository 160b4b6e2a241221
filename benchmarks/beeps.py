"""Beeps in quiet and in a loud kitchen: how many of twelve are heard, and how often something else is taken for one.

    python -m benchmarks.beeps

Each mode learns from five recordings of three seconds, with a beep of 0.4 s in each, and from as much of the place
alone, as `_background_noise_`. Then it listens to twelve beeps, 2 s apart. The kitchen holds a hiss, voices and
clinking dishes. Its level is that of the whole recording, in dB below the beep's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import earmark
from benchmarks.table import print_table
from tests import sounds, tones

RATE, BEEPS, BEEP_SECONDS = sounds.RATE, 12, 0.4


def kitchen(seconds: float, seed: int) -> sounds.Samples:
    """A hiss, voices, and a dish every second or so, at a level of 1."""
    random = np.random.default_rng(seed)
    noise = sounds.room(seconds, seed, 0.03) + 3 * sounds.murmur(seconds, seed + 1_000)
    at = 0
    while (at := at + round(random.uniform(0.3, 1.5) * RATE)) < len(noise):
        time = np.arange(min(round(0.1 * RATE), len(noise) - at)) / RATE
        partials = sum(np.sin(2 * np.pi * hertz * time) for hertz in random.uniform(1_200, 5_000, 4))
        noise[at : at + len(time)] += random.uniform(0.02, 0.15) * partials * np.exp(-time / 0.03)
    return np.asarray(noise / noise.std(), np.float32)


def with_beeps(background: sounds.Samples, *seconds: float) -> sounds.Samples:
    samples, beep = background.copy(), tones.tone(1_000, BEEP_SECONDS, 0.3, RATE)
    for second in seconds:
        at = round(second * RATE)
        samples[at : at + len(beep)] += beep
    return samples.clip(-1, 1)


def place(seconds: float, seed: int, decibels: float | None) -> sounds.Samples:
    """A quiet room, or a kitchen so many dB below the beep."""
    if decibels is None:
        return sounds.room(seconds, seed)
    noise = kitchen(seconds, seed) * np.float32(0.3 / np.sqrt(2) * 10 ** (-decibels / 20))
    return noise.clip(-1, 1)


def measure(mode: str, decibels: float | None, folder: Path) -> tuple[int, int, int]:
    """How many beeps are heard, how many detections there are, and in how many of twelve recordings a beep is heard."""
    project = earmark.Project(folder, create=True, mode=mode)
    random = np.random.default_rng(0)
    for seed in range(5):
        project.add("beep", with_beeps(place(3, seed, decibels), random.uniform(0.4, 2.2)), RATE)
        project.add("_background_noise_", place(3, 50 + seed, decibels), RATE)
    recognizer = project.train("words" if mode == "words" else None)
    at = [1.0 + 2 * number for number in range(BEEPS)]
    stream = with_beeps(place(2 * BEEPS + 2, 99, decibels), *at)
    found = [one for one in recognizer.listen(stream, sample_rate=RATE) if one.label == "beep"]
    heard = sum(
        any(one.start < second + BEEP_SECONDS + 0.1 and one.end > second - 0.1 for one in found) for second in at
    )
    clips = (with_beeps(place(3, 200 + seed, decibels), 1.3) for seed in range(BEEPS))
    return heard, len(found), sum(recognizer.recognize(clip, RATE).label == "beep" for clip in clips)


def main() -> None:
    rows = []
    for mode in ("sounds", "words"):
        for decibels in (None, 20.0, 10.0, 0.0):
            with tempfile.TemporaryDirectory() as folder:
                heard, detections, clips = measure(mode, decibels, Path(folder) / "beeps")
            where = "a quiet room" if decibels is None else f"a kitchen {decibels:.0f} dB below the beep"
            rows.append((mode, where, f"{heard} of {BEEPS}", str(detections), f"{clips} of {BEEPS}"))
    print_table("Twelve beeps", ("mode", "where", "beeps heard", "detections", "recordings recognized"), rows)


if __name__ == "__main__":
    main()
