"""Label names, which are any text that a person types, and the safe folder and file names for them."""

import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

from earmark.errors import EarmarkError

RESERVED_LABELS = ("_background_noise_", "_unknown_")  # as in Speech Commands
SILENT_LABELS = (*RESERVED_LABELS, "Background Noise")  # no detections; the last is Teachable Machine's noise
NOISE_LABELS = (*SILENT_LABELS, "Noise")  # what they hold is no sound amid silence; the last is the codelab's noise
THRESHOLD = 0.75  # that a label's score must reach, unless another is asked for
MAX_CHARACTERS = 64
MAX_BYTES = 200  # of a folder's or file's name; file systems allow 255, and a suffix may follow
_PLAIN = frozenset(" -_+,'!()&#@=")  # safe in file names everywhere, besides letters and digits
_DEVICES = {"con", "prn", "aux", "nul"} | {port + number for port in ("com", "lpt") for number in "123456789¹²³"}
_UNTYPED = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, line and paragraph ends


def check_label(label: str) -> str:
    """The label in the form in which it is stored: trimmed, in Unicode's composed form (NFC).

    Raises:
        EarmarkError: it is empty, too long, or holds control characters.
    """
    label = unicodedata.normalize("NFC", label).strip()
    if not label:
        raise EarmarkError("A label needs a name: type at least one character.")
    if len(label) > MAX_CHARACTERS:
        raise EarmarkError(f"The label {label[:20]!r}… has {len(label)} characters: use at most {MAX_CHARACTERS}.")
    if any(unicodedata.category(character) in _UNTYPED for character in label):
        raise EarmarkError("A label can't hold line breaks or control characters: type plain text.")
    if len(label_folder(label).encode()) > MAX_BYTES:
        raise EarmarkError(f"The label {label[:20]!r}… is too long for a folder's name: use fewer characters.")
    return label


def label_folder(label: str) -> str:
    """The label's folder name: characters that are safe on every file system stay; others are percent-encoded UTF-8."""
    name = "".join(character if _is_safe(character) else _encode(character) for character in label)
    return _encode(name[0]) + name[1:] if name.lower() in _DEVICES else name


def folder_label(folder: str) -> str:
    """The label that a folder's name stands for."""
    return unicodedata.normalize("NFC", unquote(folder))


def tidy_label(folder: str) -> str:
    """A label for a folder of any name: characters that no label can hold are left out."""
    label = "".join(
        " " if unicodedata.category(character) in _UNTYPED else character for character in folder_label(folder)
    ).strip()[:MAX_CHARACTERS]
    while len(label_folder(label).encode()) > MAX_BYTES:
        label = label[:-1]
    return label.strip() or "unnamed"


def file_stem(name: str) -> str:
    """A safe file name, without suffix, for any text: encoded like a label, but dots may stay, and it is never long."""
    stem = ".".join(label_folder(part) if part else "" for part in name.strip().split("."))
    stem = stem.replace("..", "%2E%2E").removesuffix(".").removeprefix(".")
    while len(stem.encode()) > MAX_BYTES:
        stem = stem[:-1]
    return stem.strip(" .") or "clip"


def _is_safe(character: str) -> bool:
    return character in _PLAIN or character.isalnum()


def _encode(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode(errors="surrogateescape"))


def read_thresholds(texts: Iterable[str], option: str) -> dict[str, float]:
    """Read thresholds for single labels, each given as LABEL=0.9.

    Args:
        texts: the thresholds as the user gave them.
        option: the option's name, for error messages.

    Raises:
        EarmarkError: a threshold can't be understood.
    """
    thresholds = {}
    for text in texts:
        label, _, threshold = text.rpartition("=")
        try:
            thresholds[label] = float(threshold)
        except ValueError as error:
            raise EarmarkError(f"{option} {text[:100]!r} is not understood: write it like yes=0.9.") from error
    return thresholds
