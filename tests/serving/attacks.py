"""What attackers say to a server: bytes on a bare socket, which no client library would send."""

from __future__ import annotations

import socket


def ask(port: int, request: bytes, timeout: float = 30) -> bytes:
    """What a server answers until it closes the connection, or b"" where it closes without a word."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(request)
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    """What still comes until the other side closes."""
    answer = b""
    try:
        while part := connection.recv(1 << 16):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def status(answer: bytes) -> int:
    """Of an answer; 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def request(method: str, path: str, *headers: str, host: str | None = "127.0.0.1", version: str = "1.1") -> bytes:
    """A request's head; the connection ends after its answer."""
    own = [f"Host: {host}"] if host is not None else []
    return "\r\n".join([f"{method} {path} HTTP/{version}", *own, "Connection: close", *headers, "", ""]).encode(
        "latin-1"
    )
