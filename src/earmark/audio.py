"""Clips and sources: sound files, arrays, the microphone and raw PCM, all as mono float32 in [-1, 1].

A clip is short and held in memory; a source is any length and comes in chunks.
"""

from __future__ import annotations

import io
import math
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from earmark.errors import EarmarkError, as_start

Samples: TypeAlias = npt.NDArray[np.float32]
Encoding = Literal["s16le", "f32le"]

CLIP_SECONDS = 600  # the longest clip that is held in memory; longer sound is for sources
CLIP_SAMPLES = CLIP_SECONDS * 48_000  # of higher rates less seconds: reading takes some 16 bytes a sample
CHECKED = 1 << 20  # samples whose bits are counted at a time
CHUNK_SECONDS = 1.0  # what a source of known length gives at a time
CLOSED_WITHIN = 0.1  # seconds until a pipe that waits takes notice
RATES = range(1_000, 655_351)  # Hz; FLAC goes no higher, and above 65,535 by tens (RFC 9639, 9.1.2)
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


def as_clip(samples: npt.ArrayLike, sample_rate: int | None, name: str = "the clip") -> Clip:
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
        raise EarmarkError(f"{as_start(name)} has {array.ndim} dimensions: pass [samples] or [samples, channels].")
    if array.size == 0:
        raise EarmarkError(f"{as_start(name)} is empty: record or choose one with sound in it.")
    if np.issubdtype(array.dtype, np.signedinteger):
        array = array / np.float64(-np.iinfo(array.dtype).min)
    elif not np.issubdtype(array.dtype, np.floating):
        raise EarmarkError(f"{as_start(name)} has the type {array.dtype}: pass floats in [-1, 1] or signed integers.")
    mono = _mono(array.reshape(len(array), -1), name)
    if len(mono) > longest_clip(sample_rate):
        raise _too_long(name, sample_rate)
    if max(mono.max(), -mono.min()) > 2:
        raise EarmarkError(f"{as_start(name)} goes beyond [-1, 1]: divide the samples by full scale.")
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
    with _open(_Bytes(file) if isinstance(file, bytes) else Path(file), name) as sound:
        longest = longest_clip(sound.samplerate)
        if _length_known(sound) and sound.frames > longest:
            raise _too_long(name, sound.samplerate)
        # Read in parts, each averaged to mono: many channels of a small file could fill the memory.
        parts = [np.zeros(0, np.float32)]
        have = 0
        for part in _parts(sound, name):
            parts.append(part)
            have += len(part)
            if have > longest:
                raise _too_long(name, sound.samplerate)
        samples = np.concatenate(parts)
        parts.clear()  # so that the memory holds it twice at most
        return as_clip(samples, sound.samplerate, name)


def read_parts(data: bytes, seconds: float, name: str) -> Iterator[Clip]:
    """The content of a sound file as clips of about that length, the last one shorter; each when it is asked for.

    Raises:
        EarmarkError: as from `read_clip`, but for the length.
    """
    with _open(_Bytes(data), name) as sound:
        parts: list[Samples] = []
        have = 0
        for part in _parts(sound, name):
            parts.append(part)
            have += len(part)
            if have >= seconds * sound.samplerate:
                yield Clip(np.concatenate(parts), sound.samplerate)
                parts, have = [], 0
        if have:
            yield Clip(np.concatenate(parts), sound.samplerate)


def is_rate(sample_rate: float) -> bool:
    """Whether clips and streams may have that sample rate."""
    return math.isfinite(sample_rate) and int(sample_rate) in RATES and (sample_rate <= 65_535 or sample_rate % 10 == 0)


def longest_clip(sample_rate: int) -> int:
    """The most samples that a clip of that rate may have."""
    return min(CLIP_SECONDS * sample_rate, CLIP_SAMPLES)


def encode_flac(clip: Clip) -> bytes:
    """The clip as a FLAC file: 16 bits where they hold every sample exactly, else 24."""
    # In parts: all of a long clip at once would take three times its memory.
    parts = (clip.samples[start : start + CHECKED] for start in range(0, len(clip.samples), CHECKED))
    return _encode(clip, "FLAC", "PCM_16" if all(map(_fits_16_bits, parts)) else "PCM_24")


