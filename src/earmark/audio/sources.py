"""Sources: sound of any length in chunks, from arrays, files, pipes of raw PCM and microphones.

All of it is mono float32 in [-1, 1].
"""

from __future__ import annotations

import queue
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import CLIP_SECONDS, Clip, Encoding, Samples, as_clip, decode_pcm
from earmark.audio.devices import find_input, portaudio
from earmark.audio.sound_file import (
    CHUNK_SECONDS,
    GuardedFile,
    as_mono,
    check_rate,
    length_known,
    mono_parts,
    open_sound,
    rewind,
)
from earmark.errors import EarmarkError, as_reason, as_start

CLOSED_WITHIN = 0.1  # seconds until a waiting pipe notices that it was closed


class Source:
    """Sound that comes in chunks. Iterate over it, and close it or use it in a `with` block.

    Attributes:
        sample_rate: the sample rate in Hz.
        name: what messages call it.
        seconds: how long it is, if that is known.
        overflows: how often sound was lost because it wasn't read in time (microphones only).
    """

    sample_rate: int
    name: str
    seconds: float | None = None
    overflows: int = 0

    def __iter__(self) -> Iterator[Samples]:
        raise NotImplementedError

    def close(self) -> None:
        """Release the file or device. If another thread is reading, its iteration ends, even while it waits for sound.

        Closing a closed source does nothing. To read the sound again, open it again.
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
    """Sound that can be read again from its start, and closed while it is being read.

    Another thread may close it, or a signal handler in the middle of reading; the file is released once the reading is
    over. Subclasses implement `_read` and `_release`.
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
        """Release the file. Doing so again does nothing."""
        raise NotImplementedError


class FileSource(RecordedSource):
    """A sound file of any length, read in chunks.

    Args:
        file: a path, or a file open for reading bytes, which must be seekable and is closed with the source.
        chunk_seconds: the longest chunk; chunks are shorter if the file has many channels.
        name: what to call it in errors; by default the path.

    Raises:
        EarmarkError: the file is missing, not audio, or empty. While it is read: it is damaged, not finite, or can no
            longer be reached; at its end: it is cut off.
    """

    def __init__(self, file: Path | BinaryIO, chunk_seconds: float = CHUNK_SECONDS, *, name: str | None = None) -> None:
        super().__init__()
        self.name = name or (str(file) if isinstance(file, Path) else "the file")
        self._chunk_seconds = chunk_seconds
        self._file = file if isinstance(file, Path) else GuardedFile(file, self.name)
        self._sound: Any = None
        try:
            self._sound = open_sound(self._file, self.name)
            if self._sound.frames == 0:
                raise self._sound.cut_off or EarmarkError(f"{self.name} is empty: choose a file with sound in it.")
        except BaseException:
            self.close()
            raise
        self.sample_rate = self._sound.samplerate
        self.seconds = self._sound.frames / self.sample_rate if length_known(self._sound) else None

    def _read(self) -> Iterator[Samples]:
        if self._sound.seekable():
            rewind(self._sound, self.name)
        else:  # GSM and others, which libsndfile decodes only from the start of an open file
            self._sound.close()
            if isinstance(self._file, GuardedFile):
                self._file.seek(0)
            self._sound = open_sound(self._file, self.name)
        yield from mono_parts(self._sound, self.name, self._chunk_seconds, self._file)

    def _release(self) -> None:
        if self._sound is not None:
            self._sound.close()
        if isinstance(self._file, GuardedFile):
            self._file.close()


