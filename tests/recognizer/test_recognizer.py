"""The recognizer: clips, batches, streams, and loading."""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import earmark
from earmark import EarmarkError, Recognizer, Source
from earmark.audio.clip import Samples
from earmark.front_end.frames import SPECTROGRAM, WAVEFORM
from earmark.front_end.spectrogram import compute_spectrogram
from earmark.models.metadata import FixedNormalization, FlooredNormalization, WindowNormalization
from earmark.recognizer.recognizer import Params
from earmark.training.sound_network import Epoch
from tests import bands, sounds, tones
from tests.budget import budget
from tests.conftest import SHARED
from tests.corpus import clip_rows, read_row
from tests.portaudio import skip_without_portaudio, without_portaudio


@pytest.fixture(scope="module")
def recognizer(trained: earmark.Project) -> Recognizer:
    return trained.model()


@pytest.fixture(scope="module")
def model(trained: earmark.Project) -> bytes:
    return (trained.path / "models" / "sounds" / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def words() -> Recognizer:
    """Of one-second windows, as the words are, with weights that can be worked out by hand."""
    return Recognizer(bands.band_model())


@pytest.fixture(scope="module")
def pretrained() -> Recognizer:
    return earmark.load("words")


class Pieces(Source):
    """A stream that comes in the given pieces."""

    def __init__(self, pieces: list[Samples], sample_rate: int) -> None:
        self.sample_rate, self.name = sample_rate, "pieces"
        self._pieces = pieces
        self.closed = False

    def __iter__(self) -> Iterator[Samples]:
        yield from self._pieces

    def close(self) -> None:
        self.closed = True


# Clips


@pytest.mark.parametrize(
    ("label", "make"), [("Left", sounds.whistle), ("Right", sounds.snaps), ("Noise", sounds.murmur)]
)
def test_a_clip_gets_its_label(recognizer: Recognizer, label: str, make: type) -> None:
    result = recognizer.recognize(make(1, 77), sounds.RATE)
    assert result.label == label
    assert result.labels == recognizer.labels == ("Left", "Right", "Noise")
    assert result.scores.dtype == np.float32
    assert result.scores.sum() == pytest.approx(1, abs=1e-5)
    assert result.score == result.scores.max() == result.scores[result.labels.index(label)]
    assert result.spectrogram is None


def test_a_clips_scores_are_the_mean_over_all_its_windows(recognizer: Recognizer) -> None:
    samples = np.concatenate([sounds.whistle(1, 5), sounds.snaps(0.6, 6)])
    frames = compute_spectrogram(samples, sounds.RATE, silence_before=False)
    windows = np.stack([frames[at : at + 3] for at in range(len(frames) - 2)])
    expected = np.mean([result.scores for result in recognizer.recognize_batch(windows)], axis=0)
    result = recognizer.recognize(samples, sounds.RATE, include_spectrogram=True)
    np.testing.assert_allclose(result.scores, expected, atol=1e-6)
    assert result.spectrogram is not None
    np.testing.assert_array_equal(result.spectrogram, frames)


def test_silence_on_both_sides_fills_a_clip_shorter_than_a_window(recognizer: Recognizer) -> None:
    # A window of 3 frames takes 4 hops, 4,096 samples: 1,546 and 1,547 of them are missing around these 1,003.
    samples = sounds.whistle(1, 5)[:1_003]
    padded = np.concatenate([np.zeros(1_546, np.float32), samples, np.zeros(1_547, np.float32)])
    result = recognizer.recognize(samples, 44_100, include_spectrogram=True)
    expected = compute_spectrogram(padded, silence_before=False)
    assert expected.shape == (3, 232)
    np.testing.assert_array_equal(result.spectrogram, expected)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_file_is_recognized_as_its_samples_are(recognizer: Recognizer, tmp_path: Path, subtype: str) -> None:
    samples = sounds.snaps(2.3, 9)
    soundfile.write(tmp_path / "a.wav", np.stack([samples, samples / 2], axis=1), sounds.RATE, subtype=subtype)
    clip = earmark.read_clip(tmp_path / "a.wav")
    expected = recognizer.recognize(clip.samples, clip.sample_rate).scores
    np.testing.assert_allclose(recognizer.recognize(tmp_path / "a.wav").scores, expected, atol=1e-6)
    np.testing.assert_allclose(recognizer.recognize(str(tmp_path / "a.wav")).scores, expected, atol=1e-6)


def test_a_float_file_beyond_full_scale_is_recognized_as_its_clip_is(recognizer: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 20 * sounds.whistle(1, 9), sounds.RATE, subtype="FLOAT")
    clip = earmark.read_clip(tmp_path / "a.wav")
    expected = recognizer.recognize(clip.samples, clip.sample_rate, include_spectrogram=True)
    got = recognizer.recognize(tmp_path / "a.wav", include_spectrogram=True)
    np.testing.assert_array_equal(got.spectrogram, expected.spectrogram)


@budget(60)
@given(st.integers(1, 6_000), st.integers(1_000, 65_535) | st.integers(6_554, 40_000).map(lambda tens: 10 * tens))
def test_a_clip_of_any_length_is_recognized(recognizer: Recognizer, length: int, rate: int) -> None:
    scores = recognizer.recognize(np.full(length, 0.1, np.float32), rate).scores
    assert np.isfinite(scores).all()
    assert scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("clip", "rate", "says"),
    [
        ([], 44_100, "empty"),
        ([np.nan] * 9_000, 44_100, "not finite"),
        ([0.1], None, "sample_rate="),
        ([0.1], 5, "sample rate"),
        ("missing.wav", None, r"missing\.wav does not exist"),
        (".", None, "folder"),
    ],
)
def test_a_bad_clip_is_told(recognizer: Recognizer, clip: str | list[float], rate: int | None, says: str) -> None:
    with pytest.raises(EarmarkError, match=says):
        recognizer.recognize(clip, rate)


