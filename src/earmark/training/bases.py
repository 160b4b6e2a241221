"""The bases that a recognizer can be trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earmark.clips.settings import SOUNDS_MODE
from earmark.models import speech_embedding
from earmark.models.ear_embedding import EAR, ear_network
from earmark.models.network import Network
from earmark.models.speech_embedding import SPEECH, speech_network
from earmark.recognizer.recognizer import WORDS_MODEL, load

SOUNDS_BASE = "sounds"  # not a network: the codelab's, which is trained from scratch
AUTO = "auto"  # not a base: each training chooses one by the recordings; see `choosing`
OWN: dict[object, Callable[[], Network]] = {SPEECH: speech_network, EAR: ear_network}  # that `load` doesn't know


@dataclass(frozen=True)
class Base:
    """A base as a choice for the user.

    Attributes:
        name: the name that `train(base=…)` takes.
        explanation: what it is good for, in one line.
        remedy: what to do before it can be used; None if it can be used now.
    """

    name: str
    explanation: str
    remedy: str | None = None


def bases(mode: str, all_have_sound: bool = True) -> list[Base]:
    """The bases for a mode, the best first.

    Args:
        mode: the project's mode.
        all_have_sound: whether all recordings have sound, none only a spectrogram.
    """
    if mode == SOUNDS_MODE:
        return [Base(SOUNDS_BASE, "the codelab's network for short sounds, trained from scratch")]
    soundless = None
    if not all_have_sound:
        soundless = "it needs the sound of every recording, and of some only the spectrogram is left"
    return [
        Base(
            AUTO, "each training chooses by the recordings: speech or words for words, ear for other sounds", soundless
        ),
        Base(
            SPEECH,
            "Google's speech embedding: the most accurate for words from few recordings; 4 ms a prediction",
            soundless or speech_embedding.remedy(),
        ),
        Base(WORDS_MODEL, "Earmark's own word network: nearly as good from five recordings on, and ten times as fast"),
        Base(EAR, "Earmark's own ear for sounds that aren't speech: bells, knocks, animals, machines", soundless),
    ]


def default_base(mode: str, all_have_sound: bool = True) -> str:
    """The first of the mode's bases that can be used on this computer; for the arguments see `bases`."""
    return next(base.name for base in bases(mode, all_have_sound) if base.remedy is None)


def base_for_words() -> str:
    """The best base for words that can be used on this computer."""
    return WORDS_MODEL if speech_embedding.remedy() else SPEECH


def open_base(base: str | Path | Network) -> Network:
    """The network of a base.

    Args:
        base: "speech", "words" or "ear"; anything that `load` takes, for example a speech-commands or Teachable Machine
            model; or a recognizer that is already loaded.

    Raises:
        EarmarkError: there is no such base, it can't be used on this computer, or it has no embedding.
    """
    if isinstance(base, Network):
        network = base
    elif base in OWN:
        network = OWN[base]()
    else:
        network = load(base)
    network.check_embedding()
    return network
