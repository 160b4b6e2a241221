"""The log-mel spectrogram of YAMNet: the waveform at 16 kHz → 64 bands every 10 ms.

Its parameters and their source are in `earmark.models.declaration`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from earmark.models.declaration import YAMNET_MEL

RATE = 16_000
FRAME, HOP, FFT = YAMNET_MEL.frame, YAMNET_MEL.hop, YAMNET_MEL.fft_size  # samples
OFFSET = YAMNET_MEL.offset
PATCH = 96  # frames that the teacher sees at once
PATCH_SAMPLES = (PATCH - 1) * HOP + FRAME


def mel_matrix() -> Tensor:
    """How much of each bin each band adds, shape [257, 64]."""
    return torch.tensor(YAMNET_MEL.weights(RATE), dtype=torch.float32)


_MEL = mel_matrix()
_WINDOW = torch.hann_window(FRAME, periodic=True)


def log_mel(sound: Tensor) -> Tensor:
    """Shape [n, samples] → [n, 1, frames, 64]."""
    magnitudes = torch.fft.rfft(sound.unfold(-1, FRAME, HOP) * _WINDOW, FFT).abs()
    return torch.log(magnitudes @ _MEL + OFFSET).unsqueeze(1)
