"""Detections in many recordings: the same by one process, several, or a cluster, and after an interruption."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import earmark
from earmark import EarmarkError, Project
from earmark.cli.main import app
from earmark.recognizer.decisions import Detection
from earmark.scan.detections import Scanned
from earmark.scan.journal import SUFFIX, Failed, Journal
from earmark.scan.processes import scan_by_processes
from earmark.scan.scan import ScanState, scan_files
from earmark.scan.scanner import Scanner, Task
from tests import sounds
from tests.budget import budget


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def is_importing(process: psutil.Process) -> bool:
    """Whether it has begun to import Earmark, which imports NumPy first."""
    return any("numpy" in file.path for file in process.memory_maps())


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


@pytest.mark.thinned(3)
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


def started(*arguments: object) -> subprocess.Popen[str]:
    """A scan, with the processes that it starts a group of their own, as in a terminal."""
    return subprocess.Popen(
        command(*arguments), stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


@pytest.mark.slow
def test_control_c_at_a_terminal_while_processes_start(archive: Path, model: Path, tmp_path: Path) -> None:
    process = started(archive, "--model", model, "--output", tmp_path / "found.csv", "--workers", 2)
    children: list[psutil.Process] = []
    while process.poll() is None and not any(map(is_importing, children)):
        children = psutil.Process(process.pid).children()
    os.killpg(process.pid, signal.SIGINT)  # to all of them, as a terminal does
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told == "Stopped: the same command goes on with the rest.\n"
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_processes_end_soon_after_the_first_one_was_killed(model: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write(tmp_path / "long" / name, np.tile(sounds.murmur(60, 1), 30))
    process = started(tmp_path / "long", "--model", model, "--output", tmp_path / "found.csv", "--workers", 2)
    children: list[psutil.Process] = []
    while process.poll() is None and not any(is_reading(child, tmp_path / "long" / "a.wav") for child in children):
        children = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_more_processes_than_the_system_allows_are_told_of(model: Path, archive: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    task = Task(earmark.load(model).content, "the model")
    names = sorted(map(str, archive.rglob("*.*")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(psutil.Process().open_files()) + 60, before[1]))
    try:
        with pytest.raises(EarmarkError, match="scan with fewer --workers"):
            list(scan_by_processes(task, names, 200, lambda *_: None))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())] == []


def test_two_scans_do_not_write_one_journal(archive: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.csv"
    with Journal(output, {}) as journal:
        journal.add(Scanned("a.wav", 1.0, []))
        with pytest.raises(EarmarkError, match="is being written by another scan"):
            scan_files([archive], output, model, workers=1)
        journal.remove()
    assert scan_files([archive], output, model, workers=1).recordings == 6


def test_a_full_disk_is_told_and_what_was_done_is_kept(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails then, as on a full disk
    output, done = tmp_path / "found.csv", Scanned("a.wav", 1.0, [Detection("Snap", 0.9, 0.1, 0.2)])
    try:
        with Journal(output, {}) as journal:
            journal.add(done)
            resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / f"found.csv{SUFFIX}").stat().st_size + 9, before[1]))
            with pytest.raises(EarmarkError, match="can't be written"):
                journal.add(Scanned("b.wav", 1.0, []))
        resource.setrlimit(resource.RLIMIT_FSIZE, (9, before[1]))
        with pytest.raises(EarmarkError, match="can't be written"):
            Journal(tmp_path / "other.csv", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == [f"found.csv{SUFFIX}"]
    with Journal(output, {}) as journal:
        assert list(journal.scanned(["a.wav", "b.wav"])) == [done]


@budget(60)
@given(data=st.data())
def test_a_journal_cut_off_anywhere_goes_on(data: st.DataObject) -> None:
    names = [f"{number} \udcff.wav" for number in range(3)]
    results = [Scanned(name, 1.5, [Detection("Snap", 0.9, 0.1, 0.2)]) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "found.csv")
        file = Path(folder, f"found.csv{SUFFIX}")
        with Journal(output, {"seed": 1}) as journal:
            for result in results:
                journal.add(result)
        whole = file.read_bytes()
        at = data.draw(st.integers(0, len(whole)))
        rest = data.draw(st.sampled_from([b"", b"\0" * 20, b'{"name":"x"}\n', b"[" * 100_000]))
        file.write_bytes(whole[:at] + (rest if whole[:at].count(b"\n") else b""))
        with Journal(output, {"seed": 1}) as journal:
            kept = whole[:at].count(b"\n") - 1
            assert list(journal.done) == names[: max(0, kept)]
            for result in results[max(0, kept) :]:
                journal.add(result)
            assert list(journal.scanned(names)) == results
        assert file.read_bytes() == whole


def test_another_files_content_is_no_journal(tmp_path: Path) -> None:
    file = tmp_path / f"found.csv{SUFFIX}"
    file.write_bytes(b"mine")
    with pytest.raises(EarmarkError, match="is of a scan with another model"):
        Journal(tmp_path / "found.csv", {})
    assert file.read_bytes() == b"mine"


def test_what_libsndfile_prints_stays_out_of_the_json(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    for name in ("a.sds", "b.sds"):
        file = write(folder / name, sounds.murmur(1, 1))
        content = bytearray(file.read_bytes())
        content[1000:1200] = bytes(200)
        file.write_bytes(content)
    done = run(folder, "--model", model, "--output", tmp_path / "found.csv", "--workers", 2, "--json")
    assert json.loads(done.stdout)["output"] == str(tmp_path / "found.csv")


def test_what_changes_the_results_is_another_scan(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = earmark.load(model).content

    def identity(content: bytes = content, overlap_factor: float | None = None, **options: Any) -> dict[str, Any]:
        return Scanner(Task(content, "the model", overlap_factor, options)).identity

    same = identity()
    assert identity() == same
    options: dict[str, Any] = {
        "probability_threshold": 0.6, "label_thresholds": {"Left": 0.6}, "suppression_time_ms": 100,
        "smoothing_windows": 1, "min_agreeing_windows": 2, "longest_sound_ms": 500,
        "invoke_callback_on_noise_and_unknown": True,
    }  # fmt: skip
    others = [
        identity(content + b"\x28\x07"),  # the same network, whose ModelProto has the model_version (field 5) 7
        identity(overlap_factor=0),
        *(identity(**{option: value}) for option, value in options.items()),
    ]
    monkeypatch.setattr("earmark.scan.scanner.__version__", "another")
    others.append(identity())
    for number, other in enumerate(others):
        assert other != same, number


@pytest.mark.slow
def test_how_far_a_scan_is_counts_what_was_done_before_and_parts_of_recordings(model: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "archive", tmp_path / "found.csv"
    for number in range(3):
        write(folder / f"{number}.wav", sounds.murmur(40, number))
    scanner = Scanner(Task(earmark.load(model).content, "the model"))
    with Journal(output, scanner.identity) as journal:
        journal.add(scanner.scan(str(folder / "1.wav")))
    states: list[ScanState] = []
    report = scan_files([folder], output, model, workers=1, report=states.append)
    done, seconds = [state.done for state in states], [state.seconds for state in states]
    assert min(done) == pytest.approx(1 + 16 / 40)  # the first part that is heard of the first recording
    assert done == sorted(done)
    assert {state.recordings for state in states} == {3}
    assert done[-1] == 3
    assert seconds == sorted(seconds)
    assert seconds[0] == pytest.approx(16)
    assert any(40 < each < 80 for each in seconds)  # those of the second one come on top
    assert seconds[-1] == pytest.approx(80)
    assert report.seconds == pytest.approx(120)


def test_a_scan_keeps_to_its_overlap(archive: Path) -> None:
    file = archive / "day0" / "take 1.flac"
    options: dict[str, Any] = {"probability_threshold": 0.3, "invoke_callback_on_noise_and_unknown": True}
    recognizer = earmark.load("words")
    # What the options become by default, such as how many windows must agree, hangs on the overlap too.
    expected = list(recognizer.listen(file, overlap_factor=0.5, **options))
    assert expected != list(recognizer.listen(file, **options))
    outcome = Scanner(Task(recognizer.content, "words", 0.5, options)).scan(str(file))
    assert isinstance(outcome, Scanned)
    assert outcome.detections == expected


@pytest.mark.slow
def test_a_scan_by_one_process_goes_on_when_that_dies(archive: Path, model: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "long.wav", np.tile(sounds.murmur(60, 1), 30))
    names = [str(long), *sorted(map(str, archive.rglob("*.*")))]

    def heard(name: str, seconds: float, share: float) -> None:
        assert 0 < share <= 1
        assert seconds > 0
        if name == str(long):
            for child in psutil.Process().children(recursive=True):
                if is_reading(child, long):
                    child.kill()

    outcomes = list(scan_by_processes(Task(earmark.load(model).content, "the model"), names, 1, heard))
    assert [outcome.name for outcome in outcomes] == names
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [True] + 6 * [False]


def cut_short(path: Path) -> Path:
    """The first three fifths of a recording, whose header promises all of it."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 5])
    return path


