"""Spoken words out of the real recordings, with the quiet of a room around each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import earmark
from tests.corpus import clip_rows, read_row
from tests.sounds import Samples

RATE = 16_000  # Hz, of the recordings
WORDS = ("yes", "no", "up", "down", "left", "right", "go", "stop", "one", "five", "eight", "zero")
PAUSE = 0.9  # s before and after each word
TRIES = 40  # recordings of a word to choose from


@dataclass(frozen=True)
class Speech:
    """Words one after the other, and their samples."""

    words: tuple[str, ...]
    samples: Samples


def quiet(seconds: float, seed: int) -> Samples:
    return np.asarray(0.001 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)), np.float32)


def speech(data: Path, recognizer: earmark.Recognizer) -> Speech:
    """Of each word a recording that the recognizer is sure of, but not so sure that its score reaches 1."""
    rows = [row for row in clip_rows(data, "speech_commands") if row["split"] == "val"]
    said = {word: clip for word in WORDS if (clip := _clear_clip(data, recognizer, rows, word)) is not None}
    parts = [part for clip in said.values() for part in (quiet(PAUSE, len(clip)), clip)]
    return Speech(tuple(said), np.concatenate([*parts, quiet(PAUSE, 0)]))


def recordings_of(data: Path, word: str, count: int, split: str = "train") -> list[Samples]:
    """So many recordings of a word, of different speakers as far as there are."""
    rows = [row for row in clip_rows(data, "speech_commands") if row["split"] == split and row["word"] == word]
    step = max(1, len(rows) // count)
    return [read_row(data, "speech_commands", row)[0] for row in rows[::step][:count]]


def _clear_clip(data: Path, recognizer: earmark.Recognizer, rows: list[dict[str, str]], word: str) -> Samples | None:
    for row in [row for row in rows if row["word"] == word][:TRIES]:
        clip, rate = read_row(data, "speech_commands", row)
        assert rate == RATE
        if all(_is_clear(recognizer, clip, word, shift) for shift in (0, 0.03, 0.06)):
            return clip
    return None


def _is_clear(recognizer: earmark.Recognizer, clip: Samples, word: str, shift: float) -> bool:
    """Whether that word is all that is heard; the windows begin anywhere within a hop, `shift` seconds apart."""
    around = np.concatenate((quiet(PAUSE + shift, 1), clip, quiet(PAUSE, 2)))
    found = list(recognizer.listen(around, sample_rate=RATE))
    return [detection.label for detection in found] == [word] and 0.9 < found[0].score < 0.9999
