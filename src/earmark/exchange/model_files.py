"""Models that somebody tries to import. They hold no recordings, and the error says what they are for."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath, PurePosixPath

from earmark.errors import EarmarkError
from earmark.exchange.file_set import FileSet, Zip
from earmark.models.foreign_models import foreign_error, foreign_kind
from earmark.tfjs.reading import LABELS, MAX_JSON_BYTES, MODEL

TOPOLOGY = b'"modelTopology"'  # the key under which a model.json has its layers
ONNX = ".onnx"
WEIGHTS = re.compile(r"(.*\.)?weights\.bin|group\d+-shard\d+of\d+(\.bin)?")  # as TensorFlow.js names them


def check_no_model(files: FileSet) -> None:
    """Refuse a folder or a zip that holds a model, which has no recordings.

    Raises:
        EarmarkError: the folder or zip holds a model.
    """
    paths = sorted(files.paths, key=lambda path: len(path.parts))
    layers = next((path for path in paths if path.name == MODEL), None)  # the highest, as what loads a zip takes it
    if layers is not None and _has_layers(files, layers):
        raise _is_model(files.name if isinstance(files, Zip) else f"{files.name}/{layers}")
    if onnx := next((path for path in paths if path.suffix.lower() == ONNX), None):
        if isinstance(files, Zip):
            own = shlex.quote(str(onnx))
            raise EarmarkError(f"{files.name} holds a model, not recordings: unpack it, and run earmark listen {own}.")
        raise _is_model(f"{files.name}/{onnx}")
    if kind := foreign_kind(paths):
        raise foreign_error(files.name, kind)


def check_no_model_file(data: bytes, name: str) -> None:
    """Refuse a file of a model, which it recognizes by content or name.

    Raises:
        EarmarkError: it is a file of a model.
    """
    path = PurePath(name)
    if path.suffix.lower() == ONNX or (path.suffix.lower() == ".json" and TOPOLOGY in data):
        raise _is_model(name)
    if kind := foreign_kind([name], data[:8]):
        raise foreign_error(name, kind)
    if path.name == LABELS or WEIGHTS.fullmatch(path.name):
        raise EarmarkError(
            f"{name} is a part of a model, not a recording: keep it beside {MODEL}, and run earmark listen {MODEL}."
        )


def _has_layers(files: FileSet, path: PurePosixPath) -> bool:
    try:
        return TOPOLOGY in files.read(path, MAX_JSON_BYTES)
    except EarmarkError:
        return False


def _is_model(name: str) -> EarmarkError:
    file = shlex.quote(name)
    uses = f"earmark listen {file}, or train on it with earmark train PROJECT --base {file}"
    return EarmarkError(f"{name} is a model, not recordings: listen with {uses}.")
