"""A network in its file: of either front end, with scores, an embedding or both, and refused where it doesn't fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from earmark import EarmarkError, Recognizer
from earmark.front_end.frames import SPECTROGRAM, WAVEFORM
from earmark.models.metadata import FixedNormalization, Metadata, WindowNormalization
from earmark.models.network import BATCH, Network, open_session
from earmark.models.onnx_writer import model_file
from tests import bands, tones


def small_model(
    labels: tuple[str, ...], outputs: dict[str, int], weight: float = 1.0, reshape: list[int] | None = None
) -> bytes:
    """A file whose outputs of those sizes are all the mean of the window times a weight."""
    nodes = [helper.make_node("ReduceMean", ["window"], ["mean"], axes=[1, 2], keepdims=0)]
    constants: dict[str, Any] = {"shape": np.array(reshape or [-1, 1], np.int64)}
    nodes += [helper.make_node("Reshape", ["mean", "shape"], ["column"])]
    for name, size in outputs.items():
        constants[f"{name}_weights"] = np.full((1, size), weight, np.float32)
        nodes.append(helper.make_node("MatMul", ["column", f"{name}_weights"], [name]))
    metadata = Metadata("small", labels, 3, FixedNormalization(-100, 10))
    return model_file(nodes, constants, metadata, outputs)


def powers(windows: np.ndarray) -> np.ndarray:
    """The tones' embedding by hand: each tone's power in each frame by its Fourier sum, averaged over the frames."""
    time = np.arange(320) / 16_000
    parts = [np.exp(2j * np.pi * hertz * time) @ windows.astype(np.float64).swapaxes(1, 2) for hertz in (500, 2_000)]
    return np.stack([(np.abs(part * 2 / 320) ** 2).mean(axis=1) for part in parts], axis=1)


# What fits


def test_a_base_has_an_embedding_and_no_labels() -> None:
    base = Network(tones.tone_model(labels=()), "tones")
    assert (base.metadata.labels, base.has_embedding) == ((), True)
    assert (base.input_shape, base.front_end) == ((50, 320), WAVEFORM)
    low = tones.tone(tones.LOW, 1, 0.3) + tones.tone(tones.HIGH, 1, 0.1)
    np.testing.assert_allclose(base.embed_windows(low.reshape(1, 50, 320)), [[0.09, 0.01]], rtol=1e-4)
    base.check_embedding()


def test_a_base_is_no_recognizer() -> None:
    with pytest.raises(EarmarkError, match=r"^my base has no labels: .+\.$"):
        Recognizer(tones.tone_model(labels=()), "my base")


def test_a_recognizer_is_a_network_too() -> None:
    network = Network(bands.band_model())
    assert (network.input_shape, network.front_end) == ((43, 232), SPECTROGRAM)
    assert network.metadata.labels == bands.LABELS
    assert isinstance(Recognizer(bands.band_model()), Network)
    assert network.content == bands.band_model()


def test_one_without_an_embedding_says_so() -> None:
    network = Network(bands.band_model())
    assert network.has_embedding is False
    for embed in (network.check_embedding, lambda: network.embed_windows(np.zeros((1, 43, 232), np.float32))):
        with pytest.raises(EarmarkError, match=r"^The model bands has no embedding: .+\.$"):
            embed()


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 3])
def test_any_number_of_windows_is_embedded_as_each_alone(count: int) -> None:
    windows = np.random.default_rng(count).normal(0, 0.2, (count, 50, 320)).astype(np.float32)
    base = Network(tones.tone_model(labels=()))
    together = base.embed_windows(windows)
    assert together.shape == (count, 2)
    assert together.dtype == np.float32
    if count:
        np.testing.assert_allclose(together, powers(windows), atol=1e-6)
        alone = np.concatenate([base.embed_windows(windows[[at]]) for at in range(count)])
        np.testing.assert_allclose(together, alone, atol=1e-7)


def test_windows_are_normalized_as_the_metadata_say() -> None:
    # The mean of (level + 100) / 10.
    network = Network(small_model(("a", "b"), {"scores": 2, "embedding": 4}))
    found = network.embed_windows(np.full((2, 3, 232), [[[-80]], [[-45]]], np.float32))
    np.testing.assert_allclose(found, np.array([[2.0] * 4, [5.5] * 4]), rtol=1e-6)


# What doesn't


def without_metadata(model: bytes) -> bytes:
    loaded = onnx.load_from_string(model)
    del loaded.metadata_props[:]
    return loaded.SerializeToString()  # type: ignore[no-any-return]


def with_metadata(model: bytes, metadata: Metadata) -> bytes:
    loaded = onnx.load_from_string(model)
    del loaded.metadata_props[:]
    helper.set_model_props(loaded, {"earmark": metadata.to_json()})
    return loaded.SerializeToString()  # type: ignore[no-any-return]


FIXED = FixedNormalization(0, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "not an ONNX model"),
        (lambda: b"text", "not an ONNX model"),
        (lambda: tones.tone_model()[:-100], "not an ONNX model"),
        (lambda: without_metadata(tones.tone_model()), "not one of Earmark's"),
        (lambda: small_model(("a", "b"), {"embedding": 4}), "each of its labels"),
        (lambda: small_model((), {"scores": 2, "embedding": 4}), "each of its labels"),
        (lambda: small_model(("a", "b"), {"scores": 3}), "each of its labels"),
        (lambda: small_model(("a", "b"), {"other": 2}), "each of its labels"),
        (lambda: small_model((), {"other": 2}), "each of its labels"),
        (lambda: small_model((), {"embedding": 4}, weight=float("nan")), "numbers for every window"),
        (lambda: small_model(("a",), {"scores": 1}, weight=float("inf")), "numbers for every window"),
        (lambda: small_model((), {"embedding": 4}, reshape=[1, -1, 1]), "numbers for every window"),
        (lambda: with_metadata(tones.tone_model(), Metadata("a", tones.LABELS, 50, FIXED)), "windows of .50, 232."),
        (lambda: with_metadata(bands.band_model(), Metadata("a", bands.LABELS, 43, FIXED, WAVEFORM)), "43, 320"),
        (
            lambda: with_metadata(bands.band_model(), Metadata("a", bands.LABELS, 42, WindowNormalization())),
            "windows of .42, 232.",
        ),
    ],
    ids=[
        *("empty", "text", "cut off", "no metadata", "labels without scores", "scores without labels", "3 scores of 2"),
        *("unknown output", "unknown output alone", "NaN", "infinite", "3-d embedding", "spectrogram", "waveform"),
        "42 frames",
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(make: Callable[[], bytes], says: str) -> None:
    with pytest.raises(EarmarkError, match=rf"^my model .*{says}.*: .+\.$"):
        Network(make(), "my model")


def test_a_session_is_opened_by_name() -> None:
    session = open_session(tones.tone_model(), "the tones")
    assert [output.name for output in session.get_outputs()] == ["scores", "embedding"]
    with pytest.raises(EarmarkError, match=r"^the tones is not an ONNX model that can be run: .+\.$"):
        open_session(b"nothing", "the tones")
