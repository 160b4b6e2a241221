"""Attacks on the studio, each defence with its test: other sites' pages in a real browser, floods, odd bodies."""

from __future__ import annotations

import functools
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from earmark.audio.clip import Clip, encode_wav
from tests import sounds
from tests.browser import browsers
from tests.serving.attacks import ask, request, rest, status
from tests.studio.running import Page, Studio, chunk, studio

# What a page of another site can try without asking its visitor; `tried` tells what came through.
EVIL = """
<script>
  const studio = location.hash.slice(1);
  const tried = {};
  window.attack = async () => {
    const read = async (name, request) => {
      try { const answer = await request(); tried[name] = answer.type === "opaque" ? "sent" : "READ"; }
      catch { tried[name] = "refused"; }
    };
    await read("fetch", () => fetch(`${studio}/api/project`));
    await read("no-cors", () => fetch(`${studio}/api/project`, {mode: "no-cors"}));
    await read("json", () => fetch(`${studio}/api/labels`, {method: "POST", body: '{"name": "evil"}',
      headers: {"Content-Type": "application/json", "X-Earmark": "studio"}}));
    await read("text", () => fetch(`${studio}/api/labels`, {method: "POST", mode: "no-cors", body: '{"name": "x"}'}));
    await read("beacon", async () => { navigator.sendBeacon(`${studio}/api/undo`, "x"); return {type: "opaque"}; });
    const element = (name, tag, values) => new Promise((done) => {
      const one = document.createElement(tag);
      one.onload = () => { tried[name] = "LOADED"; done(); };
      one.onerror = () => { tried[name] = "refused"; done(); };
      Object.assign(one, values);
      document.body.append(one);
    });
    await element("img", "img", {src: `${studio}/static/logo.svg`});
    await element("script", "script", {src: `${studio}/static/dom.js`});
    await element("module", "script", {src: `${studio}/static/dom.js`, type: "module"});
    await element("style", "link", {href: `${studio}/static/base.css`, rel: "stylesheet"});
    await new Promise((done) => {
      const socket = new WebSocket(studio.replace("http", "ws") + "/api/live");
      socket.onopen = () => { tried.socket = "OPEN"; done(); };
      socket.onerror = () => { tried.socket = "refused"; done(); };
    });
    const form = document.createElement("form");
    Object.assign(form, {action: `${studio}/api/undo`, method: "post", target: "inner", enctype: "text/plain"});
    const frame = document.createElement("iframe");
    frame.name = "inner";
    document.body.append(form, frame);
    await new Promise((done) => { frame.onload = done; form.submit(); });
    await new Promise((done) => { frame.onload = done; frame.src = studio; });
    return tried;
  };
</script><body></body>
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("attacks") / "clapper") as started:
        yield started


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of another local server, whose page attacks."""
    folder = tmp_path_factory.mktemp("evil")
    (folder / "index.html").write_text(EVIL)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("site", ["evil.test", "127.0.0.1"])  # another site, and another server of this machine
def test_another_pages_attacks_get_nothing_and_change_nothing(running: Studio, evil: int, site: str) -> None:
    running.request("POST", "/api/labels", json={"name": "Kept"})  # so that there is something to undo
    before = running.project()
    with browsers.borrow("--host-resolver-rules=MAP evil.test 127.0.0.1") as browser:
        page = browser.new_page()
        answers: list[tuple[str, int]] = []
        page.on("response", lambda answer: answers.append((answer.url, answer.status)))
        page.goto(f"http://{site}:{evil}/#{running.address}")
        tried = page.evaluate("attack()")
        frame = next(one for one in page.frames if one.name == "inner")
        assert frame.locator("#main").count() == 0
    assert {name for name, what in tried.items() if what not in ("refused", "sent")} == set(), tried
    assert all(code == 403 for url, code in answers if url.startswith(f"{running.address}/api")), answers
    assert running.project() == before
    running.request("POST", "/api/undo")


