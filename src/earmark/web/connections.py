"""Connections that cost little: few at a time, and each is let go of unless it soon says what it wants.

It is uvicorn's protocol on h11, which bounds a request's head (64 KiB) and refuses one that can be read in two ways;
that on httptools holds a head of any length.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
HEAD_SECONDS = 10.0  # from a connection's first byte, or the last answer's next, to the end of a request's head
FULL = b'{"error": "The server has all connections that it takes: close some, then try again."}'
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
    b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(FULL), FULL)
)


class Connection(H11Protocol):
    """A connection, until it becomes a WebSocket. See `connection_class`."""

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
        """Whether the server has nothing to do for it: a request's head hasn't come whole yet."""
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        """Give the client its time to send a head; what else it sends, as more of a refused upload, gains it none."""
        if not self.is_idle:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def connection_class(most: int, most_of_one: int | None = None) -> type[Connection]:
    """The protocol of a listener, as `uvicorn.Config` takes it.

    Args:
        most: connections at a time. When there are more, the one that has been idle for longest goes; where none is
            idle, the new one does.
        most_of_one: of these, from one address.
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
