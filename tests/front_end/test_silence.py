"""Which windows hold a recording's sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import Clip
from earmark.front_end.examples import cut_examples
from earmark.front_end.frames import SPECTROGRAM, WAVEFORM
from earmark.front_end.silence import silence_power, sounding, sounding_windows
from earmark.front_end.spectrogram import compute_spectrogram
from tests import sounds, tones
from tests.budget import budget

RATE = sounds.RATE


def with_beeps(background: sounds.Samples, *seconds: float, level: float = 0.3) -> sounds.Samples:
    """Beeps of 0.4 s in a recording."""
    beep = tones.tone(1_000, 0.4, level, RATE)
    samples = background.copy()
    for second in seconds:
        at = round(second * RATE)
        samples[at : at + len(beep)] += beep
    return samples


def heard(samples: sounds.Samples, rate: int = RATE) -> np.ndarray:
    return sounding(compute_spectrogram(samples, rate, silence_before=False), 3)


@pytest.mark.parametrize("background", [sounds.room(3, 1), sounds.room(3, 2, 0.0001), np.zeros(3 * RATE, np.float32)])
def test_the_silence_around_a_beep_does_not_count(background: sounds.Samples) -> None:
    # A window counts if it sees any of the beep. It sees four hops of 1,024 samples at 44.1 kHz.
    hop = 1_024 / 44_100
    starts = np.flatnonzero(heard(with_beeps(background, 1.0))) * hop
    assert starts[0] == pytest.approx(1.0 - 4 * hop, abs=1.5 * hop)
    assert starts[-1] == pytest.approx(1.4, abs=1.5 * hop)
    assert len(starts) == round((starts[-1] - starts[0]) / hop) + 1


def test_every_beep_of_several_counts() -> None:
    one, three = (int(heard(with_beeps(sounds.room(6, 1), *at)).sum()) for at in ([1], [1, 2.5, 4]))
    assert three == pytest.approx(3 * one, abs=3)


@pytest.mark.parametrize(
    "samples",
    [
        sounds.whistle(3, 1), sounds.snaps(3, 2), sounds.room(3, 4),
        tones.tone(440, 3, rate=RATE), np.zeros(3 * RATE, np.float32),
    ],
    ids=["whistle", "snaps", "room", "tone", "digital silence"],
)  # fmt: skip
def test_a_steady_sound_counts_wholly(samples: sounds.Samples) -> None:
    assert heard(samples).all()


def test_a_steady_sound_amid_digital_silence_counts_alone() -> None:
    samples = np.concatenate((np.zeros(RATE, np.float32), sounds.whistle(1, 1), np.zeros(RATE, np.float32)))
    assert heard(samples).sum() == pytest.approx(44, abs=3)


def test_the_limits_are_25_and_6_decibels() -> None:
    for peak, quiet, kept in ((24.9, 5.9, True), (25.1, 5.9, False), (25.1, 6.1, True)):
        levels = np.repeat([0.0, quiet, peak], [30, 60, 10])
        counts = sounding_windows(10 ** (levels / 10), 1, 1e-9)
        assert counts[30:90].all() == kept
        assert counts[90:].all()


@budget(80)
@given(st.lists(st.floats(0, 1e3), max_size=60), st.integers(1, 12))
def test_one_window_at_least_counts(powers: list[float], window_frames: int) -> None:
    counts = sounding_windows(np.array(powers, np.float64), window_frames, 1e-6)
    assert len(counts) == max(0, len(powers) - window_frames + 1)
    assert counts.any() or len(counts) == 0


@pytest.mark.parametrize("front_end", [SPECTROGRAM, WAVEFORM])
def test_digital_silence_is_known_in_each_front_end(front_end: object) -> None:
    stream = front_end.stream(44_100)  # type: ignore[attr-defined]
    frames = np.concatenate((stream.process(np.zeros(44_100, np.float32)), stream.finish()))
    assert (front_end.power(frames) <= silence_power(front_end)).all()  # type: ignore[attr-defined,arg-type]


def test_examples_are_the_windows_of_sound_and_the_rest_is_silent() -> None:
    recordings = [(Clip(with_beeps(sounds.room(3, seed), 1.0), RATE), seed % 2) for seed in range(2)]
    counts = [heard(clip.samples) for clip, _ in recordings]
    examples = cut_examples(recordings, 3)
    assert np.bincount(examples.targets).tolist() == [int(one.sum()) for one in counts]
    assert len(examples.silent) == sum(int((~one).sum()) for one in counts)
    assert examples.frames[examples.silent].max() < -60
    noisy = cut_examples(recordings, 3, noise=[1])
    assert np.bincount(noisy.targets).tolist() == [int(counts[0].sum()), len(counts[1])]
