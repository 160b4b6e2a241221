"""Reading the samples of audio projects that were downloaded from Teachable Machine.

Known from a download of one class: it is a zip with `samples.json` and the recordings `sample-1.webm`, … that it names.
The JSON is a list with one object per sample: `frequencyFrames` (43 frames × 232 bins in dB), `blobFilePath` (its
recording), `startTime`, `endTime` and `recordingDuration` in seconds, and `blob` (null). JSON has no −∞ and uses null
instead.

Measured on such a download: a sample's 43 frames were read evenly over the 1.09 s from `startTime` to `endTime`, by a
timer of some 25 ms. Each shows the 2,048 samples that end at its time, to within some 16 ms.

A whole project (`project.tm`) is a zip, too, with a `manifest.json` that gives its `type`; image projects have
`<class>-…` at the top. Where the samples of sounds lie in it is not documented. So the class of a `samples.json` is
taken from whatever surrounds it: its folder, the beginning of its own name (`Clap-!-samples.json`), or the zip of a
class within the zip. The download of one class names the class only in its file name: see `label_of`.

Nothing in such a file is trusted: all sizes are checked, and no name in it is used as a path.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeGuard

import numpy as np

from earmark.audio.clip import CLIP_SECONDS, Clip
from earmark.audio.compressed_audio import decode
from earmark.errors import EarmarkError
from earmark.front_end.spectrogram import BINS, Spectrogram
from earmark.storage.zips import DAMAGED, PACKINGS, TooManyFilesError, open_zip
from earmark.tfjs.weights import shown

FRAMES = 43
SAMPLES = "samples.json"
PROJECT = "manifest.json"
MAX_ENTRIES = 20_000
MAX_TABLE_BYTES = 4 << 20  # of a zip's contents
MAX_SAMPLES = 3_000  # of a file; each takes 40 kB of memory and some 5 ms
MAX_SAMPLE_CHARACTERS = 2 << 20  # of JSON; a sample has some 190,000
MAX_MANIFEST_BYTES = 4 << 20
MAX_RECORDING_BYTES = 64 << 20  # ten minutes of Opus have some 7 MiB
MAX_RECORDINGS_BYTES = 128 << 20  # of all, which are in memory while their samples are
MAX_TOTAL_BYTES = 1 << 30  # unpacked; 3,000 samples have 0.6 GiB
CHUNK = 1 << 19  # bytes
HIDDEN = re.compile(r"(^|/)(\.[^./]|__MACOSX)")


@dataclass(frozen=True)
class EncodedRecording:
    """A recording that samples were cut from.

    Attributes:
        name: what to call it in errors.
        data: the content of the file, usually WebM.
    """

    name: str
    data: bytes

    def clip(self) -> Clip:
        """The whole recording, decoded on the first request.

        Raises:
            EarmarkError: the recording can't be decoded; see `compressed_audio.decode`.
        """
        if isinstance(self._decoded, EarmarkError):
            raise self._decoded
        return self._decoded

    @cached_property
    def _decoded(self) -> Clip | EarmarkError:
        try:
            return decode(self.data, self.name)
        except EarmarkError as error:  # kept, too: it may take long to find, and thousands of samples may ask
            return error


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a class.

    Attributes:
        label: its class; None if only the file's name gives it.
        spectrogram: levels in dB, float32 [43, 232]; −∞ stands for digital silence.
        start: where it begins in its recording, in seconds.
        end: where it ends in its recording, in seconds.
        recording: its recording, shared by all samples that were cut from it; None if the file doesn't contain it.
    """

    label: str | None
    spectrogram: Spectrogram
    start: float
    end: float
    recording: EncodedRecording | None

    def clip(self) -> Clip | None:
        """The sample's sound, as far as it was recorded; None without a recording.

        Raises:
            EarmarkError: the recording can't be decoded, or ends before the sample begins.
        """
        if self.recording is None:
            return None
        whole = self.recording.clip()
        samples = whole.samples[round(self.start * whole.sample_rate) : round(self.end * whole.sample_rate)]
        if len(samples) == 0:
            raise EarmarkError(f"{self.recording.name} ends before a sample of it begins: download the samples again.")
        return Clip(samples, whole.sample_rate)


