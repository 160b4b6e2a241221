"""The page of licences names every dependency, and the audit doesn't take silence for safety."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return import_module(request.param)


def test_every_dependency_is_on_the_page() -> None:
    command = [sys.executable, str(SCRIPTS / "licences.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["licences"], indirect=True)
def test_one_that_is_missing_is_told(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "licences.md"
    page.write_text("".join(line for line in script.PAGE.open(encoding="utf-8") if not line.startswith("| soxr |")))
    monkeypatch.setattr(script, "PAGE", page)
    assert script.missing() == ["soxr"]


@pytest.mark.parametrize("script", ["licences"], indirect=True)
@pytest.mark.parametrize(
    ("text", "permissive"),
    [
        ("MIT", True), ("Apache-2.0 OR BSD-3-Clause", True), ("LGPL-2.1-or-later", False), ("GPL-3.0-only", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False), ("MIT AND LGPL-2.1-or-later", False), ("not told", False),
        ("NVIDIA Proprietary Software", False),
    ],
)  # fmt: skip
def test_what_is_permissive(script: Any, text: str, permissive: bool) -> None:
    assert script.is_permissive(text) is permissive


@pytest.mark.parametrize("script", ["audit"], indirect=True)
def test_what_was_not_looked_up_is_told(script: Any) -> None:
    wanted = {"numpy": "1.0", "soxr": "2.0"}
    fine = {"name": "numpy", "version": "1.0", "vulns": []}
    flawed = {"name": "soxr", "version": "2.0", "vulns": [{"id": "X-1", "fix_versions": ["2.1"]}]}
    skipped = {"name": "soxr", "skip_reason": "not found"}
    assert script.report([fine, {**flawed, "vulns": []}], wanted)[1] == 0
    assert script.report([fine, flawed], wanted) == (
        "soxr 2.0: X-1, mended in 2.1.\n2 of 2 packages looked up, 1 with known vulnerabilities.\n",
        1,
    )
    for found in ([fine], [fine, skipped]):
        text, code = script.report(found, wanted)
        assert code == 2
        assert text.endswith("Not looked up, since pip-audit didn't reach data on them: soxr.\n")
