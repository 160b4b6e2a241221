"""Training on any base, from recordings to a recognizer. Training and evaluation share this code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from earmark.errors import EarmarkError, needs_package
from earmark.front_end.examples import SOUND_FRAMES, cut_examples
from earmark.front_end.recordings import read_recording
from earmark.labels import NOISE_LABELS
from earmark.models.network import Network
from earmark.training.bases import SOUNDS_BASE, open_base, sounds_hint
from earmark.training.embedding_cache import EmbeddingCache
from earmark.training.silence import teach_silence
from earmark.training.transfer import TaughtClip, Trained, TransferOptions, check_sound, train_transfer

if TYPE_CHECKING:
    from earmark.progress import Report
    from earmark.training.sound_network import Epoch


@dataclass(frozen=True)
class Training:
    """A base and options to train with, on one selection of recordings or on several.

    Attributes:
        base: "sounds", or anything that `open_base` takes.
        name: the base's name.
        options: the options of `TransferOptions` and `HeadOptions`, or for sounds those of `train_sounds`.
        cache: the cache of embeddings.
    """

    base: str | Path | Network
    name: str
    options: dict[str, Any]
    cache: EmbeddingCache

    def run(
        self,
        clips: Sequence[TaughtClip],
        labels: tuple[str, ...],
        *,
        report: Report | None = None,
        on_epoch: Callable[[Epoch], object] | None = None,
    ) -> Trained:
        """Train on these recordings.

        Raises:
            EarmarkError: a package is missing, a clip can't be read, or an option is unknown or out of range.
        """
        if self.base == SOUNDS_BASE:
            return self._train_sounds(clips, labels, on_epoch)
        heads = import_training("earmark.training.heads")
        known = {field.name for kind in (TransferOptions, heads.HeadOptions) for field in fields(kind)}
        self._check_options(known)
        options, head_options = (
            TransferOptions(**self._of(TransferOptions)),
            heads.HeadOptions(**self._of(heads.HeadOptions)),
        )
        trained = train_transfer(
            self._network, clips, labels, options, head_options,
            name=self.name, cache=self.cache, report=report, on_epoch=on_epoch,
        )  # fmt: skip
        hint = sounds_hint(self.base, hears_words=trained.hears_words)
        return replace(trained, hint=hint)

    def check(self, clips: Sequence[TaughtClip]) -> None:
        """Refuse recordings that the base can't learn from. Call it before the first of several trainings.

        Raises:
            EarmarkError: the base needs sound, and one of the recordings has none.
        """
        if self.base != SOUNDS_BASE:
            check_sound(self._network, clips)

    @cached_property
    def _network(self) -> Network:
        """The base, opened only once for all selections."""
        return open_base(self.base)

    def _train_sounds(
        self, clips: Sequence[TaughtClip], labels: tuple[str, ...], on_epoch: Callable[[Epoch], object] | None
    ) -> Trained:
        training = import_training("earmark.training.sound_network")
        self._check_options(set(training.SOUND_DEFAULTS))
        taught = ((read_recording(clip.file.path), labels.index(clip.file.label)) for clip in clips)
        noise = [labels.index(label) for label in labels if label in NOISE_LABELS]
        examples = cut_examples(taught, SOUND_FRAMES, noise)
        learnt, all_labels = teach_silence(examples, labels)
        network, history = training.train_sounds(learnt, len(all_labels), **self.options, on_epoch=on_epoch)
        model = training.sound_model_file(network, self.name, all_labels)
        return Trained(model, history, all_labels, len(examples), {**training.SOUND_DEFAULTS, **self.options})

    def _of(self, kind: Any) -> dict[str, Any]:
        return {field.name: self.options[field.name] for field in fields(kind) if field.name in self.options}

    def _check_options(self, known: set[str]) -> None:
        for option in self.options:
            if option not in known:
                raise EarmarkError(f"The base {self.name!r} has no {option}: leave it out, or choose another base.")


def import_training(name: str) -> ModuleType:
    """Import a module that needs the packages of the extra `train`.

    Raises:
        EarmarkError: a package is missing.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise needs_package("Training", error, "train") from error
