"""The WebSocket of `earmark serve`: a real server, real sound, and clients that don't behave."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soxr
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

import earmark
from earmark.serving.app import create_app
from tests import sounds
from tests.budget import budget
from tests.serving.running import Heard, Server, listen, play, server, start
from tests.studio.running import held
from tests.studio.spoken import Speech


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server("words") as started:
        yield started


@pytest.fixture(scope="module")
def quick() -> Iterator[Server]:
    """A server with little patience, and room for few."""
    with server("words", "--slow-seconds", "1", "--max-streams", "2") as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("scores", [True, False])
def test_a_stream_that_has_gone_leaves_nothing_large(scores: bool) -> None:
    with server("words", program=("-m", "tests.held")) as running:
        for way in ("ended", "closed", "wrong", "reset"):
            with running.connect() as connection:
                connection.send(start(sample_rate=48_000, encoding="f32le", scores=scores))
                connection.send(some_sound(48_000)[:24_000].astype("<f4").tobytes())
                connection.recv(30)
                assert held(running.process) == 1
                if way == "ended":
                    connection.send('{"type": "end"}')
                    listen(connection)
                elif way == "wrong":
                    connection.send("not JSON")
                elif way == "reset":
                    connection.socket.shutdown(socket.SHUT_RDWR)
            until = time.monotonic() + 20
            while running.metric("earmark_streams_open") and time.monotonic() < until:
                time.sleep(0.02)
            assert held(running.process) == 0, way


def some_sound(rate: int) -> np.ndarray:
    """Three seconds and a bit of float32, shape [samples]."""
    parts = [sounds.murmur(1.2, 1), sounds.snaps(1.0, 2), sounds.whistle(1.03, 3)]
    return np.asarray(soxr.resample(np.concatenate(parts), sounds.RATE, rate), np.float32)


def cut(data: bytes, seed: int, longest: int) -> list[bytes]:
    """The bytes in parts of any length up to `longest`, an odd number of bytes now and then."""
    random = np.random.default_rng(seed)
    parts, at = [], 0
    while at < len(data):
        size = int(random.choice([1, 7, longest // 50, longest // 10, longest]))
        parts.append(data[at : at + size])
        at += size
    return parts


def found(heard: Heard) -> list[tuple[object, ...]]:
    return [
        tuple(told[key] for key in ("label", "score", "start", "end"))
        for told in heard.detections
        if told["state"] == "ended"
    ]


@pytest.mark.parametrize(("rate", "seed"), [(16_000, 0), (16_000, 1), (44_100, 2), (44_100, 3)])
def test_the_scores_are_the_apis_to_the_last_bit(
    running: Server, words: earmark.Recognizer, rate: int, seed: int
) -> None:
    sound = some_sound(rate)
    expected = list(words.stream(sound, sample_rate=rate))
    heard = play(running, cut(sound.astype("<f4").tobytes(), seed, 4 * rate), sample_rate=rate, encoding="f32le")
    assert tuple(heard.ready["labels"]) == words.labels
    assert len(expected) > 20
    assert np.array_equal(heard.scores, [window.scores for window in expected])
    assert [(told["start"], told["end"]) for told in heard.windows] == [(one.start, one.end) for one in expected]
    assert heard.ended["seconds"] == pytest.approx(len(sound) / rate)
    assert heard.closing == (1000, "The stream has ended.")


def test_two_channels_of_16_bits_are_their_mean(running: Server, words: earmark.Recognizer) -> None:
    left, right = ((32_767 * take).astype("<i2") for take in (some_sound(16_000)[:48_000], sounds.murmur(1.0, 5)))
    both = np.stack([left, right], axis=1)
    expected = [window.scores for window in words.stream(both, sample_rate=16_000)]
    heard = play(running, cut(both.tobytes(), 4, 64_000), channels=2, encoding="s16le")
    np.testing.assert_allclose(heard.scores, expected, atol=1e-6)


@pytest.mark.parametrize("scores", [True, False])
def test_the_detections_are_the_apis(running: Server, words: earmark.Recognizer, speech: Speech, scores: bool) -> None:
    options: dict[str, Any] = {
        "probability_threshold": 0.6,
        "label_thresholds": {"go": 0.9},
        "suppression_time_ms": 100,
    }
    expected = [
        (one.label, one.score, one.start, one.end)
        for one in words.listen(speech.samples, sample_rate=16_000, **options)
    ]
    chunks = cut(speech.samples.astype("<f4").tobytes(), 6, 64_000)
    heard = play(running, chunks, scores=scores, encoding="f32le", **options)
    assert found(heard) == expected
    assert len(expected) >= 6
    assert bool(heard.windows) == scores
    for number in range(1, len(expected) + 1):
        states = [told["state"] for told in heard.detections if told["detection"] == number]
        assert states[-1] == "ended"
        assert states[0] in ("begun", "ended")
        assert set(states[1:-1]) <= {"grown"}


def test_streams_that_come_together_are_scored_together_and_each_gets_its_own(
    running: Server, words: earmark.Recognizer
) -> None:
    rate, clients = 16_000, 40
    sound = some_sound(rate)
    takes = [np.roll(sound, 997 * number) for number in range(clients)]
    windows, batches = (
        running.metric(name) for name in ("earmark_windows_scored_total", "earmark_batch_windows_count")
    )
    with ThreadPoolExecutor(clients) as pool:
        heard = list(
            pool.map(
                lambda take: play(running, cut(take.tobytes(), 7, 6_400), sample_rate=rate, encoding="f32le"), takes
            )
        )
    for take, one in zip(takes, heard, strict=True):
        assert np.array_equal(one.scores, [window.scores for window in words.stream(take, sample_rate=rate)])
    windows = running.metric("earmark_windows_scored_total") - windows
    batches = running.metric("earmark_batch_windows_count") - batches
    assert windows == sum(len(one.windows) for one in heard)
    # How many come due at once is the machine's affair; test_batching.py says what is done with them.
    assert batches < windows, "windows that are due together went through the network one by one"


class Deaf:
    """A client that sends without end and doesn't read; all that it sends is masked by zeros, which changes nothing."""

    def __init__(self, running: Server) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.socket.connect(("127.0.0.1", running.port))
        self.socket.sendall(
            b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):  # frames may come after it only
            answer += self.socket.recv(1)
        begin = start(overlap_factor=0.97).encode()
        self.socket.sendall(bytes([0x81, 0x80 | len(begin)]) + bytes(4) + begin)
        threading.Thread(target=self._flood, daemon=True).start()

    def _flood(self) -> None:
        second = bytes([0x82, 0xFE]) + struct.pack(">H", 32_000) + bytes(4 + 32_000)
        try:
            while True:
                self.socket.sendall(second)
        except OSError:
            return

    def read(self) -> tuple[list[str], int, str]:
        """Read at last: its messages, and the code and reason of the closing."""
        file = self.socket.makefile("rb")
        messages: list[str] = []
        while True:
            first, size = file.read(2)
            if size == 126:
                (size,) = struct.unpack(">H", file.read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", file.read(8))
            body = file.read(size)
            if first & 15 == 8:
                return messages, struct.unpack(">H", body[:2])[0], body[2:].decode()
            if first & 15 == 1:
                messages.append(body.decode())


@pytest.mark.slow
def test_a_client_that_does_not_read_is_dropped_and_others_are_not(quick: Server, words: earmark.Recognizer) -> None:
    sound = some_sound(16_000)
    expected = [window.scores for window in words.stream(sound, sample_rate=16_000)]
    deaf = Deaf(quick)
    dropped, until = 0.0, time.monotonic() + 120
    while not dropped:
        heard = play(quick, cut(sound.tobytes(), 8, 6_400), encoding="f32le")
        assert np.array_equal(heard.scores, expected)
        assert time.monotonic() < until, "it was never dropped"
        dropped = quick.metric('earmark_streams_dropped_total{reason="slow"}')
    messages, code, reason = deaf.read()
    deaf.socket.close()
    assert dropped == 1
    assert (code, reason) == (1013, "The client has not read its messages for 1 s.")
    assert json.loads(messages[-1]) == {"type": "error", "error": reason}
    numbers = [window["start"] for message in messages[1:-1] for window in json.loads(message).get("windows", [])]
    assert len(numbers) > 100
    assert np.allclose(np.diff(numbers), 1_024 / 44_100), "what it was sent until then is whole"


def test_a_client_that_sends_nothing_is_let_go() -> None:
    with server("words", "--idle-seconds", "0.5") as running, running.connect() as connection:
        connection.send(start())
        told = listen(connection)
        assert told.ready
        assert told.closing == (1001, "The client has sent nothing for 0.5 s.")
        assert running.metric('earmark_streams_dropped_total{reason="idle"}') == 1


def test_more_streams_than_the_server_takes_are_told(quick: Server) -> None:
    with quick.connect() as one, quick.connect() as other:
        for connection in (one, other):
            connection.send(start())
            assert json.loads(connection.recv(10))["type"] == "ready"
        with quick.connect() as third:
            told = listen(third)
        assert told.closing == (1013, "The server has all 2 streams that it takes: try again later.")
        assert told.error == told.closing[1]
        one.send('{"type": "end"}')
        assert listen(one).closing[0] == 1000
    assert quick.metric('earmark_streams_dropped_total{reason="full"}') == 1
    assert play(quick, [bytes(3_200)]).closing[0] == 1000  # and there is room again


def test_the_end_of_the_server_is_told() -> None:
    with server("words") as running, running.connect() as connection:
        connection.send(start())
        connection.recv(10)
        running.process.terminate()
        told = listen(connection)
    assert told.closing == (1001, "The server is stopping: connect again later.")


def test_who_comes_while_the_server_ends_does_not_keep_it(words: earmark.Recognizer) -> None:
    app = create_app(words, max_streams=1)
    scope = {"type": "websocket", "path": "/api/stream", "headers": [(b"host", b"localhost")], "query_string": b""}
    coming: Iterator[dict[str, Any]] = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]
    )
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: Any) -> None:
        told.append(message)

    async def come() -> None:
        await app.state.streams.end()
        await app(scope, receive, send)

    asyncio.run(come())
    assert [message["type"] for message in told] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert told[-1]["code"] == 1001
    assert told[-1]["reason"] == json.loads(told[1]["text"])["error"] == "The server is stopping: connect again later."


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([b"\0\0"], "Say start"),
        (["not JSON"], "start message can't be understood"),
        (["[" * 100_000], "start message"),
        (["{}"], "type"),
        ([start(sample_rate=12)], "sample_rate must be from 1000 to 655350 Hz."),
        ([start(sample_rate="NaN")], "sample_rate"),
        ([start(channels=0)], "channels"),
        ([start(encoding="mp3")], "encoding"),
        ([start(scores=False, detections=False)], "ask for scores"),
        ([start(volume=11)], "volume"),
        ([start(probability_threshold=2)], "probability_threshold"),
        ([start(overlap_factor=1)], "overlap_factor"),
        ([start(smoothing_windows=2)], "smoothing_windows is 2: it must be an odd number"),
        ([start(label_thresholds={"meow": 0.5})], "label_thresholds names 'meow'"),
        ([start(), start()], "After start come"),
        ([start(), "null"], "After start come"),
        ([start(), "{"], "not JSON"),
        ([start(), bytes(32_002)], "more than a second"),
        ([start(encoding="f32le"), struct.pack("<f", float("nan"))], "not finite"),
    ],
)
def test_what_the_protocol_does_not_know_is_told_in_a_sentence(
    running: Server, messages: list[str | bytes], told: str
) -> None:
    with running.connect() as connection:
        for message in messages:
            connection.send(message)
        heard = listen(connection)
    assert told in heard.error
    assert heard.closing[0] == 1008
    assert heard.error.startswith(heard.closing[1])
    assert len(heard.closing[1].encode()) <= 123


