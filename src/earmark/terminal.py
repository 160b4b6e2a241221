"""What the command prints: results on standard output, and what is for the person on standard error."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from earmark.progress import ScanProgress, TaskProgress
    from earmark.sources import Source


def put(values: dict[str, Any], as_json: bool, text: str) -> None:
    """One result: a line of text, or of JSON."""
    if sys.stdout is None:  # closed by whoever called us
        return
    try:
        sys.stdout.write((json.dumps(values, ensure_ascii=False) if as_json else text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def complain(sentence: str, kind: str = "Error") -> None:
    """Tell what went wrong."""
    from rich.text import Text

    terminal().print(Text.assemble((f"{kind}: ", "bold red"), sentence), soft_wrap=True)


def terminal() -> Console:
    """What is for the person, not for the pipe, goes to standard error."""
    from rich.console import Console

    return Console(stderr=True)


def task_progress() -> TaskProgress:
    """A bar that is told how far tasks are."""
    from earmark.progress import TaskProgress

    return TaskProgress(terminal())


def scan_progress() -> ScanProgress:
    """A bar that is told how far a scan is."""
    from earmark.progress import ScanProgress

    return ScanProgress(terminal())


def with_progress(source: Source) -> Source:
    """The source, with a progress bar where its length is known and somebody sees it."""
    from earmark.progress import ProgressSource

    console = terminal()
    return source if source.seconds is None or not console.is_terminal else ProgressSource(source, console)
