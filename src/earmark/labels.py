"""Label names: any text a person types, and its safe name as a folder."""

import unicodedata
from urllib.parse import unquote

from earmark.errors import EarmarkError

MAX_CHARACTERS = 64
MAX_FOLDER_BYTES = 200  # file systems allow 255
_PLAIN = frozenset(" -_+,'!()&#@=")  # safe in file names everywhere, besides letters and digits
_DEVICES = {"con", "prn", "aux", "nul"} | {f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)}


def check_label(label: str) -> str:
    """The label as it is kept: trimmed, in Unicode's composed form.

    Raises:
        EarmarkError: it is empty, too long, or holds control characters.
    """
    label = unicodedata.normalize("NFC", label).strip()
    if not label:
        raise EarmarkError("A label needs a name: type at least one character.")
    if len(label) > MAX_CHARACTERS:
        raise EarmarkError(f"The label {label[:20]!r}… has {len(label)} characters: use at most {MAX_CHARACTERS}.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in label):
        raise EarmarkError("A label can't hold line breaks or control characters: type plain text.")
    if len(label_folder(label).encode()) > MAX_FOLDER_BYTES:
        raise EarmarkError(f"The label {label[:20]!r}… is too long for a folder's name: use fewer characters.")
    return label


def label_folder(label: str) -> str:
    """The label's folder name: what no file system minds stays, everything else is percent-encoded UTF-8."""
    name = "".join(character if _is_safe(character) else _encode(character) for character in label)
    return _encode(name[0]) + name[1:] if name.lower() in _DEVICES else name


def folder_label(folder: str) -> str:
    """The label that a folder's name stands for, also where somebody made the folder by hand."""
    return unicodedata.normalize("NFC", unquote(folder))


def _is_safe(character: str) -> bool:
    return character in _PLAIN or character.isalnum()


def _encode(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
