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
from pathlib import Path

import soundfile
from playwright.sync_api import expect

from benchmarks.live import trained_project
from benchmarks.table import print_table
from tests import sounds
from tests.browser import chromium, microphone_arguments
from tests.studio.running import studio

DEVICE = """async () => {
  const [track] = (await navigator.mediaDevices.getUserMedia({audio: true})).getAudioTracks();
  return {contextRate: new AudioContext().sampleRate, latencySeconds: track.getSettings().latency};
}"""
FOLLOW = "window.heard = []; document.addEventListener('earmark:prediction', ({detail}) => window.heard.push(detail))"


def latencies(seconds: float) -> list[float]:
    """Milliseconds for each prediction."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "snaps.wav"
        soundfile.write(recording, sounds.snaps(10.0, 5), sounds.RATE)
        project = trained_project(Path(folder) / "clapper")
        with studio(project.path) as running, chromium(*microphone_arguments(recording)) as browser:
            page = browser.new_page()
            page.goto(running.address)
            expect(page.locator("#device")).to_be_enabled(timeout=20_000)
            page.wait_for_timeout(5_000)  # the trainer loads PyTorch first
            page.evaluate(FOLLOW)
            page.locator("#listen").click()
            page.wait_for_timeout(seconds * 1_000)
            print(page.evaluate(DEVICE))
            return [prediction["shown"] - prediction["captured"] for prediction in page.evaluate("window.heard")]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    found = latencies(seconds)
    percentiles = statistics.quantiles(found, n=100)
    row = (len(found), statistics.median(found), percentiles[94], percentiles[98], max(found))
    print_table("From capture to slider, ms", ("predictions", "median", "p95", "p99", "max"), [row])


if __name__ == "__main__":
    main()
