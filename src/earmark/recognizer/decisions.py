"""From a stream of scores to detections."""

from __future__ import annotations

import math
import numbers
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.front_end.spectrogram import Spectrogram
from earmark.labels import RESERVED_LABELS, SILENT_LABELS, THRESHOLD
from earmark.models.metadata import SHORT_WINDOW

# Of a window: within it, windows must agree on a word. The base `speech`, which takes the waveform, is sure of a word
# only where it lies in the middle, and says less of what isn't one.
AGREEING_SHARES = {"spectrogram": 0.4, "waveform": 0.08}
ONE_SOUND = 0.75  # of a window: so long, what comes back is the same sound
GOES_ON = 2 / 3  # of the threshold: so much, a sound that has begun must keep


@dataclass(frozen=True)
class Detection:
    """A sound that was heard.

    Attributes:
        label: the sound's label.
        score: the label's highest smoothed score, 0 to 1.
        start, end: the span in seconds of the stream, from the first to the last window that heard the sound.
        spectrogram: the spectrogram of the window with the highest score, in dB, shape [frames, bins], if requested.
        embedding: the embedding of that window, shape [values], if requested.
        scores: the scores of that window, not smoothed, shape [labels].
    """

    label: str
    score: float
    start: float
    end: float
    spectrogram: Spectrogram | None = field(default=None, compare=False, repr=False)
    embedding: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    scores: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


def as_dict(detection: Detection) -> dict[str, Any]:
    """What is told of a detection where it can't be had itself, in a message or a file: values that JSON can hold."""
    numbers = {"score": detection.score, "start": detection.start, "end": detection.end}
    return {"label": detection.label, **{name: float(number) for name, number in numbers.items()}}


@dataclass(frozen=True)
class ScoredWindow:
    """One window's scores, float32 of shape [labels], and the span of the stream that it saw, in seconds.

    `spectrogram`, in dB, and `embedding` are there if they were requested.
    """

    scores: npt.NDArray[np.float32] = field(compare=False)
    start: float
    end: float
    spectrogram: Spectrogram | None = field(default=None, compare=False, repr=False)
    embedding: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


def default_smoothing(window_frames: int) -> int:
    """How many windows `Decisions` should average: 3 for short sounds, otherwise 1, since there windows must agree."""
    return 3 if window_frames <= SHORT_WINDOW else 1


def default_agreement(window_frames: int, hop: int, front_end: str = "spectrogram") -> int:
    """How many successive windows, `hop` frames apart, should have to agree before `Decisions` begins a detection.

    For short sounds 1: a sneeze is heard in one to three windows. For words, as many as begin within two fifths of a
    window, which is 5 at the usual hop of a tenth: a word is then heard in about ten windows, and other sounds that
    resemble it in fewer. For words in a waveform model 2.
    """
    return 1 if window_frames <= SHORT_WINDOW else 1 + int(AGREEING_SHARES[front_end] * window_frames / hop)


@dataclass
class _Sound:
    """A label, the windows that heard it, and its highest score so far."""

    label: str
    score: float
    first: ScoredWindow
    last: ScoredWindow
    best: ScoredWindow
    windows: int = 1
    is_dropped: bool = False

    def add(self, window: ScoredWindow, score: float) -> None:
        self.last = window
        self.windows += 1
        if score > self.score:
            self.score, self.best = score, window

    def lasts(self, until: ScoredWindow) -> float:
        """Seconds from the first window to that one."""
        return until.start - self.first.start

    @property
    def detection(self) -> Detection:
        best = self.best
        return Detection(
            self.label, self.score, self.first.start, self.last.end, best.spectrogram, best.embedding, best.scores
        )


