"""A real Chromium for the tests, and the files it plays as its microphone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

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
    with sync_playwright() as playwright:
        browser = launch(playwright, *arguments)
        try:
            yield browser
        finally:
            browser.close()
