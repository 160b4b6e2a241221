"""Examples: labelled windows cut from clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.audio import Clip
from earmark.spectrogram import BINS, HOP, SAMPLE_RATE, Spectrogram, compute_spectrogram
from earmark.streaming import sliding_windows

SOUND_FRAMES = 3  # frames in a short sound's window, about 70 ms


def example_count(samples: int, sample_rate: int, window_frames: int) -> int:
    """How many examples a clip of that many samples gives: one a frame, once a whole window of sound is in.

    A frame needs two hops of sound, so a window of w frames needs w + 1 hops; soxr rounds to whole samples.
    """
    hops = int(samples * SAMPLE_RATE / sample_rate + 0.5) // HOP
    return max(0, hops - window_frames)


@dataclass(frozen=True)
class Examples:
    """Windows and what they hold. Overlapping windows share their frames in memory.

    Attributes:
        frames: all clips' frames, one after the other, in dB, shape [frames, 232].
        starts: each window's first frame, int64 of shape [examples].
        targets: each window's label as its index, int64 of shape [examples].
        window_frames: frames in a window.
    """

    frames: Spectrogram
    starts: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    window_frames: int

    def __len__(self) -> int:
        return len(self.starts)

    def windows(self) -> Spectrogram:
        """All windows, shape [examples, window_frames, 232]."""
        return sliding_windows(self.frames, self.window_frames)[self.starts]


def cut_examples(clips: list[tuple[Clip, int]], window_frames: int) -> Examples:
    """Cut every window from clips, each given with its label's index."""
    spectrograms = [compute_spectrogram(clip.samples, clip.sample_rate, silence_before=False) for clip, _ in clips]
    starts, targets, offset = [], [], 0
    for frames, (_, target) in zip(spectrograms, clips, strict=True):
        count = max(0, len(frames) - window_frames + 1)
        starts.append(np.arange(offset, offset + count))
        targets.append(np.full(count, target, np.int64))
        offset += len(frames)
    nothing = np.zeros(0, np.int64)
    return Examples(
        np.concatenate([np.zeros((0, BINS), np.float32), *spectrograms]),
        np.concatenate([nothing, *starts]),
        np.concatenate([nothing, *targets]),
        window_frames,
    )
