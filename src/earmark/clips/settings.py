"""A project's settings, `earmark.toml`: its name, its mode, and its labels in order with their colours."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tomli_w

from earmark.errors import EarmarkError, as_argument
from earmark.labels import check_label
from earmark.storage.files import write_atomically

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SOUNDS_MODE, WORDS_MODE = MODES = ("sounds", "words")
# Blue, amber and slate first, as they stay apart with the common colour-vision deficiencies.
COLOURS = ("#2563eb", "#d97706", "#64748b", "#059669", "#c026d3", "#dc2626", "#0891b2", "#7c3aed", "#65a30d", "#be185d")


@dataclass(frozen=True)
class Label:
    """A label and its colour on the page, as "#rrggbb"."""

    name: str
    colour: str


@dataclass(frozen=True)
class Settings:
    """The content of `earmark.toml`.

    Attributes:
        name: the project's name.
        mode: "sounds" (short ones, windows of 70 ms) or "words" (words and longer sounds, windows of a second).
        labels: the labels in order.
        base: what the project is trained on, if that was chosen.
        key_frames: the frame where the word is, by `ClipFile.id`, for recordings for which it was set.
    """

    name: str
    mode: str
    labels: tuple[Label, ...] = ()
    base: str | None = None
    key_frames: dict[str, int] = field(default_factory=dict)


def read_settings(file: Path) -> Settings:
    """Read the settings.

    Raises:
        EarmarkError: the file is missing, or not one that Earmark could have written.
    """
    try:
        values = tomllib.loads(file.read_text("utf-8"))
        base = values.get("base")
        settings = Settings(
            str(values["name"]),
            str(values["mode"]),
            _read_labels(values.get("labels", [])),
            None if base is None else str(base),
            {str(clip): _read_key_frame(frame) for clip, frame in values.get("key_frames", {}).items()},
        )
    except FileNotFoundError as error:
        raise EarmarkError(
            f"{file.parent} is not a project: create it with `earmark studio {as_argument(file.parent)}`."
        ) from error
    except OSError as error:
        raise EarmarkError(f"{file} can't be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EarmarkError) as error:
        raise EarmarkError(f"{file} can't be understood ({error}): mend it or restore an older copy.") from error
    if settings.mode not in MODES:
        raise EarmarkError(f"{file} has the mode {settings.mode!r}: this Earmark knows {', '.join(MODES)}.")
    return settings


def write_settings(file: Path, settings: Settings) -> None:
    """Write the settings, whole or not at all."""
    values = {key: value for key, value in asdict(settings).items() if value is not None and value != {}}
    write_atomically(file, tomli_w.dumps(values).encode())


class SettingsFile:
    """A project's `earmark.toml`, which people and other programs may change at any time.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[tuple[int, int, int], Settings] | None = None

    def read(self) -> Settings:
        """The settings, read anew where the file is another one than the last time.

        Raises:
            EarmarkError: see `read_settings`.
        """
        try:
            stat = self.path.stat()
        except OSError:
            return read_settings(self.path)  # which says what is the matter
        state, known = (stat.st_ino, stat.st_size, stat.st_mtime_ns), self._known
        if known is None or known[0] != state:
            known = self._known = (state, read_settings(self.path))
        return known[1]

    def write(self, settings: Settings) -> None:
        """Write the settings, whole or not at all."""
        write_settings(self.path, settings)
        self.forget()

    def forget(self) -> None:
        """Forget what was read: a file that has changed may have the number and the time of the one before it."""
        self._known = None


def check_colour(colour: str) -> str:
    """The colour, in lower case.

    Raises:
        EarmarkError: it is not of the form "#rrggbb".
    """
    if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise EarmarkError(f"The colour {colour[:20]!r} is not known: write it like #2563eb.")
    return colour.lower()


def free_colour(labels: list[Label]) -> str:
    """A colour that as few labels as possible have."""
    used = [label.colour for label in labels]
    return min(COLOURS, key=used.count)


def _read_key_frame(frame: object) -> int:
    if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
        raise ValueError(f"the key frame {frame!r} is not a whole number, 0 or more")
    return frame


def _read_labels(entries: list[dict[str, str]]) -> tuple[Label, ...]:
    labels: list[Label] = []
    for entry in entries:
        name = check_label(entry["name"])
        if name not in [label.name for label in labels]:
            colour = entry.get("colour")
            labels.append(Label(name, check_colour(colour) if colour else free_colour(labels)))
    return tuple(labels)
