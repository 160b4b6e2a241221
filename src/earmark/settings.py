"""A project's settings, `earmark.toml`: its name, its mode, and its labels in order with their colours."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

from earmark.errors import EarmarkError
from earmark.files import write_atomically
from earmark.labels import check_label

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODES = ("sounds",)
# Blue, amber and slate first, as they stay apart with the common colour-vision deficiencies.
COLOURS = ("#2563eb", "#d97706", "#64748b", "#059669", "#c026d3", "#dc2626", "#0891b2", "#7c3aed", "#65a30d", "#be185d")


@dataclass(frozen=True)
class Label:
    """A label and its colour on the page, as "#rrggbb"."""

    name: str
    colour: str


@dataclass(frozen=True)
class Settings:
    """What `earmark.toml` holds."""

    name: str
    mode: str
    labels: tuple[Label, ...] = ()


def read_settings(file: Path) -> Settings:
    """Read the settings.

    Raises:
        EarmarkError: the file is missing, or not what Earmark wrote or could have written.
    """
    try:
        values = tomllib.loads(file.read_text("utf-8"))
        settings = Settings(str(values["name"]), str(values["mode"]), _read_labels(values.get("labels", [])))
    except FileNotFoundError as error:
        raise EarmarkError(f"{file.parent} is not a project: create it with `earmark studio {file.parent}`.") from error
    except OSError as error:
        raise EarmarkError(f"{file} can't be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EarmarkError) as error:
        raise EarmarkError(f"{file} can't be understood ({error}): mend it or restore an older copy.") from error
    if settings.mode not in MODES:
        raise EarmarkError(f"{file} has the mode {settings.mode!r}: this Earmark knows {', '.join(MODES)}.")
    return settings


def write_settings(file: Path, settings: Settings) -> None:
    """Write the settings, whole or not at all."""
    write_atomically(file, tomli_w.dumps(asdict(settings)).encode())


def check_colour(colour: str) -> str:
    """The colour in lower case.

    Raises:
        EarmarkError: it is not of the form "#rrggbb".
    """
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise EarmarkError(f"The colour {colour[:20]!r} is not known: write it like #2563eb.")
    return colour.lower()


def free_colour(labels: list[Label]) -> str:
    """A colour that the fewest of the labels have."""
    used = [label.colour for label in labels]
    return min(COLOURS, key=used.count)


def _read_labels(entries: list[dict[str, str]]) -> tuple[Label, ...]:
    labels: list[Label] = []
    for entry in entries:
        name = check_label(entry["name"])
        if name not in [label.name for label in labels]:
            colour = entry.get("colour")
            labels.append(Label(name, check_colour(colour) if colour else free_colour(labels)))
    return tuple(labels)
