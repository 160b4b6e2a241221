"""The models of a project: a folder each, in its folder `models`, and which of them is the newest."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from earmark.errors import EarmarkError, as_argument
from earmark.labels import file_stem
from earmark.models.saved_model import MODEL_FILE

MODELS = "models"  # the folder of a project's models, a folder each


def model_times(project: Path) -> list[tuple[int, str]]:
    """The models of a project: when each was written, in ns since 1970, and its name."""
    found = []
    with suppress(OSError):  # there are none
        for folder in (project / MODELS).iterdir():
            with suppress(OSError):  # deleted at this very moment, or not a model's
                if not folder.name.startswith("."):
                    found.append(((folder / MODEL_FILE).stat().st_mtime_ns, folder.name))
    return found


def model_names(project: Path) -> list[str]:
    """The names of a project's models, the newest first."""
    return [name for _, name in sorted(model_times(project), reverse=True)]


def model_folder(project: Path, name: str | None = None) -> Path:
    """The folder of one of a project's models; by default the newest one's.

    Raises:
        EarmarkError: there is no such model.
    """
    names = model_names(project)
    if not names:
        raise EarmarkError(f"{project} has no trained model yet: run `earmark train {as_argument(project)}` first.")
    if name is not None and file_stem(name) in names:  # as `train` is given it
        name = file_stem(name)
    if name is not None and name not in names:
        raise EarmarkError(f"{project} has no model {name!r}: choose one of {', '.join(names)}.")
    return project / MODELS / (name or names[0])


def make_newest(project: Path, name: str) -> None:
    """Make a model that was just trained the newest one, even if the clock was set back since the previous one."""
    times = {known: time for time, known in model_times(project)}
    newest = max((time for known, time in times.items() if known != name), default=0)
    if times.get(name, newest) <= newest:
        with suppress(OSError):  # then another one is taken for the newest
            os.utime(project / MODELS / name / MODEL_FILE, ns=(newest + 1_000, newest + 1_000))
