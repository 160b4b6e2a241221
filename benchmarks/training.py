"""Seconds to train the codelab's network on 450 examples for 10 epochs, beside TensorFlow.js in Node.

    python -m benchmarks.training

Both train the same network on the same windows, in turn; the table gives the median of five and the median ratio.
Needs node and npm for the peer, and leaves it out where they are missing.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import print_table
from earmark.audio import Clip
from earmark.examples import Examples, cut_examples
from earmark.training import SOUND_NORMALIZATION, train_sounds
from tests import sounds

PEERS = Path(__file__).parent / "peers"
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
    command = ["node", "codelab.mjs", str(file), str(count), str(LABELS), str(EPOCHS)]
    lines = subprocess.run(command, cwd=PEERS, capture_output=True, text=True, check=True).stdout.splitlines()
    reports = [json.loads(line) for line in lines if line.startswith("{")]
    return reports[-1]["seconds"], reports[-2]["accuracy"]


def main() -> None:
    data = examples()
    ours(data)  # PyTorch's first step in a process takes a second; the studio's trainer has it behind it as well
    has_peer = all(map(shutil.which, ("node", "npm")))
    if has_peer:
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit"], cwd=PEERS, check=True)
    else:
        print("node or npm is missing: TensorFlow.js is left out", file=sys.stderr)
    with tempfile.NamedTemporaryFile() as file:
        windows = SOUND_NORMALIZATION(data.windows())
        file.write(windows.astype("<f4").tobytes() + data.targets.astype("<f4").tobytes())
        file.flush()
        runs = [(ours(data), theirs(Path(file.name), len(data)) if has_peer else None) for _ in range(ROUNDS)]
    rows: list[tuple[object, ...]] = [_row("Earmark", [mine for mine, _ in runs])]
    peers = [peer for _, peer in runs if peer is not None]
    if peers:
        rows.append(_row("TensorFlow.js, cpu", peers))
        ratio = statistics.median(peer[0] / mine[0] for mine, peer in runs if peer is not None)
        rows.append(("ratio", f"{ratio:.1f} ×", ""))
    print_table(f"{len(data)} examples × {EPOCHS} epochs, median of {ROUNDS}", ("", "seconds", "accuracy"), rows)


def _row(name: str, runs: list[tuple[float, float]]) -> tuple[object, ...]:
    return name, statistics.median(seconds for seconds, _ in runs), f"{np.mean([accuracy for _, accuracy in runs]):.1%}"


if __name__ == "__main__":
    main()