def test_a_name_pointed_at_this_machine_shows_nothing(running: Studio) -> None:
    """DNS rebinding: to the browser the studio is the site's own, so it reads whatever is answered."""
    with browsers.borrow("--host-resolver-rules=MAP evil.test 127.0.0.1") as browser:
        page = browser.new_page()
        answer = page.goto(f"http://evil.test:{running.port}/")
        assert answer is not None
        assert answer.status == 403
        told = page.evaluate("fetch('/api/project').then((answer) => answer.text())")
    assert "http://127.0.0.1" in told
    assert "labels" not in told


def test_a_link_to_the_page_may_be_followed(running: Studio, evil: int) -> None:
    with browsers.borrow() as browser:
        page = browser.new_page()
        page.goto(f"http://localhost:{evil}/")
        page.evaluate(f"location.href = '{running.address}/'")
        page.wait_for_selector("#main")


def test_the_page_runs_without_inline_script_or_style(running: Studio) -> None:
    """What its policy forbids, a browser tells; here nothing is."""
    with browsers.borrow("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream") as browser:
        page = browser.new_page()
        page.add_init_script("""window.violations = [];
            addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));""")
        page.goto(running.address)
        page.locator("#words-tab").click()
        page.wait_for_function("document.querySelector('#console').textContent.includes('collected')")
        assert page.evaluate("violations") == []
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
        assert page.evaluate("window.ran") is None
        assert page.evaluate("violations") != []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (request("GET", "/"), 200),
        (request("GET", "/static/main.js"), 200),
        (request("GET", "/static/none.js"), 404),
        (request("GET", "/static/..%2f..%2fserver.py"), 404),
        (request("GET", "/openapi.json"), 404),
        (request("GET", "/api/project", host="evil.example"), 403),
        (request("POST", "/api/undo", "Content-Length: 0"), 403),
        (request("GET", "/api/clips/audio"), 422),
        (request("PUT", "/api/project", "X-Earmark: studio", "Content-Length: 0"), 405),
        (request("GET", "/static/main.js", "Sec-Fetch-Site: same-site"), 403),
        (request("GET", "/", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), 403),
        (request("GET", "/api/project", "Origin: https://127.0.0.1"), 403),
    ],
)
def test_every_answer_keeps_other_sites_from_it(running: Studio, said: bytes, expected: int) -> None:
    answer = ask(running.port, said)
    assert status(answer) == expected
    for header in (
        b"x-content-type-options: nosniff", b"cross-origin-resource-policy: same-origin", b"content-security-policy: "
    ):  # fmt: skip
        assert answer.lower().count(header) == 1


