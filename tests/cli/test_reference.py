"""The reference of the command line is what the commands say of themselves."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from earmark.cli.base import base_app
from earmark.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "cli_reference.py"))


def test_the_page_is_up_to_date(script: dict[str, Any]) -> None:
    assert script["reference"]() == PAGE, "run scripts/cli_reference.py"


@pytest.mark.parametrize(
    "command",
    [
        prefix + (one.name or one.callback.__name__)
        for prefix, group in (("", app), ("base ", base_app))
        for one in group.registered_commands
        if one.callback
    ],
)
def test_help_and_the_page_name_the_same_options(command: str) -> None:
    section = PAGE.partition(f"\n## `earmark {command}`\n")[2].partition("\n## ")[0]
    told = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    in_help = {word.rstrip(",.") for word in told.split() if word.startswith("--")} - {"--help"}
    on_page = {word.strip("`") for word in section.split() if word.startswith("`--")}
    assert on_page
    assert in_help >= on_page
    assert {option for option in in_help if not option.startswith("--no-")} <= on_page | {"--test", "--lan", "--host"}
