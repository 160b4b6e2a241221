"""TensorFlow.js models, read: against the layers in PyTorch; their embedding, their weights, what lies around them."""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

import earmark
from earmark import EarmarkError, Recognizer
from earmark.models.metadata import FixedNormalization, Metadata, WindowNormalization
from earmark.models.saved_model import PRETRAINED
from earmark.tfjs.reading import is_tfjs, read_tfjs
from tests.tfjs_models import (
    LABELS,
    SMALL_SHAPES,
    change,
    fixture,
    functional_model,
    pack,
    random_weights,
    random_windows,
    save,
    save_small,
    small,
    teachable_machine,
)
from tests.tfjs_node import Array, Json, chain, layer


def torch_image(windows: Array) -> torch.Tensor:
    """[n, frames, bins] in dB → [n, 1, frames, bins], each window with mean 0 and deviation 1."""
    levels = torch.from_numpy(windows.astype(np.float64))
    mean, deviation = levels.mean((1, 2), keepdim=True), levels.std((1, 2), keepdim=True, correction=0)
    return ((levels - mean) / deviation)[:, None]


def flat(image: torch.Tensor) -> torch.Tensor:
    return image.permute(0, 2, 3, 1).flatten(1)


def test_every_layer_does_what_it_does_in_pytorch(tmp_path: Path) -> None:
    base = chain(
        "base",
        layer("InputLayer", "input", batch_input_shape=[None, 20, 232, 1]),
        layer(
            "DepthwiseConv2D", "d1", kernel_size=[3, 3], depth_multiplier=4, padding="same", strides=2, use_bias=False
        ),
        layer("DepthwiseConv2D", "d2", kernel_size=[1, 2], depth_multiplier=2, padding="valid", activation="tanh"),
        layer("MaxPooling2D", "p", pool_size=[3, 2], strides=[2, 3], padding="same"),
        layer("Conv2D", "c1", filters=5, kernel_size=[2, 3], dilation_rate=[2, 3], padding="same", strides=[1, 1]),
        layer("Activation", "sigmoid", activation="sigmoid"),
        layer("Conv2D", "c2", filters=6, kernel_size=3, strides=[2, 3], activation="linear"),
        layer("Softmax", "channels", axis=-1),
        layer("MaxPooling2D", "default", pool_size=[1, 2], strides=None),
        layer("Flatten", "flatten", data_format="channels_last"),
    )
    head = [
        layer("Dense", "hidden", units=11, activation="linear"),
        layer("ReLU", "relu", max_value=None),
        layer("Dropout", "dropped", rate=0.5),
        layer("Dense", "last", units=3),
        layer("Softmax", "scores", axis=1),
    ]
    shapes: dict[str, tuple[int, ...]] = {"d1/depthwise_kernel": (3, 3, 1, 4), "d2/depthwise_kernel": (1, 2, 4, 2)}
    shapes |= {"d2/bias": (8,), "c1/kernel": (2, 3, 8, 5), "c1/bias": (5,), "c2/kernel": (3, 3, 5, 6), "c2/bias": (6,)}
    shapes |= {"hidden/kernel": (2 * 6 * 6, 11), "hidden/bias": (11,), "last/kernel": (11, 3), "last/bias": (3,)}
    weights = random_weights(shapes)
    recognizer = Recognizer(read_tfjs(save(tmp_path / "model", chain("all", base, *head), weights)))
    assert recognizer.labels == tuple(LABELS)
    assert recognizer.input_shape == (20, 232)
    assert recognizer.metadata.normalization == WindowNormalization()

    tensors = {name: torch.from_numpy(array.astype(np.float64)) for name, array in weights.items()}
    windows = random_windows(6, 20)
    image = functional.pad(
        torch_image(windows), (0, 1, 0, 1)
    )  # 20 × 232 by a stride of 2: nine steps and 3 rows are 21
    image = functional.conv2d(image, tensors["d1/depthwise_kernel"].permute(2, 3, 0, 1).reshape(4, 1, 3, 3), stride=2)
    assert image.shape[1:] == (4, 10, 116)
    each = [  # each channel by itself gives two
        functional.conv2d(image[:, [channel]], tensors["d2/depthwise_kernel"][:, :, [channel]].permute(3, 2, 0, 1))
        for channel in range(4)
    ]
    image = torch.tanh(torch.cat(each, 1) + tensors["d2/bias"][:, None, None])
    assert image.shape[1:] == (8, 10, 115)
    # Rows: four steps of 2 and 3 more are 11, one too many. Columns: 38 steps of 3 and 2 more are 116, one too many.
    image = functional.max_pool2d(functional.pad(image, (0, 1, 0, 1), value=-math.inf), (3, 2), (2, 3))
    assert image.shape[1:] == (8, 5, 39)
    image = functional.pad(image, (3, 3, 1, 1))
    image = functional.conv2d(image, tensors["c1/kernel"].permute(3, 2, 0, 1), tensors["c1/bias"], dilation=(2, 3))
    image = torch.sigmoid(image)
    image = functional.conv2d(image, tensors["c2/kernel"].permute(3, 2, 0, 1), tensors["c2/bias"], stride=(2, 3))
    assert image.shape[1:] == (6, 2, 13)
    image = functional.max_pool2d(torch.softmax(image, 1), (1, 2))
    hidden = flat(image) @ tensors["hidden/kernel"] + tensors["hidden/bias"]
    scores = torch.softmax(torch.relu(hidden) @ tensors["last/kernel"] + tensors["last/bias"], 1)

    np.testing.assert_allclose(recognizer.embed_windows(windows), hidden, atol=1e-5)
    np.testing.assert_allclose(recognizer.score_windows(windows), scores, atol=1e-5)
    assert hidden.std(0).max() > 0.01  # the windows matter


