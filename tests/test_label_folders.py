"""Zips of label folders: whole, damaged and malicious ones."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earmark import EarmarkError, Project, read_clip
from earmark.formats.label_folders import Imported, read_zip, write_zip
from tests import sounds


def audio(samples: sounds.Samples, container: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sounds.RATE, format=container, subtype=subtype)
    return buffer.getvalue()


SHORT, OTHER = sounds.whistle(0.2, 1), sounds.snaps(0.15, 2)
WAV, OTHER_WAV = audio(SHORT), audio(OTHER)


def zipped(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def imported(project: Project, data: bytes) -> Imported:
    done = Imported()
    read_zip(project, io.BytesIO(data), done, "my.zip")
    return done


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "home" / "clapper", create=True)


def test_a_project_comes_back_from_its_zip(project: Project, tmp_path: Path) -> None:
    for label in ("Left", "AC/DC", "../x", "🙂"):
        project.add(label, SHORT, sounds.RATE, name="a.1")
        project.add(label, OTHER, sounds.RATE)
    file = io.BytesIO()
    write_zip(project, file)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 8
        assert sorted(archive.namelist())[0] == "%2E%2E%2Fx/" + sorted(archive.namelist())[0].split("/")[1]
    other = Project(tmp_path / "other", create=True)
    done = imported(other, file.getvalue())
    assert (len(done.added), done.skipped) == (8, [])
    assert other.labels == ("Left", "AC/DC", "../x", "🙂")
    for label in other.labels:
        lengths = sorted(len(read_clip(clip.path).samples) for clip in other.clips(label))
        assert lengths == [7_200, 9_600]
    assert {clip.path.name for clip in other.clips()} == {clip.path.name for clip in project.clips()}


def test_an_empty_project_is_an_empty_zip(project: Project) -> None:
    file = io.BytesIO()
    write_zip(project, file)
    assert zipfile.ZipFile(file).namelist() == []


FLOAT = audio(SHORT * np.float32(1 / 3), subtype="FLOAT")


@pytest.mark.parametrize(
    "entries",
    [
        [("Left/a.wav", WAV)],
        [("Left/a.flac", audio(SHORT, "FLAC")), ("Right/a.flac", audio(OTHER, "FLAC"))],
        [("Left/snap.1.wav", WAV)],
        [("Left/🙂.wav", WAV)],
        [("Left/a.wav", WAV), ("Left/a.flac", audio(OTHER, "FLAC"))],
        [("Left/a.wav", FLOAT)],
        [("Left/a.ogg", audio(SHORT, "OGG"))],
        [("Left /a.wav", WAV), ("Left /b.wav", OTHER_WAV)],
        [("e\u0301/a.wav", WAV), ("e\u0301/b.wav", OTHER_WAV)],
    ],
    ids=["wav", "flac", "dots", "emoji", "one stem", "float", "ogg", "space", "mac"],
)
def test_the_same_zip_twice_adds_its_clips_once(project: Project, entries: list[tuple[str, bytes]]) -> None:
    data = zipped(entries)
    assert len(imported(project, data).added) == len(entries)
    again = imported(project, data)
    assert again.added == []
    assert [reason for _, reason in again.skipped] == [
        f"{name.partition('/')[2]} is in the project already." for name, _ in entries
    ]
    assert len(project.clips()) == len(entries)


def test_another_sound_of_the_same_name_is_added(project: Project) -> None:
    imported(project, zipped([("Left/a.wav", WAV)]))
    assert len(imported(project, zipped([("Left/a.wav", OTHER_WAV)])).added) == 1
    assert len(project.clips("Left")) == 2


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Left/a.wav", "Left"),
        ("export/2026/Left/a.WAV", "Left"),
        ("Left\\a.wav", "Left"),
        ("AC%2FDC/a.wav", "AC/DC"),
        ("/Left/a.wav", "Left"),
        ("../Left/a.wav", "Left"),
        ("../../../../Left/a.wav", "Left"),
        ("C:/a.wav", "C:"),
        ("%2E%2E/a.wav", ".."),
        ("a//b.wav", "a"),
        ("Left/./a.wav", "Left"),
    ],
)
def test_a_files_last_folder_is_its_label_and_nothing_leaves_the_project(
    project: Project, tmp_path: Path, name: str, label: str
) -> None:
    done = imported(project, zipped([(name, WAV)]))
    assert [clip.label for clip in done.added] == [label]
    (clip,) = project.clips()
    assert clip.path.parent.parent == project.path / "clips"
    assert only_the_project(tmp_path)


def only_the_project(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["home"] and [
        path.name for path in (folder / "home").iterdir()
    ] == ["clapper"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.wav", WAV),
        ("../a.wav", WAV),
        ("/a.wav", WAV),
        ("Left/../a.wav", WAV),
        ("Left/notes.txt", b"notes"),
        ("Left/text.wav", b"no sound"),
        ("Left/empty.wav", b""),
        ("Left/cut.flac", audio(SHORT, "FLAC")[:3_000]),
        ("Left/none.wav", audio(SHORT[:0])),
        ("x" * 100 + "/a.wav", WAV),
        ("a\nb/a.wav", WAV),
        (" /a.wav", WAV),
    ],
    ids=lambda value: ascii(value[:16]) if isinstance(value, str) else "",
)
def test_a_file_that_can_not_be_added_is_told_and_the_rest_is_added(
    project: Project, tmp_path: Path, name: str, content: bytes
) -> None:
    done = imported(project, zipped([(name, content), ("Right/b.wav", OTHER_WAV)]))
    assert [clip.label for clip in done.added] == ["Right"]
    ((skipped, reason),) = done.skipped
    assert skipped == name
    assert ": " in reason
    assert reason.endswith(".")
    assert project.labels == ("Right",)
    assert only_the_project(tmp_path)


def test_what_systems_put_into_zips_is_passed_over(project: Project) -> None:
    junk = ["__MACOSX/Left/._a.wav", "Left/.DS_Store", ".git/Left/a.wav", "Left/.hidden.wav"]
    done = imported(project, zipped([*((name, WAV) for name in junk), ("Left/a.wav", WAV), ("Empty/", b"")]))
    assert (len(done.added), done.skipped) == (1, [])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a zip"),
        (b"no zip at all", "not a zip"),
        (WAV, "not a zip"),
        (zipped([("Left/a.wav", WAV)])[:5_000], "not a zip"),
        (zipped([]), "holds no recordings"),
        (zipped([("Left/", b"")]), "holds no recordings"),
        (zipped([(f"Left/{number}.wav", b"") for number in range(20_001)]), "holds 20,001 files: split"),
    ],
    ids=["nothing", "text", "wav", "cut off", "empty", "empty folder", "20,001 files"],
)
def test_what_is_no_zip_of_recordings_is_told_and_changes_nothing(project: Project, data: bytes, says: str) -> None:
    with pytest.raises(EarmarkError, match=rf"^my\.zip .*{says}.*\.$"):
        imported(project, data)
    assert list((project.path / "clips").iterdir()) == []


def test_a_zip_that_claims_to_unpack_to_more_than_its_limit_is_refused(project: Project) -> None:
    data = bytearray(zipped([(f"Left/{number}.wav", WAV) for number in range(9)]))
    at = 0
    while (at := data.find(b"PK\1\2", at + 1)) > 0:  # each entry of the directory; its size lies 24 bytes in
        struct.pack_into("<I", data, at + 24, 500 << 20)
    with pytest.raises(EarmarkError, match="more than 4 GiB: split it"):
        imported(project, bytes(data))
    assert project.clips() == []


def test_a_bomb_is_told_before_it_fills_the_memory(project: Project) -> None:
    bomb = zipped([("Left/bomb.wav", WAV[:44] + bytes((256 << 20) + 1))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    done = imported(project, bomb)
    assert done.added == []
    assert [reason for _, reason in done.skipped] == ["bomb.wav is larger than 256 MiB: cut it into clips."]
    assert project.labels == ()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_compression_is_read_and_its_damage_told(project: Project, compression: int) -> None:
    data = zipped([("Left/a.wav", WAV)], compression)
    assert len(imported(project, data).added) == 1
    damaged = bytearray(data)
    for at in range(60, 200):
        damaged[at] ^= 0x5A
    done = imported(project, bytes(damaged))
    assert done.added == []
    assert done.skipped == [("Left/a.wav", "a.wav is damaged in the zip, or locked: get a whole copy of it.")]
    assert len(project.clips()) == 1


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_clip_is_skipped_and_those_around_it_are_added(project: Project, damaged: int) -> None:
    data = bytearray(zipped([("Left/a.wav", WAV), ("Left/b.wav", WAV[:9_000]), ("Left/c.wav", OTHER_WAV)]))
    at = (0, len(WAV) + 300, len(WAV) + 9_000 + 400)[damaged]
    data[at + 200] ^= 0xFF  # within one clip, whose checksum then doesn't match
    done = imported(project, bytes(data))
    assert [name for name, _ in done.skipped] == [("Left/a.wav", "Left/b.wav", "Left/c.wav")[damaged]]
    assert len(project.clips()) == len(done.added) == 2


def test_a_clip_of_any_time_and_name_goes_into_the_zip(project: Project) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    os.utime(clip.path, (0, 0))  # 1970, before a zip's first year
    shutil.copy(clip.path, os.fsdecode(os.fsencode(clip.path.parent) + b"/caf\xe9.flac"))
    file = io.BytesIO()
    write_zip(project, file)
    assert len(zipfile.ZipFile(file).namelist()) == 2


PLAIN = zipped([("Left/a.wav", WAV[:3_000]), ("../x/b.wav", OTHER_WAV[:2_000]), ("AC%2FDC/c.wav", WAV[:1_000])])
SHRUNK = {kind: zipped([("Left/a.wav", WAV), ("Up/b.wav", OTHER_WAV)], kind) for kind in (8, 12, 14)}


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from([PLAIN, *SHRUNK.values()]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans()), min_size=1, max_size=6),
    st.floats(0.5, 1),
)
@example(SHRUNK[12], [(0.01, 0, False)], 1.0)
@example(SHRUNK[14], [(0.3, 0, False), (0.2, 7, False)], 1.0)
def test_a_damaged_zip_adds_whole_clips_or_tells(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, changes: list[tuple[float, int, bool]], kept: float
) -> None:
    home = tmp_path_factory.mktemp("damaged")
    project = Project(home / "home" / "clapper", create=True)
    damaged = bytearray(data)
    for at, value, at_the_end in changes:  # the directory lies at the end
        size = min(len(damaged), 250)
        damaged[(len(damaged) - size if at_the_end else 0) + int(at * (size if at_the_end else len(damaged)))] = value
    if kept < 0.6:
        del damaged[round(len(damaged) * kept) :]
    done = Imported()
    try:
        read_zip(project, io.BytesIO(bytes(damaged)), done)
    except EarmarkError:
        assert done.added == []
    clips = Project(project.path).clips()
    assert {clip.path for clip in clips} == {clip.path for clip in done.added}
    assert len(clips) == len(done.added)
    assert all(clip.error is None and np.isfinite(read_clip(clip.path).samples).all() for clip in clips)
    assert only_the_project(home)
