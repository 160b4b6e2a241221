"""The live connection: a real server, real chunks, and connections that break."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import earmark
from tests import sounds
from tests.studio.running import Page, Studio, chunk, held, read_all, studio


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("live") / "clapper") as started:
        yield started


@pytest.fixture
def page(running: Studio) -> Iterator[Page]:
    connected = Page(running)
    yield connected
    connected.close()


def saved_samples(running: Studio, clip_id: str) -> np.ndarray:
    wav = running.request("GET", "/api/clips/audio", params={"clip": clip_id}).content
    return earmark.read_clip(wav).samples


def test_a_recording_is_saved_sample_for_sample(running: Studio, page: Page) -> None:
    sound = sounds.whistle(1.5, 1)
    page.record("aaaaaaa1", "Left", sound)
    progress = page.wait("recording", recording="aaaaaaa1")["examples"]
    clip = page.wait("saved", recording="aaaaaaa1")["clip"]
    kept = saved_samples(running, clip)
    assert len(kept) == len(sound)
    assert np.abs(kept - sound).max() < 2**-14  # the WAV for the browser has 16 bits
    # 1.5 s at 44.1 kHz are 64.6 hops; a window needs four of them, so 61 windows are whole.
    (entry,) = [entry for label in running.project()["labels"] for entry in label["clips"] if entry["id"] == clip]
    assert entry["examples"] == 61
    assert progress <= 61


def test_a_recording_that_is_mostly_silence_is_told_and_only_its_sound_counts(running: Studio, page: Page) -> None:
    sound = sounds.room(3.0, 11)
    sound[48_000:67_200] += sounds.whistle(0.4, 12)
    page.record("mmmmmmm1", "Left", sound)
    counts = []
    while (message := page.receive())["type"] != "saved":
        counts += [message["examples"]] if message["type"] == "recording" else []
    saved = message
    (note,) = saved["notes"]
    assert note.startswith("The recording is mostly silence: only 0.5 of its 3.0 s stand out and are learnt as 'Left'")
    (entry,) = [
        entry for label in running.project()["labels"] for entry in label["clips"] if entry["id"] == saved["clip"]
    ]
    assert entry["examples"] == pytest.approx(20, abs=1)
    assert counts[-1] == pytest.approx(entry["examples"], abs=1), "the page counts so while it records"
    page.record("mmmmmmm1", "Left", sound)
    assert page.wait("saved", recording="mmmmmmm1")["notes"] == []
    page.record("mmmmmmm2", "Noise", sound)
    saved = page.wait("saved", recording="mmmmmmm2")
    assert saved["notes"] == []
    content = io.BytesIO()
    soundfile.write(content, sound, sounds.RATE, format="WAV")
    answer = running.request(
        "POST", "/api/clips", params={"label": "Left", "name": "a.wav"}, content=content.getvalue()
    ).json()
    assert answer["notes"] == [note]


def test_the_spectrogram_that_is_shown_is_the_front_ends(page: Page) -> None:
    sound = sounds.snaps(1.0, 2)
    page.play(sound)
    page.hear(40)
    columns = np.frombuffer(page.columns, np.uint8).reshape(-1, 232)
    levels = earmark.compute_spectrogram(sound, sounds.RATE)[: len(columns)]
    expected = np.clip((levels + 120) / 100 * 255, 0, 255)
    assert np.abs(columns - expected).max() <= 1


def test_chunks_sent_again_after_a_lost_connection_complete_the_recording(running: Studio) -> None:
    sound = sounds.murmur(1.0, 3)
    half = 20 * 1_024
    before = Page(running)
    before.play(sounds.room(0.5, 9))
    first = before.number
    before.say(type="record", recording="bbbbbbb1", label="Noise", sample_rate=sounds.RATE, first=first)
    before.play(sound[:half])
    before.connection.socket.close()  # no closing handshake: the network is gone

    after = Page(running)
    after.say(type="hello", sample_rate=sounds.RATE, next=first + 47)  # 48,000 samples are 47 chunks
    after.say(type="record", recording="bbbbbbb1", label="Noise", sample_rate=sounds.RATE, first=first)
    end = after.play(sound, first)
    after.play(sound[:half], first)  # and once more: twice does no harm
    after.say(type="stop", recording="bbbbbbb1", end=end)
    kept = saved_samples(running, after.wait("saved", recording="bbbbbbb1")["clip"])
    assert np.abs(kept - sound).max() < 2**-14
    assert after.frames == 0, "what is sent again is no live sound"
    after.close()


def test_a_recording_sent_again_after_it_was_saved_is_not_saved_twice(running: Studio, page: Page) -> None:
    page.record("ccccccc1", "Left", sounds.whistle(0.5, 4))
    clip = page.wait("saved", recording="ccccccc1")["clip"]
    count = len(running.project()["labels"][0]["clips"])
    page.record("ccccccc1", "Left", sounds.whistle(0.5, 4))
    assert page.wait("saved", recording="ccccccc1")["clip"] == clip
    assert len(running.project()["labels"][0]["clips"]) == count


def test_a_recording_sent_by_two_pages_at_once_is_saved_once(running: Studio) -> None:
    pages = [Page(running), Page(running)]
    before = len(running.project()["labels"][0]["clips"])
    for page in pages:
        page.record("hhhhhhh1", "Left", sounds.whistle(3.0, 8))
    clips = {page.wait("saved", recording="hhhhhhh1")["clip"] for page in pages}
    assert len(clips) == 1
    assert len(running.project()["labels"][0]["clips"]) == before + 1
    for page in pages:
        page.close()


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_knows_what_it_saved(tmp_path: Path) -> None:
    with studio(tmp_path / "clapper") as first:
        page = Page(first)
        page.record("ddddddd1", "Left", sounds.whistle(0.5, 5))
        clip = page.wait("saved", recording="ddddddd1")["clip"]
        first.kill()
        with pytest.raises(ConnectionClosed):
            page.wait("never")
    with studio(tmp_path / "clapper", first.port) as second:
        page = Page(second)
        page.record("ddddddd1", "Left", sounds.whistle(0.5, 5))
        assert page.wait("saved", recording="ddddddd1")["clip"] == clip
        page.close()


def test_a_recording_too_short_for_an_example_is_refused_and_nothing_written(running: Studio, page: Page) -> None:
    before = running.project()["labels"]
    page.record("eeeeeee1", "Left", sounds.whistle(0.03, 6))
    assert "0.1 s" in page.wait("refused", recording="eeeeeee1")["error"]
    assert running.project()["labels"] == before


def test_a_recording_that_goes_on_too_long_is_refused(page: Page) -> None:
    page.say(type="record", recording="fffffff1", label="Left", sample_rate=1_000, first=0)
    page.say(type="hello", sample_rate=1_000)
    for _ in range(128):  # chunks of 500 samples at 1 kHz: 64 s
        page.play(np.zeros(500, np.float32))
    assert "60 s" in page.wait("refused", recording="fffffff1")["error"]


@pytest.mark.parametrize(
    "message",
    [
        "not JSON",
        "[]",
        '{"type": "unknown"}',
        '{"type": "hello", "sample_rate": 12}',
        '{"type": "record", "recording": "../../etc", "label": "x", "sample_rate": 48000, "first": 0}',
        '{"type": "stop", "recording": "aaaaaaaa"}',
        '{"type": "record", "recording": "aaaaaaaa", "label": null, "sample_rate": 48000, "first": 0}',
        '{"type": "record", "recording": "aaaaaaaa", "label": "x", "sample_rate": 48000, "first": Infinity}',
        '{"type": "listen"}',
        '{"type": "listen", "on": true, "model": 7}',
        '{"type": "listen", "on": true, "model": "words", "probability_threshold": "high"}',
        '{"type": "listen", "on": true, "model": "words", "probability_threshold": true}',
        '{"type": "threshold"}',
        '{"type": "threshold", "probability_threshold": null}',
        "[" * 100_000,
        b"",
        b"\x00" * 15,
        struct.pack("<IB3xd", 0, 7, 0.0) + b"\x00" * 8,
        struct.pack("<IB3xd", 0, 1, 0.0) + b"\x00" * 7,
        # Named, as their bytes hold the time: several processes must find the same tests.
        pytest.param(chunk(0, np.full(64, np.nan, np.float32)), id="not finite"),
        pytest.param(chunk(0, np.zeros(60_000, np.float32)), id="too long"),
    ],
)
def test_what_the_protocol_does_not_know_ends_the_connection_not_the_server(
    running: Studio, page: Page, message: str | bytes
) -> None:
    page.connection.send(message)
    with pytest.raises(ConnectionClosed) as closed:
        page.wait("never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert running.project()["name"] == "clapper"


def test_sound_before_hello_is_refused(running: Studio) -> None:
    with connect(f"ws://127.0.0.1:{running.port}/api/live") as connection:
        connection.send(chunk(0, np.zeros(64, np.float32)))
        with pytest.raises(ConnectionClosed) as closed:
            read_all(connection)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Say hello first.")


def test_listening_without_a_model_says_what_to_do(page: Page) -> None:
    page.say(type="listen", on=True)
    assert "train" in page.wait("error")["error"]
    assert page.wait("listening")["on"] is False


def test_listening_gives_the_scores_that_the_api_gives(trained: earmark.Project) -> None:
    with studio(trained.path) as running:
        listener = Page(running)
        listener.say(type="listen", on=True)
        assert listener.wait("listening")["labels"] == ["Left", "Right", "Noise"]
        sound = sounds.snaps(2.0, 11)
        expected = [window.scores for window in trained.model().stream(sound, sample_rate=sounds.RATE)]
        listener.play(sound)
        listener.hear(len(expected))
        assert len(listener.heard) >= len(expected) - 2  # the resampler holds the last ones back
        assert np.array_equal(np.array(listener.heard, np.float32), expected[: len(listener.heard)])
        listener.close()


def test_training_reports_each_epoch_and_the_live_sound_goes_on(tmp_path: Path) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps), ("Noise", sounds.murmur)):
        project.add(label, make(20.0, 1), sounds.RATE)
    with studio(project.path) as running:
        page = Page(running)
        assert running.request("POST", "/api/train").status_code == 200
        assert running.request("POST", "/api/train").status_code == 400  # one at a time
        page.wait("training", state="epoch", epoch=1)
        seen = page.frames
        page.play(sounds.room(1.0, 1))
        while page.frames < seen + 40:
            message = page.receive()
            assert message.get("state") != "done", "the spectrogram waited for the training"
        assert page.wait("training", state="epoch", epoch=10)["accuracy"] > 0.9
        page.wait("training", state="done")
        assert running.project()["model"]["accuracy"] > 0.9
        page.close()


@pytest.mark.slow
def test_a_cancelled_training_leaves_the_old_model(trained: earmark.Project, tmp_path: Path) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
        project.add(label, make(30.0, 1), sounds.RATE)
    folder = project.path / "models" / "sounds"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "model.json"):
        (folder / name).write_bytes((trained.path / "models" / "sounds" / name).read_bytes())
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with studio(project.path) as running:
        page = Page(running)
        running.request("POST", "/api/train")
        page.wait("training", state="epoch", epoch=1)
        assert running.request("DELETE", "/api/train").json()["training"]["running"] is False
        page.wait("training", state="cancelled")
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
        assert running.project()["model"]["labels"] == ["Left", "Right", "Noise"]
        running.request("POST", "/api/train")  # and it can train again
        page.wait("training", state="done")
        assert running.project()["model"]["labels"] == ["Left", "Right"]
        page.close()


@pytest.mark.slow
def test_training_again_right_after_cancelling_trains(tmp_path: Path) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
        project.add(label, make(10.0, 1), sounds.RATE)
    with studio(project.path) as running:
        page = Page(running)
        running.request("POST", "/api/train")
        page.wait("training", state="epoch", epoch=1)
        with ThreadPoolExecutor() as requests:
            cancelled = requests.submit(running.request, "DELETE", "/api/train")
            time.sleep(0.003)
            again = requests.submit(running.request, "POST", "/api/train")
        assert cancelled.result().status_code == 200
        if again.result().status_code == 400:  # it came before the cancelling
            running.request("POST", "/api/train")
        page.wait("training", state="done")
        assert running.project()["model"]["labels"] == ["Left", "Right"]
        workers = psutil.Process(running.process.pid).children(recursive=True)
        assert len(workers) == 1
        page.close()


def test_an_interrupt_ends_the_server_and_its_worker_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "earmark", "studio", str(tmp_path / "clapper"), "--port", "0", "--no-browser"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as started:
        assert started.stdout is not None
        assert "http://" in started.stdout.readline()
        time.sleep(0.5)
        workers = psutil.Process(started.pid).children()
        os.killpg(started.pid, signal.SIGINT)  # as a terminal's Ctrl+C does
        _, errors = started.communicate(timeout=60)
    assert "Traceback" not in errors
    assert workers
    assert not any(worker.is_running() for worker in workers)


def test_a_recording_of_a_label_renamed_meanwhile_is_saved_under_its_new_name(running: Studio, page: Page) -> None:
    running.request("POST", "/api/labels", json={"name": "Old"})
    first = page.number
    page.say(type="record", recording="iiiiiii1", label="Old", sample_rate=sounds.RATE, first=first)
    end = page.play(sounds.whistle(0.5, 9))
    running.request("PATCH", "/api/labels", params={"label": "Old"}, json={"name": "New"})
    page.say(type="stop", recording="iiiiiii1", end=end)
    assert page.wait("saved", recording="iiiiiii1")["clip"].startswith("New/")
    assert "Old" not in [label["name"] for label in running.project()["labels"]]
    running.request("DELETE", "/api/labels", params={"label": "New"})


def test_two_pages_learn_of_each_others_recordings(running: Studio, page: Page) -> None:
    other = Page(running)
    page.record("ggggggg1", "Right", sounds.snaps(0.5, 7))
    other.wait("changed")
    assert json.dumps(running.project()).count("ggggggg1") == 1
    other.close()


def metric(running: Studio, name: str) -> float:
    found = re.findall(rf"^{re.escape(name)} (.*)$", running.request("GET", "/metrics").text, re.MULTILINE)
    return float(found[0]) if found else 0.0


@pytest.mark.slow
def test_pages_learn_what_other_programs_do_to_the_project(tmp_path: Path) -> None:
    """Another studio or a terminal, and a file manager: a clip that comes, is cut off, becomes a folder, or goes."""
    with studio(tmp_path / "clapper") as running:
        page = Page(running)
        other = earmark.Project(tmp_path / "clapper")
        clip = other.add("Left", sounds.whistle(0.5, 1), sounds.RATE)
        page.wait("changed")
        assert len(running.project()["labels"][0]["clips"]) == 1
        whole = clip.path.read_bytes()
        clip.path.write_bytes(whole[:50])
        page.wait("changed")
        (damaged,) = running.project()["labels"][0]["clips"]
        assert damaged["error"] is not None
        assert running.request("GET", "/api/clips/audio", params={"clip": damaged["id"]}).status_code == 400
        clip.path.unlink()
        clip.path.mkdir()
        page.wait("changed")
        assert running.project()["labels"][0]["clips"] == []
        told = running.request("DELETE", "/api/clips", params={"clip": damaged["id"]})
        assert told.json()["error"].startswith("That recording is no longer there")
        other.change_label("Right", new_name="Up")
        page.wait("changed")
        assert [label["name"] for label in running.project()["labels"]] == ["Left", "Up", "Noise"]
        page.close()


@pytest.mark.slow
def test_a_studio_listens_with_the_model_that_another_program_has_trained(
    trained: earmark.Project, tmp_path: Path
) -> None:
    shutil.copytree(trained.path, tmp_path / "clapper")
    shutil.rmtree(tmp_path / "clapper" / "models")
    with studio(tmp_path / "clapper") as running:
        page = Page(running)
        assert running.project()["model"] is None
        shutil.copytree(trained.path / "models", tmp_path / "clapper" / "models")
        page.wait("changed")
        assert running.project()["model"]["labels"] == ["Left", "Right", "Noise"]
        page.close()


@pytest.mark.slow
def test_a_page_that_has_gone_leaves_nothing_large(tmp_path: Path) -> None:
    with studio(tmp_path / "project", program="tests.held") as running:
        for way in ("closed", "wrong", "recording"):
            page = Page(running)
            page.say(type="listen", on=True, model="words", probability_threshold=0.75)
            page.wait("listening", on=True)
            page.play(sounds.room(1.0, 3))
            page.hear(30)
            assert held(running.process) == 1
            if way == "recording":
                page.say(type="record", recording="abcdefgh", label="Left", sample_rate=sounds.RATE, first=page.number)
            elif way == "wrong":
                page.connection.send("not JSON")
            page.close()
            until = time.monotonic() + 20
            while metric(running, "earmark_streams_open") and time.monotonic() < until:
                time.sleep(0.02)
            assert held(running.process) == 0, way


def test_what_pages_do_is_counted(running: Studio) -> None:
    names = ("earmark_streams_total", "earmark_chunks_total", "earmark_audio_seconds_total")
    before = [metric(running, name) for name in names]
    connected, dropped = metric(running, "earmark_streams_open"), 'earmark_streams_dropped_total{reason="protocol"}'
    refused = metric(running, dropped)
    page = Page(running)
    page.play(sounds.room(2.0, 3))
    page.hear(80)
    assert metric(running, "earmark_streams_open") == connected + 1
    page.connection.send("not JSON")
    with pytest.raises(ConnectionClosed):
        page.wait("never")
    page.close()
    grown = [metric(running, name) - was for name, was in zip(names, before, strict=True)]
    assert grown == [1, 94, pytest.approx(2.0)]  # 96,000 samples are 93.75 chunks
    assert metric(running, dropped) == refused + 1
    assert metric(running, 'earmark_http_requests_total{route="/metrics",status="200"}') > 5
