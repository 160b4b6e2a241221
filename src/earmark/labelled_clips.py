"""A project's labels and clips.

The folder of clips is the truth, and users may change it by hand: whatever is asked is read from it anew.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy.typing as npt

from earmark.audio import Clip, as_clip, read_clip
from earmark.clips import ClipFile, ClipFolders, Moved, check_length, random_id, recording_name
from earmark.errors import EarmarkError
from earmark.examples import example_count
from earmark.labels import MAX_CHARACTERS, check_label
from earmark.recognizer import PROJECT_FILE
from earmark.settings import MODES, SOUNDS, Label, Settings, check_colour, free_colour, read_settings, write_settings
from earmark.spectrogram import SAMPLE_RATE

MAX_LABELS = 100
DEFAULT_LABELS = ("Left", "Right", "Noise")  # the codelab's


Change = TypeVar("Change", bound=Callable[..., Any])


def _locked(change: Change) -> Change:
    """Make a method hold its project's lock."""

    @wraps(change)
    def locked(project: LabelledClips, *arguments: Any, **options: Any) -> Any:
        with project.lock:
            return change(project, *arguments, **options)

    return cast("Change", locked)


@dataclass(frozen=True)
class Trashed:
    """What was deleted, until it is restored: its files, and the label with its place if that went too."""

    moved: Moved
    label: Label | None = None
    position: int = 0


