"""A recognizer at work on one of a server's streams: the scores of every window, or detections alone, as they come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from earmark.front_end.frames import Frames
from earmark.recognizer.decisions import Decisions, Detection, ScoredWindow
from earmark.recognizer.detecting import Detector
from earmark.recognizer.recognizer import Recognizer
from earmark.recognizer.scoring import StreamScorer
from earmark.web.batching import ScoringThread

Tell = Callable[[Detection, bool, bool], None]


class Hearing(ABC):
    """Recognition on one stream. It reports a detection while it goes on, not only at its end.

    Args:
        scoring: the scoring thread, shared with other streams.
        decisions: turns scores into detections; None for scores alone.
        tell: called when a detection begins, grows or ends. It gets the detection so far, whether it is new, and
            whether it has ended.
    """

    def __init__(self, scoring: ScoringThread, decisions: Decisions | None, tell: Tell) -> None:
        self._scoring, self._decisions, self._tell = scoring, decisions, tell
        self._told: Detection | None = None  # the open detection, as last reported

    @abstractmethod
    async def process(self, frames: Frames) -> list[ScoredWindow]:
        """Process the next frames, shape [frames, values].

        Returns:
            The windows that they complete, if scores are wanted.
        """

    @abstractmethod
    def finish(self) -> None:
        """End the stream, or the listening, and report the detections that end with it."""

    def _tell_of(self, ended: Iterable[Detection]) -> None:
        """Report the detections that have ended, and the one that is open now."""
        for detection in ended:
            self._tell(detection, self._told is None, True)
            self._told = None
        coming = None if self._decisions is None else self._decisions.open
        if coming is not None and coming != self._told:
            self._tell(coming, self._told is None, False)
            self._told = coming


class ScoreHearing(Hearing):
    """Scores every window, batched with those of other streams.

    Args:
        scoring, decisions, tell: see `Hearing`.
        recognizer: whose network scores.
        overlap_factor: see `Recognizer.stream`.
        first_frame: the position of the first frame in the stream, in frames.

    Raises:
        EarmarkError: the overlap factor is out of range.
    """

    def __init__(
        self,
        scoring: ScoringThread,
        recognizer: Recognizer,
        decisions: Decisions | None,
        tell: Tell,
        *,
        overlap_factor: float | None = None,
        first_frame: float = 0,
    ) -> None:
        super().__init__(scoring, decisions, tell)
        self._recognizer = recognizer
        self._stream = StreamScorer(recognizer, overlap_factor, first_frame=first_frame)
        self._has_finished = False

    async def process(self, frames: Frames) -> list[ScoredWindow]:
        """Process the next frames, shape [frames, values].

        Returns:
            The windows that they complete, scored. If `finish` was called meanwhile, there are none.
        """
        windows, times = self._stream.cut(frames)
        if not times:
            return []
        scores = await self._scoring.score(self._recognizer, windows)
        if self._has_finished:
            return []
        scored = [ScoredWindow(row, start, end) for row, (start, end) in zip(scores, times, strict=True)]
        if self._decisions is not None:
            self._tell_of(self._decisions.process(scored))
        return scored

    def finish(self) -> None:
        self._has_finished = True
        if self._decisions is not None:
            self._tell_of(self._decisions.finish())


class DetectionHearing(Hearing):
    """Finds detections alone, and scores only the windows that this needs; see `Detector`.

    Args:
        scoring, recognizer, decisions, tell, overlap_factor: see `ScoreHearing`.

    Raises:
        EarmarkError: the overlap factor is out of range.
    """

    def __init__(
        self,
        scoring: ScoringThread,
        recognizer: Recognizer,
        decisions: Decisions,
        tell: Tell,
        *,
        overlap_factor: float | None = None,
    ) -> None:
        super().__init__(scoring, decisions, tell)
        self._detector = Detector(recognizer, decisions, overlap_factor)

    async def process(self, frames: Frames) -> list[ScoredWindow]:
        """Process the next frames, shape [frames, values]. The returned list is always empty."""
        if len(frames):
            self._tell_of(await self._scoring.run(lambda: self._detector.process(frames)))
        return []

    def finish(self) -> None:
        self._tell_of(self._detector.finish())
