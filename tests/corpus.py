"""The packed corpora of real recordings: one file for each split and word, and an index of its clips."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile


def clip_rows(data: Path, corpus: str) -> list[dict[str, str]]:
    """The corpus's index: split, word, start and length in samples, speaker, clip."""
    with (data / corpus / "index.tsv").open(newline="") as index:
        return list(csv.DictReader(index, delimiter="\t"))


def read_row(data: Path, corpus: str, row: dict[str, str]) -> tuple[npt.NDArray[np.float32], int]:
    """One clip's samples and rate."""
    file = data / corpus / f"{row['split']}-{row['word'].replace(' ', '_')}.ogg"
    start, frames = int(row["start"]), int(row["samples"])
    samples, rate = soundfile.read(file, dtype="float32", start=start, frames=frames)
    return samples, rate
