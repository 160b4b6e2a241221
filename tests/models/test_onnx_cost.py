"""The shapes that are worked out before a network is run are those that ONNX Runtime then makes, for any operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from earmark.models.onnx_cost import KEEP_SHAPES, OPERATORS, shapes_of
from earmark.models.onnx_file import UnfitModelError, read_graph
from tests.budget import budget

SIZES = st.integers(1, 5)
AXIS = st.integers(-4, 4)
FEW = st.lists(st.integers(-1, 4), min_size=1, max_size=4)
BIT = st.integers(0, 1)
# Options that an operation may have, and its inputs besides the first one: constants of whole numbers or of floats.
OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "Transpose": {"perm": st.permutations(range(4)) | st.permutations(range(3)) | FEW},
    "Flatten": {"axis": AXIS},
    "Reshape": {"allowzero": BIT},
    "Concat": {"axis": AXIS},
    "Gather": {"axis": AXIS},
    "Cast": {"to": st.integers(0, 12)},
    "Gemm": {"transA": BIT, "transB": BIT},
    **{kind: {"keepdims": BIT, "axes": FEW} for kind in OPERATORS if kind.startswith("Reduce")},
    **{kind: {"axis": AXIS} for kind in ("Softmax", "LogSoftmax", "LpNormalization", "LayerNormalization")},
}
SLIDING = ("Conv", "MaxPool", "AveragePool")
WHOLE = {
    "Reshape": 1, "Squeeze": 1, "Unsqueeze": 1, "ReduceSum": 1, "Slice": 4, "Pad": 1, "Gather": 1, "Expand": 1,
    "Tile": 1,
}  # fmt: skip
FLOATS = {
    "BatchNormalization": 4, "InstanceNormalization": 2, "LayerNormalization": 2, "Conv": 2, "Gemm": 2, "MatMul": 1,
    "Add": 1, "Sub": 1, "Mul": 1, "Div": 1, "Pow": 1, "PRelu": 1, "Equal": 1, "Greater": 1, "GreaterOrEqual": 1,
    "Less": 1, "LessOrEqual": 1, "Max": 2, "Min": 2, "Mean": 2, "Sum": 2, "Concat": 2, "QuantizeLinear": 1,
    "DequantizeLinear": 1,
}  # fmt: skip


def sliding(axes: int) -> dict[str, st.SearchStrategy[Any]]:
    """The options of a kernel over so many axes."""
    each = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    return {
        "kernel_shape": each, "strides": each, "dilations": each, "group": st.integers(1, 2), "ceil_mode": BIT,
        "pads": st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes) | FEW,
        "auto_pad": st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", "ELSE"]),
    }  # fmt: skip


@st.composite
def operations(draw: st.DrawFn, kind: str) -> tuple[bytes, tuple[int, ...]]:
    """A network of one operation, which may or may not be as it ought to be, and the shape of its input."""
    is_sliding = kind in SLIDING
    shape = tuple(draw(st.lists(SIZES, min_size=3 if is_sliding else 1, max_size=4)))
    choices = sliding(len(shape) - 2) if is_sliding else OPTIONS.get(kind, {})
    options = {name: draw(value) for name, value in choices.items() if draw(st.booleans())}
    if kind == "ReduceSum":
        options.pop("axes", None)
    whole = draw(st.integers(min(1, WHOLE.get(kind, 0)), WHOLE.get(kind, 0)))
    constants: list[Any] = [np.array(draw(FEW), np.int64) for _ in range(whole)]
    for _ in range(draw(st.integers(min(1, FLOATS.get(kind, 0)), FLOATS.get(kind, 0)))):
        sizes = draw(st.permutations(shape) | st.lists(SIZES, max_size=4) | st.just(shape) | st.just(shape[1:2]))
        constants.append(np.ones(tuple(sizes), np.float32))
    nodes, first = [], "window"
    if kind == "Where":
        nodes.append(helper.make_node("Greater", ["window", "half"], ["is"]))
        first = "is"
        constants = [np.ones(draw(st.just(shape) | st.just(())), np.float32) for _ in range(2)]
    if kind == "Constant":
        options = {"value": numpy_helper.from_array(np.ones(shape, np.float32))}
    names = [f"c{number}" for number in range(len(constants))]
    nodes.append(helper.make_node(kind, [] if kind == "Constant" else [first, *names], ["made"], **options))
    initial = [numpy_helper.from_array(array, name) for name, array in zip(names, constants, strict=True)]
    initial.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    given = [helper.make_tensor_value_info("window", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "graph", given, [helper.make_empty_tensor_value_info("made")], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", draw(st.sampled_from([13, 17, 20])))])
    model.ir_version = 8
    content: bytes = model.SerializeToString()
    return content, shape


@pytest.mark.parametrize("kind", sorted(OPERATORS))
@budget(40)
@given(data=st.data())
def test_no_operation_makes_another_shape_than_was_worked_out(kind: str, data: st.DataObject) -> None:
    """What is refused may be fine; what is let through makes just that shape, or ONNX Runtime refuses it."""
    content, shape = data.draw(operations(kind))
    try:
        expected = shapes_of(read_graph(content), shape)["made"]
    except UnfitModelError:
        return
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (made,) = session.run(None, {"window": np.ones(shape, np.float32)})
    except Exception:
        return  # ONNX Runtime has no error of its own that all of its others are
    assert np.shape(made) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(OPERATORS.keys() - set(KEEP_SHAPES)))
def test_each_operation_is_tried_in_earnest(kind: str) -> None:
    """The test above finds cases that run, of every sort but those that keep the shape anyway."""
    ran = 0

    @settings(max_examples=200, database=None, derandomize=True)  # of which so many must run, whatever the budget
    @given(data=st.data())
    def count(data: st.DataObject) -> None:
        nonlocal ran
        content, shape = data.draw(operations(kind))
        try:
            shapes_of(read_graph(content), shape)
        except UnfitModelError:
            return
        ran += 1

    count()
    assert ran >= 3
