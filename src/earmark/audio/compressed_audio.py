"""Recordings in the containers that browsers and phones use: WebM, Matroska, MP4 (M4A), AAC. libsndfile opens none.

PyAV decodes them (pip install 'earmark[webm]'). Without PyAV, the program ffmpeg decodes short ones if it is installed.
Both run FFmpeg's own decoders, and Earmark tells them which container it is: if FFmpeg guesses, it also accepts
playlists, which may name any file.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from earmark.audio.clip import CLIP_SECONDS, Clip, Samples, as_clip, longest_clip, read_clip
from earmark.audio.sound_file import CHUNK_SAMPLES, CHUNK_SECONDS, GuardedFile
from earmark.audio.sources import RecordedSource
from earmark.errors import EarmarkError, needs_package

SUFFIXES = frozenset({".webm", ".mkv", ".mka", ".mp4", ".m4a", ".mov", ".3gp", ".aac"})
HEAD_BYTES = 8  # the start of a file, which identifies the container
MAX_CHANNELS = 8
MAX_WAV_BYTES = 1 << 30  # the most that ffmpeg may unpack: 10 minutes of 8 channels at 48 kHz are 0.9 GiB
FFMPEG_SECONDS = 120  # decoding 10 minutes takes some 2


def decode(data: bytes, name: str) -> Clip:
    """Decode a recording; channels are averaged. Data in none of those containers goes to `audio.read_clip`.

    Args:
        data: the content of the file.
        name: what to call it in errors.

    Returns:
        The clip, at the recording's own rate.

    Raises:
        EarmarkError: the recording can't be decoded, holds no sound, is too long or has too many channels; or there is
            neither PyAV nor ffmpeg.
    """
    container = container_of(data)
    if container is None:
        return read_clip(data, name)
    try:
        import av  # noqa: F401
    except ModuleNotFoundError as error:
        if (program := shutil.which("ffmpeg")) is None:
            raise needs_package(f"Reading {name}", error, "webm") from error
        return _decode_by_program(program, data, container, name)
    return _decode_by_library(data, container, name)


class CompressedSource(RecordedSource):
    """A recording of any length in one of those containers, decoded in chunks by PyAV.

    Memory use is constant, except for an MP4's own table of packets, some 10 MB an hour. WebM and Matroska may end
    anywhere, because recorders write them as they go.

    Args:
        file: open for reading bytes; it must be seekable, and is closed with the source.
        name: what to call it in errors.
        chunk_seconds: how long a chunk is.

    Raises:
        EarmarkError: the recording can't be decoded, holds no sound or has too many channels, or there is no PyAV.
            While it is read: it is damaged, not finite, of more than one rate, or can no longer be reached.
    """

    def __init__(self, file: BinaryIO, name: str, chunk_seconds: float = CHUNK_SECONDS) -> None:
        super().__init__()
        self.name, self._chunk_seconds = name, chunk_seconds
        self._file = GuardedFile(file, name)
        try:
            container = container_of(self._file.read(HEAD_BYTES))
            self._file.check()
            if container is None:
                raise EarmarkError(f"{name} is neither WebM, Matroska, MP4 nor AAC: open it as a sound file.")
            self._container = container
            # For AAC the header may give half the rate; only the decoded samples tell the true one (SBR, ISO/IEC
            # 14496-3).
            _, self.sample_rate = next(_decoded(self._file, container, name))
            as_clip(np.zeros(1), self.sample_rate, name)  # raises if the rate is out of range
        except ModuleNotFoundError as error:
            self.close()
            raise needs_package(f"Reading {name}", error, "webm") from error
        except BaseException:
            self.close()
            raise

    def _read(self) -> Iterator[Samples]:
        size = min(int(self._chunk_seconds * self.sample_rate), CHUNK_SAMPLES)
        parts: list[Samples] = []
        have = 0
        for part, _ in _decoded(self._file, self._container, self.name):
            parts.append(part)
            have += len(part)
            if have >= size:
                yield as_clip(np.concatenate(parts), self.sample_rate, self.name).samples
                parts, have = [], 0
        if have:
            yield as_clip(np.concatenate(parts), self.sample_rate, self.name).samples

    def _release(self) -> None:
        self._file.close()


def container_of(data: bytes) -> str | None:
    """FFmpeg's name for the container, from the file's first `HEAD_BYTES`; None if it is none of these."""
    if data.startswith(b"\x1a\x45\xdf\xa3"):  # EBML (RFC 8794)
        return "matroska"
    if data[4:8] == b"ftyp":  # ISO/IEC 14496-12
        return "mp4"
    # ADTS (ISO/IEC 13818-7); in MP3 the layer bits are set.
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return "aac"
    return None


def _decode_by_library(data: bytes, container: str, name: str) -> Clip:
    samples: Samples | None = None
    rate = have = 0
    for part, rate in _decoded(GuardedFile(io.BytesIO(data), name), container, name):
        # The longest clip and one sample more, to see what is too long; unused memory isn't allocated.
        if samples is None:
            samples = np.empty(longest_clip(max(rate, 1)) + 1, np.float32)
        part = part[: len(samples) - have]
        samples[have : have + len(part)] = part
        have += len(part)
        if have == len(samples):
            break  # as_clip raises
    assert samples is not None  # `_decoded` yields at least one part
    return as_clip(samples[:have], rate, name)


def _decoded(file: GuardedFile, container: str, name: str) -> Iterator[tuple[Samples, int]]:
    """The recording from its start, in mono: one codec frame at a time, each with its rate; at least one."""
    import av

    rate = have = 0
    file.seek(0)
    try:
        with av.open(file, "r", container, metadata_errors="replace") as opened:
            if not opened.streams.audio:
                raise _no_sound(name)
            to_float = av.AudioResampler(format="fltp")  # which changes only the numbers' type
            for packed in opened.decode(opened.streams.audio[0]):
                if packed.layout.nb_channels > MAX_CHANNELS:
                    raise EarmarkError(f"{name} has more than {MAX_CHANNELS} channels: save it as mono or stereo.")
                if rate and packed.sample_rate != rate:
                    raise EarmarkError(f"{name} changes its sample rate midway: save it as WAV or FLAC.")
                rate = packed.sample_rate
                for frame in to_float.resample(packed):
                    have += frame.samples
                    yield frame.to_ndarray().mean(axis=0, dtype=np.float32), rate
    except (av.FFmpegError, ValueError, OSError, RuntimeError) as error:  # older PyAV raises RuntimeError
        file.check()
        raise _damaged(name) from error
    file.check()
    if have == 0:
        raise _no_sound(name)


def _decode_by_program(program: str, data: bytes, container: str, name: str) -> Clip:
    # Files, not pipes: phones write an MP4's table of contents at its end, and ffmpeg must read it first.
    with tempfile.TemporaryDirectory() as folder:
        source, wav = Path(folder, "recording"), Path(folder, "recording.wav")
        source.write_bytes(data)
        before = f"-nostdin -v error -protocol_whitelist file -f {container} -i".split()
        after = f"-map 0:a:0 -t {CLIP_SECONDS + 1} -fs {MAX_WAV_BYTES} -c:a pcm_f32le".split()
        command = [program, *before, str(source), *after, str(wav)]
        try:
            subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=FFMPEG_SECONDS, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise _damaged(name) from error
        if wav.stat().st_size > MAX_WAV_BYTES:
            raise EarmarkError(f"{name} unpacks to more than {MAX_WAV_BYTES >> 30} GiB: cut it into clips.")
        return read_clip(wav, name)


def _no_sound(name: str) -> EarmarkError:
    return EarmarkError(f"{name} holds no sound: choose a recording with a sound track.")


def _damaged(name: str) -> EarmarkError:
    return EarmarkError(f"{name} can't be decoded: it is damaged or of an unusual kind; save it as WAV or FLAC.")
