"""Sound files of any format, rate and channel count that libsndfile reads, from a path or an open file, as mono."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from earmark.audio.headers import Extent, MendedFile, data_extent
from earmark.errors import EarmarkError, as_reason, as_start, check_no_address

Samples: TypeAlias = npt.NDArray[np.float32]

CHUNK_SECONDS = 1.0  # what is read at a time by default
CHUNK_SAMPLES = 1 << 20  # the most that is read at a time, all channels together, however long a chunk is
# ID3v2.4; libsndfile 1.2.2 may refuse an MP3 without one when it reads by callbacks.
EMPTY_TAG = b"ID3\4\0\0\0\0\0\n" + bytes(10)
# Formats whose 16-bit samples are exactly 16 bits; libsndfile's SDS gives more bits as floats.
PLAIN_16_BITS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC", "RAW"})
# Bytes of a sample, in the encodings whose samples can be read from anywhere.
SAMPLE_BYTES = {
    "PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "ULAW": 1, "ALAW": 1,
}  # fmt: skip
BIG_ENDIAN = frozenset({"AIFF", "AU", "CAF"})  # unless they say otherwise
ROW_SUM = 8  # channels; from this many on, NumPy doesn't add them from left to right
RATES = range(1_000, 655_351)  # Hz; FLAC goes no higher, and above 65,535 by tens (RFC 9639, 9.1.2)


class CutOffError(EarmarkError):
    """A sound file ends before its samples do. It is raised once all that is there has been read."""


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """A sound file, which also knows whether it is whole.

    Attributes:
        cut_off: the error to raise after the last sample, if the header promises more than there are.
        own: the file to close with it.
    """

    cut_off: CutOffError | None = None
    own: BinaryIO | None = None

    def close(self) -> None:
        super().close()
        if self.own is not None:
            self.own.close()


def open_sound(file: Path | GuardedFile, name: str) -> SoundFile:
    """Open a sound file. Where its header gives a wrong size, all samples that the file holds are read.

    Raises:
        EarmarkError: the file is missing, empty, not a sound file, can't be read, or has an unfit rate.
    """
    if isinstance(file, Path):
        _check_file(file, name)
    extent: Extent | None = None
    try:
        if isinstance(file, GuardedFile):
            extent = data_extent(file)
            file.seek(0)
        else:
            with file.open("rb") as opened:
                extent = data_extent(opened)
        sound = _open(file, extent, name)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        check_guarded(file)
        raise EarmarkError(f"{name} is not a sound file that can be read: use WAV, FLAC, OGG or MP3.") from error
    try:
        check_guarded(file)
        check_rate(sound.samplerate, name)
    except BaseException:
        sound.close()
        raise
    if extent is not None and extent.is_cut_off:
        sound.cut_off = _cut_off(sound, extent, name)
    return sound


def _open(file: Path | GuardedFile, extent: Extent | None, name: str) -> SoundFile:
    if extent is None or extent.is_right:
        # File names needn't be UTF-8 everywhere, and soundfile passes bytes on unchanged.
        plain = os.fsencode(file) if isinstance(file, Path) and os.name != "nt" else file
        sound = SoundFile(plain)
        if extent is None or _holds(sound, extent):
            return sound
        sound.close()
    if isinstance(file, GuardedFile):
        return _open_mended(file, extent)
    own = file.open("rb")
    try:
        sound = _open_mended(GuardedFile(own, name), extent)
    except BaseException:
        own.close()
        raise
    sound.own = own
    return sound


def _open_mended(file: GuardedFile, extent: Extent) -> SoundFile:
    sound = SoundFile(MendedFile(file, at=extent.field, patch=extent.true_field))
    if _holds(sound, extent):
        return sound
    # The field can't hold the size, or libsndfile takes what follows for samples: read them without the header.
    endian = ("BIG" if sound.format in BIG_ENDIAN else "LITTLE") if sound.endian == "FILE" else sound.endian
    rate, channels, subtype = sound.samplerate, sound.channels, sound.subtype
    sound.close()
    return SoundFile(MendedFile(file, extent.start, extent.there), "r", rate, channels, subtype, endian, "RAW")


def _holds(sound: SoundFile, extent: Extent) -> bool:
    """Whether the samples that libsndfile sees are those that are there, where that can be said."""
    frame_bytes = sound.channels * SAMPLE_BYTES.get(sound.subtype, 0)
    return frame_bytes == 0 or bool(sound.frames == extent.there // frame_bytes)


def _cut_off(sound: SoundFile, extent: Extent, name: str) -> CutOffError:
    assert extent.stated is not None
    have = sound.frames / sound.samplerate
    whole = have * extent.stated / max(1, extent.there)
    return CutOffError(
        f"{name} is cut off, with {have:,.1f} s of the {whole:,.1f} s that its header gives: "
        "get a whole copy of it, or save it anew with an audio editor."
    )


def check_guarded(file: Path | GuardedFile | None) -> None:
    if isinstance(file, GuardedFile):
        file.check()


def _check_file(file: Path, name: str) -> None:
    try:
        size = file.stat().st_size
    except FileNotFoundError as error:
        check_no_address(file, ", or let earmark scan read it there")
        raise EarmarkError(f"{name} does not exist: check the path.") from error
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{name} can't be read ({error}): check the path.") from error
    if file.is_dir():
        raise EarmarkError(f"{name} is a folder: name a sound file.")
    if size == 0:
        raise EarmarkError(f"{name} is empty: choose a file with sound in it.")


def rewind(sound: Any, name: str) -> None:
    """Go back to the start, where libsndfile looks for the first sound.

    Raises:
        EarmarkError: there is no sound: the file is cut off.
    """
    try:
        sound.seek(0)
    except soundfile.LibsndfileError as error:
        raise _damaged(name) from error


def length_known(sound: Any) -> bool:
    """Whether the header gives the length; if not, libsndfile returns the largest number (FLAC from a pipe)."""
    return bool(sound.frames < 1 << 45)


def mono_parts(
    sound: SoundFile, name: str, seconds: float = CHUNK_SECONDS, file: Path | GuardedFile | None = None
) -> Iterator[Samples]:
    """The rest of the file in mono, clipped to [-1, 1], in parts of at most that many seconds.

    Raises:
        CutOffError: raised at the end: the file is only the beginning of one.
        EarmarkError: the file is damaged, can no longer be read, or holds samples that aren't finite.
    """
    size = max(1, min(int(seconds * sound.samplerate), CHUNK_SAMPLES) // sound.channels)
    # 16-bit samples are read three times as fast as integers, and become the same floats.
    is_16_bit = sound.subtype == "PCM_16" and sound.format in PLAIN_16_BITS
    left = sound.frames
    while left > 0:
        try:
            samples = sound.read(min(size, left), dtype="int16" if is_16_bit else "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            check_guarded(file)
            raise _damaged(name) from error
        check_guarded(file)
        if len(samples) == 0:
            if length_known(sound):
                raise _damaged(name)
            return
        left -= len(samples)
        yield _average(samples * np.float32(2**-15)) if is_16_bit else as_mono(samples, name).clip(-1, 1)
    if sound.cut_off is not None:
        raise sound.cut_off


def as_mono(samples: npt.NDArray[Any], name: str) -> Samples:
    with np.errstate(over="ignore", invalid="ignore"):  # values that aren't finite as float32 are reported below
        mono = np.ascontiguousarray(_average(samples), np.float32)
    if not np.isfinite(mono).all():
        raise EarmarkError(f"{as_start(name)} holds samples that are not finite numbers (NaN or infinity): repair it.")
    return mono


def _average(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The mean over channels, of shape [samples]; `samples` is [samples, channels]."""
    channels = samples.shape[1]
    if channels == 1:
        return samples[:, 0]
    if channels >= ROW_SUM or samples.dtype == np.float16:
        return np.asarray(samples.mean(axis=1))
    # The same values, forty times as fast for stereo: NumPy sums rows shorter than 8 from left to right.
    total: npt.NDArray[Any] = samples[:, 0] + samples[:, 1]
    for channel in range(2, channels):
        total += samples[:, channel]
    total /= channels
    return total