@pytest.mark.parametrize(
    "spectrograms",
    [
        np.zeros((4, 232)),
        np.zeros(3 * 232),
        np.zeros((1, 1, 3, 232)),
        np.zeros((1, 4, 232)),
        np.zeros((1, 3, 231)),
        np.full((1, 3, 232), -np.inf),
        "loud",
        [[1], []],
    ],
    ids=["2-d, 4 frames", "1-d", "4-d", "4 frames", "231 bins", "-inf", "text", "ragged"],
)
def test_a_bad_batch_is_told(
    recognizer: Recognizer, spectrograms: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    with pytest.raises(EarmarkError, match=r"^The spectrograms .+: (pass|raise) .+\.$"):
        recognizer.recognize_batch(spectrograms)


def test_one_spectrogram_is_a_batch_of_one(recognizer: Recognizer) -> None:
    window = compute_spectrogram(sounds.whistle(0.3, 5), sounds.RATE)[2:5]
    (one,) = recognizer.recognize_batch(window)
    (same,) = recognizer.recognize_batch([window.tolist()])
    (as_tensorflow,) = recognizer.recognize_batch(window[np.newaxis, :, :, np.newaxis])
    assert one.label == same.label == as_tensorflow.label == "Left"
    np.testing.assert_array_equal(one.scores, as_tensorflow.scores)
    np.testing.assert_array_equal(one.scores, same.scores)


def test_a_batch_may_come_with_its_spectrograms(recognizer: Recognizer) -> None:
    frames = compute_spectrogram(sounds.whistle(0.3, 5), sounds.RATE)
    windows = np.stack([frames[at : at + 3] for at in range(5)])
    plain = recognizer.recognize_batch(windows)
    assert all(result.spectrogram is None and result.embedding is None for result in plain)
    for result, window, expected in zip(
        recognizer.recognize_batch(windows, include_spectrogram=True), windows, plain, strict=True
    ):
        np.testing.assert_array_equal(result.spectrogram, window)
        np.testing.assert_array_equal(result.scores, expected.scores)


def test_an_empty_batch_has_no_results(recognizer: Recognizer) -> None:
    assert recognizer.recognize_batch(np.zeros((0, 3, 232))) == []


# Words


def heard(recognizer: Recognizer, clip: Path | Samples, rate: int | None = None) -> Samples:
    """The spectrogram of what a recognizer of words looked at."""
    spectrogram = recognizer.recognize(clip, rate, include_spectrogram=True).spectrogram
    assert spectrogram is not None
    assert spectrogram.shape == recognizer.input_shape == (43, 232)
    return spectrogram


def middle(spectrogram: Samples) -> float:
    """Where the power of a spectrogram has its centre, in frames."""
    powers: list[float] = [sum(10 ** (level / 10) for level in frame) for frame in spectrogram.tolist()]
    return sum(at * power for at, power in enumerate(powers)) / sum(powers)


def test_a_words_scores_are_those_of_the_network_by_hand(words: Recognizer) -> None:
    samples = bands.room_with({2: bands.burst(bands.LOW, 0.4, 1)}, 4)
    result = words.recognize(samples, bands.RATE, include_spectrogram=True)
    assert result.spectrogram is not None
    window = result.spectrogram.astype(np.float64)
    window = np.maximum(window, window.max() - 60)
    logits = ((window - window.mean()) / window.std() @ bands.band_weights()).mean(axis=0) + bands.BIAS
    np.testing.assert_allclose(result.scores, np.exp(logits) / np.exp(logits).sum(), atol=1e-5)
    assert (result.label, result.labels) == ("low", bands.LABELS)
    assert result.scores.dtype == np.float32
    assert words.recognize(samples, bands.RATE).spectrogram is None


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@budget(15)
@given(st.floats(0.6, 8.9), st.floats(0.01, 0.5))
def test_a_burst_anywhere_in_a_long_clip_comes_to_lie_in_the_middle(
    words: Recognizer, rate: int, at: float, seconds: float
) -> None:
    burst = bands.burst(bands.LOW, seconds, 1, rate)
    spectrogram = heard(words, bands.room_with({at: burst}, 10, rate), rate)
    assert middle(spectrogram) == pytest.approx(21, abs=2)  # of frames 0 to 42


def test_the_louder_of_two_sounds_is_recognized_wherever_it_is(words: Recognizer) -> None:
    low, high = bands.burst(bands.LOW, 0.4, 1), bands.burst(bands.HIGH, 0.4, 2)
    for first, second in ((1, 4), (4, 1)):
        for louder, label in ((low, "low"), (high, "high")):
            samples = bands.room_with({first: low, second: high}, 6)
            samples += bands.room_with({first if label == "low" else second: louder}, 6)
            assert words.recognize(samples, bands.RATE).label == label


def test_rumble_below_108_hz_does_not_draw_the_window_away_from_a_word(words: Recognizer) -> None:
    second = np.arange(bands.RATE, dtype=np.float32) / bands.RATE
    rumble = 0.5 * np.sin(2 * np.pi * 40 * second) * np.sin(np.pi * second) ** 2  # ten times the word's amplitude
    samples = bands.room_with({1: rumble, 4: bands.burst(bands.HIGH, 0.4, 2)}, 6)
    samples += np.float32(0.05)  # a microphone's offset
    assert words.recognize(samples, bands.RATE).label == "high"


def loudest_by_loops(frames: Samples, window_frames: int) -> int:
    """Where the window begins whose frames' power, each counted by a Hann window, is the greatest: the first one."""
    powers: list[float] = [sum(10 ** (level / 10) for level in frame[5:]) for frame in frames.tolist()]
    hann = [math.sin(math.pi * (at + 1) / (window_frames + 1)) ** 2 for at in range(window_frames)]
    sums = [
        sum(weight * power for weight, power in zip(hann, powers[start : start + window_frames], strict=True))
        for start in range(len(frames) - window_frames + 1)
    ]
    return sums.index(max(sums))


@pytest.mark.parametrize("seed", range(5))
def test_the_window_is_the_one_that_plain_loops_find(words: Recognizer, seed: int) -> None:
    samples = np.concatenate([sounds.murmur(3, seed), sounds.snaps(0.3, seed), sounds.murmur(2, seed + 10)])
    frames = compute_spectrogram(samples, sounds.RATE, silence_before=False)
    start = loudest_by_loops(frames, 43)
    np.testing.assert_array_equal(heard(words, samples, sounds.RATE), frames[start : start + 43])


def test_the_window_of_a_real_recording_is_the_one_that_plain_loops_find(words: Recognizer, recordings: Path) -> None:
    clip = earmark.read_clip(recordings / "free_spoken_digits" / "test-six.ogg")
    frames = compute_spectrogram(clip.samples, clip.sample_rate, silence_before=False)
    start = loudest_by_loops(frames, 43)
    found = heard(words, recordings / "free_spoken_digits" / "test-six.ogg")
    np.testing.assert_array_equal(found, frames[start : start + 43])


@pytest.mark.parametrize("at", [1.55, 1.8, 1.999, 2.0, 2.001, 2.2, 3.0, 3.45])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_file_which_comes_by_the_second_gives_the_window_of_its_samples(
    words: Recognizer, tmp_path: Path, at: float, rate: int
) -> None:
    samples = bands.room_with({at: bands.burst(bands.HIGH, 0.1, 3, rate)}, 5, rate)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    found = heard(words, tmp_path / "a.wav")
    assert middle(found) == pytest.approx(21, abs=1)
    np.testing.assert_array_equal(found, heard(words, samples, rate))
    np.testing.assert_array_equal(words.recognize(tmp_path / "a.wav").scores, words.recognize(samples, rate).scores)


def test_a_long_file_takes_no_more_memory_than_a_short_one(words: Recognizer, tmp_path: Path) -> None:
    peaks = []
    for seconds in (10, 300):
        samples = bands.room_with({seconds / 2: bands.burst(bands.LOW, 0.3, 1, 8_000)}, seconds, 8_000)
        soundfile.write(tmp_path / "a.wav", samples, 8_000)
        tracemalloc.start()
        assert words.recognize(tmp_path / "a.wav").label == "low"
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@budget(40)
@given(st.integers(1, 45_056))
def test_silence_on_both_sides_fills_a_short_clip(words: Recognizer, length: int) -> None:
    # A window of 43 frames takes 44 hops of 1,024 samples, 45,056; where the missing ones are odd, one more follows.
    samples = bands.burst(bands.LOW, 1.1, 5, 44_100)[:length]
    before = (45_056 - length) // 2
    padded = np.zeros(45_056, np.float32)
    padded[before : before + length] = samples
    found = heard(words, samples, 44_100)
    np.testing.assert_array_equal(found, compute_spectrogram(padded, silence_before=False))


@pytest.mark.parametrize("rate", [1_000, 8_000, 16_000, 44_100, 48_000, 192_000, 655_350])
@pytest.mark.parametrize("milliseconds", [1, 10, 23, 100, 500])
def test_a_short_clip_lies_in_the_middle_at_every_rate(words: Recognizer, rate: int, milliseconds: int) -> None:
    samples = (
        bands.burst((200, 450), milliseconds / 1_000, 6, rate)
        if milliseconds > 10
        else np.full(max(1, rate * milliseconds // 1_000), 0.5, np.float32)
    )
    assert middle(heard(words, samples, rate)) == pytest.approx(21, abs=max(1, milliseconds / 100))


@budget(60)
@given(
    st.floats(0, 1.3), st.integers(-2, 2), st.integers(1_000, 65_535) | st.integers(6_554, 40_000).map(lambda n: 10 * n)
)
def test_a_words_clip_of_any_length_is_recognized(words: Recognizer, part: float, more: int, rate: int) -> None:
    length = max(1, round(part * 45_056 / 44_100 * rate) + more)
    scores = words.recognize(np.full(length, 0.1, np.float32), rate).scores
    assert scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("length", [1, 500, 16_000, 50_000])
def test_silence_is_recognized_as_what_the_network_says_without_input(words: Recognizer, length: int) -> None:
    result = words.recognize(np.zeros(length, np.float32), bands.RATE, include_spectrogram=True)
    np.testing.assert_array_equal(result.spectrogram, -160)
    total = math.exp(2) + 1 + 1
    np.testing.assert_allclose(result.scores, [math.exp(2) / total, 1 / total, 1 / total], rtol=1e-5)


@pytest.mark.parametrize("normalization", [WindowNormalization(), WindowNormalization(80), FixedNormalization(-80, 20)])
@pytest.mark.parametrize("make", [sounds.whistle, sounds.snaps, sounds.murmur])
def test_a_model_is_fed_as_its_metadata_say(normalization: Any, make: Any) -> None:
    recognizer = Recognizer(bands.band_model(normalization))
    assert recognizer.metadata.normalization == normalization
    result = recognizer.recognize(make(1.2, 4), sounds.RATE, include_spectrogram=True)
    assert result.spectrogram is not None
    window = result.spectrogram.astype(np.float64)
    if isinstance(normalization, FixedNormalization):
        window = (window + 80) / 20
    else:
        window = window if normalization.dynamic_range is None else window.clip(window.max() - 80)
        window = (window - window.mean()) / window.std()
    logits = (window @ bands.band_weights()).mean(axis=0) + bands.BIAS
    np.testing.assert_allclose(result.scores, np.exp(logits) / np.exp(logits).sum(), atol=1e-5)
    (again,) = recognizer.recognize_batch([result.spectrogram])
    np.testing.assert_array_equal(again.scores, result.scores)


def test_words_are_looked_for_every_tenth_of_a_window(words: Recognizer) -> None:
    windows = list(words.stream(np.zeros(5 * 44_100), sample_rate=44_100))
    # A tenth of 43 frames is 4; five seconds hold 215 frames, so windows start at 0, 4, … 172.
    frame = 1_024 / 44_100
    assert [window.start for window in windows] == pytest.approx([at * frame for at in range(0, 173, 4)])
    assert [window.end for window in windows] == pytest.approx([(at + 43) * frame for at in range(0, 173, 4)])


def test_listening_for_words_gives_each_once_around_its_time(words: Recognizer) -> None:
    samples = bands.room_with({2: bands.burst(bands.LOW, 0.6, 1), 5: bands.burst(bands.HIGH, 0.6, 2)}, 8)
    found = list(words.listen(samples, sample_rate=bands.RATE))
    assert [one.label for one in found] == ["low", "high"]
    for one, start in zip(found, (2, 5), strict=True):
        assert start - 1 < one.start < start + 0.3
        assert start + 0.3 < one.end < start + 1.6
        assert 0.75 <= one.score <= 1
    silent = list(words.listen(samples, sample_rate=bands.RATE, invoke_callback_on_noise_and_unknown=True))
    assert [one.label for one in silent] == [
        "_background_noise_",
        "low",
        "_background_noise_",
        "high",
        "_background_noise_",
    ]


@budget(15)
@given(st.lists(st.integers(0, 30_000), max_size=12), st.sampled_from([44_100, 16_000]))
def test_the_words_that_ship_are_the_same_to_the_bit_however_a_stream_is_cut(
    pretrained: Recognizer, sizes: list[int], rate: int
) -> None:
    samples = np.concatenate([sounds.murmur(1.5, 3), sounds.snaps(0.4, 4)])
    pieces = np.split(samples, np.minimum(np.cumsum(sizes, dtype=int), len(samples)))
    whole = list(pretrained.stream(Pieces([samples], rate)))
    cut = list(pretrained.stream(Pieces(pieces, rate)))
    assert len(whole) > 5
    np.testing.assert_array_equal(
        np.stack([window.scores for window in cut]), np.stack([window.scores for window in whole])
    )


@pytest.mark.parametrize(("corpus", "split"), [("speech_commands", "val"), ("free_spoken_digits", "test")])
def test_the_words_that_ship_know_most_real_recordings(
    pretrained: Recognizer, recordings: Path, corpus: str, split: str
) -> None:
    taken: Counter[str] = Counter()
    right = 0
    for row in clip_rows(recordings, corpus):
        if row["split"] == split and row["word"] in pretrained.labels and taken[row["word"]] < 3:
            taken[row["word"]] += 1
            right += pretrained.recognize(*read_row(recordings, corpus, row)).label == row["word"]
    assert len(taken) == (18 if corpus == "speech_commands" else 10)
    assert right > 0.7 * taken.total(), "far from chance, which is 5 %"


# Embeddings


def test_a_model_without_an_embedding_says_so(words: Recognizer) -> None:
    with pytest.raises(EarmarkError, match=r"^The model bands has no embedding: .+\.$"):
        words.embed_windows(np.zeros((1, 43, 232), np.float32))


def test_no_embedding_is_told_before_anything_is_opened(words: Recognizer) -> None:
    source = Pieces([np.zeros(99, np.float32)], 44_100)
    calls: list[Callable[[], object]] = [
        lambda: words.recognize("missing.wav", include_embedding=True),
        lambda: words.recognize_batch(np.zeros((1, 43, 232)), include_embedding=True),
        lambda: words.stream("missing.wav", include_embedding=True),
        lambda: words.listen("missing.wav", include_embedding=True),
        lambda: words.stream(source, include_embedding=True),
    ]
    for call in calls:
        with pytest.raises(EarmarkError, match=r"^The model bands has no embedding: .+\.$"):
            call()


def test_the_embedding_of_a_clip_is_that_of_the_window_that_was_scored(pretrained: Recognizer) -> None:
    assert pretrained.has_embedding
    for samples in (sounds.murmur(2.5, 3), sounds.snaps(0.2, 4)):
        result = pretrained.recognize(samples, sounds.RATE, include_spectrogram=True, include_embedding=True)
        assert result.spectrogram is not None
        assert result.embedding is not None
        assert result.embedding.ndim == 1
        expected = pretrained.embed_windows(result.spectrogram[np.newaxis])
        np.testing.assert_array_equal(result.embedding, expected[0])
        (again,) = pretrained.recognize_batch(result.spectrogram, include_embedding=True)
        assert again.spectrogram is None
        np.testing.assert_array_equal(again.embedding, result.embedding)
        alone = pretrained.recognize(samples, sounds.RATE)
        assert (alone.spectrogram, alone.embedding) == (None, None)
        np.testing.assert_array_equal(alone.scores, result.scores)


def test_the_embedding_of_a_short_sounds_clip_is_the_mean_over_its_windows() -> None:
    # Half a second of a low tone of amplitude 0.3, then half a second of a high one of 0.2; windows of 5 frames.
    recognizer = Recognizer(tones.tone_model(frames=5))
    samples = np.concatenate([tones.tone(tones.LOW, 0.5, 0.3), tones.tone(tones.HIGH, 0.5, 0.2)])
    result = recognizer.recognize(samples, tones.RATE, include_spectrogram=True, include_embedding=True)
    assert result.embedding is not None
    # 46 windows: 21 of the first tone alone, 4 that hold 4, 3, 2, 1 of its frames, 21 without: a mean share of ½.
    np.testing.assert_allclose(result.embedding, [0.09 / 2, 0.04 / 2], rtol=1e-4)
    np.testing.assert_array_equal(result.spectrogram, samples.reshape(50, 320))
    shares = [1.0] * 21 + [0.8, 0.6, 0.4, 0.2] + [0.0] * 21
    scores = [tones.scores_by_hand(0.09 * share, 0.04 * (1 - share)) for share in shares]
    np.testing.assert_allclose(result.scores, np.mean(scores, axis=0), atol=1e-4)


def test_a_streams_windows_come_with_what_was_asked_for(pretrained: Recognizer) -> None:
    samples = sounds.murmur(1.5, 3)
    frames = compute_spectrogram(samples, sounds.RATE)
    plain = list(pretrained.stream(samples, sample_rate=sounds.RATE))
    full = list(pretrained.stream(samples, sample_rate=sounds.RATE, include_spectrogram=True, include_embedding=True))
    assert len(full) == len(plain) > 3
    for number, (window, bare) in enumerate(zip(full, plain, strict=True)):
        assert (bare.spectrogram, bare.embedding) == (None, None)
        assert (window.start, window.end) == (bare.start, bare.end)
        np.testing.assert_array_equal(window.scores, bare.scores)
        np.testing.assert_array_equal(window.spectrogram, frames[4 * number : 4 * number + 43])
        expected = pretrained.embed_windows(frames[np.newaxis, 4 * number : 4 * number + 43])
        assert window.embedding is not None
        np.testing.assert_allclose(window.embedding, expected[0], rtol=1e-5, atol=1e-5)


def test_the_embedding_is_that_of_the_normalized_windows() -> None:
    # The bands' network with its means as the embedding: of one window normalized by hand, and of others with it.
    loaded = onnx.load_from_string(bands.band_model(WindowNormalization(60), "embedder"))
    embedding = onnx.helper.make_node("Identity", ["means"], ["embedding"])
    loaded.graph.node.append(embedding)
    loaded.graph.output.append(onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", 3]))
    recognizer = Recognizer(loaded.SerializeToString())
    frames = compute_spectrogram(sounds.murmur(2, 1), sounds.RATE)
    windows = np.stack([frames[at : at + 43] for at in (0, 20, 40)])
    embeddings = recognizer.embed_windows(windows)
    for window, found in zip(windows.astype(np.float64), embeddings, strict=True):
        window = window.clip(window.max() - 60)
        expected = ((window - window.mean()) / window.std() @ bands.band_weights()).mean(axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert recognizer.embed_windows(windows[:0]).shape == (0, 3)


# Streams


@budget(60)
@given(
    st.lists(st.integers(0, 9_000), max_size=12),
    st.sampled_from([44_100, 48_000, 16_000]),
    st.sampled_from([None, 0.0, 0.5]),
)
def test_a_streams_scores_are_the_same_to_the_bit_however_it_is_cut(
    recognizer: Recognizer, sizes: list[int], rate: int, overlap: float | None
) -> None:
    samples = np.concatenate([sounds.whistle(0.4, 3), sounds.snaps(0.4, 4)])
    pieces = np.split(samples, np.minimum(np.cumsum(sizes, dtype=int), len(samples)))
    whole = list(recognizer.stream(Pieces([samples], rate), overlap_factor=overlap))
    cut = list(recognizer.stream(Pieces(pieces, rate), overlap_factor=overlap))
    assert len(whole) > 10
    assert [(window.start, window.end) for window in cut] == [(window.start, window.end) for window in whole]
    np.testing.assert_array_equal(
        np.stack([window.scores for window in cut]), np.stack([window.scores for window in whole])
    )


def test_short_sounds_are_smoothed(recognizer: Recognizer) -> None:
    samples = np.concatenate([sounds.murmur(1.5, 1), sounds.whistle(2, 5), sounds.murmur(1.5, 2)])
    listen = partial(recognizer.listen, samples, sample_rate=sounds.RATE)
    assert list(listen()) == list(listen(smoothing_windows=3, min_agreeing_windows=1))
    assert list(listen()) != list(listen(smoothing_windows=1))


@pytest.mark.parametrize(("overlap", "agreeing"), [(None, 5), (0.5, 1)])
def test_words_have_to_agree(waves: Recognizer, overlap: float | None, agreeing: int) -> None:
    # A tone that fills one window. Those before and after have 0.9, 0.8, 0.7 … of it by the usual hop of a tenth, and
    # half of it by a hop of half a window.
    samples = tones.silence_with({2.0: tones.tone(tones.LOW, 1, amplitude=0.2)}, 5)
    listen = partial(
        waves.listen, samples, sample_rate=tones.RATE, overlap_factor=overlap, min_agreeing_windows=agreeing
    )
    five_reach, three_reach = (tones.scores_by_hand(0.04 * share, 0)[1] for share in (0.75, 0.85))
    (found,) = listen(probability_threshold=five_reach)
    assert found.label == "low"
    assert found.score == pytest.approx(tones.scores_by_hand(0.04, 0)[1], abs=1e-4), "none is averaged"
    assert list(listen(probability_threshold=five_reach, min_agreeing_windows=agreeing + 1)) == []
    assert len(list(listen(probability_threshold=three_reach))) == (0 if agreeing == 5 else 1)


@pytest.mark.parametrize(("overlap", "hop"), [(None, 1), (0.0, 3), (0.5, 2), (0.99, 1)])
def test_windows_follow_each_other_by_the_hop(recognizer: Recognizer, overlap: float | None, hop: int) -> None:
    windows = list(recognizer.stream(np.zeros(44_100), sample_rate=44_100, overlap_factor=overlap))
    # One second holds 43 frames of 1,024 samples; windows of 3 start at frames 0 to 40.
    assert len(windows) == 40 // hop + 1
    frame = 1_024 / 44_100
    for number, window in enumerate(windows):
        assert window.start == pytest.approx(number * hop * frame)
        assert window.end == pytest.approx((number * hop + 3) * frame)


def three_sounds() -> Samples:
    takes = [sounds.room(1, 1), sounds.whistle(1.5, 61), sounds.room(1, 2), sounds.snaps(1.5, 62), sounds.room(1, 3)]
    return np.concatenate(takes)


def test_listening_gives_each_sound_once_at_its_time(recognizer: Recognizer) -> None:
    found = [one for one in recognizer.listen(three_sounds(), sample_rate=sounds.RATE) if one.label != "Noise"]
    assert [one.label for one in found] == ["Left", "Right"]
    for one, start, end in zip(found, (1, 3.5), (2.5, 5), strict=True):
        assert one.start == pytest.approx(start, abs=0.1)
        assert one.end == pytest.approx(end, abs=0.1)
        assert 0.75 <= one.score <= 1


def test_listening_to_a_file_equals_listening_to_its_samples(recognizer: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", three_sounds(), sounds.RATE, subtype="FLOAT")
    assert list(recognizer.listen(tmp_path / "a.wav")) == list(
        recognizer.listen(three_sounds(), sample_rate=sounds.RATE)
    )


def test_a_source_is_closed_when_listening_ends_or_is_given_up(recognizer: Recognizer) -> None:
    for give_up in (False, True):
        source = Pieces([three_sounds()], sounds.RATE)
        windows = recognizer.stream(source)
        next(iter(windows))
        if give_up:
            windows.close()  # type: ignore[attr-defined]
        else:
            list(windows)
        assert source.closed


@pytest.mark.parametrize(
    "options",
    [{"probability_threshold": 2}, {"overlap_factor": 1}, {"suppression_time_ms": -1}, {"smoothing_windows": 2}],
)
def test_an_option_out_of_range_is_told(recognizer: Recognizer, options: dict[str, float]) -> None:
    with pytest.raises(EarmarkError, match=next(iter(options))):
        list(recognizer.listen(np.zeros(9_000), sample_rate=44_100, **options))  # type: ignore[arg-type]


def test_real_recordings_of_other_things_give_valid_scores(recognizer: Recognizer, recordings: Path) -> None:
    result = recognizer.recognize(recordings / "free_spoken_digits" / "test-six.ogg")
    assert np.isfinite(result.scores).all()
    assert result.scores.sum() == pytest.approx(1, abs=1e-5)


# The waveform


@pytest.fixture(scope="module")
def waves() -> Recognizer:
    """Of the waveform itself, in windows of a second."""
    return Recognizer(tones.tone_model())


def two_tones(rate: int = tones.RATE) -> Samples:
    low, high = tones.tone(tones.LOW, 1.2, rate=rate), tones.tone(tones.HIGH, 1.2, rate=rate)
    return tones.silence_with({2.0: low, 5.0: high}, 8, rate)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize(("hertz", "label"), [(tones.LOW, "low"), (tones.HIGH, "high")])
def test_a_waveform_model_recognizes_a_clip(
    waves: Recognizer, tmp_path: Path, rate: int, hertz: float, label: str
) -> None:
    assert (waves.input_shape, waves.front_end) == ((50, 320), WAVEFORM)
    samples = tones.silence_with({2.0: tones.tone(hertz, 1.2, rate=rate)}, 5, rate)
    result = waves.recognize(samples, rate, include_spectrogram=True, include_embedding=True)
    assert result.label == label
    assert result.embedding is not None
    power = [0.09, 0] if label == "low" else [0, 0.09]
    np.testing.assert_allclose(result.embedding, power, atol=2e-3)
    np.testing.assert_allclose(result.scores, tones.scores_by_hand(*power), atol=2e-3)
    assert result.spectrogram is not None
    assert result.spectrogram.shape == (50, 320)
    np.testing.assert_array_equal(waves.embed_windows(result.spectrogram[np.newaxis])[0], result.embedding)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    np.testing.assert_array_equal(waves.recognize(tmp_path / "a.wav").scores, result.scores)


def test_a_waveform_models_window_is_the_very_sound(waves: Recognizer) -> None:
    samples = tones.silence_with({2.0: tones.tone(tones.LOW, 0.2)}, 5)
    window = waves.recognize(samples, tones.RATE, include_spectrogram=True).spectrogram
    assert window is not None
    # The tone's ten frames are the window's 20th to 29th: its middle lies between the two.
    np.testing.assert_array_equal(window.ravel(), samples[round(1.6 * 16_000) : round(2.6 * 16_000)])


@budget(60)
@given(st.integers(1, 6_000), st.integers(1_000, 65_535) | st.integers(6_554, 40_000).map(lambda tens: 10 * tens))
def test_a_waveform_model_recognizes_a_clip_of_any_length(waves: Recognizer, length: int, rate: int) -> None:
    scores = waves.recognize(np.full(length, 0.1, np.float32), rate).scores
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_a_waveform_models_windows_come_in_steps_of_20_ms(waves: Recognizer) -> None:
    samples = two_tones()
    for overlap, hop in ((0.98, 1), (None, 5), (0.5, 25)):
        windows = list(waves.stream(samples, sample_rate=tones.RATE, overlap_factor=overlap, include_spectrogram=True))
        assert len(windows) == (8 * 50 - 50) // hop + 1
        assert [window.start for window in windows] == pytest.approx([0.02 * hop * at for at in range(len(windows))])
        assert [window.end for window in windows] == pytest.approx([0.02 * hop * at + 1 for at in range(len(windows))])
        for window in windows:
            assert window.spectrogram is not None
            at = round(window.start * 16_000)
            np.testing.assert_array_equal(window.spectrogram.ravel(), samples[at : at + 16_000])


@budget(60)
@given(
    st.lists(st.integers(0, 9_000), max_size=12),
    st.sampled_from([44_100, 48_000, 16_000, 8_000]),
    st.sampled_from([None, 0.0, 0.5, 0.98]),
)
def test_a_waveform_models_windows_are_the_same_to_the_bit_however_the_stream_is_cut(
    waves: Recognizer, sizes: list[int], rate: int, overlap: float | None
) -> None:
    samples = tones.tone(tones.LOW, 1.7, rate=rate) + tones.tone(1_234, 1.7, rate=rate)
    pieces = np.split(samples, np.minimum(np.cumsum(sizes, dtype=int), len(samples)))
    stream = partial(waves.stream, overlap_factor=overlap, include_spectrogram=True)
    whole, cut = list(stream(Pieces([samples], rate))), list(stream(Pieces(pieces, rate)))
    assert whole
    assert [(window.start, window.end) for window in cut] == [(window.start, window.end) for window in whole]
    for one, other in zip(cut, whole, strict=True):
        np.testing.assert_array_equal(one.spectrogram, other.spectrogram)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)  # a batch may be added up in another order


def test_a_waveform_model_hears_sounds_at_their_times(waves: Recognizer) -> None:
    for rate in (16_000, 44_100):
        found = list(waves.listen(two_tones(rate), sample_rate=rate, include_spectrogram=True))
        assert [one.label for one in found] == ["low", "high"]
        for one, start in zip(found, (2, 5), strict=True):
            assert start - 1 < one.start < start + 0.3
            assert start + 0.9 < one.end < start + 2.2
            assert one.spectrogram is not None
            assert one.spectrogram.shape == (50, 320)


def test_a_waveform_model_takes_batches_of_sound(waves: Recognizer) -> None:
    sound = tones.tone(tones.HIGH, 1, 0.2).reshape(50, 320)
    results = waves.recognize_batch([sound, 0 * sound], include_embedding=True)
    np.testing.assert_allclose(results[0].scores, tones.scores_by_hand(0, 0.04), atol=1e-4)
    np.testing.assert_allclose(results[1].scores, tones.scores_by_hand(0, 0), atol=1e-6)
    for result, power in zip(results, (0.04, 0), strict=True):
        assert result.embedding is not None
        np.testing.assert_allclose(result.embedding, [0, power], atol=1e-5)
    with pytest.raises(EarmarkError, match=r"^The spectrograms .+: pass \[windows, 50, 320\]\.$"):
        waves.recognize_batch(np.zeros((1, 43, 232)))


# Listening with its options


def weak_tones() -> Samples:
    # exp(100 × 0.02) = exp(2): as much as noise, so that each score is about a half where the tone fills the window.
    weak = tones.tone(tones.LOW, 2, amplitude=0.02**0.5 * 1.02)
    return tones.silence_with({2.0: weak}, 6)


def test_asking_for_embeddings_overrides_the_threshold_and_the_silence_on_noise(waves: Recognizer) -> None:
    listen = partial(waves.listen, weak_tones(), sample_rate=tones.RATE)
    assert list(listen()) == []
    found = list(listen(include_embedding=True))
    assert [one.label for one in found] == ["_background_noise_", "low", "_background_noise_"]
    assert 0.4 < found[1].score < 0.6
    for one, power in zip(found, (0, 0.0208, 0), strict=True):
        assert one.embedding is not None
        np.testing.assert_allclose(one.embedding, [power, 0], atol=1e-4)
        assert one.spectrogram is None
    # As in speech-commands, whatever else was asked for.
    strict: dict[str, Any] = {"probability_threshold": 0.99, "label_thresholds": {"low": 1.0}}
    assert list(listen(**strict, include_embedding=True)) == found
    assert list(listen(invoke_callback_on_noise_and_unknown=False, include_embedding=True)) == found


def test_detections_hold_what_was_asked_for(waves: Recognizer) -> None:
    (plain, _) = waves.listen(two_tones(), sample_rate=tones.RATE)
    assert (plain.spectrogram, plain.embedding) == (None, None)
    full = waves.listen(two_tones(), sample_rate=tones.RATE, include_spectrogram=True, include_embedding=True)
    for found in full:
        assert found.scores is not None
        assert found.scores[waves.labels.index(found.label)] == found.scores.max()
        assert found.spectrogram is not None
        assert found.embedding is not None
        np.testing.assert_allclose(waves.embed_windows(found.spectrogram[np.newaxis])[0], found.embedding, rtol=1e-5)


class Endless(Source):
    """Sound that goes on until it is closed."""

    sample_rate, name = tones.RATE, "the endless stream"

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Samples]:
        silence, tone = np.zeros(tones.RATE, np.float32), tones.tone(tones.LOW, 1.5)
        while not self.closed.is_set():
            yield from (silence, tone, silence)

    def close(self) -> None:
        self.closed.set()


def listens(recognizer: Recognizer) -> bool:
    """As a function, so that mypy doesn't take it for settled."""
    return recognizer.is_listening


def test_a_callback_is_called_until_the_listening_is_stopped(waves: Recognizer) -> None:
    recognizer = Recognizer(waves.content)
    assert not listens(recognizer)
    found: list[earmark.Detection] = []
    enough = threading.Event()

    def hear(detection: earmark.Detection) -> None:
        found.append(detection)
        if len(found) == 3:
            enough.set()

    source = Endless()
    recognizer.listen(source, callback=hear)  # nobody keeps what it returns
    gc.collect()
    assert listens(recognizer)
    assert not listens(waves), "another recognizer"
    assert enough.wait(30)
    recognizer.stop_listening()
    assert not listens(recognizer)
    assert source.closed.is_set()
    assert {one.label for one in found} == {"low"}
    recognizer.stop_listening()  # again does nothing


def test_a_callback_gets_what_the_loop_gets(waves: Recognizer) -> None:
    found: list[earmark.Detection] = []
    listening = waves.listen(two_tones(), sample_rate=tones.RATE, callback=found.append)
    assert listening.wait(30)
    assert found == list(waves.listen(two_tones(), sample_rate=tones.RATE))
    assert listening.is_listening is False
    assert not listens(waves)


def test_all_listenings_are_stopped_at_once() -> None:
    recognizer = Recognizer(tones.tone_model())
    sources = [Endless(), Endless(), Endless()]
    loops = [recognizer.listen(source) for source in sources[:2]]
    threaded = recognizer.listen(sources[2], callback=lambda _: None)
    assert next(loops[0]).label == "low"
    assert listens(recognizer)
    recognizer.stop_listening()
    assert not listens(recognizer)
    assert threaded.wait(30)
    assert all(source.closed.is_set() for source in sources)
    assert [list(loop) for loop in loops] == [[], []]
    again = recognizer.listen(two_tones(), sample_rate=tones.RATE)
    assert [one.label for one in again] == ["low", "high"], "a recognizer that was stopped can listen again"


def test_a_listening_that_is_let_go_of_is_over() -> None:
    recognizer = Recognizer(tones.tone_model())
    for detection in recognizer.listen(Endless()):
        assert detection.label == "low"
        assert listens(recognizer)
        break
    gc.collect()
    assert not listens(recognizer)


def test_what_is_no_callback_is_told_and_the_source_closed(waves: Recognizer) -> None:
    source = Endless()
    with pytest.raises(EarmarkError, match=r"^The callback is 'print': .+\.$"):
        waves.listen(source, callback="print")  # type: ignore[arg-type]
    assert source.closed.is_set()
    assert not listens(waves)


# The microphone

MICROPHONE = """\
pcm.none {{ type null }}
pcm.!default {{
    type file
    file "/dev/null"
    infile "{sound}"
    format raw
    slave.pcm none
    hint {{ show on description "a file that is played into the microphone" }}
}}
"""  # for ALSA, the sound system of Linux


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the default microphone hears ten seconds of a low tone."""
    folder = tmp_path_factory.mktemp("microphone")
    tones.tone(tones.LOW, 10, rate=44_100).astype("<f4").tofile(folder / "sound.raw")
    (folder / "asound.conf").write_text(MICROPHONE.format(sound=folder / "sound.raw"))
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(folder / "asound.conf")}
    script = "import sounddevice; print(sounddevice.query_devices(kind='input')['default_samplerate'])"
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    if run.stdout != "44100.0\n":
        pytest.skip("needs PortAudio with ALSA")
    return environment


def test_without_a_clip_one_window_of_the_microphone_is_recognized(microphone: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tones.onnx").write_bytes(tones.tone_model())
    script = """if True:
        import sys, earmark
        recognizer = earmark.load(sys.argv[1])
        result = recognizer.recognize(include_spectrogram=True, include_embedding=True)
        print(result.label, *result.embedding, *result.spectrogram.shape)
    """
    arguments = [sys.executable, "-c", script, str(tmp_path / "tones.onnx")]
    run = subprocess.run(arguments, env=microphone, capture_output=True, text=True, check=True, timeout=60)
    label, low, high, frames, values = run.stdout.split()
    assert (label, frames, values) == ("low", "50", "320")
    assert float(low) == pytest.approx(0.09, abs=2e-3)
    assert float(high) == pytest.approx(0, abs=2e-3)


def test_an_unknown_microphone_is_told(waves: Recognizer) -> None:
    skip_without_portaudio()
    with pytest.raises(EarmarkError, match=r"'no such microphone' .+: .+\.$"):
        waves.recognize(device="no such microphone")


def test_a_microphone_without_portaudio_is_told(tmp_path: Path) -> None:
    """By each way to it, and as an error that names the remedy."""
    script = """if True:
        import earmark
        recognizer = earmark.load("words")
        project = earmark.Project("new", create=True)
        for use in (
            recognizer.recognize,
            lambda: next(iter(recognizer.listen())),
            lambda: project.collect_example("Left"),
            lambda: earmark.open_source(device="no such microphone"),
        ):
            try:
                use()
            except earmark.EarmarkError as error:
                print(error)
    """
    environment = {**os.environ, **without_portaudio(tmp_path)}
    arguments = [sys.executable, "-c", script]
    run = subprocess.run(arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    told = run.stdout.splitlines()
    assert len(told) == 4
    assert all(
        re.fullmatch(r"The microphone needs PortAudio, .+: install it \(.+libportaudio2.+\.", one) for one in told
    )


# Loading


def test_a_model_is_loaded_from_its_file_its_folder_and_its_project(trained: earmark.Project, tmp_path: Path) -> None:
    folder = trained.path / "models" / "sounds"
    alone = tmp_path / "renamed 🙂.onnx"
    shutil.copy(folder / "model.onnx", alone)
    samples = sounds.whistle(0.5, 8)
    expected = trained.model().recognize(samples, sounds.RATE).scores
    for path in (trained.path, str(trained.path), folder, folder / "model.onnx", alone):
        loaded = earmark.load(path)
        assert loaded.labels == ("Left", "Right", "Noise")
        np.testing.assert_array_equal(loaded.recognize(samples, sounds.RATE).scores, expected)


def test_params_are_those_of_the_front_end(pretrained: Recognizer, recognizer: Recognizer, waves: Recognizer) -> None:
    params = pretrained.params
    assert isinstance(params, Params)
    assert (params.sample_rate, params.fft_size) == (44_100, 2_048)
    # speech-commands reads 43 columns of 23.22 ms.
    assert params.frame_ms == pytest.approx(23.22, abs=0.001)
    assert params.window_ms == pytest.approx(998.46, abs=0.01)
    assert recognizer.params.window_ms == pytest.approx(69.66, abs=0.01)
    assert (waves.params.sample_rate, waves.params.fft_size) == (16_000, None)
    assert waves.params.frame_ms == pytest.approx(20)
    assert waves.params.window_ms == pytest.approx(1_000)


def test_a_saved_model_scores_the_same(
    pretrained: Recognizer, recognizer: Recognizer, waves: Recognizer, tmp_path: Path
) -> None:
    samples = sounds.snaps(1.4, 3)
    for name, one in (("words", pretrained), ("sounds", recognizer), ("été 🙂/waves", waves)):
        folder = one.save(tmp_path / name)
        assert folder == tmp_path / name
        for path in (folder, folder / "model.onnx"):
            again = earmark.load(path)
            assert again.labels == one.labels
            assert again.metadata == one.metadata
            np.testing.assert_array_equal(
                again.recognize(samples, sounds.RATE).scores, one.recognize(samples, sounds.RATE).scores
            )
        card = json.loads((folder / "model.json").read_text())
        assert [label["name"] for label in card["labels"]] == list(one.labels)
        assert card["name"] == one.metadata.name
    waves.save(str(tmp_path / "words"))
    assert earmark.load(tmp_path / "words").labels == tones.LABELS, "the newer one"


def test_a_model_that_can_not_be_saved_is_told(waves: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EarmarkError, match=r"file.+: .+\.$"):
        waves.save(tmp_path / "file")


def test_saving_needs_nothing_that_only_trains(tmp_path: Path) -> None:
    (tmp_path / "tones.onnx").write_bytes(tones.tone_model())
    # As where torch and onnx were never installed.
    script = """if True:
        import sys
        from importlib import metadata
        find = metadata.Distribution.from_name.__func__
        def find_others(cls, name):
            if name in ("torch", "onnx"):
                raise metadata.PackageNotFoundError(name)
            return find(cls, name)
        metadata.Distribution.from_name = classmethod(find_others)
        sys.modules["torch"] = sys.modules["onnx"] = None
        import earmark
        print(earmark.load(earmark.load(sys.argv[1]).save(sys.argv[2])).labels)
    """
    arguments = [sys.executable, "-c", script, str(tmp_path / "tones.onnx"), str(tmp_path / "saved")]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert run.stderr == ""
    assert run.stdout == f"{tones.LABELS}\n"


def test_a_speech_commands_model_is_loaded_from_its_own_files(recordings: Path, tmp_path: Path) -> None:
    folder = SHARED / "fixtures" / "tfjs_speech_commands" / "browser_fft_18w"
    if not folder.is_dir():
        pytest.skip("needs the model in ../shared/fixtures")
    loaded = earmark.load(folder)
    assert loaded.labels == earmark.load(folder / "model.json").labels
    assert set(loaded.labels) == {"_background_noise_", "_unknown_", *NUMBERS, *OTHERS}
    assert loaded.front_end is SPECTROGRAM
    assert loaded.input_shape == (43, 232)
    right = []
    for word in ("yes", "no", "stop"):
        rows = [row for row in clip_rows(recordings, "speech_commands") if (row["split"], row["word"]) == ("val", word)]
        clips = [read_row(recordings, "speech_commands", row) for row in rows[:5]]
        right += [loaded.recognize(*clip).label == word for clip in clips]
    assert np.mean(right) > 0.7, "far from chance, which is 5 %"
    again = earmark.load(loaded.save(tmp_path / "saved"))
    np.testing.assert_array_equal(again.recognize(*clips[0]).scores, loaded.recognize(*clips[0]).scores)


def test_a_folder_with_earmarks_own_card_is_earmarks(trained: earmark.Project, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.path / "models" / "sounds", tmp_path / "mine")
    assert (folder / "model.json").is_file()
    assert earmark.load(folder).labels == ("Left", "Right", "Noise")
    # Even beside what a TensorFlow.js model has, and with a card that looks like one.
    (folder / "metadata.json").write_text('{"wordLabels": ["other"]}')
    (folder / "model.json").write_text('{"modelTopology": {}, "weightsManifest": []}')
    assert earmark.load(folder).labels == ("Left", "Right", "Noise")
    (folder / "model.onnx").unlink()
    with pytest.raises(EarmarkError, match=r"mine .+: .+\.$"):
        earmark.load(folder)


def test_a_card_alone_is_no_model(trained: earmark.Project, tmp_path: Path) -> None:
    card = shutil.copy(trained.path / "models" / "sounds" / "model.json", tmp_path / "model.json")
    for path in (card, tmp_path):
        with pytest.raises(EarmarkError, match=r": .+\.$"):
            earmark.load(path)


NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
OTHERS = ("up", "down", "left", "right", "go", "stop", "yes", "no")


def test_the_words_are_loaded_by_default(pretrained: Recognizer) -> None:
    reserved = ("_background_noise_", "_unknown_")
    assert pretrained.labels == (*reserved, *sorted([*NUMBERS, *OTHERS]))
    assert pretrained.labels[2:] == (
        *("down", "eight", "five", "four", "go", "left", "nine", "no", "one"),
        *("right", "seven", "six", "stop", "three", "two", "up", "yes", "zero"),
    )
    assert pretrained.input_shape == (43, 232)
    assert pretrained.metadata.normalization == FlooredNormalization(0.8)
    samples = sounds.murmur(1, 3)
    expected = pretrained.recognize(samples, sounds.RATE).scores
    np.testing.assert_array_equal(earmark.load().recognize(samples, sounds.RATE).scores, expected)


def test_a_folder_named_words_is_told_from_the_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarmarkError, match=r"^words does not exist: .+\.$"):
        earmark.load("./words")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "model.onnx").write_bytes(bands.band_model())
    for path in ("./words", "words/", Path("words"), tmp_path / "words"):
        assert earmark.load(path).labels == bands.LABELS
    assert len(earmark.load("words").labels) == 20


@pytest.mark.parametrize("name", ["word", "Words", "words.onnx", ""])
def test_what_is_nearly_the_words_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EarmarkError, match=r": .+\.$"):
        earmark.load(name)


def test_a_model_of_the_first_format_is_loaded_and_scores_the_same(model: bytes) -> None:
    loaded = onnx.load_from_string(model)
    values = json.loads(loaded.metadata_props[0].value)
    assert (values["format"], values.pop("normalization")) == (2, {"mean": -100, "deviation": 10})
    del loaded.metadata_props[:]
    onnx.helper.set_model_props(loaded, {"earmark": json.dumps({**values, "format": 1, "mean": -100, "deviation": 10})})
    samples = sounds.snaps(0.5, 3)
    expected = Recognizer(model).recognize(samples, sounds.RATE).scores
    first = Recognizer(loaded.SerializeToString())
    np.testing.assert_array_equal(first.recognize(samples, sounds.RATE).scores, expected)


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "missing.onnx",
        "text.onnx",
        "empty.onnx",
        "text.onnx/below",
        "folder",
        "untrained",
        "x" * 300,
        "nul\0",
    ],
    ids=lambda name: ascii(name[:12]),
)
def test_what_is_no_model_is_named_with_a_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder").mkdir()
    earmark.Project(tmp_path / "untrained", create=True)
    with pytest.raises(EarmarkError, match=r": .+\.$") as caught:
        earmark.load(tmp_path / name)
    assert name.replace("\0", "?") in str(caught.value)


def changed(model: bytes, metadata: dict[str, object] | None) -> bytes:
    """The model with other values in its metadata, or with none."""
    loaded = onnx.load_from_string(model)
    values = {**json.loads(loaded.metadata_props[0].value), **(metadata or {})}
    del loaded.metadata_props[:]
    if metadata is not None:
        onnx.helper.set_model_props(loaded, {"earmark": json.dumps(values)})
    return loaded.SerializeToString()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"labels": ["one", "two"]},
        {"labels": ["one", "two", "three", "four"]},
        {"window_frames": 43},
        {"window_frames": 10**12},
        {"normalization": {"mean": float("nan"), "deviation": 10}},
        {"normalization": {"mean": 1e300, "deviation": 10}},
        {"normalization": {"mean": -100, "deviation": 1e-300}},
        {"normalization": {"dynamic_range": 0}},
        {"normalization": None},
        {"format": 1},
        {"format": 99},
    ],
    ids=str,
)
def test_a_model_that_does_not_fit_its_metadata_is_refused(model: bytes, metadata: dict[str, object] | None) -> None:
    with pytest.raises(EarmarkError, match=r"^my model .+: .+\.$|^my model .+: .+ missing\.$"):
        Recognizer(changed(model, metadata), "my model")


@budget(60)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=20),
    st.floats(0, 1),
)
def test_a_damaged_model_is_told_or_gives_scores(model: bytes, changes: list[tuple[float, int]], kept: float) -> None:
    data = bytearray(model)
    for at, value in changes:
        data[int(at * len(data))] = value
    try:
        damaged = Recognizer(bytes(data[: round(len(data) * kept)]), "my model")
    except EarmarkError as error:
        assert "y model" in str(error)  # noqa: PT017
    else:
        assert damaged.recognize(np.zeros(9_000), 44_100).scores.shape == (len(damaged.labels),)


@pytest.mark.slow
def test_a_recognizer_goes_to_other_processes(words: Recognizer, recognizer: Recognizer, tmp_path: Path) -> None:
    files = [tmp_path / f"{take}.wav" for take in range(2)]
    for take, file in enumerate(files):
        soundfile.write(file, sounds.whistle(1, take), sounds.RATE)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for one in (words, recognizer):
            results = pool.map(one.recognize, files)
            for file, result in zip(files, results, strict=True):
                np.testing.assert_array_equal(result.scores, one.recognize(file).scores)
    copied = pickle.loads(pickle.dumps(recognizer))
    assert type(copied) is type(recognizer)
    assert not copied.is_listening


def test_a_trained_recognizer_keeps_its_history_when_pickled(trained: earmark.Project) -> None:
    recognizer = earmark.TransferRecognizer(trained.model().content)
    recognizer.history = (Epoch(1, 1, 0.5, 0.9),)
    assert pickle.loads(pickle.dumps(recognizer)).history == recognizer.history


def test_a_recognizer_says_its_name_labels_and_window() -> None:
    assert repr(Recognizer(tones.tone_model())) == (
        "<Recognizer tones: _background_noise_, low, high; window 50 frames, 1.00 s>"
    )
    shown = repr(earmark.load())
    assert shown.startswith("<Recognizer words: _background_noise_, _unknown_, down, eight, ")
    assert shown.endswith(", … 20 in all; window 43 frames, 1.02 s>")  # 44 hops of 1,024 samples at 44.1 kHz
