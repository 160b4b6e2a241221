"""The front end: levels by hand arithmetic, and one result however the stream is cut."""

from __future__ import annotations

import math
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.front_end import spectrogram
from earmark.front_end.spectrogram import FLOOR_DB, StreamingSpectrogram, compute_spectrogram
from tests import sounds
from tests.budget import budget

BIN_HZ = 44_100 / 2_048


def tone(frequency: float, amplitude: float, seconds: float = 1.0, rate: int = 44_100) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


@pytest.mark.parametrize(("bin_index", "amplitude"), [(10, 1.0), (100, 0.5), (231, 0.01)])
def test_a_tone_has_the_level_that_the_window_leaves_it(bin_index: int, amplitude: float) -> None:
    # A sine at a bin's centre has the magnitude amplitude / 2 × the window's mean, which for Blackman is a0 = 0.42.
    expected = 20 * math.log10(amplitude / 2 * 0.42)
    frames = compute_spectrogram(tone(bin_index * BIN_HZ, amplitude))
    assert frames[5].argmax() == bin_index
    assert frames[5, bin_index] == pytest.approx(expected, abs=1e-3)
    # The next bin sees a1 / 2 = 0.25 of it, the one after a2 / 2 = 0.04 (the window's Fourier coefficients).
    if bin_index < 200:
        assert frames[5, bin_index + 1] - frames[5, bin_index] == pytest.approx(20 * math.log10(0.25 / 0.42), abs=1e-2)
        assert frames[5, bin_index + 2] - frames[5, bin_index] == pytest.approx(20 * math.log10(0.04 / 0.42), abs=1e-2)


def test_a_tone_keeps_its_level_at_other_sample_rates() -> None:
    for rate in (8_000, 16_000, 48_000, 192_000):
        frames = compute_spectrogram(tone(100 * BIN_HZ, 0.5, rate=rate), rate)
        assert frames[20, 100] == pytest.approx(20 * math.log10(0.25 * 0.42), abs=0.02), rate


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (1_023, 0), (1_024, 1), (2_047, 1), (2_048, 2), (44_100, 43)])
def test_every_1024_samples_give_a_frame(samples: int, frames: int) -> None:
    assert compute_spectrogram(np.ones(samples, np.float32)).shape == (frames, 232)


def test_without_silence_before_the_first_frame_waits_for_2048_samples() -> None:
    sound = sounds.whistle(0.5, 1)
    assert np.array_equal(compute_spectrogram(sound, silence_before=False), compute_spectrogram(sound)[1:])


def test_silence_lies_at_the_floor() -> None:
    assert (compute_spectrogram(np.zeros(4_096, np.float32)) == FLOOR_DB).all()


@pytest.mark.parametrize("rate", [44_100, 48_000, 16_000, 8_000, 22_050, 192_000])
@budget(25)
@given(cuts=st.lists(st.integers(0, 30_000), max_size=60), seed=st.integers(0, 99))
def test_streaming_gives_the_same_bits_however_the_stream_is_cut(rate: int, cuts: list[int], seed: int) -> None:
    sound = np.random.default_rng(seed).uniform(-1, 1, 30_000).astype(np.float32)
    front_end = StreamingSpectrogram(rate)
    parts = [front_end.process(chunk) for chunk in np.split(sound, sorted(cuts))]
    assert np.array_equal(np.concatenate([*parts, front_end.finish()]), compute_spectrogram(sound, rate))


def test_streaming_by_single_samples_gives_the_same_bits() -> None:
    sound = sounds.snaps(0.2, 3)
    front_end = StreamingSpectrogram(48_000)
    parts = [front_end.process(sound[at : at + 1]) for at in range(len(sound))]
    assert np.array_equal(np.concatenate([*parts, front_end.finish()]), compute_spectrogram(sound, 48_000))


@budget(20)
@given(count=st.integers(2_048, 200_000))
def test_a_frame_does_not_depend_on_those_computed_with_it(count: int) -> None:
    sound = np.random.default_rng(count).uniform(-1, 1, count).astype(np.float32)
    whole = compute_spectrogram(sound)
    at = (len(whole) - 1) * 1_024
    assert np.array_equal(compute_spectrogram(sound[at - 1_024 : at + 1_024])[1], whole[-1])


def test_numpy_s_own_loop_gives_the_bits_of_its_rfft() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 2_048))
    out = np.empty((5, 1_025), np.complex128)
    spectrogram._rfft(rows, 1.0, out)
    assert np.array_equal(out, np.fft.rfft(rows))


def test_without_numpy_s_own_loop_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = sounds.snaps(1, 4)
    expected = compute_spectrogram(sound, 48_000)
    monkeypatch.setitem(sys.modules, "numpy.fft._pocketfft_umath", None)  # as if another numpy had none
    fallback = spectrogram._find_rfft()
    assert not isinstance(fallback, np.ufunc)
    monkeypatch.setattr(spectrogram, "_rfft", fallback)
    assert np.array_equal(compute_spectrogram(sound, 48_000), expected)


def test_another_loop_of_that_name_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.ModuleType("numpy.fft._pocketfft_umath")
    other.rfft_n_even = lambda rows, _factor, out: np.copyto(out, 2 * np.fft.rfft(rows))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, other.__name__, other)
    rows, out = np.array([[1.0, 0.0, 2.0, 0.0]]), np.empty((1, 3), np.complex128)
    spectrogram._find_rfft()(rows, 1.0, out)
    assert out.tolist() == [[3, -1, 3]]  # by hand: 1 + 2, 1 - 2, 1 + 2


def test_streams_in_several_threads_do_not_disturb_one_another() -> None:
    takes = [sounds.whistle(5, seed) for seed in range(4)]
    expected = [compute_spectrogram(take, 48_000) for take in takes]
    ready = threading.Barrier(len(takes))

    def stream(take: np.ndarray) -> np.ndarray:
        front_end = StreamingSpectrogram(48_000)
        ready.wait()
        parts = [front_end.process(take[at : at + 4_800]) for at in range(0, len(take), 4_800)]
        return np.concatenate([*parts, front_end.finish()])

    for _ in range(5):
        with ThreadPoolExecutor(len(takes)) as threads:
            assert all(map(np.array_equal, threads.map(stream, takes), expected))
