"""What a network will cost, computed before it runs: the shape of every value, and the work of every operation.

It covers the operators that Earmark writes and others of the same sort, as the ONNX specification defines them
(onnx.ai/onnx/operators). Their output shapes follow from the shapes of their inputs and from constants. Other operators
are refused: those that derive shapes from values, that loop, or that draw random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.models.onnx_file import FLOATS, MAX_AXES, TYPES, Constant, Graph, Node, UnfitModelError

MAX_VALUES = 1 << 25  # that all operations together make of one window: 128 MiB of float32
MAX_WORK = 4 * 10**9  # multiply-adds and comparisons for one window; `speech` needs 0.1 billion
MAX_SCRATCH = 1 << 26  # values that one convolution may lay out beside its output
BATCH_VALUES = 1 << 29  # that all operations make of the windows that go through at once; few are kept at a time

Shape = tuple[int, ...]


@dataclass(frozen=True)
class KnownValue:
    """An input or output of an operation.

    Attributes:
        shape: the array's shape.
        kind: the type of its numbers, a key of `onnx_file.TYPES`.
        integers: all its values, if it is a constant of whole numbers.
    """

    shape: Shape
    kind: int = 1
    integers: Sequence[int] | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass
class Cost:
    """The cost of a network.

    Attributes:
        values: how many values all operations produce.
        work: how many steps they take: multiply-adds, comparisons.
        scratch: the most scratch values that one operation needs besides its output.
    """

    values: int = 0
    work: int = 0
    scratch: int = 0


def check_cost(graph: Graph, shape: Shape, most: int) -> int:
    """Check what a network costs for windows of that shape. Returns how many of them, up to `most`, may run at once.

    Raises:
        UnfitModelError: it costs too much for one window, or has operations that aren't supported.
    """
    one = cost_of(graph, (1, *shape))
    windows = max(1, min(most, BATCH_VALUES // max(1, one.values)))
    # What multiplies windows with one another grows faster than their number does.
    cost_of(graph, (windows, *shape))
    return windows


def cost_of(graph: Graph, shape: Shape) -> Cost:
    """What a network costs for an input of that shape.

    Raises:
        UnfitModelError: it costs too much, or has operations that aren't supported.
    """
    (given,) = graph.inputs
    return _walk(graph, {given: KnownValue(shape)}, shape)[0]


def shapes_of(graph: Graph, shape: Shape) -> dict[str, Shape]:
    """The shape of every value in the network, for an input of that shape.

    Raises:
        UnfitModelError: the network costs too much, or has operations that aren't supported.
    """
    (given,) = graph.inputs
    return {name: value.shape for name, value in _walk(graph, {given: KnownValue(shape)}, shape)[1].items()}


def _walk(graph: Graph, values: dict[str, KnownValue], shape: Shape) -> tuple[Cost, dict[str, KnownValue]]:
    values |= {name: _value(constant) for name, constant in graph.constants.items()}
    cost, windows = Cost(), shape[0]
    for node in graph.nodes:
        made, steps, scratch = reckon(node, values, shape[1:])
        values[node.makes[0]] = made
        cost.values += made.size
        cost.work += steps
        cost.scratch = max(cost.scratch, scratch)
        if (
            cost.values > min(MAX_VALUES * windows, BATCH_VALUES)
            or cost.work > MAX_WORK * windows
            or (cost.scratch > MAX_SCRATCH)
        ):
            raise UnfitModelError("needs too much memory or time for a window")
    return cost, values


def reckon(
    node: Node, values: Mapping[str, KnownValue], window: Shape, more: Mapping[str, Reckon] | None = None
) -> Reckoned:
    """What one operation makes of the values before it, the steps that it takes, and its scratch values.

    Args:
        node: the operation.
        values: the values before it, by name.
        window: the shape of a window, for errors.
        more: operators besides `OPERATORS`, or in their place.

    Raises:
        UnfitModelError: the operation isn't supported, or doesn't fit what it is given.
    """
    operator = (more or {}).get(node.kind) or OPERATORS.get(node.kind)
    if operator is None:
        raise UnfitModelError(f"has the operation {node.kind[:40]!a}, which Earmark doesn't run")
    if len(node.makes) != 1 or node.makes[0] in values or (not node.takes and node.kind != "Constant"):
        raise UnfitModelError(f"has an operation {node.kind} that makes none or more than one value")
    try:
        given = [values[name] if name else None for name in node.takes]
        made, steps, scratch = operator(Operation(node, given))
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise UnfitModelError(f"has an operation {node.kind} that doesn't fit windows of {window}") from error
    if len(made.shape) > MAX_AXES or any(size < 0 for size in made.shape):
        raise UnfitModelError(f"has an operation {node.kind} that makes an impossible shape")
    return made, steps, scratch


def _value(constant: Constant) -> KnownValue:
    return KnownValue(constant.shape, constant.kind, constant.integers() if len(constant.shape) < 2 else None)


@dataclass(frozen=True)
class Operation:
    """An operation and its inputs; None stands for an input that is left out."""

    node: Node
    given: Sequence[KnownValue | None]

    def value(self, number: int = 0) -> KnownValue:
        value = self.given[number]
        if value is None:
            raise ValueError(number)
        return value

    def has(self, number: int) -> bool:
        return number < len(self.given) and self.given[number] is not None

    def constants(self, number: int) -> Sequence[int]:
        """The values of an input that must be a constant list of whole numbers."""
        integers = self.value(number).integers
        if integers is None:
            raise ValueError(number)
        return integers

    def numbers(self, option: str, default: Sequence[int]) -> Sequence[int]:
        numbers = self.node.options.get(option, default)
        if not isinstance(numbers, (tuple, list)) or not all(type(number) is int for number in numbers):
            raise ValueError(option)
        return numbers

    def number(self, option: str, default: int) -> int:
        number = self.node.options.get(option, default)
        if type(number) is not int:
            raise ValueError(option)
        return number

    def axes(self, axes: Sequence[int], count: int) -> list[int]:
        """The axes, counted from 0; each may occur only once."""
        if not all(-count <= axis < count for axis in axes) or len({axis % count for axis in axes}) != len(axes):
            raise ValueError(axes)
        return [axis % count for axis in axes]


Reckoned = tuple[KnownValue, int, int]  # what is made, its steps, its scratch
Reckon = Callable[[Operation], Reckoned]


def _made(operation: Operation, shape: Sequence[int], steps_each: int = 1, scratch: int = 0) -> Reckoned:
    value = KnownValue(tuple(shape), operation.value().kind)
    return value, value.size * steps_each, scratch


def _same(operation: Operation) -> Reckoned:
    return _made(operation, operation.value().shape)


def _cast(operation: Operation) -> Reckoned:
    kind = operation.number("to", 0)
    if kind not in TYPES:
        raise ValueError(kind)
    value = KnownValue(operation.value().shape, kind)
    return value, value.size, 0


def _constant(operation: Operation) -> Reckoned:
    (name,) = operation.node.options
    option = operation.node.options[name]
    if name == "value" and isinstance(option, Constant):
        return _value(option), 0, 0
    if name in ("value_float", "value_int"):
        return KnownValue((), 7 if name == "value_int" else 1, (option,) if name == "value_int" else None), 0, 0
    if name in ("value_floats", "value_ints"):
        return (
            KnownValue((len(option),), 7 if name == "value_ints" else 1, option if name == "value_ints" else None),
            0,
            0,
        )
    raise ValueError(name)


def _broadcast(operation: Operation) -> Reckoned:
    return _made(operation, np.broadcast_shapes(*(operation.value(at).shape for at in range(len(operation.given)))))


def _quotient(operation: Operation) -> Reckoned:
    if operation.value().kind not in FLOATS:
        raise ValueError("a whole number divided by 0 ends the process")
    return _broadcast(operation)


def _compared(operation: Operation) -> Reckoned:
    made, steps, scratch = _broadcast(operation)
    return KnownValue(made.shape, 9), steps, scratch


def _where(operation: Operation) -> Reckoned:
    made, steps, scratch = _broadcast(operation)
    return KnownValue(made.shape, operation.value(1).kind), steps, scratch


def _reshape(operation: Operation) -> Reckoned:
    """In the new shape, 0 keeps a size and −1 stands for what is left."""
    shape, target = operation.value().shape, operation.constants(1)
    if operation.number("allowzero", 0) or any(size < -1 for size in target) or list(target).count(-1) > 1:
        raise ValueError(target)
    sizes = [shape[at] if size == 0 else size for at, size in enumerate(target)]
    known = math.prod(size for size in sizes if size != -1)
    sizes = [operation.value().size // known if size == -1 else size for size in sizes]
    if math.prod(sizes) != operation.value().size:
        raise ValueError(target)
    return _made(operation, sizes)


def _flatten(operation: Operation) -> Reckoned:
    shape, axis = operation.value().shape, operation.number("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(axis)
    axis = axis + len(shape) if axis < 0 else axis
    return _made(operation, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _transpose(operation: Operation) -> Reckoned:
    shape = operation.value().shape
    order = operation.numbers("perm", tuple(range(len(shape)))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise ValueError(order)
    return _made(operation, [shape[axis] for axis in order])


def _given_axes(operation: Operation) -> Sequence[int] | None:
    """The axes, which are an input in newer versions and an attribute in older ones."""
    if operation.has(1):
        return operation.constants(1)
    return operation.numbers("axes", ()) if "axes" in operation.node.options else None


def _squeeze(operation: Operation) -> Reckoned:
    shape, given = operation.value().shape, _given_axes(operation)
    axes = [at for at, size in enumerate(shape) if size == 1] if given is None else operation.axes(given, len(shape))
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(axes)
    return _made(operation, [size for at, size in enumerate(shape) if at not in axes])


def _unsqueeze(operation: Operation) -> Reckoned:
    given = _given_axes(operation) or ()
    count = len(operation.value().shape) + len(given)
    axes, sizes = operation.axes(given, count), iter(operation.value().shape)
    return _made(operation, [1 if at in axes else next(sizes) for at in range(count)])


def _concat(operation: Operation) -> Reckoned:
    shapes = [operation.value(at).shape for at in range(len(operation.given))]
    (axis,) = operation.axes([operation.number("axis", 0)], len(shapes[0]))
    if len({shape[:axis] + shape[axis + 1 :] for shape in shapes}) != 1:
        raise ValueError(shapes)
    return _made(operation, (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]))


def _slice(operation: Operation) -> Reckoned:
    sizes = list(operation.value().shape)
    starts, ends = operation.constants(1), operation.constants(2)
    axes = operation.axes(operation.constants(3) if operation.has(3) else range(len(starts)), len(sizes))
    steps = operation.constants(4) if operation.has(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        sizes[axis] = len(range(*slice(start, end, step).indices(sizes[axis])))
    return _made(operation, sizes)


def _gather(operation: Operation) -> Reckoned:
    shape, wanted = operation.value().shape, operation.value(1).shape
    (axis,) = operation.axes([operation.number("axis", 0)], len(shape))
    return _made(operation, (*shape[:axis], *wanted, *shape[axis + 1 :]))


def _pad(operation: Operation) -> Reckoned:
    shape, pads = operation.value().shape, operation.constants(1)
    if len(pads) != 2 * len(shape) or operation.has(3):
        raise ValueError(pads)
    return _made(operation, [size + pads[at] + pads[at + len(shape)] for at, size in enumerate(shape)])


def _expand(operation: Operation) -> Reckoned:
    sizes = operation.constants(1)
    if any(size < 1 for size in sizes):
        raise ValueError(sizes)
    return _made(operation, np.broadcast_shapes(operation.value().shape, tuple(sizes)))


def _tile(operation: Operation) -> Reckoned:
    shape, repeats = operation.value().shape, operation.constants(1)
    if any(count < 1 for count in repeats):
        raise ValueError(repeats)
    return _made(operation, [size * count for size, count in zip(shape, repeats, strict=True)])


def _quantized(operation: Operation) -> Reckoned:
    """Floats as whole numbers of the zero point's type."""
    if operation.node.options.get("output_dtype"):
        raise ValueError("output_dtype")
    kind = operation.value(2).kind if operation.has(2) else 2
    return KnownValue(operation.value().shape, kind), operation.value().size, 0


