"""A large project: how long opening, counting and training take, and how much memory, as the recordings grow.

    python -m benchmarks.large_project [BASE...]

Makes projects of 1,000 and of 10,000 recordings (3 hours) of 40 labels, and does each step in a process of its own. The
base `sounds` is trained for one epoch; others as they are by default.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.table import print_table

RATE = 16_000
LABELS = 40
SIZES = (1_000, 10_000)
SECONDS = 1.08  # 10,000 of them last 3 hours

STEPS = {
    "open and count": "project.count_examples()",
    "count again": "project.count_examples(); begun = time.perf_counter(); project.count_examples()",
    "train, everything new": "project.train({base!r}, **{options})",
    "train again": "project.train({base!r}, **{options})",
}


def make_project(folder: Path, recordings: int) -> None:
    """A project of chirps: each label has its own sweep, each recording its own speed, level and noise."""
    import earmark

    project = earmark.Project(folder, create=True, mode="words", labels=tuple(f"label {n:02}" for n in range(LABELS)))
    random = np.random.default_rng(0)
    time_axis = np.arange(round(SECONDS * RATE)) / RATE
    for number in range(recordings):
        label = number % LABELS
        sweep = (150 + 60 * label) * time_axis + (label % 7 - 3) * 200 * random.uniform(0.8, 1.2) * time_axis**2
        sound = random.uniform(0.1, 0.5) * np.sin(2 * np.pi * sweep) * np.hanning(len(time_axis))
        noisy = (sound + random.normal(0, 0.003, len(sound))).astype(np.float32)
        project.add(f"label {label:02}", noisy, RATE, name=f"{number:05}")


def measure(folder: Path, step: str, base: str) -> tuple[float, float]:
    """Seconds, and the process's highest memory in MB."""
    options = {"epochs": 1} if base == "sounds" else {}
    program = STEPS[step].replace("{base!r}", repr(base)).replace("{options}", repr(options))
    code = (
        "import time, resource, earmark\n"
        "begun = time.perf_counter()\n"
        f"project = earmark.Project({str(folder)!r})\n"
        f"{program}\n"
        "print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    seconds, kilobytes = output.split()
    return float(seconds), int(kilobytes) / 1024


def main() -> None:
    bases = sys.argv[1:] or ["words", "speech", "sounds"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            project = Path(folder) / str(size)
            begun = time.perf_counter()
            make_project(project, size)
            print(f"{size:,} recordings made in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
            for base in bases:
                for step in STEPS if base == bases[0] else list(STEPS)[2:]:
                    seconds, megabytes = measure(project, step, base)
                    name = f"{step}, base {base}" if step.startswith("train") else step
                    rows.append((f"{size:,}", name, f"{seconds:.2f} s", f"{megabytes:,.0f} MB"))
                    print(rows[-1], file=sys.stderr)
    print_table("A project of 40 labels", ("recordings", "step", "time", "highest memory"), rows)


if __name__ == "__main__":
    main()
