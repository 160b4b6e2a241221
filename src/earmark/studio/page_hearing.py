"""What one page listens for: its recognizer at work on the frames that the page sees, or on frames of its own."""

from __future__ import annotations

from earmark.audio.clip import Samples
from earmark.front_end.frames import SPECTROGRAM, StreamingFrames
from earmark.front_end.spectrogram import Spectrogram
from earmark.recognizer.decisions import ScoredWindow
from earmark.recognizer.recognizer import Recognizer
from earmark.web.batching import ScoringThread
from earmark.web.hearing import ScoreHearing, Tell


class PageHearing:
    """What one page hears by one model, from the moment it began to listen.

    Args:
        model: what the protocol calls it.
        scoring: what scores the windows.
        recognizer: whose network does.
        probability_threshold: see `Decisions`; None for scores without detections.
        tell: see `web.hearing.Hearing`.
        sample_rate: of the sound, in Hz.
        first_frame: how many frames of the spectrogram, and
        seconds: how much sound the stream had before this.

    Raises:
        EarmarkError: the threshold is out of its range.
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
        self._own_frames: StreamingFrames | None = None  # where the network hears other ones than the page shows
        start: float = first_frame
        if front_end is not SPECTROGRAM:
            self._own_frames = front_end.stream(sample_rate)
            start = seconds / front_end.frame_seconds
        self._decisions = None if probability_threshold is None else recognizer.decisions(probability_threshold)
        self._hearing = ScoreHearing(scoring, recognizer, self._decisions, tell, first_frame=start)

    @property
    def probability_threshold(self) -> float | None:
        """What a score must reach; setting it does nothing where detections weren't asked for."""
        return None if self._decisions is None else self._decisions.probability_threshold

    @probability_threshold.setter
    def probability_threshold(self, value: float) -> None:
        if self._decisions is not None:
            self._decisions.probability_threshold = value

    async def process(self, frames: Spectrogram, samples: Samples) -> list[ScoredWindow]:
        """The next sound, as samples and as the frames that they completed, shape [frames, bins].

        Returns:
            The windows that it completes, scored; none if the listening ended meanwhile.
        """
        if self._own_frames is not None:
            frames = self._own_frames.process(samples)
        return await self._hearing.process(frames)

    def finish(self) -> None:
        """Tell of the detections that the end of the listening ends."""
        self._hearing.finish()
