"""Adding bases to the user's own, from a file or from the network, and removing them.

Nothing is downloaded but what the user asks for by name: see `add_known`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import EarmarkError
from earmark.models.declaration import toml_file
from earmark.models.foreign_base import check_foreign_base, read_file
from earmark.models.tflite import is_tflite
from earmark.models.user_bases import NAME, SUFFIXES, UserBase, bases_folder, find_base, user_bases
from earmark.storage.files import delete_folder, make_folder, new_folder
from earmark.storage.folder_lock import FolderLock

if TYPE_CHECKING:
    from earmark.progress import Report
    from earmark.storage.download import KnownFile

YAMNET = "yamnet"
HUB = "https://huggingface.co"
OWN_NAMES = frozenset({"ear", "sounds", "speech", "words"})  # of the bases that come with Earmark or with a package


@dataclass(frozen=True)
class KnownBase:
    """A base that can be downloaded.

    Attributes:
        path: of the file on the hub, with repository and revision.
        size, sha256: what the file must be.
        licence: an SPDX identifier.
    """

    path: str
    size: int
    sha256: str
    licence: str

    @property
    def file(self) -> KnownFile:
        """Where it lies: on the hub, or on the mirror that HF_ENDPOINT names, as for the hub's own programs."""
        from earmark.storage.download import KnownFile  # the web's modules are slow to import

        hub = os.environ.get("HF_ENDPOINT") or HUB
        return KnownFile(Path(self.path).name, f"{hub.rstrip('/')}/{self.path}", self.size, self.sha256)


KNOWN: Mapping[str, KnownBase] = {
    YAMNET: KnownBase(
        "zeropointnine/yamnet-onnx/resolve/ac2ca3bd45d12ec1f19f1144205ea529b4e9dedf/yamnet.onnx",
        16_093_603,
        "1510041dce24a2e9e84ec546807ac408ae496da6d1ed41bc3ccba649623f8e19",
        "Apache-2.0",
    )
}


def add_file(name: str, file: Path) -> UserBase:
    """Copy a network, and the declaration beside it, among the user's bases.

    Raises:
        EarmarkError: it can't be a base, the name is taken or can't be one, or nothing can be written.
    """
    folder = _check_free(name)
    content = read_file(file)
    check_foreign_base(file, name)
    with FolderLock(folder):
        return _keep(folder, name, content, file)


def add_known(name: str, report: Report | None = None) -> UserBase:
    """Download a base that Earmark knows.

    Raises:
        EarmarkError: there is no such base, it is there already, or it can't be downloaded or written.
    """
    known = KNOWN.get(name)
    if known is None:
        raise EarmarkError(
            f"Earmark knows no base {name!r} to download: give its file (`earmark base add {name} FILE`), or choose "
            f"{', '.join(KNOWN)}."
        )
    from earmark.storage.download import download

    folder = _check_free(name)
    with FolderLock(folder):
        part = folder / f".{name}.onnx"
        download(known.file, part, report=report)
        check_foreign_base(part, name)
        base = _keep(folder, name, part.read_bytes(), None)
        part.unlink(missing_ok=True)
    return base


def remove_base(name: str) -> None:
    """Delete a base. What was trained on an ONNX network goes on working.

    Raises:
        EarmarkError: there is no such base, or it can't be deleted.
    """
    base = find_base(name)
    if base is None:
        known = ", ".join(base.name for base in user_bases())
        raise EarmarkError(f"There is no base {name!r} to remove: {f'choose {known}' if known else 'none was added'}.")
    delete_folder(base.file.parent)


def _keep(folder: Path, name: str, content: bytes, file: Path | None) -> UserBase:
    suffix = SUFFIXES[is_tflite(content)]
    with new_folder(folder / name) as place:
        (place / f"base{suffix}").write_bytes(content)
        if file is not None and toml_file(file).is_file():
            (place / "base.toml").write_bytes(toml_file(file).read_bytes())
    return UserBase(name, folder / name / f"base{suffix}")


def _check_free(name: str) -> Path:
    """The folder of the user's bases, if a base of that name can go there."""
    if not NAME.fullmatch(name) or name in OWN_NAMES:
        why = "is one of Earmark's own" if name in OWN_NAMES else "can't be a base's name"
        raise EarmarkError(f"{name!r} {why}: choose another of small letters, digits, -, _ and ., such as yamnet-2.")
    if find_base(name) is not None:
        raise EarmarkError(f"The base {name!r} is there already: `earmark base remove {name}` first.")
    folder = bases_folder()
    if folder is None:
        raise EarmarkError("There is no folder for bases, as this user has no home: set XDG_DATA_HOME.")
    make_folder(folder)
    return folder