def label_of(file_name: str) -> str | None:
    """The class in the name of a class's download, if there is one: `Clap-samples (1).zip` → `Clap`."""
    stem = re.sub(r"\.zip$", "", PurePosixPath(file_name.replace("\\", "/")).name, flags=re.IGNORECASE)
    stem = re.sub(r"(\s*\(\d+\))+$", "", stem)  # browsers number the copies of a file
    return re.sub(r"(^|[\s_-]+)(audio[\s_-]+)?samples$", "", stem, flags=re.IGNORECASE).strip() or None


def read_samples(file: Path | IO[bytes], name: str | None = None) -> Iterator[Sample]:
    """Read the samples of a class or of a project, one after the other.

    Args:
        file: the download: a path, or a seekable file.
        name: what to call it in errors; by default the path.

    Raises:
        EarmarkError: the file is no such download, is damaged, or exceeds the limits. It may be raised after some
            samples.
    """
    name = name or (file.name if isinstance(file, Path) else "the file")
    try:
        if isinstance(file, Path):
            with file.open("rb") as opened:
                yield from _Reader(name).read(opened)
        else:
            yield from _Reader(name).read(file)
    except FileNotFoundError as error:
        raise EarmarkError(f"{name} does not exist: check the path.") from error
    except TooManyFilesError as error:
        raise EarmarkError(f"{name} holds more than {MAX_ENTRIES:,} files: choose a download of samples.") from error
    except DAMAGED as error:
        raise EarmarkError(f"{name} can't be read: download the samples from Teachable Machine again.") from error


class _Reader:
    """Reads a download, and counts what comes out of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._samples = self._unpacked = self._recorded = 0

    def read(self, file: IO[bytes]) -> Iterator[Sample]:
        """The samples of a zip and of the zips in it."""
        with open_zip(file, MAX_TABLE_BYTES, MAX_ENTRIES) as archive:
            yield from self._read_classes(archive, None)
            for entry in _files(archive):
                if entry.filename.lower().endswith(".zip"):
                    with tempfile.TemporaryFile() as unpacked:
                        for chunk in self._unpack(archive, entry, MAX_TOTAL_BYTES):
                            unpacked.write(chunk)
                        with open_zip(unpacked, MAX_TABLE_BYTES, MAX_ENTRIES) as inner:
                            yield from self._read_classes(inner, label_of(entry.filename))
            if self._samples == 0:
                raise self._no_samples(archive)

    def _read_classes(self, archive: zipfile.ZipFile, label: str | None) -> Iterator[Sample]:
        """All samples in a zip; samples to which the zip gives no class get `label`."""
        for entry in _files(archive):
            if entry.filename.endswith(SAMPLES):
                yield from self._read_class(archive, entry, _label(entry.filename) or label)

    def _read_class(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, label: str | None) -> Iterator[Sample]:
        beside = entry.filename[: -len(SAMPLES)]  # the folder, and what the name begins with
        recordings: dict[str, EncodedRecording | None] = {}
        for values in _parse(self._unpack(archive, entry, MAX_TOTAL_BYTES)):
            self._samples += 1
            if self._samples > MAX_SAMPLES:
                raise EarmarkError(f"{self._name} holds more than {MAX_SAMPLES:,} samples: download fewer at a time.")
            spectrogram, start, end = self._check(values)
            wanted = str(values.get("blobFilePath"))
            if wanted not in recordings:
                recordings[wanted] = self._recording(archive, beside, wanted)
            yield Sample(label, spectrogram, start, end, recordings[wanted])

    def _check(self, values: dict[str, Any]) -> tuple[Spectrogram, float, float]:
        """Check a sample; returns its levels and times."""
        rows, start, end = values.get("frequencyFrames"), values.get("startTime"), values.get("endTime")
        if not _is_frames(rows):
            message = f"{self._name} has a sample that is no spectrogram of {FRAMES} × {BINS} levels"
            raise EarmarkError(f"{message}: download samples of an audio project.")
        levels = np.array(rows, np.float64)  # null becomes NaN
        with np.errstate(over="ignore"):
            spectrogram = np.where(np.isnan(levels), -np.inf, levels).astype(np.float32)
        if not (spectrogram < np.inf).all():
            raise EarmarkError(f"{self._name} has a sample with values that are no levels in dB: record it anew.")
        if not (isinstance(start, float) and isinstance(end, float) and 0 <= start < end <= CLIP_SECONDS):
            message = f"{self._name} has a sample that doesn't say where in its recording it lies"
            raise EarmarkError(f"{message}: download the samples again.")
        return spectrogram, start, end

    def _recording(self, archive: zipfile.ZipFile, beside: str, wanted: str) -> EncodedRecording | None:
        """The recording with that name, either with the prefix of the samples.json or just in its folder."""
        for path in (beside + wanted, beside[: beside.rfind("/") + 1] + wanted):
            with suppress(KeyError):
                data = b"".join(self._unpack(archive, archive.getinfo(path), MAX_RECORDING_BYTES))
                self._recorded += len(data)
                if self._recorded > MAX_RECORDINGS_BYTES:
                    limit = f"{MAX_RECORDINGS_BYTES >> 20} MiB of recordings"
                    raise EarmarkError(f"{self._name} holds more than {limit}: import one class at a time.")
                return EncodedRecording(f"{shown(wanted)} in {self._name}", data)
        return None

    def _unpack(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> Iterator[bytes]:
        """The content of the entry, in chunks."""
        if entry.compress_type not in PACKINGS:
            raise EarmarkError(f"{self._name} is packed in an unusual way: zip it again as other zips are.")
        if entry.file_size > limit:
            message = f"{self._name} holds {shown(entry.filename)} of more than {limit >> 20} MiB"
            raise EarmarkError(f"{message}: download fewer samples at a time.")
        with archive.open(entry) as packed:
            while chunk := packed.read(CHUNK):
                self._unpacked += len(chunk)
                if self._unpacked > MAX_TOTAL_BYTES:
                    limited = f"more than {MAX_TOTAL_BYTES >> 30} GiB"
                    raise EarmarkError(f"{self._name} unpacks to {limited}: import one class at a time.")
                yield chunk

    def _no_samples(self, archive: zipfile.ZipFile) -> EarmarkError:
        with suppress(KeyError):
            manifest = json.loads(b"".join(self._unpack(archive, archive.getinfo(PROJECT), MAX_MANIFEST_BYTES)))
            kind = manifest.get("type") if isinstance(manifest, dict) else None
            if isinstance(kind, str) and "audio" not in kind.lower():
                message = f"{self._name} is a Teachable Machine project of the type {shown(kind)}"
                return EarmarkError(f"{message}: choose an audio project.")
        message = f"{self._name} holds no samples of Teachable Machine"
        return EarmarkError(f"{message}: download those of a class, a zip with {SAMPLES}.")


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of a zip, without those that macOS adds."""
    return [e for e in archive.infolist() if e.filename and not e.is_dir() and not HIDDEN.search(e.filename)]


