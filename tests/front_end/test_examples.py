"""Windows cut from clips."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earmark import Clip
from earmark.audio.sources import ArraySource
from earmark.front_end.examples import cut_examples, cut_windows, example_count, find_key_frames, windows_around
from earmark.front_end.frames import SPECTROGRAM, WAVEFORM, Frames, FrontEnd, clip_frames
from earmark.front_end.spectrogram import compute_spectrogram
from tests import bands, sounds, tones
from tests.budget import budget

# Front ends, with the windows that words have in them: about a second, and 1.4 s.
BOTH = pytest.mark.parametrize(("front_end", "window_frames"), [(SPECTROGRAM, 43), (WAVEFORM, 70)])


@budget(120)
@given(st.integers(1_000, 768_000), st.floats(0, 0.4), st.integers(1, 8))
@example(44_100, 4_096 / 44_100, 3)
@example(44_100, 4_095 / 44_100, 3)
@example(48_000, 0.0, 3)
def test_the_count_is_what_is_really_cut(rate: int, seconds: float, window_frames: int) -> None:
    samples = round(seconds * rate)
    clip = Clip(np.zeros(samples, np.float32), rate)
    assert example_count(samples, rate, window_frames) == len(cut_examples([(clip, 0)], window_frames))


@budget(60)
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


# Words in recordings


@pytest.mark.parametrize(
    ("frames", "key_frame", "window_frames", "hop", "starts"),
    [  # what `getValidWindows` of @tensorflow-models/speech-commands 0.5.4 gives
        (43, 21, 43, 10, [0]),
        (44, 0, 43, 10, [0]),
        (44, 43, 43, 1, [1]),
        (44, 22, 43, 22, [1]),
        (70, 0, 43, 11, [0]),
        (70, 10, 43, 11, [0]),
        (70, 35, 43, 1000, [14]),
        (70, 35, 43, 11, [3, 14, 25]),
        (70, 69, 43, 11, [27]),
        (70, 60, 43, 5, [22, 27]),
        (100, 50, 43, 10, [9, 19, 29, 39, 49]),
        (100, 50, 43, 22, [29]),
        (100, 50, 43, 43, [29]),
        (100, 20, 43, 22, [0]),
        (100, 22, 43, 21, [1, 22]),
        (100, 99, 43, 22, [57]),
        (100, 78, 43, 21, [36, 57]),
        (131, 65, 42, 10, [24, 34, 44, 54, 64]),
        (131, 64, 42, 21, [43, 64]),
        (131, 130, 42, 7, [89]),
        (131, 41, 42, 7, [6, 13, 20, 27, 34, 41]),
        (5, 2, 3, 1, [0, 1, 2]),
        (5, 4, 3, 2, [2]),
        (9, 4, 1, 1, [4]),
        (9, 4, 2, 1, [3, 4]),
        (9, 8, 4, 3, [5]),
        (200, 150, 70, 35, [115]),
    ],
)
def test_windows_around_a_key_frame_are_those_of_speech_commands(
    frames: int, key_frame: int, window_frames: int, hop: int, starts: list[int]
) -> None:
    assert windows_around(frames, key_frame, window_frames, hop) == starts


@budget(150)
@given(st.integers(1, 90), st.integers(0, 300), st.integers(1, 90), st.data())
def test_windows_around_hold_the_key_frame_and_lie_within_the_clip(
    window_frames: int, more: int, hop: int, data: st.DataObject
) -> None:
    frames = window_frames + more
    key_frame = data.draw(st.integers(0, frames - 1))
    starts = windows_around(frames, key_frame, window_frames, hop)
    assert starts == list(range(starts[0], starts[-1] + 1, hop))
    assert all(0 <= start <= key_frame < start + window_frames <= frames for start in starts)
    assert starts[0] < hop or starts[0] + window_frames - hop <= key_frame, "no room for one before"
    assert starts[-1] + hop > min(key_frame, frames - window_frames), "nor for one after"


def frames_of(samples: np.ndarray, window_frames: int, front_end: FrontEnd, rate: int = bands.RATE) -> Frames:
    return np.concatenate(list(clip_frames(ArraySource(Clip(samples, rate)), window_frames, front_end)))


@BOTH
def test_three_words_in_a_recording_are_found_where_they_are(front_end: FrontEnd, window_frames: int) -> None:
    # 0 to 6 dB apart, their middles at 1, 2.7 and 4.3 s.
    words = [gain * bands.burst(bands.LOW, 0.4, seed) for seed, gain in ((1, 1.0), (2, 0.7), (3, 0.5))]
    samples = bands.room_with(dict(zip((0.8, 2.5, 4.1), words, strict=True)), 5.5)
    found = find_key_frames(frames_of(samples, window_frames, front_end), window_frames, front_end)
    assert [at * front_end.frame_seconds for at in found] == pytest.approx([1, 2.7, 4.3], abs=0.06)


@BOTH
@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("at", [1.3, 2.0])
def test_a_single_word_is_found_once(front_end: FrontEnd, window_frames: int, seconds: float, at: float) -> None:
    for seed in range(4):
        samples = bands.room_with({at: bands.burst(bands.LOW, seconds, seed)}, 5)
        found = find_key_frames(frames_of(samples, window_frames, front_end), window_frames, front_end)
        assert [one * front_end.frame_seconds for one in found] == pytest.approx([at + seconds / 2], abs=0.1)


@BOTH
def test_what_is_more_than_10_db_quieter_is_no_word(front_end: FrontEnd, window_frames: int) -> None:
    loud = bands.burst(bands.LOW, 0.3, 1)
    for decibels, count in ((-8, 2), (-12, 1)):
        quiet = np.float32(10 ** (decibels / 20)) * loud
        frames = frames_of(bands.room_with({1: loud, 3: quiet}, 5), window_frames, front_end)
        assert len(find_key_frames(frames, window_frames, front_end)) == count


def test_a_steady_sound_gives_windows_half_a_one_apart() -> None:
    # A window of 43 frames has its middle at its frame 21; of equals the first counts.
    assert find_key_frames(np.full((215, 232), -50, np.float32), 43, SPECTROGRAM) == list(range(21, 194, 21))
    assert find_key_frames(np.full((250, 320), 0.25, np.float32), 70, WAVEFORM) == list(range(35, 216, 35))


@BOTH
def test_a_sound_that_goes_on_gives_several_windows(front_end: FrontEnd, window_frames: int) -> None:
    frames = frames_of(sounds.murmur(12, 5), window_frames, front_end, sounds.RATE)
    found = find_key_frames(frames, window_frames, front_end)
    assert len(found) > 2
    assert (np.diff(found) >= window_frames // 2).all()
    assert found[0] >= window_frames // 2
    assert found[-1] <= len(frames) - window_frames + window_frames // 2


@BOTH
def test_a_recording_of_a_word_gives_the_window_around_it(front_end: FrontEnd, window_frames: int) -> None:
    samples = bands.room_with({2.1: bands.burst(bands.LOW, 0.4, 1)}, 5)
    (window,) = cut_windows(Clip(samples, bands.RATE), window_frames, front_end)
    assert window.shape == (window_frames, front_end.values)
    assert window.dtype == np.float32
    power = front_end.power(window)
    assert (power * np.arange(window_frames)).sum() / power.sum() == pytest.approx(window_frames // 2, abs=3)


@BOTH
@pytest.mark.parametrize("seconds", [0.02, 0.5, 0.9])
def test_a_short_recording_gives_one_window_amid_silence(
    front_end: FrontEnd, window_frames: int, seconds: float
) -> None:
    samples = tones.tone(tones.LOW, seconds)
    for options in ({}, {"everywhere": True}, {"key_frame": 0}, {"key_frame": 99}, {"window_hop_ratio": 0.25}):
        (window,) = cut_windows(Clip(samples, tones.RATE), window_frames, front_end, **options)
        assert window.shape == (window_frames, front_end.values)
        power = front_end.power(window)
        assert (power * np.arange(window_frames)).sum() / power.sum() == pytest.approx(window_frames // 2, abs=1.5)


@BOTH
@pytest.mark.parametrize("second", [1.0, 2.5, 3.9])
def test_a_key_frame_says_where_the_word_is(front_end: FrontEnd, window_frames: int, second: float) -> None:
    # A louder sound elsewhere would be taken for the word.
    word, other = bands.burst(bands.HIGH, 0.1, 1), 3 * bands.burst(bands.LOW, 0.3, 2)
    samples = bands.room_with({second: word, 0.1: other}, 5)
    (window,) = cut_windows(
        Clip(samples, bands.RATE),
        window_frames,
        front_end,
        key_frame=round((second + 0.05) * 44_100 / 1_024),  # of the spectrogram, whatever the front end
    )
    at = front_end.power(window[10:]).argmax() + 10  # the other sound may reach into the window's beginning
    assert at * front_end.frame_seconds == pytest.approx(window_frames // 2 * front_end.frame_seconds, abs=0.09)


def test_several_windows_around_a_word_are_so_many_windows_apart() -> None:
    clip = Clip(bands.room_with({2.1: bands.burst(bands.LOW, 0.4, 1)}, 5), bands.RATE)
    frames = compute_spectrogram(clip.samples, clip.sample_rate, silence_before=False)
    found = cut_windows(clip, 43, SPECTROGRAM, key_frame=100, window_hop_ratio=0.25)
    # A quarter of 43 frames is 11; frame 100 lies in the middle of the window from 79 on.
    np.testing.assert_array_equal(found, np.stack([frames[at : at + 43] for at in (68, 79, 90)]))
    (one,) = cut_windows(clip, 43, SPECTROGRAM, key_frame=100)
    np.testing.assert_array_equal(one, frames[79 : 79 + 43])


@pytest.mark.parametrize(("ratio", "hop"), [(None, 22), (0.5, 22), (1.0, 43), (0.25, 11), (0.001, 1)])
def test_noise_is_cut_everywhere(ratio: float | None, hop: int) -> None:
    clip = Clip(sounds.murmur(4, 1), sounds.RATE)
    frames = compute_spectrogram(clip.samples, clip.sample_rate, silence_before=False)
    found = cut_windows(clip, 43, SPECTROGRAM, everywhere=True, window_hop_ratio=ratio)
    np.testing.assert_array_equal(found, np.stack([frames[at : at + 43] for at in range(0, len(frames) - 42, hop)]))