class LabelledClips:
    """The part of a project that people make: `earmark.toml` and `clips/<label>/`. Every write is whole or not there.

    Threads may share a project: each change holds `lock`, which a caller holds too to make several changes as one.

    Args:
        path: the folder.
        create: make it where it is missing.
        mode: of a new project: "sounds" (short ones, windows of 70 ms) or "words" (and longer sounds, windows of a
            second).
        labels: of a new project.

    Raises:
        EarmarkError: no project there, or its settings can't be read.
    """

    def __init__(
        self,
        path: str | Path,
        create: bool = False,
        mode: str = SOUNDS,
        labels: tuple[str, ...] = (),
    ) -> None:
        self.path = Path(path)
        self.lock = threading.RLock()
        if create and not os.path.exists(self._settings_file):  # noqa: PTH110 (Path.exists raises for unfit names)
            self._create(mode, labels)
        settings = read_settings(self._settings_file)
        self.name = settings.name
        self._clips = ClipFolders(self.path)

    @property
    def mode(self) -> str:
        """ "sounds" or "words": what an example is, and what is trained unless another base is asked for."""
        return self._settings().mode

    @_locked
    def set_mode(self, mode: str) -> None:
        """Train for other sounds from now on; the recordings stay as they are.

        Raises:
            EarmarkError: there is no such mode.
        """
        self._write(replace(self._settings(), mode=_check_mode(mode), base=None))

    # Labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in order: those of the settings, then folders that somebody added by hand."""
        return tuple(label.name for label in self.label_settings())

    def label_settings(self) -> list[Label]:
        """The labels with their colours, in order."""
        labels = list(self._settings().labels)
        known = {label.name for label in labels}
        for name in self._clips.labels():
            if name not in known:
                labels.append(Label(name, free_colour(labels)))
        return labels

    def label(self, name: str) -> Label:
        """One label with its colour.

        Raises:
            EarmarkError: there is no such label.
        """
        labels = self.label_settings()
        return labels[_index(labels, name)]

    @_locked
    def add_label(self, name: str, colour: str | None = None) -> Label:
        """Add a label at the end.

        Raises:
            EarmarkError: the name is taken or unfit, the colour is none, or there are 20 already.
        """
        labels = _extended(self.label_settings(), name, colour)
        self._write_labels(labels)
        return labels[-1]

    @_locked
    def change_label(
        self, name: str, *, new_name: str | None = None, colour: str | None = None, position: int | None = None
    ) -> Label:
        """Rename, recolour or move a label; its position counts from 0. Returns it as it is then.

        Raises:
            EarmarkError: no such label, or a value is unfit; nothing is changed then.
        """
        labels = self.label_settings()
        index = _index(labels, name)
        label = labels.pop(index)
        if colour is not None:
            label = replace(label, colour=check_colour(colour))
        if new_name is not None:
            label = replace(label, name=_check_new(labels, new_name))
        labels.insert(max(0, min(index if position is None else position, len(labels))), label)
        clips = self.clips(name) if label.name != name else []
        if label.name != name:
            self._clips.rename(name, label.name)
        try:
            self._write_labels(labels)
        except EarmarkError:
            if label.name != name:
                self._clips.rename(label.name, name)
            raise
        self._move_key_frames({clip.id: clip.moved_to(label.name).id for clip in clips})
        return label

    @_locked
    def remove_label(self, name: str) -> Trashed:
        """Remove a label and its clips, to the trash; `restore` brings both back."""
        labels = self.label_settings()
        index = _index(labels, name)
        trashed = Trashed(self._clips.trash_label(name), labels.pop(index), index)
        try:
            self._write_labels(labels)
        except EarmarkError:
            self._clips.restore(trashed.moved)
            raise
        return trashed

    # Clips

    @_locked
    def add(
        self,
        label: str,
        clip: str | Path | npt.ArrayLike | Clip,
        sample_rate: int | None = None,
        *,
        name: str | None = None,
    ) -> ClipFile:
        """Add a clip, kept as FLAC at its own rate; a label that is new is added too.

        Args:
            label: what it holds.
            clip: a path, a clip, or samples in [-1, 1] of shape [samples] or [samples, channels].
            sample_rate: of samples, in Hz.
            name: the file's name without suffix; from the path, or the time, where not given.

        Raises:
            EarmarkError: the clip can't be read or the label is unfit; nothing is written then.
        """
        label = check_label(label)
        labels = self.label_settings()
        is_new = label not in [known.name for known in labels]
        if is_new:
            labels = _extended(labels, label)
        if isinstance(clip, (str, Path)):
            name = name or Path(clip).stem
            clip = read_clip(clip)
        elif isinstance(clip, Clip):
            clip = as_clip(clip.samples, clip.sample_rate)
        else:
            clip = as_clip(clip, sample_rate)
        added = self._clips.write(label, clip, name or recording_name())
        if is_new:
            self._write_labels(labels)
        return added

    def clips(self, label: str | None = None) -> list[ClipFile]:
        """The clips of one label or of all, in the order of their labels and file names."""
        return [clip for name in (self.labels if label is None else (label,)) for clip in self._clips.of(name)]

    def clip(self, clip_id: str) -> ClipFile:
        """The clip with that `ClipFile.id`.

        Raises:
            EarmarkError: there is none.
        """
        clip = self._clips.find(clip_id)
        if clip is None:
            raise EarmarkError("That recording is no longer there: look for it in another label or add it again.")
        return clip

    @_locked
    def move_clip(self, clip: ClipFile, label: str) -> ClipFile:
        """Move a clip to another label.

        Raises:
            EarmarkError: there is no such label, or the file is gone.
        """
        _index(self.label_settings(), label)
        moved = self._clips.move(clip, label)
        self._move_key_frames({clip.id: moved.id})
        return moved

    @_locked
    def trim_clip(self, clip: ClipFile, start: float, end: float) -> tuple[ClipFile, Trashed]:
        """Keep only the seconds from start to end; the whole clip goes to the trash.

        Raises:
            EarmarkError: the span is empty or too short for one example.
        """
        if math.isnan(start) or math.isnan(end):
            raise EarmarkError("The span to keep is not a number: give its start and end in seconds.")
        whole = read_clip(clip.path, clip.path.name)
        first, last = (round(min(max(0.0, at), whole.seconds) * whole.sample_rate) for at in (start, end))
        part = Clip(whole.samples[first : max(first, last)], whole.sample_rate)
        check_length(part)
        name = f"{clip.path.stem.rsplit('-', 1)[0]}-{random_id()}"
        trimmed = self._clips.write(clip.label, part, name)
        return trimmed, self.remove_clip(clip)

    @_locked
    def set_key_frame(self, clip: ClipFile, frame: int | None) -> None:
        """Say where in a recording the word is, as a frame of its spectrogram (23.2 ms); None: where it is loudest.

        Raises:
            EarmarkError: the recording isn't that long.
        """
        frames = max(1, example_count(round(clip.seconds * SAMPLE_RATE), SAMPLE_RATE, 1))
        if frame is not None and not 0 <= frame < frames:
            raise EarmarkError(f"The key frame is {frame}: the recording has frames 0 to {frames - 1}.")
        settings = self._settings()
        key_frames = {known: at for known, at in settings.key_frames.items() if known != clip.id}
        if frame is not None:
            key_frames[clip.id] = frame
        self._write(replace(settings, key_frames=key_frames))

    def key_frames(self) -> dict[str, int]:
        """The key frames that were set, by `ClipFile.id`."""
        return self._settings().key_frames

    def remove_clip(self, clip: ClipFile) -> Trashed:
        """Delete a clip, to the trash; `restore` brings it back."""
        return Trashed(self._clips.trash(clip))

    @_locked
    def restore(self, trashed: Trashed) -> None:
        """Bring back what was deleted; what has taken its place meanwhile stays too.

        Raises:
            EarmarkError: the trash was emptied since.
        """
        self._clips.restore(trashed.moved)
        if trashed.label is not None:
            labels = [label for label in self.label_settings() if label.name != trashed.label.name]
            labels.insert(trashed.position, trashed.label)
            self._write_labels(labels)

    def empty_trash(self) -> None:
        """Remove for good what was deleted more than 30 days ago."""
        self._clips.empty_trash()

    # What lies underneath

    @property
    def _settings_file(self) -> Path:
        return self.path / PROJECT_FILE

    def _create(self, mode: str, names: Iterable[str]) -> None:
        _check_mode(mode)
        if os.path.exists(self.path) and not self.path.is_dir():  # noqa: PTH110 (as above)
            raise EarmarkError(f"{self.path} is a file: name a folder for the project.")
        labels: list[Label] = []
        for name in names:
            labels = _extended(labels, name)
        ClipFolders(self.path).create()
        write_settings(self._settings_file, Settings(self.path.resolve().name, mode, tuple(labels)))

    def _write_labels(self, labels: list[Label]) -> None:
        self._write(replace(self._settings(), labels=tuple(labels)))

    def _settings(self) -> Settings:
        return read_settings(self._settings_file)

    def _write(self, settings: Settings) -> None:
        write_settings(self._settings_file, settings)

    def _move_key_frames(self, moved: dict[str, str]) -> None:
        settings = self._settings()
        if settings.key_frames.keys() & moved.keys():
            key_frames = {moved.get(clip, clip): frame for clip, frame in settings.key_frames.items()}
            self._write(replace(settings, key_frames=key_frames))


def _check_mode(mode: str) -> str:
    if mode not in MODES:
        raise EarmarkError(f"The mode {mode!r} is not known: use {' or '.join(MODES)}.")
    return mode


def _extended(labels: list[Label], name: str, colour: str | None = None) -> list[Label]:
    """The labels and one more."""
    name = _check_new(labels, name)
    if len(labels) >= MAX_LABELS:
        raise EarmarkError(f"A project holds at most {MAX_LABELS} labels: remove one first.")
    return [*labels, Label(name, check_colour(colour) if colour else free_colour(labels))]


def _check_new(labels: list[Label], name: str) -> str:
    name = check_label(name)
    # Some file systems don't tell upper from lower case, and people seldom do.
    if name.casefold() in [label.name.casefold() for label in labels]:
        raise EarmarkError(f"There is a label {name!r} already: choose another name.")
    return name


def _index(labels: list[Label], name: str) -> int:
    for index, label in enumerate(labels):
        if label.name == name:
            return index
    remedy = "choose one of " + ", ".join(label.name for label in labels) if labels else "add it first"
    raise EarmarkError(f"There is no label {name[:MAX_CHARACTERS]!r}: {remedy}.")
