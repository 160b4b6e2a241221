"""Measure `words` on what it never saw, and the TensorFlow.js model beside it.

    python evaluate.py MODEL DATA [--peer FOLDER] [--json FILE]

DATA is what make.sh makes. Prints the tables that the model card holds; --json keeps all numbers for write_card.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from cost import time_windows
from few_shot import few_shot
from rich.console import Console
from rich.table import Table
from synthesize import DIGITS, LABELS

import earmark
from earmark.clips.corpus import NOISE, CorpusRecording, find_recordings
from earmark.evaluation.evaluation import Share, confusion_matrix, count_false_alarms
from earmark.labels import RESERVED_LABELS, THRESHOLD
from earmark.models.onnx_writer import multiply_adds
from earmark.recognizer.scoring import Result

COMMANDS = ("yes", "no", "up", "down", "left", "right", "go", "stop")
PEER = "speech-commands"  # the TensorFlow.js model
WORD_SETS = ("speech_commands", "free_spoken_digits", "wake_words", "synthesised")
SHIFT = 0.1  # seconds

Samples = npt.NDArray[np.float32]


@dataclass
class Measured:
    """What one recognizer did.

    Attributes:
        table: what was measured → the result as text, in order.
        recall: label → share of its real recordings.
        confusion: of the real recordings, rows are the truth, in the order of `labels`.
        alarms: the false alarms, as recording, label and second.
        few_shot: unseen words told apart from so many clips of each → accuracy.
    """

    labels: tuple[str, ...]
    table: dict[str, str] = field(default_factory=dict)
    recall: dict[str, str] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    few_shot: dict[str, str] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", type=Path, help="the TensorFlow.js model's folder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    models = {"words": options.model} | ({PEER: options.peer} if options.peer else {})
    with ProcessPoolExecutor() as pool:
        measured = dict(zip(models, pool.map(measure, models.values(), repeat(options.data)), strict=True))
    recognizers = {name: earmark.load(path) for name, path in models.items()}
    for kind, is_made in (("recorded", False), ("synthesised", True)):
        recordings = [r for r in unseen(options.data) if (r.source == "synthesised") == is_made]
        for name, scores in few_shot(recognizers, recordings).items():
            rows = {f"{kind}, {count} of each": text for count, text in scores.items()}
            measured.setdefault(name, Measured(())).few_shot |= rows
    work = cost(recognizers["words"], options.model)
    show(measured, work)
    if options.json:
        values = {"cost": work, **{name: vars(result) for name, result in measured.items()}}
        options.json.write_text(json.dumps(values, indent=1))


def measure(model: Path, data: Path) -> Measured:
    """Everything but the embedding, which is measured for all models at once."""
    recognizer = earmark.load(model)
    measured = Measured(recognizer.labels)
    table = measured.table
    heard = {source: recognize_all(recognizer, held_out(data, source)) for source in WORD_SETS}
    speech, digits, synthesised = heard["speech_commands"], heard["free_spoken_digits"], heard["synthesised"]
    table["eight commands, recorded"] = str(right(speech, COMMANDS))
    table["ten digits, recorded"] = str(right(speech + digits, DIGITS))
    table["· by new speakers (Speech Commands)"] = str(right(speech, DIGITS))
    table["· by known speakers, new takes (Free Spoken Digits)"] = str(right(digits, DIGITS))
    table["all 18 words, synthesised by new voices"] = str(right(synthesised, LABELS))
    unseen_words = [pair for pair in speech + heard["wake_words"] if pair[0].split == "test"]
    table["unseen words rejected, recorded"] = str(rejected(unseen_words))
    table["· Speech Commands' (bird, dog, house, marvin, sheila, wow)"] = str(
        rejected([pair for pair in unseen_words if pair[0].source == "speech_commands"])
    )
    table["· jarvis, snowboy, view glass"] = str(rejected([p for p in unseen_words if p[0].source == "wake_words"]))
    table["unseen words rejected, synthesised by new voices"] = str(rejected([p for p in synthesised if not known(p)]))
    table["words seen in training rejected, by new speakers (bed, cat, happy …)"] = str(
        rejected([pair for pair in speech if pair[0].split == "val" and not known(pair)])
    )
    table |= noise_kept(recognizer, data)
    real = [pair for pair in speech + digits if known(pair)]
    measured.recall = {label: str(right(real, (label,))) for label in LABELS}
    truth, found = zip(*((recording.word, result.label) for recording, result in real), strict=True)
    measured.confusion = confusion_matrix(truth, found, recognizer.labels).tolist()
    held, everything = noises(data, held_out_only=True), noises(data, held_out_only=False)
    rate, alarms = count_false_alarms(recognizer, held, THRESHOLD)
    table["false alarms in held-out noise (ESC-10 fold 5, ends of the noise recordings)"] = str(rate)
    table["false alarms in all noise, training's too"] = str(count_false_alarms(recognizer, everything, THRESHOLD)[0])
    measured.alarms = [f"{file.parent.name}/{file.stem}: {label} at {start:.1f} s" for file, label, start in alarms]
    validation = [recording for recording in held_out(data, "speech_commands") if recording.split == "val"]
    table |= invariance(recognizer, validation)
    return measured


def held_out(data: Path, source: str) -> list[CorpusRecording]:
    return [recording for recording in find_recordings(data / source) if recording.split != "train"]


def unseen(data: Path) -> list[CorpusRecording]:
    """Recordings, and synthesised ones, of words that no training saw."""
    recordings = [recording for source in WORD_SETS for recording in held_out(data, source)]
    return [recording for recording in recordings if recording.split == "test" and recording.word not in LABELS]


def noises(data: Path, *, held_out_only: bool) -> list[Path]:
    recordings = [r for source in ("background_noise", "esc10") for r in find_recordings(data / source, noise=True)]
    return [recording.path for recording in recordings if recording.split == "test" or not held_out_only]


def recognize_all(
    recognizer: earmark.Recognizer, recordings: list[CorpusRecording]
) -> list[tuple[CorpusRecording, Result]]:
    return [(recording, recognizer.recognize(recording.path)) for recording in recordings]


def known(pair: tuple[CorpusRecording, Result]) -> bool:
    return pair[0].word in LABELS


def right(pairs: Iterable[tuple[CorpusRecording, Result]], words: Iterable[str]) -> Share:
    asked = [result.label == recording.word for recording, result in pairs if recording.word in set(words)]
    return Share(sum(asked), len(asked))


def rejected(pairs: Iterable[tuple[CorpusRecording, Result]]) -> Share:
    quiet = [is_quiet(result) for _, result in pairs]
    return Share(sum(quiet), len(quiet))


def is_quiet(result: Result) -> bool:
    """Whether no word is heard at the threshold."""
    return result.label in RESERVED_LABELS or result.score < THRESHOLD


def noise_kept(recognizer: earmark.Recognizer, data: Path) -> dict[str, str]:
    """Seconds of held-out noise and of silence in which no word is heard."""
    results = []
    for file in noises(data, held_out_only=True):
        clip = earmark.read_clip(file)
        seconds = range(0, len(clip.samples) - clip.sample_rate + 1, clip.sample_rate)
        results += [recognizer.recognize(clip.samples[at : at + clip.sample_rate], clip.sample_rate) for at in seconds]
    random = np.random.default_rng(0)
    silences = [np.zeros(16_000, np.float32)]
    silences += [random.normal(0, 10 ** (level / 20), 16_000).astype(np.float32) for level in range(-110, -30)]
    quiet = [recognizer.recognize(silence, 16_000) for silence in silences]
    as_noise = [result.label == NOISE for result in results]
    return {
        "background noise kept, one-second pieces": str(Share(sum(map(is_quiet, results)), len(results))),
        "· and called _background_noise_": str(Share(sum(as_noise), len(as_noise))),
        "silence kept (digital, and faint noise from −110 to −31 dB)": str(
            Share(sum(map(is_quiet, quiet)), len(quiet))
        ),
    }


def invariance(recognizer: earmark.Recognizer, recordings: list[CorpusRecording]) -> dict[str, str]:
    """How many clips keep the label that they have as they are."""
    changes: dict[str, Callable[[Samples, int], tuple[Samples, int]]] = {
        "100 ms later": lambda samples, rate: (shifted(samples, int(SHIFT * rate)), rate),
        "100 ms earlier": lambda samples, rate: (shifted(samples, -int(SHIFT * rate)), rate),
        "−20 dB": lambda samples, rate: (samples / np.float32(10), rate),
        "+6 dB, clipped": lambda samples, rate: (np.clip(samples * np.float32(2), -1, 1), rate),
        "8 kHz": lambda samples, rate: (resampled(samples, rate, 8_000), 8_000),
        "44.1 kHz": lambda samples, rate: (resampled(samples, rate, 44_100), 44_100),
        "48 kHz": lambda samples, rate: (resampled(samples, rate, 48_000), 48_000),
    }
    kept = dict.fromkeys(changes, 0)
    for recording in recordings:
        clip = earmark.read_clip(recording.path)
        label = recognizer.recognize(clip.samples, clip.sample_rate).label
        for name, change in changes.items():
            kept[name] += recognizer.recognize(*change(clip.samples, clip.sample_rate)).label == label
    total = len(recordings)
    return {f"same label: {name}": str(Share(count, total)) for name, count in kept.items()}


def shifted(samples: Samples, by: int) -> Samples:
    """The clip moved within its own length, silence coming in."""
    moved = np.zeros_like(samples)
    moved[max(0, by) : len(samples) + min(0, by)] = samples[max(0, -by) : len(samples) - max(0, by)]
    return moved


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    """As a file of that rate would hold it: what overshoots full scale is clipped."""
    resampled: Samples = np.clip(soxr.resample(samples, rate, wanted), -1, 1)
    return resampled


def cost(recognizer: earmark.Recognizer, folder: Path) -> dict[str, Any]:
    """Size, multiply-adds and time of one window on one core."""
    file = folder / "model.onnx" if folder.is_dir() else folder
    (times,) = time_windows({"words": recognizer}).values()
    return {
        "bytes": file.stat().st_size,
        "multiply_adds": multiply_adds(file.read_bytes()),
        "milliseconds": round(float(np.median(times)), 3),
        "milliseconds_best": round(min(times), 3),
    }


def show(measured: dict[str, Measured], work: dict[str, Any]) -> None:
    console = Console(width=160)
    table = Table("measured", *measured)
    for row in measured["words"].table:
        table.add_row(row, *(result.table.get(row, "") for result in measured.values()))
    for row in measured["words"].few_shot:
        table.add_row(row, *(result.few_shot.get(row, "") for result in measured.values()))
    console.print(table)
    for label, share in measured["words"].recall.items():
        console.print(f"{label:>6} {share}")
    for alarm in measured["words"].alarms:
        console.print(alarm)
    console.print(work)


if __name__ == "__main__":
    main()
