"""What is declared of the package: its extras, their bounds; and that the scripts which check them tell."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TOOLS = {"dist", "test"}  # for whoever works on Earmark


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return import_module(request.param)


def extras() -> set[str]:
    return set(metadata("earmark").get_all("Provides-Extra") or ())


def brought_by(extra: str) -> set[str]:
    """The packages that pyproject.toml names for an extra, and those for every installation."""
    asked = map(Requirement, requires("earmark") or ())
    return {one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})}


def test_the_readme_tells_of_every_extra() -> None:
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == extras() - TOOLS


def test_pytorch_is_for_pretraining_alone() -> None:
    with_it = {extra for extra in extras() if "torch" in brought_by(extra)}
    assert with_it == {"pretrain", "test"}
    assert "threadpoolctl" in brought_by("train") & brought_by("studio")


@pytest.mark.parametrize("script", ["lowest"], indirect=True)
def test_a_bound_that_nothing_tries_is_told(script: Any) -> None:
    (typer,) = (one for one in map(Requirement, requires("earmark") or ()) if one.name == "typer")
    (bound,) = (one.version for one in typer.specifier)
    assert script.above_their_bounds({"typer": f"{bound}.0", "shellingham": "1.5.4", "torch": "2.13.0"}) == []
    newer = script.above_their_bounds({"typer": f"{bound}.1", "numpy": "2.0.0"})
    assert newer == ["numpy 1.26 (2.0.0 is the lowest to be had)", f"typer {bound} ({bound}.1 is the lowest to be had)"]


@pytest.mark.parametrize("script", ["dist"], indirect=True)
def test_contents_that_are_not_those_of_the_commit_are_told(script: Any) -> None:
    wheel, files = Path("earmark.whl"), {"earmark/__init__.py", "earmark/models/words/model.onnx"}
    script.compare(wheel, files, files)
    with pytest.raises(SystemExit, match=r"missing: none; too many: tests/yes\.wav\.$"):
        script.compare(wheel, {*files, "tests/yes.wav"}, files)
    with pytest.raises(SystemExit, match=r"missing: earmark/models/words/model\.onnx; too many: none\.$"):
        script.compare(wheel, {"earmark/__init__.py"}, files)


@pytest.mark.parametrize("script", ["dist", "lowest"], indirect=True)
def test_an_installer_that_fails_ends_the_script_and_is_heard(
    script: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=r"ended with exit code 2; what it said stands above\.$"):
        script._run("ls", str(tmp_path / "nowhere"))
    assert "nowhere" in capfd.readouterr().err
