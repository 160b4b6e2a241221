"""`earmark import` and `earmark export`: exchange recordings and models with other programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.options import MODE_HELP, Json, ProjectMode
from earmark.cli.terminal import complain, put, task_progress
from earmark.errors import EarmarkError
from earmark.labels import THRESHOLD

if TYPE_CHECKING:
    from earmark.project import Project

MOST_TOLD = 20  # the most skipped recordings to list


class ExportFormat(str, Enum):
    """The export formats: the first three are for models, the others for recordings."""

    tfjs = "tfjs"
    teachable_machine = "teachable-machine"
    onnx = "onnx"
    folders = "folders"
    speech_commands = "speech-commands"
    audiofolder = "audiofolder"
    examples = "examples"


class OnnxInput(str, Enum):
    """The input of an exported ONNX model."""

    waveform = "waveform"
    window = "window"


class Split(str, Enum):
    """A part of a data set."""

    train = "train"
    validation = "validation"
    test = "test"


def import_(
    thing: Annotated[Path, typer.Argument(metavar="THING", help="What to import: a folder or a file.")],
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder; made if it is not there.")],
    label: Annotated[
        str | None, typer.Option(help="Label of recordings that come without one.", show_default="from its name")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Import only this label. Repeat it for more.")] = None,
    split: Annotated[Split | None, typer.Option(help="Only this part of a data set.", show_default="all of it")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many recordings of each label.")] = None,
    merge_labels: Annotated[
        bool, typer.Option("--merge-labels", help="Make labels one that differ only by upper and lower case.")
    ] = False,
    as_noise: Annotated[
        bool, typer.Option("--as-noise", help="Nothing to detect, as false alarms: _background_noise_ or _unknown_.")
    ] = False,
    mode: Annotated[
        ProjectMode | None, typer.Option(help=MODE_HELP, show_default="the project's; a new one's: words")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import recordings: a sound file, folders of labels or a zip of them, a data set, or another program's samples.

    Data sets: Speech Commands, Hugging Face audiofolder.
    Samples: Teachable Machine's, of a class or a project; speech-commands' (TFJSSCDS).
    Label tracks: Audacity's, and Raven's selection tables, beside the sound files.
    The exit code is 1 if a recording could not be read.
    """
    from earmark.exchange.importing import import_into

    with _filled(project) as opened, task_progress() as progress:
        imported = import_into(
            opened, thing, label=label, only=only, split=split.value if split else None, limit=limit,
            merge_labels=merge_labels, as_noise=as_noise, report=progress.report,
        )  # fmt: skip
        if mode is not None:
            opened.set_mode(mode.value)
    _tell_skipped(imported.skipped)
    added, known = len(imported.added), imported.known
    values = {
        "added": added, "known": known, "skipped": imported.skipped, "left_out": imported.left_out,
        "notes": imported.notes, "project": str(project),
    }  # fmt: skip
    were_there = f"; {known} more were there already" if known else ""
    put(values, as_json, "\n".join([f"{_recordings(added)} → {project}{were_there}", *imported.notes]))
    if imported.left_out or imported.unread or (imported.skipped and not added + known):
        raise typer.Exit(1)


@contextmanager
def _filled(folder: Path) -> Iterator[Project]:
    """Open the project in this folder, or make it. A new project that gets no recording is removed again."""
    from earmark.project import Project

    new_folders = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    was_empty = folder.is_dir() and not any(folder.iterdir())
    project = Project(folder, create=True, mode="words")
    try:
        yield project
    finally:
        if (new_folders or was_empty) and not project.clips():
            made = [new_folders[-1]] if new_folders else list(folder.iterdir())
            for path in made:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def export(
    thing: Annotated[
        str, typer.Argument(metavar="MODEL|PROJECT", help="A model; a project gives its newest one, or its recordings.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A folder or a .zip; for onnx and examples a file.")],
    to: Annotated[
        ExportFormat,
        typer.Option(
            metavar="FORMAT",
            help="Models: tfjs, teachable-machine, onnx. Recordings: folders, speech-commands, audiofolder, examples.",
        ),
    ],
    onnx_input: Annotated[
        OnnxInput | None, typer.Option(help="What an ONNX model takes.", show_default="waveform")
    ] = None,
    probability_threshold: Annotated[
        float | None, typer.Option(help="Threshold to write into the model.", show_default=f"its own, or {THRESHOLD:g}")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a model for the browser, for Teachable Machine's code or for any program that runs ONNX, or recordings."""
    from earmark.exchange.exporting import MODEL_FORMATS, export_model, export_recordings

    if onnx_input is not None and to is not ExportFormat.onnx:
        raise EarmarkError(f"--onnx-input says what an ONNX model takes: leave it out for {to.value}.")
    if probability_threshold is not None and to.value not in MODEL_FORMATS:
        raise EarmarkError(f"--probability-threshold is written into models: leave it out for {to.value}.")
    if to.value in MODEL_FORMATS:
        from earmark.recognizer.recognizer import load

        given = onnx_input or OnnxInput.waveform
        notes = export_model(
            load(thing), output, to.value, onnx_input=given.value, probability_threshold=probability_threshold
        )
        put({"output": str(output), "notes": notes}, as_json, "\n".join([f"Saved in {output}.", *notes]))
        return
    from earmark.project import Project

    if not os.path.isdir(thing):  # noqa: PTH112 (Path.is_dir raises for names that are too long)
        raise EarmarkError(f"{thing} is no project: recordings are exported from a project's folder.")
    with task_progress() as progress:
        written = export_recordings(Project(thing), output, to.value, report=progress.report)
    _tell_skipped(written.skipped)
    values = {"output": str(output), "written": written.count, "skipped": written.skipped, "notes": written.notes}
    put(values, as_json, "\n".join([f"{_recordings(written.count)} → {output}", *written.notes]))


def _recordings(count: int) -> str:
    return "1 recording" if count == 1 else f"{count:,} recordings"


def _tell_skipped(skipped: list[tuple[str, str]]) -> None:
    """List the first of the skipped recordings, and say how many more there are."""
    for name, reason in skipped[:MOST_TOLD]:
        complain(f"{name}: {reason}", "Left out")
    if len(skipped) > MOST_TOLD:
        complain(f"{len(skipped) - MOST_TOLD:,} more; --json tells all of them.", "Left out")
