"""A folder or a zip as a list of files that are read by name. Nothing outside is read, and everything has limits."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from earmark.errors import EarmarkError
from earmark.storage.zips import DAMAGED, PACKINGS, TooManyFilesError, open_zip

MAX_FILES = 1_000_000  # in a folder
MAX_ENTRIES = 200_000  # in a zip
MAX_TABLE_BYTES = 64 << 20  # of a zip's table of contents, which Python reads at once: some 100 bytes an entry
MAX_FILE_BYTES = 256 << 20
MAX_ZIP_BYTES = 4 << 30  # unpacked
MAX_RATIO = 200  # unpacked to packed; recordings hardly reach 10, and zips that are made to fill a disk reach 1,000
FREE_BYTES = 256 << 20  # unpacked bytes that may have any ratio: digital silence is packed that tightly, too
CHUNK = 1 << 20  # bytes


class FileSet(Protocol):
    """Files below one folder.

    Attributes:
        name: what to call it in errors.
        paths: the paths of all files, except hidden ones and those that systems put into zips.
        skipped: the name of each file that can't be read at all, with the reason.
    """

    name: str
    paths: list[PurePosixPath]
    skipped: list[tuple[str, str]]

    def read(self, path: PurePosixPath, limit: int = MAX_FILE_BYTES) -> bytes:
        """A file's content.

        Raises:
            EarmarkError: the file is larger than the limit, damaged, or gone.
        """


class Folder:
    """The files of a folder, in the order of their names. A link that leads out of the folder is not followed.

    Raises:
        EarmarkError: the folder holds too many files, or can't be read.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self._root = name, folder
        self.paths: list[PurePosixPath] = []
        self.skipped: list[tuple[str, str]] = []
        for parent, folders, files in os.walk(folder, onerror=self._tell):
            at = Path(parent)
            folders.sort()
            for link in [found for found in folders if (at / found).is_symlink()]:
                self._skip(at / link)
            for file in sorted(files):
                self._add(at / file)
            if len(self.paths) > MAX_FILES:
                raise EarmarkError(f"{name} holds more than {MAX_FILES:,} files: name one of the folders in it.")

    def read(self, path: PurePosixPath, limit: int = MAX_FILE_BYTES) -> bytes:
        file = self._root / path
        try:
            if not stat.S_ISREG(file.stat().st_mode):
                raise EarmarkError(f"{path.name} is no file: a pipe or a device can't be imported.")
            with file.open("rb") as opened:
                return _within(opened, path, limit)
        except OSError as error:
            raise EarmarkError(f"{path.name} can't be read ({error.strerror}): check the file.") from error

    def _add(self, file: Path) -> None:
        path = PurePosixPath(file.relative_to(self._root).as_posix())
        if is_hidden(path):
            return
        if file.is_symlink() and not self._is_inside(file):
            self._skip(file)
        else:
            self.paths.append(path)

    def _is_inside(self, link: Path) -> bool:
        try:
            return link.resolve().is_relative_to(self._root.resolve())
        except (OSError, RuntimeError):  # a link that points to itself
            return False

    def _skip(self, link: Path) -> None:
        path = PurePosixPath(link.relative_to(self._root).as_posix())
        if not is_hidden(path):
            self.skipped.append((str(path), f"{link.name} is a link to elsewhere: copy what it leads to."))

    def _tell(self, error: OSError) -> None:
        raise EarmarkError(f"{error.filename} can't be read ({error.strerror}): check the folder.") from error


class Beside(Folder):
    """A file of a folder, and those whose names begin like its own.

    Args:
        file: the file.
        name: what to call it in errors.
    """

    def __init__(self, file: Path, name: str) -> None:
        self.name, self._root, self.skipped = name, file.parent, []
        near = sorted(path.name for path in file.parent.glob("*") if path.name.startswith(f"{file.stem}."))
        self.paths = [PurePosixPath(path) for path in near if (file.parent / path).is_file()]


class Zip:
    """The files of a zip, in the zip's order. Close it, or use it in a `with` block; the file itself stays open.

    Raises:
        EarmarkError: the file is not a zip, is damaged, or exceeds the limits.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name, self.skipped = name, []
        try:
            self._archive = open_zip(file, MAX_TABLE_BYTES, MAX_ENTRIES)
        except TooManyFilesError as error:
            raise EarmarkError(f"{name} holds more than {MAX_ENTRIES:,} files: split it into zips of less.") from error
        except DAMAGED as error:
            raise EarmarkError(f"{name} is not a zip that can be read: choose one of label folders.") from error
        self._entries: dict[PurePosixPath, zipfile.ZipInfo] = {}
        self._check_size(file.seek(0, os.SEEK_END))
        for entry in self._archive.infolist():
            path = PurePosixPath(entry.filename.replace("\\", "/"))
            if not entry.filename or entry.is_dir() or is_hidden(path):
                continue
            if path in self._entries:
                self.skipped.append((str(path), f"{path.name} is in the zip twice: the first one counts."))
            self._entries.setdefault(path, entry)
        self.paths = list(self._entries)

    def __enter__(self) -> Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, path: PurePosixPath, limit: int = MAX_FILE_BYTES) -> bytes:
        entry = self._entries[path]
        if entry.compress_type not in PACKINGS:
            raise EarmarkError(f"{path.name} is packed in a way that can't be read: make a zip of the usual kind.")
        try:
            with self._archive.open(entry) as packed:
                return _within(packed, path, limit)
        except DAMAGED as error:
            raise EarmarkError(f"{path.name} is damaged in the zip, or locked: get a whole copy of it.") from error

    def _check_size(self, packed: int) -> None:
        """Check the sizes that the entries claim. Python unpacks no more than that; entries may share packed bytes."""
        unpacked = sum(entry.file_size for entry in self._archive.infolist())
        if unpacked > MAX_ZIP_BYTES:
            raise EarmarkError(
                f"{self.name} unpacks to more than {MAX_ZIP_BYTES >> 30} GiB: split it into zips of less."
            )
        if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
            raise EarmarkError(
                f"{self.name} unpacks to {unpacked // max(1, packed):,} times its size, as no recordings do: "
                "unpack it yourself, look at it, and import the folder."
            )


def is_hidden(path: PurePosixPath) -> bool:
    """Whether a file is one that systems make for themselves, or is in a folder of that kind."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts if part not in (".", ".."))


def _within(file: IO[bytes], path: PurePosixPath, limit: int) -> bytes:
    # Reading one byte past the limit detects a file that is larger than its zip claims, before it fills the memory.
    # In parts, because zipfile holds what it unpacks twice.
    data = io.BytesIO()
    while part := file.read(min(CHUNK, limit + 1 - data.tell())):
        data.write(part)
    if data.tell() > limit:
        raise EarmarkError(f"{path.name} is larger than {limit >> 20} MiB: divide it into smaller files.")
    return data.getvalue()
