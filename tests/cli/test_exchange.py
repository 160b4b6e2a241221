"""`earmark import` and `earmark export`, in processes of their own, on real files."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile

import earmark
from earmark import Project
from earmark.cli.exchange import ExportFormat
from earmark.exchange.exporting import MODEL_FORMATS
from earmark.exchange.serialized_examples import read_examples
from tests import chirps, sounds, tones
from tests.cli.test_main import COMMAND, complaint, run, run_json
from tests.things import (
    audiofolder,
    class_samples,
    example_set,
    label_folders,
    sound_file,
    speech_commands,
    teachable_project,
    zipped,
)


def labels(project: Path) -> Counter[str]:
    return Counter(clip.label for clip in Project(project).clips())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two recordings of each of two words, and no model."""
    made = Project(tmp_path / "project", create=True, mode="words")
    for word in ("rise", "fall"):
        for speaker in ("ann", "bob"):
            made.add(word, chirps.word(word, speaker), chirps.RATE)
    return made.path


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Speech Commands layout to choose from. Don't change it."""
    return speech_commands(tmp_path_factory.mktemp("data") / "speech")


# Help


def shown(command: str) -> str:
    """A command's help in one line, without the frame's lines."""
    told = run(command, "--help", COLUMNS="200").stdout.decode()
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", told).split())


def test_the_help_of_import_says_what_it_takes() -> None:
    told = shown("import")
    assert "Usage: earmark import [OPTIONS] {THING} {PROJECT}" in told
    for thing in ("Speech Commands", "audiofolder", "Teachable Machine", "TFJSSCDS", "zip"):
        assert thing in told
    for option in ("--label", "--only", "--split", "--limit", "--mode", "--json"):
        assert option in told


def test_the_help_of_export_names_every_format() -> None:
    told = shown("export")
    assert "Usage: earmark export [OPTIONS] {MODEL|PROJECT} {OUTPUT}" in told
    assert "Models: tfjs, teachable-machine, onnx." in told
    assert "Recordings: folders, speech-commands, audiofolder, examples." in told
    for option in ("--onnx-input", "--probability-threshold", "--json"):
        assert option in told


# import


@pytest.mark.parametrize(
    ("make", "options", "expected"),
    [
        (zipped, (), {"rise": 3, "fall": 3}),
        (speech_commands, (), {"rise": 3, "fall": 3}),
        (audiofolder, (), {"rise": 1, "fall": 1}),
        (example_set, (), {"Left": 1}),
        (class_samples, (), {"snap": 1}),
        (teachable_project, (), {"_background_noise_": 1, "Clap": 1}),
        (sound_file, ("--label", "been"), {"been": 1}),
    ],
)
def test_each_format_is_imported(
    make: Callable[[Path], Path], options: tuple[str, ...], expected: dict[str, int], tmp_path: Path
) -> None:
    thing = make(tmp_path / "snap")
    (told,) = run_json("import", thing, tmp_path / "new", *options)
    clips = Project(tmp_path / "new").clips()
    assert Counter(clip.label for clip in clips) == expected
    assert (told["added"], told["known"], told["skipped"]) == (len(clips), 0, [])
    assert told["project"] == str(tmp_path / "new")
    assert bool(told["notes"]) == any(not clip.has_sound for clip in clips)
    (again,) = run_json("import", thing, tmp_path / "new", *options)
    assert (again["added"], again["known"], again["skipped"]) == (0, len(clips), [])
    assert len(Project(tmp_path / "new").clips()) == len(clips)


@pytest.mark.slow
def test_an_import_is_told_to_a_person_with_what_was_left_out(tmp_path: Path) -> None:
    thing, target = label_folders(tmp_path / "thing"), tmp_path / "new"
    (thing / "rise" / "torn.wav").write_text("no sound")
    first = run("import", thing, target, code=1)
    assert first.stdout.decode() == f"6 recordings → {target}\n"
    (line,) = first.stderr.decode().splitlines()
    assert re.fullmatch(r"Left out: .*rise/torn\.wav: .+\.", line)
    again = run("import", thing, target, code=1)
    assert again.stdout.decode() == f"0 recordings → {target}; 6 more were there already\n"
    told = json.loads(run("import", thing, target, "--json", code=1).stdout)
    ((name, reason),) = told["skipped"]
    assert (name, line) == ("rise/torn.wav", f"Left out: {name}: {reason}")


