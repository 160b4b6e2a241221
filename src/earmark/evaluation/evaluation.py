"""How good a recognizer is, on recordings it never saw and in a background that holds nothing to detect."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.evaluation.background import THRESHOLDS, Alarm, Background, count_false_alarms, measure_background
from earmark.evaluation.shares import Rate, Share, spell_hours
from earmark.labels import RESERVED_LABELS, THRESHOLD

__all__ = [
    "THRESHOLDS",
    "Alarm",
    "Background",
    "Curve",
    "Evaluation",
    "Mistake",
    "Rate",
    "Recommendation",
    "ScoredClip",
    "Share",
    "confusion_matrix",
    "count_false_alarms",
    "measure_background",
    "trace_curve",
]


Values: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoredClip:
    """A recording that was scored by a recognizer that never saw it.

    Attributes:
        path: the sound file's path.
        label: the recording's label.
        scores: its scores, float32 of shape [labels], in the order of the evaluation's labels.
        id: the clip's id in its project.
        fold: the part of the cross-validation that held it out.
    """

    path: Path
    label: str
    scores: npt.NDArray[np.float32]
    id: str = ""
    fold: int = 0


@dataclass(frozen=True)
class Mistake:
    """A recording that was recognized as another label, with that label's score."""

    clip: ScoredClip
    heard: str
    score: float


@dataclass(frozen=True, eq=False)
class Curve:
    """The effect of each threshold on positives and negatives, from a threshold above all scores downwards.

    Attributes:
        thresholds: the thresholds, float64 of shape [points]; the first is infinite.
        false_acceptance: the share of negatives whose score reaches the threshold; NaN if there are none.
        hits: the share of positives whose score reaches the threshold; NaN if there are none.
    """

    thresholds: Values
    false_acceptance: Values
    hits: Values

    @property
    def false_rejection(self) -> Values:
        """The share of positives whose score is below the threshold; with `false_acceptance` it is the DET curve."""
        return 1 - self.hits

    @property
    def area(self) -> float:
        """The area under the ROC curve: the chance that a positive scores higher than a negative (Hanley, 1982).

        NaN without positives or without negatives.
        """
        if math.isnan(self.hits[-1] + self.false_acceptance[-1]):
            return math.nan
        middles = (self.hits[1:] + self.hits[:-1]) / 2
        return float(np.sum(np.diff(self.false_acceptance) * middles))

    @property
    def equal_error(self) -> float:
        """The equal error rate, where as many positives are missed as negatives are accepted, as shares.

        NaN without positives or without negatives.
        """
        at = int(np.abs(self.false_rejection - self.false_acceptance).argmin())
        return float(self.false_rejection[at] + self.false_acceptance[at]) / 2


