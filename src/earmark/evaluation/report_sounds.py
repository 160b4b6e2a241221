"""Excerpts of recordings to hear and see inside a report's page, a few seconds long."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from earmark.audio.clip import Clip, encode_flac
from earmark.audio.sources import FileSource
from earmark.front_end.frames import SPECTROGRAM
from earmark.front_end.recordings import Recording, part_of, read_recording
from earmark.front_end.spectrogram import FRAME_SECONDS, compute_spectrogram

SECONDS = 3.0  # the longest excerpt
RATE = 16_000  # Hz; the spectrogram that recognizers see ends at 5 kHz
MARGIN = 0.25  # seconds kept on both sides of a detection
FOLD = 2  # bins that share one row of pixels, by their loudest

# The studio's colours for levels, from a silent room to a loud sound, in dB.
QUIET, LOUD = -101.0, -33.0
STOPS = ("#0c1517", "#10383f", "#17705f", "#7fbd5b", "#f6dd7c", "#fffbe8")


def loudest_seconds(path: Path) -> Recording:
    """The three seconds of a recording with the most energy, or all of it if it is shorter.

    Raises:
        EarmarkError: the recording can't be read.
    """
    recording = read_recording(path)
    if isinstance(recording, Clip):
        rate, power = float(recording.sample_rate), np.square(recording.samples, dtype=np.float64)
    else:
        rate, power = 1 / FRAME_SECONDS, SPECTROGRAM.power(recording.frames)
    length = round(SECONDS * rate)
    if len(power) <= length:
        return recording
    energy = np.concatenate(([0.0], np.cumsum(power)))
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return part_of(recording, start / rate, (start + length) / rate)


def part_around(path: Path, start: float, end: float) -> Clip:
    """The sound from start to end, in seconds, with a margin; at most three seconds, taken from the middle.

    The recording may have any length: it is read only up to the end of the span.

    Raises:
        EarmarkError: the recording can't be read.
    """
    middle, reach = (start + end) / 2, min((end - start) / 2 + MARGIN, SECONDS / 2)
    with FileSource(path) as source:
        rate = source.sample_rate
        first, last = max(0, round((middle - reach) * rate)), round((middle + reach) * rate)
        kept, at = [np.zeros(0, np.float32)], 0
        for chunk in source:
            kept.append(chunk[max(0, first - at) : max(0, last - at)])
            at += len(chunk)
            if at >= last:
                break
    return Clip(np.concatenate(kept), rate)


def small(clip: Clip) -> Clip:
    """The clip in 16 bits, and at 16 kHz if its rate is higher."""
    samples, rate = clip.samples, clip.sample_rate
    if rate > RATE:
        samples, rate = soxr.resample(samples, rate, RATE), RATE
    whole = np.clip(np.rint(samples * np.float32(2**15)), -(2**15), 2**15 - 1)
    return Clip((whole / np.float32(2**15)).astype(np.float32), rate)


def audio_uri(clip: Clip) -> str:
    """The clip as FLAC, which every browser plays, in a data URI."""
    return _data_uri("audio/flac", encode_flac(clip))


def picture_uri(recording: Recording) -> str | None:
    """The recording's spectrogram as PNG in a data URI, low frequencies at the bottom; None for less than a frame."""
    from matplotlib.image import imsave

    if isinstance(recording, Clip):
        levels = compute_spectrogram(recording.samples, recording.sample_rate)
    else:
        levels = recording.frames
    if len(levels) == 0:
        return None
    rows = levels.reshape(len(levels), -1, FOLD).max(axis=2).T
    buffer = io.BytesIO()
    imsave(buffer, _colour(rows[::-1]), format="png", metadata={"Software": "Earmark"})
    return _data_uri("image/png", buffer.getvalue())


def _colour(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Levels in dB, of any shape, as colours, shape [..., 3]."""
    stops = np.array([[int(stop[at : at + 2], 16) for at in (1, 3, 5)] for stop in STOPS])
    along = (levels - QUIET) / (LOUD - QUIET) * (len(stops) - 1)
    channels = [np.interp(along, np.arange(len(stops)), channel) for channel in stops.T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
