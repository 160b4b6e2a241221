"""The project: a folder of labelled clips and the models trained from them.

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
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy.typing as npt

from earmark.audio import Clip, as_clip, read_clip
from earmark.card import MODEL_FILE, read_card, save_model
from earmark.clips import ClipFile, ClipFolders, Moved, check_length, fingerprint, random_id, recording_name
from earmark.errors import EarmarkError
from earmark.examples import SOUND_FRAMES, cut_examples
from earmark.labels import MAX_CHARACTERS, check_label
from earmark.recognizer import PROJECT_FILE, Recognizer, load
from earmark.settings import MODES, Label, Settings, check_colour, free_colour, read_settings, write_settings

if TYPE_CHECKING:
    from earmark.training import Epoch

MAX_LABELS = 20
DEFAULT_LABELS = ("Left", "Right", "Noise")  # the codelab's


Change = TypeVar("Change", bound=Callable[..., Any])


def _locked(change: Change) -> Change:
    """Make a method hold its project's lock."""

    @wraps(change)
    def locked(project: Project, *arguments: Any, **options: Any) -> Any:
        with project.lock:
            return change(project, *arguments, **options)

    return cast("Change", locked)


@dataclass(frozen=True)
class Trashed:
    """What was deleted, until it is restored: its files, and the label with its place if that went too."""

    moved: Moved
    label: Label | None = None
    position: int = 0


class Project:
    """A folder on disk: `earmark.toml`, `clips/<label>/`, `models/<name>/`. Every write is whole or not there.

    Threads may share a project: each change holds `lock`, which a caller holds too to make several changes as one.

    Args:
        path: the folder.
        create: make it where it is missing.
        mode: of a new project: "sounds" (short sounds, windows of 3 frames).
        labels: of a new project.

    Raises:
        EarmarkError: no project there, or its settings can't be read.
    """

    def __init__(
        self,
        path: str | Path,
        create: bool = False,
        mode: str = "sounds",
        labels: tuple[str, ...] = (),
    ) -> None:
        self.path = Path(path)
        self.lock = threading.RLock()
        self._clips = ClipFolders(self.path)
        if create and not os.path.exists(self._settings_file):  # noqa: PTH110 (Path.exists raises for unfit names)
            self._create(mode, labels)
        settings = read_settings(self._settings_file)
        self.name, self.mode = settings.name, settings.mode

    # Labels

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in order: those of the settings, then folders that somebody added by hand."""
        return tuple(label.name for label in self.label_settings())

    def label_settings(self) -> list[Label]:
        """The labels with their colours, in order."""
        labels = list(read_settings(self._settings_file).labels)
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
        if label.name != name:
            self._clips.rename(name, label.name)
        try:
            self._write_labels(labels)
        except EarmarkError:
            if label.name != name:
                self._clips.rename(label.name, name)
            raise
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
        return self._clips.move(clip, label)

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

    # Models

    def train(
        self,
        base: str = "sounds",
        *,
        epochs: int = 10,
        batch_size: int = 16,
        learning_rate: float = 0.01,
        seed: int = 0,
        on_epoch: Callable[[Epoch], object] | None = None,
    ) -> Recognizer:
        """Train on all clips and save the model in `models/<base>/`; the old one stays until the new one is whole.

        Args:
            base: "sounds", the codelab's network, trained from scratch.
            epochs, batch_size, learning_rate, seed: see `training.train_sounds`.
            on_epoch: called with each `Epoch` as it ends.

        Raises:
            EarmarkError: fewer than two labels have examples, a clip can't be read, PyTorch is missing, or an option
                is out of its range.
        """
        if base != "sounds":
            raise EarmarkError(f"The base {base!r} is not known: use 'sounds'.")
        training = _import_training()
        settings = self.label_settings()
        labels = tuple(label.name for label in settings)
        clips = [clip for label in labels for clip in self.clips(label)]  # none of a label that comes meanwhile
        _check_trainable(clips)
        examples = cut_examples([(read_clip(clip.path), labels.index(clip.label)) for clip in clips], SOUND_FRAMES)
        options = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
        network, history = training.train_sounds(examples, len(labels), **options, on_epoch=on_epoch)
        model = training.sound_model_file(network, base, labels)
        recognizer = Recognizer(model, f"the new {base} model")
        save_model(
            self._models / base,
            model,
            {
                "name": base,
                "labels": [_label_card(label, clips) for label in settings],
                "examples": len(examples),
                "training": options,
                "metrics": {
                    "loss": history[-1].loss,
                    "accuracy": history[-1].accuracy,
                    "measured_on": "the training's own examples, in the last epoch",
                },
                "clips_fingerprint": fingerprint(labels, clips),
            },
        )
        return recognizer

    def model(self, name: str = "sounds") -> Recognizer:
        """The trained model.

        Raises:
            EarmarkError: there is none yet.
        """
        if not (self._models / name / MODEL_FILE).exists():
            raise EarmarkError(f"{self.path} has no trained model yet: run `earmark train {self.path}` first.")
        return load(self._models / name)

    def model_card(self, name: str = "sounds") -> dict[str, Any] | None:
        """What `model.json` says of the model, or None where there is no model or the card is another one's."""
        return read_card(self._models / name)

    def fingerprint(self) -> str:
        """Changes when a label or a clip does; a model whose card holds another one is stale."""
        return fingerprint(self.labels, self.clips())

    # What lies underneath

    @property
    def _settings_file(self) -> Path:
        return self.path / PROJECT_FILE

    @property
    def _models(self) -> Path:
        return self.path / "models"

    def _create(self, mode: str, names: Iterable[str]) -> None:
        if mode not in MODES:
            raise EarmarkError(f"The mode {mode!r} is not known: use {' or '.join(MODES)}.")
        if os.path.exists(self.path) and not self.path.is_dir():  # noqa: PTH110 (as above)
            raise EarmarkError(f"{self.path} is a file: name a folder for the project.")
        labels: list[Label] = []
        for name in names:
            labels = _extended(labels, name)
        self._clips.create()
        write_settings(self._settings_file, Settings(self.path.resolve().name, mode, tuple(labels)))

    def _write_labels(self, labels: list[Label]) -> None:
        write_settings(self._settings_file, Settings(self.name, self.mode, tuple(labels)))


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


def _check_trainable(clips: list[ClipFile]) -> None:
    for clip in clips:
        if clip.error:
            raise EarmarkError(f"Training needs every clip: {clip.error}")
    heard = {clip.label for clip in clips if clip.examples}
    if len(heard) < 2:
        has = f"only {heard.pop()!r} has some" if heard else "none has any yet"
        raise EarmarkError(f"Training needs recordings of at least two labels: {has}.")


def _label_card(label: Label, clips: list[ClipFile]) -> dict[str, Any]:
    own = [clip.examples for clip in clips if clip.label == label.name]
    return {"name": label.name, "colour": label.colour, "clips": len(own), "examples": sum(own)}


def _import_training() -> ModuleType:
    try:
        from earmark import training
    except ModuleNotFoundError as error:
        raise EarmarkError(
            f"Training needs the package {error.name}: install it with `pip install 'earmark[train]'`."
        ) from error
    return training
