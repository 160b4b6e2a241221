"""Clips and sources: sound files, arrays, the microphone and raw PCM, all as mono float32 in [-1, 1].

A clip is short and held in memory; a source is any length and comes in chunks.
"""

from __future__ import annotations

import io
import queue
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from earmark.errors import EarmarkError

Samples: TypeAlias = npt.NDArray[np.float32]
Encoding = Literal["s16le", "f32le"]

CLIP_SECONDS = 600  # the longest clip that is held in memory; longer sound is for sources
CHUNK_SECONDS = 1.0  # what a file source reads at a time
RATES = range(1_000, 768_001)  # Hz
AUDIO_SUFFIXES = frozenset(f".{name.lower()}" for name in soundfile.available_formats()) | {".oga", ".opus", ".aif"}


@dataclass(frozen=True)
class Clip:
    """A mono recording.

    Attributes:
        samples: float32 in [-1, 1], shape [samples].
        sample_rate: in Hz.
    """

    samples: Samples
    sample_rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def as_clip(samples: npt.ArrayLike, sample_rate: int | None, name: str = "the samples") -> Clip:
    """Check samples and make them a clip.

    Args:
        samples: shape [samples] or [samples, channels]; floats in [-1, 1], or signed integers of full scale.
        sample_rate: in Hz.
        name: what an error calls them.

    Raises:
        EarmarkError: no rate, no samples, too many, not finite, or not in [-1, 1].
    """
    if sample_rate is None:
        raise EarmarkError(f"The sample rate of {name} is missing: pass sample_rate= in Hz.")
    _check_rate(sample_rate, name)
    array = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise EarmarkError(f"{_start(name)} has {array.ndim} dimensions: pass [samples] or [samples, channels].")
    if array.size == 0:
        raise EarmarkError(f"{_start(name)} is empty: record or choose one with sound in it.")
    if np.issubdtype(array.dtype, np.signedinteger):
        array = array / np.float64(-np.iinfo(array.dtype).min)
    elif not np.issubdtype(array.dtype, np.floating):
        raise EarmarkError(f"{_start(name)} has the type {array.dtype}: pass floats in [-1, 1] or signed integers.")
    mono = _mono(array.reshape(len(array), -1), name)
    if len(mono) > CLIP_SECONDS * sample_rate:
        raise EarmarkError(
            f"{_start(name)} lasts {len(mono) / sample_rate:.0f} s: cut it to at most {CLIP_SECONDS} s for a clip."
        )
    if np.abs(mono).max() > 2:
        raise EarmarkError(f"{_start(name)} goes beyond [-1, 1]: divide the samples by full scale.")
    return Clip(np.clip(mono, -1, 1), int(sample_rate))


def read_clip(file: str | Path | bytes, name: str | None = None) -> Clip:
    """Read a sound file of any format, rate and channel count that libsndfile knows; channels are averaged.

    Args:
        file: a path, or the file's content.
        name: what an error calls it; a path's own name where not given.

    Raises:
        EarmarkError: missing, not audio, empty, truncated, too long, or not finite.
    """
    name = name or (str(file) if not isinstance(file, bytes) else "the file")
    with _open(io.BytesIO(file) if isinstance(file, bytes) else Path(file), name) as sound:
        if sound.frames > CLIP_SECONDS * sound.samplerate:
            seconds = sound.frames / sound.samplerate
            raise EarmarkError(f"{name} lasts {seconds:.0f} s: cut it to at most {CLIP_SECONDS} s for a clip.")
        samples = _read(sound, sound.frames, name)
        if len(samples) < sound.frames:
            raise _damaged(name)
        return as_clip(_mono(samples, name).clip(-1, 1), sound.samplerate, name)


def encode_flac(clip: Clip) -> bytes:
    """The clip as a FLAC file: 16 bits where they hold every sample exactly, else 24."""
    scaled = clip.samples * np.float32(2**15)
    exact = bool(np.all(scaled == np.rint(scaled)) and scaled.max(initial=0) < 2**15)
    return _encode(clip, "FLAC", "PCM_16" if exact else "PCM_24")


def encode_wav(clip: Clip) -> bytes:
    """The clip as a 16-bit WAV file, which every browser plays."""
    return _encode(clip, "WAV", "PCM_16")


def _encode(clip: Clip, container: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, clip.samples, clip.sample_rate, format=container, subtype=subtype)
    return buffer.getvalue()


