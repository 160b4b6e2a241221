"""A studio in the network, attacked: what a stranger, a used code, another site and a device signed out get."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets import Origin
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from earmark import Project
from earmark.audio.clip import Clip, encode_wav
from earmark.errors import EarmarkError
from earmark.studio.server import create_app
from earmark.web.run import Secure, bind, run
from tests import sounds
from tests.studio.running import CHANGE, MESSAGE_SECONDS, LanStudio, chunk, lan_studio, read_all

COOKIE = "__Host-earmark"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[LanStudio]:
    with lan_studio(tmp_path_factory.mktemp("lan") / "secret-garden", data) as opened:
        yield opened


@contextmanager
def client(running: LanStudio, **options: Any) -> Iterator[httpx.Client]:
    """Somebody in the network, who trusts the studio's certificate and no other."""
    trust = ssl.create_default_context(cafile=str(running.certificate))
    with httpx.Client(base_url=running.network_url, verify=trust, headers=CHANGE, timeout=30, **options) as opened:
        yield opened


def sign_in(running: LanStudio, somebody: httpx.Client) -> httpx.Response:
    answer = somebody.post("/api/session", json={"code": running.lan()["code"]})
    assert answer.status_code == 200, answer.text
    return answer


@contextmanager
def live(
    running: LanStudio, somebody: httpx.Client | None = None, origin: str | None = None
) -> Iterator[ClientConnection]:
    trust = ssl.create_default_context(cafile=str(running.certificate))
    url = running.network_url
    cookie = {"Cookie": f"{COOKIE}={somebody.cookies[COOKIE]}"} if somebody else {}
    address = f"{url.replace('https', 'wss')}/api/live"
    options: dict[str, Any] = {
        "origin": Origin(origin or url),
        "additional_headers": cookie,
        "open_timeout": MESSAGE_SECONDS,
    }
    with connect(address, ssl=trust, **options) as opened:
        yield opened


def test_a_stranger_gets_the_sign_in_page_and_nothing_else(running: LanStudio, tmp_path: Path) -> None:
    app = create_app(Project(tmp_path / "any", create=True))
    asked = {("GET", "/static/main.js"), ("GET", "/openapi.json"), ("POST", "/"), ("GET", "/api/session")}
    asked |= {("GET", "/sign-in/../server.py"), ("GET", "/sign-in/index.html"), ("OPTIONS", "/api/project")}
    for path, methods in app.openapi()["paths"].items():
        asked |= {(method.upper(), path) for method in methods}
    assert {("GET", "/api/project"), ("GET", "/api/export"), ("POST", "/api/clips"), ("GET", "/api/lan/qr")} < asked
    with client(running) as stranger:
        for method, path in sorted(asked):
            answer = stranger.request(method, path)
            assert (answer.status_code, set(answer.json())) == (401, {"error"}), (method, path)
            assert "secret-garden" not in answer.text
        page = stranger.get("/")
        assert page.status_code == 200
        assert "secret-garden" not in page.text
        assert '<form id="form">' in page.text
        for part in ("sign-in.js", "sign-in.css", "palette.css"):
            assert stranger.get(f"/sign-in/{part}").status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=", f"{COOKIE}=AAAA", "session=1", f'{COOKIE}="\\', "=;=;,"])
def test_a_made_up_session_is_none(running: LanStudio, cookie: str) -> None:
    with client(running) as stranger:
        assert stranger.get("/api/project", headers={"Cookie": cookie}).status_code == 401


def test_a_stranger_gets_no_live_connection(running: LanStudio) -> None:
    with pytest.raises(InvalidStatus) as refused, live(running):
        pass
    assert refused.value.response.status_code == 403


def test_the_session_is_for_this_host_over_https_and_for_no_script(running: LanStudio) -> None:
    with client(running) as phone:
        name, *attributes = sign_in(running, phone).headers["set-cookie"].split("; ")
        assert name.startswith(f"{COOKIE}=")
        assert {attribute.lower() for attribute in attributes} == {"httponly", "path=/", "samesite=strict", "secure"}
        assert phone.get("/api/project").json()["name"] == "secret-garden"
        assert phone.get("/").text.count("/static/main.js") == 1


