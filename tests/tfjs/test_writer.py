"""What we write for TensorFlow.js, run by TensorFlow.js itself in Node: every layer, real models, random networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import NodeProto, helper

import earmark
from earmark import EarmarkError, Recognizer
from earmark.exchange.exporting import export_model
from earmark.models.metadata import FixedNormalization, FlooredNormalization, Metadata, WindowNormalization
from earmark.models.onnx_writer import model_file
from earmark.tfjs.operations import OPERATIONS
from earmark.tfjs.reading import read_tfjs
from tests.random_networks import random_network
from tests.tfjs.test_node import FRAMES, MODELS, TOLERANCE
from tests.tfjs_models import fixture, random_windows, teachable_machine
from tests.tfjs_node import make_models, run_tfjs_models

Array = npt.NDArray[np.float32]


def normalized(recognizer: Recognizer, count: int = 100) -> Array:
    frames, values = recognizer.input_shape
    return np.random.default_rng(0).normal(0, 1, (count, frames, values)).astype(np.float32)


def scores_of(recognizer: Recognizer, windows: Array) -> Array:
    """Scores of windows that are normalized already, but for the floor, which may follow."""
    bare = Recognizer(recognizer.content)
    if not isinstance(bare.metadata.normalization, FlooredNormalization):
        bare.metadata = replace(bare.metadata, normalization=FixedNormalization(0.0, 1.0))
    return bare.score_windows(windows)


def check(recognizers: Sequence[Recognizer], folder: Path) -> None:
    """Export, run by TensorFlow.js, and read again: the same scores each time."""
    windows = [WindowNormalization()(normalized(recognizer)) for recognizer in recognizers]
    folders = [folder / f"{number}" for number in range(len(recognizers))]
    for recognizer, target in zip(recognizers, folders, strict=True):
        export_model(recognizer, target, "tfjs")
    theirs = run_tfjs_models(folders, windows)
    for recognizer, target, given, scores in zip(recognizers, folders, windows, theirs, strict=True):
        ours = scores_of(recognizer, given)
        np.testing.assert_allclose(scores, ours, rtol=0, atol=TOLERANCE, err_msg=str(target))
        again = earmark.load(target)
        np.testing.assert_allclose(scores_of(again, given), ours, rtol=0, atol=TOLERANCE)
        assert again.labels == recognizer.labels
        normalization = recognizer.metadata.normalization
        if isinstance(normalization, FlooredNormalization):  # the floor is in the layers now
            normalization = WindowNormalization()
        assert again.metadata.normalization == normalization


@pytest.mark.slow
def test_every_layer(tmp_path: Path) -> None:
    """What TensorFlow.js made, read by us and written again, scores as it did at first."""
    windows = WindowNormalization()(random_windows(100, FRAMES))
    made = make_models(tmp_path / "theirs", list(MODELS.values()), [windows] * len(MODELS))
    folders = [tmp_path / f"{number}" for number in range(len(made))]
    for model, target in zip(made, folders, strict=True):
        export_model(earmark.load(model.folder), target, "tfjs")
    for name, model, scores in zip(MODELS, made, run_tfjs_models(folders, [windows] * len(made)), strict=True):
        np.testing.assert_allclose(scores, model.scores, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.slow
def test_random_networks(tmp_path: Path) -> None:
    windows = WindowNormalization()(random_windows(5, FRAMES))
    seeds = range(100, 160)
    made = make_models(tmp_path / "theirs", [random_network(seed) for seed in seeds], [windows] * len(seeds), seed=100)
    folders = [tmp_path / f"{seed}" for seed in seeds]
    for model, target in zip(made, folders, strict=True):
        export_model(earmark.load(model.folder), target, "tfjs")
    for seed, model, scores in zip(seeds, made, run_tfjs_models(folders, [windows] * len(made)), strict=True):
        np.testing.assert_allclose(scores, model.scores, rtol=0, atol=TOLERANCE, err_msg=f"random_network({seed})")


def test_words(tmp_path: Path) -> None:
    check([earmark.load("words")], tmp_path)
    words = json.loads((tmp_path / "0" / "model.json").read_text())
    kinds = [layer["class_name"] for layer in words["modelTopology"]["config"]["layers"]]
    # As createTransfer of the package looks for the layer to learn on: the last dense one but the scores'.
    assert [kind for kind in kinds if kind == "Dense"] == ["Dense", "Dense"]
    assert kinds[-1] == "Dense"


def test_the_codelabs_sounds(trained: earmark.Project, tmp_path: Path) -> None:
    check([trained.model()], tmp_path)


@pytest.mark.slow
def test_models_of_the_package_and_of_teachable_machine(tmp_path: Path) -> None:
    package = fixture("tfjs_speech_commands", "browser_fft_18w")
    (tmp_path / "made").mkdir()
    models = [package, teachable_machine(tmp_path / "made")]
    check([Recognizer(read_tfjs(model)) for model in models], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"hidden_units": 12}, {"fine_tuning_epochs": 1}])
def test_what_was_taught(options: dict[str, Any], recordings: Path, tmp_path: Path) -> None:
    """A head works on the embedding's direction, which no single layer of TensorFlow.js gives."""
    from tests.studio.spoken import RATE, recordings_of

    project = earmark.Project(tmp_path / "taught", create=True, mode="words")
    for word in ("cat", "bed"):
        for clip in recordings_of(recordings, word, 4):
            project.add(word, clip, RATE)
    taught = [project.train("words", epochs=20, **options)]
    if not options:
        taught.append(project.train(fixture("tfjs_speech_commands", "browser_fft_18w"), epochs=20))
    check(taught, tmp_path)


