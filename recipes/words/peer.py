"""The TensorFlow.js speech-commands model as a recognizer, to be measured beside ours."""

from __future__ import annotations

from pathlib import Path

from earmark import Recognizer
from earmark.formats.tfjs import read_tfjs


def load_peer(folder: Path) -> Recognizer:
    """The model in a folder of model.json, metadata.json and weight shards."""
    return Recognizer(peer_model(folder), str(folder))


def peer_model(folder: Path) -> bytes:
    """The same as an ONNX file."""
    return read_tfjs(folder)
