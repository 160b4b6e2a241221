"""Recordings that were found in other programs' files, and are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Literal, get_args
from urllib.parse import unquote

import numpy as np

from earmark.audio import compressed_audio
from earmark.audio.clip import CLIP_SAMPLES, Clip, longest_clip, read_clip, read_parts
from earmark.errors import EarmarkError
from earmark.exchange.file_set import FileSet
from earmark.front_end.recordings import RECORDING_SUFFIXES, Recording, read_recording
from earmark.front_end.spectrogram_file import is_spectrogram_file
from earmark.labels import RESERVED_LABELS

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

NOISE = RESERVED_LABELS[0]
PART_SECONDS = 60  # the parts into which background noise is cut if it is longer than a clip may be
# In all parts together, which are in memory at the same time: half an hour at 48 kHz.
MAX_NOISE_SAMPLES = 3 * CLIP_SAMPLES
# The names of folders that hold a split, as Hugging Face's `datasets` knows them.
SPLIT_FOLDERS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class Found:
    """A recording that can be imported.

    Attributes:
        name: its name in messages: its path within the folder or zip.
        label: its label, if the source gives one.
        stem: the name of its file in the project, without suffix.
        read: a function that takes the label and reads it: one recording, or the parts of a long one.
        split: the part of the data set that it belongs to.
        key_frame: the frame of its spectrogram where the word is, if the source gives one.
        sort: a function that takes the recording and gives the label that it gets instead.
    """

    name: str
    label: str | None
    stem: str
    read: Callable[[str], Sequence[Recording]]
    split: Split | None = None
    key_frame: int | None = None
    sort: Callable[[Recording], str] | None = None


@dataclass
class Findings:
    """What was found.

    Attributes:
        recordings: all recordings, in order.
        label: the label that the source's own name suggests, for recordings that have none.
        skipped: the name of each file that is left out, with the reason.
        unread: how many of these are recordings, and not other files.
        notes: sentences that the user should read; some are added while the recordings are read.
    """

    recordings: list[Found] = field(default_factory=list)
    label: str | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unread: int = 0
    notes: list[str] = field(default_factory=list)

    def add_file(self, files: FileSet, path: PurePosixPath, label: str | None, split: Split | None = None) -> None:
        """Add a file that holds a recording, or note why it doesn't."""
        if is_recording(path):
            self.recordings.append(Found(str(path), label, unquote(path.stem), partial(read_file, files, path), split))
        else:
            reason = f"{path.name} is not a sound file: use WAV, FLAC, OGG or MP3."
            self.skipped.append((str(path), reason))


def is_recording(path: PurePosixPath) -> bool:
    """Whether a file's name says that it is a recording."""
    return path.suffix.lower() in RECORDING_SUFFIXES | compressed_audio.SUFFIXES


def read_file(files: FileSet, path: PurePosixPath, label: str) -> Sequence[Recording]:
    """Read a recording with that label: a sound file, a container as for video, or a spectrogram file.

    Raises:
        EarmarkError: it can't be read.
    """
    return read_sound(files.read(path), path.name, label)


def read_sound(data: bytes, name: str, label: str) -> Sequence[Recording]:
    """Like `read_file`, from a file's content; the name gives the suffix.

    Raises:
        EarmarkError: it can't be read.
    """
    if PurePosixPath(name).suffix.lower() in compressed_audio.SUFFIXES:
        return [compressed_audio.decode(data, name)]
    if label == NOISE and not is_spectrogram_file(name):
        return cut_noise(data, name)
    return [read_recording(data, name)]


def split_of(folder: PurePosixPath) -> Split | None:
    """The split after which a folder, or one above it, is named."""
    return next((SPLIT_FOLDERS[part] for part in folder.parts if part in SPLIT_FOLDERS), None)


def cut_noise(data: bytes, name: str) -> list[Clip]:
    """Read background noise: whole, or in parts of a minute if it is longer than a clip may be.

    Raises:
        EarmarkError: the file can't be read, or is too long even for that.
    """
    parts: list[Clip] = []
    have = 0
    for part in read_parts(data, PART_SECONDS, name):
        parts.append(part)
        have += len(part.samples)
        if have > MAX_NOISE_SAMPLES:
            longest = MAX_NOISE_SAMPLES / part.sample_rate / 60
            raise EarmarkError(f"{name} lasts longer than {longest:.0f} minutes: cut it into several recordings.")
    if not parts:
        return [read_clip(data, name)]  # which raises that it is empty
    rate = parts[0].sample_rate
    return parts if have > longest_clip(rate) else [Clip(np.concatenate([part.samples for part in parts]), rate)]