def made_by(*nodes: NodeProto, labels: int = 3, frames: int = 4, **constants: Any) -> Recognizer:
    """A network of these nodes, from `window` to `scores`."""
    names = tuple(f"label {number}" for number in range(labels))
    metadata = Metadata("made", names, frames, WindowNormalization())
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    return Recognizer(model_file(list(nodes), arrays, metadata, {"scores": labels}))


def node(kind: str, given: str, made: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, given.split(), [made], **attributes)


def image() -> list[NodeProto]:
    return [node("Reshape", "window plane", "image")]


PLANE = np.array([-1, 1, 4, 232], np.int64)
KERNEL = np.random.default_rng(3).normal(0, 0.2, (928, 3)).astype(np.float32)
FILTER = np.random.default_rng(4).normal(0, 0.2, (2, 1, 3, 3)).astype(np.float32)
END = [node("Flatten", "last", "flat"), node("MatMul", "flat kernel", "logits"), node("Softmax", "logits", "scores")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "middle",
    [
        [node("Identity", "image", "last")],
        [node("Relu", "image", "one"), node("Identity", "one", "two"), node("Add", "two one", "last")],
        # Values that two take: an activation must not become part of the layer that the other one sees.
        [
            *(node("Conv", "image single", "one", pads=[1, 1, 1, 1]), node("Relu", "one", "two")),
            node("Add", "one two", "last"),
        ],
        [
            *(
                node("Conv", "image single", "one", pads=[1, 1, 1, 1]),
                node("Transpose", "one", "turned", perm=[0, 1, 3, 2]),
            ),
            *(node("Sigmoid", "turned", "two"), node("Transpose", "two", "back", perm=[0, 1, 3, 2])),
            node("Add", "one back", "last"),
        ],
        [node("Conv", "image single", "last", pads=[2, 0, 0, 2])],
        [node("Transpose", "image", "turned", perm=[0, 3, 1, 2]), node("Softmax", "turned", "last", axis=1)],
        [node("Transpose", "image", "turned", perm=[0, 3, 1, 2]), node("Softmax", "turned", "last", axis=-1)],
    ],
    ids=["nothing", "taken twice", "activation apart", "turned apart", "odd padding", "softmax bins", "softmax last"],
)
def test_graphs_that_no_program_of_theirs_writes(middle: list[NodeProto], tmp_path: Path) -> None:
    nodes = [*image(), *middle, *END]
    check([made_by(*nodes, plane=PLANE, kernel=KERNEL, single=FILTER[:1])], tmp_path)


