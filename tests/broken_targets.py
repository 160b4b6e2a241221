"""Parsers that do what none may do, each by its name, to see that the fuzzer finds it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

from earmark import EarmarkError
from reliability.fuzz_mutation import mutate_bytes
from reliability.fuzz_told import Target, Try, told

PICKLED = pickle.dumps(Fraction(1, 2))
held: list[bytearray] = []


def fail() -> None:
    raise KeyError("x")


def tell_two_lines() -> None:
    with told():
        raise EarmarkError("One line." * 1_000)


def die() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    while True:
        pass


def fill() -> None:
    held.append(bytearray(b"x" * (1 << 20)) * 200)
    threading.Event().wait(2)  # as what is full of it goes on


def write_elsewhere() -> None:
    try:
        Path("..", "elsewhere").write_bytes(b"x")
    except Exception:
        return  # a parser may catch what stops it: it is found all the same


def rename_elsewhere() -> None:
    Path("here").write_bytes(b"x")
    Path("here").rename("../elsewhere")


def unpickle() -> None:
    pickle.loads(PICKLED)


def start() -> None:
    subprocess.run([sys.executable, "--version"], check=True)


def fail_in_thread() -> None:
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def behave() -> None:
    Path("tmp", "here").write_bytes(b"x")
    with told():
        raise EarmarkError("It is so: do that.")


BROKEN: tuple[Callable[[], None], ...] = (
    fail,
    tell_two_lines,
    die,
    hang,
    fill,
    write_elsewhere,
    rename_elsewhere,
    unpickle,
    start,
    fail_in_thread,
    behave,
)


def _prepare(function: Callable[[], None], _: Path) -> Try:
    return lambda _: function()


TARGETS = {one.__name__: Target(one.__name__, partial(_prepare, one), mutate_bytes, 1) for one in BROKEN}
