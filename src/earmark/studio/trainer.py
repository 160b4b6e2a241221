"""Training in a process of its own, so that it never stalls the live sound, and can be stopped at any moment.

The worker waits with PyTorch loaded, trains at low priority when told to, and reports by lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from earmark.errors import EarmarkError
from earmark.project import Project

Report = dict[str, Any]


class Trainer:
    """The studio's end of the worker.

    Args:
        project: its folder.
        report: called in the event loop with each message: a state of "started", "epoch", "done", "cancelled" or
            "failed", as the WebSocket sends it.
    """

    def __init__(self, project: Path, report: Callable[[Report], None]) -> None:
        self._project, self._report = project, report
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # a training doesn't start while another one is being cancelled
        self._is_finishing = False
        self.running = False

    async def start(self) -> None:
        """Start the worker, which then loads PyTorch in the background."""
        async with self._lock:
            await self._start()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "earmark.studio.trainer",
            str(self._project),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl+C is for the server, which then ends the worker
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def train(self) -> None:
        """Start a training.

        Raises:
            EarmarkError: one is running already.
        """
        async with self._lock:
            if self.running:
                raise EarmarkError("A training is running already: wait for it or cancel it.")
            if self._process is None or self._process.returncode is not None:
                await self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            self.running, self._is_finishing = True, False
            self._report({"state": "started"})
            self._process.stdin.write(b"train\n")
            await self._process.stdin.drain()

    async def cancel(self) -> None:
        """Stop the training that is running, if any; the old model stays.

        After the last epoch the new model is being written, and the training ends as done.
        """
        async with self._lock:
            if self.running and not self._is_finishing:
                await self._stop()
                self.running = False
                self._report({"state": "cancelled"})
                await self._start()

    async def stop(self) -> None:
        """End the worker."""
        async with self._lock:
            await self._stop()

    async def _stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            report = json.loads(line)
            self.running = report["state"] == "epoch"
            self._is_finishing = self.running and report["epoch"] == report["epochs"]
            self._report(report)
        if self.running:
            self.running = False
            self._report({"state": "failed", "error": "The training process ended by itself: try again."})


def _work(project: Path) -> None:
    """The worker: for each line on standard input, one training."""
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the reports

    def report(**values: object) -> None:
        try:
            reports.write(json.dumps(values) + "\n")
            reports.flush()
        except BrokenPipeError:  # the server is gone
            os._exit(1)

    _warm_up()
    for _ in sys.stdin:
        report(**_train(project, report))


def _train(project: Path, report: Callable[..., None]) -> Report:
    """Train once and return how it ended; any other error ends the worker, with its traceback in the log."""
    try:
        Project(project).train(on_epoch=lambda epoch: report(state="epoch", **vars(epoch)))
    except EarmarkError as error:
        return {"state": "failed", "error": str(error)}
    except MemoryError:
        return {"state": "failed", "error": "There is too little memory for so many recordings: remove some."}
    return {"state": "done"}


def _warm_up() -> None:
    """Load PyTorch and run its first step, which is slow, before anybody waits for it."""
    if hasattr(os, "nice"):
        os.nice(10)
    try:
        from earmark.training import warm_up
    except ModuleNotFoundError:
        return  # told when a training is asked for
    warm_up()


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
