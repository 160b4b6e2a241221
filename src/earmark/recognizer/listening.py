"""A listening: a loop over detections, an asynchronous loop, or a function that is called in the background."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Literal

from earmark.audio.sources import Source
from earmark.errors import EarmarkError
from earmark.recognizer.decisions import Detection

Callback = Callable[[Detection], object]


class Listening(Iterator[Detection], AsyncIterator[Detection]):
    """A stream's detections, in one of three forms:

    - `for detection in listening` waits for each detection in the current thread;
    - `async for detection in listening` waits in a thread, and ends the listening if the task is cancelled;
    - `listening.start(callback)` calls `callback(detection)` in a daemon thread.

    A listening ends with its stream, by `stop`, or with its `with` or `async with` block. Then the source is closed,
    and the listening can't be used again.

    Args:
        detections: the detections, made from the source on request.
        source: the source, which may be closed from another thread while it waits for sound; see `Source.close`.
        callback: if given, `start` is called with it at once.

    Raises:
        EarmarkError: the callback can't be called.
    """

    def __init__(self, detections: Iterator[Detection], source: Source, callback: Callback | None = None) -> None:
        self._detections, self._source = detections, source
        self._form: Literal["loop", "callback"] | None = None
        self._state = threading.Lock()  # guards which form is used, and who waits for which error
        self._advancing = threading.Lock()  # guards the detections
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._waiting = 0  # threads in `wait`
        if callback is not None:
            try:
                self.start(callback)
            except EarmarkError:
                self.stop()
                raise

    @property
    def is_listening(self) -> bool:
        """Whether detections may still come."""
        return not self._ended.is_set()

    def start(self, callback: Callback) -> None:
        """Call `callback(detection)` for each detection, in a thread that doesn't keep the program alive.

        An exception in the callback ends the listening. `wait` raises it again; if nobody waits, `threading.excepthook`
        shows it.

        Raises:
            EarmarkError: the callback can't be called, or the listening has already begun or ended.
        """
        if not callable(callback):
            raise EarmarkError(f"The callback is {callback!r}: pass a function that takes a detection.")
        with self._state:
            if self._form is not None or not self.is_listening:
                raise EarmarkError("This listening was started or looped over before: listen again to start another.")
            self._form = "callback"
            self._thread = threading.Thread(target=self._call, args=(callback,), name="earmark-listening", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the listening, from any thread, and drop a sound that has not ended. Calling it again does nothing.

        No callback begins afterwards, but `stop` doesn't wait for one that is running; `wait` does.
        """
        self._ended.set()
        self._source.close()
        if self._advancing.acquire(blocking=False):  # otherwise the thread that holds the lock closes them
            try:
                self._close_detections()
            finally:
                self._advancing.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the callback's thread has ended.

        Args:
            timeout: the longest time to wait, in seconds.

        Returns:
            Whether it has ended.

        Raises:
            EarmarkError: there is no callback, or the callback itself calls this.
            Exception: the callback or the source raised it.
        """
        thread = self._thread
        if thread is None:
            raise EarmarkError("This listening has no callback to wait for: start it with one, or loop over it.")
        if thread is threading.current_thread():
            raise EarmarkError("A callback can't wait for its own listening to end: stop it, and return.")
        with self._state:
            self._waiting += 1
        try:
            thread.join(timeout)
        finally:
            with self._state:
                self._waiting -= 1
                error = self._error
        if error is not None:
            raise error
        return not thread.is_alive()

    def __next__(self) -> Detection:
        self._claim_loop()
        detection = self._advance()
        if detection is None:
            raise StopIteration
        return detection

    async def __anext__(self) -> Detection:
        import asyncio  # imported here: only callers that iterate asynchronously need it, and they have it

        self._claim_loop()
        future: Future[Detection | None] = Future()
        # Not in one of the event loop's own threads: those are few, and the program waits for them when it ends.
        threading.Thread(target=self._fulfil, args=(future,), name="earmark-listening", daemon=True).start()
        try:
            detection = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self.stop()
            raise
        if detection is None:
            raise StopAsyncIteration
        return detection

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        if kind is None and self._thread not in (None, threading.current_thread()):
            self.wait()

    async def __aenter__(self) -> Listening:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    def _claim_loop(self) -> None:
        with self._state:
            if self._form == "callback":
                raise EarmarkError("This listening calls a function: listen again to loop over detections.")
            self._form = "loop"

    def _advance(self) -> Detection | None:
        """The next detection, or None once the listening has ended."""
        with self._advancing:
            detection = None
            try:
                if self.is_listening:
                    detection = next(self._detections, None)
                if not self.is_listening:  # it was stopped meanwhile
                    detection = None
            except BaseException as error:
                # A source that is closed while it is read may raise anything.
                if self.is_listening or not isinstance(error, Exception):
                    raise
            finally:
                if detection is None:
                    self._ended.set()
                    self._close_detections()
                    self._source.close()
            return detection

    def _close_detections(self) -> None:
        if isinstance(self._detections, Generator):
            self._detections.close()

    def _call(self, callback: Callback) -> None:
        try:
            while (detection := self._advance()) is not None:
                callback(detection)
        except BaseException as error:
            with self._state:
                self._error = error
                is_awaited = self._waiting > 0
            if not is_awaited:
                raise  # to threading.excepthook
        finally:
            self.stop()

    def _fulfil(self, future: Future[Detection | None]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._advance())
        except BaseException as error:
            future.set_exception(error)
