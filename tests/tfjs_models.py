"""TensorFlow.js models that the tests write themselves, and the real ones beside the repository."""

from __future__ import annotations

import json
import math
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED
from tests.tfjs_node import Array, Json, chain, layer

LABELS = ["a", "été 🙂", "_unknown_"]


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


def graph(name: str, links: Mapping[str, Sequence[str]], *layers: Json) -> Json:
    """A Model from its first layer to its last one; the links say which layers each one takes values from.

    What an inner model gives here is that of its second call, as the first was on its own input when it was made.
    """
    calls = {one["config"]["name"]: int(one["class_name"] in ("Sequential", "Model")) for one in layers}
    listed: list[Json] = []
    for one in layers:
        itself = one["config"]["name"]
        inbound = [[before, calls.get(before, 0), 0, {}] for before in links.get(itself, ())]
        listed.append({**one, "name": itself, "inbound_nodes": [inbound] if inbound else []})
    first, *_, last = calls
    ends = {"input_layers": [[first, 0, 0]], "output_layers": [[last, calls[last], 0]]}
    return {"class_name": "Model", "config": {"name": name, "layers": listed, **ends}}


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Array]:
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


def random_windows(count: int, frames: int) -> Array:
    return np.random.default_rng(1).uniform(-120, -20, (count, frames, 232)).astype(np.float32)


def fixture(*parts: str) -> Path:
    folder = SHARED.joinpath("fixtures", *parts)
    if not folder.is_dir():
        pytest.skip("needs the models in ../shared/fixtures")
    return folder


def teachable_machine(folder: Path) -> Path:
    """The Teachable Machine model beside the repository, with weights by a formula, as its own are not there."""
    source = fixture("teachable_machine_audio")
    folder.mkdir(parents=True, exist_ok=True)
    content = b""
    for entry in json.loads((source / "model.json").read_text())["weightsManifest"][0]["weights"]:
        shape = entry["shape"]
        scale = 2 / math.sqrt(math.prod(shape[:-1])) if len(shape) > 1 else 0.1
        content += (np.sin(np.arange(math.prod(shape), dtype=np.float64) ** 1.5) * scale).astype("<f4").tobytes()
    for name in ("model.json", "metadata.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "weights.bin").write_bytes(content)
    return folder


def functional_model(*names: str) -> Json:
    """`small` as a graph: these of its layers, in any order, each with the name of the one before it."""
    layers = {one["config"]["name"]: one for one in small()["model_config"]["config"]}
    layers["input"] = layer("InputLayer", "input", batch_input_shape=[None, 3, 232, 1])
    layers["last"] = chain("head", layers["last"])
    before = {"filter": "input", "pool": "filter", "flat": "pool", "last": "flat"}
    listed = [
        {**layers[name], "name": name, "inbound_nodes": [[[before[name], 0, 0, {}]]] if name in before else []}
        for name in names
    ]
    config = {"name": "all", "layers": listed, "input_layers": [["input", 0, 0]], "output_layers": [["last", 1, 0]]}
    return {"class_name": "Model", "config": config}


def peak_of(action: Callable[[], object]) -> int:
    """The most bytes that Python and NumPy held at once."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
