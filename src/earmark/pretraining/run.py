"""Pretraining from end to end: from data sets to a model folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from earmark.clips.corpus import count_recordings, find_recordings
from earmark.errors import EarmarkError
from earmark.front_end.spectrogram import SAMPLE_RATE
from earmark.labels import RESERVED_LABELS, check_label
from earmark.models.saved_model import save_model
from earmark.pretraining.data import prepare
from earmark.pretraining.pretraining import PretrainingEpoch, PretrainingOptions, pretrain
from earmark.pretraining.word_network import word_model_file
from earmark.storage.files import make_folder

if TYPE_CHECKING:
    from earmark.progress import Report

PACKAGES = ("earmark", "numpy", "onnx", "soxr", "torch")  # the card records their versions


def run(
    data: list[Path],
    noise: list[Path],
    words: tuple[str, ...] | None,
    output: Path,
    options: PretrainingOptions,
    *,
    start: Path | None = None,
    device: str = "",
    teacher: bool = True,
    revision: str = "",
    report: Report,
    on_epoch: Callable[[PretrainingEpoch], object],
) -> None:
    """Train the word network and save it with its card.

    Args:
        data: data sets of words, in the layouts of `corpus`.
        noise: data sets of background noise.
        words: the labels; None means every word in the data.
        output: the folder for `model.onnx`, `model.json`, the checkpoint and the data as it was read.
        options: how to train.
        start: the checkpoint of another training, whose weights to start from.
        device: PyTorch's name for the device; by default a GPU if there is one.
        teacher: whether to learn from the speech embedding, too.
        revision: the recipe's revision, for the card.
        report: called with the progress.
        on_epoch: called after each epoch.

    Raises:
        EarmarkError: the data sets, the options or the folder can't be used; the message says why.
    """
    where = _device(device)
    recordings = [recording for folder in data for recording in find_recordings(folder)]
    recordings += [recording for folder in noise for recording in find_recordings(folder, noise=True)]
    if words is None:
        words = tuple({recording.word for recording in recordings} - set(RESERVED_LABELS))
    words = tuple({check_label(word): None for word in words if word not in RESERVED_LABELS})
    if not words:
        raise EarmarkError("There is no word to tell apart: name some with --labels, or add a folder for each.")
    make_folder(output)
    prepared = prepare(recordings, words, output, teacher=teacher, seed=options.seed, report=report)

    def on_batch(epoch: int, number: int, count: int) -> None:
        report(f"Epoch {epoch}/{options.epochs}", number, count)

    # One thread makes windows while the others learn from the previous ones.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    network, history, begun = pretrain(
        prepared, output, options, start=start, device=where, on_epoch=on_epoch, on_batch=on_batch
    )
    card = {
        "name": output.name,
        "labels": list(prepared.labels),
        "recipe": {"revision": revision, "device": where, "teacher": teacher, **asdict(options), "start": begun},
        "data": {
            "sha256": prepared.hash,
            "recordings": count_recordings(recordings),
            "words": len(prepared.words),
            "noise_seconds": round(len(prepared.noise) / SAMPLE_RATE),
            "left_out": prepared.left_out,
        },
        "validation": asdict(history[-1]),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    save_model(output, word_model_file(network, output.name, prepared.labels), card, PACKAGES)


def _device(name: str) -> str:
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name).cpu()
    except (RuntimeError, AssertionError) as error:  # an unknown name, or a device that this PyTorch was built without
        raise EarmarkError(f"PyTorch can't use the device {name!r} here: choose --device cpu.") from error
    return name
