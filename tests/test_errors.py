"""What a user reads, whatever it names."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from earmark import EarmarkError, Project
from earmark.errors import on_one_line
from earmark.exchange.importing import import_into
from reliability.fuzz_mutation import pack
from tests import sounds


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\0", "\x7f", "\x9b", "\u2028", "\udcff"])
def test_no_name_ends_the_line_or_commands_the_terminal(character: str) -> None:
    assert str(EarmarkError(f"a{character}b is damaged")) == "a?b is damaged"


def test_names_in_other_scripts_stay() -> None:
    assert on_one_line("été 👩‍👩‍👧 שלום") == "été 👩‍👩‍👧 שלום"


def test_an_imports_notes_are_on_one_line(tmp_path: Path) -> None:
    from earmark.audio.clip import Clip, encode_wav

    wav = encode_wav(Clip(sounds.whistle(0.2, 1), sounds.RATE))
    data = pack([("Left/a.wav", wav), ("Left/b\x1b[2J\n.txt", b""), ("Left/c\r.wav", b"RIFF")])
    imported = import_into(Project(tmp_path / "p", create=True), io.BytesIO(data), name="my.zip")
    assert len(imported.added) == 1
    assert [name for name, _ in imported.skipped] == ["Left/b?[2J?.txt", "Left/c?.wav"]
    assert all(reason.isprintable() for _, reason in imported.skipped)
