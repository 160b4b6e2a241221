"""A real studio in a process of its own, and a client that speaks its protocol."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from websockets import Origin
from websockets.sync.client import ClientConnection, connect

from tests import sounds

CHUNK = 1_024  # samples, as the page sends them
CHANGE = {"X-Earmark": "studio"}

MESSAGE_SECONDS = 180  # until the next message at most: a training beside other programs takes its time


def read_all(connection: ClientConnection) -> None:
    """Read on until the connection ends, as what the studio tells all pages may come before its close frame."""
    while True:
        connection.recv(MESSAGE_SECONDS)


@dataclass
class Studio:
    """A running studio."""

    address: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**CHANGE, **options.pop("headers", {})}
        return httpx.request(method, self.address + path, headers=headers, timeout=60, **options)

    def project(self) -> dict[str, Any]:
        return self.request("GET", "/api/project").json()  # type: ignore[no-any-return]

    def kill(self) -> None:
        """End it as a crash would, with no chance to tidy up."""
        self.process.kill()
        self.process.wait()


@dataclass
class LanStudio(Studio):
    """One that phones can use, too."""

    certificate: Path

    def lan(self) -> dict[str, Any]:
        return self.request("GET", "/api/lan").json()  # type: ignore[no-any-return]

    @property
    def network_url(self) -> str:
        return str(self.lan()["urls"][0])


@contextmanager
def studio(project: Path, port: int = 0, program: str = "earmark") -> Iterator[Studio]:
    with _started(project, "--port", str(port), program=program) as process:
        yield Studio(_address(process), process)


@contextmanager
def lan_studio(project: Path, data: Path, lan_port: int = 0) -> Iterator[LanStudio]:
    """A studio in the network, whose user keeps data in a folder of their own."""
    environment = {**os.environ, "XDG_DATA_HOME": str(data)}
    with _started(project, "--port", "0", "--lan", "--lan-port", str(lan_port), env=environment) as process:
        yield LanStudio(_address(process), process, data / "earmark" / "studio.pem")


@contextmanager
def _started(
    project: Path, *options: str, program: str = "earmark", **settings: Any
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", program, "studio", str(project), *options, "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **settings)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "http://" in line, line
    return line.split(": ", 1)[1].split()[0]


def held(process: subprocess.Popen[str]) -> int:
    """How many resamplers a process of `tests.held` holds."""
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    return int(process.stdout.readline())


class Page:
    """A page's end of the live connection: numbers its chunks and keeps what it is told."""

    def __init__(self, running: Studio, sample_rate: int = sounds.RATE) -> None:
        self._open = ExitStack()
        self.connection: ClientConnection = self._open.enter_context(
            connect(
                f"ws://127.0.0.1:{running.port}/api/live",
                origin=Origin(running.address),
                max_queue=None,  # what isn't read must not keep the closing handshake waiting
                open_timeout=MESSAGE_SECONDS,
                close_timeout=2,
            )
        )
        self.sample_rate = sample_rate
        self.number = 0
        self.frames = 0
        self.columns = b""
        self.heard: list[list[float]] = []
        self.detections: list[dict[str, Any]] = []
        self.say(type="hello", sample_rate=sample_rate)
        self.wait("ready")

    def say(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def play(self, samples: np.ndarray, first: int | None = None) -> int:
        """Send samples as chunks from number `first`, or the next; returns the number after the last."""
        number = self.number if first is None else first
        for at in range(0, len(samples), CHUNK):
            self.connection.send(chunk(number, samples[at : at + CHUNK]))
            number += 1
        self.number = max(self.number, number)
        return number

    def record(self, recording: str, label: str, samples: np.ndarray) -> None:
        first = self.number
        self.say(type="record", recording=recording, label=label, sample_rate=self.sample_rate, first=first)
        self.say(type="stop", recording=recording, end=self.play(samples))

    def receive(self, timeout: float = MESSAGE_SECONDS) -> dict[str, Any]:
        """The next message that is not of what was heard."""
        while True:
            message = self.connection.recv(timeout)
            if isinstance(message, str):
                return self._note(message)
            self._hear(message)

    def wait(self, kind: str, **values: Any) -> dict[str, Any]:
        """The next message of a kind, and with those values."""
        while True:
            message = self.receive()
            if message["type"] == kind and all(message.get(name) == value for name, value in values.items()):
                return message

    def hear(self, frames: int) -> None:
        """Wait until that many frames have been heard in all."""
        while self.frames < frames:
            message = self.connection.recv(MESSAGE_SECONDS)
            if isinstance(message, bytes):
                self._hear(message)
            else:
                self._note(message)

    def _note(self, message: str) -> dict[str, Any]:
        """Take in a message that is not of what was heard: all `detections` are kept."""
        values: dict[str, Any] = json.loads(message)
        if values["type"] == "detection":
            self.detections.append(values)
        return values

    def _hear(self, message: bytes) -> None:
        """Take in what was heard: `columns` of the spectrogram, and the `heard` windows' scores."""
        _, _, frames, windows, labels = struct.unpack_from("<IfHHH", message)
        at = 16
        for _ in range(windows):
            self.heard.append(list(struct.unpack_from(f"<{labels}f", message, at + 16)))
            at += 16 + 4 * labels
        assert len(message) == at + 232 * frames
        self.frames += frames
        self.columns += message[at:]

    def close(self) -> None:
        self._open.close()


def chunk(number: int, samples: np.ndarray) -> bytes:
    """One chunk of floats as the page sends it."""
    return struct.pack("<IB3xd", number, 1, time.time() * 1000) + samples.astype("<f4").tobytes()
