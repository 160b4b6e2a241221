"""The layers of TensorFlow.js as ONNX nodes. Each function adds one kind of layer; `LAYERS` and `MERGES` list them.

The layers do what they do in Keras (keras.io/api/layers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from onnx import helper

from earmark.errors import EarmarkError
from earmark.front_end.frames import SPECTROGRAM
from earmark.front_end.spectrogram import BINS
from earmark.labels import RESERVED_LABELS
from earmark.models.metadata import LONGEST_WORD_MS, MAX_WINDOW_FRAMES, Metadata, WindowNormalization
from earmark.models.onnx_writer import model_file
from earmark.tfjs.activations import activate, activation, elu, leaky_relu, relu, softmax
from earmark.tfjs.builder import LayerOutput, OnnxBuilder
from earmark.tfjs.graph import Layer, layers_in_order
from earmark.tfjs.images import (
    convolution,
    depthwise_convolution,
    global_pooling,
    pooling,
    separable_convolution,
    zero_padding,
)
from earmark.tfjs.weights import Weight, shown

NAME = "speech-commands"


def convert(
    topology: object,
    weights: Mapping[str, Weight],
    labels: tuple[str, ...],
    source: str,
    metadata: Metadata | None = None,
) -> bytes:
    """A model as an ONNX file: `window` [n, frames, 232], normalized → `scores` [n, labels], `embedding`.

    Args:
        topology: the `modelTopology` of a model.json.
        weights: the weights by name, like `layer/kernel`.
        labels: the labels in the order of the scores.
        source: what to call the model in errors.
        metadata: the model's metadata; None means that of a speech-commands model.

    Raises:
        EarmarkError: layers, shapes or weights can't be converted, or the metadata belongs to another model.
    """
    network = OnnxBuilder(weights, source)
    try:
        layers = layers_in_order(topology, source)
        frames = _window_frames(layers[0], source)
        plane = network.keep("plane", np.array([-1, 1, frames, BINS], np.int64))
        values = [LayerOutput(network.add("Reshape", ["window", plane]), (frames, BINS, 1))]
        for layer in layers:
            values.append(_apply(network, layer, [values[place] for place in layer.given]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        raise EarmarkError(f"{source} describes its layers in a way that can't be read: save it again.") from error
    if values[-1].shape != (len(labels),) or not values[-1].is_share:
        raise EarmarkError(f"{source} doesn't end in one score from 0 to 1 for each of its labels: train it again.")
    outputs = {"scores": values[-1]}
    if embedding := _embedding(layers, values[1:]):
        outputs["embedding"] = embedding
    for name, value in outputs.items():
        network.nodes.append(helper.make_node("Identity", [value.name], [name]))
    if metadata is None:
        # The labels of a speech-commands model are words; those of a Teachable Machine may be sounds that go on.
        longest = LONGEST_WORD_MS if set(RESERVED_LABELS) <= set(labels) else None
        metadata = Metadata(NAME, labels, frames, WindowNormalization(), longest_sound_ms=longest)
    if (metadata.labels, metadata.window_frames, metadata.front_end) != (labels, frames, SPECTROGRAM):
        raise EarmarkError(f"{source} says other things of itself than its labels and layers do: export it again.")
    sizes = {name: value.shape[0] for name, value in outputs.items()}
    return model_file(network.nodes, network.constants, metadata, sizes)


def _embedding(layers: Sequence[Layer], values: Sequence[LayerOutput]) -> LayerOutput | None:
    """The value that speech-commands trains a new head on: the output of the dense layer before the last layer.

    Its `createTransferModelFromBaseModel` goes back from the second-to-last layer to the first Dense. Here the last
    layer is the one that computes the scores, even if their activation is a layer of its own.
    """
    last = len(layers) - 1
    while last > 0 and layers[last].kind in FINISHING:
        last -= 1
    for layer, value in zip(reversed(layers[:last]), reversed(values[:last]), strict=True):
        if layer.kind == "Dense" and len(value.shape) == 1:
            return value
    return None


def _window_frames(first: Layer, source: str) -> int:
    """The number of frames in a window, from the input shape [any, frames, 232, 1]."""
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


def _apply(network: OnnxBuilder, layer: Layer, given: Sequence[LayerOutput]) -> LayerOutput:
    """Add a layer's nodes; returns the layer's output.

    Raises:
        EarmarkError: a layer, an option, a shape or weights can't be converted.
    """
    if layer.kind not in LAYERS and layer.kind not in MERGES:
        known = ", ".join(kind for kind in (*LAYERS, *MERGES) if LAYERS.get(kind) is not _nothing)
        raise EarmarkError(
            f"{network.source} has a layer {shown(layer.name)} of the kind {shown(layer.kind)}, which can't be "
            f"converted: use {known}."
        )
    if layer.config.get("data_format") not in (None, "channels_last", "channelsLast"):
        raise network.refuse(layer, "data_format")
    if layer.kind in LAYERS:
        (value,) = given
        return LAYERS[layer.kind](network, layer, value)
    if len({len(value.shape) for value in given}) != 1:
        raise network.unfit(layer)
    return MERGES[layer.kind](network, layer, given)


def _flatten(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:  # noqa: ARG001 (one signature for all)
    """Flatten: the values in TensorFlow.js's order."""
    if len(value.shape) == 1:
        return value
    return LayerOutput(
        network.add("Flatten", [network.channels_last(value)]), (math.prod(value.shape),), value.is_share
    )


