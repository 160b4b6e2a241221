"""The TensorFlow.js speech-commands model as a recognizer, to be measured beside ours.

Only the layers of that one network, `browser_fft/18w`: Conv2D, MaxPooling2D, Flatten, Dense.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper

from earmark import Recognizer
from earmark.formats.onnx import model_file
from earmark.metadata import Metadata, WindowNormalization
from earmark.spectrogram import BINS

FRAMES = 43
EMBEDDING = 2_000


def load_peer(folder: Path) -> Recognizer:
    """The model in a folder of model.json, metadata.json and weight shards."""
    return Recognizer(peer_model(folder), str(folder))


def peer_model(folder: Path) -> bytes:
    """The same as an ONNX file."""
    model = json.loads((folder / "model.json").read_text())
    labels = tuple(json.loads((folder / "metadata.json").read_text())["words"])
    weights = _read_weights(folder, model["weightsManifest"])
    nodes = [helper.make_node("Reshape", ["window", "shape"], ["0"])]
    constants: dict[str, npt.NDArray[Any]] = {"shape": np.array([-1, 1, FRAMES, BINS], np.int64)}
    for number, layer in enumerate(model["modelTopology"]["model_config"]["config"]):
        nodes += _layer(layer["class_name"], layer["config"], str(number), str(number + 1), weights, constants)
    last = helper.make_node("Identity", [nodes[-1].output[0]], ["scores"])
    hidden = [node for node in nodes if node.op_type == "Relu"][-1]  # the first dense layer
    embedding = helper.make_node("Identity", [hidden.output[0]], ["embedding"])
    metadata = Metadata("speech-commands (TensorFlow.js)", labels, FRAMES, WindowNormalization())
    outputs = {"scores": len(labels), "embedding": EMBEDDING}
    return model_file([*nodes, last, embedding], constants, metadata, outputs)


def _read_weights(folder: Path, manifest: list[dict[str, Any]]) -> dict[str, npt.NDArray[np.float32]]:
    weights = {}
    for group in manifest:
        content = b"".join((folder / path).read_bytes() for path in group["paths"])
        at = 0
        for entry in group["weights"]:
            count = int(np.prod(entry["shape"]))
            weights[entry["name"]] = np.frombuffer(content, "<f4", count, at).reshape(entry["shape"])
            at += 4 * count
    return weights


def _layer(
    kind: str,
    config: dict[str, Any],
    given: str,
    made: str,
    weights: dict[str, npt.NDArray[np.float32]],
    constants: dict[str, npt.NDArray[Any]],
) -> list[Any]:
    name = config["name"]
    if kind == "Dropout":
        return [helper.make_node("Identity", [given], [made])]
    if kind == "MaxPooling2D":
        return [
            helper.make_node("MaxPool", [given], [made], kernel_shape=config["pool_size"], strides=config["strides"])
        ]
    if kind == "Flatten":  # channels last, as TF.js has them
        turned = helper.make_node("Transpose", [given], [name], perm=[0, 2, 3, 1])
        return [turned, helper.make_node("Flatten", [name], [made])]
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    constants[f"{name}/kernel"] = kernel.transpose(3, 2, 0, 1) if kind == "Conv2D" else kernel
    constants[f"{name}/bias"] = bias
    operator = {"Conv2D": "Conv", "Dense": "Gemm"}[kind]
    activation = {"relu": "Relu", "softmax": "Softmax"}[config["activation"]]
    return [
        helper.make_node(operator, [given, f"{name}/kernel", f"{name}/bias"], [name]),
        helper.make_node(activation, [name], [made]),
    ]
