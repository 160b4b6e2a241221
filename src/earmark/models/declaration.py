"""What a network from elsewhere hears, declared: its front end, its window, which of its values is the embedding.

A declaration is a small TOML file beside the network (`yamnet.onnx`, `yamnet.toml`), or a preset that is recognized by
the network's inputs and outputs. docs/bases.md describes both for users.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from earmark.errors import EarmarkError, as_reason
from earmark.front_end.frames import WAVEFORM_RATES, WaveformFrontEnd, waveform_front_end
from earmark.models.log_mel import LogMel
from earmark.models.onnx_file import MAX_AXES, Declared

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

POOLINGS = ("mean-max", "mean", "max")
HEARS = ("sounds", "words")
SECONDS = (0.05, 30.0)  # the shortest and the longest window
PREDICTIONS = 10  # in the time of a window, unless the declaration says otherwise
BEFORE_LAST = "before the last dense layer"  # `output` for a network that gives only scores
Shapes = Mapping[str, Declared]

MAX_TOML = 64 << 10  # bytes
DOCS = "docs/bases.md"
FLOAT = 1  # a key of `onnx_file.TYPES`


@dataclass(frozen=True)
class Declaration:
    """How a network from elsewhere becomes a base.

    Attributes:
        sample_rate: the rate of its sound in Hz.
        window_samples: how much sound it is given at once.
        hop_samples: how much later the next prediction in a stream is made.
        output: the name of the value that is the embedding; `BEFORE_LAST` for what its last dense layer takes; None for
            its only output.
        pooling: what becomes of an embedding that has a time axis: "mean-max" (both, one after the other), "mean" or
            "max" over time.
        scale: what samples in [-1, 1] are multiplied by.
        hears: "sounds", such as rain: a recording is learnt and recognized as a whole; or "words": around its loudest
            part.
        log_mel: the log-mel spectrogram that it takes; None if it takes the waveform.
    """

    sample_rate: int
    window_samples: int
    hop_samples: int
    output: str | None = None
    pooling: str = POOLINGS[0]
    scale: float = 1.0
    hears: str = HEARS[0]
    log_mel: LogMel | None = None

    @property
    def front_end(self) -> WaveformFrontEnd:
        """What makes the frames of its windows."""
        return waveform_front_end(self.sample_rate)

    @property
    def window_frames(self) -> int:
        """The frames of a window; the last may reach further than the network hears."""
        return -(-self.window_samples // self.front_end.values)

    @property
    def hop_frames(self) -> int:
        """The frames from one prediction to the next, at least one and at most a window."""
        return min(self.window_frames, max(1, round(self.hop_samples / self.front_end.values)))

    def as_dict(self) -> dict[str, Any]:
        """All values, for a model's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Declaration:
        """Read what `as_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        log_mel = values["log_mel"]
        read = cls(**{**values, "log_mel": None if log_mel is None else LogMel(**log_mel)})
        samples = (read.window_samples, read.hop_samples)
        if not all(type(value) is int for value in (read.sample_rate, *samples)) or not isinstance(read.scale, float):
            raise TypeError(values)
        if not isinstance(read.output, (str, type(None))):
            raise TypeError(read.output)
        read.check()
        return read

    def check(self) -> None:
        """Refuse what can't be.

        Raises:
            ValueError: the message says what is out of range.
        """
        if self.sample_rate not in WAVEFORM_RATES:
            raise ValueError(f"sample_rate is {self.sample_rate}: from {WAVEFORM_RATES[0]:,} to {WAVEFORM_RATES[-1]:,}")
        low, high = SECONDS
        if not low <= self.window_samples / self.sample_rate <= high:
            raise ValueError(f"window is {self.window_samples / self.sample_rate:g} s: from {low:g} to {high:g}")
        if not 0 < self.hop_samples <= self.window_samples:
            raise ValueError("hop is more than 0 and at most window")
        for name, value, known in (("pooling", self.pooling, POOLINGS), ("hears", self.hears, HEARS)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}: {' or '.join(map(repr, known))}")
        if not 0 < self.scale <= 1e6:
            raise ValueError(f"scale is {self.scale:g}: more than 0, at most a million")
        if self.log_mel is not None:
            self.log_mel.check(self.sample_rate, self.window_samples)


# The shape of what a network takes


def fixed_shape(declared: Declared, name: str, declaration: Declaration) -> tuple[int, ...]:
    """The input's shape for one window: what isn't fixed by the file is fixed here.

    Raises:
        EarmarkError: the network takes something else than declared; the message calls it `name`.
    """
    log_mel = declaration.log_mel
    wanted = [declaration.window_samples]
    if log_mel is not None:
        wanted = [log_mel.frames(declaration.window_samples), log_mel.bands]
    shape = declared.shape
    if shape is None:
        shape = (None,) * (len(wanted) + 1)
    if declared.kind not in (0, FLOAT) or len(shape) > MAX_AXES:
        raise EarmarkError(f"{name} takes something else than float32: choose an export of it that does.")
    for order in (wanted, wanted[::-1]):
        fixed = _fit(shape, order)
        if fixed is not None:
            return fixed
    told = "×".join("any" if size is None else str(size) for size in shape)
    kind = "samples" if log_mel is None else "frames and bands"
    raise EarmarkError(
        f"{name} takes {told}, not {'×'.join(map(str, wanted))} {kind}: declare the window and front end that it was "
        "trained with."
    )


def _fit(shape: tuple[int | None, ...], wanted: list[int]) -> tuple[int, ...] | None:
    """The shape with those sizes in that order and ones elsewhere; the last axes that fit. None if it doesn't fit."""
    fixed, left = [1] * len(shape), list(wanted)
    for axis in reversed(range(len(shape))):
        size = shape[axis]
        if left and size in (left[-1], None) and not (size is None and axis + 1 < len(left)):
            fixed[axis] = left.pop()
        elif size not in (1, None):
            return None
    return None if left else tuple(fixed)