def test_a_code_works_once(running: LanStudio) -> None:
    code = running.lan()["code"]
    with client(running) as phone, client(running) as thief:
        sign_in(running, phone)
        assert thief.post("/api/session", json={"code": code}).status_code == 403
        assert thief.get("/api/project").status_code == 401


def test_a_new_code_makes_the_shown_one_void(running: LanStudio) -> None:
    code = running.lan()["code"]
    assert running.request("POST", "/api/lan/code").json()["code"] != code
    with client(running) as thief:
        assert thief.post("/api/session", json={"code": code}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"code": 5}', b'{"code": null}', b"[" * 999, b'{"code": "' + b"A" * 5_000 + b'"}', b"\xff"],
)
def test_what_is_no_code_is_refused(running: LanStudio, body: bytes) -> None:
    with client(running) as thief:
        answer = thief.post("/api/session", content=body)
    assert answer.status_code == 403
    assert answer.json()["error"].startswith("That is no code")


def test_another_site_and_another_name_get_nothing(running: LanStudio) -> None:
    url = running.network_url
    with client(running) as phone:
        sign_in(running, phone)
        assert phone.get("/api/project", headers={"Host": "evil.test"}).status_code == 403
        assert phone.get("/api/project", headers={"Origin": "https://evil.test"}).status_code == 403
        assert phone.get("/api/project", headers={"Origin": "null"}).status_code == 403
        assert phone.post("/api/labels", json={"name": "x"}, headers={"X-Earmark": ""}).status_code == 403
        with pytest.raises(InvalidStatus), live(running, phone, "https://evil.test"):
            pass
        with live(running, phone, url) as opened:
            opened.ping().wait(10)
    with client(running) as stranger:
        assert stranger.get("/", headers={"Host": "evil.test"}).status_code == 403
        code = running.lan()["code"]
        other = {"Origin": "https://evil.test"}
        assert stranger.post("/api/session", json={"code": code}, headers=other).status_code == 403
        assert stranger.post("/api/session", json={"code": code}, headers={"X-Earmark": ""}).status_code == 403
        assert running.lan()["code"] == code


def test_a_device_lets_in_nobody_else(running: LanStudio) -> None:
    with client(running) as phone:
        sign_in(running, phone)
        assert set(phone.get("/api/lan").json()) == {"device"}
        for method, path in (
            ("GET", "/api/lan/qr"),
            ("POST", "/api/lan/code"),
            ("DELETE", "/api/lan/devices?device=1"),
        ):
            answer = phone.request(method, path)
            assert answer.status_code == 400
            assert "on the studio's own computer" in answer.json()["error"]


def test_a_device_that_is_signed_out_is_cut_off_at_once(running: LanStudio) -> None:
    with client(running) as phone:
        sign_in(running, phone)
        identity = phone.get("/api/lan").json()["device"]
        before = running.project()["examples"]
        with live(running, phone) as opened:
            opened.send(json.dumps({"type": "hello", "sample_rate": sounds.RATE, "next": 0}))
            assert json.loads(opened.recv(MESSAGE_SECONDS)) == {"type": "ready"}
            running.request("DELETE", "/api/lan/devices", params={"device": identity})
            assert phone.get("/api/project").status_code == 401
            with suppress(ConnectionClosed):
                say_a_recording(opened)
            with pytest.raises(ConnectionClosed) as closed:
                read_all(opened)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "This device was signed out.")
        with pytest.raises(InvalidStatus), live(running, phone):
            pass
    assert running.project()["examples"] == before


def say_a_recording(opened: ClientConnection) -> None:
    samples = sounds.whistle(0.5, 1)
    said = {"type": "record", "recording": "stolenxx", "label": "Left", "sample_rate": sounds.RATE, "first": 0}
    opened.send(json.dumps(said))
    opened.send(chunk(0, samples.astype(np.float32)))
    opened.send(json.dumps({"type": "stop", "recording": "stolenxx", "end": 1}))