class Decisions:
    """Takes scores as they come and returns each detection when its sound has ended.

    The scores are averaged over neighbouring windows. A detection begins with `min_agreeing_windows` successive
    windows that have the same best label, each with an average that reaches the threshold. It continues while that
    label stays the best with at least two thirds of the threshold, so that a weak moment doesn't cut a sound in two.

    A sound lasts from the middle of its first window to the middle of its last one. Within three quarters of a window
    after its beginning it stays one sound, whatever comes in between: other windows don't end it unless another
    detection begins. If one does, and the first label returns within that time, it is dropped.

    Args:
        labels: the labels in the order of the scores.
        probability_threshold: what a score must reach for a detection to begin, in [0, 1].
        label_thresholds: thresholds for single labels.
        suppression_time_ms: sounds that begin within this time after the end of another one are dropped.
        smoothing_windows: how many windows are averaged, an odd number. With as many as a window has frames, an
            event one frame long keeps its score, and a flicker of one window stays below the threshold.
        min_agreeing_windows: how many successive windows must agree before a detection begins, 1 or more.
        longest_sound_ms: a sound that has lasted this long has ended. If it goes on, it counts as the same word said
            again, once as many windows agree on it as at a beginning. None allows sounds of any length; the reserved
            labels may always last.
        invoke_callback_on_noise_and_unknown: whether the reserved labels give detections, too.

    Raises:
        EarmarkError: a value is out of range, or there is no such label.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        probability_threshold: float = THRESHOLD,
        label_thresholds: Mapping[str, float] | None = None,
        suppression_time_ms: float = 0,
        smoothing_windows: int = 3,
        min_agreeing_windows: int = 1,
        longest_sound_ms: float | None = None,
        invoke_callback_on_noise_and_unknown: bool = False,
    ) -> None:
        self._labels = labels
        self.probability_threshold = probability_threshold
        self.label_thresholds = {} if label_thresholds is None else label_thresholds
        self._suppression = _number("suppression_time_ms", suppression_time_ms, "0 or more", 0) / 1000
        smoothing = _count("smoothing_windows", smoothing_windows, "an odd number, 1 or more", step=2)
        self._min_agreeing = _count("min_agreeing_windows", min_agreeing_windows, "a whole number, 1 or more")
        self._longest = math.inf
        if longest_sound_ms is not None:
            self._longest = _number("longest_sound_ms", longest_sound_ms, "1 or more, or None", 1) / 1000
        if not isinstance(invoke_callback_on_noise_and_unknown, (bool, np.bool_)):
            raise _wrong("invoke_callback_on_noise_and_unknown", invoke_callback_on_noise_and_unknown, "True or False")
        self._reach = smoothing // 2
        self._silent = () if invoke_callback_on_noise_and_unknown else SILENT_LABELS
        self._recent: deque[ScoredWindow] = deque(maxlen=smoothing)
        self._decided = 0  # windows of `_recent` that have been decided on
        self._coming: _Sound | None = None  # what the last windows agree on, until they are enough
        self._open: _Sound | None = None
        self._begun: dict[str, float] = {}  # when each label's last sound began
        self._quiet_until = -math.inf

    @property
    def probability_threshold(self) -> float:
        """What a score must reach for a detection to begin. Setting it doesn't end a detection that has begun."""
        return self._threshold

    @probability_threshold.setter
    def probability_threshold(self, value: float) -> None:
        self._threshold = _number("probability_threshold", value, "between 0 and 1", 0, 1)

    @property
    def label_thresholds(self) -> Mapping[str, float]:
        """Thresholds for single labels. Setting them doesn't end a detection that has begun."""
        return self._label_thresholds

    @label_thresholds.setter
    def label_thresholds(self, values: Mapping[str, float]) -> None:
        if not isinstance(values, Mapping):
            raise _wrong("label_thresholds", values, "a mapping of labels to thresholds, or None")
        for label in values:
            if label not in self._labels:
                raise EarmarkError(f"label_thresholds names {label!r}: choose from {', '.join(self._labels)}.")
        self._label_thresholds = {
            label: _number(f"label_thresholds[{label!r}]", value, "between 0 and 1", 0, 1)
            for label, value in values.items()
        }

    @property
    def open(self) -> Detection | None:
        """The detection that has begun but not ended, as it is so far; None if there is none."""
        return None if self._open is None or self._open.is_dropped else self._open.detection

    @property
    def options(self) -> dict[str, Any]:
        """The options in force, by name."""
        return {
            "probability_threshold": self._threshold,
            "label_thresholds": self._label_thresholds,
            "suppression_time_ms": 1000 * self._suppression,
            "smoothing_windows": self.smoothing_windows,
            "min_agreeing_windows": self._min_agreeing,
            "longest_sound_ms": None if self._longest == math.inf else 1000 * self._longest,
            "invoke_callback_on_noise_and_unknown": not self._silent,
        }

    @property
    def smoothing_windows(self) -> int:
        """How many windows are averaged."""
        return self._recent.maxlen or 1

    @property
    def min_agreeing_windows(self) -> int:
        """How many successive windows must agree before a detection begins."""
        return self._min_agreeing

    @property
    def needed(self) -> int:
        """How many of the next windows must all pass `may_begin` before a detection can begin.

        0 if the next window matters in any case, because a detection has begun or windows are averaged.
        """
        if self._open is not None or self.smoothing_windows > 1:
            return 0
        return self._min_agreeing - (0 if self._coming is None else self._coming.windows)

    def may_begin(self, scores: npt.NDArray[np.float32]) -> bool:
        """Whether a detection may begin with a window with these scores, shape [labels], if windows aren't averaged."""
        best = int(scores.argmax())
        return self._reaches(self._labels[best], float(scores[best]))

    def skip(self) -> None:
        """Skip windows with which no detection may begin; only while `needed` isn't 0."""
        self._coming = None

    def process(self, windows: Iterable[ScoredWindow]) -> list[Detection]:
        """Take the next windows; return the detections that ended with them."""
        ended = []
        for window in windows:
            if len(self._recent) == self._recent.maxlen:
                self._decided -= 1
            self._recent.append(window)
            if len(self._recent) - self._decided > self._reach:  # its later neighbours are in
                ended += self._decide_next()
        return ended

    def finish(self) -> list[Detection]:
        """The detections that end with the stream."""
        ended = []
        while self._decided < len(self._recent):
            ended += self._decide_next()
        return ended + self._close()

    def _decide_next(self) -> list[Detection]:
        window, label, score = self._average_next()
        sound = self._open
        is_too_long = sound is not None and self._is_too_long(sound, window)
        is_weak = score < GOES_ON * self._threshold_of(label)
        if sound is not None and label == sound.label and not is_weak and not is_too_long:
            sound.add(window, score)
            self._coming = None
            return []
        coming = self._gather(window, label, score) if self._reaches(label, score) else None
        begins = coming is not None and coming.windows >= self._min_agreeing
        is_over = is_too_long or (sound is not None and sound.lasts(window) >= ONE_SOUND * (window.end - window.start))
        ended = self._close() if begins or is_over else []
        if coming is not None and begins:
            self._begin(coming)
            coming = None
        self._coming = coming
        return ended

    def _threshold_of(self, label: str) -> float:
        return self._label_thresholds.get(label, self._threshold)

    def _reaches(self, label: str, score: float) -> bool:
        return score >= self._threshold_of(label) and label not in self._silent

    def _is_too_long(self, sound: _Sound, window: ScoredWindow) -> bool:
        """Whether the sound would be too long with this window; noise never is."""
        return sound.label not in RESERVED_LABELS and sound.lasts(window) >= self._longest

    def _average_next(self) -> tuple[ScoredWindow, str, float]:
        """The next window to decide on, its best label and that label's average score."""
        window = self._recent[self._decided]
        neighbours = islice(self._recent, max(0, self._decided - self._reach), self._decided + self._reach + 1)
        self._decided += 1
        # np.mean gives the same values in some times the time, which counts where windows come at each frame.
        scores, *others = (neighbour.scores for neighbour in neighbours)
        for other in others:
            scores = scores + other
        if others:
            scores = scores / np.float32(1 + len(others))
        best = int(scores.argmax())
        return window, self._labels[best], float(scores[best])

    def _gather(self, window: ScoredWindow, label: str, score: float) -> _Sound:
        """The sound that this window and those before it agree on."""
        coming = self._coming
        if coming is None or coming.label != label:
            return _Sound(label, score, window, window, window)
        coming.add(window, score)
        return coming

    def _begin(self, sound: _Sound) -> None:
        first = sound.first
        is_back = first.start - self._begun.get(sound.label, -math.inf) < ONE_SOUND * (first.end - first.start)
        sound.is_dropped = is_back or first.end < self._quiet_until
        if not is_back:
            self._begun[sound.label] = first.start
        self._open = sound

    def _close(self) -> list[Detection]:
        sound, self._open = self._open, None
        if sound is None or sound.is_dropped:
            return []
        # Windows are equally long, so that from end to end is from middle to middle.
        self._quiet_until = sound.last.end + self._suppression
        return [sound.detection]


def _number(name: str, value: Any, wanted: str, lowest: float, highest: float = sys.float_info.max) -> float:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not lowest <= value <= highest:  # not so for NaN either
        raise _wrong(name, value, wanted)
    return float(value)


def _count(name: str, value: Any, wanted: str, step: int = 1) -> int:
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or value < 1 or (value - 1) % step:
        raise _wrong(name, value, wanted)
    return int(value)


def _wrong(name: str, value: Any, wanted: str) -> EarmarkError:
    shown = value if isinstance(value, numbers.Real) else repr(value)
    return EarmarkError(f"{name} is {shown}: it must be {wanted}.")
