"""A file layer that fails: the n-th call that writes raises what the system would, once or from then on."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CALLS = ("fsync", "open", "replace", "rename", "link", "mkdir", "unlink", "rmdir")  # of `os`


class FailingFiles:
    """The file layer: it counts what writes and, from the n-th call on, fails once or for ever.

    Args:
        root: only files below it fail.
        at: the call that fails first, from 1; 0: none.
        error: the errno.
        forever: whether each later call fails too.
    """

    def __init__(self, root: Path, at: int, error: int, forever: bool) -> None:
        self._root, self._at, self._error, self._forever = str(root), at, error, forever
        self.calls = 0
        self.failed = ""  # the call's name

    def __enter__(self) -> FailingFiles:
        self._real = {name: getattr(os, name) for name in CALLS}
        for name, call in self._real.items():
            setattr(os, name, self._failing(name, call))
        self._open = io.open
        io.open = builtins.open = self._open_file
        return self

    def __exit__(self, *_: object) -> None:
        for name, call in self._real.items():
            setattr(os, name, call)
        io.open = builtins.open = self._open

    def step(self, path: Any, name: str = "write") -> None:
        """One call: it may fail.

        Raises:
            OSError: it does.
        """
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        if not os.fsdecode(path).startswith(self._root):
            return
        self.calls += 1
        if self._at and (self.calls == self._at or (self._forever and self.calls > self._at)):
            self.failed = name
            raise OSError(self._error, os.strerror(self._error), path)

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(path: object, *arguments: Any, **options: Any) -> Any:
            self.step(path, name)
            return call(path, *arguments, **options)

        return failing

    def _open_file(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+"):
            return self._open(file, mode, *arguments, **options)
        self.step(file)
        opened = self._open(file, mode, *arguments, **options)
        return FailingFile(opened, self, file)


class FailingFile:
    """A file that is written: writing, flushing and closing it are calls too. Half of what fails to be written is."""

    def __init__(self, file: Any, layer: FailingFiles, path: object) -> None:
        self._file, self._layer, self._path = file, layer, path

    def write(self, data: Any) -> int:
        try:
            self._layer.step(self._path)
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)  # type: ignore[no-any-return]

    def flush(self) -> None:
        self._layer.step(self._path)
        self._file.flush()

    def close(self) -> None:
        was_open = not self._file.closed
        self._file.close()
        if was_open:
            self._layer.step(self._path)

    def __enter__(self) -> FailingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
