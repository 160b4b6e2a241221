"""How the servers answer errors, each with one sentence, and how they write uploads to files."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import IO, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from earmark.errors import EarmarkError, on_one_line

UPLOAD_SECONDS = 30  # how long an upload may stall
LEAST_RATE = 4 << 10  # bytes per second, the lowest average rate after that; even a slow phone is ten times faster


def tell_errors(app: FastAPI) -> None:
    """Make the app answer every error with `{"error": "One sentence."}`."""
    for kind in (EarmarkError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _tell)


async def _tell(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        return JSONResponse({"error": what_is_wrong("The request", error.errors())}, 422)
    if isinstance(error, HTTPException):
        told = str(error.detail).removesuffix(".")  # Starlette's and FastAPI's own messages have no full stop
        return JSONResponse({"error": f"{told}."}, error.status_code, headers=error.headers)
    if isinstance(error, EarmarkError):
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"error": "The server met an error of its own: its terminal tells more."}, 500)


def what_is_wrong(what: str, errors: Any) -> str:
    """Describe the first of pydantic's errors in a sentence."""
    where = on_one_line(".".join(str(part) for part in errors[0]["loc"]))[:200]  # may hold names the client chose
    return f"{what} can't be understood: {where + ': ' if where else ''}{errors[0]['msg']}."


async def upload(request: Request, file: IO[bytes], limit: int) -> None:
    """Write the request's body to a file and rewind it. If the disk is full, the file is closed.

    Args:
        request: the request whose body is read.
        file: where the body goes.
        limit: the largest body accepted, in bytes.

    Raises:
        HTTPException: the body exceeds the limit, stalls, comes too slowly or breaks off, or the disk is full.
    """
    too_large = HTTPException(413, f"The file is larger than {limit >> 20} MiB: send it in parts.")
    try:
        if int(request.headers.get("content-length", 0)) > limit:
            raise too_large
    except ValueError as error:
        raise HTTPException(400, "The header Content-Length is no number: send the file again.") from error
    parts, began = request.stream(), time.monotonic()
    try:
        while part := await asyncio.wait_for(anext(parts, b""), UPLOAD_SECONDS):
            file.write(part)
            if file.tell() > limit:
                raise too_large
            if file.tell() < LEAST_RATE * (time.monotonic() - began - UPLOAD_SECONDS):
                raise HTTPException(408, f"The upload brings less than {LEAST_RATE >> 10} KiB a second: send it again.")
        file.seek(0)  # this also flushes the buffer
    except ClientDisconnect as error:
        raise HTTPException(400, "The upload broke off: send the file again.") from error
    except asyncio.TimeoutError as error:
        raise HTTPException(408, f"The upload stood still for {UPLOAD_SECONDS} s: send the file again.") from error
    except OSError as error:
        with suppress(OSError):
            file.close()  # this tries to flush the buffer again
        raise HTTPException(
            507, "The server's disk has no room for the file: free some, then send it again."
        ) from error
