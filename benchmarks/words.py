"""What the pretrained words cost: loading, and each window, beside the TensorFlow.js model in the same runtime.

    python -m benchmarks.words [FOLDER]

FOLDER holds the TensorFlow.js model `browser_fft/18w`. Each start is a process of its own.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import earmark
from benchmarks.table import print_table
from earmark.models.onnx_writer import multiply_adds
from earmark.models.runtime import load_runtime
from earmark.models.saved_model import PRETRAINED

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "words"))

from cost import time_windows

STARTS = 7

PROGRAMS = {
    "python alone": "pass",
    "import onnxruntime, numpy, soundfile, soxr": "import numpy, onnxruntime, soundfile, soxr",
    'earmark.load("words")': "import earmark; earmark.load('words')",
}


def starts() -> list[tuple[str, float]]:
    """Seconds of each program, median, one after the other so that a busy moment meets all."""
    load_runtime()  # whose telemetry is off in the programs, too
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(STARTS):
        for name, program in PROGRAMS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            seconds[name].append(time.perf_counter() - begun)
    return [(name, statistics.median(values)) for name, values in seconds.items()]


def main() -> None:
    print_table("A start", ("program", "seconds"), starts())
    file = PRETRAINED / "words" / "model.onnx"
    recognizers = {"words": earmark.load("words")}
    work = {"words": (file.stat().st_size, multiply_adds(file.read_bytes()))}
    if len(sys.argv) > 1:
        model = earmark.load(sys.argv[1]).content
        recognizers["speech-commands"] = earmark.Recognizer(model)
        work["speech-commands"] = (len(model), multiply_adds(model))
    times = time_windows(recognizers)
    rows = [(name, f"{work[name][0]:,}", f"{work[name][1]:,}", statistics.median(times[name])) for name in recognizers]
    print_table("A window", ("model", "bytes", "multiply-adds", "ms on one core"), rows)


if __name__ == "__main__":
    main()