def _dequantized(operation: Operation) -> Reckoned:
    if operation.node.options.get("output_dtype"):
        raise ValueError("output_dtype")
    return KnownValue(operation.value().shape, operation.value(1).kind), operation.value().size, 0


def _reduce(operation: Operation) -> Reckoned:
    shape, given = operation.value().shape, _given_axes(operation)
    if not given:
        given = () if operation.number("noop_with_empty_axes", 0) else range(len(shape))
    axes, keeps = operation.axes(given, len(shape)), operation.number("keepdims", 1)
    sizes = [1 if at in axes else size for at, size in enumerate(shape) if keeps or at not in axes]
    return KnownValue(tuple(sizes), operation.value().kind), operation.value().size, 0


def _global_pool(operation: Operation) -> Reckoned:
    shape = operation.value().shape
    return KnownValue((*shape[:2], *(1 for _ in shape[2:])), operation.value().kind), operation.value().size, 0


def _matmul(operation: Operation) -> Reckoned:
    first, second = operation.value(0).shape, operation.value(1).shape
    if len(first) < 2 or len(second) < 2 or first[-1] != second[-2]:
        raise ValueError(first)
    return _made(operation, (*np.broadcast_shapes(first[:-2], second[:-2]), first[-2], second[-1]), first[-1])


