"""`earmark studio --lan` as people meet it: a phone signs in by the code, records, and is signed out, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser import browsers, microphone_arguments
from tests.studio.opening import wait_for_microphone
from tests.studio.running import LanStudio, lan_studio, studio

pytestmark = pytest.mark.slow

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "ignore_https_errors": True,  # as its owner does who goes on after the warning
    "user_agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36",
}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[LanStudio]:
    with lan_studio(tmp_path / "clapper", tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def browser(microphone: Path) -> Iterator[Browser]:
    with browsers.borrow(*microphone_arguments(microphone)) as opened:
        yield opened


def phone(browser: Browser) -> Page:
    return browser.new_context(**PHONE, permissions=["microphone"]).new_page()


def test_a_phone_scans_the_code_records_and_is_signed_out(running: LanStudio, browser: Browser) -> None:
    desktop = browser.new_context().new_page()
    desktop.goto(running.address)
    desktop.get_by_role("button", name="Phones").click()
    expect(desktop.locator("#phones-code")).to_have_text(running.lan()["code"])
    expect(desktop.locator("#phones-none")).to_be_visible()
    picture = desktop.locator("#phones-qr")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100

    visitor = phone(browser)
    visitor.goto(f"{running.network_url}/#{running.lan()['code']}")
    wait_for_microphone(visitor)
    assert visitor.url == f"{running.network_url}/"
    assert visitor.evaluate("isSecureContext")
    assert visitor.evaluate("document.cookie") == "", "no script reads the session"
    expect(desktop.locator("#phones-list")).to_contain_text(re.compile("Pixel 8 at .* since"))
    expect(desktop.locator("#phones-code")).to_have_text(running.lan()["code"])

    hold = visitor.locator(".record").first
    hold.dispatch_event("pointerdown", {"button": 0, "isPrimary": True, "pointerId": 1})
    visitor.wait_for_timeout(800)
    hold.dispatch_event("pointerup", {"button": 0, "isPrimary": True, "pointerId": 1})
    expect(desktop.locator("#console")).to_contain_text(re.compile("[1-9][0-9]* examples collected"))

    sign_out = desktop.get_by_role("button", name=re.compile("Sign out Pixel 8"))
    drawn = sign_out.element_handle()
    desktop.get_by_role("button", name="New code").click()
    expect(desktop.locator("#phones-code")).to_have_text(running.lan()["code"])
    assert drawn.evaluate("node => node.isConnected"), "somebody may be about to press it"
    sign_out.click()
    expect(desktop.locator("#phones-none")).to_be_visible()
    expect(visitor.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_code_is_typed_and_a_used_or_wrong_one_refused(running: LanStudio, browser: Browser) -> None:
    code = running.lan()["code"]
    visitor = phone(browser)
    visitor.goto(running.network_url)
    assert Axe().run(visitor).violations_count == 0
    visitor.get_by_label("Code").fill("0000-0000-0000")
    visitor.get_by_role("button", name="Sign in").click()
    expect(visitor.locator("#problem")).to_contain_text("wrong or was used already")
    visitor.get_by_label("Code").fill(code.lower().replace("-", " "))
    visitor.get_by_role("button", name="Sign in").click()
    wait_for_microphone(visitor)
    expect(visitor.get_by_role("button", name="Phones")).to_be_hidden()
    visitor.get_by_role("button", name="Sign out").click()
    expect(visitor.get_by_label("Code")).to_be_visible()

    other = phone(browser)
    other.goto(f"{running.network_url}/#{code}")
    expect(other.locator("#problem")).to_contain_text("wrong or was used already")
    assert other.evaluate("location.hash") == ""


def test_the_dialog_can_be_used_by_everybody(running: LanStudio, browser: Browser) -> None:
    desktop = browser.new_context().new_page()
    desktop.goto(running.address)
    desktop.get_by_role("button", name="Phones").click()
    code = running.lan()["code"]
    expect(desktop.locator("#phones-code")).to_have_text(code)
    assert Axe().run(desktop, options={"runOnly": ["wcag2a", "wcag2aa"]}).violations_count == 0
    desktop.get_by_role("button", name="New code").click()
    expect(desktop.locator("#phones-code")).not_to_have_text(code)
    desktop.keyboard.press("Escape")
    expect(desktop.locator("#phones")).to_be_hidden()


def test_a_studio_on_this_machine_alone_speaks_of_no_phones(tmp_path: Path, browser: Browser) -> None:
    with studio(tmp_path / "clapper") as alone:
        page = browser.new_context().new_page()
        page.goto(alone.address)
        expect(page.locator("#console")).to_contain_text("collected")
        expect(page.locator("#phones-open")).to_be_hidden()
        expect(page.locator("#sign-out")).to_be_hidden()
        assert alone.request("GET", "/api/lan").json() is None