def _fits_16_bits(samples: Samples) -> bool:
    scaled = samples * np.float32(2**15)
    return bool(np.all(scaled == np.rint(scaled)) and scaled.max(initial=0) < 2**15)


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
        if not _length_known(sound):
            raise EarmarkError(f"{path.name} doesn't say how long it is: save it anew with an audio editor.")
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
        overflows: how often sound was lost because it wasn't read in time (microphones only).
    """

    sample_rate: int
    name: str
    seconds: float | None = None
    overflows: int = 0

    def __iter__(self) -> Iterator[Samples]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file or device. Another thread may be reading: its iteration ends, even if it waits for sound.

        Closing again does nothing; to read it again, open it again.
        """

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class ArraySource(Source):
    """Samples in memory, a second at a time."""

    def __init__(self, clip: Clip, name: str = "the clip") -> None:
        self.sample_rate, self.name, self.seconds = clip.sample_rate, name, clip.seconds
        self._samples = clip.samples
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Samples]:
        if self._closed.is_set():
            raise _closed(self.name)
        size = int(CHUNK_SECONDS * self.sample_rate)
        for start in range(0, len(self._samples), size):
            if self._closed.is_set():
                return
            yield self._samples[start : start + size]

    def close(self) -> None:
        self._closed.set()


class FileSource(Source):
    """A sound file of any length, read a second at a time."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._lock = threading.RLock()  # libsndfile must not close what it reads; a signal's handler may close, too
        self._sound = _open(path, self.name)
        self.sample_rate = self._sound.samplerate
        self.seconds = self._sound.frames / self.sample_rate if _length_known(self._sound) else None
        if self._sound.frames == 0:
            self.close()
            raise EarmarkError(f"{self.name} is empty: choose a file with sound in it.")

    def __iter__(self) -> Iterator[Samples]:
        with self._lock:
            if self._sound.closed:
                raise _closed(self.name)
            self._sound.seek(0)
        parts = _parts(self._sound, self.name)
        while (part := self._next(parts)) is not None:
            yield part

    def close(self) -> None:
        with self._lock:
            self._sound.close()

    def _next(self, parts: Iterator[Samples]) -> Samples | None:
        with self._lock:
            return None if self._sound.closed else next(parts, None)


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
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Samples]:
        if self._closed.is_set():
            raise _closed(self.name)
        step = (2 if self._encoding == "s16le" else 4) * self._channels
        read = getattr(self._file, "read1", self._file.read)  # what is there now, not a full buffer
        rest = b""
        while self._wait() and (data := read(1 << 16)):
            data = rest + data
            whole = len(data) - len(data) % step
            rest = data[whole:]
            if whole:
                yield _mono(decode_pcm(data[:whole], self._encoding).reshape(-1, self._channels), self.name)

    def close(self) -> None:
        """End the iteration. The file stays open: whoever opened it closes it."""
        self._closed.set()

    def _wait(self) -> bool:
        """Wait until there is something to read, or the end, where the system can tell; False once closed."""
        try:
            while not self._closed.is_set():
                if select.select([self._file], [], [], CLOSED_WITHIN)[0]:
                    return True
        except (OSError, ValueError, TypeError):  # no file of the system's; or Windows, which waits for sockets alone
            return True
        return False


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
        self._lock = threading.RLock()
        self._is_closed = False

        def receive(data: npt.NDArray[np.float32], _frames: int, _time: object, status: Any) -> None:
            self.overflows += bool(status.input_overflow)
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
        with self._lock:
            if self._is_closed:
                raise _closed(self.name)
            self._stream.start()
        while (chunk := self._chunks.get()) is not None and not self._is_closed:
            yield chunk

    def close(self) -> None:
        with self._lock:  # PortAudio must not close twice, nor while it starts
            if not self._is_closed:
                self._is_closed = True
                self._stream.close()
                self._chunks.put(None)


def record_clip(source: Source, seconds: float) -> Clip:
    """The source's first seconds, or all of it where it is shorter.

    Raises:
        EarmarkError: it can't be read, gives nothing, or some of its sound was lost.
    """
    chunks = [np.zeros(0, np.float32), *first_seconds(source, seconds)]
    return as_clip(np.concatenate(chunks), source.sample_rate, source.name)


def first_seconds(source: Source, seconds: float) -> Iterator[Samples]:
    """The chunks of a source's first seconds, the last one cut.

    Raises:
        EarmarkError: the source can't be read, or at the end: some of its sound was lost.
    """
    left = round(seconds * source.sample_rate)
    for chunk in source:
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            break
    if source.overflows:
        raise EarmarkError("Some of the sound was lost, as this computer was busy: close programs and record again.")


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
            rate = 44_100 if sample_rate is None else sample_rate
            return PcmSource(sys.stdin.buffer, rate, encoding, channels)
        return FileSource(Path(source))
    return ArraySource(as_clip(source, sample_rate))


def decode_pcm(data: bytes, encoding: Encoding) -> Samples:
    """Raw little-endian PCM as float32, cut to [-1, 1], shape [samples]; 16-bit full scale is 32,768."""
    if encoding == "s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
    return np.frombuffer(data, "<f4").clip(-1, 1).astype(np.float32)


class _Bytes(io.BytesIO):
    """A file in memory for libsndfile, which seeks before the start in damaged files and must not meet an exception."""

    def seek(self, offset: int, whence: int = 0) -> int:
        start = {0: 0, 1: self.tell(), 2: len(self.getbuffer())}[whence]
        return super().seek(max(0, start + offset))


def _open(file: Path | BinaryIO, name: str) -> Any:
    if isinstance(file, Path):
        _check_file(file, name)
    try:
        # Names needn't be UTF-8 everywhere, and soundfile takes bytes as they are.
        plain = os.fsencode(file) if isinstance(file, Path) and os.name != "nt" else file
        sound = soundfile.SoundFile(plain)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        raise EarmarkError(f"{name} is not a sound file that can be read: use WAV, FLAC, OGG or MP3.") from error
    try:
        _check_rate(sound.samplerate, name)
    except EarmarkError:
        sound.close()
        raise
    return sound


def _check_file(file: Path, name: str) -> None:
    try:
        size = file.stat().st_size
    except FileNotFoundError as error:
        raise EarmarkError(f"{name} does not exist: check the path.") from error
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{name} can't be read ({error}): check the path.") from error
    if file.is_dir():
        raise EarmarkError(f"{name} is a folder: name a sound file.")
    if size == 0:
        raise EarmarkError(f"{name} is empty: choose a file with sound in it.")


def _length_known(sound: Any) -> bool:
    """Whether the header tells the length; libsndfile gives the largest number where it doesn't (FLAC from a pipe)."""
    return bool(sound.frames < 1 << 45)


