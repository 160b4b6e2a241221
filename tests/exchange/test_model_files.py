"""Models that somebody wants to import: on the command line, what `import_into` says of them."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import earmark
from earmark.cli.main import _as_model
from earmark.errors import EarmarkError
from earmark.exchange.importing import import_into
from earmark.tfjs.reading import is_tfjs

LAYERS = b'{"format": "layers-model", "modelTopology": {"class_name": "Sequential", "config": {"layers": []}}}'


@pytest.fixture
def project(tmp_path: Path) -> earmark.Project:
    return earmark.Project(tmp_path / "project", create=True, mode="words")


def refused(project: earmark.Project, path: Path) -> str:
    with pytest.raises(EarmarkError) as error:
        import_into(project, path, label="Left")
    assert not project.labels
    return str(error.value)


def use(path: Path | str) -> str:
    return (
        f"{str(path).strip(chr(39))} is a model, not recordings: "
        f"listen with earmark listen {path}, or train on it with earmark train PROJECT --base {path}."
    )


def write(path: Path, files: dict[str, bytes]) -> Path:
    """A zip of those files, or a folder where the path has no suffix."""
    if path.suffix:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["download.zip", "download"])
@pytest.mark.parametrize("folder", ["", "my-model/"])
def test_a_model_of_tensorflow_js_is_told(project: earmark.Project, tmp_path: Path, name: str, folder: str) -> None:
    files = {f"{folder}{file}": content for file, content in {
        "metadata.json": b'{"words": ["a"]}', "model.json": LAYERS, "weights.bin": bytes(8),
    }.items()}  # fmt: skip
    path = write(tmp_path / name, files)
    model = path if path.suffix else path / folder / "model.json"
    assert refused(project, path) == use(model)
    assert is_tfjs(model), "what the sentence names is what `load` takes"


def test_a_model_s_own_files_are_told(project: earmark.Project, tmp_path: Path) -> None:
    whole = write(tmp_path / "model", {"model.json": LAYERS, "model.onnx": b"\x08\x08", "net.tflite": b"TFL3"})
    for name in ("model.json", "model.onnx"):
        assert refused(project, whole / name) == use(whole / name)
    assert "export it as TensorFlow.js instead." in refused(project, whole / "net.tflite")
    parts = ("metadata.json", "weights.bin", "my.weights.bin", "group1-shard1of2", "group1-shard2of2.bin")
    write(whole, dict.fromkeys(parts, b"{}"))
    for name in parts:
        told = refused(project, whole / name)
        assert told.startswith(f"{whole / name} is a part of a model, not a recording: keep it beside model.json")


def test_a_name_with_spaces_is_quoted_as_a_shell_needs_it(project: earmark.Project, tmp_path: Path) -> None:
    path = write(tmp_path / "my model.zip", {"model.json": LAYERS})
    assert refused(project, path) == use(f"'{path}'")


def test_a_folder_or_a_zip_of_another_kind_of_model_is_told(project: earmark.Project, tmp_path: Path) -> None:
    assert refused(project, write(tmp_path / "own", {"model.onnx": b"\x08", "model.json": b"{}"})) == use(
        tmp_path / "own" / "model.onnx"
    )
    zipped = write(tmp_path / "own.zip", {"words/model.onnx": b"\x08"})
    assert "unpack it, and run earmark listen words/model.onnx." in refused(project, zipped)
    lite = write(tmp_path / "lite.zip", {"soundclassifier_with_metadata.tflite": b"TFL3", "labels.txt": b"0 a"})
    assert "a model of a kind that Earmark doesn't read" in refused(project, lite)


@pytest.mark.parametrize(
    "files",
    [
        {"model.json": b'{"name": "a car"}', "read me.txt": b"hi"},
        {"model.json": b" " * (5 << 20) + LAYERS},  # no model.json is as large
        {"notes.bin": bytes(8), "shard.json": b"[]"},
    ],
)
def test_what_is_no_model_is_told_what_to_choose(
    project: earmark.Project, tmp_path: Path, files: dict[str, bytes]
) -> None:
    path = write(tmp_path / "some", files)
    assert re.match(rf"{re.escape(str(path))} holds no recordings: choose label folders, ", refused(project, path))
    for name in files:
        if not name.endswith(".json") or b"modelTopology" not in files[name]:
            assert "can't be imported: choose label folders, " in refused(project, path / name)


def test_recordings_beside_a_model_are_imported(project: earmark.Project, tmp_path: Path) -> None:
    import soundfile

    from tests import sounds

    path = write(tmp_path / "both", {"model.json": LAYERS})
    (path / "Left").mkdir()
    soundfile.write(path / "Left" / "1.wav", sounds.whistle(1.0, 1), sounds.RATE)
    imported = import_into(project, path)
    assert [clip.label for clip in imported.added] == ["Left"]
    assert [name for name, _ in imported.skipped] == ["model.json"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("keras_model.h5", b"\x89HDF\r\n\x1a\n", "Keras"),
        ("soundclassifier_with_metadata.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        ("model", b"\x1c\0\0\0TFL3", "TensorFlow Lite"),  # by its content
        ("saved_model.pb", b"\x08\x01", "TensorFlow"),
        ("net.pt", b"PK\3\4", "PyTorch"),
        ("converted_keras.zip", {"keras_model.h5": b"\x89HDF", "labels.txt": b"0 a"}, "Keras"),
        ("converted_tflite.zip", {"model.tflite": b"TFL3", "labels.txt": b"0 a"}, "TensorFlow Lite"),
        ("folder", {"saved_model.pb": b"\x08", "labels.txt": b"0 a"}, "TensorFlow"),
    ],
)
def test_models_of_other_kinds_are_told_where_a_model_is_loaded(
    name: str, content: bytes | dict[str, bytes], kind: str, tmp_path: Path
) -> None:
    if isinstance(content, dict):
        path = write(tmp_path / name, content)
    else:
        path = tmp_path / name
        path.write_bytes(content)
    with pytest.raises(earmark.EarmarkError) as told:
        earmark.load(path)
    assert f"{path} is a model of a kind that Earmark doesn't read ({kind})" in str(told.value)
    assert "Export Model, TensorFlow.js, Download" in str(told.value)


ADDRESS = "https://example.com/my%20sounds/a.wav"


@pytest.mark.parametrize("given", [ADDRESS, Path(ADDRESS)])
def test_an_address_is_no_file_at_any_door(given: str | Path, project: earmark.Project) -> None:
    doors: list[Callable[[], object]] = [
        lambda: earmark.load(given),
        lambda: earmark.read_clip(given),
        lambda: earmark.open_source(given),
        lambda: project.add("a", given),
        lambda: import_into(project, given),
    ]
    for door in doors:
        with pytest.raises(earmark.EarmarkError) as told:
            door()
        assert f"{ADDRESS} is an address, and a file is needed: download it (curl -LO " in str(told.value)


def test_commands_that_messages_suggest_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "Anna's sounds; rm x"
    folder.mkdir()
    with pytest.raises(earmark.EarmarkError) as told:
        earmark.Project(folder)
    command = re.search(r"`(.*)`", str(told.value))
    assert command is not None
    assert shlex.split(command[1]) == ["earmark", "studio", str(folder)]
    made = earmark.Project(tmp_path / "a b", create=True)
    with pytest.raises(earmark.EarmarkError) as told:
        made.model()
    command = re.search(r"`(.*)`", str(told.value))
    assert command is not None
    assert shlex.split(command[1]) == ["earmark", "train", str(made.path)]
    assert shlex.split(_as_model(Path("my sounds"))) == ["my sounds"]
    assert shlex.split(_as_model(Path("-x"))) == ["./-x"]
