"""Advice from an evaluation: what to record next, in plain sentences; and the whole evaluation as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np

from earmark.evaluation.evaluation import Evaluation
from earmark.evaluation.shares import Rate, Share, spell_hours
from earmark.labels import RESERVED_LABELS

ENOUGH_RECORDINGS = 10
LOW_RECALL = 0.8
CONFUSED_SHARE = 0.05
LOW_DETECTION = 0.5
FEW_TO_JUDGE = 5  # recordings of a label; with fewer, its recall is down to chance
WIDE_INTERVAL = 0.2
SURE = 0.9  # a mistake with at least this score may be a wrong label
ENOUGH_HOURS = 1.0  # of background recordings
AT_MOST = 3  # sentences of each kind


def advise(evaluation: Evaluation) -> list[str]:
    """What to record next, in plain sentences that the evaluation supports; empty if nothing stands out."""
    return [
        *_few_recordings(evaluation),
        *_wide_interval(evaluation),
        *_confused(evaluation),
        *_low_recall(evaluation),
        *_perhaps_mislabelled(evaluation),
        *_background(evaluation),
        *([] if evaluation.hint is None else [evaluation.hint]),
    ]


def as_dict(evaluation: Evaluation, false_alarms_per_hour: float = 1.0) -> dict[str, Any]:
    """All numbers in a form that JSON can hold; None stands for a missing value."""
    recommended = evaluation.recommend_threshold(false_alarms_per_hour)
    background = evaluation.background
    return {
        "method": evaluation.method,
        "recordings": len(evaluation.clips),
        "accuracy": _share(evaluation.accuracy),
        "labels": [
            {
                "name": label,
                "recordings": evaluation.counts.get(label, 0),
                "recall": _share(evaluation.recall(label)),
                "precision": _share(evaluation.precision(label)),
                "auc": _number(evaluation.auc(label)),
            }
            for label in evaluation.labels
        ],
        "confusion": evaluation.confusion.tolist(),
        "auc": _number(evaluation.auc()),
        "macro_auc": _number(evaluation.macro_auc),
        "equal_error": _number(evaluation.det.equal_error),
        "false_alarms": [{"threshold": at, **_rate(background.rate(at))} for at in background.thresholds]
        if background
        else None,
        "recommendation": {
            "threshold": recommended.threshold,
            "recall": _share(recommended.recall),
            "false_alarms": _rate(recommended.false_alarms) if recommended.false_alarms else None,
            "reached": recommended.reached,
            "how": recommended.how,
        },
        "advice": advise(evaluation),
    }


def _few_recordings(evaluation: Evaluation) -> Iterable[str]:
    few = {label: count for label, count in evaluation.counts.items() if count < ENOUGH_RECORDINGS}
    if few:
        named = ", ".join(f"“{label}” ({count})" for label, count in few.items())
        yield f"Too few recordings to learn from or to judge by: {named}. Make at least {ENOUGH_RECORDINGS} of each."


def _wide_interval(evaluation: Evaluation) -> Iterable[str]:
    accuracy = evaluation.accuracy
    low, high = accuracy.interval
    if accuracy.count and high - low > WIDE_INTERVAL:
        yield (
            f"With {_recordings(accuracy.count)} the accuracy can lie anywhere between {low:.0%} and {high:.0%}: "
            "more recordings tell it better."
        )


def _confused(evaluation: Evaluation) -> Iterable[str]:
    """The pairs of labels that are confused most often: at least twice, and in some share of a label's recordings."""
    labels, confusion = evaluation.labels, evaluation.confusion
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    pairs = [(confusion[i, j] + confusion[j, i], i, j) for i, j in combinations(range(len(labels)), 2)]
    often = [(n, i, j) for n, i, j in pairs if n >= 2 and max(shares[i, j], shares[j, i]) >= CONFUSED_SHARE]
    for _, i, j in sorted(often, key=lambda pair: -pair[0])[:AT_MOST]:
        heard = [
            f"“{labels[true]}” was heard as “{labels[found]}” in {confusion[true, found]} of "
            f"{_recordings(confusion[true].sum())}"
            for true, found in ((i, j), (j, i))
            if confusion[true, found]
        ]
        yield f"{', and '.join(heard)}: record more of both, as differently as they will sound."


def _low_recall(evaluation: Evaluation) -> Iterable[str]:
    recalls = [(evaluation.recall(label), label) for label in evaluation.labels]
    low = [(share, label) for share, label in recalls if share.count >= FEW_TO_JUDGE and share.value < LOW_RECALL]
    for share, label in sorted(low, key=lambda found: found[0].value)[:AT_MOST]:
        yield (
            f"“{label}” was recognized in only {share.hits} of {_recordings(share.count)}: record it in other places, "
            "at other distances and, if it is a word, by other people."
        )


def _perhaps_mislabelled(evaluation: Evaluation) -> Iterable[str]:
    for mistake in [mistake for mistake in evaluation.mistakes if mistake.score >= SURE][:AT_MOST]:
        yield (
            f"Listen to {mistake.clip.path.name}: it is filed under “{mistake.clip.label}” but was heard as "
            f"“{mistake.heard}” with a score of {mistake.score:.2f}, so it may be under the wrong label or "
            "hold little of the sound."
        )


def _background(evaluation: Evaluation) -> Iterable[str]:
    background = evaluation.background
    if background is None or not background.hours:
        yield (
            "False alarms were not measured: record some minutes of the place where it will listen, with none of the "
            "sounds in it, and evaluate with that as the background."
        )
        return
    if background.hours < ENOUGH_HOURS:
        yield (
            f"The background lasts only {spell_hours(background.hours)}: record an hour or more, so that rare false "
            "alarms show."
        )
    recommended = evaluation.recommend_threshold()
    threshold, recall = recommended.threshold, recommended.recall
    if recall.count and recall.value < LOW_DETECTION:
        yield (
            f"At the threshold {threshold:g}, chosen for few false alarms, only {recall.hits} of "
            f"{_recordings(recall.count)} are recognized: record more of every label, or accept more false alarms."
        )
    alarms = {label: background.rate(threshold, label).events for label in background.counts}
    label = max(alarms, key=alarms.__getitem__, default="")
    if alarms.get(label, 0) >= 2:
        yield (
            f"In the background “{label}” was heard {alarms[label]} times at the threshold {threshold:g}: record what "
            f"was mistaken for it under {_elsewhere(evaluation)}."
        )


def _elsewhere(evaluation: Evaluation) -> str:
    """The label for sounds that belong to no other label."""
    reserved = [f"“{label}”" for label in RESERVED_LABELS if label in evaluation.labels]
    return " or ".join(reserved) or "a label of its own"


def _recordings(count: int) -> str:
    return f"{count} recording{'' if count == 1 else 's'}"


def _share(share: Share) -> dict[str, Any]:
    return {"hits": share.hits, "count": share.count, "value": _number(share.value), "interval": list(share.interval)}


def _rate(rate: Rate) -> dict[str, Any]:
    interval = [_number(end) for end in rate.interval]
    return {"events": rate.events, "hours": rate.hours, "per_hour": _number(rate.value), "interval": interval}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
