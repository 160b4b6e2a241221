"""The HTTP side of `earmark serve`: sound files, bad input, visitors from elsewhere, and what OpenAPI says of it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families
from websockets import Origin
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import earmark
from earmark.audio.finding import open_sound_file
from earmark.audio.sources import Source
from earmark.serving import app as serving_app
from earmark.serving.app import create_app
from tests import sounds
from tests.serving.running import Server, play, server
from tests.studio.spoken import Speech


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server("words", "--allow-host", "ears.example", "--allow-origin", "https://page.example") as started:
        yield started


def sound_file(samples: np.ndarray, container: str = "WAV", rate: int = 16_000, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def test_the_model_is_described(running: Server, words: earmark.Recognizer) -> None:
    told = running.request("GET", "/api/model").json()
    assert told["labels"] == list(words.labels)
    assert told["params"]["window_ms"] == words.params.window_ms
    assert told["hop_seconds"] == pytest.approx(4 * 1_024 / 44_100)  # every fourth frame


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_a_file_is_recognized_as_the_api_recognizes_it(
    running: Server, words: earmark.Recognizer, container: str
) -> None:
    data = sound_file(sounds.whistle(1.4, 1)[::3], container)
    expected = words.recognize(earmark.read_clip(data).samples, sample_rate=16_000)
    told = running.request("POST", "/api/recognize", content=data).json()
    assert (told["label"], told["score"]) == (expected.label, expected.score)
    assert told["scores"] == dict(zip(words.labels, expected.scores.tolist(), strict=True))


def test_a_form_gives_what_its_file_gives(running: Server) -> None:
    data = sound_file(sounds.whistle(1.4, 1)[::3])
    for route in ("/api/recognize", "/api/detect"):
        alone = running.request("POST", route, content=data)
        form = running.request("POST", route, files={"file": ("a.wav", data)})  # as curl -F does
        assert (form.status_code, form.json()) == (200, alone.json())
    empty = running.request("POST", "/api/recognize", files={"a": ("a", data), "b": ("b", data)})
    assert (empty.status_code, empty.json()["error"]) == (
        400, "The form holds 2 files: send one, such as -F file=@sound.wav."
    )  # fmt: skip


def test_a_files_detections_are_the_apis(running: Server, words: earmark.Recognizer, speech: Speech) -> None:
    data = sound_file(speech.samples)
    options: dict[str, Any] = {"probability_threshold": 0.6, "overlap_factor": 0.8}
    heard = words.listen(
        earmark.read_clip(data).samples, sample_rate=16_000, **options, label_thresholds={"go": 0.9, "no": 0.7}
    )
    expected = [{"label": one.label, "score": one.score, "start": one.start, "end": one.end} for one in heard]
    query = {**options, "label_threshold": ["go=0.9", "no=0.7"]}
    told = running.request("POST", "/api/detect", content=data, params=query)
    assert told.json() == {"detections": expected}
    assert len(expected) >= 6


@pytest.mark.slow
def test_a_long_file_is_heard_while_streams_go_on(running: Server, words: earmark.Recognizer) -> None:
    hour = sound_file(np.tile(sounds.murmur(10.0, 1)[::3], 180), "FLAC")  # half an hour
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(running.request("POST", "/api/detect", content=hour)))
    asking.start()
    sound = (32_767 * sounds.snaps(3.0, 2)[::3]).astype("<i2")
    expected = [window.scores for window in words.stream(sound, sample_rate=16_000)]
    streams = 0
    while asking.is_alive():
        heard = play(running, [sound[at : at + 1_600].tobytes() for at in range(0, len(sound), 1_600)])
        assert np.array_equal(heard.scores, expected)
        streams += 1
    assert answers[0].status_code == 200
    assert streams > 1
    assert running.request("POST", "/api/recognize", content=hour).status_code == 400  # no clip is so long


BAD = {
    "nothing": b"",
    "no sound": b"This is no sound.",
    "cut": sound_file(sounds.whistle(1.0, 1), "FLAC")[:2_000],
    "not finite": sound_file(np.full(16_000, np.nan, np.float32), "WAV", subtype="FLOAT"),
    "a page": b"<html>" + bytes(10_000),
}


@pytest.mark.parametrize("path", ["/api/recognize", "/api/detect"])
@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_a_sentence(running: Server, path: str, name: str) -> None:
    told = running.request("POST", path, content=BAD[name])
    assert told.status_code == 400, told.text
    assert re.match(r"[Tt]he file .*[.]$", told.json()["error"]), told.json()
    assert "/tmp" not in told.json()["error"]


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("probability_threshold=2", 422, "probability_threshold"),
        ("probability_threshold=nan", 422, "probability_threshold"),
        ("overlap_factor=1", 422, "overlap_factor"),
        ("smoothing_windows=2", 400, "smoothing_windows is 2: it must be an odd number"),
        ("min_agreeing_windows=100000000", 422, "min_agreeing_windows"),
        ("label_threshold=go", 400, "write it like yes=0.9"),
        ("label_threshold=meow=0.5", 400, "label_thresholds names 'meow'"),
        ("loudness=3", 422, "loudness"),
    ],
)
def test_bad_options_get_a_sentence(running: Server, query: str, status: int, told: str) -> None:
    answer = running.request("POST", f"/api/detect?{query}", content=sound_file(sounds.whistle(1.0, 1)))
    assert answer.status_code == status
    assert told in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8001"}, 200),
        ({"Host": "ears.example"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "https://page.example"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_visitors_from_elsewhere_are_kept_out(running: Server, headers: dict[str, str], status: int) -> None:
    answer = running.request("POST", "/api/recognize", content=sound_file(sounds.whistle(1.0, 1)), headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"].endswith(".")
    if headers.get("Origin") == "https://page.example":
        assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"


def test_a_stream_of_another_sites_page_is_refused(running: Server) -> None:
    address = f"ws://127.0.0.1:{running.port}/api/stream"
    with pytest.raises(InvalidStatus) as refused, connect(address, origin=Origin("https://evil.example")):
        pass
    assert refused.value.response.status_code == 403
    with connect(address, origin=Origin("https://page.example")):
        pass


def test_any_address_of_this_machine_will_do_where_it_listens_on_all() -> None:
    with server("words", "--host", "0.0.0.0") as running:
        local = Server(f"http://127.0.0.1:{running.port}", running.process)
        for host, status in (("192.168.1.7:8001", 200), ("[fe80::1]", 200), ("evil.example", 403)):
            assert local.request("GET", "/health", headers={"Host": host}).status_code == status


def test_the_metrics_are_prometheus_text_and_count(running: Server) -> None:
    running.request("GET", "/api/model")
    running.request("GET", "/no/such/page")
    play(running, [bytes(32_000)] * 3)
    answer = running.request("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    values = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert values["earmark_http_requests_total", "/api/model", "200"] >= 1
    assert values["earmark_http_requests_total", "other", "404"] >= 1
    assert values["earmark_audio_seconds_total",] >= 3
    assert values["earmark_windows_scored_total",] >= 20
    assert values["earmark_chunk_seconds_count",] >= 2
    assert values["earmark_batch_windows_sum",] == values["earmark_windows_scored_total",]
    assert 0 < values["earmark_model_load_seconds", "words"] < 60
    assert values["process_resident_memory_bytes",] > 1e6
    assert values["earmark_streams_open",] == 0


def test_every_route_is_described_and_answers(running: Server, words: earmark.Recognizer) -> None:
    described = running.request("GET", "/openapi.json").json()
    OpenAPI.model_validate(described)
    app: FastAPI = create_app(words, max_streams=1)
    routes = {route.path for route in app.routes if isinstance(route, APIRoute)}
    assert set(described["paths"]) == routes == {
        "/api/model", "/api/recognize", "/api/detect", "/health", "/metrics"
    }  # fmt: skip
    body = sound_file(sounds.whistle(1.0, 1))
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["description"]
            assert set(operation["responses"]) >= {"200", "403"}
            answer = running.request(method.upper(), path, content=body if method == "post" else None)
            assert answer.status_code == 200, path
            assert answer.headers["Content-Type"].split(";")[0] in operation["responses"]["200"]["content"]
    assert "/api/stream" in described["info"]["description"]
    assert set(described["components"]["schemas"]["Start"]["required"]) == {"type", "sample_rate"}


def test_a_file_that_says_it_is_too_large_is_refused_before_it_comes(running: Server) -> None:
    head = f"POST /api/detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {(2 << 30) + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), 10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_network_that_fails_is_told_and_counted() -> None:
    failing = """
