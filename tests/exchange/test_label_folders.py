"""Zips of label folders: whole, damaged and malicious ones."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from earmark import EarmarkError, Project, read_clip
from earmark.exchange import file_set
from earmark.exchange.importing import Imported, import_into
from earmark.exchange.label_folders import write_label_folders, write_zip
from tests import sounds
from tests.budget import budget


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
    return import_into(project, io.BytesIO(data), name="my.zip")


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
    assert (again.known, again.skipped) == (len(entries), [])
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
    assert skipped == name.replace("\n", "?")
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
        (zipped([("read me.txt", b"a model"), ("model.json", b"{}")]), "holds no recordings: choose label folders"),
    ],
    ids=["nothing", "text", "wav", "cut off", "empty", "empty folder", "a model"],
)
def test_what_is_no_zip_of_recordings_is_told_and_changes_nothing(project: Project, data: bytes, says: str) -> None:
    with pytest.raises(EarmarkError, match=rf"^my\.zip .*{says}.*\.$"):
        imported(project, data)
    assert list((project.path / "clips").iterdir()) == []


def test_a_zip_of_too_many_files_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_set, "MAX_ENTRIES", 20)
    data = zipped([(f"Left/{number}.wav", WAV) for number in range(21)])
    with pytest.raises(EarmarkError, match=r"^my\.zip holds more than 20 files: split it into zips of less\.$"):
        imported(project, data)
    assert len(imported(project, zipped([(f"L{number}/a.wav", WAV) for number in range(20)])).added) == 20


def test_a_table_of_contents_is_not_read_if_it_fills_the_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_set, "MAX_TABLE_BYTES", 100_000)
    assert len(imported(project, zipped([("Left/a.wav", WAV)])).added) == 1
    with pytest.raises(EarmarkError, match="not a zip that can be read"):
        imported(project, zipped([(f"Left/{'long' * 50}{number}.wav", b"") for number in range(500)]))


def test_a_zip_that_claims_to_unpack_to_more_than_its_limit_is_refused(project: Project) -> None:
    data = bytearray(zipped([(f"Left/{number}.wav", WAV) for number in range(9)]))
    at = 0
    while (at := data.find(b"PK\1\2", at + 1)) > 0:  # each entry of the directory; its size lies 24 bytes in
        struct.pack_into("<I", data, at + 24, 500 << 20)
    with pytest.raises(EarmarkError, match="more than 4 GiB: split it"):
        imported(project, bytes(data))
    assert project.clips() == []


@pytest.mark.slow
def test_a_bomb_is_told_before_it_fills_the_memory(project: Project) -> None:
    bomb = [("Left/bomb.wav", WAV[:44] + bytes((256 << 20) + 1))]
    with pytest.raises(EarmarkError, match=r"unpacks to .* times its size"):
        imported(project, zipped(bomb, zipfile.ZIP_DEFLATED))
    # Beside so much that can't be packed, the whole isn't packed that tightly.
    done = imported(project, zipped([*bomb, ("Left/noise.wav", random.randbytes(2 << 20))], zipfile.ZIP_DEFLATED))
    assert done.added == []
    assert "bomb.wav is larger than 256 MiB: divide it into smaller files." in [reason for _, reason in done.skipped]
    assert project.labels == ()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_is_told(project: Project, compression: int) -> None:
    data = zipped([("Left/a.wav", WAV)], compression)
    assert len(imported(project, data).added) == 1
    damaged = bytearray(data)
    for at in range(60, 200):
        damaged[at] ^= 0x5A
    done = imported(project, bytes(damaged))
    assert done.added == []
    assert done.skipped == [("Left/a.wav", "a.wav is damaged in the zip, or locked: get a whole copy of it.")]
    assert len(project.clips()) == 1


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_python_would_unpack_without_a_limit_is_told(project: Project, compression: int) -> None:
    done = imported(project, zipped([("Left/a.wav", WAV)], compression))
    assert done.added == []
    assert [reason for _, reason in done.skipped] == [
        "a.wav is packed in a way that can't be read: make a zip of the usual kind."
    ]


def test_of_two_entries_of_one_name_the_first_counts(project: Project) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped([("Left/a.wav", WAV), ("Left/a.wav", OTHER_WAV)])
    done = imported(project, data)
    assert [reason for _, reason in done.skipped] == ["a.wav is in the zip twice: the first one counts."]
    assert [clip.seconds for clip in done.added] == [0.2]


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_clip_is_skipped_and_those_around_it_are_added(project: Project, damaged: int) -> None:
    third = audio(OTHER[: len(OTHER) // 2], "WAV")
    data = bytearray(zipped([("Left/a.wav", WAV), ("Left/b.wav", third), ("Left/c.wav", OTHER_WAV)]))
    at = (0, len(WAV) + 300, len(WAV) + len(third) + 400)[damaged]
    data[at + 200] ^= 0xFF  # within one clip, whose checksum then doesn't match
    done = imported(project, bytes(data))
    assert [name for name, _ in done.skipped] == [("Left/a.wav", "Left/b.wav", "Left/c.wav")[damaged]]
    assert len(project.clips()) == len(done.added) == 2


def folders(folder: Path, entries: list[tuple[str, bytes]]) -> Path:
    for name, content in entries:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_is_imported_like_its_zip(project: Project, tmp_path: Path) -> None:
    entries = [("Left/b.wav", OTHER_WAV), ("sets/Left/a.wav", WAV), ("sets/AC%2FDC/a.flac", audio(OTHER, "FLAC"))]
    junk = [(".git/Left/a.wav", WAV), ("Left/.a.wav", WAV), ("Left/notes.txt", b"notes"), ("loose.wav", OTHER_WAV)]
    source = folders(tmp_path / "source", entries + junk)
    done = import_into(project, source)
    assert [clip.path.relative_to(project.path / "clips").as_posix() for clip in done.added] == [
        "Left/b.flac",
        "AC%2FDC/a.flac",
        "Left/a.flac",
    ]
    assert sorted(done.skipped) == [
        ("Left/notes.txt", "notes.txt is not a sound file: use WAV, FLAC, OGG or MP3."),
        ("loose.wav", "loose.wav lies in no folder: put it into one named like its label."),
    ]
    assert len(import_into(project, source).added) == 0
    assert len(import_into(project, str(source), label="Loose").added) == 1
    assert project.labels == ("Left", "AC/DC", "Loose")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes as Unix has them")
def test_nothing_outside_of_a_folder_is_read(project: Project, tmp_path: Path) -> None:
    secret = folders(tmp_path / "secret", [("b.wav", OTHER_WAV)])
    source = folders(tmp_path / "source", [("Left/a.wav", WAV)])
    (source / "Left" / "inside.wav").symlink_to("a.wav")
    (source / "Left" / "outside.wav").symlink_to(secret / "b.wav")
    (source / "Left" / "itself.wav").symlink_to("itself.wav")
    (source / "Left" / "nothing.wav").symlink_to("nothing at all.wav")
    (source / "Right").symlink_to(secret)
    os.mkfifo(source / "Left" / "pipe.wav")
    done = import_into(project, source)
    assert [clip.path.name for clip in done.added] == ["a.flac"]
    reasons = dict(done.skipped)
    assert done.known == 1
    assert reasons["Left/outside.wav"] == "outside.wav is a link to elsewhere: copy what it leads to."
    assert reasons["Right"] == "Right is a link to elsewhere: copy what it leads to."
    assert reasons["Left/pipe.wav"] == "pipe.wav is no file: a pipe or a device can't be imported."
    assert set(reasons) == {
        "Left/outside.wav", "Left/itself.wav", "Left/nothing.wav", "Left/pipe.wav", "Right"
    }  # fmt: skip
    assert project.labels == ("Left",)


def test_a_folder_of_too_many_files_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_set, "MAX_FILES", 2)
    source = folders(tmp_path / "source", [(f"Left/{number}.wav", WAV) for number in range(3)])
    with pytest.raises(EarmarkError, match="holds more than 2 files: name one of the folders in it"):
        import_into(project, source)


def test_a_file_that_is_too_large_is_told(project: Project, tmp_path: Path) -> None:
    source = folders(tmp_path / "source", [("Left/a.wav", WAV)])
    with (source / "Left" / "b.wav").open("wb") as file:
        file.truncate((256 << 20) + 1)  # takes no room on the disk
    assert import_into(project, source).skipped == [
        ("Left/b.wav", "b.wav is larger than 256 MiB: divide it into smaller files.")
    ]


def test_splits_are_told_by_the_folders_above_the_labels(project: Project, tmp_path: Path) -> None:
    entries = [("train/test/a.wav", WAV), ("dev/test/a.wav", OTHER_WAV), ("test/x.wav", audio(sounds.whistle(0.3, 5)))]
    source = folders(tmp_path / "source", entries)
    assert [clip.seconds for clip in import_into(project, source, split="train").added] == [0.2]
    assert [clip.seconds for clip in import_into(project, source, split="validation").added] == [0.15]
    with pytest.raises(EarmarkError, match="has no recordings for the split test: leave it out"):
        import_into(project, source, split="test")
    assert len(import_into(project, source).added) == 1
    assert project.labels == ("test",)


def filled(project: Project) -> Project:
    for label in ("Left", "AC/DC", "_background_noise_"):
        project.add(label, SHORT, sounds.RATE, name="a.1")
        project.add(label, OTHER, sounds.RATE)
    project.add_spectrogram("Left", np.full((43, 232), -70.5), name="levels")
    return project


@pytest.mark.parametrize("name", ["copy", "copy.zip", "sub/copy.ZIP"])
def test_what_was_written_is_read_bit_for_bit(project: Project, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out" / name
    written = write_label_folders(filled(project), target)
    assert (written.count, written.skipped) == (7, [])
    other = Project(tmp_path / "other", create=True)
    done = import_into(other, target)
    assert (len(done.added), done.skipped) == (7, [])
    assert sorted(other.labels) == sorted(project.labels)
    for ours, theirs in zip(by_name(project), by_name(other), strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def by_name(project: Project) -> list[Path]:
    return sorted((clip.path for clip in project.clips()), key=lambda path: path.parts[-2:])


def test_nothing_that_is_there_is_written_over(project: Project, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    (tmp_path / "old.zip").write_text("old")
    for target in ("full", "old.zip"):
        with pytest.raises(EarmarkError, match=rf"{target} is there already: delete it, or choose another name\.$"):
            write_label_folders(filled(project), tmp_path / target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "home", "old.zip"]
    assert (tmp_path / "old.zip").read_text() == "old"
    (tmp_path / "empty").mkdir()
    assert write_label_folders(project, tmp_path / "empty").count > 0


@pytest.mark.parametrize("name", ["copy", "copy.zip"])
def test_nothing_is_left_of_what_could_not_be_written(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    filled(project)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for way in ("rename", "hardlink_to"):
        monkeypatch.setattr(Path, way, fail)
    with pytest.raises(EarmarkError, match=rf"{name} can't be written \(No space left on device\): free some space"):
        write_label_folders(project, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_clip_of_any_time_and_name_goes_into_the_zip(project: Project) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    os.utime(clip.path, (0, 0))  # 1970, before a zip's first year
    shutil.copy(clip.path, os.fsdecode(os.fsencode(clip.path.parent) + b"/caf\xe9.flac"))
    file = io.BytesIO()
    write_zip(project, file)
    assert len(zipfile.ZipFile(file).namelist()) == 2


PLAIN = zipped([("Left/a.wav", WAV[:3_000]), ("../x/b.wav", OTHER_WAV[:2_000]), ("AC%2FDC/c.wav", WAV[:1_000])])
SHRUNK = {kind: zipped([("Left/a.wav", WAV), ("Up/b.wav", OTHER_WAV)], kind) for kind in (8, 12, 14)}  # deflate, …


@budget(120)
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
    try:
        added = imported(project, bytes(damaged)).added
    except EarmarkError:
        added = []
    clips = Project(project.path).clips()
    assert {clip.path for clip in clips} == {clip.path for clip in added}
    assert len(clips) == len(added)
    assert all(clip.error is None and np.isfinite(read_clip(clip.path).samples).all() for clip in clips)
    assert only_the_project(home)
