"""Seconds to train: the codelab's network, a head, and the first training of a new process.

    python -m benchmarks.training

The codelab's network learns 450 examples for 10 epochs, beside TensorFlow.js in Node and PyTorch on one thread; a head
learns 40 labels of 30 recordings, with noise and unknown words besides, beside PyTorch on one thread. All train the
same network on the same examples, in turn; the tables give the median of five and the median ratio. The WebAssembly
back end of TensorFlow.js is tried too: it lacks a step of that network's gradient, and says which. Then come new
processes, from their start to the saved model, and the memory of the studio's trainer after all of their trainings.
Needs node and npm for TensorFlow.js and PyTorch for the other, and leaves out what is missing.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import earmark
from benchmarks.table import Claim, print_claims, print_table
from benchmarks.tfjs import PEERS, install_peers
from earmark.audio.clip import Clip
from earmark.front_end.examples import Examples, cut_examples
from earmark.training.heads import Head, HeadExamples, HeadOptions, train_head
from earmark.training.sound_network import SOUND_NORMALIZATION, SoundNetwork, train_sounds
from tests import chirps, sounds

EXAMPLES_PER_LABEL, LABELS, EPOCHS, ROUNDS = 150, 3, 10, 5
HEAD_LABELS, HEAD_RECORDINGS, HEAD_ADDED, HEAD_VALUES = 40, 30, 1_480, 192

Run = tuple[float, float]  # seconds, and the last epoch's accuracy

FIRST = """import earmark, sys
earmark.Project(sys.argv[1]).train(sys.argv[2])
"""
TRAINER = """import pathlib, sys
from earmark.studio import trainer
trainer._warm_up()
for project in sys.argv[1:]:
    told = trainer._do("training", pathlib.Path(project), lambda **_: None)
    assert told == {"state": "done"}, told
print(pathlib.Path("/proc/self/status").read_text())
"""


def examples() -> Examples:
    """150 windows of each of a whistle, snaps and murmur."""
    seconds = (EXAMPLES_PER_LABEL + 3) * 1_024 / 44_100 + 0.001
    makers = (sounds.whistle, sounds.snaps, sounds.murmur)
    return cut_examples([(Clip(make(seconds, 1), sounds.RATE), index) for index, make in enumerate(makers)], 3)


def ours(data: Examples) -> Run:
    start = time.perf_counter()
    _, history = train_sounds(data, LABELS, epochs=EPOCHS)
    return time.perf_counter() - start, history[-1].accuracy


def theirs(file: Path, count: int) -> Run:
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


def pytorchs(data: Examples) -> Run:
    """The codelab's network and training in PyTorch, on one thread."""
    import torch

    from tests.twins import SoundTwin

    torch.set_num_threads(1)
    windows, targets = torch.from_numpy(SOUND_NORMALIZATION(data.windows())), torch.from_numpy(data.targets)
    start = time.perf_counter()
    network = SoundTwin(SoundNetwork(LABELS, np.random.default_rng(0)), torch.float32)
    adam = torch.optim.Adam(network.parameters(), lr=0.01, eps=1e-7)
    for _ in range(EPOCHS):
        right = 0
        for batch in torch.split(torch.randperm(len(targets)), 16):
            logits = network(windows[batch])
            adam.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets[batch]).backward()  # type: ignore[no-untyped-call]
            adam.step()
            right += int((logits.argmax(1) == targets[batch]).sum())
    return time.perf_counter() - start, right / len(targets)


def head_examples() -> HeadExamples:
    """Embeddings of 40 labels, and of noise and unknown words as the open set adds them."""
    random = np.random.default_rng(0)
    taught = np.repeat(np.arange(HEAD_LABELS), HEAD_RECORDINGS)
    targets = np.concatenate([taught, HEAD_LABELS + np.arange(HEAD_ADDED) % 2])
    centres = random.normal(0, 1, (HEAD_LABELS + 2, HEAD_VALUES))
    features = (centres[targets] + random.normal(0, 1, (len(targets), HEAD_VALUES))).astype(np.float32)
    return HeadExamples(features, targets, np.zeros(len(targets), bool), targets >= HEAD_LABELS)


def our_head(data: HeadExamples) -> Run:
    labels = (*map(str, range(HEAD_LABELS)), "_background_noise_", "_unknown_")
    start = time.perf_counter()
    _, history = train_head(data, labels, HeadOptions())
    return time.perf_counter() - start, history[-1].accuracy


def pytorchs_head(data: HeadExamples) -> Run:
    """The same head and training in PyTorch, on one thread."""
    import torch

    from tests.twins import HeadTwin

    torch.set_num_threads(1)
    features, targets = torch.from_numpy(data.features), torch.from_numpy(data.targets)
    weights, options = torch.ones(len(targets)), HeadOptions()
    start = time.perf_counter()
    head = HeadTwin(Head(HEAD_VALUES, HEAD_LABELS + 2, 0, None, np.random.default_rng(0)).weights(), torch.float32)
    steps = torch.optim.SGD(head.parameters(), lr=0.03, momentum=0.9, nesterov=True)
    for epoch in range(options.epochs):
        steps.param_groups[0]["lr"] = 0.03 * 0.5 * (1 + math.cos(math.pi * epoch / options.epochs))
        for batch in torch.split(torch.randperm(len(targets)), options.batch_size):
            head.loss(features[batch], targets[batch], weights[batch])
            steps.step()
    seconds = time.perf_counter() - start
    return seconds, float((head(features).argmax(1) == targets).float().mean())


