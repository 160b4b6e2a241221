"""A client's live session on a WebSocket: taken in or refused, counted, and closed with the reason."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from earmark.web.metrics import Metrics

REASON_BYTES = 123  # of a closing frame: RFC 6455, 5.5
CLOSING_SECONDS = 10  # that a client who is behind has to read why it is let go
OWN_FAILURE = "The server met an error of its own."

S = TypeVar("S")


class Drop(Enum):
    """Why the server ends a session: what the metrics call it, and the code it closes with (RFC 6455, 7.4.1)."""

    PROTOCOL = "protocol", 1008
    FAILED = "failed", 1011
    SLOW = "slow", 1013
    FULL = "full", 1013
    IDLE = "idle", 1001
    STOPPED = "stopped", 1001

    def __init__(self, label: str, code: int) -> None:
        self.label, self.code = label, code


class ProtocolError(Exception):
    """The client sent what can't be understood."""


class GoneError(Exception):
    """The client has gone."""


class Sessions(Generic[S]):
    """A server's live sessions.

    Args:
        metrics: where they are counted.
        most: how many may be open at once.
        full: what a client is told when they are.
    """

    def __init__(self, metrics: Metrics, most: int, full: str) -> None:
        self.metrics = metrics
        self._most, self._full = most, full
        self._open: set[S] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._open))  # some may end meanwhile

    def refusal(self) -> tuple[Drop, str] | None:
        """Why another one isn't taken in, if it isn't."""
        return (Drop.FULL, self._full) if len(self._open) >= self._most else None

    @contextmanager
    def holding(self, session: S) -> Iterator[None]:
        """Count it among them for as long as the block lasts."""
        self._open.add(session)
        self.metrics.open.inc()
        self.metrics.streams.inc()
        try:
            yield
        finally:
            self._open.discard(session)
            self.metrics.open.dec()


class LiveSession:
    """One of them. Its kinds say what they do, in `parts`.

    Args:
        sessions: those of the server.
        websocket: the connection, not accepted yet.
    """

    tells_why: ClassVar[bool] = False  # whether a message comes before the closing frame, which cuts the reason

    def __init__(self, sessions: Sessions[Any], websocket: WebSocket) -> None:
        self._sessions, self._websocket = sessions, websocket
        self._work: list[asyncio.Task[None]] = []
        self._dropped: tuple[Drop, str] | None = None

    def parts(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What is done at the same time. With the first that ends, the session does."""
        raise NotImplementedError

    def free(self) -> None:
        """Let go of what is large, now that the session is over."""

    async def run(self) -> None:
        """Serve the client until it has said all, is gone, or has to be let go."""
        await self._websocket.accept()
        refusal = self._sessions.refusal()
        if refusal is not None:
            await self._let_go(*refusal)
            return
        with self._sessions.holding(self):
            self._work = [asyncio.create_task(part) for part in self.parts()]
            try:
                await asyncio.wait(self._work, return_when=asyncio.FIRST_COMPLETED)
                self._cancel()
                await asyncio.wait(self._work)  # so that nothing is sent while the reason is
                await self._end()
            finally:
                self._cancel()
                # An error holds the frames that it passed, those hold the session, and it the work with its error: a
                # circle, which stays in memory until Python looks for those. A busy server does once in minutes.
                self._work = []
                self.free()

    def drop(self, why: Drop, reason: str) -> None:
        """End it from the server's side."""
        if self._dropped is None and self._work:
            self._dropped = why, reason
            self._cancel()

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            GoneError: there is none.
        """
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise GoneError
        data: bytes | None = message.get("bytes")
        return message.get("text") or "" if data is None else data

    async def transmit(self, message: dict[str, Any] | bytes) -> None:
        """Send a message, as JSON unless it is bytes; it waits for a client that doesn't read.

        Raises:
            GoneError: the connection was closed meanwhile.
        """
        try:
            if isinstance(message, bytes):
                await self._websocket.send_bytes(message)
            else:
                await self._websocket.send_text(json.dumps(message, separators=(",", ":")))
        except RuntimeError as error:  # by which Starlette tells it
            raise GoneError from error

    async def close(self, code: int, reason: str, *, is_error: bool = False) -> None:
        """Close the connection; the client may be gone, or not be reading.

        Args:
            reason: as much of it as fits comes with the closing frame.
            is_error: whether to send all of it before, as an error.
        """
        cut = reason.encode()[:REASON_BYTES].decode(errors="ignore")

        async def say() -> None:
            if is_error:
                await self._websocket.send_json({"type": "error", "error": reason})
            await self._websocket.close(code, cut)

        # By RuntimeError Starlette tells that the connection was closed before.
        with suppress(asyncio.TimeoutError, WebSocketDisconnect, RuntimeError):
            await asyncio.wait_for(say(), CLOSING_SECONDS)

    def count(self, seconds: float, has_windows: bool, came: float) -> None:
        """Count a message of sound that has been answered.

        Args:
            seconds: how much sound it was.
            has_windows: whether it completed some.
            came: when it came in, in `time.monotonic`.
        """
        metrics = self._sessions.metrics
        metrics.chunks.inc()
        metrics.audio.inc(seconds)
        if has_windows:
            metrics.latency.observe(time.monotonic() - came)

    def _cancel(self) -> None:
        for task in self._work:
            task.cancel()

    async def _end(self) -> None:
        """Say why, unless the client has gone or has been told all."""
        errors = [task.exception() for task in self._work if not task.cancelled()]
        error = next((error for error in errors if error is not None), None)
        if isinstance(error, ProtocolError):
            await self._let_go(Drop.PROTOCOL, str(error))
        elif error is not None and not isinstance(error, (GoneError, WebSocketDisconnect)):
            await self._let_go(Drop.FAILED, OWN_FAILURE)
            raise error
        elif self._dropped is not None:
            await self._let_go(*self._dropped)

    async def _let_go(self, why: Drop, reason: str) -> None:
        self._sessions.metrics.dropped.labels(why.label).inc()
        await self.close(why.code, reason, is_error=self.tells_why)
