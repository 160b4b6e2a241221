"""What the command prints: results on standard output, and what is for the person on standard error."""

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
    """One result: a line of text, or of JSON."""
    if sys.stdout is None:  # closed by whoever called us
        return
    try:
        sys.stdout.write((_as_json(values) if as_json else "\n".join(map(on_one_line, text.split("\n")))) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def _as_json(values: dict[str, Any]) -> str:
    """JSON in one line. It writes control characters as \\u001b and so on, but for those that ISO 6429 has from 80."""
    text = json.dumps(values, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def complain(sentence: str, kind: str = "Error") -> None:
    """Tell what went wrong."""
    from rich.text import Text

    terminal().print(Text.assemble((f"{kind}: ", "bold red"), on_one_line(sentence)), soft_wrap=True)


def terminal() -> Console:
    """What is for the person, not for the pipe, goes to standard error."""
    from rich.console import Console

    return Console(stderr=True)


def task_progress() -> TaskProgress:
    """A bar that is told how far tasks are."""
    from earmark.cli.progress import TaskProgress

    return TaskProgress(terminal())


def scan_progress() -> ScanProgress:
    """A bar that is told how far a scan is."""
    from earmark.cli.progress import ScanProgress

    return ScanProgress(terminal())


def with_progress(source: Source) -> Source:
    """The source, with a progress bar where its length is known and somebody sees it."""
    from earmark.cli.progress import ProgressSource

    console = terminal()
    return source if source.seconds is None or not console.is_terminal else ProgressSource(source, console)
