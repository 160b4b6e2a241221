"""ONNX files that are made to fill the memory, to run for ever, to read other files, or are just no recognizers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from earmark import EarmarkError, Recognizer, load
from earmark.models import onnx_cost
from earmark.models.metadata import KEY, FixedNormalization, Metadata
from earmark.models.network import BATCH, Network
from earmark.models.onnx_cost import BATCH_VALUES, OPERATORS, check_cost, cost_of, shapes_of
from earmark.models.onnx_file import UnfitModelError, read_graph
from tests.budget import budget

LABELS = ("a", "b")


def model(
    last: list[NodeProto],
    scores: ValueInfoProto,
    labels: tuple[str, ...] = LABELS,
    constants: dict[str, Any] | None = None,
) -> bytes:
    """A model of two labels whose last nodes make `scores` of `made`, [n, 2]."""
    bounds = [numpy_helper.from_array(np.array([value]), name) for name, value in (("s", 0), ("e", 2), ("axis", 1))]
    nodes = [
        helper.make_node("ReduceMax", ["window"], ["levels"], axes=[1], keepdims=0),
        helper.make_node("Slice", ["levels", "s", "e", "axis"], ["made"]),
        *last,
    ]
    given = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", 43, 232])
    bounds += [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
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
        (sequence, "the operation 'SequenceConstruct', which Earmark doesn't run"),
        (cast(TensorProto.STRING), "an operation Cast that doesn't fit"),
        (cast(TensorProto.INT64), "gives something else than float32"),
        (lambda: whole().replace(b"scores", b"sc\xffres"), "doesn't give one score|not an ONNX model"),
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


# What would harm: each is refused before ONNX Runtime sees it.


def with_nodes(*nodes: NodeProto, **constants: Any) -> bytes:
    """The model, and more operations that nothing needs."""
    return model([*nodes, helper.make_node("Identity", ["made"], ["scores"])], floats(), constants=constants)


def changed(change: Callable[[ModelProto], object], content: bytes | None = None) -> bytes:
    made = onnx.load_model_from_string(content or whole())
    change(made)
    result: bytes = made.SerializeToString()
    return result


def body(*nodes: NodeProto) -> GraphProto:
    """A loop's, that goes on for ever."""
    info = helper.make_tensor_value_info
    takes = [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])]
    goes_on = helper.make_node("Identity", ["go"], ["on"])
    return helper.make_graph([goes_on, *nodes], "body", takes, [info("on", TensorProto.BOOL, [])])


def loop() -> bytes:
    node = helper.make_node("Loop", ["count", "go"], [], body=body())
    return with_nodes(node, count=np.array(1 << 62), go=np.array(True))


def branch() -> bytes:
    info = [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)]
    inner = helper.make_graph([helper.make_node("Identity", ["made"], ["o"])], "inner", [], info)
    return with_nodes(helper.make_node("If", ["go"], ["x"], then_branch=inner, else_branch=inner), go=np.array(True))


def hidden_loop() -> bytes:
    """A loop in an option of an operation that has none: readers may take no notice, or may."""
    node = helper.make_node("Relu", ["made"], ["x"], body=body())
    return with_nodes(node)


def function() -> bytes:
    """Two that call each other."""

    def add(made: ModelProto) -> None:
        for name, other in (("F", "G"), ("G", "F")):
            call = helper.make_node(other, ["x"], ["y"], domain="own")
            opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
            made.functions.append(helper.make_function("own", name, ["x"], ["y"], [call], opset))

    return changed(add)


def external(location: str) -> Callable[[], bytes]:
    def move(made: ModelProto) -> None:
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return lambda: changed(move)


def claimed(made: ModelProto) -> None:
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend([1 << 40, 1 << 40])


def doubled(times: int) -> bytes:
    """Twice as large with each operation."""
    nodes = [helper.make_node("Concat", [f"x{at}", f"x{at}"], [f"x{at + 1}"], axis=1) for at in range(times)]
    return with_nodes(helper.make_node("Identity", ["window"], ["x0"]), *nodes)


