"""Listening options as clients send them. They have the names of the options of `Recognizer.listen`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from earmark.labels import read_thresholds
from earmark.recognizer.decisions import Decisions
from earmark.recognizer.recognizer import Recognizer

MOST_CHANNELS = 8
MOST_WINDOWS = 101  # the most windows to average or to agree, as each stream must hold them


class ListenOptions(BaseModel):
    """How to decide what is a detection; what isn't given is the model's own, as in `Recognizer.listen`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    probability_threshold: float | None = Field(None, ge=0, le=1, description="What a score must reach.")
    overlap_factor: float | None = Field(None, ge=0, lt=1, description="How much neighbouring windows share.")
    suppression_time_ms: float = Field(0, ge=0, description="After a detection, so long no other begins.")
    smoothing_windows: int | None = Field(
        None, ge=1, le=MOST_WINDOWS, description="Windows whose scores are averaged, an odd number."
    )
    min_agreeing_windows: int | None = Field(
        None, ge=1, le=MOST_WINDOWS, description="Windows in a row that agree before a detection begins."
    )
    longest_sound_ms: float | None = Field(None, ge=1, description="What goes on longer is said again.")
    invoke_callback_on_noise_and_unknown: bool = Field(
        False, description="Whether _background_noise_ and _unknown_ are detections too."
    )

    def decisions(self, recognizer: Recognizer, label_thresholds: dict[str, float] | None) -> Decisions:
        """Build the decision stage that these options describe.

        Args:
            recognizer: whose scores are decided on.
            label_thresholds: thresholds of labels with their own.

        Raises:
            EarmarkError: a value is out of range, or a label is unknown.
        """
        own = {name: getattr(self, name) for name in ListenOptions.model_fields}
        return recognizer.decisions(**own, label_thresholds=label_thresholds)


class DetectOptions(ListenOptions):
    """The same, in the query of a request."""

    label_threshold: list[str] = Field([], description="One label's own threshold, as LABEL=0.9. Repeat it for more.")

    def label_thresholds(self) -> dict[str, float]:
        """Read the labels' own thresholds.

        Raises:
            EarmarkError: one can't be understood.
        """
        return read_thresholds(self.label_threshold, "label_threshold")


class Start(ListenOptions):
    """A stream's first message: what sound it will send, and what it wants to hear."""

    type: Literal["start"]
    sample_rate: float = Field(description="In Hz.")
    encoding: Literal["s16le", "f32le"] = Field("s16le", description="16-bit or float, little-endian.")
    channels: int = Field(1, ge=1, le=MOST_CHANNELS, description="Interleaved; they are averaged.")
    scores: bool = Field(True, description="Whether to send every window's scores.")
    detections: bool = Field(True, description="Whether to send detections.")
    label_thresholds: dict[str, float] | None = Field(None, description="The thresholds of labels with their own.")

    @model_validator(mode="after")
    def _wants_something(self) -> Start:
        if not (self.scores or self.detections):
            raise ValueError("ask for scores, for detections or for both")
        return self
