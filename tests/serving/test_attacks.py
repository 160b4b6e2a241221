"""Attacks on what the servers share: connections, requests, uploads, Host and Origin. Each defence has its test.

The limits are made short in the server's own process where nobody wants to wait for the real ones.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest

from earmark.audio.clip import decode_pcm
from earmark.web.limits import Allowance
from tests.serving.attacks import ask, request, rest, status
from tests.serving.running import Server, play, server, start

SHORT = """
from earmark.serving import app, serve
from earmark.web import answers
from earmark.web import connections
from earmark.web import limits
from earmark.web import run
connections.HEAD_SECONDS = 1.0
serve.MOST_CONNECTIONS = 5
answers.UPLOAD_SECONDS = 2
limits.SMALL_SECONDS = 1.0
app.MOST_UPLOADS = 5
from earmark.cli.main import main
main()
"""
MOST, MOST_UPLOADS = 6, 5  # connections: five and a stream
UPLOAD = b"POST /api/detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nRIFF"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server("words", "--allow-origin", "https://page.example") as started:
        yield started


@pytest.fixture
def short() -> Iterator[Server]:
    program = ("-c", SHORT)
    with server("words", "--max-streams", "1", program=program, stderr=subprocess.DEVNULL) as started:
        yield started


def is_let_go(connection: socket.socket) -> bool:
    """Whether the server ends a connection that sends a byte now and then."""
    try:
        for _ in range(50):
            time.sleep(0.2)
            connection.sendall(b"a")
    except OSError:
        return True
    return False


def connected(running: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), 30)


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b"])
def test_a_client_that_never_ends_its_request_is_let_go(short: Server, said: bytes) -> None:
    with connected(short) as connection:
        connection.sendall(said)
        assert rest(connection) == b""


@pytest.mark.slow
def test_a_client_that_sends_a_byte_now_and_then_is_let_go(short: Server) -> None:
    with connected(short) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Long: ")
        assert is_let_go(connection)


@pytest.mark.slow
def test_a_second_request_must_come_as_soon_as_the_first(short: Server) -> None:
    with connected(short) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /hea")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        assert is_let_go(connection)


@pytest.mark.slow
def test_idle_connections_make_room_for_one_that_asks(short: Server) -> None:
    idle = [connected(short) for _ in range(MOST)]
    assert status(ask(short.port, request("GET", "/health"))) == 200
    assert rest(idle[0]) == b"", "the oldest went"
    for connection in idle:
        connection.close()


@pytest.mark.slow
def test_where_all_connections_are_at_work_a_new_one_is_told(short: Server) -> None:
    busy = [connected(short) for _ in range(MOST_UPLOADS)]
    with short.connect() as stream:
        stream.send(start())
        stream.recv(20)
        for connection in busy:
            connection.sendall(UPLOAD)
        time.sleep(0.3)
        answer = ask(short.port, request("GET", "/health"))
        assert status(answer) == 503
        assert b"all connections that it takes" in answer
        for connection in busy:
            connection.close()
        time.sleep(0.3)
        assert status(ask(short.port, request("GET", "/health"))) == 200, "there is room again"


def test_a_head_without_end_is_refused(running: Server) -> None:
    answer = ask(running.port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * (1 << 20))
    assert status(answer) in (0, 400, 431)


@pytest.mark.slow
def test_an_upload_that_trickles_is_ended(short: Server) -> None:
    with connected(short) as connection:
        connection.sendall(UPLOAD)
        connection.settimeout(0.2)
        answer = b""
        for _ in range(150):
            connection.sendall(b"a")
            try:
                answer = connection.recv(1 << 16)
                connection.settimeout(20)
                answer += rest(connection)
                break
            except TimeoutError:
                continue
    assert status(answer) == 408
    assert b"KiB a second" in answer


def test_uploads_are_few_at_a_time(short: Server) -> None:
    busy = [connected(short) for _ in range(MOST_UPLOADS)]
    for connection in busy:
        connection.sendall(UPLOAD)
    time.sleep(0.3)
    answer = ask(short.port, request("POST", "/api/detect", "Content-Length: 0"))
    for connection in busy:
        connection.close()
    assert status(answer) == 503
    assert b"try again later" in answer
    assert b"retry-after" in answer.lower()


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: many",),
        ("Content-Length: -1",),
        ("Content-Length: 1e9",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: " + "9" * 5_000,),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    ],
)
def test_a_length_that_is_none_is_refused(running: Server, headers: tuple[str, ...]) -> None:
    assert status(ask(running.port, request("POST", "/api/detect", *headers))) in (400, 413, 501)


def test_a_body_is_read_in_one_way_only(running: Server) -> None:
    """Where a length and chunks are told, nothing after the chunks may pass as another request."""
    body = b"0\r\n\r\n" + request("GET", "/api/model")
    head = "POST /api/detect HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    answer = ask(
        running.port, head.encode() + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    )
    assert answer.count(b"HTTP/1.1") == 1
    assert b"labels" not in answer


@pytest.mark.parametrize(
    ("host", "version", "expected"),
    [
        ("127.0.0.1", "1.1", 200),
        ("LocalHost:8001", "1.1", 200),
        ("[::1]:8001", "1.1", 200),
        (None, "1.1", 400),
        (None, "1.0", 403),
        ("", "1.1", 403),
        ("localhost.", "1.1", 403),
        ("127.0.0.1:", "1.1", 403),
        ("127.0.0.1:evil", "1.1", 403),
        ("127.0.0.1:80:80", "1.1", 403),
        ("user@127.0.0.1", "1.1", 403),
        ("127.0.0.1/evil", "1.1", 403),
        ("127.0.0.1 evil.example", "1.1", 403),
        ("127.0.0.1.evil.example", "1.1", 403),
        ("2130706433", "1.1", 403),
    ],
)
def test_a_host_is_this_machine_in_full(running: Server, host: str | None, version: str, expected: int) -> None:
    assert status(ask(running.port, request("GET", "/api/model", host=host, version=version))) == expected


def test_two_hosts_and_an_address_elsewhere_are_refused(running: Server) -> None:
    assert status(ask(running.port, request("GET", "/api/model", "Host: evil.example"))) == 400
    assert status(ask(running.port, request("GET", "http://evil.example/api/model"))) == 404


@pytest.mark.parametrize(
    "origins",
    [("null",), ("http://127.0.0.1.evil.example",), ("http://127.0.0.1:1",), ("ftp://127.0.0.1",), ("",),
     ("http://127.0.0.1", "https://evil.example"), ("https://page.example.evil.example",), ("http://page.example",)],
)  # fmt: skip
def test_a_foreign_origin_is_refused_however_it_is_written(running: Server, origins: tuple[str, ...]) -> None:
    headers = [f"Origin: {origin}" for origin in origins]
    assert status(ask(running.port, request("GET", "/api/model", *headers))) == 403


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (("Sec-Fetch-Site: cross-site",), 403),
        (("Sec-Fetch-Site: same-site",), 403),  # another port of this machine
        (("Sec-Fetch-Site: same-origin",), 200),
        (("Sec-Fetch-Site: none",), 200),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"), 403),
        (("Sec-Fetch-Site: cross-site", "Origin: https://page.example"), 200),
    ],
)
def test_other_sites_may_not_ask_without_an_origin(running: Server, headers: tuple[str, ...], expected: int) -> None:
    assert status(ask(running.port, request("GET", "/api/model", *headers))) == expected


def test_nobody_says_from_where_they_come(running: Server) -> None:
    """A client on this machine may say that a proxy of its own received HTTPS; the server doesn't believe it."""
    headers = ("X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1", "Forwarded: proto=https")
    answer = ask(running.port, request("GET", "/api/model/", *headers))
    assert b"https://" not in answer
    assert b"uvicorn" not in answer.lower()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (request("GET", "/health"), 200),
        (request("HEAD", "/health"), 200),
        (request("GET", "/no/such/page"), 404),
        (request("DELETE", "/health"), 405),
        (request("GET", "/health", host="evil.example"), 403),
        (request("POST", "/api/detect?overlap_factor=9", "Content-Length: 0"), 422),
        (request("POST", "/health", "Content-Length: 999999"), 413),
    ],
)
def test_every_answer_keeps_other_sites_from_it(running: Server, said: bytes, expected: int) -> None:
    answer = ask(running.port, said)
    assert status(answer) == expected
    for header in (b"x-content-type-options: nosniff", b"cross-origin-resource-policy: same-origin"):
        assert answer.lower().count(header) == 1


