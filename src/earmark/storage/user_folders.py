"""The user's own folders, which all of their projects share."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path | None:
    """The folder for a cache that all of a user's projects share; None if there is no place for one."""
    return _folder("XDG_CACHE_HOME", ".cache", on_macos="Caches")


def user_data() -> Path | None:
    """The folder for a user's data, the same that platformdirs finds; None if there is no place for one."""
    return _folder("XDG_DATA_HOME", ".local/share", on_macos="Application Support")


def _folder(variable: str, in_home: str, *, on_macos: str) -> Path | None:
    """Earmark's folder in that of the XDG base directory specification, or in what other systems have for it."""
    try:
        if sys.platform == "win32":
            parent = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            parent = Path.home() / "Library" / on_macos
        else:
            parent = os.environ.get(variable) or Path.home() / in_home
    except RuntimeError:  # the system doesn't know this user's home
        return None
    return Path(parent) / "earmark"
