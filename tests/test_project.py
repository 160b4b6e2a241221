"""The project: a folder that a person, a program and a crash may all change."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from earmark import Clip, EarmarkError, Project, load, read_clip
from earmark.clips.labelled import Trashed
from earmark.models.network import Network
from earmark.training.sound_network import Epoch
from tests import sounds
from tests.budget import budget
from tests.small_base import small_base

SHORT = sounds.whistle(0.5, 1)
OTHER = sounds.snaps(0.4, 2)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "clapper", create=True, labels=("Left", "Right", "Noise"))


def contents(project: Project) -> dict[str, bytes]:
    """All that lies in the project's folder."""
    return {
        str(path.relative_to(project.path)): path.read_bytes() for path in project.path.rglob("*") if path.is_file()
    }


def kept(project: Project) -> list[tuple[str, int]]:
    """Label and length in samples of each clip, read anew from the files."""
    return [(clip.label, len(read_clip(clip.path).samples)) for clip in Project(project.path).clips()]


# Making and opening


def test_a_new_project_has_its_labels_in_order_and_is_opened_again(project: Project) -> None:
    again = Project(project.path)
    assert again.labels == ("Left", "Right", "Noise")
    assert (again.name, again.mode) == ("clapper", "sounds")
    assert again.clips() == []
    assert len({label.colour for label in again.label_settings()}) == 3


def test_creating_what_is_there_opens_it(project: Project) -> None:
    project.add("Left", SHORT, sounds.RATE)
    assert len(Project(project.path, create=True, labels=("Other",)).clips()) == 1
    assert Project(project.path, create=True).labels == ("Left", "Right", "Noise")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("missing", {}, "is not a project: create it"),
        ("file", {"create": True}, "is a file: name a folder"),
        ("new", {"create": True, "mode": "dances"}, "mode 'dances' is not known"),
        ("new", {"create": True, "labels": ("Left", "")}, "needs a name"),
        ("new", {"create": True, "labels": ("Left", "left")}, "There is a label 'Left' already"),
        ("new", {"create": True, "labels": tuple(map(str, range(101)))}, "at most 100 labels"),
        ("file/new", {"create": True}, "can't be written"),
        ("x" * 300, {"create": True}, ": "),
    ],
)
def test_a_project_that_can_not_be_is_told_and_nothing_is_made(
    tmp_path: Path, name: str, options: dict[str, bool], says: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EarmarkError, match=says):
        Project(tmp_path / name, **options)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


# Clips


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 65_535, 192_000])
def test_a_clip_is_kept_without_loss_at_its_own_rate(project: Project, rate: int) -> None:
    samples = (np.random.default_rng(0).integers(-32_768, 32_768, rate // 2) / 32_768).astype(np.float32)
    added = project.add("Left", samples, rate)
    assert (added.label, added.error) == ("Left", None)
    assert added.seconds == pytest.approx(0.5, abs=1e-4)
    # Half a second is 22,050 samples at 44.1 kHz: 21 hops, and a window takes 4, so 18 windows start.
    assert added.examples == 18
    data, stored_rate = soundfile.read(added.path, dtype="float32")
    assert stored_rate == rate
    np.testing.assert_array_equal(data, samples)
    assert added.path.parent == project.path / "clips" / "Left"
    assert project.clips() == [added]


def test_a_file_is_added_under_its_own_name(project: Project, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "my snap.wav", np.stack([OTHER, OTHER], axis=1), sounds.RATE)
    added = project.add("Right", tmp_path / "my snap.wav")
    assert added.path.name == "my snap.flac"
    second = project.add("Right", str(tmp_path / "my snap.wav"))
    assert second.path != added.path
    assert second.path.stem.startswith("my snap")
    assert len(project.clips("Right")) == 2


def test_a_new_label_comes_with_its_first_clip(project: Project) -> None:
    project.add("Up", SHORT, sounds.RATE)
    assert project.labels == ("Left", "Right", "Noise", "Up")


@pytest.mark.parametrize(("typed", "label"), [(" Up\t", "Up"), ("e\u0301te\u0301", "été"), ("été", "été")])
def test_a_label_may_be_typed_in_any_form_again_and_again(project: Project, typed: str, label: str) -> None:
    for _ in range(2):
        assert project.add(typed, SHORT, sounds.RATE).label == label
    assert project.labels[3:] == (label,)
    assert len(project.clips(label)) == 2


@pytest.mark.parametrize("label", ["../x", "🙂", "AC/DC", "CON", "a.", "..", "/etc", "%2e%2e", "a\\b", "x" * 64, "~"])
def test_clips_of_any_label_stay_inside_the_project(project: Project, tmp_path: Path, label: str) -> None:
    added = project.add(label, SHORT, sounds.RATE, name="../../out")
    assert added.path.parent.parent == project.path / "clips"
    assert added.path.resolve().is_relative_to((project.path / "clips").resolve())
    assert [path.name for path in tmp_path.iterdir()] == ["clapper"]
    assert Project(project.path).clips(label) == [added]
    assert Project(project.path).labels[-1] == label


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "..",
        ".hidden",
        "nul\0",
        "語" * 83,
        "語" * 100,
        "𝔸" * 80,
        "🙂" * 50,
        " ",
        "CON",
        "a\nb",
        os.fsdecode(b"caf\xe9"),
    ],
    ids=lambda name: ascii(name[:8]),
)
def test_a_clip_of_any_name_is_kept_once_and_twice(project: Project, name: str) -> None:
    for _ in range(2):
        project.add("Left", SHORT, sounds.RATE, name=name)
    assert kept(project) == [("Left", 24_000)] * 2
    assert all(clip.path.parent == project.path / "clips" / "Left" for clip in project.clips())


