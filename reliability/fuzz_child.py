"""The process in which one target's cases run: guided by coverage where atheris is installed, else blindly.

What it does is told through a file that it shares with its parent, which so learns which case it died of.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import shutil
import struct
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, cast

from reliability.fuzz_targets import corpus_of
from reliability.fuzz_told import Target, Try
from reliability.fuzz_watch import Watch

STATE = struct.Struct("<QQ")  # cases that were begun, and the bytes of the last one, which follow
MAX_BYTES = 1 << 16  # of a case; seeds may be longer
STATE_BYTES = STATE.size + (1 << 20)
MIXED = 0.5  # the share of cases that are made of parts where coverage guides, which makes the others


class Cases:
    """Runs cases, and keeps those that break something.

    Args:
        attempt: takes one.
        state: the file that tells the parent.
        findings: the folder for cases that broke something.
        inside: below which alone a case may write.
    """

    def __init__(self, attempt: Try, state: Path, findings: Path, inside: Path) -> None:
        self._attempt, self._findings = attempt, findings
        self._watch = Watch(inside)
        with state.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), STATE_BYTES)
        self.count = 0
        self._known: set[str] = set()
        self._stray: list[BaseException] = []
        sys.unraisablehook = lambda raised: self._note(raised.exc_value)
        threading.excepthook = lambda raised: self._note(raised.exc_value)

    def run(self, data: bytes) -> None:
        """Run a case."""
        self.count += 1
        self._state[: STATE.size + len(data)] = STATE.pack(self.count, len(data)) + data
        try:
            with self._watch.watching():
                self._attempt(data)
            if self._stray:
                raise self._stray.pop()
        except Exception as error:
            self._keep(data, error)
        self._stray.clear()

    def _note(self, error: BaseException | None) -> None:
        if error is not None:
            self._stray.append(error)

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = [
            f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "site-packages" not in frame.filename
        ]
        key = f"{type(error).__name__} {' '.join(where[-3:])}"
        if key not in self._known:
            self._known.add(key)
            keep_finding(self._findings, data, f"{key}\n" + "".join(traceback.format_exception(error)))


def keep_finding(folder: Path, data: bytes, text: str) -> None:
    """Keep a case that broke something, with what it broke; the text's first line tells one such thing from another."""
    name = hashlib.sha256(data).hexdigest()[:16]
    (folder / name).write_bytes(data)
    (folder / f"{name}.txt").write_text(text, errors="backslashreplace")


def run_blindly(target: Target, cases: Cases, count: int, until: float, seed: int) -> None:
    """Run cases made of seeds by chance, the same for the same number, until there were so many or it is late."""
    random = Random(seed)
    seeds = [data for _, data in corpus_of(target)] or [b""]
    while cases.count < count and time.monotonic() < until:
        data = random.choice(seeds)
        for _ in range(random.choice((1, 1, 2, 3))):
            data = target.mutate(data, random)
        cases.run(data[:MAX_BYTES])


def run_guided(atheris: Any, target: Target, cases: Cases, given: argparse.Namespace) -> None:
    """The same, but cases that reach something new become seeds. It ends the process."""

    def mutated(data: bytes, size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < MIXED:
            return target.mutate(data, random)[:size]
        return bytes(atheris.Mutate(data, size))

    found, seeds = given.scratch / "corpus", given.scratch / "seeds"
    for folder in (found, seeds):
        folder.mkdir(exist_ok=True)
    for name, data in corpus_of(target):
        (seeds / name).write_bytes(data)
    limits = [f"-runs={given.cases}", f"-max_total_time={max(1, int(given.seconds))}", f"-max_len={MAX_BYTES}"]
    # Time and memory are the parent's to watch.
    others = [f"-seed={given.seed + 1}", "-timeout=1000", "-rss_limit_mb=0", "-detect_leaks=0", "-len_control=0"]
    atheris.Setup([sys.argv[0], *limits, *others, str(found), str(seeds)], cases.run, custom_mutator=mutated)
    atheris.Fuzz()


def main() -> None:
    """Run one target's cases, as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--module", required=True)
    for name in ("--state", "--findings", "--scratch"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--cases", "--seed"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    target = import_module(given.module).TARGETS[given.target]
    atheris = None if given.plain else _atheris()
    inside = _inside(given.scratch)
    with _instrumented(atheris):
        attempt = target.prepare(inside)
        cases = Cases(attempt, given.state, given.findings, inside)
        warnings.simplefilter("error", RuntimeWarning)
        for _, data in corpus_of(target):  # what is imported on the way is instrumented, too
            cases.run(data)
    if atheris is not None:
        run_guided(atheris, target, cases, given)
    run_blindly(target, cases, given.cases, until, given.seed)


def _inside(scratch: Path) -> Path:
    """The folder below which a case may write: an empty one, with one for temporary files."""
    inside = scratch / "inside"
    shutil.rmtree(inside, ignore_errors=True)
    (inside / "tmp").mkdir(parents=True)
    os.chdir(inside)  # what is told of by a folder's handle and a name counts as inside
    tempfile.tempdir = str(inside / "tmp")
    return inside


def _atheris() -> Any:
    """The fuzzer, where there is one for this Python and machine."""
    try:
        return import_module("atheris")
    except ImportError:
        return None


def _instrumented(atheris: Any) -> AbstractContextManager[Any]:
    """What is imported in the block tells atheris which of its branches were taken."""
    if atheris is None:
        return nullcontext()
    return cast("AbstractContextManager[Any]", atheris.instrument_imports(include=["earmark", "zipfile", "tomllib"]))


if __name__ == "__main__":
    main()
