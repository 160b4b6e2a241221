"""`earmark bench`: what this machine does, in one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.options import MODEL_HELP, Json
from earmark.cli.terminal import put, task_progress

if TYPE_CHECKING:
    from earmark.bench import Bench, Spread

UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))  # each with its size in microseconds


def bench(
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)] = "words",
    seconds: Annotated[float, typer.Option(min=0, max=3_600, help="About how long to measure, in seconds.")] = 20.0,
    as_json: Json = False,
) -> None:
    """Measure what this machine does: a frame, a window, a second of sound, live streams, a training, a start.

    Times of work are those of one core, by the processor's own count. The sound
    is made by the program: words of a buzz in a quiet room's noise, one every
    1.5 s.
    """
    from earmark.bench import measure

    with task_progress() as progress:
        found = measure(model, seconds, progress.report)
    if as_json:
        put(found.as_dict(), True, "")
    else:
        _show(found)


def _show(found: Bench) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, soft_wrap=True)
    machine = found.machine
    cores = "1 core" if machine.usable_cores == 1 else f"{machine.usable_cores} cores"
    console.print(f"{machine.processor}, {cores} for this process, {machine.system}")
    versions = f"Python {machine.python}, numpy {machine.numpy}, ONNX Runtime {machine.onnxruntime}"
    console.print(f"Earmark {machine.earmark}, {versions}")
    window = f"{found.window_seconds:.2f} s of sound, {found.windows_per_second:.1f} of them a second"
    console.print(f"The model {found.model}: {found.labels} labels; a window is {window}")
    table = Table("", "median", "middle half of runs")
    for name, spread, unit in _rows(found):
        middle = f"{_time(spread.lower_quartile * unit)} – {_time(spread.upper_quartile * unit)}"
        table.add_row(name, _time(spread.median * unit), middle)
    console.print(table)
    console.print(
        f"One core scores every window of sound at {found.realtime_factor_every_window:,.0f} × real time, "
        f"and scans recordings at {found.realtime_factor_scanned:,.0f} × real time once they are read."
    )
    console.print(
        f"By arithmetic it keeps up with {found.live_streams_per_core:,.0f} live streams; a server's own work is "
        "not counted."
    )
    if found.training_seconds is None:
        console.print("Training was not measured, as a package for it is missing: run `pip install 'earmark[train]'`.")


def _rows(found: Bench) -> list[tuple[str, Spread, float]]:
    """The table's rows: what was measured, the times, and their unit in microseconds."""
    rows = [
        (f"a frame ({1e3 * found.frame_seconds:.0f} ms): the front end", found.frame_us, 1.0),
        ("a window alone: the network", found.window_us, 1.0),
        (f"a window, {found.batch_windows} at a time: the network", found.batched_window_us, 1.0),
        ("1 s of sound, every window", found.second_every_window_us, 1.0),
        ("1 s of sound, only windows that can matter", found.second_scanned_us, 1.0),
        ("… that comes live, 0.1 s at a time", found.second_live_us, 1.0),
        ("… and more where it comes at 48 kHz", found.second_resampled_us, 1.0),
        ("import earmark (new process)", found.import_ms, 1e3),
        ("… and earmark.load of the model", found.load_ms, 1e3),
        ("earmark.load again (same process)", found.load_again_ms, 1e3),
    ]
    if found.training_seconds is not None:
        rows.append(("training: 450 examples, 10 epochs", found.training_seconds, 1e6))
    return rows


def _time(microseconds: float) -> str:
    """Format a time with three digits, in a suitable unit."""
    size, unit = next((entry for entry in UNITS if microseconds >= entry[0]), UNITS[-1])
    return f"{microseconds / size:.3g} {unit}"
