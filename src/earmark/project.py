"""The project: a folder of labelled clips and the models trained from them.

The folder of clips is the truth, and users may change it by hand: whatever is asked is read from it anew.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from earmark.audio import AUDIO_SUFFIXES, Clip, as_clip, clip_length, encode_flac, read_clip
from earmark.card import MODEL_FILE, read_card, save_model
from earmark.errors import EarmarkError
from earmark.examples import SOUND_FRAMES, cut_examples, example_count
from earmark.files import make_folder, move, write_atomically
from earmark.labels import MAX_CHARACTERS, check_label, folder_label, label_folder
from earmark.recognizer import PROJECT_FILE, Recognizer, load
from earmark.settings import MODES, Label, Settings, check_colour, free_colour, read_settings, write_settings

if TYPE_CHECKING:
    from earmark.training import Epoch

MAX_LABELS = 20
DEFAULT_LABELS = ("Left", "Right", "Noise")  # the codelab's
MAX_STEM = 120  # characters of a file's name
TRASH_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class ClipFile:
    """A clip in a project.

    Attributes:
        label: its folder's.
        path: of the file.
        seconds: how long it lasts; 0 where it can't be read.
        examples: how many windows training cuts from it.
        error: why it can't be read, if so.
    """

    label: str
    path: Path
    seconds: float
    examples: int
    error: str | None = None


@dataclass(frozen=True)
class Trashed:
    """What was deleted and where it lies until it is restored: from → to."""

    moved: tuple[tuple[Path, Path], ...]
    label: Label | None = None
    position: int = 0


class Project:
    """A folder on disk: `earmark.toml`, `clips/<label>/`, `models/<name>/`. Every write is whole or not there.

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
        self._lengths: dict[Path, tuple[tuple[int, int], ClipFile]] = {}
        if create and not self._settings_file.exists():
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
        for name in sorted(self._folders()):
            if name not in known:
                labels.append(Label(name, free_colour(labels)))
        return labels

    def label(self, name: str) -> Label:
        """One label with its colour.

        Raises:
            EarmarkError: there is no such label.
        """
        labels = self.label_settings()
        return labels[self._index(labels, name)]

    def add_label(self, name: str, colour: str | None = None) -> Label:
        """Add a label at the end.

        Raises:
            EarmarkError: the name is taken or unfit, the colour is none, or there are 20 already.
        """
        name = self._check_new(name)
        labels = self.label_settings()
        if len(labels) >= MAX_LABELS:
            raise EarmarkError(f"A project holds at most {MAX_LABELS} labels: remove one first.")
        label = Label(name, check_colour(colour) if colour else free_colour(labels))
        self._write_labels([*labels, label])
        return label

    def change_label(
        self, name: str, *, new_name: str | None = None, colour: str | None = None, position: int | None = None
    ) -> Label:
        """Rename, recolour or move a label; its position counts from 0. Returns it as it is then.

        Raises:
            EarmarkError: no such label, or a value is unfit; nothing is changed then.
        """
        labels = self.label_settings()
        index = self._index(labels, name)
        label = labels.pop(index)
        if colour is not None:
            label = replace(label, colour=check_colour(colour))
        if new_name is not None and new_name != name:
            label = replace(label, name=self._check_new(new_name, but=name))
            folder = self._folders().get(name)
            if folder is not None and label.name != name:
                move(folder, self._clips / label_folder(label.name))
        labels.insert(max(0, min(index if position is None else position, len(labels))), label)
        self._write_labels(labels)
        return label

    def remove_label(self, name: str) -> Trashed:
        """Remove a label and its clips, to the trash; `restore` brings both back."""
        labels = self.label_settings()
        index = self._index(labels, name)
        folder = self._folders().get(name)
        trashed = self._trash([folder] if folder else [], labels[index], index)
        self._write_labels(labels[:index] + labels[index + 1 :])
        return trashed

    # Clips

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
        if isinstance(clip, (str, Path)):
            name = name or Path(clip).stem
            clip = read_clip(clip)
        elif not isinstance(clip, Clip):
            clip = as_clip(clip, sample_rate)
        if label not in self.labels:
            label = self.add_label(label).name
        return self._write_clip(label, clip, name or recording_name())

    def clips(self, label: str | None = None) -> list[ClipFile]:
        """The clips of one label or of all, in the order of their labels and file names."""
        folders = self._folders()
        wanted = self.labels if label is None else (label,)
        found = []
        for name in wanted:
            if (folder := folders.get(name)) is not None:
                found += [self._clip_file(name, path) for path in _audio_files(folder)]
        return found

    def clip(self, clip_id: str) -> ClipFile:
        """The clip with that id, as `clip_id` gives it.

        Raises:
            EarmarkError: there is none, or the id leads out of the project's clips.
        """
        folder, _, file = clip_id.partition("/")
        for name, path in self._folders().items():
            if path.name == folder:
                for found in _audio_files(path):
                    if found.name == file:
                        return self._clip_file(name, found)
        raise EarmarkError("That recording is no longer there: reload the page.")

    def clip_id(self, clip: ClipFile) -> str:
        """A name for the clip that stays the same for as long as the clip does."""
        return f"{clip.path.parent.name}/{clip.path.name}"

    def move_clip(self, clip: ClipFile, label: str) -> ClipFile:
        """Move a clip to another label."""
        self._index(self.label_settings(), label)
        target = self._free_path(label, clip.path.stem, clip.path.suffix)
        move(clip.path, target)
        return self._clip_file(label, target)

    def trim_clip(self, clip: ClipFile, start: float, end: float) -> tuple[ClipFile, Trashed]:
        """Keep only the seconds from start to end; the whole clip goes to the trash.

        Raises:
            EarmarkError: the span is empty or too short for one example.
        """
        whole = read_clip(clip.path, clip.path.name)
        first, last = round(max(0.0, start) * whole.sample_rate), round(end * whole.sample_rate)
        part = Clip(whole.samples[first : max(first, last)], whole.sample_rate)
        self.check_length(part)
        stem = clip.path.stem.rsplit("-", 1)[0] if "-" in clip.path.stem else clip.path.stem
        trimmed = self._write_clip(clip.label, part, f"{stem}-{random_id()}")
        return trimmed, self._trash([clip.path])

    def remove_clip(self, clip: ClipFile) -> Trashed:
        """Delete a clip, to the trash."""
        return self._trash([clip.path])

    def restore(self, trashed: Trashed) -> None:
        """Bring back what was deleted.

        Raises:
            EarmarkError: the trash was emptied since.
        """
        for _, there in trashed.moved:
            if not there.exists():
                raise EarmarkError("That can't be undone: the trash was emptied.")
        for home, there in trashed.moved:
            if home.is_dir():  # a label of that name has been made again: both keep their clips
                for file in there.iterdir():
                    move(file, home / file.name)
            else:
                move(there, home)
        if trashed.label is not None:
            labels = [label for label in self.label_settings() if label.name != trashed.label.name]
            self._write_labels([*labels[: trashed.position], trashed.label, *labels[trashed.position :]])

    def empty_trash(self) -> None:
        """Remove for good what was deleted more than 30 days ago."""
        for entry in self._trash_folder.glob("*"):
            if time.time() - entry.stat().st_mtime > TRASH_SECONDS:
                shutil.rmtree(entry)

    def check_length(self, clip: Clip) -> None:
        """Refuse a clip that gives no example.

        Raises:
            EarmarkError: it is too short.
        """
        if example_count(len(clip.samples), clip.sample_rate, SOUND_FRAMES) == 0:
            raise EarmarkError(f"The recording lasts {clip.seconds:.2f} s: make it at least 0.1 s long.")

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
        clips, fingerprint = self.clips(), self.fingerprint()
        labels = self.labels
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
                "labels": [_label_card(label, clips) for label in labels],
                "examples": len(examples),
                "training": options,
                "metrics": {
                    "loss": history[-1].loss,
                    "accuracy": history[-1].accuracy,
                    "measured_on": "the training's own examples, in the last epoch",
                },
                "clips_fingerprint": fingerprint,
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
        parts = list(self.labels)
        for clip in self.clips():
            stat = clip.path.stat()
            parts.append(f"{self.clip_id(clip)}:{stat.st_size}:{stat.st_mtime_ns}")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    # What lies underneath

    @property
    def _settings_file(self) -> Path:
        return self.path / PROJECT_FILE

    @property
    def _clips(self) -> Path:
        return self.path / "clips"

    @property
    def _models(self) -> Path:
        return self.path / "models"

    @property
    def _trash_folder(self) -> Path:
        return self.path / ".trash"

    def _create(self, mode: str, labels: tuple[str, ...]) -> None:
        if mode not in MODES:
            raise EarmarkError(f"The mode {mode!r} is not known: use {' or '.join(MODES)}.")
        if self.path.exists() and not self.path.is_dir():
            raise EarmarkError(f"{self.path} is a file: name a folder for the project.")
        settings: list[Label] = []
        for label in labels:
            settings.append(Label(check_label(label), free_colour(settings)))
        make_folder(self._clips)
        write_settings(self._settings_file, Settings(self.path.resolve().name, mode, tuple(settings)))

    def _write_labels(self, labels: list[Label]) -> None:
        write_settings(self._settings_file, Settings(self.name, self.mode, tuple(labels)))

    def _folders(self) -> dict[str, Path]:
        """Each label's folder; where two stand for one label, the first by name."""
        folders: dict[str, Path] = {}
        if self._clips.is_dir():
            for folder in sorted(self._clips.iterdir()):
                if folder.is_dir() and not folder.name.startswith("."):
                    folders.setdefault(folder_label(folder.name), folder)
        return folders

    def _index(self, labels: list[Label], name: str) -> int:
        for index, label in enumerate(labels):
            if label.name == name:
                return index
        raise EarmarkError(f"There is no label {name[:MAX_CHARACTERS]!r}: choose one of {', '.join(self.labels)}.")

    def _check_new(self, name: str, but: str | None = None) -> str:
        name = check_label(name)
        # Some file systems don't tell upper from lower case, and people seldom do.
        if name.casefold() in [label.casefold() for label in self.labels if label != but]:
            raise EarmarkError(f"There is a label {name!r} already: choose another name.")
        return name

    def _clip_file(self, label: str, path: Path) -> ClipFile:
        stat = path.stat()
        state = (stat.st_mtime_ns, stat.st_size)
        known = self._lengths.get(path)
        if known is None or known[0] != state:
            known = self._lengths[path] = (state, _read_length(label, path))
        return known[1]

    def _write_clip(self, label: str, clip: Clip, name: str) -> ClipFile:
        folder = self._folders().get(label, self._clips / label_folder(label))
        make_folder(folder)
        path = self._free_path(label, name, ".flac")
        write_atomically(path, encode_flac(clip))
        return self._clip_file(label, path)

    def _free_path(self, label: str, stem: str, suffix: str) -> Path:
        folder = self._folders().get(label, self._clips / label_folder(label))
        stem = label_folder(stem.strip())[:MAX_STEM] or "clip"
        path = folder / f"{stem}{suffix}"
        while path.exists():
            path = folder / f"{stem}-{random_id()}{suffix}"
        return path

    def _trash(self, paths: list[Path], label: Label | None = None, position: int = 0) -> Trashed:
        entry = self._trash_folder / f"{time.time_ns()}-{random_id()}"
        moved = tuple((path, entry / path.relative_to(self._clips)) for path in paths)
        for home, there in moved:
            move(home, there)
        return Trashed(moved, label, position)


