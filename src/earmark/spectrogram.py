"""The front end: the spectrogram of the WebAudio AnalyserNode, at exact sample positions.

Source: W3C Web Audio API 1.1, section "FFT Windowing and Smoothing over Time" of the AnalyserNode: the last 2,048
samples × Blackman window (α = 0.16), FFT, magnitude / FFT size, no smoothing, 20·log10. A browser reads its analyser by
a timer, so frames there repeat or go missing; here every 1,024 samples give one frame.

One frame costs one real FFT of 2,048 points, in double precision: numpy's is faster so than in single precision, and
its rounding (below −250 dB) never shows above the floor. A frame's bits don't depend on which frames are computed
with it, which is why the streaming form and the batch form, being one, agree to the last bit.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.audio import Resampler, Samples

SAMPLE_RATE = 44_100  # Hz
FFT_SIZE = 2_048  # samples, 46.4 ms
HOP = 1_024  # new samples a frame
FRAME_SECONDS = HOP / SAMPLE_RATE  # 23.2 ms
BINS = 232  # × SAMPLE_RATE / FFT_SIZE = 21.5 Hz reach 5 kHz
FLOOR_DB = -160.0  # digital silence, −∞ by the formula; a quiet 16-bit recording's own noise lies at about −139
BLOCK_FRAMES = 64  # computed at a time, so that they stay in the processor's cache

Spectrogram: TypeAlias = npt.NDArray[np.float32]

# The specification's window, a0 − a1·cos(2πn/N) + a2·cos(4πn/N), with the division by the FFT size folded in.
_ALPHA = 0.16
_PHASE = 2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE
WINDOW = ((1 - _ALPHA) / 2 - 0.5 * np.cos(_PHASE) + _ALPHA / 2 * np.cos(2 * _PHASE)) / FFT_SIZE
_FLOOR_POWER = 10 ** (FLOOR_DB / 10)


class StreamingSpectrogram:
    """Sound in by chunks of any size, frames out as they are complete.

    Args:
        sample_rate: of the chunks, in Hz; other rates than 44,100 are resampled.
        silence_before: whether the first frame sees 1,024 samples of silence before the sound, as an AnalyserNode
            does that has just started. Examples are cut without it: a recording has no such edge at its start.
    """

    def __init__(self, sample_rate: int = SAMPLE_RATE, *, silence_before: bool = True) -> None:
        self._resampler = Resampler(sample_rate, SAMPLE_RATE)
        self._held = np.zeros(FFT_SIZE - HOP if silence_before else 0, np.float32)

    def process(self, chunk: Samples) -> Spectrogram:
        """The next chunk, float32 of shape [samples]; returns the frames it completes, shape [frames, 232], in dB."""
        return self._frames(self._resampler.process(chunk))

    def finish(self) -> Spectrogram:
        """The frames that the resampler still held; what is left after them is shorter than a frame."""
        return self._frames(self._resampler.finish())

    def _frames(self, samples: Samples) -> Spectrogram:
        held = np.concatenate((self._held, samples))
        count = max(0, (len(held) - FFT_SIZE) // HOP + 1)
        self._held = held[count * HOP :]
        frames = np.empty((count, BINS), np.float32)
        # A view of the overlapping frames; sliding_window_view makes the same one in ten times the time.
        overlapping = np.ndarray((count, FFT_SIZE), np.float32, held, strides=(HOP * 4, 4))
        for start in range(0, count, BLOCK_FRAMES):
            frames[start : start + BLOCK_FRAMES] = _decibels(overlapping[start : start + BLOCK_FRAMES])
        return frames


def compute_spectrogram(
    samples: Samples, sample_rate: int = SAMPLE_RATE, *, silence_before: bool = True
) -> Spectrogram:
    """The whole spectrogram of a clip.

    Args:
        samples: float32 in [-1, 1], shape [samples].
        sample_rate: in Hz.
        silence_before: see `StreamingSpectrogram`.

    Returns:
        Levels in dB, shape [frames, 232]; one frame for every 1,024 whole samples at 44.1 kHz, less the first one
        without silence before.
    """
    front_end = StreamingSpectrogram(sample_rate, silence_before=silence_before)
    return np.concatenate((front_end.process(samples), front_end.finish()))


def _decibels(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    spectrum = np.fft.rfft(frames * WINDOW)[:, :BINS]
    power = spectrum.real * spectrum.real + spectrum.imag * spectrum.imag
    return 10 * np.log10(np.maximum(power, _FLOOR_POWER))
