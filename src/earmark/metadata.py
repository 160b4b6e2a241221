"""What a model says of itself, kept inside its ONNX file so that this file alone suffices."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from earmark.errors import EarmarkError
from earmark.spectrogram import BINS, FFT_SIZE, HOP, SAMPLE_RATE

FORMAT = 1
MAX_WINDOW_FRAMES = 10_000  # nearly four minutes
MAX_NUMBER = 1e6  # far beyond any level in dB, well within a float32
KEY = "earmark"  # the ONNX metadata entry that holds this as JSON

_FRONT_END = {"sample_rate": SAMPLE_RATE, "fft_size": FFT_SIZE, "hop": HOP, "bins": BINS}


@dataclass(frozen=True)
class Metadata:
    """A model's labels and how its input is made.

    Attributes:
        name: what the model is called, e.g. "sounds".
        labels: in the order of the scores.
        window_frames: frames that one prediction sees.
        mean, deviation: a window's level x in dB goes into the network as (x − mean) / deviation.
    """

    name: str
    labels: tuple[str, ...]
    window_frames: int
    mean: float
    deviation: float

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "front_end": _FRONT_END, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> Metadata:
        """Read what `to_json` wrote.

        Raises:
            EarmarkError: not that, a newer format, or another front end than ours; it names `source`.
        """
        try:
            values = json.loads(text)
            if values.pop("format") != FORMAT:
                raise EarmarkError(f"{source} was made by a newer Earmark: update Earmark to load it.")
            if values.pop("front_end") != _FRONT_END:
                raise EarmarkError(f"{source} was trained on another spectrogram: train it again with Earmark.")
            if not isinstance(values["labels"], list):
                raise _broken(source)
            values["labels"] = tuple(values["labels"])
            metadata = cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _broken(source) from error
        if not metadata._valid():
            raise _broken(source)
        return metadata

    def _valid(self) -> bool:
        numbers = (self.window_frames, self.mean, self.deviation)
        return (
            isinstance(self.name, str)
            and len(self.labels) > 0
            and all(isinstance(label, str) for label in self.labels)
            and all(isinstance(number, (int, float)) and abs(number) < MAX_NUMBER for number in numbers)
            and isinstance(self.window_frames, int)
            and 0 < self.window_frames <= MAX_WINDOW_FRAMES
            and self.deviation > 0
        )


def _broken(source: str) -> EarmarkError:
    return EarmarkError(f"{source} has no description that Earmark can read: train or export the model again.")
