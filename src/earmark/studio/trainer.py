"""Training and evaluation in a worker process, which never stalls the live sound and can be stopped at any moment.

The worker waits with all modules loaded. It does one job after another at low priority, and reports as lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from earmark.errors import EarmarkError
from earmark.project import Project
from earmark.studio.evaluating import evaluate

JobReport = dict[str, Any]
Job = Literal["training", "evaluation"]
UNDER_WAY = ("started", "progress", "epoch")  # the states of a job that hasn't ended


class Trainer:
    """The studio's end of the worker.

    Args:
        project: the project's folder.
        report: called in the event loop with the job and each message, as the WebSocket sends it. Its state is
            "started", "progress", "epoch", "done", "cancelled" or "failed".

    Attributes:
        job: the running job, if any.
    """

    def __init__(self, project: Path, report: Callable[[Job, JobReport], None]) -> None:
        self._project, self._report = project, report
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # a job doesn't start while another one is being cancelled
        self._is_finishing = False
        self.job: Job | None = None

    async def start(self) -> None:
        """Start the worker. It loads its modules in the background."""
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
            start_new_session=True,  # so that Ctrl+C reaches only the server, which then stops the worker
        )
        self._reader = asyncio.create_task(self._read(self._process))

    async def begin(self, job: Job) -> None:
        """Start a job.

        Raises:
            EarmarkError: a job is running already.
        """
        async with self._lock:
            if self.job is not None:
                raise EarmarkError(f"{_NAMES[self.job]} is running already: wait for it or cancel it.")
            if self._process is None or self._process.returncode is not None:
                await self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            self.job, self._is_finishing = job, False
            self._report(job, {"state": "started"})
            self._process.stdin.write(f"{job}\n".encode())
            await self._process.stdin.drain()

    async def cancel(self, job: Job) -> None:
        """Stop this job, if it is running. The old model or evaluation stays.

        After the last epoch the new model is being written. Then the training isn't stopped, and ends as done.
        """
        async with self._lock:
            if self.job == job and not self._is_finishing:
                await self._stop()
                self.job = None
                self._report(job, {"state": "cancelled"})
                await self._start()

    async def stop(self) -> None:
        """Stop the worker."""
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
            job = self.job
            assert job is not None
            if report["state"] not in UNDER_WAY:
                self.job = None
            self._is_finishing = report["state"] == "epoch" and report["epoch"] == report["epochs"]
            self._report(job, report)
        if self.job is not None:
            job, self.job = self.job, None
            self._report(job, {"state": "failed", "error": f"The process of the {job} ended by itself: try again."})


_NAMES: dict[Job, str] = {"training": "A training", "evaluation": "An evaluation"}


def _work(project: Path) -> None:
    """Run the worker, which does one job for each line on standard input."""
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that what libraries print goes to the log, not among the reports

    def report(**values: object) -> None:
        try:
            reports.write(json.dumps(values) + "\n")
            reports.flush()
        except BrokenPipeError:  # the server has gone
            os._exit(1)

    _warm_up()
    for line in sys.stdin:
        report(**_do(line.strip(), project, report))


def _do(job: str, project: Path, report: Callable[..., None]) -> JobReport:
    """Do a job and return how it ended. An unexpected error ends the worker, with a traceback in the log."""

    def on_progress(what: str, done: int, count: int) -> None:
        report(state="progress", what=what, done=done, count=count)

    try:
        if job == "evaluation":
            evaluate(Project(project), on_progress)
        else:
            Project(project).train(
                report=on_progress,
                on_epoch=lambda epoch: report(state="epoch", **vars(epoch)),
            )
    except EarmarkError as error:
        return {"state": "failed", "error": str(error)}
    except MemoryError:
        return {"state": "failed", "error": "There is too little memory for so many recordings: remove some."}
    return {"state": "done"}


def _warm_up() -> None:
    """Lower the priority, and load what training needs before anybody waits for it."""
    if hasattr(os, "nice"):
        os.nice(10)
    with suppress(ModuleNotFoundError):  # reported when a training is started
        import earmark.training.heads  # noqa: F401 (to have it loaded, with the codelab's network)


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
