"""What a person made outlives a crash: a process that records, trains, saves and renames is killed at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
import pytest

import earmark
from earmark import Project, read_clip
from tests import chirps

ROUNDS = 50
# One warm process makes a child for each line that it reads, before any thread runs in it. What a child has done it
# tells, a line each: the system keeps whole lines whole.
PARENT = """if True:
    import json, os, sys
    import numpy
    from earmark import Project, load
    from earmark.heads import HeadExamples, HeadOptions, train_head
    from earmark.training import warm_up

    warm_up()  # the first steps in a process take a second, and a child that was forked then has them behind it
    nothing = HeadExamples(numpy.zeros((2, 4), "f4"), numpy.arange(2), numpy.zeros(2, bool))
    train_head(nothing, ("a", "b"), HeadOptions(epochs=1))
    load("words")

    folder, copy, words, sounds = sys.argv[1:]
    samples = {"words": numpy.load(words), "sounds": numpy.load(sounds)}

    def tell(*what):
        os.write(1, (json.dumps([os.getpid(), *what]) + "\\n").encode())

    def work(seed):
        random = numpy.random.default_rng(seed)
        project, number = Project(folder), 0
        while True:
            number += 1
            name = f"{seed} {number}"
            label = str(random.choice(project.labels))
            clip = project.add(label, samples["words"][: 8_000 + seed], 16_000, name=name)
            tell("clip", clip.path.stem, 8_000 + seed)
            project.set_key_frame(clip, number % 5)
            tell("key frame", number % 5)
            if number == 1 + seed % 3:
                base = "words" if seed % 2 else "sounds"
                options = {"open_set": False} if base == "words" else {"batch_size": 512}
                recognizer = project.train(base, epochs=1, seed=seed, **options)
                tell("model", base)
                recognizer.save(copy)
                tell("saved", copy)
            elif number % 2:
                new = f"label {seed} {number}"
                project.change_label(label, new_name=new)
                tell("label", new)

    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(int(line))
        tell("child", child)
        os.waitpid(child, 0)
        tell("gone", child)
"""


class Killed:
    """What the killed children had told."""

    def __init__(self) -> None:
        self.clips: dict[str, int] = {}
        self.models: set[str] = set()
        self.told = 0
        self.saved = False

    def note(self, line: str) -> tuple[str, object]:
        _, kind, *values = json.loads(line)
        self.told += kind not in ("child", "gone")
        if kind == "clip":
            self.clips[values[0]] = values[1]
        elif kind == "model":
            self.models.add(values[0])
        elif kind == "saved":
            self.saved = True
        return kind, values[0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and SIGKILL")
def test_a_kill_at_any_moment_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    np.save(tmp_path / "word.npy", chirps.word("rise"))
    np.save(tmp_path / "sound.npy", chirps.word("fall"))
    project = Project(tmp_path / "project", create=True, mode="words")
    for label in ("rise", "fall"):
        project.add(label, chirps.word(label), chirps.RATE, name=f"first {label}")
    killed = Killed()
    killed.clips = {"first rise": chirps.RATE, "first fall": chirps.RATE}
    arguments = [project.path, tmp_path / "copy", tmp_path / "word.npy", tmp_path / "sound.npy"]
    command = [sys.executable, "-c", PARENT, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        for number in range(ROUNDS):
            kill_at_random(number, parent.stdin, parent.stdout, killed)
            check(project.path, tmp_path / "copy", killed)
    assert killed.told > 5 * ROUNDS
    assert killed.models == {"words", "sounds"}
    assert killed.saved
    again = Project(project.path)
    lengths = {clip.path.stem: len(read_clip(clip.path).samples) for clip in again.clips()}
    assert lengths == killed.clips
    expected = again.train("words", epochs=2, open_set=False).content
    (project.path / ".cache" / "embeddings.sqlite").unlink()
    assert again.train("words", epochs=2, open_set=False).content == expected, "nor is the cache damaged"


def kill_at_random(number: int, stdin: IO[str], stdout: IO[str], killed: Killed) -> None:
    """Let a child tell of some things that it has done, and kill it somewhat later."""
    dice = random.Random(number)
    print(number, file=stdin, flush=True)
    child, left = 0, dice.randrange(2, 14)
    while left or not child:  # the parent may tell of its child after the child's own first lines
        kind, value = killed.note(stdout.readline())
        assert kind != "gone", "the child ended by itself: see its traceback"
        child = int(str(value)) if kind == "child" else child
        left = max(0, left - 1)
    time.sleep(dice.choice((0.0, 0.002, 0.01, 0.03, 0.1)) * dice.random())
    os.kill(child, signal.SIGKILL)
    while killed.note(stdout.readline())[0] != "gone":
        pass


def check(folder: Path, copy: Path, killed: Killed) -> None:
    project = Project(folder)
    found = {clip.path.stem: clip for clip in project.clips()}
    assert len(found) == len(project.clips())
    for name, samples in killed.clips.items():
        assert found[name].seconds == pytest.approx(samples / chirps.RATE, abs=1e-6)
    for name, clip in found.items():
        assert clip.error is None
        if name not in killed.clips:  # finished, but not told of any more: whole all the same
            killed.clips[name] = len(read_clip(clip.path).samples)
            assert killed.clips[name] in range(8_000, 8_000 + ROUNDS)
    assert set(project.labels) >= {clip.label for clip in found.values()}
    assert all(0 <= frame < 5 for frame in project.key_frames().values())
    assert set(project.models()) >= killed.models
    for name in project.models():
        assert project.model(name).labels
    if killed.models:
        project.model()
    with contextlib.suppress(earmark.EarmarkError) if not killed.saved else contextlib.nullcontext():
        assert earmark.load(copy).labels
