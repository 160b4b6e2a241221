"""TensorFlow.js models: against the layers in PyTorch, against TensorFlow.js itself, and damaged or hostile ones."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import earmark
from earmark import EarmarkError, Recognizer
from earmark.formats.tfjs import is_tfjs, read_tfjs
from earmark.metadata import WindowNormalization
from earmark.recognizer import PRETRAINED
from tests.conftest import SHARED

Array = npt.NDArray[np.float32]
Json = dict[str, Any]
LABELS = ["a", "été 🙂", "_unknown_"]


def layer(kind: str, name: str, **config: Any) -> Json:
    return {"class_name": kind, "config": {"name": name, **config}}


def sequential(name: str, *layers: Json) -> Json:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def small(frames: int = 3, units: int = 3) -> Json:
    """The codelab's network, its layers as old Keras writes them: a bare list."""
    first = {"kernel_size": [3, 3], "depth_multiplier": 2, "batch_input_shape": [None, frames, 232, 1]}
    layers = [
        layer("DepthwiseConv2D", "filter", activation="relu", **first),
        layer("MaxPooling2D", "pool", pool_size=[1, 2], strides=[2, 2]),
        layer("Flatten", "flat"),
        layer("Dense", "last", units=units, activation="softmax"),
    ]
    return {"model_config": {"class_name": "Sequential", "config": layers}}


SMALL_SHAPES = {
    "filter/depthwise_kernel": (3, 3, 1, 2),
    "filter/bias": (2,),
    "last/kernel": (230, 3),
    "last/bias": (3,),
}


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def manifest(weights: dict[str, Array], paths: list[str]) -> list[Json]:
    entries = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in weights.items()]
    return [{"paths": paths, "weights": entries}]


def save(folder: Path, topology: Json, weights: dict[str, Array], labels: list[str] = LABELS) -> Path:
    """A model folder, its weights in two shards that are cut in the midst of a number."""
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(array.astype("<f4").tobytes() for array in weights.values())
    (folder / "one").write_bytes(content[:10])
    (folder / "two").write_bytes(content[10:])
    model = {"modelTopology": topology, "weightsManifest": manifest(weights, ["one", "two"])}
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "metadata.json").write_text(json.dumps({"wordLabels": labels}))
    return folder


def save_small(folder: Path) -> Path:
    return save(folder, small(), random_weights(SMALL_SHAPES))


