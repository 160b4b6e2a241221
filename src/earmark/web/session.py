"""A client's live session on a WebSocket: accepted or refused, counted, and closed with a reason."""

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

REASON_BYTES = 123  # the most that a close frame holds: RFC 6455, 5.5
CLOSING_SECONDS = 10  # how long a slow client has to read why it was dropped
OWN_FAILURE = "The server met an error of its own."

S = TypeVar("S")


class Drop(Enum):
    """Why the server ends a session: the label in the metrics, and the close code (RFC 6455, 7.4.1)."""

    PROTOCOL = "protocol", 1008
    FAILED = "failed", 1011
    SLOW = "slow", 1013
    FULL = "full", 1013
    IDLE = "idle", 1001
    STOPPED = "stopped", 1001

    def __init__(self, label: str, code: int) -> None:
        self.label, self.code = label, code


class ProtocolError(Exception):
    """The client sent something that can't be understood."""


class GoneError(Exception):
    """The client has gone."""


class Sessions(Generic[S]):
    """A server's live sessions.

    Args:
        metrics: where sessions are counted.
        most: how many may be open at once.
        full: what a client is told when as many are open.
    """

    def __init__(self, metrics: Metrics, most: int, full: str) -> None:
        self.metrics = metrics
        self._most, self._full = most, full
        self._open: set[S] = set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._open))  # a copy, as sessions may end during the iteration

    def refusal(self) -> tuple[Drop, str] | None:
        """Why a further session is refused; None if there is room."""
        return (Drop.FULL, self._full) if len(self._open) >= self._most else None

    @contextmanager
    def holding(self, session: S) -> Iterator[None]:
        """Count a session as open for the duration of the block."""
        self._open.add(session)
        self.metrics.open.inc()
        self.metrics.streams.inc()
        try:
            yield
        finally:
            self._open.discard(session)
            self.metrics.open.dec()


class LiveSession:
    """One live session. Subclasses define what it does, in `parts`.

    Args:
        sessions: the server's sessions.
        websocket: the connection, not accepted yet.
    """

    tells_why: ClassVar[bool] = False  # whether to send the reason before the close frame too, which may truncate it

    def __init__(self, sessions: Sessions[Any], websocket: WebSocket) -> None:
        self._sessions, self._websocket = sessions, websocket
        self._work: list[asyncio.Task[None]] = []
        self._dropped: tuple[Drop, str] | None = None

    def parts(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The session's concurrent tasks. When the first of them ends, so does the session."""
        raise NotImplementedError

    def free(self) -> None:
        """Release large objects when the session is over."""

    async def run(self) -> None:
        """Serve the client until it is done, has gone, or must be dropped."""
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
                await asyncio.wait(self._work)  # so that they send nothing while the reason is sent
                await self._end()
            finally:
                self._cancel()
                # Break a reference cycle: an error holds its stack frames, these hold the session, and the session
                # holds the tasks with the error. Garbage collection would free it only minutes later on a busy server.
                self._work = []
                self.free()

    def drop(self, why: Drop, reason: str) -> None:
        """End the session from the server's side."""
        if self._dropped is None and self._work:
            self._dropped = why, reason
            self._cancel()

    async def receive(self) -> str | bytes:
        """Wait for the next message.

        Raises:
            GoneError: the client has disconnected.
        """
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise GoneError
        data: bytes | None = message.get("bytes")
        return message.get("text") or "" if data is None else data

    async def transmit(self, message: dict[str, Any] | bytes) -> None:
        """Send a message, as JSON unless it is bytes. This blocks while the client doesn't read.

        Raises:
            GoneError: the connection was closed meanwhile.
        """
        try:
            if isinstance(message, bytes):
                await self._websocket.send_bytes(message)
            else:
                await self._websocket.send_text(json.dumps(message, separators=(",", ":")))
        except RuntimeError as error:  # Starlette's sign of a closed connection
            raise GoneError from error

    async def close(self, code: int, reason: str, *, is_error: bool = False) -> None:
        """Close the connection. The client may have gone, or may not be reading.

        Args:
            code: the close code, see RFC 6455, 7.4.1.
            reason: sent in the close frame, truncated to what fits.
            is_error: whether to send the whole reason first, as an error message.
        """
        cut = reason.encode()[:REASON_BYTES].decode(errors="ignore")

        async def say() -> None:
            if is_error:
                await self._websocket.send_json({"type": "error", "error": reason})
            await self._websocket.close(code, cut)

        # Starlette raises RuntimeError if the connection is closed already.
        with suppress(asyncio.TimeoutError, WebSocketDisconnect, RuntimeError):
            await asyncio.wait_for(say(), CLOSING_SECONDS)

    def count(self, seconds: float, has_windows: bool, came: float) -> None:
        """Count a message of sound that has been answered.

        Args:
            seconds: the duration of its sound.
            has_windows: whether it completed any windows.
            came: when it arrived, by `time.monotonic`.
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
        """Tell the client why the session ends, unless it has gone or knows already."""
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
