"""What a model says of itself."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.metadata import Metadata

WHOLE = {
    "format": 1,
    "front_end": {"sample_rate": 44_100, "fft_size": 2_048, "hop": 1_024, "bins": 232},
    "name": "sounds",
    "labels": ["Left", "été 🙂"],
    "window_frames": 3,
    "mean": -100.0,
    "deviation": 10.0,
}
finite = st.floats(-999_999, 999_999)


@settings(max_examples=100, deadline=None)
@given(
    st.text(),
    st.lists(st.text(), min_size=1, max_size=5),
    st.integers(1, 1_000),
    finite,
    finite.filter(lambda deviation: deviation > 0),
)
def test_what_is_written_is_read_again(
    name: str, labels: list[str], window_frames: int, mean: float, deviation: float
) -> None:
    metadata = Metadata(name, tuple(labels), window_frames, mean, deviation)
    assert Metadata.from_json(metadata.to_json(), "the model") == metadata


def test_the_form_is_the_documented_one() -> None:
    metadata = Metadata.from_json(json.dumps(WHOLE), "the model")
    assert metadata == Metadata("sounds", ("Left", "été 🙂"), 3, -100, 10)
    assert json.loads(metadata.to_json()) == WHOLE


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5),
    st.sampled_from([None, *WHOLE]),
)
def test_any_json_gives_metadata_or_one_sentence(value: object, key: str | None) -> None:
    text = json.dumps(value if key is None else {**WHOLE, key: value})
    try:
        metadata = Metadata.from_json(text, "some.onnx")
    except EarmarkError as error:
        assert str(error).startswith("some.onnx ")  # noqa: PT017
    else:
        assert metadata.labels
        assert all(isinstance(label, str) for label in metadata.labels)


@settings(max_examples=100, deadline=None)
@given(st.text())
@example("[" * 100_000)
@example("")
@example("1" * 5_000)
def test_any_text_gives_one_sentence(text: str) -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx .+: .+\.$"):
        Metadata.from_json(text, "some.onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", []),
        ("labels", "Left"),
        ("labels", [1, 2]),
        ("labels", None),
        ("window_frames", 0),
        ("window_frames", -3),
        ("window_frames", 2.5),
        ("window_frames", "3"),
        ("mean", "0"),
        ("mean", float("nan")),
        ("mean", float("inf")),
        ("deviation", 0),
        ("deviation", -1),
        ("deviation", float("nan")),
        ("deviation", float("inf")),
        ("name", None),
        ("format", None),
        ("front_end", {**WHOLE["front_end"], "hop": 512}),  # type: ignore[dict-item]
        ("front_end", None),
        ("extra", 1),
    ],
)
def test_a_value_out_of_place_is_refused(key: str, value: object) -> None:
    with pytest.raises(EarmarkError, match=r"^some\.onnx .+: .+\.$"):
        Metadata.from_json(json.dumps({**WHOLE, key: value}), "some.onnx")


def test_a_newer_format_asks_for_an_update() -> None:
    with pytest.raises(EarmarkError, match="newer Earmark: update"):
        Metadata.from_json(json.dumps({**WHOLE, "format": 2, "unheard": "of"}), "some.onnx")


@pytest.mark.parametrize("key", WHOLE)
def test_a_missing_value_is_refused(key: str) -> None:
    values = {name: value for name, value in WHOLE.items() if name != key}
    with pytest.raises(EarmarkError, match=r"^some\.onnx "):
        Metadata.from_json(json.dumps(values), "some.onnx")
