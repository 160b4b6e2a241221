"""Shares, rates, curves, thresholds and advice, against published values, scikit-learn and arithmetic by hand."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import chi2, poisson
from sklearn import metrics

from earmark import EarmarkError, Recognizer
from earmark.evaluation.advice import advise, as_dict
from earmark.evaluation.evaluation import (
    Alarm,
    Background,
    Evaluation,
    Rate,
    ScoredClip,
    Share,
    confusion_matrix,
    count_false_alarms,
    measure_background,
    trace_curve,
)
from tests import bands, chirps

LABELS = ("_background_noise_", "left", "right", "_unknown_", "clap")
TARGETS = ("left", "right", "clap")

Case: TypeAlias = tuple[Evaluation, npt.NDArray[np.int64], npt.NDArray[np.float32]]  # with the truth and the scores


def clip(label: str, *scores: float, labels: tuple[str, ...] = ("left", "right"), name: str = "a.wav") -> ScoredClip:
    assert label in labels
    return ScoredClip(Path(label) / name, label, np.array(scores, np.float32))


def evaluation(*clips: ScoredClip, background: Background | None = None) -> Evaluation:
    return Evaluation(("left", "right"), clips, "by hand", background)


@st.composite
def scored(draw: st.DrawFn) -> Case:
    """Each label has a recording; the scores have few values, so that many are the same."""
    more = draw(st.lists(st.integers(0, len(LABELS) - 1), max_size=25))
    truth = np.array([*range(len(LABELS)), *more], np.int64)
    eighths = arrays.arrays(np.int8, (len(truth), len(LABELS)), elements=st.integers(0, 8))
    scores = draw(eighths).astype(np.float32) / np.float32(8)
    clips = tuple(
        ScoredClip(Path(f"{at}.wav"), LABELS[label], row)
        for at, (label, row) in enumerate(zip(truth, scores, strict=True))
    )
    return Evaluation(LABELS, clips, "at random"), truth, scores


def test_the_wilson_interval() -> None:
    assert Share(8, 10).value == 0.8
    assert Share(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81/263, 15/148, 0/20 and 1/29, method 3.
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(15, 148).interval == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert Share(0, 20).interval == pytest.approx((0, 0.1611), abs=5e-5)
    assert Share(1, 29).interval == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("count", [1, 7, 1_000])
def test_a_shares_interval_is_symmetric_and_within_0_and_1(count: int) -> None:
    for hits in {0, 1, count // 2, count}:
        low, high = Share(hits, count).interval
        assert 0 <= low <= hits / count <= high <= 1
        assert Share(count - hits, count).interval == pytest.approx((1 - high, 1 - low))


def test_a_share_of_nothing_says_nothing() -> None:
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).interval == (0, 1)
    assert str(Share(8, 10)) == "80.0% (49.0% – 94.3%) of 10"
    assert str(Share(0, 0)).endswith("(0.0% – 100.0%) of 0")


def test_the_garwood_interval() -> None:
    assert Rate(0, 1).interval == pytest.approx((0, 3.689), abs=5e-4)
    assert Rate(10, 1).interval == pytest.approx((4.795, 18.39), abs=5e-3)
    assert Rate(10, 4).interval == pytest.approx((4.795 / 4, 18.39 / 4), abs=2e-3)
    assert Rate(10, 4).value == 2.5
    assert str(Rate(10, 4)) == "2.5/h (1.2 – 4.6): 10 in 4.00 h"


@pytest.mark.parametrize("events", [0, 1, 2, 17, 300, 2_000])
def test_a_rates_interval_is_exact(events: int) -> None:
    low, high = Rate(events, 1).interval
    assert high == pytest.approx(chi2.ppf(0.975, 2 * events + 2) / 2, rel=1e-6)
    assert low == pytest.approx(chi2.ppf(0.025, 2 * events) / 2 if events else 0, rel=1e-6)
    assert poisson.cdf(events, high) == pytest.approx(0.025)  # what the interval means


def test_a_rate_of_no_time_says_nothing() -> None:
    assert math.isnan(Rate(0, 0).value)
    assert Rate(0, 0).interval == (0, math.inf)
    assert str(Rate(0, 0)) == "nan/h (0.0 – inf): 0 in 0.00 h"


def test_rows_are_the_truth_and_columns_what_was_heard() -> None:
    truth = ["yes", "yes", "no", "no", "no", "go"]
    heard = ["yes", "no", "no", "no", "yes", "no"]
    matrix = confusion_matrix(truth, heard, ("no", "yes", "go", "up"))
    np.testing.assert_array_equal(matrix, [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    with pytest.raises(ValueError, match="shorter"):
        confusion_matrix(truth, heard[:-1], ("no", "yes", "go"))


def test_false_alarms_are_the_detections_in_all_recordings(tmp_path: Path) -> None:
    recognizer = Recognizer(bands.band_model())
    loud = bands.room_with({2.0: bands.burst(bands.LOW, 1.0, 1), 6.0: bands.burst(bands.HIGH, 1.0, 2)}, seconds=9.0)
    files = [
        chirps.save(tmp_path / "loud.wav", loud),
        chirps.save(tmp_path / "quiet.wav", bands.hiss(27.0, 3)),
    ]
    rate, alarms = count_false_alarms(recognizer, files)
    assert rate.events == 2
    assert rate.hours == pytest.approx(0.01)
    assert rate.value == pytest.approx(200)
    assert [(file.name, label) for file, label, _ in alarms] == [("loud.wav", "low"), ("loud.wav", "high")]
    for start, at in zip((start for _, _, start in alarms), (2, 6), strict=True):
        assert at - 1.1 < start < at + 0.5
    assert count_false_alarms(recognizer, files, 1.0)[0].events == 0
    assert re.match("nan/h", str(count_false_alarms(recognizer, [])[0]))


# Evaluation


@given(scored())
def test_recall_precision_and_confusion_are_those_of_scikit_learn(case: Case) -> None:
    measured, truth, scores = case
    heard = scores.argmax(axis=1)
    numbers = list(range(len(LABELS)))
    np.testing.assert_array_equal(measured.confusion, metrics.confusion_matrix(truth, heard, labels=numbers))
    assert measured.accuracy.value == pytest.approx(metrics.accuracy_score(truth, heard))
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        truth, heard, labels=numbers, zero_division=np.nan
    )
    for at, label in enumerate(LABELS):
        assert measured.recall(label).value == pytest.approx(recall[at])
        assert measured.recall(label).count == support[at] == measured.counts[label]
        assert measured.precision(label).value == pytest.approx(precision[at], nan_ok=True)
    assert len(measured.mistakes) == measured.accuracy.count - measured.accuracy.hits
    assert all(before.score >= after.score for before, after in pairwise(measured.mistakes))


@pytest.mark.slow
@given(scored())
def test_curves_and_their_areas_are_those_of_scikit_learn(case: Case) -> None:
    measured, truth, scores = case
    for at, label in enumerate(LABELS):
        curve = measured.roc(label)
        accepted, hits, thresholds = metrics.roc_curve(truth == at, scores[:, at], drop_intermediate=False)
        np.testing.assert_allclose(curve.false_acceptance, accepted)
        np.testing.assert_allclose(curve.hits, hits)
        np.testing.assert_allclose(curve.thresholds, thresholds)
        assert measured.auc(label) == pytest.approx(metrics.roc_auc_score(truth == at, scores[:, at]))
    columns = [LABELS.index(label) for label in TARGETS]
    own = truth[:, np.newaxis] == columns
    assert measured.targets == TARGETS
    assert measured.auc() == pytest.approx(metrics.roc_auc_score(own, scores[:, columns], average="micro"))
    assert measured.macro_auc == pytest.approx(metrics.roc_auc_score(own, scores[:, columns], average="macro"))
    # scikit-learn leaves out the ends of a DET curve; each point that it has is one of ours.
    accepted, rejected, thresholds = metrics.det_curve(own.ravel(), scores[:, columns].ravel())
    det = measured.det
    ours = {at: pair for at, *pair in zip(det.thresholds, det.false_acceptance, det.false_rejection, strict=True)}
    for threshold, *pair in zip(thresholds, accepted, rejected, strict=True):
        assert ours[threshold] == pytest.approx(pair)


def test_the_equal_error_by_hand() -> None:
    # Of four positives one is below 0.6, and of four negatives one is at or above it.
    curve = trace_curve(np.array([1, 1, 1, 1, 0, 0, 0, 0], bool), [0.9, 0.8, 0.6, 0.1, 0.7, 0.4, 0.3, 0.2])
    assert curve.equal_error == 0.25
    np.testing.assert_allclose(curve.false_rejection[[0, -1]], [1, 0])
    # Pairs of a positive and a negative in which the positive is higher: 4 + 4 + 3 + 0 of 16.
    assert curve.area == pytest.approx(11 / 16)


def test_what_has_no_recordings_has_no_curve() -> None:
    measured = evaluation(clip("left", 0.9, 0.1), clip("left", 0.2, 0.8))
    assert math.isnan(measured.auc("right"))
    assert math.isnan(measured.auc("left"))
    assert measured.auc() == pytest.approx(
        3 / 4
    )  # of 0.9 and 0.2, its own, against 0.1 and 0.8, all but 0.2 against 0.8
    assert math.isnan(evaluation().det.equal_error)
    assert math.isnan(evaluation().macro_auc)
    assert str(evaluation().accuracy).startswith("nan%")


def test_scores_that_dont_fit_the_labels_are_refused() -> None:
    with pytest.raises(EarmarkError, match=r"left/a\.wav doesn't fit the labels left, right"):
        evaluation(clip("left", 0.9, 0.1, 0.0))
    with pytest.raises(EarmarkError, match="up"):
        evaluation(ScoredClip(Path("up.wav"), "up", np.array([0.9, 0.1], np.float32)))


# Thresholds

SIX = (  # scores that a float32 holds exactly
    clip("left", 0.9375, 0.0625),
    clip("left", 0.8125, 0.1875),
    clip("left", 0.1875, 0.8125),
    clip("right", 0.375, 0.625),
    clip("right", 0.125, 0.875),
    clip("right", 0.4375, 0.5625),
)
# Two hours: 3, 1 and 0.5 alarms an hour.
TWO_HOURS = Background(2.0, (0.5, 0.7, 0.9), {"left": (5, 2, 1), "right": (1, 0, 0)})


def test_a_recording_is_detected_where_its_own_label_is_best_and_reaches_the_threshold() -> None:
    measured = evaluation(*SIX)
    hits = {0.5: 5, 0.5625: 5, 0.57: 4, 0.625: 4, 0.63: 3, 0.8125: 3, 0.82: 2, 0.9: 1, 0.94: 0}
    assert {threshold: measured.detected(threshold).hits for threshold in hits} == hits
    assert measured.detected(0.5).count == 6


@pytest.mark.parametrize(
    ("wanted", "threshold", "events", "reached"),
    [(3, 0.5, 6, True), (2.9, 0.7, 2, True), (1, 0.7, 2, True), (0.6, 0.9, 1, True), (0.4, 0.9, 1, False)],
)
def test_the_lowest_threshold_that_keeps_to_the_rate(
    wanted: float, threshold: float, events: int, reached: bool
) -> None:
    found = evaluation(*SIX, background=TWO_HOURS).recommend_threshold(wanted)
    assert (found.threshold, found.false_alarms, found.reached) == (threshold, Rate(events, 2.0), reached)
    assert found.recall == evaluation(*SIX).detected(threshold)
    assert f"{wanted:g} false alarm" in found.how
    assert ("None keeps to" in found.how) != reached
    # 2 events in 2 hours: up to 7.22 / 2 an hour (Garwood).
    assert ("can't rule out up to 3.6 an hour" in found.how) == (wanted in (1, 2.9))


def test_a_threshold_above_which_there_are_more_alarms_is_not_recommended() -> None:
    bumpy = Background(1.0, (0.5, 0.7, 0.9), {"left": (1, 5, 0), "right": (0, 0, 0)})
    assert evaluation(*SIX, background=bumpy).recommend_threshold(1).threshold == 0.9


def test_each_label_gets_its_part_of_the_rate() -> None:
    measured = evaluation(*SIX, background=TWO_HOURS)
    assert measured.recommend_label_thresholds(1) == {"left": 0.9, "right": 0.5}  # half an alarm an hour each
    assert measured.recommend_label_thresholds(2) == {"left": 0.7, "right": 0.5}
    assert evaluation(*SIX).recommend_label_thresholds() == {"left": 0.55, "right": 0.55}


def test_without_a_background_the_threshold_sets_right_apart_from_wrong() -> None:
    # Recognized less mistaken: up to 0.55, 5/6 − 1/6; from 0.85 on, where the mistake is gone, 2/6 or less.
    assert evaluation(*SIX).recommend_threshold().threshold == 0.55
    # Two right at 0.9 and more, one mistaken at 0.82: 0.85 and 0.9 are equally good, and 0.85 nearer to 0.75.
    found = evaluation(
        clip("left", 0.96, 0.04), clip("right", 0.09, 0.91), clip("left", 0.18, 0.82)
    ).recommend_threshold()
    assert (found.threshold, found.recall, found.false_alarms, found.reached) == (0.85, Share(2, 3), None, False)
    assert "No background was measured" in found.how
    assert evaluation(clip("left", 1, 0), clip("right", 0, 1)).recommend_threshold().threshold == 0.75


def test_reserved_labels_are_not_detected_but_can_be_mistaken() -> None:
    scores = ((0.9, 0.1), (0.2, 0.8))
    clips = tuple(clip("_unknown_", *row, labels=("_unknown_", "left")) for row in scores)
    measured = Evaluation(
        ("_unknown_", "left"), (*clips, clip("left", 0.3, 0.7, labels=("_unknown_", "left"))), "by hand"
    )
    assert measured.detected(0.5) == Share(1, 1)
    assert measured.accuracy == Share(2, 3)
    assert measured.auc() == 0.5  # 0.7 lies above 0.1 and below 0.8
    assert [(mistake.clip, mistake.heard) for mistake in measured.mistakes] == [(clips[1], "left")]


# Background


def test_the_rate_between_thresholds_is_that_of_the_one_below() -> None:
    assert TWO_HOURS.rate(0.5) == TWO_HOURS.rate(0.69) == Rate(6, 2.0)
    assert TWO_HOURS.rate(0.99) == Rate(1, 2.0)
    assert TWO_HOURS.rate(0.5, "right") == Rate(1, 2.0)
    with pytest.raises(EarmarkError, match=r"from the threshold 0\.5 up: 0\.4 is below"):
        TWO_HOURS.rate(0.4)
    assert evaluation(background=TWO_HOURS).false_alarms(0.7) == Rate(2, 2.0)
    assert evaluation().false_alarms(0.7) == Rate(0, 0.0)
    assert TWO_HOURS.worst_at(0.7) == ()


def test_one_pass_counts_what_listening_at_each_threshold_hears(tmp_path: Path) -> None:
    recognizer = Recognizer(bands.band_model())
    quieter = {1.0: 0.04, 4.0: 0.1, 7.0: 0.3, 10.0: 1.0, 13.0: 1.0, 16.0: 0.02, 18.2: 1.0}  # the last one up to the end
    kinds = (bands.LOW, bands.HIGH)
    parts = {at: gain * bands.burst(kinds[int(at) % 2], 0.8, int(at)) for at, gain in quieter.items()}
    files = [
        chirps.save(tmp_path / "some.wav", bands.room_with(parts, seconds=19.0)),
        chirps.save(tmp_path / "none.wav", bands.hiss(17.0, 3)),
    ]
    thresholds = (0.9, 0.5, 0.75, 0.98)
    heard: list[float] = []
    background = measure_background(recognizer, files, thresholds, on_progress=heard.append)
    assert background.thresholds == (0.5, 0.75, 0.9, 0.98)
    assert background.hours == pytest.approx(0.01)
    for threshold in thresholds:
        alone, alarms = count_false_alarms(recognizer, files, threshold)
        assert background.rate(threshold) == alone
        worst = background.worst_at(threshold)
        assert sorted((alarm.recording, alarm.label, alarm.start) for alarm in worst) == sorted(alarms)
        assert all(before.score >= after.score for before, after in pairwise(worst))
    assert background.rate(0.5).events > background.rate(0.98).events  # or the test would show little
    assert background.rate(0.5).events > 0
    assert set(background.counts) == {"low", "high"}
    assert heard == sorted(heard)
    assert len(heard) > 20
    assert heard[-1] == pytest.approx(36, abs=1.5)


def test_at_most_twenty_alarms_are_kept(tmp_path: Path) -> None:
    parts = {1.0 + 2 * at: bands.burst(bands.LOW, 0.7, at) for at in range(23)}
    file = chirps.save(tmp_path / "busy.wav", bands.room_with(parts, seconds=48.0))
    background = measure_background(Recognizer(bands.band_model()), [file], (0.6,))
    assert background.rate(0.6).events == 23
    assert len(background.worst_at(0.6)) == 20


# For people and machines


def test_advice_says_what_the_numbers_bear_out() -> None:
    many = [clip("left", 0.8, 0.2) for _ in range(9)] + [clip("left", 0.3, 0.7) for _ in range(3)]
    few = [clip("right", 0.1, 0.9) for _ in range(4)] + [clip("right", 0.96, 0.04, name="odd.wav")]
    advice = "\n".join(advise(evaluation(*many, *few)))
    assert "by: “right” (5). Make at least 10" in advice
    # 13 of 17 are right: 52.7 % to 90.4 % by Wilson.
    assert "With 17 recordings the accuracy can lie anywhere between 53% and 90%" in advice
    assert "“left” was heard as “right” in 3 of 12 recordings, and “right” was heard as “left” in 1 of 5" in advice
    assert "“left” was recognized in only 9 of 12 recordings" in advice
    assert "“right” was recognized in only" not in advice  # 4 of 5 is 80 %
    assert "Listen to odd.wav: it is filed under “right” but was heard as “left” with a score of 0.96" in advice
    assert "False alarms were not measured" in advice


def test_advice_on_the_background() -> None:
    good = [clip("left", 0.99, 0.01), clip("right", 0.01, 0.99)] * 50
    noisy = Background(0.5, (0.5, 0.9), {"left": (9, 8), "right": (0, 0)})
    advice = advise(evaluation(*good, background=noisy))
    assert len(advice) == 2
    assert advice[0].startswith("The background lasts only 30 min")
    assert "In the background “left” was heard 8 times at the threshold 0.9" in advice[1]
    assert "a label of its own" in advice[1]
    assert advise(evaluation(*good, background=Background(2.0, (0.5,), {"left": (0,), "right": (0,)}))) == []
    rare = [clip("left", 0.4, 0.6)] * 2
    assert not [sentence for sentence in advise(evaluation(*good, *rare)) if "was heard as" in sentence]  # 2 of 52
    often = [sentence for sentence in advise(evaluation(*good, *rare, *rare)) if "was heard as" in sentence]
    assert often[0].startswith("“left” was heard as “right” in 4 of 54 recordings: record")
    weak = [clip("left", 0.6, 0.4), clip("right", 0.4, 0.6)] * 50
    (costly,) = advise(evaluation(*weak, background=Background(2.0, (0.5, 0.9), {"left": (9, 1), "right": (0, 0)})))
    assert "At the threshold 0.9, chosen for few false alarms, only 0 of 100 recordings are recognized" in costly


def test_numbers_are_json() -> None:
    measured = evaluation(*SIX, background=TWO_HOURS)
    values = json.loads(json.dumps(as_dict(measured), allow_nan=False))
    assert values["accuracy"]["hits"] == 5
    assert values["accuracy"]["interval"] == pytest.approx(Share(5, 6).interval)
    assert [label["name"] for label in values["labels"]] == ["left", "right"]
    assert values["labels"][0]["recall"]["value"] == pytest.approx(2 / 3)
    assert values["confusion"] == [[2, 1], [0, 3]]
    assert [row["per_hour"] for row in values["false_alarms"]] == [3, 1, 0.5]
    assert values["recommendation"]["threshold"] == 0.7
    assert values["recommendation"]["false_alarms"]["events"] == 2
    nothing = json.loads(json.dumps(as_dict(evaluation()), allow_nan=False))
    assert nothing["accuracy"]["value"] is None
    assert nothing["false_alarms"] is None
    empty = evaluation(background=Background(0.0, (0.5,), {"left": (0,), "right": (0,)}))
    assert json.loads(json.dumps(as_dict(empty), allow_nan=False))["false_alarms"][0]["interval"] == [0, None]


def test_alarms_are_those_of_the_threshold() -> None:
    first, second = (Alarm(Path("room.wav"), "left", at, at + 1, 0.9 - at / 10) for at in (0.0, 3.0))
    background = Background(1.0, (0.5, 0.7), {"left": (2, 1)}, ((first, second), (first,)))
    assert background.worst_at(0.6) == (first, second)
    assert background.worst_at(0.7) == (first,)


def test_any_word_against_noise_is_a_curve_too() -> None:
    """By hand: of two words (0.9, 0.4) and two noises (0.6, 0.1), by their best score that isn't noise's."""
    labels = ("_background_noise_", "yes", "_unknown_")
    rows = [
        ("yes", (0.1, 0.9, 0.0)),
        ("_unknown_", (0.5, 0.1, 0.4)),
        (labels[0], (0.4, 0.6, 0.0)),
        (labels[0], (0.9, 0.1, 0.0)),
    ]
    clips = tuple(
        ScoredClip(Path(str(number)), label, np.array(scores, np.float32))
        for number, (label, scores) in enumerate(rows)
    )
    curve = Evaluation(labels, clips, "by hand").roc_of_words()
    # 0.9 is a word, 0.6 is noise, 0.4 is a word, 0.1 is noise: of four pairs of a word and a noise three are in order.
    assert curve.area == pytest.approx(0.75)
