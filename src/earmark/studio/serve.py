"""Runs the studio's server until it is interrupted."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path

from earmark.clips.settings import SOUNDS_MODE, WORDS_MODE
from earmark.project import DEFAULT_LABELS, Project
from earmark.studio.lan import Lan, open_lan
from earmark.studio.policy import PAGE_HEADERS, VISITORS
from earmark.studio.server import create_app
from earmark.studio.sign_in import SignIn
from earmark.web.guard import Guard
from earmark.web.run import Secure, bind, run

HOST = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


def serve(
    path: Path,
    port: int,
    browser: bool,
    tell: Callable[[str], None],
    mode: str | None = None,
    lan_port: int | None = None,
    invite: Callable[[Lan, str], None] | None = None,
) -> None:
    """Serve a project on loopback and, if asked, over HTTPS in the network.

    The project is made if there is none. A new one for short sounds has the codelab's three labels. A new one for
    words has no labels, as nobody can guess them.

    Args:
        path: the project's folder.
        port: the port on loopback; 0 for any free one.
        browser: whether to open the page, if there is a screen.
        tell: called with the page's address once the server answers.
        mode: "sounds" or "words"; an existing project is changed to it. Where None, an existing project stays as it
            is, and a new one is for sounds.
        lan_port: the port of HTTPS in the network, where devices must sign in; None for no access from the network.
        invite: called with the studio in the network and a text. The text is "" once the server answers. When a device
            has signed in or out, or the code was renewed, it is a sentence on what happened.

    Raises:
        EarmarkError: the mode is unknown, the project can't be opened or made, a port is taken, or the machine is in
            no network.
    """
    project = Project(path, create=True, mode=mode or SOUNDS_MODE, labels=() if mode == WORDS_MODE else DEFAULT_LABELS)
    if mode is not None and mode != project.mode:
        project.set_mode(mode)
    listening = bind(HOST, port)
    address = f"http://{HOST}:{listening.getsockname()[1]}"
    lan, lan_listening = None, None
    if lan_port is not None:
        lan_listening = bind(EVERYWHERE, lan_port, "--lan-port")
        lan = open_lan(lan_listening.getsockname()[1])
        if invite is not None:
            lan.access.watchers.append(partial(invite, lan))
    app = create_app(project, lan)
    secure = None
    if lan is not None and lan_listening is not None:
        guarded = Guard(SignIn(app, lan.access), lan.visitors, PAGE_HEADERS)
        secure = Secure(guarded, lan_listening, lan.certificate.file)

    def on_start() -> None:
        tell(address)
        if lan is not None and invite is not None:
            invite(lan, "")
        if browser and _has_screen():
            webbrowser.open(address)

    run(Guard(app, VISITORS, PAGE_HEADERS), listening, on_start, secure=secure)


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
