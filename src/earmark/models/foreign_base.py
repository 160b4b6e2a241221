"""Opening a network from elsewhere as a base: which kind it is, what it hears, and its network."""

from __future__ import annotations

import hashlib
from pathlib import Path

from earmark.errors import EarmarkError, needs_package
from earmark.models.declaration import Declaration, declaration_of
from earmark.models.metadata import KEY
from earmark.models.network import Network
from earmark.models.onnx_file import UnfitModelError, read_graph
from earmark.models.tflite import MOST_BYTES, TfLiteNetwork, is_tflite, open_tflite, signature


def read_file(file: Path) -> bytes:
    """The content of a network's file.

    Raises:
        EarmarkError: it can't be read, or is too large.
    """
    try:
        if not file.is_file():
            raise EarmarkError(f"{file} is no file: check the path.")
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{file} can't be read ({error}): check the path.") from error
    if len(content) > MOST_BYTES:
        raise EarmarkError(f"{file} is larger than {MOST_BYTES >> 20} MiB: choose a smaller network.")
    return content


def is_foreign(file: Path) -> bool:
    """Whether a file is a network from elsewhere: TensorFlow Lite, or ONNX without Earmark's metadata."""
    try:
        if not file.is_file() or file.suffix.lower() not in (".onnx", ".tflite"):
            return False
        with file.open("rb") as opened:
            if is_tflite(opened.read(8)):
                return True
        return KEY not in read_graph(read_file(file), MOST_BYTES).entries
    except (OSError, ValueError):
        return file.suffix.lower() == ".tflite"


def open_foreign_base(file: Path, name: str) -> Network:
    """The base that a network from elsewhere makes.

    Args:
        file: an ONNX file, or a TensorFlow Lite file that is among the user's bases.
        name: the base's name.

    Raises:
        EarmarkError: it can't be read, isn't declared, or isn't one that can be run; or a package is missing.
    """
    content = read_file(file)
    if is_tflite(content):
        return _open_tflite_base(content, file, name)
    return Network(_adopted(content, file, name), name)


def check_foreign_base(file: Path, name: str) -> None:
    """Try the network on silence.

    Raises:
        EarmarkError: see `open_foreign_base`.
    """
    content = read_file(file)
    if is_tflite(content):
        _declared_tflite(content, file)
        return
    Network(_adopted(content, file, name), name).check_embedding()


def _adopted(content: bytes, file: Path, name: str) -> bytes:
    try:
        from earmark.models.declared_base import adopt
    except ModuleNotFoundError as error:
        raise needs_package("A base of your own", error, "train") from error
    try:
        graph = read_graph(content, MOST_BYTES)
    except UnfitModelError as error:
        raise EarmarkError(f"{file} {error}: choose another export of that network.") from error
    inputs, outputs = ({name: graph.declared[name] for name in side} for side in (graph.inputs, graph.outputs))
    return adopt(content, graph, name, declaration_of(file, inputs, outputs))


def _open_tflite_base(content: bytes, file: Path, name: str) -> Network:
    from earmark.models.declared_base import tflite_base

    network, declaration = _declared_tflite(content, file)
    sha256 = hashlib.sha256(content).hexdigest()
    return Network(tflite_base(name, sha256, network.values, declaration), name)


def _declared_tflite(content: bytes, file: Path) -> tuple[TfLiteNetwork, Declaration]:
    declaration = declaration_of(file, *signature(content, str(file)))
    return open_tflite(content, str(file), declaration), declaration
