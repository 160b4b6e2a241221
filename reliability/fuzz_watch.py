"""What a parser must never do, whatever it reads: write elsewhere, start a program, unpickle, call other machines.

Python tells of all of these by audit events (PEP 578), which no code can leave out.
"""

# ruff: noqa: PTH100, PTH118 (paths come as text, and stay so)

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FORBIDDEN = (
    "pickle.find_class", "marshal.loads", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
    "os.startfile", "pty.spawn", "socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request",
    "webbrowser.open",
)  # fmt: skip
CHANGES = (
    "os.mkdir",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "os.utime",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ForbiddenError(Exception):
    """A parser did what none may do."""


class Watch:
    """Looks at all that Python does within its `watching` blocks; a process needs one at most, since it stays for ever.

    Args:
        allowed: the folder below which files may be written.
    """

    def __init__(self, allowed: Path) -> None:
        self._allowed = os.path.realpath(allowed)
        self._is_on = False
        self._seen: list[str] = []
        sys.addaudithook(self._look)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the block.

        Raises:
            ForbiddenError: it did something that is forbidden, whether or not it also caught the error that it got.
        """
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            if self._seen:
                seen, self._seen = self._seen, []
                raise ForbiddenError("; ".join(seen))

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        if event in FORBIDDEN and not _is_import(event):
            self._refuse(event, arguments)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
            self._check(event, arguments[:1])
        elif event in CHANGES:
            self._check(event, arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1])
        elif event == "sqlite3.connect":
            self._check(event, arguments)

    def _check(self, event: str, paths: tuple[Any, ...]) -> None:
        for path in paths:
            if isinstance(path, int):
                continue  # a file that is open already
            # The folder's real path: a link itself may be made or removed, and what it leads to isn't touched by that.
            folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
            real = os.path.join(os.path.realpath(folder), name)
            if os.path.commonpath([real, self._allowed]) != self._allowed and real != os.devnull:
                self._refuse(event, (real,))

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        self._seen.append(f"{event} {arguments!r}"[:300])
        raise ForbiddenError(self._seen[-1])


def _is_import(event: str) -> bool:
    """Whether Python itself reads a module's code, which is marshalled."""
    if event != "marshal.loads":
        return False
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") != "importlib._bootstrap_external":
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return True
