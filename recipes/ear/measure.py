"""How many recordings of a sound each base needs, and how often a taught recognizer is wrong about other sounds.

    python recipes/ear/measure.py DATA [--base FILE ...]

DATA holds the unpacked data sets. Every base is measured in the same run, on the same draws; FILE is a further one.

Few recordings: k recordings of each kind are drawn at random ten times, a linear head is trained on the windows that
training cuts from them, without an open set, and all other recordings are recognized as `recognize` does it. It is the
mean over kinds, with its 95 % interval over the draws.

Other sounds: a recognizer is trained with the open set on three recordings of each of five kinds. Then come the
recordings of all other kinds, and ambience that no training heard, through `listen`.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from rich.console import Console
from rich.table import Table
from sounds import is_held_out

from earmark import Project
from earmark.audio.sources import FileSource
from earmark.front_end.examples import cut_windows
from earmark.front_end.frames import clip_frames, loudest_window, window_amplitudes
from earmark.front_end.recordings import read_recording
from earmark.labels import THRESHOLD
from earmark.models.network import Network
from earmark.training.bases import open_base
from earmark.training.heads import HeadExamples, HeadOptions, train_head

DRAWS = 10
T95 = 2.262  # Student's t for ten draws
LEAST_TAKES = 3  # of a kind of sound event, to be among those with few recordings
TAUGHT_TAKES, TAUGHT_KINDS = 3, 5

Kinds = Mapping[str, Sequence[Path]]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """What a base makes of a recording: of the windows to learn from, and of those that are recognized."""

    learnt: Values
    recognized: Values
    weights: Values


def kinds_in(folder: Path, least: int = 1) -> dict[str, list[Path]]:
    """A data set's recordings by kind; kinds with fewer recordings than `least` are left out."""
    found = defaultdict(list)
    for file in sorted(folder.rglob("*.wav")):
        found[file.parent.name].append(file)
    return {kind: files for kind, files in sorted(found.items()) if len(files) >= least}


def hear(base: Network, file: Path) -> Heard:
    frames, front_end, goes_on = base.metadata.window_frames, base.front_end, base.metadata.averages_clips
    recording = read_recording(file, file.name)
    learnt = base.embed_windows(cut_windows(recording, frames, front_end, goes_on=goes_on))
    if goes_on:
        windows = cut_windows(recording, frames, front_end, everywhere=True)
        weights = window_amplitudes(windows, front_end).astype(np.float32)
        return Heard(learnt, base.embed_windows(windows), weights)
    with FileSource(file) as source:
        loudest = loudest_window(clip_frames(source, frames, front_end), frames, front_end)
    return Heard(learnt, base.embed_windows(loudest[np.newaxis]), np.ones(1, np.float32))


def draw(heard: Mapping[str, Sequence[Heard]], count: int, seed: int) -> float:
    """The accuracy of one draw, the mean over kinds."""
    random, kinds = np.random.default_rng(seed), tuple(heard)
    values, targets, tested = [], [], []
    for number, kind in enumerate(kinds):
        order = random.permutation(len(heard[kind]))
        for index in order[:count]:
            values.append(heard[kind][index].learnt)
            targets += [number] * len(values[-1])
        tested.append([heard[kind][index] for index in order[count:]])
    examples = HeadExamples(np.concatenate(values), np.array(targets), np.zeros(len(targets), np.bool_))
    head, _ = train_head(examples, kinds, HeadOptions(seed=seed))

    def recognize(one: Heard) -> int:
        directions = one.recognized / np.maximum(np.linalg.norm(one.recognized, axis=1, keepdims=True), 1e-12)
        logits = head.scale * directions @ head.layers[-1].kernel.T + head.layers[-1].bias
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        return int(np.average(scores, axis=0, weights=one.weights).argmax())

    return float(np.mean([np.mean([recognize(one) == number for one in own]) for number, own in enumerate(tested)]))


def few_recordings(bases: Mapping[str, Network], name: str, kinds: Kinds, counts: Sequence[int]) -> Table:
    recordings = sum(map(len, kinds.values()))
    table = Table("base", *(f"k = {count}" for count in counts), title=f"{name}: {recordings} recordings")
    for base_name, base in bases.items():
        heard = {kind: [hear(base, file) for file in files] for kind, files in kinds.items()}
        cells = []
        for count in counts:
            rates = [draw(heard, count, seed) for seed in range(DRAWS)]
            reach = T95 * float(np.std(rates, ddof=1)) / math.sqrt(DRAWS)
            cells.append(f"{np.mean(rates):.1%} ± {reach:.1%}")
        table.add_row(base_name, *cells)
    return table


def other_sounds(bases: Mapping[str, Network], kinds: Kinds, ambience: Sequence[Path]) -> Table:
    columns = ("taught", "recalled", "other kinds accepted", "false alarms in ambience, an hour")
    table = Table("base", *columns, title=f"At a probability threshold of {THRESHOLD:g}")
    taught = [kind for kind, files in kinds.items() if len(files) > TAUGHT_TAKES]
    hours = sum(soundfile.info(file).duration for file in ambience) / 3_600
    for base_name, base in bases.items():
        for first in range(0, len(taught) - TAUGHT_KINDS + 1, TAUGHT_KINDS):
            own = taught[first : first + TAUGHT_KINDS]
            with tempfile.TemporaryDirectory() as folder:
                project = Project(Path(folder) / "project", create=True, mode="words")
                for kind in own:
                    for file in kinds[kind][:TAUGHT_TAKES]:
                        project.add(kind, file)
                recognizer = project.train(base, name="model")
            recalled = [
                result.label == kind and result.score >= THRESHOLD
                for kind in own
                for result in map(recognizer.recognize, kinds[kind][TAUGHT_TAKES:])
            ]
            others = [recognizer.recognize(files[0]) for kind, files in kinds.items() if kind not in own]
            accepted = sum(result.label in own and result.score >= THRESHOLD for result in others)
            alarms = sum(1 for file in ambience for _ in recognizer.listen(file))
            table.add_row(
                base_name, ", ".join(own), f"{sum(recalled)} of {len(recalled)}", f"{accepted} of {len(others)}",
                f"{alarms / hours:.0f}: {alarms} in {hours:.2f} h",
            )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", type=Path, action="append", default=[], help="a further base: a model file")
    options = parser.parse_args()
    bases = {name: open_base(name) for name in ("words", "speech", "ear")}
    for file in options.base:  # a file of export.py has no labels
        bases[file.stem] = Network(file.read_bytes(), file.stem) if file.suffix == ".onnx" else open_base(file)
    events = kinds_in(options.data / "sound_events")
    several = {kind: files for kind, files in events.items() if len(files) >= LEAST_TAKES}
    unseen = {kind: files for kind, files in several.items() if is_held_out(kind)}
    console = Console(width=150)
    console.print(few_recordings(bases, "ESC-10", kinds_in(options.data / "esc10"), (1, 3, 5, 10)))
    console.print(few_recordings(bases, f"{len(several)} kinds of sound events", several, (1, 2)))
    console.print(few_recordings(bases, f"{len(unseen)} kinds that no training heard", unseen, (1, 2)))
    ambience = [file for file in sorted((options.data / "ambience").rglob("*.wav")) if is_held_out(file.stem)]
    console.print(other_sounds(bases, events, ambience))


if __name__ == "__main__":
    main()
