"""What a scan found, in files: each format read back by another reader, or against lines written by hand."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earmark import Detection, EarmarkError
from earmark.scan.detections import FORMATS, ROW_GROUP, Scanned, format_of, write_detections

YES = Detection("yes", 0.87654321, 1.2000004, 2.1999996)
CALL = Detection("tawny owl", 1.0, 0.0, 3600.1234567)
TWO = [Scanned("rec/a.wav", 3, [YES, CALL]), Scanned("rec/b.wav", 2, []), Scanned("c.flac", 4, [YES])]
NEEDS = {"parquet": "pyarrow"}


def written(format: str, results: list[Scanned]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "out")
        write_detections(target, format, results)
        return target.read_bytes()


def rows_of(data: bytes, format: str) -> list[dict[str, Any]]:
    """Read by other programs' readers."""
    if format == "jsonl":
        return [json.loads(line) for line in data.decode().split("\n")[:-1]]
    if format == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="needs the package pyarrow: pip install 'earmark[parquet]'")
        from pyarrow import parquet

        return list(parquet.read_table(pyarrow.BufferReader(data)).to_pylist())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "out.csv")
        file.write_bytes(data)
        with file.open(newline="", encoding="utf-8") as text:
            return list(csv.DictReader(text, strict=True))


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_table_has_a_row_for_each_detection(format: str) -> None:
    rows = rows_of(written(format, TWO), format)
    assert [list(row) for row in rows] == [["path", "label", "score", "start", "end"]] * 3
    assert [(row["path"], row["label"]) for row in rows] == [
        ("rec/a.wav", "yes"),
        ("rec/a.wav", "tawny owl"),
        ("c.flac", "yes"),
    ]
    assert [float(row["start"]) for row in rows] == [1.2, 0, 1.2]
    assert [float(row["end"]) for row in rows] == [2.2, 3600.123457, 2.2]
    assert [float(row["score"]) for row in rows] == pytest.approx([0.876543, 1, 0.876543], abs=6e-8)  # a float32


def test_csv_is_as_rfc_4180_has_it() -> None:
    odd = Detection('a "b", c', 0.5, 0.1, 1 / 3)
    assert written("csv", [Scanned("x,y.wav", 1, [odd])]) == (
        b'path,label,score,start,end\r\n"x,y.wav","a ""b"", c",0.500000,0.100000,0.333333\r\n'
    )
    assert written("csv", []) == b"path,label,score,start,end\r\n"


def test_json_lines_are_utf_8() -> None:
    data = written("jsonl", [Scanned("été.wav", 1, [Detection("ぴよ\n", 0.5, 0.25, 1)])])
    assert data.decode() == '{"path": "été.wav", "label": "ぴよ\\n", "score": 0.5, "start": 0.25, "end": 1.0}\n'


def test_rttm_is_as_nist_has_it() -> None:
    odd = [Scanned("my rec/100%.wav", 3, [Detection("<NA>", 0.5, 1, 2), Detection("a\tb\u2003ü", 0.5, 1, 2)])]
    assert written("rttm", TWO).decode() == (
        "SPEAKER rec/a.wav 1 1.200000 1.000000 <NA> <NA> yes 0.876543 <NA>\n"
        "SPEAKER rec/a.wav 1 0.000000 3600.123457 <NA> <NA> tawny%20owl 1.000000 <NA>\n"
        "SPEAKER c.flac 1 1.200000 1.000000 <NA> <NA> yes 0.876543 <NA>\n"
    )
    assert written("rttm", odd).decode() == (
        "SPEAKER my%20rec/100%25.wav 1 1.000000 1.000000 <NA> <NA> %3CNA%3E 0.500000 <NA>\n"
        "SPEAKER my%20rec/100%25.wav 1 1.000000 1.000000 <NA> <NA> a%09b%E2%80%83ü 0.500000 <NA>\n"
    )


