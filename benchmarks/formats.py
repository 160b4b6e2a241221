"""What other formats cost: loading a TensorFlow.js model, exporting, and an ONNX export that takes the waveform.

    python -m benchmarks.formats [FOLDER]

FOLDER holds the TensorFlow.js model `browser_fft/18w`. Times are medians, of this process's own work on one thread.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

import earmark
from benchmarks.table import print_table
from earmark.exchange.exporting import onnx_file, tfjs_files
from earmark.models.network import open_session

if TYPE_CHECKING:
    import onnxruntime

LOADS, WINDOWS = 9, 200

Array = npt.NDArray[np.float32]


def median_seconds(action: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def windows(count: int) -> Array:
    """Noise whose level and colour change, so that no two windows are alike."""
    random = np.random.default_rng(0)
    sound = random.standard_normal((count, 45_056)) * 10 ** random.uniform(-4, -0.5, (count, 1))
    slope = np.cumsum(sound, axis=1)
    return (sound + slope * random.uniform(0, 0.02, (count, 1))).clip(-1, 1).astype(np.float32)


def compare(name: str, recognizer: earmark.Recognizer, session: onnxruntime.InferenceSession) -> tuple[object, ...]:
    """The library's own way from a window's sound to scores, and that of the exported graph alone."""
    sounds = windows(WINDOWS)
    ours = np.stack([recognizer.recognize(sound, 44_100).scores for sound in sounds])
    theirs = np.concatenate([session.run(["scores"], {"waveform": sound[None]})[0] for sound in sounds])
    at = iter(range(10**9))
    library = median_seconds(lambda: recognizer.recognize(sounds[next(at) % WINDOWS], 44_100), WINDOWS)
    graph = median_seconds(lambda: session.run(["scores"], {"waveform": sounds[next(at) % WINDOWS][None]}), WINDOWS)
    return name, 1000 * library, 1000 * graph, graph / library, f"{np.abs(ours - theirs).max():.1e}"


def main() -> None:
    models = {"words": "words"} | ({"speech-commands": sys.argv[1]} if len(sys.argv) > 1 else {})
    loads = [(f"load {name}", median_seconds(partial(earmark.load, path), LOADS)) for name, path in models.items()]
    exports = []
    for name, path in models.items():
        recognizer = earmark.load(path)
        for to, make in (("tfjs", tfjs_files), ("onnx", onnx_file)):
            seconds = median_seconds(partial(make, recognizer.content, recognizer.metadata), LOADS)
            loads.append((f"export {name} to {to}", seconds))
        exported = onnx_file(recognizer.content, recognizer.metadata)
        exports.append((*compare(name, recognizer, open_session(exported, name)), f"{len(exported):,}"))
    print_table("Once a process is warm", ("what", "seconds"), loads)
    titles = ("model", "library, ms", "graph, ms", "graph / library", "largest difference", "bytes")
    print_table(f"A window of sound in, scores out ({WINDOWS} windows)", titles, exports)


if __name__ == "__main__":
    main()