BAD_CLIPS: list[tuple[npt.ArrayLike | Clip, int | None]] = [
    ([], 44_100),
    ([np.nan] * 9_000, 44_100),
    ([0.5] * 9_000, None),
    ([0.5] * 9_000, 7),
    ([500.0] * 9_000, 44_100),
    (Clip(np.full(9_000, np.nan, np.float32), 44_100), None),
    (Clip(np.zeros(0, np.float32), 44_100), None),
]


@pytest.mark.parametrize(
    ("clip", "rate"), BAD_CLIPS, ids=["empty", "nan", "no rate", "7 Hz", "loud", "nan Clip", "empty Clip"]
)
@pytest.mark.parametrize("label", ["Left", "New"])
def test_bad_samples_are_told_and_change_nothing(
    project: Project, label: str, clip: npt.ArrayLike | Clip, rate: int | None
) -> None:
    before = contents(project)
    with pytest.raises(EarmarkError, match=r": .+\.$"):
        project.add(label, clip, rate)
    assert contents(project) == before


@pytest.mark.parametrize("name", ["text.wav", "empty.wav", "missing.wav", "folder", "cut.flac"])
def test_a_bad_file_is_named_and_changes_nothing(project: Project, tmp_path: Path, name: str) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "cut.flac", SHORT, sounds.RATE)
    data = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) * 7 // 10])
    before = contents(project)
    with pytest.raises(EarmarkError, match=rf"{name} .+: .+\.$"):
        project.add("New", tmp_path / name)
    assert contents(project) == before


@pytest.mark.parametrize("label", ["", "  ", "x" * 300, "a\nb", "a\0", "LEFT"], ids=lambda name: ascii(name[:8]))
def test_an_unfit_label_is_told_and_changes_nothing(project: Project, label: str) -> None:
    before = contents(project)
    with pytest.raises(EarmarkError, match=r": .+\.$"):
        project.add(label, SHORT, sounds.RATE)
    with pytest.raises(EarmarkError, match=r": .+\.$"):
        project.add_label(label)
    with pytest.raises(EarmarkError, match=r": .+\.$"):
        project.change_label("Right", new_name=label)
    assert contents(project) == before


def test_a_moved_clip_is_of_its_new_label(project: Project) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    project.add("Right", OTHER, sounds.RATE, name=clip.path.stem)
    moved = project.move_clip(clip, "Right")
    assert moved.label == "Right"
    assert not clip.path.exists()
    assert sorted(kept(project)) == [("Right", 19_200), ("Right", 24_000)]
    assert project.move_clip(moved, "Right").path == moved.path, "it lies there already"
    with pytest.raises(EarmarkError, match="no label 'Up': choose one of Left, Right, Noise"):
        project.move_clip(moved, "Up")
    assert len(project.clips("Right")) == 2


@pytest.mark.parametrize("name", ["snap", "snap.1", "100%", "🙂"])
def test_a_clip_that_is_moved_there_and_back_has_its_name_again(project: Project, name: str) -> None:
    clip = project.add("Left", SHORT, sounds.RATE, name=name)
    back = project.move_clip(project.move_clip(clip, "Right"), "Left")
    assert back.path == clip.path


@pytest.mark.parametrize(
    ("start", "end", "samples"),
    [(0.1, 0.4, 14_400), (0, 99, 24_000), (-5, 0.2, 9_600), (0.25, 0.5, 12_000), (-1e300, 1e300, 24_000)],
)
def test_a_trimmed_clip_holds_the_span_and_the_whole_one_can_be_restored(
    project: Project, start: float, end: float, samples: int
) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    whole = read_clip(clip.path).samples
    trimmed, trashed = project.trim_clip(clip, start, end)
    first = round(max(0, start) * 48_000)
    np.testing.assert_array_equal(read_clip(trimmed.path).samples, whole[first : first + samples])
    assert kept(project) == [("Left", samples)]
    project.restore(trashed)
    assert sorted(kept(project)) == sorted([("Left", samples), ("Left", 24_000)])


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0.3, 0.3),
        (0.4, 0.1),
        (0, 0.05),
        (0.45, 9),
        (7, 9),
        (0, -1),
        (0, float("nan")),
        (float("inf"), 1),
        (0, float("-inf")),
    ],
)
def test_a_span_with_no_example_in_it_is_told_and_the_clip_stays(project: Project, start: float, end: float) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    before = contents(project)
    with pytest.raises(EarmarkError, match=r": .+\.$"):
        project.trim_clip(clip, start, end)
    assert contents(project) == before


