"""The log-mel spectrogram of YAMNet: the waveform at 16 kHz → 64 bands every 10 ms.

Source: tensorflow/models, research/audioset/yamnet/params.py and features.py (Apache-2.0).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RATE = 16_000
FRAME, HOP, FFT = 400, 160, 512  # samples
BANDS, LOWEST, HIGHEST = 64, 125.0, 7_500.0  # Hz
OFFSET = 0.001  # added to each band before the logarithm
PATCH = 96  # frames that the teacher sees at once
PATCH_SAMPLES = (PATCH - 1) * HOP + FRAME


def mel_matrix() -> Tensor:
    """Triangular bands, equally wide on the mel scale of HTK: shape [257, 64]."""

    def mel(hertz: object) -> np.ndarray:
        return 1_127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2)
    bins = mel(np.arange(FFT // 2 + 1) * RATE / FFT)[:, np.newaxis]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    matrix = np.maximum(0, np.minimum(rising, falling))
    matrix[0] = 0  # no constant part
    return torch.tensor(matrix, dtype=torch.float32)


_MEL = mel_matrix()
_WINDOW = torch.hann_window(FRAME, periodic=True)


def log_mel(sound: Tensor) -> Tensor:
    """Shape [n, samples] → [n, 1, frames, 64]."""
    magnitudes = torch.fft.rfft(sound.unfold(-1, FRAME, HOP) * _WINDOW, FFT).abs()
    return torch.log(magnitudes @ _MEL + OFFSET).unsqueeze(1)
