"""What is told of a recording's level."""

from __future__ import annotations

import numpy as np
import pytest

from earmark import Clip
from earmark.audio.level import is_clipped, level_notes
from tests import sounds, tones


def notes(samples: sounds.Samples, **options: bool) -> str:
    return " ".join(level_notes(Clip(samples.astype(np.float32), sounds.RATE), **options))


@pytest.mark.parametrize("make", [sounds.whistle, sounds.snaps, sounds.murmur])
def test_a_good_level_needs_no_words(make: object) -> None:
    assert notes(make(2, 1) * 0.9) == ""  # type: ignore[operator]


def test_silence_is_told_even_of_noise() -> None:
    for level in (0, 1 / 2**15):
        for may_be_quiet in (False, True):
            assert "is silent" in notes(np.full(1_000, level), may_be_quiet=may_be_quiet)


def test_a_low_level_is_told_with_its_peak() -> None:
    quiet = tones.tone(440, 1, 0.005, sounds.RATE)
    assert "very quiet (its peak is −46 dBFS)" in notes(quiet)  # 20 · log10(0.005)
    assert notes(quiet, may_be_quiet=True) == ""
    assert notes(tones.tone(440, 1, 0.011, sounds.RATE)) == ""


@pytest.mark.parametrize("gain", [1.5, 3.0, 20.0])
@pytest.mark.parametrize("hertz", [100, 1_000])
def test_peaks_that_are_cut_off_are_told(gain: float, hertz: int) -> None:
    tone = tones.tone(hertz, 1, 1.0, sounds.RATE)
    assert "is clipped" in notes((gain * tone).clip(-1, 1))
    assert "is clipped" in notes((gain * tone).clip(-1, 1) * np.float32(32_767 / 32_768))
    assert not is_clipped(tone), "it just reaches full scale"
    assert not is_clipped(np.round(tone * 32_767) / np.float32(32_768))
