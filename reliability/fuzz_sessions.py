"""The servers' own sessions, fuzzed: the real classes, on a connection that lies in memory.

A case is a sequence of messages. A session may go on, or close for a reason; whatever else it raises is found, as is
whatever a task of it raises that nobody waits for.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from starlette.websockets import WebSocket

from earmark.recognizer.recognizer import Recognizer
from reliability.fuzz_mutation import Message, split
from reliability.fuzz_told import Try, check_sentence

MOST_MESSAGES = 60
SAVING_SECONDS = 0.005  # that a page waits for its recording, so that some are saved before it goes and some after
CLOSINGS = (1000, 1001, 1008, 1013)  # 1011 would be an error of the server's own
BANDS = Path(__file__).parent / "corpus" / "onnx" / "bands.onnx"


class Loop:
    """An event loop for all cases, which tells of errors that would be printed and forgotten."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._errors: list[BaseException | str] = []
        self._loop.set_exception_handler(self._note)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it to its end, and all that it leaves behind, which must be nothing.

        Raises:
            AssertionError: it left tasks, or an error that nobody was told of.
            Exception: whatever it raised.
        """
        self._loop.run_until_complete(work)
        self._loop.run_until_complete(asyncio.sleep(0))
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        errors, self._errors = self._errors, []
        if errors and isinstance(errors[0], BaseException):
            raise errors[0]
        assert not errors, errors
        assert not left, left

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._errors.append(context.get("exception") or context["message"])


class Connection:
    """A client that sends messages and goes; what it was told is kept.

    Attributes:
        websocket: as a server gets it.
        sent: what it was sent.
        closing: code and reason with which it was closed; None where it went by itself.
    """

    def __init__(self, messages: list[Message]) -> None:
        self._messages = iter(messages[:MOST_MESSAGES])
        self._waits = any(isinstance(message, str) and '"stop"' in message for message in messages)
        self._is_new = True
        self.sent: list[str | bytes] = []
        self.closing: tuple[int, str] | None = None
        scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": [], "subprotocols": []}
        self.websocket = WebSocket(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._is_new:
            self._is_new = False
            return {"type": "websocket.connect"}
        await asyncio.sleep(0)  # the server's other tasks run meanwhile
        message = next(self._messages, None)
        if message is None and self._waits:
            await asyncio.sleep(SAVING_SECONDS)
        if message is None or self.closing is not None:
            return {"type": "websocket.disconnect", "code": 1001}
        return {"type": "websocket.receive", "bytes" if isinstance(message, bytes) else "text": message}

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.closing = (message.get("code", 1000), message.get("reason") or "")
        elif message["type"] == "websocket.send":
            text = message.get("text")
            self.sent.append(message["bytes"] if text is None else text)

    def check(self) -> None:
        """Raises AssertionError where it was told what a browser can't read, or closed as no client's fault is."""
        for message in self.sent:
            if isinstance(message, str):
                told = json.loads(message, parse_constant=_no_number)
                if "error" in told:
                    check_sentence(told["error"])
        if self.closing is not None:
            code, reason = self.closing
            assert code in CLOSINGS, self.closing
            assert len(reason.encode()) <= 123, self.closing
            assert reason, self.closing


def live(scratch: Path) -> Try:
    """The studio's live protocol, with a project to record into and a model to listen with."""
    from earmark.project import Project
    from earmark.studio.page_session import PageSession
    from earmark.studio.state import Studio

    project = Project(scratch / "project", create=True)
    settings = (project.path / "earmark.toml").read_bytes()
    studio, loop = Studio(project), Loop()
    studio.recognizer = Recognizer(BANDS.read_bytes())

    def attempt(data: bytes) -> None:
        connection = Connection(split(data))
        loop.run(PageSession(studio, connection.websocket).run())
        connection.check()
        assert not studio.sessions
        if project.clips():
            shutil.rmtree(project.path / "clips")
            (project.path / "earmark.toml").write_bytes(settings)
            studio._saved.clear()
            studio._undo.clear()

    return attempt


def stream() -> Try:
    """The recognition API's live protocol."""
    from earmark.serving.stream import Streams
    from earmark.web.batching import ScoringThread
    from earmark.web.metrics import Metrics

    metrics, loop = Metrics(), Loop()
    recognizer = Recognizer(BANDS.read_bytes())
    streams = Streams(recognizer, ScoringThread(metrics), metrics, most=4, slow_seconds=10, idle_seconds=60)

    def attempt(data: bytes) -> None:
        connection = Connection(split(data))
        loop.run(streams.serve(connection.websocket))
        connection.check()
        assert not len(streams)

    return attempt


def requests() -> Try:
    """The recognition API's requests. The messages: method and target, header lines, and parts of the body."""
    from earmark.serving.app import create_app
    from earmark.web.guard import Guard, Visitors

    app, loop = Guard(create_app(Recognizer(BANDS.read_bytes()), max_streams=4), Visitors(proxied=True)), Loop()

    def attempt(data: bytes) -> None:
        messages = [one.encode(errors="replace") if isinstance(one, str) else one for one in split(data)]
        first, headers, *parts = [*messages, b"", b""][: max(2, len(messages))]
        answer: list[Any] = []
        loop.run(_request(app, first, headers, parts, answer))
        assert answer, "no answer"
        assert answer[0]["status"] < 500, answer
        body = b"".join(part.get("body", b"") for part in answer[1:])
        if answer[0]["status"] >= 400 and body.startswith(b"{"):
            check_sentence(json.loads(body)["error"])

    return attempt


async def _request(app: Any, first: bytes, headers: bytes, parts: list[bytes], answer: list[Any]) -> None:
    """Ask as uvicorn does of what it lets through: names of headers in lower case, targets without a fragment."""
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    lines = [line.partition(b":") for line in headers.split(b"\n") if b":" in line]
    scope = {
        "type": "http", "http_version": "1.1", "method": method.decode(errors="replace").upper(), "scheme": "http",
        "path": path.decode(errors="replace"), "raw_path": path, "query_string": query, "root_path": "",
        "headers": [(name.strip().lower(), value.strip()) for name, _, value in lines],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    left = list(parts) or [b""]

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    async def send(message: Any) -> None:
        answer.append(message)

    await app(scope, receive, send)


def _no_number(name: str) -> None:
    raise AssertionError(f"{name} is no JSON, and a browser can't read the message")