def clip_length(path: Path) -> tuple[int, int]:
    """Samples and rate (Hz) of a sound file, from its header alone.

    Raises:
        EarmarkError: missing, not audio, or empty.
    """
    with _open(path, path.name) as sound:
        if sound.frames == 0:
            raise EarmarkError(f"{path.name} is empty: record it again or delete it.")
        return sound.frames, sound.samplerate


class Resampler:
    """Resampling of a stream by soxr, whose output doesn't depend on how the stream is cut into chunks."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32") if rate_in != rate_out else None

    def process(self, chunk: Samples) -> Samples:
        """The next chunk in, shape [samples]; what is ready comes out, the filter's delay later (about 10 ms)."""
        return chunk if self._stream is None else self._stream.resample_chunk(chunk)

    def finish(self) -> Samples:
        """What the filter still holds at the stream's end."""
        rest = np.zeros(0, np.float32)
        return rest if self._stream is None else self._stream.resample_chunk(rest, last=True)


class Source:
    """Sound that comes in chunks: iterate over it, and close it or use it in a `with` block.

    Attributes:
        sample_rate: in Hz.
        name: for messages.
        seconds: how long it is, where that is known.
    """

    sample_rate: int
    name: str
    seconds: float | None = None

    def __iter__(self) -> Iterator[Samples]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file or device."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class ArraySource(Source):
    """Samples in memory, as one chunk."""

    def __init__(self, clip: Clip, name: str = "the samples") -> None:
        self.sample_rate, self.name, self.seconds = clip.sample_rate, name, clip.seconds
        self._samples = clip.samples

    def __iter__(self) -> Iterator[Samples]:
        yield self._samples


class FileSource(Source):
    """A sound file of any length, read a second at a time."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._sound = _open(path, self.name)
        self.sample_rate = self._sound.samplerate
        self.seconds = self._sound.frames / self.sample_rate
        if self._sound.frames == 0:
            self.close()
            raise EarmarkError(f"{self.name} is empty: choose a file with sound in it.")

    def __iter__(self) -> Iterator[Samples]:
        size = int(CHUNK_SECONDS * self.sample_rate)
        self._sound.seek(0)
        left = self._sound.frames
        while left > 0:
            samples = _read(self._sound, min(size, left), self.name)
            if len(samples) == 0:
                raise _damaged(self.name)
            left -= len(samples)
            yield _mono(samples, self.name)

    def close(self) -> None:
        self._sound.close()


class PcmSource(Source):
    """Raw PCM from a pipe, as it comes.

    Args:
        file: where the bytes come from.
        sample_rate: in Hz.
        encoding: "s16le" (16-bit) or "f32le" (float), little-endian.
        channels: interleaved channels, averaged.
    """

    def __init__(self, file: BinaryIO, sample_rate: int, encoding: Encoding = "s16le", channels: int = 1) -> None:
        if encoding not in ("s16le", "f32le"):
            raise EarmarkError(f"The encoding {encoding!r} is not known: use s16le or f32le.")
        if channels < 1:
            raise EarmarkError(f"{channels} channels can't be read: use 1 or more.")
        _check_rate(sample_rate, "the stream")
        self.sample_rate, self.name = sample_rate, "standard input"
        self._file, self._encoding, self._channels = file, encoding, channels

    def __iter__(self) -> Iterator[Samples]:
        step = (2 if self._encoding == "s16le" else 4) * self._channels
        read = getattr(self._file, "read1", self._file.read)  # what is there now, not a full buffer
        rest = b""
        while data := read(1 << 16):
            data = rest + data
            whole = len(data) - len(data) % step
            rest = data[whole:]
            if whole:
                yield _mono(decode_pcm(data[:whole], self._encoding).reshape(-1, self._channels), self.name)


class MicrophoneSource(Source):
    """The microphone, in chunks of about 20 ms at the device's own rate.

    Args:
        device: number or part of the name, as `python -m sounddevice` lists them; the default one where None.

    Raises:
        EarmarkError: no PortAudio, no such device, or it can't be opened.
    """

    def __init__(self, device: str | int | None = None) -> None:
        sounddevice = _sounddevice()
        self.name = "the microphone"
        self._chunks: queue.SimpleQueue[Samples | None] = queue.SimpleQueue()

        def receive(data: npt.NDArray[np.float32], _frames: int, _time: object, _status: object) -> None:
            self._chunks.put(data[:, 0].copy())

        try:
            info = sounddevice.query_devices(device, "input")
            self.sample_rate = int(info["default_samplerate"])
            self._stream = sounddevice.InputStream(
                device=device,
                samplerate=self.sample_rate,
                blocksize=self.sample_rate // 50,
                channels=1,
                dtype="float32",
                callback=receive,
                finished_callback=lambda: self._chunks.put(None),
            )
        except (ValueError, sounddevice.PortAudioError) as error:
            wanted = "No microphone was found" if device is None else f"The microphone {device!r} can't be opened"
            raise EarmarkError(
                f"{wanted} ({error}): plug one in, or name one of those that `python -m sounddevice` lists."
            ) from error

    def __iter__(self) -> Iterator[Samples]:
        self._stream.start()
        while (chunk := self._chunks.get()) is not None:
            yield chunk

    def close(self) -> None:
        self._stream.close()


def open_source(
    source: str | Path | npt.ArrayLike | Source = "microphone",
    *,
    sample_rate: int | None = None,
    encoding: Encoding = "s16le",
    channels: int = 1,
    device: str | int | None = None,
) -> Source:
    """Open anything that sounds.

    Args:
        source: a file's path, "microphone", "-" for raw PCM on standard input, samples, or a source already open.
        sample_rate: in Hz, needed for raw PCM and samples.
        encoding, channels: of raw PCM.
        device: which microphone.

    Raises:
        EarmarkError: it can't be opened; the message says why.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, (str, Path)):
        if source == "microphone":
            return MicrophoneSource(device)
        if source == "-":
            return PcmSource(sys.stdin.buffer, sample_rate or 44_100, encoding, channels)
        return FileSource(Path(source))
    return ArraySource(as_clip(source, sample_rate))


