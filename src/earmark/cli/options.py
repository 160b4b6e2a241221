"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from earmark.labels import THRESHOLD


class ProjectMode(str, Enum):
    """What a project teaches."""

    sounds = "sounds"
    words = "words"


ProjectPath = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")]
MODEL_HELP = "words (comes with Earmark), a project, a model folder, a model.onnx, or a TensorFlow.js model."
MODE_HELP = "sounds: short sounds; words: words and longer sounds."
Mode = Annotated[ProjectMode | None, typer.Option(help=MODE_HELP, show_default="the project's; a new one's: sounds")]
ProbabilityThreshold = Annotated[
    float | None,
    typer.Option(help="What a score must reach, from 0 to 1.", show_default=f"the model's own, or {THRESHOLD:g}"),
]
LabelThreshold = Annotated[
    list[str] | None, typer.Option(metavar="LABEL=THRESHOLD", help="Threshold of one label. Repeat it for more.")
]
OverlapFactor = Annotated[
    float | None,
    typer.Option(
        help="How much neighbouring windows share, from 0 to below 1.",
        show_default="sounds: a window each frame; words: one every 0.1 s",
    ),
]
SuppressionTime = Annotated[
    float, typer.Option(help="Drop detections that begin within this many milliseconds after another one.")
]
SmoothingWindows = Annotated[
    int | None,
    typer.Option(help="How many windows to average: an odd number.", show_default="3 for sounds, 1 for words"),
]
MinAgreeingWindows = Annotated[
    int | None,
    typer.Option(
        help="How many windows in a row must agree before a detection begins.",
        show_default="1 for sounds, 5 for words, 2 on the base speech",
    ),
]
LongestSound = Annotated[
    float | None,
    typer.Option(
        help="A sound that goes on for longer than this (ms) counts as said again.",
        show_default="1000 for single words; else any length",
    ),
]
Margin = Annotated[
    float, typer.Option(help="Seconds of sound before and after a detection in its file.", show_default="0.5")
]
Noise = Annotated[bool, typer.Option("--noise", help="Report _background_noise_ and _unknown_ too.")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as lines of JSON.")]
