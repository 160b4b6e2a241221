"""Imports: what is recognized, what is told, and that nothing else happens."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError, Project, read_clip
from earmark.exchange import example_sets
from earmark.exchange.example_sets import write_example_set
from earmark.exchange.importing import import_into
from earmark.exchange.serialized_examples import SerializedExample, read_examples, write_examples
from earmark.front_end.recordings import read_recording
from earmark.front_end.spectrogram import compute_spectrogram
from earmark.storage.files import write_new
from earmark.training.open_set import WORDS_FILE
from tests import chirps, sounds
from tests.budget import budget
from tests.conftest import SHARED
from tests.tfjs_node import MODULES, skip_without_node

FIXTURES = SHARED / "fixtures" / "tfjs_speech_commands"
NOISE = "_background_noise_"
SOUNDLESS = "recordings have a spectrogram and no sound: a model can learn from it, but it can't be played."


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "home" / "words", create=True, mode="words")


@pytest.fixture
def fixtures() -> Path:
    if not FIXTURES.is_dir():
        pytest.skip("needs the files in ../shared/fixtures")
    return FIXTURES


def levels(seed: int) -> Any:
    return np.random.default_rng(seed).uniform(-120, -20, (43, 232)).astype(np.float32)


def wav(samples: sounds.Samples) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sounds.RATE, format="WAV")
    return file.getvalue()


# A set of examples


def test_examples_come_with_their_sound_or_as_spectrograms(project: Project, tmp_path: Path) -> None:
    whistle = sounds.whistle(1, 1)
    spectrogram = compute_spectrogram(whistle, sounds.RATE)
    file = tmp_path / "examples.bin"
    examples = [
        SerializedExample("Left", spectrogram, 7, whistle, sounds.RATE),
        SerializedExample("Left", levels(1), 30),
        SerializedExample(NOISE, levels(2)),
    ]
    file.write_bytes(write_examples(examples))
    done = import_into(project, file)
    assert (len(done.added), done.skipped, done.notes) == (3, [], [f"2 {SOUNDLESS}"])
    heard, seen, noise = done.added
    assert (heard.has_sound, seen.has_sound, noise.has_sound) == (True, False, False)
    assert project.key_frames() == {heard.id: 7, seen.id: 30}
    np.testing.assert_allclose(read_clip(heard.path).samples, whistle, rtol=0, atol=2**-23)
    np.testing.assert_array_equal(np.load(seen.path), levels(1))
    again = import_into(project, file)
    assert (again.added, again.notes, again.skipped, again.known) == ([], [], [], 3)


def test_the_package_s_own_examples_are_read_and_written(project: Project, fixtures: Path, tmp_path: Path) -> None:
    done = import_into(project, fixtures / "examples.bin")
    assert (len(done.added), done.skipped) == (30, [])
    normalized, soundless = done.notes
    assert soundless == f"30 {SOUNDLESS}"
    assert normalized.endswith("they get the mean (−93 dB) and deviation (19 dB) that recorded words usually have.")
    assert import_into(project, fixtures / "examples.bin").added == []
    written = write_example_set(project, tmp_path / "out.bin")
    assert (written.count, written.skipped, written.notes) == (30, [], [])
    theirs = read_examples((fixtures / "examples.bin").read_bytes())
    ours = read_examples((tmp_path / "out.bin").read_bytes())
    assert [example.label for example in ours] == [example.label for example in theirs]
    for our, their in zip(ours, theirs, strict=True):  # they were normalized, and so they are again
        levels_again = (our.spectrogram.astype(np.float64) + 93) / 19
        is_kept = our.spectrogram > -160
        assert is_kept.mean() > 0.99
        np.testing.assert_allclose(levels_again[is_kept], their.spectrogram[is_kept], rtol=0, atol=1e-5)


def test_what_was_written_comes_back_bit_for_bit(project: Project, tmp_path: Path) -> None:
    marked = project.add("up", sounds.whistle(1.5, 1), sounds.RATE)
    project.set_key_frame(marked, 33)
    project.add("up", sounds.snaps(0.3, 2), sounds.RATE)
    project.add_spectrogram("Zoo", levels(1), key_frame=3)
    project.add(NOISE, sounds.room(2, 3), sounds.RATE)
    (project.path / "clips" / "up" / "torn.flac").write_bytes(b"fLaC")
    written = write_example_set(project, tmp_path / "set.bin")
    assert (written.count, [name for name, _ in written.skipped]) == (4, ["up/torn.flac"])
    examples = read_examples((tmp_path / "set.bin").read_bytes())
    assert [example.label for example in examples] == ["Zoo", NOISE, "up", "up"]  # as JavaScript sorts
    other = Project(tmp_path / "other", create=True, mode="words")
    done = import_into(other, tmp_path / "set.bin")
    assert (len(done.added), done.skipped) == (4, [])
    assert contents(other) == contents(project)


def contents(project: Project) -> set[tuple[str, int | None, bytes]]:
    found = set()
    for clip in project.clips():
        if clip.error is None:
            recording = read_recording(clip.path)
            values = recording.samples if hasattr(recording, "samples") else recording.frames
            found.add((clip.label, project.key_frames().get(clip.id), values.tobytes()))
    return found


def test_every_example_is_as_long_as_the_model_s_window(project: Project, tmp_path: Path) -> None:
    """The npm package trains on no set that has a shorter one (`getData`: numFrames exceeds the minimum)."""
    one_second = project.add("up", sounds.whistle(1, 1), sounds.RATE)
    project.add("up", sounds.snaps(0.3, 2), sounds.RATE)
    project.add_spectrogram("up", levels(1)[:20])
    assert one_second.frames == 42
    write_example_set(project, tmp_path / "set.bin")
    examples = read_examples((tmp_path / "set.bin").read_bytes())
    assert [example.spectrogram.shape for example in examples] == [(43, 232)] * 3
    by_length = sorted(examples, key=lambda example: 0 if example.samples is None else len(example.samples))
    np.testing.assert_array_equal(by_length[0].spectrogram[20:], -160)
    np.testing.assert_array_equal(by_length[0].spectrogram[:20], levels(1)[:20])
    samples = read_clip(one_second.path).samples
    own = compute_spectrogram(samples, sounds.RATE, silence_before=False)
    np.testing.assert_allclose(by_length[2].spectrogram[:42], own, atol=1e-3)
    np.testing.assert_array_equal(by_length[2].samples, samples)


# What the package itself makes of a set: its windows for training, and the bytes that it would write.
GET_DATA = """
const [modules, file] = process.argv.slice(1);
require(modules + "/@tensorflow/tfjs-backend-cpu");
const { Dataset } = require(modules + "/@tensorflow-models/speech-commands/dist/dataset.js");
const bytes = require("fs").readFileSync(file);
const set = new Dataset(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const { xs, ys } = set.getData(null, { numFrames: 43, hopFrames: 11 });
const isFinite = xs.dataSync().every(Number.isFinite);
const again = Buffer.from(set.serialize()).equals(bytes);
process.stdout.write("\\n" + JSON.stringify([set.getExampleCounts(), xs.shape, ys.shape, isFinite, again]));
"""


def test_the_npm_package_trains_on_what_was_written(project: Project, tmp_path: Path) -> None:
    skip_without_node()
    for take in range(2):
        project.add("上", chirps.word("rise", take=take), chirps.RATE)
    marked = project.add("down", sounds.whistle(2, 1), sounds.RATE)
    project.set_key_frame(marked, 20)
    project.add("down", sounds.snaps(0.3, 1), sounds.RATE)
    project.add_spectrogram("down", levels(1), key_frame=2)
    project.add(NOISE, chirps.noise(2), chirps.RATE)
    write_example_set(project, tmp_path / "set.bin")
    command = ["node", "-e", GET_DATA, str(MODULES), str(tmp_path / "set.bin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    counts, windows, targets, is_finite, again = json.loads(done.stdout.splitlines()[-1])
    assert counts == {NOISE: 1, "down": 3, "上": 2}
    # Four are as long as a window. Of the whistle, windows at 0 and 11 hold frame 20; of 85 frames of noise there are
    # windows at 0, 11, 22 and 33.
    assert windows == [4 + 2 + 4, 43, 232, 1]
    assert targets == [windows[0], 3]
    assert (is_finite, again) == (True, True)


@pytest.mark.parametrize(("rate", "kept"), [(8_000, True), (96_000, True), (4_000, False), (192_000, False)])
def test_a_rate_that_no_browser_plays_becomes_one_that_each_does(
    project: Project, tmp_path: Path, rate: int, kept: bool
) -> None:
    project.add("up", np.sin(np.arange(rate) * 2 * np.pi * 440 / rate) * 0.5, rate)
    write_example_set(project, tmp_path / "set.bin")
    (example,) = read_examples((tmp_path / "set.bin").read_bytes())
    assert example.sample_rate == (rate if kept else 44_100)
    assert example.samples is not None
    assert len(example.samples) == pytest.approx(example.sample_rate, abs=2)


def test_what_a_browser_can_not_read_is_told(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EarmarkError, match="has no recordings to write: record some first"):
        write_example_set(project, tmp_path / "none.bin")
    monkeypatch.setattr(example_sets, "BROWSER_EXAMPLES", 1)
    for seed in (1, 2):
        project.add_spectrogram("up", levels(seed))
    assert write_example_set(project, tmp_path / "set.bin").notes == [
        "In a browser, speech-commands reads sets of some 1 examples at most."
    ]
    with pytest.raises(EarmarkError, match=r"set\.bin is there already"):
        write_example_set(project, tmp_path / "set.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "set.bin"]


# Teachable Machine


def samples_json(count: int) -> list[dict[str, Any]]:
    return [
        {"frequencyFrames": levels(seed).tolist(), "blob": None, "startTime": 0.5, "endTime": 1.5,
         "recordingDuration": 2.0, "blobFilePath": "sample-1.webm"}
        for seed in range(count)
    ]  # fmt: skip


def zipped(file: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def test_samples_without_their_recording_are_spectrograms(project: Project, tmp_path: Path) -> None:
    file = zipped(tmp_path / "Clap-samples (1).zip", {"samples.json": json.dumps(samples_json(3)).encode()})
    done = import_into(project, file)
    assert (len(done.added), done.skipped, done.notes) == (3, [], [f"3 {SOUNDLESS}"])
    assert project.labels == ("Clap",)
    np.testing.assert_allclose(np.load(done.added[2].path), levels(2), atol=1e-4)
    assert import_into(project, file).added == []


def test_the_noise_of_teachable_machine_is_background_noise(project: Project, tmp_path: Path) -> None:
    file = zipped(tmp_path / "background_noise-samples.zip", {"samples.json": json.dumps(samples_json(2)).encode()})
    import_into(project, file)
    assert project.labels == (NOISE,)


def test_a_label_that_is_given_counts_more_than_the_file_s_name(project: Project, tmp_path: Path) -> None:
    file = zipped(tmp_path / "samples.zip", {"samples.json": json.dumps(samples_json(2)).encode()})
    with pytest.raises(EarmarkError, match=r"samples\.zip doesn't tell a label: give one"):
        import_into(project, file)
    assert not project.labels
    import_into(project, file, label="Clap")
    assert project.labels == ("Clap",)


def test_a_recording_that_can_not_be_decoded_is_told_and_leaves_the_spectrograms(
    project: Project, tmp_path: Path
) -> None:
    content = {"samples.json": json.dumps(samples_json(3)).encode(), "sample-1.webm": b"\x1a\x45\xdf\xa3 no sound"}
    done = import_into(project, zipped(tmp_path / "Clap.zip", content))
    assert [clip.has_sound for clip in done.added] == [False] * 3
    assert len(done.notes) == 2
    assert "sample-1.webm" in done.notes[0]
    assert done.notes[1] == f"3 {SOUNDLESS}"


def test_a_class_of_teachable_machine_comes_with_its_sound(project: Project, fixtures: Path) -> None:
    pytest.importorskip("av")
    done = import_into(project, fixtures / "teachable_machine_class.zip", label="Clap")
    assert (len(done.added), done.skipped, done.notes) == (10, [], [])
    assert all(clip.has_sound for clip in done.added)
    told = json.loads(zipfile.ZipFile(fixtures / "teachable_machine_class.zip").read("samples.json"))
    for clip, sample in zip(done.added, told, strict=True):
        # The recording ends within a frame of what the last sample says.
        assert clip.seconds == pytest.approx(sample["endTime"] - sample["startTime"], abs=0.1)
    assert import_into(project, fixtures / "teachable_machine_class.zip", label="Clap").added == []


# Sound files, and what is asked for


def test_a_sound_file_needs_a_label(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "snap.wav"
    file.write_bytes(wav(sounds.snaps(0.4, 1)))
    with pytest.raises(
        EarmarkError, match=r"snap\.wav doesn't tell a label: give one \(--label\), or put it into a folder"
    ):
        import_into(project, file)
    (clip,) = import_into(project, file, label=" Snap ").added
    assert (clip.label, clip.path.name, clip.seconds) == ("Snap", "snap.flac", 0.4)
    again = import_into(project, file, label="Snap")
    assert (again.added, again.known, again.skipped) == ([], 1, [])
    with pytest.raises(EarmarkError, match="A label needs a name"):
        import_into(project, file, label=" ")


def test_a_recording_of_a_phone_is_decoded(project: Project, tmp_path: Path, fixtures: Path) -> None:
    pytest.importorskip("av")
    source = tmp_path / "phone" / "Left"
    source.mkdir(parents=True)
    packed = zipfile.ZipFile(fixtures / "teachable_machine_class.zip").read("sample-1.webm")
    (source / "take.webm").write_bytes(packed)
    (clip,) = import_into(project, source / "take.webm", label="Left").added
    assert clip.seconds == pytest.approx(10.9, abs=0.2)
    assert import_into(project, source.parent).known == 1


def test_a_file_is_recognized_by_its_content(project: Project, tmp_path: Path) -> None:
    examples = write_examples([SerializedExample("Left", levels(1))])
    archive = zipped(tmp_path / "x", {"Left/a.wav": wav(sounds.snaps(0.4, 1))})
    sound = wav(sounds.whistle(0.4, 1))
    for number, content in enumerate((examples, archive.read_bytes(), sound)):
        (tmp_path / f"{number}.dat").write_bytes(content)
        assert len(import_into(project, tmp_path / f"{number}.dat", label="Left").added) == 1
        assert import_into(project, io.BytesIO(content), label="Left", name="it").known == 1
    assert len(project.clips("Left")) == 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("up", "down"):
        for take in range(4):
            file = tmp_path / "set" / label / f"{take}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wav(sounds.whistle(0.2, 10 * take + len(label))))
    return tmp_path / "set"


def test_another_project_is_imported_without_its_models(project: Project, folder: Path, tmp_path: Path) -> None:
    other = Project(tmp_path / "other", create=True)
    import_into(other, folder)
    (other.path / "models" / "sounds").mkdir(parents=True)
    (other.path / "models" / "sounds" / "model.onnx").write_bytes(b"a model")
    done = import_into(project, other.path)
    assert (len(done.added), done.skipped) == (8, [])
    assert project.labels == other.labels


def test_labels_are_chosen_and_limited_before_anything_is_read(project: Project, folder: Path) -> None:
    (folder / "down" / "9.wav").write_bytes(b"which nobody reads")
    told: list[tuple[str, int, int]] = []
    done = import_into(project, folder, limit=3, report=lambda *step: told.append(step))
    assert ([clip.path.stem for clip in done.added], done.skipped) == (["0", "1", "2"] * 2, [])
    assert told == [("Adding the recordings", number, 6) for number in range(6)]
    assert import_into(project, folder, limit=3).added == []
    done = import_into(project, folder, only=["up"])
    assert [(clip.label, clip.path.stem) for clip in done.added] == [("up", "3")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"only": ["up", "left"]}, "set has no label 'left': it has down, up."),
        ({"split": "half"}, "There is no split 'half': choose train, validation, test."),
        ({"split": "test"}, "set has no recordings for the split test: leave it out to import all."),
        ({"limit": 0}, "The limit is 0: it must be 1 or more."),
        ({"label": "a\nb"}, "A label can't hold line breaks or control characters: type plain text."),
    ],
)
def test_an_unfit_option_is_told_and_changes_nothing(
    project: Project, folder: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(EarmarkError) as told:
        import_into(project, folder, **options)
    assert str(told.value).endswith(says)
    assert project.clips() == []


def test_a_label_is_for_what_has_none(project: Project, folder: Path) -> None:
    done = import_into(project, folder, label="noise")
    assert done.notes == ["The recordings keep the labels that they came with."]
    assert project.labels == ("down", "up")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"no recordings here"),
        ("nothing", b""),
        ("page.html", b"<!doctype html>"),
    ],
)
def test_what_holds_no_recordings_is_told_what_does(
    project: Project, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EarmarkError, match=rf"{name} can't be imported: choose label folders, Speech Commands, .*\.$"):
        import_into(project, tmp_path / name, label="Left")
    (tmp_path / "empty" / "folder").mkdir(parents=True)
    with pytest.raises(EarmarkError, match=r"empty holds no recordings: choose label folders, .*\.$"):
        import_into(project, tmp_path / "empty")
    assert not project.labels


def test_what_is_not_there_is_told(project: Project, tmp_path: Path) -> None:
    for path in (tmp_path / "gone.zip", "x" * 5_000, "a\0b"):
        with pytest.raises(EarmarkError, match=r"does not exist, or is no file: check the path\.$"):
            import_into(project, path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe as Unix has them")
def test_a_pipe_is_not_waited_for(project: Project, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(EarmarkError, match=r"pipe\.wav does not exist, or is no file"):
        import_into(project, tmp_path / "pipe.wav", label="Left")


def test_a_damaged_set_changes_nothing(project: Project, tmp_path: Path) -> None:
    data = write_examples([SerializedExample("Left", levels(1)), SerializedExample("Left", levels(2))])
    for damaged in (data[:-4], data[:20], data[:9]):
        (tmp_path / "set.bin").write_bytes(damaged)
        with pytest.raises(EarmarkError, match=r"set\.bin .*\.$"):
            import_into(project, tmp_path / "set.bin")
    with pytest.raises(EarmarkError, match=r"A\.zip can't be read: download the samples"):
        import_into(project, zipped(tmp_path / "A.zip", {"samples.json": json.dumps(samples_json(2)).encode()[:-9]}))
    assert not project.labels


@contextmanager
def failing(error: OSError, taken: int) -> Iterator[None]:
    """Clips whose first bytes don't get onto the disk, after so many that do."""
    written: list[object] = []

    def write(path: Path, data: bytes) -> Path:
        written.append(path)
        if len(written) <= taken:
            return write_new(path, data)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("os.fsync", lambda _: fail(error))
            return write_new(path, data)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("earmark.clips.folders.write_new", write)
        yield


def fail(error: OSError) -> None:
    raise error


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_an_import_ends_when_the_disk_is_full_and_keeps_what_it_has(project: Project, folder: Path) -> None:
    with failing(FULL, taken=3):
        done = import_into(project, folder)
    assert (len(done.added), done.skipped, done.left_out) == (3, [], 5)
    (note,) = done.notes
    assert re.fullmatch(r"5 recordings are left out: .+ can't be written \(No space left on device\): .+\.", note)
    assert {clip.path for clip in done.added} == {clip.path for clip in project.clips()}
    again = import_into(project, folder)
    assert (len(again.added), again.known, again.left_out, again.notes) == (5, 3, 0, [])


def test_an_import_that_finds_the_disk_full_changes_nothing(project: Project, folder: Path) -> None:
    with failing(FULL, taken=0), pytest.raises(EarmarkError, match="No space left on device"):
        import_into(project, folder)
    assert [path for path in project.path.rglob("*") if path.is_file()] == [project.path / "earmark.toml"]
    assert len(import_into(project, folder).added) == 8


def test_a_file_that_can_not_be_written_by_itself_is_told_and_the_others_go_on(project: Project, folder: Path) -> None:
    with failing(OSError(errno.EIO, "Input/output error"), taken=6):
        done = import_into(project, folder)
    assert (len(done.added), len(done.skipped), done.left_out) == (6, 2, 0)
    assert all("Input/output error" in reason for _, reason in done.skipped)


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@budget(60)
@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from([".wav", ".npy", ".txt", ".webm", ""]))
def test_no_name_in_a_zip_leads_out_of_the_project(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], suffix: str
) -> None:
    home = tmp_path_factory.mktemp("names")
    project = Project(home / "home" / "words", create=True)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("/".join(parts) + suffix, wav(sounds.snaps(0.1, 1)))
    try:
        added = import_into(project, file, name="my.zip").added
    except EarmarkError:
        added = []
    assert [clip.path for clip in project.clips()] == [clip.path for clip in added]
    assert all(clip.path.parent.parent == project.path / "clips" for clip in added)
    assert [path.name for path in home.iterdir()] == ["home"]
    assert [path.name for path in (home / "home").iterdir()] == ["words"]
    shutil.rmtree(home)


