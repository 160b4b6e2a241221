"""Networks from elsewhere as bases: what goes into them, what comes out, and what is trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from earmark import EarmarkError, Project, export_model, load
from earmark.exchange.exporting import ONNX
from earmark.models.foreign_base import is_foreign, open_foreign_base
from earmark.training.bases import open_base
from tests import sounds, yamnet
from tests.small_base import small_base

Array = npt.NDArray[np.float32]
RATE, SAMPLES = 16_000, 8_000  # of the small networks
TOML = f"sample_rate = {RATE}\nwindow = {SAMPLES / RATE}\n"


pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture(scope="module")
def waveform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("yamnet") / "yamnet.onnx"
    file.write_bytes(yamnet.waveform_file(yamnet.random_network()))
    return file


def network_file(
    file: Path, nodes: list[NodeProto], shape: list[int | str], *, output: str = "made", toml: str | None = TOML,
    constants: dict[str, Any] | None = None, opset: int = 17, kind: int = TensorProto.FLOAT,
) -> Path:  # fmt: skip
    """A network that takes `sound`, and its declaration."""
    given = [helper.make_tensor_value_info("sound", kind, shape)]
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", given, [helper.make_empty_tensor_value_info(output)], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    if toml is not None:
        file.with_suffix(".toml").write_text(toml)
    return file


def blocks() -> list[NodeProto]:
    """The sound in rows: an embedding over time that can be worked out by hand."""
    return [helper.make_node("Reshape", ["sound", "shape"], ["made"])]


def windows(count: int, samples: int = SAMPLES, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 0.1, (count, samples)).astype(np.float32)


def test_the_embedding_is_the_networks_own(waveform: Path) -> None:
    base = open_base(waveform)
    assert (base.front_end.sample_rate, base.input_shape, base.metadata.hop_frames) == (16_000, (49, 320), 5)
    sound = windows(3, 49 * 320)
    made = base.embed_windows(sound.reshape(3, 49, 320))
    session = onnxruntime.InferenceSession(waveform.read_bytes(), providers=["CPUExecutionProvider"])
    expected = [session.run(["embeddings"], {"waveform": one[:15_600]})[0] for one in sound]
    np.testing.assert_allclose(made, np.concatenate(expected), rtol=1e-5, atol=1e-6)


def test_patches_in_is_waveform_in(waveform: Path, tmp_path: Path) -> None:
    """The same network without a front end gets ours."""
    (tmp_path / "patch.onnx").write_bytes(yamnet.patch_file(yamnet.random_network()))
    sound = windows(3, 49 * 320).reshape(3, 49, 320)
    both = [open_base(file).embed_windows(sound) for file in (waveform, tmp_path / "patch.onnx")]
    np.testing.assert_allclose(both[0], both[1], atol=1e-4)
    assert np.ptp(both[0]) > 0.1


@pytest.mark.parametrize("pooling", ["mean-max", "mean", "max"])
def test_an_embedding_over_time_is_pooled(pooling: str, tmp_path: Path) -> None:
    toml = TOML + f"pooling = {pooling!r}\nscale = 100\n"
    file = network_file(tmp_path / "n.onnx", blocks(), [1, SAMPLES], toml=toml, constants={"shape": [1, -1, 16]})
    sound = windows(4)
    rows = 100 * sound.reshape(4, -1, 16)
    parts = {"mean": rows.mean(axis=1), "max": rows.max(axis=1)}
    expected = np.concatenate([parts[kind] for kind in pooling.split("-")], axis=1)
    np.testing.assert_allclose(open_base(file).embed_windows(sound.reshape(4, 25, 320)), expected, atol=1e-5)


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_any_version_of_the_operators(opset: int, tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["sound"], ["up"]), helper.make_node("Reshape", ["up", "shape"], ["made"])]
    file = network_file(tmp_path / "n.onnx", nodes, ["n", "s"], constants={"shape": [-1, 10]}, opset=opset)
    sound = windows(2)
    rows = np.maximum(sound, 0).reshape(2, -1, 10)
    expected = np.concatenate((rows.mean(axis=1), rows.max(axis=1)), axis=1)
    np.testing.assert_allclose(open_base(file).embed_windows(sound.reshape(2, 25, 320)), expected, atol=1e-6)


def test_a_value_within_can_be_the_embedding(tmp_path: Path) -> None:
    """As of a network that gives only scores: what its last dense layer takes."""
    nodes = [
        helper.make_node("Reshape", ["sound", "shape"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["hidden"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["hidden", "kernel"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["made"]),
    ]
    constants = {"shape": [1, -1, 16], "kernel": np.ones((16, 3), np.float32)}
    sound = windows(2)
    expected = sound.reshape(2, -1, 16).mean(axis=1)
    for output in ("hidden", "before the last dense layer"):
        toml = TOML + f"output = {output!r}\n"
        file = network_file(tmp_path / "n.onnx", nodes, [1, SAMPLES], toml=toml, constants=constants)
        np.testing.assert_allclose(open_base(file).embed_windows(sound.reshape(2, 25, 320)), expected, atol=1e-6)


def test_a_rate_of_its_own(tmp_path: Path) -> None:
    toml = "sample_rate = 32000\nwindow = 0.25\nhears = 'words'\n"
    file = network_file(tmp_path / "n.onnx", blocks(), [1, 8000], toml=toml, constants={"shape": [1, -1, 16]})
    base = open_base(file)
    assert (base.front_end.sample_rate, base.input_shape) == (32_000, (13, 640))
    assert base.front_end.frame_seconds == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"toml": None}, r"n.onnx is no network that Earmark knows: declare what it hears in n.toml beside it"),
        ({"toml": "window = 1"}, "n.toml doesn't declare a base"),
        ({"toml": TOML + "output = 'none'"}, "needs `output` to be declared"),
        ({"toml": TOML.replace("0.5", "0.7")}, "takes 1×8000, not 11200 samples"),
        ({"kind": TensorProto.INT16}, "takes something else than float32"),
        ({"nodes": [helper.make_node("NonZero", ["sound"], ["made"])]}, "has the operation 'NonZero'"),
        (
            {"nodes": [helper.make_node("MatMul", ["tall", "sound"], ["made"])],
             "constants": {"tall": np.zeros((1 << 20, 1), np.float32)}},
            "needs too much memory or time",
        ),
        ({"nodes": [helper.make_node("ReduceSum", ["sound"], ["made"])]}, "declare one that is an embedding"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_base_is_told_in_one_sentence(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"nodes": blocks(), "shape": [1, SAMPLES], "constants": {"shape": [1, -1, 16]}} | changes
    file = network_file(tmp_path / "n.onnx", **given)
    with pytest.raises(EarmarkError, match=said) as told:
        open_base(file)
    assert "\n" not in str(told.value)


def test_earmarks_own_files_are_not_foreign(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(small_base())
    (tmp_path / "no.onnx").write_bytes(b"no model")
    assert not is_foreign(tmp_path / "own.onnx")
    assert not is_foreign(tmp_path / "missing.onnx")
    for base in ("no.onnx", "missing.onnx"):
        with pytest.raises(EarmarkError):
            open_base(tmp_path / base)


# What is trained on one


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project") / "garden", create=True, mode="words")
    for take in range(4):
        made.add("whistle", sounds.whistle(2.5, take), sounds.RATE)
        made.add("snaps", sounds.snaps(2.5, take), sounds.RATE)
    return made


def test_a_model_holds_its_base_and_hears_wherever_it_goes(project: Project, waveform: Path, tmp_path: Path) -> None:
    trained = project.train(waveform, name="garden", open_set=False)
    assert trained.hint is None
    recognizer = load(project.model_folder("garden"))
    assert recognizer.content == trained.content
    for make, label in ((sounds.whistle, "whistle"), (sounds.snaps, "snaps")):
        assert recognizer.recognize(make(2, 20), sounds.RATE).label == label
    sound = np.concatenate([sounds.room(2, 1), sounds.whistle(2, 30), sounds.room(2, 2)])
    heard = list(recognizer.listen(sound, sample_rate=sounds.RATE, probability_threshold=0))
    assert "whistle" in {found.label for found in heard}
    export_model(recognizer, tmp_path / "out.onnx", ONNX)
    clip = sounds.whistle(49 * 320 / 16_000, 40)
    again = load(tmp_path / "out.onnx")
    np.testing.assert_allclose(
        again.recognize(clip, sounds.RATE).scores, recognizer.recognize(clip, sounds.RATE).scores, atol=1e-6
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 49 * 320]


def test_streamed_windows_are_those_of_the_whole(project: Project, waveform: Path) -> None:
    recognizer = project.train(waveform, name="streamed", open_set=False)
    sound = sounds.whistle(2, 50)
    scored = list(recognizer.stream(sound, sample_rate=sounds.RATE))
    assert len(scored) > 3
    assert scored[1].start - scored[0].start == pytest.approx(0.1)
    assert scored[0].end - scored[0].start == pytest.approx(0.98)


def test_a_clip_is_weighted_by_how_loud_its_windows_are(project: Project, waveform: Path) -> None:
    """A sound in a long silence is that sound: of silence there is ten times as much."""
    recognizer = project.train(waveform, name="loud", open_set=False)
    silence = np.zeros(sounds.RATE * 5, np.float32)
    for make, label in ((sounds.whistle, "whistle"), (sounds.snaps, "snaps")):
        sound = np.concatenate((silence, make(1.5, 60), silence))
        assert recognizer.recognize(sound, sounds.RATE).label == label
    assert recognizer.recognize(silence, sounds.RATE).scores.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_evaluation_and_the_open_set_work_on_it(project: Project, waveform: Path) -> None:
    evaluation = project.evaluate(waveform, folds=2)
    assert evaluation.hint is None
    assert evaluation.labels[-2:] == ("_background_noise_", "_unknown_")
    assert evaluation.accuracy.value > 0.8


def test_fine_tuning_is_refused(project: Project, waveform: Path) -> None:
    with pytest.raises(EarmarkError, match="can't be fine-tuned"):
        project.train(waveform, open_set=False, fine_tuning_epochs=1)


def test_opened_by_name_and_file_it_is_the_same(waveform: Path) -> None:
    assert open_foreign_base(waveform, "yamnet").content == open_base(str(waveform)).content
