"""What docs/serve.md shows works as it stands there: its commands, its program, and the names in its tables."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

import earmark
from tests.serving.running import Server, server
from tests.studio import spoken
from tests.studio.spoken import Speech

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def options() -> list[str]:
    return re.findall(r"^\| `(--[a-z-]+)`", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server("words") as started:
        yield started


@pytest.mark.slow
def test_the_program_prints_what_is_heard(
    running: Server, words: earmark.Recognizer, speech: Speech, tmp_path: Path
) -> None:
    file = tmp_path / "speech.wav"
    soundfile.write(file, speech.samples[: 8 * spoken.RATE], spoken.RATE)
    expected = [f"{one.label} {one.start:.1f}" for one in words.listen(file)]
    (program,) = blocks("python")
    assert len(program.splitlines()) <= 25
    address = f"ws://127.0.0.1:{running.port}/api/stream"
    command = [sys.executable, "-c", program, str(file), address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
    assert expected


def test_the_commands_answer(running: Server, speech: Speech, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    for name in ("yes.wav", "meeting.flac"):
        soundfile.write(tmp_path / name, speech.samples[: 4 * spoken.RATE], spoken.RATE)
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl")]
    assert len(commands) == 3
    for command, told in zip(commands, ('"labels"', '"score"', '"detections"'), strict=True):
        there = shlex.split(command.replace(":8001", f":{running.port}"), comments=True)
        answer = subprocess.run(there, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert told in answer
        assert '"error"' not in answer


def test_every_option_and_metric_of_the_page_is_there(running: Server) -> None:
    command = [sys.executable, "-m", "earmark", "serve", "--help"]
    helped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert set(options()) == set(re.findall(r"--[a-z]+(?:-[a-z]+)*", helped)) - {"--help"}
    counted = running.request("GET", "/metrics").text
    names = re.findall(r"`((?:earmark|process)_[a-z_]+)", PAGE)
    assert len(names) > 10
    for name in names:
        assert f"# TYPE {name} " in counted, name


def test_every_route_of_the_page_answers(running: Server) -> None:
    described = running.request("GET", "/openapi.json").json()
    told = dict(re.findall(r"\| `(?:GET|POST) (/\S+)` \| (.)", PAGE))
    assert set(told) == {*described["paths"], "/openapi.json"}