def make_projects(folder: Path) -> list[tuple[str, Path]]:
    """A project of short sounds, and one of words for each base, with the base."""
    short = earmark.Project(folder / "sounds", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps), ("Noise", sounds.murmur)):
        short.add(label, make(3.5, 1), sounds.RATE)
    words = earmark.Project(folder / "spoken", create=True, mode="words")
    for word in ("rise", "fall", "high"):
        for take in range(10):
            words.add(word, chirps.word(word, take=take), chirps.RATE)
    bases = [base.name for base in words.bases() if base.remedy is None]
    paths = [Path(shutil.copytree(words.path, folder / base, dirs_exist_ok=True)) for base in bases]
    for base, path in zip(bases, paths, strict=True):
        earmark.Project(path).set_base(base)
    return [("sounds", short.path), *zip(bases, paths, strict=True)]


def first_training(base: str, project: Path) -> float:
    """Seconds from the start of a new process to its end, in which it has trained."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", FIRST, str(project), base], check=True)
    return time.perf_counter() - start


def trainer_memory(projects: list[Path]) -> tuple[float, float]:
    """Of the studio's trainer once it has trained all of these: MB in use, and the highest there was."""
    command = [sys.executable, "-c", TRAINER, *map(str, projects)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    status = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    used, highest = (int(status[name].split()[0]) * 1_024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return used, highest


def rows() -> list[Claim]:
    """Measure, print the tables, and say what holds."""
    return [*_network_rows(), *_head_rows(), *_process_rows()]


def _network_rows() -> list[Claim]:
    data = examples()
    has_peer = install_peers()
    with tempfile.NamedTemporaryFile() as file:
        windows = SOUND_NORMALIZATION(data.windows())
        file.write(windows.astype("<f4").tobytes() + data.targets.astype("<f4").tobytes())
        file.flush()
        ways: dict[str, Callable[[], Run]] = {"Earmark": lambda: ours(data)}
        if find_spec("torch"):
            ways["PyTorch, one thread"] = lambda: pytorchs(data)
        if has_peer:
            ways["TensorFlow.js, cpu"] = lambda: theirs(Path(file.name), len(data))
        claims = _compare(f"{len(data)} examples × {EPOCHS} epochs", ways, {"TensorFlow.js, cpu": 5.0})
        if has_peer and (error := wasm_error(Path(file.name), len(data))):
            print(f"TensorFlow.js, wasm: {error}")
    return claims


def _head_rows() -> list[Claim]:
    data = head_examples()
    ways: dict[str, Callable[[], Run]] = {"Earmark": lambda: our_head(data)}
    if find_spec("torch"):
        ways["PyTorch, one thread"] = lambda: pytorchs_head(data)
    return _compare(f"A head on {HEAD_LABELS} labels × {HEAD_RECORDINGS} recordings", ways, {})


def _compare(title: str, ways: dict[str, Callable[[], Run]], least: dict[str, float]) -> list[Claim]:
    """Each way in turn, several times. Ours must be so many times as fast as another, or as fast as that."""
    for way in ways.values():
        way()  # the first run in a process loads and warms up
    runs = [{name: way() for name, way in ways.items()} for _ in range(ROUNDS)]
    table, claims = [], []
    for name in ways:
        accuracy = np.mean([run[name][1] for run in runs])
        ratio = statistics.median(run[name][0] / run["Earmark"][0] for run in runs)
        table.append((name, statistics.median(run[name][0] for run in runs), f"{ratio:.1f} ×", f"{accuracy:.1%}"))
        if name != "Earmark":
            wanted = least.get(name, 1.0)
            claims.append(Claim(f"{title}, beside {name}", f"≥ {wanted:g} ×", f"{ratio:.1f} ×", ratio >= wanted))
    print_table(f"{title}, median of {ROUNDS}", ("", "seconds", "of ours", "accuracy"), table)
    return claims


def _process_rows() -> list[Claim]:
    claims = []
    with tempfile.TemporaryDirectory() as folder:
        projects = make_projects(Path(folder))
        table: list[tuple[object, ...]] = []
        for base, project in projects:
            first_training(base, project)
            seconds = statistics.median(first_training(base, project) for _ in range(ROUNDS))
            table.append((f"first training of a new process, base {base}: seconds", seconds))
            claims.append(Claim(f"a new process trains on {base}", "≤ 0.7 s", f"{seconds:.2f} s", seconds <= 0.7))
        if sys.platform == "linux":
            used, highest = trainer_memory([project for _, project in projects])
            table += [("studio's trainer after all: MB", used), ("… at most: MB", highest)]
            claims.append(Claim("the studio's trainer", "≤ 150 MB", f"{highest:.0f} MB", highest <= 150))
    print_table(f"Processes, median of {ROUNDS}", ("", ""), table)
    return claims


def main() -> None:
    print_claims("Training", rows())


if __name__ == "__main__":
    main()
