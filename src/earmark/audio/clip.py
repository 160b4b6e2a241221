"""Clips: mono recordings in memory, float32 in [-1, 1]. For sound of any length see `sources`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from earmark.audio.sound_file import GuardedFile, as_mono, check_rate, length_known, mono_parts, open_sound
from earmark.audio.sound_file import Samples as Samples
from earmark.errors import EarmarkError, as_start

Encoding = Literal["s16le", "f32le"]

CLIP_SECONDS = 600  # the longest clip that is held in memory; longer sound is read by sources
CLIP_SAMPLES = CLIP_SECONDS * 48_000  # fewer seconds at higher rates: reading takes some 16 bytes a sample
FEW_CHANNELS = 8  # arrays have channels first if they have more of them than that, and than samples
CHECKED = 1 << 20  # samples that are checked for their bit depth at a time
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
        samples: shape [samples] or [samples, channels]; floats in [-1, 1], or signed integers of full scale. Arrays
            with channels first, as some libraries give them, are refused.
        sample_rate: in Hz.
        name: what to call them in an error.

    Raises:
        EarmarkError: there is no rate, or the samples are none, too many, not finite, outside [-1, 1], of the wrong
            shape, or integers that don't fill their type.
    """
    if sample_rate is None:
        raise EarmarkError(f"The sample rate of {name} is missing: pass sample_rate= in Hz.")
    check_rate(sample_rate, name)
    array = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise EarmarkError(f"{as_start(name)} has {array.ndim} dimensions: pass [samples] or [samples, channels].")
    if array.size == 0:
        raise EarmarkError(f"{as_start(name)} is empty: record or choose one with sound in it.")
    if array.ndim == 2 and array.shape[1] > max(len(array), FEW_CHANNELS):
        shape = " × ".join(map(str, array.shape))
        raise EarmarkError(f"{as_start(name)} has channels first, {shape}: pass [samples, channels]: transpose it.")
    if np.issubdtype(array.dtype, np.signedinteger):
        _check_filled(array, name)
        array = array / np.float64(-np.iinfo(array.dtype).min)
    elif not np.issubdtype(array.dtype, np.floating):
        raise EarmarkError(f"{as_start(name)} has the type {array.dtype}: pass floats in [-1, 1] or signed integers.")
    mono = as_mono(array.reshape(len(array), -1), name)
    if len(mono) > longest_clip(sample_rate):
        raise _too_long(name, sample_rate)
    if max(mono.max(), -mono.min()) > 2:
        raise EarmarkError(f"{as_start(name)} goes beyond [-1, 1]: divide the samples by full scale.")
    return Clip(np.clip(mono, -1, 1), int(sample_rate))


def _check_filled(array: npt.NDArray[Any], name: str) -> None:
    """Refuse integers in a wider type than their own: full scale of that type would divide them to nothing."""
    if array.dtype.itemsize < 4:
        return
    peak = max(int(array.max()), -int(array.min()))
    if 0 < peak <= -int(np.iinfo(array.dtype).min) >> 16:  # below the last of 16 bits
        bits = next(bits for bits in (16, 24, 32, 64) if peak <= 1 << (bits - 1))
        remedy = "pass them as int16" if bits == 16 else "divide them by full scale"
        raise EarmarkError(f"{as_start(name)} holds {bits}-bit values as {array.dtype}: {remedy}.")


def read_clip(file: str | Path | bytes, name: str | None = None) -> Clip:
    """Read a sound file of any format, rate and channel count that libsndfile reads; channels are averaged.

    Args:
        file: a path, or the file's content.
        name: what to call it in an error; by default the path.

    Raises:
        EarmarkError: the file is missing, not audio, empty, truncated, too long, or not finite.
    """
    name = name or (str(file) if not isinstance(file, bytes) else "the file")
    with open_sound(GuardedFile(io.BytesIO(file), name) if isinstance(file, bytes) else Path(file), name) as sound:
        longest = longest_clip(sound.samplerate)
        if length_known(sound) and sound.frames > longest:
            raise _too_long(name, sound.samplerate)
        # Read in parts, each averaged to mono: a small file with many channels could fill the memory.
        parts = [np.zeros(0, np.float32)]
        have = 0
        for part in mono_parts(sound, name):
            parts.append(part)
            have += len(part)
            if have > longest:
                raise _too_long(name, sound.samplerate)
        samples = np.concatenate(parts)
        parts.clear()  # so that memory holds the sound at most twice
        return as_clip(samples, sound.samplerate, name)


def read_parts(data: bytes, seconds: float, name: str) -> Iterator[Clip]:
    """The content of a sound file as clips of about that length, the last one shorter, decoded one by one on request.

    Raises:
        EarmarkError: as from `read_clip`, except that the sound can't be too long.
    """
    with open_sound(GuardedFile(io.BytesIO(data), name), name) as sound:
        parts: list[Samples] = []
        have = 0
        for part in mono_parts(sound, name):
            parts.append(part)
            have += len(part)
            if have >= seconds * sound.samplerate:
                yield Clip(np.concatenate(parts), sound.samplerate)
                parts, have = [], 0
        if have:
            yield Clip(np.concatenate(parts), sound.samplerate)


def longest_clip(sample_rate: int) -> int:
    """The most samples that a clip of that rate may have."""
    return min(CLIP_SECONDS * sample_rate, CLIP_SAMPLES)


def encode_flac(clip: Clip) -> bytes:
    """The clip as a FLAC file: 16 bits where they hold every sample exactly, else 24."""
    # In parts: a long clip, taken at once, would need three times its memory.
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
        EarmarkError: the file is missing, not audio, cut off, or empty.
    """
    with open_sound(path, path.name) as sound:
        if sound.cut_off is not None:
            raise sound.cut_off
        if sound.frames == 0:
            raise EarmarkError(f"{path.name} is empty: record it again or delete it.")
        if not length_known(sound):
            raise EarmarkError(f"{path.name} doesn't say how long it is: save it anew with an audio editor.")
        return sound.frames, sound.samplerate


class Resampler:
    """Resample a stream with soxr. The output doesn't depend on how the stream is cut into chunks."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32") if rate_in != rate_out else None

    def process(self, chunk: Samples) -> Samples:
        """Take the next chunk, shape [samples], and return what is ready: the filter delays it by about 10 ms."""
        return chunk if self._stream is None else self._stream.resample_chunk(chunk)

    def finish(self) -> Samples:
        """What the filter still holds at the stream's end."""
        rest = np.zeros(0, np.float32)
        return rest if self._stream is None else self._stream.resample_chunk(rest, last=True)


def decode_pcm(data: bytes, encoding: Encoding) -> Samples:
    """Raw little-endian PCM as float32, cut to [-1, 1], shape [samples]; 16-bit full scale is 32,768.

    Values that aren't finite become NaN, which no clip may hold: infinity must not be clipped to a loud sound.
    """
    if encoding == "s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(2**15)
    samples = np.frombuffer(data, "<f4").astype(np.float32)
    return np.where(np.isfinite(samples), samples.clip(-1, 1), np.float32(np.nan))


def _too_long(name: str, sample_rate: int) -> EarmarkError:
    longest = longest_clip(sample_rate) / sample_rate
    return EarmarkError(f"{as_start(name)} lasts longer than {longest:.0f} s: cut it, or listen to it as a stream.")
