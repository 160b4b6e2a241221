"""A source that shows on the terminal how far it has been heard."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from earmark.audio import Samples, Source


class ProgressSource(Source):
    """Another source, with a progress bar that goes away at the end.

    Args:
        source: of known length.
        console: where the bar is drawn.
    """

    def __init__(self, source: Source, console: Console) -> None:
        self._source = source
        self.sample_rate, self.name, self.seconds = source.sample_rate, source.name, source.seconds
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)

    def __iter__(self) -> Iterator[Samples]:
        with self._progress as progress:
            task = progress.add_task(self.name, total=self.seconds)
            for chunk in self._source:
                yield chunk
                progress.advance(task, len(chunk) / self.sample_rate)

    def close(self) -> None:
        self._source.close()