def test_what_a_device_still_sends_after_it_was_signed_out_is_not_taken(running: LanStudio) -> None:
    """An upload, during which it is signed out."""
    with client(running) as phone:
        sign_in(running, phone)
        identity = phone.get("/api/lan").json()["device"]
        upload = iter([sounds_file()[:1_000]])

        def slowly() -> Iterator[bytes]:
            yield next(upload)
            running.request("DELETE", "/api/lan/devices", params={"device": identity})
            yield sounds_file()[1_000:]

        before = running.project()["examples"]
        answer = phone.post("/api/clips", params={"label": "Left", "name": "late.wav"}, content=slowly())
        assert (answer.status_code, set(answer.json())) == (401, {"error"})
    assert running.project()["examples"] == before


def test_what_is_on_its_way_to_a_device_that_is_signed_out_stops(running: LanStudio) -> None:
    hiss = np.random.default_rng(1).uniform(-1, 1, 240 * sounds.RATE).astype(np.float32)  # about 30 MB as FLAC
    file = encode_wav(Clip(hiss, sounds.RATE))
    clips = running.request("POST", "/api/clips", params={"label": "Right"}, content=file).json()["labels"][1]["clips"]
    with client(running) as phone:
        sign_in(running, phone)
        identity = phone.get("/api/lan").json()["device"]
        with phone.stream("GET", "/api/export") as answer:
            parts = answer.iter_raw()
            next(parts)
            running.request("DELETE", "/api/lan/devices", params={"device": identity})
            with pytest.raises(httpx.RemoteProtocolError):
                list(parts)
        assert answer.num_bytes_downloaded < 15_000_000
    running.request("DELETE", "/api/clips", params={"clip": clips[0]["id"]})


def sounds_file() -> bytes:
    return encode_wav(Clip(sounds.whistle(0.5, 1).astype(np.float32), sounds.RATE))


def test_a_device_signs_itself_out(running: LanStudio) -> None:
    with client(running) as phone:
        sign_in(running, phone)
        cookie = phone.cookies[COOKIE]
        gone = phone.delete("/api/session")
        assert "max-age=0" in gone.headers["set-cookie"].lower()
        assert phone.get("/api/project", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401


def test_guessing_is_slowed_down(tmp_path: Path, data: Path) -> None:
    with lan_studio(tmp_path / "clapper", data) as fresh, client(fresh) as thief:
        codes = [thief.post("/api/session", json={"code": f"0000-0000-000{number}"}) for number in range(6)]
        assert [answer.status_code for answer in codes] == [403] * 5 + [429]
        assert codes[-1].headers["retry-after"] == "60"
        assert thief.post("/api/session", json={"code": fresh.lan()["code"]}).status_code == 429


def test_nothing_is_said_without_encryption(running: LanStudio) -> None:
    host, port = running.network_url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(f"GET /api/project HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        answer = b""
        try:
            while part := plain.recv(4096):
                answer += part
        except ConnectionResetError:
            pass
    assert b"HTTP" not in answer


def test_the_loopback_port_stays_on_loopback(running: LanStudio) -> None:
    host = running.network_url.removeprefix("https://").split(":")[0]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, running.port), timeout=10)
    assert httpx.get(f"{running.address}/api/project", headers={"Host": host}).status_code == 403


def test_the_certificate_is_kept(running: LanStudio, data: Path, tmp_path: Path) -> None:
    with lan_studio(tmp_path / "clapper", data) as again:
        assert again.lan()["fingerprint"] == running.lan()["fingerprint"]


def test_the_terminal_says_how_a_phone_gets_in_and_who_came(tmp_path: Path, data: Path) -> None:
    with lan_studio(tmp_path / "clapper", data) as fresh, client(fresh) as phone:
        assert fresh.process.stdout is not None
        lan = fresh.lan()
        told = [fresh.process.stdout.readline() for _ in range(3)]
        assert told[0] == f"On a phone in the same network: {lan['urls'][0]}  code {lan['code']}\n"
        assert told[2].endswith(f"SHA-256 fingerprint: {lan['fingerprint']}\n")
        sign_in(fresh, phone)
        assert "signed in. For another phone: https://" in fresh.process.stdout.readline()
        assert fresh.lan()["devices"][0]["signed_in"] <= time.time()


