"""How the servers answer: every error as one sentence, and uploads into files."""

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

UPLOAD_SECONDS = 30  # that an upload may stand still, and
LEAST_RATE = 4 << 10  # bytes a second that it must bring on average after that: a slow phone brings ten times as much


def tell_errors(app: FastAPI) -> None:
    """Have the app tell every error as `{"error": "One sentence."}`."""
    for kind in (EarmarkError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _tell)


async def _tell(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        return JSONResponse({"error": what_is_wrong("The request", error.errors())}, 422)
    if isinstance(error, HTTPException):
        told = str(error.detail).removesuffix(".")  # those of Starlette and FastAPI have none
        return JSONResponse({"error": f"{told}."}, error.status_code, headers=error.headers)
    if isinstance(error, EarmarkError):
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"error": "The server met an error of its own: its terminal tells more."}, 500)


def what_is_wrong(what: str, errors: Any) -> str:
    """The first of pydantic's errors as a sentence."""
    where = on_one_line(".".join(str(part) for part in errors[0]["loc"]))[:200]  # with names that the client chose
    return f"{what} can't be understood: {where + ': ' if where else ''}{errors[0]['msg']}."


async def upload(request: Request, file: IO[bytes], limit: int) -> None:
    """Write the request's body into a file, which is closed where that has no room.

    Raises:
        HTTPException: it is larger than so many bytes, stands still, trickles or breaks off, or the disk is full.
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
        file.seek(0)  # which writes what is left
    except ClientDisconnect as error:
        raise HTTPException(400, "The upload broke off: send the file again.") from error
    except asyncio.TimeoutError as error:
        raise HTTPException(408, f"The upload stood still for {UPLOAD_SECONDS} s: send the file again.") from error
    except OSError as error:
        with suppress(OSError):
            file.close()  # which tries to write what is left once more
        raise HTTPException(
            507, "The server's disk has no room for the file: free some, then send it again."
        ) from error