class PcmSource(Source):
    """Raw PCM from a pipe, as it comes.

    Args:
        file: where the bytes come from.
        sample_rate: the sample rate in Hz.
        encoding: "s16le" (16-bit) or "f32le" (float), little-endian.
        channels: the number of interleaved channels, which are averaged.
    """

    def __init__(self, file: BinaryIO, sample_rate: int, encoding: Encoding = "s16le", channels: int = 1) -> None:
        if encoding not in ("s16le", "f32le"):
            raise EarmarkError(f"The encoding {encoding!r} is not known: use s16le or f32le.")
        if channels < 1:
            raise EarmarkError(f"{channels} channels can't be read: use 1 or more.")
        check_rate(sample_rate, "the stream")
        self.sample_rate, self.name = sample_rate, "standard input"
        self._file, self._encoding, self._channels = file, encoding, channels
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Samples]:
        if self._closed.is_set():
            raise _closed(self.name)
        step = (2 if self._encoding == "s16le" else 4) * self._channels
        # Returns what is there now, without waiting for a full buffer.
        read = getattr(self._file, "read1", self._file.read)
        rest = b""
        while self._wait() and (data := read(1 << 16)):
            data = rest + data
            whole = len(data) - len(data) % step
            rest = data[whole:]
            if whole:
                yield as_mono(decode_pcm(data[:whole], self._encoding).reshape(-1, self._channels), self.name)

    def close(self) -> None:
        """End the iteration. The file stays open: it is closed by whoever opened it."""
        self._closed.set()

    def _wait(self) -> bool:
        """Wait until there is something to read, or the end, if the system can tell; False once closed."""
        try:
            while not self._closed.is_set():
                if select.select([self._file], [], [], CLOSED_WITHIN)[0]:
                    return True
        except (OSError, ValueError, TypeError):  # not a system file; or Windows, which can only wait for sockets
            return True
        return False


class MicrophoneSource(Source):
    """The microphone, in chunks of about 20 ms at the device's own rate.

    Args:
        device: the microphone's number or part of its name, as `earmark devices` lists them; None means the default.

    Raises:
        EarmarkError: there is no PortAudio or no such device, several are meant, or the device can't be opened.
    """

    def __init__(self, device: str | int | None = None) -> None:
        sounddevice = portaudio()
        found = find_input(device)
        self.name, self.sample_rate = "the microphone", found.default_rate
        self._chunks: queue.SimpleQueue[Samples | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._is_closed = False

        def receive(data: npt.NDArray[np.float32], _frames: int, _time: object, status: Any) -> None:
            self.overflows += bool(status.input_overflow)
            self._chunks.put(data[:, 0].copy())

        try:
            self._stream = sounddevice.InputStream(
                device=found.number,
                samplerate=self.sample_rate,
                blocksize=self.sample_rate // 50,
                channels=1,
                dtype="float32",
                callback=receive,
                finished_callback=lambda: self._chunks.put(None),
            )
        except (ValueError, sounddevice.PortAudioError) as error:
            raise EarmarkError(
                f"The microphone {found.name} can't be opened ({as_reason(error)}): close other programs that use it, "
                "or name another one of those that `earmark devices` lists."
            ) from error

    def __iter__(self) -> Iterator[Samples]:
        with self._lock:
            if self._is_closed:
                raise _closed(self.name)
            self._stream.start()
        while (chunk := self._chunks.get()) is not None and not self._is_closed:
            yield chunk

    def close(self) -> None:
        with self._lock:  # PortAudio must not be closed twice, nor while it starts
            if not self._is_closed:
                self._is_closed = True
                self._stream.close()
                self._chunks.put(None)


def record_clip(source: Source, seconds: float | None) -> Clip:
    """The source's first seconds, or all of it if it is shorter; None means all of it, as far as a clip may last.

    Raises:
        EarmarkError: the source can't be read or gives nothing, or some of its sound was lost.
    """
    wanted = CLIP_SECONDS + 1 if seconds is None else seconds  # so that a source that is too long is told
    chunks = [np.zeros(0, np.float32), *first_seconds(source, wanted)]
    return as_clip(np.concatenate(chunks), source.sample_rate, source.name)


def first_seconds(source: Source, seconds: float) -> Iterator[Samples]:
    """The chunks of a source's first seconds; the last chunk is cut.

    Raises:
        EarmarkError: the source can't be read or, raised at the end, some of its sound was lost.
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
        source: a file's path, "microphone", "-" for raw PCM on standard input, samples, or a source that is already
            open.
        sample_rate: the sample rate in Hz; needed for raw PCM and samples.
        encoding, channels: the format of raw PCM.
        device: which microphone.

    Raises:
        EarmarkError: the source can't be opened; the message says why.
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


def _closed(name: str) -> EarmarkError:
    return EarmarkError(f"{as_start(name)} is closed: open it again.")
