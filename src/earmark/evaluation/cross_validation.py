"""Evaluating a way of training, or a trained recognizer, on recordings that it never heard."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.audio.clip import AUDIO_SUFFIXES, clip_length
from earmark.clips.corpus import find_recordings
from earmark.errors import EarmarkError
from earmark.evaluation.background import Background, measure_background
from earmark.evaluation.evaluation import Evaluation, ScoredClip
from earmark.front_end.recordings import RECORDING_SUFFIXES
from earmark.labels import RESERVED_LABELS
from earmark.recognizer.recognizer import Recognizer
from earmark.training.plan import Training
from earmark.training.transfer import TaughtClip

if TYPE_CHECKING:
    from earmark.progress import Report

_, UNKNOWN = RESERVED_LABELS


def cross_validate(
    training: Training,
    clips: Sequence[TaughtClip],
    labels: tuple[str, ...],
    folds: int = 5,
    background: Iterable[str | Path] = (),
    report: Report | None = None,
) -> Evaluation:
    """Leave out one part of the recordings after the other, train on the rest, and recognize the part left out.

    Whole recordings are left out, never windows of a recording that is also learnt from. A label's only recording is
    never left out, since the rest would say nothing about it.

    Args:
        training: how to train.
        clips: the recordings.
        labels: the recordings' labels, in order.
        folds: how many parts, 2 or more; there are fewer if no label has that many recordings.
        background: recordings without any of the labels' sounds, or folders of them.
        report: called with the progress, as (what, done, of how many).

    Raises:
        EarmarkError: there are too few recordings, or as in `Training.run`.
    """
    if folds < 2:
        raise EarmarkError(f"folds is {folds}: it must be 2 or more.")
    training.check(clips)
    parts, files = _divide(clips, folds), find_sounds(background)
    scored: list[ScoredClip] = []
    all_labels, hint = labels, None
    for fold, left_out in enumerate(parts):
        ids = {clip.file.id for clip in left_out}
        trained = training.run([clip for clip in clips if clip.file.id not in ids], labels, report=report)
        recognizer = Recognizer(trained.model, training.name)
        all_labels = max(all_labels, trained.labels, key=len)  # noise is added where the parts hold silence
        hint = trained.hint
        for clip in left_out:
            scores = recognizer.recognize(clip.file.path).scores
            scored.append(ScoredClip(clip.file.path, clip.file.label, scores, clip.file.id, fold))
        if report is not None:
            report("Cross-validating", fold + 1, len(parts))
    counts = {label: sum(clip.file.label == label for clip in clips) for label in labels}
    method = f"each recognized by a model trained without it, in {len(parts)} parts"
    heard = None
    if files:
        whole = Recognizer(training.run(clips, labels, report=report).model, training.name)
        heard = _measure(whole, files, report)
    wide = (replace(one, scores=np.pad(one.scores, (0, len(all_labels) - len(one.scores)))) for one in scored)
    return Evaluation(all_labels, tuple(wide), method, heard, counts, hint)


def evaluate_on(
    recognizer: Recognizer,
    test: str | Path,
    background: Iterable[str | Path] = (),
    *,
    counts: dict[str, int] | None = None,
    report: Report | None = None,
) -> Evaluation:
    """Recognize a folder of labelled recordings, which training must not have seen.

    Args:
        recognizer: the recognizer to evaluate.
        test: label folders, or a data set that `find_recordings` reads, of which the test split is used. Labels that
            the recognizer doesn't know count as `_unknown_`, if it has that label.
        background: recordings without any of the labels' sounds, or folders of them.
        counts: how many recordings each label was trained on.
        report: called with the progress, as (what, done, of how many).

    Raises:
        EarmarkError: a recording can't be read, or the recognizer has no label for it.
    """
    found = find_recordings(Path(test), suffixes=RECORDING_SUFFIXES)
    recordings = [recording for recording in found if recording.split == "test"] or found
    strange = {recording.word for recording in recordings} - set(recognizer.labels)
    if strange and UNKNOWN not in recognizer.labels:
        known = ", ".join(recognizer.labels)
        raise EarmarkError(f"The model has no label {min(strange)!r}: leave that folder out, or teach it ({known}).")
    files = find_sounds(background)
    scored = []
    for number, recording in enumerate(recordings, 1):
        label = UNKNOWN if recording.word in strange else recording.word
        scores = recognizer.recognize(recording.path).scores
        scored.append(ScoredClip(recording.path, label, scores, str(recording.path)))
        if report is not None:
            report("Recognizing", number, len(recordings))
    heard = _measure(recognizer, files, report) if files else None
    return Evaluation(recognizer.labels, tuple(scored), f"the folder {test}", heard, counts or {})


def find_sounds(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """The sound files among these paths and in those that are folders, in order, without hidden files.

    Raises:
        EarmarkError: a path doesn't exist, or a folder holds no sound files.
    """
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        if not os.path.exists(path):  # noqa: PTH110 (Path.exists raises for unfit names)
            raise EarmarkError(f"{path} does not exist: check the path.")
        files = [path]
        if path.is_dir():
            found_here = (file for file in path.rglob("[!.]*") if file.suffix.lower() in AUDIO_SUFFIXES)
            files = sorted(file for file in found_here if file.is_file())
            if not files:
                raise EarmarkError(f"{path} holds no sound files: choose another folder.")
        found += files
    return found


def _divide(clips: Sequence[TaughtClip], folds: int) -> list[list[TaughtClip]]:
    """Divide the recordings into parts, each with its share of every label's recordings."""
    random = np.random.default_rng(0)
    parts: list[list[TaughtClip]] = [[] for _ in range(folds)]
    for label in sorted({clip.file.label for clip in clips}):
        own = [clip for clip in clips if clip.file.label == label]
        if len(own) > 1:
            for place, index in enumerate(random.permutation(len(own))):
                parts[place % folds].append(own[index])
    parts = [part for part in parts if part]
    if not parts:
        raise EarmarkError("Evaluation leaves recordings out: it needs at least two of a label, better ten.")
    return parts


def _measure(recognizer: Recognizer, files: list[Path], report: Report | None) -> Background:
    def on_progress(seconds: float) -> None:
        if report is not None:
            report("Listening to the background", int(seconds), int(total))

    total = 0.0
    for file in files:
        samples, rate = clip_length(file)
        total += samples / rate
    return measure_background(recognizer, files, on_progress=on_progress)
