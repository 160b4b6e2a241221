"""What docs/interop.md shows works as it stands there: its programs, commands, page for the browser, and tables."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr
from playwright.sync_api import Route

import earmark
from earmark import Project
from earmark.cli.exchange import ExportFormat
from earmark.exchange.exporting import export_model
from earmark.tfjs.layers import LAYERS, MERGES
from tests import chirps, sounds
from tests.browser import chromium, microphone_arguments
from tests.npm import served
from tests.studio import spoken
from tests.tfjs_models import pack, teachable_machine
from tests.tfjs_node import MODULES, skip_without_node
from tests.things import (
    audiofolder,
    class_samples,
    example_set,
    label_folders,
    label_track,
    sound_file,
    speech_commands,
    teachable_project,
    zipped,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "interop.md").read_text("utf-8")
COMMAND = str(Path(sys.executable).with_name("earmark"))
RATE = 44_100
HEARD_SECONDS = 180  # how long a page on a busy machine may take until it has heard what is said over and over


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands() -> list[str]:
    """The lines of the page's shell blocks, without their comments."""
    return [line.split("  #")[0].split(" # ")[0].strip() for block in blocks("sh") for line in block.splitlines()]


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose first line begins so."""
    lines = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def run(command: str, folder: Path) -> str:
    """A command of the page, in a folder; what it prints."""
    program, *arguments = shlex.split(command)
    assert program == "earmark"
    done = subprocess.run([COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stderr}"
    return done.stdout


def run_python(program: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def evening() -> sounds.Samples:
    """A whistle and snaps in a room."""
    parts = [sounds.room(1, 1), sounds.whistle(2, 1), sounds.room(1, 2), sounds.snaps(2, 2), sounds.murmur(2, 4)]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, evening: sounds.Samples) -> Path:
    """A folder with the files that the page speaks of, in which its commands run one after another."""
    folder = tmp_path_factory.mktemp("home")
    pack(teachable_machine(folder / "unpacked"), folder / "my-model.zip")
    soundfile.write(folder / "evening.wav", evening, sounds.RATE)
    soundfile.write(folder / "clap.wav", sounds.snaps(1, 5), sounds.RATE)
    soundfile.write(folder / "ring.wav", soxr.resample(sounds.whistle(2, 3), sounds.RATE, RATE), RATE)
    soundfile.write(folder / "whistle.wav", sounds.whistle(2, 9), sounds.RATE)
    class_samples(folder / "clap-samples")
    return folder


def test_the_page_is_read_here_whole() -> None:
    """Whoever adds a program or a command finds it tested, or this test fails."""
    assert [len(blocks(language)) for language in ("python", "sh", "html")] == [3, 4, 1]
    assert len(re.findall("^```", PAGE, re.MULTILINE)) == 2 * (3 + 4 + 1)
    assert len(commands()) == 9


# From a download to the microphone


def test_a_download_listens(home: Path, evening: sounds.Samples) -> None:
    program, _, _ = blocks("python")
    assert program.count("recognizer.listen(") == 1
    printed = run_python(program.replace("recognizer.listen(", 'recognizer.listen("evening.wav", '), home)
    recognizer = earmark.load(home / "unpacked")
    expected = list(recognizer.listen(evening, sample_rate=sounds.RATE, invoke_callback_on_noise_and_unknown=True))
    assert len(expected) >= 1
    lines = [f"{one.start:8.2f} s  {one.label}  {one.score:.0%}" for one in expected]
    assert printed.splitlines() == lines


def test_a_download_listens_without_python(home: Path) -> None:
    assert "`earmark listen my-model.zip`" in PAGE
    assert "`earmark listen my-model.zip --input evening.wav`" in PAGE
    assert "Clap" in run("earmark listen my-model.zip --input evening.wav", home)


@pytest.mark.parametrize("name", ["my-model.zip", "unpacked", "unpacked/model.json"])
def test_a_download_takes_files(home: Path, name: str) -> None:
    """What the text says of recordings, for each thing that may be loaded."""
    shown = re.findall(r"`(recognizer\.\w+\(\"\w+\.wav\"\))`", PAGE)
    assert shown == ['recognizer.recognize("clap.wav")', 'recognizer.listen("evening.wav")']
    program = f"import earmark\nrecognizer = earmark.load({name!r})\nprint({shown[0]}.label, len(list({shown[1]})))"
    label, count = run_python(program, home).rsplit(maxsplit=1)
    assert label in json.loads((home / "unpacked" / "metadata.json").read_text())["wordLabels"]
    assert int(count) >= 1


# Teaching on a download, and the exports of what was taught: in the page's order, as each needs what came before


def test_a_download_is_taught_and_exported(home: Path) -> None:
    _, program, elsewhere = blocks("python")
    assert run_python(f"{program}print(recognizer.labels)", home)
    project = Project(home / "doorbells")
    (first,) = project.models()
    assert earmark.load(project.model_folder(first)).labels[:2] == ("doorbell", "kettle")
    for command in commands():
        if "THING" not in command and "OUTPUT" not in command:
            run(command, home)
    assert project.labels == ("doorbell", "kettle", "clap")
    taught = earmark.load(home / "doorbells")
    assert taught.labels[:3] == project.labels  # noise and unknown sounds follow
    for name in ("public/words", "public/doorbells", "model.zip", "doorbells.onnx"):
        assert earmark.load(home / name).labels == (earmark.load("words") if "words" in name else taught).labels
    result = taught.recognize(soundfile.read(home / "ring.wav", dtype="float32")[0][:45_056], RATE)
    assert run_python(elsewhere, home) == f"{result.label}\n"


# In the browser


def test_the_page_for_the_browser_hears_a_word(recordings: Path, tmp_path: Path) -> None:
    skip_without_node()
    (snippet,) = blocks("html")
    words = earmark.load("words")
    export_model(words, tmp_path / "words", "tfjs")
    (tmp_path / "heard.html").write_text(f'<!doctype html><meta charset="utf-8"><title>words</title>\n{snippet}')
    said = [clip for word in ("stop", "left") for clip in spoken.recordings_of(recordings, word, 3, "val")]
    talk = np.concatenate([part for clip in said for part in (spoken.quiet(0.5, len(clip)), clip)])
    soundfile.write(tmp_path / "talk.wav", soxr.resample(talk, spoken.RATE, RATE), RATE)
    asked: list[str] = []

    def answer(route: Route) -> None:
        """What the CDN gives for a package's bare name: the file that its package.json names for that."""
        asked.append(route.request.url)
        package = MODULES / route.request.url.removeprefix("https://cdn.jsdelivr.net/npm/")
        route.fulfill(path=package / json.loads((package / "package.json").read_text())["jsdelivr"])

    with served(tmp_path) as address, chromium(*microphone_arguments(tmp_path / "talk.wav")) as browser:
        page = browser.new_page()
        page.route(lambda url: not url.startswith(address), answer)
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.goto(f"{address}heard.html")
        for _ in range(HEARD_SECONDS):  # the microphone repeats what is said
            page.wait_for_timeout(1_000)
            if {"stop", "left"} <= set(told):
                break
    assert asked == re.findall(r'src="(https:.*?)"', snippet)
    assert {"stop", "left"} <= set(told), told
    assert not [line for line in told if line.startswith("error")]


