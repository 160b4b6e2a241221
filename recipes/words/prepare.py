"""Unpack the recordings that `words` learns from and is tested on.

    python prepare.py PACKED DEST

reads the packed corpora speech_commands, free_spoken_digits, wake_words, background_noise and esc10 in PACKED (one Ogg
Vorbis file for each split and word, index.tsv for its clips) and writes DEST/<corpus>/<split>/<word>/<clip>.flac. To
`test` go, besides a corpus's own test split: every recording of the words in unseen_words.txt, ESC-10's fifth fold, and
the last fifth of each long recording of noise.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import soundfile
from synthesize import read_words

CORPORA = ("speech_commands", "free_spoken_digits", "wake_words", "background_noise", "esc10")
TEST_SHARE = 0.2  # of a long recording of noise
TEST_FOLD = "5-"  # an ESC-10 clip's name begins with its fold


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: prepare.py PACKED DEST")
    packed, destination = Path(sys.argv[1]), Path(sys.argv[2])
    unseen = {word.replace(" ", "_") for word in read_words("unseen_words.txt")}
    for corpus in CORPORA:
        count = sum(1 for _ in unpack(packed / corpus, destination / corpus, unseen))
        print(f"{corpus}: {count} recordings")


def unpack(corpus: Path, destination: Path, unseen: set[str]) -> Iterator[Path]:
    with (corpus / "index.tsv").open(newline="") as index:
        rows = list(csv.DictReader(index, delimiter="\t"))
    for (split, word), group in groupby(rows, lambda row: (row["split"], row["word"].replace(" ", "_"))):
        samples, rate = soundfile.read(corpus / f"{split}-{word}.ogg", dtype="int16")
        for row in group:
            start, length, stem = int(row["start"]), int(row["samples"]), Path(row["clip"]).stem
            parts = {split: (start, length)}
            if corpus.name == "background_noise":
                kept = int(length * (1 - TEST_SHARE))
                parts = {"train": (start, kept), "test": (start + kept, length - kept)}
            elif word in unseen or (corpus.name == "esc10" and row["clip"].startswith(TEST_FOLD)):
                parts = {"test": (start, length)}
            for part, (first, count) in parts.items():
                file = destination / part / word / f"{stem}.flac"
                file.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(file, samples[first : first + count], rate)
                yield file


if __name__ == "__main__":
    main()