# Reading a TOML file


def toml_file(file: Path) -> Path:
    """The declaration's file of a network's file."""
    return file.with_suffix(".toml")


def read_declaration(text: str, name: str) -> Declaration:
    """Read a declaration.

    Args:
        text: the TOML file's content.
        name: what to call it in errors.

    Raises:
        EarmarkError: it isn't one, or a value is missing, unknown or out of range.
    """
    try:
        values = tomllib.loads(text)
        return _read(values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        missing = isinstance(error, KeyError)
        reason = f"{error.args[0]} is missing" if missing else as_reason(error)
        raise EarmarkError(f"{name} doesn't declare a base ({reason}): mend it as {DOCS} describes.") from error


def _read(values: dict[str, Any]) -> Declaration:
    table = _Table(values, "")
    rate = table.whole("sample_rate")
    if rate not in WAVEFORM_RATES:
        raise ValueError(f"sample_rate is {rate}: from {WAVEFORM_RATES[0]:,} to {WAVEFORM_RATES[-1]:,}")
    window = round(table.number("window") * rate)
    hop = round(table.number("hop") * rate) if "hop" in values else _hop(window)
    log_mel = None
    if "log_mel" in values:
        inner = _Table(values["log_mel"], "log_mel.")
        frame = round(inner.number("frame") * rate)
        log_mel = LogMel(
            frame, round(inner.number("hop") * rate), inner.whole("fft_size", 1 << max(1, frame - 1).bit_length()),
            inner.whole("bands"), inner.number("lowest", 0.0), inner.number("highest", rate / 2),
            inner.text("mel", "htk"), inner.whole("power", 2), inner.text("log", "ln"), inner.number("offset", 1e-6),
            inner.number("mean", 0.0), inner.number("deviation", 1.0),
        )  # fmt: skip
        inner.finish()
        table.known("log_mel")
    read = Declaration(
        rate, window, hop, table.text("output", None), table.text("pooling", POOLINGS[0]), table.number("scale", 1.0),
        table.text("hears", HEARS[0]), log_mel,
    )  # fmt: skip
    table.finish()
    read.check()
    return read


class _Table:
    """The values of a table, each of which must be read."""

    def __init__(self, values: object, prefix: str) -> None:
        if not isinstance(values, dict):
            raise TypeError(f"{prefix.rstrip('.')} is no table")
        self._values, self._prefix, self._left = values, prefix, set(values)

    def known(self, key: str) -> None:
        self._left.discard(key)

    def number(self, key: str, default: float | None = None) -> float:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1e9:
            raise TypeError(f"{self._prefix}{key} is no number")
        return float(value)

    def whole(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if type(value) is not int or abs(value) > 1 << 31:
            raise TypeError(f"{self._prefix}{key} is no whole number")
        return value

    def text(self, key: str, default: str | None) -> Any:
        value = self._values.get(key, default)
        self._left.discard(key)
        if not isinstance(value, (str, type(None))):
            raise TypeError(f"{self._prefix}{key} is no text")
        return value

    def finish(self) -> None:
        if self._left:
            raise ValueError(f"{self._prefix}{min(self._left)} is not known")

    def _get(self, key: str, default: Any) -> Any:
        self._left.discard(key)
        if key not in self._values and default is None:
            raise KeyError(f"{self._prefix}{key}")
        return self._values.get(key, default)


def declaration_of(file: Path, inputs: Shapes, outputs: Shapes) -> Declaration:
    """What a network hears: the TOML file beside it says so, or a preset that fits its inputs and outputs.

    Raises:
        EarmarkError: there is neither, or the file is no declaration.
    """
    declared = toml_file(file)
    if declared.is_file():
        try:
            with declared.open("rb") as opened:
                text = opened.read(MAX_TOML).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise EarmarkError(f"{declared} can't be read ({error}): mend it as {DOCS} describes.") from error
        return read_declaration(text, str(declared))
    found = recognize(inputs, outputs)
    if found is None:
        raise EarmarkError(
            f"{file} is no network that Earmark knows: declare what it hears in {declared.name} beside it, as {DOCS} "
            "describes."
        )
    return found[1]


# Presets

YAMNET_MEL = LogMel(400, 160, 512, 64, 125.0, 7500.0, "htk", 1, "ln", 0.001)
# Source of the numbers: YAMNet, features.py and params.py (github.com/tensorflow/models, research/audioset/yamnet);
# Perch (tfhub.dev/google/bird-vocalization-classifier, 5 s at 32 kHz); BirdNET-Analyzer, config.py (3 s at 48 kHz).
YAMNET = Declaration(16_000, 15_600, 1_600)
PERCH = Declaration(32_000, 160_000, 16_000)
BIRDNET = Declaration(48_000, 144_000, 14_400)


def recognize(inputs: Shapes, outputs: Shapes) -> tuple[str, Declaration] | None:
    """The preset for a network with these inputs and outputs, and its name; None if there is none."""
    if len(inputs) != 1 or any(given.shape is None or given.kind != FLOAT for given in inputs.values()):
        return None
    (given,) = inputs.values()
    for name, preset in PRESETS.items():
        found = preset(given.shape or (), outputs)
        if found is not None:
            return name, found
    return None


def _yamnet(given: tuple[int | None, ...], outputs: Shapes) -> Declaration | None:
    lasts = {_last(output) for output in outputs.values()}
    is_sound = given in ((None,), (YAMNET.window_samples,)) and {521, 1024} <= lasts
    return replace(YAMNET, output=_with_last(outputs, 1024)) if is_sound else None


def _yamnet_patch(given: tuple[int | None, ...], outputs: Shapes) -> Declaration | None:
    name = _with_last(outputs, 1024)
    if tuple(size for size in given if size not in (None, 1)) != (96, 64) or name is None:
        return None
    return replace(YAMNET, output=name, log_mel=YAMNET_MEL)


def _perch(given: tuple[int | None, ...], outputs: Shapes) -> Declaration | None:
    # Version 2 gives an embedding for each place of the spectrogram, too, and version 1 only [n, 1280].
    names = [n for n, output in outputs.items() if _last(output) in (1280, 1536) and len(output.shape or ()) == 2]
    return replace(PERCH, output=names[0]) if given[-1:] == (PERCH.window_samples,) and names else None


def _birdnet(given: tuple[int | None, ...], outputs: Shapes) -> Declaration | None:
    if given[-1:] != (BIRDNET.window_samples,):
        return None
    return replace(BIRDNET, output=_with_last(outputs, 1024) or BEFORE_LAST)


PRESETS: Mapping[str, Callable[[tuple[int | None, ...], Shapes], Declaration | None]] = {
    "YAMNet, waveform in": _yamnet,
    "YAMNet, patches in": _yamnet_patch,
    "Perch": _perch,
    "BirdNET": _birdnet,
}


def _last(output: Declared) -> int | None:
    return output.shape[-1] if output.shape else None


def _with_last(outputs: Shapes, size: int) -> str | None:
    return next((name for name, output in outputs.items() if _last(output) == size), None)


def _hop(window: int) -> int:
    return max(1, math.ceil(window / PREDICTIONS))
