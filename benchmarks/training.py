"""Seconds to train the codelab's network on 450 examples for 10 epochs, beside TensorFlow.js in Node.

    python -m benchmarks.training

Both train the same network on the same windows, in turn; the table gives the median of five and the median ratio. The
WebAssembly back end of TensorFlow.js is tried too: it lacks a step of that network's gradient, and says which.
Needs node and npm for the peer, and leaves it out where they are missing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import Claim, print_claims, print_table
from benchmarks.tfjs import PEERS, install_peers
from earmark.audio import Clip
from earmark.examples import Examples, cut_examples
from earmark.training import SOUND_NORMALIZATION, train_sounds
from tests import sounds

EXAMPLES_PER_LABEL, LABELS, EPOCHS, ROUNDS = 150, 3, 10, 5


def examples() -> Examples:
    """150 windows of each of a whistle, snaps and murmur."""
    seconds = (EXAMPLES_PER_LABEL + 3) * 1_024 / 44_100 + 0.001
    makers = (sounds.whistle, sounds.snaps, sounds.murmur)
    return cut_examples([(Clip(make(seconds, 1), sounds.RATE), index) for index, make in enumerate(makers)], 3)


def ours(data: Examples) -> tuple[float, float]:
    start = time.perf_counter()
    _, history = train_sounds(data, LABELS, epochs=EPOCHS)
    return time.perf_counter() - start, history[-1].accuracy


def theirs(file: Path, count: int) -> tuple[float, float]:
    lines = node("cpu", file, count).stdout.splitlines()
    reports = [json.loads(line) for line in lines if line.startswith("{")]
    return reports[-1]["seconds"], reports[-2]["accuracy"]


def node(back_end: str, file: Path, count: int, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["node", "codelab.mjs", back_end, str(file), str(count), str(LABELS), str(EPOCHS)]
    return subprocess.run(command, cwd=PEERS, capture_output=True, text=True, check=check)


def wasm_error(file: Path, count: int) -> str:
    """Why TensorFlow.js can't train this network on its WebAssembly back end; empty if it can."""
    lines = node("wasm", file, count, check=False).stderr.splitlines()
    return next((line.strip() for line in lines if "Error:" in line), "")


def rows() -> list[Claim]:
    """Measure, print the table, and say what holds; nothing where Node is missing."""
    data = examples()
    ours(data)  # PyTorch's first step in a process takes a second; the studio's trainer has it behind it as well
    has_peer = install_peers()
    with tempfile.NamedTemporaryFile() as file:
        windows = SOUND_NORMALIZATION(data.windows())
        file.write(windows.astype("<f4").tobytes() + data.targets.astype("<f4").tobytes())
        file.flush()
        runs = [(ours(data), theirs(Path(file.name), len(data)) if has_peer else None) for _ in range(ROUNDS)]
        wasm = wasm_error(Path(file.name), len(data)) if has_peer else ""
    table: list[tuple[object, ...]] = [_row("Earmark", [mine for mine, _ in runs])]
    peers = [peer for _, peer in runs if peer is not None]
    claims = []
    if peers:
        ratio = statistics.median(peer[0] / mine[0] for mine, peer in runs if peer is not None)
        table += [
            _row("TensorFlow.js, cpu", peers),
            ("ratio", f"{ratio:.1f} ×", ""),
            ("TensorFlow.js, wasm", "–", wasm),
        ]
        claims = [Claim("training the codelab's network beside TensorFlow.js", "≥ 5 ×", f"{ratio:.0f} ×", ratio >= 5)]
    print_table(f"{len(data)} examples × {EPOCHS} epochs, median of {ROUNDS}", ("", "seconds", "accuracy"), table)
    return claims


def main() -> None:
    print_claims("Training", rows())


def _row(name: str, runs: list[tuple[float, float]]) -> tuple[object, ...]:
    return name, statistics.median(seconds for seconds, _ in runs), f"{np.mean([accuracy for _, accuracy in runs]):.1%}"


if __name__ == "__main__":
    main()
