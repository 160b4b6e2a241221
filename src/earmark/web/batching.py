"""One thread scores many streams: windows that are due together go through the network in one batch.

A window costs less in a batch than alone, and its scores are the same. While the network runs, the event loop goes on
and further windows queue up. Once the network is free, it takes what has queued, in order of arrival. So batches form
by themselves: one window on an idle machine, many on a busy one.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from earmark.recognizer.recognizer import Recognizer
from earmark.web.metrics import Metrics

MOST_WINDOWS = 32  # per batch: a larger one makes no window cheaper, and the first windows wait for the last

Array = npt.NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class _Windows:
    """Windows of one stream that wait for their scores, shape [windows, frames, values]."""

    recognizer: Recognizer
    windows: Array
    scores: asyncio.Future[Array]


@dataclass(frozen=True)
class _Call:
    """A function to run on the scoring thread, in turn with the windows."""

    function: Callable[[], Any]
    result: asyncio.Future[Any]


class ScoringThread:
    """The thread that scores all of a server's streams. It starts with the first piece of work.

    Args:
        metrics: where batches are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: queue.SimpleQueue[_Windows | _Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def score(self, recognizer: Recognizer, windows: Array) -> Array:
        """Score windows as `Recognizer.score_windows` does.

        Args:
            recognizer: whose network scores.
            windows: shape [windows, *input_shape]; don't change them before the scores are in.
        """
        scores: asyncio.Future[Array] = asyncio.get_running_loop().create_future()
        self._put(_Windows(recognizer, windows, scores))
        return await scores

    async def run(self, function: Callable[[], T]) -> T:
        """Call a function on the scoring thread and return its result. Use it for work that would block the event loop.

        All scoring waits meanwhile, so the function must be short: a few milliseconds.
        """
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(_Call(function, result))
        return cast(T, await result)

    def stop(self) -> None:
        """End the thread. Work still in the queue is never done."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _put(self, work: _Windows | _Call) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="earmark-scorer", daemon=True)
            self._thread.start()
        self._waiting.put(work)

    def _work(self) -> None:
        while True:
            taken = self._take()
            batches: dict[int, list[_Windows]] = {}  # one per network
            for work in taken:
                if isinstance(work, _Windows):
                    batches.setdefault(id(work.recognizer), []).append(work)
            for batch in batches.values():
                self._score(batch)
            last = taken[-1]
            if last is None:
                return
            if isinstance(last, _Call):
                _settle([last.result], lambda: [last.function()])  # noqa: B023 (it is called at once)

    def _take(self) -> list[_Windows | _Call | None]:
        """Wait for work, then take what is queued: up to a batch of windows, then at most one call or the end mark."""
        taken = [self._waiting.get()]
        count = 0
        while isinstance(taken[-1], _Windows):
            count += len(taken[-1].windows)
            if count >= MOST_WINDOWS:
                break
            try:
                taken.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return taken

    def _score(self, batch: list[_Windows]) -> None:
        windows = batch[0].windows if len(batch) == 1 else np.concatenate([one.windows for one in batch])
        ends = np.cumsum([len(one.windows) for one in batch])[:-1]
        recognizer = batch[0].recognizer

        def scores() -> Sequence[Array]:
            scored = recognizer.score_windows(windows)
            self._metrics.windows.inc(len(windows))
            self._metrics.batches.observe(len(windows))
            return np.split(scored, ends)

        _settle([one.scores for one in batch], scores)


def _settle(futures: list[asyncio.Future[Any]], function: Callable[[], Sequence[Any]]) -> None:
    """Settle the futures, all of one event loop: each gets its result of the function, or the function's error."""
    try:
        results, error = function(), None
    except Exception as raised:
        results, error = [None] * len(futures), raised

    def tell() -> None:
        for future, result in zip(futures, results, strict=True):
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        futures[0].get_loop().call_soon_threadsafe(tell)
