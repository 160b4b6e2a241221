"""What a model says of itself, and how its input is normalized."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.front_end.frames import SPECTROGRAM, WAVEFORM, FrontEnd
from earmark.front_end.spectrogram import compute_spectrogram
from earmark.models.metadata import (
    FixedNormalization,
    FlooredNormalization,
    Metadata,
    Normalization,
    WindowNormalization,
)
from tests import sounds
from tests.budget import budget

WHOLE = {
    "format": 2,
    "front_end": {"sample_rate": 44_100, "fft_size": 2_048, "hop": 1_024, "bins": 232},
    "name": "sounds",
    "labels": ["Left", "été 🙂"],
    "window_frames": 3,
    "normalization": {"mean": -100.0, "deviation": 10.0},
}
FIRST = {  # format 1, as Earmark 0.1 wrote it before it knew another normalization than the fixed one
    "format": 1,
    "front_end": {"sample_rate": 44_100, "fft_size": 2_048, "hop": 1_024, "bins": 232},
    "name": "sounds",
    "labels": ["Left", "été 🙂"],
    "window_frames": 3,
    "mean": -100.0,
    "deviation": 10.0,
}
levels = st.floats(-999_999, 999_999)
positive = st.floats(2e-6, 999_999)
normalizations = st.one_of(
    st.builds(FixedNormalization, levels, positive),
    st.builds(WindowNormalization, st.none() | positive),
    st.builds(FlooredNormalization, positive),
)

# The description


@budget(100)
@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs"))),
    st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs"))), max_size=5),
    st.integers(1, 1_000),
    normalizations,
    st.sampled_from([SPECTROGRAM, WAVEFORM]),
)
def test_what_is_written_is_read_again(
    name: str, labels: list[str], window_frames: int, normalization: Normalization, front_end: FrontEnd
) -> None:
    metadata = Metadata(name, tuple(labels), window_frames, normalization, front_end)
    again = Metadata.from_json(metadata.to_json(), "the model")
    assert again == metadata
    assert again.front_end is front_end
    assert type(again.normalization) is type(normalization)


@pytest.mark.parametrize("threshold", [0, 0.5, 1])
@pytest.mark.parametrize("window_frames", [1, 10_000])
def test_the_ends_of_the_ranges_are_in_them(threshold: float, window_frames: int) -> None:
    metadata = Metadata("m", ("a",), window_frames, WindowNormalization(), probability_threshold=threshold)
    assert Metadata.from_json(metadata.to_json(), "the model") == metadata


@pytest.mark.parametrize(
    ("normalization", "written"),
    [
        (FixedNormalization(-100, 10), {"mean": -100, "deviation": 10}),
        (WindowNormalization(80), {"dynamic_range": 80}),
        (WindowNormalization(), {"dynamic_range": None}),
        (FlooredNormalization(0.8), {"floor": 0.8}),
    ],
    ids=str,
)
def test_the_form_is_the_documented_one(normalization: Normalization, written: dict[str, Any]) -> None:
    whole = {**WHOLE, "normalization": written}
    metadata = Metadata.from_json(json.dumps(whole), "the model")
    assert metadata == Metadata("sounds", ("Left", "été 🙂"), 3, normalization)
    assert json.loads(metadata.to_json()) == whole


def test_a_waveform_model_says_so() -> None:
    whole = {**WHOLE, "front_end": {"sample_rate": 16_000, "hop": 320}, "labels": []}
    metadata = Metadata.from_json(json.dumps(whole), "the model")
    assert metadata == Metadata("sounds", (), 3, FixedNormalization(-100, 10), WAVEFORM)
    assert metadata != Metadata("sounds", (), 3, FixedNormalization(-100, 10))
    assert json.loads(metadata.to_json()) == whole


def test_the_first_format_is_read_and_written_as_the_second() -> None:
    metadata = Metadata.from_json(json.dumps(FIRST), "the model")
    assert metadata == Metadata("sounds", ("Left", "été 🙂"), 3, FixedNormalization(-100, 10))
    assert json.loads(metadata.to_json()) == WHOLE


@budget(150)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(st.characters(exclude_categories=("Cc", "Cs"))),
        st.lists,
        max_leaves=5,
    ),
    st.sampled_from([None, *WHOLE, "mean", "deviation", "dynamic_range"]),
    st.sampled_from([WHOLE, FIRST, {**WHOLE, "normalization": {"dynamic_range": 80}}]),
)
def test_any_json_gives_metadata_or_one_sentence(value: object, key: str | None, whole: dict[str, Any]) -> None:
    if key in ("mean", "deviation", "dynamic_range") and "normalization" in whole:
        whole = {**whole, "normalization": {**whole["normalization"], key: value}}
    elif key is not None:
        whole = {**whole, key: value}
    try:
        metadata = Metadata.from_json(json.dumps(value if key is None else whole), "some.onnx")
    except EarmarkError as error:
        assert str(error).startswith("some.onnx ")  # noqa: PT017
    else:
        assert all(isinstance(label, str) for label in metadata.labels)
        normalized = metadata.normalization(np.linspace(-160, 0, 12, dtype=np.float32).reshape(2, 3, 2))
        assert np.isfinite(normalized).all()


@budget(100)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
@example("[" * 100_000)
@example("")
@example("1" * 5_000)
def test_any_text_gives_one_sentence(text: str) -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx .+: .+\.$"):
        Metadata.from_json(text, "some.onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "Left"),
        ("labels", [1, 2]),
        ("labels", None),
        ("window_frames", 0),
        ("window_frames", -3),
        ("window_frames", 2.5),
        ("window_frames", "3"),
        ("window_frames", True),
        ("name", None),
        ("front_end", {**WHOLE["front_end"], "hop": 512}),  # type: ignore[dict-item]
        ("front_end", None),
        ("front_end", "waveform"),
        ("front_end", {"sample_rate": 8_000, "hop": 320}),
        ("extra", 1),
        ("mean", -100.0),
    ],
)
def test_a_value_out_of_place_is_refused(key: str, value: object) -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx .+: .+\.$"):
        Metadata.from_json(json.dumps({**WHOLE, key: value}), "some.onnx")


NO_LEVELS = ("0", True, None, [0], float("nan"), float("inf"), -float("inf"), 1e6, 1e300)
NO_RANGES = ("80", True, False, [80], 0, -1, float("nan"), float("inf"), 1e6, 1e300)
NO_DEVIATIONS = (*NO_RANGES, None, 1e-300)  # the last one is 0 as a float32


@pytest.mark.parametrize(
    "normalization",
    [
        *(None, True, 80, "window", [], [["mean", 0], ["deviation", 1]], {}),
        *({"mean": 0}, {"deviation": 1}, {"dynamic range": 80}, {"mean": 0, "deviation": 1, "extra": 1}),
        *({"mean": 0, "deviation": 1, "dynamic_range": 80}, {"mean": 0, "dynamic_range": 80}),
        *({"mean": mean, "deviation": 1} for mean in NO_LEVELS),
        *({"mean": 0, "deviation": deviation} for deviation in NO_DEVIATIONS),
        *({"dynamic_range": dynamic_range} for dynamic_range in NO_RANGES),
    ],
    ids=str,
)
def test_a_malformed_normalization_is_refused(normalization: object) -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx has no description .+: .+\.$"):
        Metadata.from_json(json.dumps({**WHOLE, "normalization": normalization}), "some.onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("mean", mean) for mean in NO_LEVELS),
        *(("deviation", deviation) for deviation in NO_DEVIATIONS),
        ("normalization", {"mean": 0, "deviation": 1}),
        ("dynamic_range", 80),
    ],
)
def test_a_malformed_first_format_is_refused(key: str, value: object) -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx has no description .+: .+\.$"):
        Metadata.from_json(json.dumps({**FIRST, key: value}), "some.onnx")


def test_a_newer_format_asks_for_an_update() -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx was made by a newer Earmark: update .+\.$"):
        Metadata.from_json(json.dumps({**WHOLE, "format": 3, "unheard": "of"}), "some.onnx")


@pytest.mark.parametrize("value", [None, "2", "3", 0, -1, True, [2], float("inf")])
def test_what_is_no_format_asks_for_no_update(value: object) -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx has no description"):
        Metadata.from_json(json.dumps({**WHOLE, "format": value}), "some.onnx")


@pytest.mark.parametrize(
    ("whole", "key"), [*((WHOLE, key) for key in WHOLE), *((FIRST, key) for key in FIRST)], ids=str
)
def test_a_missing_value_is_refused(whole: dict[str, object], key: str) -> None:
    values = {name: value for name, value in whole.items() if name != key}
    with pytest.raises(EarmarkError, match=r"^some\.onnx "):
        Metadata.from_json(json.dumps(values), "some.onnx")


# Normalization


def windows_of(*rows: Sequence[Sequence[float]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(rows, np.float32)


def test_the_fixed_normalization_is_that_of_the_codelab() -> None:
    normalized = FixedNormalization(-100, 10)(windows_of([[-160, -100], [-90, 0]]))
    assert normalized.dtype == np.float32
    assert normalized.tolist() == [[[-6, 0], [1, 10]]]


def test_a_windows_normalization_by_hand() -> None:
    # Mean 3, squares 9 + 1 + 1 + 9: variance 5. The second is the same window at other levels.
    normalized = WindowNormalization()(windows_of([[0, 2], [4, 6]], [[-70, -60], [-50, -40]]))
    by_hand = [[-3 / 5**0.5, -1 / 5**0.5], [1 / 5**0.5, 3 / 5**0.5]]
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized, [by_hand, by_hand], rtol=1e-6)


def test_values_below_the_floor_are_raised_by_hand() -> None:
    """Levels −10, 0 and 10 thrice: mean 0; −10 is 1.22 deviations below, so that it becomes 0.5 of them below."""
    window = np.array([[-10, 0, 10] * 3], np.float32)[np.newaxis]
    deviation = np.sqrt(200 / 3)
    raised = np.array([-0.5 * deviation, 0, 10])
    wanted = (raised - raised.mean()) / raised.std()
    np.testing.assert_allclose(FlooredNormalization(0.5)(window)[0, 0, :3], wanted, atol=1e-6)
    np.testing.assert_allclose(FlooredNormalization(1.3)(window), WindowNormalization()(window), atol=1e-6)


def test_digital_silence_lies_80_db_below_the_highest_level() -> None:
    """Of whole frames; a valley in the spectrum of a sound may be as deep."""
    window = np.array([[[-30, -50], [-70, -160], [-160, -160]]], np.float32)
    raised = np.array([[[-30, -50], [-70, -160], [-110, -110]]], np.float32)
    np.testing.assert_allclose(FlooredNormalization(5)(window), WindowNormalization()(raised), atol=1e-6)
    assert not FlooredNormalization(0.8)(np.full((1, 3, 4), -160, np.float32)).any()


@given(st.integers(0, 1_000), st.floats(0.3, 2))
def test_a_window_may_be_normalized_before(seed: int, floor: float) -> None:
    """As it is in a browser."""
    levels = np.random.default_rng(seed).uniform(-140, -20, (2, 43, 232)).astype(np.float32)
    normalize = FlooredNormalization(floor)
    np.testing.assert_allclose(normalize(WindowNormalization()(levels)), normalize(levels), atol=1e-4)


def test_levels_below_the_dynamic_range_are_raised_by_hand() -> None:
    # 3 below the highest one leaves 3, 3, 4, 6: mean 4, squares 1 + 1 + 0 + 4, variance 1.5. Each window has its own.
    normalized = WindowNormalization(3)(windows_of([[0, 2], [4, 6]], [[-160, -13], [-12, -10]]))
    by_hand = [[-1 / 1.5**0.5, -1 / 1.5**0.5], [0, 2 / 1.5**0.5]]
    np.testing.assert_allclose(normalized, [by_hand, by_hand], rtol=1e-6)


@budget(60)
@given(st.integers(0, 2**32 - 1), st.none() | st.floats(1, 150), st.integers(1, 4), st.integers(1, 60))
def test_each_window_gets_mean_0_and_deviation_1(
    seed: int, dynamic_range: float | None, count: int, frames: int
) -> None:
    random = np.random.default_rng(seed)
    windows = random.uniform(-160, 0, (count, frames, 232)).astype(np.float32)
    normalized = WindowNormalization(dynamic_range)(windows)
    assert normalized.shape == windows.shape
    assert normalized.dtype == np.float32
    for window, result in zip(windows, normalized, strict=True):
        values = result.astype(np.float64).ravel().tolist()
        assert statistics.fmean(values) == pytest.approx(0, abs=1e-4)
        assert statistics.pstdev(values) == pytest.approx(1, abs=1e-4)
        if dynamic_range is not None:  # what lay below is all the same now, what lay above keeps its order
            below = window < window.max() - dynamic_range - 0.001
            assert (result[below] == result.min()).all()
        np.testing.assert_array_equal(np.argmax(result), np.argmax(window))


@pytest.mark.parametrize("dynamic_range", [None, 80.0])
@pytest.mark.parametrize("level", [-160.0, -99.7, 0.0, 1e-3])
@pytest.mark.parametrize("frames", [1, 43, 10_000])
def test_a_window_that_is_the_same_everywhere_becomes_0(dynamic_range: float, level: float, frames: int) -> None:
    normalized = WindowNormalization(dynamic_range)(np.full((2, frames, 232), level, np.float32))
    np.testing.assert_array_equal(normalized, 0)


@pytest.mark.parametrize("dynamic_range", [None, 30.0, 80.0])
@pytest.mark.parametrize("gain", [-20.0, -0.3, 6.0, 9.99])
def test_a_recording_made_louder_or_softer_comes_out_the_same(dynamic_range: float | None, gain: float) -> None:
    samples = sounds.murmur(1.1, 4)
    changed = samples * np.float32(10 ** (gain / 20))
    window, other = (compute_spectrogram(take, sounds.RATE)[np.newaxis, :43] for take in (samples, changed))
    assert min(window.min(), other.min()) > -159, "neither reaches the floor of −160 dB"
    assert np.abs(changed).max() < 1, "nor full scale"
    normalize = WindowNormalization(dynamic_range)
    np.testing.assert_allclose(normalize(other), normalize(window), atol=1e-3)  # 0.02 dB


@pytest.mark.parametrize("normalize", [FixedNormalization(-100, 10), WindowNormalization(), WindowNormalization(60)])
def test_a_windows_bits_do_not_depend_on_its_company(normalize: Normalization) -> None:
    windows = np.random.default_rng(0).uniform(-160, 0, (7, 43, 232)).astype(np.float32)
    kept = windows.copy()
    together = normalize(windows)
    np.testing.assert_array_equal(windows, kept)
    np.testing.assert_array_equal(np.concatenate([normalize(windows[[at]]) for at in range(7)]), together)
    np.testing.assert_array_equal(np.concatenate([normalize(windows[:3]), normalize(windows[3:])]), together)
