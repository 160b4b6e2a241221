"""Zips of label folders: `<label>/<clip>.flac`, as the studio downloads and loads them."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import unquote

import numpy as np

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
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for clip in project.clips():
            archive.write(clip.path, f"{label_folder(clip.label)}/{clip.path.name}")


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
            for entry in entries:
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                if not any(part.startswith((".", "__MACOSX")) for part in path.parts if part not in (".", "..")):
                    _read_entry(project, archive, entry, path, done)
    except DAMAGED as error:
        if done.added:
            done.skipped.append((name, "the rest of the zip is damaged: get a whole copy of it."))
            return
        raise EarmarkError(f"{name} is not a zip that can be read: choose one of label folders.") from error
    if not done.added and not done.skipped:
        raise EarmarkError(f"{name} holds no recordings: put sound files into one folder for each label.")


def _check_size(entries: list[zipfile.ZipInfo], name: str) -> None:
    if len(entries) > MAX_ENTRIES:
        raise EarmarkError(f"{name} holds {len(entries):,} files: split it into zips of at most {MAX_ENTRIES:,}.")
    if sum(entry.file_size for entry in entries) > MAX_TOTAL_BYTES:
        raise EarmarkError(f"{name} unpacks to more than {MAX_TOTAL_BYTES >> 30} GiB: split it into smaller ones.")


def _read_entry(
    project: Project, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: PurePosixPath, done: Imported
) -> None:
    try:
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            raise EarmarkError(f"{path.name} is not a sound file: use WAV, FLAC, OGG or MP3.")
        if len(path.parts) < 2 or path.parts[-2] in (".", "..", "/"):
            raise EarmarkError(f"{path.name} lies in no folder: put it into one named like its label.")
        # One byte more than the limit tells a file that is larger than its entry claims, before it fills the memory.
        with archive.open(entry) as packed:
            data = packed.read(MAX_ENTRY_BYTES + 1)
        if len(data) > MAX_ENTRY_BYTES:
            raise EarmarkError(f"{path.name} is larger than {MAX_ENTRY_BYTES >> 20} MiB: cut it into clips.")
        clip, label = read_clip(data, path.name), check_label(folder_label(path.parts[-2]))
        if _is_there(project, label, clip):
            raise EarmarkError(f"{path.name} is in the project already.")
        done.added.append(project.add(label, clip, name=unquote(path.stem)))
    except EarmarkError as error:
        done.skipped.append((entry.filename, str(error)))


def _is_there(project: Project, label: str, clip: Clip) -> bool:
    """Whether the label has a clip of the same samples; what is kept is what FLAC's 24 bits hold."""
    kept = read_clip(encode_flac(clip))
    for known in project.clips(label):
        if known.error is None and known.seconds == clip.seconds:
            other = read_clip(known.path)
            if other.sample_rate == kept.sample_rate and np.array_equal(other.samples, kept.samples):
                return True
    return False
