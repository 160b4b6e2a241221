"""Examples: labelled windows cut from clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile, gettempdir

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Clip
from earmark.audio.sources import ArraySource
from earmark.errors import EarmarkError
from earmark.front_end.frames import FrontEnd, clip_frames, sliding_windows, window_loudness
from earmark.front_end.recordings import Recording, frames_of, sound_frames, spectrogram_of
from earmark.front_end.spectrogram import BINS, FRAME_SECONDS, Spectrogram

KEY_FRAME_RANGE = 10.0  # dB below the loudest, to which a recording's other words are looked for
SOUND_FRAMES = 3  # frames in a short sound's window, about 70 ms


def example_count(samples: int, sample_rate: int, window_frames: int) -> int:
    """How many examples a clip of that many samples gives: one a frame, once a whole window of sound is in."""
    return max(0, sound_frames(samples, sample_rate) - window_frames + 1)


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


def cut_examples(recordings: Iterable[tuple[Recording, int]], window_frames: int) -> Examples:
    """Cut every window from recordings, each given with its label's index.

    The frames lie in a temporary file, mapped into memory: hours of recordings need not fit into it.
    """
    nothing = np.zeros(0, np.int64)
    starts, targets, offset = [nothing], [nothing], 0
    with _room(), TemporaryFile() as file:
        for recording, target in recordings:
            frames = spectrogram_of(recording)
            count = max(0, len(frames) - window_frames + 1)
            starts.append(np.arange(offset, offset + count))
            targets.append(np.full(count, target, np.int64))
            offset += len(frames)
            file.write(frames.tobytes())
        file.flush()
        mapped = np.memmap(file, np.float32, "r", shape=(offset, BINS)) if offset else np.zeros((0, BINS), np.float32)
    return Examples(mapped, np.concatenate(starts), np.concatenate(targets), window_frames)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EarmarkError(f"{gettempdir()} can't be written ({error.strerror}): make room there.") from error


def cut_windows(
    recording: Recording,
    window_frames: int,
    front_end: FrontEnd,
    *,
    key_frame: int | None = None,
    everywhere: bool = False,
    window_hop_ratio: float | None = None,
) -> npt.NDArray[np.float32]:
    """Cut a recording of a word, or of several, into windows.

    Args:
        recording: one that is shorter than a window is filled on both sides; see `frames_of`.
        window_frames: frames in a window.
        front_end: what makes the frames.
        key_frame: where the word is, as a frame of the recording's spectrogram; found by loudness where None.
        everywhere: whether all of the recording counts, as it does of background noise.
        window_hop_ratio: with it, several windows that hold the key frame, so many windows' lengths apart; without, the
            one around it. Noise is cut by this too, and by half a window where None.

    Returns:
        Windows of shape [windows, window_frames, values].

    Raises:
        EarmarkError: of the recording only the spectrogram is left, and the frames are to be of the sound.
    """
    frames = np.concatenate(list(frames_of(recording, window_frames, front_end)))
    windows = sliding_windows(frames, window_frames)
    hop = max(1, round(window_frames * (window_hop_ratio or 0.5)))
    if everywhere:
        return windows[::hop]
    if key_frame is None:
        key_frames = find_key_frames(frames, window_frames, front_end)
    else:
        # A frame's middle lies one hop after its start. A recording that was filled has one window anyway.
        key_frames = [round((key_frame + 1) * FRAME_SECONDS / front_end.frame_seconds) - 1]
    starts: set[int] = set()
    for key in key_frames:
        if window_hop_ratio is None:
            starts.add(_middle_start(len(frames), key, window_frames))
        else:
            starts.update(windows_around(len(frames), min(key, len(frames) - 1), window_frames, hop))
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

    A window counts if none within half a window of it is louder, and if it is at most 10 dB quieter than the loudest of
    all. So a word said three times is found three times, and a sound that goes on gives a window now and then.
    """
    loudness = window_loudness(frames, window_frames, front_end)
    apart = window_frames // 2
    found: list[int] = []
    for start in np.flatnonzero(loudness >= loudness.max() * 10 ** (-KEY_FRAME_RANGE / 10)).tolist():
        near = loudness[max(0, start - apart) : start + apart + 1]
        if loudness[start] == near.max() and (not found or start - found[-1] >= apart):
            found.append(start)
    return [start + apart for start in found]


def cut_shifted(
    clip: Clip, window_frames: int, front_end: FrontEnd, shifts: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    """Cut a word's window, and others that begin so many seconds later or earlier, with silence around the clip.

    Returns:
        Windows of shape [shifts, window_frames, values].
    """
    silence = np.zeros(round(max(map(abs, shifts)) * clip.sample_rate), np.float32)
    padded = Clip(np.concatenate((silence, clip.samples, silence)), clip.sample_rate)
    frames = np.concatenate(list(clip_frames(ArraySource(padded), window_frames, front_end)))
    windows = sliding_windows(frames, window_frames)
    middle = int(window_loudness(frames, window_frames, front_end).argmax())
    starts = np.array([middle + round(shift / front_end.frame_seconds) for shift in shifts])
    cut: npt.NDArray[np.float32] = windows[starts.clip(0, len(windows) - 1)]
    return cut


def _middle_start(frames: int, key_frame: int, window_frames: int) -> int:
    return max(0, min(key_frame - window_frames // 2, frames - window_frames))
