"""The real command, in processes of its own, on real files."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import earmark
from earmark import Project
from earmark.evaluation.advice import as_dict
from tests import bands, sounds, tones
from tests.portaudio import without_portaudio
from tests.studio import spoken

COMMAND = str(Path(sys.executable).with_name("earmark"))


def run(
    *arguments: object, stdin: bytes = b"", code: int = 0, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the command; its exit code must be the given one."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done


def run_json(*arguments: object, stdin: bytes = b"", cwd: Path | None = None) -> list[dict[str, Any]]:
    told = run(*arguments, "--json", stdin=stdin, cwd=cwd).stdout.decode()
    return [json.loads(line) for line in told.split("\n")[:-1]]


def complaint(*arguments: object, stdin: bytes = b"", cwd: Path | None = None, **environment: str) -> str:
    """The one line of a failed command."""
    done = run(*arguments, stdin=stdin, code=1, cwd=cwd, **environment)
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert re.fullmatch(r"Error: .+: .+\.", line)
    return line


def pcm(samples: sounds.Samples) -> bytes:
    return (samples * 32_767).astype("<i2").tobytes()


def three_sounds() -> sounds.Samples:
    takes = [sounds.whistle(1.5, 61), sounds.snaps(1.5, 62), sounds.murmur(1.5, 63)]
    return np.concatenate(takes)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "three.wav", three_sounds(), sounds.RATE)
    return tmp_path / "three.wav"


@pytest.fixture
def bands_model(tmp_path: Path) -> Path:
    """A model of one-second windows."""
    (tmp_path / "bands.onnx").write_bytes(bands.band_model())
    return tmp_path / "bands.onnx"


@pytest.fixture
def bands_wav(tmp_path: Path) -> Path:
    """What that model knows, at 2 and at 5 seconds; the second is the louder one."""
    low, high = bands.burst(bands.LOW, 0.6, 1), 2 * bands.burst(bands.HIGH, 0.6, 2)
    soundfile.write(tmp_path / "bands.wav", bands.room_with({2: low, 5: high}, 8), bands.RATE)
    return tmp_path / "bands.wav"


# Help


def test_the_version_is_told() -> None:
    assert run("--version").stdout.decode() == f"earmark {earmark.__version__}\n"


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    "command", ["record", "devices", "doctor", "train", "evaluate", "listen", "recognize", "pretrain", "studio"]
)
def test_each_command_has_help(command: str) -> None:
    told = run(command, "--help", COLUMNS="200").stdout.decode()
    assert f"Usage: earmark {command} [OPTIONS]" in told
    assert command in run("--help", COLUMNS="200").stdout.decode()


@pytest.mark.parametrize(("command", "usage"), [("listen", "[MODEL]"), ("studio", "[PROJECT]")])
def test_what_may_be_left_out_is_shown_so(command: str, usage: str) -> None:
    told = run(command, "--help", COLUMNS="200").stdout.decode()
    (line,) = (line.strip() for line in told.splitlines() if "Usage: " in line)
    assert line == f"Usage: earmark {command} [OPTIONS] {usage}"


@pytest.mark.parametrize("command", ["listen", "recognize"])
def test_the_default_model_is_shown(command: str) -> None:
    told = " ".join(run(command, "--help").stdout.decode().split())
    assert "words (comes with Earmark), a project, a model folder, a model.onnx, or a TensorFlow.js model." in told
    assert "[default: words]" in told


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    "arguments",
    [
        ("dance",),
        ("record",),
        ("recognize",),
        ("train", "x", "--epochs", "0"),
        ("train", "x", "--epochs", "many"),
        ("listen", "x", "--encoding", "mp3"),
    ],
)
def test_a_misuse_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert b"Error" in run(*arguments, code=2).stderr


# record


def test_a_files_first_seconds_are_recorded(tmp_path: Path, wav: Path) -> None:
    (told,) = run_json("record", tmp_path / "new", "AC/DC", "--input", wav, "--seconds", 1)
    # One second at 48 kHz is 44,100 samples at 44.1: 43 hops, and a window takes 4, so 40 windows start.
    assert (told["label"], told["seconds"], told["examples"]) == ("AC/DC", 1, 40)
    assert Path(told["path"]).parent == tmp_path / "new" / "clips" / "AC%2FDC"
    data, rate = soundfile.read(told["path"], dtype="float32")
    expected, _ = soundfile.read(wav, frames=48_000, dtype="float32")
    assert rate == 48_000
    np.testing.assert_array_equal(data, expected)
    done = run("record", tmp_path / "new", "AC/DC", "--input", wav, "--seconds", 3)
    assert done.stdout.decode().startswith("AC/DC: 3.00 s, ")
    assert done.stderr.decode() == f"Note: {wav} lasts 4.50 s: its last 1.50 s are left out.\n"
    assert len(Project(tmp_path / "new").clips()) == 2


def test_all_of_a_file_is_recorded_where_no_length_is_given(tmp_path: Path, wav: Path) -> None:
    done = run("record", tmp_path / "new", "Left", "--input", wav, "--json")
    stored, rate = soundfile.read(json.loads(done.stdout)["path"], dtype="float32")
    expected, _ = soundfile.read(wav, dtype="float32")
    assert (rate, len(stored)) == (48_000, 4.5 * 48_000)
    np.testing.assert_array_equal(stored, expected)
    assert done.stderr == b""


def test_all_of_a_stream_is_recorded_where_no_length_is_given(tmp_path: Path) -> None:
    options = ("record", tmp_path / "new", "Left", "--input", "-", "--sample-rate", 16_000)
    sound = pcm(np.full(5 * 16_000, 0.25, np.float32))
    assert json.loads(run(*options, "--json", stdin=sound).stdout)["seconds"] == 5
    cut = run(*options, "--seconds", 2, stdin=sound)
    assert cut.stderr.decode() == "Note: What follows the first 2 s of standard input is left out.\n"
    whole = run(*options, "--seconds", 9, stdin=sound)
    assert whole.stderr == b""


def test_what_lasts_longer_than_a_clip_may_is_no_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.full(601 * 8_000, 0.25, np.float32), 8_000)
    told = complaint("record", tmp_path / "new", "Left", "--input", tmp_path / "long.flac")
    assert "lasts longer than 600 s" in told
    assert not (tmp_path / "new").exists()


def test_a_recording_that_is_mostly_silence_is_kept_and_told(tmp_path: Path) -> None:
    quiet = sounds.room(3, 1)
    quiet[48_000 : 48_000 + 19_200] += tones.tone(1_000, 0.4, rate=sounds.RATE)
    soundfile.write(tmp_path / "beep.wav", quiet, sounds.RATE)
    done = run("record", tmp_path / "new", "beep", "--input", tmp_path / "beep.wav", "--json")
    told = json.loads(done.stdout)
    # 0.4 s are 17 frames, and two windows of three frames more begin before it; at each end a frame holds a part of it
    assert told["examples"] == pytest.approx(20, abs=1)
    (note,) = told["notes"]
    assert done.stderr.decode() == f"Note: {note}\n"
    assert note.startswith(
        "The recording is mostly silence: only 0.5 of its 3.0 s stand out and are learnt as 'beep'; "
    )
    run("record", tmp_path / "new", "_background_noise_", "--input", tmp_path / "beep.wav")
    assert Project(tmp_path / "new").count_examples() == {"beep": told["examples"], "_background_noise_": 126}


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
def test_raw_pcm_is_recorded_from_standard_input(tmp_path: Path, encoding: str) -> None:
    values = (np.arange(32_000, dtype=np.int16) % 300 * 100).reshape(-1, 2)  # two channels, one second at 16 kHz
    data = values.astype("<i2") if encoding == "s16le" else (values / 32_768).astype("<f4")
    (told,) = run_json(
        "record", tmp_path / "new", "Left", "--input", "-", "--sample-rate", 16_000, "--channels", 2,
        "--encoding", encoding, "--seconds", 0.5, stdin=data.tobytes(),
    )  # fmt: skip
    assert told["seconds"] == 0.5
    stored, rate = soundfile.read(told["path"])
    assert rate == 16_000
    np.testing.assert_allclose(stored, values[:8_000].mean(axis=1) / 32_768, atol=1e-6)


@pytest.mark.thinned(4)
@pytest.mark.parametrize(
    ("label", "options", "stdin", "says"),
    [
        ("Left", ["--input", "missing.wav"], b"", "missing.wav does not exist"),
        ("Left", ["--input", "text.wav"], b"", "text.wav is not a sound file"),
        ("Left", ["--input", "-"], b"", "empty"),
        ("Left", ["--input", "-"], bytes(2_000), "lasts 0.02 s"),
        ("Left", ["--input", "-", "--sample-rate", "0"], bytes(20_000), "sample rate of 0 Hz"),
        ("Left", ["--input", "-", "--channels", "0"], bytes(20_000), "0 channels"),
        ("Left", ["--input", "-", "--encoding", "f32le"], b"\0\0\xc0\x7f" * 9_000, "not finite"),
        ("Left", ["--input", "-", "--seconds", "nan"], bytes(20_000), "600"),
        ("x" * 300, ["--input", "-"], bytes(20_000), "300 characters"),
        ("", ["--input", "-"], bytes(20_000), "needs a name"),
        ("a\nb", ["--input", "-"], bytes(20_000), "control characters"),
        ("Left", ["--device", "²"], b"", ": "),
    ],
)  # fmt: skip
def test_a_bad_recording_is_told_in_one_line_and_makes_no_project(
    tmp_path: Path, label: str, options: list[str], stdin: bytes, says: str
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    options = [str(tmp_path / option) if option.endswith(".wav") else option for option in options]
    done = run_failing("record", tmp_path / "new", label, *options, stdin=stdin)
    assert says in done
    assert not (tmp_path / "new").exists()


def run_failing(*arguments: object, stdin: bytes = b"", environment: dict[str, str] | None = None) -> str:
    """What a command says on standard error that fails in whichever way, without a traceback."""
    command = [COMMAND, *map(str, arguments)]
    done = subprocess.run(
        command, input=stdin, env={**os.environ, **(environment or {})}, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (1, 2)
    if done.returncode == 1:
        assert len(done.stderr.decode().splitlines()) == 1
    return done.stderr.decode()


@pytest.mark.thinned(1)
@pytest.mark.parametrize("command", ["listen", "listen words --json", "listen --device 7", "record {}/new Left"])
def test_a_microphone_without_portaudio_is_told_and_nothing_is_made(command: str, tmp_path: Path) -> None:
    told = run_failing(*command.format(tmp_path).split(), environment=without_portaudio(tmp_path))
    assert told.startswith("Error: The microphone needs PortAudio, which can't be loaded: install it (")
    assert "libportaudio2" in told
    assert not (tmp_path / "new").exists()


def test_a_terminal_without_unicode_is_no_reason_to_fail(tmp_path: Path, wav: Path) -> None:
    for coding in ("ascii", "cp1252"):
        told = run("record", tmp_path / "new", "été 🙂", "--input", wav, PYTHONIOENCODING=coding).stdout
        assert b"4.50 s" in told
    assert len(Project(tmp_path / "new").clips()) == 2


# train


def test_training_prints_each_epoch_and_the_model_as_json(trained: Project, tmp_path: Path) -> None:
    shutil.copytree(trained.path / "clips", tmp_path / "copy" / "clips")
    shutil.copy(trained.path / "earmark.toml", tmp_path / "copy")
    *epochs, last = run_json("train", tmp_path / "copy")
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 11))
    assert {epoch["epochs"] for epoch in epochs} == {10}
    assert all(epoch["loss"] > 0 and 0 <= epoch["accuracy"] <= 1 for epoch in epochs)
    assert last == {"model": str(tmp_path / "copy" / "models" / "sounds")}
    samples = sounds.whistle(0.5, 5)
    np.testing.assert_allclose(
        earmark.load(last["model"]).recognize(samples, sounds.RATE).scores,
        trained.model().recognize(samples, sounds.RATE).scores,
        atol=1e-6,
    )


def test_training_tells_epochs_to_a_person_and_where_to_go_on(trained: Project, tmp_path: Path) -> None:
    shutil.copytree(trained.path, tmp_path / "copy")
    lines = run("train", tmp_path / "copy", "--epochs", 2).stdout.decode().splitlines()
    assert re.fullmatch(r"Epoch 1/2: loss \d\.\d{4}, accuracy \d+\.\d%", lines[0])
    assert lines[2] == f"Saved in {tmp_path}/copy/models/sounds. Now: earmark listen {tmp_path}/copy"


@pytest.mark.slow
def test_a_project_named_words_is_not_taken_for_the_words_that_come_with_earmark(
    trained: Project, tmp_path: Path
) -> None:
    shutil.copytree(trained.path, tmp_path / "words")
    told = run("train", "words", "--epochs", 1, cwd=tmp_path).stdout.decode()
    assert told.endswith("Saved in words/models/sounds. Now: earmark listen ./words\n")
    soundfile.write(tmp_path / "left.wav", sounds.whistle(1, 5), sounds.RATE)
    for model, labels in (("./words", 3), ("words", 20)):
        (told_as_json,) = run_json("recognize", "left.wav", "--model", model, cwd=tmp_path)
        assert len(told_as_json["scores"]) == labels


@pytest.mark.slow
def test_a_training_that_can_not_be_is_told(bands_model: Path, tmp_path: Path) -> None:
    assert "is not a project: create it" in complaint("train", tmp_path / "missing")
    Project(tmp_path / "empty", create=True)
    assert "at least two labels" in complaint("train", tmp_path / "empty")
    project = Project(tmp_path / "whole", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
        project.add(label, make(1.5, 1), sounds.RATE)
    (tmp_path / "text.txt").write_text("no model")
    assert "nowhere does not exist" in complaint("train", project.path, "--base", "nowhere")
    assert "is not an ONNX model" in complaint("train", project.path, "--base", tmp_path / "text.txt")
    assert "has no embedding" in complaint("train", project.path, "--base", bands_model)


def test_pretraining_without_pytorch_says_what_to_install(tmp_path: Path) -> None:
    # None in sys.modules is what Python itself takes for a package that isn't there.
    script = "import sys; sys.modules['torch'] = None; from earmark.cli.main import main; main()"
    command = [sys.executable, "-c", script, "pretrain", "--data", str(tmp_path)]
    command += ["--output", str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    remedy = "install it with `pip install 'earmark[pretrain]'`"
    assert done.stderr == f"Error: Pretraining needs the package torch: {remedy}.\n"
    assert not (tmp_path / "new").exists()


# listen


def assert_three(found: list[dict[str, Any]]) -> None:
    assert [one["label"] for one in found] == ["Left", "Right", "Noise"]
    for one, start in zip(found, (0, 1.5, 3), strict=True):
        assert one["start"] == pytest.approx(start, abs=0.1)
        assert one["end"] == pytest.approx(start + 1.5, abs=0.1)
        assert 0.75 <= one["score"] <= 1


def test_listening_to_a_file_finds_each_sound_at_its_time(trained: Project, wav: Path) -> None:
    assert_three(run_json("listen", trained.path, "--input", wav))
    lines = run("listen", trained.path, "--input", wav).stdout.decode().splitlines()
    assert [line.split()[-1] for line in lines] == ["Left", "Right", "Noise"]


def test_listening_to_raw_pcm_finds_each_sound_at_its_time(trained: Project) -> None:
    options = ("listen", trained.path / "models" / "sounds", "--input", "-", "--sample-rate", 48_000)
    assert_three(run_json(*options, stdin=pcm(three_sounds())))
    done = run(*options, stdin=pcm(three_sounds()))
    assert len(done.stdout.splitlines()) == 3
    assert b"Listening to standard input for Left, Right, Noise." in done.stderr


@pytest.mark.slow
def test_listening_is_for_words_where_no_model_is_named(wav: Path) -> None:
    expected = list(
        earmark.load("words").listen(wav, probability_threshold=0, invoke_callback_on_noise_and_unknown=True)
    )
    assert expected
    options = ("--input", wav, "--probability-threshold", 0, "--noise")
    for model in ((), ("words",)):
        found = run_json("listen", *model, *options)
        assert [earmark.Detection(**one) for one in found] == expected
    assert len(run("listen", *options).stdout.splitlines()) == len(expected)
    raw = ("listen", "--input", "-", "--sample-rate", 16_000)
    assert b"Listening to standard input for down, eight, five, " in run(*raw, stdin=pcm(bands.hiss(2, 1))).stderr
    told = run(*raw, "--noise", stdin=pcm(bands.hiss(2, 1))).stderr
    assert b"Listening to standard input for _background_noise_, _unknown_, down, eight, five, " in told


def test_listening_for_words_finds_each_around_its_time(bands_model: Path, bands_wav: Path) -> None:
    low, high = run_json("listen", bands_model, "--input", bands_wav)
    for one, label, second in ((low, "low", 2), (high, "high", 5)):
        assert one["label"] == label
        assert second - 1 < one["start"] < second + 0.3
        assert second + 0.3 < one["end"] < second + 1.6
    assert len(run_json("listen", bands_model, "--input", bands_wav, "--noise")) == 5


def test_listening_tells_what_it_hears_while_the_stream_goes_on(trained: Project) -> None:
    command = [COMMAND, "listen", str(trained.path), "--input", "-", "--sample-rate", "48000", "--json"]
    # A shell lets what it starts in the background ignore Ctrl+C, and so would the command.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, preexec_fn=heed, stdin=pipe, stdout=pipe, stderr=pipe) as listener:
        assert listener.stdin is not None
        assert listener.stdout is not None
        assert listener.stderr is not None
        listener.stdin.write(pcm(three_sounds()))
        listener.stdin.flush()
        assert json.loads(listener.stdout.readline())["label"] == "Left"  # standard input is still open
        listener.send_signal(signal.SIGINT)
        told = listener.stderr.read()
    assert listener.returncode == 130
    assert b"Traceback" not in told


def test_a_reader_that_goes_away_is_no_error(trained: Project, wav: Path) -> None:
    command = [COMMAND, "listen", str(trained.path), "--input", str(wav), "--json"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_listening_that_can_not_be_is_told(trained: Project, tmp_path: Path, wav: Path) -> None:
    cut = tmp_path / "cut.flac"
    soundfile.write(cut, three_sounds(), sounds.RATE)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 7 // 10])
    assert "missing does not exist" in complaint("listen", tmp_path / "missing", "--input", wav)
    assert "three.wav is not an ONNX model" in complaint("listen", wav, "--input", wav)
    assert "does not exist" in complaint("listen", trained.path, "--input", tmp_path / "missing.wav")
    assert "threshold is 2" in complaint("listen", trained.path, "--input", wav, "--probability-threshold", 2)
    done = run("listen", trained.path, "--input", cut, "--json", code=1)
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()][:1] == ["Left"], "what was heard is told"
    assert b"cut.flac is damaged or cut off: get a whole copy" in done.stderr


# recognize


def test_a_bad_file_among_good_ones_fails_and_the_good_ones_are_told(trained: Project, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "left.wav", sounds.whistle(1, 5), sounds.RATE)
    soundfile.write(tmp_path / "right.wav", sounds.snaps(1, 5), sounds.RATE)
    (tmp_path / "bad.wav").write_text("no sound")
    files = [tmp_path / name for name in ("left.wav", "bad.wav", "right.wav")]
    done = run("recognize", *files, "--model", trained.path, "--json", code=1)
    left, right = (json.loads(line) for line in done.stdout.splitlines())
    assert (left["label"], left["path"]) == ("Left", str(files[0]))
    assert (right["label"], right["path"]) == ("Right", str(files[2]))
    assert left["scores"].keys() == {"Left", "Right", "Noise"}
    assert left["score"] == max(left["scores"].values())
    assert sum(left["scores"].values()) == pytest.approx(1, abs=1e-5)
    (line,) = done.stderr.decode().splitlines()
    assert "bad.wav is not a sound file" in line
    told = run("recognize", "--model", trained.path, files[0]).stdout.decode()
    assert re.fullmatch(r" *\d+\.\d%  Left  .*left\.wav\n", told)


def test_a_file_name_that_is_not_unicode_is_recognized(trained: Project, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "left.wav", sounds.whistle(0.5, 5), sounds.RATE)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 [red].wav"))
    (tmp_path / "left.wav").rename(odd)
    assert b"Left" in run("recognize", odd, "--model", trained.path, PYTHONIOENCODING="utf-8").stdout
    odd.write_text("no sound")
    done = run("recognize", odd, "--model", trained.path, code=1, PYTHONIOENCODING="utf-8")
    assert b"[red].wav is not a sound file" in done.stderr


def test_words_are_recognized_where_no_model_is_named(wav: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.flac", bands.hiss(0.3, 1), bands.RATE)
    recognizer = earmark.load("words")
    files = (wav, tmp_path / "noise.flac")
    for options in ((), ("--model", "words")):
        told = run_json("recognize", *files, *options)
        assert [one["path"] for one in told] == list(map(str, files))
        for one, file in zip(told, files, strict=True):
            expected = recognizer.recognize(file)
            assert (one["label"], one["score"]) == (expected.label, expected.score)
            assert tuple(one["scores"]) == recognizer.labels
            assert list(one["scores"].values()) == expected.scores.tolist()
    lines = run("recognize", *files).stdout.decode().splitlines()
    assert [line.split()[1:] for line in lines] == [[one["label"], one["path"]] for one in told]


def test_a_long_file_gets_the_label_of_its_loudest_part(bands_model: Path, bands_wav: Path) -> None:
    (told,) = run_json("recognize", "--model", bands_model, bands_wav)
    assert told["label"] == "high"
    assert told["scores"].keys() == {"_background_noise_", "low", "high"}
    assert sum(told["scores"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_what_can_not_be_recognized_is_told(wav: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    for model, says in (
        ("missing", "missing does not exist: check the path."),
        ("text.onnx", "text.onnx is not an ONNX model, or is damaged: "),
        ("folder", "folder holds no model.onnx: name a model folder or a project."),
        ("./words", "words does not exist: check the path."),
        ("three.wav", "three.wav is not an ONNX model, or is damaged: "),
    ):
        assert f"Error: {says}" in complaint("recognize", wav, "--model", model, cwd=tmp_path)
    for file, says in (
        ("missing.wav", "missing.wav does not exist: check the path."),
        ("text.onnx", "text.onnx is not a sound file that can be read: "),
        ("folder", "folder is a folder: name a sound file."),
        ("empty.wav", "empty.wav is empty: "),
    ):
        assert f"Error: {says}" in complaint("recognize", file, cwd=tmp_path)
        assert f"Error: {says}" in complaint("listen", "--input", file, cwd=tmp_path)


# Words that a person teaches


@pytest.fixture
def tunes(tmp_path: Path) -> Path:
    """A project of two tones for a base that knows nothing else, which lies beside it."""
    project = Project(tmp_path / "tunes", create=True, mode="words")
    for label, hertz in (("deep", tones.LOW), ("[red]shrill[/]", tones.HIGH)):
        for take in range(3):
            project.add(label, tones.tone(hertz, 1, 0.2 + 0.03 * take), tones.RATE)
    (tmp_path / "tones.onnx").write_bytes(tones.tone_model())
    return project.path


@pytest.mark.slow
def test_a_recording_may_say_what_the_project_is_for(tmp_path: Path, wav: Path) -> None:
    (told,) = run_json("record", tmp_path / "new", "red", "--input", wav, "--mode", "words")
    assert told["examples"] == 1, "of a word, a recording is one"
    assert Project(tmp_path / "new").mode == "words"
    run("record", tmp_path / "new", "blue", "--input", wav)
    assert Project(tmp_path / "new").mode == "words"
    assert (
        b"2.00 s, 83 examples"
        in run("record", tmp_path / "new", "red", "--input", wav, "--mode", "sounds", "--seconds", 2).stdout
    )
    assert Project(tmp_path / "new").mode == "sounds"
    complaint("record", tmp_path / "new", "RED", "--input", wav, "--mode", "words")
    assert Project(tmp_path / "new").mode == "sounds", "what fails changes nothing"
    assert b"dances" in run("record", tmp_path / "new", "red", "--mode", "dances", code=2).stderr


@pytest.mark.slow
def test_every_option_of_a_training_reaches_it(tunes: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "epochs": 4, "batch_size": 7, "learning_rate": 0.01, "optimizer": "adam", "hidden_units": 3,
        "validation_split": 0.34, "window_hop_ratio": 0.5, "augment_by_mixing_noise_ratio": 0.2,
        "fine_tuning_epochs": 0, "fine_tuning_optimizer": "sgd", "seed": 5,
    }  # fmt: skip
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
    base = tmp_path / "tones.onnx"
    *epochs, last = run_json("train", tunes, "--base", base, "--name", "my/own", "--no-open-set", *flags)
    project = Project(tunes)
    assert last == {"model": str(project.model_folder("my/own"))}
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4]
    assert all({"validation_loss", "validation_accuracy"} <= epoch.keys() for epoch in epochs)
    card = project.model_card()
    assert card is not None
    assert card["training"].items() >= {**options, "open_set": False}.items()
    by_api = project.train(str(base), open_set=False, **options)
    assert by_api.content == project.model("tones").content
    windows = np.stack([tones.tone(hertz, 1).reshape(50, 320) for hertz in (tones.LOW, tones.HIGH, 900)])
    np.testing.assert_array_equal(project.model("my/own").score_windows(windows), by_api.score_windows(windows))
    assert by_api.labels == ("deep", "[red]shrill[/]")


@pytest.mark.thinned(3)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--learning-rate", 0), "must be greater than 0"),
        (("--learning-rate", "nan"), "must be greater than 0"),
        (("--optimizer", "magic"), "optimizer 'magic' is not known: use sgd, adam"),
        (("--hidden-units", 5_000), "hidden_units is 5000: it must be from 0 to 4,096"),
        (("--window-hop-ratio", 0), "window_hop_ratio is 0.0: it must be"),
        (("--window-hop-ratio", 1.5), "window_hop_ratio is 1.5: it must be"),
        (("--augment-by-mixing-noise-ratio", 2), "augment_by_mixing_noise_ratio is 2.0: it must be"),
        (("--fine-tuning-optimizer", "magic"), "optimizer 'magic' is not known"),
        (("--fine-tuning-epochs", 2), "can't be fine-tuned: leave out fine_tuning_epochs"),
        (("--seed", -1), "The seed is -1: it must be"),
        (("--base", "nowhere"), "nowhere does not exist: check the path"),
        (("--base", "sounds", "--optimizer", "sgd"), "base 'sounds' has no optimizer: leave it out"),
        (("--mode", "sounds", "--window-hop-ratio", 0.5), "base 'sounds' has no window_hop_ratio"),
    ],
)  # fmt: skip
def test_a_trainings_option_that_can_not_be_is_told_in_one_sentence(
    tunes: Path, tmp_path: Path, options: tuple[object, ...], says: str
) -> None:
    base = () if "--base" in options or "--mode" in options else ("--base", tmp_path / "tones.onnx")
    assert says in run_failing("train", tunes, *base, *options)
    assert Project(tunes).models() == []


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    "options",
    [
        ("train", "tunes", "--validation-split", "1"),
        ("train", "tunes", "--validation-split", "nan"),
        ("train", "tunes", "--batch-size", "0"),
        ("train", "tunes", "--hidden-units", "-1"),
        ("train", "tunes", "--fine-tuning-epochs", "-1"),
        ("train", "tunes", "--mode", "dances"),
        ("evaluate",),
        ("evaluate", "tunes", "--folds", "1"),
        ("evaluate", "tunes", "--folds", "many"),
        ("evaluate", "tunes", "--false-alarms-per-hour", "-1"),
    ],
)
def test_a_value_that_no_project_takes_exits_with_2(tunes: Path, options: tuple[str, ...]) -> None:
    assert b"Error" in run(*options, code=2, cwd=tunes.parent).stderr


@pytest.mark.slow
def test_an_evaluation_as_json_is_that_of_the_api(tunes: Path, tmp_path: Path) -> None:
    base = tmp_path / "tones.onnx"
    room = tmp_path / "room.wav"
    soundfile.write(room, np.zeros(3 * tones.RATE), tones.RATE)
    (told,) = run_json("evaluate", tunes, "--base", base, "--folds", 3, "--background", room)
    expected = Project(tunes).evaluate(str(base), folds=3, background=[room])
    assert told == {**as_dict(expected), "report": str(tunes / "models" / "tones" / "report.html")}
    assert "[red]shrill[/]" in Path(told["report"]).read_text("utf-8")
    assert expected.accuracy.count == 6


@pytest.mark.slow
def test_an_evaluation_is_told_to_a_person(tunes: Path, tmp_path: Path) -> None:
    options = (
        "evaluate",
        tunes,
        "--base",
        tmp_path / "tones.onnx",
        "--folds",
        2,
        "--report",
        tmp_path / "new" / "a.html",
    )
    told = run(*options, COLUMNS="120").stdout.decode()
    assert told.startswith("Accuracy 100.0% (61.0% – 100.0%) of 6 recordings (each recognized by a model trained ")
    assert "[red]shrill[/]" in told
    assert "Recommended threshold: " in told
    assert told.endswith(f"Report: {tmp_path}/new/a.html\n")
    assert (tmp_path / "new" / "a.html").is_file()


@pytest.mark.slow
def test_an_evaluation_that_can_not_be_is_told(tunes: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    base = ("--base", tmp_path / "tones.onnx")
    for options, says in (
        ((tmp_path / "missing",), "missing is no project: name a folder of labelled recordings with --test."),
        (("words",), "words is no project: name a folder of labelled recordings with --test."),
        (("words", "--test", tmp_path / "missing"), "missing is not a folder: "),
        (("words", "--test", tmp_path / "empty"), "empty holds no recordings: "),
        ((tunes, "--test", tunes / "clips"), "has no trained model yet: run `earmark train "),
        ((tunes, *base, "--background", tmp_path / "missing"), "missing does not exist: check the path."),
        ((tunes, *base, "--background", tmp_path / "empty"), "empty holds no sound files: "),
        ((tunes, "--base", "nowhere"), "nowhere does not exist: check the path."),
        ((tunes, *base, "--report", tmp_path / "tones.onnx" / "a.html"), "can't be written"),
    ):
        assert says in complaint("evaluate", *options)


@pytest.mark.slow
def test_a_threshold_of_a_label_that_is_not_understood_is_told(trained: Project, wav: Path) -> None:
    listen = ("listen", trained.path, "--input", wav, "--label-threshold")
    for text in ("Left", "Left=", "Left=high", "=", "Left=2", "Left=nan", "=0.5", "Up=0.5"):
        complaint(*listen, text)
    found = run_json(*listen, "Left=1.0", "--label-threshold", "Right=0.5")
    assert [one["label"] for one in found] == ["Right", "Noise"]
    for option, value in (
        ("--smoothing-windows", 2), ("--min-agreeing-windows", 0), ("--longest-sound-ms", 0),
        ("--overlap-factor", 1), ("--suppression-time-ms", -1),
    ):  # fmt: skip
        complaint("listen", trained.path, "--input", wav, option, value)


@pytest.mark.slow
def test_taught_words_are_heard(recordings: Path, tmp_path: Path) -> None:
    taught = ("cat", "happy")
    project = Project(tmp_path / "pets", create=True)
    for word in taught:
        for clip in spoken.recordings_of(recordings, word, 8):
            project.add(word, clip, spoken.RATE)
    run("train", project.path, "--mode", "words", "--base", "words")
    assert (project.mode, project.models()) == ("words", ["words"])
    parts = []
    for word in taught:
        for number, clip in enumerate(spoken.recordings_of(recordings, word, 3, "val")):
            soundfile.write(tmp_path / f"{word}-{number}.wav", clip, spoken.RATE)
            parts += [spoken.quiet(1.2, number), clip]
            (tmp_path / "test" / word).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "test" / word / f"{number}.wav", clip, spoken.RATE)
    files = sorted(tmp_path.glob("*.wav"))
    recognized = run_json("recognize", *files, "--model", project.path)
    assert sum(Path(one["path"]).name.startswith(one["label"]) for one in recognized) >= 5
    soundfile.write(tmp_path / "talk.wav", np.concatenate([*parts, spoken.quiet(1.2, 9)]), spoken.RATE)
    heard = [one["label"] for one in run_json("listen", project.path, "--input", tmp_path / "talk.wav")]
    assert set(heard) == set(taught)
    assert heard == sorted(heard), "the cats come first"
    (told,) = run_json("evaluate", project.path, "--test", tmp_path / "test")
    assert told["recordings"] == 6
    assert told["accuracy"]["hits"] == sum(Path(one["path"]).name.startswith(one["label"]) for one in recognized)
    assert told["report"] == str(project.path / "models" / "words" / "report.html")


@pytest.mark.slow
def test_the_words_that_come_with_earmark_are_evaluated_on_a_folder(recordings: Path, tmp_path: Path) -> None:
    for word in ("yes", "no", "cat"):
        (tmp_path / "test" / word).mkdir(parents=True)
        for number, clip in enumerate(spoken.recordings_of(recordings, word, 4, "val")):
            soundfile.write(tmp_path / "test" / word / f"{number}.wav", clip, spoken.RATE)
    (told,) = run_json("evaluate", "words", "--test", tmp_path / "test", cwd=tmp_path)
    counts = {label["name"]: label["recall"]["count"] for label in told["labels"]}
    assert {label: count for label, count in counts.items() if count} == {"yes": 4, "no": 4, "_unknown_": 4}
    assert told["accuracy"]["hits"] >= 8
    assert (told["report"], (tmp_path / "report.html").is_file()) == ("report.html", True)
