"""Detections in a stream, from as few scores as possible.

A detection begins where `min_agreeing_windows` successive windows agree. So one window among them that can't be part of
a beginning rules out all of them, as one letter that doesn't fit rules out a word in a text (Boyer and Moore 1977,
"A fast string searching algorithm"). While nothing is heard, the network scores every fifth window of a stream of
words. What is detected, and when, is exactly what scoring every window would give.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from earmark.audio.sound_file import CutOffError
from earmark.front_end.frames import Frames, Windows
from earmark.models.network import BATCH
from earmark.recognizer.decisions import Decisions, Detection, ScoredWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from earmark.recognizer.scoring import Classifier

AHEAD = 4  # windows scored at once while a sound goes on: few of them are wasted when it ends


@dataclass
class _Pending:
    """A window that hasn't been decided on yet, shape [frames, values], and its scores if they were needed."""

    window: Frames
    start: float
    end: float
    scored: ScoredWindow | None = None


class Detector:
    """Takes frames as they come and returns each detection when its sound has ended.

    Args:
        recognizer: the recognizer whose network scores the windows.
        decisions: the stage that turns scores into detections; `Recognizer.decisions` gives one.
        overlap_factor: see `Recognizer.stream`.
        include_spectrogram, include_embedding: whether detections include these.

    Raises:
        EarmarkError: the overlap is out of range, or the model has no embedding.
    """

    def __init__(
        self,
        recognizer: Classifier,
        decisions: Decisions,
        overlap_factor: float | None = None,
        *,
        include_spectrogram: bool = False,
        include_embedding: bool = False,
    ) -> None:
        if include_embedding:
            recognizer.check_embedding()
        self.front_end = recognizer.front_end
        self._recognizer, self._decisions = recognizer, decisions
        self._include_spectrogram, self._include_embedding = include_spectrogram, include_embedding
        hop = recognizer.hop_frames(overlap_factor)
        self._windows = Windows(recognizer.metadata.window_frames, hop, front_end=self.front_end)
        # If every window's score is needed anyway, windows are scored as they come.
        self._ahead = AHEAD if decisions.smoothing_windows == 1 else BATCH
        self._pending: deque[_Pending] = deque()

    def process(self, frames: Frames) -> list[Detection]:
        """Take the next frames, shape [frames, values]; return the detections that ended with them."""
        windows, times = self._windows.process(frames)
        self._pending.extend(_Pending(window, *seconds) for window, seconds in zip(windows, times, strict=True))
        ended = []
        while self._pending:
            needed = self._decisions.needed
            if needed == 0:
                if self._pending[0].scored is None:
                    self._score(range(min(self._ahead, len(self._pending))))
            elif (refuted := self._refute(needed)) is None:
                break
            elif refuted:
                for _ in range(refuted):
                    self._pending.popleft()
                self._decisions.skip()
                continue
            scored = self._pending.popleft().scored
            assert scored is not None
            ended += self._decisions.process([scored])
        return ended

    def finish(self) -> list[Detection]:
        """The detections that end with the stream. The windows still held are too few for another one to begin."""
        self._pending.clear()
        return self._decisions.finish()

    def _refute(self, needed: int) -> int | None:
        """How many of the next windows can be ruled out as part of a beginning.

        0 if all of the next `needed` windows may be part of one, and have their scores; None while the last of these is
        still to come.
        """
        last = needed - 1
        known = min(needed, len(self._pending))
        if not (refuted := self._refuted(known)) and known == needed:
            # If this window isn't part of a beginning, the next one to score is the last of as many after it, and so
            # on. If a window that may be part of one was scored before, so were those after it.
            is_new = all(self._pending[at].scored is None for at in range(known))
            self._score(range(last, len(self._pending) if is_new else needed, self._decisions.min_agreeing_windows))
            if not (refuted := self._refuted(known)):
                self._score(range(last))
                refuted = self._refuted(known)
        return refuted if refuted or known == needed else None

    def _refuted(self, known: int) -> int:
        """How many windows, up to the last of the first `known` that has scores and is ruled out, can be skipped."""
        for at in reversed(range(known)):
            scored = self._pending[at].scored
            if scored is not None and not self._decisions.may_begin(scored.scores):
                return at + 1
        return 0

    def _score(self, which: Iterable[int]) -> None:
        """Score those of the pending windows that have no scores yet, all at once."""
        new = [window for window in map(self._pending.__getitem__, which) if window.scored is None]
        if not new:
            return
        results = self._recognizer.recognize_windows(
            np.stack([window.window for window in new]), self._include_spectrogram, self._include_embedding
        )
        for window, result in zip(new, results, strict=True):
            window.scored = ScoredWindow(result.scores, window.start, window.end, result.spectrogram, result.embedding)


def detect(detector: Detector, blocks: Iterable[Frames]) -> Iterator[Detection]:
    """The detections of a stream, to its end, from its frames in blocks of shape [frames, values].

    Raises:
        CutOffError: raised after the last detection: the stream is only the beginning of a recording.
    """
    try:
        for frames in blocks:
            yield from detector.process(frames)
    except CutOffError:
        yield from detector.finish()
        raise
    yield from detector.finish()