def _parts(sound: Any, name: str) -> Iterator[Samples]:
    """The rest of the file in mono, about a second at a time, cut to [-1, 1]."""
    size = max(1, int(CHUNK_SECONDS * sound.samplerate) // sound.channels)
    left = sound.frames
    while left > 0:
        try:
            samples = sound.read(min(size, left), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damaged(name) from error
        if len(samples) == 0:
            if _length_known(sound):
                raise _damaged(name)
            return
        left -= len(samples)
        yield _mono(samples, name).clip(-1, 1)


def _mono(samples: npt.NDArray[Any], name: str) -> Samples:
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    with np.errstate(over="ignore"):  # what is too large for a float32 becomes infinite, and is told
        mono = np.ascontiguousarray(mono, np.float32)
    if not np.isfinite(mono).all():
        raise EarmarkError(f"{as_start(name)} holds samples that are not finite numbers (NaN or infinity): repair it.")
    return mono


def _check_rate(sample_rate: float, name: str) -> None:
    if not is_rate(sample_rate):
        raise EarmarkError(
            f"{as_start(name)} has a sample rate of {sample_rate} Hz: "
            f"use {RATES.start:,} to {RATES.stop - 1:,} Hz, above 65,535 Hz a multiple of 10."
        )


def _too_long(name: str, sample_rate: int) -> EarmarkError:
    longest = longest_clip(sample_rate) / sample_rate
    return EarmarkError(f"{as_start(name)} lasts longer than {longest:.0f} s: cut it, or listen to it as a stream.")


def _closed(name: str) -> EarmarkError:
    return EarmarkError(f"{as_start(name)} is closed: open it again.")


def _damaged(name: str) -> EarmarkError:
    return EarmarkError(f"{name} is damaged or cut off: get a whole copy of it.")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as error:  # the Python package is there, the system's PortAudio isn't
        raise EarmarkError(
            "The microphone needs PortAudio: install it (Debian and Ubuntu: apt install libportaudio2)."
        ) from error
    return sounddevice
