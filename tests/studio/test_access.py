"""Codes let one device in each; guessing, using one twice and old secrets lead nowhere."""

from __future__ import annotations

import hmac
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import EarmarkError
from earmark.studio.access import MOST_ADDRESSES, MOST_DEVICES, TRIES, Access, TooManyTriesError, describe_agent

PHONE = "192.168.1.7"


class Clock:
    """Seconds that pass when they are told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def wrong_code(access: Access) -> str:
    return ("Z" if access.code[0] != "Z" else "Y") + access.code[1:]


def test_a_code_lets_one_device_in() -> None:
    access = Access()
    told: list[str] = []
    access.watchers.append(told.append)
    code = access.code
    secret = access.sign_in(code, PHONE, "an iPhone")
    device = access.device(secret)
    assert device is not None
    assert (device.name, device.address) == ("iPhone", PHONE)
    assert told == [f"iPhone at {PHONE} signed in."]
    with pytest.raises(EarmarkError, match="wrong or was used already"):
        access.sign_in(code, PHONE, "")
    assert access.device(access.sign_in(access.code, PHONE, "")) not in (None, device)


def test_codes_and_secrets_can_t_be_guessed() -> None:
    codes, secrets = set(), set()
    for _ in range(200):
        access = Access()
        codes.add(access.code)
        secrets.add(access.sign_in(access.code, PHONE, ""))
    assert len(codes) == len(secrets) == 200
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", code) for code in codes)
    assert all(len(secret) >= 43 for secret in secrets), "32 bytes in base 64"


def test_a_renewed_code_voids_the_old_one() -> None:
    access = Access()
    code = access.code
    access.renew_code()
    with pytest.raises(EarmarkError, match="wrong or was used already"):
        access.sign_in(code, PHONE, "")


@pytest.mark.parametrize("typed", ["lower", "spaces", "no dashes", "misread"])
def test_a_code_is_taken_as_people_type_it(typed: str) -> None:
    access = Access()
    access.code = "01AB-CDEF-GHJK"
    as_typed = {"lower": "01ab-cdef-ghjk", "spaces": " 01AB CDEF GHJK ", "no dashes": "01ABCDEFGHJK",
                "misread": "OLAB-CDEF-GHJK"}[typed]  # fmt: skip
    assert access.sign_in(as_typed, PHONE, "")


def test_who_guesses_has_to_wait_and_nobody_else() -> None:
    clock = Clock()
    access = Access(clock)
    for _ in range(TRIES):
        with pytest.raises(EarmarkError, match="wrong"):
            access.sign_in(wrong_code(access), PHONE, "")
    with pytest.raises(TooManyTriesError, match="wait a minute"):
        access.sign_in(access.code, PHONE, "")
    assert access.sign_in(access.code, "192.168.1.8", "")
    clock.now += 61
    assert access.sign_in(access.code, PHONE, "")


def test_a_crowd_that_guesses_fills_no_memory() -> None:
    access = Access()
    for number in range(MOST_ADDRESSES + 500):
        with pytest.raises(EarmarkError, match="wrong"):
            access.sign_in("0", f"10.0.{number // 256}.{number % 256}", "")
    assert len(access._wrong) == MOST_ADDRESSES


def test_a_device_that_is_signed_out_has_no_secret_any_more() -> None:
    access = Access()
    kept, lost = (access.sign_in(access.code, PHONE, "") for _ in range(2))
    device = access.device(lost)
    assert device is not None
    access.revoke(device.id)
    assert device.ended.is_set()
    assert access.device(lost) is None
    assert access.device(kept) is not None
    with pytest.raises(EarmarkError, match="isn't signed in any more"):
        access.revoke(device.id)


def test_a_device_that_nobody_uses_for_a_day_is_signed_out() -> None:
    clock = Clock()
    access = Access(clock)
    idle, used = (access.sign_in(access.code, PHONE, "") for _ in range(2))
    for _ in range(3):
        clock.now += 10 * 3600
        assert access.device(used) is not None
    assert access.device(idle) is None
    assert len(access.devices()) == 1


def test_a_device_that_sends_sound_all_day_stays() -> None:
    clock = Clock()
    access = Access(clock)
    secret = access.sign_in(access.code, PHONE, "")
    device = access.device(secret)
    assert device is not None
    for _ in range(3):
        clock.now += 10 * 3600
        access.use(device)
    assert access.devices() == [device]


def test_there_are_not_too_many_devices() -> None:
    access = Access()
    for _ in range(MOST_DEVICES):
        access.sign_in(access.code, PHONE, "")
    with pytest.raises(EarmarkError, match="devices are signed in already"):
        access.sign_in(access.code, PHONE, "")
    access.revoke(access.devices()[0].id)
    assert access.sign_in(access.code, PHONE, "")


def test_codes_and_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far two texts agree must not show in the time: digests of one length, each device's, by compare_digest."""
    access = Access()
    secrets = [access.sign_in(access.code, PHONE, "") for _ in range(3)]
    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def noting(left: Any, right: Any) -> bool:
        compared.append((left, right))
        return bool(compare(left, right))

    monkeypatch.setattr(hmac, "compare_digest", noting)
    assert access.device(secrets[0]) is not None
    assert len(compared) == 3, "the first one that fits doesn't end the search"
    with pytest.raises(EarmarkError):
        access.sign_in("0", PHONE, "")
    assert len(compared) == 4
    assert {len(side) for pair in compared for side in pair} == {32}


def test_what_is_held_gives_no_secret_away() -> None:
    access = Access()
    secret = access.sign_in(access.code, PHONE, "")
    assert secret not in repr(vars(access.devices()[0]))


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_no_code_and_no_secret(code: str, secret: str) -> None:
    access = Access()
    with pytest.raises(EarmarkError):
        access.sign_in(code, PHONE, "")
    access.sign_in(access.code, PHONE, code)
    assert access.device(secret) is None


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36", "Pixel 8"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36", "Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari", "iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15", "Mac"),
        ("curl/8.0", "A device"),
        ("Mozilla/5.0 (Linux; Android 14; <script>) Chrome", "Android"),
    ],
)
def test_a_browser_s_name(agent: str, name: str) -> None:
    assert describe_agent(agent) == name


@pytest.mark.parametrize("error", [OSError("closed"), UnicodeEncodeError("ascii", "é", 0, 1, "no")])
def test_a_terminal_that_can_t_be_told_keeps_nobody_out(error: Exception) -> None:
    def tell(_: str) -> None:
        raise error

    access = Access()
    access.watchers.append(tell)
    secret = access.sign_in(access.code, "192.0.2.7", "iPhone")
    device = access.device(secret)
    assert device is not None
    access.revoke(device.id)
    assert access.device(secret) is None
