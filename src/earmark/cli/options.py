"""Arguments and options that several commands have."""

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
MODE_HELP = "sounds: short ones; words: and longer sounds."
Mode = Annotated[ProjectMode | None, typer.Option(help=MODE_HELP, show_default="the project's; a new one's: sounds")]
ProbabilityThreshold = Annotated[
    float | None,
    typer.Option(help="What a score must reach, 0 to 1.", show_default=f"the model's own, or {THRESHOLD:g}"),
]
LabelThreshold = Annotated[
    list[str] | None, typer.Option(metavar="LABEL=THRESHOLD", help="One label's own. Repeat it for more.")
]
OverlapFactor = Annotated[
    float | None,
    typer.Option(
        help="How much windows share, 0 to below 1.",
        show_default="sounds: a window each frame; words: one every 0.1 s",
    ),
]
SuppressionTime = Annotated[float, typer.Option(help="Others that begin so soon after a detection are dropped.")]
SmoothingWindows = Annotated[
    int | None, typer.Option(help="Windows averaged, an odd number of them.", show_default="3 for sounds, 1 for words")
]
MinAgreeingWindows = Annotated[
    int | None,
    typer.Option(
        help="Windows in a row that must agree before a detection begins.",
        show_default="1 for sounds, 5 for words, 2 on the base speech",
    ),
]
LongestSound = Annotated[
    float | None,
    typer.Option(
        help="What goes on for longer counts as said again.", show_default="1000 for single words; else any length"
    ),
]
Noise = Annotated[bool, typer.Option("--noise", help="Report _background_noise_ and _unknown_ too.")]
Json = Annotated[bool, typer.Option("--json", help="Results as lines of JSON.")]
