"""The project: a folder of labelled clips and the models trained from them.

The folder of clips is the truth, and users may change it by hand. So every query reads it again.

`Project` has three parts. `clips.labelled.LabelledClips` keeps labels and clips: add, move, trim, remove, restore.
`clips.collecting.Collecting` adds what speech-commands calls collecting examples. This module joins them with training,
evaluation, exchange and models.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, replace
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.clips.collecting import Collecting
from earmark.clips.folders import ClipFile, by_content, fingerprint
from earmark.clips.settings import Label
from earmark.errors import EarmarkError
from earmark.labels import RESERVED_LABELS, file_stem
from earmark.models.network import Network
from earmark.models.project_models import MODELS, make_newest, model_folder, model_names, model_times
from earmark.models.saved_model import CARD_FILE, MODEL_FILE, REPORT_FILE, read_card, save_model
from earmark.recognizer.recognizer import Recognizer, load
from earmark.storage.files import delete_folder
from earmark.training.bases import AUTO, SOUNDS_BASE, Base, bases, default_base
from earmark.training.choosing import Choice, choose_base
from earmark.training.embedding_cache import EmbeddingCache
from earmark.training.plan import Training
from earmark.training.transfer import TaughtClip

if TYPE_CHECKING:
    from earmark.evaluation.evaluation import Evaluation
    from earmark.exchange.importing import Imported
    from earmark.progress import Report
    from earmark.training.sound_network import Epoch

DEFAULT_LABELS = ("Left", "Right", "Noise")  # the codelab's


class TransferRecognizer(Recognizer):
    """A recognizer that was just trained.

    Attributes:
        history: the epochs of its training.
        base_choice: the base that it was trained on, and why that was chosen, if it was.
        hint: a sentence on another base that would hear such recordings better, if there is one.
    """

    history: tuple[Epoch, ...] = ()
    base_choice: Choice | None = None
    hint: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return *super().__reduce__(), {"history": self.history}


class Project(Collecting):
    """A folder on disk: `earmark.toml`, `clips/<label>/`, `models/<name>/`. Every write is atomic.

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

    @property
    def base(self) -> str:
        """The base for training that the user chose; otherwise "auto", where that can be used, or the best that can."""
        return self._settings.read().base or default_base(self.mode, self.all_have_sound())

    def set_base(self, base: str) -> None:
        """Choose the base for training.

        Raises:
            EarmarkError: the base is not one of `bases`.
        """
        names = [known.name for known in self.bases()]
        if base not in names:
            raise EarmarkError(f"The base {base!r} is not known: choose one of {', '.join(names)}.")
        with self.lock:
            self._settings.write(replace(self._settings.read(), base=base))

    def bases(self) -> list[Base]:
        """The bases that this project can be trained on."""
        return bases(self.mode, self.all_have_sound())

    def choose_base(self, base: str | Path | Network | None = None) -> Choice:
        """The base that a training would use, and why.

        Args:
            base: as in `train`.

        Raises:
            EarmarkError: a recording can't be read.
        """
        if base is None:
            base = self.own_base or self.base
        if base != AUTO:
            return Choice(base)
        clips = [clip for clip in self._taught(self.labels) if clip.file.examples and not clip.file.error]
        return choose_base(clips, self._cache)

    def train(
        self,
        base: str | Path | Network | None = None,
        *,
        name: str | None = None,
        report: Report | None = None,
        on_epoch: Callable[[Epoch], object] | None = None,
        **options: Any,
    ) -> TransferRecognizer:
        """Train on all clips and save the model in `models/<name>/`. The old model stays until the new one is complete.

        Args:
            base: "sounds" (the codelab's network, from scratch), "speech", "words", "ear", a base of your own, or any
                model or network with an embedding that `open_base` takes; "auto" means to choose by the recordings. By
                default `self.base`.
            name: the model's name; by default the base's.
            report: called with the progress of reading the recordings, as (what, done, of how many).
            on_epoch: called with each `Epoch` when it ends.
            options: the options of `sounds.train_sounds` or, for other bases, of `transfer.TransferOptions` and
                `heads.HeadOptions`.

        Returns:
            The recognizer, with its `history`.

        Raises:
            EarmarkError: fewer than two labels have examples; a clip can't be read; a package is missing; the base has
                no embedding, or needs sound that a recording no longer has; or an option is unknown or out of range.
        """
        choice = self.choose_base(base)
        training = self._training(choice.base, options)
        name = file_stem(name) if name else training.name
        settings = self.label_settings()
        labels = tuple(label.name for label in settings)
        clips = self._taught(labels)
        _check_trainable([clip.file for clip in clips], training)
        training = replace(training, name=name)
        trained = training.run(_by_content(clips), labels, report=report, on_epoch=on_epoch)
        recognizer = TransferRecognizer(trained.model, f"the new {name} model")
        recognizer.history, recognizer.base_choice = tuple(trained.history), choice
        recognizer.hint = trained.hint
        files = [clip.file for clip in clips]
        last = trained.history[-1]
        save_model(
            self._models / name,
            trained.model,
            {
                "name": name,
                "base": _name_of(training.base),
                "base_chosen_because": choice.why,
                "labels": [self._label_card(label, files) for label in settings],
                "examples": trained.examples,
                "training": trained.options,
                "metrics": {
                    **{key: value for key, value in asdict(last).items() if value is not None},
                    "measured_on": "the training's own examples, in the last epoch",
                },
                "clips_fingerprint": fingerprint(labels, files),
            },
        )
        make_newest(self.path, name)
        return recognizer

    def evaluate(
        self,
        base: str | Path | Network | None = None,
        *,
        folds: int = 5,
        background: Iterable[str | Path] = (),
        report: Report | None = None,
        **options: Any,
    ) -> Evaluation:
        """Measure how well training works: each recording is recognized by a model that never heard it.

        Args:
            base, options: as in `train`.
            folds: the number of parts that the recordings are divided into; each is left out once.
            background: recordings, or folders of them, without any of the taught sounds, to count false alarms.
            report: called with the progress, as (what, done, of how many).

        Returns:
            The evaluation; `report.write_report` turns it into a page.

        Raises:
            EarmarkError: there are too few recordings, or as in `train`.
        """
        from earmark.evaluation.cross_validation import cross_validate

        labels = self.labels
        clips, training = self._taught(labels), self._training(self.choose_base(base).base, options)
        _check_trainable([clip.file for clip in clips], training)
        return cross_validate(training, _by_content(clips), labels, folds, background, report)

    # Exchange

    def serialize_examples(self, labels: Collection[str] | None = None) -> bytes:
        """The recordings of some labels, or of all labels, in the format of speech-commands' `serializeExamples`.

        Raises:
            EarmarkError: there is no such label, or there are no recordings, or too many.
        """
        from earmark.exchange.example_sets import example_set
        from earmark.exchange.written_recordings import Written

        return example_set(self, Written(), labels)

    def load_examples(self, serialized: bytes, clear_existing: bool = False) -> Imported:
        """Add what `serialize_examples` or speech-commands has serialized; `import_into` reads files and folders, too.

        Args:
            serialized: the set's content.
            clear_existing: whether to move the existing recordings to the trash first.

        Raises:
            EarmarkError: it is no such set, or is damaged; nothing is changed then.
        """
        from earmark.exchange.importing import import_into
        from earmark.exchange.serialized_examples import read_examples

        with self.lock:
            if clear_existing:
                read_examples(serialized, "the set of examples")  # refused before anything is cleared
                self.clear_examples()
            return import_into(self, BytesIO(serialized), name="the set of examples")

    # Models

    def models(self) -> list[str]:
        """The trained models' names, the newest first: speech-commands' `listSavedTransferModels`."""
        return model_names(self.path)

    def model(self, name: str | None = None) -> Recognizer:
        """A trained model; by default the newest one.

        Raises:
            EarmarkError: there is no such model.
        """
        return load(self.model_folder(name))

    def model_folder(self, name: str | None = None) -> Path:
        """The folder of a trained model; by default of the newest one.

        Raises:
            EarmarkError: there is no such model.
        """
        return model_folder(self.path, name)

    def delete_model(self, name: str) -> None:
        """Delete a trained model, its card and its report: speech-commands' `deleteSavedTransferModel`.

        Raises:
            EarmarkError: there is no model with that name, or it can't be deleted.
        """
        delete_folder(self.model_folder(name))

    def model_card(self, name: str | None = None) -> dict[str, Any] | None:
        """The content of `model.json`, or None if there is no model or the card belongs to another model."""
        names = self.models()
        return read_card(self._models / (name or names[0])) if names else None

    def state(self) -> tuple[object, object]:
        """One value that changes when any program changes settings or recordings, and one for the models."""
        settings = self._settings.read()
        return (settings, self._clips.state()), (settings.mode, settings.base, sorted(model_times(self.path)))

    def fingerprint(self) -> str:
        """A text that changes when a label or a clip does. A model whose card holds a different one is stale."""
        return fingerprint(self.labels, self.clips())

    def count_recordings(self) -> dict[str, int]:
        """How many recordings each label has."""
        return {label: len(self.clips(label)) for label in self.labels}

    def report_file(self, base: str | Path | Network | None = None) -> Path:
        """The path for the report of an evaluation of that base, beside its model."""
        return self._models / self._training(self.choose_base(base).base, {}).name / REPORT_FILE

    @property
    def _models(self) -> Path:
        return self.path / MODELS

    def _training(self, base: str | Path | Network, options: dict[str, Any]) -> Training:
        given = {key: value for key, value in options.items() if value is not None}
        return Training(base, _name_of(base), given, self._cache)

    @property
    def _cache(self) -> EmbeddingCache:
        return EmbeddingCache(self.path / ".cache" / "embeddings.sqlite")

    def _taught(self, labels: tuple[str, ...]) -> list[TaughtClip]:
        """All clips of these labels, without labels that are added meanwhile."""
        key_frames = self.key_frames()
        return [TaughtClip(clip, key_frames.get(clip.id)) for label in labels for clip in self.clips(label)]

    def _label_card(self, label: Label, clips: list[ClipFile]) -> dict[str, Any]:
        own = self.examples_of([clip for clip in clips if clip.label == label.name])
        return {"name": label.name, "colour": label.colour, "clips": len(own), "examples": sum(own)}


