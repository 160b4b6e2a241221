"""`earmark scan`: find detections in many recordings."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.options import (
    MODEL_HELP,
    Json,
    LabelThreshold,
    LongestSound,
    Margin,
    MinAgreeingWindows,
    Noise,
    OverlapFactor,
    ProbabilityThreshold,
    SmoothingWindows,
    SuppressionTime,
)
from earmark.cli.terminal import complain, put, scan_progress, terminal
from earmark.errors import EarmarkError, on_one_line

if TYPE_CHECKING:
    from earmark.scan.scan import ScanReport

STDOUT = "-"
STREAMED = ("csv", "jsonl", "rttm")  # the formats that are one file, which can be read from its start to its end


class DetectionFormat(str, Enum):
    """The file formats for detections."""

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    audacity = "audacity"
    rttm = "rttm"


def scan(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders, 'globs/**/*.flac', s3://bucket/folder.")
    ],
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)] = "words",
    output: Annotated[
        Path, typer.Option(help="The file or folder to write, which must not exist yet; - for standard output.")
    ] = Path("detections.csv"),
    format: Annotated[
        DetectionFormat | None, typer.Option(help="Format of the output.", show_default="by its name: .csv, .jsonl, …")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Read only what the scan into that output couldn't read, or is new.")
    ] = False,
    clips: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cut each detection as a sound file into DIR/LABEL/.")
    ] = None,
    margin: Margin = 0.5,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the work.", show_default="one for each core")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of a Ray cluster to scan on; auto: the one at hand.")
    ] = None,
    probability_threshold: ProbabilityThreshold = None,
    overlap_factor: OverlapFactor = None,
    suppression_time_ms: SuppressionTime = 0,
    label_threshold: LabelThreshold = None,
    smoothing_windows: SmoothingWindows = None,
    min_agreeing_windows: MinAgreeingWindows = None,
    longest_sound_ms: LongestSound = None,
    noise: Noise = False,
    as_json: Json = False,
) -> None:
    """Find detections in recordings of any number and length, and write them into a file.

    Interrupted, the same command goes on with what wasn't done. Recordings
    that can't be read, or not wholly, are listed at the end; the exit code is 1
    then, and with --retry-failed the same command tries those again.
    """
    from earmark.labels import read_thresholds
    from earmark.scan.scan import scan_files

    is_streamed = str(output) == STDOUT
    if is_streamed and (as_json or retry_failed):
        option = "--json" if as_json else "--retry-failed"
        raise EarmarkError(f"{option} doesn't go with --output -: name a file, or leave {option} out.")
    kind = format.value if format else None
    try:
        with _written(kind) if is_streamed else nullcontext(output) as target, scan_progress() as progress:
            done = scan_files(
                paths, target, model, format=kind, workers=workers, ray=ray, report=progress.report,
                retry_failed=retry_failed, clips=clips, margin=margin, overlap_factor=overlap_factor,
                probability_threshold=probability_threshold, suppression_time_ms=suppression_time_ms,
                label_thresholds=read_thresholds(label_threshold or (), "--label-threshold"),
                smoothing_windows=smoothing_windows, min_agreeing_windows=min_agreeing_windows,
                longest_sound_ms=longest_sound_ms, invoke_callback_on_noise_and_unknown=noise,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not is_streamed:
            complain("the same command goes on with the rest.", "Stopped")
        raise
    _tell(done, as_json, is_streamed)
    if done.failed or done.incomplete:
        raise typer.Exit(1)


@contextmanager
def _written(format: str | None) -> Iterator[Path]:
    """A file that goes to standard output once it is written: its rows come in order, and all of them or none."""
    if (format or "csv") not in STREAMED:
        raise EarmarkError(f"The format {format} can't go to standard output: choose from {', '.join(STREAMED)}.")
    with TemporaryDirectory(prefix="earmark-") as folder:
        file = Path(folder) / f"detections.{format or 'csv'}"
        yield file
        with file.open("rb") as found:
            try:
                shutil.copyfileobj(found, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            except BrokenPipeError:  # the reader of our output has closed the pipe
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(done: ScanReport, as_json: bool, is_streamed: bool) -> None:
    for failed in [*done.failed, *done.incomplete]:
        complain(failed.error)
    values = {
        "output": str(done.output), "recordings": done.recordings, "seconds": done.seconds,
        "detections": done.detections,
        "failed": [{"path": failed.name, "error": failed.error} for failed in done.failed],
        "incomplete": [{"path": failed.name, "error": failed.error} for failed in done.incomplete],
    }  # fmt: skip
    left_out = f", {len(done.failed)} could not be read" if done.failed else ""
    left_out += f", {len(done.incomplete)} not wholly" if done.incomplete else ""
    told = f"{_count(done.detections, 'detection')} in {_count(done.recordings, 'recording')}, "
    told += f"{_length(done.seconds)}{left_out}"
    if is_streamed:
        terminal().print(on_one_line(told), markup=False, highlight=False, soft_wrap=True)
        return
    told += f" → {done.output}"
    if left_out:
        told += "\nThe same command with --retry-failed tries those again."
    put(values, as_json, told)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _length(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
