"""From frames to windows, and from scores to detections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark import Detection, EarmarkError
from earmark.streaming import Decisions, ScoredWindow, Windows, hop_of

LABELS = ("Left", "Right", "_background_noise_")


def scored(rows: list[list[float]]) -> list[ScoredWindow]:
    """Windows half a second long, one every quarter second."""
    return [ScoredWindow(np.array(row, np.float32), 0.25 * at, 0.25 * at + 0.5) for at, row in enumerate(rows)]


def decide(rows: list[list[float]], **options: object) -> list[Detection]:
    decisions = Decisions(LABELS, **options)  # type: ignore[arg-type]
    return decisions.process(scored(rows)) + decisions.finish()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 7), max_size=12), st.integers(1, 6), st.data())
def test_windows_are_the_same_however_the_frames_are_cut(
    pieces: list[int], window_frames: int, data: st.DataObject
) -> None:
    hop = data.draw(st.integers(1, window_frames))
    total = sum(pieces)
    frames = np.arange(total, dtype=np.float32)[:, None] * np.ones(232, np.float32)  # each frame holds its number
    windows = Windows(window_frames, hop)
    got, times = [], []
    for piece in np.split(frames, np.cumsum(pieces, dtype=int)[:-1]) if pieces else []:
        cut, spans = windows.process(piece)
        assert cut.shape[1:] == (window_frames, 232)
        got += cut[:, :, 0].tolist()
        times += spans
    starts = [at for at in range(0, total, hop) if at + window_frames <= total]
    assert got == [list(range(at, at + window_frames)) for at in starts]
    expected = [(at * 1_024 / 44_100, (at + window_frames) * 1_024 / 44_100) for at in starts]
    np.testing.assert_allclose(np.array(times).reshape(-1, 2), np.array(expected).reshape(-1, 2), rtol=1e-12)


@pytest.mark.parametrize(
    ("window_frames", "overlap", "hop"),
    [(3, 0, 3), (3, 0.5, 2), (3, 2 / 3, 1), (43, 0, 43), (43, 0.999, 1), (4, 0.75, 1)],
)
def test_the_overlap_sets_the_hop(window_frames: int, overlap: float, hop: int) -> None:
    assert hop_of(window_frames, overlap) == hop


@pytest.mark.parametrize("overlap", [1, 1.5, -0.1, float("nan"), float("inf")])
def test_an_overlap_out_of_range_is_told(overlap: float) -> None:
    with pytest.raises(EarmarkError, match=r"overlap_factor is .+: it must be at least 0 and less than 1"):
        hop_of(3, overlap)


score = st.integers(0, 100).map(lambda percent: percent / 100)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(score, score, score).map(list), max_size=30),
    st.lists(st.integers(0, 6), max_size=20),
    score,
    st.sampled_from([0.0, 400.0, 3_000.0]),
    st.sampled_from([1, 3, 5, 9]),
    st.booleans(),
)
def test_detections_are_the_same_however_the_windows_are_grouped(
    rows: list[list[float]], groups: list[int], threshold: float, suppression: float, smoothing: int, noise: bool
) -> None:
    def fresh() -> Decisions:
        return Decisions(
            LABELS,
            probability_threshold=threshold,
            suppression_time_ms=suppression,
            smoothing_windows=smoothing,
            invoke_callback_on_noise_and_unknown=noise,
        )

    windows = scored(rows)
    one_by_one, grouped = fresh(), fresh()
    expected = [found for window in windows for found in one_by_one.process([window])] + one_by_one.finish()
    got = []
    for size in [*groups, len(windows)]:
        got += grouped.process(windows[:size])
        windows = windows[size:]
    got += grouped.finish()
    assert got == expected
    for found in got:
        assert threshold <= found.score <= 1
        assert 0 <= found.start < found.end <= 0.25 * len(rows) + 0.25
        assert noise or found.label in ("Left", "Right")
    assert got == sorted(got, key=lambda found: found.start)


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


def test_what_begins_soon_after_a_detection_is_dropped() -> None:
    rows = [LEFT, NOISE, NOISE, RIGHT, NOISE, NOISE, NOISE, LEFT]  # Left ends at 0.5 s; Right begins at 0.75 s
    kept = [found.label for found in decide(rows, smoothing_windows=1, suppression_time_ms=500)]
    assert kept == ["Left", "Left"]
    kept = [found.label for found in decide(rows, smoothing_windows=1, suppression_time_ms=250)]
    assert kept == ["Left", "Right", "Left"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(score, score, score).map(list), max_size=30),
    score,
    st.sampled_from([0.0, 400.0, 3_000.0]),
    st.sampled_from([1, 3, 5]),
)
def test_each_detection_is_open_before_it_ends(
    rows: list[list[float]], threshold: float, suppression: float, smoothing: int
) -> None:
    decisions = Decisions(
        LABELS, probability_threshold=threshold, suppression_time_ms=suppression, smoothing_windows=smoothing
    )
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
    decisions = Decisions(LABELS, suppression_time_ms=500, smoothing_windows=1)
    opened = []
    for window in scored([LEFT, NOISE, NOISE, RIGHT, NOISE]):
        decisions.process([window])
        opened.append(decisions.open and decisions.open.label)
    assert opened == ["Left", None, None, None, None]


def test_the_threshold_can_be_changed_between_windows() -> None:
    decisions = Decisions(LABELS, probability_threshold=1, smoothing_windows=1)
    weak, noise = scored([[0.8, 0.1, 0.1], NOISE])
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
        ("suppression_time_ms", -1),
        ("suppression_time_ms", float("nan")),
        ("smoothing_windows", 0),
        ("smoothing_windows", -3),
        ("smoothing_windows", 4),
    ],
)
def test_an_option_out_of_range_is_named(option: str, value: float) -> None:
    with pytest.raises(EarmarkError, match=f"^{option} is {value}: it must be"):
        decide([], **{option: value})
