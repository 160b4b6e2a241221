"""Keeps other sites out: checks Host and Origin, and tells the browser what the page may load."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

CHANGE_HEADER = ("x-earmark", "studio")  # no form and no simple request of another site can carry it
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report is one file without scripts: its figures, sounds and style are in it.
REPORT_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self)",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware in front of the studio.

    A foreign Host means that another name was pointed at this machine (DNS rebinding); a foreign Origin, that another
    site's page is asking.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, refusal)(scope, receive, send)
        else:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send)


def _refusal(scope: Scope) -> str | None:
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if host.rsplit(":", 1)[0].lower() not in _LOOPBACK and host.lower() not in _LOOPBACK:
        return "The studio answers on this machine only: open http://127.0.0.1 with the studio's port."
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return "The studio answers its own page only."
    name, value = CHANGE_HEADER
    if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD") and headers.get(name) != value:
        return f"A request that changes something needs the header {name}: {value}."
    return None


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
