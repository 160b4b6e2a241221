"""Runs the studio's server until it is interrupted."""

from __future__ import annotations

import os
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from earmark.errors import EarmarkError
from earmark.project import DEFAULT_LABELS, Project
from earmark.settings import SOUNDS, WORDS
from earmark.studio.live import MAX_CHUNK_BYTES
from earmark.studio.server import create_app

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


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
    listening = _bind(port)
    address = f"http://{HOST}:{listening.getsockname()[1]}"

    def on_start() -> None:
        tell(address)
        if browser and _has_screen():
            webbrowser.open(address)

    config = uvicorn.Config(
        create_app(project),
        log_level="warning",
        access_log=False,
        ws_max_size=MAX_CHUNK_BYTES,
        ws_per_message_deflate=False,  # on one machine it costs more time than it saves
        timeout_graceful_shutdown=2,
    )
    _Server(config, on_start).run(sockets=[listening])


def _bind(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise EarmarkError(f"Port {port} can't be used ({error}): choose another one with --port.") from error
    return listening


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
