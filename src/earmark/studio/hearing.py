"""A recognizer at work for one page: scores of every window and, where a threshold is given, detections as they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from earmark.audio import Samples
from earmark.front_end import SPECTROGRAM, StreamingFrames
from earmark.recognizer import Listener, Recognizer
from earmark.spectrogram import Spectrogram
from earmark.streaming import Decisions, Detection, ScoredWindow

Tell = Callable[[Detection, bool, bool], None]


class Hearing:
    """What one page hears by one model, from the moment it began to listen.

    Args:
        model: what the protocol calls it.
        recognizer: whose network scores the windows.
        probability_threshold: see `Decisions`; None for scores without detections.
        tell: called when a detection begins, grows or ends, with how far it has come, whether it is a new one, and
            whether it has ended.
        sample_rate: of the sound, in Hz.
        first_frame: how many frames of the spectrogram, and
        seconds: how much sound the stream had before this.

    Raises:
        EarmarkError: the threshold is out of its range.
    """

    def __init__(
        self,
        model: str,
        recognizer: Recognizer,
        probability_threshold: float | None,
        tell: Tell,
        *,
        sample_rate: int,
        first_frame: int = 0,
        seconds: float = 0.0,
    ) -> None:
        self.model, self.recognizer = model, recognizer
        front_end = recognizer.front_end
        self._own_frames: StreamingFrames | None = None  # where the network hears other ones than the page shows
        start: float = first_frame
        if front_end is not SPECTROGRAM:
            self._own_frames = front_end.stream(sample_rate)
            start = seconds / front_end.frame_seconds
        self._listener = Listener(recognizer, first_frame=start)
        self._decisions: Decisions | None = None
        if probability_threshold is not None:
            self._decisions = recognizer.decisions(probability_threshold)
        self._tell = tell
        self._told: Detection | None = None  # the open detection, as it was told last

    @property
    def probability_threshold(self) -> float | None:
        """What a score must reach; setting it does nothing where detections weren't asked for."""
        return None if self._decisions is None else self._decisions.probability_threshold

    @probability_threshold.setter
    def probability_threshold(self, value: float) -> None:
        if self._decisions is not None:
            self._decisions.probability_threshold = value

    def process(self, frames: Spectrogram, samples: Samples) -> list[ScoredWindow]:
        """The next sound, as samples and as the frames that they completed, shape [frames, bins].

        Returns:
            The windows that it completes, scored.
        """
        if self._own_frames is not None:
            frames = self._own_frames.process(samples)
        windows = self._listener.process(frames)
        if self._decisions is not None and windows:
            self._tell_ended(self._decisions.process(windows))
            self._tell_open(self._decisions.open)
        return windows

    def finish(self) -> None:
        """Tell of the detections that the end of the listening ends."""
        if self._decisions is not None:
            self._tell_ended(self._decisions.finish())

    def _tell_ended(self, detections: Iterable[Detection]) -> None:
        for detection in detections:
            self._tell(detection, self._told is None, True)
            self._told = None

    def _tell_open(self, detection: Detection | None) -> None:
        if detection is not None and detection != self._told:
            self._tell(detection, self._told is None, False)
            self._told = detection
