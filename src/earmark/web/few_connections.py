"""A listener that limits connections from the moment it accepts them.

The limits on HTTP connections apply only after the TLS handshake. A handshake may never end, and until then the
connection holds a file descriptor.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any


class FewTaken(socket.socket):
    """A listening socket that limits its connections.

    It works with asyncio's own event loop, which calls `accept`. With others it is an ordinary listener.

    Args:
        listening: a bound socket, which this one replaces.
        most: the most connections at a time; further ones are closed at once.
        most_of_one: the most connections from one address.
    """

    def __init__(self, listening: socket.socket, most: int, most_of_one: int) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self._most, self._most_of_one = most, most_of_one
        self._taken: Counter[str] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises:
            ConnectionAbortedError: there are too many connections. Event loops ignore this error.
        """
        connection, address = super().accept()
        host = address[0]
        if self._taken[host] >= self._most_of_one or sum(self._taken.values()) >= self._most:
            connection.close()
            raise ConnectionAbortedError
        self._taken[host] += 1
        return _Taken(connection, lambda: self._let_go(host)), address

    def _let_go(self, host: str) -> None:
        self._taken[host] -= 1
        self._taken += Counter()  # drops addresses without connections


class _Taken(socket.socket):
    """A connection that calls `on_close` once, when it is closed."""

    def __init__(self, connection: socket.socket, on_close: Callable[[], None]) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._on_close: Callable[[], None] | None = on_close

    def close(self) -> None:
        super().close()
        if self._on_close is not None:
            tell, self._on_close = self._on_close, None
            tell()