from earmark.cli.main import main
from earmark.recognizer.recognizer import Recognizer

def fail(*_):
    raise RuntimeError("The network failed.")

Recognizer.recognize = Recognizer.score_windows = fail
main()
"""
    with server("words", program=("-c", failing), stderr=subprocess.DEVNULL) as running:
        told = running.request("POST", "/api/recognize", content=sound_file(sounds.whistle(1.0, 1)))
        assert (told.status_code, told.json()["error"][-1]) == (500, ".")
        heard = play(running, [bytes(32_000)] * 2)
        assert heard.closing == (1011, "The server met an error of its own.")
        assert running.metric('earmark_http_requests_total{route="/api/recognize",status="500"}') == 1
        assert running.metric('earmark_streams_dropped_total{reason="failed"}') == 1
        assert running.metric("earmark_streams_open") == running.metric("earmark_windows_scored_total") == 0


def test_the_thread_that_reads_a_file_closes_it(words: earmark.Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a request is cancelled that thread reads on, and libsndfile doesn't stand a file closed under it."""
    closed_by: list[str] = []

    def opened(path: str) -> Source:
        source = open_sound_file(path)
        close = source.close

        def closing() -> None:
            closed_by.append(threading.current_thread().name)
            close()

        monkeypatch.setattr(source, "close", closing)
        return source

    async def ask() -> httpx.Response:
        app = create_app(words, max_streams=1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.post("/api/detect", content=sound_file(sounds.whistle(1.0, 1)))

    monkeypatch.setattr(serving_app, "open_sound_file", opened)
    assert asyncio.run(ask()).status_code == 200
    assert closed_by == ["earmark-scorer"]


@pytest.mark.slow
def test_requests_under_way_are_told_that_the_server_stops() -> None:
    command = [sys.executable, "-m", "earmark", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        port = int(started.stdout.readline().split()[2].rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(b"POST /api/detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nRIFF")
            time.sleep(0.3)
            os.kill(started.pid, 2)
            assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
        _, errors = started.communicate(timeout=60)
    assert "Traceback" not in errors


def test_an_interrupt_ends_the_server_without_a_traceback() -> None:
    command = [sys.executable, "-m", "earmark", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert "http://" in started.stdout.readline()
        time.sleep(0.3)
        os.kill(started.pid, 2)
        _, errors = started.communicate(timeout=60)
    assert "Traceback" not in errors


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no-such-model"], "does not exist"),
        (["words", "--host", "no such host"], "--host"),
        (["words", "--host", "192.0.2.1"], "--"),
    ],
)
def test_what_cannot_be_served_is_told(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "earmark", "serve", *arguments, "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
