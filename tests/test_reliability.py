"""Nothing is lost and nobody let in: the short forms of what `python -m reliability` tries for hours."""

from __future__ import annotations

import importlib

import pytest

from reliability.__main__ import PARTS


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_all_of_it_holds(part: str) -> None:
    claims = importlib.import_module(f"reliability.{part}").run(long=False)
    assert claims
    assert [claim for claim in claims if not claim.holds] == []
