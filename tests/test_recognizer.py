"""The recognizer: clips, batches, streams, and loading."""

from __future__ import annotations

import json
import math
import shutil
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import earmark
from earmark import EarmarkError, Recognizer, Source
from earmark.audio import Samples
from earmark.metadata import FixedNormalization, WindowNormalization
from earmark.spectrogram import compute_spectrogram
from tests import bands, sounds
from tests.corpus import clip_rows, read_row


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


@settings(max_examples=60, deadline=None)
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
        np.zeros((3, 232)),
        np.zeros((1, 4, 232)),
        np.zeros((1, 3, 231)),
        np.full((1, 3, 232), -np.inf),
        "loud",
        [[1], []],
    ],
    ids=["2-d", "4 frames", "231 bins", "-inf", "text", "ragged"],
)
def test_a_bad_batch_is_told(
    recognizer: Recognizer, spectrograms: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    with pytest.raises(EarmarkError, match=r"^The spectrograms .+: (pass|raise) .+\.$"):
        recognizer.recognize_batch(spectrograms)


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
@settings(max_examples=15, deadline=None)
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


@settings(max_examples=40, deadline=None)
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


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=15, deadline=None)
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


@settings(max_examples=60, deadline=None)
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


def test_a_click_is_smoothed_away_more_from_words_than_from_sounds(recognizer: Recognizer, words: Recognizer) -> None:
    assert (recognizer.default_smoothing, words.default_smoothing) == (3, 5)
    samples = np.concatenate([sounds.murmur(1.5, 1), sounds.whistle(2, 5), sounds.murmur(1.5, 2)])
    for listener, windows in ((recognizer, 3), (words, 5)):
        listen = partial(listener.listen, samples, sample_rate=sounds.RATE, probability_threshold=0.3)
        assert list(listen()) == list(listen(smoothing_windows=windows))
        assert list(listen()) != list(listen(smoothing_windows=1))


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
    assert isinstance(pretrained.metadata.normalization, WindowNormalization)
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
    assert name in str(caught.value)


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


@settings(max_examples=60, deadline=None)
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