def test_the_codelabs_network_has_scores_and_no_embedding(tmp_path: Path) -> None:
    weights = random_weights(SMALL_SHAPES)
    recognizer = Recognizer(read_tfjs(save_small(tmp_path)))
    windows = random_windows(5, 3)
    tensors = {name: torch.from_numpy(array.astype(np.float64)) for name, array in weights.items()}
    kernel = tensors["filter/depthwise_kernel"].permute(3, 2, 0, 1)
    image = torch.relu(functional.conv2d(torch_image(windows), kernel, tensors["filter/bias"]))
    image = functional.max_pool2d(image, (1, 2), (2, 2))
    scores = torch.softmax(flat(image) @ tensors["last/kernel"] + tensors["last/bias"], 1)
    np.testing.assert_allclose(recognizer.score_windows(windows), scores, atol=1e-5)
    with pytest.raises(EarmarkError, match="no embedding"):
        recognizer.embed_windows(windows)


def formula_windows() -> Array:
    at = np.arange(3 * 43 * 232, dtype=np.float64)
    return (-70 + 30 * np.sin(at * at / 9e5)).reshape(3, 43, 232).astype(np.float32)


def test_speech_commands_scores_are_those_of_tensorflow_js() -> None:
    recognizer = Recognizer(read_tfjs(fixture("tfjs_speech_commands", "browser_fft_18w")))
    windows = formula_windows()
    scores, embeddings = recognizer.score_windows(windows), recognizer.embed_windows(windows)
    # By TensorFlow.js 4.22.0 in Node, from the same files; its embedding is the second-last dense layer's output.
    np.testing.assert_allclose(scores[1, [7, 11, 0]], [0.59823656, 0.36965337, 0.032107756], atol=1e-5)
    np.testing.assert_allclose(scores[[0, 2], [0, 11]], [0.99999988, 0.99999356], atol=1e-5)
    np.testing.assert_allclose(embeddings.sum(axis=1), [974.4028, 930.83673, 1093.084], rtol=1e-5)
    np.testing.assert_allclose(embeddings.max(axis=1), [6.1772127, 11.324109, 16.141098], rtol=1e-5)
    assert embeddings.argmax(axis=1).tolist() == [1090, 426, 1214]
    assert recognizer.labels[7] == "left"


