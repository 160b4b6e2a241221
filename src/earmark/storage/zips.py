"""Reading zips that can't be trusted."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO, Any, cast

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python unpacks the other kinds without a limit
# What zipfile, its decompressor and json raise. RuntimeError means a password in zipfile and deep nesting in json.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, OverflowError, RuntimeError)

TABLE_ENTRY = b"PK\x01\x02"  # each file's entry begins with this
SHORT = 1 << 20  # bytes; a zip this short can't hold too many entries


class TooManyFilesError(zipfile.BadZipFile):
    """A zip holds more files than its reader accepts."""


def open_zip(file: IO[bytes], table_bytes: int, most_files: int) -> zipfile.ZipFile:
    """Open a zip whose table of contents, which Python reads at once, has at most that many bytes and files.

    Raises:
        TooManyFilesError: the zip has more files.
        zipfile.BadZipFile, ...: it is no zip, or its table is longer; see DAMAGED.
    """
    # The wrapper has what zipfile uses of a file; typeshed asks for a whole one.
    archive = zipfile.ZipFile(cast("IO[bytes]", _SmallReads(file, table_bytes, most_files)))
    if len(archive.infolist()) > most_files:
        raise TooManyFilesError
    return archive


class _SmallReads:
    """A file that gives at most a certain number of bytes at once.

    For each file in a zip Python makes an object of some 700 bytes, though the file may take only 47 in the table. So
    the files are counted first.
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
