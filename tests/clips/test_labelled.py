"""A project's mode, base and key frames, which other programs and people read and change too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError, Project, Recognizer, compute_spectrogram
from earmark.clips import folders as clip_files
from earmark.clips.folders import ClipFile
from earmark.clips.labelled import Trashed
from earmark.storage import files
from tests import sounds, tones
from tests.budget import budget

SHORT = sounds.whistle(0.5, 1)
# Half a second at 48 kHz is 22,050 samples at 44.1 kHz: 21 hops of 1,024, and a frame takes two of them.
LAST_FRAME = 19


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "colours", create=True, mode="words", labels=("red", "blue"))


@pytest.fixture
def clip(project: Project) -> ClipFile:
    """A recording with a key frame."""
    added = project.add("red", SHORT, sounds.RATE, name="a")
    project.set_key_frame(added, 7)
    return added


def key_frames(project: Project) -> dict[str, int]:
    """As another program reads them."""
    return Project(project.path).key_frames()


# Mode and base


def test_the_mode_and_the_base_are_what_another_program_reads(project: Project) -> None:
    other = Project(project.path)
    assert (other.mode, other.base) == ("words", other.bases()[0].name if other.bases()[0].remedy is None else "words")
    project.set_base("words")
    assert (other.base, Project(project.path).base) == ("words", "words")
    project.set_mode("sounds")
    assert (other.mode, other.base) == ("sounds", "sounds")
    assert [base.name for base in other.bases()] == ["sounds"]


def test_the_same_mode_again_keeps_the_base(project: Project) -> None:
    project.set_base("words")
    project.set_mode("words")
    assert project.base == "words"
    project.set_mode("sounds")
    project.set_mode("words")
    assert "base" not in (project.path / "earmark.toml").read_text(), "another mode's base is no choice for this one"


def test_a_mode_or_a_base_that_is_none_changes_nothing(project: Project) -> None:
    before = (project.path / "earmark.toml").read_bytes()
    with pytest.raises(EarmarkError, match=r"^The mode 'dances' is not known: use sounds or words\.$"):
        project.set_mode("dances")
    known = "auto, speech, words, ear, yamnet"
    with pytest.raises(EarmarkError, match=rf"^The base 'sounds' is not known: choose one of {known}\.$"):
        project.set_base("sounds")
    assert (project.path / "earmark.toml").read_bytes() == before


def test_a_base_that_nobody_knows_is_told_when_it_is_trained_on(project: Project, clip: ClipFile) -> None:
    settings_file = project.path / "earmark.toml"
    settings_file.write_text('base = "dances"\n' + settings_file.read_text())
    assert project.clips() == [clip]
    with pytest.raises(EarmarkError, match=r"^dances does not exist: check the path\.$"):
        project.train()
    project.set_base("words")
    assert project.base == "words"


# Key frames


def test_a_key_frame_is_kept_and_taken_back(project: Project, clip: ClipFile) -> None:
    other = project.add("blue", SHORT, sounds.RATE)
    project.set_key_frame(other, 0)
    assert key_frames(project) == {clip.id: 7, other.id: 0}
    project.set_key_frame(clip, None)
    project.set_key_frame(clip, None)
    assert key_frames(project) == {other.id: 0}


def test_the_last_frame_is_that_of_the_spectrogram(project: Project, clip: ClipFile) -> None:
    assert len(compute_spectrogram(SHORT, sounds.RATE, silence_before=False)) == LAST_FRAME + 1
    project.set_key_frame(clip, LAST_FRAME)
    project.set_key_frame(clip, np.int64(LAST_FRAME))  # type: ignore[arg-type]  # what numpy's argmax gives
    assert key_frames(project) == {clip.id: LAST_FRAME}


@pytest.mark.parametrize("frame", [-1, LAST_FRAME + 1, 10**30, 3.5, float("nan"), "3", [3]])
def test_what_is_no_frame_of_the_recording_is_told(project: Project, clip: ClipFile, frame: int) -> None:
    with pytest.raises(EarmarkError, match=r"^The key frame is .+: .+\.$"):
        project.set_key_frame(clip, frame)
    assert key_frames(project) == {clip.id: 7}


def test_a_key_frame_goes_with_its_clip(project: Project, clip: ClipFile) -> None:
    moved = project.move_clip(clip, "blue")
    assert key_frames(project) == {moved.id: 7}
    assert project.move_clip(moved, "blue") == moved
    assert key_frames(project) == {moved.id: 7}
    project.change_label("blue", new_name="AC/DC")
    (renamed,) = project.clips("AC/DC")
    assert key_frames(project) == {renamed.id: 7}
    project.change_label("AC/DC", colour="#000000", position=0)
    assert key_frames(project) == {renamed.id: 7}


def test_a_clip_moved_to_a_taken_name_takes_its_key_frame_along(project: Project, clip: ClipFile) -> None:
    there = project.add("blue", SHORT, sounds.RATE, name="a")
    moved = project.move_clip(clip, "blue")
    assert moved.id != there.id
    assert key_frames(project) == {moved.id: 7}


def test_a_deleted_clip_comes_back_with_its_key_frame(project: Project, clip: ClipFile) -> None:
    trashed = project.remove_clip(clip)
    assert key_frames(project) == {}
    project.restore(trashed)
    assert key_frames(project) == {clip.id: 7}


def test_a_deleted_label_comes_back_with_its_key_frames(project: Project, clip: ClipFile) -> None:
    other = project.add("blue", SHORT, sounds.RATE)
    project.set_key_frame(other, 3)
    trashed = project.remove_label("red")
    assert key_frames(project) == {other.id: 3}
    project.restore(trashed)
    assert key_frames(project) == {clip.id: 7, other.id: 3}
    assert project.labels == ("red", "blue")


def test_a_new_clip_does_not_get_the_key_frame_of_one_that_had_its_name(project: Project, clip: ClipFile) -> None:
    trashed = project.remove_clip(clip)
    new = project.add("red", SHORT, sounds.RATE, name="a")
    assert new.id == clip.id
    assert key_frames(project) == {}
    project.restore(trashed)  # under another name
    assert len(project.clips("red")) == 2
    assert key_frames(project) == {}
    project.set_key_frame(new, 5)
    new.path.unlink()  # by hand
    project.add("red", SHORT, sounds.RATE, name="a")
    assert key_frames(project) == {}


@pytest.mark.parametrize(("start", "kept"), [(0.0, 7), (0.1, 3), (0.3, None)])
def test_a_trimmed_clips_key_frame_moves_with_the_sound(
    project: Project, clip: ClipFile, start: float, kept: int | None
) -> None:
    # Frame 7 begins at 7 × 1,024 / 44,100 = 0.163 s; 0.1 s are 4.3 frames.
    trimmed, trashed = project.trim_clip(clip, start, 0.5)
    assert key_frames(project) == ({} if kept is None else {trimmed.id: kept})
    project.remove_clip(trimmed)
    project.restore(trashed)
    assert key_frames(project) == {clip.id: 7}


def test_settings_that_can_not_be_written_keep_clip_and_key_frame(project: Project, clip: ClipFile) -> None:
    before = {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()}
    script = """if True:
        import resource, sys
        from earmark import EarmarkError, Project
        project = Project(sys.argv[1])
        (clip,) = project.clips()
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 1 << 40))  # the system then refuses larger files
        for change in (
            lambda: project.remove_clip(clip),
            lambda: project.remove_label("red"),
            lambda: project.change_label("red", new_name="green"),
            lambda: project.set_key_frame(clip, 3),
        ):
            try:
                change()
            except EarmarkError as error:
                print(error)
    """
    told = subprocess.run([sys.executable, "-c", script, project.path], capture_output=True, text=True, check=True)
    assert told.stdout.count("earmark.toml can't be written") == 4
    assert {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()} == before
    assert key_frames(project) == {clip.id: 7}


def test_a_change_by_another_program_is_kept_though_the_file_looks_the_same(project: Project) -> None:
    """As it may with the same number, size and time, where the clock is coarse and numbers are used again."""
    settings_file = project.path / "earmark.toml"
    assert project.labels == ("red", "blue")
    stat = settings_file.stat()
    with settings_file.open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(text.replace('"blue"', '"gold"'))
    os.utime(settings_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    project.add_label("green")
    assert Project(project.path).labels == ("red", "gold", "green")


@pytest.mark.parametrize("change", ["move", "rename", "restore"])
def test_a_kill_between_a_files_move_and_the_settings_loses_no_key_frame(
    project: Project, clip: ClipFile, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trashed = project.remove_clip(clip) if change == "restore" else None
    move = files.move

    def move_and_end(source: Path, destination: Path) -> None:
        move(source, destination)
        raise KeyboardInterrupt

    monkeypatch.setattr(clip_files, "move", move_and_end)
    with suppress(KeyboardInterrupt):
        if trashed is not None:
            project.restore(trashed)
        elif change == "move":
            project.move_clip(clip, "blue")
        else:
            project.change_label("red", new_name="green")
    monkeypatch.undo()
    again = Project(project.path)
    (found,) = again.clips()
    assert again.key_frames()[found.id] == 7


def test_a_key_frame_of_a_file_that_is_gone_or_was_cut_does_not_matter(project: Project, clip: ClipFile) -> None:
    other = project.add("blue", sounds.snaps(0.5, 2), sounds.RATE)
    project.set_key_frame(other, LAST_FRAME)
    project.set_key_frame(clip, LAST_FRAME)
    short = project.add("red", SHORT[:9_600], sounds.RATE, name="b")
    shutil.copy(short.path, clip.path)
    other.path.unlink()
    project.add("blue", sounds.snaps(0.5, 3), sounds.RATE)
    base = Recognizer(tones.tone_model())
    for ratio in (None, 0.25):
        trained = project.train(base, open_set=False, window_hop_ratio=ratio, epochs=1)
        assert trained.labels == ("red", "blue")


# Training


def test_training_takes_the_window_around_the_key_frame(project: Project) -> None:
    """Both labels have the same recording: what tells them apart is where the word is said to be."""
    both = tones.silence_with({0.5: tones.tone(tones.LOW, 1, 0.2), 3.5: tones.tone(tones.HIGH, 1, 0.3)}, 5)
    base = Recognizer(tones.tone_model())
    marked = {"red": 1.0, "blue": 4.0}
    for label, second in marked.items():
        for _ in range(2):
            added = project.add(label, both, tones.RATE)
            project.set_key_frame(added, round(second * 44_100 / 1_024))
    recognizer = project.train(base, open_set=False)
    assert recognizer.history[-1].accuracy == 1
    assert recognizer.recognize(tones.tone(tones.LOW, 1), tones.RATE).label == "red"
    assert recognizer.recognize(tones.tone(tones.HIGH, 1), tones.RATE).label == "blue"
    for added in project.clips():
        project.set_key_frame(added, None)
    blind = project.train(base, open_set=False)
    assert blind.history[-1].accuracy == 0.5, "the loudest second is the same one then"


# Any order of changes


steps = st.tuples(
    st.sampled_from(["add", "mark", "move", "remove", "restore", "rename", "drop label", "trim"]),
    st.sampled_from(["red", "blue", "AC/DC"]),
    st.sampled_from(["red", "blue", "AC/DC"]),
    st.integers(0, 9),
)


def change(project: Project, step: str, label: str, other: str, pick: int, trash: list[Trashed]) -> None:
    if step == "add":
        project.add(label, SHORT[: 12_000 + 480 * len(list(project.path.rglob("*.flac")))], sounds.RATE, name=f"{pick}")
    elif step == "rename":
        project.change_label(label, new_name=other)
    elif step == "drop label":
        trash.append(project.remove_label(label))
    elif step == "restore" and trash:
        project.restore(trash.pop(pick % len(trash)))


def change_clip(project: Project, step: str, clip: ClipFile, label: str, pick: int, trash: list[Trashed]) -> None:
    if step == "mark":
        project.set_key_frame(clip, pick)
    elif step == "move":
        project.move_clip(clip, label)
    elif step == "remove":
        trash.append(project.remove_clip(clip))
    elif step == "trim":
        trash.append(project.trim_clip(clip, 0, clip.seconds - 0.0005)[1])


@budget(40)
@given(st.lists(steps, max_size=14))
def test_whatever_is_changed_a_key_frame_stays_with_its_sound(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, str, str, int]]
) -> None:
    """Each recording has its own length, to 10 ms, by which it is known again."""
    project = Project(tmp_path_factory.mktemp("any") / "order", create=True, mode="words")
    marks: dict[int, int] = {}
    trash: list[Trashed] = []
    for step, label, other, pick in plan:
        clips = project.clips()
        chosen = clips[pick % len(clips)] if clips else None
        with suppress(EarmarkError):  # a label that is not there, or one that is there already
            change(project, step, label, other, pick, trash)
            if chosen is not None:
                change_clip(project, step, chosen, label, pick, trash)
                if step == "mark":
                    marks[round(100 * chosen.seconds)] = pick
        found = {clip.id: round(100 * clip.seconds) for clip in project.clips()}
        for clip_id, frame in key_frames(project).items():
            assert clip_id in found, "no key frame outlives its clip"
            assert marks[found[clip_id]] == frame


def test_key_frames_written_by_hand_are_read_or_told(project: Project, clip: ClipFile) -> None:
    settings_file = project.path / "earmark.toml"
    before = settings_file.read_text()
    assert before.endswith('[key_frames]\n"red/a.flac" = 7\n')
    for wrong in ('"seven"', "7.5", "-1", "inf", "nan", "true", "[7]", "2026-11-22"):
        settings_file.write_text(before.replace("= 7", f"= {wrong}"))
        with pytest.raises(EarmarkError, match=rf"^{re.escape(str(settings_file))} can't be understood .+: mend it"):
            project.clips()
        with pytest.raises(EarmarkError, match="can't be understood"):
            project.add_label("green")
    settings_file.write_text(before.replace("= 7", "= 0x7"))
    assert project.key_frames() == {clip.id: 7}
