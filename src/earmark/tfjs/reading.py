"""Reading the audio models of TensorFlow.js speech-commands and of Teachable Machine from their own files.

Such a model is a folder, or a zip of one. `model.json` holds the layers and says which weights lie where in the files
beside it (the weights manifest of the TensorFlow.js converter). `metadata.json` holds the labels and, if Earmark wrote
it, the rest of Earmark's metadata, as `earmark`. Nothing in them is trusted: all sizes are checked before anything of
that size is read.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, TypeGuard

import numpy as np

from earmark.errors import EarmarkError, needs_package
from earmark.models.metadata import KEY, Metadata
from earmark.storage.zips import DAMAGED, PACKINGS, open_zip
from earmark.tfjs.weights import Weight, shown

MODEL = "model.json"
LABELS = "metadata.json"
MAX_JSON_BYTES = 4 << 20  # a model.json has some 10 kB
MAX_WEIGHTS = 16 << 20  # values; speech-commands has 1.5 million
MAX_SHARDS = 1_000
MAX_FILES = 20_000  # in a zip
MAX_LABELS = 10_000
CHUNK = 1 << 20  # bytes
# The manifest's name for a type → NumPy's type.
TYPES = {"float32": "<f4", "int32": "<i4", "bool": "u1", "uint8": "u1", "uint16": "<u2", "float16": "<f2"}


def is_tfjs(path: Path) -> bool:
    """Whether a folder, a model.json or a zip holds a TensorFlow.js model. Earmark's own card, model.json, doesn't."""
    try:
        with _open_files(path) as files:
            return "modelTopology" in _read_json(files, files.model)
    except (EarmarkError, *DAMAGED):
        return False


def read_tfjs(path: Path) -> bytes:
    """Read a speech-commands or Teachable Machine model as one of Earmark's ONNX files.

    The same path always gives the same bytes.

    The outputs are `scores` [n, labels] and, if the network has a hidden dense layer, `embedding` [n, its units]: that
    layer's output, on which speech-commands trains a new head.

    Args:
        path: the folder of model.json, metadata.json and weights, a model.json, or a zip of such a folder.

    Raises:
        EarmarkError: there is no such model, it is damaged, it has layers that can't be converted or an input other
            than Earmark's spectrograms, or the package onnx is missing.
    """
    try:
        from earmark.tfjs.layers import convert
    except ModuleNotFoundError as error:
        raise needs_package("Reading a TensorFlow.js model", error, "convert") from error
    try:
        with _open_files(path) as files:
            model = _read_json(files, files.model)
            if "modelTopology" not in model:
                raise EarmarkError(f"{path} holds no TensorFlow.js layers: name the folder of a downloaded model.")
            labels, metadata = _read_metadata(files)
            weights = _read_manifest(files, model.get("weightsManifest"))
    except DAMAGED as error:
        raise EarmarkError(f"{path} is damaged or can't be read: download the model again.") from error
    return convert(model["modelTopology"], weights, labels, str(path), metadata)


class _Files(Protocol):
    """A model's files.

    Attributes:
        source: what to call the model in errors.
        model: the name of its model.json.
    """

    source: str
    model: str

    def size(self, name: str) -> int:
        """How many bytes `open` gives."""

    def open(self, name: str) -> IO[bytes]: ...


class _Folder:
    def __init__(self, folder: Path, model: str, source: str) -> None:
        self._folder, self.model, self.source = folder, model, source

    def size(self, name: str) -> int:
        if not (self._folder / name).resolve().is_relative_to(self._folder.resolve()):
            raise EarmarkError(f"{self.source} has a link {shown(name)} to elsewhere: copy what it leads to.")
        found = (self._folder / name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{name} is no file")  # reading a pipe or a device would never end
        return found.st_size

    def open(self, name: str) -> IO[bytes]:
        return (self._folder / name).open("rb")


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, folder: PurePosixPath, source: str) -> None:
        self._archive, self._folder, self.model, self.source = archive, folder, MODEL, source

    def size(self, name: str) -> int:
        entry = self._entry(name)
        if entry.compress_type not in PACKINGS:
            raise EarmarkError(f"{self.source} is packed in an unusual way: unpack it and name the folder.")
        return entry.file_size

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(self._entry(name))

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._archive.getinfo(str(self._folder / name))
        except KeyError as error:
            raise FileNotFoundError(name) from error


@contextmanager
def _open_files(path: Path) -> Iterator[_Files]:
    """The files of the model at that path.

    Raises:
        EarmarkError: nothing there could be a model.
        OSError, ValueError, RuntimeError, ...: see DAMAGED.
    """
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for names that are too long)
        yield _Folder(path, MODEL, str(path))
    elif not os.path.isfile(path):  # noqa: PTH113 (as above)
        raise EarmarkError(f"{path} does not exist: check the path.")
    elif path.suffix.lower() == ".json":
        yield _Folder(path.parent, path.name, str(path))
    else:
        with path.open("rb") as file, open_zip(file, CHUNK, MAX_FILES) as archive:
            yield _Zip(archive, _model_folder(archive, str(path)), str(path))


def _model_folder(archive: zipfile.ZipFile, source: str) -> PurePosixPath:
    """The folder, within the zip, of the topmost model.json."""
    paths = [PurePosixPath(name) for name in archive.namelist()]
    folders = [path.parent for path in paths if path.name == MODEL and not (path.is_absolute() or ".." in path.parts)]
    if not folders:
        raise EarmarkError(f"{source} holds no {MODEL}: choose the zip of a downloaded model.")
    highest = min(len(folder.parts) for folder in folders)
    first, *others = [folder for folder in folders if len(folder.parts) == highest]
    if others:
        raise EarmarkError(f"{source} holds more than one {MODEL}: unpack it and name a folder.")
    return first


def _read_json(files: _Files, name: str) -> dict[str, Any]:
    try:
        size = files.size(name)
    except FileNotFoundError as error:
        raise EarmarkError(f"{files.source} has no {name}: download the whole model again.") from error
    if size > MAX_JSON_BYTES:
        raise EarmarkError(f"{files.source} has a {name} of more than {MAX_JSON_BYTES >> 20} MiB: it is no such model.")
    values = json.loads(_read(files, name, size))
    if not isinstance(values, dict):
        raise EarmarkError(f"{files.source} has a {name} that describes no model: download the model again.")
    return values


def _read_metadata(files: _Files) -> tuple[tuple[str, ...], Metadata | None]:
    """`wordLabels` (`words` in files from speech-commands before 0.4), and what Earmark itself has added."""
    values = _read_json(files, LABELS)
    labels = values.get("wordLabels") or values.get("words")
    if not isinstance(labels, list) or not 0 < len(labels) <= MAX_LABELS or not all(map(_is_text, labels)):
        raise EarmarkError(f"{files.source} has no labels in its {LABELS}: download the whole model again.")
    metadata = None
    if KEY in values:
        metadata = Metadata.from_json(json.dumps(values[KEY]), files.source)
        if not metadata.name:
            raise EarmarkError(f"{files.source} has a name in its {LABELS} that is none: export the model again.")
    return tuple(labels), metadata


def _read_manifest(files: _Files, manifest: object) -> dict[str, Weight]:
    """All weights by name. Their bytes are read, but no array is made yet."""
    groups = [_read_group(group, files.source) for group in manifest] if isinstance(manifest, list) else []
    weights = {weight.name: weight for group, _ in groups for weight in group}
    if sum(math.prod(weight.shape) for group, _ in groups for weight in group) > MAX_WEIGHTS:
        raise EarmarkError(f"{files.source} claims more than {MAX_WEIGHTS:,} weights: Earmark runs small models only.")
    if len(weights) != sum(len(group) for group, _ in groups):
        raise EarmarkError(f"{files.source} has two weights of one name: name its layers differently.")
    if sum(len(paths) for _, paths in groups) > MAX_SHARDS:
        raise EarmarkError(f"{files.source} has more than {MAX_SHARDS:,} files of weights: save it in fewer.")
    for group, paths in groups:
        content = memoryview(_read_shards(files, paths, sum(weight.size for weight in group)))
        for weight in group:
            weight.content, content = content[: weight.size], content[weight.size :]
    return weights


def _read_group(group: object, source: str) -> tuple[list[Weight], list[str]]:
    """The weights of a group and the files that hold them, one after the other."""
    entries, paths = (group.get("weights"), group.get("paths")) if isinstance(group, dict) else (None, None)
    if not isinstance(entries, list) or not isinstance(paths, list) or not all(isinstance(e, dict) for e in entries):
        raise EarmarkError(f"{source} has a list of weights that can't be read: download the model again.")
    for path in paths:
        # A colon is part of a web address or a Windows drive.
        if not isinstance(path, str) or ".." in path.split("/") or path.startswith("/") or ":" in path or "\\" in path:
            raise EarmarkError(f"{source} keeps weights elsewhere, at {shown(path)}: put them beside its {MODEL}.")
    return [_read_entry(entry, source) for entry in entries], paths


def _read_entry(entry: dict[str, Any], source: str) -> Weight:
    """A weight as the manifest describes it, plain or quantised; float16 has neither scale nor minimum."""
    name, shape, quantization = entry.get("name"), entry.get("shape"), entry.get("quantization")
    kind, scale, minimum = entry.get("dtype"), None, None
    if isinstance(quantization, dict):
        kind = quantization.get("dtype")
        if kind != "float16":
            scale, minimum = quantization.get("scale"), quantization.get("min")
            if not (_is_number(scale) and _is_number(minimum)):
                raise EarmarkError(f"{source} lacks the scale of {shown(name)}: download the model again.")
    if not (isinstance(name, str) and _is_shape(shape) and isinstance(kind, str) and kind in TYPES):
        raise EarmarkError(f"{source} describes the weights {shown(name)} in no known way: download the model again.")
    return Weight(name, tuple(shape), np.dtype(TYPES[kind]), scale, minimum, source)


def _read_shards(files: _Files, paths: list[str], expected: int) -> bytearray:
    try:
        sizes = [files.size(path) for path in paths]
    except FileNotFoundError as error:
        raise EarmarkError(f"{files.source} lacks files of weights: download the whole model again.") from error
    if sum(sizes) != expected:
        message = f"{files.source} has {sum(sizes):,} bytes of weights where its layers have {expected:,}"
        raise EarmarkError(f"{message}: download the whole model again.")
    content = bytearray()
    for path, size in zip(paths, sizes, strict=True):
        content += _read(files, path, size)
    return content


def _read(files: _Files, name: str, size: int) -> bytearray:
    """The whole content of a file of that many bytes, in small reads."""
    content = bytearray()
    with files.open(name) as file:
        while len(content) < size and (chunk := file.read(min(CHUNK, size - len(content)))):
            content += chunk
    if len(content) != size:
        raise EOFError(name)
    return content


def _is_shape(shape: object) -> TypeGuard[list[int]]:
    return isinstance(shape, list) and len(shape) <= 4 and all(type(size) is int and size > 0 for size in shape)


def _is_number(value: object) -> TypeGuard[float]:
    # The comparison also excludes NaN.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def _is_text(value: object) -> bool:
    """Whether it is text that can be encoded: JSON may hold lone surrogates."""
    return isinstance(value, str) and value == value.encode(errors="ignore").decode()