def test_of_many_that_are_left_out_the_first_are_told(tmp_path: Path) -> None:
    thing = label_folders(tmp_path / "thing")
    for number in range(30):
        (thing / "rise" / f"torn{number}.wav").write_text("no sound")
    *lines, last = run("import", thing, tmp_path / "new", code=1).stderr.decode().splitlines()
    assert len(lines) == 20
    assert last == "Left out: 10 more; --json tells all of them."
    told = json.loads(run("import", thing, tmp_path / "new", "--json", code=1).stdout)
    assert len(told["skipped"]) == 30


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"rise": 3, "fall": 3}),
        (("--only", "rise"), {"rise": 3}),
        (("--only", "rise", "--only", "fall"), {"rise": 3, "fall": 3}),
        (("--split", "train"), {"rise": 1, "fall": 1}),
        (("--limit", 2), {"rise": 2, "fall": 2}),
        (("--only", "fall", "--limit", 1), {"fall": 1}),
        (("--only", "fall", "--split", "test"), {"fall": 1}),
    ],
)
def test_a_part_is_imported(
    everything: Path, options: tuple[Any, ...], expected: dict[str, int], tmp_path: Path
) -> None:
    run("import", everything, tmp_path / "new", *options)
    assert labels(tmp_path / "new") == expected


@pytest.mark.slow
def test_the_split_is_that_of_the_lists(everything: Path, tmp_path: Path) -> None:
    for split, speaker in (("train", "ann"), ("validation", "bob"), ("test", "cid")):
        run("import", everything, tmp_path / split, "--split", split)
        samples = {earmark.read_clip(clip.path).samples.tobytes() for clip in Project(tmp_path / split).clips()}
        files = [everything / word / f"{speaker}_nohash_0.wav" for word in ("rise", "fall")]
        assert samples == {earmark.read_clip(file).samples.tobytes() for file in files}


@pytest.mark.slow
def test_a_new_project_is_for_words_and_an_old_one_stays_what_it_is(tmp_path: Path) -> None:
    file = sound_file(tmp_path / "rise")
    Project(tmp_path / "old", create=True, mode="sounds")
    for name, options, mode in (
        ("new", (), "words"),
        ("chosen", ("--mode", "sounds"), "sounds"),
        ("old", (), "sounds"),
        ("old", ("--mode", "words"), "words"),
    ):
        run("import", file, tmp_path / name, "--label", "rise", *options)
        assert Project(tmp_path / name).mode == mode


def test_a_label_is_only_for_what_has_none(everything: Path, tmp_path: Path) -> None:
    (told,) = run_json("import", everything, tmp_path / "new", "--label", "mine")
    assert labels(tmp_path / "new") == {"rise": 3, "fall": 3}
    assert told["notes"] == ["The recordings keep the labels that they came with."]
    run("import", class_samples(tmp_path / "snap"), tmp_path / "new", "--label", "mine")
    assert labels(tmp_path / "new")["mine"] == 1


