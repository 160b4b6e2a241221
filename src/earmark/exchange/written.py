"""What exports of recordings tell."""

from __future__ import annotations

from dataclasses import dataclass, field

from earmark.clips.folders import ClipFile


@dataclass
class Written:
    """What an export did.

    Attributes:
        count: how many recordings were written.
        skipped: name and reason of each that was left out.
        notes: sentences that the user should read.
    """

    count: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, clip: ClipFile, reason: object) -> None:
        """Note that a recording is left out."""
        self.skipped.append((f"{clip.label}/{clip.path.name}", str(reason)))
