"""Detections in many recordings: the same by one process, several, or a cluster, and after an interruption."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

import earmark
from earmark import EarmarkError, Project
from earmark.scan import Scanner, ScanState, Task, scan_files
from earmark.scan_journal import SUFFIX, Failed
from earmark.scan_workers import scan_by_processes
from tests import sounds


def write(path: Path, *parts: np.ndarray, rate: int = sounds.RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), rate)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six recordings: whistles and snaps in a murmur, of two formats, in folders."""
    folder = tmp_path_factory.mktemp("archive")
    for take in range(6):
        murmur, snaps, whistle = sounds.murmur(2, take), sounds.snaps(1, take), sounds.whistle(1.5, take)
        suffix = ("wav", "flac")[take % 2]
        write(folder / f"day{take // 3}" / f"take {take}.{suffix}", murmur, snaps, murmur, whistle, murmur)
    return folder


@pytest.fixture(scope="module")
def model(trained: Project) -> Path:
    return trained.model_folder("sounds")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "earmark", "scan", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def test_a_scan_finds_what_listening_finds(archive: Path, model: Path, tmp_path: Path) -> None:
    report = scan_files([archive], tmp_path / "found.csv", model, workers=1)
    recognizer = earmark.load(model)
    found = rows(report.output)
    expected = [
        (str(file), heard.label, heard.score, heard.start, heard.end)
        for file in sorted(archive.rglob("*.*"))
        for heard in recognizer.listen(file)
    ]
    assert len(expected) >= 12  # each of six recordings holds two
    assert [(row["path"], row["label"]) for row in found] == [row[:2] for row in expected]
    numbers = [[float(row[name]) for name in ("score", "start", "end")] for row in found]
    np.testing.assert_allclose(numbers, [row[2:] for row in expected], atol=1e-6)
    assert (report.recordings, report.detections, report.failed) == (6, len(expected), [])
    assert report.seconds == pytest.approx(6 * 8.5, abs=0.01)


def test_processes_change_nothing(archive: Path, model: Path, tmp_path: Path) -> None:
    outputs = []
    for name, workers in (("one", 1), ("as many as there are cores", None), ("three", 3)):
        states: list[ScanState] = []
        target = tmp_path / f"{name}.jsonl"
        scan_files([archive], target, model, workers=workers, report=states.append)
        outputs.append(target.read_bytes())
        assert (states[-1].done, states[-1].recordings) == (6, 6)
        assert states[-1].seconds == pytest.approx(6 * 8.5, abs=0.01)
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0].count(b"\n") >= 12


def test_one_recording_by_two_threads_changes_nothing(archive: Path, model: Path) -> None:
    file = archive / "day0" / "take 1.flac"
    task = Task(earmark.load(model).content, "the model")
    assert Scanner(task, is_alone=True).scan(str(file)) == Scanner(task).scan(str(file))


