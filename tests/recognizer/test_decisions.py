"""From scores to detections."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import Detection, EarmarkError
from earmark.recognizer.decisions import Decisions, ScoredWindow, default_agreement, default_smoothing
from tests.budget import budget

LABELS = ("Left", "Right", "_background_noise_")


def scored(rows: list[list[float]]) -> list[ScoredWindow]:
    """Windows half a second long, one every quarter second."""
    return [ScoredWindow(np.array(row, np.float32), 0.25 * at, 0.25 * at + 0.5) for at, row in enumerate(rows)]


def decide(rows: list[list[float]], **options: object) -> list[Detection]:
    decisions = Decisions(LABELS, **options)  # type: ignore[arg-type]
    return decisions.process(scored(rows)) + decisions.finish()


score = st.integers(0, 100).map(lambda percent: percent / 100)


rows_of_scores = st.lists(st.tuples(score, score, score).map(list), max_size=30)
options_of_decisions = st.fixed_dictionaries(
    {
        "probability_threshold": score,
        "label_thresholds": st.none() | st.dictionaries(st.sampled_from(LABELS), score),
        "suppression_time_ms": st.sampled_from([0, 400.0, 3_000]),
        "smoothing_windows": st.sampled_from([1, 3, 5, 9]),
        "min_agreeing_windows": st.integers(1, 5),
        "longest_sound_ms": st.sampled_from([None, 1, 600, 2_000.0]),
        "invoke_callback_on_noise_and_unknown": st.booleans(),
    }
)


@budget(200)
@given(rows_of_scores, st.lists(st.integers(0, 6), max_size=20), options_of_decisions)
def test_detections_are_the_same_however_the_windows_are_grouped(
    rows: list[list[float]], groups: list[int], options: dict[str, Any]
) -> None:
    windows = scored(rows)
    one_by_one, grouped = Decisions(LABELS, **options), Decisions(LABELS, **options)
    expected = [found for window in windows for found in one_by_one.process([window])] + one_by_one.finish()
    got = []
    for size in [*groups, len(windows)]:
        got += grouped.process(windows[:size])
        windows = windows[size:]
    got += grouped.finish()
    assert got == expected


@budget(300)
@given(rows_of_scores, options_of_decisions)
def test_detections_keep_to_their_options(rows: list[list[float]], options: dict[str, Any]) -> None:
    got = decide(rows, **options)
    thresholds = options["label_thresholds"] or {}
    reach = options["smoothing_windows"] // 2
    means = [np.mean(rows[max(0, at - reach) : at + reach + 1], axis=0) for at in range(len(rows))]
    for found in got:
        assert options["invoke_callback_on_noise_and_unknown"] or found.label in ("Left", "Right")
        first, last = round(found.start / 0.25), round((found.end - 0.5) / 0.25)
        assert 0 <= first <= last < len(rows)
        column = LABELS.index(found.label)
        threshold = thresholds.get(found.label, options["probability_threshold"])
        agreeing = means[first : first + options["min_agreeing_windows"]]
        assert len(agreeing) == options["min_agreeing_windows"]
        assert all(mean[column] == pytest.approx(mean.max()) and mean[column] >= threshold - 1e-6 for mean in agreeing)
        assert found.score <= max(mean[column] for mean in means[first : last + 1]) + 1e-6
        assert found.score >= max(mean[column] for mean in agreeing) - 1e-6
        may_last = found.label == "_background_noise_" or options["min_agreeing_windows"] > 1
        if options["longest_sound_ms"] is not None and not may_last:
            assert found.end - 0.5 - found.start < options["longest_sound_ms"] / 1_000
    for before, after in pairwise(got):
        middles = after.start - (before.end - 0.5)  # from the last window's to the first one's, all equally long
        assert middles > 0
        assert middles >= options["suppression_time_ms"] / 1_000 - 1e-9
    for label in LABELS:
        starts = [found.start for found in got if found.label == label]
        assert all(later - start >= 0.75 * 0.5 for start, later in pairwise(starts))


LEFT, RIGHT, NOISE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def test_a_sound_is_one_detection_from_its_first_window_to_its_last() -> None:
    # Averaged over three windows, Left has ⅓, ⅔, 1, ⅔, ⅓ in windows 1 to 5: it reaches 0.75 in window 3, which starts
    # at 0.75 s, and stays the best label up to window 4, which ends at 1.5 s.
    found = decide([NOISE, NOISE, LEFT, LEFT, LEFT, NOISE, NOISE])
    assert found == [Detection("Left", 1.0, start=0.75, end=0.25 * 4 + 0.5)]


def test_without_smoothing_each_window_decides_for_itself() -> None:
    found = decide([NOISE, LEFT, RIGHT, RIGHT, NOISE, LEFT], smoothing_windows=1)
    assert found == [
        Detection("Left", 1.0, 0.25, 0.75),
        Detection("Right", 1.0, 0.5, 1.25),
        Detection("Left", 1.0, 1.25, 1.75),
    ]


def test_scores_are_averaged_over_neighbours() -> None:
    rows = [[0.8, 0.2, 0], [0.9, 0.1, 0], [0.7, 0.3, 0]]  # averages 0.85, 0.8, 0.8: the edges have one neighbour
    (found,) = decide(rows, probability_threshold=0.84)
    assert found.score == pytest.approx(0.85)
    assert (found.start, found.end) == (0, 1.0)
    assert decide(rows, probability_threshold=0.86) == []


def test_a_flicker_of_one_window_is_no_detection() -> None:
    assert decide([NOISE, NOISE, LEFT, NOISE, NOISE]) == []


def test_a_weak_moment_does_not_cut_a_sound_in_two() -> None:
    weak = [0.5, 0.3, 0.2]
    found = decide([LEFT, weak, weak, LEFT], smoothing_windows=1)
    assert found == [Detection("Left", 1.0, 0, 1.25)]


def test_the_threshold_itself_is_reached() -> None:
    assert len(decide([[0.75, 0.25, 0]], smoothing_windows=1, probability_threshold=0.75)) == 1
    assert len(decide([LEFT], smoothing_windows=1, probability_threshold=1)) == 1
    assert len(decide([[0.4, 0.3, 0.3]], smoothing_windows=1, probability_threshold=0)) == 1


def test_reserved_labels_are_silent_unless_they_are_wanted() -> None:
    assert decide([NOISE, NOISE], smoothing_windows=1) == []
    found = decide([NOISE, NOISE], smoothing_windows=1, invoke_callback_on_noise_and_unknown=True)
    assert found == [Detection("_background_noise_", 1.0, 0, 0.75)]


def test_the_noise_of_teachable_machine_is_silent_too() -> None:
    windows = [ScoredWindow(np.array([0.9, 0.1], np.float32), at / 4, at / 4 + 0.5) for at in range(3)]
    for wanted, expected in ((False, []), (True, ["Background Noise"])):
        decisions = Decisions(
            ("Background Noise", "Clap"), smoothing_windows=1, invoke_callback_on_noise_and_unknown=wanted
        )
        assert [one.label for one in (*decisions.process(windows), *decisions.finish())] == expected


def test_what_begins_soon_after_a_detection_is_dropped() -> None:
    # The windows' middles: Left 0.25 s, Right 1 s, Left 2 s.
    rows = [LEFT, NOISE, NOISE, RIGHT, NOISE, NOISE, NOISE, LEFT]
    for suppression, expected in ((750, ["Left", "Right", "Left"]), (751, ["Left", "Left"]), (1_751, ["Left"])):
        found = decide(rows, smoothing_windows=1, suppression_time_ms=suppression)
        assert [one.label for one in found] == expected


def test_the_same_sound_is_not_reported_twice_because_its_score_dips() -> None:
    # 0.75 of a window of 0.5 s is 0.375 s: a dip of one window is within it, for it comes 0.25 s after the beginning.
    for dip in (NOISE, [0.4, 0.35, 0.25]):
        found = decide([LEFT, dip, LEFT, NOISE], smoothing_windows=1)
        assert found == [Detection("Left", 1.0, 0, 1.0)]


def test_a_neighbour_that_windows_prefer_for_a_moment_does_not_double_a_sound() -> None:
    rows = [LEFT, RIGHT, LEFT, LEFT, NOISE, NOISE]
    assert decide(rows, smoothing_windows=1, min_agreeing_windows=2) == [Detection("Left", 1.0, 0.5, 1.25)]
    windows = [ScoredWindow(np.array(row, np.float32), 0.1 * at, 0.1 * at + 0.5) for at, row in enumerate(rows)]
    decisions = Decisions(LABELS, smoothing_windows=1)
    # Right is a detection of its own where one window suffices, and what comes back of Left isn't another.
    assert [one.label for one in decisions.process(windows) + decisions.finish()] == ["Left", "Right"]


def test_the_same_sound_again_after_a_gap_is_another_detection() -> None:
    rows = [LEFT, LEFT, NOISE, NOISE, LEFT, LEFT, NOISE]
    found = decide(rows, smoothing_windows=1, min_agreeing_windows=2)
    assert found == [Detection("Left", 1.0, 0, 0.75), Detection("Left", 1.0, 1.0, 1.75)]


def test_a_sound_that_lasts_too_long_is_said_again() -> None:
    rows = [LEFT] * 9
    assert len(decide(rows, smoothing_windows=1)) == 1
    # Windows start at 0, 0.25, … 2 s; the second one begins at 1 s, and the third would need two windows.
    found = decide(rows, smoothing_windows=1, min_agreeing_windows=2, longest_sound_ms=1_000)
    assert found == [Detection("Left", 1.0, 0, 1.25), Detection("Left", 1.0, 1.0, 2.25)]
    noise = decide([NOISE] * 9, longest_sound_ms=1_000, invoke_callback_on_noise_and_unknown=True)
    assert noise == [Detection("_background_noise_", 1.0, 0, 2.5)], "noise isn't said again"


def test_so_many_successive_windows_must_agree() -> None:
    rows = [LEFT, LEFT, RIGHT, LEFT, LEFT, LEFT, NOISE]
    assert decide(rows, smoothing_windows=1, min_agreeing_windows=3) == [Detection("Left", 1.0, 0.75, 1.75)]
    assert decide(rows, smoothing_windows=1, min_agreeing_windows=4) == []
    weak = [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0]]
    assert decide(weak, smoothing_windows=1, min_agreeing_windows=2)[0].score == pytest.approx(0.9), "of all of them"
    assert decide(weak, smoothing_windows=1, min_agreeing_windows=3) == [], "each must reach the threshold"


def test_labels_may_have_thresholds_of_their_own() -> None:
    rows = [[0.6, 0.4, 0], NOISE, NOISE, [0.2, 0.8, 0]]
    options = {"smoothing_windows": 1, "probability_threshold": 0.7}
    assert [found.label for found in decide(rows, **options)] == ["Right"]
    found = decide(rows, **options, label_thresholds={"Left": 0.6, "Right": 0.81})
    assert [one.label for one in found] == ["Left"]
    decisions = Decisions(LABELS, smoothing_windows=1)
    decisions.label_thresholds = {"Left": 0.5}
    assert decisions.label_thresholds == {"Left": 0.5}
    decisions.process(scored(rows[:1]))
    assert decisions.open is not None


def test_a_sound_goes_on_with_two_thirds_of_its_threshold() -> None:
    for second, expected in ((0.51, [1.25]), (0.49, [0.5])):
        weak = [second, 0.3, 0]
        assert [one.end for one in decide([LEFT, weak, weak, weak], smoothing_windows=1)] == expected


def test_a_detection_holds_its_best_windows_spectrogram_and_embedding() -> None:
    rows = [[0.8, 0.2, 0], [0.95, 0.05, 0], [0.8, 0.2, 0], NOISE]
    windows = [
        ScoredWindow(
            window.scores,
            window.start,
            window.end,
            spectrogram=np.full((3, 232), at, np.float32),
            embedding=np.full(4, -at, np.float32),
        )
        for at, window in enumerate(scored(rows))
    ]
    for agreeing in (1, 3):
        decisions = Decisions(LABELS, smoothing_windows=1, min_agreeing_windows=agreeing)
        (found,) = decisions.process(windows) + decisions.finish()
        assert found.spectrogram is windows[1].spectrogram
        assert found.embedding is windows[1].embedding
        (plain,) = decide(rows, smoothing_windows=1, min_agreeing_windows=agreeing)
        assert (plain.spectrogram, plain.embedding) == (None, None)
        assert found == plain, "arrays don't count"
        assert repr(found) == repr(plain)
        assert hash(found) == hash(plain)


def test_short_sounds_and_words_are_decided_on_differently() -> None:
    assert (default_smoothing(3), default_agreement(3, 1)) == (3, 1)
    assert (default_smoothing(43), default_agreement(43, 4)) == (1, 5)
    # 0.08 of 70 frames of 20 ms are 5.6: the window that begins there and the next one, 5 frames later.
    assert default_agreement(70, 5, "waveform") == 2
    # 0.4 of 43 frames are 17.2: windows that begin within them, the first one too.
    assert [default_agreement(43, hop) for hop in (1, 2, 9, 17, 18, 43)] == [18, 9, 2, 2, 1, 1]


@budget(200)
@given(rows_of_scores, options_of_decisions)
def test_each_detection_is_open_before_it_ends(rows: list[list[float]], options: dict[str, Any]) -> None:
    decisions = Decisions(LABELS, **options)
    before = decisions.open
    assert before is None
    for at, window in enumerate(scored(rows)):
        ended = decisions.process([window])
        assert ended in ([], [before])
        now = decisions.open
        if ended == [] and before is not None:
            assert now is not None, "what was open can't vanish"
            assert (now.label, now.start) == (before.label, before.start)
            assert now.score >= before.score
            assert now.end >= before.end
        assert now is None or now.end <= 0.25 * at + 0.5
        before = now
    decisions.finish()
    assert decisions.open is None


def test_a_suppressed_detection_is_never_open() -> None:
    decisions = Decisions(LABELS, suppression_time_ms=800, smoothing_windows=1)
    opened = []
    for window in scored([LEFT, NOISE, NOISE, RIGHT, NOISE]):
        decisions.process([window])
        opened.append(decisions.open and decisions.open.label)
    assert opened == ["Left", "Left", None, None, None]


def test_the_threshold_can_be_changed_between_windows() -> None:
    decisions = Decisions(LABELS, probability_threshold=1, smoothing_windows=1)
    weak, _, noise = scored([[0.8, 0.1, 0.1], NOISE, NOISE])
    assert decisions.process([weak]) == []
    decisions.probability_threshold = 0.8
    assert decisions.probability_threshold == 0.8
    decisions.process([weak])
    decisions.probability_threshold = 0.9
    assert decisions.process([weak]) == []
    assert decisions.open is not None, "what is under way goes on"
    with pytest.raises(EarmarkError, match=r"^probability_threshold is 1.5: it must be between 0 and 1"):
        decisions.probability_threshold = 1.5
    assert [found.label for found in decisions.process([noise])] == ["Left"]
    assert decisions.process([weak, noise]) == [], "0.9 still holds"


def test_no_window_is_no_detection() -> None:
    assert decide([]) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("probability_threshold", -0.01),
        ("probability_threshold", 1.01),
        ("probability_threshold", float("nan")),
        ("probability_threshold", float("inf")),
        ("probability_threshold", np.float32(1.5)),
        ("suppression_time_ms", -1),
        ("suppression_time_ms", float("nan")),
        ("suppression_time_ms", float("inf")),
        ("smoothing_windows", 0),
        ("smoothing_windows", -3),
        ("smoothing_windows", 4),
        ("smoothing_windows", 3.0),
        ("smoothing_windows", float("nan")),
        ("min_agreeing_windows", 0),
        ("min_agreeing_windows", -1),
        ("min_agreeing_windows", 1.5),
        ("longest_sound_ms", 0),
        ("longest_sound_ms", -5),
        ("longest_sound_ms", float("inf")),
        ("invoke_callback_on_noise_and_unknown", 1),
    ],
)
def test_an_option_out_of_range_is_named(option: str, value: float) -> None:
    with pytest.raises(EarmarkError, match=f"^{option} is {value}: it must be .+\\.$"):
        decide([], **{option: value})


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5], 1j])
@pytest.mark.parametrize(
    "option", ["probability_threshold", "suppression_time_ms", "smoothing_windows", "min_agreeing_windows"]
)
def test_an_option_of_another_type_is_named(option: str, value: object) -> None:
    with pytest.raises(EarmarkError, match=f"^{option} is {re.escape(repr(value))}: it must be .+\\.$"):
        decide([], **{option: value})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Lift": 0.5}, "label_thresholds names 'Lift': choose from Left, Right, _background_noise_."),
        ({"Left": 1.5}, "label_thresholds['Left'] is 1.5: it must be between 0 and 1."),
        ({"Left": float("nan")}, "label_thresholds['Left'] is nan: it must be between 0 and 1."),
        ({"Left": "0.5"}, "label_thresholds['Left'] is '0.5': it must be between 0 and 1."),
        (0.5, "label_thresholds is 0.5: it must be a mapping of labels to thresholds, or None."),
        ([0.5], "label_thresholds is [0.5]: it must be a mapping of labels to thresholds, or None."),
    ],
)
def test_label_thresholds_that_cannot_be_are_told(value: object, message: str) -> None:
    with pytest.raises(EarmarkError, match=f"^{re.escape(message)}$"):
        decide([LEFT], label_thresholds=value)


def test_numbers_of_numpys_are_numbers() -> None:
    found = decide(
        [LEFT, LEFT],
        probability_threshold=np.float32(0.5),
        smoothing_windows=np.int64(1),
        suppression_time_ms=np.float64(10),
        min_agreeing_windows=np.int32(2),
        invoke_callback_on_noise_and_unknown=np.False_,
    )
    assert [one.label for one in found] == ["Left"]
