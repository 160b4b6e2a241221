"""Files that are either whole or not there: written aside, flushed to the disk, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earmark.errors import EarmarkError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there only once all of it is on the disk.

    Raises:
        EarmarkError: the disk is full or the folder can't be written; `path` is then as it was.
    """
    aside = path.with_name(f".{secrets.token_hex(6)}.part")
    with _told(path):
        try:
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def move(source: Path, destination: Path) -> None:
    """Rename a file or folder within one disk, making the folder it goes to.

    Raises:
        EarmarkError: it can't be moved.
    """
    with _told(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        source.rename(destination)
        _sync_folder(destination.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        EarmarkError: it can't be made.
    """
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EarmarkError(
            f"{path} can't be written ({error.strerror}): free some space or choose a folder that you may write to."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries, without which a rename can be lost with the power (fsync(2))."""
    if os.name == "nt":  # Windows has no handle on a folder to flush
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
