"""The package as a whole: what it shows, and what it doesn't load."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import earmark
from tests import sounds


def loaded_after(script: str, *arguments: str) -> set[str]:
    """The packages that a fresh Python holds after the script."""
    script += "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules}, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines())


def test_importing_earmark_is_light() -> None:
    loaded = loaded_after("import earmark")
    assert "earmark" in loaded
    assert not loaded & {"numpy", "torch", "onnx", "onnxruntime", "soundfile", "soxr", "sounddevice", "fastapi", "rich"}


def test_listening_with_a_saved_model_needs_no_torch_and_no_web_server(
    trained: earmark.Project, tmp_path: Path
) -> None:
    np.save(tmp_path / "whistle.npy", sounds.whistle(1, 11))
    script = """if True:
        import sys, numpy, earmark
        samples = numpy.load(sys.argv[2])
        for path in (sys.argv[1], sys.argv[1] + "/models/sounds", sys.argv[1] + "/models/sounds/model.onnx"):
            recognizer = earmark.load(path)
            assert recognizer.recognize(samples, 48_000).label == "Left"
            assert [found.label for found in recognizer.listen(samples, sample_rate=48_000)] == ["Left"]
    """
    loaded = loaded_after(script, str(trained.path), str(tmp_path / "whistle.npy"))
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "onnx", "fastapi", "uvicorn", "starlette", "websockets", "sounddevice"}


def test_the_words_need_no_torch_and_no_web_server_either(tmp_path: Path) -> None:
    np.save(tmp_path / "whistle.npy", sounds.whistle(1, 11))
    script = """if True:
        import sys, numpy, earmark
        recognizer = earmark.load("words")
        samples = numpy.load(sys.argv[1])
        assert len(recognizer.recognize(samples, 48_000).scores) == 20
        list(recognizer.listen(samples, sample_rate=48_000))
    """
    loaded = loaded_after(script, str(tmp_path / "whistle.npy"))
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "onnx", "fastapi", "uvicorn", "starlette", "websockets", "sounddevice"}


@pytest.mark.parametrize(("mode", "base"), [("sounds", "sounds"), ("words", "words")])
def test_training_needs_no_torch_and_no_web_server(tmp_path: Path, mode: str, base: str) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True, mode=mode)
    project.add("Left", sounds.whistle(1, 1), sounds.RATE)
    project.add("Right", sounds.snaps(1, 2), sounds.RATE)
    script = "import earmark, sys; earmark.Project(sys.argv[1]).train(sys.argv[2], epochs=1)"
    loaded = loaded_after(script, str(project.path), base)
    assert {"onnx", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "fastapi", "uvicorn", "starlette", "websockets", "sounddevice", "matplotlib"}
    assert (project.path / "models" / base / "model.onnx").is_file()


def test_every_public_name_is_there() -> None:
    for name in earmark.__all__:
        assert getattr(earmark, name) is not None
    assert {"Clip", "EarmarkError", "Project", "Recognizer", "load", "open_source", "read_clip"} <= set(earmark.__all__)


@pytest.mark.parametrize("first", ["compute_spectrogram", "load", "Project"])
def test_no_public_name_is_hidden_by_a_module_whatever_is_used_first(first: str) -> None:
    script = """if True:
        import sys, types, earmark
        getattr(earmark, sys.argv[1])
        print(not any(isinstance(getattr(earmark, name), types.ModuleType) for name in earmark.__all__))
    """
    run = subprocess.run([sys.executable, "-c", script, first], capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'earmark' has no attribute 'lode'"):
        _ = earmark.lode


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert earmark.__version__ == version("earmark")


def test_telling_the_version_is_light() -> None:
    loaded = loaded_after("import earmark\nassert earmark.__version__")
    assert not loaded & {"numpy", "onnxruntime", "importlib_metadata", "typer"}
    script = """if True:
        import sys
        from earmark.cli.main import main
        sys.argv = ["earmark", "--version"]
        try:
            main()
        except SystemExit as ended:
            assert not ended.code
    """
    loaded = loaded_after(script)
    assert "typer" in loaded
    assert not loaded & {"numpy", "torch", "onnx", "onnxruntime", "soundfile", "soxr", "sounddevice", "fastapi"}
