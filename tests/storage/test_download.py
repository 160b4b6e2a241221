"""A known file comes whole or not at all, from servers that are slow, cut off, wrong or malicious."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark import EarmarkError
from earmark.storage import download as module
from earmark.storage.download import KnownFile, download

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says; notes which bytes each request asks for."""

    answer: Answer
    asked: list[str | None]

    def do_GET(self) -> None:
        self.asked.append(self.headers["Range"])
        type(self).answer(self)

    def log_message(self, *_: Any) -> None:
        pass

    @property
    def start(self) -> int:
        """The first byte asked for."""
        span = self.headers["Range"]
        return int(span.removeprefix("bytes=").removesuffix("-")) if span else 0

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def part(self, start: int, content: bytes = CONTENT, length: int | None = None) -> None:
        """The head of an answer with a part of the content."""
        rest = len(content) - start if length is None else length
        if start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.head(206, Content_Length=rest, Content_Range=span)
        else:
            self.head(200, Content_Length=rest)


def whole(handler: Handler) -> None:
    handler.part(handler.start)
    handler.wfile.write(CONTENT[handler.start :])


def cut(handler: Handler) -> None:
    """Promises all and ends after a third of the file."""
    handler.part(handler.start)
    handler.wfile.write(CONTENT[handler.start : handler.start + 100_001])


@contextmanager
def served(answer: Answer) -> Iterator[tuple[str, list[str | None]]]:
    asked: list[str | None] = []
    kind = type("Answering", (Handler,), {"answer": staticmethod(answer), "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/net.onnx", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def known(url: str, size: int = len(CONTENT)) -> KnownFile:
    return KnownFile("net.onnx", url, size, SHA256)


def test_a_file_comes_whole_with_its_progress(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with served(whole) as (url, asked):
        download(known(url), tmp_path / "part", report=lambda *progress: told.append(progress))
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert asked == [None]
    assert told[-1] == ("Downloading net.onnx", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_a_transfer_that_is_cut_off_goes_on_where_it_ended(tmp_path: Path) -> None:
    with served(cut) as (url, asked):
        download(known(url), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert asked == [None, "bytes=100001-", "bytes=200002-"]


def test_what_came_before_is_not_asked_for_again(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:250_000])
    with served(whole) as (url, asked):
        download(known(url), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert asked == ["bytes=250000-"]
    with served(whole) as (url, asked):
        download(known(url), tmp_path / "part")
    assert asked == [], "nothing is left to ask for"


def test_a_server_without_ranges_begins_anew(tmp_path: Path) -> None:
    def without(handler: Handler) -> None:
        handler.part(0)
        handler.wfile.write(CONTENT)

    (tmp_path / "part").write_bytes(CONTENT[:250_000])
    with served(without) as (url, _):
        download(known(url), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_another_beginning_is_thrown_away_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"x" * 1000)
    with (
        served(whole) as (url, _),
        pytest.raises(EarmarkError, match=r"another file than the known net.onnx .*SHA-256"),
    ):
        download(known(url), tmp_path / "part")
    assert not (tmp_path / "part").exists()
    (tmp_path / "part").write_bytes(b"x" * 400_000)  # longer than the file
    with served(whole) as (url, asked):
        download(known(url), tmp_path / "part")
    assert asked == [None]


def test_a_server_that_stops_sending_is_left_and_what_came_is_kept(tmp_path: Path) -> None:
    waiting = threading.Event()

    def stall(handler: Handler) -> None:
        handler.part(handler.start)
        if not handler.start:
            handler.wfile.write(CONTENT[:70_000])
            handler.wfile.flush()
        waiting.wait()

    try:
        with served(stall) as (url, asked):
            with pytest.raises(EarmarkError, match=r"70,000 of 300,000 bytes are here.*goes on from there\.$"):
                download(known(url), tmp_path / "part", timeout=0.4)
            waiting.set()
    finally:
        waiting.set()
    assert (tmp_path / "part").read_bytes() == CONTENT[:70_000]
    assert asked == [None, *["bytes=70000-"] * module.TRIES]


def test_a_slow_server_is_waited_for(tmp_path: Path) -> None:
    def trickle(handler: Handler) -> None:
        handler.part(handler.start)
        for at in range(0, len(CONTENT), 20_000):
            handler.wfile.write(CONTENT[at : at + 20_000])
            handler.wfile.flush()
            threading.Event().wait(0.005)

    with served(trickle) as (url, asked):
        download(known(url), tmp_path / "part", timeout=20)
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert asked == [None]


def other_bytes(handler: Handler) -> None:
    handler.part(0)
    handler.wfile.write(CONTENT[:-1] + b"\x00")


def more_than_told(handler: Handler) -> None:
    handler.head(200)  # without a length, until the connection ends
    handler.wfile.write(CONTENT + b"more")


def another_length(handler: Handler) -> None:
    handler.part(0, length=1 << 40)
    handler.wfile.write(CONTENT)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (other_bytes, "gave another file than the known net.onnx"),
        (more_than_told, "offers more bytes where net.onnx has 300,000"),
        (another_length, "offers 1,099,511,627,776 bytes where net.onnx has 300,000"),
        (lambda handler: handler.head(404), r"isn't at 127.0.0.1:\d+ \(it answered 404\)"),
        (lambda handler: handler.head(401), r"isn't at 127.0.0.1:\d+ \(it answered 401\)"),
        (lambda handler: handler.head(503), "it answered 503"),
        (
            lambda handler: handler.head(302, Location="file:///etc/passwd"),
            "redirects from http to file|it answered 302",
        ),
        (lambda handler: handler.head(302, Location="ftp://127.0.0.1/x"), "redirects from http to ftp"),
        (lambda handler: handler.head(302, Location="/again"), "couldn't be downloaded|isn't at"),
    ],
)
def test_what_is_not_the_file_is_told_and_not_kept(answer: Answer, said: str, tmp_path: Path) -> None:
    with served(answer) as (url, asked), pytest.raises(EarmarkError, match=said) as told:
        download(known(url), tmp_path / "part")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "part").exists()
    assert len(asked) < 100


def test_a_wrong_part_is_not_put_after_the_right_one(tmp_path: Path) -> None:
    """A cache on the way that answers with another range."""

    def shifted(handler: Handler) -> None:
        if handler.start and len(handler.asked) == 1:
            handler.head(206, Content_Length=10, Content_Range=f"bytes 5-14/{len(CONTENT)}")
            handler.wfile.write(CONTENT[5:15])
        else:
            whole(handler)

    (tmp_path / "part").write_bytes(CONTENT[:1000])
    with served(shifted) as (url, asked):
        download(known(url), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert asked == ["bytes=1000-", None]


def test_a_redirect_to_the_store_behind_the_hub_keeps_the_range(tmp_path: Path) -> None:
    def behind(handler: Handler) -> None:
        if handler.path == "/net.onnx":
            handler.head(302, Location="/store/net")
        else:
            whole(handler)

    (tmp_path / "part").write_bytes(CONTENT[:1000])
    with served(behind) as (url, asked):
        download(known(url), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert asked == ["bytes=1000-", "bytes=1000-"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "net.onnx", "ftp://host/net.onnx"])
def test_only_web_addresses_are_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"is no web address: HF_ENDPOINT must begin with https"):
        download(known(url), tmp_path / "part")


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with served(whole) as (url, _):
        pass
    with pytest.raises(EarmarkError, match=r"couldn't be downloaded from 127.0.0.1:\d+ \(.*[Rr]efused.*\): 0 of"):
        download(known(url), tmp_path / "part")
