"""Listening in its three forms, to real sources, by real recognizers."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import earmark
from earmark import Detection, EarmarkError, Recognizer, Source
from earmark.audio.clip import Samples
from earmark.audio.sources import PcmSource, open_source
from earmark.recognizer.decisions import Decisions
from earmark.recognizer.listening import Listening
from tests import bands
from tests.corpus import clip_rows, read_row

DEADLINE = 30.0  # seconds after which a test that waits has failed
SECONDS = 8
HEARD = ["low", "high"]


class Live(Source):
    """A stream that waits for what it is fed, as a microphone does."""

    sample_rate, name = bands.RATE, "the live stream"

    def __init__(self) -> None:
        self._chunks: queue.SimpleQueue[Samples | None] = queue.SimpleQueue()
        self.reading, self.closings = threading.Event(), 0

    def __iter__(self) -> Iterator[Samples]:
        self.reading.set()
        while (chunk := self._chunks.get(timeout=DEADLINE)) is not None:
            yield chunk

    def feed(self, samples: Samples) -> None:
        for chunk in np.split(samples, range(1_600, len(samples), 1_600)):
            self._chunks.put(chunk)

    def end(self) -> None:
        self._chunks.put(None)

    def close(self) -> None:
        self.closings += 1
        self.end()


class Broken(Live):
    """A stream that fails once it has been fed."""

    def __iter__(self) -> Iterator[Samples]:
        yield from super().__iter__()
        raise EarmarkError("The live stream broke off: plug it in again.")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(bands.band_model())


@pytest.fixture(scope="module")
def sound() -> Samples:
    return bands.room_with({2: bands.burst(bands.LOW, 0.6, 1), 5: bands.burst(bands.HIGH, 0.6, 2)}, SECONDS)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE)
        assert not thread.is_alive(), f"{thread.name} still runs"


@pytest.fixture
def uncaught(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What threads raised that nobody waited for."""
    seen: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_value))
    return seen


def detections(recognizer: Recognizer, source: Source) -> Iterator[Detection]:
    decisions = Decisions(recognizer.labels, smoothing_windows=5)
    for window in recognizer.stream(source):
        yield from decisions.process([window])
    yield from decisions.finish()


def listen(recognizer: Recognizer, source: Any, callback: Callable[[Detection], object] | None = None) -> Listening:
    opened = open_source(source, sample_rate=bands.RATE)
    return Listening(detections(recognizer, opened), opened, callback)


def goes_on(listening: Listening) -> bool:
    """As a function, so that mypy doesn't take it for settled."""
    return listening.is_listening


def labels(found: list[Detection]) -> list[str]:
    return [one.label for one in found]


# A loop


