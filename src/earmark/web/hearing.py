"""A recognizer at work on one of a server's streams: every window's scores, or detections alone, as they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from earmark.front_end.frames import Frames
from earmark.recognizer.decisions import Decisions, Detection, ScoredWindow
from earmark.recognizer.detecting import Detector
from earmark.recognizer.recognizer import Recognizer
from earmark.recognizer.scoring import StreamScorer
from earmark.web.batching import Scorer

Tell = Callable[[Detection, bool, bool], None]


class Teller:
    """Tells of detections as they go.

    Args:
        decisions: what makes them.
        tell: called when a detection begins, grows or ends, with how far it has come, whether it is a new one, and
            whether it has ended.
    """

    def __init__(self, decisions: Decisions, tell: Tell) -> None:
        self._decisions, self._tell = decisions, tell
        self._told: Detection | None = None  # the open detection, as it was told last

    def tell(self, ended: Iterable[Detection]) -> None:
        """Tell of those that have ended, and of the one that is open now."""
        for detection in ended:
            self._tell(detection, self._told is None, True)
            self._told = None
        coming = self._decisions.open
        if coming is not None and coming != self._told:
            self._tell(coming, self._told is None, False)
            self._told = coming


class Hearing:
    """Scores every window of a stream, among those of other streams.

    Args:
        scorer: what scores them.
        recognizer: whose network does.
        decisions: what makes detections of the scores; None for scores alone.
        tell: see `Teller`.
        overlap_factor: see `Recognizer.stream`.
        first_frame: where in the stream the first frame lies, counted in frames.

    Raises:
        EarmarkError: the overlap is out of its range.
    """

    def __init__(
        self,
        scorer: Scorer,
        recognizer: Recognizer,
        decisions: Decisions | None,
        tell: Tell,
        *,
        overlap_factor: float | None = None,
        first_frame: float = 0,
    ) -> None:
        self.recognizer, self.decisions = recognizer, decisions
        self._scorer = scorer
        self._stream = StreamScorer(recognizer, overlap_factor, first_frame=first_frame)
        self._teller = None if decisions is None else Teller(decisions, tell)
        self._has_finished = False

    async def process(self, frames: Frames) -> list[ScoredWindow]:
        """The next frames, shape [frames, values]; returns the windows that they complete, scored.

        What was finished meanwhile returns none.
        """
        windows, times = self._stream.cut(frames)
        if not times:
            return []
        scores = await self._scorer.score(self.recognizer, windows)
        if self._has_finished:
            return []
        scored = [ScoredWindow(row, start, end) for row, (start, end) in zip(scores, times, strict=True)]
        if self.decisions is not None and self._teller is not None:
            self._teller.tell(self.decisions.process(scored))
        return scored

    def finish(self) -> None:
        """Tell of the detections that the end of the listening ends."""
        self._has_finished = True
        if self.decisions is not None and self._teller is not None:
            self._teller.tell(self.decisions.finish())


class Watching:
    """The same for detections alone: it scores no more windows than they take; see `Detector`.

    Args:
        scorer, recognizer, decisions, tell, overlap_factor: see `Hearing`.

    Raises:
        EarmarkError: the overlap is out of its range.
    """

    def __init__(
        self,
        scorer: Scorer,
        recognizer: Recognizer,
        decisions: Decisions,
        tell: Tell,
        *,
        overlap_factor: float | None = None,
    ) -> None:
        self._scorer, self._teller = scorer, Teller(decisions, tell)
        self._detector = Detector(recognizer, decisions, overlap_factor)

    async def process(self, frames: Frames) -> list[ScoredWindow]:
        """The next frames, shape [frames, values]; returns nothing."""
        if len(frames):
            self._teller.tell(await self._scorer.run(lambda: self._detector.process(frames)))
        return []

    def finish(self) -> None:
        """Tell of the detections that the stream's end ends."""
        self._teller.tell(self._detector.finish())