def decode_pcm(data: bytes, encoding: Encoding) -> Samples:
    """Raw little-endian PCM as float32 in [-1, 1], shape [samples]; 16-bit full scale is 32,768."""
    if encoding == "s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
    return np.frombuffer(data, "<f4").astype(np.float32)


def _open(file: Path | BinaryIO, name: str) -> Any:
    if isinstance(file, Path):
        if not file.exists():
            raise EarmarkError(f"{name} does not exist: check the path.")
        if file.is_dir():
            raise EarmarkError(f"{name} is a folder: name a sound file.")
        if file.stat().st_size == 0:
            raise EarmarkError(f"{name} is empty: choose a file with sound in it.")
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        raise EarmarkError(f"{name} is not a sound file that can be read: use WAV, FLAC, OGG or MP3.") from error
    try:
        _check_rate(sound.samplerate, name)
        if sound.frames < 0 or sound.frames > 1 << 45:  # the length is not known: a header cut off while writing
            raise _damaged(name)
    except EarmarkError:
        sound.close()
        raise
    return sound


def _read(sound: Any, count: int, name: str) -> npt.NDArray[np.float32]:
    try:
        return sound.read(count, dtype="float32", always_2d=True)  # type: ignore[no-any-return]
    except soundfile.LibsndfileError as error:
        raise _damaged(name) from error


def _mono(samples: npt.NDArray[Any], name: str) -> Samples:
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    mono = np.ascontiguousarray(mono, np.float32)
    if not np.isfinite(mono).all():
        raise EarmarkError(f"{_start(name)} holds samples that are not finite numbers (NaN or infinity): repair it.")
    return mono


def _check_rate(sample_rate: int, name: str) -> None:
    if int(sample_rate) not in RATES:
        raise EarmarkError(
            f"{_start(name)} has a sample rate of {sample_rate} Hz: use {RATES.start:,} to {RATES.stop - 1:,} Hz."
        )


def _damaged(name: str) -> EarmarkError:
    return EarmarkError(f"{name} is damaged or cut off: get a whole copy of it.")


def _start(name: str) -> str:
    """The name as a sentence's first word; a file's name keeps its letters."""
    return name[0].upper() + name[1:] if name.startswith("the ") else name


def _sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:  # the Python package is there, the system's PortAudio isn't
        raise EarmarkError(
            "The microphone needs PortAudio: install it (Debian and Ubuntu: apt install libportaudio2)."
        ) from error
    return sounddevice
