"""A project's labels and clips.

The folder of clips is the truth, and users may change it by hand. So every query reads it again.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy.typing as npt

from earmark.audio.clip import Clip, as_clip
from earmark.clips.folders import ClipFile, ClipFolders, Moved, check_length, random_id, recording_name
from earmark.clips.label_list import check_new, extended, index_of
from earmark.clips.notes import notes_on
from earmark.clips.settings import (
    MODES,
    SOUNDS_MODE,
    Label,
    Settings,
    SettingsFile,
    check_colour,
    free_colour,
)
from earmark.errors import EarmarkError
from earmark.front_end.recordings import Recording, SoundlessClip, frame_count, part_of, read_recording
from earmark.front_end.spectrogram import FRAME_SECONDS
from earmark.front_end.spectrogram_file import as_spectrogram
from earmark.labels import check_label
from earmark.models.saved_model import PROJECT_FILE
from earmark.storage.files import clear_leftovers
from earmark.storage.folder_lock import FolderLock

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
    """What was deleted and can be restored: files, key frames, and the label with its position if that was deleted."""

    moved: Moved
    label: Label | None = None
    position: int = 0
    key_frames: dict[str, int] = field(default_factory=dict)


class LabelledClips:
    """The part of a project that people make: `earmark.toml` and `clips/<label>/`. Every write is atomic.

    Threads and processes may share it. Each change holds `lock`; a caller may hold it, too, to combine several changes.

    Args:
        path: the project's folder.
        create: whether to create the project if it is missing.
        mode: a new project's mode: "sounds" (short ones, windows of 70 ms) or "words" (words and longer sounds, windows
            of a second).
        labels: a new project's labels.

    Raises:
        EarmarkError: there is no project, or its settings can't be read.
    """

    def __init__(
        self,
        path: str | Path,
        create: bool = False,
        mode: str = SOUNDS_MODE,
        labels: tuple[str, ...] = (),
    ) -> None:
        self.path = Path(path)
        self._settings = SettingsFile(self.path / PROJECT_FILE)
        self.lock = FolderLock(self.path, self._settings.forget)
        if create and not os.path.exists(self._settings.path):  # noqa: PTH110 (Path.exists raises for unfit names)
            self._create(mode, labels)
        self.name = self._settings.read().name
        self._clips = ClipFolders(self.path)

    @property
    def mode(self) -> str:
        """ "sounds" or "words": decides what an example is, and what is trained by default."""
        return self._settings.read().mode

    @_locked
    def set_mode(self, mode: str) -> None:
        """Change the kind of sounds to train for, on the best base for them. The recordings stay as they are.

        Raises:
            EarmarkError: there is no such mode.
        """
        if _check_mode(mode) != self.mode:
            self._settings.write(replace(self._settings.read(), mode=mode, base=None))

    # Labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in order: those in the settings, then folders that somebody has added by hand."""
        return tuple(label.name for label in self.label_settings())

    def label_settings(self) -> list[Label]:
        """The labels with their colours, in order."""
        labels = list(self._settings.read().labels)
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
        return labels[index_of(labels, name)]

    @_locked
    def add_label(self, name: str, colour: str | None = None) -> Label:
        """Add a label at the end.

        Raises:
            EarmarkError: the name is taken or not valid, the colour is not valid, or there are 100 labels already.
        """
        labels = extended(self.label_settings(), name, colour)
        self._write_labels(labels)
        return labels[-1]

    @_locked
    def change_label(
        self, name: str, *, new_name: str | None = None, colour: str | None = None, position: int | None = None
    ) -> Label:
        """Rename, recolour or move a label; positions count from 0. Returns the label as it is afterwards.

        Raises:
            EarmarkError: there is no such label, or a value is not valid; nothing is changed then.
        """
        labels = self.label_settings()
        index = index_of(labels, name)
        label = labels.pop(index)
        if colour is not None:
            label = replace(label, colour=check_colour(colour))
        if new_name is not None:
            label = replace(label, name=check_new(labels, new_name))
        labels.insert(max(0, min(index if position is None else position, len(labels))), label)
        if label.name == name:
            self._write_labels(labels)
            return label
        moved = {clip.id: clip.moved_to(label.name).id for clip in self.clips(name)}
        with self._moving(moved) as key_frames:
            try:
                self._clips.rename(name, label.name)
                self._settings.write(replace(self._settings.read(), labels=tuple(labels), key_frames=key_frames))
            except EarmarkError:
                self._clips.rename(label.name, name)
                raise
        return label

    @_locked
    def remove_label(self, name: str) -> Trashed:
        """Remove a label and move its clips to the trash; `restore` brings both back."""
        labels = self.label_settings()
        index = index_of(labels, name)
        key_frames = self._key_frames_of(self.clips(name))
        trashed = Trashed(self._clips.trash_label(name), labels.pop(index), index, key_frames)
        self._forget(trashed, labels)
        return trashed

    # Clips

    def add(
        self,
        label: str,
        clip: str | Path | npt.ArrayLike | Recording,
        sample_rate: int | None = None,
        *,
        name: str | None = None,
        key_frame: int | None = None,
    ) -> ClipFile:
        """Add a clip, which is stored as FLAC at its own rate. A new label is added, too.

        Args:
            label: the recording's label.
            clip: the path of a sound file or of a spectrogram file (see `add_spectrogram`); a clip; or samples in [-1,
                1] of shape [samples] or [samples, channels].
            sample_rate: the samples' rate in Hz.
            name: the file's name without suffix; by default from the path or the time.
            key_frame: see `set_key_frame`.

        Returns:
            The new clip. Its `notes` say if it is silent, too quiet, clipped or, for short sounds, mostly silence.

        Raises:
            EarmarkError: the clip can't be read, or the label or the key frame is not valid; nothing is written then.
        """
        check_label(label)
        if isinstance(clip, (str, Path)):
            return self._add(label, read_recording(Path(clip)), name or Path(clip).stem, key_frame)
        if isinstance(clip, SoundlessClip):
            return self.add_spectrogram(label, clip.frames, name=name, key_frame=key_frame)
        if isinstance(clip, Clip):
            return self._add(label, as_clip(clip.samples, clip.sample_rate), name, key_frame)
        return self._add(label, as_clip(clip, sample_rate), name, key_frame)

    def add_spectrogram(
        self, label: str, frames: npt.ArrayLike, *, name: str | None = None, key_frame: int | None = None
    ) -> ClipFile:
        """Add a recording of which only the spectrogram is left. A new label is added, too.

        Args:
            label: the recording's label.
            frames: levels in dB as the front end gives them, shape [frames, 232]. −∞ and levels below the front end's
                floor are raised to the floor.
            name: the file's name without suffix; by default from the time.
            key_frame: the frame at which the word is; None means where it is loudest.

        Raises:
            EarmarkError: the levels, the key frame or the label are not valid; nothing is written then.
        """
        return self._add(label, SoundlessClip(as_spectrogram(frames)), name, key_frame)

    @_locked
    def _add(self, label: str, recording: Recording, name: str | None, key_frame: int | None) -> ClipFile:
        label = check_label(label)
        if key_frame is not None:
            key_frame = _check_key_frame(key_frame, frame_count(recording))
        labels = self.label_settings()
        is_new = label not in [known.name for known in labels]
        if is_new:
            labels = extended(labels, label)
        added = self._clips.write(label, recording, name or recording_name())
        try:
            settings = self._settings.read()
            key_frames = _moved(settings.key_frames, {added.id: None})  # of a file of that name, deleted by hand
            if key_frame is not None:
                key_frames[added.id] = key_frame
            if is_new or key_frames != settings.key_frames:
                known = tuple(labels) if is_new else settings.labels
                self._settings.write(replace(settings, labels=known, key_frames=key_frames))
        except EarmarkError:
            self._clips.discard(added, with_folder=is_new)
            raise
        return replace(added, notes=notes_on(recording, label, settings.mode))

    def clips(self, label: str | None = None) -> list[ClipFile]:
        """The clips of one label or of all labels, in the order of labels and file names."""
        return [clip for name in (self.labels if label is None else (label,)) for clip in self._clips.of(name)]

    def clip(self, clip_id: str) -> ClipFile:
        """The clip with that `ClipFile.id`.

        Raises:
            EarmarkError: there is no such clip.
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
        index_of(self.label_settings(), label)
        if clip.label == label:
            return clip
        target = self._clips.as_moved(clip, label)
        with self._moving({clip.id: target.id}) as key_frames:
            moved = self._clips.move(clip, target)
            try:
                self._write_key_frames(key_frames)
            except EarmarkError:
                self._clips.move(moved, clip)
                raise
        return moved

    @_locked
    def trim_clip(self, clip: ClipFile, start: float, end: float) -> tuple[ClipFile, Trashed]:
        """Keep only the seconds (or the frames) from start to end; the whole clip goes to the trash.

        Raises:
            EarmarkError: the span is empty or too short for one example.
        """
        if math.isnan(start) or math.isnan(end):
            raise EarmarkError("The span to keep is not a number: give its start and end in seconds.")
        part = part_of(read_recording(clip.path, clip.path.name), start, end)
        check_length(part)
        name = f"{clip.path.stem.rsplit('-', 1)[0]}-{random_id()}"
        key_frames = self.key_frames()
        key_frame = key_frames.get(clip.id, -1) - round(min(max(0.0, start), clip.seconds) / FRAME_SECONDS)
        trimmed = self._clips.write(clip.label, part, name)
        try:
            if 0 <= key_frame < trimmed.frames:
                self.set_key_frame(trimmed, key_frame)
            return trimmed, self.remove_clip(clip)
        except EarmarkError:
            self._clips.discard(trimmed)
            self._write_key_frames(key_frames)
            raise

    @_locked
    def set_key_frame(self, clip: ClipFile, frame: int | None) -> None:
        """Set where a recording has its word, as a frame of its spectrogram (23.2 ms); None means where it is loudest.

        Raises:
            EarmarkError: the frame is no whole number, or the recording is shorter than that.
        """
        if frame is not None:
            frame = _check_key_frame(frame, max(1, clip.frames))
        settings = self._settings.read()
        key_frames = {known: at for known, at in settings.key_frames.items() if known != clip.id}
        if frame is not None:
            key_frames[clip.id] = frame
        self._settings.write(replace(settings, key_frames=key_frames))

    def key_frames(self) -> dict[str, int]:
        """The key frames that were set, by `ClipFile.id`."""
        return dict(self._settings.read().key_frames)

    @_locked
    def remove_clip(self, clip: ClipFile) -> Trashed:
        """Delete a clip: move it to the trash. `restore` brings it back."""
        trashed = Trashed(self._clips.trash(clip), key_frames=self._key_frames_of([clip]))
        self._forget(trashed)
        return trashed

    @_locked
    def restore(self, trashed: Trashed) -> None:
        """Bring back what was deleted. Anything that has taken its place meanwhile stays, too.

        Raises:
            EarmarkError: the trash has been emptied since.
        """
        taken = {clip.id for clip in self.clips()} if trashed.key_frames else set()  # those get another name
        settings = self._settings.read()
        key_frames = {clip: frame for clip, frame in trashed.key_frames.items() if clip not in taken}
        restored = replace(settings, key_frames=settings.key_frames | key_frames)
        if trashed.label is not None:
            labels = [label for label in self.label_settings() if label.name != trashed.label.name]
            labels.insert(trashed.position, trashed.label)
            restored = replace(restored, labels=tuple(labels))
        if restored != settings:
            self._settings.write(restored)
        try:
            self._clips.restore(trashed.moved)
        except EarmarkError:
            if restored != settings:
                self._settings.write(settings)
            raise

    def all_have_sound(self) -> bool:
        """Whether all recordings have sound, none only a spectrogram."""
        return self._clips.all_have_sound()

    @_locked
    def empty_trash(self) -> None:
        """Delete for good what was moved to the trash more than 30 days ago, and what killed writers have left."""
        self._clips.empty_trash()
        if self.lock.is_exclusive:
            clear_leftovers(self.path)

    # What lies underneath

    def _create(self, mode: str, names: Iterable[str]) -> None:
        _check_mode(mode)
        if os.path.exists(self.path) and not self.path.is_dir():  # noqa: PTH110 (as above)
            raise EarmarkError(f"{self.path} is a file: name a folder for the project.")
        labels: list[Label] = []
        for name in names:
            labels = extended(labels, name)
        ClipFolders(self.path).create()
        with self.lock:
            if not self._settings.path.exists():  # somebody else may create it at this very moment
                self._settings.write(Settings(self.path.resolve().name, mode, tuple(labels)))

    def _write_labels(self, labels: list[Label]) -> None:
        self._settings.write(replace(self._settings.read(), labels=tuple(labels)))

    def _key_frames_of(self, clips: Iterable[ClipFile]) -> dict[str, int]:
        known = self.key_frames()
        return {clip.id: known[clip.id] for clip in clips if clip.id in known}

    def _forget(self, trashed: Trashed, labels: list[Label] | None = None) -> None:
        """Record in the settings what is gone, or bring its files back if the settings can't be written."""
        settings = self._settings.read()
        key_frames = {clip: frame for clip, frame in settings.key_frames.items() if clip not in trashed.key_frames}
        if labels is None and key_frames == settings.key_frames:
            return
        try:
            labels_left = settings.labels if labels is None else tuple(labels)
            self._settings.write(replace(settings, labels=labels_left, key_frames=key_frames))
        except EarmarkError:
            self._clips.restore(trashed.moved)
            raise

    @contextmanager
    def _moving(self, moved: Mapping[str, str]) -> Iterator[dict[str, int]]:
        """While clips get other ids, store their key frames under both ids, so that a kill in between loses none.

        Yields the key frames to write once the clips have moved. If the move fails, they are as before.
        """
        before = self.key_frames()
        after = _moved(before, moved)
        self._write_key_frames(before | after)
        try:
            yield after
        except EarmarkError:
            with suppress(EarmarkError):  # both do no harm
                self._write_key_frames(before)
            raise

    def _write_key_frames(self, key_frames: dict[str, int]) -> None:
        settings = self._settings.read()
        if key_frames != settings.key_frames:
            self._settings.write(replace(settings, key_frames=key_frames))


def _check_key_frame(frame: int, frames: int) -> int:
    try:
        frame = operator.index(frame)  # numpy's whole numbers too
    except TypeError as error:
        raise EarmarkError(f"The key frame is {frame!r}: it must be a whole number.") from error
    if not 0 <= frame < frames:
        raise EarmarkError(f"The key frame is {frame}: the recording has frames 0 to {frames - 1}.")
    return frame


def _moved(key_frames: dict[str, int], moved: Mapping[str, str | None]) -> dict[str, int]:
    """The key frames after clips have changed their ids; None as a new id means that the clip is another one now."""
    stay = {clip: at for clip, at in key_frames.items() if clip not in moved and clip not in moved.values()}
    return stay | {new: key_frames[old] for old, new in moved.items() if new is not None and old in key_frames}


def _check_mode(mode: str) -> str:
    if mode not in MODES:
        raise EarmarkError(f"The mode {mode!r} is not known: use {' or '.join(MODES)}.")
    return mode
