"""A real Chromium for the tests, and the files it plays as its microphone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, expect, sync_playwright

# What a page shows in its own time comes late on a busy machine: waiting longer costs nothing where it comes soon.
expect.set_options(timeout=60_000)

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


def executable() -> str | None:
    """The Chromium on the path; None leaves Playwright to find the one it installed itself."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def microphone_arguments(recording: Path) -> list[str]:
    """What makes Chromium play a WAV file, over and over, as the microphone of whoever asks for one."""
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={recording}",
    ]


def device_rate(rate: int) -> str:
    """A script for a page, after which its audio contexts run at that rate, as they do where the device does."""
    return f"""
      window.AudioContext = class extends AudioContext {{
        constructor(options) {{ super({{...options, sampleRate: {rate}}}); }}
      }};
    """


def launch(playwright: Playwright, *arguments: str) -> Browser:
    return playwright.chromium.launch(executable_path=executable(), args=[*QUIET, *arguments])


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser of one's own."""
    with sync_playwright() as playwright:
        browser = launch(playwright, *arguments)
        try:
            yield browser
        finally:
            browser.close()


class Browsers:
    """Browsers that the tests of a module share: launching one takes more than most of what is tried in it.

    Each has the arguments that it was asked for with. What is opened in one, cookies and storage with it, is closed
    before the next test gets it. No more than `MOST` run at a time, for each takes some 200 MB.
    """

    MOST = 3

    def __init__(self) -> None:
        self._open = ExitStack()
        self._playwright: Playwright | None = None
        self._launched: dict[tuple[str, ...], Browser] = {}

    @contextmanager
    def borrow(self, *arguments: str) -> Iterator[Browser]:
        browser = self._get(arguments)
        before = set(browser.contexts)
        try:
            yield browser
        finally:
            if browser.is_connected():
                for context in set(browser.contexts) - before:
                    context.close()

    def close(self) -> None:
        """Close all of them. Playwright goes, too: while it runs, nothing in this thread may run an event loop."""
        for browser in self._launched.values():
            browser.close()
        self._launched.clear()
        self._playwright = None
        self._open.close()

    def _get(self, arguments: tuple[str, ...]) -> Browser:
        browser = self._launched.pop(arguments, None)
        if browser is None or not browser.is_connected():
            browser = self._launch(arguments)
        self._launched[arguments] = browser  # the one that was used last is the last to go
        return browser

    def _launch(self, arguments: tuple[str, ...]) -> Browser:
        if self._playwright is None:
            self._playwright = self._open.enter_context(sync_playwright())
        idle = [key for key, browser in self._launched.items() if not browser.contexts]
        if len(self._launched) >= self.MOST and idle:
            self._launched.pop(idle[0]).close()
        return launch(self._playwright, *arguments)


browsers = Browsers()
