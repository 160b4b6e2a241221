"""Examples: labelled windows cut from clips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt

from earmark.audio import ArraySource, Clip
from earmark.front_end import FrontEnd, clip_frames, sliding_windows, window_loudness
from earmark.spectrogram import BINS, FRAME_SECONDS, HOP, SAMPLE_RATE, Spectrogram, compute_spectrogram

KEY_FRAME_RANGE = 10.0  # dB below the loudest, to which a recording's other words are looked for
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

    def windows(self, chosen: npt.NDArray[np.int64] | None = None) -> Spectrogram:
        """All windows or the chosen ones, shape [examples, window_frames, 232]."""
        return sliding_windows(self.frames, self.window_frames)[self.starts if chosen is None else self.starts[chosen]]


def cut_examples(clips: Iterable[tuple[Clip, int]], window_frames: int) -> Examples:
    """Cut every window from clips, each given with its label's index.

    The frames lie in a temporary file, mapped into memory: hours of recordings need not fit into it.
    """
    nothing = np.zeros(0, np.int64)
    starts, targets, offset = [nothing], [nothing], 0
    with TemporaryFile() as file:
        for clip, target in clips:
            frames = compute_spectrogram(clip.samples, clip.sample_rate, silence_before=False)
            count = max(0, len(frames) - window_frames + 1)
            starts.append(np.arange(offset, offset + count))
            targets.append(np.full(count, target, np.int64))
            offset += len(frames)
            file.write(frames.tobytes())
        file.flush()
        mapped = np.memmap(file, np.float32, "r", shape=(offset, BINS)) if offset else np.zeros((0, BINS), np.float32)
    return Examples(mapped, np.concatenate(starts), np.concatenate(targets), window_frames)


def cut_windows(
    clip: Clip,
    window_frames: int,
    front_end: FrontEnd,
    *,
    key_frame: int | None = None,
    everywhere: bool = False,
    window_hop_ratio: float | None = None,
) -> npt.NDArray[np.float32]:
    """Cut a recording of a word, or of several, into windows.

    Args:
        clip: one that is shorter than a window gets silence on both sides.
        window_frames: frames in a window.
        front_end: what makes the frames.
        key_frame: where the word is, as a frame of the clip's spectrogram; found by loudness where None.
        everywhere: whether all of the recording counts, as it does of background noise.
        window_hop_ratio: with it, several windows that hold the key frame, so many windows' lengths apart; without, the
            one around it. Noise is cut by this too, and by half a window where None.

    Returns:
        Windows of shape [windows, window_frames, values].
    """
    missing = max(0.0, front_end.seconds_of(window_frames) - clip.seconds)
    frames = np.concatenate(list(clip_frames(ArraySource(clip), window_frames, front_end)))
    windows = sliding_windows(frames, window_frames)
    hop = max(1, round(window_frames * (window_hop_ratio or 0.5)))
    if everywhere:
        return windows[::hop]
    if key_frame is None:
        key_frames = find_key_frames(frames, window_frames, front_end)
    else:
        key_frames = [round((key_frame * FRAME_SECONDS + missing / 2) / front_end.frame_seconds)]
    starts: set[int] = set()
    for key in key_frames:
        around = windows_around(len(frames), min(key, len(frames) - 1), window_frames, hop)
        starts.update(around if window_hop_ratio else {_middle_start(len(frames), key, window_frames)})
    return windows[sorted(starts)]


def windows_around(frames: int, key_frame: int, window_frames: int, hop: int) -> list[int]:
    """The first frames of the windows that hold a key frame, `hop` frames apart, one of them with it in the middle.

    At an end of the clip that one moves inwards. This is the rule of the speech-commands package (`getValidWindows`).
    """
    middle = _middle_start(frames, key_frame, window_frames)
    first = middle - hop * (min(middle, middle + window_frames - 1 - key_frame) // hop)
    return list(range(first, min(key_frame, frames - window_frames) + 1, hop))


def find_key_frames(frames: npt.NDArray[np.float32], window_frames: int, front_end: FrontEnd) -> list[int]:
    """Where a recording's words are: the middles of its loudest windows.

    Of windows that share more than half of their frames the loudest counts, and of the others those that are at most
    10 dB quieter than the loudest of all. So a word said three times is found three times, and a sound that goes on
    gives a window about every half of one.
    """
    loudness = window_loudness(frames, window_frames, front_end)
    least = loudness.max() * 10 ** (-KEY_FRAME_RANGE / 10)
    apart = window_frames // 2
    found: list[int] = []
    for start in np.argsort(-loudness, kind="stable"):
        if loudness[start] < least:
            break
        if all(abs(start - other) >= apart for other in found):
            found.append(int(start))
    return sorted(start + window_frames // 2 for start in found)


def _middle_start(frames: int, key_frame: int, window_frames: int) -> int:
    return max(0, min(key_frame - window_frames // 2, frames - window_frames))
