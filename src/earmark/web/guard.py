"""Keeps other sites out: checks Host, Origin and Sec-Fetch-Site, and sets the security headers of every answer."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:\d{1,5})?")  # name and port, in lower case: RFC 9110, 7.2
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
FOREIGN = "The server answers its own pages only, and those of other sites that it was told of."
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class Visitors:
    """Which requests are allowed.

    A foreign Host means that another name was pointed at this machine (DNS rebinding). A foreign Origin means that
    another site's page sent the request. Browsers send no Origin when a page loads another site's image or script, but
    Sec-Fetch-Site reveals this, and also requests from pages of other local servers. Links to the page may be followed.

    Attributes:
        hosts: names that requests may use for this machine, without a port.
        any_address: whether requests may also use any IP address, which no other site can claim as its name.
        origins: origins of other sites whose pages may send requests. This server's own pages always may.
        change_header: name and value of a header that requests other than GET and HEAD must carry. Another site's
            forms and simple requests can't set it.
        proxied: whether a proxy may serve HTTPS in front of the server, which itself speaks HTTP.
        remedy: the error message for a request that used another name.
    """

    hosts: Collection[str] = LOOPBACK
    any_address: bool = False
    origins: Collection[str] = ()
    change_header: tuple[str, str] | None = None
    proxied: bool = False
    remedy: str = "The server answers on this machine only: use http://127.0.0.1 with its port."

    def refusal(self, scope: Scope) -> str | None:
        """Why a request is refused; None if it is allowed."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0].lower()):
            return self.remedy
        if len(origins) > 1 or (origins and not self._may_ask(origins[0].lower(), hosts[0].lower(), scope)):
            return FOREIGN
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not origins and not _is_link(scope, headers):
            return FOREIGN
        if self.change_header is not None and scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            name, value = self.change_header
            if headers.get(name) != value:
                return f"A request that changes something needs the header {name}: {value}."
        return None

    def _is_ours(self, host: str) -> bool:
        match = HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1]
        return name in self.hosts or (self.any_address and is_address(name.strip("[]")))

    def _may_ask(self, origin: str, host: str, scope: Scope) -> bool:
        is_secure = scope["scheme"] in ("https", "wss")
        own = {f"https://{host}"} if is_secure else {f"http://{host}"}
        if self.proxied:
            own.add(f"https://{host}")
        return origin in own or origin in self.origins


@dataclass(frozen=True)
class Guard:
    """ASGI middleware that refuses foreign requests and adds headers to every HTTP answer.

    Args:
        app: the app to guard.
        visitors: which requests are allowed.
        headers: added to every answer that doesn't set them itself.
    """

    app: ASGIApp
    visitors: Visitors = Visitors()
    headers: Mapping[str, str] = field(default_factory=lambda: HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.visitors.refusal(scope)
        if refusal is not None and scope["type"] == "http":
            await JSONResponse({"error": refusal}, 403)(scope, receive, self._with_headers(send))
        elif refusal is not None:
            await WebSocketClose(1008, refusal)(scope, receive, send)
        elif scope["type"] == "http":
            await self.app(scope, receive, self._with_headers(send))
        else:
            await self.app(scope, receive, send)

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return send_with_headers


def _is_link(scope: Scope, headers: Headers) -> bool:
    """Whether the user opens the page itself by following a link from elsewhere."""
    how = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    return (
        scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/") and how == ("navigate", "document")
    )


def is_address(name: str) -> bool:
    """Whether this is an IP address rather than a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
