"""A connection protocol that limits what a client can tie up: few connections, and little time to send a request.

It extends uvicorn's protocol on h11, which limits a request's head to 64 KiB and refuses an ambiguous one. The one on
httptools buffers a head of any length.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEAD_SECONDS = 10.0  # to complete a request's head, from the connection or from the first byte after an answer
FULL = b'{"error": "The server has all connections that it takes: close some, then try again."}'
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(FULL), FULL)
)


class Connection(H11Protocol):
    """An HTTP connection, until it becomes a WebSocket. See `connection_class`."""

    most: ClassVar[int] = MOST_CONNECTIONS
    most_of_one: ClassVar[int | None] = None
    _timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._watch()
        others: list[Any] = [
            other for other in self.connections if other is not self and not other.transport.is_closing()
        ]
        own = [other for other in others if other.client and self.client and other.client[0] == self.client[0]]
        if not (_has_room(own, self.most_of_one) and _has_room(others, self.most)):
            transport.write(REFUSAL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unwatch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_protocol() is self:
            self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._unwatch()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    @property
    def is_idle(self) -> bool:
        """Whether the server has nothing to do for it, as no request's head is complete yet."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        """Start the time limit for a request's head. Other bytes, as the rest of a refused upload, don't extend it."""
        if not self.is_idle:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def connection_class(most: int, most_of_one: int | None = None) -> type[Connection]:
    """A listener's protocol class, for `uvicorn.Config`.

    Args:
        most: the most connections at a time. One more closes the connection that has been idle for longest. If none
            is idle, the new one is refused.
        most_of_one: the most connections from one address; None for no such limit.
    """
    return type("Connection", (Connection,), {"most": most, "most_of_one": most_of_one})


def _has_room(others: list[Any], most: int | None) -> bool:
    if most is None or len(others) < most:
        return True
    idle = [other for other in others if isinstance(other, Connection) and other.is_idle]
    if not idle:
        return False
    min(idle, key=lambda other: other._idle_since).transport.abort()
    return True
