"""A TensorFlow.js model as an ONNX file that is being built: values, weights, nodes and their cost.

Images are [height, width, channels] in TensorFlow.js and [channels, height, width] in ONNX. Inside the ONNX file,
values with three axes have ONNX's order for images, and all others have TensorFlow.js's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

from earmark.errors import EarmarkError
from earmark.tfjs.graph import Layer
from earmark.tfjs.weights import Weight, shown


@dataclass(frozen=True)
class LayerOutput:
    """A layer's output.

    Attributes:
        name: the name of the ONNX value.
        shape: the shape for one window, in the order of TensorFlow.js: (height, width, channels) for an image.
        is_share: whether all values lie between 0 and 1.
    """

    name: str
    shape: tuple[int, ...]
    is_share: bool = False

    def axis(self, number: int) -> int:
        """The ONNX axis for an axis of TensorFlow.js; in both, the windows' axis counts as 0."""
        return (2, 3, 1)[number - 1] if len(self.shape) == 3 else number


@dataclass
class OnnxBuilder:
    """The ONNX nodes that have been added so far.

    Attributes:
        weights: the weights in the file.
        source: what to call the model in errors.
    """

    weights: Mapping[str, Weight]
    source: str
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _aliases: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Collect the names that weights may have besides `layer/kernel`.

        These are `layer/cell/kernel`, as TensorFlow.js allows, and `model/layer/kernel` if models are nested.
        """
        for name in self.weights:
            *first, second_last, last = ["", *name.split("/")]
            for alias in (f"{second_last}/{last}", "/".join([*first[1:], last])):
                self._aliases.setdefault(alias, set()).add(name)

    def add(self, operator: str, given: Sequence[str], **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        made = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, given, [made], **attributes))
        return made

    def keep(self, name: str, constant: npt.NDArray[Any]) -> str:
        name = f"{name}_{len(self.constants)}"
        self.constants[name] = constant
        return name

    def weight(self, layer: Layer, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.float32]:
        """A layer's weights, which no other layer may have. None in the shape stands for any size.

        Raises:
            EarmarkError: there are no such weights, or they have another shape or values that are not finite.
        """
        name = f"{layer.name}/{name}"
        known = {name} if name in self.weights else self._aliases.get(name, set())
        stored = next(iter(known)) if len(known) == 1 else None
        if stored is None or stored in self._used:
            problem = "no" if stored is None else "twice the same"
            raise EarmarkError(f"{self.source} has {problem} weights {shown(name)}: save or download the model again.")
        self._used.add(stored)
        weight = self.weights[stored]
        fits = len(weight.shape) == len(shape) and all(map(_fits, weight.shape, shape))
        if not fits:
            message = f"{self.source} has weights {shown(name)} of shape {list(weight.shape)}, not {list(shape)}"
            raise EarmarkError(f"{message}: download the model again.")
        return weight.values()

    def image(self, layer: Layer, value: LayerOutput) -> tuple[int, int, int]:
        """Height, width and channels of the input of a layer that needs an image."""
        if len(value.shape) != 3:
            message = f"{self.source} has the layer {shown(layer.name)} where there are no images any more"
            raise EarmarkError(f"{message}: put it before Flatten.")
        height, width, channels = value.shape
        return height, width, channels

    def channels_last(self, value: LayerOutput) -> str:
        """The value, in the order of TensorFlow.js."""
        return self.add("Transpose", [value.name], perm=[0, 2, 3, 1]) if len(value.shape) == 3 else value.name

    def channels_first(self, name: str, shape: tuple[int, ...]) -> LayerOutput:
        """A value in the order of TensorFlow.js, converted to the order that is used here."""
        return LayerOutput(self.add("Transpose", [name], perm=[0, 3, 1, 2]) if len(shape) == 3 else name, shape)

    def refuse(self, layer: Layer, option: str) -> EarmarkError:
        message = f"{self.source} has a layer {shown(layer.name)} whose {option} can't be converted"
        return EarmarkError(f"{message}: leave that option as it is by default.")

    def unfit(self, layer: Layer) -> EarmarkError:
        message = f"{self.source} gives the layer {shown(layer.name)} values of shapes that don't fit"
        return EarmarkError(f"{message}: save the model again.")

    def axis(self, layer: Layer, value: LayerOutput) -> int:
        """The layer's axis, counted from 1. In the file it may be negative, counted from the end, or a list of one.

        Raises:
            EarmarkError: there is no such axis, or it is the windows' axis.
        """
        axis, axes = layer.config.get("axis"), len(value.shape)
        if isinstance(axis, list) and len(axis) == 1:
            (axis,) = axis
        axis = -1 if axis is None else axis
        if type(axis) is not int or not (1 <= axis <= axes or -axes <= axis <= -1):
            raise self.refuse(layer, "axis")
        return axis if axis > 0 else axis + axes + 1

    def bias(self, layer: Layer, outputs: int) -> list[str]:
        """The name of the layer's bias, in a list, or no name if it has none."""
        if not layer.config.get("use_bias", True):
            return []
        return [self.keep("bias", self.weight(layer, "bias", (outputs,)))]


def _fits(size: int, wanted: int | None) -> bool:
    return wanted in (None, size)
