"""What a part of the reliability runs found, for the table of docs/reliability.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
        what: was tried.
        asked: what must hold.
        measured: what was found.
        holds: whether it does.
    """

    what: str
    asked: str
    measured: str
    holds: bool
