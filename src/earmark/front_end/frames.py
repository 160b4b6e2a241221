"""The frames that a network's windows are made of: frames of a spectrogram, or of the waveform itself.

All code that cuts, aligns or listens works on frames of either kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Resampler, Samples
from earmark.audio.sources import Source
from earmark.errors import EarmarkError
from earmark.front_end.spectrogram import (
    BINS,
    FFT_SIZE,
    FLOOR_DB,
    FRAME_SECONDS,
    HOP,
    SAMPLE_RATE,
    StreamingSpectrogram,
)

Frames: TypeAlias = npt.NDArray[np.float32]  # shape [frames, values]

WAVEFORM_RATE = 16_000  # Hz
WAVEFORM_HOP = 320  # samples a frame: 20 ms
WAVEFORM_RATES = range(4_000, 192_001)  # Hz, that a base may declare
SILENT_AMPLITUDE = 1e-6  # of a window of digital silence; of one at full scale it is about 10
LOWEST_BIN = 5  # 108 Hz: rumble and a microphone's offset lie below it and don't make a sound loud


class StreamingFrames(Protocol):
    """Takes sound in chunks of any size and returns frames as they are complete."""

    def process(self, chunk: Samples) -> Frames: ...

    def finish(self) -> Frames: ...


class FrontEnd(Protocol):
    """What turns sound into one kind of frame.

    Attributes:
        name: "spectrogram" or "waveform".
        sample_rate: the rate in Hz to which all sound is resampled.
        values: the number of values in a frame.
        frame_seconds: the time from one frame to the next.
        silence: the value of silence in a frame.
    """

    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def values(self) -> int: ...
    @property
    def frame_seconds(self) -> float: ...
    @property
    def silence(self) -> float: ...

    def stream(self, sample_rate: int, *, silence_before: bool = True) -> StreamingFrames:
        """The streaming form, for sound of that rate; for `silence_before` see `StreamingSpectrogram`."""

    def seconds_of(self, frames: int) -> float:
        """How much sound that many frames take, without silence before."""

    def power(self, frames: Frames) -> npt.NDArray[np.float64]:
        """How loud each frame is, as a power, shape [frames]."""

    def as_dict(self) -> dict[str, Any]:
        """The front end as a model's metadata stores it."""


class SpectrogramFrontEnd:
    """Levels in dB of 232 bins, every 23 ms: `StreamingSpectrogram`."""

    name, sample_rate, values = "spectrogram", SAMPLE_RATE, BINS
    frame_seconds, silence = FRAME_SECONDS, FLOOR_DB

    def stream(self, sample_rate: int, *, silence_before: bool = True) -> StreamingFrames:
        return StreamingSpectrogram(sample_rate, silence_before=silence_before)

    def seconds_of(self, frames: int) -> float:
        return (frames + 1) * HOP / SAMPLE_RATE  # a frame sees two hops

    def power(self, frames: Frames) -> npt.NDArray[np.float64]:
        power: npt.NDArray[np.float64] = np.power(10, frames[:, LOWEST_BIN:] / 10, dtype=np.float64).sum(axis=1)
        return power

    def as_dict(self) -> dict[str, Any]:
        return {"sample_rate": SAMPLE_RATE, "fft_size": FFT_SIZE, "hop": HOP, "bins": BINS}


@dataclass(frozen=True)
class WaveformFrontEnd:
    """The sound itself, in frames of about 20 ms: at 16 kHz, or at another rate that a base declares.

    Attributes:
        sample_rate: the rate in Hz.
        values: samples a frame.
    """

    sample_rate: int = WAVEFORM_RATE
    values: int = WAVEFORM_HOP

    @property
    def name(self) -> str:
        return "waveform"

    @property
    def frame_seconds(self) -> float:
        return self.values / self.sample_rate

    @property
    def silence(self) -> float:
        return 0.0

    def stream(self, sample_rate: int, *, silence_before: bool = True) -> StreamingFrames:  # noqa: ARG002
        return _StreamingWaveform(sample_rate, self)

    def seconds_of(self, frames: int) -> float:
        return frames * self.frame_seconds

    def power(self, frames: Frames) -> npt.NDArray[np.float64]:
        power: npt.NDArray[np.float64] = np.square(frames, dtype=np.float64).sum(axis=1)
        return power

    def as_dict(self) -> dict[str, Any]:
        return {"sample_rate": self.sample_rate, "hop": self.values}


SPECTROGRAM, WAVEFORM = SpectrogramFrontEnd(), WaveformFrontEnd()


def waveform_front_end(sample_rate: int) -> WaveformFrontEnd:
    """The front end that gives the sound itself at that rate, in Hz."""
    return WAVEFORM if sample_rate == WAVEFORM_RATE else WaveformFrontEnd(sample_rate, round(sample_rate / 50))


def read_front_end(values: object) -> FrontEnd | None:
    """The front end that a model's metadata describes; None if Earmark has no such front end."""
    if values == SPECTROGRAM.as_dict():
        return SPECTROGRAM
    rate = values.get("sample_rate") if isinstance(values, dict) else None
    if type(rate) is not int or rate not in WAVEFORM_RATES:
        return None
    front_end = waveform_front_end(rate)
    return front_end if front_end.as_dict() == values else None


def stream_frames(front_end: FrontEnd, chunks: Iterable[Samples], sample_rate: int) -> Iterator[Frames]:
    """The frames of a stream, to its end: one block for each chunk of sound, which is float32 of shape [samples]."""
    stream = front_end.stream(sample_rate)
    for chunk in chunks:
        yield stream.process(chunk)
    yield stream.finish()


