"""Bases of the user's own: added from files and from a hub, listed, removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from earmark import EarmarkError
from earmark.models import adding_bases
from earmark.models.adding_bases import KNOWN, YAMNET, add_file, add_known, remove_base
from earmark.models.user_bases import find_base, user_bases
from earmark.storage.user_folders import user_data
from earmark.training.bases import bases, open_base
from tests import yamnet
from tests.storage.test_download import Handler, served

pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture(scope="module")
def content() -> bytes:
    return yamnet.waveform_file(yamnet.random_network())


@pytest.fixture
def file(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(content)
    return tmp_path / "net.onnx"


def test_the_folder_is_the_users_data_folder() -> None:
    assert user_data() == platformdirs.user_data_path("earmark", appauthor=False)


def test_a_file_is_added_with_its_declaration_listed_and_removed(file: Path, own_folders: Path) -> None:
    assert user_bases() == []
    file.with_suffix(".toml").write_text("sample_rate = 16000\nwindow = 1.5\noutput = 'embeddings'\n")
    added = add_file("garden", file)
    assert user_bases() == [added] == [find_base("garden")]
    assert added.file == own_folders / "garden" / "base.onnx"
    file.unlink()
    base = open_base("garden")
    assert base.metadata.name == "garden"
    assert base.metadata.window_frames == 75
    assert [entry.name for entry in bases("words")] == ["auto", "speech", "words", "ear", "yamnet", "garden"]
    with pytest.raises(EarmarkError, match="'garden' is there already: `earmark base remove garden` first"):
        add_file("garden", added.file)
    remove_base("garden")
    assert user_bases() == []
    with pytest.raises(EarmarkError, match="no base 'garden' to remove: none was added"):
        remove_base("garden")


@pytest.mark.parametrize(
    "name", ["", "..", "../up", "a/b", "Upper", "words", "speech", "sounds", "-x", "x" * 50, "a b"]
)
def test_names_that_cannot_be(name: str, file: Path, own_folders: Path) -> None:
    with pytest.raises(EarmarkError, match="choose another of small letters"):
        add_file(name, file)
    assert not own_folders.exists()


def test_what_is_no_base_is_not_added(tmp_path: Path, own_folders: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    for name in ("no.onnx", "missing.onnx"):
        with pytest.raises(EarmarkError):
            add_file("mine", tmp_path / name)
    assert user_bases() == []
    assert not own_folders.exists() or not any(own_folders.iterdir())


def test_yamnet_is_a_fixed_revision() -> None:
    known = KNOWN[YAMNET].file
    assert known.url == (
        "https://huggingface.co/zeropointnine/yamnet-onnx/resolve/ac2ca3bd45d12ec1f19f1144205ea529b4e9dedf/yamnet.onnx"
    )
    assert (known.size, len(known.sha256)) == (16_093_603, 64)


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A mirror that has another, smaller file in YAMNet's place, whose size and sum are the known ones."""
    asked: list[str] = []

    def answer(handler: Handler) -> None:
        asked.append(handler.path)
        if len(asked) == 1:  # cut off in the middle
            handler.part(0, content)
            handler.wfile.write(content[: len(content) // 2])
            return
        handler.part(handler.start, content)
        handler.wfile.write(content[handler.start :])

    small = replace(KNOWN[YAMNET], size=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(adding_bases, "KNOWN", {YAMNET: small})
    with served(answer) as (url, _):
        monkeypatch.setenv("HF_ENDPOINT", url.rpartition("/")[0] + "/")
        yield asked


def test_yamnet_is_downloaded_when_it_is_asked_for(hub: list[str], content: bytes, own_folders: Path) -> None:
    with pytest.raises(EarmarkError, match=r"yamnet isn't on this computer: `earmark base add yamnet` \(16 MB\)"):
        open_base("yamnet")
    assert [base.remedy for base in bases("words")][-1] == "`earmark base add yamnet` (16 MB) downloads it"
    assert hub == [], "nothing was asked for so far"
    added = add_known("yamnet")
    assert hub == ["/" + KNOWN[YAMNET].path] * 2
    assert added.file.read_bytes() == content
    assert sorted(path.name for path in own_folders.iterdir()) == ["yamnet"], "nothing else is left"
    assert open_base("yamnet").metadata.name == "yamnet"
    assert [base.remedy for base in bases("words")][-1] is None


def test_another_file_is_not_kept(hub: list[str], monkeypatch: pytest.MonkeyPatch, own_folders: Path) -> None:
    other = {YAMNET: replace(adding_bases.KNOWN[YAMNET], sha256="0" * 64)}
    monkeypatch.setattr(adding_bases, "KNOWN", other)
    with pytest.raises(EarmarkError, match=r"gave another file than the known yamnet\.onnx"):
        add_known("yamnet")
    assert hub
    assert not list(own_folders.iterdir())


def test_only_what_is_known_is_downloaded() -> None:
    with pytest.raises(EarmarkError, match=r"knows no base 'perch' to download: give its file .*choose yamnet\."):
        add_known("perch")
