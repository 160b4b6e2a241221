"""Frames of both kinds, and the windows that they make."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from earmark import Clip, EarmarkError
from earmark.audio.sources import ArraySource
from earmark.front_end.frames import (
    SPECTROGRAM,
    WAVEFORM,
    Frames,
    FrontEnd,
    Windows,
    clip_frames,
    hop_of,
    loudest_window,
    read_front_end,
    sliding_windows,
    window_loudness,
)
from earmark.front_end.spectrogram import compute_spectrogram
from tests import sounds
from tests.budget import budget

BOTH = pytest.mark.parametrize("front_end", [SPECTROGRAM, WAVEFORM], ids=lambda one: one.name)
rates = st.integers(1_000, 65_535) | st.integers(6_554, 40_000).map(lambda tens: 10 * tens)


def whole(samples: np.ndarray, rate: int, front_end: FrontEnd) -> Frames:
    """All frames of what comes as one chunk."""
    stream = front_end.stream(rate, silence_before=False)
    return np.concatenate([stream.process(samples), stream.finish()])


# Kinds


@BOTH
def test_a_front_end_is_known_by_what_a_model_says_of_it(front_end: FrontEnd) -> None:
    assert read_front_end(front_end.as_dict()) is front_end
    assert read_front_end({**front_end.as_dict(), "hop": 512}) is None
    assert read_front_end({**front_end.as_dict(), "bins": 64}) is None


@pytest.mark.parametrize("values", [None, {}, [], "waveform", {"sample_rate": 16_000}, {"hop": [320]}])
def test_what_is_no_front_end_is_none(values: object) -> None:
    assert read_front_end(values) is None


def test_the_forms_are_the_documented_ones() -> None:
    assert SPECTROGRAM.as_dict() == {"sample_rate": 44_100, "fft_size": 2_048, "hop": 1_024, "bins": 232}
    assert WAVEFORM.as_dict() == {"sample_rate": 16_000, "hop": 320}
    assert (SPECTROGRAM.values, SPECTROGRAM.silence) == (232, -160)
    assert (WAVEFORM.values, WAVEFORM.silence) == (320, 0)
    assert (SPECTROGRAM.frame_seconds, WAVEFORM.frame_seconds) == (1_024 / 44_100, 0.02)


def test_the_spectrograms_frames_are_those_of_compute_spectrogram() -> None:
    sound = sounds.whistle(0.7, 3)
    for before in (True, False):
        stream = SPECTROGRAM.stream(sounds.RATE, silence_before=before)
        frames = np.concatenate([stream.process(sound), stream.finish()])
        np.testing.assert_array_equal(frames, compute_spectrogram(sound, sounds.RATE, silence_before=before))


def test_a_frames_power_by_hand() -> None:
    levels = np.full((2, 232), -200, np.float32)
    levels[0, :5] = 90  # below 108 Hz nothing counts
    levels[0, 5], levels[0, 231], levels[1, 100] = -20, -10, 0
    np.testing.assert_allclose(SPECTROGRAM.power(levels), [0.01 + 0.1, 1], rtol=1e-9)
    samples = np.zeros((2, 320), np.float32)
    samples[0, 7], samples[1, :4] = -0.5, 0.25
    np.testing.assert_allclose(WAVEFORM.power(samples), [0.25, 4 * 0.0625], rtol=1e-9)


# The waveform


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 8_000, 22_050, 192_000])
@budget(25)
@given(cuts=st.lists(st.integers(0, 30_000), max_size=60), seed=st.integers(0, 99), before=st.booleans())
def test_the_waveforms_frames_are_the_same_bits_however_the_stream_is_cut(
    rate: int, cuts: list[int], seed: int, before: bool
) -> None:
    sound = np.random.default_rng(seed).uniform(-1, 1, 30_000).astype(np.float32)
    stream = WAVEFORM.stream(rate, silence_before=before)
    parts = [stream.process(chunk) for chunk in np.split(sound, sorted(cuts))]
    assert all(part.shape[1:] == (320,) and part.dtype == np.float32 for part in parts)
    expected = sound if rate == 16_000 else soxr.resample(sound, rate, 16_000)
    expected = expected[: len(expected) // 320 * 320].reshape(-1, 320)
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), expected)


@budget(30)
@given(st.lists(st.integers(0, 9_000), max_size=20), rates)
def test_any_rates_waveform_is_the_same_bits_however_it_is_cut(cuts: list[int], rate: int) -> None:
    sound = np.random.default_rng(rate).uniform(-1, 1, 9_000).astype(np.float32)
    stream = WAVEFORM.stream(rate)
    parts = [stream.process(chunk) for chunk in np.split(sound, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), whole(sound, rate, WAVEFORM))


def test_the_waveform_by_single_samples_gives_the_same_bits() -> None:
    sound = sounds.snaps(0.2, 3)
    stream = WAVEFORM.stream(48_000)
    parts = [stream.process(sound[at : at + 1]) for at in range(len(sound))]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), whole(sound, 48_000, WAVEFORM))


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (319, 0), (320, 1), (639, 1), (640, 2), (16_000, 50)])
def test_every_320_samples_at_16_khz_give_a_frame_of_them(samples: int, frames: int) -> None:
    sound = np.arange(samples, dtype=np.float32) / 32_768
    found = whole(sound, 16_000, WAVEFORM)
    assert found.shape == (frames, 320)
    np.testing.assert_array_equal(found.ravel(), sound[: frames * 320])


@BOTH
@pytest.mark.parametrize("frames", [1, 2, 3, 43, 50, 70, 999])
def test_so_much_sound_gives_so_many_frames_and_a_sample_less_one_fewer(front_end: FrontEnd, frames: int) -> None:
    samples = round(front_end.seconds_of(frames) * front_end.sample_rate)
    assert len(whole(np.zeros(samples, np.float32), front_end.sample_rate, front_end)) == frames
    assert len(whole(np.zeros(samples - 1, np.float32), front_end.sample_rate, front_end)) == frames - 1


# Windows


@BOTH
@budget(150)
@given(st.lists(st.integers(0, 7), max_size=12), st.integers(1, 6), st.sampled_from([0, 7, 2.5]), st.data())
def test_windows_are_the_same_however_the_frames_are_cut(
    front_end: FrontEnd, pieces: list[int], window_frames: int, first: float, data: st.DataObject
) -> None:
    hop = data.draw(st.integers(1, window_frames))
    total = sum(pieces)
    # Each frame holds its number.
    frames = np.arange(total, dtype=np.float32)[:, None] * np.ones(front_end.values, np.float32)
    windows = Windows(window_frames, hop, first, front_end)
    got, times = [], []
    for piece in np.split(frames, np.cumsum(pieces, dtype=int)[:-1]) if pieces else []:
        cut, spans = windows.process(piece)
        assert cut.shape[1:] == (window_frames, front_end.values)
        got += cut[:, :, 0].tolist()
        times += spans
    starts = [at for at in range(0, total, hop) if at + window_frames <= total]
    assert got == [list(range(at, at + window_frames)) for at in starts]
    seconds = {"spectrogram": 1_024 / 44_100, "waveform": 0.02}[front_end.name]
    expected = [((first + at) * seconds, (first + at + window_frames) * seconds) for at in starts]
    np.testing.assert_allclose(np.array(times).reshape(-1, 2), np.array(expected).reshape(-1, 2), rtol=1e-12)


@budget(60)
@given(st.integers(0, 30), st.integers(1, 9), st.integers(1, 12), st.booleans())
def test_sliding_windows_are_numpys(count: int, window_frames: int, hop: int, turned: bool) -> None:
    frames = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)
    if turned:  # not contiguous
        frames = np.asfortranarray(frames)
    found = sliding_windows(frames, window_frames, hop)
    assert found.shape[1:] == (window_frames, 5)
    if count < window_frames:
        assert len(found) == 0
    else:
        expected = np.lib.stride_tricks.sliding_window_view(frames, window_frames, axis=0)[::hop].transpose(0, 2, 1)
        np.testing.assert_array_equal(found, expected)


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


# Clips


@BOTH
@budget(60)
@given(st.integers(1, 6_000), rates, st.sampled_from([1, 3, 43, 70]))
def test_a_clip_of_any_length_fills_a_window(front_end: FrontEnd, length: int, rate: int, window_frames: int) -> None:
    source = ArraySource(Clip(np.full(length, 0.1, np.float32), rate))
    frames = np.concatenate(list(clip_frames(source, window_frames, front_end)))
    assert frames.shape[0] >= window_frames
    assert frames.shape[1] == front_end.values


@pytest.mark.parametrize("length", [1, 2, 319, 320, 8_001, 15_999])
def test_a_short_waveform_lies_amid_silence(length: int) -> None:
    samples = np.full(length, 0.5, np.float32)
    before = (16_000 - length) // 2
    (frames,) = [part for part in clip_frames(ArraySource(Clip(samples, 16_000)), 50, WAVEFORM) if len(part)]
    expected = np.zeros(16_000, np.float32)
    expected[before : before + length] = 0.5
    np.testing.assert_array_equal(frames.ravel(), expected)


def loudness_by_loops(powers: list[float], window_frames: int) -> list[float]:
    """Each window's powers, counted by a Hann window."""
    hann = [math.sin(math.pi * (at + 1) / (window_frames + 1)) ** 2 for at in range(window_frames)]
    return [
        sum(weight * power for weight, power in zip(hann, powers[start : start + window_frames], strict=True))
        for start in range(len(powers) - window_frames + 1)
    ]