def test_teachable_machine_scores_are_those_of_tensorflow_js(tmp_path: Path) -> None:
    recognizer = Recognizer(read_tfjs(teachable_machine(tmp_path)))
    assert recognizer.labels == ("Background Noise", "Clap", "Double Snap", "Snap")
    windows = formula_windows()
    # By TensorFlow.js 4.22.0 in Node, from the same files; its embedding is what goes into NewHeadDense.
    expected = [
        [0.2631789, 0.5485905, 0.0173308, 0.1708997],
        [0.3181511, 0.6323753, 0.0178724, 0.0316012],
        [0.6036794, 0.3792240, 0.0065439, 0.0105527],
    ]
    np.testing.assert_allclose(recognizer.score_windows(windows), expected, atol=1e-5)
    embeddings = recognizer.embed_windows(windows)
    np.testing.assert_allclose(embeddings.sum(axis=1), [1629.5588, 1744.6617, 1660.0122], rtol=1e-5)
    assert embeddings.argmax(axis=1).tolist() == [747, 652, 40]


def save_dense(folder: Path, *layers: Json) -> tuple[Recognizer, dict[str, Array]]:
    """A recognizer with those layers behind Flatten; of the names of those with weights, "dense" has 5 values."""
    first = layer("AveragePooling2D", "pool", pool_size=[3, 58], batch_input_shape=[None, 3, 232, 1])
    shapes: dict[str, tuple[int, ...]] = {"dense/kernel": (4, 5), "dense/bias": (5,)}
    shapes |= {f"norm/{name}": (5,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    shapes |= {"last/kernel": (5, 3), "last/bias": (3,)}
    weights = {name: np.abs(array) + np.float32(0.1) for name, array in random_weights(shapes).items()}
    model = chain("model", first, layer("Flatten", "flat"), *layers)
    return Recognizer(read_tfjs(save(folder, model, weights))), weights


DENSE, LAST = layer("Dense", "dense", units=5, activation="tanh"), layer("Dense", "last", units=3)
NORM = layer("BatchNormalization", "norm")


@pytest.mark.parametrize(
    "ending", [[{**LAST, "config": LAST["config"] | {"activation": "softmax"}}], [LAST, layer("Softmax", "scores")]]
)
@pytest.mark.parametrize("between", [[], [layer("Dropout", "dropped", rate=0.5), NORM]])
def test_the_embedding_is_what_the_dense_layer_before_the_last_one_gives(
    tmp_path: Path, between: list[Json], ending: list[Json]
) -> None:
    recognizer, weights = save_dense(tmp_path, DENSE, *between, *ending)
    windows = random_windows(5, 3)
    pooled = torch_image(windows).mean(2).reshape(5, 4, 58).mean(2).numpy()
    embedding = np.tanh(pooled @ weights["dense/kernel"] + weights["dense/bias"])
    np.testing.assert_allclose(recognizer.embed_windows(windows), embedding, atol=1e-5)
    values = embedding
    if between:
        values = (values - weights["norm/moving_mean"]) / np.sqrt(weights["norm/moving_variance"] + 0.001)
        values = values * weights["norm/gamma"] + weights["norm/beta"]
    powers = np.exp(values @ weights["last/kernel"] + weights["last/bias"])
    scores = powers / powers.sum(1, keepdims=True)
    np.testing.assert_allclose(recognizer.score_windows(windows), scores, atol=1e-5)


def test_options_may_be_named_as_in_typescript(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    expected = read_tfjs(folder)
    layers = [
        {"className": "DepthwiseConv2D", "config": {"kernelSize": [3, 3], "depthMultiplier": 2, "dataFormat": None}},
        {"className": "MaxPooling2D", "config": {"name": "pool", "poolSize": [1, 2], "strides": [2, 2]}},
        layer("Flatten", "flat", dataFormat="channelsLast"),
        layer("Dense", "last", units=3, useBias=True, activation="softmax"),
    ]
    layers[0]["config"] |= {"name": "filter", "activation": "relu", "batchInputShape": [None, 3, 232, 1]}
    change(folder, lambda model: model.update(modelTopology={"className": "Sequential", "config": {"layers": layers}}))
    assert read_tfjs(folder) == expected


def test_layers_that_only_keras_has(tmp_path: Path) -> None:
    """They do nothing, or what TensorFlow.js does too, in other words."""
    folder = save_small(tmp_path)
    expected = Recognizer(read_tfjs(folder)).score_windows(random_windows(3, 3))
    more = [
        layer("SpatialDropout2D", "dropped", rate=0.5),
        layer("ActivityRegularization", "regular", l1=0.1),
        layer("Reshape", "rows", target_shape=[1, None]),
        layer("Permute", "turned", dims=[2, 1]),
        layer("Reshape", "image", target_shape=[1, 115, -1]),
    ]
    change(folder, lambda model: model["modelTopology"]["model_config"]["config"].__setitem__(slice(2, 2), more))
    np.testing.assert_array_equal(Recognizer(read_tfjs(folder)).score_windows(random_windows(3, 3)), expected)


def test_weights_may_be_named_by_the_inner_model_or_by_a_cell(tmp_path: Path) -> None:
    expected = read_tfjs(save_small(tmp_path / "plain"))
    names = dict(
        zip(SMALL_SHAPES, ["all/in/filter/depthwise_kernel", "filter/cell/bias", "x/last/kernel"], strict=False)
    )
    weights = {names.get(name, name): array for name, array in random_weights(SMALL_SHAPES).items()}
    assert read_tfjs(save(tmp_path / "named", small(), weights)) == expected
    twice = {**weights, "y/last/kernel": weights["x/last/kernel"]}
    with pytest.raises(EarmarkError, match="no weights last/kernel"):
        read_tfjs(save(tmp_path / "twice", small(), twice))


def test_weights_may_lie_at_paths_from_here(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    expected = read_tfjs(folder)
    change(folder, lambda model: model["weightsManifest"][0].update(paths=["./one", "./two"]))
    assert read_tfjs(folder) == expected
    assert read_tfjs(pack(folder, tmp_path / "packed.zip", "model/")) == expected


def describe(folder: Path, description: object) -> Path:
    content = {"wordLabels": LABELS, "earmark": description}
    (folder / "metadata.json").write_text(json.dumps(content))
    return folder


OWN = Metadata("claps", tuple(LABELS), 3, FixedNormalization(-100, 10), longest_sound_ms=750)


def test_what_earmark_says_of_a_model_counts(tmp_path: Path) -> None:
    folder = describe(save_small(tmp_path), json.loads(OWN.to_json()))
    assert Recognizer(read_tfjs(folder)).metadata == OWN


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"format": 99}, "made by a newer Earmark"),
        ({"labels": LABELS[::-1]}, "other things of itself than its labels and layers"),
        ({"window_frames": 43}, "other things of itself than its labels and layers"),
        ({"window_frames": "3"}, "no description that Earmark can read"),
        ({"name": 3}, "no description that Earmark can read"),
        ({"name": ""}, "has a name in its metadata.json that is none"),
        ({"name": "\ud800"}, "has no description that Earmark can read"),
        ({"front_end": {"kind": "waveform"}}, "trained on another spectrogram"),
        ({"normalization": {"mean": math.nan, "deviation": 1}}, "no description that Earmark can read"),
        ({"extra": 1}, "no description that Earmark can read"),
    ],
)
def test_what_earmark_says_of_another_model(tmp_path: Path, edit: Json, message: str) -> None:
    folder = describe(save_small(tmp_path), json.loads(OWN.to_json()) | edit)
    with pytest.raises(EarmarkError, match=message) as told:
        read_tfjs(folder)
    assert str(folder) in str(told.value)


