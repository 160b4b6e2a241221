"""What listening live costs: the studio's server at 43 predictions a second, in percent of one core.

    python -m benchmarks.live [SECONDS]

A client in this process plays a microphone at 48 kHz in real time, in chunks of 1,024 samples as the page does.
Measured is the server's process alone, user and system time, against the same work without a server.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from websockets.exceptions import ConnectionClosed

import earmark
from benchmarks.table import print_table
from earmark.recognizer.scoring import StreamScorer
from tests import sounds
from tests.studio.running import CHUNK, Page, Studio, chunk, studio

ROUNDS = 3


def trained_project(folder: Path) -> earmark.Project:
    project = earmark.Project(folder, create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps), ("Noise", sounds.murmur)):
        project.add(label, make(3.5, 1), sounds.RATE)
    project.train()
    return project


def served(running: Studio, seconds: float, listen: bool) -> tuple[float, float]:
    """Percent of a core that the server takes, and predictions a second."""
    page = Page(running)
    page.say(type="listen", on=listen)
    page.wait("listening")
    reader = threading.Thread(target=_read, args=(page,), daemon=True)
    reader.start()
    sound = np.tile(sounds.snaps(5.0, 4), 1 + int(seconds // 5))
    process = psutil.Process(running.process.pid)
    before, start = process.cpu_times(), time.perf_counter()
    for number in range(int(seconds * sounds.RATE / CHUNK)):
        page.connection.send(chunk(number, sound[number * CHUNK : (number + 1) * CHUNK]))
        time.sleep(max(0.0, start + (number + 1) * CHUNK / sounds.RATE - time.perf_counter()))
    after, took = process.cpu_times(), time.perf_counter() - start
    page.close()
    reader.join(5)
    return 100 * (after.user + after.system - before.user - before.system) / took, len(page.heard) / took


def alone(recognizer: earmark.Recognizer, seconds: float) -> float:
    """Percent of a core that the same chunks take without a server."""
    sound = np.tile(sounds.snaps(5.0, 4), 1 + int(seconds // 5))[: int(seconds * sounds.RATE)]
    front_end = earmark.StreamingSpectrogram(sounds.RATE)
    scorer = StreamScorer(recognizer)
    start = time.process_time()
    for at in range(0, len(sound), CHUNK):
        scorer.process(front_end.process(sound[at : at + CHUNK]))
    return 100 * (time.process_time() - start) / seconds


def _read(page: Page) -> None:
    try:
        while True:
            page.receive()
    except ConnectionClosed:
        return


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory() as folder:
        project = trained_project(Path(folder) / "clapper")
        recognizer = project.model()
        with studio(project.path) as running:
            time.sleep(5)  # the trainer loads PyTorch first
            listening = [served(running, seconds, listen=True) for _ in range(ROUNDS)]
            showing = [served(running, seconds, listen=False) for _ in range(ROUNDS)]
        without = [alone(recognizer, seconds) for _ in range(ROUNDS)]
    rows: list[tuple[object, ...]] = [
        ("studio, listening", statistics.median(cost for cost, _ in listening), listening[0][1]),
        ("studio, spectrogram only", statistics.median(cost for cost, _ in showing), showing[0][1]),
        ("front end and network, no server", statistics.median(without), "the same"),
    ]
    print_table(f"{seconds:.0f} s live, median of {ROUNDS}", ("", "% of a core", "predictions a second"), rows)


if __name__ == "__main__":
    main()