def _gemm(operation: Operation) -> Reckoned:
    rows, inputs = operation.value(0).shape[:: -1 if operation.number("transA", 0) else 1]
    again, columns = operation.value(1).shape[:: -1 if operation.number("transB", 0) else 1]
    if inputs != again:
        raise ValueError(again)
    return _made(operation, (rows, columns), inputs)


def _slid(operation: Operation, taps: Sequence[int]) -> list[int]:
    """How many positions a kernel with that many taps takes on each axis of an image."""
    sizes = operation.value().shape[2:]
    ones = (1,) * len(sizes)
    strides, dilations = operation.numbers("strides", ones), operation.numbers("dilations", ones)
    pads = operation.numbers("pads", (0,) * 2 * len(sizes))
    auto = operation.node.options.get("auto_pad", "NOTSET")
    if min((*taps, *strides, *dilations)) < 1 or min(pads) < 0 or len(pads) != 2 * len(sizes):
        raise ValueError(taps)
    if operation.number("ceil_mode", 0) or (auto != "NOTSET" and max(dilations) > 1):
        raise ValueError("ONNX Runtime's versions make different shapes of these")
    made = []
    for at, (size, tap, stride, apart) in enumerate(zip(sizes, taps, strides, dilations, strict=True)):
        reach = (tap - 1) * apart + 1
        before, after = (pads[at], pads[at + len(sizes)]) if auto == "NOTSET" else (0, 0)
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            made.append(-(-size // stride))
            continue
        if auto not in ("NOTSET", "VALID") or (max(before, after) >= reach and (before or after)):
            raise ValueError(auto)
        left = size + before + after - reach
        made.append(left // stride + 1)
    if min(made) < 1:
        raise ValueError(made)
    return made


def _convolution(operation: Operation) -> Reckoned:
    (windows, channels, *sizes), (outputs, inputs, *taps) = operation.value().shape, operation.value(1).shape
    if channels != inputs * operation.number("group", 1) or len(sizes) != len(taps) or not sizes:
        raise ValueError(channels)
    places, kernel = _slid(operation, taps), inputs * math.prod(taps)
    return _made(operation, (windows, outputs, *places), kernel, scratch=kernel * math.prod(places))


def _pooling(operation: Operation) -> Reckoned:
    taps = operation.numbers("kernel_shape", ())
    places = _slid(operation, taps)
    return _made(operation, (*operation.value().shape[:2], *places), math.prod(taps))


KEEP_SHAPES = (
    "Abs", "BatchNormalization", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
    "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax",
    "LpNormalization", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softmax",
    "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
)  # fmt: skip
OPERATORS: Mapping[str, Reckon] = {
    **dict.fromkeys(KEEP_SHAPES, _same),
    **dict.fromkeys(("Add", "Max", "Mean", "Min", "Mul", "Pow", "PRelu", "Sub", "Sum"), _broadcast),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _compared),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduce),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pooling),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _convolution,
    "DequantizeLinear": _dequantized,
    "Div": _quotient,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "QuantizeLinear": _quantized,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
