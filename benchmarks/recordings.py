"""Long recordings for the benchmarks, joined from the real ones in ../shared/data.

These were recorded at 16 kHz. At higher rates the files here have nothing above 8 kHz, which makes FLAC smaller than
usual and changes nothing in what the rest costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from tests.corpus import clip_rows

DATA = Path(__file__).parents[2] / "shared" / "data"
RATE = 16_000  # Hz
HOUR = 3_600 * RATE  # samples
WORD_EVERY = 30  # seconds in a field recording, on average

Samples = npt.NDArray[np.float32]


def field_hour(seed: int) -> Samples:
    """An hour at 16 kHz as a recorder in the field hears it: sounds and noise, and a spoken word every 30 s or so."""
    random = np.random.default_rng(seed)
    hour = 0.5 * _joined(_clips("esc10", "train") + _clips("background_noise", "train"), random)
    words = _clips("speech_commands", "val")
    at = 0
    while (at := at + round(random.exponential(WORD_EVERY) * RATE)) < HOUR - RATE:
        word = words[random.integers(len(words))]
        hour[at : at + len(word)] += word
    return hour.clip(-1, 1)


def dense_hour(seed: int) -> Samples:
    """An hour at 16 kHz of single words, one after the other, each about a second: most work that speech can make."""
    return _joined(_clips("speech_commands", "val"), np.random.default_rng(seed))


def write_hours(hours: list[Samples], path: Path, sample_rate: int, channels: int = 1) -> Path:
    """Write hours of sound at 16 kHz into one file, in 16 bits; a second channel is the first one, a little quieter.

    Args:
        hours: one after the other.
        path: its suffix says the format.
        sample_rate: of the file, in Hz.
        channels: 1 or 2.
    """
    resampler = soxr.ResampleStream(RATE, sample_rate, 1, dtype="float32")
    with soundfile.SoundFile(path, "w", sample_rate, channels, "PCM_16") as file:
        for number, part in enumerate(parts := [part for hour in hours for part in _minutes(hour)], 1):
            mono = resampler.resample_chunk(part, last=number == len(parts)) if sample_rate != RATE else part
            file.write(np.stack((mono, 0.9 * mono), axis=1) if channels == 2 else mono)
    return path


def _joined(clips: list[Samples], random: np.random.Generator) -> Samples:
    """The clips in random order, all of them again and again, for an hour."""
    order: list[Samples] = []
    length = 0
    while length < HOUR:
        shuffled = [clips[at] for at in random.permutation(len(clips))]
        order += shuffled
        length += sum(map(len, shuffled))
    return np.concatenate(order)[:HOUR]


def _clips(corpus: str, split: str) -> list[Samples]:
    files: dict[Path, Samples] = {}
    clips = []
    for row in clip_rows(DATA, corpus):
        if row["split"] != split:
            continue
        file = DATA / corpus / f"{split}-{row['word'].replace(' ', '_')}.ogg"
        if file not in files:
            files[file] = soundfile.read(file, dtype="float32")[0]
        start = int(row["start"])
        clips.append(files[file][start : start + int(row["samples"])])
    return clips


def _minutes(hour: Samples) -> Iterator[Samples]:
    for start in range(0, len(hour), 60 * RATE):
        yield hour[start : start + 60 * RATE]