@dataclass(frozen=True)
class Recommendation:
    """A threshold, and what it does.

    Attributes:
        threshold: the value for `probability_threshold`.
        recall: how many recordings of sounds to detect (of labels that are not reserved) are recognized with it.
        false_alarms: the false alarms in the background, if there is one.
        reached: whether the background keeps to the wanted rate with it.
        how: one sentence on how it was chosen.
    """

    threshold: float
    recall: Share
    false_alarms: Rate | None
    reached: bool
    how: str


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a way of training does on recordings that it never saw.

    Attributes:
        labels: the labels in the order of the scores.
        clips: the held-out recordings.
        method: how the recordings were held out, e.g. "cross-validation in 5 parts, by recording".
        background: the false alarms, if they were measured.
        counts: label → how many recordings it has in all; if empty, those of `clips` are counted.
        hint: a sentence on another base that would hear such recordings better, if there is one.

    Raises:
        EarmarkError: a clip's label or scores don't fit the labels.
    """

    labels: tuple[str, ...]
    clips: tuple[ScoredClip, ...]
    method: str
    background: Background | None = None
    counts: dict[str, int] = field(default_factory=dict)
    hint: str | None = None

    def __post_init__(self) -> None:
        for clip in self.clips:
            if clip.label not in self.labels or np.shape(clip.scores) != (len(self.labels),):
                raise EarmarkError(f"{clip.path} doesn't fit the labels {', '.join(self.labels)}: score it again.")
        if not self.counts:
            counts = {label: sum(clip.label == label for clip in self.clips) for label in self.labels}
            object.__setattr__(self, "counts", counts)

    # What was recognized: the label with the highest score

    @property
    def targets(self) -> tuple[str, ...]:
        """The labels to detect: all except the reserved ones."""
        return tuple(label for label in self.labels if label not in RESERVED_LABELS)

    @property
    def accuracy(self) -> Share:
        """How many recordings were recognized as their own label."""
        return Share(int(np.trace(self.confusion)), len(self.clips))

    def recall(self, label: str) -> Share:
        """How many of the label's recordings were recognized."""
        at = self.labels.index(label)
        return Share(int(self.confusion[at, at]), int(self.confusion[at].sum()))

    def precision(self, label: str) -> Share:
        """How many of the recordings that were recognized as the label are its own."""
        at = self.labels.index(label)
        return Share(int(self.confusion[at, at]), int(self.confusion[:, at].sum()))

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """See `confusion_matrix`."""
        heard = [self.labels[best] for best in self._best]
        return confusion_matrix([clip.label for clip in self.clips], heard, self.labels)

    @property
    def mistakes(self) -> list[Mistake]:
        """The recordings that were recognized as another label, the most confident mistake first."""
        found = [
            Mistake(clip, self.labels[best], float(clip.scores[best]))
            for clip, best in zip(self.clips, self._best, strict=True)
            if self.labels[best] != clip.label
        ]
        return sorted(found, key=lambda mistake: -mistake.score)

    # What thresholds do

    def roc(self, label: str | None = None) -> Curve:
        """The ROC curve of one label, whose own recordings are the positives. None means all targets together.

        All targets together ("micro") means every pair of a recording and a target. Recordings of reserved labels are
        negatives for all targets.
        """
        columns = [self.labels.index(name) for name in (self.targets if label is None else (label,))]
        own = self._truth[:, np.newaxis] == np.array(columns, np.int64)
        return trace_curve(own.ravel(), self._scores[:, columns].ravel())

    def roc_of_words(self) -> Curve:
        """Any label against `_background_noise_`, by the highest score of the labels: speech-commands' `evaluate`."""
        others = [at for at, label in enumerate(self.labels) if label != RESERVED_LABELS[0]]
        return trace_curve(np.isin(self._truth, others), self._scores[:, others].max(axis=1))

    def auc(self, label: str | None = None) -> float:
        """The area under `roc`; NaN without recordings of the label, or of other labels."""
        return self.roc(label).area

    @property
    def macro_auc(self) -> float:
        """The mean of the targets' areas, with equal weights; targets without an area are left out."""
        areas = [area for label in self.targets if not math.isnan(area := self.auc(label))]
        return float(np.mean(areas)) if areas else math.nan

    @cached_property
    def det(self) -> Curve:
        """All targets together: false rejection against false acceptance (Martin, 1997)."""
        return self.roc()

    def detected(self, threshold: float) -> Share:
        """How many of the targets' recordings are recognized with a score that reaches the threshold.

        These are the scores of clips. What `Recognizer.listen` detects in a stream is close to this, but not the same.
        """
        right, _ = self._reached(threshold)
        return Share(int(right.sum()), int(self._is_target.sum()))

    def false_alarms(self, threshold: float) -> Rate:
        """The false alarms in the background; a rate over zero hours if none was measured.

        Raises:
            EarmarkError: the threshold lies below those that were tried.
        """
        return self.background.rate(threshold) if self.background else Rate(0, 0.0)

    def recommend_threshold(self, false_alarms_per_hour: float = 1.0) -> Recommendation:
        """The lowest threshold from which upwards the background keeps to the wanted rate.

        Without a background, it is the threshold that best separates the targets' recordings from mistakes: the share
        of recognized recordings minus the share of mistaken ones is greatest (Youden, 1950). Of equally good thresholds
        it is the one nearest the usual 0.75.
        """
        if self.background is None or not self.background.hours:
            return self._recommend_without_background()
        threshold, reached = _lowest_kept(self.background, false_alarms_per_hour)
        rate = self.background.rate(threshold)
        wanted = f"{false_alarms_per_hour:g} false alarm{'' if false_alarms_per_hour == 1 else 's'} an hour"
        how = (
            f"It is the lowest with at most {wanted}" if reached else f"None keeps to {wanted}: it is the highest tried"
        )
        how += f", measured in {spell_hours(rate.hours)} of background"
        if reached and rate.interval[1] > false_alarms_per_hour:
            how += f"; so short a time can't rule out up to {rate.interval[1]:.1f} an hour"
        return Recommendation(threshold, self.detected(threshold), rate, reached, how + ".")

    def recommend_label_thresholds(self, false_alarms_per_hour: float = 1.0) -> dict[str, float]:
        """A threshold for each target, so that each may cause an equal part of the wanted rate.

        If one label causes most false alarms, the others needn't suffer for it. Without a background, all labels get
        the same threshold.
        """
        if self.background is None or not self.background.hours:
            return dict.fromkeys(self.targets, self.recommend_threshold().threshold)
        part = false_alarms_per_hour / max(1, len(self.targets))
        return {label: _lowest_kept(self.background, part, label)[0] for label in self.targets}

    def _recommend_without_background(self) -> Recommendation:
        def gain(threshold: float) -> tuple[float, float]:
            right, wrong = (reached.sum() for reached in self._reached(threshold))
            shares = right / max(1, self._is_target.sum()) - wrong / max(1, len(self.clips))
            return (round(float(shares), 9), -abs(threshold - THRESHOLD))

        threshold = max(THRESHOLDS, key=gain)
        how = (
            "No background was measured, so it is the one that best sets recordings that were recognized apart from "
            "those that were mistaken; how many false alarms it gives is not known."
        )
        return Recommendation(threshold, self.detected(threshold), None, False, how)

    def _reached(self, threshold: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which recordings are recognized as a target with at least that score: correctly, and wrongly."""
        names = np.array([label not in RESERVED_LABELS for label in self.labels])
        heard = names[self._best] & (self._scores[np.arange(len(self.clips)), self._best] >= threshold)
        return heard & (self._best == self._truth), heard & (self._best != self._truth)

    @cached_property
    def _scores(self) -> Values:
        # In double precision, as the decision stage compares them.
        return np.array([clip.scores for clip in self.clips], np.float64).reshape(-1, len(self.labels))

    @cached_property
    def _best(self) -> npt.NDArray[np.int64]:
        return np.asarray(self._scores.argmax(axis=1), np.int64)

    @cached_property
    def _truth(self) -> npt.NDArray[np.int64]:
        return np.array([self.labels.index(clip.label) for clip in self.clips], np.int64)

    @property
    def _is_target(self) -> npt.NDArray[np.bool_]:
        return np.array([clip.label not in RESERVED_LABELS for clip in self.clips], bool)


def confusion_matrix(truth: Iterable[str], heard: Iterable[str], labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """How often each label (row) was recognized as each label (column), in the order of `labels`."""
    index = {label: number for number, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    for true, found in zip(truth, heard, strict=True):
        matrix[index[true], index[found]] += 1
    return matrix


def trace_curve(is_positive: npt.NDArray[np.bool_], scores: npt.ArrayLike) -> Curve:
    """The curve of any scores, each of which is a positive's or a negative's; both of shape [scores]."""
    values = np.asarray(scores, np.float64)
    order = np.argsort(-values, kind="stable")
    values, positive = values[order], np.asarray(is_positive, bool)[order]
    last = np.flatnonzero(np.diff(values, append=-np.inf))  # of the scores that are the same
    hits = np.concatenate(([0], np.cumsum(positive)[last]))
    accepted = np.concatenate(([0], last + 1)) - hits
    with np.errstate(invalid="ignore"):
        return Curve(np.concatenate(([np.inf], values[last])), accepted / accepted[-1], hits / hits[-1])


def _lowest_kept(background: Background, wanted: float, label: str | None = None) -> tuple[float, bool]:
    """The lowest threshold from which upwards the rate is at most the wanted one; otherwise the highest, and False."""
    kept, reached = background.thresholds[-1], False
    for threshold in reversed(background.thresholds):
        if background.rate(threshold, label).value > wanted:
            break
        kept, reached = threshold, True
    return kept, reached