def test_a_ray_cluster_changes_nothing(archive: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    write_bad(archive.parent / "with a bad one" / "bad.wav")
    paths = [archive, archive.parent / "with a bad one"]
    here = run(*paths, "--model", model, "--output", tmp_path / "here.csv", "--workers", 1)
    there = run(*paths, "--model", model, "--output", tmp_path / "there.csv", "--ray", "local", "--workers", 2)
    assert (here.returncode, there.returncode) == (1, 1), there.stderr
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
    assert len(rows(tmp_path / "there.csv")) >= 12
    assert "bad.wav is not a sound file" in there.stderr
    assert there.stderr.endswith(here.stderr)  # Ray may have said something before


def write_bad(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF, but no more of it")
    return path


def test_bad_recordings_are_listed_and_do_not_stop_the_scan(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    write(folder / "a.wav", sounds.murmur(1, 1), sounds.snaps(1, 1), sounds.murmur(1, 2))
    write_bad(folder / "b.wav")
    whole = write(folder / "c.flac", sounds.snaps(3, 1)).read_bytes()
    (folder / "c.flac").write_bytes(whole[: len(whole) // 2])
    write(folder / "d.wav", sounds.murmur(1, 1), sounds.snaps(1, 1), sounds.murmur(1, 2))
    for workers in (1, 2):
        output = tmp_path / f"{workers}.csv"
        done = run(folder, "--model", model, "--output", output, "--workers", workers, "--json")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert told["recordings"] == 2
        assert [failed["path"] for failed in told["failed"]] == [str(folder / "b.wav"), str(folder / "c.flac")]
        assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["Error", "Error"]
        assert {row["path"] for row in rows(output)} == {str(folder / "a.wav"), str(folder / "d.wav")}
        assert not list(tmp_path.glob(f"*{SUFFIX}"))


def test_a_scan_that_was_killed_goes_on_where_it_was(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "long archive"
    for number in range(40):
        write(folder / f"{number:02}.wav", sounds.murmur(5, number), sounds.snaps(1, number), sounds.murmur(5, 1))
    expected = tmp_path / "expected.csv"
    scan_files([folder], expected, model, workers=1)
    output = tmp_path / "found.csv"
    journal = tmp_path / f"found.csv{SUFFIX}"
    done: list[str] = []
    for stop in (3, 9, 20):
        process = subprocess.Popen(command(folder, "--model", model, "--output", output, "--workers", 2))
        while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") <= stop):
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not output.exists()
        lines = journal.read_bytes().split(b"\n")
        done = [json.loads(line)["name"] for line in lines[1:-1]]
        journal.write_bytes(journal.read_bytes() + b'{"name":"half a li')
    assert len(set(done)) == len(done) >= 20
    for name in done:
        Path(name).write_bytes(b"heard again, this would be an error")
    report = scan_files([folder], output, model, workers=2)
    assert report.failed == []
    assert output.read_bytes() == expected.read_bytes()
    assert not journal.exists()


def test_control_c_ends_a_scan_which_can_go_on(model: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "archive", tmp_path / "found.csv"
    for number in range(30):
        write(folder / f"{number:02}.wav", sounds.murmur(20, number))  # each one long Noise
    process = subprocess.Popen(
        command(folder, "--model", model, "--output", output, "--workers", 2), stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    journal = tmp_path / f"found.csv{SUFFIX}"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        time.sleep(0.01)
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "goes on with the rest" in told
    assert not output.exists()
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() for child in children)
    assert run(folder, "--model", model, "--output", output).returncode == 0
    assert [row["path"] for row in rows(output)] == sorted(map(str, folder.iterdir()))


def test_a_process_that_dies_takes_one_recording_with_it(archive: Path, model: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", np.tile(sounds.murmur(60, 1), 30))
    task = Task(earmark.load(model).content, "the model")
    names = [str(long), *sorted(map(str, archive.rglob("*.*")))]
    killed: list[psutil.Process] = []

    def heard(name: str, seconds: float, share: float) -> None:
        if name == str(long) and not killed:
            for child in psutil.Process().children(recursive=True):
                if psutil.Process(child.pid).cpu_times().user > 0 and is_reading(child, long):
                    child.kill()
                    killed.append(child)
            assert 0 < share < 1
            assert seconds == pytest.approx(share * 1800, rel=1e-6)

    outcomes = {outcome.name: outcome for outcome in scan_by_processes(task, names, 2, heard)}
    assert len(killed) == 1
    assert outcomes.keys() == set(names)
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, Failed)]
    assert [outcome.name for outcome in failed] == [str(long)]
    assert "crash" in failed[0].error


def is_reading(process: psutil.Process, path: Path) -> bool:
    return any(file.path == str(path) for file in process.open_files())


def test_another_scan_does_not_go_on_with_this_ones_journal(archive: Path, model: Path, tmp_path: Path) -> None:
    journal = tmp_path / f"found.csv{SUFFIX}"
    journal.write_text('{"scan":{"earmark":"0.0.1"}}\n')
    with pytest.raises(EarmarkError, match="is of a scan with another model"):
        scan_files([archive], tmp_path / "found.csv", model)
    assert journal.read_text() == '{"scan":{"earmark":"0.0.1"}}\n'


REFUSED = {
    "ARCHIVE/nowhere": "nowhere does not exist",
    "ARCHIVE --model FOLDER/none": "does not exist",
    "ARCHIVE --probability-threshold 2": "probability_threshold is 2",
    "ARCHIVE --overlap-factor 1": "overlap_factor is 1",
    "ARCHIVE --label-threshold Whee=0.5": "Whee",
    "ARCHIVE --label-threshold Whee": "write it like yes=0.9",
    "ARCHIVE --output FOLDER/found.doc": "found.doc",
    "ARCHIVE --output FOLDER/taken.csv": "taken.csv is there already",
    "ARCHIVE --output FOLDER/taken.csv/x.csv": "can't be written",
    "ARCHIVE --ray nonsense://1": "can't be reached",
}


@pytest.mark.parametrize(("given", "told"), REFUSED.items())
def test_what_cannot_be_is_told_in_one_sentence(
    archive: Path, model: Path, tmp_path: Path, given: str, told: str
) -> None:
    if "--ray" in given:
        pytest.importorskip("ray")
    (tmp_path / "taken.csv").write_text("mine")
    arguments = given.replace("ARCHIVE", str(archive)).replace("FOLDER", str(tmp_path)).split()
    for option, value in (("--model", model), ("--output", tmp_path / "found.csv")):
        if option not in arguments:
            arguments += [option, str(value)]
    before = sorted(tmp_path.iterdir())
    done = run(*arguments)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_recordings_in_an_object_store(archive: Path, model: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    files = sorted(archive.rglob("*.*"))
    for file in files:
        memory.pipe(f"/archive/{file.parent.name}/{file.name}", file.read_bytes())
    report = scan_files(["memory://archive"], tmp_path / "far.csv", model, workers=1)
    scan_files([archive], tmp_path / "near.csv", model, workers=1)
    far, near = rows(report.output), rows(tmp_path / "near.csv")
    assert len(far) >= 12
    assert [{**row, "path": row["path"].replace("memory://archive", str(archive))} for row in far] == near


def test_the_count_is_told(archive: Path, model: Path, tmp_path: Path) -> None:
    done = run(archive / "day1", "--model", model, "--output", tmp_path / "found.rttm")
    assert done.returncode == 0, done.stderr
    count = len((tmp_path / "found.rttm").read_text().splitlines())
    assert done.stdout == f"{count} detections in 3 recordings, 0.4 min → {tmp_path / 'found.rttm'}\n"
    assert done.stderr == ""
