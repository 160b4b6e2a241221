"""Takes the README's pictures: the studio in a real Chromium, after the codelab with three sounds, and hearing words.

    .venv/bin/python scripts/screenshot.py [FOLDER]

Writes studio.png and words.png, and of each one in the dark and one on a phone. The words are real recordings, from
../shared/data.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import expect

sys.path.insert(0, str(Path(__file__).parents[1]))

import earmark
from tests import sounds
from tests.browser import chromium, microphone_arguments
from tests.studio.running import Studio, studio
from tests.studio.spoken import RATE, speech

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1, "has_touch": True}


LOOKS: dict[str, dict[str, Any]] = {
    "": {**DESKTOP, "color_scheme": "light"},
    "-dark": {**DESKTOP, "color_scheme": "dark"},
    "-phone": PHONE,
}
RECORDINGS = Path(__file__).parents[2] / "shared" / "data"


def picture(running: Studio, recording: Path, target: Path, view: str, seconds: float) -> None:
    """Pictures of a view that has listened to a recording for that long."""
    button = {"sounds": "#listen", "words": "#listen-words"}[view]
    with chromium(*microphone_arguments(recording)) as browser:
        for look, options in LOOKS.items():
            page = browser.new_page(**options)
            page.goto(f"{running.address}/#{view}")
            expect(page.locator("#device")).to_be_enabled(timeout=20_000)
            page.locator(button).click()
            page.wait_for_timeout(seconds * 1_000)
            page.screenshot(path=f"{target}{look}.png", full_page=look == "-phone")
            page.close()


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
        talk = Path(work) / "talk.wav"
        soundfile.write(talk, speech(RECORDINGS, earmark.load("words")).samples, RATE)
        with studio(project.path) as running:
            picture(running, recording, folder / "studio", "sounds", 6)
            picture(running, talk, folder / "words", "words", 16.6)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs"))
