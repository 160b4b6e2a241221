"""The journal of what a scan has done so far: lines of JSON in a file beside the output, one per recording.

A scan that was interrupted, even by a power cut, continues after the last whole line. A scan that couldn't read all of
its recordings keeps the journal under another name, so that a later one reads only those.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeAlias

from earmark.errors import EarmarkError
from earmark.recognizer.decisions import Detection
from earmark.scan.detections import Scanned
from earmark.storage.files import make_folder

SUFFIX = ".unfinished.jsonl"
FAILED_SUFFIX = ".failed.jsonl"  # of the journal of a scan that is done, except for what it couldn't read
SYNC_SECONDS = 1.0  # at most this much work is lost in a power cut


@dataclass(frozen=True)
class Failed:
    """A recording that couldn't be scanned, or not wholly, and the reason, in one sentence."""

    name: str
    error: str


Outcome: TypeAlias = Scanned | Failed


def reopen(output: Path) -> None:
    """Make the journal of a scan that couldn't read all of its recordings the journal of the scan to come.

    Raises:
        EarmarkError: the output has no such journal, or it can't be renamed.
    """
    kept, path = output.with_name(output.name + FAILED_SUFFIX), output.with_name(output.name + SUFFIX)
    if path.exists():  # of a second try that was interrupted
        return
    try:
        kept.rename(path)
    except FileNotFoundError as error:
        if os.path.lexists(output):
            raise EarmarkError(f"{output} has no recordings to retry: its scan has read all of them.") from error
    except OSError as error:
        raise EarmarkError(f"{kept} can't be renamed ({error.strerror}): check your rights.") from error


class Journal:
    """A scan's journal. Use it in a `with` block.

    Args:
        output: what the scan will write; the journal has the same name with ".unfinished.jsonl" added.
        identity: what distinguishes this scan from others; values that JSON can hold.

    Raises:
        EarmarkError: the journal belongs to another scan, another process is writing it, or it can't be read or
            written.
    """

    def __init__(self, output: Path, identity: dict[str, Any]) -> None:
        self._path = output.with_name(output.name + SUFFIX)
        self._lines: dict[str, int] = {}  # where each recording's last line begins
        self._failed: dict[str, str] = {}
        self._incomplete: set[str] = set()
        self._kept = output.with_name(output.name + FAILED_SUFFIX)
        self._synced = time.monotonic()
        make_folder(output.parent)
        try:
            self._file = self._path.open("a+b")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._begin(_line({"scan": identity}))
        except OSError as error:
            self._end()
            raise self._unwritable(error) from error
        except BaseException:
            self._file.close()
            raise

    @property
    def done(self) -> Sequence[str]:
        """The recordings that have been scanned."""
        return list(self._lines)

    @property
    def incomplete(self) -> set[str]:
        """Those of them that were scanned only in part."""
        return set(self._incomplete)

    def add(self, outcome: Outcome) -> None:
        """Add the result of a recording, or the reason why it couldn't be scanned.

        Raises:
            EarmarkError: the disk is full, or gone.
        """
        if isinstance(outcome, Failed):
            self._failed[outcome.name] = outcome.error
            self._lines.pop(outcome.name, None)
            return
        found = [(one.label, one.score, one.start, one.end) for one in outcome.detections]
        try:
            at = self._file.seek(0, os.SEEK_END)
            told = {} if outcome.problem is None else {"problem": outcome.problem}
            self._write(_line({"name": outcome.name, "seconds": outcome.seconds, "detections": found, **told}))
        except OSError as error:
            raise self._unwritable(error) from error
        self._note(outcome, at)

    def scanned(self, names: Sequence[str]) -> Iterator[Scanned]:
        """The results of those of the recordings that have been scanned, in that order."""
        for name in names:
            if name in self._lines:
                self._file.seek(self._lines[name])
                yield _read_line(self._file.readline())

    def failed(self, names: Sequence[str]) -> list[Failed]:
        """Those of the recordings that this run couldn't scan, in that order."""
        return [Failed(name, self._failed[name]) for name in names if name in self._failed]

    def remove(self) -> None:
        """Delete the journal: the scan is done."""
        self._lines.clear()
        self._end()
        with suppress(OSError):  # of a scan whose output is gone
            self._kept.unlink(missing_ok=True)

    def keep(self) -> None:
        """Keep the journal for `reopen`: the scan is done, except for what couldn't be read.

        Raises:
            EarmarkError: it can't be renamed.
        """
        try:
            self._file.close()
            self._path.replace(self._kept)
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        """Close the file, and delete it if it holds no recordings."""
        if self._file.closed:
            return
        with suppress(OSError):  # a line that found no room has been reported, and is tried again here
            self._file.close()
        if not self._lines:
            with suppress(OSError):  # a journal that stays does no harm: the next scan continues with it
                self._path.unlink(missing_ok=True)

    def _begin(self, header: bytes) -> None:
        """Continue after the existing lines, or write the first one."""
        if not _lock(self._file):
            raise EarmarkError(
                f"{self._path} is being written by another scan: wait for it, or choose another --output."
            )
        self._file.seek(0)
        start = self._file.readline(len(header))
        if start == header:
            self._read()
        elif header.startswith(start):  # new, or cut off by a power cut
            self._file.truncate(0)
            self._write(header)
        else:
            raise EarmarkError(
                f"{self._path} is of a scan with another model, other options or another version of Earmark: "
                "delete it, or choose another --output."
            )

    def _read(self) -> None:
        """Find the lines; anything after the last whole line was being written when the scan ended."""
        at = self._file.tell()
        for line in self._file:
            try:
                self._note(_read_line(line), at)
            except ValueError:
                break
            at += len(line)
        self._file.truncate(at)

    def _note(self, scanned: Scanned, at: int) -> None:
        """Note where the last line of a recording begins."""
        self._lines[scanned.name] = at
        (self._incomplete.discard if scanned.problem is None else self._incomplete.add)(scanned.name)

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _unwritable(self, error: OSError) -> EarmarkError:
        return EarmarkError(
            f"{self._path} can't be written ({error.strerror}): free some space or choose another --output."
        )


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _read_line(line: bytes) -> Scanned:
    """The result that a line holds.

    Raises:
        ValueError: the line isn't whole.
    """
    try:
        values = json.loads(line)
        detections = [Detection(*found) for found in values["detections"]]
        scanned = Scanned(values["name"], values["seconds"], detections, values.get("problem"))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(line) from error
    if not line.endswith(b"\n") or not isinstance(scanned.name, str) or not _is_time(scanned.seconds):
        raise ValueError(line)
    if not all(map(_is_detection, scanned.detections)) or not isinstance(scanned.problem, (str, type(None))):
        raise ValueError(line)
    return scanned


def _is_detection(found: Detection) -> bool:
    numbers = found.score, found.start, found.end
    return isinstance(found.label, str) and all(map(_is_time, numbers)) and found.start <= found.end


def _is_time(value: object) -> bool:
    """Whether a value is a finite number from 0, as all numbers in a line must be."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e300


def _lock(file: BinaryIO) -> bool:
    """Lock the file until it is closed; whether it worked. On Windows and some network disks there is no lock."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True
