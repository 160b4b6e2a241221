"""The command's output: results on standard output, messages for the user on standard error."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import typer

from earmark.errors import on_one_line

if TYPE_CHECKING:
    from rich.console import Console

    from earmark.audio.sources import Source
    from earmark.cli.progress import ScanProgress, TaskProgress


def put(values: dict[str, Any], as_json: bool, text: str) -> None:
    """Print one result, as text or as a line of JSON."""
    if sys.stdout is None:  # closed by the calling program
        return
    try:
        sys.stdout.write((_as_json(values) if as_json else "\n".join(map(on_one_line, text.split("\n")))) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def _as_json(values: dict[str, Any]) -> str:
    """Format values as one line of JSON, with DEL, the C1 controls (ISO 6429), U+2028 and U+2029 escaped too."""
    text = json.dumps(values, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def complain(sentence: str, kind: str = "Error") -> None:
    """Print what went wrong."""
    from rich.text import Text

    terminal().print(Text.assemble((f"{kind}: ", "bold red"), on_one_line(sentence)), soft_wrap=True)


def terminal() -> Console:
    """A console on standard error, for messages to the user. It leaves standard output to results."""
    from rich.console import Console

    return Console(stderr=True)


def task_progress() -> TaskProgress:
    """A progress bar for tasks."""
    from earmark.cli.progress import TaskProgress

    return TaskProgress(terminal())


def scan_progress() -> ScanProgress:
    """A progress bar for a scan."""
    from earmark.cli.progress import ScanProgress

    return ScanProgress(terminal())


def with_progress(source: Source) -> Source:
    """Add a progress bar to a source, if its length is known and standard error is a terminal."""
    from earmark.cli.progress import ProgressSource

    console = terminal()
    return source if source.seconds is None or not console.is_terminal else ProgressSource(source, console)
