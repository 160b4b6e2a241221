"""Our networks as ONNX files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    checker,
    helper,
    load_model_from_string,
    numpy_helper,
    shape_inference,
)

from earmark.front_end.spectrogram import BINS
from earmark.models.metadata import KEY, Metadata

OPSET = 17  # the first with LayerNormalization; onnxruntime 1.12 and newer have it
IR_VERSION = 8


@dataclass(frozen=True)
class SoundWeights:
    """Trained weights of the codelab's sound network (`training.SoundNetwork`), float32.

    Attributes:
        kernel: the convolution's kernel, shape [8, 1, 3, 3]: filter, 1, frame, bin.
        kernel_bias: the convolution's bias, shape [8].
        dense: the dense layer's kernel, shape [labels, 920]; the inputs are filter after filter, 115 pooled bins each.
        dense_bias: the dense layer's bias, shape [labels].
    """

    kernel: npt.NDArray[np.float32]
    kernel_bias: npt.NDArray[np.float32]
    dense: npt.NDArray[np.float32]
    dense_bias: npt.NDArray[np.float32]


def sound_model(weights: SoundWeights, metadata: Metadata) -> bytes:
    """The sound network as an ONNX file: `window` [n, 3, 232], normalized → `scores` [n, labels]."""
    nodes = [
        helper.make_node("Reshape", ["window", "plane"], ["image"]),
        helper.make_node("Conv", ["image", "kernel", "kernel_bias"], ["filtered"]),
        helper.make_node("Relu", ["filtered"], ["rectified"]),
        helper.make_node("MaxPool", ["rectified"], ["pooled"], kernel_shape=[1, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    constants: dict[str, npt.NDArray[Any]] = {
        "plane": np.array([-1, 1, metadata.window_frames, BINS], np.int64),
        "kernel": weights.kernel,
        "kernel_bias": weights.kernel_bias,
        "dense": weights.dense,
        "dense_bias": weights.dense_bias,
    }
    return model_file(nodes, constants, metadata, {"scores": len(metadata.labels)})


@dataclass(frozen=True)
class Convolution:
    """A convolution over time.

    Attributes:
        kernel: shape [outputs, inputs, frames], or [outputs, 1, frames] if each channel has its own kernel.
        bias: shape [outputs], or None.
        stride: frames from one output to the next. The sides are padded so that a stride of 1 keeps the length.
    """

    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None
    stride: int


@dataclass(frozen=True)
class Dense:
    """A dense layer: kernel of shape [outputs, inputs], bias of shape [outputs]."""

    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


@dataclass(frozen=True)
class WordWeights:
    """Trained weights of `word_network.WordNetwork`.

    Attributes:
        stem: the first convolution, over all bins.
        blocks: for each block the two separable convolutions (depthwise and pointwise), and the convolution around
            them.
        embedding: the hidden layer, which gives the embedding.
        scores: the last layer, which gives the scores.
    """

    stem: Convolution
    blocks: list[tuple[Convolution, Convolution, Convolution, Convolution, Convolution]]
    embedding: Dense
    scores: Dense


def word_model(weights: WordWeights, metadata: Metadata) -> bytes:
    """The word network as an ONNX file: `window` [n, 43, 232], normalized → `scores`, `embedding`."""
    graph = _Graph()
    # As images of one row: ONNX Runtime's two-dimensional convolutions are twice as fast as its one-dimensional ones.
    channels_first = graph.add("Transpose", "window", perm=[0, 2, 1])
    frames = graph.add("Reshape", channels_first, graph.keep_as("image", np.array([0, 0, 1, -1], np.int64)))
    frames = graph.add("Relu", graph.convolve(frames, weights.stem))
    for first, first_point, second, second_point, around in weights.blocks:
        inner = graph.add("Relu", graph.convolve(graph.convolve(frames, first), first_point))
        inner = graph.convolve(graph.convolve(inner, second), second_point)
        frames = graph.add("Relu", graph.add("Add", inner, graph.convolve(frames, around)))
    mean = graph.add("ReduceMean", frames, axes=[2, 3], keepdims=0)
    highest = graph.add("ReduceMax", frames, axes=[2, 3], keepdims=0)
    both = graph.add("Concat", mean, highest, axis=1)
    graph.add("Relu", graph.connect(both, weights.embedding), made="embedding")
    graph.add("Softmax", graph.connect("embedding", weights.scores), made="scores", axis=1)
    outputs = {"scores": len(metadata.labels), "embedding": len(weights.embedding.bias)}
    return model_file(graph.nodes, graph.constants, metadata, outputs)


def multiply_adds(model: bytes) -> int:
    """How many multiply-adds a network needs for one window, in its convolutions and dense layers."""
    loaded = load_model_from_string(model)
    loaded.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = shape_inference.infer_shapes(loaded).graph
    made = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.value_info}
    kernels = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type == "Conv":  # each position of the output needs the whole kernel
            total += int(np.prod(made[node.output[0]][2:])) * kernels[node.input[1]]
        elif node.op_type == "Gemm":
            total += kernels[node.input[1]]
    return total


class GraphBuilder:
    """Collects a graph's nodes and constants, and names them.

    Args:
        prefix: what all names begin with, so that none is taken already.

    Attributes:
        nodes: the nodes, in order.
        constants: the constants, by their names.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def add(self, operator: str, *given: str, made: str = "", **attributes: Any) -> str:
        """Add a node. Returns the name of what it makes."""
        made = made or f"{self._prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, given, [made], **attributes))
        return made

    def keep(self, value: npt.ArrayLike, kind: npt.DTypeLike = np.float32) -> str:
        """Add a constant. Returns its name."""
        name = f"{self._prefix}constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value, kind)
        return name