def pack(folder: Path, file: Path, prefix: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(prefix + path.name, path.read_bytes())
    return file


def change(folder: Path, edit: Callable[[Json], object]) -> None:
    """Edit model.json."""
    model = json.loads((folder / "model.json").read_text())
    edit(model)
    (folder / "model.json").write_text(json.dumps(model))


def torch_image(windows: Array) -> torch.Tensor:
    """[n, frames, bins] in dB → [n, 1, frames, bins], each window with mean 0 and deviation 1."""
    levels = torch.from_numpy(windows.astype(np.float64))
    mean, deviation = levels.mean((1, 2), keepdim=True), levels.std((1, 2), keepdim=True, correction=0)
    return ((levels - mean) / deviation)[:, None]


def flat(image: torch.Tensor) -> torch.Tensor:
    return image.permute(0, 2, 3, 1).flatten(1)


def random_windows(count: int, frames: int) -> Array:
    return np.random.default_rng(1).uniform(-120, -20, (count, frames, 232)).astype(np.float32)


def test_every_layer_does_what_it_does_in_pytorch(tmp_path: Path) -> None:
    base = sequential(
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
    recognizer = Recognizer(read_tfjs(save(tmp_path / "model", sequential("all", base, *head), weights)))
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
    hidden = torch.relu(flat(image) @ tensors["hidden/kernel"] + tensors["hidden/bias"])
    scores = torch.softmax(hidden @ tensors["last/kernel"] + tensors["last/bias"], 1)

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


def fixture(*parts: str) -> Path:
    folder = SHARED.joinpath("fixtures", *parts)
    if not folder.is_dir():
        pytest.skip("needs the models in ../shared/fixtures")
    return folder


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
    folder = fixture("teachable_machine_audio")
    model = json.loads((folder / "model.json").read_text())
    content = b""
    for entry in model["weightsManifest"][0]["weights"]:
        shape = entry["shape"]
        scale = 2 / math.sqrt(math.prod(shape[:-1])) if len(shape) > 1 else 0.1
        content += (np.sin(np.arange(math.prod(shape), dtype=np.float64) ** 1.5) * scale).astype("<f4").tobytes()
    for name in ("model.json", "metadata.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "weights.bin").write_bytes(content)
    recognizer = Recognizer(read_tfjs(tmp_path))
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


def functional_model(*names: str) -> Json:
    """`small` as a graph: its layers in any order, each with the name of the one before it."""
    layers = {one["config"]["name"]: one for one in small()["model_config"]["config"]}
    layers["input"] = layer("InputLayer", "input", batch_input_shape=[None, 3, 232, 1])
    layers["last"] = sequential("head", layers["last"])
    before = {"filter": "input", "pool": "filter", "flat": "pool", "last": "flat"}
    listed = [
        {**layers[name], "name": name, "inbound_nodes": [[[before[name], 0, 0, {}]]] if name in before else []}
        for name in names
    ]
    config = {"layers": listed, "input_layers": [["input", 0, 0]], "output_layers": [["last", 1, 0]]}
    return {"class_name": "Model", "config": config}


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


def layers_of(model: Json) -> list[Json]:
    layers: list[Json] = model["modelTopology"]["model_config"]["config"]
    return layers


def config_of(model: Json, number: int) -> Json:
    config: Json = layers_of(model)[number]["config"]
    return config


def group_of(model: Json) -> Json:
    group: Json = model["weightsManifest"][0]
    return group


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: layers_of(m)[1].update(class_name="LSTM"), "'?pool'? of the kind LSTM, which can't be converted"),
        (lambda m: layers_of(m)[1].update(class_name="x" * 10_000), "kind x{60},"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, 3, 128, 1]), "128 frequency bins, not 232"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, None, 232, 1]), "fixed number of frames"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, 10**9, 232, 1]), "windows of 1000000000 frames"),
        (lambda m: config_of(m, 0).update(batch_input_shape=[None, 224, 224, 3]), "takes no spectrograms"),
        (lambda m: config_of(m, 0).update(activation="gelu"), "activation gelu, which can't be converted"),
        (lambda m: config_of(m, 0).update(padding="causal"), "whose padding can't be converted"),
        (lambda m: config_of(m, 0).update(data_format="channels_first"), "whose data_format can't be converted"),
        (lambda m: config_of(m, 0).update(kernel_size=[5, 3]), r"shape \[3, 3, 1, 2\], not \[5, 3, 1, 2\]"),
        (lambda m: config_of(m, 0).update(kernel_size=[0, 3]), "in a way that can't be read"),
        (lambda m: config_of(m, 0).update(strides=[10**30, 1]), "in a way that can't be read"),
        (lambda m: layers_of(m).insert(1, layer("ReLU", "six", max_value=6)), "layer six whose max_value can't"),
        (lambda m: layers_of(m).insert(1, layer("Softmax", "rows", axis=1)), "layer rows whose axis can't"),
        (lambda m: config_of(m, 1).update(pool_size=[2, 2]), "leaves the layer pool no frames"),
        (lambda m: config_of(m, 1).update(pool_size=[9_999, 9_999], strides=[1, 1], padding="same"), "memory or time"),
        (lambda m: config_of(m, 3).update(units=10**30), "in a way that can't be read"),
        (lambda m: config_of(m, 3).update(activation="relu"), "one score from 0 to 1 for each"),
        (lambda m: config_of(m, 3).pop("units"), "in a way that can't be read"),
        (lambda m: config_of(m, 3).update(name="filter"), "no weights filter/kernel"),
        (lambda m: layers_of(m).pop(2), "dense layer last before Flatten"),
        (lambda m: layers_of(m).insert(1, layers_of(m).pop(2)), "layer pool behind Flatten"),
        (lambda m: layers_of(m).clear(), "in a way that can't be read"),
        (lambda m: layers_of(m).append(layers_of(m)[3]), "twice the same weights last/kernel"),
        (lambda m: layers_of(m).extend(layer("Dropout", "d") for _ in range(1_000)), "more than 1,000 layers"),
        (lambda m: m.update(modelTopology={"node": [], "versions": {}}), "is a graph model"),
        (lambda m: m.update(modelTopology=None), "in a way that can't be read"),
        (lambda m: m.update(modelTopology=functional_model("input", "filter", "flat")), "no chain"),
        (lambda m: m.update(modelTopology=functional_model("filter", "pool", "flat", "last")), "can't be read"),
        (lambda m: m.update(weightsManifest=None), "no weights filter/depthwise_kernel"),
        (lambda m: m.update(weightsManifest=[7]), "list of weights that can't be read"),
        (lambda m: group_of(m).update(paths=["../one", "two"]), r"keeps weights elsewhere, at \.\./one"),
        (lambda m: group_of(m).update(paths=["a/../../one", "two"]), "keeps weights elsewhere"),
        (lambda m: group_of(m).update(paths=["/etc/passwd"]), "keeps weights elsewhere, at /etc/passwd"),
        (lambda m: group_of(m).update(paths=["https://example.com/one"]), "elsewhere, at https://example.com/one"),
        (lambda m: group_of(m).update(paths=["C:\\one"]), "keeps weights elsewhere"),
        (lambda m: group_of(m).update(paths=["one\0", "two"]), "damaged or can't be read"),
        (lambda m: group_of(m).update(paths=["three"]), "lacks files of weights"),
        (lambda m: group_of(m).update(paths=["."]), "damaged or can't be read"),
        (lambda m: group_of(m).update(paths=["one"]), "has 10 bytes of weights where its layers have 2,852"),
        (lambda m: group_of(m).update(paths=["one"] * 1_001), "more than 1,000 files"),
        (lambda m: group_of(m)["weights"][2].update(shape=[50_000, 50_000]), "claims more than 16,777,216 weights"),
        (lambda m: group_of(m)["weights"][2].update(shape=[10**18] * 4), "claims more than 16,777,216 weights"),
        (lambda m: group_of(m)["weights"][2].update(shape=[-230, -3]), "last/kernel in no known way"),
        (lambda m: group_of(m)["weights"][2].update(shape=[3, 230]), r"shape \[3, 230\], not \[230, 3\]"),
        (lambda m: group_of(m)["weights"][2].update(dtype="string"), "last/kernel in no known way"),
        (lambda m: group_of(m)["weights"][2].update(name="last/bias"), "two weights of one name"),
        (lambda m: group_of(m)["weights"][2].update(quantization={"dtype": "uint8", "scale": "1"}), "lacks the scale"),
    ],
)
def test_what_cannot_be_converted_is_told_in_one_sentence(
    tmp_path: Path, edit: Callable[[Json], object], message: str
) -> None:
    folder = save_small(tmp_path / "model")
    change(folder, edit)
    with pytest.raises(EarmarkError, match=message) as told:
        read_tfjs(folder)
    assert str(folder) in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400 + len(str(folder))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    weights = random_weights(SMALL_SHAPES)
    weights["last/bias"][1] = value
    with pytest.raises(EarmarkError, match="weights last/bias that are not finite"):
        read_tfjs(save(tmp_path, small(), weights))


