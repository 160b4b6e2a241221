"""Milliseconds a window: Earmark beside TensorFlow.js in Node, the same models on the same real windows.

    python -m benchmarks.tfjs [FOLDER]

FOLDER holds the TensorFlow.js model `browser_fft/18w`; by default that of ../shared/fixtures. `words` goes to
TensorFlow.js by our export. Everything runs on one thread; in Node TensorFlow.js offers no more. Both sides are
measured in turn, in several rounds, Node anew in each, after it ran each loop once; the table gives medians, and
ratios the medians of the rounds' ratios. Ours normalizes the windows within the time; theirs come
normalized as the package speech-commands does it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import earmark
from benchmarks.table import Claim, print_claims, print_table
from earmark.exchange.exporting import export_model
from earmark.front_end.frames import sliding_windows
from earmark.models.metadata import WindowNormalization
from tests.corpus import clip_rows, read_row

PEERS = Path(__file__).parent / "peers"
SHARED = Path(__file__).parents[2] / "shared"
MODEL = SHARED / "fixtures" / "tfjs_speech_commands" / "browser_fft_18w"
BACK_ENDS = {"cpu": "pure JavaScript", "wasm": "WebAssembly, SIMD"}
SIZES = {"one": 1, "batch": 32}  # windows at a time
WINDOWS, ROUNDS = 64, 5

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """Milliseconds a window by the number of windows at a time, as in `SIZES`, and the scores [windows, labels]."""

    milliseconds: dict[str, float]
    scores: Array


def real_windows() -> Array:
    """Windows of spoken words, in dB, shape [WINDOWS, 43, 232]."""
    data = SHARED / "data"
    rows = [row for row in clip_rows(data, "speech_commands") if row["split"] == "val"]
    picked = [read_row(data, "speech_commands", row) for row in rows[:: len(rows) // WINDOWS]][:WINDOWS]
    sound = np.concatenate([samples for samples, _ in picked])
    # Some clips hold digital silence, for which a browser has no level: a microphone's own noise, at −80 dB, is added.
    sound += np.random.default_rng(0).normal(0, 1e-4, len(sound)).astype(np.float32)
    frames = earmark.compute_spectrogram(sound, picked[0][1])
    return np.ascontiguousarray(sliding_windows(frames, 43, (len(frames) - 43) // WINDOWS)[:WINDOWS])


def install_peers() -> bool:
    """TensorFlow.js into benchmarks/peers; whether it could be."""
    if not all(map(shutil.which, ("node", "npm"))):
        print("node or npm is missing: TensorFlow.js is left out", file=sys.stderr)
        return False
    subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit"], cwd=PEERS, check=True)
    return True


def ours(recognizer: earmark.Recognizer, windows: Array) -> Run:
    milliseconds = {}
    for name, size in SIZES.items():
        start = time.perf_counter()
        for at in range(0, len(windows), size):
            recognizer.score_windows(windows[at : at + size])
        milliseconds[name] = 1000 * (time.perf_counter() - start) / len(windows)
    return Run(milliseconds, recognizer.score_windows(windows))


def theirs(back_end: str, folder: Path, windows: Array) -> Run:
    """TensorFlow.js on normalized windows."""
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "windows", Path(scratch) / "scores"
        windows.astype("<f4").tofile(given)
        shape = [str(size) for size in windows.shape[1:]]
        command = ["node", "scores.mjs", back_end, str(folder.resolve()), str(given), *shape, str(made)]
        done = subprocess.run(command, cwd=PEERS, stdout=subprocess.PIPE, text=True, check=True)
        report = json.loads(done.stdout.splitlines()[-1])
        if back_end == "wasm" and not report["simd"]:
            raise RuntimeError("TensorFlow.js runs its WebAssembly without SIMD here: use a newer Node.")
        scores = np.fromfile(made, "<f4").reshape(len(windows), -1)
    return Run({name: report[name] for name in SIZES}, scores)


def compare(name: str, recognizer: earmark.Recognizer, folder: Path, windows: Array) -> dict[str, float]:
    """Measure both on one model, print them, and return the ratios: "cpu one", "wasm batch" and so on; and "scores":
    by how much they differ."""
    normalized = WindowNormalization()(windows)
    ours(recognizer, windows)  # the first run allocates
    rounds = [
        (ours(recognizer, windows), {back_end: theirs(back_end, folder, normalized) for back_end in BACK_ENDS})
        for _ in range(ROUNDS)
    ]

    def median(runs: list[Run]) -> list[float]:
        return [statistics.median(run.milliseconds[size] for run in runs) for size in SIZES]

    table: list[tuple[object, ...]] = [("Earmark", *median([mine for mine, _ in rounds]), "", "", "")]
    ratios = {"scores": 0.0}
    for back_end, title in BACK_ENDS.items():
        peers = [peer[back_end] for _, peer in rounds]
        for size in SIZES:
            pairs = (
                (peer.milliseconds[size], mine.milliseconds[size])
                for peer, (mine, _) in zip(peers, rounds, strict=True)
            )
            ratios[f"{back_end} {size}"] = statistics.median(their / our for their, our in pairs)
        largest = max(
            float(np.abs(peer.scores - mine.scores).max()) for peer, (mine, _) in zip(peers, rounds, strict=True)
        )
        ratios["scores"] = max(ratios["scores"], largest)
        times = [f"{ratios[f'{back_end} {size}']:.1f} ×" for size in SIZES]
        table.append((f"TensorFlow.js, {title}", *median(peers), *times, f"{largest:.0e}"))
    columns = ("", "ms, one by one", "ms, by 32", "ratio", "ratio, by 32", "scores differ by")
    print_table(f"A window of {name}, median of {ROUNDS} rounds", columns, table)
    return ratios


def rows(model: Path = MODEL) -> list[Claim]:
    """Measure, print the tables, and say what holds; nothing where Node or the model is missing."""
    if not (install_peers() and (model / "model.json").is_file()):
        return []
    os.environ.update(OMP_NUM_THREADS="1")
    windows = real_windows()
    ratios = compare("browser_fft/18w", earmark.load(model), model, windows)
    with tempfile.TemporaryDirectory() as scratch:
        words = earmark.load("words")
        export_model(words, Path(scratch) / "words", "tfjs")
        exported = compare("our words, exported", words, Path(scratch) / "words", windows)
    javascript, wasm = (min(ratios[f"{back_end} {size}"] for size in SIZES) for back_end in BACK_ENDS)
    apart = max(ratios["scores"], exported["scores"])
    return [
        Claim(
            "TensorFlow.js in JavaScript beside ours, its own model", "≥ 20 ×", f"{javascript:.0f} ×", javascript >= 20
        ),
        Claim("TensorFlow.js in WebAssembly beside ours", "> 1 ×", f"{wasm:.1f} ×", wasm > 1),
        Claim("by how much these scores differ", "≤ 1e-4", f"{apart:.0e}", apart <= 1e-4),
    ]


def main() -> None:
    print_claims("TensorFlow.js", rows(*map(Path, sys.argv[1:2])))


if __name__ == "__main__":
    main()
