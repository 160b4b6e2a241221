"""What the benchmarks share: tables on the terminal; and what must hold, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Claim:
    """Something that must hold, and what one run says of it.

    Attributes:
        what: is measured.
        asked: what it must be, such as "≤ 1.5 ×".
        measured: what it was, in the same unit.
        holds: whether that is as asked.
    """

    what: str
    asked: str
    measured: str
    holds: bool


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """Print rows as a table; floats keep three digits."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=110).print(table)


def print_claims(title: str, claims: Sequence[Claim]) -> None:
    """Print what must hold as a table."""
    rows = [(*astuple(claim)[:3], "yes" if claim.holds else "NO") for claim in claims]
    print_table(title, ("what must hold", "asked", "measured", "holds"), rows)
