"""ONNX's operations as layers of TensorFlow.js. Each function converts one kind; `OPERATIONS` lists them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from earmark.tfjs.layer_list import IMAGE, Array, LayerList, OnnxNode, WrittenValue

NO_EPSILON = 1e-12
SMALLEST = np.finfo(np.float32).tiny  # up to which a padding is zero
ACTIVATIONS = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Softmax": "softmax", "Tanh": "tanh", "Selu": "selu", "Softplus": "softplus",
    "Softsign": "softsign", "HardSigmoid": "hardSigmoid",
}  # fmt: skip
TAKE_ACTIVATIONS = ("Conv2D", "DepthwiseConv2D", "Dense")


def raise_to_floor(layers: LayerList, floor: float) -> WrittenValue:
    """Turn a normalized window into the one that the network takes: `metadata.FlooredNormalization`.

    This adds the floor, clips what is then below 0, and normalizes all values of the window.
    """
    window = layers.values["window"]
    frames, bins = window.shape
    made, flat = WrittenValue("", (1, frames, bins), IMAGE), WrittenValue("", (frames * bins,), (0,))
    point = {"kernel_size": [1, 1], "strides": [1, 1], "padding": "valid", "use_bias": True, "depth_multiplier": 1}
    weights = {"depthwise_kernel": np.ones((1, 1, 1, 1)), "bias": np.array([floor])}
    value = layers.add("DepthwiseConv2D", [window], made, weights, activation="relu", **point)
    value = layers.add("Flatten", [value], flat)
    value = _normalize(layers, value, np.ones(frames * bins), np.zeros(frames * bins), NO_EPSILON)
    return layers.add("Reshape", [value], window, target_shape=[frames, bins, 1])


def _reshape(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value = layers.given(node)
    shape = _resolved(layers.constant(node, 1).tolist(), value.shape)
    kept, places = ([axis for axis, size in enumerate(sizes) if size != 1] for sizes in (value.shape, shape))
    if [value.shape[axis] for axis in kept] == [shape[axis] for axis in places]:  # only axes of 1 come or go
        moved = dict(zip(kept, places, strict=True))
        sequence = [moved[axis] for axis in value.order if axis in moved]
        wanted = IMAGE if len(shape) == 3 else tuple(range(len(shape)))
        if sequence == [axis for axis in wanted if axis in places]:
            made = WrittenValue("", shape, wanted)
            if made.tfjs_shape == value.tfjs_shape:
                return WrittenValue(value.layer, shape, wanted)
            return layers.add("Reshape", [value], made, target_shape=list(made.tfjs_shape))
    value = layers.ordered(value, tuple(range(len(value.shape))))
    return layers.add("Reshape", [value], WrittenValue("", shape, tuple(range(len(shape)))), target_shape=list(shape))


def _resolved(target: list[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """A Reshape's target without the batch; 0 keeps a size and −1 stands for what is left (ONNX, Reshape)."""
    sizes = [shape[at] if size == 0 else size for at, size in enumerate(target[1:])]
    left = math.prod(shape) // max(1, math.prod(size for size in sizes if size != -1))
    return tuple(left if size == -1 else size for size in sizes)