@pytest.mark.thinned(3)
@pytest.mark.parametrize(
    ("thing", "options", "says"),
    [
        ("nowhere", (), "nowhere does not exist, or is no file: check the path."),
        ("notes.txt", (), "notes.txt can't be imported: choose label folders, "),
        ("empty", (), "empty holds no recordings: choose label folders, "),
        ("torn.zip", (), "torn.zip is not a zip that can be read: "),
        ("torn.bin", (), "get a whole copy of it."),
        ("alone.wav", (), "alone.wav doesn't tell a label: give one"),
        ("alone.wav", ("--label", " "), "A label needs a name: "),
        ("set", ("--only", "up"), "set has no label 'up': it has fall, rise."),
        ("set", ("--split", "test"), "set has no recordings for the split test: "),
        ("x" * 5_000, (), "does not exist"),
    ],
)  # fmt: skip
def test_what_can_not_be_imported_is_told_and_makes_no_project(
    thing: str, options: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("milk")
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.zip").write_bytes(zipped(tmp_path / "whole").read_bytes()[:5_000])
    (tmp_path / "torn.bin").write_bytes(example_set(tmp_path / "all").read_bytes()[:5_000])
    sound_file(tmp_path / "alone")
    chirps.save_words(tmp_path / "set", ("rise", "fall"), ("ann",))
    before = sorted(tmp_path.rglob("*"))
    assert says in complaint("import", thing, "project", *options, cwd=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_when_nothing_can_be_read_the_exit_code_says_so(project: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "rise").mkdir(parents=True)
    (tmp_path / "set" / "rise" / "torn.wav").write_text("no sound")
    for target, made in ((tmp_path / "new", False), (project, True)):
        done = run("import", tmp_path / "set", target, code=1)
        assert done.stdout.decode() == f"0 recordings → {target}\n"
        assert len(done.stderr.splitlines()) == 1
        assert target.exists() == made
    assert labels(project) == {"rise": 2, "fall": 2}


@pytest.mark.thinned(1)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--mode", "songs"), "'songs' is not one of 'sounds', 'words'"),
        (("--split", "all"), "'all' is not one of 'train', 'validation', 'test'"),
        (("--limit", "0"), "--limit"),
        (("--limit", "many"), "--limit"),
    ],
)
def test_a_misused_import_exits_with_2(everything: Path, options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run("import", everything, tmp_path / "new", *options, code=2, COLUMNS="200")
    assert says in done.stderr.decode()
    assert done.stdout == b""
    assert not (tmp_path / "new").exists()


def test_a_file_is_no_project(everything: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert "taken is a file: name a folder" in complaint("import", everything, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


# export, of models


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("to", "name", "files"),
    [
        ("tfjs", "words", ["group1-shard1of1.bin", "metadata.json", "model.json"]),
        ("teachable-machine", "words", ["metadata.json", "model.json", "weights.bin"]),
        ("teachable-machine", "words.zip", ["metadata.json", "model.json", "weights.bin"]),
    ],
)
def test_words_is_exported_for_the_browser(to: str, name: str, files: list[str], tmp_path: Path) -> None:
    (told,) = run_json("export", "words", tmp_path / "new" / name, "--to", to, "--probability-threshold", 0.6)
    assert told["output"] == str(tmp_path / "new" / name)
    assert told["notes"] == []
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / name]
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / "new" / name) as archive:
            archive.extractall(tmp_path / "new" / "words")
    assert sorted(path.name for path in (tmp_path / "new" / "words").iterdir()) == files
    loaded = earmark.load(tmp_path / "new" / name)
    assert loaded.labels == earmark.load("words").labels
    assert loaded.decisions().probability_threshold == 0.6


@pytest.mark.parametrize(("options", "given"), [((), "waveform"), (("--onnx-input", "window"), "window")])
def test_words_is_exported_as_onnx(options: tuple[str, ...], given: str, tmp_path: Path) -> None:
    file = tmp_path / "words.onnx"
    told = run("export", "words", file, "--to", "onnx", "--probability-threshold", 0.9, *options).stdout.decode()
    assert told == f"Saved in {file}.\n"
    session = onnxruntime.InferenceSession(file)
    assert [one.name for one in session.get_inputs()] == [given]
    assert session.get_modelmeta().custom_metadata_map["probability_threshold"] == "0.9"


def test_a_project_gives_its_model(trained: Project, tmp_path: Path) -> None:
    (told,) = run_json("export", trained.path, tmp_path / "a", "--to", "tfjs")
    assert "(levels in dB - -100) / 10" in told["notes"][0]
    whistle = sounds.whistle(0.5, 5)
    np.testing.assert_allclose(
        earmark.load(tmp_path / "a").recognize(whistle, sounds.RATE).scores,
        trained.model().recognize(whistle, sounds.RATE).scores,
        atol=1e-6,
    )


