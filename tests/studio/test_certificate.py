"""The certificate is one that TLS takes for this machine, and no other; it is kept, and renewed when it has to be."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import pytest

from earmark.errors import EarmarkError
from earmark.studio.certificate import MOST_NAMES, own_certificate

NAMES = ("192.168.1.5", "127.0.0.1", "localhost", "workshop", "workshop.local")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)


def greet(server: Path, trusted: Path, name: str) -> bytes:
    """A handshake between a server with that certificate and a client that trusts the other one: what it was shown."""
    ours, theirs = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)

    def serve() -> None:
        with theirs, suppress(ssl.SSLError, OSError):
            context.wrap_socket(theirs, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, ssl.create_default_context(cafile=str(trusted)).wrap_socket(ours, server_hostname=name) as secure:
            shown = secure.getpeercert(binary_form=True)
            assert shown is not None
            return shown
    finally:
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_good_for_this_machine(tmp_path: Path, name: str) -> None:
    certificate = own_certificate(tmp_path, NAMES)
    shown = greet(certificate.file, certificate.file, name)
    assert certificate.fingerprint.replace(":", "").lower() == sha256(shown).hexdigest()


def test_it_is_good_for_no_other_and_nobody_else_s_is_good_for_it(tmp_path: Path) -> None:
    own, other = own_certificate(tmp_path / "own", NAMES), own_certificate(tmp_path / "other", NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        greet(own.file, own.file, "192.168.1.6")
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(other.file, own.file, "192.168.1.5")


def test_it_is_kept_until_a_month_before_its_end(tmp_path: Path) -> None:
    first = own_certificate(tmp_path, NAMES, NOW)
    assert (first.ends - NOW).days == 396, "a year and a month less the day for clocks that are behind"
    assert own_certificate(tmp_path, NAMES, NOW + timedelta(days=365)) == first
    renewed = own_certificate(tmp_path, NAMES, NOW + timedelta(days=367))
    assert renewed.fingerprint != first.fingerprint
    assert renewed.ends - first.ends == timedelta(days=367)


def test_it_is_renewed_when_the_clock_was_wrong(tmp_path: Path) -> None:
    wrong = own_certificate(tmp_path, NAMES, NOW + timedelta(days=9_000))
    assert own_certificate(tmp_path, NAMES, NOW).fingerprint != wrong.fingerprint


def test_a_laptop_that_comes_home_has_its_old_one(tmp_path: Path) -> None:
    own_certificate(tmp_path, ["192.168.1.5", "laptop"])
    school = own_certificate(tmp_path, ["10.0.0.7", "laptop"])
    assert own_certificate(tmp_path, ["192.168.1.5", "laptop"]).fingerprint == school.fingerprint
    for number in range(2 * MOST_NAMES):
        roamed = own_certificate(tmp_path, [f"10.1.0.{number}", "laptop"])
    assert len(roamed.names) == MOST_NAMES
    crowded = [f"172.17.{number}.1" for number in range(2 * MOST_NAMES)]
    assert own_certificate(tmp_path, crowded).fingerprint == own_certificate(tmp_path, crowded).fingerprint
    assert roamed.names[:2] == (f"10.1.0.{2 * MOST_NAMES - 1}", "laptop")


@pytest.mark.parametrize("damage", ["empty", "cut", "other key", "text"])
def test_a_damaged_one_is_replaced(tmp_path: Path, damage: str) -> None:
    first = own_certificate(tmp_path / "own", NAMES)
    pem = first.file.read_bytes()
    end = pem.index(b"-----BEGIN CERTIFICATE")
    other = own_certificate(tmp_path / "other", NAMES).file.read_bytes()
    first.file.write_bytes(
        {"empty": b"", "cut": pem[: end + 100], "other key": other[: other.index(b"-----BEGIN C")] + pem[end:],
         "text": b"certificate"}[damage]
    )  # fmt: skip
    renewed = own_certificate(tmp_path / "own", NAMES)
    assert renewed.fingerprint != first.fingerprint
    assert greet(renewed.file, renewed.file, "localhost")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_can_read_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    file = own_certificate(folder, NAMES).file
    for _ in range(2):
        assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
        folder.chmod(0o755)
        file.chmod(0o644)  # as a backup may restore it
        own_certificate(folder, NAMES)


def test_a_name_that_no_certificate_can_hold_is_left_out(tmp_path: Path) -> None:
    assert own_certificate(tmp_path, ["localhost", "Ärger im Büro", "a_b", ""]).names == ("localhost",)


def test_where_it_can_t_be_kept_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EarmarkError, match="can't be made for the studio's certificate"):
        own_certificate(tmp_path / "file", NAMES)
