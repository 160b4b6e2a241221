"""What reading a zip that nobody vouches for takes."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO, Any, cast

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks the others without a limit
# What zipfile, its decompressor and json raise; RuntimeError is zipfile's word for a password and json's for depth.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, OverflowError, RuntimeError)

TABLE_ENTRY = b"PK\x01\x02"  # with which each file's entry begins
SHORT = 1 << 20  # bytes in which there can't be too many of them


class TooManyFilesError(zipfile.BadZipFile):
    """A zip holds more files than its reader takes."""


def open_zip(file: IO[bytes], table_bytes: int, most_files: int) -> zipfile.ZipFile:
    """A zip whose table of contents, which Python reads at once, has so many bytes and files at most.

    Raises:
        TooManyFilesError: it has more files.
        zipfile.BadZipFile, ...: it is none, or has a longer table; see DAMAGED.
    """
    # A wrapper of what zipfile uses of a file, which typeshed takes for a whole one.
    archive = zipfile.ZipFile(cast("IO[bytes]", _SmallReads(file, table_bytes, most_files)))
    if len(archive.infolist()) > most_files:
        raise TooManyFilesError
    return archive


class _SmallReads:
    """A file that gives so many bytes at once and no more.

    Python makes an object of some 700 bytes of each of a zip's files, which may take 47 in its table: so they are
    counted before.
    """

    def __init__(self, file: IO[bytes], limit: int, most_files: int) -> None:
        self._file, self._limit, self._most_files = file, limit, most_files

    def read(self, size: int | None = -1) -> bytes:
        limited = size if size is not None and 0 <= size <= self._limit else self._limit + 1
        data = self._file.read(limited)
        if len(data) > self._limit:
            raise zipfile.BadZipFile("its table of contents is too long")
        if len(data) > SHORT and data.count(TABLE_ENTRY) > self._most_files:
            raise TooManyFilesError
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
