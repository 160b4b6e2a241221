"""Progress bars on the terminal, drawn by Rich."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from earmark.audio.clip import Samples
from earmark.audio.sources import Source

if TYPE_CHECKING:
    from earmark.scan.scan import ScanState


class ProgressSource(Source):
    """Wraps a source with a progress bar that disappears at the end.

    Args:
        source: a source of known length.
        console: where the bar is drawn.
    """

    def __init__(self, source: Source, console: Console) -> None:
        self._source = source
        self.sample_rate, self.name, self.seconds = source.sample_rate, source.name, source.seconds
        self._progress = _bar(console)

    def __iter__(self) -> Iterator[Samples]:
        with self._progress as progress:
            task = progress.add_task(self.name, total=self.seconds)
            for chunk in self._source:
                yield chunk
                progress.advance(task, len(chunk) / self.sample_rate)

    def close(self) -> None:
        self._source.close()


class TaskProgress:
    """Shows one task after another, each with a progress bar that disappears when the next task begins.

    Args:
        console: where the bars are drawn.
    """

    def __init__(self, console: Console) -> None:
        self._progress = _bar(console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TaskProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, task: str, done: int, count: int) -> None:
        """Show how many of a task's steps are done."""
        if task not in self._tasks:
            for earlier in self._tasks.values():
                self._progress.update(earlier, visible=False)
            self._tasks[task] = self._progress.add_task(task)
        self._progress.update(self._tasks[task], completed=done, total=count)


class ScanProgress:
    """Shows how many of a scan's recordings are done, the hours of sound, and the speed in hours per second.

    Args:
        console: where the bar is drawn.
    """

    def __init__(self, console: Console) -> None:
        hours = TextColumn("{task.fields[hours]:.1f} h, {task.fields[speed]:.2f} h/s")
        self._progress = _bar(console, MofNCompleteColumn(), hours)
        self._task = self._progress.add_task("Scanning", total=None, hours=0.0, speed=0.0)
        self._began = time.monotonic()

    def __enter__(self) -> ScanProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, scanned: ScanState) -> None:
        """Show the state of the scan."""
        hours = scanned.seconds / 3600
        speed = hours / max(time.monotonic() - self._began, 1e-3)
        self._progress.update(self._task, completed=scanned.done, total=scanned.recordings, hours=hours, speed=speed)


def _bar(console: Console, *more: ProgressColumn) -> Progress:
    bar = BarColumn(bar_width=15 if more else 40)  # so that the line fits in 80 columns
    columns = (TextColumn("{task.description}"), bar, TaskProgressColumn(), *more, TimeRemainingColumn())
    # In a log or a pipe, don't print even the empty line that a transient bar leaves.
    return _Bar(*columns, console=console, transient=True, disable=not console.is_terminal)


class _Bar(Progress):
    def stop(self) -> None:
        if not self.disable:  # Rich before 14.3 prints an empty line for a bar that it never drew
            super().stop()
