"""Zips of label folders: `<label>/<clip>.flac`, as the studio downloads and loads them."""

from __future__ import annotations

import hashlib
import lzma
import os
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import unquote

from earmark.audio import AUDIO_SUFFIXES, Clip, encode_flac, read_clip
from earmark.clips import ClipFile
from earmark.errors import EarmarkError
from earmark.labels import check_label, folder_label, label_folder
from earmark.project import Project

MAX_ENTRIES = 20_000
# What zipfile and its decompressors raise; RuntimeError is its word for a zip with a password.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)
MAX_ENTRY_BYTES = 256 << 20
MAX_TOTAL_BYTES = 4 << 30


@dataclass
class Imported:
    """What an import did.

    Attributes:
        added: the new clips.
        skipped: name and reason of each file that was left out.
    """

    added: list[ClipFile] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def write_zip(project: Project, file: IO[bytes]) -> None:
    """Write all clips of the project as a zip of label folders; clips are compressed already, so they are stored."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for clip in project.clips():
            name = os.fsencode(clip.path.name).decode(errors="replace")  # a zip's names are Unicode
            with suppress(FileNotFoundError):  # it was deleted or moved meanwhile
                archive.write(clip.path, f"{label_folder(clip.label)}/{name}")


def read_zip(project: Project, file: IO[bytes], done: Imported, name: str = "the zip") -> None:
    """Add the clips of a zip of label folders. A file's last folder is its label; those above it don't matter.

    A clip that the project has already, or that can't be read, is skipped and told; the rest is added.

    Args:
        project: where the clips go.
        file: the zip.
        done: is told what was added and skipped, as it happens.
        name: what errors call the zip.

    Raises:
        EarmarkError: not a zip, damaged, or larger than the limits; nothing is added then.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_size(entries, name)
            known = _Known(project)
            for entry in entries:
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                if not any(part.startswith((".", "__MACOSX")) for part in path.parts if part not in (".", "..")):
                    _read_entry(known, archive, entry, path, done)
    except DAMAGED as error:
        raise EarmarkError(f"{name} is not a zip that can be read: choose one of label folders.") from error
    if not done.added and not done.skipped:
        raise EarmarkError(f"{name} holds no recordings: put sound files into one folder for each label.")


def _check_size(entries: list[zipfile.ZipInfo], name: str) -> None:
    if len(entries) > MAX_ENTRIES:
        raise EarmarkError(f"{name} holds {len(entries):,} files: split it into zips of at most {MAX_ENTRIES:,}.")
    if sum(entry.file_size for entry in entries) > MAX_TOTAL_BYTES:
        raise EarmarkError(f"{name} unpacks to more than {MAX_TOTAL_BYTES >> 30} GiB: split it into smaller ones.")


class _Known:
    """What the project's clips sound like, so that none is added twice.

    Each clip is read once, however many of its length come.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._sums: dict[str, set[bytes]] = {}

    def add(self, label: str, clip: Clip) -> bool:
        """Note the clip; tells whether it is new. Compared is what is kept: what FLAC's 24 bits hold."""
        if label not in self._sums:
            self._sums[label] = set()
            for known in self.project.clips(label):
                with suppress(EarmarkError):  # what can't be read is no other clip's twin
                    self._sums[label].add(_sum(read_clip(known.path)))
        own = _sum(read_clip(encode_flac(clip)))
        is_new = own not in self._sums[label]
        self._sums[label].add(own)
        return is_new


def _sum(clip: Clip) -> bytes:
    return hashlib.sha256(clip.sample_rate.to_bytes(4, "little") + clip.samples.tobytes()).digest()


def _read_entry(
    known: _Known, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: PurePosixPath, done: Imported
) -> None:
    try:
        label, clip = _read_clip(archive, entry, path)
        if not known.add(label, clip):
            raise EarmarkError(f"{path.name} is in the project already.")
        done.added.append(known.project.add(label, clip, name=unquote(path.stem)))
    except EarmarkError as error:
        done.skipped.append((entry.filename, str(error)))
    except DAMAGED:
        done.skipped.append((entry.filename, f"{path.name} is damaged in the zip, or locked: get a whole copy of it."))


def _read_clip(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: PurePosixPath) -> tuple[str, Clip]:
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        raise EarmarkError(f"{path.name} is not a sound file: use WAV, FLAC, OGG or MP3.")
    if len(path.parts) < 2 or path.parts[-2] in (".", "..", "/"):
        raise EarmarkError(f"{path.name} lies in no folder: put it into one named like its label.")
    # One byte more than the limit tells a file that is larger than its entry claims, before it fills the memory.
    with archive.open(entry) as packed:
        data = packed.read(MAX_ENTRY_BYTES + 1)
    if len(data) > MAX_ENTRY_BYTES:
        raise EarmarkError(f"{path.name} is larger than {MAX_ENTRY_BYTES >> 20} MiB: cut it into clips.")
    return check_label(folder_label(path.parts[-2])), read_clip(data, path.name)