def test_errors_of_the_servers_own_keep_other_sites_from_them() -> None:
    failing = """
from earmark.cli.main import main
from earmark.recognizer.recognizer import Recognizer
Recognizer.hop_frames = None
main()
"""
    with server("words", program=("-c", failing), stderr=subprocess.DEVNULL) as running:
        answer = ask(running.port, request("GET", "/api/model"))
    assert status(answer) == 500
    assert b"nosniff" in answer
    assert b"Traceback" not in answer


def test_infinite_sound_is_refused(running: Server) -> None:
    assert np.isnan(decode_pcm(struct.pack("<3f", np.inf, -np.inf, np.nan), "f32le")).all()
    heard = play(running, [struct.pack("<4f", 0, np.inf, 0, 0)], encoding="f32le")
    assert heard.closing[0] == 1008
    assert "finite" in heard.error


def test_an_allowance_fills_up_again() -> None:
    now = [0.0]
    allowance = Allowance(2.0, 4.0, lambda: now[0])
    assert [allowance.take() for _ in range(4)] == [0.0] * 4
    assert allowance.take() == pytest.approx(0.5)
    now[0] = 0.5
    assert allowance.take() == 0.0
    now[0] = 100.0
    assert allowance.take(4.0) == 0.0
    assert allowance.take(0.1) > 0