# ONNX


def test_the_metadata_is_what_the_table_says(tmp_path: Path) -> None:
    export_model(earmark.load("words"), tmp_path / "words.onnx", "onnx")
    entries = onnxruntime.InferenceSession(tmp_path / "words.onnx").get_modelmeta().custom_metadata_map
    told = [re.findall(r"`(\w+)`", cells[0])[0] for cells in table("metadata")]
    assert len(told) == len(set(told))
    assert set(told) == set(entries)
    for key in ("labels", "normalization", "front_end", "earmark"):
        assert json.loads(entries[key])
    assert re.search(r"`--probability-threshold`, or (0\.\d+)", PAGE)[1] == entries["probability_threshold"]  # type: ignore[index]


# Recordings


# What each row of the table of recordings begins with, with a thing of that kind and the options the row names.
THINGS: list[tuple[str, Callable[[Path], Path], str]] = [
    ("folders of labels, or a zip of them", label_folders, ""),
    ("folders of labels, or a zip of them", zipped, ""),
    ("Speech Commands", speech_commands, ""),
    ("Speech Commands", speech_commands, "--split validation"),
    ("Hugging Face", audiofolder, ""),
    ("Hugging Face", audiofolder, "--split test"),
    ("speech-commands' serialized examples", example_set, ""),
    ("Teachable Machine", class_samples, ""),
    ("Teachable Machine", teachable_project, ""),
    ("a sound file", sound_file, "--label rise"),
    ("label tracks", label_track, ""),
]


