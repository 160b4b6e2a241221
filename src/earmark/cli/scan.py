"""`earmark scan`: find detections in many recordings."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.options import (
    MODEL_HELP,
    Json,
    LabelThreshold,
    LongestSound,
    MinAgreeingWindows,
    Noise,
    OverlapFactor,
    ProbabilityThreshold,
    SmoothingWindows,
    SuppressionTime,
)
from earmark.cli.terminal import complain, put, scan_progress
from earmark.errors import EarmarkError

if TYPE_CHECKING:
    from earmark.scan.scan import ScanReport


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
    output: Annotated[Path, typer.Option(help="The file or folder to write. It must not exist yet.")] = Path(
        "detections.csv"
    ),
    format: Annotated[
        DetectionFormat | None, typer.Option(help="Format of the output.", show_default="by its name: .csv, .jsonl, …")
    ] = None,
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
    that can't be read are listed at the end; the exit code is 1 then.
    """
    from earmark.labels import read_thresholds
    from earmark.scan.scan import scan_files

    if str(output) == "-":
        raise EarmarkError("A scan can't be written to standard output: name a file with --output.")
    try:
        with scan_progress() as progress:
            done = scan_files(
                paths, output, model, format=format.value if format else None, workers=workers, ray=ray,
                report=progress.report, overlap_factor=overlap_factor, probability_threshold=probability_threshold,
                suppression_time_ms=suppression_time_ms,
                label_thresholds=read_thresholds(label_threshold or (), "--label-threshold"),
                smoothing_windows=smoothing_windows, min_agreeing_windows=min_agreeing_windows,
                longest_sound_ms=longest_sound_ms, invoke_callback_on_noise_and_unknown=noise,
            )  # fmt: skip
    except KeyboardInterrupt:
        complain("the same command goes on with the rest.", "Stopped")
        raise
    _tell(done, as_json)
    if done.failed:
        raise typer.Exit(1)


def _tell(done: ScanReport, as_json: bool) -> None:
    for failed in done.failed:
        complain(failed.error)
    values = {
        "output": str(done.output), "recordings": done.recordings, "seconds": done.seconds,
        "detections": done.detections,
        "failed": [{"path": failed.name, "error": failed.error} for failed in done.failed],
    }  # fmt: skip
    left_out = f", {len(done.failed)} could not be read" if done.failed else ""
    put(
        values,
        as_json,
        f"{_count(done.detections, 'detection')} in {_count(done.recordings, 'recording')}, "
        f"{_length(done.seconds)}{left_out} → {done.output}",
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _length(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"