def test_one_recording_is_one_label_track() -> None:
    """As Audacity writes them itself: start, end and label, six digits, tabs between."""
    assert written("audacity", TWO[:1]) == b"1.200000\t2.200000\tyes\n0.000000\t3600.123457\ttawny owl\n"
    assert written("audacity", [Scanned("a", 1, [Detection("x\ty\r\nz", 1, 0, 1)])]) == b"0.000000\t1.000000\tx y z\n"
    assert written("audacity", []) == b""


def tracks(folder: Path, names: list[str]) -> dict[str, str]:
    """The files of a scan in which each recording's only detection is called as the recording itself."""
    write_detections(folder, "audacity", [Scanned(name, 1, [Detection(name, 1, 0, 1)]) for name in names])
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8").rstrip("\n").split("\t")[2]
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_many_recordings_are_a_folder_of_label_tracks(tmp_path: Path) -> None:
    names = ["rec/a.wav", "rec/a.flac", "s3://bucket/day 1/b.mp3", "/abs/c.wav", "../up/d.wav", "./e.wav", "x/../../f"]
    assert tracks(tmp_path / "out", names) == {
        "rec/a.wav.txt": "rec/a.wav",
        "rec/a.flac.txt": "rec/a.flac",
        "s3/bucket/day 1/b.mp3.txt": "s3://bucket/day 1/b.mp3",
        "abs/c.wav.txt": "/abs/c.wav",
        "%2E%2E/up/d.wav.txt": "../up/d.wav",
        "e.wav.txt": "./e.wav",
        "x/%2E%2E/%2E%2E/f.txt": "x/../../f",
    }


def test_recordings_named_alike_keep_their_own_tracks(tmp_path: Path) -> None:
    names = ["a", "a.txt/b", "/a", "./a", "a.txt", "A.TXT/b", "x" * 300, "x" * 301, "x" * 301 + "/y"]
    assert sorted(tracks(tmp_path / "out", names).values()) == sorted(names)


TEXT = st.text(st.characters(), max_size=12)  # lone halves of characters too: names of files may hold such


@given(TEXT, TEXT, st.floats(0, 1e6), st.floats(0, 100))
@example("=1+1", "-2", 0.0, 0.0)
@example("a,b\r\n\"c'\t", "\r", 0.0, 1e-7)
@example("\udcff\ud800", "\x85\u2028\x00", 0.0, 0.0)
def test_every_format_keeps_any_label_and_name(label: str, name: str, start: float, seconds: float) -> None:
    results = [Scanned(name, 1, [Detection(label, 0.5, start, start + seconds)])] * 2
    label, name = (text.encode(errors="backslashreplace").decode() for text in (label, name))
    for format in ("csv", "jsonl"):
        data = written(format, results)
        if format == "csv" and b"\0" in data:
            continue  # Python 3.10 doesn't read it
        for row in rows_of(data, format):
            assert (row["path"], row["label"]) == (name, label)
            assert abs(float(row["start"]) - start) <= 0.51e-6
            assert abs(float(row["end"]) - start - seconds) <= 0.51e-6
    lines = written("rttm", results).decode().split("\n")[:-1]
    assert len(lines) == 2
    fields = lines[0].split()  # at anything that Unicode calls a space
    assert (len(fields), fields[0], fields[2], fields[5], fields[6], fields[9]) == (10, "SPEAKER", "1", *["<NA>"] * 3)
    assert (unquote(fields[1]), unquote(fields[7])) == (name or "<NA>", label or "<NA>")
    tracked = written("audacity", results[:1]).decode()
    assert len(tracked.splitlines()) == 1
    assert tracked.count("\t") == 2


@given(st.lists(TEXT, min_size=2, max_size=6, unique=True))
@example(["..", "../..", "/", "", ".", "~", "CON", "c:\\x", "a/b", "a", "a.txt/b"])
def test_label_tracks_never_climb_out_nor_collide(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "inside", "out")
        write_detections(target, "audacity", [Scanned(name, 1, []) for name in names])
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert len(files) == len(names)
    assert all(path.is_relative_to(target) and path.suffix == ".txt" for path in files)


