"""Finding recordings: files, folders, globs, and addresses that fsspec knows (s3://…, https://…, memory://…).

Names stay as the user wrote them: a file in a folder is named by that folder's name and the path from there.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH118, PTH122 (a Path would tidy names up)

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

from earmark.audio import compressed_audio
from earmark.audio.clip import AUDIO_SUFFIXES
from earmark.audio.compressed_audio import HEAD_BYTES, CompressedSource, container_of
from earmark.audio.sound_file import CHUNK_SECONDS
from earmark.audio.sources import FileSource, Source
from earmark.errors import EarmarkError, as_reason, needs_package

SUFFIXES = AUDIO_SUFFIXES | compressed_audio.SUFFIXES
BLOCK_BYTES = 4 << 20  # fetched from a store at a time; some stores default to 50 MB
_PROTOCOL = "[A-Za-z][A-Za-z0-9+.-]*"
# The repeated part is for fsspec's chains, like simplecache::s3://…
_ADDRESS = re.compile(f"(?:{_PROTOCOL}::)*{_PROTOCOL}://")
_WILD = re.compile(r"[*?[]")
_HIDDEN = re.compile(r"(?:^|/)\.")


def find_sound_files(paths: Sequence[str]) -> list[str]:
    """The recordings that the paths name, sorted within each path, each once.

    Args:
        paths: files of any name; folders, which are searched for files with the suffix of a sound file; globs, with **
            for folders of any depth, unless a file has exactly that name; addresses of all three kinds. Folders and
            globs leave out hidden files and folders, and files that end in .part. A glob that doesn't end in a suffix
            takes only sound files.

    Returns:
        Names for `open_sound_file`. A file with several names, for example through symbolic links, gets its first one.

    Raises:
        EarmarkError: a path names nothing, a folder or store can't be read, or a package is missing.
    """
    names: list[str] = []
    seen: set[str] = set()
    for path in paths:
        found = _find_remote(path) if _ADDRESS.match(path) else dict(_find_local(path))
        if not found:
            raise _nothing(path)
        for name in sorted(found):
            if found[name] not in seen:
                seen.add(found[name])
                names.append(name)
    return names


def open_sound_file(name: str, chunk_seconds: float = CHUNK_SECONDS) -> Source:
    """Open a recording of any length, from a disk or a store, to read it in constant memory.

    Args:
        name: the path or address of one file.
        chunk_seconds: the longest chunk.

    Raises:
        EarmarkError: the file isn't there, can't be reached or isn't a recording, or a package is missing; some of that
            may show only while it is read.
    """
    if _ADDRESS.match(name):
        file, head = _open_remote(name)
        if container_of(head) is not None:
            return CompressedSource(file, name, chunk_seconds)
        return FileSource(file, chunk_seconds, name=name)
    path = Path(name)
    try:
        if path.is_file():  # opening a pipe would wait for its writer
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if container_of(head) is not None:
                return CompressedSource(path.open("rb"), name, chunk_seconds)
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{name} can't be read ({as_reason(error)}): check the path and your rights.") from error
    return FileSource(path, chunk_seconds, name=name)


def _nothing(path: str) -> EarmarkError:
    if _WILD.search(path):
        return EarmarkError(f"{path} matches no recordings: check the pattern.")
    return EarmarkError(f"{path} holds no recordings: name a folder with sound files in it, such as WAV, FLAC or M4A.")


def _is_sound(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _takes_any(pattern: str) -> bool:
    """Whether a glob gives the suffix, and so takes files of any kind."""
    suffix = os.path.splitext(pattern)[1]
    return suffix != "" and _WILD.search(suffix) is None


# Local files. A file is identified by its real path, so symbolic links neither count twice nor lead in circles.


def _find_local(path: str) -> Iterator[tuple[str, str]]:
    """The name and the real path of each recording."""
    walked: set[str] = set()
    if os.path.isdir(path):
        yield from _walk(path, walked)
    elif os.path.exists(path):
        yield path, os.path.realpath(path)
    elif _WILD.search(path):
        takes_any = _takes_any(path)
        reals: dict[str, str] = {}  # of folders: resolving a path takes much longer than listing it
        for name in _glob(path):
            if os.path.isdir(name):
                yield from _walk(name, walked)
            elif os.path.isfile(name) and ((takes_any and not name.endswith(".part")) or _is_sound(name)):
                yield name, _real_path(name, reals)
    else:
        raise EarmarkError(f"{path} does not exist: check the path.")


def _real_path(file: str, folders: dict[str, str]) -> str:
    if os.path.islink(file):
        return os.path.realpath(file)
    folder, name = os.path.split(file)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)


def _walk(folder: str, walked: set[str]) -> Iterator[tuple[str, str]]:
    """The recordings in a folder and in those below it, except in folders that were `walked` before."""
    for inside, real in _folders(folder, walked):
        for entry in _entries(inside):
            if _is_sound(entry.name) and not entry.name.startswith(".") and _holds(entry.is_file):
                name = os.path.join(inside, entry.name)
                yield name, os.path.realpath(name) if entry.is_symlink() else os.path.join(real, entry.name)


def _folders(folder: str, walked: set[str]) -> Iterator[tuple[str, str]]:
    """The name and the real path of a folder and of those below it, each real path once."""
    left = [folder]
    while left:
        name = left.pop()
        real = os.path.realpath(name or os.curdir)
        if real in walked:
            continue
        walked.add(real)
        yield name, real
        entries = [entry for entry in _entries(name) if not entry.name.startswith(".") and _holds(entry.is_dir)]
        left += [os.path.join(name, entry.name) for entry in reversed(entries)]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder or os.curdir) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise EarmarkError(
            f"{folder} can't be read ({as_reason(error)}): check your rights, or leave it out."
        ) from error


def _holds(question: Callable[[], bool]) -> bool:
    """What `DirEntry.is_file` or `is_dir` says; False for a symbolic link to itself."""
    try:
        return question()
    except OSError:
        return False


def _glob(pattern: str) -> Iterator[str]:
    """The files and folders that match a pattern. Unlike Python's glob, it doesn't follow links in circles."""
    drive, path = os.path.splitdrive(pattern)
    parts = [part for part in re.split(r"[/\\]" if os.sep == "\\" else "/", path) if part]
    is_absolute = path[:1] in (os.sep, os.altsep)
    yield from _match(drive + os.sep if is_absolute else drive, parts)


def _match(folder: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield folder
    elif parts[0] == "**":
        for inside, _ in _folders(folder, set()):
            yield from _match(inside, parts[1:])
    elif _WILD.search(parts[0]):
        for entry in _entries(folder):
            is_meant = not entry.name.startswith(".") or parts[0].startswith(".")
            if is_meant and fnmatch.fnmatch(entry.name, parts[0]) and (len(parts) == 1 or _holds(entry.is_dir)):
                yield from _match(os.path.join(folder, entry.name), parts[1:])
    else:
        name = os.path.join(folder, parts[0])
        if os.path.isdir(name) or (len(parts) == 1 and os.path.exists(name)):
            yield from _match(name, parts[1:])


# Stores.


def _find_remote(address: str) -> dict[str, str]:
    store, path = _store(address)
    try:
        info = _info(store, path)
        if info is None and not _WILD.search(address):
            raise EarmarkError(f"{address} was not found: check the address and the connection.")
        if info is not None and info["type"] != "directory":
            return {address: address}
        found = {path: info} if info is not None else store.glob(path, detail=True)
        folders = [folder for folder, about in found.items() if about["type"] == "directory"]
        files = {file for folder in folders for file in store.find(folder) if _is_sound(file)}
    except EarmarkError:
        raise
    except Exception as error:  # each store has errors of its own
        raise _unreachable(address, error) from error
    takes_any = _takes_any(address)
    files.update(
        file for file in found.keys() - folders if (takes_any and not file.endswith(".part")) or _is_sound(file)
    )
    return {name: name for name in _names(store, address, info is None, files)}


def _info(store: Any, path: str) -> dict[str, Any] | None:
    try:
        return dict(store.info(path))
    except FileNotFoundError:
        return None


def _names(store: Any, address: str, is_glob: bool, files: Iterable[str]) -> Iterator[str]:
    """The addresses of a store's files, written like the folder or glob that named them, without hidden ones."""
    links = address.split("::")
    at = next(number for number, link in enumerate(links) if "://" in link)  # the part that a chain's first store reads
    root, pattern = links[at], ""
    if is_glob and (wild := _WILD.search(root)):
        start = root.rindex("/", 0, wild.start()) + 1
        root, pattern = root[:start], root[start:]
    root = root if root.endswith("/") else root + "/"
    base = store._strip_protocol(root).rstrip("/")  # as the store itself calls it
    for file in files:
        if not file.startswith(base):
            yield str(store.unstrip_protocol(file))
            continue
        name = file[len(base) :].lstrip("/")
        if not _HIDDEN.search(name) or _HIDDEN.search(pattern):
            yield "::".join([*links[:at], root + name, *links[at + 1 :]])


