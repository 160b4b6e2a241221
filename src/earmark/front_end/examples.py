"""Examples: labelled windows cut from clips."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile, gettempdir

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Clip
from earmark.audio.sources import ArraySource
from earmark.errors import EarmarkError
from earmark.front_end.frames import FrontEnd, clip_frames, sliding_windows, window_loudness
from earmark.front_end.recordings import Recording, frames_of, sound_frames, spectrogram_of
from earmark.front_end.silence import sounding
from earmark.front_end.spectrogram import BINS, FRAME_SECONDS, Spectrogram

KEY_FRAME_RANGE = 10.0  # dB; a recording's other words are at most this much quieter than its loudest
SOUND_FRAMES = 3  # frames in a short sound's window, about 70 ms


def example_count(samples: int, sample_rate: int, window_frames: int) -> int:
    """How many examples a clip of that many samples gives: one a frame, from the first whole window of sound on."""
    return max(0, sound_frames(samples, sample_rate) - window_frames + 1)


@dataclass(frozen=True)
class Examples:
    """Windows and their labels. Overlapping windows share their frames in memory.

    Attributes:
        frames: all clips' frames, one after the other, in dB, shape [frames, 232].
        starts: each window's first frame, int64 of shape [examples].
        targets: the index of each window's label, int64 of shape [examples].
        window_frames: the number of frames in a window.
        silent: the first frame of each window at a noise floor. These are no examples: they have no label.
    """

    frames: Spectrogram
    starts: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    window_frames: int
    silent: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.starts)

    def windows(self, chosen: npt.NDArray[np.int64] | None = None) -> Spectrogram:
        """All windows, or the chosen ones, of shape [examples, window_frames, 232]."""
        return sliding_windows(self.frames, self.window_frames)[self.starts if chosen is None else self.starts[chosen]]


def cut_examples(
    recordings: Iterable[tuple[Recording, int]], window_frames: int, noise: Collection[int] = ()
) -> Examples:
    """Cut every window of sound from recordings, each of which is given with its label's index.

    What lies at a recording's own noise floor is not its label's, but `silent`: see `earmark.front_end.silence`.

    The frames lie in a temporary file that is mapped into memory, so hours of recordings needn't fit into memory.

    Args:
        recordings: the recordings and the indices of their labels.
        window_frames: the number of frames in a window.
        noise: the indices of labels whose recordings are all sound, however quiet.
    """
    nothing = np.zeros(0, np.int64)
    starts, targets, silent, offset = [nothing], [nothing], [nothing], 0
    with _room(), TemporaryFile() as file:
        for recording, target in recordings:
            frames = spectrogram_of(recording)
            sounds = sounding(frames, window_frames)
            if target in noise:
                sounds[:] = True
            starts.append(offset + np.flatnonzero(sounds))
            targets.append(np.full(len(starts[-1]), target, np.int64))
            silent.append(offset + np.flatnonzero(~sounds))
            offset += len(frames)
            file.write(frames.tobytes())
        file.flush()
        mapped = np.memmap(file, np.float32, "r", shape=(offset, BINS)) if offset else np.zeros((0, BINS), np.float32)
    return Examples(mapped, np.concatenate(starts), np.concatenate(targets), window_frames, np.concatenate(silent))


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
    goes_on: bool = False,
    window_hop_ratio: float | None = None,
) -> npt.NDArray[np.float32]:
    """Cut a recording of a word, or of several, into windows.

    Args:
        recording: the recording. If it is shorter than a window, it is padded on both sides; see `frames_of`.
        window_frames: the number of frames in a window.
        front_end: what makes the frames.
        key_frame: the frame of the recording's spectrogram where the word is; None means to find it by loudness.
        everywhere: whether to use all of the recording, as for background noise.
        goes_on: whether the recording holds a sound that may go on, not words: all windows are used that don't lie at
            its noise floor; see `silence`.
        window_hop_ratio: the hop between windows, as a part of a window's length; all windows that hold the key frame
            are cut. None means only the one around the key frame. Noise is cut with this hop too, or with a hop of half
            a window if None.

    Returns:
        Windows of shape [windows, window_frames, values].

    Raises:
        EarmarkError: only the spectrogram of the recording is left, but the front end needs the sound.
    """
    frames = np.concatenate(list(frames_of(recording, window_frames, front_end)))
    windows = sliding_windows(frames, window_frames)
    hop = max(1, round(window_frames * (window_hop_ratio or 0.5)))
    if everywhere:
        return windows[::hop]
    if goes_on:
        is_heard = sounding(frames, window_frames, front_end)[::hop]
        if is_heard.any():
            return windows[::hop][is_heard]
    if key_frame is None:
        key_frames = find_key_frames(frames, window_frames, front_end)
    else:
        # A frame's middle lies one hop after its start. A recording that was padded has one window anyway.
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

    At an end of the clip, that window moves inwards. This is speech-commands' rule (`getValidWindows`).
    """
    middle = _middle_start(frames, key_frame, window_frames)
    first = middle - hop * (min(middle, middle + window_frames - 1 - key_frame) // hop)
    return list(range(first, min(key_frame, frames - window_frames) + 1, hop))


def find_key_frames(frames: npt.NDArray[np.float32], window_frames: int, front_end: FrontEnd) -> list[int]:
    """Find a recording's words: the middles of its loudest windows.

    A window counts if no window within half a window's length is louder, and if it is at most 10 dB quieter than the
    loudest of all. So a word that is said three times is found three times, and a long sound gives a window now and
    then.
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
    """Cut a word's window for each shift: it begins that many seconds later or earlier. Silence surrounds the clip.

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
