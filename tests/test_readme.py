"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

import earmark
from tests import chirps, sounds

README = Path(__file__).parents[1] / "README.md"


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def test_the_words_of_the_readme_run(tmp_path: Path) -> None:
    program, _, _, _ = programs()
    for name, take in (("yes", sounds.murmur(1.5, 1)), ("talk", sounds.murmur(4, 2))):
        soundfile.write(tmp_path / f"{name}.wav", take, sounds.RATE)
    program += "print(result.label, len(result.scores))\n"
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    label, scores = run.stdout.splitlines()[-1].split()
    assert label in earmark.load("words").labels
    assert scores == "20"


def test_the_teaching_of_words_of_the_readme_runs(tmp_path: Path) -> None:
    _, program, _, _ = programs()
    for word, glide in (("sesame", "rise"), ("abracadabra", "bounce")):
        for number, speaker in enumerate(("ann", "bob", "cid", "dee", "eve")):
            chirps.save(tmp_path / f"{word}-{number}.wav", chirps.word(glide, speaker))
    chirps.save(tmp_path / "an-hour-of-kitchen.wav", chirps.noise(20))
    said = np.concatenate([chirps.noise(2, 1) / 100, chirps.word("rise", "fay"), chirps.noise(2, 2) / 100])
    chirps.save(tmp_path / "talk.wav", said)
    assert program.count("recognizer.listen(") == 1
    program = program.replace("recognizer.listen(", 'recognizer.listen("talk.wav", ')  # it would never end otherwise
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    *heard, accuracy = run.stdout.splitlines()
    assert {line.split()[0] for line in heard} <= {"sesame"}, heard
    assert float(accuracy.split("%")[0]) >= 80, accuracy  # of ten recordings, each by somebody else


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    _, _, program, _ = programs()
    for name, take in (
        ("left", sounds.whistle(2, 1)),
        ("right", sounds.snaps(2, 1)),
        ("noise", sounds.murmur(2, 1)),
        ("snap", sounds.snaps(0.5, 2)),
        ("long", np.concatenate([sounds.murmur(1, 2), sounds.snaps(1, 3), sounds.murmur(1, 4)])),
    ):
        soundfile.write(tmp_path / f"{name}.wav", take, sounds.RATE)
    program += "print(result.label)\n"
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert sum(line.startswith("Epoch ") for line in lines) == 10
    assert lines[-1] == "Right"
    assert [line.split()[0] for line in lines[10:-1]] == ["Noise", "Right", "Noise"]


def test_the_scan_of_the_readme_runs(tmp_path: Path) -> None:
    *_, program = programs()
    (tmp_path / "recordings").mkdir()
    soundfile.write(tmp_path / "recordings" / "night.flac", sounds.murmur(4, 2), sounds.RATE)
    (tmp_path / "program.py").write_text(program)
    run = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"0 {4 / 3600} []\n"
    assert (tmp_path / "found.csv").read_text() == "path,label,score,start,end\n"


def test_every_command_of_the_readme_is_there() -> None:
    named = set(re.findall(r"^earmark (\w+)", README.read_text("utf-8"), re.MULTILINE))
    assert named == {
        "devices",
        "record",
        "train",
        "evaluate",
        "listen",
        "recognize",
        "studio",
        "import",
        "export",
        "scan",
        "serve",
        "bench",
    }
    shown = subprocess.run([sys.executable, "-m", "earmark", "--help"], capture_output=True, text=True, check=True)
    for command in named:
        assert f" {command} " in shown.stdout
