"""The activations of TensorFlow.js as ONNX nodes, whether fused into layers or layers of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from earmark.errors import EarmarkError
from earmark.tfjs.builder import LayerOutput, OnnxBuilder
from earmark.tfjs.graph import Layer, snake_case
from earmark.tfjs.weights import shown

# Keras' name → the ONNX operator and its attributes. hard_sigmoid is TensorFlow.js'; Keras 3 has a steeper one.
ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "linear": ("Identity", {}),
    "relu": ("Relu", {}),
    "relu6": ("Clip", {}),
    "elu": ("Elu", {}),
    "selu": ("Selu", {}),
    "sigmoid": ("Sigmoid", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
    "softmax": ("Softmax", {}),
}
SHARES = ("sigmoid", "hard_sigmoid", "softmax")  # what they give lies between 0 and 1


def activate(network: OnnxBuilder, layer: Layer, value: LayerOutput, activation: object) -> LayerOutput:
    """Add an activation that is fused into a layer, by its name; TensorFlow.js accepts `hardSigmoid`, too."""
    name = "linear" if activation is None else snake_case(str(activation))
    if name not in ACTIVATIONS:
        raise EarmarkError(
            f"{network.source} has a layer {shown(layer.name)} with the activation {shown(activation)}, which can't be "
            f"converted: use {', '.join(ACTIVATIONS)}."
        )
    if name == "linear":
        return value
    operator, attributes = ACTIVATIONS[name]
    if name == "relu6":
        return LayerOutput(_clip(network, value, 6), value.shape)
    options: dict[str, Any] = attributes
    if name == "softmax":  # the channels, which are last in TensorFlow.js, or the values
        options = {"axis": value.axis(len(value.shape))}
    return LayerOutput(network.add(operator, [value.name], **options), value.shape, name in SHARES)


def activation(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    return activate(network, layer, value, layer.config["activation"])


def relu(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """ReLU, with an upper limit if it has a max_value."""
    for option in ("negative_slope", "threshold"):
        if layer.config.get(option) not in (None, 0):
            raise network.refuse(layer, option)
    if layer.config.get("max_value") is None:
        return activate(network, layer, value, "relu")
    highest = layer.number("max_value", 0)
    if highest < 0:
        raise network.refuse(layer, "max_value")
    return LayerOutput(_clip(network, value, highest), value.shape)


def leaky_relu(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    return LayerOutput(network.add("LeakyRelu", [value.name], alpha=layer.number("alpha", 0.3)), value.shape)


def elu(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    return LayerOutput(network.add("Elu", [value.name], alpha=layer.number("alpha", 1)), value.shape)


def softmax(network: OnnxBuilder, layer: Layer, value: LayerOutput) -> LayerOutput:
    """Softmax along the last axis, the only one that TensorFlow.js has."""
    if network.axis(layer, value) != len(value.shape):
        raise network.refuse(layer, "axis")
    return activate(network, layer, value, "softmax")


def _clip(network: OnnxBuilder, value: LayerOutput, highest: float) -> str:
    limits = [network.keep(name, np.array(limit, np.float32)) for name, limit in (("low", 0), ("high", highest))]
    return network.add("Clip", [value.name, *limits])
