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
CHUNK_SAMPLES = 1 << 20  # of all channels together; no more are read at a time, however long a chunk may be
EMPTY_TAG = b"ID3\4\0\0\0\0\0\n" + bytes(10)  # ID3v2.4; libsndfile 1.2.2 may refuse MP3s without, by callbacks
# Where 16 bits are 16 bits; libsndfile's SDS has more of them in floats.
PLAIN_16_BITS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC"})
ROW_SUM = 8  # channels; from so many on, NumPy adds them in another order than from left to right
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
    with _open(GuardedFile(io.BytesIO(file), name) if isinstance(file, bytes) else Path(file), name) as sound:
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
    with _open(GuardedFile(io.BytesIO(data), name), name) as sound:
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


class RecordedSource(Source):
    """Sound that can be read again from its start, and closed while it is read.

    Who closes it may be another thread, or a signal's handler in the very middle of reading; what is read is let go of
    when the reading is over. Forms of it say how in `_read` and `_release`.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_closed = self._is_reading = False

    def __iter__(self) -> Iterator[Samples]:
        if self._is_closed:
            raise _closed(self.name)
        parts = self._read()
        while (part := self._next(parts)) is not None:
            yield part

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._let_go()

    def _next(self, parts: Iterator[Samples]) -> Samples | None:
        with self._lock:
            if self._is_closed:
                return None
            self._is_reading = True
            try:
                return next(parts, None)
            finally:
                self._is_reading = False
                self._let_go()

    def _let_go(self) -> None:
        if self._is_closed and not self._is_reading:
            self._release()

    def _read(self) -> Iterator[Samples]:
        """The chunks from the start."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of what is read. Doing so again does nothing."""
        raise NotImplementedError


class FileSource(RecordedSource):
    """A sound file of any length, read in chunks.

    Args:
        file: a path, or a file open for reading bytes, which can seek and is closed with the source.
        chunk_seconds: the most that comes at a time; less where the file has many channels.
        name: what errors call it; a path's own name where not given.

    Raises:
        EarmarkError: missing, not audio, or empty; while it is read: damaged, not finite, or out of reach.
    """

    def __init__(self, file: Path | BinaryIO, chunk_seconds: float = CHUNK_SECONDS, *, name: str | None = None) -> None:
        super().__init__()
        self.name = name or (str(file) if isinstance(file, Path) else "the file")
        self._chunk_seconds = chunk_seconds
        self._file = file if isinstance(file, Path) else GuardedFile(file, self.name)
        self._sound: Any = None
        try:
            self._sound = _open(self._file, self.name)
            if self._sound.frames == 0:
                raise EarmarkError(f"{self.name} is empty: choose a file with sound in it.")
        except BaseException:
            self.close()
            raise
        self.sample_rate = self._sound.samplerate
        self.seconds = self._sound.frames / self.sample_rate if _length_known(self._sound) else None

    def _read(self) -> Iterator[Samples]:
        self._sound.seek(0)
        yield from _parts(self._sound, self.name, self._chunk_seconds, self._file)

    def _release(self) -> None:
        if self._sound is not None:
            self._sound.close()
        if isinstance(self._file, GuardedFile):
            self._file.close()


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


class GuardedFile:
    """A file for decoders in C, which read by callbacks: an exception there would be printed and forgotten.

    The first one is kept, the file ends there, and `check` tells of it. Damaged files make decoders seek to before the
    start, which is the start here.

    Args:
        file: open for reading bytes; it must be able to seek.
        name: what errors call it.
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
        """Raise what came of reading.

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
    """Whether a file begins with a packet of MP3's (ISO/IEC 11172-3), and not with a tag; AAC has no layer bits."""
    return len(start) == 2 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0 and start[1] & 0x06 != 0


def as_reason(error: BaseException) -> str:
    """What another package's exception says, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__


def _open(file: Path | GuardedFile, name: str) -> Any:
    if isinstance(file, Path):
        _check_file(file, name)
    try:
        # Names needn't be UTF-8 everywhere, and soundfile takes bytes as they are.
        plain = os.fsencode(file) if isinstance(file, Path) and os.name != "nt" else file
        sound = soundfile.SoundFile(plain)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        _check_guarded(file)
        raise EarmarkError(f"{name} is not a sound file that can be read: use WAV, FLAC, OGG or MP3.") from error
    try:
        _check_guarded(file)
        _check_rate(sound.samplerate, name)
    except BaseException:
        sound.close()
        raise
    return sound


def _check_guarded(file: Path | GuardedFile | None) -> None:
    if isinstance(file, GuardedFile):
        file.check()


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


def _parts(
    sound: Any, name: str, seconds: float = CHUNK_SECONDS, file: Path | GuardedFile | None = None
) -> Iterator[Samples]:
    """The rest of the file in mono, at most so many seconds at a time, cut to [-1, 1]."""
    size = max(1, min(int(seconds * sound.samplerate), CHUNK_SAMPLES) // sound.channels)
    # Samples of 16 bits come three times as fast as they are, and become the same floats.
    is_16_bit = sound.subtype == "PCM_16" and sound.format in PLAIN_16_BITS
    left = sound.frames
    while left > 0:
        try:
            samples = sound.read(min(size, left), dtype="int16" if is_16_bit else "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            _check_guarded(file)
            raise _damaged(name) from error
        _check_guarded(file)
        if len(samples) == 0:
            if _length_known(sound):
                raise _damaged(name)
            return
        left -= len(samples)
        yield _average(samples * np.float32(2**-15)) if is_16_bit else _mono(samples, name).clip(-1, 1)


def _mono(samples: npt.NDArray[Any], name: str) -> Samples:
    with np.errstate(over="ignore"):  # what is too large for a float32 becomes infinite, and is told
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