class _Graph(GraphBuilder):
    """The word network's layers."""

    def convolve(self, given: str, layer: Convolution) -> str:
        outputs, inputs, frames = layer.kernel.shape
        names = [given, *self._keep_layer(layer.kernel[:, :, np.newaxis], layer.bias)]
        groups = outputs if inputs == 1 else 1
        pads = [0, frames // 2, 0, frames // 2]
        strides = [1, layer.stride]
        return self.add("Conv", *names, kernel_shape=[1, frames], strides=strides, pads=pads, group=groups)

    def connect(self, given: str, layer: Dense) -> str:
        return self.add("Gemm", given, *self._keep_layer(layer.kernel, layer.bias), transB=1)

    def keep_as(self, name: str, constant: npt.NDArray[Any]) -> str:
        """Add a constant under a name of its own. Returns that name, with the next node's number."""
        name = f"{name}_{len(self.nodes)}"
        self.constants[name] = constant
        return name

    def _keep_layer(self, kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None) -> list[str]:
        return [self.keep_as("kernel", kernel), *([] if bias is None else [self.keep_as("bias", bias)])]


def leading_to(output: str, model: ModelProto) -> list[NodeProto]:
    """The nodes that an output depends on, in order."""
    needed, nodes = {output}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    return nodes[::-1]


def model_file(
    nodes: list[NodeProto],
    constants: dict[str, npt.NDArray[Any]],
    metadata: Metadata,
    outputs: dict[str, int],
    *,
    windows: str | int = "n",
    opset: int = OPSET,
) -> bytes:
    """The ONNX file of a graph from `window` to those outputs, each of shape [windows, its size].

    Args:
        windows: how many windows it takes at once: a name for any number, or 1.
        opset: the version of ONNX's operators that the nodes are written for.
    """
    name, shape = metadata.graph_input
    graph = helper.make_graph(
        nodes,
        metadata.name,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [windows, *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [windows, size]) for name, size in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    helper.set_model_props(model, {KEY: metadata.to_json()})
    checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]


def windows_of(model: ModelProto) -> str | int:
    """How many windows a model takes at once, as `model_file` is given it."""
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    return int(first.dim_value) or "n"


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's operators that a model is written for."""
    return next(int(opset.version) for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
