"""A page's live sound: the spectrogram that the page shows, and the scores and detections of its model."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Samples
from earmark.front_end.spectrogram import Spectrogram, StreamingSpectrogram
from earmark.recognizer.decisions import Detection, ScoredWindow, as_dict
from earmark.recognizer.recognizer import Recognizer
from earmark.studio.page_hearing import PageHearing
from earmark.web.batching import ScoringThread
from earmark.web.limits import Allowance
from earmark.web.session import ProtocolError

HEARD_HEADER = struct.Struct("<IfHHHxx")  # first frame's index, peak level, counts of frames, windows and labels
WINDOW_HEADER = struct.Struct("<dd")  # a window's end in the stream (s), and when it was captured (ms since 1970)
PICTURE_FLOOR, PICTURE_RANGE = -120.0, 100.0  # dB: the level of a picture's byte 0, and what its 255 steps span
# How much live sound a page may send. It comes in real time, except for sound that a busy network has held up.
SOUND_RATE, SOUND_AT_ONCE = 2.0, 180.0  # seconds of sound per second, and at once


class LiveSound:
    """One page's live sound, in numbered chunks.

    Args:
        scoring: the thread that scores windows.
        send: queues a message for the page.

    Attributes:
        sample_rate: the sound's sample rate in Hz; 0 until the page has sent it.
    """

    def __init__(self, scoring: ScoringThread, send: Callable[[dict[str, Any] | bytes], None]) -> None:
        self._scoring, self._send = scoring, send
        self.sample_rate = 0
        self._front_end: StreamingSpectrogram | None = None
        self._next = 0  # number of the next chunk
        self._shown = 0  # frames since the page connected
        self._frames = 0  # frames since the stream last restarted
        self._seconds = 0.0  # seconds of sound since the stream last restarted
        self._began = 0.0  # when the first sample since then was captured, in ms since 1970
        self._hearing: PageHearing | None = None
        self._detections = 0  # detections reported since the page connected
        self._allowance = Allowance(SOUND_RATE, SOUND_AT_ONCE)

    def begin(self, sample_rate: int, number: int) -> None:
        """Start the stream, or restart it, with the chunk of this number."""
        self.sample_rate, self._next = sample_rate, number
        self._restart()

    def listen(self, model: str, recognizer: Recognizer, threshold: float | None) -> None:
        """Start listening.

        Args:
            model: the model's name in the protocol.
            recognizer: what to listen with.
            threshold: the `probability_threshold` of `PageHearing`.

        Raises:
            EarmarkError: the threshold is out of range.
        """
        self._hearing = PageHearing(
            model, self._scoring, recognizer, threshold, self._tell_detection,
            sample_rate=self.sample_rate, first_frame=self._frames, seconds=self._seconds,
        )  # fmt: skip

    def stop_listening(self) -> None:
        """Stop listening, and report the detections that end with it."""
        if self._hearing is not None:
            self._hearing.finish()
        self._hearing = None

    def tell_listening(self, model: str, recognizer: Recognizer | None) -> None:
        """Tell the page whether it is listening now.

        Args:
            model, recognizer: what the page asked for, even if it isn't listening.
        """
        labels = list(recognizer.labels) if recognizer else []
        self._send({"type": "listening", "on": self._hearing is not None, "model": model, "labels": labels})

    def replace(self, model: str, recognizer: Recognizer | None) -> None:
        """If the page listens with this model, listen with this recognizer from now on. Stop if there is none."""
        if self._hearing is not None and self._hearing.model == model:
            threshold = self._hearing.probability_threshold
            self.stop_listening()
            if recognizer is not None:
                self.listen(model, recognizer, threshold)
            self.tell_listening(model, recognizer)

    def change_threshold(self, value: float) -> None:
        """Change the probability threshold. This does nothing if the page isn't listening any more.

        Raises:
            EarmarkError: the threshold is out of range.
        """
        if self._hearing is not None:
            self._hearing.probability_threshold = value

    def is_new(self, number: int) -> bool:
        """Whether this chunk belongs to the live stream. If not, it was resent for a recording."""
        return number >= self._next

    async def process(self, number: int, samples: Samples, captured: float) -> list[ScoredWindow]:
        """Process the stream's next chunk, and send the page what to show of it.

        Args:
            number: the chunk's number.
            samples: the chunk's sound, shape [samples].
            captured: when its last sample was captured, in ms since 1970.

        Returns:
            The windows that it completes, scored.

        Raises:
            ProtocolError: sound comes faster than it can have been captured.
        """
        if self._allowance.take(len(samples) / self.sample_rate):
            raise ProtocolError("Sound comes faster than it lasts.")
        if number > self._next:
            self._restart()
        self._next = number + 1
        assert self._front_end is not None
        frames = self._front_end.process(samples)
        self._seconds += len(samples) / self.sample_rate
        self._began = captured - 1000 * self._seconds
        # Count frames before awaiting the scores: another model may take over meanwhile, starting after these frames.
        first = self._shown
        self._frames += len(frames)
        self._shown += len(frames)
        windows = await self._hearing.process(frames, samples) if self._hearing is not None else []
        if len(frames) or windows:
            self._send(self._heard(first, frames, samples, windows))
        return windows

    def free(self) -> None:
        """Release large objects at once by breaking a reference cycle: the recognition holds this object's callback.

        Garbage collection would free it only minutes later on a busy server.
        """
        self._front_end = self._hearing = None

    def _restart(self) -> None:
        """Restart after a gap, as no frame may span it."""
        self._front_end = StreamingSpectrogram(self.sample_rate)
        hearing = self._hearing
        self.stop_listening()
        self._frames, self._seconds = 0, 0.0
        if hearing is not None:
            self.listen(hearing.model, hearing.recognizer, hearing.probability_threshold)

    def _tell_detection(self, detection: Detection, is_new: bool, has_ended: bool) -> None:
        self._detections += is_new
        told = {"type": "detection", "detection": self._detections, **as_dict(detection), "ended": has_ended}
        self._send({**told, "captured": self._captured(detection.end)})

    def _captured(self, seconds: float) -> float:
        """When this position in the stream, in seconds, was captured, in ms since 1970."""
        return self._began + 1000 * seconds

    def _heard(self, first: int, frames: Spectrogram, samples: Samples, windows: list[ScoredWindow]) -> bytes:
        """Pack what the page shows of a chunk into one message. At 43 chunks per second, every message counts."""
        peak = 20 * math.log10(max(float(np.abs(samples).max(initial=0)), 1e-8))
        labels = len(windows[0].scores) if windows else 0
        parts = [HEARD_HEADER.pack(first & 0xFFFFFFFF, peak, len(frames), len(windows), labels)]
        for window in windows:
            parts.append(WINDOW_HEADER.pack(window.end, self._captured(window.end)))
            parts.append(window.scores.astype("<f4").tobytes())
        return b"".join([*parts, picture(frames).tobytes()])


def picture(frames: Spectrogram) -> npt.NDArray[np.uint8]:
    """Scale frames to the bytes of a picture: −120 dB is 0, and −20 dB is 255."""
    scaled = (frames - np.float32(PICTURE_FLOOR)) * np.float32(255 / PICTURE_RANGE)
    return scaled.clip(0, 255).astype(np.uint8)
