"""The front end against Chromium's AnalyserNode, on real recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr

from earmark.front_end.spectrogram import compute_spectrogram
from tests import sounds
from tests.analyser import analyser_frames
from tests.browser import chromium
from tests.corpus import clip_rows, read_row

CLIPS = {"speech_commands": 14, "esc10": 10, "free_spoken_digits": 6}  # of each corpus, one for each word or sound


def real_clips(data: Path) -> list[np.ndarray]:
    """The first clip of each of the corpora's first sounds, at 44.1 kHz."""
    clips = []
    for corpus, count in CLIPS.items():
        first: dict[str, dict[str, str]] = {}
        for row in clip_rows(data, corpus):
            first.setdefault(row["word"], row)
        for row in list(first.values())[:count]:
            samples, rate = read_row(data, corpus, row)
            clips.append(soxr.resample(samples, rate, 44_100))
    return clips


def differences(clips: list[np.ndarray]) -> tuple[float, float, int]:
    """Largest difference in dB where the level is above −100 dB: near the frame's peak, anywhere; and how many such."""
    near = anywhere = 0.0
    count = 0
    with chromium() as browser:
        page = browser.new_page()
        for clip in clips:
            theirs, ours = analyser_frames(page, clip), compute_spectrogram(clip)
            assert theirs.shape == ours.shape
            loud = theirs > -100
            distance = np.abs(np.where(loud, theirs, 0) - np.where(loud, ours, 0))
            prominent = theirs > theirs.max(axis=1, keepdims=True) - 70
            near = max(near, float(distance[prominent & loud].max(initial=0)))
            anywhere = max(anywhere, float(distance.max(initial=0)))
            count += int(loud.sum())
    return near, anywhere, count


def test_frames_are_those_of_chromiums_analyser(recordings: Path) -> None:
    clips = real_clips(recordings)
    near, anywhere, count = differences(clips)
    print(f"{len(clips)} clips, {count} levels above −100 dB: {near:.5f} dB near the peak, {anywhere:.5f} dB anywhere")
    assert len(clips) >= 20
    assert near <= 0.001
    # Chromium computes in single precision, which blurs what lies 70 dB and more under a frame's strongest bin.
    assert anywhere <= 0.003


@pytest.mark.slow
@pytest.mark.parametrize("make", [sounds.whistle, sounds.snaps, sounds.murmur])
def test_so_they_are_on_sounds_made_here(make: Callable[[float, int], np.ndarray]) -> None:
    near, _, count = differences([soxr.resample(make(2.0, 7), sounds.RATE, 44_100)])
    assert count > 1_000
    assert near <= 0.001