@pytest.mark.slow
def test_a_model_that_can_not_be_exported_is_told_and_nothing_is_written(
    trained: Project, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "tones.onnx").write_bytes(tones.tone_model())
    (tmp_path / "notes.txt").write_text("milk")
    before = sorted(tmp_path.rglob("*"))
    for model, options, says in (
        ("nowhere", ("--to", "tfjs"), "nowhere does not exist: check the path."),
        ("notes.txt", ("--to", "onnx"), "notes.txt is not an ONNX model"),
        ("tones.onnx", ("--to", "tfjs"), "takes the waveform, which speech-commands can't give it"),
        (project, ("--to", "tfjs"), "has no trained model yet: run `earmark train "),
        (trained.path, ("--to", "teachable-machine"), "needs a sound's level, which Teachable Machine"),
        ("words", ("--to", "onnx", "--probability-threshold", 2), "it must be between 0 and 1."),
    ):  # fmt: skip
        assert says in complaint("export", model, "new", *options, cwd=tmp_path)
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.thinned(1)
@pytest.mark.parametrize("to", ["tfjs", "onnx", "folders", "examples"])
def test_what_is_there_stays(to: str, project: Path, tmp_path: Path) -> None:
    thing: object = project if to in ("folders", "examples") else "words"
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for name in ("file", "folder"):
        assert f"{name} is there already: delete it, or choose another name." in complaint(
            "export", thing, tmp_path / name, "--to", to
        )
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "file").read_text() == "mine"