def test_parquet_has_plain_types_and_bounded_groups() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the package pyarrow: pip install 'earmark[parquet]'")
    from pyarrow import parquet

    many = [Scanned(f"{number}.wav", 1, [YES] * 5) for number in range(ROW_GROUP // 5 + 10)]
    data = written("parquet", many)
    file = parquet.ParquetFile(pyarrow.BufferReader(data))
    assert [str(field.type) for field in file.schema_arrow] == [
        "dictionary<values=string, indices=int32, ordered=0>",
        "dictionary<values=string, indices=int32, ordered=0>",
        "float",
        "double",
        "double",
    ]
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [ROW_GROUP, 5 * len(many) - ROW_GROUP]
    table = file.read()
    assert table["path"].to_pylist() == [result.name for result in many for _ in range(5)]
    assert data == written("parquet", many), "the same detections give the same bytes"
    assert parquet.read_table(pyarrow.BufferReader(written("parquet", []))).num_rows == 0


@pytest.mark.thinned(2)
@pytest.mark.parametrize("format", FORMATS)
def test_a_scan_that_fails_leaves_nothing(tmp_path: Path, format: str) -> None:
    if format in NEEDS:
        pytest.importorskip(NEEDS[format])

    def results() -> Iterator[Scanned]:
        yield from TWO
        yield Scanned("long.wav", 1, [YES] * (ROW_GROUP + 1))
        raise EarmarkError("The store is gone: come back later.")

    with pytest.raises(EarmarkError, match="The store is gone"):
        write_detections(tmp_path / "out", format, results())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_there_stays_as_it_is(tmp_path: Path, format: str) -> None:
    if format in NEEDS:
        pytest.importorskip(NEEDS[format])
    target = tmp_path / "out"
    target.write_text("mine")
    with pytest.raises(EarmarkError, match="is there already: delete it, or choose another name"):
        write_detections(target, format, TWO)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_results_are_asked_for_one_after_the_other(tmp_path: Path) -> None:
    """100,000 recordings needn't lie in memory: no more than two are alive while they are written."""
    alive: list[int] = [0, 0]

    class Counted(list[Detection]):
        def __init__(self) -> None:
            super().__init__([YES])
            alive[0] += 1
            alive[1] = max(alive)

        def __del__(self) -> None:
            alive[0] -= 1

    for format in ("csv", "jsonl", "rttm"):
        write_detections(tmp_path / format, format, (Scanned(f"{number}", 1, Counted()) for number in range(100)))
    assert alive == [0, 2]


@pytest.mark.parametrize(
    ("name", "wanted", "format"),
    [
        ("out.csv", None, "csv"),
        ("out.JSONL", None, "jsonl"),
        ("out.ndjson", None, "jsonl"),
        ("out.parquet", None, "parquet"),
        ("out.txt", None, "audacity"),
        ("out.rttm", None, "rttm"),
        ("labels", "audacity", "audacity"),
        ("out.csv", "rttm", "rttm"),
    ],
)
def test_the_format_is_the_wanted_one_or_the_suffixes(name: str, wanted: str | None, format: str) -> None:
    assert format_of(Path(name), wanted) == format


def test_an_unknown_format_is_told_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"^out\.xlsx doesn't tell the format: .*\.csv.*parquet, audacity, rttm\.$"):
        format_of(Path("out.xlsx"), None)
    with pytest.raises(EarmarkError, match=r"^The format 'xml' is not known: choose from csv, jsonl"):
        write_detections(tmp_path / "out.csv", "xml", [])


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        EarmarkError, match=r"needs the package pyarrow: install it with `pip install 'earmark\[parquet"
    ):
        write_detections(tmp_path / "out.parquet", "parquet", TWO)
    assert list(tmp_path.iterdir()) == []