def test_a_loop_hears_arrays_files_and_pipes_alike(recognizer: Recognizer, sound: Samples, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound.wav", sound, bands.RATE, subtype="FLOAT")
    listening = listen(recognizer, sound)
    assert goes_on(listening)
    expected = list(listening)
    assert labels(expected) == HEARD
    assert not goes_on(listening)
    assert list(listening) == []
    assert list(listen(recognizer, tmp_path / "sound.wav")) == expected
    reader, writer = os.pipe()
    feeder = threading.Thread(target=write, args=(writer, sound.astype("<f4").tobytes()))
    feeder.start()
    with os.fdopen(reader, "rb") as pipe:
        assert list(listen(recognizer, PcmSource(pipe, bands.RATE, "f32le"))) == expected
    feeder.join()


def write(writer: int, data: bytes) -> None:
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(data)


def test_real_words_are_heard_in_all_three_forms(recordings: Path) -> None:
    words = earmark.load("words")
    rows = [row for row in clip_rows(recordings, "speech_commands") if row["split"] == "val" and row["word"] == "yes"]
    pause = bands.hiss(1.0, 1)
    said = np.concatenate(
        [pause] + [np.append(read_row(recordings, "speech_commands", row)[0], pause) for row in rows[:5]]
    )

    async def hear() -> list[Detection]:
        return [detection async for detection in listen(words, said)]

    called: list[Detection] = []
    assert listen(words, said, called.append).wait(DEADLINE)
    looped = list(listen(words, said))
    assert called == looped == asyncio.run(hear())
    assert labels(looped).count("yes") >= 3


def test_detections_come_while_the_stream_goes_on(recognizer: Recognizer, sound: Samples) -> None:
    live = Live()
    listening = listen(recognizer, live)
    live.feed(sound)  # and no end
    assert labels([next(listening), next(listening)]) == HEARD
    assert goes_on(listening)
    listening.stop()
    assert list(listening) == []


def test_a_loop_that_waits_ends_when_another_thread_stops_it(recognizer: Recognizer) -> None:
    live = Live()
    listening = listen(recognizer, live)
    found: list[Detection] = []
    loop = threading.Thread(target=lambda: found.extend(listening), daemon=True)
    loop.start()
    assert live.reading.wait(DEADLINE)
    listening.stop()
    loop.join(DEADLINE)
    assert not loop.is_alive()
    assert found == []
    assert not goes_on(listening)
    assert live.closings > 0


def test_what_is_being_heard_is_dropped_by_a_stop(recognizer: Recognizer, sound: Samples) -> None:
    assert labels(list(listen(recognizer, sound[: 3 * bands.RATE]))) == ["low"]  # the end of a stream isn't a stop
    live = Live()
    live.feed(sound)
    live.end()
    listening = listen(recognizer, live)
    assert next(listening).label == "low"
    listening.stop()
    assert next(listening, None) is None


def test_a_pipe_that_waits_is_stopped(recognizer: Recognizer) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb", buffering=0) as end:
        listening = listen(recognizer, PcmSource(pipe, bands.RATE, "f32le"), print)
        end.write(bands.hiss(2.0, 1).tobytes())  # and then nothing more
        listening.stop()
        assert listening.wait(DEADLINE)


def test_a_long_file_is_stopped_before_its_end(recognizer: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(7_200 * 1_000, np.int16), 1_000)  # two hours
    listening = listen(recognizer, tmp_path / "long.wav", print)
    listening.stop()
    assert listening.wait(DEADLINE)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs the timers of POSIX")
def test_a_signals_handler_may_stop_a_loop(recognizer: Recognizer, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(7_200 * 1_000, np.int16), 1_000)  # two hours
    listening = listen(recognizer, tmp_path / "long.wav")
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        listening.stop()
        stopped.append(number)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        assert list(listening) == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stopped == [signal.SIGALRM], "before the file's end"
    assert not goes_on(listening)


def test_every_source_ends_when_it_is_closed_while_it_is_read(sound: Samples, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound.wav", sound, bands.RATE)
    pcm = PcmSource(io.BytesIO(np.tile(sound, 4).astype("<f4").tobytes()), bands.RATE, "f32le")
    for source in (open_source(sound, sample_rate=bands.RATE), open_source(tmp_path / "sound.wav"), pcm):
        chunks = iter(source)
        assert len(next(chunks)) > 0
        source.close()
        assert next(chunks, None) is None
        source.close()
        with pytest.raises(EarmarkError, match="is closed: open it again"):
            list(source)


def test_a_failure_reaches_the_loop_and_ends_the_listening(recognizer: Recognizer, sound: Samples) -> None:
    broken = Broken()
    broken.feed(sound)
    broken.end()
    listening = listen(recognizer, broken)
    with pytest.raises(EarmarkError, match="broke off"):
        list(listening)
    assert not goes_on(listening)
    assert broken.closings > 0
    assert list(listening) == []


def test_a_source_that_fails_because_it_was_closed_has_just_ended(recognizer: Recognizer) -> None:
    broken = Broken()
    listening = listen(recognizer, broken, print)
    assert broken.reading.wait(DEADLINE)
    listening.stop()
    assert listening.wait(DEADLINE)


def test_a_with_block_closes_what_was_never_looped_over(recognizer: Recognizer) -> None:
    live = Live()
    with listen(recognizer, live) as listening:
        assert goes_on(listening)
    assert not goes_on(listening)
    assert live.closings > 0


def test_a_loop_that_is_given_up_lets_go_of_its_source(recognizer: Recognizer, sound: Samples) -> None:
    live = Live()
    live.feed(sound)
    for detection in listen(recognizer, live):
        assert detection.label == "low"
        break
    gc.collect()
    assert live.closings > 0


# A callback


def test_a_callback_gets_what_a_loop_gets(recognizer: Recognizer, sound: Samples) -> None:
    found: list[Detection] = []
    threads: set[threading.Thread] = set()

    def callback(detection: Detection) -> None:
        threads.add(threading.current_thread())
        found.append(detection)

    listening = listen(recognizer, sound, callback)
    assert listening.wait(DEADLINE)
    assert found == list(listen(recognizer, sound))
    assert not goes_on(listening)
    (thread,) = threads
    assert thread is not threading.current_thread()
    assert thread.daemon
    assert listening.wait(), "again, and nothing is raised"


def test_a_listening_is_started_later(recognizer: Recognizer, sound: Samples) -> None:
    found: list[Detection] = []
    listening = listen(recognizer, sound)
    listening.start(found.append)
    assert listening.wait(DEADLINE)
    assert labels(found) == HEARD


def test_a_callback_is_stopped_while_the_source_waits(recognizer: Recognizer, sound: Samples) -> None:
    live, heard = Live(), threading.Semaphore(0)
    listening = listen(recognizer, live, lambda _detection: heard.release())
    live.feed(sound)
    for _ in HEARD:
        assert heard.acquire(timeout=DEADLINE)
    assert goes_on(listening)
    assert not listening.wait(0.01)
    listening.stop()
    assert listening.wait(DEADLINE)
    assert not goes_on(listening)
    listening.stop()


def test_a_callback_may_stop_its_listening(recognizer: Recognizer, sound: Samples) -> None:
    live = Live()
    found: list[Detection] = []

    def callback(detection: Detection) -> None:
        found.append(detection)
        listening.stop()

    listening = listen(recognizer, live)
    listening.start(callback)
    live.feed(sound)
    assert listening.wait(DEADLINE)
    assert labels(found) == HEARD[:1], "no callback begins after the stop"


def test_a_stop_does_not_wait_for_the_callback_and_wait_does(recognizer: Recognizer, sound: Samples) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def callback(_detection: Detection) -> None:
        begun.set()
        assert may_end.wait(DEADLINE)

    listening = listen(recognizer, sound, callback)
    assert begun.wait(DEADLINE)
    listening.stop()
    assert not listening.wait(0.01)
    may_end.set()
    assert listening.wait(DEADLINE)


def test_many_threads_may_stop_at_once(recognizer: Recognizer) -> None:
    live = Live()
    listening = listen(recognizer, live, print)
    assert live.reading.wait(DEADLINE)
    together = threading.Barrier(8)

    def stop() -> None:
        together.wait(DEADLINE)
        listening.stop()

    stoppers = [threading.Thread(target=stop) for _ in range(8)]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join(DEADLINE)
    assert listening.wait(DEADLINE)


@pytest.mark.parametrize("source_fails", [True, False])
def test_a_failure_that_is_waited_for_is_raised_there_alone(
    recognizer: Recognizer, sound: Samples, uncaught: list[BaseException | None], source_fails: bool
) -> None:
    live: Live = Broken() if source_fails else Live()

    def callback(_detection: Detection) -> None:
        if not source_fails:
            raise ZeroDivisionError("in the callback")

    listening = listen(recognizer, live, callback)

    def feed() -> None:
        live.feed(sound)
        live.end()

    threading.Timer(0.2, feed).start()
    with pytest.raises(EarmarkError if source_fails else ZeroDivisionError):
        listening.wait(DEADLINE)
    assert not goes_on(listening)
    assert live.closings > 0
    assert uncaught == []
    with pytest.raises(EarmarkError if source_fails else ZeroDivisionError):
        listening.wait(DEADLINE)


def test_a_failure_that_nobody_waits_for_is_shown(
    recognizer: Recognizer, sound: Samples, uncaught: list[BaseException | None]
) -> None:
    error = ZeroDivisionError("in the callback")

    def callback(_detection: Detection) -> None:
        raise error

    listening = listen(recognizer, Live())
    listening.start(callback)
    (thread,) = [one for one in threading.enumerate() if one.name == "earmark-listening"]
    listening._source.feed(sound)  # type: ignore[attr-defined]
    thread.join(DEADLINE)
    assert uncaught == [error]
    assert not goes_on(listening)
    with pytest.raises(ZeroDivisionError):
        listening.wait()


def test_a_with_block_ends_the_callbacks_thread_and_raises_what_it_raised(
    recognizer: Recognizer, sound: Samples, uncaught: list[BaseException | None]
) -> None:
    failed = threading.Event()

    def callback(_detection: Detection) -> None:
        failed.set()
        raise ZeroDivisionError

    live = Live()
    with listen(recognizer, live, print) as listening:
        assert live.reading.wait(DEADLINE)
    assert listening.wait(0)
    with pytest.raises(ZeroDivisionError), listen(recognizer, sound, callback):
        assert failed.wait(DEADLINE)
    assert len(uncaught) <= 1, "shown, if it came before anybody waited"


def test_what_cannot_be_is_refused(recognizer: Recognizer, sound: Samples) -> None:
    once = "This listening was started or looped over before: listen again to start another."
    started = listen(recognizer, sound, print)
    for refused, sentence in (
        (lambda: started.start(print), once),
        (lambda: next(started), "This listening calls a function: listen again to loop over detections."),
        (lambda: asyncio.run(anext_of(started)), "This listening calls a function: listen again to loop over det"),
    ):
        with pytest.raises(EarmarkError, match=sentence):
            refused()
    assert started.wait(DEADLINE)
    with pytest.raises(EarmarkError, match=once):
        started.start(print)
    looped = listen(recognizer, sound)
    next(looped)
    stopped = listen(recognizer, sound)
    stopped.stop()
    for listening in (looped, stopped):
        with pytest.raises(EarmarkError, match=once):
            listening.start(print)
        with pytest.raises(EarmarkError, match="has no callback to wait for"):
            listening.wait()
    live = Live()
    with pytest.raises(EarmarkError, match="The callback is 3: pass a function that takes a detection"):
        listen(recognizer, live, 3)  # type: ignore[arg-type]
    assert live.closings > 0


async def anext_of(listening: Listening) -> Detection:
    return await listening.__anext__()


def test_a_callback_cannot_wait_for_itself(recognizer: Recognizer, sound: Samples) -> None:
    listening = listen(recognizer, Live())
    listening.start(lambda _detection: listening.wait())
    waiting = threading.Timer(0.2, lambda: listening._source.feed(sound))  # type: ignore[attr-defined]
    waiting.start()
    with pytest.raises(EarmarkError, match="can't wait for its own listening to end"):
        listening.wait(DEADLINE)


# An asynchronous loop


def test_an_asynchronous_loop_gets_what_a_loop_gets(recognizer: Recognizer, sound: Samples) -> None:
    async def hear() -> list[Detection]:
        async with listen(recognizer, sound) as listening:
            return [detection async for detection in listening]

    assert asyncio.run(hear()) == list(listen(recognizer, sound))


def test_the_event_loop_goes_on_while_the_source_waits(recognizer: Recognizer, sound: Samples) -> None:
    async def hear() -> tuple[str, bool]:
        live = Live()
        listening = listen(recognizer, live)
        first = asyncio.ensure_future(anext_of(listening))
        await asyncio.to_thread(live.reading.wait, DEADLINE)
        live.feed(sound)  # only a loop that goes on comes here
        heard = (await asyncio.wait_for(first, DEADLINE)).label
        listening.stop()
        return heard, [one async for one in listening] == []

    assert asyncio.run(hear()) == ("low", True)


def test_many_asynchronous_loops_wait_side_by_side(recognizer: Recognizer, sound: Samples) -> None:
    async def hear() -> list[str]:
        lives = [Live() for _ in range(40)]
        listenings = [listen(recognizer, live) for live in lives]
        tasks = [asyncio.ensure_future(anext_of(listening)) for listening in listenings]
        await asyncio.sleep(0)
        lives[-1].feed(sound)
        label = (await asyncio.wait_for(tasks.pop(), DEADLINE)).label
        for listening in listenings:
            listening.stop()
        return [label, *[type(one).__name__ for one in await asyncio.gather(*tasks, return_exceptions=True)]]

    label, *others = asyncio.run(hear())
    assert label == "low"
    assert others == ["StopAsyncIteration"] * 39


def test_cancelling_closes_the_source(recognizer: Recognizer) -> None:
    live = Live()
    listening = listen(recognizer, live)

    async def hear() -> None:
        task = asyncio.ensure_future(anext_of(listening))
        while not live.reading.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert live.closings > 0
        assert not goes_on(listening)

    asyncio.run(hear())


def test_a_failure_reaches_the_asynchronous_loop(recognizer: Recognizer, sound: Samples) -> None:
    broken = Broken()
    broken.feed(sound)
    broken.end()

    async def hear() -> list[Detection]:
        return [detection async for detection in listen(recognizer, broken)]

    with pytest.raises(EarmarkError, match="broke off"):
        asyncio.run(hear())
    assert broken.closings > 0
