"""A lock on a folder: one thread of one process at a time may change the folder. It ends with its process."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from earmark.errors import EarmarkError

PATIENCE = 10.0  # seconds: changes take far less
PAUSE = 0.01  # seconds between two looks
_UNLOCKED = (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS)


class FolderLock:
    """The lock on a folder. Use it in a `with` block; the thread that holds it may nest such blocks.

    The system's own lock keeps other processes out: flock(2) on the folder, or on Windows a lock on `.cache/lock`. If
    there is none, as on some network disks, or the folder can't be opened, only threads of this process are kept out.

    Args:
        folder: the folder to lock.
        on_taken: called whenever the lock has been taken, except in a nested block: others may have changed the folder
            in the meantime.
    """

    def __init__(self, folder: Path, on_taken: Callable[[], object] = lambda: None) -> None:
        self._folder, self._on_taken = folder, on_taken
        self._threads = threading.RLock()
        self._depth = 0
        self._handle: int | None = None

    @property
    def is_exclusive(self) -> bool:
        """Whether other processes are kept out now."""
        return self._handle is not None

    def __enter__(self) -> FolderLock:
        """Take the lock.

        Raises:
            EarmarkError: another process has held it for ten seconds.
        """
        self._threads.acquire()
        try:
            if self._depth == 0:
                self._handle = _taken(self._folder)
                self._on_taken()
            self._depth += 1
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)  # which releases the lock
        self._threads.release()


def _taken(folder: Path) -> int | None:
    """The open file that holds the lock; None if the system has no locks."""
    try:
        handle = _open(folder)
    except OSError as error:
        if error.errno in _UNLOCKED:  # the change itself will report the error
            return None
        raise EarmarkError(f"{folder} can't be opened ({error.strerror}): check the disk, then try again.") from error
    until = time.monotonic() + PATIENCE
    try:
        while not _lock(handle):
            if time.monotonic() > until:
                raise EarmarkError(f"{folder} is being changed by another program: wait for it, then try again.")
            time.sleep(PAUSE)
    except OSError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


if sys.platform == "win32":
    import msvcrt

    def _open(folder: Path) -> int:
        (folder / ".cache").mkdir(exist_ok=True)
        return os.open(folder / ".cache" / "lock", os.O_RDWR | os.O_CREAT)

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _open(folder: Path) -> int:
        return os.open(folder, os.O_RDONLY)

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