def test_truncated_and_longer_shards(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    whole = (folder / "two").read_bytes()
    for content in (whole[:-1], whole + b"\0", b""):
        (folder / "two").write_bytes(content)
        with pytest.raises(EarmarkError, match=f"{10 + len(content):,} bytes of weights where its layers have 2,852"):
            read_tfjs(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"has no metadata\.json"),
        ("{}", r"no labels in its metadata\.json"),
        ('{"wordLabels": ["a", "b"]}', "one score from 0 to 1 for each of its labels"),
        ('{"wordLabels": ["a", "b", 3]}', "no labels"),
        ('{"wordLabels": ["a", "b", "\\ud800"]}', "no labels"),
        ("[" * 100_000, "damaged"),
        ('{"wordLabels": ' + "9" * 5_000 + "}", "damaged|no labels"),  # some Pythons read such a number
        ("\x00", "damaged"),
        (" " * (5 << 20), "more than 4 MiB"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, content: str | None, message: str) -> None:
    folder = save_small(tmp_path)
    (folder / "metadata.json").unlink()
    if content is not None:
        (folder / "metadata.json").write_text(content)
    with pytest.raises(EarmarkError, match=message):
        read_tfjs(folder)


def test_json_too_deep_is_damaged(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    topology: Json = small()["model_config"]
    for _ in range(50):  # so deep that nobody wrote it, yet fine
        topology = {"class_name": "Sequential", "config": [topology]}
    change(folder, lambda model: model.update(modelTopology=topology))
    assert Recognizer(read_tfjs(folder)).labels == tuple(LABELS)
    (folder / "model.json").write_text('{"modelTopology": ' + '{"a": ' * 200_000)
    assert not is_tfjs(folder)
    with pytest.raises(EarmarkError, match="damaged"):
        read_tfjs(folder)


def peak_of(action: Callable[[], object]) -> int:
    """The most bytes that Python and NumPy held at once."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_claim_of_ten_gigabytes_costs_nothing(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    with (folder / "two").open("r+b") as file:
        file.truncate(10 << 30)  # sparse
    change(folder, lambda model: group_of(model)["weights"][2].update(shape=[2_684_354_560]))

    def read() -> None:
        with pytest.raises(EarmarkError, match="claims more than"):
            read_tfjs(folder)

    assert peak_of(read) < 4 << 20
    save_small(folder)
    with (folder / "two").open("r+b") as file:
        file.truncate(10 << 30)

    def read_file() -> None:
        with pytest.raises(EarmarkError, match="bytes of weights where its layers have"):
            read_tfjs(folder)

    assert peak_of(read_file) < 4 << 20


def test_zip_bombs_and_zips_that_lie(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    (folder / "two").write_bytes(bytes(100 << 20))
    bomb = pack(folder, tmp_path / "bomb.zip")
    assert bomb.stat().st_size < 1 << 20

    def read() -> None:
        with pytest.raises(EarmarkError, match="bytes of weights where its layers have"):
            read_tfjs(bomb)

    assert peak_of(read) < 4 << 20
    # The same, but it says that the entry has the right size: what is more stays packed.
    data = bomb.read_bytes().replace(struct.pack("<I", 100 << 20), struct.pack("<I", 2_842))
    bomb.write_bytes(data)

    def read_liar() -> None:
        with pytest.raises(EarmarkError, match="damaged"):
            read_tfjs(bomb)

    assert peak_of(read_liar) < 8 << 20
    save_small(folder)
    whole = pack(folder, tmp_path / "whole.zip").read_bytes()
    entry = whole.rindex(b"PK\x01\x02")  # the table's last one, of "two", which says where the file begins
    for start in (len(whole) - 5, 0xFFFFFFF0):
        bomb.write_bytes(whole[: entry + 42] + struct.pack("<I", start) + whole[entry + 46 :])
        with pytest.raises(EarmarkError, match="damaged"):
            read_tfjs(bomb)
    with pytest.raises(EarmarkError, match="packed in an unusual way"):
        read_tfjs(pack(folder, tmp_path / "bzip2.zip", compression=zipfile.ZIP_BZIP2))


def test_a_zip_with_a_huge_table_of_contents_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(25_000):
            archive.writestr(f"{number}", b"")
    assert not is_tfjs(file)
    with pytest.raises(EarmarkError, match="damaged"):
        read_tfjs(file)


def test_zips_without_one_model(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "model")
    for prefix in ("../", "/", "a/../"):
        outside = pack(folder, tmp_path / "outside.zip", prefix)
        assert not is_tfjs(outside)
        with pytest.raises(EarmarkError, match=r"holds no model\.json"):
            read_tfjs(outside)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for name in ("a/model.json", "b/model.json"):
            archive.write(folder / "model.json", name)
    with pytest.raises(EarmarkError, match=r"more than one model\.json"):
        read_tfjs(tmp_path / "two.zip")


def test_without_onnx_it_says_what_to_install(tmp_path: Path) -> None:
    folder = save_small(tmp_path)
    program = (
        "import sys; sys.modules['onnx'] = None\n"
        "from pathlib import Path; from earmark.formats.tfjs import is_tfjs, read_tfjs\n"
        f"path = Path({str(folder)!r}); assert is_tfjs(path)\n"
        "try: read_tfjs(path)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith("EarmarkError")
    assert "pip install 'earmark[train]'" in said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.sampled_from(["same", "Dense", "input", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "layers", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within, with each key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(value, key), *places(inner)]]


@pytest.fixture(scope="module")
def graph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = functional_model("input", "filter", "pool", "flat", "last")
    return save(tmp_path_factory.mktemp("graph"), graph, random_weights(SMALL_SHAPES))


def read_or_tell(path: Path) -> None:
    is_tfjs(path)
    with suppress(EarmarkError):
        Recognizer(read_tfjs(path))


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_changed_model_is_read_or_told(graph_folder: Path, data: st.DataObject) -> None:
    model = json.loads((graph_folder / "model.json").read_text())
    container, key = data.draw(st.sampled_from(places(model)))
    container[key] = data.draw(JSON)
    folder = graph_folder.parent / "changed"
    save(folder, {}, random_weights(SMALL_SHAPES))
    (folder / "model.json").write_text(json.dumps(model))
    read_or_tell(folder)


@settings(deadline=None, max_examples=300)
@given(at=st.floats(0, 1, exclude_max=True), wrong=st.binary(max_size=8), cut=st.booleans())
def test_a_damaged_zip_is_read_or_told(graph_folder: Path, at: float, wrong: bytes, cut: bool) -> None:
    file = pack(graph_folder, graph_folder.parent / "damaged.zip")
    content = file.read_bytes()
    start = int(at * len(content))
    file.write_bytes(content[:start] + wrong + (b"" if cut else content[start + len(wrong) :]))
    read_or_tell(file)