def test_a_recording_that_is_cut_off_is_scanned_as_far_as_it_goes_and_listed(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    snap = (sounds.murmur(1, 1), sounds.snaps(1, 1), sounds.murmur(1, 2))
    write(folder / "a.wav", *snap, sounds.murmur(2, 3))
    cut = cut_short(write(folder / "b.wav", *snap, sounds.murmur(2, 3)))
    whole = write(folder / "c.wav", *snap, sounds.murmur(2, 3))
    content = whole.read_bytes()
    whole.write_bytes(content[:40] + bytes(4) + content[44:])  # a recorder that lost power
    for workers in (1, 2):
        output = tmp_path / f"{workers}.csv"
        done = run(folder, "--model", model, "--output", output, "--workers", workers, "--json")
        assert done.returncode == 1
        told = json.loads(done.stdout)
        assert told["failed"] == []
        assert [one["path"] for one in told["incomplete"]] == [str(cut)]
        assert "3.0 s of the 5.0 s" in told["incomplete"][0]["error"]
        assert done.stderr.startswith("Error: ")
        assert told["seconds"] == pytest.approx(5 + 3 + 5, abs=0.01)
        found = rows(output)
        assert {row["path"] for row in found} == {str(file) for file in (folder / "a.wav", cut, whole)}
        of = {path: [(r["label"], r["start"]) for r in found if r["path"] == str(path)] for path in (cut, whole)}
        assert of[cut] == of[whole]


def test_what_failed_is_tried_again_and_what_was_found_stays(model: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "archive", tmp_path / "found.csv"
    snap = (sounds.murmur(1, 1), sounds.snaps(1, 1), sounds.murmur(1, 2))
    good, bad, cut = write(folder / "a.wav", *snap), write_bad(folder / "b.wav"), folder / "c.wav"
    cut_short(write(cut, *snap))
    first = scan_files([folder], output, model, workers=1)
    assert [failed.name for failed in first.failed] == [str(bad)]
    assert [partly.name for partly in first.incomplete] == [str(cut)]
    with pytest.raises(EarmarkError, match="is there already"):
        scan_files([folder], output, model, workers=1)
    write(bad, *snap)
    write(cut, *snap)
    good.write_bytes(b"no longer read")
    heard: list[float] = []
    again = scan_files(
        [folder / "b.wav", folder / "c.wav"], output, model, workers=1, retry_failed=True,
        report=lambda state: heard.append(state.seconds),
    )  # fmt: skip
    assert not again.failed
    assert not again.incomplete
    assert again.recordings == 3
    assert heard[-1] == pytest.approx(6)  # of b and c, not of a
    assert {row["path"] for row in rows(output)} == {str(good), str(bad), str(cut)}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["found.csv"]
    with pytest.raises(EarmarkError, match="no recordings to retry"):
        scan_files([folder], output, model, workers=1, retry_failed=True)


def test_a_folder_of_label_tracks_is_replaced_when_what_failed_is_tried_again(model: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "archive", tmp_path / "tracks"
    write(folder / "a.wav", sounds.snaps(1, 1), sounds.murmur(1, 2))
    write(folder / "b.wav", sounds.snaps(1, 1), sounds.murmur(1, 2))
    write_bad(folder / "c.wav")
    scan_files([folder], output, model, format="audacity", workers=1)
    before = {file.relative_to(output) for file in output.rglob("*.txt")}
    write(folder / "c.wav", sounds.snaps(1, 1), sounds.murmur(1, 2))
    scan_files([folder], output, model, format="audacity", workers=1, retry_failed=True)
    assert len({file.relative_to(output) for file in output.rglob("*.txt")} - before) == 1


def test_standard_output_gets_the_table_and_nothing_else(archive: Path, model: Path, tmp_path: Path) -> None:
    scan_files([archive], tmp_path / "found.csv", model, workers=1)
    done = subprocess.run(
        command(archive, "--model", model, "--output", "-", "--workers", "1"), capture_output=True, check=True
    )
    assert done.stdout == (tmp_path / "found.csv").read_bytes()
    assert b"detections in 6 recordings" in done.stderr
    for options, told in (
        (["--json"], "--json"),
        (["--format", "parquet"], "parquet"),
        (["--retry-failed"], "--retry"),
    ):
        refused = CliRunner().invoke(app, ["scan", str(archive), "--output", "-", *options])
        assert isinstance(refused.exception, EarmarkError)
        assert told in str(refused.exception)
        assert refused.stdout == ""


def test_detections_have_their_own_clock_time_where_names_hold_one(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "card"
    write(folder / "20240131_235959.WAV", sounds.murmur(2, 1), sounds.snaps(1, 1), sounds.murmur(1, 2))
    write(folder / "take.wav", sounds.murmur(2, 1), sounds.snaps(1, 1), sounds.murmur(1, 2))
    scan_files([folder], tmp_path / "found.csv", model, workers=1)
    found = rows(tmp_path / "found.csv")
    assert list(found[0]) == ["path", "label", "score", "start", "end", "time"]
    for row in found:
        passed = float(row["start"]) - 1  # since midnight
        clock = f"2024-02-01T00:00:{passed:06.3f}" if passed >= 0 else f"2024-01-31T23:59:{60 + passed:06.3f}"
        assert row["time"] == (clock if row["path"].endswith("WAV") else "")
    assert any(row["time"].startswith("2024-02-01") for row in found)
    assert len({row["path"] for row in found}) == 2
    scan_files([folder], tmp_path / "found.jsonl", model, workers=1)
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [line["time"] or "" for line in lines] == [row["time"] for row in found]


def test_each_detection_is_cut_into_a_folder_of_its_label_ready_to_be_imported(model: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    for take, folder in enumerate(("day1", "day2")):  # cards with the same names
        parts = sounds.murmur(1, take), sounds.snaps(0.5, take), sounds.murmur(1, take), sounds.whistle(0.5, take)
        write(tmp_path / "archive" / folder / "take.wav", *parts)
    for output in ("found.csv", "again.csv"):  # once more leaves no copies
        scan_files([tmp_path / "archive"], tmp_path / output, model, workers=1, clips=clips, margin=0.25)
    found = rows(tmp_path / "found.csv")
    assert {"Left", "Right"} <= {row["label"] for row in found}
    assert len(list(clips.rglob("*.flac"))) == len(found)
    for row in found:
        path, start, end = Path(row["path"]), float(row["start"]), float(row["end"])
        digest = hashlib.sha256(row["path"].encode()).hexdigest()[:8]
        cut = clips / row["label"] / f"take-{digest}-{start:.2f}s.flac"
        whole = earmark.read_clip(path)
        first = max(0, round((start - 0.25) * whole.sample_rate))
        wanted = whole.samples[first : round((end + 0.25) * whole.sample_rate)]
        got = earmark.read_clip(cut).samples
        assert abs(len(got) - len(wanted)) <= 1  # times are rounded in the table
        np.testing.assert_allclose(got[:1000], wanted[:1000], atol=1e-6)
    imported = earmark.import_into(Project(tmp_path / "project", create=True), clips)
    assert len(imported.added) + imported.known == len(found)
    assert not imported.skipped


def test_listening_keeps_the_detections_that_a_scan_cuts(model: Path, tmp_path: Path) -> None:
    parts = sounds.murmur(1, 1), sounds.snaps(0.5, 1), sounds.murmur(1, 1), sounds.whistle(0.5, 1)
    file = write(tmp_path / "take.wav", *parts)
    scan_files([file], tmp_path / "found.csv", model, workers=1, clips=tmp_path / "scan")
    listen = ["listen", str(model), "--input", str(file), "--keep", str(tmp_path / "listen"), "--json"]
    done = CliRunner().invoke(app, listen)
    assert done.exit_code == 0

    def kept(folder: Path) -> list[tuple[str, bytes]]:
        return sorted((cut.parent.name, cut.read_bytes()) for cut in folder.rglob("*.flac"))

    assert len(kept(tmp_path / "listen")) == len(rows(tmp_path / "found.csv")) > 0
    assert kept(tmp_path / "listen") == kept(tmp_path / "scan")
