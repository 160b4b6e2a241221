"""Label tracks of Audacity and selection tables of Raven: what they mark becomes clips, sample for sample."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError, Project, read_clip
from earmark.exchange.importing import import_into
from earmark.exchange.label_tracks import Span, read_track
from tests.budget import budget

RAVEN = """Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation
1\tWaveform 1\t1\t0.5\t1.25\t0.0\t8000.0\tOwl
1\tSpectrogram 1\t1\t0.5\t1.25\t900.0\t4000.0\tOwl
2\tSpectrogram 1\t1\t2.0\t2.5\t900.0\t4000.0\tJay
"""
AUDACITY = "0.500000\t1.250000\tOwl\n\\\t900.000000\t4000.000000\n2.000000\t2.500000\tJay\n"
SPANS = {("Owl", 0.5, 1.25), ("Jay", 2.0, 2.5)}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", create=True, mode="words")


def dawn(folder: Path, name: str = "dawn.wav", rate: int = 16_000) -> np.ndarray:
    """Three seconds of noise, so that no two spans are alike."""
    folder.mkdir(exist_ok=True)
    samples = np.random.default_rng(len(name)).integers(-3_000, 3_000, 3 * rate).astype(np.int16)
    soundfile.write(folder / name, samples, rate)
    return samples / np.float32(2**15)


def check(project: Project, samples: np.ndarray, rate: int = 16_000) -> None:
    clips = {clip.label: read_clip(clip.path) for clip in project.clips()}
    assert set(clips) == {label for label, _, _ in SPANS}
    for label, start, end in SPANS:
        np.testing.assert_array_equal(clips[label].samples, samples[round(start * rate) : round(end * rate)])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dawn.txt", AUDACITY.encode()),
        ("dawn.wav.txt", AUDACITY.replace("\n", "\r\n").encode()),  # as a scan names it
        ("dawn.txt", AUDACITY.replace(".", ",").encode()),  # of a German Audacity
        ("dawn.Table.1.selections.txt", RAVEN.encode()),
        ("dawn.BirdNET.selection.table.txt", RAVEN.replace("Annotation", "Common Name").encode("utf-8-sig")),
        ("dawn.txt", RAVEN.encode("utf-16")),
    ],
)
@pytest.mark.parametrize("form", ["folder", "file", "zip"])
def test_what_a_track_marks_becomes_clips(
    name: str, content: bytes, form: str, project: Project, tmp_path: Path
) -> None:
    samples = dawn(tmp_path / "rec")
    (tmp_path / "rec" / name).write_bytes(content)
    thing = tmp_path / "rec" if form == "folder" else tmp_path / "rec" / "dawn.wav"
    if form == "zip":
        thing = tmp_path / "rec.zip"
        with zipfile.ZipFile(thing, "w") as archive:
            for file in (tmp_path / "rec").iterdir():
                archive.write(file, f"rec/{file.name}")
    imported = import_into(project, thing)
    assert imported.skipped == []
    check(project, samples)
    assert import_into(project, thing).known == 2


def test_a_table_of_several_recordings_counts_from_each_ones_start(project: Project, tmp_path: Path) -> None:
    samples = dawn(tmp_path / "rec")
    rows = ["Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies"]
    rows += ["1\t60.5\t61.25\tdawn.wav\t0.5\tOwl", "2\t0.5\t1.5\tdusk.wav\t0.5\tFox"]
    rows += ["3\t62\t62.5\tdawn.wav\t2\tJay"]
    (tmp_path / "rec" / "dawn.selections.txt").write_text("\n".join(rows))
    import_into(project, tmp_path / "rec")
    check(project, samples)


def test_recordings_without_a_track_and_other_texts_stay_what_they_are(project: Project, tmp_path: Path) -> None:
    for name in ("dawn.wav", "dawn.1.wav", "dusk.wav"):
        dawn(tmp_path / "rec", name)
    (tmp_path / "rec" / "dawn.1.txt").write_text("0\t1\tOwl\n")  # of dawn.1.wav alone
    (tmp_path / "rec" / "dusk.txt").write_text("Recorded at dusk.\n1\t2\n")
    imported = import_into(project, tmp_path / "rec")
    assert [(clip.label, clip.path.stem) for clip in imported.added] == [("Owl", "dawn.1-0001")]
    assert [name for name, _ in imported.skipped if name.endswith(".txt")] == ["dusk.txt"]


@pytest.mark.parametrize(
    ("track", "told"),
    [
        ("0.5\t1.25\tOwl\n1\tlater\tJay\n", "dawn.txt has no times in line 2"),
        ("0.5\t1.25\tOwl\n1.5\t1.5\tJay\n", "marks a moment, no span"),
        ("0.5\t1.25\tOwl\n2\t5\tJay\n", "dawn.wav ends before the span does"),
        ("0.5\t1.25\tOwl\n2\t2.01\tJay\n", "at least 0.1 s long"),
        ("0.5\t1.25\tOwl\n2\t2.5\n", "lies in no folder|doesn't tell a label"),
        ("0\t700\tOwl\n", "longer than 600 s"),
    ],
)
def test_what_a_track_cannot_mean_is_told(track: str, told: str, project: Project, tmp_path: Path) -> None:
    dawn(tmp_path / "rec")
    (tmp_path / "rec" / "dawn.txt").write_text(track)
    imported = import_into(project, tmp_path / "rec")
    assert len(imported.skipped) == imported.unread == 1
    assert re.search(told, imported.skipped[0][1])
    assert len(imported.added) == (1 if "Owl\n2" in track or "Owl\n1.5" in track else 0)


@budget(100)
@given(data=st.binary(max_size=100) | st.text("0123456789.,-\t\\\nab", max_size=60).map(str.encode))
def test_no_track_breaks_it(data: bytes) -> None:
    for start in (b"", RAVEN.encode()[:130]):
        try:
            spans = list(read_track(start + data, "a.txt", "a.wav"))
        except EarmarkError:
            continue
        assert all(isinstance(span, Span) and span.start >= 0 for span in spans)


def test_a_scan_s_own_track_comes_back(project: Project, tmp_path: Path) -> None:
    from earmark import Detection
    from earmark.scan.detections import Scanned, write_detections

    samples = dawn(tmp_path / "rec")
    found = [Detection(label, 0.9, start, end) for label, start, end in sorted(SPANS, key=lambda span: span[1])]
    write_detections(tmp_path / "rec" / "dawn.txt", "audacity", [Scanned("rec/dawn.wav", 3, found)])
    import_into(project, tmp_path / "rec")
    check(project, samples)
