"""Files that are there whole or not at all: written under another name, flushed to the disk, then renamed."""

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from earmark.errors import DiskError, EarmarkError

LEFTOVER_SECONDS = 3600  # whatever was touched more recently may still be in use by a writer
_ASIDE = re.compile(r"\.[0-9a-f]{12}\.part")
# Errors of folders on file systems that can't flush them.
_NO_SYNC = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOTSUP)
_LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors that every later file will meet, too
_REMEDIES = {
    errno.EIO: "check the disk, then try again",
    errno.EMFILE: "close other programs, then try again",
    errno.ENFILE: "close other programs, then try again",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`. An existing file is replaced only once all of `data` is on the disk.

    Raises:
        EarmarkError: the disk is full or the folder can't be written to; `path` is then as it was.
    """
    with _told(path), _written_aside(path.parent, data) as aside, _put_back(path):
        aside.replace(path)
        _sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> Path:
    """Write `data` to `path` or, if that is taken, to a free path like it. Returns the path.

    Raises:
        EarmarkError: the disk is full or the folder can't be written to; nothing is left of the file then.
    """
    with _told(path), _written_aside(path.parent, data) as aside:
        while True:
            path = free_path(path)
            try:
                _give_name(aside, path)
            except FileExistsError:
                continue
            return path


def free_path(path: Path) -> Path:
    """The path, or a free one like it if it is taken."""
    free = path
    while os.path.lexists(free):
        free = path.with_name(f"{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    return free


def move(source: Path, destination: Path) -> None:
    """Rename a file or folder within one disk, and create the folder that it goes to.

    Raises:
        EarmarkError: it can't be moved; it is still where it was.
    """
    with _told(destination), _folder_made(destination.parent):
        source.rename(destination)
        try:
            _sync_folder(destination.parent)
            _sync_folder(source.parent)
        except OSError:
            with suppress(OSError):
                destination.rename(source)
            raise


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, if they are missing.

    Raises:
        EarmarkError: the folder can't be created.
    """
    with _told(folder), _folder_made(folder):
        pass


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """A file beside the target to write into. It becomes the target once all is written; otherwise it is removed.

    Raises:
        EarmarkError: something is there already, the disk is full, or the folder can't be written.
    """
    check_free(target)
    with _told(target), _folder_made(target.parent):
        aside = _aside(target.parent)
        try:
            with aside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            try:
                _give_name(aside, target)
            except FileExistsError as error:  # somebody else created it meanwhile
                raise _taken(target) from error
        finally:
            _discard(aside)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target to write into. It becomes the target once all is written; otherwise it is removed.

    Raises:
        EarmarkError: something is there already, the disk is full, or the folder can't be written.
    """
    check_free(target)
    with _told(target), _folder_made(target.parent):
        aside = _aside(target.parent)
        aside.mkdir()
        try:
            yield aside
            for path in (*aside.rglob("*"), aside):
                if path.is_dir():
                    _sync_folder(path)
                else:
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            if target.is_dir():
                target.rmdir()  # an empty folder
            aside.rename(target)
            try:
                _sync_folder(target.parent)
            except OSError:
                target.rename(aside)
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def replace_by(target: Path) -> Iterator[Path]:
    """A path beside the target for what is to replace it, a file or a folder, once the block has written it.

    Raises:
        EarmarkError: the target can't be replaced.
    """
    new = target.with_name(f"{target.name}.new{target.suffix}")
    if os.path.lexists(new):  # of a writer that was killed
        _discard(new)
    yield new
    with _told(target):
        if target.is_dir():
            delete_folder(target)
        new.replace(target)
        _sync_folder(target.parent)


def delete_folder(folder: Path) -> None:
    """Delete a folder in one step: others see all of it or nothing.

    Raises:
        EarmarkError: the folder can't be deleted; it is then as it was.
    """
    aside = _aside(folder.parent)
    try:
        folder.rename(aside)
        _sync_folder(folder.parent)
    except OSError as error:
        with suppress(OSError):
            aside.rename(folder)
        raise EarmarkError(f"{folder} can't be deleted ({error.strerror}): check its permissions.") from error
    shutil.rmtree(aside, ignore_errors=True)  # anything that stays is a leftover


def clear_leftovers(folder: Path) -> None:
    """Remove what killed writers have left in a folder and in the folders in it.

    The caller makes sure that nobody is writing there. Even so, anything that was touched within the hour stays.
    """
    for place, folders, files in os.walk(folder):
        for name in filter(_ASIDE.fullmatch, (*folders, *files)):
            path = Path(place) / name
            with suppress(OSError):
                if abs(time.time() - path.lstat().st_mtime) > LEFTOVER_SECONDS:
                    _discard(path)
        folders[:] = [name for name in folders if not _ASIDE.fullmatch(name)]


def check_free(target: Path) -> None:
    """Refuse to write where something exists already.

    Raises:
        EarmarkError: there is a file, or a folder that isn't empty.
    """
    with _told(target):
        if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
            raise _taken(target)


def _taken(target: Path) -> EarmarkError:
    return EarmarkError(f"{target} is there already: delete it, or choose another name.")


def _aside(folder: Path) -> Path:
    """A path for an unfinished file or folder. `clear_leftovers` recognizes it by its name."""
    return folder / f".{secrets.token_hex(6)}.part"


def _discard(aside: Path) -> None:
    """Remove an unfinished file or folder; if that fails, it stays as a leftover."""
    with suppress(OSError):
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)


@contextmanager
def _written_aside(folder: Path, data: bytes) -> Iterator[Path]:
    aside = _aside(folder)
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            # If this fails, the system may have dropped the data and report success the next time. So the file is given
            # up, and nobody tries again with it (https://wiki.postgresql.org/wiki/Fsync_Errors).
            os.fsync(file.fileno())
        yield aside
    finally:
        _discard(aside)


def _give_name(aside: Path, path: Path) -> None:
    """Give a finished file its name, and flush that to the disk; if that fails, the file has no name.

    Raises:
        FileExistsError: something has that name already.
        OSError: the system reports another error.
    """
    try:
        path.hardlink_to(aside)  # unlike a rename, this never replaces a file that was created meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        aside.rename(path)
    try:
        _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


@contextmanager
def _put_back(path: Path) -> Iterator[None]:
    """If the system fails inside the block, the path gets back what it held before, or nothing if it held nothing.

    Meanwhile the old content has a second name. On a file system without links it has none, and the new content stays.
    """
    before, is_new, is_linked = _aside(path.parent), not os.path.lexists(path), False
    with suppress(OSError):
        before.hardlink_to(path)
        is_linked = True
    try:
        yield
    except OSError:
        with suppress(OSError):
            if is_linked:
                before.replace(path)
            elif is_new:
                path.unlink()
        raise
    finally:
        _discard(before)


@contextmanager
def _folder_made(folder: Path) -> Iterator[None]:
    """Create a folder and its parents on the disk, to write into; if that fails, those created are removed again."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.append(path)
            _sync_folder(path.parent)
        yield
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # somebody has put something into it
                path.rmdir()
        raise


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
        reason, number = error.strerror if isinstance(error, OSError) else error, getattr(error, "errno", 0)
        remedy = _REMEDIES.get(number, "free some space or choose a folder that you may write to")
        kind = DiskError if number in _LASTING else EarmarkError
        raise kind(f"{path} can't be written ({reason}): {remedy}.") from error


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries; otherwise a rename can be lost in a power cut (fsync(2)).

    Some file systems can't do this, and neither can a folder that may be written to but not read.
    """
    if os.name == "nt":  # Windows has no handle on a folder to flush
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
