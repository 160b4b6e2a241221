"""A saved model: a folder with `model.onnx` and the card `model.json`, which says how the model was made."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import EarmarkError
from earmark.storage.files import make_folder, write_atomically
from earmark.storage.folder_lock import FolderLock

PRETRAINED = Path(__file__).parent  # the folders of the models that ship
PROJECT_FILE = "earmark.toml"
MODEL_FILE = "model.onnx"
CARD_FILE = "model.json"
NEXT_CARD_FILE = ".model.json"  # of a model that is about to take the old one's place
REPORT_FILE = "report.html"  # of an evaluation
_PACKAGES = ("earmark", "numpy", "onnx", "soxr")  # what a training computes with


def save_model(folder: Path, model: bytes, card: dict[str, Any], packages: tuple[str, ...] = _PACKAGES) -> None:
    """Write a model and its card. The date, versions and the model's SHA-256 are added to the card.

    Args:
        folder: the model's folder.
        model: the ONNX file's content.
        card: what else the card says.
        packages: the packages whose versions the card records, if they are installed.

    Raises:
        EarmarkError: the folder can't be written to; an existing model is then still there.
    """
    card = {
        **card,
        "versions": _versions(packages),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model_sha256": hashlib.sha256(model).hexdigest(),
    }
    text = json.dumps(card, indent=2, ensure_ascii=False, default=_plain)  # before anything is written
    is_new = not folder.exists()
    make_folder(folder)
    with FolderLock(folder):
        # Whenever somebody looks, or this ends, one of the two cards is known by its sum to be the model's.
        write_atomically(folder / NEXT_CARD_FILE, text.encode())
        try:
            write_atomically(folder / MODEL_FILE, model)
        except EarmarkError:
            with suppress(OSError):
                (folder / NEXT_CARD_FILE).unlink()
                if is_new:
                    folder.rmdir()
            raise
        write_atomically(folder / CARD_FILE, text.encode())
        with suppress(OSError):  # the same card twice does no harm
            (folder / NEXT_CARD_FILE).unlink()


def read_card(folder: Path) -> dict[str, Any] | None:
    """The model's card, or None if there is no model or the card belongs to another model."""
    for _ in range(2):  # a new model may have come between the reading of the cards and of the model
        cards = [_read_card_file(folder / name) for name in (CARD_FILE, NEXT_CARD_FILE)]
        try:
            checksum = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
        except (OSError, ValueError):
            return None
        for card in cards:
            if card is not None and card.get("model_sha256") == checksum:
                return card
    return None


def _read_card_file(file: Path) -> dict[str, Any] | None:
    if not os.path.isfile(file):  # noqa: PTH113 (Path.is_file raises for names that are too long)
        return None  # a pipe, for one, would be waited for
    try:
        card = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return card if isinstance(card, dict) else None


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    """The versions of those that are installed: saving a loaded model doesn't need onnx."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and loading a model needs it not

    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _plain(value: object) -> object:
    """For types that JSON doesn't know: numpy's numbers become numbers, everything else becomes text."""
    return value.item() if isinstance(value, np.generic) else str(value)