def multiplied() -> bytes:
    """[n, 1, 1, 9976] × [n, 9976, 1]: a hundred million for a window, and a thousand operations of them."""
    nodes = [
        helper.make_node("Reshape", ["window", "row"], ["r"]),
        helper.make_node("Reshape", ["window", "column"], ["c"]),
        *(helper.make_node("MatMul", ["c", "r"], [f"m{at}"]) for at in range(1_000)),
    ]
    return with_nodes(*nodes, row=np.array([0, 1, 9976]), column=np.array([0, 9976, 1]))


def convolved(inputs: int, taps: int) -> bytes:
    """A kernel that fits the image, and is as large as can be."""
    kernel = np.zeros((4_000, inputs, 1, taps), np.float32)
    nodes = [
        helper.make_node("Reshape", ["window", "image"], ["r"]),
        *(helper.make_node("Conv", ["r", "kernel"], [f"c{at}"], auto_pad="SAME_UPPER") for at in range(40)),
    ]
    return with_nodes(*nodes, image=np.array([0, inputs, 1, 9976 // inputs]), kernel=kernel)


def across_windows() -> bytes:
    """Each window with each other one: as many values as windows, squared."""
    nodes = [
        helper.make_node("Reshape", ["window", "row"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[1, 2, 0]),
        helper.make_node("Transpose", ["r"], ["u"], perm=[1, 0, 2]),
        *(helper.make_node("MatMul", ["u", "t"], [f"x{at}"]) for at in range(4)),
    ]
    return with_nodes(*nodes, row=np.array([0, 9976, 1]))


def padded() -> bytes:
    pads = np.array([0, 0, 0, 0, 1 << 20, 1 << 20])
    return with_nodes(helper.make_node("Pad", ["window", "pads"], ["x"]), pads=pads)


def divided() -> bytes:
    """Whole numbers divided by 0, which ends a process (SIGFPE)."""
    return with_nodes(helper.make_node("Div", ["one", "none"], ["x"]), one=np.array([1]), none=np.array([0]))


def gathered() -> bytes:
    """A few numbers that each stand for a whole window."""
    node = helper.make_node("Gather", ["window", "many"], ["x"], axis=0)
    return with_nodes(node, many=np.zeros(100_000, np.int64))


def simple(kind: str, *takes: str, domain: str = "", **options: Any) -> Callable[[], bytes]:
    constants = {
        "size": np.array([1 << 20, 1 << 20]),
        "times": np.array([1, 1 << 20, 1 << 20]),
        "end": np.array(1 << 40),
        "step": np.array(1),
        "zero": np.array(0),
    }
    return lambda: with_nodes(helper.make_node(kind, list(takes), ["x"], domain=domain, **options), **constants)


def slow() -> bytes:
    """Few values, and hours of work."""
    square = np.zeros((1_000, 1_000), np.float32)
    return with_nodes(*(helper.make_node("MatMul", ["square", "square"], [f"x{at}"]) for at in range(5)), square=square)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "an endless loop": (loop, "holds a loop or a branch"),
    "a branch": (branch, "holds a loop or a branch"),
    "a loop in another operation": (hidden_loop, "holds a loop or a branch"),
    "functions that call each other": (function, "defines functions of its own"),
    "weights in ../../etc/passwd": (external("../../etc/passwd"), "keeps weights in other files"),
    "weights in /etc/passwd": (external("/etc/passwd"), "keeps weights in other files"),
    "weights in model.onnx": (external("model.onnx"), "keeps weights in other files"),
    "a constant of 2**80 values": (lambda: changed(claimed), "claims a constant that is larger than the file"),
    "ConstantOfShape": (simple("ConstantOfShape", "size"), "'ConstantOfShape', which Earmark doesn't run"),
    "Expand": (simple("Expand", "zero", "size"), "needs too much memory or time"),
    "Expand by what isn't known": (simple("Expand", "zero", "window"), "an operation Expand that doesn't fit"),
    "Tile": (simple("Tile", "window", "times"), "needs too much memory or time"),
    "Tile by what isn't known": (simple("Tile", "window", "window"), "an operation Tile that doesn't fit"),
    "Shape": (simple("Shape", "window"), "'Shape', which Earmark doesn't run"),
    "Range": (simple("Range", "zero", "end", "step"), "'Range', which Earmark doesn't run"),
    "Resize": (simple("Resize", "window", "", "", "size"), "'Resize', which Earmark doesn't run"),
    "RandomNormal": (lambda: with_nodes(helper.make_node("RandomNormal", [], ["x"], shape=[2])), "'RandomNormal'"),
    "SequenceEmpty": (lambda: with_nodes(helper.make_node("SequenceEmpty", [], ["x"])), "'SequenceEmpty'"),
    "Optional": (simple("Optional", "window"), "'Optional'"),
    "another domain's": (simple("FusedConv", "window", domain="com.microsoft"), "'FusedConv' of 'com.microsoft'"),
    "a domain of their own": (simple("Relu", "window", domain="own"), "'Relu' of 'own', which isn't ONNX's own"),
    "doubled for ever": (lambda: doubled(60), "needs too much memory or time"),
    "multiplied": (multiplied, "needs too much memory or time"),
    "convolutions": (lambda: convolved(8, 3), "needs too much memory or time"),
    "hours of work": (slow, "needs too much memory or time"),
    "across windows": (across_windows, "needs too much memory or time"),
    "padded": (padded, "needs too much memory or time"),
    "gathered": (gathered, "needs too much memory or time"),
    "divided by 0": (divided, "an operation Div that doesn't fit"),
    "6,000 operations": (
        lambda: with_nodes(*(helper.make_node("Relu", ["made"], [f"x{at}"]) for at in range(6_000))),
        "more than 5,000 operations",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_harm_never_reaches_the_runtime(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("it was given to ONNX Runtime")

    monkeypatch.setattr(onnxruntime, "InferenceSession", run)
    make, said = HOSTILE[name]
    with pytest.raises(EarmarkError, match=said) as told:
        Recognizer(make(), "my.onnx")
    assert str(told.value).startswith("my.onnx ")
    assert str(told.value).endswith(": use a model that Earmark has trained or exported.")


def test_weights_elsewhere_are_not_read_by_the_front_end_s_reader_either(tmp_path: Path) -> None:
    """A model that takes the waveform goes through the package onnx first."""

    def move(made: ModelProto) -> None:
        made.graph.input[0].name = "waveform"

    (tmp_path / "model.onnx").write_bytes(changed(move, external("../secret")()))
    with pytest.raises(EarmarkError, match="keeps weights in other files"):
        load(tmp_path / "model.onnx")


def test_metadata_that_lies() -> None:
    with pytest.raises(EarmarkError, match="doesn't give one score for each of its labels"):
        Recognizer(whole(tuple("abc")))

    def claim(made: ModelProto) -> None:
        values = made.metadata_props[0].value
        made.metadata_props[0].value = values.replace('"window_frames": 43', '"window_frames": 9999')

    assert len(changed(claim)) > len(whole())
    with pytest.raises(EarmarkError):
        Recognizer(changed(claim))

    def rename(made: ModelProto) -> None:
        made.graph.input[0].name = made.graph.node[0].input[0] = "levels_in"

    with pytest.raises(EarmarkError, match=r"doesn't take windows of \(43, 232\)"):
        Recognizer(changed(rename))

    def add(made: ModelProto) -> None:
        made.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))

    with pytest.raises(EarmarkError, match=r"doesn't take windows of \(43, 232\)"):
        Recognizer(changed(add))


def test_shapes_that_a_file_declares_are_not_believed() -> None:
    def declare(made: ModelProto) -> None:
        for name in ("made", "levels"):
            made.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1 << 40]))

    assert Recognizer(changed(declare)).labels == LABELS


def test_a_graph_that_comes_twice_is_refused() -> None:
    """Protocol Buffers merge such fields: what is checked would not be what is run."""
    graph = onnx.load_model_from_string(loop()).graph.SerializeToString()
    for merged in (whole() + b"\x3a" + varint(len(graph)) + graph, b"\x3a" + varint(len(graph)) + graph + whole()):
        with pytest.raises(EarmarkError, match="is not an ONNX model, or is damaged"):
            Recognizer(merged)


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


# Expected: what the package onnx reads, and the shapes that ONNX Runtime makes.


def models() -> dict[str, bytes]:
    from tests import bands, small_base, tones

    return {
        "words": load("words").content, "bands": bands.band_model(), "tones": tones.tone_model(),
        "small": small_base.small_base(), "hand-made": whole(),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["words", "bands", "tones", "small", "hand-made"])
@pytest.mark.parametrize("windows", [1, 3])
def test_shapes_are_those_that_come_of_running(name: str, windows: int) -> None:
    content = models()[name]
    made = onnx.load_model_from_string(content)
    known = {output.name for output in made.graph.output}
    names = [output for node in made.graph.node for output in node.output]
    made.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shape = (windows, *Network(content).input_shape)
    values = dict(zip(names, session.run(names, {"window": np.zeros(shape, np.float32)}), strict=True))
    graph = read_graph(content)
    shapes = shapes_of(graph, shape)
    assert {name: shapes[name] for name in names} == {name: value.shape for name, value in values.items()}
    assert cost_of(graph, shape).values == sum(value.size for value in values.values())


def test_what_is_read_is_what_onnx_reads() -> None:
    for content in models().values():
        expected, graph = onnx.load_model_from_string(content), read_graph(content)
        assert [node.kind for node in graph.nodes] == [node.op_type for node in expected.graph.node]
        assert [node.takes for node in graph.nodes] == [tuple(node.input) for node in expected.graph.node]
        for mine, theirs in zip(graph.nodes, expected.graph.node, strict=True):
            options = {option.name: helper.get_attribute_value(option) for option in theirs.attribute}
            for name, value in options.items():
                told = mine.options[name]
                if isinstance(told, tuple):
                    assert list(told) == value
                elif isinstance(told, (int, float)):
                    assert told == value
        for tensor in expected.graph.initializer:
            array, constant = numpy_helper.to_array(tensor), graph.constants[tensor.name]
            assert constant.shape == array.shape
            if array.dtype == np.int64:
                assert constant.integers() == tuple(array.ravel().tolist())
        assert graph.entries == {entry.key: entry.value for entry in expected.metadata_props}


def test_numbers_in_any_of_their_ways() -> None:
    """Packed or not, raw or listed, negative or not."""
    numbers = [-1, 0, 1, 1 << 62, -(1 << 63)]
    for raw in (False, True):
        content = struct.pack("<5q", *numbers) if raw else numbers
        tensor = helper.make_tensor("x", TensorProto.INT64, [5], content, raw=raw)
        node = helper.make_node("Constant", [], ["y"], value=tensor)
        (made, *_) = [node for node in read_graph(with_nodes(node)).nodes if node.kind == "Constant"]
        assert list(made.options["value"].integers()) == numbers


def test_every_operator_that_earmark_writes_is_run() -> None:
    from earmark.tfjs.activations import ACTIVATIONS

    written = {operator for operator, _ in ACTIVATIONS.values()}
    written |= {
        node.op_type for content in models().values() for node in onnx.load_model_from_string(content).graph.node
    }
    assert written <= OPERATORS.keys()


def test_a_large_network_gets_fewer_windows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = read_graph(doubled(8))
    values = cost_of(graph, (1, 43, 232)).values
    windows = check_cost(graph, (43, 232), BATCH)
    assert values * windows <= BATCH_VALUES < values * (windows + 1)
    assert check_cost(read_graph(load("words").content), (43, 232), BATCH) == BATCH
    monkeypatch.setattr(onnx_cost, "BATCH_VALUES", 2 * values)
    ran = []
    run = onnxruntime.InferenceSession.run

    def note(self: Any, outputs: Any, given: Any) -> Any:
        ran.append(len(given["window"]))
        return run(self, outputs, given)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", note)
    recognizer = Recognizer(doubled(8))
    assert recognizer.score_windows(np.zeros((5, 43, 232), np.float32)).shape == (5, 2)
    assert ran == [1, 2, 2, 1]  # the first is the trial


@budget(400)
@given(at=st.floats(0, 1, exclude_max=True), wrong=st.binary(max_size=6), cut=st.booleans())
def test_a_damaged_file_is_read_or_told(at: float, wrong: bytes, cut: bool) -> None:
    content = whole()
    start = int(at * len(content))
    damaged = content[:start] + wrong + (b"" if cut else content[start + len(wrong) :])
    with suppress(UnfitModelError):
        read_graph(damaged)
    with suppress(EarmarkError):
        Recognizer(damaged, "my.onnx")
