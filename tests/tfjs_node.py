"""TensorFlow.js itself, run in Node: what our reader and our writer of its models are compared with."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[np.float32]
Json = dict[str, Any]
TFJS = Path(__file__).parent / "tfjs"
MODULES = TFJS / "node_modules"  # with @tensorflow/tfjs and @tensorflow-models/speech-commands
SECONDS = 300  # after which Node hangs


@dataclass(frozen=True)
class MadeModel:
    """A model that TensorFlow.js made and saved.

    Attributes:
        folder: model.json, its weights, and metadata.json with as many labels as there are scores.
        scores: float32 [windows, labels].
    """

    folder: Path
    scores: Array


def skip_without_node() -> None:
    if shutil.which("node") is None or not (MODULES / "@tensorflow" / "tfjs").is_dir():
        pytest.skip("needs Node and `npm ci` in tests/tfjs: make test installs both")


def run_tfjs(folder: Path, windows: npt.ArrayLike) -> Array:
    """TensorFlow.js' scores [n, labels] of normalized windows [n, frames, bins], by the model.json in a folder."""
    return run_tfjs_models([folder], [windows])[0]


def run_tfjs_models(folders: Sequence[Path], windows: Sequence[npt.ArrayLike]) -> list[Array]:
    """The same for several models, each with its own windows, in one process."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments, outs = [], []
        for number, (folder, some) in enumerate(zip(folders, windows, strict=True)):
            out = Path(scratch) / f"{number}.scores"
            arguments += [str(folder), *_keep(some, Path(scratch) / f"{number}.f32"), str(out)]
            outs.append(out)
        _node("run.mjs", *arguments)
        return [_scores(out, some) for out, some in zip(outs, windows, strict=True)]


def make_models(
    folder: Path,
    topologies: Sequence[Json],
    windows: Sequence[npt.ArrayLike],
    seed: int = 0,
    shard_bytes: int = 4 << 20,
) -> list[MadeModel]:
    """Models with random weights, made and saved by TensorFlow.js in one process.

    Args:
        folder: model after model is saved in it, in folders of their own.
        topologies: layers as Keras writes them, each a {class_name, config} of a Sequential or a Model; see `chain`.
        windows: of each model, normalized: [n, frames, bins].
        seed: of the weights.
        shard_bytes: of the files of weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs: list[Json] = []
    for number, (topology, some) in enumerate(zip(topologies, windows, strict=True)):
        place, frames, bins = _keep(some, folder / f"{number}.f32")
        model = {"topology": topology, "seed": seed + number, "shardBytes": shard_bytes}
        names = {"folder": str(folder / f"{number}"), "scores": str(folder / f"{number}.scores")}
        jobs.append({**model, **names, "windows": place, "frames": int(frames), "bins": int(bins)})
    _node("make.mjs", given=json.dumps(jobs))
    made = []
    for job, some in zip(jobs, windows, strict=True):
        done = MadeModel(Path(job["folder"]), _scores(Path(job["scores"]), some))
        labels = [f"label {number}" for number in range(done.scores.shape[1])]
        (done.folder / "metadata.json").write_text(json.dumps({"wordLabels": labels}))
        made.append(done)
    return made


def layer(kind: str, name: str, **config: Any) -> Json:
    return {"class_name": kind, "config": {"name": name, **config}}


def chain(name: str, *layers: Json) -> Json:
    """A Sequential model; the first layer's config needs `batch_input_shape`, e.g. [None, 43, 232, 1]."""
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def _keep(windows: npt.ArrayLike, path: Path) -> tuple[str, str, str]:
    """Write windows; the file, and their frames and bins."""
    array = np.ascontiguousarray(windows, "<f4")
    array.tofile(path)
    return str(path), str(array.shape[1]), str(array.shape[2])


def _scores(path: Path, windows: npt.ArrayLike) -> Array:
    return np.fromfile(path, "<f4").reshape(len(np.asarray(windows)), -1)


def _node(script: str, *arguments: str, given: str = "") -> None:
    skip_without_node()
    command = ["node", str(TFJS / script), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
