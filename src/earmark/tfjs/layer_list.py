"""The layers of a TensorFlow.js model that is being written, and the layout of ONNX's values in it.

Images are [channels, height, width] in ONNX and [height, width, channels] in TensorFlow.js. Each value records the
order of its axes there, and axes are only moved if a layer needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

from earmark.errors import EarmarkError
from earmark.models.metadata import Metadata

Array = npt.NDArray[Any]
Json = dict[str, Any]

IMAGE = (1, 2, 0)  # where TensorFlow.js has the axes channels, height and width of ONNX: the channels last


@dataclass(frozen=True)
class WrittenValue:
    """A layer's output for one window.

    Attributes:
        layer: the layer's name.
        shape: the shape in ONNX.
        order: the axes in TensorFlow.js's order, each as its number in ONNX.
        held: the shape in TensorFlow.js, if that has additional axes of size 1; otherwise None.
    """

    layer: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    held: tuple[int, ...] | None = None

    @property
    def tfjs_shape(self) -> tuple[int, ...]:
        return self.held or tuple(self.shape[axis] for axis in self.order)


class OnnxNode:
    """An ONNX node with its attributes."""

    def __init__(self, node: NodeProto) -> None:
        self.proto, self.kind = node, node.op_type
        self.inputs = list(node.input)
        self._attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}

    def get(self, name: str, default: Any) -> Any:
        return self._attributes.get(name, default)


@dataclass
class LayerList:
    """The layers that have been added so far.

    Attributes:
        metadata: the model's metadata.
        constants: the ONNX file's constants.
        used_once: the ONNX values that only one node takes, along with any other output of the same layer.
        values: the counterparts of ONNX values in TensorFlow.js.
        entries: the layers as they stand in model.json.
        weights: the weights' names and values, in the order of the file.
    """

    metadata: Metadata
    constants: dict[str, Array] = field(default_factory=dict)
    used_once: set[str] = field(default_factory=set)
    values: dict[str, WrittenValue] = field(default_factory=dict)
    entries: list[Json] = field(default_factory=list)
    weights: list[tuple[str, Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = self.metadata.window_frames, self.metadata.front_end.values
        config = {"batch_input_shape": [None, *shape, 1], "dtype": "float32", "sparse": False, "name": "window"}
        self.entries.append({"class_name": "InputLayer", "name": "window", "config": config, "inbound_nodes": []})
        self.values["window"] = WrittenValue("window", shape, (0, 1), (*shape, 1))

    def refuse(self, node: NodeProto) -> EarmarkError:
        return EarmarkError(
            f"The model {self.metadata.name} has an operation {node.op_type} that TensorFlow.js' layers don't have in "
            "this form: export it to onnx."
        )

    def given(self, node: OnnxNode, number: int = 0) -> WrittenValue:
        """The node's input with that number."""
        if node.inputs[number] not in self.values:
            raise self.refuse(node.proto)
        return self.values[node.inputs[number]]

    def constant(self, node: OnnxNode, number: int) -> Array:
        if number >= len(node.inputs) or node.inputs[number] not in self.constants:
            raise self.refuse(node.proto)
        return self.constants[node.inputs[number]]

    def add(
        self,
        kind: str,
        given: Sequence[WrittenValue],
        made: WrittenValue,
        weights: dict[str, Array] | None = None,
        **config: Any,
    ) -> WrittenValue:
        """Add a layer; returns its output."""
        name = f"{kind.lower()}_{len(self.entries)}"
        config = {"name": name, "trainable": True, "dtype": "float32", **config}
        inbound = [[[value.layer, 0, 0, {}] for value in given]]
        self.entries.append({"class_name": kind, "name": name, "config": config, "inbound_nodes": inbound})
        for weight, array in (weights or {}).items():
            self.weights.append((f"{name}/{weight}", np.ascontiguousarray(array, "<f4")))
        return WrittenValue(name, made.shape, made.order, made.held)

    def last_of(self, value: WrittenValue, kinds: Sequence[str], used: str) -> Json | None:
        """The layer that gives a value, if it is of one of these kinds and nothing else takes the value."""
        entry = next(entry for entry in self.entries if entry["name"] == value.layer)
        return entry if entry["class_name"] in kinds and used in self.used_once else None

    def ordered(self, value: WrittenValue, order: tuple[int, ...]) -> WrittenValue:
        """The value, with its axes in that order."""
        if value.held is not None:
            made = WrittenValue("", value.shape, value.order)
            value = self.add("Reshape", [value], made, target_shape=list(made.tfjs_shape))
        if value.order == order:
            return value
        dims = [value.order.index(axis) + 1 for axis in order]  # counted from the batch
        return self.add("Permute", [value], WrittenValue("", value.shape, order), dims=dims)

    def image(self, node: OnnxNode) -> WrittenValue:
        value = self.given(node)
        if len(value.shape) != 3:
            raise self.refuse(node.proto)
        return self.ordered(value, IMAGE)

    def topology(self, output: str, weights_name: str) -> Json:
        config = {
            "name": "model",
            "layers": self.entries,
            "input_layers": [["window", 0, 0]],
            "output_layers": [[self.values[output].layer, 0, 0]],
        }
        described = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in self.weights]
        return {
            "format": "layers-model",
            "generatedBy": "Earmark",
            "convertedBy": None,
            "modelTopology": {
                "class_name": "Model",
                "config": config,
                "keras_version": "tfjs-layers 1.3.1",
                "backend": "tensor_flow.js",
            },
            "weightsManifest": [{"paths": [weights_name], "weights": described}],
        }