def _name_of(base: str | Path | Network) -> str:
    """A base's name, which its models get, too. For a file `model.onnx` or `model.json` it is the folder's name."""
    if isinstance(base, Network):
        return file_stem(base.metadata.name)
    path = Path(os.path.abspath(base))  # noqa: PTH100 (a link keeps its name; "." has none)
    return file_stem(path.parent.name if path.name in (MODEL_FILE, CARD_FILE) else path.stem)


def _by_content(clips: list[TaughtClip]) -> list[TaughtClip]:
    """The clips that have examples, each label's in an order that depends only on their content.

    So a new project of the same recordings gives the same model.
    """
    taught = {clip.file.path: clip for clip in clips if clip.file.examples}
    by_label = groupby((clip.file for clip in taught.values()), lambda file: file.label)
    return [taught[file.path] for _, files in by_label for file in by_content(files)]


def _check_trainable(clips: list[ClipFile], training: Training) -> None:
    for clip in clips:
        if clip.error:
            raise EarmarkError(f"Training needs every clip: {clip.error}")
    heard = {clip.label for clip in clips if clip.examples}
    is_open = training.base != SOUNDS_BASE and training.options.get("open_set", True)
    if is_open:  # one word is enough where noise and unknown words are learnt besides
        heard -= set(RESERVED_LABELS)
    if len(heard) < (1 if is_open else 2):
        has = f"only {heard.pop()!r} has some" if heard else "none has any yet"
        raise EarmarkError(f"Training needs recordings of at least {'one label' if is_open else 'two labels'}: {has}.")