def test_a_removed_clip_comes_back_as_it_was(project: Project) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    before = contents(project)
    trashed = project.remove_clip(clip)
    assert project.clips() == []
    project.restore(trashed)
    assert contents(project) == before


def test_restoring_a_clip_keeps_a_new_one_of_its_name(project: Project) -> None:
    trashed = project.remove_clip(project.add("Left", SHORT, sounds.RATE, name="a"))
    project.add("Left", OTHER, sounds.RATE, name="a")
    project.restore(trashed)
    assert sorted(kept(project)) == [("Left", 19_200), ("Left", 24_000)]


def test_restoring_a_label_keeps_new_clips_of_a_label_made_again(project: Project) -> None:
    project.add("Left", SHORT, sounds.RATE, name="a")
    project.add("Left", SHORT[:12_000], sounds.RATE, name="b")
    trashed = project.remove_label("Left")
    project.add("Left", OTHER, sounds.RATE, name="a")
    project.restore(trashed)
    assert project.labels == ("Left", "Right", "Noise")
    assert sorted(kept(project)) == [("Left", 12_000), ("Left", 19_200), ("Left", 24_000)]


def test_what_was_emptied_can_not_be_restored(project: Project) -> None:
    trashed = project.remove_clip(project.add("Left", SHORT, sounds.RATE))
    project.empty_trash()
    assert len(list(project.path.rglob("*.flac"))) == 1, "only what lies there for 30 days is emptied"
    (project.path / ".trash" / ".DS_Store").touch()
    grow_old(project, days=31)
    project.empty_trash()
    assert len(list(project.path.rglob("*.flac"))) == 1, "the clock may be wrong today"
    grow_old(project, days=8)
    project.empty_trash()
    assert list((project.path / ".trash").iterdir()) == []
    with pytest.raises(EarmarkError, match="can't be undone: the trash was emptied"):
        project.restore(trashed)


def test_a_clock_that_jumps_and_comes_back_does_not_empty_the_trash(project: Project) -> None:
    """It jumps to 2099 for a day, and again a month later: what was deleted a minute before stays each time."""
    trashed = project.remove_clip(project.add("Left", SHORT, sounds.RATE))
    for _ in range(2):
        grow_old(project, days=27_000)
        project.empty_trash()
        grow_old(project, days=1)
        project.empty_trash()
        grow_old(project, days=-27_000)
        project.empty_trash()
    project.restore(trashed)
    assert kept(project) == [("Left", 24_000)]


def grow_old(project: Project, days: int) -> None:
    """As if the clock had gone on by so many days, since it can't be set here."""
    for path in (project.path / ".trash").rglob("*"):
        changed = path.stat().st_mtime - days * 24 * 3600
        os.utime(path, (changed, changed))


def test_what_a_killed_writer_left_is_cleared_once_nobody_can_be_writing_it(project: Project) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    old, new, other = (clip.path.with_name(f".{name}.part") for name in ("0123456789ab", "ba9876543210", "mine"))
    for path in (old, new, other):
        path.write_bytes(b"half")
    folder = project.path / "models" / ".0123456789ab.part"
    (folder / "deeper").mkdir(parents=True)
    day_ago = time.time() - 24 * 3600
    for path in (old, other, folder):
        os.utime(path, (day_ago, day_ago))
    project.empty_trash()
    assert [path.exists() for path in (old, new, other, folder)] == [False, True, True, False]
    assert project.clips() == [clip]


def test_a_clip_is_found_by_its_id_and_no_id_leads_out(project: Project, tmp_path: Path) -> None:
    clip = project.add("AC/DC", SHORT, sounds.RATE, name="../a")
    assert project.clip(clip.id) == clip
    soundfile.write(tmp_path / "out.wav", SHORT, sounds.RATE)
    for bad in (
        "",
        "/",
        "..",
        "../earmark.toml",
        "../../out.wav",
        f"Left/../../{clip.path.name}",
        str(clip.path),
        "\0",
    ):
        with pytest.raises(EarmarkError, match="no longer there"):
            project.clip(bad)


# Labels


def test_labels_are_renamed_moved_and_recoloured_with_their_clips(project: Project) -> None:
    project.add("Left", SHORT, sounds.RATE)
    changed = project.change_label("Left", new_name=" AC/DC ", colour="#ABCDEF", position=2)
    assert (changed.name, changed.colour) == ("AC/DC", "#abcdef")
    again = Project(project.path)
    assert again.labels == ("Right", "Noise", "AC/DC")
    assert again.label("AC/DC") == changed
    assert kept(project) == [("AC/DC", 24_000)]
    assert again.change_label("AC/DC", position=-7) == changed
    assert again.labels == ("AC/DC", "Right", "Noise")
    assert again.change_label("AC/DC", position=10**9) == changed
    assert again.labels == ("Right", "Noise", "AC/DC")


