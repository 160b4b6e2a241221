"""Runs the studio's server until it is interrupted."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

from earmark.project import DEFAULT_LABELS, Project
from earmark.serving.run import bind, run
from earmark.settings import SOUNDS, WORDS
from earmark.studio.server import create_app

HOST = "127.0.0.1"


def serve(path: Path, port: int, browser: bool, tell: Callable[[str], None], mode: str | None = None) -> None:
    """Serve the project at `path`, made where there is none, on loopback.

    A new one for short sounds has the codelab's three labels; one for words has none, as nobody can guess them.

    Args:
        path: the project's folder.
        port: 0 for any that is free.
        browser: whether to open the page, where there is a screen.
        tell: called with the page's address once it answers.
        mode: "sounds" or "words", which a project that is there is changed to; where None, it stays as it is, and a
            new one is for sounds.

    Raises:
        EarmarkError: the mode is unknown, the project can't be opened or made, or the port is taken.
    """
    project = Project(path, create=True, mode=mode or SOUNDS, labels=() if mode == WORDS else DEFAULT_LABELS)
    if mode is not None and mode != project.mode:
        project.set_mode(mode)
    listening = bind(HOST, port)
    address = f"http://{HOST}:{listening.getsockname()[1]}"

    def on_start() -> None:
        tell(address)
        if browser and _has_screen():
            webbrowser.open(address)

    run(create_app(project), listening, on_start)


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
