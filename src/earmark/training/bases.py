"""The bases that a recognizer can be trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earmark.clips.settings import SOUNDS_MODE
from earmark.errors import EarmarkError
from earmark.models import speech_embedding
from earmark.models.adding_bases import KNOWN, YAMNET, add_file
from earmark.models.ear_embedding import EAR, ear_network
from earmark.models.foreign_base import is_foreign, open_foreign_base, read_file
from earmark.models.network import Network
from earmark.models.speech_embedding import SPEECH, speech_network
from earmark.models.tflite import is_tflite
from earmark.models.user_bases import NAME, find_base, find_same, user_bases
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
        *_added_bases(soundless),
    ]


def _added_bases(remedy: str | None) -> list[Base]:
    """YAMNet, whether it was added or not, and the bases that the user has added."""
    added = [base.name for base in user_bases()]
    get = None if YAMNET in added else f"{get_yamnet()} downloads it"
    yamnet = Base(
        YAMNET, "Google's network for sounds that aren't speech: the best for claps, bells, rain", remedy or get
    )
    return [yamnet, *(Base(name, "a base of your own", remedy) for name in added if name != YAMNET)]


def get_yamnet() -> str:
    """How to get YAMNet, as the first words of a sentence or a part of one."""
    return f"`earmark base add {YAMNET}` ({KNOWN[YAMNET].size / 1e6:.0f} MB)"


def sounds_hint(base: str | Path | Network, *, hears_words: bool) -> str | None:
    """One sentence for whoever trains on sounds that aren't speech without the base made for them; otherwise None.

    Args:
        base: what the training was on.
        hears_words: whether its recordings are as short as words.
    """
    if base not in (SPEECH, WORDS_MODEL, EAR) or (hears_words and base != EAR):
        return None
    remedy = "choose it" if find_base(YAMNET) else f"{get_yamnet()} downloads it"
    told = f"If these are sounds that aren't speech, the base {YAMNET} hears them better: {remedy}."
    return told if base == EAR else f"{told} So does {EAR}, which is here."


def default_base(mode: str, all_have_sound: bool = True) -> str:
    """The first of the mode's bases that can be used on this computer; for the arguments see `bases`."""
    return next(base.name for base in bases(mode, all_have_sound) if base.remedy is None)


def base_for_words() -> str:
    """The best base for words that can be used on this computer."""
    return WORDS_MODEL if speech_embedding.remedy() else SPEECH


def base_for_sounds() -> str:
    """The best base for sounds that aren't speech that can be used on this computer."""
    return EAR if find_base(YAMNET) is None else YAMNET


def open_base(base: str | Path | Network) -> Network:
    """The network of a base.

    Args:
        base: "speech", "words" or "ear"; the name of a base that the user has added; the file of a network from
            elsewhere (ONNX, TensorFlow Lite), which declares what it hears; anything that `load` takes, for example a
            speech-commands or Teachable Machine model; or a recognizer that is already loaded.

    Raises:
        EarmarkError: there is no such base, it can't be used on this computer, or it has no embedding.
    """
    if isinstance(base, Network):
        network = base
    elif base in OWN:
        network = OWN[base]()
    else:
        network = _open_other(base)
    network.check_embedding()
    return network


def _open_other(base: str | Path) -> Network:
    added = find_base(base) if isinstance(base, str) else None
    if added is not None:
        return open_foreign_base(added.file, added.name)
    file = Path(base)
    if is_foreign(file):
        return _open_file(file)
    if base == YAMNET and not file.exists():
        raise EarmarkError(f"The base {YAMNET} isn't on this computer: {get_yamnet()} downloads it.")
    return load(base)


def _open_file(file: Path) -> Network:
    """A network from elsewhere. One of TensorFlow Lite is added first, since what is trained on it must find it."""
    content = read_file(file)
    if is_tflite(content):
        added = find_same(content)
        if added is None:
            added = add_file(_free_name(file), file)
        return open_foreign_base(added.file, added.name)
    return open_foreign_base(file, file.stem)


def _free_name(file: Path) -> str:
    name = file.stem.lower().replace(" ", "-")
    if not NAME.fullmatch(name) or find_base(name) is not None:
        raise EarmarkError(
            f"{file} is a TensorFlow Lite network, which is kept among your bases under a name, and {name!r} is taken "
            f"or can't be one: choose one yourself (`earmark base add NAME {file}`), and train with --base NAME."
        )
    return name
