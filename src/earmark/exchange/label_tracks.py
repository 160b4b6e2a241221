"""Label tracks beside sound files: the spans that somebody has marked in a recording, each of which becomes a clip.

Sources: the Audacity manual, "Importing and Exporting Labels" (start, end and label, with tabs between; lines that
begin with a backslash give frequencies); Cornell's Raven Pro user guide, "Selection tables" (tab-separated, with a
header). Times are in seconds. `earmark scan` writes tracks of the first kind, BirdNET-Analyzer tables of the second.

A track of `dawn.wav` has a name that begins like the recording's: `dawn.txt`, `dawn.wav.txt`,
`dawn.Table.1.selections.txt`.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from earmark.audio import compressed_audio
from earmark.audio.clip import Clip, Samples, longest_clip, read_parts
from earmark.clips.folders import check_length
from earmark.errors import EarmarkError
from earmark.exchange.file_set import FileSet
from earmark.exchange.found_recordings import Findings, Found, is_recording
from earmark.front_end.recordings import Recording
from earmark.front_end.spectrogram_file import is_spectrogram_file

TRACK = ".txt"
MAX_TRACK_BYTES = 16 << 20
PART_SECONDS = 10.0  # of a recording that are decoded at a time
BEGIN, END, FILE, OFFSET = "begin time (s)", "end time (s)", "begin file", "file offset (s)"
# Raven's users name the column themselves; these are its own, BirdNET's, and the usual ones.
LABELS = ("annotation", "label", "species", "common name", "class", "call type", "type", "species code", "tag")
_AUDACITY = re.compile(r"-?\d+([.,]\d+)?\t-?\d+([.,]\d+)?(\t.*)?")


@dataclass(frozen=True)
class Span:
    """What a line of a track marks, in seconds of the recording; without a label if the line has none."""

    start: float
    end: float
    label: str | None


def find_tracks(files: FileSet) -> dict[PurePosixPath, list[PurePosixPath]]:
    """The tracks of each recording that has any, by their names and content."""
    recordings: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in files.paths:
        if is_recording(path) and not is_spectrogram_file(path.name):
            recordings.setdefault(path.parent, []).append(path)
    found: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in files.paths:
        if path.suffix.lower() == TRACK and path.parent in recordings:
            owners = _owners(path, recordings[path.parent])
            if owners and _is_track(files, path):
                for owner in owners:
                    found.setdefault(owner, []).append(path)
    return found


def add_spans(findings: Findings, files: FileSet, path: PurePosixPath, tracks: Sequence[PurePosixPath]) -> None:
    """Add what the tracks mark in a recording, in order of time, or note why that can't be."""
    spans: set[Span] = set()
    try:
        for track in tracks:
            spans.update(read_track(files.read(track, MAX_TRACK_BYTES), track.name, path.name))
    except EarmarkError as error:
        findings.skipped.append((str(path), str(error)))
        findings.unread += 1
        return
    reader = _Spans(files, path)
    for number, span in enumerate(sorted(spans, key=lambda span: (span.start, span.end, span.label or "")), 1):
        told = f"{path} from {span.start:.2f} to {span.end:.2f} s"
        if span.end <= span.start:
            findings.skipped.append((told, "The label marks a moment, no span: drag it over the sound."))
            findings.unread += 1
            continue
        stem = f"{path.stem}-{number:04}"
        findings.recordings.append(Found(told, span.label, stem, partial(reader.read, span)))


def read_track(data: bytes, name: str, recording: str) -> Iterator[Span]:
    """The spans of a track.

    Args:
        data: the track's content.
        name: what to call it in errors.
        recording: the name of its recording's file, as a table of several recordings has it.

    Raises:
        EarmarkError: a line can't be understood.
    """
    text = _text(data)
    rows = _raven_rows(text, recording) if _is_raven(text) else _audacity_rows(text)
    try:
        number = 0
        for number, (start, end, label) in rows:  # noqa: B007 (the error names it)
            yield Span(_seconds(start), _seconds(end), label.strip() or None)
    except ValueError as error:
        raise EarmarkError(f"{name} has no times in line {number}: write start and end in seconds.") from error


