"""What the documentation says is there is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import earmark
from earmark import Project, Recognizer
from earmark.training.heads import HeadOptions
from earmark.training.transfer import TransferOptions

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "speech-commands.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"((?:\w+/)?test_\w+\.py)::(test_\w+)", PAGE)))


def test_the_page_names_many_tests() -> None:
    assert len(NAMED) > 40
    assert len(re.findall(r"test_\w+\.py", PAGE)) == len(re.findall(r"\| (?:\w+/)?test_\w+\.py::test_\w+ \|\n", PAGE))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_that_the_page_names_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("owner", "prefix"), [(Project, "project"), (Recognizer, "recognizer"), (earmark, "earmark")])
def test_every_name_that_the_page_uses_is_there(owner: object, prefix: str) -> None:
    names = set(re.findall(rf"`{prefix}\.(\w+)", PAGE)) - {"labels", "metadata", "models", "front_end"}
    assert len(names) > 1
    for name in names:
        assert hasattr(owner, name) or name in getattr(owner, "__annotations__", {}) or name == "history"


def test_the_defaults_are_those_of_the_page() -> None:
    defaults = {**vars(HeadOptions()), **vars(TransferOptions())}
    told = dict(re.findall(r"\| `(\w+)` \(([^)]+)\)[^|]*\|", PAGE))
    assert {"epochs", "batch_size", "fine_tuning_optimizer", "window_hop_ratio"} <= told.keys()
    for name, default in told.items():
        if name in defaults:
            assert ast.literal_eval(default) == defaults[name], name


def test_the_program_of_the_page_is_python() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    ast.parse(program)
    for method in re.findall(r"(?:base|project|recognizer)\.(\w+)", program):
        assert hasattr(Project, method) or hasattr(Recognizer, method)
