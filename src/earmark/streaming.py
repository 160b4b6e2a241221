"""From a stream of frames to windows, and from a stream of scores to detections."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.spectrogram import BINS, FRAME_SECONDS, Spectrogram

RESERVED_LABELS = ("_background_noise_", "_unknown_")  # as in Speech Commands


@dataclass(frozen=True)
class Detection:
    """A sound that was heard.

    Attributes:
        label: what it is.
        score: its highest smoothed score, 0 to 1.
        start, end: in seconds of the stream, from the first to the last window that heard it.
    """

    label: str
    score: float
    start: float
    end: float


@dataclass(frozen=True)
class ScoredWindow:
    """One window's scores, float32 of shape [labels], and the seconds of the stream that it saw."""

    scores: npt.NDArray[np.float32]
    start: float
    end: float


def sliding_windows(frames: Spectrogram, window_frames: int, hop: int = 1) -> Spectrogram:
    """Windows every `hop` frames: a view of shape [windows, window_frames, bins] of frames [frames, bins].

    numpy's sliding_window_view makes the same one in ten times the time, which counts where frames come one by one.
    """
    frames = np.ascontiguousarray(frames)
    count = max(0, (len(frames) - window_frames) // hop + 1)
    strides = (hop * frames.strides[0], *frames.strides)
    return np.ndarray((count, window_frames, frames.shape[1]), np.float32, frames, strides=strides)


def hop_of(window_frames: int, overlap_factor: float) -> int:
    """Frames from one window to the next: speech-commands' rule, at least one.

    Raises:
        EarmarkError: the overlap is not in [0, 1).
    """
    if not 0 <= overlap_factor < 1:
        raise EarmarkError(f"overlap_factor is {overlap_factor}: it must be at least 0 and less than 1.")
    return max(1, round(window_frames * (1 - overlap_factor)))


class Windows:
    """Frames in as they come, whole windows out, each once.

    Args:
        window_frames: frames in a window.
        hop: frames from one window to the next.
        first_frame: which of the stream's frames comes first.
    """

    def __init__(self, window_frames: int, hop: int, first_frame: int = 0) -> None:
        self._window_frames, self._hop = window_frames, hop
        self._held = np.zeros((0, BINS), np.float32)
        self._start = first_frame  # the stream's frame at which `_held` begins

    def process(self, frames: Spectrogram) -> tuple[Spectrogram, list[tuple[float, float]]]:
        """The next frames, shape [frames, bins].

        Returns:
            The windows that they complete, shape [windows, window_frames, bins], and each one's start and end in
            seconds.
        """
        held = np.concatenate((self._held, frames))
        windows = sliding_windows(held, self._window_frames, self._hop)
        starts = [self._start + index * self._hop for index in range(len(windows))]
        times = [(at * FRAME_SECONDS, (at + self._window_frames) * FRAME_SECONDS) for at in starts]
        self._held = held[len(windows) * self._hop :]
        self._start += len(windows) * self._hop
        return windows, times


class Decisions:
    """Scores in as they come, detections out as each sound ends.

    The scores are averaged over neighbouring windows. A detection begins where the best label's average reaches the
    threshold and goes on for as long as that label stays the best, so that a weak moment within doesn't cut it in two.

    Args:
        labels: in the order of the scores.
        probability_threshold: in [0, 1].
        suppression_time_ms: after a detection, others that begin within this time are dropped.
        smoothing_windows: how many windows are averaged, an odd number. With as many as a window has frames, an
            event one frame long keeps its score, and a flicker of one window stays below the threshold.
        invoke_callback_on_noise_and_unknown: whether the reserved labels are detections too.

    Raises:
        EarmarkError: a value is out of its range.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        probability_threshold: float = 0.75,
        suppression_time_ms: float = 0,
        smoothing_windows: int = 3,
        invoke_callback_on_noise_and_unknown: bool = False,
    ) -> None:
        if not suppression_time_ms >= 0:
            raise EarmarkError(f"suppression_time_ms is {suppression_time_ms}: it must be 0 or more.")
        if smoothing_windows < 1 or smoothing_windows % 2 == 0:
            raise EarmarkError(f"smoothing_windows is {smoothing_windows}: it must be an odd number, 1 or more.")
        self.probability_threshold = probability_threshold
        self._labels = labels
        self._suppression = suppression_time_ms / 1000
        self._reach = smoothing_windows // 2
        self._silent = () if invoke_callback_on_noise_and_unknown else RESERVED_LABELS
        self._recent: deque[ScoredWindow] = deque(maxlen=smoothing_windows)
        self._decided = 0  # windows of `_recent` that have been decided on
        self._open: Detection | None = None
        self._is_dropped = False  # whether the open detection began while others were suppressed
        self._quiet_until = 0.0

    @property
    def probability_threshold(self) -> float:
        """What a score must reach for a detection to begin. Setting it leaves one that is under way alone."""
        return self._threshold

    @probability_threshold.setter
    def probability_threshold(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise EarmarkError(f"probability_threshold is {value}: it must be between 0 and 1.")
        self._threshold = value

    @property
    def open(self) -> Detection | None:
        """The detection under way, as far as it has come, for who can't wait for its end; None while there is none."""
        return None if self._is_dropped else self._open

    def process(self, windows: Iterable[ScoredWindow]) -> list[Detection]:
        """The next windows; returns the detections that ended with them."""
        ended = []
        for window in windows:
            if len(self._recent) == self._recent.maxlen:
                self._decided -= 1
            self._recent.append(window)
            if len(self._recent) - self._decided > self._reach:  # its later neighbours are in
                ended += self._decide_next()
        return ended

    def finish(self) -> list[Detection]:
        """The detections that the stream's end ends."""
        ended = []
        while self._decided < len(self._recent):
            ended += self._decide_next()
        return ended + self._close()

    def _decide_next(self) -> list[Detection]:
        window = self._recent[self._decided]
        neighbours = islice(self._recent, max(0, self._decided - self._reach), self._decided + self._reach + 1)
        self._decided += 1
        scores = np.mean([neighbour.scores for neighbour in neighbours], axis=0)
        best = int(scores.argmax())
        label, score = self._labels[best], float(scores[best])
        if self._open is not None and self._open.label == label:
            self._open = Detection(label, max(score, self._open.score), self._open.start, window.end)
            return []
        ended = self._close()
        if score >= self._threshold and label not in self._silent:
            self._open = Detection(label, score, window.start, window.end)
            self._is_dropped = window.start < self._quiet_until
        return ended

    def _close(self) -> list[Detection]:
        ended, self._open = self._open, None
        if ended is None or self._is_dropped:
            return []
        self._quiet_until = ended.end + self._suppression if self._suppression else 0.0
        return [ended]
