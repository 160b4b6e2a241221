"""Shows only a sign-in page to clients in the network that haven't signed in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from earmark.errors import EarmarkError
from earmark.studio.access import Access, Device, TooManyTriesError

# Browsers accept a cookie with this prefix only from the host itself, over HTTPS: RFC 6265bis, 4.1.3.2.
COOKIE = "__Host-earmark"
DEVICE = "earmark.device"  # the key of the device in the scope of its requests
SESSION = "/api/session"
MOST_BODY_BYTES = 1_000
BODY_SECONDS = 10
STATIC = Path(str(files("earmark.studio") / "static"))
SIGN_IN = STATIC / "sign-in"
PAGE = {
    "palette.css": STATIC / "palette.css",
    "sign-in.css": SIGN_IN / "sign-in.css",
    "sign-in.js": SIGN_IN / "sign-in.js",
}
SIGNED_OUT = "This device isn't signed in: open the studio's address again and type the code that it shows."


@dataclass(frozen=True)
class SignIn:
    """ASGI middleware that admits only signed-in devices to the studio's app.

    The scope of a device's request holds the device as `earmark.device`.

    Args:
        app: the studio's app.
        access: who may use the studio.
    """

    app: ASGIApp
    access: Access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        device = next(filter(None, map(self.access.device, _secrets(scope))), None)
        if device is not None and scope["path"] == SESSION:
            await self._session(device, scope)(scope, receive, send)
        elif device is not None:
            await self._serve(device, scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, SIGNED_OUT)(scope, receive, send)
        else:
            await (await self._answer_stranger(Request(scope, receive)))(scope, receive, send)

    async def _answer_stranger(self, request: Request) -> Response:
        path, method = request.url.path, request.method
        if path == SESSION and method == "POST":
            return await self._sign_in(request)
        if method in ("GET", "HEAD") and path == "/":
            return FileResponse(SIGN_IN / "index.html")
        if method in ("GET", "HEAD") and path.removeprefix("/sign-in/") in PAGE:
            return FileResponse(PAGE[path.removeprefix("/sign-in/")])
        return JSONResponse({"error": SIGNED_OUT}, 401)

    async def _sign_in(self, request: Request) -> Response:
        try:
            code = await asyncio.wait_for(_read_code(request), BODY_SECONDS)
            address = request.client.host if request.client else ""
            secret = self.access.sign_in(code, address, request.headers.get("user-agent", ""))
        except TooManyTriesError as error:
            return JSONResponse({"error": str(error)}, 429, headers={"Retry-After": "60"})
        except (EarmarkError, asyncio.TimeoutError, ClientDisconnect) as error:
            return JSONResponse({"error": str(error) or "The code didn't come: send it again."}, 403)
        answer = JSONResponse({})
        answer.set_cookie(COOKIE, secret, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    def _session(self, device: Device, scope: Scope) -> ASGIApp:
        if scope["type"] == "websocket":
            return WebSocketClose(1008, "There is no such address.")
        if scope["method"] != "DELETE":
            return JSONResponse({})  # signed in already
        self.access.revoke(device.id)
        answer = JSONResponse({})
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def _serve(self, device: Device, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app. Once the device is signed out, nothing more passes in either direction."""

        is_answered = False

        async def receive_until_ended() -> Message:
            message = await receive()
            if device.ended.is_set():
                return {"type": f"{scope['type']}.disconnect", "code": 1008}
            self.access.use(device)
            return message

        async def send_until_ended(message: Message) -> None:
            nonlocal is_answered
            if not device.ended.is_set():
                is_answered = True
                await send(message)

        async with _closed_at_the_end(device, scope, send):
            await self.app({**scope, DEVICE: device}, receive_until_ended, send_until_ended)
        if scope["type"] == "http" and not is_answered:
            await JSONResponse({"error": SIGNED_OUT}, 401)(scope, receive, send)


@asynccontextmanager
async def _closed_at_the_end(device: Device, scope: Scope, send: Send) -> AsyncIterator[None]:
    """Close a WebSocket as soon as its device is signed out."""

    async def close() -> None:
        await device.ended.wait()
        with suppress(RuntimeError, OSError):  # it was closed before
            await send({"type": "websocket.close", "code": 1008, "reason": "This device was signed out."})

    closing = asyncio.create_task(close()) if scope["type"] == "websocket" else None
    try:
        yield
    finally:
        if closing is not None:
            closing.cancel()


async def _read_code(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            raise EarmarkError("That is no code: type the one that the studio shows.")
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        code = json.loads(body)["code"]
        if isinstance(code, str):
            return code
    raise EarmarkError("That is no code: type the one that the studio shows.")


def _secrets(scope: Scope) -> Iterator[str]:
    """The values of all cookies with our name.

    Cookies aren't separated by port. So those of other servers on this machine come too, in any form, and one of them
    may have our name.
    """
    for name, value in scope["headers"]:
        if name == b"cookie":
            for cookie in value.decode("latin-1").split(";"):
                key, _, secret = cookie.strip().partition("=")
                if key == COOKIE:
                    yield secret