@pytest.mark.parametrize(("row", "make", "options"), THINGS)
def test_each_row_of_recordings_is_imported(
    tmp_path: Path, row: str, make: Callable[[Path], Path], options: str
) -> None:
    (cells,) = [cells for cells in table("what | import") if cells[0].startswith(row)]
    assert cells[1].startswith("yes")
    for option in re.findall(r"`(--\w+)`", cells[1]):
        assert option in " ".join(options for name, _, options in THINGS if name == row)
    (shown,) = [command for command in commands() if "THING" in command]
    command = shown.replace("THING", shlex.quote(str(make(tmp_path / "thing")))).replace("PROJECT", "project")
    run(f"{command} {options}", tmp_path)
    added = len(Project(tmp_path / "project").clips())
    assert added > 0
    again = run(f"{command} {options} --json", tmp_path)
    assert json.loads(again)["added"] == 0, "a second import of the same thing adds nothing"
    assert len(Project(tmp_path / "project").clips()) == added


def test_every_row_of_recordings_is_tried() -> None:
    rows = [cells[0] for cells in table("what | import")]
    assert len(rows) == 7
    assert all(any(row.startswith(name) for name, _, _ in THINGS) for row in rows)


def test_recordings_are_exported_and_come_back(tmp_path: Path) -> None:
    project = Project(tmp_path / "PROJECT", create=True, mode="words")
    for word in ("rise", "fall"):
        project.add(word, chirps.word(word), chirps.RATE)
    (line,) = [line for line in blocks("sh")[-1].splitlines() if "OUTPUT" in line]
    (shown,) = [command for command in commands() if "OUTPUT" in command]
    formats = [shown.split()[-1], *re.split(r", ", line.split("# or ")[1])]
    assert formats == [to.value for to in ExportFormat][3:]
    assert set(formats) == {to for cells in table("what | import") for to in re.findall(r"`--to ([\w-]+)`", cells[2])}
    for to in formats:
        run(shown.replace("OUTPUT", f"as-{to}").replace("--to folders", f"--to {to}"), tmp_path)
        run(f"earmark import as-{to} from-{to}", tmp_path)
        assert sorted(clip.label for clip in Project(tmp_path / f"from-{to}").clips()) == ["fall", "rise"]
    run(shown.replace("OUTPUT", "folders.zip"), tmp_path)
    assert zipfile.is_zipfile(tmp_path / "folders.zip")


# What is named


def test_the_layers_are_those_that_are_read() -> None:
    told = PAGE[PAGE.index("\nInputLayer,") :]
    certain, training = re.split(r", and those that only matter in\s+training ", told, maxsplit=1)
    names = set(re.findall(r"\w+", certain))
    without_use = {kind for kind, read in LAYERS.items() if read is LAYERS["Dropout"]} - {"InputLayer"}
    assert names == {*LAYERS, *MERGES} - without_use
    assert set(re.findall(r"\w+", training.split(")")[0])) <= without_use


def test_the_formats_and_options_exist() -> None:
    assert set(re.findall(r"--to ([\w-]+)", PAGE)) == {to.value for to in ExportFormat}
    told = ""
    for command in ("import", "export", "listen", "scan", "train"):
        arguments = [COMMAND, command, "--help"]
        told += subprocess.run(
            arguments, capture_output=True, text=True, check=True, env={"COLUMNS": "200", "PATH": ""}
        ).stdout
    options = set(re.findall(r"--[a-z][\w-]+", PAGE))
    assert len(options) >= 9
    assert options <= set(re.findall(r"--[a-z][\w-]+", told))


def test_the_extras_files_and_modules_exist() -> None:
    extras = set(re.findall(r"pip install '\.\[(\w+)\]'", PAGE))
    described = (ROOT / "pyproject.toml").read_text()
    assert extras == {"convert", "webm"}
    assert all(re.search(rf"^{extra} = ", described, re.MULTILINE) for extra in extras)
    for pattern in re.findall(r"`(tests/[\w*./]+)`", PAGE):
        assert list(ROOT.glob(pattern)), pattern
    for program in blocks("python"):
        ast.parse(program)