def test_a_label_may_change_its_letters_case_alone(project: Project) -> None:
    project.add("Left", SHORT, sounds.RATE)
    project.change_label("Left", new_name="LEFT")
    assert Project(project.path).labels == ("LEFT", "Right", "Noise")
    assert kept(project) == [("LEFT", 24_000)]


def test_an_unfit_colour_or_an_unknown_label_changes_nothing(project: Project) -> None:
    project.add("Left", SHORT, sounds.RATE)
    before = contents(project)
    with pytest.raises(EarmarkError, match="write it like"):
        project.change_label("Left", new_name="Up", colour="red")
    with pytest.raises(EarmarkError, match="write it like"):
        project.add_label("Up", "red")
    for change in (project.remove_label, project.change_label, project.label):
        with pytest.raises(EarmarkError, match="no label 'Up': choose one of"):
            change("Up")
    assert contents(project) == before


def test_a_removed_label_comes_back_in_its_place_with_clips_and_colour(project: Project) -> None:
    project.add("Right", SHORT, sounds.RATE)
    project.change_label("Right", colour="#123456")
    before = contents(project)
    trashed = project.remove_label("Right")
    assert Project(project.path).labels == ("Left", "Noise")
    assert project.clips() == []
    project.restore(trashed)
    assert contents(project) == before


def test_a_label_without_clips_can_be_removed_and_restored(project: Project) -> None:
    trashed = project.remove_label("Noise")
    project.restore(trashed)
    project.restore(trashed)
    assert project.labels == ("Left", "Right", "Noise")


def test_a_project_holds_a_hundred_labels(project: Project) -> None:
    for number in range(97):
        project.add_label(f"label {number}")
    assert len(project.labels) == 100
    before = contents(project)
    with pytest.raises(EarmarkError, match="at most 100 labels: remove one"):
        project.add_label("one more")
    with pytest.raises(EarmarkError, match="at most 100 labels: remove one"):
        project.add("one more", SHORT, sounds.RATE)
    assert contents(project) == before


# A folder that people change by hand


def test_files_dropped_into_a_folder_count(project: Project) -> None:
    folder = project.path / "clips" / "Left"
    folder.mkdir()
    for suffix in ("wav", "flac", "ogg", "aiff"):
        soundfile.write(folder / f"a.{suffix}", SHORT, sounds.RATE)
    shutil.copy(folder / "a.wav", folder / "LOUD.WAV")
    for name in (".hidden.wav", "notes.txt", "._a.wav", "no suffix", ".x.part"):
        shutil.copy(folder / "a.wav", folder / name)
    (folder / "folder.wav").mkdir()
    (folder / "nowhere.wav").symlink_to(project.path / "nothing.wav")
    found = project.clips("Left")
    assert [clip.path.name for clip in found] == ["LOUD.WAV", "a.aiff", "a.flac", "a.ogg", "a.wav"]
    assert [clip.examples for clip in found] == [18] * 5
    (folder / "a.ogg").unlink()
    assert len(project.clips("Left")) == 4


def test_a_folder_made_by_hand_is_a_label(project: Project) -> None:
    (project.path / "clips" / "Up").mkdir()
    (project.path / "clips" / "AC%2FDC").mkdir()
    (project.path / "clips" / ".git").mkdir()
    soundfile.write(project.path / "clips" / "Up" / "a.wav", SHORT, sounds.RATE)
    assert project.labels == ("Left", "Right", "Noise", "AC/DC", "Up")
    assert [clip.label for clip in project.clips()] == ["Up"]
    project.change_label("Up", new_name="Down", position=0)
    assert Project(project.path).labels == ("Down", "Left", "Right", "Noise", "AC/DC")
    assert kept(project) == [("Down", 24_000)]


@pytest.mark.parametrize(
    "folder",
    ["x" * 100, " x ", " ", "a\nb", "%0A", "%00", "%", "left", "e\u0301", os.fsdecode(b"caf\xe9"), "🙂" * 20],
    ids=lambda name: ascii(name[:8]),
)
def test_no_folder_made_by_hand_breaks_the_project(project: Project, folder: str) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    (project.path / "clips" / folder).mkdir()
    shutil.copy(clip.path, project.path / "clips" / folder / "a.flac")
    project.fingerprint()
    project.change_label("Right", colour="#123456")
    project.add_label("Up")
    again = Project(project.path)
    assert again.label("Right").colour == "#123456"
    assert set(again.labels) >= {"Left", "Right", "Noise", "Up"}
    assert len(again.labels) <= 5, "the folder is at most one label"
    assert clip in again.clips()


def test_a_file_name_that_is_not_unicode_is_a_clip_too(project: Project) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    clip.path.rename(os.fsdecode(os.fsencode(clip.path.parent) + b"/caf\xe9.flac"))
    (found,) = project.clips()
    assert found.examples == 18
    assert project.clip(found.id) == found
    assert project.fingerprint() == project.fingerprint()
    project.move_clip(found, "Right")
    assert kept(project) == [("Right", 24_000)]


