"""Windows cut from clips."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earmark import Clip
from earmark.examples import cut_examples, example_count
from tests import sounds


@settings(max_examples=120, deadline=None)
@given(st.integers(1_000, 768_000), st.floats(0, 0.4), st.integers(1, 8))
@example(44_100, 4_096 / 44_100, 3)
@example(44_100, 4_095 / 44_100, 3)
@example(48_000, 0.0, 3)
def test_the_count_is_what_is_really_cut(rate: int, seconds: float, window_frames: int) -> None:
    samples = round(seconds * rate)
    clip = Clip(np.zeros(samples, np.float32), rate)
    assert example_count(samples, rate, window_frames) == len(cut_examples([(clip, 0)], window_frames))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([8_000, 11_025, 16_000, 22_050, 32_000, 44_101, 48_000, 96_000, 192_000]),
    st.integers(3, 12),
    st.integers(-3, 3),
)
def test_the_count_is_right_at_the_edge_of_every_frame(rate: int, hops: int, off: int) -> None:
    samples = round(hops * 1_024 * rate / 44_100) + off
    clip = Clip(np.zeros(samples, np.float32), rate)
    assert example_count(samples, rate, 3) == len(cut_examples([(clip, 0)], 3))


@pytest.mark.parametrize(
    ("samples", "rate", "window_frames", "count"),
    [
        (0, 44_100, 3, 0),
        (4_095, 44_100, 3, 0),  # a window of 3 frames needs 4 hops of 1,024 samples
        (4_096, 44_100, 3, 1),
        (5_120, 44_100, 3, 2),
        (44_100, 44_100, 3, 40),  # 43 hops
        (48_000, 48_000, 3, 40),
        (44_100, 44_100, 43, 0),
        (44 * 1_024, 44_100, 43, 1),
        (10**18, 44_100, 3, 10**18 // 1_024 - 3),
    ],
)
def test_a_held_sound_gives_one_example_a_frame(samples: int, rate: int, window_frames: int, count: int) -> None:
    assert example_count(samples, rate, window_frames) == count


def test_each_window_is_of_its_own_clip_and_holds_its_label() -> None:
    loud = Clip(sounds.snaps(0.5, 1), sounds.RATE)
    silent = Clip(np.zeros(44_100, np.float32), 44_100)
    short = Clip(np.zeros(100, np.float32), 44_100)
    examples = cut_examples([(loud, 2), (short, 1), (silent, 0)], 3)
    # 24,000 samples at 48 kHz are 22,050 at 44.1: 21 hops, so 18 windows; one silent second has 43 hops, so 40.
    assert examples.targets.tolist() == [2] * 18 + [0] * 40
    windows = examples.windows()
    assert windows.shape == (58, 3, 232)
    assert windows.dtype == np.float32
    assert (windows[18:] == -160).all(), "no window reaches from one clip into the next"
    assert (windows[:18].max(axis=(1, 2)) > -60).all()
    np.testing.assert_array_equal(windows[0, 1:], windows[1, :2])


@pytest.mark.parametrize("seconds", [None, 0.0, 0.05])
def test_no_clip_or_one_too_short_gives_no_window(seconds: float | None) -> None:
    clips = [] if seconds is None else [(Clip(np.zeros(round(seconds * 44_100), np.float32), 44_100), 0)]
    examples = cut_examples(clips, 3)
    assert len(examples) == 0
    assert examples.windows().shape == (0, 3, 232)