def test_a_window_that_is_summed_with_itself(tmp_path: Path) -> None:
    """Before it becomes an image, and turned."""
    nodes = [
        *(node("Transpose", "window", "turned", perm=[0, 2, 1]), node("Relu", "turned", "positive")),
        *(node("Add", "positive turned", "both"), node("Transpose", "both", "last", perm=[0, 2, 1]), *END),
    ]
    check([made_by(*nodes, kernel=KERNEL)], tmp_path)


def test_directions_of_zero_and_of_huge_vectors(tmp_path: Path) -> None:
    """A vector's direction by layer normalization, where that could overflow or divide by zero."""
    nodes = [
        *(node("Flatten", "window", "flat"), node("MatMul", "flat kernel", "dense"), node("Relu", "dense", "positive")),
        *(node("LpNormalization", "positive", "unit", axis=1, p=2), node("Mul", "unit scale", "ten")),
        *(node("MatMul", "ten square", "logits"), node("Softmax", "logits", "scores")),
    ]
    square = np.random.default_rng(5).normal(0, 1, (3, 3)).astype(np.float32)
    recognizer = made_by(*nodes, kernel=KERNEL, square=square, scale=np.float32(10))
    export_model(recognizer, tmp_path / "made", "tfjs")
    sizes = np.array([0, 1e-6, 1e-3, 1, 1e3, 1e12], np.float32)
    windows = normalized(recognizer, len(sizes)) * sizes[:, None, None]
    (theirs,) = run_tfjs_models([tmp_path / "made"], [windows])
    ours = scores_of(recognizer, windows)
    np.testing.assert_allclose(theirs[[0, 2, 3, 4]], ours[[0, 2, 3, 4]], atol=TOLERANCE)
    assert np.isfinite(theirs).all()


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ([node("Erf", "image", "last")], "Erf"),
        ([node("Conv", "image grouped", "last", group=1, auto_pad="SAME_UPPER")], "Conv"),
        ([node("MaxPool", "image", "last", kernel_shape=[2, 2], pads=[1, 1, 0, 0])], "MaxPool"),
        ([node("MaxPool", "image", "last", kernel_shape=[2, 2], dilations=[2, 2])], "MaxPool"),
        ([node("AveragePool", "image", "last", kernel_shape=[2, 2], count_include_pad=1)], "AveragePool"),
        ([node("ReduceMean", "image", "last", axes=[2], keepdims=1)], "ReduceMean"),
        ([node("Add", "image plus", "last")], "Add"),
        ([node("Mul", "image plus", "last")], "Mul"),
        ([node("Clip", "image low high", "last")], "Clip"),
        ([node("HardSigmoid", "image", "last", alpha=0.3)], "HardSigmoid"),
    ],
)
def test_operations_that_no_layer_does(bad: list[NodeProto], kind: str, tmp_path: Path) -> None:
    """Refused by name, before anything is written."""
    assert kind == "Erf" or kind in OPERATIONS
    shape = [node("GlobalMaxPool", "last", "highest"), node("Flatten", "highest", "flat")]
    labels, joined = (2, "flat") if kind == "Conv" else (3, "flat flat flat")  # as it has two channels
    end = [*shape, node("Concat", joined, "logits", axis=1), node("Softmax", "logits", "scores")]
    constants: dict[str, Any] = {"plane": PLANE, "grouped": FILTER, "plus": np.ones(1, np.float32)}
    constants |= {"low": np.float32(-1), "high": np.float32(1)}
    recognizer = made_by(*image(), *bad, *end, labels=labels, **constants)
    with pytest.raises(EarmarkError, match=f"operation {kind} that TensorFlow.js' layers don't have"):
        export_model(recognizer, tmp_path / "made", "tfjs")
    assert not list(tmp_path.iterdir())
