"""A connection that breaks, stalls, reorders and repeats, and a studio that is killed: each recording is saved once.

The studio is the real one in a process of its own. The client keeps to docs/studio-protocol.md: it holds every chunk of
a recording until that is told to be saved, and sends what isn't again on each new connection.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from websockets import Origin
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from benchmarks.table import Claim
from earmark import Project, read_clip
from reliability.faults_kills import Samples, digest
from tests.studio.running import CHUNK, Studio, chunk, studio

RATE = 48_000  # Hz
PATIENCE = 60.0  # seconds in which a recording must have been saved
SHORT, LONG = (20, 2), (400, 30)  # recordings, and kills of the studio
FAULTS = ("dropped", "stalled", "reordered", "duplicated")


@dataclass
class Taken:
    """A recording as the page holds it: chunks from number `first`; its end, once the button is let go."""

    id: str
    first: int
    chunks: list[Samples]
    end: int | None = None


class Microphone:
    """A page's end of the connection, with all its faults.

    Args:
        running: the studio.
        seed: what goes wrong, and when.
    """

    def __init__(self, running: Studio, seed: int) -> None:
        self._studio, self.dice = running, random.Random(seed)
        self._sound = np.random.default_rng(seed)
        self._connection: ClientConnection | None = None
        self._next = 0
        self.unsaved: dict[str, Taken] = {}
        self.saved: dict[str, str] = {}  # the digest of each recording that was told to be saved
        self.faults: Counter[str] = Counter()
        self.refused: list[str] = []

    def record(self, chunks: int) -> None:
        """Record that many chunks. Which are sent late, twice, or over a connection that breaks, the dice say."""
        taken = Taken("".join(self.dice.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8)), self._next, [])
        self.unsaved[taken.id] = taken
        self._say(_record(taken))
        late: list[bytes] = []
        for _ in range(chunks):
            steps = self._sound.integers(-(2**13), 2**13, CHUNK)  # of 16 bits, which FLAC keeps as they are
            samples = (steps / 2**15).astype(np.float32)
            taken.chunks.append(samples)
            message = chunk(self._next, samples)
            self._next += 1
            self._send_somehow(message, late)
        taken.end = self._next
        self._say(_stop(taken))
        for message in late:  # after the stop, as the last of all
            self._send(message)
        self.listen(0)

    def _send_somehow(self, message: bytes, late: list[bytes]) -> None:
        fault = self.dice.choice(FAULTS) if self.dice.random() < 0.15 else ""
        self.faults[fault] += 1
        if fault == "reordered":
            late.append(message)
            return
        self._send(message)
        if fault == "duplicated":
            self._send(message)
        elif fault == "stalled":
            time.sleep(self.dice.uniform(0, 0.05))
        elif fault == "dropped":
            self.drop()
        if late and self.dice.random() < 0.5:
            self._send(late.pop(self.dice.randrange(len(late))))

    def drop(self) -> None:
        """The network is gone, with no closing handshake."""
        if self._connection is not None:
            self._connection.socket.close()
            self._connection = None

    def _connected(self) -> ClientConnection:
        """The connection, made anew where it is lost; what isn't saved is sent again then."""
        if self._connection is None:
            origin = Origin(self._studio.address)
            address = f"ws://127.0.0.1:{self._studio.port}/api/live"
            opened = connect(address, origin=origin, max_queue=None, close_timeout=1)
            self._connection = ExitStack().enter_context(opened)  # it is closed by hand, or breaks
            self._connection.send(json.dumps({"type": "hello", "sample_rate": RATE, "next": self._next}))
            for taken in self.unsaved.values():
                self._connection.send(_record(taken))
                for number, samples in enumerate(taken.chunks, taken.first):
                    self._connection.send(chunk(number, samples))
                if taken.end is not None:
                    self._connection.send(_stop(taken))
        return self._connection

    def _send(self, message: bytes | str) -> None:
        try:
            self._connected().send(message)
        except (OSError, WebSocketException):  # what this was of is sent again with the rest
            self._connection = None

    _say = _send

    def listen(self, seconds: float) -> None:
        """Take in what the studio tells within that time; a lost connection is made again."""
        until = time.monotonic() + seconds
        while True:
            try:
                message = self._connected().recv(max(0.0, min(0.2, until - time.monotonic())))
            except TimeoutError:
                if time.monotonic() >= until:
                    return
                continue
            except (OSError, WebSocketException):
                self._connection = None
                if time.monotonic() >= until:
                    return
                time.sleep(0.05)
                continue
            if isinstance(message, str):
                self._note(json.loads(message))

    def _note(self, told: dict[str, str]) -> None:
        if told["type"] == "refused":
            self.refused.append(told["error"])
        if told["type"] in ("saved", "refused") and (taken := self.unsaved.pop(told["recording"], None)):
            self.saved[taken.id] = digest(np.concatenate(taken.chunks))

    def close(self) -> None:
        """Wait until all is saved, and go."""
        until = time.monotonic() + PATIENCE
        while self.unsaved and time.monotonic() < until:
            self.listen(0.1)
        if self._connection is not None:
            with suppress(OSError, WebSocketException):
                self._connection.close()


def _record(taken: Taken) -> str:
    return json.dumps(
        {"type": "record", "recording": taken.id, "label": "Left", "sample_rate": RATE, "first": taken.first}
    )


def _stop(taken: Taken) -> str:
    return json.dumps({"type": "stop", "recording": taken.id, "end": taken.end})


def run(long: bool) -> list[Claim]:
    """Record 400 times or 20, while the connection breaks, and the studio is killed 30 times or 2."""
    count, kills = LONG if long else SHORT
    with tempfile.TemporaryDirectory() as name, ExitStack() as studios:
        folder = Path(name) / "project"
        running = studios.enter_context(studio(folder))
        microphone = Microphone(running, seed=1)
        for number in range(count):
            microphone.record(microphone.dice.randrange(6, 40))
            if number % (count // kills) == count // kills - 1:
                time.sleep(microphone.dice.uniform(0, 0.02))
                running.kill()  # with no chance to tidy up
                studios.close()
                running = studios.enter_context(studio(folder, running.port))
                if long:
                    print(f"  sockets: {number + 1} recordings", file=sys.stderr)
        microphone.close()
        return [_compare(Project(folder), microphone, count, kills)]


def _compare(project: Project, microphone: Microphone, count: int, kills: int) -> Claim:
    found = Counter(digest(read_clip(clip.path).samples) for clip in project.clips())
    sent = set(microphone.saved.values())
    lost = len(sent - found.keys()) + len(microphone.unsaved)
    twice = sum(times > 1 for times in found.values())
    faults = ", ".join(f"{microphone.faults[fault]} {fault}" for fault in FAULTS)
    measured = (
        f"{faults}, studio killed {kills} times; clips recorded {count}, saved {len(found)}; {lost} lost, "
        f"{len(found.keys() - sent)} corrupt, {twice} twice, {len(microphone.refused)} refused"
    )
    holds = found.keys() == sent and len(found) == count and not (lost or twice or microphone.refused)
    return Claim(
        "WebSocket dropped, stalled, reordered, duplicated; the studio killed (kill -9) while it records",
        "each recording saved exactly once, bit for bit",
        measured,
        holds,
    )
