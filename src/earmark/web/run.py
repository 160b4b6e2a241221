"""Runs a server until it is interrupted."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.errors import EarmarkError, as_reason
from earmark.web.connections import MOST_CONNECTIONS, connection_class
from earmark.web.few_connections import FewTaken

MAX_MESSAGE_BYTES = 1 << 20  # largest WebSocket message: a second of 32-bit floats at 192 kHz fits
SEND_BUFFER = 64 << 10  # bytes that the system buffers for a client that doesn't read, roughly
UNREAD_MS = 30_000  # the system closes the connection of a client that has read nothing for this long

MOST_OF_ONE_ADDRESS = 32  # connections from one address: a browser opens six, and one for live sound
# Further connections, for TLS handshakes in progress: in all and from one address. So these can't crowd out the others.
MOST_HANDSHAKES, HANDSHAKES_OF_ONE = 64, 32


class _Interrupted:
    """ASGI middleware that answers requests cancelled because the server stops."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answered = False

        async def noting(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            if scope["type"] == "http" and not is_answered:
                await JSONResponse({"error": "The server is stopping: ask again later."}, 503)(scope, receive, send)


class _Beside(uvicorn.Server):
    """A second listener. It starts and stops with the first one, which alone handles signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Server(uvicorn.Server):
    """A server with callbacks for when it has started and before it stops, and with a second listener if wanted."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_start: Callable[[], None],
        on_stop: Callable[[], Awaitable[None]] | None,
        beside: tuple[_Beside, socket.socket] | None,
    ) -> None:
        super().__init__(config)
        self._on_start, self._on_stop, self._beside = on_start, on_stop, beside
        self._serving_beside: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._beside is not None:
            server, listening = self._beside
            self._serving_beside = asyncio.create_task(server.serve([listening]))
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_stop is not None:
            await self._on_stop()
        if self._beside is not None and self._serving_beside is not None:
            self._beside[0].should_exit = True
            await self._serving_beside
        await super().shutdown(sockets)


@dataclass(frozen=True)
class Secure:
    """A second listener, for HTTPS. Its app shares the first one's state.

    Attributes:
        app: the app to serve.
        listening: a socket from `bind`.
        certificate: a PEM file with the key and the certificate.
    """

    app: ASGIApp
    listening: socket.socket
    certificate: Path


def run(
    app: ASGIApp,
    listening: socket.socket,
    on_start: Callable[[], None],
    on_stop: Callable[[], Awaitable[None]] | None = None,
    secure: Secure | None = None,
    most_connections: int = MOST_CONNECTIONS,
) -> None:
    """Serve an app until it is interrupted.

    Args:
        app: the app to serve.
        listening: a socket from `bind`.
        on_start: called once the server answers.
        on_stop: awaited when the server is interrupted, while connections are still open.
        secure: a second listener, for HTTPS. It also limits the connections of each address.
        most_connections: the most connections at a time, for each listener.

    Raises:
        EarmarkError: the certificate can't be used.
    """
    beside = None
    if secure is not None:
        # The first listener runs the app's lifespan.
        http = connection_class(most_connections, MOST_OF_ONE_ADDRESS)
        config = _config(secure.app, http=http, lifespan="off", ssl_certfile=secure.certificate)
        try:
            config.load()
        except OSError as error:
            told = f"{secure.certificate} is no certificate ({as_reason(error)}): delete it, then try again."
            raise EarmarkError(told) from error
        few = FewTaken(secure.listening, most_connections + MOST_HANDSHAKES, MOST_OF_ONE_ADDRESS + HANDSHAKES_OF_ONE)
        beside = (_Beside(config), few)
    loop = "asyncio" if secure else "auto"  # other loops don't call `accept`, so they would bypass the limit
    config = _config(app, http=connection_class(most_connections), loop=loop)
    _Server(config, on_start, on_stop, beside).run(sockets=[listening])


def _config(app: ASGIApp, **settings: Any) -> uvicorn.Config:
    return uvicorn.Config(
        _Interrupted(app),
        log_level="warning",
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # within one machine it costs more time than it saves
        timeout_graceful_shutdown=2,
        proxy_headers=False,  # any program on this machine could forge its address
        server_header=False,
        **settings,
    )


def bind(host: str, port: int, option: str = "--port") -> socket.socket:
    """Open a listening socket.

    Args:
        host: a name or address of this machine.
        port: the port to listen on; 0 for any free one.
        option: the command-line option that sets the port, for the error message.

    Raises:
        EarmarkError: the host isn't this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise EarmarkError(
            f"{host} is no address of this machine ({error}): choose another one with --host."
        ) from error
    listening = socket.socket(family)
    # Accepted connections inherit these options.
    if os.name == "posix":  # on Windows it would let another program use the same port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    try:
        listening.bind(address)
        listening.listen()  # only this claims the port: two sockets can be bound to it while neither listens
    except (OSError, OverflowError) as error:
        listening.close()
        raise EarmarkError(f"Port {port} can't be used ({error}): choose another one with {option}.") from error
    return listening