def test_a_folder_of_labels_may_be_a_link(project: Project, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    soundfile.write(tmp_path / "elsewhere" / "a.wav", SHORT, sounds.RATE)
    (project.path / "clips" / "Up").symlink_to(tmp_path / "elsewhere")
    assert kept(project) == [("Up", 24_000)]
    project.remove_label("Up")
    assert (tmp_path / "elsewhere" / "a.wav").exists(), "what lies outside of the project stays"
    assert project.clips() == []


def test_a_missing_clips_folder_is_made_again(project: Project) -> None:
    (project.path / "clips").rmdir()
    assert project.clips() == []
    project.add("Left", SHORT, sounds.RATE)
    assert kept(project) == [("Left", 24_000)]


def test_a_damaged_clip_shows_an_error_and_training_names_it(project: Project) -> None:
    project.add("Right", OTHER, sounds.RATE)
    good = project.add("Left", SHORT, sounds.RATE)
    bad = good.path.with_name("broken.flac")
    bad.write_bytes(b"no sound")
    (found,) = [clip for clip in project.clips() if clip.path == bad]
    assert (found.seconds, found.examples) == (0, 0)
    assert found.error is not None
    assert "broken.flac" in found.error
    with pytest.raises(EarmarkError, match=r"broken\.flac"):
        project.train()
    bad.write_bytes(good.path.read_bytes()[:-2_000])  # the header is whole, the rest is not
    with pytest.raises(EarmarkError, match=r"broken\.flac.* is damaged or cut off: get a whole copy"):
        project.train()
    assert not (project.path / "models").exists()


def test_a_clip_that_changes_on_disk_is_measured_anew(project: Project) -> None:
    clip = project.add("Left", SHORT, sounds.RATE)
    before = project.fingerprint()
    soundfile.write(clip.path, OTHER, sounds.RATE)
    (found,) = project.clips()
    assert found.seconds == 0.4
    assert project.fingerprint() != before


def test_the_fingerprint_changes_with_clips_and_labels_but_not_with_colours(project: Project) -> None:
    prints = [project.fingerprint()]

    def assert_changed() -> None:
        prints.append(project.fingerprint())
        assert prints[-1] not in prints[:-1]

    clip = project.add("Left", SHORT, sounds.RATE)
    assert_changed()
    clip = project.move_clip(clip, "Right")
    assert_changed()
    project.change_label("Right", new_name="Up")
    assert_changed()
    project.change_label("Up", position=0)
    assert_changed()
    project.change_label("Up", colour="#000000")
    assert project.fingerprint() == prints[-1] == Project(project.path).fingerprint()


# Training


@pytest.mark.parametrize(("clips", "says"), [((), "none has any yet"), (("Left",), "only 'Left' has some")])
def test_fewer_than_two_labels_can_not_be_trained(project: Project, clips: tuple[str, ...], says: str) -> None:
    for label in clips:
        project.add(label, SHORT, sounds.RATE)
    project.add("Right", SHORT[:100], sounds.RATE)  # too short for an example
    with pytest.raises(EarmarkError, match=f"at least two labels: {says}"):
        project.train()
    with pytest.raises(EarmarkError, match=r"no trained model yet: run `earmark train"):
        project.model()
    assert project.model_card() is None


def test_an_unknown_base_is_told(project: Project) -> None:
    for label, take in (("Left", SHORT), ("Right", OTHER)):
        project.add(label, take, sounds.RATE)
    for base, says in (("nowhere", "^nowhere does not exist: "), (__file__, r"test_project\.py is not an ONNX model")):
        with pytest.raises(EarmarkError, match=says):
            project.train(base)
    assert project.model_card() is None


@pytest.fixture
def copy(trained: Project, tmp_path: Path) -> Project:
    shutil.copytree(trained.path, tmp_path / "copy")
    return Project(tmp_path / "copy")


def test_a_trained_project_says_when_its_model_is_stale(trained: Project, copy: Project) -> None:
    card = trained.model_card()
    assert card is not None
    assert card["clips_fingerprint"] == trained.fingerprint()
    copy.add("Left", SHORT, sounds.RATE)
    assert copy.fingerprint() != card["clips_fingerprint"]


def test_a_model_is_fresh_whatever_the_recordings_are_called(project: Project) -> None:
    for label in ("Left", "Right"):
        for name, seconds in (("a", 0.5), ("b", 0.3), ("c", 0.4)):  # in another order than their sizes
            project.add(label, SHORT[: round(seconds * sounds.RATE)], sounds.RATE, name=name)
    project.train(epochs=1)
    card = project.model_card()
    assert card is not None
    assert card["clips_fingerprint"] == project.fingerprint()


def test_training_again_with_the_same_seed_gives_the_same_model(copy: Project) -> None:
    model = copy.path / "models" / "sounds" / "model.onnx"
    before = model.read_bytes()
    copy.train()
    assert model.read_bytes() == before
    copy.train(seed=1, epochs=1)
    assert model.read_bytes() != before


def test_a_training_that_is_broken_off_leaves_the_old_model(copy: Project) -> None:
    def fail(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise RuntimeError("stop")

    before = contents(copy)
    with pytest.raises(RuntimeError, match="stop"):
        copy.train(on_epoch=fail)
    assert contents(copy) == before


def test_labels_without_clips_are_part_of_the_model(copy: Project) -> None:
    copy.add_label("Empty")
    recognizer = copy.train(epochs=1)
    assert recognizer.labels == ("Left", "Right", "Noise", "Empty")


def test_a_trained_recognizer_has_its_history(copy: Project) -> None:
    told: list[Epoch] = []
    recognizer = copy.train(epochs=3, on_epoch=told.append)
    assert recognizer.history == tuple(told)
    assert [(epoch.epoch, epoch.epochs) for epoch in told] == [(1, 3), (2, 3), (3, 3)]
    assert not hasattr(copy.model(), "history"), "what is loaded was trained by somebody else"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 0}, "epochs, batch_size and learning_rate must be greater than 0"),
        ({"seed": -1}, "seed is -1"),
        ({"colour": "red"}, "base 'sounds' has no colour: leave it out"),
        ({"open_set": True}, "base 'sounds' has no open_set: leave it out"),
        ({"base": "words", "epochs": 0}, "epochs, batch_size and learning_rate must be greater than 0"),
        ({"base": "words", "colour": "red"}, "base 'words' has no colour: leave it out"),
        ({"base": "words", "optimizer": "magic"}, "optimizer 'magic' is not known: use sgd, adam"),
        ({"base": "words", "fine_tuning_optimizer": "magic"}, "optimizer 'magic' is not known"),
        ({"base": "words", "validation_split": 1.0}, "validation_split is 1.0: it must be"),
        ({"base": "words", "window_hop_ratio": 0}, "window_hop_ratio is 0: it must be"),
        ({"base": "words", "augment_by_mixing_noise_ratio": 1.5}, "augment_by_mixing_noise_ratio is 1.5"),
        ({"base": "words", "hidden_units": -1}, "hidden_units is -1"),
        ({"base": "words", "fine_tuning_epochs": -1}, "fine_tuning_epochs is -1"),
    ],
)
def test_an_option_that_can_not_be_is_told_and_changes_nothing(
    copy: Project, options: dict[str, Any], says: str
) -> None:
    before = contents(copy)
    with pytest.raises(EarmarkError, match=rf"{says}.*\.$"):
        copy.train(**options)
    assert contents(copy) == before


