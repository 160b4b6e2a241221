"""ONNX files that give something else than scores, or hold names that are no text: one sentence each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from earmark import EarmarkError, Recognizer
from earmark.metadata import KEY, FixedNormalization, Metadata

LABELS = ("a", "b")


def model(last: list[NodeProto], scores: ValueInfoProto, labels: tuple[str, ...] = LABELS) -> bytes:
    """A model of two labels whose last nodes make `scores` of `made`, [n, 2]."""
    bounds = [numpy_helper.from_array(np.array([value]), name) for name, value in (("s", 0), ("e", 2), ("axis", 1))]
    nodes = [
        helper.make_node("ReduceMax", ["window"], ["levels"], axes=[1], keepdims=0),
        helper.make_node("Slice", ["levels", "s", "e", "axis"], ["made"]),
        *last,
    ]
    given = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", 43, 232])
    graph: GraphProto = helper.make_graph(nodes, "graph", [given], [scores], bounds)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    told = Metadata("x", labels, 43, FixedNormalization(0, 1)).to_json().encode(errors="backslashreplace").decode()
    helper.set_model_props(made, {KEY: told})
    content: bytes = made.SerializeToString()
    return content


def floats() -> ValueInfoProto:
    return helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])


def whole(labels: tuple[str, ...] = LABELS) -> bytes:
    return model([helper.make_node("Identity", ["made"], ["scores"])], floats(), labels)


def test_the_model_itself_is_fine() -> None:
    assert Recognizer(whole()).labels == LABELS


def sequence() -> bytes:
    node = helper.make_node("SequenceConstruct", ["made"], ["scores"])
    return model([node], helper.make_tensor_sequence_value_info("scores", TensorProto.FLOAT, None))


def cast(kind: int) -> Callable[[], bytes]:
    node = helper.make_node("Cast", ["made"], ["scores"], to=kind)
    return lambda: model([node], helper.make_tensor_value_info("scores", kind, ["n", 2]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (sequence, "gives something else than float32"),
        (cast(TensorProto.STRING), "gives something else than float32"),
        (cast(TensorProto.INT64), "gives something else than float32"),
        (lambda: whole().replace(b"scores", b"sc\xffres"), "has names that are no text|not an ONNX model"),
        (lambda: whole().replace(b'"name": "x"', b'"name": "\xff"'), "has names that are no text"),
        (lambda: whole(("\ud800", "b")), "has no description"),
        (lambda: whole(("\x1b[2J", "b")), "has no description"),
        (lambda: whole(("a\nb", "b")), "has no description"),
    ],
)
def test_what_is_no_recognizer_gets_one_sentence(
    make: Callable[[], bytes], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EarmarkError, match=said) as told:
        Recognizer(make(), "my.onnx")
    assert "\n" not in str(told.value)
    assert capfd.readouterr().out == ""  # ONNX Runtime keeps quiet
