"""Models that other frameworks save, and addresses of models: Earmark reads neither, and says what to do instead."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from earmark.errors import EarmarkError

# What else TensorFlow and Keras save; Teachable Machine offers the first two of them, too.
FOREIGN_SUFFIXES = {
    ".tflite": "TensorFlow Lite", ".h5": "Keras", ".hdf5": "Keras", ".keras": "Keras", ".pb": "TensorFlow",
    ".pt": "PyTorch", ".pth": "PyTorch", ".ckpt": "a checkpoint",
}  # fmt: skip
# How such files begin, by their formats' documentation; a FlatBuffer's name comes after four bytes.
_STARTS = {b"\x89HDF": "Keras"}
_LITE = b"TFL3"


def foreign_kind(names: Iterable[str | PurePath], start: bytes = b"") -> str | None:
    """The framework that saved files of these names, or a file that begins so; None if it isn't one of those."""
    if start[4:8] == _LITE:
        return FOREIGN_SUFFIXES[".tflite"]
    kinds = (FOREIGN_SUFFIXES.get(PurePath(name).suffix.lower()) for name in names)
    return _STARTS.get(start[:4]) or next((kind for kind in kinds if kind is not None), None)


def foreign_error(name: str, kind: str) -> EarmarkError:
    """The error for such a model, whose name it begins with."""
    return EarmarkError(
        f"{name} is a model of a kind that Earmark doesn't read ({kind}): in Teachable Machine choose Export Model, "
        "TensorFlow.js, Download; otherwise export it as TensorFlow.js instead."
    )