NAME = json.dumps({"name": "x"})
BODIES: dict[str, tuple[bytes, int]] = {
    "deep": (b'{"name": ' + b"[" * 30_000, 422),
    "deep and whole": (b'{"name": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 422),
    "huge number": (b'{"name": "x", "colour": ' + b"9" * 5_000 + b"}", 422),
    "surrogate": (b'{"name": "\\ud800"}', 422),
    "surrogate key": (b'{"\\ud800": 1}', 422),
    "not UTF-8": (b'{"name": "\xff\xfe"}', 422),
    "no object": (b"[[]]", 422),
    "not a number": (b'{"name": NaN}', 422),
    "nothing": (b"", 422),
    "long name": (b'{"name": "' + b"x" * 60_000 + b'"}', 400),
    "too large": (b'{"name": "' + b"x" * 70_000 + b'"}', 413),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies_that_are_none_get_a_sentence(running: Studio, name: str, is_chunked: bool) -> None:
    before = running.project()
    body, expected = BODIES[name]
    content: Any = iter([body[:20], body[20:]]) if is_chunked else body
    answer = running.request("POST", "/api/labels", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (expected, 400), answer.text
    assert answer.status_code == expected or expected == 422
    assert answer.json()["error"].endswith(".")
    assert running.project() == before


def test_a_position_or_time_that_is_none_changes_nothing(running: Studio) -> None:
    before = running.project()
    huge = running.request("PATCH", "/api/labels?label=Left", content=b'{"position": 1' + b"0" * 4_000 + b"}")
    assert huge.status_code in (400, 422)
    for time_ in (b"NaN", b"Infinity", b"1e999"):
        answer = running.request("PATCH", "/api/clips?clip=a", content=b'{"start": 0, "end": ' + time_ + b"}")
        assert answer.status_code in (400, 422)
    assert running.project() == before


SHORT = """
from earmark.web import limits
from earmark.studio import page_session as live, live_sound, server, state
limits.SMALL_SECONDS = 1.0
limits.CHANGES_AT_ONCE, limits.CHANGES_A_SECOND = 5.0, 0.01
limits.MOST_REQUESTS = 3
state.MOST_PAGES = 2
live.COMMANDS_AT_ONCE, live.COMMANDS_A_SECOND = 50.0, 0.01
live_sound.SOUND_AT_ONCE, live_sound.SOUND_RATE = 3.0, 0.01
server.MOST_UPLOADS, server.MOST_EXPORTS = 2, 1
from earmark.cli.main import main
main()
"""


@pytest.fixture
def short(tmp_path: Path) -> Iterator[Studio]:
    """A studio whose limits are near."""
    command = [sys.executable, "-c", SHORT, "studio", str(tmp_path / "clapper"), "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Studio(process.stdout.readline().split(": ", 1)[1].split()[0], process)
    process.terminate()
    process.wait(60)
    process.stdout.close()


def test_changes_that_come_too_fast_are_refused_with_a_time_to_wait(short: Studio) -> None:
    answers = [short.request("POST", "/api/labels", json={"name": f"Label {number}"}) for number in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].json()["error"].endswith(".")
    assert short.request("GET", "/api/project").status_code == 200, "looking is free"


@pytest.mark.slow
def test_a_body_that_trickles_is_ended(short: Studio) -> None:
    head = request("POST", "/api/labels", "X-Earmark: studio", "Content-Type: application/json", "Content-Length: 99")
    with socket.create_connection(("127.0.0.1", short.port), 30) as connection:
        connection.sendall(head)
        assert status(rest(connection)) == 408


@pytest.mark.slow
def test_requests_are_few_at_a_time(short: Studio) -> None:
    head = request("POST", "/api/labels", "X-Earmark: studio", "Content-Length: 99")
    busy = [socket.create_connection(("127.0.0.1", short.port), 30) for _ in range(3)]
    for connection in busy:
        connection.sendall(head)
    time.sleep(0.3)
    assert short.request("GET", "/api/project").status_code == 503
    for connection in busy:
        connection.close()


def test_uploads_are_few_at_a_time(short: Studio) -> None:
    head = request("POST", "/api/clips?label=Left", "X-Earmark: studio", "Content-Length: 9999")
    busy = [socket.create_connection(("127.0.0.1", short.port), 30) for _ in range(2)]
    for connection in busy:
        connection.sendall(head)
    time.sleep(0.3)
    refused = short.request("POST", "/api/import", content=b"x")
    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    for connection in busy:
        connection.close()


@pytest.mark.slow
def test_exports_are_few_at_a_time(short: Studio) -> None:
    hiss = np.random.default_rng(1).uniform(-1, 1, 10 * sounds.RATE).astype(np.float32)  # about a megabyte as FLAC
    file = encode_wav(Clip(hiss, sounds.RATE))
    assert short.request("POST", "/api/clips", params={"label": "Left"}, content=file).status_code == 200
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.connect(("127.0.0.1", short.port))
        reader.sendall(request("GET", "/api/export"))
        assert reader.recv(12) == b"HTTP/1.1 200"
        assert short.request("GET", "/api/export").status_code == 503
    until = time.monotonic() + 20
    while (answer := short.request("GET", "/api/export")).status_code == 503 and time.monotonic() < until:
        time.sleep(0.1)
    assert answer.status_code == 200, "who reads no more, makes room"


@pytest.mark.slow
@pytest.mark.parametrize("size", [66_000, 400_000])  # the first bytes that don't fit come with the last, or before
def test_an_upload_that_the_disk_has_no_room_for_is_told(tmp_path: Path, size: int) -> None:
    started = f'ulimit -f 128; exec "{sys.executable}" -m earmark studio "{tmp_path}/p" --port 0 --no-browser'
    process = subprocess.Popen(["sh", "-c", started], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        running = Studio(process.stdout.readline().split(": ", 1)[1].split()[0], process)
        answer = running.request("POST", "/api/clips", params={"label": "Left"}, content=bytes(size))
        assert (answer.status_code, answer.json()) == (
            507, {"error": "The server's disk has no room for the file: free some, then send it again."}
        )  # fmt: skip
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_pages_are_few_at_a_time(short: Studio) -> None:
    pages = [Page(short), Page(short)]
    assert closing(lambda: Page(short)) == (1013, "2 pages are open already: close one of them.")
    pages[0].close()
    time.sleep(0.3)
    Page(short).close()
    pages[1].close()


@pytest.mark.slow
def test_a_page_that_says_too_much_is_let_go(short: Studio) -> None:
    page = Page(short)

    def talk() -> None:
        for _ in range(200):
            page.say(type="threshold", probability_threshold=0.5)
        page.wait("never")

    assert closing(talk) == (1008, "More messages than the studio takes in a second.")


@pytest.mark.slow
def test_sound_that_comes_faster_than_it_lasts_ends_but_what_is_sent_again_does_not(short: Studio) -> None:
    page = Page(short)
    second = np.zeros(sounds.RATE, np.float32)
    number = page.play(second)
    for _ in range(20):
        page.play(second, 0)  # the live stream had it
    page.say(type="threshold", probability_threshold=0.5)
    page.play(second, number)

    def flood() -> None:
        for _ in range(5):
            page.play(second)
        page.wait("never")

    assert closing(flood) == (1008, "Sound comes faster than it lasts.")


def closing(function: Any) -> tuple[int, str]:
    """With what the server closed the connection while that went on."""
    with pytest.raises(ConnectionClosed) as closed:
        function()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.mark.slow
def test_a_recording_that_meets_an_error_of_the_studios_own_is_refused(tmp_path: Path) -> None:
    failing = """
from earmark.studio import state
async def fail(*_): raise ZeroDivisionError("Oh.")
state.Studio.save = fail
from earmark.cli.main import main
main()
"""
    command = [sys.executable, "-c", failing, "studio", str(tmp_path / "p"), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            page = Page(Studio(process.stdout.readline().split(": ", 1)[1].split()[0], process))
            page.record("abcdefgh", "Left", sounds.whistle(0.5, 1))
            told = "The studio met an error of its own: its terminal tells more."
            assert page.wait("refused") == {"type": "refused", "recording": "abcdefgh", "error": told}
            page.close()
        finally:
            process.terminate()


def test_an_error_of_the_studios_own_is_told_as_one(tmp_path: Path) -> None:
    failing = """
from earmark.studio import live_sound
def fail(*_): raise ZeroDivisionError("Oh.")
live_sound.LiveSound._heard = fail
from earmark.cli.main import main
main()
"""
    command = [sys.executable, "-c", failing, "studio", str(tmp_path / "p"), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            page = Page(Studio(process.stdout.readline().split(": ", 1)[1].split()[0], process))

            def speak() -> None:
                page.connection.send(chunk(0, np.zeros(4_800, np.float32)))
                page.wait("never")

            assert closing(speak) == (1011, "The server met an error of its own.")
        finally:
            process.terminate()
