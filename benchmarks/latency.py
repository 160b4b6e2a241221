"""From a sample's capture to the slider, in a real Chromium on loopback.

    python -m benchmarks.latency [SECONDS]

Each prediction that the page shows carries the time at which the last sample of its window was captured, and the time
at which the slider had moved. The first is when the AudioWorklet had that sample, less the latency that the browser
says its capture device has.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import soundfile
from playwright.sync_api import Page, expect

from benchmarks.live import trained_project
from benchmarks.table import print_table
from tests import sounds
from tests.browser import chromium, device_rate, microphone_arguments
from tests.studio.running import Studio, studio

RATES = (44_100, 48_000)  # Hz

FOLLOW = """() => {
  window.heard ?? document.addEventListener('earmark:prediction', ({detail}) => window.heard.push(detail));
  window.heard = [];
}"""


def latencies(page: Page, seconds: float) -> list[float]:
    """Milliseconds for each prediction."""
    page.evaluate(FOLLOW)
    page.wait_for_timeout(seconds * 1_000)
    return [prediction["shown"] - prediction["captured"] for prediction in page.evaluate("window.heard")]


def latencies_in_training(page: Page, running: Studio, seconds: float) -> list[float]:
    """The same, while training after training runs."""
    page.evaluate(FOLLOW)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not running.project()["training"]["running"]:
            running.request("POST", "/api/train")
        page.wait_for_timeout(200)
    return [prediction["shown"] - prediction["captured"] for prediction in page.evaluate("window.heard")]


def row(name: str, found: list[float]) -> tuple[object, ...]:
    percentiles = statistics.quantiles(found, n=100)
    return name, len(found), statistics.median(found), percentiles[94], percentiles[98], max(found)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "snaps.wav"
        soundfile.write(recording, sounds.snaps(10.0, 5), sounds.RATE)
        project = trained_project(Path(folder) / "clapper")
        project.add("Noise", sounds.murmur(120.0, 6), sounds.RATE)  # so that a training takes some seconds
        with studio(project.path) as running, chromium(*microphone_arguments(recording)) as browser:
            for rate in RATES:
                page = browser.new_page()
                page.add_init_script(device_rate(rate))
                page.goto(running.address)
                expect(page.locator("#device")).to_be_enabled(timeout=20_000)
                page.wait_for_timeout(5_000)  # the trainer loads PyTorch first
                page.locator("#listen").click()
                page.wait_for_timeout(1_000)
                rows.append(row(f"device at {rate / 1_000:g} kHz", latencies(page, seconds)))
                rows.append(row("  while training", latencies_in_training(page, running, seconds)))
                page.close()
    print_table("From capture to slider, ms", ("", "predictions", "median", "p95", "p99", "max"), rows)


if __name__ == "__main__":
    main()
