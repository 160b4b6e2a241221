"""Kills: a process that records, trains, imports, renames, trims, moves, deletes and takes back ends at any moment.

One warm process makes a child for each line that it reads, before any thread runs in it. What a child has done it
tells, a line each: the system keeps whole lines whole. Each recording follows from its seed and number, so that it is
known again, bit by bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

import earmark
from benchmarks.table import Claim
from earmark import EarmarkError, Project, read_clip
from earmark.audio.clip import Clip, encode_flac
from earmark.exchange.importing import import_into

RATE = 16_000  # Hz
SAMPLES = 4_000  # of a recording, and its number more
KEPT = (0.05, 0.2)  # seconds of one that is trimmed
IMPORTED = 100  # the first number of an imported recording
IMPORTS = 4  # recordings in an import
LABELS = ("rise", "fall")
SHORT_KILLS, LONG_KILLS = 16, 240

Samples = npt.NDArray[np.float32]


def recording(seed: int, number: int) -> Samples:
    """Noise in steps of 16 bits, which FLAC keeps as they are."""
    steps = np.random.default_rng((seed, number)).integers(-(2**13), 2**13, SAMPLES + number)
    return (steps / 2**15).astype(np.float32)


def digest(samples: Samples) -> str:
    """A recording's name in what is compared."""
    return hashlib.sha256(samples.tobytes()).hexdigest()


# The process that is killed


def tell(*what: object) -> None:
    """Tell of something that is done."""
    os.write(1, (json.dumps([os.getpid(), *what]) + "\n").encode())


def work(folder: Path, copy: Path, seed: int) -> None:
    """Change a project for ever, and tell of each thing that is done."""
    dice, project, number = random.Random(seed), Project(folder), 0
    steps: list[Callable[[Project, random.Random], None]] = [_rename, _trim, _move, _delete, _undo]
    while True:
        number += 1
        label = dice.choice(project.labels)
        clip = project.add(label, recording(seed, number), RATE, name=f"{seed} {number}")
        tell("clip", seed, number)
        project.set_key_frame(clip, number % 5)
        tell("key frame")
        dice.choice(steps)(project, dice)
        tell("change")
        if number == 1:
            _import(project, seed, copy.parent)
        elif number == 2:
            base = "words" if seed % 2 else "sounds"
            for label in project.labels[:2]:  # those that there were may have been moved or deleted
                number += 1
                project.add(label, recording(seed, number), RATE)
                tell("clip", seed, number)
            options = {"open_set": False} if base == "words" else {"batch_size": 512}
            recognizer = project.train(base, epochs=1, seed=seed, **options)
            tell("model", base)
            recognizer.save(copy)
            tell("saved")


def _rename(project: Project, dice: random.Random) -> None:
    project.change_label(dice.choice(project.labels), new_name=f"label {dice.randrange(10**6)}")


def _trim(project: Project, dice: random.Random) -> None:
    whole = [clip for clip in project.clips() if clip.seconds * RATE >= SAMPLES]
    project.trim_clip(dice.choice(whole), *KEPT)


def _move(project: Project, dice: random.Random) -> None:
    project.move_clip(dice.choice(project.clips()), dice.choice(project.labels))


def _delete(project: Project, dice: random.Random) -> None:
    project.remove_clip(dice.choice(project.clips()))


def _undo(project: Project, dice: random.Random) -> None:
    trashed = project.remove_label(dice.choice(project.labels))
    project.restore(trashed)


def _import(project: Project, seed: int, beside: Path) -> None:
    numbers = range(IMPORTED, IMPORTED + IMPORTS)
    if seed % 3:
        file = beside / f"{seed}.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for number in numbers:
                archive.writestr(f"fall/{number}.flac", encode_flac(Clip(recording(seed, number), RATE)))
        import_into(project, file)
    else:
        source = Project(beside / f"source {seed}", create=True)
        for number in numbers:
            source.add("fall", recording(seed, number), RATE)
        project.load_examples(source.serialize_examples())
    for number in numbers:
        tell("clip", seed, number)


def serve(folder: Path, copy: Path) -> None:
    """For each line on standard input, one child that works until it is killed."""
    from earmark.training.heads import HeadExamples, HeadOptions, train_head

    # What a first training loads, a child that was forked after it has behind it.
    nothing = HeadExamples(np.zeros((2, 4), "f4"), np.arange(2), np.zeros(2, bool))
    train_head(nothing, ("a", "b"), HeadOptions(epochs=1))
    earmark.load("words")
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work(folder, copy, int(line))
            except BaseException as error:
                tell("failed", repr(error))
                os._exit(1)
        tell("child", child)
        os.waitpid(child, 0)
        tell("gone", child)


# What kills it


@dataclass
class Killed:
    """What the killed children had told, and what was found."""

    clips: set[str] = field(default_factory=set)  # digests of those that were told to be saved
    possible: set[str] = field(default_factory=set)  # and of what may be there besides
    models: set[str] = field(default_factory=set)
    told: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    digests: dict[tuple[Path, int, int], str] = field(default_factory=dict)

    def expect(self, seed: int) -> None:
        """What a child with that seed may leave."""
        for number in (*range(1, 60), *range(IMPORTED, IMPORTED + IMPORTS)):
            samples = recording(seed, number)
            self.possible |= {digest(samples), digest(samples[round(KEPT[0] * RATE) : round(KEPT[1] * RATE)])}

    def note(self, line: str) -> tuple[str, list[Any]]:
        _, kind, *values = json.loads(line)
        self.told[kind] += 1
        if kind == "clip":
            self.clips.add(digest(recording(*values)))
        elif kind == "model":
            self.models.add(values[0])
        return kind, values

    def found(self, project: Path) -> list[str]:
        """The digests of all recordings, those in the trash too."""
        found = []
        for path in (*project.glob("clips/*/*.flac"), *project.glob(".trash/**/*.flac")):
            stat = path.stat()
            key = (path, stat.st_ino, stat.st_mtime_ns)
            if key not in self.digests:
                self.digests[key] = digest(read_clip(path).samples)
            found.append(self.digests[key])
        return found


