"""Hugging Face's audiofolder: tables of files and labels."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError, Project, read_clip
from earmark.exchange.audiofolder import is_misread, read_table, write_audiofolder, write_table
from earmark.exchange.importing import import_into
from tests import chirps, sounds


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "words", create=True)


def save(folder: Path, *names: str) -> Path:
    """Files that are each another sound."""
    for number, name in enumerate(names):
        chirps.save(folder / name, chirps.word("rise", take=number))
    return folder


def labels(project: Project) -> dict[str, str]:
    return {clip.path.stem: clip.label for clip in project.clips()}


def test_a_table_tells_the_labels(project: Project, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "data/a.wav", "data/b.flac", "data/unnamed.wav")
    rows = 'label,file_name,speaker\nup,data/a.wav,ann\n"a ""b"", c",.\\data\\b.flac,bob\nup,data/gone.wav,cid\n'
    (folder / "metadata.csv").write_text(rows)
    (folder / "README.md").write_text("about")
    done = import_into(project, folder)
    assert labels(project) == {"a": "up", "b": 'a "b", c'}
    assert done.skipped == [
        ("data/gone.wav", "data/gone.wav is not there, though metadata.csv names it."),
        ("data/unnamed.wav", "unnamed.wav is in no metadata.csv: name it there."),
    ]
    assert import_into(project, folder).added == []


def test_each_split_may_have_its_own_table(project: Project, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "train/a.wav", "train/b.wav", "validation/c.wav", "test/d.wav")
    for split, files in (("train", "ab"), ("validation", "c"), ("test", "d")):
        lines = [json.dumps({"file_name": f"{file}.wav", "label": f"is {file}"}) for file in files]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines))
    import_into(project, folder, split="validation")
    assert labels(project) == {"c": "is c"}
    import_into(project, folder, only=["is a", "is d"])
    assert labels(project) == {"a": "is a", "c": "is c", "d": "is d"}
    import_into(project, folder)
    assert len(labels(project)) == 4


def test_one_table_may_tell_of_all_splits(project: Project, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "train/a.wav", "test/b.wav")
    (folder / "metadata.csv").write_text("file_name,label\r\ntrain/a.wav,up\r\ntest/b.wav,down\r\n")
    import_into(project, folder, split="test")
    assert labels(project) == {"b": "down"}


def test_without_a_table_the_folders_are_the_labels(project: Project, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "train/electronic/1.wav", "train/punk/2.wav", "test/punk/3.wav")
    import_into(project, folder, split="train")
    assert labels(project) == {"1": "electronic", "2": "punk"}


def test_a_table_without_labels_leaves_them_to_the_folders(project: Project, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "train/punk/a.wav", "train/b.wav")
    (folder / "metadata.csv").write_text("file_name,text\ntrain/punk/a.wav,hey\ntrain/b.wav,ho\n")
    done = import_into(project, folder)
    assert labels(project) == {"a": "punk"}
    assert [name for name, _ in done.skipped] == ["train/b.wav"]
    import_into(project, folder, label="rock")
    assert labels(project) == {"a": "punk", "b": "rock"}


def test_no_row_leads_out_of_the_folder(project: Project, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "a.wav")
    save(tmp_path, "secret.wav")
    outside = ["../secret.wav", str(tmp_path / "secret.wav"), "x/../../secret.wav", r"\\server\a.wav"]
    names = ["a.wav", *outside, "x/../a.wav"]
    table = io.StringIO()
    csv.writer(table).writerows([("file_name", "label"), *((name, "up") for name in names)])
    (folder / "metadata.csv").write_text(table.getvalue())
    done = import_into(project, folder)
    assert [clip.path.name for clip in done.added] == ["a.flac"]
    assert [name for name, _ in done.skipped] == outside


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metadata.csv", b"", "has no column file_name: add it"),
        ("metadata.csv", b"path,label\na.wav,up\n", "has no column file_name: add it"),
        ("metadata.csv", b"file_name,label\n\xff\xfe.wav,up\n", "is not a table that can be read"),
        ("metadata.csv", b'file_name,label\n"a.wav,up\n', "is not a table that can be read"),
        ("metadata.csv", b"file_name,label\na.wav," + b"x" * 200_000, "is not a table that can be read"),
        ("metadata.jsonl", b"{", "is not a table that can be read"),
        ("metadata.jsonl", b"[1, 2]", "is not a table that can be read"),
        ("metadata.jsonl", b'{"file_name": 7}', "is not a table that can be read"),
        ("metadata.jsonl", b'{"label": "up"}', "has no column file_name: add it"),
        ("metadata.jsonl", b"[" * 100_000, "is not a table that can be read"),
        ("metadata.parquet", b"PAR1", "can't be read: save the table as metadata.csv"),
    ],
)
def test_a_bad_table_is_told_and_changes_nothing(
    project: Project, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    folder = save(tmp_path / "set", "a.wav")
    (folder / name).write_bytes(content)
    with pytest.raises(EarmarkError, match=rf"^{name} {says}.*\.$"):
        import_into(project, folder)
    assert project.labels == ()


@given(st.binary(max_size=200), st.sampled_from(["metadata.csv", "metadata.jsonl"]))
def test_any_table_is_read_or_told(content: bytes, name: str) -> None:
    try:
        rows = list(read_table(content, name))
    except EarmarkError as error:
        assert str(error).startswith(name)  # noqa: PT017 (either may happen)
    else:
        assert all(isinstance(file, str) for file, _ in rows)


LABELS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(str.strip)


@given(st.dictionaries(st.from_regex(r"data/[0-9a-f]{16}\.flac", fullmatch=True), LABELS, min_size=1))
def test_a_table_comes_back(rows: dict[str, str]) -> None:
    name, content = write_table(rows)
    assert dict(read_table(content, name)) == rows


@pytest.mark.parametrize("label", ["None", "NA", "nan", "null", "7", "-1.5e3", "inf", "True", "", "N/A", "1_000"])
def test_what_pandas_would_not_read_as_text_goes_into_json(label: str) -> None:
    assert is_misread(label)
    assert write_table({"data/0.flac": label})[0] == "metadata.jsonl"


@pytest.mark.parametrize("label", ["no", "yes", "Left", "none of it", "seven", "_background_noise_", "上一张"])
def test_every_other_label_goes_into_csv(label: str) -> None:
    assert write_table({"data/0.flac": label}) == (
        "metadata.csv", f"file_name,label\ndata/0.flac,{label}\n".encode()
    )  # fmt: skip


@pytest.mark.parametrize("names", [("test", "AC/DC", "_background_noise_"), ("None", "7", "up")])
def test_what_was_written_comes_back_bit_for_bit(project: Project, tmp_path: Path, names: tuple[str, ...]) -> None:
    for number, label in enumerate(names):
        project.add(label, sounds.whistle(0.3, number), sounds.RATE)  # 24 bits
        project.add(label, np.round(sounds.snaps(0.2, number) * 2**15) / 2**15, sounds.RATE)  # 16 bits
    project.add_spectrogram(names[0], np.full((43, 232), -60.0), name="levels")
    chirps.save(project.path / "clips" / "up" / "by hand.wav", chirps.word("fall"))
    written = write_audiofolder(project, tmp_path / "out")
    assert written.count == 7
    assert [name for name, _ in written.skipped] == [f"{names[0]}/levels.npy"]
    other = Project(tmp_path / "other", create=True)
    done = import_into(other, tmp_path / "out")
    assert (len(done.added), done.skipped) == (7, [])
    assert contents(other) == contents(project)


def contents(project: Project) -> set[tuple[str, bytes]]:
    clips = [clip for clip in project.clips() if clip.has_sound]
    return {(clip.label, read_clip(clip.path).samples.tobytes()) for clip in clips}


def test_no_path_says_a_split(project: Project, tmp_path: Path) -> None:
    """`datasets` takes "test", "train", "dev" and the like in a path for a split; the files' names are digits."""
    for label in ("test", "train", "validation"):
        project.add(label, sounds.whistle(0.2, 1), sounds.RATE, name="dev")
    write_audiofolder(project, tmp_path / "out")
    files = sorted(file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.*"))
    assert [file for file in files if file == "metadata.csv"] == ["metadata.csv"]
    assert all(set(Path(file).stem) <= set("0123456789abcdef") for file in files if file != "metadata.csv")
    assert len(files) == 4


def test_two_that_are_alike_are_both_written(project: Project, tmp_path: Path) -> None:
    for name in ("one", "two"):
        project.add("up", sounds.whistle(0.2, 1), sounds.RATE, name=name)
    assert write_audiofolder(project, tmp_path / "out").count == 2
    assert len(list((tmp_path / "out" / "data").iterdir())) == 2


def test_a_zip_of_it_is_read(project: Project, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "data/a.wav")
    (folder / "metadata.csv").write_text("\ufefffile_name,label\ndata/a.wav,up\n")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, os.path.join("my set", file.relative_to(folder)))  # noqa: PTH118 (within a zip)
    assert len(import_into(project, tmp_path / "set.zip").added) == 1
    assert labels(project) == {"a": "up"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_are_read_whatever_they_separate_by(separator: str, encoding: str) -> None:
    lines = [("label", "file_name", "note"), ("größer; als", "a b.wav", "1,5"), ("yes", "c;d.wav", "")]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(lines)
    rows = list(read_table(text.getvalue().encode(encoding), "metadata.csv"))
    assert rows == [("a b.wav", "größer; als"), ("c;d.wav", "yes")]


def test_a_table_without_the_column_is_told_whatever_it_separates_by() -> None:
    for separator in ",;\t":
        with pytest.raises(EarmarkError, match="no column file_name"):
            list(read_table(separator.join(["path", "label"]).encode(), "metadata.csv"))