def check_rate(sample_rate: float, name: str) -> None:
    if not is_rate(sample_rate):
        raise EarmarkError(
            f"{as_start(name)} has a sample rate of {sample_rate} Hz: "
            f"use {RATES.start:,} to {RATES.stop - 1:,} Hz, above 65,535 Hz a multiple of 10."
        )


def is_rate(sample_rate: float) -> bool:
    """Whether clips and streams may have this sample rate."""
    return math.isfinite(sample_rate) and int(sample_rate) in RATES and (sample_rate <= 65_535 or sample_rate % 10 == 0)


class GuardedFile:
    """A file for decoders in C, which read through callbacks: an exception there would be printed and forgotten.

    The first exception is kept, the file ends there, and `check` raises it. Damaged files make decoders seek to before
    the start; here that means the start.

    Args:
        file: open for reading bytes; it must be seekable.
        name: what to call it in errors.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._error: BaseException | None = None
        self._at = self._size = 0
        self._tag = b""
        try:
            self._size = file.seek(0, io.SEEK_END)
            file.seek(0)
            if _is_bare_mp3(file.read(2)):
                self._tag = EMPTY_TAG
                self._size += len(EMPTY_TAG)
        except Exception as error:  # each store has errors of its own
            self._error = error

    def read(self, size: int = -1) -> bytes:
        if self._error is not None:
            return b""
        try:
            data = self._tag[self._at :] if size < 0 else self._tag[self._at : self._at + size]
            if len(data) != size:
                self._file.seek(max(0, self._at - len(self._tag)))
                data += self._file.read(size - len(data) if size > 0 else size)
        except BaseException as error:  # Ctrl+C among them
            self._error = error
            return b""
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        """Close the file itself."""
        self._file.close()

    def check(self) -> None:
        """Raise the error that occurred while reading, if there was one.

        Raises:
            EarmarkError: the file couldn't be read.
        """
        if self._error is None:
            return
        if not isinstance(self._error, Exception):
            raise self._error
        raise EarmarkError(
            f"{self._name} can't be read ({as_reason(self._error)}): check the path, the connection and your rights."
        ) from self._error


def _is_bare_mp3(start: bytes) -> bool:
    """Whether a file begins with an MP3 packet (ISO/IEC 11172-3), not with a tag; in AAC the layer bits are zero."""
    return len(start) == 2 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0 and start[1] & 0x06 != 0


def _damaged(name: str) -> EarmarkError:
    return EarmarkError(f"{name} is damaged or cut off: get a whole copy of it.")