# Models


@pytest.mark.parametrize(
    "name", ["mine", "../mine", "..", ".", "/etc/mine", "🙂", "a/b", "CON", "x" * 300, "my model 2.0", "%2e%2e", "é"]
)
def test_a_model_of_any_name_stays_inside_the_project_and_is_found_by_it(
    copy: Project, tmp_path: Path, name: str
) -> None:
    trained = copy.train(name=name, epochs=1)
    folder = copy.model_folder(name)
    assert folder.resolve().parent == (copy.path / "models").resolve()
    assert copy.models() == [folder.name, "sounds"]
    assert copy.model_folder(folder.name) == folder
    assert copy.model(name).content == trained.content
    card = copy.model_card(folder.name)
    assert card is not None
    assert (card["name"], card["base"]) == (folder.name, "sounds")
    copy.delete_model(name)
    assert copy.models() == ["sounds"]
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_the_newest_model_is_taken_where_none_is_named(copy: Project) -> None:
    for number, name in enumerate(("a", "c", "b")):
        copy.train(name=name, epochs=1, seed=number)
        os.utime(copy.path / "models" / name / "model.onnx", ns=(number, number + 2**61))
    assert copy.models() == ["b", "c", "a", "sounds"]
    assert copy.model_folder() == copy.path / "models" / "b"
    assert load(copy.path).content == copy.model().content == copy.model("b").content
    assert copy.model("a").content != copy.model("b").content
    copy.delete_model("b")
    assert copy.model_folder().name == "c"
    card = copy.model_card()
    assert card is not None
    assert card["name"] == "c"


def test_the_model_that_was_trained_last_is_the_newest_though_the_clock_was_set_back(copy: Project) -> None:
    future = time.time() + 365 * 24 * 3600
    os.utime(copy.path / "models" / "sounds" / "model.onnx", (future, future))
    copy.train(epochs=1, name="second")
    assert copy.models() == ["second", "sounds"]


def test_what_is_no_model_is_told_and_nothing_is_deleted(copy: Project) -> None:
    (copy.path / "models" / "empty").mkdir()
    (copy.path / "models" / "notes.txt").write_text("no model")
    before = contents(copy)
    for name in ("", "..", "../clips", "empty", "notes.txt", ".", "models", "x" * 300, "nul\0"):
        for change in (copy.delete_model, copy.model, copy.model_folder):
            with pytest.raises(EarmarkError, match=r"has no model .+: choose one of sounds\.$"):
                change(name)
        assert copy.model_card(name or "x") is None
    assert contents(copy) == before
    assert copy.models() == ["sounds"]


