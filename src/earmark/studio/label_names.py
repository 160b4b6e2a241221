"""Keeps track of labels while they are renamed."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Container


class LabelNames:
    """Gives each label an id that survives renaming, and resolves former names.

    A page uses the old name until it learns the new one. What it records or requests meanwhile is for the same label.
    Ids last as long as the studio runs.

    Attributes:
        lock: hold it to rename a label, or to read labels with their ids, so that the two agree.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._ids: dict[str, str] = {}
        self._renamed: dict[str, str] = {}

    def id(self, name: str) -> str:
        return self._ids.setdefault(name, secrets.token_hex(4))

    def rename(self, old: str, new: str) -> None:
        """Note that a label was renamed. Call this after the renaming; if both names are the same, nothing happens."""
        if old == new:
            return
        self._ids[new] = self.id(old)
        del self._ids[old]
        self._renamed[old] = new
        self._renamed.pop(new, None)

    def current(self, name: str, labels: Container[str]) -> str:
        """Find the current name, among `labels`, of the label with this current or former name."""
        while name not in labels and name in self._renamed:
            name = self._renamed[name]
        return name
