"""The front end: the spectrogram of the WebAudio AnalyserNode, at exact sample positions.

Source: W3C Web Audio API 1.1, section "FFT Windowing and Smoothing over Time" of the AnalyserNode: the last 2,048
samples × Blackman window (α = 0.16), FFT, magnitude / FFT size, no smoothing, 20·log10. A browser reads its analyser by
a timer, so frames there repeat or go missing; here every 1,024 samples give one frame.

One frame costs one real FFT of 2,048 points in double precision: numpy's FFT is faster in double than in single
precision, and its rounding errors (below −250 dB) never show above the floor. A frame's bits don't depend on which
frames are computed with it. So the batch form, which is the streaming form with one long chunk, gives the same bits.

All other steps together cost less than half of the FFT, because they reuse their arrays: the system hands out fresh
arrays of this size page by page, which takes longer than the arithmetic.
"""

from __future__ import annotations

import threading
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Resampler, Samples

SAMPLE_RATE = 44_100  # Hz
FFT_SIZE = 2_048  # samples, 46.4 ms
HOP = 1_024  # new samples a frame
FRAME_SECONDS = HOP / SAMPLE_RATE  # 23.2 ms
BINS = 232  # × SAMPLE_RATE / FFT_SIZE = 21.5 Hz reach 5 kHz
FLOOR_DB = -160.0  # digital silence, −∞ by the formula; the noise of a quiet 16-bit recording lies at about −139
BLOCK_FRAMES = 32  # frames that are computed at a time, so that they stay in the processor's cache

Spectrogram: TypeAlias = npt.NDArray[np.float32]

# The specification's window, a0 − a1·cos(2πn/N) + a2·cos(4πn/N), with the division by the FFT size folded in.
_ALPHA = 0.16
_PHASE = 2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE
WINDOW = ((1 - _ALPHA) / 2 - 0.5 * np.cos(_PHASE) + _ALPHA / 2 * np.cos(2 * _PHASE)) / FFT_SIZE

# As arrays: numpy would convert plain numbers at each call, which matters when four frames come at a time.
_FLOOR_MAGNITUDE = np.array(10 ** (FLOOR_DB / 20))
_TWENTY = np.array(20.0)


class StreamingSpectrogram:
    """Takes sound in chunks of any size and returns frames as they are complete.

    Args:
        sample_rate: the chunks' sample rate in Hz; rates other than 44,100 are resampled.
        silence_before: whether the first frame sees 1,024 samples of silence before the sound, as in an AnalyserNode
            that has just started. Examples are cut without it: a recording has no such edge at its start.
    """

    def __init__(self, sample_rate: int = SAMPLE_RATE, *, silence_before: bool = True) -> None:
        self._resampler = Resampler(sample_rate, SAMPLE_RATE)
        self._samples = np.zeros((BLOCK_FRAMES + 2) * HOP, np.float32)
        self._held = FFT_SIZE - HOP if silence_before else 0  # that many samples belong to frames to come
        # A view of the overlapping frames; sliding_window_view takes ten times as long for the same view.
        self._frames_of = np.ndarray((BLOCK_FRAMES, FFT_SIZE), np.float32, self._samples, strides=(HOP * 4, 4))

    def process(self, chunk: Samples) -> Spectrogram:
        """Take the next chunk, float32 of shape [samples]; return complete frames, shape [frames, 232], in dB."""
        return self._frames(self._resampler.process(chunk))

    def finish(self) -> Spectrogram:
        """The frames that the resampler still held; any samples left after them are too few for a frame."""
        return self._frames(self._resampler.finish())

    def _frames(self, samples: Samples) -> Spectrogram:
        block = BLOCK_FRAMES * HOP
        if len(samples) > block:
            return np.concatenate([self._frames(samples[at : at + block]) for at in range(0, len(samples), block)])
        end = self._held + len(samples)
        self._samples[self._held : end] = samples
        count = max(0, end // HOP - 1)
        frames = np.empty((count, BINS), np.float32)
        if count:
            _decibels(self._frames_of[:count], frames)
            rest = end - count * HOP
            self._samples[:rest] = self._samples[count * HOP : end]
            end = rest
        self._held = end
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
        Levels in dB, shape [frames, 232]: one frame for every 1,024 whole samples at 44.1 kHz, or one frame fewer
        without silence before.
    """
    front_end = StreamingSpectrogram(sample_rate, silence_before=silence_before)
    return np.concatenate((front_end.process(samples), front_end.finish()))


class _Arrays(threading.local):
    """The arrays for one block of frames. Each thread has its own, since a server's streams share its threads."""

    def __init__(self) -> None:
        windowed = np.empty((BLOCK_FRAMES, FFT_SIZE))
        spectra = np.empty((BLOCK_FRAMES, FFT_SIZE // 2 + 1), np.complex128)
        levels = np.empty((BLOCK_FRAMES, BINS))
        counts = range(BLOCK_FRAMES + 1)
        self.of_count = [(windowed[:n], spectra[:n], spectra[:n, :BINS], levels[:n]) for n in counts]


_arrays = _Arrays()


def _find_rfft() -> Any:
    """numpy's own loop over rows, without the checks in `np.fft.rfft`, which take half the time of a frame."""
    try:
        # Not public: another version of numpy may have a different one, or none.
        from numpy.fft._pocketfft_umath import rfft_n_even  # type: ignore[import-not-found,unused-ignore]

        row, spectrum = np.array([[1.0, 2.0, 3.0, 5.0]]), np.empty((1, 3), np.complex128)
        rfft_n_even(row, 1.0, spectrum)
        if np.array_equal(spectrum, np.fft.rfft(row)):
            return rfft_n_even
    except (ImportError, TypeError, ValueError):
        pass
    return lambda rows, _factor, out: np.copyto(out, np.fft.rfft(rows))


_rfft = _find_rfft()


def _decibels(frames: npt.NDArray[np.float32], out: Spectrogram) -> None:
    """Levels, shape [frames, 232], of at most a block of frames, shape [frames, 2048]."""
    windowed, spectra, low_bins, levels = _arrays.of_count[len(frames)]
    np.multiply(frames, WINDOW, windowed)
    _rfft(windowed, 1.0, spectra)
    np.absolute(low_bins, levels)
    np.maximum(levels, _FLOOR_MAGNITUDE, out=levels)
    np.log10(levels, levels)
    np.multiply(levels, _TWENTY, out)
