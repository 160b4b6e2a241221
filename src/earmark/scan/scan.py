"""Find detections in many recordings, and in long ones: files, folders, globs, object stores.

Each recording is heard by one process from start to end, as `Recognizer.listen` hears it, so that the results don't
depend on how many processes or machines share the work. What is done is kept in a journal beside the output until all
is done; the same scan, started again, goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.audio.sound_files import find_sound_files
from earmark.recognizer.recognizer import WORDS_MODEL, Recognizer, load
from earmark.scan.detections import Scanned, format_of, write_detections
from earmark.scan.journal import Failed, Journal, Outcome
from earmark.scan.scanner import Scanner, Task, usable_cores
from earmark.storage.files import check_free


@dataclass(frozen=True)
class ScanState:
    """How far a scan is.

    Attributes:
        done: recordings, and shares of those that are being heard, of
        recordings: in all. Those that an earlier run had done count.
        seconds: of sound heard by this run.
    """

    done: float
    recordings: int
    seconds: float


@dataclass(frozen=True)
class ScanReport:
    """What a scan did.

    Attributes:
        output: the file or folder with the detections.
        recordings: how many were heard, by this run or an earlier one, and
        seconds: how long they are.
        detections: how many there are.
        failed: the recordings that couldn't be heard, each with the reason.
    """

    output: Path
    recordings: int
    seconds: float
    detections: int
    failed: list[Failed] = field(default_factory=list)


def scan_files(
    paths: Sequence[str | Path],
    output: str | Path,
    model: str | Path | Recognizer = WORDS_MODEL,
    *,
    format: str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    report: Callable[[ScanState], object] | None = None,
    overlap_factor: float | None = None,
    **options: Any,
) -> ScanReport:
    """Find detections in recordings of any length, and write them into a file.

    A recording that can't be read doesn't stop the scan. Interrupted, the same scan goes on with what wasn't done;
    recordings that couldn't be read are tried again.

    Args:
        paths: files, folders, globs, and addresses that fsspec knows (s3://…).
        output: what to write; nothing may be there yet.
        model: what `load` takes, or a recognizer.
        format: "csv", "jsonl", "parquet", "audacity" or "rttm"; by the output's name where None.
        workers: processes on this machine; where None, one for each core. A program that uses more than one needs the
            guard `if __name__ == "__main__":`, as each of them imports it.
        ray: a Ray cluster's address, "auto" for the one at hand, or "local" for one on this machine.
        report: called as the scan goes on.
        overlap_factor: see `Recognizer.stream`.
        options: `Recognizer.decisions`'.

    Raises:
        EarmarkError: no such recordings or model, an option is out of its range, the output is there already or can't
            be written, or the journal beside it is another scan's.
    """
    target = Path(output)
    kind = format_of(target, format)
    check_free(target)
    recognizer = model if isinstance(model, Recognizer) else load(model)
    task = Task(recognizer.content, str(recognizer.metadata.name), overlap_factor, options)
    scanner = Scanner(task, is_alone=workers is None and usable_cores() > 1)
    names = find_sound_files([str(path) for path in paths])
    with Journal(target, scanner.identity) as journal:
        done = set(journal.done)
        left = [name for name in names if name not in done]
        _run(task, scanner, left, journal, workers, ray, _Meter(len(names) - len(left), len(names), report))
        scanned = _Totals(journal.scanned(names))
        write_detections(target, kind, scanned)
        failed = journal.failed(names)
        journal.remove()
    return ScanReport(target, scanned.recordings, scanned.seconds, scanned.detections, failed)


class _Meter:
    """Adds up how far the recordings are that are being heard, and reports it."""

    def __init__(self, done: int, recordings: int, report: Callable[[ScanState], object] | None) -> None:
        self._done, self._recordings, self._report = done, recordings, report
        self._ended = 0.0  # seconds of recordings that are done
        self._under_way: dict[str, tuple[float, float]] = {}  # seconds, and share

    def heard(self, name: str, seconds: float, share: float) -> None:
        """So many of a recording's seconds, and such a share of it."""
        self._under_way[name] = (seconds, share)
        self._tell()

    def ended(self, outcome: Outcome) -> None:
        """A recording is done."""
        self._under_way.pop(outcome.name, None)
        if isinstance(outcome, Scanned):
            self._ended += outcome.seconds
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            seconds, shares = (sum(values) for values in zip((0.0, 0.0), *self._under_way.values(), strict=True))
            self._report(ScanState(self._done + shares, self._recordings, self._ended + seconds))


class _Totals:
    """Passes results on, and counts them."""

    def __init__(self, results: Iterator[Scanned]) -> None:
        self._results = results
        self.recordings, self.seconds, self.detections = 0, 0.0, 0

    def __iter__(self) -> Iterator[Scanned]:
        for result in self._results:
            self.recordings += 1
            self.seconds += result.seconds
            self.detections += len(result.detections)
            yield result


def _run(
    task: Task, scanner: Scanner, names: list[str], journal: Journal, workers: int | None, ray: str | None,
    meter: _Meter,
) -> None:  # fmt: skip
    """Hear the recordings, here, by processes or on a cluster; all the same way."""
    if ray is not None:
        from earmark.scan.ray import scan_on_ray

        outcomes = scan_on_ray(task, names, ray, workers)
    elif (count := min(workers or usable_cores(), len(names))) > 1:
        from earmark.scan.processes import scan_by_processes

        outcomes = scan_by_processes(task, names, count, meter.heard)
    else:
        outcomes = (scanner.scan(name, meter.heard) for name in names)
    for outcome in outcomes:
        journal.add(outcome)
        meter.ended(outcome)
