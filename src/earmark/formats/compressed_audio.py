"""Recordings as browsers and phones keep them, which libsndfile doesn't open: WebM, Matroska, MP4 (M4A), AAC.

PyAV decodes them (pip install 'earmark[webm]'), or else the program ffmpeg where it is installed. Both run FFmpeg's
own decoders, and are told which container it is: left to guess, FFmpeg also knows playlists, which may name any file.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from earmark.audio import CLIP_SECONDS, Clip, Samples, as_clip, longest_clip, read_clip
from earmark.errors import EarmarkError, needs_package

SUFFIXES = frozenset({".webm", ".mkv", ".mka", ".mp4", ".m4a", ".mov", ".3gp", ".aac"})
MAX_CHANNELS = 8
MAX_WAV_BYTES = 1 << 30  # what ffmpeg may unpack: 10 minutes of 8 channels at 48 kHz are 0.9 GiB
FFMPEG_SECONDS = 120  # it decodes 10 minutes in some 2


def decode(data: bytes, name: str) -> Clip:
    """Decode a recording; channels are averaged. What is in none of those containers goes to `audio.read_clip`.

    Args:
        data: the content of the file.
        name: what errors call it.

    Returns:
        The clip at the recording's own rate.

    Raises:
        EarmarkError: it can't be decoded, holds no sound, is too long or has too many channels; or there is neither
            PyAV nor ffmpeg.
    """
    container = _container(data)
    if container is None:
        return read_clip(data, name)
    try:
        import av  # noqa: F401
    except ModuleNotFoundError as error:
        if (program := shutil.which("ffmpeg")) is None:
            raise needs_package(f"Reading {name}", error, "webm") from error
        return _decode_by_program(program, data, container, name)
    return _decode_by_library(data, container, name)


def _container(data: bytes) -> str | None:
    """What FFmpeg calls the container, by its first bytes."""
    if data.startswith(b"\x1a\x45\xdf\xa3"):  # EBML (RFC 8794)
        return "matroska"
    if data[4:8] == b"ftyp":  # ISO/IEC 14496-12
        return "mp4"
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:  # ADTS (ISO/IEC 13818-7); MP3 has layer bits there
        return "aac"
    return None


def _decode_by_library(data: bytes, container: str, name: str) -> Clip:
    import av

    parts: list[Samples] = [np.zeros(0, np.float32)]
    rate = have = 0
    try:
        with av.open(io.BytesIO(data), "r", container, metadata_errors="replace") as file:
            if not file.streams.audio:
                raise _no_sound(name)
            to_float = av.AudioResampler(format="fltp")  # which changes the numbers' type alone
            for packed in file.decode(file.streams.audio[0]):
                if packed.layout.nb_channels > MAX_CHANNELS:
                    raise EarmarkError(f"{name} has more than {MAX_CHANNELS} channels: save it as mono or stereo.")
                for frame in to_float.resample(packed):
                    rate = frame.sample_rate
                    parts.append(frame.to_ndarray().mean(axis=0, dtype=np.float32))
                    have += frame.samples
                if have > longest_clip(max(rate, 1)):
                    break  # as_clip says so
    except (av.FFmpegError, ValueError, OSError) as error:
        raise _damaged(name) from error
    if have == 0:
        raise _no_sound(name)
    samples = np.concatenate(parts)
    parts.clear()  # so that the memory holds it twice at most
    return as_clip(samples, rate, name)


def _decode_by_program(program: str, data: bytes, container: str, name: str) -> Clip:
    # Files, not pipes: phones write an MP4's table of contents at its end, where ffmpeg must go first.
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
