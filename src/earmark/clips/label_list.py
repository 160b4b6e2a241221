"""A project's labels as a list: checking and adding new labels, and finding a label."""

from __future__ import annotations

from earmark.clips.settings import Label, check_colour, free_colour
from earmark.errors import EarmarkError
from earmark.labels import MAX_CHARACTERS, check_label

MAX_LABELS = 100


def extended(labels: list[Label], name: str, colour: str | None = None) -> list[Label]:
    """The labels, and one more.

    Raises:
        EarmarkError: the name is taken or not valid, the colour is not valid, or there are 100 labels already.
    """
    name = check_new(labels, name)
    if len(labels) >= MAX_LABELS:
        raise EarmarkError(f"A project holds at most {MAX_LABELS} labels: remove one first.")
    return [*labels, Label(name, check_colour(colour) if colour else free_colour(labels))]


def check_new(labels: list[Label], name: str) -> str:
    """The name of a new label in the form in which it is stored.

    Raises:
        EarmarkError: the name is taken or not valid.
    """
    name = check_label(name)
    # Some file systems don't distinguish upper and lower case, and people seldom do.
    if (known := twin(labels, name)) is not None:
        why = "" if known == name else ", as upper and lower case count as the same"
        raise EarmarkError(f"There is a label {known!r} already: choose another name{why}.")
    return name


def twin(labels: list[Label], name: str) -> str | None:
    """The label of that name, or one that differs from it only by upper and lower case."""
    return next((label.name for label in labels if label.name.casefold() == name.casefold()), None)


def index_of(labels: list[Label], name: str) -> int:
    """The label's position.

    Raises:
        EarmarkError: there is no such label.
    """
    for index, label in enumerate(labels):
        if label.name == name:
            return index
    remedy = "choose one of " + ", ".join(label.name for label in labels) if labels else "add it first"
    raise EarmarkError(f"There is no label {name[:MAX_CHARACTERS]!r}: {remedy}.")