@contextmanager
def children(folder: Path, copy: Path) -> Iterator[tuple[IO[str], IO[str]]]:
    """The warm process: what it reads, and what it tells."""
    command = [sys.executable, "-m", "reliability.faults_kills", str(folder), str(copy)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        if parent.stdout.readline() != "ready\n":
            raise RuntimeError("the process that is to be killed didn't start")
        yield parent.stdin, parent.stdout


def kill_at_random(number: int, stdin: IO[str], stdout: IO[str], killed: Killed) -> None:
    """Let a child tell of some things that it has done, and kill it somewhat later."""
    dice = random.Random(number)
    killed.expect(number)
    print(number, file=stdin, flush=True)
    child, left = 0, dice.randrange(2, 20)
    while left or not child:  # the parent may tell of its child after the child's own first lines
        kind, values = killed.note(stdout.readline())
        if kind == "failed":
            killed.wrong.append(f"kill {number}: {values[0]}")
        if kind == "gone":
            return
        child = values[0] if kind == "child" else child
        left = max(0, left - 1)
    time.sleep(dice.choice((0.0, 0.002, 0.01, 0.03, 0.1)) * dice.random())
    os.kill(child, signal.SIGKILL)
    while (told := killed.note(stdout.readline()))[0] != "gone":
        if told[0] == "failed":
            killed.wrong.append(f"kill {number}: {told[1][0]}")


def check(folder: Path, copy: Path, number: int, killed: Killed) -> None:
    """Note what isn't as it should be after a kill."""
    wrong = killed.wrong
    try:
        project = Project(folder)
        clips = project.clips()
        found = killed.found(folder)
        wrong += [f"kill {number}: {clip.error}" for clip in clips if clip.error]
        if lost := killed.clips - set(found):
            wrong.append(f"kill {number}: {len(lost)} lost")
        if twice := [count for count in Counter(found).values() if count > 1]:
            wrong.append(f"kill {number}: {len(twice)} twice")
        if strange := set(found) - killed.possible:
            wrong.append(f"kill {number}: {len(strange)} that nobody recorded")
        if missing := {clip.label for clip in clips} - set(project.labels):
            wrong.append(f"kill {number}: no label {missing}")
        if missing := killed.models - set(project.models()):
            wrong.append(f"kill {number}: no model {missing}")
        for name in project.models():
            if not project.model(name).labels or project.model_card(name) is None:
                wrong.append(f"kill {number}: the model {name} or its card")
        if killed.told["saved"]:
            earmark.load(copy)
        killed.clips |= set(found) & killed.possible  # finished, if not told: from now on it stays
    except EarmarkError as error:
        wrong.append(f"kill {number}: {error}")


def run(long: bool) -> list[Claim]:
    """Kill 240 processes, or 16."""
    kills, killed = LONG_KILLS if long else SHORT_KILLS, Killed()
    with tempfile.TemporaryDirectory() as name:
        folder, copy = Path(name) / "project", Path(name) / "copy"
        project = Project(folder, create=True, mode="words")
        for number, label in enumerate(LABELS, 1):
            project.add(label, recording(10**6, number), RATE)
            killed.clips.add(digest(recording(10**6, number)))
        killed.expect(10**6)
        with children(folder, copy) as (stdin, stdout):
            for number in range(kills):
                kill_at_random(number, stdin, stdout, killed)
                check(folder, copy, number, killed)
                if long and number % 20 == 19:
                    print(f"  kills: {number + 1}", file=sys.stderr)
        after = len(killed.clips & set(killed.found(folder)))
        _check_cache(Project(folder), killed)
    measured = (
        f"{kills} kills after {sum(killed.told.values()):,} things told; clips before {len(killed.clips):,}, after "
        f"{after:,}; {len(killed.clips) - after} lost, {len(killed.wrong)} corrupt or otherwise wrong"
    )
    if killed.wrong:
        measured += f": {killed.wrong[0]}"
    holds = after == len(killed.clips) and not killed.wrong and killed.models == {"words", "sounds"}
    return [
        Claim(
            "kill -9 at random moments over record, train, save, import, rename, trim, move, delete, undo",
            "0 lost, 0 corrupt, 0 twice, bit for bit; models whole, each with its card",
            measured,
            holds,
        )
    ]


def _check_cache(project: Project, killed: Killed) -> None:
    """What was computed before and kept gives the same model as what is computed anew."""
    expected = project.train("words", epochs=1, open_set=False).content
    (project.path / ".cache" / "embeddings.sqlite").unlink()
    if project.train("words", epochs=1, open_set=False).content != expected:
        killed.wrong.append("the cache of embeddings is damaged")


if __name__ == "__main__":
    serve(*map(Path, sys.argv[1:]))
