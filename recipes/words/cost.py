"""How long networks take for a window."""

from __future__ import annotations

import time

import numpy as np

from earmark import Recognizer
from earmark.front_end.spectrogram import compute_spectrogram

ROUNDS = 500


def time_windows(recognizers: dict[str, Recognizer]) -> dict[str, list[float]]:
    """Milliseconds of each window on one core, normalization too; the recognizers take turns."""
    noise = np.random.default_rng(0).normal(0, 0.1, 45_056).astype(np.float32)
    window = compute_spectrogram(noise, silence_before=False)[np.newaxis]
    times: dict[str, list[float]] = {name: [] for name in recognizers}
    for _ in range(ROUNDS):
        for name, recognizer in recognizers.items():
            begun = time.perf_counter()
            recognizer.score_windows(window)
            times[name].append(1000 * (time.perf_counter() - begun))
    return times
