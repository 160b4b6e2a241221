"""A cache of the embeddings that a base has computed for clips. The file may be deleted at any time."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.storage.files import make_folder

Array = npt.NDArray[np.float32]
KEPT_SECONDS = 30 * 24 * 3600  # since it was last requested
BATCH = 500  # keys per query: SQLite takes at most 999 values
COLUMNS = "key, windows, value, checksum"


def cache_key(*parts: object) -> str:
    """A key for what is computed from all of these parts."""
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()


class EmbeddingCache:
    """Embeddings by key, in an SQLite file.

    Nothing depends on it: a file that is damaged or can't be written to is treated like a missing one.

    Args:
        file: the file's path; None means to keep nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def get(self, keys: Iterable[str]) -> dict[str, Array]:
        """The embeddings of those keys that are in the cache, arrays of shape [windows, values]."""
        keys = list(keys)
        found: dict[str, Array] = {}
        if self._file is None or not os.path.isfile(self._file):  # noqa: PTH113 (Path.is_file raises for a locked folder)
            return found
        try:
            with _opened(self._file) as database:
                for start in range(0, len(keys), BATCH):
                    part = keys[start : start + BATCH]
                    places = ",".join("?" * len(part))
                    rows = database.execute(f"SELECT {COLUMNS} FROM embeddings WHERE key IN ({places})", part)
                    found |= {row[0]: _array(*row) for row in rows}
        except (sqlite3.Error, ValueError, TypeError):
            self._discard()
            return {}
        return found

    def put(self, entries: dict[str, Array], used: Iterable[str] = ()) -> None:
        """Store entries, note that others were used, and drop those that nobody has requested for a month."""
        if self._file is None:
            return
        now = int(time.time())
        rows = [(*_row(key, value), now) for key, value in entries.items()]
        try:
            make_folder(self._file.parent)
            with _opened(self._file) as database, database:
                database.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?)", rows)
                database.executemany("UPDATE embeddings SET used = ? WHERE key = ?", ((now, key) for key in used))
                database.execute("DELETE FROM embeddings WHERE used < ?", (now - KEPT_SECONDS,))
        except (sqlite3.Error, EarmarkError):
            self._discard()

    def _discard(self) -> None:
        assert self._file is not None
        with suppress(OSError):
            self._file.unlink()


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file, timeout=30)) as database:
        database.execute("PRAGMA synchronous = OFF")  # what a power cut destroys is computed again
        database.execute(
            "CREATE TABLE IF NOT EXISTS embeddings "
            "(key TEXT PRIMARY KEY, windows INTEGER, value BLOB, checksum INTEGER, used INTEGER)"
        )
        yield database


def _row(key: str, value: Array) -> tuple[str, int, bytes, int]:
    content = value.astype("<f4").tobytes()
    return key, len(value), content, _checksum(key, len(value), content)


def _array(key: str, windows: int, content: bytes, checksum: int) -> Array:
    if checksum != _checksum(key, windows, content):
        raise ValueError(key)
    return np.frombuffer(content, "<f4").reshape(windows, -1)


def _checksum(key: str, windows: int, content: bytes) -> int:
    """A checksum, which SQLite itself doesn't have: it returns damaged values as if they were fine."""
    return zlib.crc32(content, zlib.crc32(f"{key} {windows}".encode()))
