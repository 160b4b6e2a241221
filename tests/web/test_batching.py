"""The thread that scores: batches as they form, each stream's own scores, and errors where they belong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

import earmark
from earmark.errors import EarmarkError
from earmark.web.batching import MOST_WINDOWS, ScoringThread
from earmark.web.metrics import Metrics
from tests.bands import band_model


def windows_of(recognizer: earmark.Recognizer, count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (10 * random.standard_normal((count, *recognizer.input_shape)) - 80).astype(np.float32)


def with_scoring(use: Callable[[ScoringThread], Awaitable[None]]) -> dict[str, float]:
    """Run that, and return what was counted."""
    metrics = Metrics()

    async def run() -> None:
        scoring = ScoringThread(metrics)
        try:
            await use(scoring)
        finally:
            scoring.stop()

    asyncio.run(run())
    text = bytes(metrics.response().body).decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def hold(scoring: ScoringThread, until: threading.Event) -> asyncio.Task[bool]:
    """Keep the thread busy, so that what is asked for next waits."""
    started = threading.Event()

    def wait() -> bool:
        started.set()
        return until.wait(60)

    task = asyncio.create_task(scoring.run(wait))
    while not started.is_set():
        await asyncio.sleep(0.001)
    return task


def test_windows_that_wait_together_are_scored_together(words: earmark.Recognizer) -> None:
    windows = windows_of(words, 200)
    expected = [words.score_windows(windows[number : number + 1])[0] for number in range(200)]

    async def use(scoring: ScoringThread) -> None:
        go = threading.Event()
        holding = await hold(scoring, go)
        asked = [asyncio.create_task(scoring.score(words, window[np.newaxis])) for window in windows]
        await asyncio.sleep(0)  # each has asked
        go.set()
        assert np.array_equal(np.concatenate(await asyncio.gather(*asked)), expected)
        await holding

    counted = with_scoring(use)
    assert counted["earmark_windows_scored_total"] == 200
    assert counted["earmark_batch_windows_count"] == -(-200 // MOST_WINDOWS)
    assert counted['earmark_batch_windows_bucket{le="16.0"}'] == (200 % MOST_WINDOWS <= 16)


def test_each_network_scores_its_own(words: earmark.Recognizer) -> None:
    bands = earmark.Recognizer(band_model())
    assert bands.input_shape == words.input_shape

    async def use(scoring: ScoringThread) -> None:
        go = threading.Event()
        holding = await hold(scoring, go)
        recognizers = [words, bands] * 5
        windows = [windows_of(words, 1 + number % 3, number) for number in range(10)]
        asked = [scoring.score(one, some) for one, some in zip(recognizers, windows, strict=True)]
        gathered = asyncio.gather(*asked)
        await asyncio.sleep(0)
        go.set()
        for one, some, scores in zip(recognizers, windows, await gathered, strict=True):
            np.testing.assert_array_equal(scores, one.score_windows(some))
        await holding

    assert with_scoring(use)["earmark_batch_windows_count"] == 2


def test_an_error_is_its_askers_alone(words: earmark.Recognizer) -> None:
    def fail() -> None:
        raise EarmarkError("No.")

    async def use(scoring: ScoringThread) -> None:
        window = windows_of(words, 1)
        wrong = asyncio.create_task(scoring.score(words, window[:, :5]))
        with pytest.raises(Exception, match="dimension"):
            await wrong
        with pytest.raises(EarmarkError, match="No"):
            await scoring.run(fail)
        given_up = asyncio.create_task(scoring.score(words, window))
        await asyncio.sleep(0)
        given_up.cancel()
        assert np.array_equal(await scoring.score(words, window), words.score_windows(window))

    with_scoring(use)
