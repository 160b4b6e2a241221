"""Hugging Face's `audiofolder`: sound files, and a table of their labels.

Source: "Create an audio dataset" in the documentation of `datasets` 5, and its module `folder_based_builder`: a
`metadata.csv` or `metadata.jsonl` has a column `file_name`, a path from the table's own folder, and here a `label`.
There may be a table for each split, in the folders `train`, `validation` and `test`. Without a table the folders are
labels, and `label_folders` reads them.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from earmark.audio.clip import encode_flac
from earmark.clips.folders import ClipFile
from earmark.clips.labelled import LabelledClips
from earmark.errors import EarmarkError
from earmark.exchange.file_set import FileSet
from earmark.exchange.found_recordings import SPLIT_FOLDERS, Findings, is_recording, split_of
from earmark.exchange.written_recordings import Written
from earmark.front_end.recordings import read_recording, sound_of
from earmark.storage.files import new_folder

if TYPE_CHECKING:
    from earmark.progress import Report

CSV, JSON_LINES, PARQUET = "metadata.csv", "metadata.jsonl", "metadata.parquet"
FILE_NAME, LABEL = "file_name", "label"
SEPARATORS = ",;\t"
MAX_TABLE_BYTES = 32 << 20  # of all tables together
MAX_ROW = 1 << 20  # characters; a parsed row takes many times as much memory
MAX_ROWS = 500_000  # of all tables together
# Texts that pandas, with which `datasets` reads CSV, takes for a missing value or for another type.
_MISREAD = re.compile(r"|#N/A( N/A)?|#NA|<NA>|N/A|n/a|NA|NULL|null|None|-?(nan|NaN)|-?1\.#(IND|QNAN)|true|false", re.I)

Row = tuple[str, str | None]  # a file's name, and its label if it has one


def is_audiofolder(files: FileSet) -> bool:
    """Whether a folder or zip has a metadata table."""
    return any(path.name in (CSV, JSON_LINES, PARQUET) for path in files.paths)


def find_audiofolder(files: FileSet) -> Findings:
    """The recordings that the tables name. A file that no table names is left out and reported.

    Raises:
        EarmarkError: a table can't be read.
    """
    findings = Findings()
    by_path = {_normal(path): path for path in files.paths}
    named: set[PurePosixPath] = set()
    tables = [path for path in files.paths if path.name in (CSV, JSON_LINES, PARQUET)]
    size = count = 0
    for table in tables:
        data = files.read(table, MAX_TABLE_BYTES)
        size += len(data)
        if size > MAX_TABLE_BYTES:
            raise EarmarkError(f"{files.name} has tables of more than {MAX_TABLE_BYTES >> 20} MiB: divide it.")
        for file_name, label in read_table(data, table.name):
            count += 1
            if count > MAX_ROWS:
                raise EarmarkError(f"{files.name} has tables of more than {MAX_ROWS:,} files: divide it.")
            path = by_path.get(_normal(table.parent / file_name.replace("\\", "/")))
            if path is None:
                told = _on_one_line(file_name)
                findings.skipped.append((told, f"{told} is not there, though {table.name} names it."))
            elif path not in named:
                named.add(path)
                split = split_of(path.parent)
                findings.add_file(files, path, label or _folder_label(path, table.parent), split)
    for path in files.paths:
        if is_recording(path) and path not in named:
            findings.skipped.append((str(path), f"{path.name} is in no {tables[0].name}: name it there."))
    return findings


def read_table(data: bytes, name: str) -> Iterator[Row]:
    """The rows of a `metadata.csv` or `metadata.jsonl`, one after the other.

    Raises:
        EarmarkError: the table can't be read, or has no column `file_name`.
    """
    if name == PARQUET:
        raise EarmarkError(f"{name} can't be read: save the table as {CSV} instead.")
    try:
        encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        text = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
        yield from _csv_rows(text, _separator(data, encoding)) if name == CSV else _json_rows(text)
    except (csv.Error, ValueError, RecursionError) as error:
        raise EarmarkError(f"{name} is not a table that can be read: save it anew, in UTF-8.") from error
    except KeyError as error:
        raise EarmarkError(f"{name} has no column {FILE_NAME}: add it, or move the table away.") from error


def write_audiofolder(project: LabelledClips, target: Path, report: Report | None = None) -> Written:
    """Write all recordings with sound as FLAC in `data/`, and a table of their labels.

    The files are named by hashes of their content, since `datasets` takes a word like "test" in a path for a split. The
    table is CSV unless a label, like `None` or `7`, would be read as something other than text.

    Raises:
        EarmarkError: the folder exists already and isn't empty, or can't be written to; nothing is left of it then.
    """
    written, clips = Written(), project.clips()
    rows: dict[str, str] = {}
    with new_folder(target) as folder:
        (folder / "data").mkdir()
        for number, clip in enumerate(clips):
            if report is not None:
                report("Writing the recordings", number, len(clips))
            try:
                data = _flac(clip)
            except EarmarkError as error:
                written.skip(clip, error)
                continue
            digest = hashlib.sha256(clip.label.encode(errors="replace") + b"\0" + data).hexdigest()[:16]
            name = next(name for name in _names(digest) if name not in rows)
            (folder / name).write_bytes(data)
            rows[name] = clip.label
        written.count = len(rows)
        table, content = write_table(rows)
        (folder / table).write_bytes(content)
    return written


def write_table(rows: dict[str, str]) -> tuple[str, bytes]:
    """The name and content of the table of files and their labels."""
    if any(is_misread(label) for label in rows.values()):
        lines = [json.dumps({FILE_NAME: name, LABEL: label}, ensure_ascii=False) for name, label in rows.items()]
        return JSON_LINES, "".join(f"{line}\n" for line in lines).encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([(FILE_NAME, LABEL), *rows.items()])
    return CSV, text.getvalue().encode()


def is_misread(label: str) -> bool:
    """Whether a label in a CSV file may be read as a number, a truth value, or nothing."""
    try:
        float(label)
    except ValueError:
        return _MISREAD.fullmatch(label) is not None
    return True


def _separator(data: bytes, encoding: str) -> str:
    """What separates a table's columns: spreadsheets in many languages write semicolons, or tabs, for commas."""
    head = data[:MAX_ROW].decode(encoding, "ignore").lstrip().splitlines()[:1]
    for separator in SEPARATORS:
        names = next(csv.reader(head, delimiter=separator), [])
        if len(names) > 1 and FILE_NAME in [name.strip() for name in names]:
            return separator
    return SEPARATORS[0]