START_VALUES = st.dictionaries(
    st.sampled_from(
        ["type", "sample_rate", "encoding", "channels", "scores", "overlap_factor", "smoothing_windows",
         "min_agreeing_windows", "label_thresholds", "longest_sound_ms", "suppression_time_ms"]
    ),
    st.one_of(st.none(), st.booleans(), st.integers(-5, 10**12), st.floats(), st.text(max_size=5), st.just({"go": 1})),
    max_size=3,
)  # fmt: skip
SAID = st.lists(st.one_of(st.binary(max_size=64), st.text(max_size=30), st.just('{"type": "end"}')), max_size=6)


@pytest.mark.slow
@budget(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=START_VALUES, said=SAID)
def test_whatever_is_said_the_server_closes_with_a_reason_and_lives(
    running: Server, values: dict[str, object], said: list[str | bytes]
) -> None:
    with running.connect() as connection:
        connection.send(start(**values))
        try:
            for message in said:
                connection.send(message)
            connection.send('{"type": "end"}')
        except ConnectionClosed:
            pass
        heard = listen(connection)
    assert heard.closing[0] in (1000, 1008), heard
    assert heard.closing[1]
    assert running.request("GET", "/health").json()["status"] == "ok"


def test_a_client_that_vanishes_leaves_nothing_behind(running: Server) -> None:
    before = running.metric("earmark_streams_open")
    with running.connect() as connection:
        connection.send(start())
        connection.send(bytes(32_000))
        connection.socket.close()  # no closing handshake
    until = time.monotonic() + 30
    while running.metric("earmark_streams_open") > before:
        assert time.monotonic() < until
        time.sleep(0.05)
