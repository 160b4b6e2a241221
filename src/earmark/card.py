"""A saved model: the folder with `model.onnx`, and the card `model.json` that says how it came to be."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from earmark.files import make_folder, write_atomically

MODEL_FILE = "model.onnx"
CARD_FILE = "model.json"
REPORT_FILE = "report.html"  # of an evaluation
_PACKAGES = ("earmark", "numpy", "onnx", "soxr", "torch")


def save_model(folder: Path, model: bytes, card: dict[str, Any]) -> None:
    """Write a model and its card, to which date, versions and the model's SHA-256 are added.

    Raises:
        EarmarkError: the folder can't be written; a model that was there is then still there.
    """
    card = {
        **card,
        "versions": _versions(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model_sha256": hashlib.sha256(model).hexdigest(),
    }
    text = json.dumps(card, indent=2, ensure_ascii=False, default=_plain)  # before anything is written
    make_folder(folder)
    # The model first: it suffices by itself, and an older card is known by its sum not to be this model's.
    write_atomically(folder / MODEL_FILE, model)
    write_atomically(folder / CARD_FILE, text.encode())


def read_card(folder: Path) -> dict[str, Any] | None:
    """The card, or None where there is no model or the card is another model's."""
    try:
        card = json.loads((folder / CARD_FILE).read_bytes())
        model = (folder / MODEL_FILE).read_bytes()
    except (OSError, ValueError, RecursionError):
        return None
    matches = isinstance(card, dict) and card.get("model_sha256") == hashlib.sha256(model).hexdigest()
    return card if matches else None


def _versions() -> dict[str, str]:
    """Of the packages that are installed: saving needs neither onnx nor torch."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and loading a model needs it not

    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _plain(value: object) -> object:
    """What JSON doesn't know: numpy's numbers as numbers, everything else as text."""
    return value.item() if isinstance(value, np.generic) else str(value)
