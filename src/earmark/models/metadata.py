"""A model's metadata, stored inside its ONNX file so that this file alone is enough."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias
from unicodedata import category

import numpy as np

from earmark.errors import EarmarkError
from earmark.front_end.frames import SPECTROGRAM, WAVEFORM_HOP, FrontEnd, read_front_end
from earmark.front_end.spectrogram import FLOOR_DB, Spectrogram
from earmark.models.declaration import Declaration

FORMAT = 2  # format 1 had only the fixed normalization
MAX_WINDOW_FRAMES = 10_000  # nearly four minutes
MAX_WINDOW_VALUES = MAX_WINDOW_FRAMES * WAVEFORM_HOP
MAX_EMBEDDING = 1 << 20  # values
MAX_NUMBER = 1e6  # far beyond any level in dB, well within the range of float32
EPSILON = 1e-7  # as in TensorFlow.js; added to a deviation, so that the division works for 0
SILENT_DB = FLOOR_DB + 1  # a frame whose highest level is at most this is digital silence
SILENCE_RANGE = 80.0  # dB below the window's highest level: the level that such a frame is given
SHORT_WINDOW = 10  # frames; windows up to this length are for short sounds, with a prediction every frame
LONGEST_WORD_MS = 1_000  # `longest_sound_ms` for recognizers of single words in windows of a second
KEY = "earmark"  # the ONNX metadata entry that holds this as JSON
BASE_INPUT = "base_embedding"  # what a file takes whose base is a TensorFlow Lite network


@dataclass(frozen=True)
class FixedNormalization:
    """A level x in dB goes into the network as (x − mean) / deviation. The codelab uses −100 and 10."""

    mean: float
    deviation: float

    def __call__(self, windows: Spectrogram) -> Spectrogram:
        """Normalize levels of any shape."""
        return (windows - np.float32(self.mean)) / np.float32(self.deviation)


@dataclass(frozen=True)
class WindowNormalization:
    """Each window goes in with mean 0 and deviation 1: the normalization of the speech-commands package.

    Attributes:
        dynamic_range: in dB; levels further than this below the window's highest level are raised to that limit first.
            Otherwise digital silence, and the bins above half of a low sample rate, would dominate mean and deviation.
            None leaves the levels as they are, as the package does.
    """

    dynamic_range: float | None = None

    def __call__(self, windows: Spectrogram) -> Spectrogram:
        """Normalize windows of shape [windows, frames, bins]; one that is the same everywhere becomes 0."""
        if self.dynamic_range is not None:
            highest = windows.max(axis=(1, 2), keepdims=True)
            windows = np.maximum(windows, highest - np.float32(self.dynamic_range))
        return _standardized(windows)


@dataclass(frozen=True)
class FlooredNormalization:
    """Each window goes in with mean 0 and deviation 1, and its lowest values are limited by `floor`.

    After a first normalization, values below −floor are raised to −floor, and the window is normalized again. Otherwise
    the depth of the valleys between harmonics, or above half of a low sample rate, would dominate mean and deviation.
    This also works on windows that are normalized already, as speech-commands gives them to a network in a browser, so
    the network gets the same windows there. Frames of digital silence, which are −∞ in a browser, are first raised to
    80 dB below the window's highest level.

    Attributes:
        floor: the limit in deviations, more than 0.
    """

    floor: float

    def __call__(self, windows: Spectrogram) -> Spectrogram:
        """Normalize windows of shape [windows, frames, bins]; one that is the same everywhere becomes 0."""
        loudest = windows.max(axis=2, keepdims=True)  # the highest level of each frame
        is_silent = loudest <= np.float32(SILENT_DB)
        if is_silent.any():
            lowest = loudest.max(axis=1, keepdims=True) - np.float32(SILENCE_RANGE)
            windows = np.where(is_silent, np.maximum(windows, lowest), windows)
        standardized = _standardized(windows)
        return _standardized(np.maximum(standardized, np.float32(-self.floor), out=standardized))


def _standardized(windows: Spectrogram) -> Spectrogram:
    # The ufuncs themselves: for a single window, the overhead of np.mean takes longer than its sums.
    values = windows.shape[1] * windows.shape[2]
    mean = np.add.reduce(windows, axis=(1, 2), keepdims=True, dtype=np.float64) / values
    centred: Spectrogram = windows - mean.astype(np.float32)
    deviation = np.sqrt(np.add.reduce(centred * centred, axis=(1, 2), keepdims=True) / np.float32(values))
    centred /= deviation + np.float32(EPSILON)
    return centred


Normalization: TypeAlias = FixedNormalization | WindowNormalization | FlooredNormalization


@dataclass(frozen=True)
class TfLiteBase:
    """A TensorFlow Lite network that a model needs besides its file.

    Attributes:
        name: what it was called where the model was trained.
        sha256: the SHA-256 of its file, in hexadecimal; by it the network is found among the user's bases.
        values: the size of the embedding, after pooling.
        declaration: what it hears.
    """

    name: str
    sha256: str
    values: int
    declaration: Declaration

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TfLiteBase:
        """Read what a model's metadata stores.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        read = cls(**{**values, "declaration": Declaration.from_dict(values["declaration"])})
        if not _is_text(read.name) or not re.fullmatch("[0-9a-f]{64}", read.sha256):
            raise ValueError(values)
        if type(read.values) is not int or not 0 < read.values <= MAX_EMBEDDING:
            raise ValueError(values)
        return read


