"""A scan's results as files for other programs: CSV, JSON lines, Parquet, Audacity label tracks, RTTM.

In every format, times are in seconds, rounded to a microsecond, and scores are rounded to six digits. Text is UTF-8.
Where recordings' names hold a date and a time, tables have a column `time` besides: when the detection began by the
recorder's clock (see `clock_times`).
Bytes in a file's name that aren't UTF-8 are written as in Python, `\\udcff`.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias
from urllib.parse import quote

from earmark.errors import EarmarkError, needs_package
from earmark.labels import file_stem
from earmark.recognizer.decisions import Detection
from earmark.scan.clock_times import clock_time
from earmark.storage.files import new_file, new_folder

ROW_GROUP = 1 << 16  # detections in one row group of a Parquet file, which are in memory until it is written
TRACK = ".txt"


@dataclass(frozen=True)
class Scanned:
    """The result of scanning one recording.

    Attributes:
        name: the recording's name, as `find_sound_files` gives it.
        seconds: how long the recording is.
        detections: the detections in order of time.
        problem: why only a part of the recording was read, in one sentence; None if all was.
    """

    name: str
    seconds: float
    detections: Sequence[Detection]
    problem: str | None = None


class DetectionRow(NamedTuple):
    """A detection, as every format writes it; the fields are the columns, the last one only where names hold times."""

    path: str
    label: str
    score: float
    start: float
    end: float
    time: str | None = None


_Results: TypeAlias = Iterable[Scanned]


def format_of(target: Path, wanted: str | None) -> str:
    """The format to write: the one that the user wants, or the one that the target's suffix names.

    Raises:
        EarmarkError: there is no such format, the suffix names none, or a package is missing.
    """
    choices = ", ".join(FORMATS)
    if wanted is not None:
        if wanted not in FORMATS:
            raise EarmarkError(f"The format {wanted!r} is not known: choose from {choices}.")
    elif target.suffix.lower() in SUFFIXES:
        wanted = SUFFIXES[target.suffix.lower()]
    else:
        raise EarmarkError(
            f"{target} doesn't tell the format: end its name in {', '.join(SUFFIXES)}, or choose from {choices}."
        )
    if wanted == "parquet" and find_spec("pyarrow") is None:  # better reported now than after a long scan
        raise needs_package(f"Writing {target}", ModuleNotFoundError(name="pyarrow"), "parquet")
    return wanted


def write_detections(target: Path, format: str, results: _Results, has_times: bool = False) -> None:
    """Write a scan's results, wholly or not at all, in constant memory.

    Args:
        target: the file to write, which must not exist. For "audacity" it is a folder unless there is only one result.
        format: one of `FORMATS`.
        results: the results, requested one after the other as they are written.
        has_times: whether tables have the column `time`.

    Raises:
        EarmarkError: the target exists already or can't be written, there is no such format, or a package is missing.
    """
    format_of(target, format)
    FORMATS[format](target, results, DetectionRow._fields if has_times else DetectionRow._fields[:-1])


def _rows(results: _Results) -> Iterator[DetectionRow]:
    for result in results:
        path = _utf8(result.name)
        for found in result.detections:
            score, start, end = (round(float(number), 6) for number in (found.score, found.start, found.end))
            yield DetectionRow(path, _utf8(found.label), score, start, end, clock_time(path, start))


def _utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _write_csv(target: Path, results: _Results, columns: Sequence[str]) -> None:
    """RFC 4180, with a header.

    Labels and paths are written as they are. A spreadsheet takes those that begin with = + - @ for formulas, so import
    them there as text. An escape character in front would change the paths and labels.
    """
    with new_file(target) as file:
        writer = csv.writer(codecs.getwriter("utf-8")(file))
        writer.writerow(columns)
        for row in _rows(results):
            numbers = (f"{number:.6f}" for number in (row.score, row.start, row.end))
            writer.writerow([row.path, row.label, *numbers, row.time][: len(columns)])


def _write_jsonl(target: Path, results: _Results, columns: Sequence[str]) -> None:
    with new_file(target) as file:
        for row in _rows(results):
            values = dict(zip(columns, row, strict=False))
            file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")


def _write_parquet(target: Path, results: _Results, columns: Sequence[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    number = pyarrow.float64()
    types = (text, text, pyarrow.float32(), number, number, pyarrow.string())[: len(columns)]
    schema = pyarrow.schema(list(zip(columns, types, strict=True)))
    rows = _rows(results)
    with new_file(target) as file, parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            values = list(zip(*group, strict=True))[: len(columns)]
            arrays = [pyarrow.array(column, kind) for column, kind in zip(values, types, strict=True)]
            writer.write_table(pyarrow.table(arrays, schema=schema), row_group_size=ROW_GROUP)


def _write_audacity(target: Path, results: _Results, _columns: Sequence[str]) -> None:
    """Label tracks: one line per detection, with tabs between start, end and label.

    If there are several recordings, each has its own track, in folders like the recordings' folders. A track is named
    after its recording, with ".txt" added.
    """
    results = iter(results)
    first = list(islice(results, 2))
    if len(first) < 2:
        with new_file(target) as file:
            _write_track(file, first)
        return
    with new_folder(target) as folder:
        for result in chain(first, results):
            path = _track_path(folder, result.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                _write_track(file, [result])


def _write_track(file: IO[bytes], results: _Results) -> None:
    for row in _rows(results):
        # Characters that would end a field or a line.
        label = " ".join(re.split(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", row.label))
        file.write(f"{row.start:.6f}\t{row.end:.6f}\t{label}\n".encode())


def _track_path(folder: Path, name: str) -> Path:
    """A new path within the folder that resembles the recording's own.

    Names are made safe, so that none leads out of the folder. Folders don't end in ".txt", since tracks do.
    """
    *above, last = [_utf8(part) for part in re.split(r"[/\\]", name.replace("://", "/")) if part not in ("", ".")] or [
        ""
    ]
    parts = [re.sub(r"(?i)\.txt$", "%2Etxt", file_stem(part)) for part in above]
    path = folder.joinpath(*parts, file_stem(last) + TRACK)
    if path.exists():  # if names are long, or differ only in unsafe characters, or (on some disks) only in capitals
        digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:16]
        path = path.with_name(f"{path.stem}-{digest}{TRACK}")
    return path


def _write_rttm(target: Path, results: _Results, _columns: Sequence[str]) -> None:
    """Rich Transcription Time Marked (NIST, RT-09 evaluation plan, appendix A): one SPEAKER line per detection.

    Spaces separate the fields, and <NA> is a field without a value. So path and label are percent-encoded like parts of
    a web address: spaces, control characters, %, < and > become % and two digits for each byte. `urllib.parse.unquote`
    decodes them.
    """
    with new_file(target) as file:
        for row in _rows(results):
            path, label = _rttm_field(row.path), _rttm_field(row.label)
            duration = round(row.end - row.start, 6)
            line = f"SPEAKER {path} 1 {row.start:.6f} {duration:.6f} <NA> <NA> {label} {row.score:.6f} <NA>\n"
            file.write(line.encode())


@lru_cache(maxsize=1024)  # the same labels and paths come again and again
def _rttm_field(text: str) -> str:
    return "".join(quote(letter) if _is_special(letter) else letter for letter in text) or "<NA>"


def _is_special(letter: str) -> bool:
    return letter in "%<>" or letter.isspace() or unicodedata.category(letter).startswith(("C", "Z"))


FORMATS: dict[str, Callable[[Path, _Results, Sequence[str]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
    "audacity": _write_audacity,
    "rttm": _write_rttm,
}
SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "audacity",
    ".rttm": "rttm",
}
