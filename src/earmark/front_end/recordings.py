"""Recordings: clips, and recordings of which only the spectrogram is left. All training and recognizing takes both.

This module makes a recording's frames, spectrogram or sound. No other code needs to know which of the two kinds it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from earmark.audio.clip import AUDIO_SUFFIXES, Clip, clip_length, encode_flac, read_clip
from earmark.audio.sources import ArraySource
from earmark.errors import EarmarkError, as_start
from earmark.front_end.frames import SPECTROGRAM, Frames, FrontEnd, clip_frames
from earmark.front_end.spectrogram import FRAME_SECONDS, HOP, SAMPLE_RATE, Spectrogram, compute_spectrogram
from earmark.front_end.spectrogram_file import (
    SUFFIX,
    encode_spectrogram,
    is_spectrogram_file,
    read_spectrogram,
    spectrogram_length,
)

RECORDING_SUFFIXES = AUDIO_SUFFIXES | {SUFFIX}


@dataclass(frozen=True)
class SoundlessClip:
    """A recording of which only the spectrogram is left.

    Attributes:
        frames: levels in dB as `as_spectrogram` returns them, shape [frames, 232].
        name: what to call the recording in errors.
    """

    frames: Spectrogram
    name: str = "the recording"

    @property
    def seconds(self) -> float:
        return len(self.frames) * FRAME_SECONDS


Recording: TypeAlias = Clip | SoundlessClip


def read_recording(file: Path | bytes, name: str | None = None) -> Recording:
    """Read a recording: a sound file, as `read_clip` does, or a spectrogram file.

    Args:
        file: a path, or the file's content.
        name: what to call it in errors; by default the path. Its suffix decides whether the file is a spectrogram.

    Raises:
        EarmarkError: it can't be read.
    """
    name = name or (str(file) if isinstance(file, Path) else "the file")
    if is_spectrogram_file(name):
        return SoundlessClip(read_spectrogram(file, name), name)
    return read_clip(file, name)


def recording_length(path: Path) -> tuple[float, int]:
    """A recording's length in seconds and in frames of its spectrogram, from the file's header alone.

    Raises:
        EarmarkError: it can't be read.
    """
    if is_spectrogram_file(path):
        frames = spectrogram_length(path)
        return frames * FRAME_SECONDS, frames
    samples, rate = clip_length(path)
    return samples / rate, sound_frames(samples, rate)


def encode_recording(recording: Recording) -> tuple[bytes, str]:
    """The content of the file that a project keeps, and its suffix. Sound becomes FLAC."""
    if isinstance(recording, Clip):
        return encode_flac(recording), ".flac"
    return encode_spectrogram(recording.frames), SUFFIX


def sound_frames(samples: int, sample_rate: int) -> int:
    """How many frames the spectrogram of that many samples has. A frame needs two hops; soxr gives whole samples."""
    return max(0, int(samples * SAMPLE_RATE / sample_rate + 0.5) // HOP - 1)


def frame_count(recording: Recording) -> int:
    """How many frames a recording's spectrogram has."""
    if isinstance(recording, Clip):
        return sound_frames(len(recording.samples), recording.sample_rate)
    return len(recording.frames)


def spectrogram_of(recording: Recording) -> Spectrogram:
    """A recording's levels in dB, shape [frames, 232]."""
    if isinstance(recording, Clip):
        return compute_spectrogram(recording.samples, recording.sample_rate, silence_before=False)
    return recording.frames


def sound_of(recording: Recording) -> Clip:
    """A recording's sound.

    Raises:
        EarmarkError: only its spectrogram is left.
    """
    if isinstance(recording, Clip):
        return recording
    raise EarmarkError(f"{as_start(recording.name)} has no sound, only its spectrogram: choose one with sound.")


def frames_of(recording: Recording, window_frames: int, front_end: FrontEnd) -> Iterator[Frames]:
    """A recording's frames of any kind, at least enough for one window.

    A shorter recording is padded on both sides: sound with silence, a spectrogram with its own lowest level. Levels as
    low as those of digital silence would mislead a network without a floor or a dynamic range.

    Raises:
        EarmarkError: the front end needs the sound, but only the spectrogram is left.
    """
    if isinstance(recording, Clip):
        yield from clip_frames(ArraySource(recording), window_frames, front_end)
        return
    if front_end is not SPECTROGRAM:
        raise EarmarkError(
            f"{as_start(recording.name)} has no sound, only its spectrogram, and the model hears the sound itself: "
            "choose a model on the base words."
        )
    missing = max(0, window_frames - len(recording.frames))
    filling = ((missing // 2, missing - missing // 2), (0, 0))
    yield np.pad(recording.frames, filling, constant_values=float(recording.frames.min()))


def part_of(recording: Recording, start: float, end: float) -> Recording:
    """The part from start to end, in seconds from the beginning, as far as the recording reaches."""
    if isinstance(recording, Clip):
        rate = recording.sample_rate
        return Clip(recording.samples[_span(start, end, recording.seconds, rate)], rate)
    return SoundlessClip(recording.frames[_span(start, end, recording.seconds, 1 / FRAME_SECONDS)], recording.name)


def _span(start: float, end: float, seconds: float, rate: float) -> slice:
    first, last = (round(min(max(0.0, at), seconds) * rate) for at in (start, end))
    return slice(first, max(first, last))
