"""A base and a head in one ONNX file, and the base's last layer, which may be fine-tuned with the head."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, load_model_from_string, numpy_helper

from earmark.models.metadata import Metadata
from earmark.models.onnx_writer import Dense, leading_to, model_file, opset_of, windows_of

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeadWeights:
    """A head: the embedding's direction (length 1) × scale → dense layers, with ReLU between them → softmax.

    Attributes:
        scale: the factor that the direction is multiplied by.
        layers: one dense layer, or two if the head has a hidden layer.
        tuned: the base's last layer, if that was trained too.
    """

    scale: float
    layers: tuple[Dense, ...]
    tuned: Dense | None = None


@dataclass(frozen=True)
class _LastLayer:
    """The dense layer, followed by ReLU, that gives the embedding: its node, and its weights as [outputs, inputs]."""

    node: NodeProto
    weights: Dense


def transfer_model(base: bytes, head: HeadWeights, metadata: Metadata) -> bytes:
    """The base's network up to its embedding, and the head: `window` → `scores`, `embedding`."""
    model = load_model_from_string(base)
    constants = _constants(model)
    nodes = leading_to("embedding", model)
    if head.tuned is not None:
        layer = _last_layer(model)
        assert layer is not None
        is_turned = _is_turned(layer.node)
        constants[layer.node.input[1]] = head.tuned.kernel if is_turned else np.ascontiguousarray(head.tuned.kernel.T)
        constants[layer.node.input[2]] = head.tuned.bias
    used = {name for node in nodes for name in node.input}
    constants = {name: constant for name, constant in constants.items() if name in used}
    nodes += _head_nodes(head, constants)
    size = head.layers[0].kernel.shape[1]
    outputs = {"scores": len(metadata.labels), "embedding": size}
    return model_file(nodes, constants, metadata, outputs, windows=windows_of(model), opset=opset_of(model))


def tunable_model(base: bytes, metadata: Metadata) -> tuple[bytes, Dense] | None:
    """The base without its last layer, and that layer. The embedding is then the layer's input.

    None if the embedding doesn't come from a dense layer with ReLU: only such a layer can be fine-tuned.
    """
    model = load_model_from_string(base)
    layer = _last_layer(model)
    if layer is None:
        return None
    nodes = leading_to(layer.node.input[0], model)
    nodes.append(helper.make_node("Identity", [layer.node.input[0]], ["embedding"]))
    used = {name for node in nodes for name in node.input}
    constants = {name: constant for name, constant in _constants(model).items() if name in used}
    without_labels = replace(metadata, labels=())
    size = layer.weights.kernel.shape[1]
    outputs = {"embedding": size}
    made = model_file(nodes, constants, without_labels, outputs, windows=windows_of(model), opset=opset_of(model))
    return made, layer.weights


def _head_nodes(head: HeadWeights, constants: dict[str, Array]) -> list[NodeProto]:
    constants["head/scale"] = np.array(head.scale, np.float32)
    nodes = [
        helper.make_node("LpNormalization", ["embedding"], ["head/direction"], axis=1, p=2),
        helper.make_node("Mul", ["head/direction", "head/scale"], ["head/0"]),
    ]
    for number, layer in enumerate(head.layers):
        constants[f"head/kernel_{number}"], constants[f"head/bias_{number}"] = layer.kernel, layer.bias
        given = [f"head/{number}", f"head/kernel_{number}", f"head/bias_{number}"]
        if number + 1 < len(head.layers):
            nodes.append(helper.make_node("Gemm", given, [f"head/hidden_{number}"], transB=1))
            nodes.append(helper.make_node("Relu", [f"head/hidden_{number}"], [f"head/{number + 1}"]))
        else:
            nodes.append(helper.make_node("Gemm", given, ["head/logits"], transB=1))
    return [*nodes, helper.make_node("Softmax", ["head/logits"], ["scores"], axis=1)]


def _constants(model: ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _last_layer(model: ModelProto) -> _LastLayer | None:
    made_by = {output: node for node in model.graph.node for output in node.output}
    node = made_by.get("embedding")
    while node is not None and node.op_type == "Identity":
        node = made_by.get(node.input[0])
    if node is None or node.op_type != "Relu":
        return None
    node = made_by.get(node.input[0])
    constants = _constants(model)
    if node is None or node.op_type != "Gemm" or not set(node.input[1:]) <= constants.keys() or len(node.input) != 3:
        return None
    kernel, bias = (constants[name] for name in node.input[1:])
    return _LastLayer(node, Dense(kernel if _is_turned(node) else kernel.T, bias))


def _is_turned(node: NodeProto) -> bool:
    """Whether the kernel is stored as [outputs, inputs]."""
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
