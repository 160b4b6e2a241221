"""TensorFlow.js models against TensorFlow.js itself: every layer, the fixtures, and random networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark import Recognizer
from earmark.models.metadata import WindowNormalization
from earmark.tfjs.layers import LAYERS, MERGES
from earmark.tfjs.reading import read_tfjs
from tests.random_networks import FUSED, random_network
from tests.tfjs_models import change, fixture, graph, random_windows, teachable_machine
from tests.tfjs_node import Array, Json, MadeModel, chain, layer, make_models, run_tfjs

FRAMES = 11
TOLERANCE = 1e-5


def scores_of(folder: Path, windows: Array) -> Array:
    recognizer = Recognizer(read_tfjs(folder))
    assert recognizer.metadata.normalization == WindowNormalization()
    return recognizer.score_windows(windows)


def start(**options: Any) -> Json:
    """Windows → images of 5 × 29 × 4."""
    shape = [None, FRAMES, 232, 1]
    options = {"filters": 4, "kernel_size": [3, 8], "strides": [2, 8], "batch_input_shape": shape, **options}
    return layer("Conv2D", "start", **options)


FLAT, LAST = layer("Flatten", "flat"), layer("Dense", "last", units=4, activation="softmax")
VALUES = [start(strides=[4, 30]), layer("Flatten", "values"), layer("Dense", "some", units=9, activation="tanh")]
ROWS = [start(), layer("Reshape", "rows", target_shape=[5, 116])]


def on_images(kind: str, **options: Any) -> Json:
    return chain("model", start(), layer(kind, "tested", **options), FLAT, LAST)


def on_values(kind: str, **options: Any) -> Json:
    return chain("model", *VALUES, layer(kind, "tested", **options), LAST)


def on_rows(kind: str, **options: Any) -> Json:
    return chain("model", *ROWS, layer(kind, "tested", **options), FLAT, LAST)


def on_branches(kind: str, *branches: Json, **options: Any) -> Json:
    """Two branches behind the start, which meet in the layer that is tested."""
    begin = layer("InputLayer", "input", batch_input_shape=[None, FRAMES, 232, 1])
    links = {branch["config"]["name"]: ["start"] for branch in branches}
    meet = {"start": ["input"], **links, "tested": list(links), "flat": ["tested"], "last": ["flat"]}
    return graph("model", meet, begin, start(), *branches, layer(kind, "tested", **options), FLAT, LAST)


def scores_by(*layers: Json) -> Json:
    return chain("model", *VALUES, *layers)


def conv(name: str, **options: Any) -> Json:
    return layer("Conv2D", name, **{"filters": 3, "kernel_size": 2, "padding": "same", **options})


TRAIN_ONLY: dict[str, Json] = {
    "Dropout": {"rate": 0.5},
    "GaussianNoise": {"stddev": 1},
    "GaussianDropout": {"rate": 0.5},
    "AlphaDropout": {"rate": 0.5},
}
MODELS: dict[str, Json] = {
    "conv valid": on_images("Conv2D", filters=3, kernel_size=[2, 5], strides=[1, 3], activation="relu"),
    "conv same": on_images("Conv2D", filters=3, kernel_size=[4, 3], strides=2, padding="same", use_bias=False),
    "conv dilated": on_images("Conv2D", filters=3, kernel_size=[2, 3], dilation_rate=[2, 3]),
    "conv dilated same": on_images("Conv2D", filters=3, kernel_size=[2, 4], dilation_rate=3, padding="same"),
    "depthwise valid": on_images("DepthwiseConv2D", kernel_size=[2, 3], depth_multiplier=3, strides=[2, 2]),
    "depthwise same": on_images("DepthwiseConv2D", kernel_size=4, padding="same", use_bias=False, activation="elu"),
    "separable valid": on_images("SeparableConv2D", filters=5, kernel_size=[2, 3], depth_multiplier=2, strides=2),
    "separable same": on_images(
        "SeparableConv2D", filters=2, kernel_size=3, dilation_rate=[2, 2], padding="same", activation="relu6"
    ),
    "separable strides": on_images("SeparableConv2D", filters=2, kernel_size=3, strides=[2, 2], padding="same"),
    "separable plain": on_images("SeparableConv2D", filters=2, kernel_size=[1, 1], use_bias=False),
    "max valid": on_images("MaxPooling2D", pool_size=[2, 3], strides=[2, 4]),
    "max same": on_images("MaxPooling2D", pool_size=[4, 3], strides=[3, 2], padding="same"),
    "max default": on_images("MaxPooling2D"),
    "average valid": on_images("AveragePooling2D", pool_size=[3, 2], strides=None),
    "average same": on_images("AveragePooling2D", pool_size=[4, 3], strides=[3, 2], padding="same"),
    "average one step": on_images("AveragePooling2D", pool_size=3, strides=1, padding="same"),
    "global average": chain("model", start(), layer("GlobalAveragePooling2D", "tested"), LAST),
    "global max": chain("model", start(), layer("GlobalMaxPooling2D", "tested"), LAST),
    "global average of shares": chain("m", start(activation="softmax"), layer("GlobalAveragePooling2D", "tested")),
    "flatten rows": chain("model", *ROWS, layer("Flatten", "tested"), LAST),
    "reshape to image": on_images("Reshape", target_shape=[4, 29, 5]),
    "reshape to an open size": chain(
        "model",
        start(),
        layer("Reshape", "tested", target_shape=[10, -1, 2]),
        layer("GlobalMaxPooling2D", "highest"),
        LAST,
    ),
    "reshape values": chain(
        "model", *VALUES, layer("Reshape", "tested", target_shape=[3, 1, 3]), conv("more"), FLAT, LAST
    ),
    "reshape to values": chain("model", start(), layer("Reshape", "tested", target_shape=[580]), LAST),
    "permute image": chain("model", start(), layer("Permute", "tested", dims=[3, 1, 2]), conv("more"), FLAT, LAST),
    "permute image, other way": on_images("Permute", dims=[2, 3, 1]),
    "permute image's sides": on_images("Permute", dims=[2, 1, 3]),
    "permute rows": on_rows("Permute", dims=[2, 1]),
    "permute values": on_values("Permute", dims=[1]),
    "dense on images": chain(
        "model", start(), layer("Dense", "tested", units=3, activation="relu"), conv("more"), FLAT, LAST
    ),
    "dense on rows": on_rows("Dense", units=7, activation="softmax"),
    "dense on rows without bias": on_rows("Dense", units=7, use_bias=False),
    "dense on values": on_values("Dense", units=5, use_bias=False, activation="selu"),
    "batch normalization": on_images("BatchNormalization"),
    "batch normalization of values": on_values("BatchNormalization", axis=-1, center=False),
    "batch normalization of rows": on_rows("BatchNormalization", scale=False, center=False),
    "layer normalization": on_images("LayerNormalization"),
    "layer normalization of values": on_values("LayerNormalization", axis=[-1], epsilon=0.01, center=False),
    "layer normalization of rows": on_rows("LayerNormalization", axis=2, scale=False),
    "relu": on_images("ReLU"),
    "relu up to 0.7": on_images("ReLU", max_value=0.7),
    "leaky relu": on_images("LeakyReLU"),
    "leaky relu, steeper": on_values("LeakyReLU", alpha=0.6),
    "elu": on_images("ELU", alpha=1),
    "softmax of images": on_images("Softmax", axis=-1),
    "softmax of rows": on_rows("Softmax", axis=2),
    "softmax as scores": scores_by(layer("Dense", "last", units=4), layer("Softmax", "tested")),
    "zero padding": on_images("ZeroPadding2D"),
    "zero padding of sides": on_images("ZeroPadding2D", padding=[2, 3]),
    "zero padding, each its own": chain(
        "model", start(), layer("ZeroPadding2D", "tested", padding=[[0, 1], [2, 0]]), conv("more"), FLAT, LAST
    ),
    # What is all negative shows whether the zeros count.
    "zero padding, then the highest": chain(
        "model",
        *(start(), layer("Activation", "below", activation="softsign"), layer("BatchNormalization", "norm")),
        *(layer("ZeroPadding2D", "tested", padding=2), layer("MaxPooling2D", "highest", pool_size=2), FLAT, LAST),
    ),
    "zero padding, then the average": chain(
        "model",
        *(start(), layer("ZeroPadding2D", "tested", padding=2)),
        *(layer("AveragePooling2D", "average", pool_size=3, strides=2, padding="same"), FLAT, LAST),
    ),
    "add": on_branches("Add", conv("a", filters=4), layer("ReLU", "b"), conv("c", filters=4)),
    "add columns": on_branches("Add", conv("a", kernel_size=[5, 1], padding="valid"), conv("b")),
    "concatenate": on_branches("Concatenate", conv("a"), conv("b", filters=2, kernel_size=3)),
    "concatenate frames": on_branches("Concatenate", conv("a"), conv("b", padding="valid", kernel_size=[2, 1]), axis=1),
    "concatenate bins": on_branches("Concatenate", conv("a"), conv("b", strides=[1, 2]), axis=2),
    "concatenate values": graph(
        "model",
        {"start": ["input"], "a": ["start"], "b": ["start"], "both": ["a", "b", "a"], "last": ["both"]},
        layer("InputLayer", "input", batch_input_shape=[None, FRAMES, 232, 1]),
        start(),
        layer("GlobalMaxPooling2D", "a"),
        layer("GlobalAveragePooling2D", "b"),
        layer("Concatenate", "both", axis=1),
        LAST,
    ),
    "nested models": chain(
        "outer",
        graph(
            "inner",
            {"start": ["input"], "norm": ["start"], "sum": ["norm", "start"]},
            layer("InputLayer", "input", batch_input_shape=[None, FRAMES, 232, 1]),
            start(),
            layer("BatchNormalization", "norm"),
            layer("Add", "sum"),
        ),
        chain("middle", chain("innermost", conv("c", batch_input_shape=[None, 5, 29, 4]), FLAT)),
        LAST,
    ),
    **{f"{kind} on images": on_images(kind, **options) for kind, options in TRAIN_ONLY.items()},
    "SpatialDropout1D on rows": on_rows("SpatialDropout1D", rate=0.5),
    **{f"{name} on images": on_images("Activation", activation=name) for name in FUSED},
    **{f"{name} on values": on_values("Dense", units=6, activation=name) for name in FUSED},
    **{
        f"scores by {name}": scores_by(layer("Dense", "last", units=4, activation=name))
        for name in ("sigmoid", "hard_sigmoid", "softmax")
    },
}
NOT_IN_TFJS = {"SpatialDropout2D", "ActivityRegularization"}  # in Keras alone


def kinds(topology: Json) -> set[str]:
    inner: list[Json] = topology["config"].get("layers", [])
    return {topology["class_name"]}.union(*map(kinds, inner))


def test_every_layer_is_compared() -> None:
    compared = set().union(*map(kinds, MODELS.values()))
    assert compared >= set(LAYERS) - NOT_IN_TFJS | set(MERGES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MadeModel]:
    """All models, made in one Node."""
    windows = WindowNormalization()(random_windows(100, FRAMES))
    folder = tmp_path_factory.mktemp("made")
    return dict(
        zip(MODELS, make_models(folder, list(MODELS.values()), [windows] * len(MODELS), shard_bytes=1_000), strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_those_of_tensorflow_js(name: str, made: dict[str, MadeModel]) -> None:
    scores = scores_of(made[name].folder, random_windows(100, FRAMES))
    np.testing.assert_allclose(scores, made[name].scores, rtol=0, atol=TOLERANCE)
    assert made[name].scores.std(0).max() > 1e-3  # the windows matter


@pytest.mark.parametrize("axis", [1, 2])
def test_batch_normalization_of_frames_or_bins(axis: int, tmp_path: Path) -> None:
    """That of another axis is that of the last one, between two exchanges of these axes.

    TensorFlow.js computes only the latter right on its CPU backend, which has no other order of gamma, beta and so on.
    """
    levels = random_windows(100, FRAMES)
    dims = [3, 2, 1] if axis == 1 else [1, 3, 2]
    there, back = layer("Permute", "there", dims=dims), layer("Permute", "back", dims=dims)
    norm = layer("BatchNormalization", "norm", epsilon=0.1, axis=3)
    topology = chain("model", start(), there, norm, back, FLAT, LAST)
    (made,) = make_models(tmp_path, [topology], [WindowNormalization()(levels)])
    np.testing.assert_allclose(scores_of(made.folder, levels), made.scores, rtol=0, atol=TOLERANCE)
    norm["config"]["axis"] = [axis]
    change(made.folder, lambda model: model.update(modelTopology=chain("model", start(), norm, FLAT, LAST)))
    np.testing.assert_allclose(scores_of(made.folder, levels), made.scores, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["browser_fft_18w", "teachable_machine_audio"])
def test_real_models(name: str, tmp_path: Path) -> None:
    real = fixture("tfjs_speech_commands", name) if name == "browser_fft_18w" else teachable_machine(tmp_path)
    levels = random_windows(100, 43)
    expected = run_tfjs(real, WindowNormalization()(levels))
    np.testing.assert_allclose(scores_of(real, levels), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 20, 40])
def test_random_networks(first: int, tmp_path: Path) -> None:
    """Twenty networks of random layers and links, made in one Node."""
    levels, seeds = random_windows(5, FRAMES), range(first, first + 20)
    windows = [WindowNormalization()(levels)] * len(seeds)
    made = make_models(tmp_path, [random_network(seed) for seed in seeds], windows, seed=first)
    for seed, model in zip(seeds, made, strict=True):
        scores = scores_of(model.folder, levels)
        np.testing.assert_allclose(scores, model.scores, rtol=0, atol=TOLERANCE, err_msg=f"random_network({seed})")
    assert np.median([model.scores.std(0).max() for model in made]) > 1e-3  # the windows matter
