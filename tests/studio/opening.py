"""Opens the studio's page in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.browser import browsers, microphone_arguments
from tests.studio.running import Studio


@contextmanager
def open_page(running: Studio, recording: Path, **options: Any) -> Iterator[Page]:
    """The page with its microphone on; a message on the browser's console fails the test."""
    with browsers.borrow(*microphone_arguments(recording)) as browser:
        page, complaints = new_page(browser, running, **options)
        wait_for_microphone(page)
        yield page
        assert complaints == []


def new_page(browser: Browser, running: Studio, view: str = "", **options: Any) -> tuple[Page, list[str]]:
    page = browser.new_context(**options).new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
    page.goto(running.address + view)
    return page, complaints


def is_complaint(message: ConsoleMessage) -> bool:
    """An error, unless it is the browser's own note that the server refused a change, which the page tells itself."""
    return message.type == "error" and "status of 400" not in message.text


def wait_for_microphone(page: Page) -> None:
    """The page turns it on by itself where the browser has been told that it may."""
    expect(page.locator("#console")).to_contain_text(re.compile("(examples?|recordings?) collected"))
    expect(page.locator("#device")).to_be_enabled()
    expect(page.locator("#level")).to_have_attribute("aria-valuenow", re.compile("^-[1-8]?[0-9]$"))
