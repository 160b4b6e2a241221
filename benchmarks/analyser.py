"""How far the front end is from Chromium's own AnalyserNode, on real recordings.

    python -m benchmarks.analyser [DATA]

DATA is the folder of recordings (../shared/data): 300 clips are drawn from it by a fixed seed. Compared are the levels
above −100 dB. Chromium computes in single precision, which blurs what lies far below a frame's strongest bin; hence the
second row.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soxr

from benchmarks.table import print_table
from earmark.front_end.spectrogram import compute_spectrogram
from tests.analyser import analyser_frames
from tests.browser import chromium
from tests.corpus import clip_rows, read_row

CLIPS = {"speech_commands": 120, "esc10": 120, "free_spoken_digits": 60}


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    random = np.random.default_rng(1)
    worst: list[tuple[float, float]] = []
    beyond = levels = 0
    with chromium() as browser:
        page = browser.new_page()
        for corpus, count in CLIPS.items():
            rows = clip_rows(data, corpus)
            for index in random.choice(len(rows), count, replace=False):
                samples, rate = read_row(data, corpus, rows[index])
                clip = soxr.resample(samples, rate, 44_100)
                theirs, ours = analyser_frames(page, clip), compute_spectrogram(clip)
                loud = theirs > -100
                distance = np.abs(np.where(loud, theirs, 0) - np.where(loud, ours, 0))
                near = theirs > theirs.max(axis=1, keepdims=True) - 70
                worst.append((float(distance.max()), float(np.where(near, distance, 0).max())))
                beyond += int((distance > 0.001).sum())
                levels += int(loud.sum())
    everywhere, prominent = (np.array(column) for column in zip(*worst, strict=True))
    rows_shown = [
        ("above −100 dB", float(everywhere.max()), f"{(everywhere > 0.001).sum()} of {len(worst)} clips"),
        ("and within 70 dB of the frame's peak", float(prominent.max()), f"{(prominent > 0.001).sum()} clips"),
    ]
    print_table(
        f"{len(worst)} clips, {levels:,} levels, {beyond} of them more than 0.001 dB off",
        ("levels", "largest difference, dB", "clips with more than 0.001 dB"),
        rows_shown,
    )


if __name__ == "__main__":
    main()