def _label(file_name: str) -> str | None:
    """The class from the beginning of a samples.json's name, or from its folder."""
    path = PurePosixPath(file_name)
    folder = path.parent.name if path.parent.name != ".." else ""
    return path.name[: -len(SAMPLES)].rstrip("-!_ ") or label_of(folder)


def _parse(chunks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON list, one after the other: a whole class at once would fill the memory."""
    decoder = json.JSONDecoder(parse_int=float, parse_constant=_parse_constant)
    to_text = codecs.getincrementaldecoder("utf-8-sig")()
    texts = (to_text.decode(chunk) for chunk in chunks)
    text = next(texts, "").lstrip()
    if not text.startswith("["):
        raise ValueError("no list")
    text = text[1:]
    while not (text := text.lstrip(" \t\r\n,")).startswith("]"):
        try:
            values, end = decoder.raw_decode(text)
        except ValueError:  # it isn't all there yet, or never will be
            if len(text) > MAX_SAMPLE_CHARACTERS or not (more := next(texts, "")):
                raise
            text += more
            continue
        if not isinstance(values, dict):
            raise ValueError("no sample")
        yield values
        text = text[end:]


def _parse_constant(name: str) -> float:
    """Refuse constants that are numbers in some JSON, but not in JavaScript's."""
    if name != "-Infinity":
        raise ValueError(name)
    return -math.inf


def _is_frames(rows: object) -> TypeGuard[list[list[float | None]]]:
    if not isinstance(rows, list) or len(rows) != FRAMES:
        return False
    return all(isinstance(row, list) and len(row) == BINS and {*map(type, row)} <= {float, type(None)} for row in rows)