def _reshape(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """Reshape; one size may be left open, with −1 or null."""
    count, target = math.prod(value.shape), layer.config["target_shape"]
    sizes = [-1 if size is None else size for size in target]
    if not 1 <= len(sizes) <= 3 or not all(type(size) is int and (size == -1 or size > 0) for size in sizes):
        raise network.refuse(layer, "target_shape")
    known = math.prod(size for size in sizes if size != -1)
    shape = tuple(count // known if size == -1 else size for size in sizes)
    if sizes.count(-1) > 1 or math.prod(shape) != count:
        message = (
            f"{network.source} has a layer {shown(layer.name)} whose target_shape doesn't fit the {count:,} values"
        )
        raise EarmarkError(f"{message} that it gets: save the model again.")
    sizes_name = network.keep("shape", np.array([-1, *shape], np.int64))
    name = network.add("Reshape", [network.channels_last(value), sizes_name])
    return replace(network.channels_first(name, shape), is_share=value.is_share)


def _permute(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """Permute: axis n of the output, counted from 1, is axis `dims[n]` of the input."""
    dims = layer.config["dims"]
    if sorted(dims) != list(range(1, len(value.shape) + 1)):
        raise network.unfit(layer)
    made = replace(value, shape=tuple(value.shape[axis - 1] for axis in dims))
    order = [0] * len(dims)
    for number, axis in enumerate(dims, 1):
        order[made.axis(number) - 1] = value.axis(axis)
    return replace(made, name=network.add("Transpose", [value.name], perm=[0, *order]))


def _dense(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """Dense, along the last axis: kernel [inputs, outputs]."""
    *places, inputs = value.shape
    outputs = layer.count("units")
    kernel = network.keep("kernel", network.weight(layer, "kernel", (inputs, outputs)))
    bias = network.bias(layer, outputs)
    shape = (*places, outputs)
    if places:
        name = network.add("MatMul", [network.channels_last(value), kernel])
        name = network.add("Add", [name, *bias]) if bias else name
        made = network.channels_first(name, shape)
    else:
        made = LayerOutput(network.add("Gemm", [value.name, kernel, *bias]), shape)
    return activate(network, layer, made, layer.config.get("activation"))


def _batch_normalization(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """BatchNormalization, along any axis; in ONNX it is along axis 1."""
    axis = value.axis(network.axis(layer, value))
    gamma, beta = _scale_and_center(network, layer, value)
    mean, variance = (network.weight(layer, name, gamma.shape) for name in ("moving_mean", "moving_variance"))
    epsilon = layer.number("epsilon", 1e-3)
    if not (variance + np.float32(epsilon) > 0).all():
        name = shown(f"{layer.name}/moving_variance")
        raise EarmarkError(f"{network.source} has weights {name} that are no variances: train it again.")
    swapped = list(range(len(value.shape) + 1))
    swapped[1], swapped[axis] = axis, 1
    name = value.name if axis == 1 else network.add("Transpose", [value.name], perm=swapped)
    arrays = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    given = [name, *(network.keep(name, array) for name, array in arrays.items())]
    name = network.add("BatchNormalization", given, epsilon=epsilon)
    return LayerOutput(name if axis == 1 else network.add("Transpose", [name], perm=swapped), value.shape)


def _layer_normalization(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """LayerNormalization along the last axis."""
    epsilon = layer.number("epsilon", 1e-3)
    if network.axis(layer, value) != len(value.shape):
        raise network.refuse(layer, "axis")
    if epsilon <= 0:
        raise network.refuse(layer, "epsilon")
    gamma, beta = _scale_and_center(network, layer, value)
    given = [network.channels_last(value), network.keep("gamma", gamma), network.keep("beta", beta)]
    name = network.add("LayerNormalization", given, axis=-1, epsilon=epsilon)
    return network.channels_first(name, value.shape)


def _scale_and_center(
    network: OnnxBuilder, layer: Layer, value: LayerOutput
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """gamma and beta along the layer's axis; 1 and 0 if the layer has none."""
    shape = (value.shape[network.axis(layer, value) - 1],)
    gamma, beta = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    if layer.config.get("scale", True):
        gamma = network.weight(layer, "gamma", shape)
    if layer.config.get("center", True):
        beta = network.weight(layer, "beta", shape)
    return gamma, beta


def _nothing(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:  # noqa: ARG001 (one signature for all)
    """A layer that only matters in training."""
    return value


def _add(network: OnnxBuilder, layer: Layer, values: Sequence[LayerOutput]) -> LayerOutput:
    """Add; an axis of size 1 is broadcast."""
    made = values[0]
    for value in values[1:]:
        try:
            shape = np.broadcast_shapes(made.shape, value.shape)
        except ValueError as error:
            raise network.unfit(layer) from error
        made = LayerOutput(network.add("Add", [made.name, value.name]), shape)
    return made


def _concatenate(network: OnnxBuilder, layer: Layer, values: Sequence[LayerOutput]) -> LayerOutput:
    axis = network.axis(layer, values[0])
    first = values[0].shape
    if any(value.shape[: axis - 1] + value.shape[axis:] != first[: axis - 1] + first[axis:] for value in values):
        raise network.unfit(layer)
    shape = (*first[: axis - 1], sum(value.shape[axis - 1] for value in values), *first[axis:])
    name = network.add("Concat", [value.name for value in values], axis=values[0].axis(axis))
    return LayerOutput(name, shape, all(value.is_share for value in values))


LAYERS: dict[str, Callable[[OnnxBuilder, Layer, LayerOutput], LayerOutput]] = {
    "InputLayer": _nothing,
    "Conv2D": convolution,
    "DepthwiseConv2D": depthwise_convolution,
    "SeparableConv2D": separable_convolution,
    "MaxPooling2D": pooling("MaxPool"),
    "AveragePooling2D": pooling("AveragePool", count_include_pad=0),
    "GlobalMaxPooling2D": global_pooling("ReduceMax"),
    "GlobalAveragePooling2D": global_pooling("ReduceMean"),
    "ZeroPadding2D": zero_padding,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "Dense": _dense,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Activation": activation,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "ELU": elu,
    "Softmax": softmax,
    "Dropout": _nothing,
    "SpatialDropout1D": _nothing,
    "SpatialDropout2D": _nothing,
    "AlphaDropout": _nothing,
    "GaussianDropout": _nothing,
    "GaussianNoise": _nothing,
    "ActivityRegularization": _nothing,
}
MERGES: dict[str, Callable[[OnnxBuilder, Layer, Sequence[LayerOutput]], LayerOutput]] = {
    "Add": _add,
    "Concatenate": _concatenate,
}
FINISHING = (
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Softmax",
    *(kind for kind in LAYERS if LAYERS[kind] is _nothing),
)
