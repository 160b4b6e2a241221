"""The layers of TensorFlow.js as ONNX nodes: each function adds one kind of layer, `LAYERS` names them.

What the layers do is that of Keras (keras.io/api/layers): images are [height, width, channels] there, while ONNX has
[channels, height, width].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

from earmark.errors import EarmarkError
from earmark.formats.onnx import model_file
from earmark.formats.tfjs import Weight, shown
from earmark.metadata import MAX_WINDOW_FRAMES, Metadata, WindowNormalization
from earmark.spectrogram import BINS
from earmark.streaming import LONGEST_WORD_MS, RESERVED_LABELS

NAME = "speech-commands (TensorFlow.js)"
MAX_LAYERS = 1_000
MAX_VALUES = 1 << 23  # that a layer gives for one window
MAX_WORK = 2 * 10**9  # multiply-adds and comparisons for one window; speech-commands needs 11 million
ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax", "tanh": "Tanh"}
CHAINS = ("Sequential", "Model", "Functional")  # layers that hold layers


def convert(topology: object, weights: Mapping[str, Weight], labels: tuple[str, ...], source: str) -> bytes:
    """A model as an ONNX file: `window` [n, frames, 232], normalized → `scores` [n, labels], `embedding`.

    Args:
        topology: the `modelTopology` of a model.json.
        weights: by name, as `layer/kernel`.
        labels: in the order of the scores.
        source: what errors call the model.

    Raises:
        EarmarkError: layers, shapes or weights that can't be converted.
    """
    try:
        layers = _unfold(_root(topology, source), source)
        frames = _window_frames(layers[0], source)
        network = _Network(weights, source, shape=(frames, BINS, 1))
        plane = network.keep("plane", np.array([-1, 1, frames, BINS], np.int64))
        network.add("Reshape", [plane])
        for layer in layers:
            network.apply(layer)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise EarmarkError(f"{source} describes its layers in a way that can't be read: save it again.") from error
    if network.shape != (len(labels),) or not network.gives_probabilities:
        raise EarmarkError(f"{source} doesn't end in one score from 0 to 1 for each of its labels: train it again.")
    outputs = {"scores": len(labels)}
    network.nodes.append(helper.make_node("Identity", [network.value], ["scores"]))
    if network.embedding is not None:
        network.nodes.append(helper.make_node("Identity", [network.embedding[0]], ["embedding"]))
        outputs["embedding"] = network.embedding[1]
    # The labels of a speech-commands model are words; those of a Teachable Machine may be sounds that go on.
    longest = LONGEST_WORD_MS if set(RESERVED_LABELS) <= set(labels) else None
    metadata = Metadata(NAME, labels, frames, WindowNormalization(), longest_sound_ms=longest)
    return model_file(network.nodes, network.constants, metadata, outputs)


@dataclass
class _Layer:
    """A layer as model.json describes it."""

    kind: str
    name: str
    config: dict[str, Any]

    def pair(self, option: str, default: tuple[int, int] = (1, 1)) -> tuple[int, int]:
        """Height and width."""
        value = self.config.get(option)
        if value is None:
            return default
        high, wide = value if isinstance(value, list) else (value, value)
        if not all(type(size) is int and 0 < size < 1 << 20 for size in (high, wide)):
            raise ValueError(option)
        return high, wide


@dataclass
class _Network:
    """The ONNX nodes of the layers so far.

    Attributes:
        weights: those of the file.
        source: what errors call the model.
        shape: what the last layer gives for one window: (height, width, channels), or (values,).
        value: the name of what the last layer gives.
        gives_probabilities: whether all of that lies between 0 and 1.
        embedding: name and size of what goes into the last dense layer, if another one comes before it.
    """

    weights: Mapping[str, Weight]
    source: str
    shape: tuple[int, ...]
    value: str = "window"
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    gives_probabilities: bool = False
    embedding: tuple[str, int] | None = None
    used: set[str] = field(default_factory=set)
    dense_layers: int = 0
    work: int = 0

    def apply(self, layer: _Layer) -> None:
        if layer.kind not in LAYERS:
            known = ", ".join(LAYERS)
            raise EarmarkError(
                f"{self.source} has a layer {shown(layer.name)} of the kind {shown(layer.kind)}, which can't be "
                f"converted: use {known}."
            )
        if layer.config.get("data_format") not in (None, "channels_last"):
            raise self.refuse(layer, "data_format")
        LAYERS[layer.kind](self, layer)

    def add(self, operator: str, constants: Sequence[str] = (), **attributes: Any) -> None:
        """Add a node that takes the last layer's value."""
        given, self.value = self.value, f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [given, *constants], [self.value], **attributes))

    def keep(self, name: str, constant: npt.NDArray[Any]) -> str:
        name = f"{name}_{len(self.constants)}"
        self.constants[name] = constant
        return name

    def become(self, shape: tuple[int, ...], work_each: int) -> None:
        """The shape that the next node gives, where each value costs so many steps.

        Raises:
            EarmarkError: too much of either.
        """
        self.shape = shape
        self.work += math.prod(shape) * work_each
        if math.prod(shape) > MAX_VALUES or self.work > MAX_WORK:
            raise EarmarkError(f"{self.source} needs too much memory or time for a window: use a smaller model.")

    def weight(self, layer: _Layer, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        name = f"{layer.name}/{name}"
        if name in self.used or name not in self.weights:
            problem = "twice the same" if name in self.used else "no"
            raise EarmarkError(f"{self.source} has {problem} weights {shown(name)}: save or download the model again.")
        self.used.add(name)
        weight = self.weights[name]
        if weight.shape != shape:
            message = f"{self.source} has weights {shown(name)} of shape {list(weight.shape)}, not {list(shape)}"
            raise EarmarkError(f"{message}: download the model again.")
        return weight.values()

    def image(self, layer: _Layer) -> tuple[int, int, int]:
        """Height, width and channels of what comes into the layer."""
        if len(self.shape) != 3:
            raise EarmarkError(f"{self.source} has the layer {shown(layer.name)} behind Flatten: put it before.")
        height, width, channels = self.shape
        return height, width, channels

    def refuse(self, layer: _Layer, option: str) -> EarmarkError:
        message = f"{self.source} has a layer {shown(layer.name)} whose {option} can't be converted"
        return EarmarkError(f"{message}: leave that option as it is by default.")


def _convolution(network: _Network, layer: _Layer) -> None:
    """Conv2D: kernel [height, width, inputs, outputs]."""
    inputs, outputs, size = network.image(layer)[2], _count(layer, "filters"), layer.pair("kernel_size")
    if layer.config.get("groups", 1) != 1:
        raise network.refuse(layer, "groups")
    kernel = network.weight(layer, "kernel", (*size, inputs, outputs))
    _convolve(network, layer, kernel.transpose(3, 2, 0, 1), groups=1)


def _depthwise_convolution(network: _Network, layer: _Layer) -> None:
    """DepthwiseConv2D: kernel [height, width, inputs, multiplier]; each input gives so many outputs, in a row."""
    inputs, multiplier, size = network.image(layer)[2], _count(layer, "depth_multiplier", 1), layer.pair("kernel_size")
    kernel = network.weight(layer, "depthwise_kernel", (*size, inputs, multiplier))
    _convolve(network, layer, kernel.transpose(2, 3, 0, 1).reshape(inputs * multiplier, 1, *size), groups=inputs)


def _convolve(network: _Network, layer: _Layer, kernel: npt.NDArray[np.float32], groups: int) -> None:
    """Convolution by a kernel [outputs, inputs of each group, height, width], bias and activation."""
    outputs, inputs, *size = kernel.shape
    strides, dilations = layer.pair("strides"), layer.pair("dilation_rate")
    reach = tuple((taps - 1) * apart + 1 for taps, apart in zip(size, dilations, strict=True))
    sizes, pads = _slide(network, layer, reach, strides)
    constants = [network.keep("kernel", kernel), *_bias(network, layer, outputs)]
    network.become((*sizes, outputs), inputs * math.prod(size))
    network.add("Conv", constants, kernel_shape=size, strides=strides, dilations=dilations, pads=pads, group=groups)
    _activate(network, layer, layer.config.get("activation"))


def _max_pooling(network: _Network, layer: _Layer) -> None:
    size = layer.pair("pool_size", (2, 2))
    strides = layer.pair("strides", size)
    channels = network.image(layer)[2]
    sizes, pads = _slide(network, layer, size, strides)
    network.become((*sizes, channels), math.prod(size))
    network.add("MaxPool", kernel_shape=size, strides=strides, pads=pads)


def _flatten(network: _Network, layer: _Layer) -> None:  # noqa: ARG001 (one signature for all)
    """The values of the image in TensorFlow.js' order: channels last."""
    if len(network.shape) == 3:
        network.add("Transpose", perm=[0, 2, 3, 1])
        network.add("Flatten")
        network.shape = (math.prod(network.shape),)


def _dense(network: _Network, layer: _Layer) -> None:
    """Dense: kernel [inputs, outputs]."""
    if len(network.shape) != 1:
        raise EarmarkError(f"{network.source} has the dense layer {shown(layer.name)} before Flatten: put it behind.")
    (inputs,), outputs = network.shape, _count(layer, "units")
    if network.dense_layers > 0:
        network.embedding = (network.value, inputs)
    network.dense_layers += 1
    kernel = network.weight(layer, "kernel", (inputs, outputs))
    constants = [network.keep("kernel", kernel), *_bias(network, layer, outputs)]
    network.become((outputs,), inputs)
    network.add("Gemm", constants)
    _activate(network, layer, layer.config.get("activation"))


def _activation(network: _Network, layer: _Layer) -> None:
    _activate(network, layer, layer.config["activation"])


def _relu(network: _Network, layer: _Layer) -> None:
    plain = {"max_value": None, "negative_slope": 0, "threshold": 0}
    for option, value in plain.items():
        if layer.config.get(option, value) not in (None, value):
            raise network.refuse(layer, option)
    _activate(network, layer, "relu")


def _softmax(network: _Network, layer: _Layer) -> None:
    """Softmax over the channels or values, the last axis; counted from the batch, TensorFlow.js writes 1 for values."""
    if layer.config.get("axis") not in (None, -1, len(network.shape)):
        raise network.refuse(layer, "axis")
    _activate(network, layer, "softmax")


def _nothing(network: _Network, layer: _Layer) -> None:
    """What only matters while a model learns."""


LAYERS: dict[str, Callable[[_Network, _Layer], None]] = {
    "InputLayer": _nothing,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise_convolution,
    "MaxPooling2D": _max_pooling,
    "Flatten": _flatten,
    "Dense": _dense,
    "Dropout": _nothing,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
}


def _activate(network: _Network, layer: _Layer, activation: object) -> None:
    if activation not in (None, "linear", *ACTIVATIONS):
        known = ", ".join(("linear", *ACTIVATIONS))
        raise EarmarkError(
            f"{network.source} has a layer {shown(layer.name)} with the activation {shown(activation)}, which can't be "
            f"converted: use {known}."
        )
    if activation in ACTIVATIONS:
        # The channels, which are last in TensorFlow.js, or the values.
        axis = {"axis": 1} if activation == "softmax" else {}
        network.become(network.shape, work_each=1)
        network.add(ACTIVATIONS[activation], [], **axis)
    network.gives_probabilities = activation in ("sigmoid", "softmax")


def _slide(
    network: _Network, layer: _Layer, reach: tuple[int, ...], strides: tuple[int, int]
) -> tuple[tuple[int, int], list[int]]:
    """Height and width after a kernel of that reach has slid over the image, and zeros before and after each side.

    "same" pads so that a stride of s leaves ⌈size / s⌉; where the padding is odd, the end has one more (Keras).
    """
    padding = layer.config.get("padding", "valid")
    if padding not in ("same", "valid"):
        raise network.refuse(layer, "padding")
    made, before, after = [], [], []
    for size, wide, stride in zip(network.image(layer)[:2], reach, strides, strict=True):
        count = -(-size // stride) if padding == "same" else (size - wide) // stride + 1
        missing = max(0, (count - 1) * stride + wide - size) if padding == "same" else 0
        if count < 1:
            raise EarmarkError(f"{network.source} leaves the layer {shown(layer.name)} no frames: use a longer window.")
        made.append(count)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return (made[0], made[1]), [*before, *after]


def _bias(network: _Network, layer: _Layer, outputs: int) -> list[str]:
    if not layer.config.get("use_bias", True):
        return []
    return [network.keep("bias", network.weight(layer, "bias", (outputs,)))]


def _count(layer: _Layer, option: str, default: int | None = None) -> int:
    count = layer.config.get(option, default)
    if type(count) is not int or not 0 < count <= MAX_VALUES:
        raise ValueError(option)
    return count


def _root(topology: Any, source: str) -> dict[str, Any]:
    """The outermost layer. Keras wraps it, TensorFlow.js doesn't."""
    root = topology.get("model_config", topology)
    if "node" in root:
        raise EarmarkError(f"{source} is a graph model, which has no layers: save it as a layers model.")
    if not isinstance(root, dict) or root.get("class_name") not in CHAINS:
        raise ValueError(root)
    return root


def _unfold(chain: dict[str, Any], source: str) -> list[_Layer]:
    """All layers in their order, those of nested chains in place of these.

    Raises:
        EarmarkError: too many, or no chain.
    """
    layers: list[_Layer] = []
    waiting = [chain]
    while waiting:
        entry = waiting.pop()
        kind, config = entry["class_name"], entry["config"]
        if kind in CHAINS:
            inner = config["layers"] if isinstance(config, dict) else config
            ordered = inner if kind == "Sequential" else _in_order(config, source)
            waiting += reversed(ordered)
        else:
            layers.append(_Layer(str(kind), str(config["name"]), config))
        if len(layers) + len(waiting) > MAX_LAYERS:
            raise EarmarkError(f"{source} has more than {MAX_LAYERS:,} layers: use a smaller model.")
    return layers


def _in_order(config: dict[str, Any], source: str) -> list[dict[str, Any]]:
    """The layers of a graph that is a chain: from one input to one output, each takes what the last one gives."""
    ((start, *_),), ((end, *_),) = config["input_layers"], config["output_layers"]
    next_layer: dict[str, dict[str, Any]] = {}
    first = None
    for layer in config["layers"]:
        if not layer["inbound_nodes"]:
            first = layer if layer["name"] == start else first
            continue
        inbound = [name for node in layer["inbound_nodes"] for name, *_ in node]
        if len(inbound) != 1 or inbound[0] in next_layer:
            raise EarmarkError(f"{source} branches at the layer {shown(layer['name'])}: only chains can be converted.")
        next_layer[inbound[0]] = layer
    if first is None:
        raise ValueError(start)
    ordered = [first]
    while ordered[-1]["name"] in next_layer:
        ordered.append(next_layer.pop(ordered[-1]["name"]))
    if len(ordered) != len(config["layers"]) or ordered[-1]["name"] != end:
        raise EarmarkError(f"{source} is no chain from one input to one output: only chains can be converted.")
    return ordered


def _window_frames(first: _Layer, source: str) -> int:
    """Frames of a window, from the input shape [any, frames, 232, 1]."""
    shape = first.config.get("batch_input_shape", first.config.get("batch_shape"))
    if not isinstance(shape, list) or len(shape) != 4 or shape[3] != 1:
        raise EarmarkError(f"{source} takes no spectrograms: use an audio model of speech-commands.")
    frames, bins = shape[1:3]
    if bins != BINS:
        raise EarmarkError(f"{source} takes {_number_text(bins)} frequency bins, not {BINS}: train one on {BINS}.")
    if type(frames) is not int or not 0 < frames <= MAX_WINDOW_FRAMES:
        raise EarmarkError(f"{source} takes windows of {_number_text(frames)} frames: use a fixed number of frames.")
    return frames


def _number_text(value: object) -> str:
    return str(value) if type(value) is int and abs(value) < 10**12 else "no fixed number of"
