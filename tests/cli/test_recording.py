"""Microphones: listing and testing them, and recording from one, with real PortAudio on devices that ALSA makes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark import Project
from tests import sounds, tones
from tests.cli.test_main import complaint, run
from tests.portaudio import skip_without_portaudio, with_devices, without_portaudio

HERTZ = 880  # of the beep


@pytest.fixture
def whistled(tmp_path: Path) -> dict[str, Any]:
    """The environment of a computer whose microphones hear a whistle."""
    return with_devices(tmp_path, sounds.whistle(20, 1))


# devices


def test_microphones_are_listed_with_numbers_names_and_rates(whistled: dict[str, Any]) -> None:
    listed = [json.loads(line) for line in run("devices", "--json", **whistled).stdout.splitlines()]
    by_name = {one["name"]: one for one in listed}
    assert {"kitchen microphone", "nursery microphone", "default"} <= by_name.keys()
    assert [name for name, one in by_name.items() if one["default"]] == ["default"]
    kitchen = by_name["kitchen microphone"]
    assert (kitchen["system"], kitchen["default_rate"], kitchen["rates"][0]) == ("ALSA", 48_000, 48_000)
    lines = run("devices", **whistled).stdout.decode().splitlines()
    assert len(lines) == len(listed)
    (star,) = (line for line in lines if line.startswith("*"))
    assert re.fullmatch(r"\* +\d+  default, ALSA  48,000 Hz \(.*\)", star)


def test_a_microphone_is_tested_by_a_part_of_its_name(whistled: dict[str, Any], tmp_path: Path) -> None:
    options = ("devices", "--test", "--device", "KITCHEN", "--seconds", 1)
    told = json.loads(run(*options, "--json", **whistled).stdout)
    heard, _ = soundfile.read(
        tmp_path / "heard.raw", samplerate=48_000, channels=1, subtype="PCM_16", format="RAW", frames=48_000
    )
    assert (told["name"], told["seconds"], told["notes"]) == ("kitchen microphone", 1, [])
    assert told["peak_dbfs"] == pytest.approx(20 * np.log10(np.abs(heard).max()), abs=0.5)
    assert told["rms_dbfs"] == pytest.approx(20 * np.log10(np.sqrt((heard**2).mean())), abs=0.5)
    said = run(*options, **whistled).stdout.decode()
    assert re.fullmatch(r"kitchen microphone: peak -\d+ dBFS, mean -\d+ dBFS\. That is a good level\.\n", said)


def test_a_microphone_that_is_not_meant_clearly_is_told_with_those_there_are(whistled: dict[str, Any]) -> None:
    for command in (("devices", "--test"), ("listen",)):
        told = complaint(*command, "--device", "microphone", **whistled)
        assert "2 microphones are meant by 'microphone': " in told
        assert re.search(r"of these: \d+ kitchen microphone, \d+ nursery microphone\.$", told)
        assert "'cellar' was not found: " in complaint(*command, "--device", "cellar", **whistled)
        assert "99 was not found: " in complaint(*command, "--device", "99", **whistled)
    assert "add --test" in complaint("devices", "--device", "kitchen", **whistled)


def test_no_microphone_is_told(tmp_path: Path) -> None:
    skip_without_portaudio()
    listed = run("devices", "--json")
    if listed.stdout:
        pytest.skip("needs a computer without sound")
    assert listed.stderr == b"Note: No microphone was found: plug one in.\n"
    assert complaint("devices", "--test").startswith("Error: No microphone was found: plug one in, or ")
    assert complaint("record", tmp_path / "new", "Left").startswith("Error: No microphone was found: ")
    assert not (tmp_path / "new").exists()


def test_devices_without_portaudio_are_told(tmp_path: Path) -> None:
    missing: dict[str, Any] = without_portaudio(tmp_path)
    assert "libportaudio2" in complaint("devices", **missing)


# record


def test_several_clips_are_recorded_after_a_countdown_and_beeps(whistled: dict[str, Any], tmp_path: Path) -> None:
    options = ("--count", 3, "--countdown", 1, "--pause", 0, "--seconds", 1, "--json", "--device", "kitchen")
    done = run("record", tmp_path / "new", "whistle", *options, **whistled)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["seconds"] for one in told] == [1, 1, 1]
    assert [one["notes"] for one in told] == [[], [], []]
    assert done.stderr.decode().split() == ["1…", "1", "of", "3", "2", "of", "3", "3", "of", "3"]
    assert len(Project(tmp_path / "new").clips("whistle")) == 3
    heard = (tmp_path / "heard.raw").read_bytes()
    for one in told:  # each block of 20 ms is the microphone's sound alone, without a beep
        kept, rate = soundfile.read(one["path"], dtype="int16")
        assert rate == 48_000
        assert all(block.astype("<i2").tobytes() in heard for block in kept.reshape(-1, 960))


def test_the_beep_goes_to_the_loudspeaker_where_it_is_wanted(whistled: dict[str, Any], tmp_path: Path) -> None:
    played = tmp_path / "played.raw"
    run("record", tmp_path / "new", "whistle", "--seconds", 0.5, **whistled)
    assert not played.exists(), "not for one clip"
    run("record", tmp_path / "new", "whistle", "--seconds", 0.5, "--beep", **whistled)
    beep = np.fromfile(played, "<i2") / 32_768
    levels = np.abs(np.fft.rfft(beep))
    assert levels.argmax() * 48_000 / len(beep) == pytest.approx(HERTZ, abs=10)
    assert np.abs(beep).max() == pytest.approx(0.2, abs=0.01)
    played.unlink()
    run(
        "record", tmp_path / "new", "whistle", "--seconds", 0.5, "--count", 2, "--countdown", 0, "--no-beep", **whistled
    )
    assert not played.exists()


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.zeros(96_000, np.float32), "The recording is silent: "),
        (tones.tone(1_000, 2, 0.003, 48_000), "The recording is very quiet (its peak is −50 dBFS): "),
        ((3 * tones.tone(1_000, 2, 1.0, 48_000)).clip(-1, 1), "The recording is clipped: "),
    ],
    ids=["silent", "quiet", "clipped"],
)
def test_a_level_that_is_wrong_is_kept_and_told(samples: sounds.Samples, says: str, tmp_path: Path) -> None:
    environment: dict[str, Any] = with_devices(tmp_path, samples)
    done = run("record", tmp_path / "new", "tone", "--seconds", 1, "--device", "kitchen", "--json", **environment)
    (note,) = json.loads(done.stdout)["notes"]
    assert note.startswith(says)
    assert done.stderr.decode() == f"Note: {note}\n"
    assert len(Project(tmp_path / "new").clips()) == 1


def test_several_clips_come_from_a_microphone_alone(tmp_path: Path) -> None:
    told = complaint("record", tmp_path / "new", "Left", "--count", 2, "--input", "missing.wav")
    assert "leave out --count, or --input" in told
    assert complaint("record", tmp_path / "new", " ", "--count", 2).startswith("Error: A label needs a name: ")
    assert not (tmp_path / "new").exists()


# doctor


def test_what_support_needs_is_told(whistled: dict[str, Any]) -> None:
    found = {one["name"]: one for one in map(json.loads, run("doctor", "--json", **whistled).stdout.splitlines())}
    assert found["Earmark"]["values"]["python"].split()[1] == sys.version.split()[0]
    assert {"numpy", "onnxruntime", "soundfile", "soxr", "typer"} <= found["Packages"]["values"].keys()
    assert found["Extra webm"]["values"].keys() == {"av"}
    assert {"av", "fastapi", "matplotlib", "segno"} <= found["Extra studio"]["values"].keys(), (
        "with those it is made of"
    )
    assert "Extra test" not in found
    assert found["Microphones"]["values"]["portaudio"].startswith("PortAudio")
    assert [one["default"] for one in found["Microphones"]["values"]["inputs"]].count(True) == 1
    assert {one["state"] for one in found.values()} <= {"ok", "note"}
    lines = run("doctor", **whistled).stdout.decode().splitlines()
    assert len(lines) == len(found)


def test_nothing_personal_is_told(whistled: dict[str, Any], tmp_path: Path) -> None:
    home = tmp_path / "home" / "mariaschmidt"
    names: dict[str, Any] = {
        "HOME": str(home),
        "USER": "mariaschmidt",
        "LOGNAME": "mariaschmidt",
        "XDG_CACHE_HOME": str(home / "c"),
    }
    for options in ((), ("--json",)):
        told = run("doctor", *options, **whistled, **names).stdout.decode()
        assert "~/c/earmark" in told
        for name in ("mariaschmidt", str(home), "kitchen", socket.gethostname()):
            assert not re.search(rf"\b{re.escape(name)}\b", told), "of a person, a computer, or a device"


def test_a_port_that_is_taken_and_sound_that_is_missing_are_no_fault(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8001))
        except OSError:
            pytest.skip("needs the port 8001")
        taken.listen()
        missing: dict[str, Any] = without_portaudio(tmp_path)
        told = run("doctor", "--json", **missing).stdout
    found = {one["name"]: one for one in map(json.loads, told.splitlines())}
    assert found["Port 8001 (serve)"]["values"] == {"port": 8001, "free": False}
    assert "libportaudio2" in found["Microphones"]["text"]
    assert found["Microphones"]["state"] == "note"


def test_what_earmark_can_not_do_without_is_a_fault() -> None:
    # None in sys.modules is what Python itself takes for a package that isn't there.
    script = "import sys; sys.modules['onnxruntime'] = None; from earmark.cli.main import main; main()"
    command = [sys.executable, "-c", script, "doctor", "--json"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    found = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert done.stderr == ""
    assert found["Model words"]["state"] == "broken"
    assert "onnxruntime" in found["Model words"]["text"]
    assert found["Sound files"]["state"] == "ok"