def test_a_taken_port_is_told(running: LanStudio, tmp_path: Path, data: Path) -> None:
    port = int(running.network_url.rsplit(":", 1)[1])
    with pytest.raises(AssertionError), lan_studio(tmp_path / "other", data, lan_port=port):
        raise RuntimeError("it started on a port that is taken")


@pytest.mark.parametrize("foreign", ['x={"a":1}', "a[b]=c", "bare", "a=b c", f"{COOKIE}=another's"])
def test_cookies_of_other_servers_on_the_machine_sign_nobody_out(running: LanStudio, foreign: str) -> None:
    with client(running) as phone, client(running) as asking:
        sign_in(running, phone)
        own = f"{COOKIE}={phone.cookies[COOKIE]}"
        for cookies in (f"{foreign}; {own}", f"{own}; {foreign}"):
            assert asking.get("/api/project", headers={"Cookie": cookies}).status_code == 200, cookies
        assert asking.get("/api/project", headers={"Cookie": foreign}).status_code == 401
        assert phone.delete("/api/session").status_code == 200


def test_handshakes_that_never_end_are_few(tmp_path: Path, data: Path) -> None:
    with lan_studio(tmp_path / "besieged", data) as running, ExitStack() as held:
        url = httpx.URL(running.network_url)
        for _ in range(200):
            opened = held.enter_context(socket.create_connection((url.host, url.port), 10))
            opened.settimeout(10)
        with suppress(ConnectionResetError):
            assert opened.recv(1) == b"", "the last one is let go of, not held"
        descriptors = Path(f"/proc/{running.process.pid}/fd")
        if descriptors.exists():
            assert sum(link.readlink().name.startswith("socket:") for link in descriptors.iterdir()) < 100
        assert httpx.get(f"{running.address}/api/project").status_code == 200


def test_one_address_has_few_connections(tmp_path: Path, data: Path) -> None:
    with lan_studio(tmp_path / "besieged", data) as running, ExitStack() as held:
        url = httpx.URL(running.network_url)
        trust = ssl.create_default_context(cafile=str(running.certificate))

        def ask() -> ssl.SSLSocket:
            plain = held.enter_context(socket.create_connection((url.host, url.port), 10))
            opened = held.enter_context(trust.wrap_socket(plain, server_hostname=url.host))
            opened.sendall(f"POST /api/session HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n".encode())
            opened.sendall(b"X-Earmark: studio\r\nContent-Length: 30\r\n\r\n{")
            return opened

        asking = [ask() for _ in range(32)]
        time.sleep(0.3)
        with suppress(OSError):  # it may be closed before all is asked
            assert ask().recv(12) == b"HTTP/1.1 503"
        asking[0].sendall(b'"code": "0000-0000-0000"    }')
        assert asking[0].recv(12) == b"HTTP/1.1 403", "those that came before are served"
        assert httpx.get(f"{running.address}/api/project").status_code == 200


def test_a_certificate_that_can_t_be_used_is_told_before_anything_answers(tmp_path: Path) -> None:
    app = create_app(Project(tmp_path / "project", create=True))
    file = tmp_path / "studio.pem"
    file.write_text("none")
    told = r"studio.pem is no certificate \(.+\): delete it, then try again\."
    with (
        bind("127.0.0.1", 0) as first,
        bind("127.0.0.1", 0) as second,
        pytest.raises(EarmarkError, match=told),
    ):
        run(app, first, lambda: pytest.fail("it answers"), secure=Secure(app, second, file))


def test_one_port_can_t_be_both() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(EarmarkError, match="--lan-port"):
        bind("0.0.0.0", taken.getsockname()[1], "--lan-port")
