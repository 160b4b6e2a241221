"""What a base has made of each clip, kept so that it is computed once. The file may be deleted at any time."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.files import make_folder

Array = npt.NDArray[np.float32]
KEPT_SECONDS = 30 * 24 * 3600  # since it was last asked for
BATCH = 500  # keys a query: SQLite takes at most 999 values


def cache_key(*parts: object) -> str:
    """A name for what was computed from all of these."""
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()


class EmbeddingCache:
    """Embeddings by key, in an SQLite file.

    Nothing depends on it: a file that is damaged or can't be written is as good as none.

    Args:
        file: its path; None keeps nothing.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def get(self, keys: Iterable[str]) -> dict[str, Array]:
        """What is known of these, arrays of shape [windows, values]."""
        keys = list(keys)
        found: dict[str, Array] = {}
        if self._file is None or not self._file.exists():
            return found
        try:
            with closing(self._open(self._file)) as database:
                for start in range(0, len(keys), BATCH):
                    part = keys[start : start + BATCH]
                    rows = database.execute(
                        f"SELECT key, windows, value FROM embeddings WHERE key IN ({','.join('?' * len(part))})", part
                    )
                    found |= {key: np.frombuffer(value, "<f4").reshape(count, -1) for key, count, value in rows}
        except (sqlite3.Error, ValueError):
            self._discard()
            return {}
        return found

    def put(self, entries: dict[str, Array], used: Iterable[str] = ()) -> None:
        """Keep entries, note that others were used, and forget what nobody has asked for in a month."""
        if self._file is None:
            return
        now = int(time.time())
        rows = [(key, len(value), value.astype("<f4").tobytes(), now) for key, value in entries.items()]
        try:
            make_folder(self._file.parent)
            with closing(self._open(self._file)) as database, database:
                database.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?)", rows)
                database.executemany("UPDATE embeddings SET used = ? WHERE key = ?", ((now, key) for key in used))
                database.execute("DELETE FROM embeddings WHERE used < ?", (now - KEPT_SECONDS,))
        except (sqlite3.Error, EarmarkError):
            self._discard()

    def _open(self, file: Path) -> sqlite3.Connection:
        database = sqlite3.connect(file, timeout=30)
        database.execute("PRAGMA synchronous = OFF")  # what a power cut takes is computed again
        database.execute(
            "CREATE TABLE IF NOT EXISTS embeddings (key TEXT PRIMARY KEY, windows INTEGER, value BLOB, used INTEGER)"
        )
        return database

    def _discard(self) -> None:
        assert self._file is not None
        with suppress(OSError):
            self._file.unlink()