def test_a_models_report_and_card_go_with_it(copy: Project) -> None:
    (copy.report_file()).write_text("report")
    assert copy.report_file() == copy.path / "models" / "sounds" / "report.html"
    copy.delete_model("sounds")
    assert list((copy.path / "models").iterdir()) == []
    with pytest.raises(EarmarkError, match="no trained model yet"):
        copy.delete_model("sounds")


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("sounds", "sounds"),
        ("words", "words"),
        ("models/clapper/model.onnx", "clapper"),
        ("models/clapper/model.json", "clapper"),
        (Path("models/clapper"), "clapper"),
        ("tunes.onnx", "tunes"),
        ("teachable.zip", "teachable"),
    ],
)
def test_a_model_is_named_by_its_base(project: Project, base: str | Path, name: str) -> None:
    assert project.report_file(base) == project.path / "models" / name / "report.html"


# Crashes, full disks and several programs at once


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


ADDING = """if True:
    import sys, numpy
    from earmark import Project
    project = Project(sys.argv[1])
    samples = numpy.load(sys.argv[2])
    number = 0
    while True:
        print(project.add(f"label {number % 15}", samples, 48_000, name=str(number)).path, flush=True)
        number += 1
"""


@pytest.mark.slow
def test_a_kill_while_clips_are_added_loses_no_finished_clip(project: Project, tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", SHORT)
    for seed in range(6):
        with python(ADDING, project.path, tmp_path / "samples.npy") as adder:
            assert adder.stdout is not None
            finished = [adder.stdout.readline()]
            time.sleep(random.Random(seed).uniform(0, 0.1))
            adder.kill()
            finished += adder.stdout.readlines()
        again = Project(project.path)
        clips = again.clips()
        assert {str(clip.path) for clip in clips} >= {line.strip() for line in finished}
        assert all(clip.error is None and len(read_clip(clip.path).samples) == 24_000 for clip in clips)
        assert set(again.labels) >= {"Left", "Right", "Noise", *(clip.label for clip in clips)}


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("sounds", {"epochs": 2}),
        ("words", {"epochs": 3, "validation_split": 0.4, "augment_by_mixing_noise_ratio": 0.5, "open_set": False}),
        ("words", {"epochs": 2, "hidden_units": 4, "fine_tuning_epochs": 2, "open_set": False}),
    ],
    ids=str,
)
def test_the_same_recordings_give_the_same_model_whatever_they_are_called(
    tmp_path: Path, mode: str, options: dict[str, Any]
) -> None:
    """Files of one size too: WAV files are as long as their sound."""
    models, orders = [], []
    for turn in (1, -1):
        project = Project(tmp_path / f"project {turn}", create=True, mode=mode, labels=("Left", "Right"))
        for label, make in (("Right", sounds.snaps), ("Left", sounds.whistle))[::turn]:
            for take in range(5)[::turn]:
                project.add(label, make(0.5, take), sounds.RATE)
            for take in range(5, 8)[::turn]:
                file = project.path / "clips" / label / f"{take * turn}.wav"
                soundfile.write(file, make(0.4, take), sounds.RATE)
        orders.append([read_clip(clip.path).samples[1_000] for clip in project.clips()])
        base = "sounds" if mode == "sounds" else Network(small_base())
        project.train(base, name="model", **options)
        models.append((project.path / "models" / "model" / "model.onnx").read_bytes())
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert models[0] == models[1]


TRAINING = """if True:
    import os, sys
    from earmark import Project
    from earmark.training import sound_network as training
    project = Project(sys.argv[1])
    for line in sys.stdin:  # each line starts a process that trains until it is killed
        if child := os.fork():
            os.waitpid(child, 0)
            continue
        while True:
            project.train(epochs=1, seed=int(line), on_epoch=lambda epoch: print(os.getpid(), flush=True))
"""


