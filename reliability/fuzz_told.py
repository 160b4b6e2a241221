"""What a parser may raise."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from earmark.errors import EarmarkError
from reliability.fuzz_mutation import Mutate

LONGEST = 4_000  # characters of an error

Try: TypeAlias = Callable[[bytes], None]  # takes a case; returns, or raises what was found


@dataclass(frozen=True)
class Target:
    """A parser, or several that read the same.

    Attributes:
        name: also of its folder in the corpus.
        prepare: from a folder, below which alone it may write, to the function that takes a case.
        mutate: makes cases of cases.
        short: how many of them in the short form.
    """

    name: str
    prepare: Callable[[Path], Try]
    mutate: Mutate
    short: int


@contextmanager
def told() -> Iterator[None]:
    """The block may raise an error for the user, which must be a sentence on one line.

    Raises:
        AssertionError: it isn't.
    """
    try:
        yield
    except EarmarkError as error:
        check_sentence(str(error))


def check_sentence(text: str) -> None:
    """Raises AssertionError where this is nothing to show to a user: empty, without end, or with control characters."""
    assert text, "an error without words"
    assert len(text) <= LONGEST, f"an error of {len(text)} characters: {text[:200]!r}"
    assert not any(unicodedata.category(character) == "Cc" for character in text), f"not on one line: {text[:500]!r}"
