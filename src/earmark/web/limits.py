"""A server's limits: requests at a time, changes per second, and the size and duration of bodies other than files."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_REQUESTS = 64  # in progress at a time
CHANGES_A_SECOND, CHANGES_AT_ONCE = 20.0, 200.0  # per address: far more than a page needs
MOST_ADDRESSES = 1_000  # the most addresses whose changes are counted
SMALL_BYTES, SMALL_SECONDS = 64 << 10, 10.0  # largest size of a body other than a file, and the time to send it
SAFE = ("GET", "HEAD", "OPTIONS")
BUSY = {"Retry-After": "1"}


class Allowance:
    """A token bucket: a steady rate, with room for bursts.

    Args:
        rate: how much may be taken per second.
        at_once: how much may be taken at once after a pause.
        clock: returns monotonic time in seconds.
    """

    def __init__(self, rate: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._at_once, self._clock = rate, at_once, clock
        self._left, self._since = at_once, clock()

    def take(self, amount: float = 1.0) -> float:
        """Take an amount, if there is as much left.

        Returns:
            0 if it was taken. Else nothing was taken, and this is how many seconds remain until there is enough.
        """
        now = self._clock()
        self._left = min(self._at_once, self._left + (now - self._since) * self._rate)
        self._since = now
        if amount > self._left:
            return (amount - self._left) / self._rate
        self._left -= amount
        return 0.0


class Places:
    """A limit on how many of one kind of work run at a time.

    Args:
        most: how many may run.
        what: the rest of the refusal after the number, as in "8 files are being recognized".
    """

    def __init__(self, most: int, what: str) -> None:
        self._free, self._refusal = most, f"{most} {what} already: try again later."

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place for the duration of the block.

        Raises:
            HTTPException: no place is free.
        """
        if self._free <= 0:
            raise HTTPException(503, self._refusal, BUSY)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class Limits:
    """ASGI middleware that refuses requests beyond the limits.

    Args:
        app: the app to protect.
        files: methods and paths whose bodies are files. They have limits of their own.
        changes: whether to limit the rate of requests other than GET, HEAD and OPTIONS. Files are exempt: few are
            taken at a time anyway, and the user may drop a thousand.
    """

    def __init__(self, app: ASGIApp, files: Collection[tuple[str, str]], changes: bool = False) -> None:
        self._app, self._files, self._limits_changes = app, files, changes
        self._requests = 0
        self._allowances: OrderedDict[str, Allowance] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._requests += 1
        try:
            is_file = (scope["method"], scope["path"]) in self._files
            await self._app(scope, receive if is_file else _small(receive), send)
        finally:
            self._requests -= 1

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        if self._requests >= MOST_REQUESTS:
            told = f"The server is working on {MOST_REQUESTS} requests already: try again later."
            return JSONResponse({"error": told}, 503, BUSY)
        is_file = (scope["method"], scope["path"]) in self._files
        if not is_file:
            size = Headers(scope=scope).get("content-length", "0")
            if not size.isdecimal() or len(size) > 9 or int(size) > SMALL_BYTES:
                return JSONResponse({"error": _TOO_LARGE}, 413)
        if self._limits_changes and not is_file and scope["method"] not in SAFE and (wait := self._wait(scope)):
            told = "Too many changes in a short time: wait a moment, then try again."
            return JSONResponse({"error": told}, 429, {"Retry-After": str(math.ceil(wait))})
        return None

    def _wait(self, scope: Scope) -> float:
        address = scope["client"][0] if scope.get("client") else ""
        if address not in self._allowances:
            self._allowances[address] = Allowance(CHANGES_A_SECOND, CHANGES_AT_ONCE)
        self._allowances.move_to_end(address)
        if len(self._allowances) > MOST_ADDRESSES:
            self._allowances.popitem(last=False)
        return self._allowances[address].take()


_TOO_LARGE = f"The request holds more than {SMALL_BYTES >> 10} KiB: send less."


def _small(receive: Receive) -> Receive:
    """Wrap `receive` to limit the size and duration of a body other than a file."""
    until = time.monotonic() + SMALL_SECONDS
    size, is_whole = 0, False

    async def receive_small() -> Message:
        nonlocal size, is_whole
        if is_whole:  # only the disconnect can follow
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), until - time.monotonic())
        except asyncio.TimeoutError as error:
            raise HTTPException(408, f"The request didn't come within {SMALL_SECONDS:g} s: send it again.") from error
        size += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if size > SMALL_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return receive_small