def _transpose(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value = layers.given(node)
    axes = [axis - 1 for axis in node.get("perm", [])[1:]]
    order = tuple(axes.index(axis) for axis in value.order)
    return WrittenValue(value.layer, tuple(value.shape[axis] for axis in axes), order, value.held)


def _flatten(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value = layers.given(node)
    if len(value.shape) == 1:
        return value
    value = layers.ordered(value, tuple(range(len(value.shape))))
    return layers.add("Flatten", [value], WrittenValue("", (math.prod(value.shape),), (0,)))


def _convolution(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value, kernel = layers.image(node), layers.constant(node, 1)
    outputs, inputs_each, *size = kernel.shape
    strides, dilations = node.get("strides", [1, 1]), node.get("dilations", [1, 1])
    reach = [(taps - 1) * apart + 1 for taps, apart in zip(size, dilations, strict=True)]
    value, padding, sizes = _padded(layers, node, value, reach, strides)
    groups, inputs = node.get("group", 1), value.shape[0]
    has_bias = len(node.inputs) > 2
    bias = {"bias": layers.constant(node, 2)} if has_bias else {}
    config = {
        "kernel_size": size, "strides": strides, "dilation_rate": dilations, "padding": padding,
        "data_format": "channels_last", "activation": "linear", "use_bias": has_bias,
    }  # fmt: skip
    made = WrittenValue("", (outputs, *sizes), IMAGE)
    if groups == 1:
        weights = {"kernel": kernel.transpose(2, 3, 1, 0), **bias}
        return layers.add("Conv2D", [value], made, weights, filters=outputs, **config)
    if groups != inputs or inputs_each != 1:
        raise layers.refuse(node.proto)
    multiplier = outputs // inputs
    # TensorFlow.js takes no notice of this layer's dilation: the kernel gets zeros between its taps instead.
    spread = np.zeros((outputs, 1, *reach), np.float32)
    spread[:, :, :: dilations[0], :: dilations[1]] = kernel
    weights = {"depthwise_kernel": spread.reshape(inputs, multiplier, *reach).transpose(2, 3, 0, 1), **bias}
    config |= {"kernel_size": reach, "dilation_rate": [1, 1], "depth_multiplier": multiplier}
    return layers.add("DepthwiseConv2D", [value], made, weights, **config)


def _pooling(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value, size = layers.image(node), node.get("kernel_shape", None)
    strides = node.get("strides", [1, 1])
    plain = {"count_include_pad": 0, "ceil_mode": 0, "dilations": [1, 1]}
    if any(node.get(option, usual) != usual for option, usual in plain.items()):
        raise layers.refuse(node.proto)
    before = value
    value, padding, sizes = _padded(layers, node, value, size, strides)
    if value is not before:  # zeros would count: only "same" leaves out what it adds
        raise layers.refuse(node.proto)
    kind = {"MaxPool": "MaxPooling2D", "AveragePool": "AveragePooling2D"}[node.kind]
    config = {"pool_size": size, "strides": strides, "padding": padding, "data_format": "channels_last"}
    return layers.add(kind, [value], WrittenValue("", (value.shape[0], *sizes), IMAGE), **config)


def _padded(
    layers: LayerList, node: OnnxNode, value: WrittenValue, reach: Sequence[int], strides: Sequence[int]
) -> tuple[WrittenValue, str, tuple[int, ...]]:
    """The image to slide over, the name of the padding, and the height and width afterwards.

    Any padding other than none or Keras's "same" becomes a layer of its own.
    """
    pads = node.get("pads", [0, 0, 0, 0])
    if node.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise layers.refuse(node.proto)
    pairs = list(zip(pads[:2], pads[2:], strict=True))
    sizes, same = [], []
    for size, wide, stride, (before, after) in zip(value.shape[1:], reach, strides, pairs, strict=True):
        sizes.append((size + before + after - wide) // stride + 1)
        missing = max(0, (-(-size // stride) - 1) * stride + wide - size)
        same.append((missing // 2, missing - missing // 2))
    if not any(pads):
        return value, "valid", tuple(sizes)
    if pairs == same:
        return value, "same", tuple(sizes)
    return _zeros(layers, value, pairs), "valid", tuple(sizes)


def _zeros(layers: LayerList, value: WrittenValue, pairs: list[tuple[int, int]]) -> WrittenValue:
    """Add zeros before and after height and width."""
    height, width = (size + sum(pair) for size, pair in zip(value.shape[1:], pairs, strict=True))
    made = WrittenValue("", (value.shape[0], height, width), IMAGE)
    padding = [list(pair) for pair in pairs]
    return layers.add("ZeroPadding2D", [value], made, padding=padding, data_format="channels_last")


def _pad(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value, pads = layers.image(node), layers.constant(node, 1).tolist()
    filling = layers.constant(node, 2) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1)
    if (np.abs(filling) > SMALLEST).any() or any(pads[at] for at in (0, 1, 4, 5)):
        raise layers.refuse(node.proto)
    return _zeros(layers, value, [(pads[2], pads[6]), (pads[3], pads[7])])


def _global_pooling(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value = layers.image(node)
    if node.get("axes", None) != [2, 3] or node.get("keepdims", 1):
        raise layers.refuse(node.proto)
    kind = {"ReduceMean": "GlobalAveragePooling2D", "ReduceMax": "GlobalMaxPooling2D"}[node.kind]
    return layers.add(kind, [value], WrittenValue("", (value.shape[0],), (0,)), data_format="channels_last")


def _gemm(layers: LayerList, node: OnnxNode) -> WrittenValue:
    usual = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    if any(node.get(option, value) != value for option, value in usual.items()):
        raise layers.refuse(node.proto)
    kernel = layers.constant(node, 1)
    bias = layers.constant(node, 2) if len(node.inputs) > 2 else None
    return _dense(layers, layers.given(node), kernel.T if node.get("transB", 0) else kernel, bias)


def _matmul(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value, kernel = layers.given(node), layers.constant(node, 1)
    if kernel.ndim != 2:
        raise layers.refuse(node.proto)
    return _dense(layers, layers.ordered(value, tuple(range(len(value.shape)))), kernel, None)


def _dense(layers: LayerList, value: WrittenValue, kernel: Array, bias: Array | None) -> WrittenValue:
    """Add a dense layer on the last axis."""
    units = kernel.shape[1]
    weights = {"kernel": kernel} | ({} if bias is None else {"bias": bias})
    made = WrittenValue("", (*value.shape[:-1], units), value.order)
    return layers.add("Dense", [value], made, weights, units=units, activation="linear", use_bias=bias is not None)


def _sum(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value = layers.given(node)
    if node.inputs[1] in layers.constants:
        return _biased(layers, node, value)
    if len(layers.given(node, 1).shape) != len(value.shape):
        raise layers.refuse(node.proto)
    value, other = (layers.ordered(one, value.order) for one in (value, layers.given(node, 1)))
    made = WrittenValue("", np.broadcast_shapes(value.shape, other.shape), value.order)
    return layers.add("Add", [value, other], made)


def _biased(layers: LayerList, node: OnnxNode, value: WrittenValue) -> WrittenValue:
    """A dense layer's bias that is an operation of its own in ONNX."""
    bias = layers.constant(node, 1)
    entry = layers.last_of(value, ("Dense",), node.inputs[0])
    if entry is None or entry["config"]["use_bias"] or bias.shape != (value.shape[-1],):
        raise layers.refuse(node.proto)
    entry["config"]["use_bias"] = True
    at = next(at for at, (name, _) in enumerate(layers.weights) if name == f"{value.layer}/kernel")
    layers.weights.insert(at + 1, (f"{value.layer}/bias", np.ascontiguousarray(bias, "<f4")))
    return value


def _concatenation(layers: LayerList, node: OnnxNode) -> WrittenValue:
    first, *others = [layers.given(node, number) for number in range(len(node.inputs))]
    axis = node.get("axis", 1) - 1 if node.get("axis", 1) > 0 else len(first.shape) + node.get("axis", 1)
    parts = [layers.ordered(value, first.order) for value in (first, *others)]
    sizes = list(first.shape)
    sizes[axis] = sum(part.shape[axis] for part in parts)
    made = WrittenValue("", tuple(sizes), first.order)
    return layers.add("Concatenate", parts, made, axis=first.order.index(axis) + 1)


def _batch_normalization(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value = layers.given(node)
    value = layers.ordered(value, IMAGE if len(value.shape) == 3 else value.order)
    gamma, beta, mean, variance = (layers.constant(node, number) for number in range(1, 5))
    weights = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
    axis = value.order.index(0) + 1
    options = {"axis": axis, "epsilon": node.get("epsilon", 1e-5), "center": True, "scale": True, "momentum": 0.99}
    return layers.add("BatchNormalization", [value], value, weights, **options)


def _layer_normalization(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value = layers.given(node)
    if node.get("axis", -1) not in (-1, len(value.shape)):
        raise layers.refuse(node.proto)
    value = layers.ordered(value, tuple(range(len(value.shape))))
    gamma = layers.constant(node, 1)
    beta = layers.constant(node, 2) if len(node.inputs) > 2 else np.zeros_like(gamma)
    return _normalize(layers, value, gamma, beta, node.get("epsilon", 1e-5))


def _normalize(layers: LayerList, value: WrittenValue, gamma: Array, beta: Array, epsilon: float) -> WrittenValue:
    """Layer normalization over the last axis. TensorFlow.js 1.3, as in Teachable Machine, fails without a beta."""
    options = {"axis": -1, "epsilon": epsilon, "center": True, "scale": True}
    return layers.add("LayerNormalization", [value], value, {"gamma": gamma, "beta": beta}, **options)


def _direction(layers: LayerList, node: OnnxNode) -> WrittenValue:
    """A vector x of d values, scaled to length 1.

    No layer does that, but layer normalization does it for (x, −x): the mean of these 2d values is 0 and their variance
    is |x|² / d. So each value is put beside its negative, all are divided by the deviation times √d, and half the
    difference of each pair is taken.
    """
    value = layers.given(node)
    if len(value.shape) != 1 or node.get("p", 2) != 2:
        raise layers.refuse(node.proto)
    (size,) = value.shape
    point = {"kernel_size": [1, 1], "strides": [1, 1], "padding": "valid", "activation": "linear", "use_bias": False}
    pairs = np.tile(np.array([1, -1], np.float32), (1, 1, size, 1))
    value = layers.add("Reshape", [value], WrittenValue("", (size, 1, 1), IMAGE), target_shape=[1, 1, size])
    made = WrittenValue("", (2 * size, 1, 1), IMAGE)
    value = layers.add("DepthwiseConv2D", [value], made, {"depthwise_kernel": pairs}, depth_multiplier=2, **point)
    value = _normalize(layers, value, np.full(2 * size, size**-0.5), np.zeros(2 * size), NO_EPSILON)
    value = layers.add("Reshape", [value], WrittenValue("", (1, size, 2), IMAGE), target_shape=[size, 2, 1])
    half = np.array([0.5, -0.5], np.float32).reshape(1, 2, 1, 1)
    point["kernel_size"] = [1, 2]
    value = layers.add("Conv2D", [value], WrittenValue("", (1, size, 1), IMAGE), {"kernel": half}, filters=1, **point)
    return layers.add("Flatten", [value], WrittenValue("", (size,), (0,)))


def _product(layers: LayerList, node: OnnxNode) -> WrittenValue:
    """A vector times a number, as a filter with one tap."""
    value, factor = layers.given(node), layers.constant(node, 1)
    if len(value.shape) != 1 or factor.size != 1:
        raise layers.refuse(node.proto)
    (size,) = value.shape
    value = layers.add("Reshape", [value], WrittenValue("", (1, size, 1), IMAGE), target_shape=[size, 1, 1])
    point = {"kernel_size": [1, 1], "strides": [1, 1], "padding": "valid", "activation": "linear", "use_bias": False}
    kernel = {"kernel": factor.reshape(1, 1, 1, 1)}
    value = layers.add("Conv2D", [value], WrittenValue("", (1, size, 1), IMAGE), kernel, filters=1, **point)
    return layers.add("Flatten", [value], WrittenValue("", (size,), (0,)))


def _activation(layers: LayerList, node: OnnxNode) -> WrittenValue:
    value, activation = layers.given(node), ACTIVATIONS[node.kind]
    if node.kind == "HardSigmoid" and (round(node.get("alpha", 0.2), 6), node.get("beta", 0.5)) != (0.2, 0.5):
        raise layers.refuse(node.proto)
    if node.kind == "Softmax":  # over the last axis there
        axis = node.get("axis", -1)
        axis = axis - 1 if axis > 0 else len(value.shape) + axis
        rest = tuple(place for place in value.order if place != axis)
        value = layers.ordered(value, (*rest, axis))
    entry = layers.last_of(value, TAKE_ACTIVATIONS, node.inputs[0])
    if entry is not None and entry["config"]["activation"] == "linear":
        entry["config"]["activation"] = activation
        return value
    return layers.add("Activation", [layers.ordered(value, value.order)], value, activation=activation)


def _rectifier(layers: LayerList, node: OnnxNode) -> WrittenValue:
    """Rectifiers with a parameter."""
    value = layers.given(node)
    value = layers.ordered(value, value.order)
    if node.kind == "Clip":
        if layers.constant(node, 1) != 0:
            raise layers.refuse(node.proto)
        return layers.add("ReLU", [value], value, max_value=float(layers.constant(node, 2)))
    kind, usual = {"LeakyRelu": ("LeakyReLU", 0.01), "Elu": ("ELU", 1.0)}[node.kind]
    return layers.add(kind, [value], value, alpha=node.get("alpha", usual))


def _same(layers: LayerList, node: OnnxNode) -> WrittenValue:
    return layers.given(node)


OPERATIONS: dict[str, Callable[[LayerList, OnnxNode], WrittenValue]] = {
    "Add": _sum,
    "AveragePool": _pooling,
    "BatchNormalization": _batch_normalization,
    "Clip": _rectifier,
    "Concat": _concatenation,
    "Conv": _convolution,
    "Elu": _rectifier,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "Identity": _same,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _rectifier,
    "LpNormalization": _direction,
    "MatMul": _matmul,
    "MaxPool": _pooling,
    "Mul": _product,
    "Pad": _pad,
    "ReduceMax": _global_pooling,
    "ReduceMean": _global_pooling,
    "Reshape": _reshape,
    "Transpose": _transpose,
    **dict.fromkeys(ACTIVATIONS, _activation),
}