@pytest.mark.thinned(1)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "Missing option '--to'"),
        (("--to", "keras"), "'keras' is not one of 'tfjs', 'teachable-machine', 'onnx', 'folders'"),
        (("--to", "onnx", "--onnx-input", "sound"), "'sound' is not one of 'waveform', 'window'"),
        (("--to", "onnx", "--probability-threshold", "high"), "--probability-threshold"),
    ],
)
def test_a_misused_export_exits_with_2(options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run("export", "words", tmp_path / "new", *options, code=2, COLUMNS="200")
    assert says in done.stderr.decode()
    assert not list(tmp_path.iterdir())


# export, of recordings


@pytest.mark.thinned(1)
@pytest.mark.parametrize("to", ["folders", "speech-commands", "audiofolder", "examples"])
def test_recordings_are_exported(to: str, project: Path, tmp_path: Path) -> None:
    (told,) = run_json("export", project, tmp_path / "out", "--to", to)
    assert (told["output"], told["written"], told["skipped"]) == (str(tmp_path / "out"), 4, [])
    (back,) = run_json("import", tmp_path / "out", tmp_path / "back")
    assert back["added"] == 4
    assert labels(tmp_path / "back") == {"rise": 2, "fall": 2}


@pytest.mark.slow
def test_the_layouts_are_those_of_the_others(project: Path, tmp_path: Path) -> None:
    for to in ("folders", "speech-commands", "audiofolder", "examples"):
        told = run("export", project, tmp_path / to, "--to", to).stdout.decode()
        assert told.splitlines()[0] == f"4 recordings → {tmp_path / to}"
    run("export", project, tmp_path / "folders.zip", "--to", "folders")
    with zipfile.ZipFile(tmp_path / "folders.zip") as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        sound, rate = soundfile.read(io.BytesIO(archive.read(names[0])))
    assert [name.split("/")[0] for name in names] == ["fall", "fall", "rise", "rise"]
    assert (len(sound), rate) == (chirps.RATE, chirps.RATE)
    files = sorted((tmp_path / "folders").rglob("*.*"))
    assert [str(file.relative_to(tmp_path / "folders")) for file in files] == names
    for file in (tmp_path / "speech-commands").rglob("*.wav"):
        assert (soundfile.info(file).samplerate, soundfile.info(file).frames) == (16_000, 16_000)
    table = (tmp_path / "audiofolder" / "metadata.csv").read_text().splitlines()
    assert table[0].split(",")[:2] == ["file_name", "label"]
    assert len(table) == 5
    assert [one.label for one in read_examples((tmp_path / "examples").read_bytes())] == ["fall"] * 2 + ["rise"] * 2


def test_a_recording_that_can_not_be_read_is_left_out_and_told(project: Path, tmp_path: Path) -> None:
    (project / "clips" / "rise" / "torn.flac").write_bytes(b"fLaC")
    done = run("export", project, tmp_path / "out", "--to", "audiofolder")
    assert done.stdout.decode() == f"4 recordings → {tmp_path / 'out'}\n"
    (line,) = done.stderr.decode().splitlines()
    assert re.fullmatch(r"Left out: .*torn\.flac: .+\.", line)
    (told,) = run_json("export", project, tmp_path / "out.bin", "--to", "examples")
    assert [name for name, _ in told["skipped"]] == ["rise/torn.flac"]
    (told,) = run_json("export", project, tmp_path / "copy", "--to", "folders")
    assert (told["written"], told["skipped"]) == (5, []), "folders of labels are a copy, whatever is in them"


# A full disk, which a limit on the size of files is like


def limited(kilobytes: int, *arguments: object, cwd: Path) -> str:
    """What the command complains of that may write no file larger than that."""
    script = f'ulimit -f {2 * kilobytes}; exec "$@"'  # in POSIX' blocks of 512 bytes
    command = ["sh", "-c", script, "sh", COMMAND, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.thinned(2)
@pytest.mark.parametrize("to", [to.value for to in ExportFormat])
def test_an_export_that_does_not_fit_leaves_nothing(to: str, project: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    told = limited(8, "export", "words" if to in MODEL_FORMATS else project, "out", "--to", to, cwd=tmp_path)
    assert re.fullmatch(r"Error: .*out.* can't be written \(File too large\): .+\.\n", told)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_import_that_does_not_fit_leaves_nothing(everything: Path, tmp_path: Path) -> None:
    told = limited(8, "import", everything, "new", cwd=tmp_path)
    assert all("can't be written (File too large)" in line for line in told.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_an_import_that_is_cut_short_by_a_full_disk_exits_with_1(everything: Path, tmp_path: Path) -> None:
    full = (
        "import errno, itertools, os\n"
        "from earmark.clips import folders\n"
        "from earmark.cli.main import main\n"
        "number, write, sync = itertools.count(), folders.write_new, os.fsync\n"
        "def fail(_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "def write_new(path, data):\n"
        "    os.fsync = sync if next(number) < 2 else fail\n"
        "    return write(path, data)\n"
        "folders.write_new = write_new\n"
        "main()\n"
    )
    command = [sys.executable, "-c", full, "import", str(everything), str(tmp_path / "new"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    told = json.loads(done.stdout)
    assert (told["added"], told["skipped"]) == (2, [])
    assert told["notes"][0].startswith(f"{told['left_out']} recordings are left out: ")
    assert len(Project(tmp_path / "new").clips()) == 2


@pytest.mark.slow
def test_recordings_come_from_a_project_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for thing, says in (
        ("words", "words is no project: recordings are exported from a project's folder."),
        ("nowhere", "nowhere is no project: "),
        ("folder", "folder is not a project: "),
        ("x" * 5_000, "is no project: "),
    ):
        assert says in complaint("export", thing, "out", "--to", "folders", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--to", "tfjs", "--onnx-input", "window"), "--onnx-input says what an ONNX model takes: leave it out"),
        (("--to", "folders", "--probability-threshold", "0.5"), "--probability-threshold is written into models"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(options: tuple[str, ...], told: str, tmp_path: Path) -> None:
    assert told in complaint("export", "words", str(tmp_path / "out"), *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.thinned(1)
@pytest.mark.parametrize("to", ["folders", "speech-commands", "audiofolder", "examples"])
def test_a_project_without_recordings_is_not_written(to: str, tmp_path: Path) -> None:
    Project(tmp_path / "empty", create=True)
    told = complaint("export", str(tmp_path / "empty"), str(tmp_path / "out"), "--to", to)
    assert "has no recordings to write" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_import_of_nothing_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "notes.txt").write_text("no recordings")
    for project in ("bare", "new/deeper/project"):
        complaint("import", str(tmp_path / "notes.txt"), str(tmp_path / project))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["bare", "notes.txt"]
