"""TensorFlow Lite networks as bases: run by LiteRT, found by their sum, never taken from a model's file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earmark import EarmarkError, Project, export_model, load
from earmark.exchange.exporting import ONNX
from earmark.models.adding_bases import add_file, remove_base
from earmark.models.user_bases import find_base, user_bases
from earmark.training.bases import open_base
from tests import sounds
from tests.tflite_files import rows_file

pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

SAMPLES, VALUES = 8_000, 16
TOML = "sample_rate = 16000\nwindow = 0.5\n"


pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    (tmp_path / "rows.tflite").write_bytes(rows_file(SAMPLES, VALUES))
    (tmp_path / "rows.toml").write_text(TOML)
    return tmp_path / "rows.tflite"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "garden", create=True, mode="words")
    for take in range(3):
        made.add("whistle", sounds.whistle(1.5, take), sounds.RATE)
        made.add("snaps", sounds.snaps(1.5, take), sounds.RATE)
    return made


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (count, SAMPLES)).astype(np.float32)


def test_its_embedding_over_time_is_pooled(rows: Path) -> None:
    sound = windows(3)
    over_time = sound.reshape(3, -1, VALUES)
    expected = np.concatenate((over_time.mean(axis=1), over_time.max(axis=1)), axis=1)
    made = open_base(rows).embed_windows(sound.reshape(3, 25, 320))
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_what_its_last_dense_layer_takes(tmp_path: Path) -> None:
    (tmp_path / "s.tflite").write_bytes(rows_file(SAMPLES, VALUES, kernel=np.ones((3, VALUES))))
    sound = windows(2)
    for output in ("made", "before the last dense layer"):
        (tmp_path / "s.toml").write_text(TOML + f"pooling = 'max'\noutput = {output!r}\n")
        base = add_file(f"s-{len(output)}", tmp_path / "s.tflite")
        made = open_base(base.name).embed_windows(sound.reshape(2, 25, 320))
        np.testing.assert_allclose(made, sound.reshape(2, -1, VALUES).max(axis=1), atol=1e-6)
        remove_base(base.name)


def test_a_file_that_is_trained_on_is_kept_since_the_model_needs_it(rows: Path, project: Project) -> None:
    trained = project.train(rows, open_set=False)
    assert [base.name for base in user_bases()] == ["rows"]
    rows.unlink()
    recognizer = load(project.path)
    sound = sounds.whistle(1.5, 9)
    np.testing.assert_array_equal(
        recognizer.recognize(sound, sounds.RATE).scores, trained.recognize(sound, sounds.RATE).scores
    )
    again = "import sys, earmark; print(earmark.load(sys.argv[1]).recognize(sys.argv[2]).label)"
    file = project.clips("snaps")[0].path
    done = subprocess.run(
        [sys.executable, "-c", again, str(project.path), str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, recognizer.recognize(file).label), done.stderr


def test_a_model_without_its_base_says_what_it_needs(rows: Path, project: Project) -> None:
    project.train(rows, open_set=False)
    base = find_base("rows")
    assert base is not None
    content = base.file.read_bytes()
    remove_base("rows")
    with pytest.raises(EarmarkError, match=r"needs the base rows, .+ add its file with `earmark base add rows FILE`"):
        load(project.path)
    again = rows.with_name("other.tflite")
    again.write_bytes(content)
    shutil.copy(rows.with_suffix(".toml"), again.with_suffix(".toml"))
    add_file("renamed", again)
    assert load(project.path).labels == ("whistle", "snaps")


def test_another_network_of_that_name_is_never_run(rows: Path, project: Project) -> None:
    project.train(rows, open_set=False)
    base = find_base("rows")
    assert base is not None
    base.file.write_bytes(rows_file(SAMPLES, 2 * VALUES))
    with pytest.raises(EarmarkError, match="isn't among your bases"):
        load(project.path)


def test_it_runs_as_the_user_has_declared_it_whatever_the_model_says(rows: Path, project: Project) -> None:
    project.train(rows, open_set=False)
    base = find_base("rows")
    assert base is not None
    base.file.with_suffix(".toml").write_text(TOML + "scale = 2.0\n")
    with pytest.raises(EarmarkError, match=r"doesn't fit the base rows as it is declared in .+: train it again"):
        load(project.path)


def test_it_is_exported_to_no_onnx_file(rows: Path, project: Project, tmp_path: Path) -> None:
    trained = project.train(rows, open_set=False)
    with pytest.raises(EarmarkError, match=r"TensorFlow Lite network, which .+ can't hold"):
        export_model(trained, tmp_path / "out.onnx", ONNX)
    assert not (tmp_path / "out.onnx").exists()


def test_what_is_damaged_or_not_declared_is_told(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.tflite").write_bytes(rows.read_bytes()[:60])
    (tmp_path / "cut.toml").write_text(TOML)
    (tmp_path / "bare.tflite").write_bytes(rows.read_bytes())
    (tmp_path / "long.tflite").write_bytes(rows.read_bytes())
    (tmp_path / "long.toml").write_text(TOML.replace("0.5", "0.6"))
    for name, said in (("cut", "can be run|declare"), ("bare", "declare what it hears"), ("long", "takes 1×8000")):
        with pytest.raises(EarmarkError, match=said):
            open_base(tmp_path / f"{name}.tflite")
    assert user_bases() == []


def test_without_the_package_the_extra_is_named(rows: Path) -> None:
    code = (
        "import sys; sys.modules['ai_edge_litert'] = None\n"
        "from earmark.training.bases import open_base\n"
        "try: open_base(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(rows)], capture_output=True, text=True, check=True)
    assert "install it with `pip install 'earmark[tflite]'`" in done.stdout
    assert done.stdout.startswith("EarmarkError")
