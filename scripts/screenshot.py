"""Takes the README's picture: the studio in a real Chromium, after the codelab has been done by three sounds.

    .venv/bin/python scripts/screenshot.py [FOLDER]

Writes studio.png, and studio-dark.png and studio-phone.png beside it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Page, expect

sys.path.insert(0, str(Path(__file__).parents[1]))

import earmark
from tests import sounds
from tests.browser import chromium, microphone_arguments
from tests.studio.running import Studio, studio

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1, "has_touch": True}


def listen(page: Page, running: Studio, seconds: float) -> None:
    page.goto(running.address)
    expect(page.locator("#device")).to_be_enabled(timeout=20_000)
    page.locator("#listen").click()
    page.wait_for_timeout(seconds * 1_000)


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        project = earmark.Project(Path(work) / "clapper", create=True, labels=("Left", "Right", "Noise"))
        for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps), ("Noise", sounds.murmur)):
            for take, seconds in ((1, 2.2), (2, 1.6)):
                project.add(label, make(seconds, take), sounds.RATE)
        project.train()
        recording = Path(work) / "take.wav"
        parts = (sounds.murmur(2.0, 3), sounds.snaps(1.5, 4), sounds.murmur(1.2, 5), sounds.whistle(6.0, 6))
        soundfile.write(recording, np.concatenate(parts), sounds.RATE)
        with studio(project.path) as running, chromium(*microphone_arguments(recording)) as browser:
            for name, options in (
                ("studio", {**DESKTOP, "color_scheme": "light"}),
                ("studio-dark", {**DESKTOP, "color_scheme": "dark"}),
                ("studio-phone", PHONE),
            ):
                page = browser.new_page(**options)
                listen(page, running, 6)
                page.screenshot(path=folder / f"{name}.png", full_page=name.endswith("phone"))
                page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs"))