@dataclass(frozen=True)
class Metadata:
    """A model's labels, and how its input is made.

    Attributes:
        name: what the model is called, e.g. "sounds".
        labels: the labels in the order of the scores; empty if the network gives only an embedding.
        window_frames: the number of frames that one prediction sees.
        normalization: how a window's levels in dB are normalized for the network.
        front_end: what makes the frames.
        longest_sound_ms: how long its longest sound lasts, if all of its sounds are as short as words; see `Decisions`.
        probability_threshold: what a score must reach to be a detection, from 0 to 1, unless another threshold is
            given.
        hop_frames: the frames from one prediction to the next in a stream; None means the usual number.
        averages_clips: whether the scores of a clip are the mean over its windows, half a window apart, as for sounds
            that go on; otherwise they are those of the window around its loudest part.
        tflite: the TensorFlow Lite network that gives the embedding, if this file holds only what comes after it.
    """

    name: str
    labels: tuple[str, ...]
    window_frames: int
    normalization: Normalization
    front_end: FrontEnd = field(default=SPECTROGRAM)
    longest_sound_ms: float | None = None
    probability_threshold: float | None = None
    hop_frames: int | None = None
    averages_clips: bool = False
    tflite: TfLiteBase | None = None

    @property
    def graph_input(self) -> tuple[str, tuple[int, ...]]:
        """The input of the ONNX file: its name, and its shape for one window."""
        if self.tflite is not None:
            return BASE_INPUT, (self.tflite.values,)
        return "window", (self.window_frames, self.front_end.values)

    def to_json(self) -> str:
        values = {"format": FORMAT, **asdict(self), "front_end": self.front_end.as_dict()}
        for optional in ("longest_sound_ms", "probability_threshold", "hop_frames", "averages_clips", "tflite"):
            if values[optional] is None or values[optional] is False:
                del values[optional]
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> Metadata:
        """Read what `to_json` wrote.

        Raises:
            EarmarkError: the text is something else, a newer format, or needs a front end that Earmark doesn't have;
                the message names `source`.
        """
        try:
            values = json.loads(text)
            written = values.pop("format")
            if type(written) is int and written > FORMAT:
                raise EarmarkError(f"{source} was made by a newer Earmark: update Earmark to load it.")
            if written == 1 and "normalization" not in values:
                values["normalization"] = {"mean": values.pop("mean"), "deviation": values.pop("deviation")}
            elif written != FORMAT:
                raise _broken(source)
            values["front_end"] = read_front_end(values["front_end"])
            if values["front_end"] is None:
                raise EarmarkError(f"{source} was trained on another spectrogram: train it again with Earmark.")
            if not isinstance(values["labels"], list):
                raise _broken(source)
            values["labels"] = tuple(values["labels"])
            values["normalization"] = _read_normalization(values["normalization"])
            for optional, read in _OPTIONAL.items():
                if values.get(optional) is not None:
                    values[optional] = read(values[optional])
            metadata = cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _broken(source) from error
        if not metadata._valid():
            raise _broken(source)
        return metadata

    def _valid(self) -> bool:
        return (
            all(map(_is_text, (self.name, *self.labels)))
            and type(self.window_frames) is int  # not a bool, which is an int too
            and 0 < self.window_frames <= MAX_WINDOW_FRAMES
            and self.window_frames * self.front_end.values <= MAX_WINDOW_VALUES
            and (self.hop_frames is None or type(self.hop_frames) is int)
            and (self.hop_frames is None or 0 < self.hop_frames <= self.window_frames)
            and type(self.averages_clips) is bool
            and (self.tflite is None or self._fits(self.tflite.declaration))
        )

    def _fits(self, declaration: Declaration) -> bool:
        return (self.front_end, self.window_frames) == (declaration.front_end, declaration.window_frames)


def _is_text(value: object) -> bool:
    """Whether text can be encoded and shown: JSON may hold lone surrogates and terminal escape codes."""
    return isinstance(value, str) and not any(category(character) in ("Cc", "Cs") for character in value)


def _read_normalization(values: dict[str, Any]) -> Normalization:
    if values.keys() == {"dynamic_range"}:
        dynamic_range = values["dynamic_range"]
        return WindowNormalization(None if dynamic_range is None else _number(dynamic_range, above=0))
    if values.keys() == {"floor"}:
        return FlooredNormalization(_number(values["floor"], above=0))
    mean, deviation = values["mean"], values["deviation"]
    if len(values) != 2:
        raise ValueError(values)
    return FixedNormalization(_number(mean, above=-MAX_NUMBER), _number(deviation, above=1 / MAX_NUMBER))


def _number(value: object, above: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < MAX_NUMBER:
        raise ValueError(value)
    return value


def _probability(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(value)
    return value


_OPTIONAL: dict[str, Callable[[Any], object]] = {
    "longest_sound_ms": lambda value: _number(value, above=0),
    "probability_threshold": _probability,
    "tflite": TfLiteBase.from_dict,
}


def _broken(source: str) -> EarmarkError:
    return EarmarkError(f"{source} has no description that Earmark can read: train or export the model again.")
