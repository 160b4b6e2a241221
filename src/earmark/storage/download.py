"""Downloading one known file: its size and SHA-256 are known before, and nothing else is kept.

Only what a user asks for by name is ever downloaded. A transfer that was cut off goes on where it ended, now or the
next time (RFC 9110, section 14, range requests).
"""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from earmark.errors import DiskError, EarmarkError, as_reason
from earmark.version import __version__

if TYPE_CHECKING:
    from earmark.progress import Report

CHUNK = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds without a byte
TRIES = 4  # connections in a row that bring nothing; and a file may be cut off a little more often than it has MiB
MAX_REDIRECTS = 5
PART = ".part"


@dataclass(frozen=True)
class KnownFile:
    """A file on the network.

    Attributes:
        name: what to call it in errors and while it comes.
        url: where it lies, http or https.
        size: in bytes.
        sha256: in hexadecimal.
    """

    name: str
    url: str
    size: int
    sha256: str


class _CutOffError(Exception):
    """The transfer ended early; the next one may go on."""


def download(file: KnownFile, part: Path, *, report: Report | None = None, timeout: float = TIMEOUT) -> None:
    """Download a file to `part`, of which some may be there already.

    Args:
        part: where the bytes go as they come. After an error that another try may mend, what has come stays there;
            it is deleted if it isn't the beginning of the known file.
        report: called with the progress, as (what, bytes, of how many).
        timeout: seconds without a byte after which a connection is given up.

    Raises:
        EarmarkError: the file can't be reached, is another one, or can't be written. Then `part` holds at most what
            another try can use.
    """
    if urlsplit(file.url).scheme not in ("http", "https"):
        raise EarmarkError(f"{file.url} is no web address: HF_ENDPOINT must begin with https:// or http://.")
    transfer = _Transfer(file, part, report, timeout)
    failures, cuts = 0, 0
    while transfer.have < file.size:
        had = transfer.have
        try:
            transfer.go_on()
        except _CutOffError as error:
            failures, cuts = (failures + 1 if transfer.have <= had else 0), cuts + 1
            if failures >= TRIES or cuts >= 2 * TRIES + (file.size >> 20):
                raise EarmarkError(
                    f"{file.name} couldn't be downloaded from {_host(file.url)} ({error}): {transfer.have:,} of "
                    f"{file.size:,} bytes are here, and the same command goes on from there."
                ) from error
    transfer.check()


class _Transfer:
    """What has come of a file, and its sum so far.

    Attributes:
        have: how many bytes have come.
    """

    def __init__(self, file: KnownFile, part: Path, report: Report | None, timeout: float) -> None:
        self._file, self._part, self._report, self._timeout = file, part, report, timeout
        self._sum, self.have = hashlib.sha256(), 0
        self._open = urllib.request.build_opener(_Redirects).open
        if part.is_file() and not part.is_symlink():
            self._written(self._read_part)
        if self.have > file.size:
            self._start_over()

    def go_on(self) -> None:
        """One connection, from where the last one ended.

        Raises:
            _CutOffError: it ended early.
            EarmarkError: see `download`.
        """
        headers = {"User-Agent": f"earmark/{__version__}", "Accept-Encoding": "identity"}
        if self.have:
            headers["Range"] = f"bytes={self.have}-"
        request = urllib.request.Request(self._file.url, headers=headers)
        try:
            with self._open(request, timeout=self._timeout) as answer:
                self._take(answer)
        except urllib.error.HTTPError as error:
            self._refused(error)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to no address
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise _CutOffError(as_reason(reason) if isinstance(reason, BaseException) else str(reason)) from error

    def check(self) -> None:
        """Whether the whole is the known file; otherwise it is deleted."""
        if self._sum.hexdigest() != self._file.sha256:
            self._start_over()
            raise EarmarkError(
                f"{_host(self._file.url)} gave another file than the known {self._file.name} (its SHA-256 differs): "
                "nothing was added; try again, or from another mirror."
            )

    def _take(self, answer: HTTPResponse) -> None:
        length = answer.headers.get("Content-Length")
        if answer.status == 206:
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if span is None or int(span[1]) != self.have or span[3] not in ("*", str(self._file.size)):
                self._start_over()
                raise _CutOffError("it sent another part than the one asked for")
        elif self.have:  # the whole, from the beginning
            self._start_over()
        if length is not None and length.isdecimal() and self.have + int(length) > self._file.size:
            self._another_size(self.have + int(length))
        self._written(lambda: self._append(answer))
        if self.have < self._file.size:
            raise _CutOffError("the connection ended early")

    def _append(self, answer: HTTPResponse) -> None:
        with self._part.open("ab") as file:
            while True:
                try:
                    chunk = answer.read1(CHUNK)
                except (OSError, HTTPException) as error:
                    raise _CutOffError(as_reason(error)) from error
                if not chunk:
                    return
                if self.have + len(chunk) > self._file.size:
                    self._another_size(None)
                file.write(chunk)
                self._sum.update(chunk)
                self.have += len(chunk)
                if self._report is not None:
                    self._report(f"Downloading {self._file.name}", self.have, self._file.size)

    def _refused(self, error: urllib.error.HTTPError) -> None:
        if error.code == 416:  # there is no such part
            self._start_over()
        if error.code == 416 or error.code == 429 or error.code >= 500:
            raise _CutOffError(f"it answered {error.code}") from error
        raise EarmarkError(
            f"{self._file.name} isn't at {_host(self._file.url)} (it answered {error.code}): try again later, or set "
            "HF_ENDPOINT to a mirror."
        ) from error

    def _another_size(self, size: int | None) -> None:
        self._start_over()
        told = "more" if size is None else f"{size:,}"
        raise EarmarkError(
            f"{_host(self._file.url)} offers {told} bytes where {self._file.name} has {self._file.size:,}: nothing was "
            "added; try again, or from another mirror."
        )

    def _read_part(self) -> None:
        with self._part.open("rb") as file:
            self._add_up(file)

    def _add_up(self, file: IO[bytes]) -> None:
        while chunk := file.read(CHUNK):
            self._sum.update(chunk)
            self.have += len(chunk)

    def _start_over(self) -> None:
        self._sum, self.have = hashlib.sha256(), 0
        self._written(lambda: self._part.unlink(missing_ok=True))

    def _written(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            raise DiskError(f"{self._part} can't be written ({error.strerror}): free some space there.") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """As hubs redirect to the stores behind them, but never from https to http, nor out of the web."""

    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after != "https" and after != before:
            raise EarmarkError(
                f"{_host(req.full_url)} redirects from {before} to {after or 'nowhere'}: try again later, or set "
                "HF_ENDPOINT to a mirror."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _host(url: str) -> str:
    return urlsplit(url).netloc
