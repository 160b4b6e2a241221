"""A graph that works its shapes out while it runs, made into one whose shapes are fixed.

Networks from elsewhere often frame the sound themselves: they ask for its length (`Shape`), compute how many frames it
has, and gather them by indices that they make (`Range`, `Tile`, `Expand`). For a window of fixed length all of that is
constant. So it is computed here, once, and what is left is reckoned like a network of our own: see `onnx_cost`.

Nothing of the graph runs that isn't bounded first: the shape of each constant is known before the constant is made, and
only operators that compute element by element, or move elements, are computed. They are those of the package onnx,
written in NumPy (`onnx.reference`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, load_model_from_string, numpy_helper
from onnx.defs import onnx_opset_version
from onnx.reference import ReferenceEvaluator

from earmark.models.onnx_cost import KnownValue, Operation, Reckon, Reckoned, Shape, reckon
from earmark.models.onnx_file import MAX_NODES, TYPES, Constant, Graph, Node, UnfitModelError

MOST_FOLDED = 1 << 23  # values of all constants that are computed together: 64 MiB at most
MOST_PIECES = 256  # that one `Split` makes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Folded:
    """A graph from one input to one value, all of whose shapes are fixed.

    Attributes:
        nodes: the operations.
        constants: what they need besides the input, by name.
        shape: the value's shape.
        kind: the type of its numbers, a key of `onnx_file.TYPES`.
        opset: the version of ONNX's operators that the nodes are written for.
    """

    nodes: list[NodeProto]
    constants: dict[str, Array]
    shape: Shape
    kind: int
    opset: int


def fold_graph(model: bytes, graph: Graph, shape: Shape, output: str) -> Folded:
    """Fold the part of a graph that leads from its only input to a value.

    Args:
        model: the ONNX file's content.
        graph: what `read_graph` has read of it.
        shape: the fixed shape of the input.
        output: the name of the value: an output, or one within.

    Raises:
        UnfitModelError: an operation isn't supported, or doesn't fit that shape; the value doesn't depend on the input,
            or isn't there; or there is too much to compute.
    """
    (given,) = graph.inputs
    if graph.opset > onnx_opset_version():
        raise UnfitModelError(f"needs version {graph.opset} of ONNX's operators, which the package onnx doesn't know")
    loaded = load_model_from_string(model)
    folding = _Folding(loaded, graph, shape)
    for number in _leading_to(output, graph):
        folding.fold(graph.nodes[number], loaded.graph.node[number])
    if output == given or output not in folding.values or output in folding.known:
        raise UnfitModelError(f"has no value {output[:60]!a} that depends on what it is given")
    nodes = folding.nodes
    used = {name for node in nodes for name in node.input}
    constants = {name: folding.constant(name) for name in used if name in folding.known or name in graph.constants}
    made = folding.values[output]
    return Folded(nodes, constants, made.shape, made.kind, graph.opset)


class _Folding:
    """The walk through a graph.

    Attributes:
        values: what is known of each value so far.
        known: the values that were computed.
        nodes: the operations that are left.
    """

    def __init__(self, model: ModelProto, graph: Graph, shape: Shape) -> None:
        self._graph, self._window, self._opset = graph, shape[1:], graph.opset
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.values: dict[str, KnownValue] = {graph.inputs[0]: KnownValue(shape)}
        self.values |= {name: _known_constant(constant) for name, constant in graph.constants.items()}
        self.known: dict[str, Array] = {}
        self.nodes: list[NodeProto] = []
        self._budget = MOST_FOLDED

    def fold(self, node: Node, proto: NodeProto) -> None:
        """Compute the node if all that it takes is known; otherwise keep it.

        Args:
            node, proto: the same node, as our own reader has read it and as the package onnx has.
        """
        if (node.kind, node.takes, node.makes) != (proto.op_type, tuple(proto.input), tuple(proto.output)):
            raise UnfitModelError("is read in two ways")
        if node.kind == "Split":
            self._split(node)
            return
        node = _without_extras(node)
        if node.kind in ("Shape", "Size"):
            self._measure(node)
            return
        is_known = all(not name or self._is_known(name) for name in node.takes)
        if is_known and node.kind == "Range":
            self._count(node, proto)
            return
        made, steps, _ = reckon(node, self.values, self._window, VALUE_OPERATORS if is_known else None)
        name, cost = node.makes[0], max(made.size, steps)
        if is_known and node.kind in FOLDABLE and (cost <= self._budget or node.kind in VALUE_OPERATORS):
            self._spend(0 if node.kind == "Constant" else cost)
            self._keep(name, self._compute(node, proto, made))
            return
        self.values[name] = made
        kept = NodeProto.FromString(proto.SerializeToString())
        kept.op_type = node.kind
        del kept.output[1:]
        if node.kind != proto.op_type:
            del kept.attribute[:], kept.input[1:]
        self.nodes.append(kept)

    def constant(self, name: str) -> Array:
        """A constant of the file, or one that was computed."""
        if name not in self.known:
            return np.asarray(numpy_helper.to_array(self._tensors[name]))
        return self.known[name]

    def _is_known(self, name: str) -> bool:
        return name in self.known or name in self._graph.constants

    def _keep(self, name: str, value: Array) -> None:
        self.known[name] = value
        self.values[name] = _known(value)

    def _spend(self, values: int) -> None:
        self._budget -= values
        if self._budget < 0:
            raise UnfitModelError("computes too much of its own shape")

    def _measure(self, node: Node) -> None:
        (given,), (made,) = node.takes, node.makes
        if given not in self.values or made in self.values:
            raise UnfitModelError(f"has an operation {node.kind} that makes none or more than one value")
        shape = self.values[given].shape
        if node.kind == "Size":
            self._keep(made, np.array(math.prod(shape), np.int64))
            return
        start, end = (node.options.get(name, default) for name, default in (("start", 0), ("end", len(shape))))
        if not (type(start) is type(end) is int):
            raise UnfitModelError("has an operation Shape that isn't as it should be")
        self._keep(made, np.array(shape[start:end], np.int64))

    def _count(self, node: Node, proto: NodeProto) -> None:
        """A `Range`, of whole numbers or of others."""
        try:
            start, limit, delta = (float(self.constant(name)) for name in node.takes)
            count = max(0, math.ceil((limit - start) / delta))
        except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
            raise UnfitModelError("has an operation Range that isn't as it should be") from error
        self._spend(count)
        made = KnownValue((count,), self.values[node.takes[0]].kind)
        if node.makes[0] in self.values:
            raise UnfitModelError("has two values of one name")
        self._keep(node.makes[0], self._compute(node, proto, made))

    def _split(self, node: Node) -> None:
        """A `Split` makes several values, which no other operator does: a `Slice` for each."""
        given = self.values.get(node.takes[0] if node.takes else "")
        axis = node.options.get("axis", 0)
        if given is None or type(axis) is not int or not -len(given.shape) <= axis < len(given.shape):
            raise UnfitModelError("has an operation Split that doesn't fit what it is given")
        size, count = given.shape[axis], len(node.makes)
        sizes = node.options.get("split")
        if len(node.takes) > 1 and node.takes[1]:
            sizes = self.values[node.takes[1]].integers if node.takes[1] in self.values else ()
        if sizes is None:
            each = -(-size // max(1, count))
            sizes = [min(each, size - at * each) for at in range(count)]
        if not 0 < count <= MOST_PIECES or len(sizes) != count or min(sizes) < 1 or sum(sizes) != size:
            raise UnfitModelError("has an operation Split that doesn't fit what it is given")
        if len(self.nodes) + count > MAX_NODES:
            raise UnfitModelError(f"has more than {MAX_NODES:,} operations")
        start = 0
        for made, part in zip(node.makes, sizes, strict=True):
            bounds = [f"{made}/{what}" for what in ("start", "end", "axis")]
            for name, value in zip(bounds, (start, start + part, axis), strict=True):
                if name in self.values:
                    raise UnfitModelError("has two values of one name")
                self._keep(name, np.array([value], np.int64))
            proto = helper.make_node("Slice", [node.takes[0], *bounds], [made])
            self.fold(Node("Slice", (node.takes[0], *bounds), (made,), {}), proto)
            start += part

    def _compute(self, node: Node, proto: NodeProto, made: KnownValue) -> Array:
        given = {name: self.constant(name) for name in node.takes if name}
        if node.kind in ("Div", "Mod") and given[node.takes[1]].dtype.kind in "iu" and not given[node.takes[1]].all():
            raise UnfitModelError("divides a whole number by 0")
        if node.kind == "Identity":
            return given[node.takes[0]]
        try:
            with np.errstate(all="ignore"):
                (value,) = ReferenceEvaluator(proto, {"": self._opset}).run(None, given)
            value = np.asarray(value)
            if value.shape != made.shape or value.dtype != TYPES[made.kind]:
                raise ValueError(value.shape)
        except Exception as error:  # the operators of onnx.reference have no error of their own
            raise UnfitModelError(f"has an operation {node.kind} that can't be computed") from error
        return value


def _leading_to(output: str, graph: Graph) -> list[int]:
    """The numbers of the nodes that a value depends on, in order."""
    needed, numbers = {output}, []
    for number in reversed(range(len(graph.nodes))):
        node = graph.nodes[number]
        if needed & set(node.makes):
            needed |= set(node.takes)
            numbers.append(number)
    return numbers[::-1]


def _without_extras(node: Node) -> Node:
    """What doesn't do anything outside of a training does nothing; of two values only the first is used."""
    if node.kind == "Dropout":
        return Node("Identity", node.takes[:1], node.makes[:1], {})
    return node


