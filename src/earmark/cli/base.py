"""`earmark base`: the bases of your own that recognizers can be trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.options import Json
from earmark.cli.terminal import put, task_progress

base_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Bases of your own to train on.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The base's name, to train on.")]


@base_app.command()
def add(
    name: Name,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A network: ONNX or TensorFlow Lite; without one, NAME is downloaded."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a base: a network's file, with its declaration (.toml) beside it, or one that Earmark knows: yamnet.

    Only `earmark base add yamnet` downloads anything: YAMNet, for sounds that aren't speech (Apache-2.0, 16 MB). Cut
    off, the same command goes on where it ended.
    """
    from earmark.models.adding_bases import add_file, add_known

    if file is None:
        with task_progress() as progress:
            added = add_known(name, progress.report)
    else:
        added = add_file(name, file)
    put(
        {"name": added.name, "path": str(added.file), "size": added.size},
        as_json,
        f"Added {added.name} ({added.size / 1e6:.1f} MB). Now: earmark train PROJECT --base {added.name}",
    )


@base_app.command("list")
def list_(as_json: Json = False) -> None:
    """List the bases that were added, and those that can be downloaded."""
    from earmark.models.adding_bases import KNOWN
    from earmark.models.user_bases import user_bases

    added = user_bases()
    for base in added:
        values = {"name": base.name, "path": str(base.file), "size": base.size}
        put(values, as_json, f"{base.name}  {base.size / 1e6:.1f} MB  {base.file}")
    for name in KNOWN.keys() - {base.name for base in added}:
        known = KNOWN[name]
        values = {"name": name, "path": None, "size": known.size}
        put(
            values, as_json, f"{name}  not here: `earmark base add {name}` ({known.size / 1e6:.1f} MB, {known.licence})"
        )


@base_app.command()
def remove(name: Name, as_json: Json = False) -> None:
    """Remove a base. What was trained on an ONNX base goes on working; what was trained on TensorFlow Lite needs it."""
    from earmark.models.adding_bases import remove_base

    remove_base(name)
    put({"removed": name}, as_json, f"Removed {name}.")
