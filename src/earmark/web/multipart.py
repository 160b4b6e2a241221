"""Forms: a file that a browser or `curl -F` uploads comes between the boundaries of a multipart body.

Source: RFC 7578 (multipart/form-data) and RFC 2046, section 5.1. The body lies on the disk, and so does the file that
is taken out of it: neither is ever in memory as a whole.
"""

from __future__ import annotations

import re
from email.message import Message
from typing import IO

from earmark.errors import EarmarkError

FORM = "multipart/form-data"
CHUNK = 1 << 20
MOST_PARTS = 20
MAX_HEAD = 16 << 10  # bytes of a part's own header


def is_form(content_type: str) -> bool:
    """Whether a request's body is a form."""
    return content_type.split(";")[0].strip().lower() == FORM


def keep_file(body: IO[bytes], content_type: str) -> None:
    """Replace a form by the one file in it.

    Args:
        body: the form, open for reading and writing; afterwards it holds the file alone, and is rewound.
        content_type: the request's header of that name, which gives the boundary.

    Raises:
        EarmarkError: it isn't a whole form, or holds no file, or several.
    """
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 70 or not boundary.isascii():
        raise _not_whole()
    files = [(start, end) for start, end, is_file in _parts(body, b"--" + boundary.encode()) if is_file]
    if len(files) != 1:
        raise EarmarkError(f"The form holds {len(files) or 'no'} files: send one, such as -F file=@sound.wav.")
    start, end = files[0]
    for at in range(start, end, CHUNK):
        body.seek(at)
        part = body.read(min(CHUNK, end - at))
        body.seek(at - start)  # before what is read next
        body.write(part)
    body.truncate(end - start)
    body.seek(0)


def _parts(body: IO[bytes], delimiter: bytes) -> list[tuple[int, int, bool]]:
    """Where each part's content lies in the body, and whether it is a file."""
    parts: list[tuple[int, int, bool]] = []
    if (at := _find(body, delimiter, 0)) != 0:
        if at < 0 or _find(body, b"\r\n" + delimiter, 0) < 0:
            raise _not_whole()
        at = _find(body, b"\r\n" + delimiter, 0) + 2  # after a preamble
    while True:
        body.seek(at + len(delimiter))
        line = body.read(MAX_HEAD)
        if line.startswith(b"--"):
            return parts
        head, found, _ = line.partition(b"\r\n\r\n")
        start = at + len(delimiter) + len(head) + 4
        end = _find(body, b"\r\n" + delimiter, start)
        if not found or end < 0 or len(parts) >= MOST_PARTS:
            raise _not_whole()
        is_file = re.search(rb"(?im)^content-disposition:[^\r\n]*;\s*filename\*?=", head) is not None
        parts.append((start, end, is_file))
        at = end + 2


def _find(body: IO[bytes], what: bytes, start: int) -> int:
    """The position of these bytes, from `start` on; -1 if they don't come."""
    body.seek(start)
    kept, at = b"", start
    while chunk := body.read(CHUNK):
        kept += chunk
        if (found := kept.find(what)) >= 0:
            return at + found
        at += max(0, len(kept) - len(what) + 1)
        kept = kept[max(0, len(kept) - len(what) + 1) :]
    return -1


def _not_whole() -> EarmarkError:
    return EarmarkError("The form can't be understood: send it whole, such as by curl -F file=@sound.wav.")