def test_a_kill_while_training_leaves_a_whole_model_or_none(copy: Project) -> None:
    shutil.rmtree(copy.path / "models")
    arguments = [sys.executable, "-c", TRAINING, str(copy.path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdin is not None
        assert trainer.stdout is not None
        killed = 0
        for seed in range(5):
            print(seed, file=trainer.stdin, flush=True)
            while (child := int(trainer.stdout.readline())) == killed:
                pass
            time.sleep(random.Random(seed).uniform(0, 0.06))
            os.kill(child, signal.SIGKILL)
            killed = child
            again = Project(copy.path)
            assert len(again.clips()) == 3
            if (copy.path / "models" / "sounds" / "model.onnx").exists():
                assert again.model().recognize(SHORT, sounds.RATE).labels == ("Left", "Right", "Noise")
            else:
                with pytest.raises(EarmarkError, match="no trained model yet"):
                    again.model()


def test_a_full_disk_is_told_and_changes_nothing(project: Project, tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", SHORT)
    project.add("Left", SHORT, sounds.RATE)
    before = contents(project)
    script = """if True:
        import resource, sys, numpy
        from earmark import EarmarkError, Project
        samples = numpy.load(sys.argv[2])
        project = Project(sys.argv[1])

        def told(change):
            try:
                change()
            except EarmarkError as error:
                print(error)

        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 1 << 40))  # the system then refuses larger files
        for label in ("Left", "New"):
            told(lambda: project.add(label, samples, 48_000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 1 << 40))  # and now any settings
        told(lambda: project.remove_label("Left"))
        told(lambda: project.change_label("Left", new_name="Whistle"))
        told(lambda: project.add_label("New"))
    """
    with python(script, project.path, tmp_path / "samples.npy") as run:
        told = run.communicate()[0]
    assert told.count("can't be written") == 5
    assert contents(project) == before


@pytest.mark.slow
def test_two_programs_that_add_clips_of_the_same_name_lose_none(project: Project, tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", SHORT)
    script = """if True:
        import sys, numpy
        from earmark import Project
        project, samples = Project(sys.argv[1]), numpy.load(sys.argv[2])
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(25):
            project.add("Left", samples, 48_000, name=str(number))
    """
    arguments = [sys.executable, "-c", script, str(project.path), str(tmp_path / "samples.npy")]
    adders = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for adder in adders:
        assert adder.stdout is not None
        assert adder.stdout.readline() == "ready\n"
    for adder in adders:
        assert adder.stdin is not None
        adder.stdin.write("\n")
        adder.stdin.flush()
    for adder in adders:
        adder.communicate()
        assert adder.returncode == 0
    assert kept(project) == [("Left", 24_000)] * 50


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_a_folder_that_can_not_be_written_is_told() -> None:
    with pytest.raises(EarmarkError, match=r"/proc/clapper.* can't be written"):
        Project("/proc/clapper", create=True)


# Any order of changes


names = st.sampled_from(["Left", "left", "AC/DC", "e\u0301"])
steps = st.tuples(
    st.sampled_from(["add", "move", "remove", "restore", "rename", "drop label", "trim"]),
    names,
    names,
    st.integers(0, 9),
)


@budget(40)
@given(st.lists(steps, max_size=12))
@example([("add", "Left", "Left", 0), ("remove", "Left", "Left", 0)] * 2 + [("restore", "Left", "Left", 0)] * 2)
def test_no_order_of_changes_loses_a_clip(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, str, str, int]]
) -> None:
    project = Project(tmp_path_factory.mktemp("any") / "order", create=True)
    samples = SHORT[:9_600]
    trash: list[tuple[Trashed, int]] = []  # and how many clips it holds
    alive = 0
    for step, label, other, pick in plan:
        clips = project.clips()
        try:
            if step == "add":
                project.add(label, samples, sounds.RATE, name="a")
                alive += 1
            elif step == "rename":
                project.change_label(label, new_name=other)
            elif step == "drop label":
                count = len(project.clips(label))
                trash.append((project.remove_label(label), count))
                alive -= count
            elif step == "restore" and trash:
                trashed, count = trash.pop(pick % len(trash))
                project.restore(trashed)
                alive += count
            elif step == "move" and clips:
                project.move_clip(clips[pick % len(clips)], label)
            elif step == "trim" and clips:
                trash.append((project.trim_clip(clips[pick % len(clips)], 0, 0.15)[1], 1))
            elif step == "remove" and clips:
                trash.append((project.remove_clip(clips[pick % len(clips)]), 1))
                alive -= 1
        except EarmarkError:
            pass  # a label that is not there, or one that is there already: nothing may have changed
        again = Project(project.path)
        assert len(again.clips()) == alive
        assert all(clip.error is None and clip.examples for clip in again.clips())
        assert len(set(again.labels)) == len(again.labels)
        assert set(again.labels) >= {clip.label for clip in again.clips()}


def test_examples_are_serialized_and_loaded(project: Project, tmp_path: Path) -> None:
    """One set in, another project out: the same recordings, and nothing twice."""
    first = project.add("Left", sounds.whistle(1.2, 1), sounds.RATE)
    project.set_key_frame(first, 20)
    project.add("Right", sounds.snaps(1.3, 2), sounds.RATE)
    serialized = project.serialize_examples()
    other = Project(tmp_path / "other", create=True, mode="words")
    other.add("Old", sounds.murmur(1.1, 3), sounds.RATE)
    assert len(other.load_examples(serialized).added) == 2
    assert other.labels == ("Old", "Left", "Right")
    (left,) = other.clips("Left")
    np.testing.assert_array_equal(read_clip(left.path).samples, read_clip(first.path).samples)
    assert other.key_frames() == {left.id: 20}
    assert other.load_examples(serialized).known == 2
    with pytest.raises(EarmarkError, match="of version 7"):
        other.load_examples(b"TFJSSCDS\x07\0\0\0" + serialized[12:], clear_existing=True)
    assert len(other.clips()) == 3
    assert len(other.load_examples(project.serialize_examples(["Right"]), clear_existing=True).added) == 1
    assert [clip.label for clip in other.clips()] == ["Right"]
    with pytest.raises(EarmarkError, match="no label 'Up'"):
        project.serialize_examples(["Up"])