def _csv_rows(text: IO[str], separator: str) -> Iterator[Row]:
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    columns: dict[str, int] = {}
    for number, column in enumerate(next(reader, [])):
        columns.setdefault(column.strip(), number)
    name_at, label_at = columns[FILE_NAME], columns.get(LABEL)
    lines.row = 0
    for row in reader:
        lines.row = 0
        if len(row) > name_at and row[name_at]:
            yield row[name_at], row[label_at] if label_at is not None and len(row) > label_at else None


def _json_rows(text: IO[str]) -> Iterator[Row]:
    lines = _Lines(text)
    for line in lines:
        lines.row = 0
        if line.strip():
            values = json.loads(line)
            name = values[FILE_NAME] if isinstance(values, dict) else None
            if not isinstance(name, str):
                raise ValueError("no path")
            label = values.get(LABEL)
            yield name, str(label) if isinstance(label, (str, int, float)) else None


class _Lines:
    """The lines of a text, of at most `MAX_ROW` characters per row. The reader of the rows resets the count.

    Raises:
        ValueError: a row is longer.
    """

    def __init__(self, text: IO[str]) -> None:
        self._text, self.row = text, 0

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(MAX_ROW):
            self.row += len(line)
            if self.row >= MAX_ROW:
                raise ValueError("too long a row")
            yield line


def _on_one_line(name: str) -> str:
    """A name from a table as a message shows it, without characters that a terminal obeys or can't print."""
    return "".join(character if character.isprintable() else "?" for character in name[:200])


def _normal(path: PurePosixPath) -> str:
    return posixpath.normpath(str(path))


def _folder_label(path: PurePosixPath, table_folder: PurePosixPath) -> str | None:
    """The label if the table has none: the name of a folder between it and the file, unless that names a split."""
    folder = path.parent
    return None if folder == table_folder or folder.name in ("data", *SPLIT_FOLDERS) else folder.name


def _flac(clip: ClipFile) -> bytes:
    if clip.path.suffix.lower() == ".flac":
        sound_of(read_recording(clip.path, clip.path.name))  # checks that the file is whole
        return clip.path.read_bytes()
    return encode_flac(sound_of(read_recording(clip.path, clip.path.name)))


def _names(digest: str) -> Iterable[str]:
    yield f"data/{digest}.flac"
    for number in range(2, 1_000_000):
        yield f"data/{digest}-{number}.flac"
