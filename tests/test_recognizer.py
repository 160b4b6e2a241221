"""The recognizer: clips, batches, streams, and loading."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import earmark
from earmark import EarmarkError, Recognizer, Source
from earmark.audio import Samples
from earmark.spectrogram import compute_spectrogram
from tests import sounds


@pytest.fixture(scope="module")
def recognizer(trained: earmark.Project) -> Recognizer:
    return trained.model()


@pytest.fixture(scope="module")
def model(trained: earmark.Project) -> bytes:
    return (trained.path / "models" / "sounds" / "model.onnx").read_bytes()


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
        {"mean": float("nan")},
        {"mean": 1e300},
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
