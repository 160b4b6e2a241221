"""The layers of TensorFlow.js that take images, as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.tfjs.activations import activate
from earmark.tfjs.builder import LayerOutput, OnnxBuilder
from earmark.tfjs.graph import Layer
from earmark.tfjs.weights import shown

# What images are padded with. ONNX Runtime moves a padding by zeros into the pooling behind it, where what lies beyond
# the sides doesn't count (onnxruntime/core/optimizer/pad_fusion.cc, a mistake); it leaves any other value where it is.
NEARLY_ZERO = float(np.finfo(np.float32).tiny)


def convolution(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """Conv2D: kernel [height, width, inputs, outputs]."""
    inputs, outputs, size = network.image(layer, value)[2], layer.count("filters"), layer.pair("kernel_size")
    if layer.config.get("groups", 1) != 1:
        raise network.refuse(layer, "groups")
    kernel = network.weight(layer, "kernel", (*size, inputs, outputs))
    made = _convolve(network, layer, value, kernel.transpose(3, 2, 0, 1), network.bias(layer, outputs))
    return activate(network, layer, made, layer.config.get("activation"))


def depthwise_convolution(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """DepthwiseConv2D. TensorFlow.js ignores its dilation, so nobody knows what a dilated layer has learnt."""
    if layer.pair("dilation_rate") != (1, 1):
        raise network.refuse(layer, "dilation_rate")
    kernel = _depthwise_kernel(network, layer, value)
    made = _convolve(network, layer, value, kernel, network.bias(layer, len(kernel)), groups=value.shape[2])
    return activate(network, layer, made, layer.config.get("activation"))


def separable_convolution(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """SeparableConv2D: a depthwise convolution without bias, then a pointwise one, kernel [1, 1, inputs, outputs]."""
    depthwise, outputs = _depthwise_kernel(network, layer, value), layer.count("filters")
    pointwise = network.weight(layer, "pointwise_kernel", (1, 1, len(depthwise), outputs)).transpose(3, 2, 0, 1)
    made = _convolve(network, layer, value, depthwise, [], groups=value.shape[2])
    plain = replace(layer, config={"name": layer.name})
    made = _convolve(network, plain, made, pointwise, network.bias(layer, outputs))
    return activate(network, layer, made, layer.config.get("activation"))


def _depthwise_kernel(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> npt.NDArray[np.float32]:
    """A kernel [height, width, inputs, multiplier] in ONNX's layout; each input gives `multiplier` outputs in a row.

    TensorFlow.js doesn't store the multiplier of a SeparableConv2D; it follows from the weights.
    """
    inputs, size = network.image(layer, value)[2], layer.pair("kernel_size")
    multiplier = None if layer.config.get("depth_multiplier") is None else layer.count("depth_multiplier")
    kernel = network.weight(layer, "depthwise_kernel", (*size, inputs, multiplier))
    return kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *size)


def _convolve(
    network: OnnxBuilder,
    layer: Layer,
    value: LayerOutput,
    kernel: npt.NDArray[np.float32],
    bias: list[str],
    groups: int = 1,
) -> LayerOutput:
    """Convolution with a kernel [outputs, inputs of each group, height, width]."""
    outputs, _, *size = kernel.shape
    strides, dilations = layer.pair("strides"), layer.pair("dilation_rate")
    reach = tuple((taps - 1) * apart + 1 for taps, apart in zip(size, dilations, strict=True))
    sizes, pads = _slide(network, layer, value, reach, strides)
    shape = (*sizes, outputs)
    given = [value.name, network.keep("kernel", kernel), *bias]
    options = {"kernel_shape": size, "strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    return LayerOutput(network.add("Conv", given, **options), shape)


def pooling(operator: str, **attributes: int) -> Callable[[OnnxBuilder, Layer, LayerOutput], LayerOutput]:
    """MaxPooling2D, AveragePooling2D; they ignore what lies beyond the image's sides."""

    def pool(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
        size = layer.pair("pool_size", (2, 2))
        strides = layer.pair("strides", size)
        channels = network.image(layer, value)[2]
        sizes, pads = _slide(network, layer, value, size, strides)
        name = network.add(operator, [value.name], kernel_shape=size, strides=strides, pads=pads, **attributes)
        return LayerOutput(name, (*sizes, channels), value.is_share)

    return pool


def global_pooling(operator: str) -> Callable[[OnnxBuilder, Layer, LayerOutput], LayerOutput]:
    """GlobalMaxPooling2D, GlobalAveragePooling2D: one value for each channel."""

    def pool(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
        *_, channels = network.image(layer, value)
        if layer.config.get("keepdims") not in (None, False):
            raise network.refuse(layer, "keepdims")
        return LayerOutput(network.add(operator, [value.name], axes=[2, 3], keepdims=0), (channels,), value.is_share)

    return pool


def zero_padding(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """ZeroPadding2D: one number, [rows, columns] on both sides, or [[above, below], [left, right]]."""
    height, width, channels = network.image(layer, value)
    padding = layer.config.get("padding")
    padding = 1 if padding is None else padding
    rows, columns = padding if isinstance(padding, list) else (padding, padding)
    above, below = rows if isinstance(rows, list) else (rows, rows)
    left, right = columns if isinstance(columns, list) else (columns, columns)
    if not all(type(size) is int and size >= 0 for size in (above, below, left, right)):
        raise network.refuse(layer, "padding")
    shape = (height + above + below, width + left + right, channels)
    pads = network.keep("pads", np.array([0, 0, above, left, 0, 0, below, right], np.int64))
    zero = network.keep("zero", np.array(NEARLY_ZERO, np.float32))
    return LayerOutput(network.add("Pad", [value.name, pads, zero]), shape, value.is_share)


def _slide(
    network: OnnxBuilder, layer: Layer, value: LayerOutput, reach: tuple[int, ...], strides: tuple[int, int]
) -> tuple[tuple[int, int], list[int]]:
    """Height and width after a kernel of that extent has slid over the image, and the padding on each side.

    "same" pads so that a stride of s leaves ⌈size / s⌉; if the padding is odd, the end gets one more (Keras).
    """
    padding = layer.config.get("padding", "valid")
    if padding not in ("same", "valid"):
        raise network.refuse(layer, "padding")
    made, before, after = [], [], []
    for size, wide, stride in zip(network.image(layer, value)[:2], reach, strides, strict=True):
        count = -(-size // stride) if padding == "same" else (size - wide) // stride + 1
        missing = max(0, (count - 1) * stride + wide - size) if padding == "same" else 0
        if count < 1:
            raise EarmarkError(f"{network.source} leaves the layer {shown(layer.name)} no frames: use a longer window.")
        made.append(count)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return (made[0], made[1]), [*before, *after]
