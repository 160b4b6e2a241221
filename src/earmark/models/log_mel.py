"""Log-mel spectrograms that networks from elsewhere take, as those who trained them declare them.

Source: the two usual formulas of the mel scale, HTK's (Young et al., The HTK Book, 5.6), as in TensorFlow's
`linear_to_mel_weight_matrix`, and Slaney's (Auditory Toolbox, 1998), with triangles of equal area, as in librosa.
Frames aren't padded: the first begins with the first sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MELS, LOGS = ("htk", "slaney"), ("ln", "log10", "db")
MOST_BANDS, MOST_FFT, MOST_FRAMES = 1_024, 1 << 15, 10_000
SLANEY_HERTZ, SLANEY_MELS, SLANEY_STEP = 1000.0, 15.0, math.log(6.4) / 27  # from here on, the scale is logarithmic

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LogMel:
    """The parameters.

    Attributes:
        frame, hop: in samples.
        fft_size: what a frame is padded to; a Hann window (periodic) is as long as the frame.
        bands: how many mel bands.
        lowest, highest: the bands' ends in Hz.
        mel: "htk" or "slaney".
        power: 1 if the bands add magnitudes, 2 if they add powers.
        log: "ln", "log10" or "db" (10 log10).
        offset: what is added before the logarithm, so that silence has one.
        mean, deviation: x becomes (x − mean) / deviation at the end.
    """

    frame: int
    hop: int
    fft_size: int
    bands: int
    lowest: float
    highest: float
    mel: str = MELS[0]
    power: int = 2
    log: str = LOGS[0]
    offset: float = 1e-6
    mean: float = 0.0
    deviation: float = 1.0

    def check(self, sample_rate: int, window: int) -> None:
        """Refuse what can't be, for windows of that many samples.

        Raises:
            ValueError: the message says what is out of range.
            TypeError: a value is of another type.
        """
        whole = (self.frame, self.hop, self.fft_size, self.bands, self.power)
        parts = (self.lowest, self.highest, self.offset, self.mean, self.deviation)
        if not all(type(value) is int for value in whole) or not all(isinstance(value, float) for value in parts):
            raise TypeError("log_mel has a value of another type")
        if not 1 <= self.frame <= min(window, self.fft_size) or not self.hop >= 1 or self.fft_size > MOST_FFT:
            raise ValueError("log_mel: frame fits into window and fft_size, hop is at least a sample")
        if self.frames(window) > MOST_FRAMES or not 1 <= self.bands <= MOST_BANDS:
            raise ValueError(f"log_mel: at most {MOST_FRAMES:,} frames of {MOST_BANDS:,} bands")
        if not 0 <= self.lowest < self.highest <= sample_rate / 2:
            raise ValueError("log_mel: lowest is less than highest, and highest at most half of sample_rate")
        for name, value, known in (("mel", self.mel, MELS), ("log", self.log, LOGS), ("power", self.power, (1, 2))):
            if value not in known:
                raise ValueError(f"log_mel.{name} is {value!r}: {' or '.join(map(repr, known))}")
        if not 0 < self.offset <= 1e6 or not 0 < self.deviation <= 1e6 or not abs(self.mean) <= 1e6:
            raise ValueError("log_mel: offset and deviation are more than 0")

    def frames(self, samples: int) -> int:
        """How many frames that many samples give."""
        return 1 + (samples - self.frame) // self.hop

    def places(self, samples: int) -> npt.NDArray[np.int64]:
        """Which samples each frame is made of, shape [frames, frame]."""
        return np.arange(self.frames(samples))[:, np.newaxis] * self.hop + np.arange(self.frame)

    def matrices(self, sample_rate: int) -> tuple[Array, Array, Array]:
        """The transform of a frame as two products, real and imaginary part [frame, bins], and the bands [bins, bands].

        The window is in the transform. Bins that no band adds are left out.
        """
        bands = self.weights(sample_rate)
        used = np.flatnonzero(bands.any(axis=1))
        angles = -2 * np.pi * np.outer(np.arange(self.frame), used) / self.fft_size
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame) / self.frame)[:, np.newaxis]
        real, imaginary = (window * part(angles) for part in (np.cos, np.sin))
        return tuple(part.astype(np.float32) for part in (real, imaginary, bands[used]))  # type: ignore[return-value]

    @property
    def factor(self) -> float:
        """What a natural logarithm is multiplied by."""
        return {"ln": 1.0, "log10": 1 / math.log(10), "db": 10 / math.log(10)}[self.log]

    def compute(self, samples: Array, sample_rate: int) -> Array:
        """The spectrograms of waveforms [n, samples] in [-1, 1], shape [n, frames, bands]."""
        real, imaginary, bands = self.matrices(sample_rate)
        frames = samples[:, self.places(samples.shape[1])]
        power = np.square(frames @ real) + np.square(frames @ imaginary)
        levels = np.log((np.sqrt(power) if self.power == 1 else power) @ bands + np.float32(self.offset))
        return np.asarray((levels * np.float32(self.factor) - self.mean) / self.deviation, np.float32)

    def weights(self, sample_rate: int) -> npt.NDArray[np.float64]:
        """How much of each bin each band adds, shape [bins, bands]."""
        bins = np.linspace(0, sample_rate / 2, self.fft_size // 2 + 1)[:, np.newaxis]
        if self.mel == "htk":  # triangles in mel, none of which holds the constant part
            position = _htk(bins)
            edges = np.linspace(_htk(self.lowest), _htk(self.highest), self.bands + 2)
        else:
            position = bins
            edges = _slaney_hertz(np.linspace(_slaney_mel(self.lowest), _slaney_mel(self.highest), self.bands + 2))
        lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
        rising, falling = (position - lower) / (centre - lower), (upper - position) / (upper - centre)
        bands: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
        if self.mel == "slaney":
            bands *= 2 / (upper - lower)
        bands[0] = 0 if self.mel == "htk" else bands[0]
        return bands


def _htk(hertz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def _slaney_mel(hertz: float) -> float:
    if hertz < SLANEY_HERTZ:
        return 3 * hertz / 200
    return SLANEY_MELS + math.log(hertz / SLANEY_HERTZ) / SLANEY_STEP


def _slaney_hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mels < SLANEY_MELS, 200 * mels / 3, SLANEY_HERTZ * np.exp(SLANEY_STEP * (mels - SLANEY_MELS)))