def test_labels_that_differ_by_case_are_told_and_merged_on_request(project: Project, tmp_path: Path) -> None:
    project.add("Yes", sounds.whistle(0.5, 1), sounds.RATE)
    for label in ("yes", "no", "NO"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for take in (1, 2):
            samples = sounds.whistle(0.5, len(label) + 10 * take + ord(label[0]))
            soundfile.write(tmp_path / "set" / label / f"{take}.wav", samples, sounds.RATE)
    before = [clip.id for clip in project.clips()]
    with pytest.raises(EarmarkError, match=r"label 'no' beside 'NO'.*--merge-labels"):
        import_into(project, tmp_path / "set")
    with pytest.raises(EarmarkError, match=r"label 'yes' beside 'Yes'.*--merge-labels"):
        import_into(project, tmp_path / "set", only=["yes"])
    assert [clip.id for clip in project.clips()] == before
    imported = import_into(project, tmp_path / "set", merge_labels=True)
    assert not imported.skipped
    assert project.count_recordings() == {"Yes": 3, "NO": 4}
    with pytest.raises(EarmarkError, match="There is a label 'Yes' already: choose another name, as upper and lower"):
        project.add("yes", sounds.whistle(0.5, 2), sounds.RATE)


def test_false_alarms_go_to_the_label_for_noise_that_they_are(project: Project, tmp_path: Path) -> None:
    (tmp_path / "clips" / "yes").mkdir(parents=True)
    soundfile.write(tmp_path / "clips" / "yes" / "hum.wav", sounds.room(2, 1, 0.05), sounds.RATE)
    spoken = read_clip(WORDS_FILE)  # a second of each of some words, as they were spoken
    part = spoken.samples[: 2 * spoken.sample_rate]
    soundfile.write(tmp_path / "clips" / "yes" / "talk.wav", part, spoken.sample_rate)
    imported = import_into(project, tmp_path / "clips", as_noise=True)
    assert not imported.skipped
    assert {clip.path.stem: clip.label for clip in project.clips()} == {"hum": NOISE, "talk": "_unknown_"}
    assert import_into(project, tmp_path / "clips", as_noise=True).known == 2
    with pytest.raises(EarmarkError, match="leave out the label"):
        import_into(project, tmp_path / "clips", as_noise=True, label="yes")
