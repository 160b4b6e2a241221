"""The results of exporting recordings."""

from __future__ import annotations

from dataclasses import dataclass, field

from earmark.clips.folders import ClipFile


@dataclass
class Written:
    """The result of an export.

    Attributes:
        count: how many recordings were written.
        skipped: the name of each recording that was left out, with the reason.
        notes: sentences that the user should read.
    """

    count: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, clip: ClipFile, reason: object) -> None:
        """Note that a recording was left out."""
        self.skipped.append((f"{clip.label}/{clip.path.name}", str(reason)))
