"""Shares and rates with their intervals, confusion, and false alarms, against published and exact values."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2, poisson

from earmark import Recognizer
from earmark.evaluation import Rate, Share, confusion_matrix, count_false_alarms
from tests import bands, chirps


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