def recording_name(identity: str | None = None) -> str:
    """A new recording's file name without suffix: when it was made, and an id so that no two share one."""
    return f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{identity or random_id()}"


def random_id() -> str:
    """Eight of a-z and 0-9."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def _audio_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _read_length(label: str, path: Path) -> ClipFile:
    try:
        samples, rate = clip_length(path)
    except EarmarkError as error:
        return ClipFile(label, path, 0.0, 0, str(error))
    return ClipFile(label, path, samples / rate, example_count(samples, rate, SOUND_FRAMES))


def _check_trainable(clips: list[ClipFile]) -> None:
    for clip in clips:
        if clip.error:
            raise EarmarkError(f"Training needs every clip: {clip.error}")
    heard = {clip.label for clip in clips if clip.examples}
    if len(heard) < 2:
        has = f"only {heard.pop()!r} has some" if heard else "none has any yet"
        raise EarmarkError(f"Training needs recordings of at least two labels: {has}.")


def _label_card(label: str, clips: list[ClipFile]) -> dict[str, Any]:
    own = [clip.examples for clip in clips if clip.label == label]
    return {"name": label, "clips": len(own), "examples": sum(own)}


def _import_training() -> ModuleType:
    try:
        from earmark import training
    except ModuleNotFoundError as error:
        raise EarmarkError(
            f"Training needs the package {error.name}: install it with `pip install 'earmark[train]'`."
        ) from error
    return training
