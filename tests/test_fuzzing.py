"""The fuzzer itself: what it must find, it finds; and what it makes of a case is the same each time."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliability import fuzzing
from reliability.fuzz_mutation import join, mutate_json, mutate_zip, pack, split
from reliability.fuzz_targets import CORPUS, TARGETS, corpus_of
from reliability.fuzzing import Fuzz, Outcome


def found_of(name: str, folder: Path) -> Outcome:
    return Fuzz(name, 1, 60, plain=True, findings=folder, module="tests.broken_targets").run()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fail", "KeyError"),
        ("tell_two_lines", "AssertionError"),
        ("die", "the process ended with"),
        ("hang", "a case took more than"),
        ("fill", "a case took more than"),
        ("write_elsewhere", "ForbiddenError"),
        ("rename_elsewhere", "ForbiddenError"),
        ("unpickle", "ForbiddenError"),
        ("start", "ForbiddenError"),
        ("fail_in_thread", "KeyError"),
    ],
)
def test_what_no_parser_may_do_is_found(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "MOST_DEATHS", 1)
    if name == "hang":
        monkeypatch.setattr(fuzzing, "CASE_SECONDS", 0.3)
    if name == "fill":
        monkeypatch.setattr(fuzzing, "CASE_BYTES", 100 << 20)
    outcome = found_of(name, tmp_path)
    assert len(outcome.findings) == 1, outcome
    assert outcome.findings[0].startswith(said)
    assert outcome.folder is not None
    kept = [file for file in outcome.folder.iterdir() if file.suffix != ".txt"]
    assert [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in kept] == [file.name for file in kept]
    assert len(kept) == 1


def test_what_a_parser_may_do_is_no_finding(tmp_path: Path) -> None:
    outcome = found_of("behave", tmp_path)
    assert (outcome.cases, outcome.findings) == (1, [])


def test_every_target_has_seeds_and_they_are_small() -> None:
    assert {folder.name for folder in CORPUS.iterdir() if folder.is_dir()} == set(TARGETS)
    assert all(corpus_of(target) for target in TARGETS.values())
    assert sum(file.stat().st_size for file in CORPUS.rglob("*") if file.is_file()) <= 200_000


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_same_number_makes_the_same_cases(name: str) -> None:
    pytest.importorskip("onnx")
    target = TARGETS[name]
    for _, seed in corpus_of(target):
        made = [[target.mutate(seed, Random(number)) for number in range(5)] for _ in range(2)]
        assert made[0] == made[1]
        assert any(case != seed for case in made[0])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=50) | st.binary(max_size=50)))
def test_messages_come_out_as_they_went_in(messages: list[str | bytes]) -> None:
    assert split(join(messages)) == messages


@given(st.binary(), st.integers(0, 1_000))
def test_whatever_is_changed_something_comes_out(data: bytes, seed: int) -> None:
    for target in TARGETS.values():
        if target.name != "onnx":  # which needs a package
            assert isinstance(target.mutate(data, Random(seed)), bytes)


def test_what_is_made_of_parts_is_mostly_whole_again() -> None:
    def is_zip(data: bytes) -> bool:
        return zipfile.is_zipfile(io.BytesIO(data))

    seed = pack([("a.json", b'{"a": [1, {"b": null}]}'), ("b", b"x")])
    assert sum(is_zip(mutate_zip(seed, Random(number))) for number in range(100)) > 70

    def is_json(data: bytes) -> bool:
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            return False
        return True

    assert sum(is_json(mutate_json(b'{"a": [1, {"b": null}]}', Random(number))) for number in range(100)) > 70