@pytest.mark.parametrize("description", [None, [], "claps", 3, {}])
def test_what_is_no_description(tmp_path: Path, description: object) -> None:
    with pytest.raises(EarmarkError, match="no description that Earmark can read"):
        read_tfjs(describe(save_small(tmp_path), description))


def test_a_graph_that_is_a_chain_is_the_same_as_the_chain(tmp_path: Path) -> None:
    weights = random_weights(SMALL_SHAPES)
    graph = functional_model("flat", "input", "pool", "last", "filter")
    assert read_tfjs(save(tmp_path / "graph", graph, weights)) == read_tfjs(save(tmp_path / "chain", small(), weights))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float16"])
def test_quantised_weights_are_what_the_manifest_says(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    plain: dict[str, Array] = {}
    entries, content = [], b""
    for name, shape in SMALL_SHAPES.items():
        entry: Json = {"name": name, "shape": shape, "dtype": "float32", "quantization": {"dtype": kind}}
        count = math.prod(shape)
        if kind == "float16":
            stored = random.normal(0, 0.5, count).astype("<f2")
            numbers = list(struct.unpack(f"<{count}e", stored.tobytes()))
        else:
            stored = random.integers(0, np.iinfo(kind).max, count, endpoint=True).astype(
                np.dtype(kind).newbyteorder("<")
            )
            entry["quantization"] |= {"scale": 1 / 256**stored.itemsize, "min": -1}  # an integer, as JSON may have it
            numbers = [int(value) / 256**stored.itemsize - 1 for value in stored]
        plain[name] = np.array(numbers, np.float32).reshape(shape)
        entries.append(entry)
        content += stored.tobytes()
    expected = read_tfjs(save(tmp_path / "plain", small(), plain))
    folder = save(tmp_path / "quantised", small(), plain)
    (folder / "one").write_bytes(content)
    (folder / "two").unlink()
    change(folder, lambda model: model.update(weightsManifest=[{"paths": ["one"], "weights": entries}]))
    assert read_tfjs(folder) == expected


def test_a_scale_that_is_an_integer_does_not_wrap_around(tmp_path: Path) -> None:
    folder = save_small(tmp_path)

    def quantise(model: Json) -> None:
        for entry in model["weightsManifest"][0]["weights"]:
            entry["quantization"] = {"dtype": "uint8", "scale": 2, "min": -300}

    change(folder, quantise)
    (folder / "one").write_bytes(bytes([200] * 10))
    (folder / "two").write_bytes(bytes([200] * (18 + 2 + 690 + 3 - 10)))
    model = onnx.load_model_from_string(read_tfjs(folder))
    kernels = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.dims[-1:] == [3]]
    assert kernels
    for kernel in kernels:
        assert (kernel == 100).all()  # 200 · 2 − 300