class _Spans:
    """Cuts spans out of a recording, which is decoded once if they are asked for in order of time."""

    def __init__(self, files: FileSet, path: PurePosixPath) -> None:
        self._files, self._path = files, path
        self._parts: Iterator[Clip] | None = None
        self._held: Samples = np.zeros(0, np.float32)
        self._first = self._rate = 0  # of what is held, in samples of the recording; and in Hz

    def read(self, span: Span, _label: str) -> Sequence[Recording]:
        """The clip of a span.

        Raises:
            EarmarkError: the recording can't be read, or ends before the span does, or the span is too long or short.
        """
        if self._parts is None or span.start * self._rate < self._first:
            self._open()
        first, last = (round(at * self._rate) for at in (span.start, span.end))
        if last - first > longest_clip(self._rate):
            raise EarmarkError(f"The span is longer than {longest_clip(self._rate) / self._rate:.0f} s: divide it.")
        assert self._parts is not None
        while self._first + len(self._held) < last and (part := next(self._parts, None)) is not None:
            skipped = min(max(0, first - self._first), len(self._held))
            self._held = np.concatenate((self._held[skipped:], part.samples))
            self._first += skipped
        samples = self._held[first - self._first : last - self._first]
        if len(samples) < (last - first) - 0.1 * self._rate or len(samples) == 0:
            raise EarmarkError(f"{self._path.name} ends before the span does: is the track that of another recording?")
        clip = Clip(samples.copy(), self._rate)
        check_length(clip)
        return [clip]

    def _open(self) -> None:
        data = self._files.read(self._path)
        if self._path.suffix.lower() in compressed_audio.SUFFIXES:
            self._parts = iter([compressed_audio.decode(data, self._path.name)])
        else:
            self._parts = read_parts(data, PART_SECONDS, self._path.name)
        part = next(self._parts, None)
        if part is None:
            self._parts = None
            raise EarmarkError(f"{self._path.name} is empty: choose a file with sound in it.")
        self._held, self._first, self._rate = part.samples, 0, part.sample_rate


def _owners(track: PurePosixPath, recordings: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """The recordings that a track's name means: those whose names it begins with, the longest ones."""
    names = {path: (path.name, path.stem) for path in recordings}
    lengths = {
        path: max((len(name) for name in of if track.name.lower().startswith(f"{name}.".lower())), default=0)
        for path, of in names.items()
    }
    longest = max(lengths.values())
    return [path for path, length in lengths.items() if length == longest > 0]


def _is_track(files: FileSet, path: PurePosixPath) -> bool:
    try:
        text = _text(files.read(path, MAX_TRACK_BYTES))
    except EarmarkError:  # it may be any other file
        return False
    first = next(_audacity_rows(text), None)
    return _is_raven(text) or (first is not None and _AUDACITY.fullmatch("\t".join(first[1])) is not None)


def _is_raven(text: str) -> bool:
    head = [name.strip().lower() for name in text.split("\n", 1)[0].split("\t")]
    return BEGIN in head and END in head


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # as Windows writes it


def _audacity_rows(text: str) -> Iterator[tuple[int, tuple[str, str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("\\"):
            start, end, label, *_ = [*line.rstrip("\r").split("\t", 2), "", ""]
            yield number, (start, end, label)


def _raven_rows(text: str, recording: str) -> Iterator[tuple[int, tuple[str, str, str]]]:
    """Rows of a selection table. A selection has a row for each view; of several recordings only this one's count."""
    first, *others = (line.split("\t") for line in re.split("\r\n|\r|\n", text))
    columns = {name.strip().lower(): at for at, name in reversed(list(enumerate(first)))}
    label_at = next((columns[name] for name in LABELS if name in columns), None)
    for number, row in enumerate(others, 2):
        cells = dict(enumerate(row))
        if not any(cell.strip() for cell in row):
            continue
        start, end = cells.get(columns[BEGIN], ""), cells.get(columns[END], "")
        if FILE in columns and OFFSET in columns:
            if cells.get(columns[FILE], "").strip() != recording:
                continue
            offset = cells.get(columns[OFFSET], "")
            try:  # times count from the first of the recordings, and the offset from this one's start
                end = str(_seconds(offset) + _seconds(end) - _seconds(start))
            except ValueError:
                end = ""
            start = offset
        yield number, (start, end, "" if label_at is None else cells.get(label_at, ""))


def _seconds(text: str) -> float:
    """A time; programs write a comma for the point in many languages.

    Raises:
        ValueError: it is none.
    """
    seconds = float(text.strip().replace(",", "."))
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(text)
    return seconds
