"""Files for recordings of which only the spectrogram is left: levels in dB, in NumPy's own format.

A file is what `numpy.save` writes (numpy.lib.format, version 1.0) of a little-endian float32 array of shape
[frames, 232], one frame after the other. Nothing else is read, so a file's size limits what it takes to read it.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import CLIP_SECONDS
from earmark.errors import EarmarkError, as_start
from earmark.front_end.spectrogram import BINS, FLOOR_DB, FRAME_SECONDS, Spectrogram

SUFFIX = ".npy"
LOUDEST_DB = 100.0  # above any level: full scale is about −8 dB, and sound that isn't clipped there a little more
MAX_FRAMES = int(CLIP_SECONDS / FRAME_SECONDS)  # as many as in the longest clip
_FORMAT, _LEVELS = (1, 0), np.dtype("<f4")
_FRAME_BYTES = BINS * _LEVELS.itemsize


def is_spectrogram_file(path: str | Path) -> bool:
    """Whether the path has the suffix of a spectrogram file."""
    return os.fspath(path).lower().endswith(SUFFIX)


def as_spectrogram(frames: npt.ArrayLike, name: str = "the spectrogram") -> Spectrogram:
    """Check levels and convert them to the form that a file holds.

    Args:
        frames: levels in dB, shape [frames, 232]; −∞ and levels below the front end's floor are raised to the floor.
        name: what to call them in an error.

    Raises:
        EarmarkError: they are no numbers, have another shape or too many frames, or some are NaN or above 100 dB.
    """
    try:
        with np.errstate(over="ignore"):  # what is too large for a float32 becomes infinite, and is refused
            array = np.asarray(frames, np.float32)
    except (ValueError, TypeError) as error:
        raise EarmarkError(f"{as_start(name)} is no array of numbers: pass levels in dB, [frames, {BINS}].") from error
    if array.ndim != 2 or array.shape[1] != BINS or not 1 <= len(array) <= MAX_FRAMES:
        raise _unfit_shape(array.shape, name)
    return _floored(array, name)


def encode_spectrogram(frames: Spectrogram) -> bytes:
    """The content of the file, from what `as_spectrogram` returns."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, frames.astype(_LEVELS, "C"), _FORMAT, allow_pickle=False)
    return buffer.getvalue()


def read_spectrogram(file: Path | bytes, name: str | None = None) -> Spectrogram:
    """Read a spectrogram file.

    Args:
        file: a path, or the file's content.
        name: what to call it in an error; by default the path.

    Returns:
        Levels in dB, shape [frames, 232], from the front end's floor up to 100.

    Raises:
        EarmarkError: the file is missing, not a spectrogram file, cut off or too long, or has levels that are NaN or
            above 100 dB.
    """
    name = name or (str(file) if isinstance(file, Path) else "the file")
    if isinstance(file, bytes):
        return _read_frames(io.BytesIO(file), len(file), name)
    with _open(file, name) as opened:
        return _read_frames(opened, os.fstat(opened.fileno()).st_size, name)


def spectrogram_length(path: Path) -> int:
    """How many frames a spectrogram file holds, from its header and its size alone.

    Raises:
        EarmarkError: the file is missing, not a spectrogram file, cut off, or too long.
    """
    with _open(path, path.name) as opened:
        return _read_header(opened, os.fstat(opened.fileno()).st_size, path.name)


def _read_frames(file: BinaryIO, size: int, name: str) -> Spectrogram:
    frames = _read_header(file, size, name)
    data = file.read(frames * _FRAME_BYTES)
    if len(data) != frames * _FRAME_BYTES:  # somebody has just cut it off
        raise _wrong_size(name)
    return _floored(np.frombuffer(data, _LEVELS).reshape(frames, BINS), name)


def _read_header(file: BinaryIO, size: int, name: str) -> int:
    """How many frames follow. Afterwards the file, which has `size` bytes, is positioned at the first one."""
    try:
        if np.lib.format.read_magic(file) != _FORMAT:
            raise ValueError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's warnings about old or odd headers, on which nobody could act
            shape, is_fortran, kind = np.lib.format.read_array_header_1_0(file)  # at most 64 KiB
    except Exception as error:  # the header is text in Python's syntax, which can be wrong in any way at all
        raise EarmarkError(f"{name} is not a spectrogram that can be read: save one with numpy.save.") from error
    if kind != _LEVELS or is_fortran:
        raise EarmarkError(f"{name} has other numbers than float32, row after row: save it with numpy.save as those.")
    if len(shape) != 2 or shape[1] != BINS or not 1 <= shape[0] <= MAX_FRAMES:
        raise _unfit_shape(shape, name)
    if size != file.tell() + shape[0] * _FRAME_BYTES:
        raise _wrong_size(name)
    return int(shape[0])


def _open(path: Path, name: str) -> BinaryIO:
    try:
        if path.is_dir():
            raise EarmarkError(f"{name} is a folder: name a file.")
        if not stat.S_ISREG(path.stat().st_mode):
            raise EarmarkError(f"{name} is no file: a pipe or a device can't be read.")  # reading it might never end
        return path.open("rb")
    except FileNotFoundError as error:
        raise EarmarkError(f"{name} does not exist: check the path.") from error
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{name} can't be read ({error}): check the path.") from error


def _floored(frames: npt.NDArray[np.float32], name: str) -> Spectrogram:
    if not (frames <= LOUDEST_DB).all():  # NaN isn't, either
        raise EarmarkError(f"{as_start(name)} holds levels that are NaN or above {LOUDEST_DB:.0f}: give levels in dB.")
    return np.maximum(frames, np.float32(FLOOR_DB))


def _unfit_shape(shape: tuple[int, ...], name: str) -> EarmarkError:
    return EarmarkError(
        f"{as_start(name)} has the shape {shape}: give 1 to {MAX_FRAMES:,} frames ({CLIP_SECONDS} s) of {BINS} levels."
    )


def _wrong_size(name: str) -> EarmarkError:
    return EarmarkError(f"{name} is damaged or cut off: get a whole copy of it.")
