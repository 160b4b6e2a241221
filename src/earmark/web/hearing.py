"""A recognizer at work on one of a server's streams: every window's scores, or detections alone, as they go."""

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
    """What one stream is heard by. It tells of each detection while it goes on, not at its end alone.

    Args:
        scoring: the thread that scores, for other streams, too.
        decisions: what makes detections of the scores; None for scores alone.
        tell: called when a detection begins, grows or ends, with how far it has come, whether it is a new one, and
            whether it has ended.
    """

    def __init__(self, scoring: ScoringThread, decisions: Decisions | None, tell: Tell) -> None:
        self._scoring, self._decisions, self._tell = scoring, decisions, tell
        self._told: Detection | None = None  # the open detection, as it was told last

    @abstractmethod
    async def process(self, frames: Frames) -> list[ScoredWindow]:
        """The next frames, shape [frames, values]; returns the windows that they complete, if these are wanted."""

    @abstractmethod
    def finish(self) -> None:
        """Tell of the detections that the end of the stream or of the listening ends."""

    def _tell_of(self, ended: Iterable[Detection]) -> None:
        """Tell of those that have ended, and of the one that is open now."""
        for detection in ended:
            self._tell(detection, self._told is None, True)
            self._told = None
        coming = None if self._decisions is None else self._decisions.open
        if coming is not None and coming != self._told:
            self._tell(coming, self._told is None, False)
            self._told = coming


class ScoreHearing(Hearing):
    """Scores every window, in one run of the network with those of other streams.

    Args:
        scoring, decisions, tell: see `Hearing`.
        recognizer: whose network scores.
        overlap_factor: see `Recognizer.stream`.
        first_frame: where in the stream the first frame lies, counted in frames.

    Raises:
        EarmarkError: the overlap is out of its range.
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
        """The next frames; returns the windows that they complete, scored: none if it was finished meanwhile."""
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
    """Finds detections alone, and scores no more windows than they take; see `Detector`.

    Args:
        scoring, recognizer, decisions, tell, overlap_factor: see `ScoreHearing`.

    Raises:
        EarmarkError: the overlap is out of its range.
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
        """The next frames; returns nothing."""
        if len(frames):
            self._tell_of(await self._scoring.run(lambda: self._detector.process(frames)))
        return []

    def finish(self) -> None:
        self._tell_of(self._detector.finish())