def test_weights_that_no_layer_needs_do_not_matter(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    expected = read_tfjs(folder)
    optimizer = {"name": "iter", "shape": [], "dtype": "int32", "group": "optimizer"}
    change(folder, lambda model: model["weightsManifest"].append({"paths": ["three"], "weights": [optimizer]}))
    (folder / "three").write_bytes(bytes(4))
    assert read_tfjs(folder) == expected


def test_a_folder_its_model_json_and_its_zips_are_the_same_model(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    expected = read_tfjs(folder)
    (folder / "older words").mkdir()
    (folder / "model.json").rename(folder / "my model (1).json")
    assert is_tfjs(folder / "my model (1).json")
    assert read_tfjs(folder / "my model (1).json") == expected
    (folder / "my model (1).json").rename(folder / "model.json")
    (folder / "older words").rmdir()
    for prefix in ("", "converted/my-model/"):
        file = pack(folder, tmp_path / f"m{len(prefix)}.zip", prefix)
        assert is_tfjs(file)
        assert read_tfjs(file) == expected
    stored = pack(folder, tmp_path / "stored.download", compression=zipfile.ZIP_STORED)
    assert is_tfjs(stored)
    assert read_tfjs(stored) == expected


def test_words_are_labels_too(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    (folder / "metadata.json").write_text(json.dumps({"words": ["x", "y", "z"], "frameSize": 232}))
    assert Recognizer(read_tfjs(folder)).labels == ("x", "y", "z")


def test_what_is_no_tensorflow_js_model(tmp_path: Path, trained: earmark.Project) -> None:
    ours = PRETRAINED / "words"
    assert (ours / "model.json").is_file()  # a card, which must not be mistaken
    packed = pack(ours, tmp_path / "ours.zip", "words/")
    empty, text = tmp_path / "empty", tmp_path / "model.json"
    empty.mkdir()
    text.write_text('["modelTopology"]')
    others = [ours, ours / "model.json", ours / "model.onnx", packed, empty, text, trained.path]
    for path in (
        *others,
        tmp_path / "gone",
        tmp_path / "gone.json",
        tmp_path / ("x" * 5_000),
        Path("a\0b"),
        Path("words"),
    ):
        assert not is_tfjs(path)
        with pytest.raises(EarmarkError):
            read_tfjs(path)
    if hasattr(os, "mkfifo"):
        pipe = tmp_path / "pipe"
        pipe.mkdir()
        os.mkfifo(pipe / "model.json")
        assert not is_tfjs(pipe)
        with pytest.raises(EarmarkError):
            read_tfjs(pipe)
