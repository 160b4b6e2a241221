"""How well sounds that aren't speech are told apart from few recordings, by base, all the way through `Project.train`.

    python -m benchmarks.sounds DATA [--base BASE …] [--count 5] [--draws 10]

DATA holds a folder of recordings for each label; ../shared/data/unpack.py makes ESC-10's. BASE is anything that `train`
takes. For each draw, as many recordings of each label become a project, which is trained with the usual options (noise
and unknown words included), and the recognizer hears all other recordings. Prints the mean accuracy with its 95 %
interval over the draws, and what a window costs on one core: the median of many, and the fastest, since other programs
may run beside.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks.table import print_table
from earmark import Project
from earmark.training.bases import open_base

T95 = 2.262  # Student's t for ten draws
TIMED = 300  # windows
Accuracies = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", action="append", help="repeat it for more; words, speech and yamnet without it")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    rows = []
    for base in options.base or ["words", "speech", "yamnet"]:
        accuracies = np.array([_draw(options.data, base, options.count, seed) for seed in range(options.draws)])
        reach = T95 * float(accuracies.std(ddof=1)) / math.sqrt(len(accuracies)) if len(accuracies) > 1 else math.nan
        median, fastest = _milliseconds(base)
        told = f"{accuracies.mean():.1%} ± {reach:.1%}"
        rows.append((base, told, f"{accuracies.min():.1%}", f"{median:.1f} ms", f"{fastest:.1f} ms"))
    columns = ("base", "accuracy", "worst draw", "a window, median", "fastest")
    print_table(f"{options.data}: {options.count} recordings of each label, {options.draws} draws", columns, rows)


def _draw(data: Path, base: str, count: int, seed: int) -> float:
    random = np.random.default_rng(seed)
    folders = sorted(folder for folder in data.iterdir() if folder.is_dir())
    tested: list[tuple[Path, str]] = []
    with TemporaryDirectory() as place:
        labels = tuple(folder.name for folder in folders)
        project = Project(Path(place) / "sounds", create=True, mode="words", labels=labels)
        for folder in folders:
            files = sorted(folder.glob("*.wav"))
            order = random.permutation(len(files))
            for index in order[:count]:
                project.add(folder.name, files[index])
            tested += [(files[index], folder.name) for index in order[count:]]
        recognizer = project.train(base)
        accuracy = float(np.mean([recognizer.recognize(file).label == label for file, label in tested]))
    print(f"{base}, draw {seed}: {accuracy:.1%}", file=sys.stderr, flush=True)
    return accuracy


def _milliseconds(base: str) -> tuple[float, float]:
    network = open_base(base)
    window = np.random.default_rng(0).normal(0, 0.1, (1, *network.input_shape)).astype(np.float32)
    taken = []
    for _ in range(TIMED):
        start = time.perf_counter()
        network.embed_windows(window)
        taken.append(1e3 * (time.perf_counter() - start))
    return float(np.median(taken)), min(taken)


if __name__ == "__main__":
    main()