def sliding_windows(frames: Frames, window_frames: int, hop: int = 1) -> npt.NDArray[np.float32]:
    """Windows every `hop` frames: a view of shape [windows, window_frames, values] of frames [frames, values].

    numpy's sliding_window_view takes ten times as long for the same view, which matters when frames come one by one.
    """
    frames = np.ascontiguousarray(frames)
    count = max(0, (len(frames) - window_frames) // hop + 1)
    strides = (hop * frames.strides[0], *frames.strides)
    return np.ndarray((count, window_frames, frames.shape[1]), np.float32, frames, strides=strides)


def hop_of(window_frames: int, overlap_factor: float) -> int:
    """Frames from one window to the next, by speech-commands' rule; at least one.

    Raises:
        EarmarkError: the overlap is not in [0, 1).
    """
    if not 0 <= overlap_factor < 1:
        raise EarmarkError(f"overlap_factor is {overlap_factor}: it must be at least 0 and less than 1.")
    return max(1, round(window_frames * (1 - overlap_factor)))


class Windows:
    """Takes frames as they come and returns whole windows, each once.

    Args:
        window_frames: the number of frames in a window.
        hop: frames from one window to the next.
        first_frame: the position of the first frame in the stream, counted in frames. It need not be whole if the
            stream's positions are counted in another front end's frames.
        front_end: the front end that makes the frames.
    """

    def __init__(self, window_frames: int, hop: int, first_frame: float = 0, front_end: FrontEnd = SPECTROGRAM) -> None:
        self._window_frames, self._hop, self._frame_seconds = window_frames, hop, front_end.frame_seconds
        self._held = np.zeros((0, front_end.values), np.float32)
        self._start = first_frame  # the frame of the stream at which `_held` begins

    def process(self, frames: Frames) -> tuple[npt.NDArray[np.float32], list[tuple[float, float]]]:
        """Take the next frames, shape [frames, values].

        Returns:
            The windows that they complete, shape [windows, window_frames, values], and the start and end of each window
            in seconds.
        """
        held = np.concatenate((self._held, frames))
        windows = sliding_windows(held, self._window_frames, self._hop)
        starts = [self._start + index * self._hop for index in range(len(windows))]
        seconds = self._frame_seconds
        times = [(at * seconds, (at + self._window_frames) * seconds) for at in starts]
        self._held = held[len(windows) * self._hop :]
        self._start += len(windows) * self._hop
        return windows, times


def clip_frames(source: Source, window_frames: int, front_end: FrontEnd) -> Iterator[Frames]:
    """A clip's frames, in constant memory; a clip shorter than one window is padded with silence on both sides."""
    stream = front_end.stream(source.sample_rate, silence_before=False)
    needed = math.ceil(front_end.seconds_of(window_frames) * source.sample_rate)
    chunks = iter(source)
    start = np.zeros(0, np.float32)
    while len(start) < needed and (chunk := next(chunks, None)) is not None:
        start = np.concatenate((start, chunk))
    missing = max(0, needed - len(start))
    yield stream.process(np.pad(start, (missing // 2, missing - missing // 2)))
    for chunk in chunks:
        yield stream.process(chunk)
    yield stream.finish()


def loudest_window(blocks: Iterable[Frames], window_frames: int, front_end: FrontEnd) -> Frames:
    """The window whose middle holds most of the clip's power, shape [window_frames, values], in constant memory.

    The frames' powers are weighted by a Hann window, so that the loudest part lies in the middle.

    Args:
        blocks: blocks of frames; together at least one window.
    """
    held = np.zeros((0, front_end.values), np.float32)
    best, most = held, -1.0
    for frames in blocks:
        held = np.concatenate((held, frames))
        if len(held) < window_frames:
            continue
        loudness = window_loudness(held, window_frames, front_end)
        at = int(loudness.argmax())
        if loudness[at] > most:
            best, most = held[at : at + window_frames].copy(), float(loudness[at])
        held = held[len(loudness) :]
    return best


def window_loudness(frames: Frames, window_frames: int, front_end: FrontEnd) -> npt.NDArray[np.float64]:
    """How loud each window is: its frames' powers, weighted by a Hann window, shape [windows]."""
    return np.correlate(front_end.power(frames), np.hanning(window_frames + 2)[1:-1], "valid")


def window_amplitudes(windows: npt.NDArray[np.float32], front_end: FrontEnd) -> npt.NDArray[np.float64]:
    """The amplitude of each window [windows, window_frames, values], shape [windows]; of silence not quite 0."""
    power = np.array([front_end.power(window).mean() for window in windows])
    amplitudes: npt.NDArray[np.float64] = np.sqrt(power) + SILENT_AMPLITUDE
    return amplitudes


class _StreamingWaveform:
    def __init__(self, sample_rate: int, front_end: WaveformFrontEnd) -> None:
        self._resampler = Resampler(sample_rate, front_end.sample_rate)
        self._hop = front_end.values
        self._held = np.zeros(0, np.float32)

    def process(self, chunk: Samples) -> Frames:
        return self._frames(self._resampler.process(chunk))

    def finish(self) -> Frames:
        return self._frames(self._resampler.finish())

    def _frames(self, samples: Samples) -> Frames:
        held = np.concatenate((self._held, samples))
        count = len(held) // self._hop
        self._held = held[count * self._hop :]
        return held[: count * self._hop].reshape(count, self._hop)
