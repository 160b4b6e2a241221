"""The user's own folders, which all of their projects share."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path | None:
    """The folder for a cache that all of a user's projects share; None if there is no place for one."""
    try:
        if sys.platform == "win32":
            home = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            home = Path.home() / "Library" / "Caches"
        else:  # the XDG base directory specification
            home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # the system doesn't know this user's home
        return None
    return Path(home) / "earmark"


def user_data() -> Path | None:
    """The folder for a user's data, the same that platformdirs finds; None if there is no place for one."""
    try:
        if sys.platform == "win32":
            home = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            home = Path.home() / "Library" / "Application Support"
        else:  # the XDG base directory specification
            home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError:
        return None
    return Path(home) / "earmark"
