"""All that a user does, each step by programs of its own: `python -m tests.journey FOLDER`.

    python -m tests.journey FOLDER [--home HOME] [--seconds S] [--loopback]

FOLDER holds the projects `snaps` (sounds) and `spoken` (words), and the recordings `one.wav` and `archive/`. A step has
an empty home of its own, FOLDER/homes/<step>, or HOME, and must succeed and print nothing but what it ought to. With S
its processes live at least so long. In a network namespace of its own, --loopback makes the loopback device work.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.serving.running import server
from tests.studio.running import Studio, studio

LISTENING = (
    "import sys, time, earmark; recognizer = earmark.load('words'); recognizer.recognize('one.wav'); "
    "time.sleep(float(sys.argv[1]))"
)
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
POLL_SECONDS = 0.1


def _run(*command: object) -> None:
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stderr}"


def _earmark(*arguments: object) -> None:
    _run("-m", "earmark", *arguments)


def _serve(seconds: float) -> None:
    with server() as running:
        answer = running.request("POST", "/api/recognize", content=Path("one.wav").read_bytes())
        assert answer.status_code == 200, answer.text
        time.sleep(seconds)


def _studio(seconds: float) -> None:
    with studio(Path("snaps")) as running:
        assert "<title>" in running.request("GET", "/").text
        _work(running, "train", "training")
        _work(running, "evaluate", "evaluation")
        assert running.request("GET", "/api/report").status_code == 200
        time.sleep(seconds)


def _work(running: Studio, route: str, job: str) -> None:
    answer = running.request("POST", f"/api/{route}")
    assert answer.status_code == 200, answer.text
    while (state := running.project()[job])["running"]:
        time.sleep(POLL_SECONDS)
    assert not state.get("error"), state


STEPS: dict[str, Callable[[float], None]] = {
    "api": lambda seconds: _run("-c", LISTENING, seconds),
    "recognize": lambda _: _earmark("recognize", "one.wav"),
    "listen": lambda _: _earmark("listen", "--input", "one.wav"),
    "train": lambda _: _earmark("train", "snaps"),
    "train words": lambda _: _earmark("train", "spoken", "--epochs", 1),
    "evaluate": lambda _: _earmark("evaluate", "snaps", "--folds", 2),
    "scan": lambda _: _earmark("scan", "archive", "--output", "found.csv", "--workers", 2),
    "serve": _serve,
    "studio": _studio,
}


def _start_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    options = parser.parse_args()
    if options.loopback:
        _start_loopback()
    os.chdir(options.folder)
    for name in options.steps:
        home = options.home or options.folder / "homes" / name
        if options.home is None:
            home.mkdir(parents=True)
        os.environ["HOME"] = str(home)
        STEPS[name](options.seconds)


if __name__ == "__main__":
    main()
