"""Finding detections in many or long recordings: files, folders, globs, object stores.

One process scans each recording from start to end, in the same way as `Recognizer.listen`. So the results don't depend
on how many processes or machines share the work. A journal beside the output records what is done until all is done;
the same scan, started again, continues from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from earmark.audio.finding import find_sound_files, open_sound_file
from earmark.audio.sound_file import CutOffError
from earmark.errors import DiskError, EarmarkError
from earmark.recognizer.cutting import MARGIN_SECONDS, Cutter, check_margin
from earmark.recognizer.recognizer import WORDS_MODEL, Recognizer, load
from earmark.scan.clock_times import began
from earmark.scan.detections import Scanned, format_of, write_detections
from earmark.scan.journal import Failed, Journal, Outcome, reopen
from earmark.scan.scanner import CHUNK_SECONDS, Scanner, Task, usable_cores
from earmark.storage.files import check_free, replace_by


@dataclass(frozen=True)
class ScanState:
    """The progress of a scan.

    Attributes:
        done: how many recordings are done, including those done by an earlier run and fractions of those in progress.
        recordings: how many recordings there are in all, including those done by an earlier run.
        seconds: how much sound this run has scanned.
    """

    done: float
    recordings: int
    seconds: float


@dataclass(frozen=True)
class ScanReport:
    """The result of a scan.

    Attributes:
        output: the file or folder with the detections.
        recordings: how many recordings were scanned, by this run or an earlier one.
        seconds: how long the scanned recordings are, in all.
        detections: how many detections there are.
        failed: the recordings that couldn't be scanned, each with the reason.
        incomplete: the recordings that are cut off, and were scanned as far as they go, each with how far that is.
    """

    output: Path
    recordings: int
    seconds: float
    detections: int
    failed: list[Failed] = field(default_factory=list)
    incomplete: list[Failed] = field(default_factory=list)


def scan_files(
    paths: Sequence[str | Path],
    output: str | Path,
    model: str | Path | Recognizer = WORDS_MODEL,
    *,
    format: str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    report: Callable[[ScanState], object] | None = None,
    retry_failed: bool = False,
    clips: str | Path | None = None,
    margin: float = MARGIN_SECONDS,
    overlap_factor: float | None = None,
    **options: Any,
) -> ScanReport:
    """Find detections in recordings of any length and write them to a file.

    A recording that can't be read doesn't stop the scan, and one that is cut off is read as far as it goes. If the scan
    is interrupted, start the same scan again: it continues with what wasn't done, and tries recordings again that
    couldn't be read.

    Args:
        paths: files, folders, globs, and addresses that fsspec knows (s3://…).
        output: the file or folder to write, which must not exist, unless `retry_failed` is set.
        model: anything that `load` takes, or a recognizer.
        format: "csv", "jsonl", "parquet", "audacity" or "rttm"; None means the format that the output's name gives.
        workers: the number of processes on this machine; None means one for each core. A program that uses more than
            one needs the guard `if __name__ == "__main__":`, because each process imports the program.
        ray: a Ray cluster's address, "auto" for the current cluster, or "local" for a new one on this machine.
        report: called with the progress.
        retry_failed: read only what an earlier scan into the same output couldn't read, or not wholly, and what is new;
            the output is then written anew, with what that scan has found.
        clips: a folder into which each detection is cut as a sound file, in a folder of its label.
        margin: the seconds of sound before and after each detection in these files.
        overlap_factor: see `Recognizer.stream`.
        options: the options of `Recognizer.decisions`.

    Raises:
        EarmarkError: there are no such recordings or no such model, an option is out of range, the output exists
            already or can't be written, or the journal beside it belongs to another scan.
    """
    target = Path(output)
    kind = format_of(target, format)
    check_margin(margin)
    if not retry_failed:
        check_free(target)
    recognizer = model if isinstance(model, Recognizer) else load(model)
    task = Task(recognizer.content, str(recognizer.metadata.name), overlap_factor, options)
    scanner = Scanner(task, is_alone=workers is None and usable_cores() > 1)
    names = find_sound_files([str(path) for path in paths])
    if retry_failed:
        reopen(target)
    with Journal(target, scanner.identity) as journal:
        done = set(journal.done) - (journal.incomplete if retry_failed else set())
        left = [name for name in names if name not in done]
        _run(task, scanner, left, journal, workers, ray, _Meter(len(names) - len(left), len(names), report))
        if retry_failed:  # what was scanned before stays, even if it isn't named again
            names += [name for name in journal.done if name not in set(names)]
        scanned = _Totals(journal.scanned(names))
        if clips is not None:
            _cut(Path(clips), journal.scanned(names), margin)
        with replace_by(target) if retry_failed else nullcontext(target) as new:
            write_detections(new, kind, scanned, has_times=any(map(began, names)))
        failed = journal.failed(names)
        if failed or scanned.incomplete:
            journal.keep()
        else:
            journal.remove()
    return ScanReport(target, scanned.recordings, scanned.seconds, scanned.detections, failed, scanned.incomplete)


def _cut(folder: Path, results: Iterator[Scanned], margin: float) -> None:
    """Cut each detection from its recording, which is read once more if it has any."""
    for result in results:
        if not result.detections:
            continue
        digest = hashlib.sha256(result.name.encode(errors="surrogatepass")).hexdigest()[:8]
        stem = f"{PurePath(result.name).stem}-{digest}"  # recordings in several folders may have one name
        try:
            with open_sound_file(result.name, CHUNK_SECONDS) as source:
                cutter = Cutter(folder, stem, source.sample_rate, margin)
                for detection in result.detections:
                    cutter.cut(detection)
                with suppress(CutOffError):  # which the scan has told
                    for chunk in source:
                        cutter.hear(chunk)
                cutter.finish()
        except DiskError:
            raise
        except EarmarkError as error:
            raise EarmarkError(f"The detections in {result.name} can't be cut: {error}") from error


class _Meter:
    """Adds up the progress of the recordings that are being scanned, and reports it."""

    def __init__(self, done: int, recordings: int, report: Callable[[ScanState], object] | None) -> None:
        self._done, self._recordings, self._report = done, recordings, report
        self._ended = 0.0  # seconds of sound in recordings that are done
        self._under_way: dict[str, tuple[float, float]] = {}  # seconds scanned, and the fraction of the recording

    def heard(self, name: str, seconds: float, share: float) -> None:
        """Note that this many seconds, and this fraction, of a recording have been scanned."""
        self._under_way[name] = (seconds, share)
        self._tell()

    def ended(self, outcome: Outcome) -> None:
        """Note that a recording is done."""
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
    """Passes results on and counts them."""

    def __init__(self, results: Iterator[Scanned]) -> None:
        self._results = results
        self.recordings, self.seconds, self.detections = 0, 0.0, 0
        self.incomplete: list[Failed] = []

    def __iter__(self) -> Iterator[Scanned]:
        for result in self._results:
            self.recordings += 1
            self.seconds += result.seconds
            self.detections += len(result.detections)
            if result.problem is not None:
                self.incomplete.append(Failed(result.name, result.problem))
            yield result


def _run(
    task: Task, scanner: Scanner, names: list[str], journal: Journal, workers: int | None, ray: str | None,
    meter: _Meter,
) -> None:  # fmt: skip
    """Scan the recordings here, with processes or on a cluster; all in the same way."""
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