def _known_constant(constant: Constant) -> KnownValue:
    return KnownValue(constant.shape, constant.kind, constant.integers() if len(constant.shape) < 2 else None)


def _known(value: Array) -> KnownValue:
    kind = next(kind for kind, known in TYPES.items() if known == value.dtype)
    is_list = value.ndim < 2 and value.dtype.kind == "i"
    return KnownValue(value.shape, kind, value.ravel().tolist() if is_list else None)


# Operators whose output's shape follows from values; those are known where they are used.


def _filled(operation: Operation) -> Reckoned:
    sizes, value = operation.constants(0), operation.node.options.get("value")
    if any(size < 0 for size in sizes):
        raise ValueError(sizes)
    made = KnownValue(tuple(sizes), value.kind if isinstance(value, Constant) else 1)
    return made, made.size, 0


def _alike(operation: Operation) -> Reckoned:
    made = KnownValue(operation.value().shape, operation.value().kind)
    return made, made.size, 0


def _logical(operation: Operation) -> Reckoned:
    shapes = (operation.value(at).shape for at in range(len(operation.given)))
    made = KnownValue(np.broadcast_shapes(*shapes), 9)
    return made, made.size, 0


def _both(operation: Operation) -> Reckoned:
    first, second = operation.value(0), operation.value(1)
    made = KnownValue(np.broadcast_shapes(first.shape, second.shape), first.kind)
    return made, made.size, 0


VALUE_OPERATORS: Mapping[str, Reckon] = {
    **dict.fromkeys(("And", "Not", "Or", "Xor"), _logical),
    # Of whole numbers, too, as not in `OPERATORS`: here it is looked first whether they are divided by 0.
    **dict.fromkeys(("Div", "Mod"), _both),
    "ConstantOfShape": _filled,
    "CumSum": _alike,
}
FOLDABLE = frozenset({
    *VALUE_OPERATORS, "Abs", "Add", "Cast", "Ceil", "Concat", "Constant", "Cos", "Equal",
    "Exp", "Expand", "Flatten", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual",
    "Log", "Max", "Min", "Mul", "Neg", "Pad", "Pow", "Reciprocal", "ReduceMax", "ReduceMin",
    "ReduceProd", "ReduceSum", "Reshape", "Round", "Sign", "Sin", "Slice", "Sqrt", "Squeeze", "Sub", "Tile",
    "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
