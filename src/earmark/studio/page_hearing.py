"""A page's recognizer at work, on the frames that the page shows or on frames of its own front end."""

from __future__ import annotations

from earmark.audio.clip import Samples
from earmark.front_end.frames import SPECTROGRAM, StreamingFrames
from earmark.front_end.spectrogram import Spectrogram
from earmark.recognizer.decisions import ScoredWindow
from earmark.recognizer.recognizer import Recognizer
from earmark.web.batching import ScoringThread
from earmark.web.hearing import ScoreHearing, Tell


class PageHearing:
    """One page's recognition with one model, from the moment it starts to listen.

    Args:
        model: the model's name in the protocol.
        scoring: the thread that scores the windows.
        recognizer: the recognizer whose network scores.
        probability_threshold: see `Decisions`; None for scores without detections.
        tell: see `web.hearing.Hearing`.
        sample_rate: the sound's sample rate in Hz.
        first_frame: how many frames of the spectrogram the stream had before.
        seconds: how many seconds of sound the stream had before.

    Raises:
        EarmarkError: the threshold is out of range.
    """

    def __init__(
        self,
        model: str,
        scoring: ScoringThread,
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
        self._own_frames: StreamingFrames | None = None  # if the network takes other frames than the page shows
        start: float = first_frame
        if front_end is not SPECTROGRAM:
            self._own_frames = front_end.stream(sample_rate)
            start = seconds / front_end.frame_seconds
        self._decisions = None if probability_threshold is None else recognizer.decisions(probability_threshold)
        self._hearing = ScoreHearing(scoring, recognizer, self._decisions, tell, first_frame=start)

    @property
    def probability_threshold(self) -> float | None:
        """What a score must reach for a detection. Without detections it is None, and setting it does nothing."""
        return None if self._decisions is None else self._decisions.probability_threshold

    @probability_threshold.setter
    def probability_threshold(self, value: float) -> None:
        if self._decisions is not None:
            self._decisions.probability_threshold = value

    async def process(self, frames: Spectrogram, samples: Samples) -> list[ScoredWindow]:
        """Process the next sound.

        Args:
            frames: the frames that the samples complete, shape [frames, bins].
            samples: the sound itself, shape [samples].

        Returns:
            The windows that it completes, scored. If the listening has ended meanwhile, there are none.
        """
        if self._own_frames is not None:
            frames = self._own_frames.process(samples)
        return await self._hearing.process(frames)

    def finish(self) -> None:
        """End the listening, and report the detections that end with it."""
        self._hearing.finish()
