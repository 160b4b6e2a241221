"""False alarms: detections in recordings that hold nothing to detect."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.audio.sources import FileSource
from earmark.errors import EarmarkError
from earmark.evaluation.shares import Rate
from earmark.labels import SILENT_LABELS, THRESHOLD
from earmark.recognizer.decisions import Detection
from earmark.recognizer.recognizer import Recognizer

# Below one half, the best label is more likely wrong than right.
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99)
WORST = 20  # alarms that are kept at each threshold


@dataclass(frozen=True)
class Alarm:
    """A detection where there was nothing to detect. Start and end are in seconds of the recording."""

    recording: Path
    label: str
    start: float
    end: float
    score: float


@dataclass(frozen=True)
class Background:
    """The detections in recordings that hold none of the labels.

    Attributes:
        hours: how long the recordings last.
        thresholds: the thresholds that were tried, lowest first.
        counts: label → its number of alarms at each threshold; reserved labels give none.
        worst: for each threshold, the alarms with the highest scores, at most 20.
    """

    hours: float
    thresholds: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]
    worst: tuple[tuple[Alarm, ...], ...] = ()

    def rate(self, threshold: float, label: str | None = None) -> Rate:
        """The rate of alarms of all labels, or of one, at the highest tried threshold that is not above `threshold`.

        Raises:
            EarmarkError: the threshold is below those that were tried.
        """
        at = self._index(threshold)
        counts = self.counts.values() if label is None else [self.counts[label]]
        return Rate(sum(count[at] for count in counts), self.hours)

    def worst_at(self, threshold: float) -> tuple[Alarm, ...]:
        """The alarms with the highest scores, at most 20, at the same threshold as in `rate`."""
        return self.worst[self._index(threshold)] if self.worst else ()

    def _index(self, threshold: float) -> int:
        at = bisect_right(self.thresholds, threshold) - 1
        if at < 0:
            lowest = self.thresholds[0] if self.thresholds else 1.0
            raise EarmarkError(f"False alarms were counted from the threshold {lowest} up: {threshold} is below it.")
        return at


def measure_background(
    recognizer: Recognizer,
    recordings: Iterable[Path],
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    on_progress: Callable[[float], object] | None = None,
    **options: Any,
) -> Background:
    """Listen to recordings of any length, like `Recognizer.listen`, with all thresholds at once.

    It takes one pass and constant memory.

    Args:
        recognizer: the recognizer that listens.
        recordings: sound files that hold none of its labels except the reserved ones.
        thresholds: values for `probability_threshold`.
        on_progress: called with the seconds listened to so far, about once for each second of sound.
        options: options of `Recognizer.listen` that are passed on to `Decisions`, e.g. suppression_time_ms.

    Raises:
        EarmarkError: a recording can't be read, or an option is out of range.
    """
    tally = _Tally(recognizer.labels, tuple(sorted(set(thresholds))))
    seconds = 0.0
    for recording in recordings:
        decisions = [recognizer.decisions(threshold, **options) for threshold in tally.thresholds]
        source = FileSource(recording)
        length, end = source.seconds, 0.0
        for window in recognizer.stream(source):
            for at, decision in enumerate(decisions):
                tally.add(recording, at, decision.process([window]))
            if on_progress is not None and int(window.end) > int(end):
                on_progress(seconds + window.end)
            end = window.end
        for at, decision in enumerate(decisions):
            tally.add(recording, at, decision.finish())
        seconds += end if length is None else length
    return tally.background(seconds / 3600)


class _Tally:
    """Collects the alarms at each threshold as they come."""

    def __init__(self, labels: tuple[str, ...], thresholds: tuple[float, ...]) -> None:
        self.thresholds = thresholds
        self._counts = {label: [0] * len(thresholds) for label in labels if label not in SILENT_LABELS}
        self._worst: list[list[Alarm]] = [[] for _ in thresholds]

    def add(self, recording: Path, at: int, detections: list[Detection]) -> None:
        """Add detections at the threshold with that index."""
        for heard in (detection for detection in detections if detection.label in self._counts):
            self._counts[heard.label][at] += 1
            alarm = Alarm(recording, heard.label, heard.start, heard.end, heard.score)
            self._worst[at] = sorted([*self._worst[at], alarm], key=lambda alarm: -alarm.score)[:WORST]

    def background(self, hours: float) -> Background:
        counts = {label: tuple(count) for label, count in self._counts.items()}
        return Background(hours, self.thresholds, counts, tuple(map(tuple, self._worst)))


def count_false_alarms(
    recognizer: Recognizer, recordings: Iterable[Path], probability_threshold: float = THRESHOLD
) -> tuple[Rate, list[tuple[Path, str, float]]]:
    """Count detections by `Recognizer.listen` in recordings that hold nothing to detect.

    Returns:
        How many there are an hour, and each with its recording, its label and its start in seconds.
    """
    alarms: list[tuple[Path, str, float]] = []
    seconds = 0.0
    for recording in recordings:
        source = FileSource(recording)
        seconds += source.seconds or 0.0
        found = recognizer.listen(source, probability_threshold=probability_threshold)
        alarms += [(recording, detection.label, detection.start) for detection in found]
    return Rate(len(alarms), seconds / 3600), alarms
