"""Files that are either whole or not there: written aside, flushed to the disk, then given their name."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from earmark.errors import EarmarkError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there only once all of it is on the disk.

    Raises:
        EarmarkError: the disk is full or the folder can't be written; `path` is then as it was.
    """
    with _told(path), _written_aside(path.parent, data) as aside:
        aside.replace(path)


def write_new(path: Path, data: bytes) -> Path:
    """Write `data` to `path` or, where that is taken, to a free path like it, which is returned.

    Raises:
        EarmarkError: the disk is full or the folder can't be written; nothing is left of the file then.
    """
    with _told(path), _written_aside(path.parent, data) as aside:
        while True:
            path = free_path(path)
            try:
                path.hardlink_to(aside)  # unlike a rename, it never replaces a file that came between
            except FileExistsError:
                continue
            except OSError:  # a file system without links
                aside.replace(path)
            return path


def free_path(path: Path) -> Path:
    """The path, or one like it where it is taken."""
    free = path
    while os.path.lexists(free):
        free = path.with_name(f"{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    return free


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
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file to write into, beside the target; it becomes the target once all is written, and is gone if not.

    Raises:
        EarmarkError: something is there already, the disk is full, or the folder can't be written.
    """
    check_free(target)
    make_folder(target.parent)
    aside = target.parent / f".{secrets.token_hex(6)}.part"
    with _told(target):
        try:
            with aside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.rename(target)
            _sync_folder(target.parent)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, to write into; it becomes the target once all is written, and is gone if not.

    Raises:
        EarmarkError: something is there already, the disk is full, or the folder can't be written.
    """
    check_free(target)
    aside = target.parent / f".{secrets.token_hex(6)}.part"
    with _told(target):
        aside.mkdir(parents=True)
        try:
            yield aside
            for path in aside.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            if target.is_dir():
                target.rmdir()  # an empty one
            aside.rename(target)
            _sync_folder(target.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def check_free(target: Path) -> None:
    """Refuse to write where something is.

    Raises:
        EarmarkError: there is a file, or a folder that isn't empty.
    """
    with _told(target):
        if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
            raise EarmarkError(f"{target} is there already: delete it, or choose another name.")


@contextmanager
def _written_aside(folder: Path, data: bytes) -> Iterator[Path]:
    aside = folder / f".{secrets.token_hex(6)}.part"
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield aside
    finally:
        aside.unlink(missing_ok=True)
    _sync_folder(folder)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            raise EarmarkError(
                f"{path} can't be written, since there is a file where a folder should be: choose another place."
            ) from error
        if isinstance(error, FileNotFoundError):
            raise EarmarkError(f"{path} can't be written, since it or its folder is gone: look again.") from error
        reason = error.strerror if isinstance(error, OSError) else error
        raise EarmarkError(
            f"{path} can't be written ({reason}): free some space or choose a folder that you may write to."
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
