"""Words that the tests make, and data sets of them: glides and tones that speakers say at pitches of their own.

They stand for spoken words where a test must not depend on real recordings: each takes half of a second's clip.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from earmark.labels import label_folder

RATE = 16_000  # Hz, that of Speech Commands
SECONDS = 1.0
WORD_SECONDS = 0.5
# Hz at a word's start, middle and end.
GLIDES = {
    "rise": (500, 1_000, 2_000),
    "fall": (2_000, 1_000, 500),
    "high": (3_000, 3_000, 3_000),
    "bounce": (700, 2_500, 700),
}

Samples = npt.NDArray[np.float32]


def word(name: str, speaker: str = "ann", take: int = 0, rate: int = RATE) -> Samples:
    """One second with the word in its middle, in a quiet room: each speaker and take is another."""
    random = np.random.default_rng(zlib.crc32(f"{name}/{speaker}/{take}".encode()))
    pitch = np.random.default_rng(zlib.crc32(speaker.encode())).uniform(0.85, 1.15)
    time = np.arange(round(WORD_SECONDS * rate)) / rate
    hertz = np.interp(time, np.linspace(0, WORD_SECONDS, 3), GLIDES[name]) * pitch * random.uniform(0.97, 1.03)
    tone = np.sin(2 * np.pi * np.cumsum(hertz) / rate) * np.hanning(len(time)) ** 0.3
    samples = random.normal(0, 0.0005, round(SECONDS * rate))
    at = (len(samples) - len(tone)) // 2 + round(random.uniform(-0.05, 0.05) * rate)
    samples[at : at + len(tone)] += random.uniform(0.1, 0.4) * tone
    return samples.astype(np.float32)


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> Samples:
    """A room's noise."""
    return (0.05 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def save(file: Path, samples: Samples, rate: int = RATE) -> Path:
    """Write a sound file, and its folder where that is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, samples, rate)
    return file


def save_words(
    folder: Path, words: Iterable[str], speakers: Iterable[str], takes: int = 1, rate: int = RATE
) -> list[Path]:
    """Each speaker's takes of each word, as FOLDER/<word>/<speaker>_nohash_<take>.wav."""
    speakers = list(speakers)
    return [
        save(folder / label_folder(name) / f"{speaker}_nohash_{take}.wav", word(name, speaker, take, rate), rate)
        for name in words
        for speaker in speakers
        for take in range(takes)
    ]


def save_data(folder: Path, words: Iterable[str] = GLIDES, *, takes: int = 2) -> Path:
    """A data set of the words by four speakers, of whom one is for validation, with noise."""
    words = list(words)
    save_words(folder / "train", words, ("ann", "bob", "cid"), takes)
    save_words(folder / "val", words, ("dee",), takes)
    save(folder / "train" / "_background_noise_" / "room.wav", noise(6))
    return folder