class _StoredFile:
    """A store's file, which also keeps the store: a zip that is garbage-collected closes its files."""

    def __init__(self, address: str) -> None:
        self._store, path = _store(address)
        file = self._store.open(path, "rb", block_size=BLOCK_BYTES)
        self.read, self.seek, self.close = file.read, file.seek, file.close


def _open_remote(address: str) -> tuple[BinaryIO, bytes]:
    """An open file of a store, and its first bytes."""
    with ExitStack() as stack:
        try:
            file = _StoredFile(address)
            stack.callback(file.close)
            head = file.read(HEAD_BYTES)
        except EarmarkError:
            raise
        except FileNotFoundError as error:
            raise EarmarkError(f"{address} was not found: check the address and the connection.") from error
        except Exception as error:
            raise _unreachable(address, error) from error
        if not head:
            raise EarmarkError(f"{address} is empty: choose a file with sound in it.")
        stack.pop_all()
    return cast(BinaryIO, file), head


def _store(address: str) -> tuple[Any, str]:
    """The store, and its own name for the address."""
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise needs_package(f"Reading {address}", error, "cloud") from error
    try:
        store, path = url_to_fs(address)
    except ImportError as error:  # fsspec's message names the package
        raise EarmarkError(f"{address} needs another package: install it with pip ({as_reason(error)}).") from error
    except Exception as error:
        raise _unreachable(address, error) from error
    return store, path


def _unreachable(address: str, error: Exception) -> EarmarkError:
    return EarmarkError(
        f"{address} can't be read ({as_reason(error)}): check the address, the connection and your rights."
    )
