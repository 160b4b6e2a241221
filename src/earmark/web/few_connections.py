"""A listener that takes few connections at a time, counted from the moment in which they are taken.

HTTP's own limits see no connection before its TLS handshake, which may never end; meanwhile it holds a file descriptor.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any


class FewTaken(socket.socket):
    """Works where the event loop is asyncio's own and calls `accept`; elsewhere it is an ordinary listener.

    Args:
        listening: a bound socket, which this one takes the place of.
        most: connections at a time; further ones are closed as they come.
        most_of_one: of these, from one address.
    """

    def __init__(self, listening: socket.socket, most: int, most_of_one: int) -> None:
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self._most, self._most_of_one = most, most_of_one
        self._taken: Counter[str] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection.

        Raises:
            ConnectionAbortedError: there are too many; event loops then go on.
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
        self._taken += Counter()  # drops the addresses that have none left


class _Taken(socket.socket):
    """A connection that tells once when it is closed."""

    def __init__(self, connection: socket.socket, on_close: Callable[[], None]) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._on_close: Callable[[], None] | None = on_close

    def close(self) -> None:
        super().close()
        if self._on_close is not None:
            tell, self._on_close = self._on_close, None
            tell()
