"""A real `earmark serve` in a process of its own, and a client that speaks its protocol."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


@dataclass
class Server:
    """A running server."""

    address: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, self.address + path, timeout=60, **options)

    def metric(self, name: str) -> float:
        """What `/metrics` says of one, 0 where it isn't told."""
        found = re.findall(rf"^{re.escape(name)} (.*)$", self.request("GET", "/metrics").text, re.MULTILINE)
        return float(found[0]) if found else 0.0

    def connect(self) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/api/stream", max_queue=None, open_timeout=60, close_timeout=2)


@contextmanager
def server(*arguments: str, program: Sequence[str] = ("-m", "earmark"), stderr: int | None = None) -> Iterator[Server]:
    command = [sys.executable, *program, "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "http://" in line, line
    try:
        yield Server(line.split(": ", 1)[1].split()[0], process)
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@dataclass
class Heard:
    """All that a stream was told."""

    ready: dict[str, Any] = field(default_factory=dict)
    windows: list[dict[str, Any]] = field(default_factory=list)
    detections: list[dict[str, Any]] = field(default_factory=list)
    ended: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    closing: tuple[int, str] = (0, "")

    @property
    def scores(self) -> np.ndarray:
        return np.array([window["scores"] for window in self.windows], np.float32)


def start(**values: Any) -> str:
    return json.dumps({"type": "start", "sample_rate": 16_000, **values})


def play(running: Server, chunks: Iterable[bytes], **values: Any) -> Heard:
    """Send a whole stream, as fast as the server takes it, and return all that it said."""
    with running.connect() as connection:
        connection.send(start(**values))
        for chunk in chunks:
            connection.send(chunk)
        connection.send('{"type": "end"}')
        return listen(connection)


def listen(connection: ClientConnection) -> Heard:
    """What a server says until it closes."""
    heard = Heard()
    try:
        while True:
            message = json.loads(connection.recv(60))
            kind = message.pop("type")
            if kind == "scores":
                heard.windows += message["windows"]
            elif kind == "detection":
                heard.detections.append(message)
            elif kind == "error":
                heard.error = message["error"]
            else:
                setattr(heard, kind, message)
    except ConnectionClosed as closed:
        if closed.rcvd is not None:
            heard.closing = (closed.rcvd.code, closed.rcvd.reason)
    return heard
