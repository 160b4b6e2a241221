"""Scanning with several processes on this machine.

Each process has a pipe of its own. If one dies, because a decoder crashes or memory runs out, it is known which
recording it was scanning, and the others continue.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

from earmark.errors import EarmarkError, as_reason
from earmark.scan.journal import Failed, Outcome
from earmark.scan.scanner import OnHeard, Scanner, Task

READY = "ready"
TELL_SECONDS = 0.5  # how often a process reports its progress
CONTEXT = multiprocessing.get_context("spawn")  # a fork would copy ONNX Runtime's locks but not its threads


class _Worker:
    """A process that scans one recording at a time, once it has been given its task.

    Raises:
        EarmarkError: the system doesn't allow more processes.
    """

    def __init__(self) -> None:
        try:
            self.connection, theirs = CONTEXT.Pipe()
            self._process = CONTEXT.Process(target=_work, args=(theirs,), name="earmark-scan", daemon=True)
            with _no_control_c():
                self._process.start()
        except OSError as error:
            raise EarmarkError(
                f"A process of the scan can't be started ({as_reason(error)}): scan with fewer --workers."
            ) from error
        theirs.close()  # so that the pipe ends with the process
        self.name: str | None = None  # the recording that it is scanning
        self.is_alive = True

    def tell(self, task: Task) -> None:
        self._send(task)

    def give(self, name: str) -> None:
        self.name = name
        self._send(name)

    def _send(self, message: Task | str) -> None:
        with suppress(OSError):  # it has died; `receive` will report it
            self.connection.send(message)

    def receive(self) -> str | tuple[float, float] | Outcome:
        """READY, the progress, or the recording's outcome. If the process has died, the recording has failed.

        Raises:
            EarmarkError: the process died before it was given a recording.
        """
        try:
            message: str | tuple[float, float] | Outcome = self.connection.recv()
            return message
        except (EOFError, OSError) as error:
            self.stop()
            if self.name is None:
                raise EarmarkError("A process of the scan ended as it started: scan with --workers 1.") from error
            return Failed(self.name, f"{self.name} made the process that read it crash: repair it, or leave it out.")

    def stop(self) -> None:
        self.is_alive = False
        self.connection.close()
        self._process.kill()
        self._process.join()


class ProcessScanner:
    """A `Scanner` in a process of its own, which is restarted when a recording makes it crash."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._worker: _Worker | None = None

    def scan(self, name: str) -> Outcome:
        """Scan a recording to its end."""
        if self._worker is None:
            self._worker = _Worker()
            self._worker.tell(self._task)
            self._worker.receive()  # wait until it is ready
        worker = self._worker
        worker.give(name)
        while isinstance(message := worker.receive(), (tuple, str)):
            pass
        if not worker.is_alive:
            self._worker = None
        return message


def scan_by_processes(task: Task, names: Sequence[str], workers: int, heard: OnHeard) -> Iterator[Outcome]:
    """Scan recordings with that many processes; outcomes come as recordings are done.

    Args:
        task: what the processes do.
        names: the recordings.
        workers: the number of processes.
        heard: called with the progress.

    Raises:
        EarmarkError: the processes can't be started.
    """
    left = deque(names)
    crew: dict[Connection, _Worker] = {}
    try:
        _hire(crew, workers, task)
        while crew:
            for connection in wait(list(crew)):
                assert isinstance(connection, Connection)
                worker = crew[connection]
                message = worker.receive()
                if isinstance(message, tuple):
                    assert worker.name is not None
                    heard(worker.name, *message)
                    continue
                if not isinstance(message, str):
                    yield message
                if left and worker.is_alive:
                    worker.give(left.popleft())
                    continue
                del crew[connection]
                if worker.is_alive:
                    worker.stop()
                elif left:
                    _hire(crew, 1, task)
    finally:
        for worker in crew.values():
            worker.stop()


def _hire(crew: dict[Connection, _Worker], count: int, task: Task) -> None:
    new = []
    for _ in range(count):
        new.append(_Worker())
        crew[new[-1].connection] = new[-1]
    for worker in new:  # only now: a process takes its task once it is up, so all of them start up at the same time
        worker.tell(task)


@contextmanager
def _no_control_c() -> Iterator[None]:
    """Keep Ctrl+C from processes that are started meanwhile; the first process handles it, after the block.

    While they start, they can't protect themselves. Windows has no such mechanism.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # otherwise it starts with the first process, and lets Ctrl+C through again
    came: list[int] = []
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the new process inherits it
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))  # other threads still receive it
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if came:
            signal.raise_signal(signal.SIGINT)


def _work(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libsndfile prints errors in SDS files to standard output
    told = time.monotonic()

    def tell(_: str, seconds: float, share: float) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_SECONDS:
            connection.send((seconds, share))
            told = time.monotonic()

    try:
        scanner = Scanner(connection.recv())
        connection.send(READY)
        while True:
            connection.send(scanner.scan(connection.recv(), tell))
    except (EOFError, ConnectionError):  # the first process has gone
        return
