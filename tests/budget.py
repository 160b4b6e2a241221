"""How many cases a property is tried with."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

WHOLE = 100  # cases of a property that names no budget, in the whole suite
FEWEST = 10


def budget(cases: int, **options: Any) -> settings:
    """So many cases in the whole suite, and in the quick one its share of them; a decorator."""
    return settings(max_examples=max(FEWEST, cases * settings().max_examples // WHOLE), **options)
