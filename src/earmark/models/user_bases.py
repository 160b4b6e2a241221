"""The bases that a user has added, in the user's data folder: a folder for each, `bases/<name>/`.

Such a folder holds the network as it came (`base.onnx` or `base.tflite`) and, if it has one, its declaration
(`base.toml`).
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from earmark.storage.user_folders import user_data

NAME = re.compile("[a-z0-9][a-z0-9_.-]{0,39}")
SUFFIXES = (".onnx", ".tflite")


@dataclass(frozen=True)
class UserBase:
    """A base that the user has added.

    Attributes:
        name: what `train --base` takes.
        file: the network, an ONNX or TensorFlow Lite file.
    """

    name: str
    file: Path

    @property
    def size(self) -> int:
        """In bytes."""
        return self.file.stat().st_size


def user_bases() -> list[UserBase]:
    """The bases that were added, by name."""
    folder, found = bases_folder(), []
    with suppress(OSError):  # there are none
        for place in sorted(folder.iterdir()) if folder else ():
            file = next((place / f"base{suffix}" for suffix in SUFFIXES if (place / f"base{suffix}").is_file()), None)
            if file is not None and NAME.fullmatch(place.name):
                found.append(UserBase(place.name, file))
    return found


def find_base(name: str) -> UserBase | None:
    """The base with that name; None if there is none."""
    return next((base for base in user_bases() if base.name == name), None)


def find_same(content: bytes) -> UserBase | None:
    """The base whose file has that content; None if there is none."""
    found = find_by_sum(hashlib.sha256(content).hexdigest())
    return next((base for base in user_bases() if found is not None and base.file == found[0]), None)


def find_by_sum(sha256: str) -> tuple[Path, bytes] | None:
    """The file whose content has that SHA-256, and this content; None if none of the bases has it."""
    for base in user_bases():
        with suppress(OSError):
            content = base.file.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return base.file, content
    return None


def bases_folder() -> Path | None:
    """Where the bases lie; None if this user has no place for them."""
    data = user_data()
    return None if data is None else data / "bases"
