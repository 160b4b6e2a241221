"""What exports of recordings share: what they tell, and a new file that gets its name once it is whole."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from earmark.clips import ClipFile
from earmark.errors import EarmarkError
from earmark.files import check_free, make_folder

Report = Callable[[str, int, int], object]  # what is being done, how many are done, of how many


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


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file to write into, which becomes the target at the end, unless there was an error.

    Raises:
        EarmarkError: the target is there already, or can't be written; nothing is left of it then.
    """
    check_free(target)
    make_folder(target.parent)
    aside = target.with_name(f".{secrets.token_hex(6)}.part")
    try:
        with aside.open("xb") as file:
            yield file
        aside.rename(target)
    except OSError as error:
        raise EarmarkError(
            f"{target} can't be written ({error.strerror}): free some space or choose a folder that you may write to."
        ) from error
    finally:
        aside.unlink(missing_ok=True)
