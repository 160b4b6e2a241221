"""Which label is which while labels are renamed."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Container


class LabelNames:
    """An id for each label, the same under every name that it gets, and what a former name is now.

    A page goes on with the old name until it learns the new one: what it records or asks for meanwhile is for the same
    label. Ids last as long as the studio runs.

    Attributes:
        lock: held by who renames a label, and by who reads labels with their ids, so that the two fit.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._ids: dict[str, str] = {}
        self._renamed: dict[str, str] = {}

    def id(self, name: str) -> str:
        return self._ids.setdefault(name, secrets.token_hex(4))

    def rename(self, old: str, new: str) -> None:
        """The label has its new name already. Nothing happens where that is the old one."""
        if old == new:
            return
        self._ids[new] = self.id(old)
        del self._ids[old]
        self._renamed[old] = new
        self._renamed.pop(new, None)

    def current(self, name: str, labels: Container[str]) -> str:
        """What the label of that name, or former name, is called among `labels`."""
        while name not in labels and name in self._renamed:
            name = self._renamed[name]
        return name
