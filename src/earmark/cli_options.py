"""Arguments and options that several commands have."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class ProjectMode(str, Enum):
    """What a project teaches."""

    sounds = "sounds"
    words = "words"


ProjectPath = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")]
MODEL_HELP = "words (comes with Earmark), a project, a model folder, a model.onnx, or a TensorFlow.js model."
MODE_HELP = "sounds: short ones; words: and longer sounds."
Mode = Annotated[ProjectMode | None, typer.Option(help=MODE_HELP, show_default="the project's; a new one's: sounds")]
Json = Annotated[bool, typer.Option("--json", help="Results as lines of JSON.")]
