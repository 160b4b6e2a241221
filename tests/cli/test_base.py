"""`earmark base`, and `train` and `evaluate` with a base of one's own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earmark import Project
from earmark.cli.main import app
from earmark.models import adding_bases
from earmark.models.adding_bases import KNOWN, YAMNET
from tests import chirps, sounds, yamnet
from tests.storage.test_download import Handler, served

pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture(scope="module")
def content() -> bytes:
    return yamnet.waveform_file(yamnet.random_network())


@pytest.fixture
def file(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(content)
    return tmp_path / "net.onnx"


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    project = Project(tmp_path / "garden", create=True, mode="words")
    for take in range(3):
        project.add("whistle", sounds.whistle(4, take), sounds.RATE)
        project.add("snaps", sounds.snaps(4, take), sounds.RATE)
    return project.path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_add_list_and_remove(file: Path) -> None:
    assert run("base", "list") == "yamnet  not here: `earmark base add yamnet` (16.1 MB, Apache-2.0)\n"
    told = json.loads(run("base", "add", "garden", file, "--json"))
    assert told["name"] == "garden"
    assert Path(told["path"]).read_bytes() == file.read_bytes()
    lines = [json.loads(line) for line in run("base", "list", "--json").splitlines()]
    assert [(line["name"], line["path"] is None) for line in lines] == [("garden", False), ("yamnet", True)]
    assert run("base", "remove", "garden") == "Removed garden.\n"
    assert json.loads(run("base", "list", "--json"))["path"] is None


def test_yamnet_is_downloaded_by_name(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(handler: Handler) -> None:
        handler.part(handler.start, content)
        handler.wfile.write(content[handler.start :])

    small = replace(KNOWN[YAMNET], size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(adding_bases, "KNOWN", {YAMNET: small})
    with served(answer) as (url, asked):
        monkeypatch.setenv("HF_ENDPOINT", url.rpartition("/")[0])
        assert run("base", "add", "yamnet").endswith("Now: earmark train PROJECT --base yamnet\n")
    assert len(asked) == 1
    assert run("base", "list").startswith("yamnet  ")


@pytest.mark.parametrize("named", [True, False])
def test_a_base_of_ones_own_is_trained_on_by_name_and_by_file(named: bool, file: Path, garden: Path) -> None:
    base: object = file
    if named:
        run("base", "add", "net", file)
        base = "net"
    run("train", garden, "--base", base, "--no-open-set")
    heard = json.loads(run("recognize", Project(garden).clips("snaps")[0].path, "--model", garden, "--json"))
    assert heard["label"] == "snaps"
    card = Project(garden).model_card()
    assert card is not None
    assert card["base"] == "net"


@pytest.mark.slow
def test_sounds_on_a_base_for_words_get_a_hint_and_words_do_not(garden: Path, tmp_path: Path) -> None:
    hint = (
        "If these are sounds that aren't speech, the base yamnet hears them better: `earmark base add yamnet` (16 MB)"
    )
    assert hint in run("train", garden, "--base", "words")
    lines = [json.loads(line) for line in run("train", garden, "--base", "words", "--json").splitlines()]
    assert [line["hint"] for line in lines if "hint" in line] == [f"{hint} downloads it. So does ear, which is here."]
    assert hint in json.loads(run("evaluate", garden, "--base", "words", "--folds", 2, "--json"))["advice"][-1]
    spoken = Project(tmp_path / "spoken", create=True, mode="words")
    for take in range(3):
        for word in ("rise", "fall"):
            spoken.add(word, chirps.word(word, take=take), chirps.RATE)
    assert "yamnet" not in run("train", spoken.path, "--base", "words")