@budget(40)
@given(st.integers(0, 99), st.integers(1, 60), st.integers(1, 60))
def test_a_windows_loudness_is_what_plain_loops_find(seed: int, window_frames: int, more: int) -> None:
    random = np.random.default_rng(seed)
    samples = random.normal(0, 0.2, (window_frames + more, 320)).astype(np.float32)
    powers = [sum(sample * sample for sample in frame) for frame in samples.astype(np.float64).tolist()]
    found = window_loudness(samples, window_frames, WAVEFORM)
    np.testing.assert_allclose(found, loudness_by_loops(powers, window_frames), rtol=1e-9)
    levels = random.normal(-60, 20, (window_frames + more, 232)).astype(np.float32)
    powers = [sum(10 ** (level / 10) for level in frame[5:]) for frame in levels.astype(np.float64).tolist()]
    found = window_loudness(levels, window_frames, SPECTROGRAM)
    np.testing.assert_allclose(found, loudness_by_loops(powers, window_frames), rtol=1e-4)  # single precision in dB


@budget(60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(43, 300),
    st.lists(st.integers(0, 90), max_size=30),
    st.sampled_from(["noise", "silence", "equal bursts", "periodic"]),
)
def test_the_window_is_the_same_however_the_frames_come(seed: int, count: int, sizes: list[int], kind: str) -> None:
    random = np.random.default_rng(seed)
    frames = np.full((count, 232), -160, np.float32)
    if kind == "noise":
        frames = random.normal(-80, 15, (count, 232)).astype(np.float32)
    elif kind == "equal bursts":
        frames[random.integers(0, count, 4)] = -20
    elif kind == "periodic":
        frames = np.resize(random.normal(-80, 15, (7, 232)), (count, 232)).astype(np.float32)
    frames[:, 0] = np.arange(count)  # 0 Hz doesn't count, so that this says which window it is
    blocks = np.split(frames, np.minimum(np.cumsum(sizes, dtype=int), count))
    found = loudest_window(iter(blocks), 43, SPECTROGRAM)
    np.testing.assert_array_equal(found, loudest_window(iter([frames]), 43, SPECTROGRAM))
    if kind == "silence":
        np.testing.assert_array_equal(found, frames[:43])  # the first of equals


@budget(40)
@given(st.integers(0, 99), st.integers(50, 200), st.lists(st.integers(0, 60), max_size=20))
def test_the_loudest_waveform_is_the_one_that_plain_loops_find(seed: int, count: int, sizes: list[int]) -> None:
    random = np.random.default_rng(seed)
    frames = (random.normal(0, 0.1, (count, 320)) * random.uniform(0, 1, (count, 1)) ** 3).astype(np.float32)
    blocks = np.split(frames, np.minimum(np.cumsum(sizes, dtype=int), count))
    powers = [sum(sample * sample for sample in frame) for frame in frames.astype(np.float64).tolist()]
    loudness = loudness_by_loops(powers, 50)
    start = loudness.index(max(loudness))
    np.testing.assert_array_equal(loudest_window(iter(blocks), 50, WAVEFORM), frames[start : start + 50])
