"""Files that are made to fill the memory, to take hours or to break out: one sentence each, and bounds."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tracemalloc
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

from earmark import EarmarkError, Project, load
from earmark.audio.clip import CLIP_SAMPLES, longest_clip, read_clip
from earmark.audio.compressed_audio import decode
from earmark.cli.terminal import put
from earmark.exchange import audiofolder, file_set, importing, teachable_machine
from earmark.exchange import found_recordings as found
from earmark.exchange.audiofolder import read_table
from earmark.exchange.importing import Imported, import_into
from earmark.exchange.teachable_samples import find_samples
from earmark.front_end.spectrogram_file import read_spectrogram
from earmark.labels import label_folder
from tests import sounds
from tests.budget import budget

NOISE = "_background_noise_"
MIB = 1 << 20


def wav(samples: Any, rate: int = sounds.RATE, container: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container)
    return file.getvalue()


SHORT = wav(sounds.whistle(0.2, 1))


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "words", create=True, mode="words")


def imported(project: Project, data: bytes, name: str = "my.zip") -> Imported:
    return import_into(project, io.BytesIO(data), name=name)


def peak_of(work: Callable[[], object]) -> int:
    """The most bytes that Python and NumPy had allocated meanwhile."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Zips


def test_a_zip_of_too_many_files_is_told_before_python_lists_them(project: Project) -> None:
    one = b"PK\1\2" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    table = one * (file_set.MAX_ENTRIES + 1)
    data = table + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 9, 9, len(table), 0, 0)

    def read() -> None:
        with pytest.raises(EarmarkError, match=r"my\.zip holds more than 200,000 files: split it"):
            imported(project, data)

    assert peak_of(read) < 4 * len(table)


def beginning_nowhere(name: str) -> bytes:
    """A zip of one file whose header, it says, lies at 2**63."""
    data = zipped({name: SHORT}, zipfile.ZIP_STORED)
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = bytearray(data[at:end])
    extra = struct.pack("<HHQ", 1, 8, 1 << 63)  # zip64: where its header lies
    entry[30:32], entry[42:46] = struct.pack("<H", len(extra)), b"\xff" * 4
    table = bytes(entry) + extra
    return data[:at] + table + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(table), at, 0)


@pytest.mark.parametrize("name", ["Left/a.wav", "samples.json", "metadata.csv", "inner.zip"])
def test_a_file_in_a_zip_that_begins_nowhere_is_damaged(project: Project, name: str) -> None:
    data = beginning_nowhere(name)
    try:
        ((_, reason),) = imported(project, data).skipped
    except EarmarkError as error:
        reason = str(error)
    assert "damaged" in reason or "can't be read" in reason
    assert project.labels == ()


def test_a_model_in_a_zip_that_begins_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "my.zip").write_bytes(beginning_nowhere("model.json"))
    with pytest.raises(EarmarkError, match=r"my\.zip"):
        load(tmp_path / "my.zip")


@pytest.mark.slow
def test_a_recording_is_held_three_times_at_most(project: Project) -> None:
    """As it came, as it is kept, and once in between."""
    noise = np.random.default_rng(1).normal(0, 0.1, 590 * 8_000).astype(np.float32)
    data = zipped({"Left/a.flac": wav(noise, 8_000, "FLAC")})
    assert peak_of(lambda: imported(project, data)) < 3 * noise.nbytes
    assert imported(project, data).known == 1


def test_what_is_unpacked_is_held_once() -> None:
    data = zipped({"Left/a.wav": SHORT + bytes(64 * MIB)})
    with file_set.Zip(io.BytesIO(data), "my.zip") as files:
        assert peak_of(lambda: files.read(files.paths[0])) < 100 * MIB


def test_a_zip_that_is_packed_too_tightly_is_told_before_it_is_unpacked(project: Project) -> None:
    tight = zipped({f"Left/{number}.wav": bytes(20 * MIB) for number in range(14)})

    def read() -> None:
        with pytest.raises(EarmarkError, match=r"my\.zip unpacks to [\d,]+ times its size, as no recordings do"):
            imported(project, tight)

    assert peak_of(read) < 2 * len(tight) + MIB
    less = zipped({"Left/a.wav": SHORT, **{f"Left/{number}.txt": bytes(20 * MIB) for number in range(3)}})
    assert len(imported(project, less).added) == 1  # silence may be packed as tightly, if it isn't much


def test_a_zip_whose_files_share_their_bytes_is_told(project: Project) -> None:
    """Fifield 2019, "A better zip bomb": many entries of the table for one file."""
    data = zipped({"Left/a.wav": bytes(30 * MIB)})
    at, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    table = b"".join(data[at:end].replace(b"Left/a", b"Left/%c" % letter) for letter in range(97, 107))
    bomb = data[:at] + table + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 10, 10, len(table), at, 0)
    with pytest.raises(EarmarkError, match="times its size"):
        imported(project, bomb)


@pytest.mark.parametrize("limit", ["MAX_SECONDS", "MAX_ADDED_BYTES"])
def test_an_import_takes_no_more_than_so_much_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(importing, limit, {"MAX_SECONDS": 3, "MAX_ADDED_BYTES": 150_000}[limit])
    data = zipped({f"Left/{number}.wav": wav(sounds.whistle(2, number)) for number in range(5)})
    done = imported(project, data)
    assert len(done.added) == 2
    (note,) = done.notes
    assert note.endswith("3 recordings are left out; import them label by label (--only).")
    if limit == "MAX_SECONDS":  # those that are there already take as long to decode
        assert len(imported(project, data).added) == 0


# Names

NASTY = [
    "..", ".", "../..", "/etc", "C:", "C:\\x", "\\\\host\\share", "con", "NUL", "aux.wav", "a\x00b", "a\nb",
    "\x1b[2J", "\u202egpj",
    "~", "$HOME", "-rf", "--help", "%2e%2e%2f", "..%5c", "a" * 300, "é" * 200, " ", ".hidden", "lbl.", "<b>", "=cmd()",
    "\ud800", "{{7*7}}", "`id`", ";ls", "|", "*", "?", "a:b", "trail ", "earmark.toml", "clips", "models", ".trash",
]  # fmt: skip


@budget(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.sampled_from(NASTY) | st.text(max_size=12), min_size=1, max_size=4),
    joint=st.sampled_from("/\\"),
    label=st.none() | st.sampled_from(NASTY),
    kind=st.sampled_from(["zip", "table", "samples"]),
)
def test_no_name_leads_out_of_the_project(
    tmp_path: Path, parts: list[str], joint: str, label: str | None, kind: str
) -> None:
    """Whatever files, folders, classes and labels are called: all that is written lies in clips, a folder deep."""
    home = tmp_path / "home"
    shutil.rmtree(home, ignore_errors=True)
    project = Project(home / "project", create=True, mode="words")
    name = joint.join(parts).encode("utf-8", "replace").decode()
    assume(name.partition("\0")[0])  # zipfile, which ends names there, writes none that is empty
    entries = {f"{name}.wav": SHORT, f"{name}/a.wav": wav(sounds.whistle(0.2, 2))}
    if kind == "table":
        rows = [{"file_name": f"{name}.wav", "label": label}, {"file_name": "../../secret.wav", "label": name}]
        entries["metadata.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    if kind == "samples":
        entries = {f"{name}-samples.json": samples_of(name), name: SHORT}
    with suppress(EarmarkError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zipfile, about two names that are one
        imported(project, zipped(entries), f"{name}.zip")
    files = [path for path in home.rglob("*") if not path.is_dir()]
    outside = [path for path in files if path.relative_to(home).parts[:2] != ("project", "clips")]
    assert [path.name for path in outside if path.name != "earmark.toml"] == []
    for path in files:
        if path not in outside:
            assert len(path.relative_to(home).parts) == 4
            assert path.suffix in (".flac", ".npy")
            assert not path.name.startswith((".", "-rf")) or path.name.startswith("-rf")
    for clip in project.clips():
        assert label_folder(clip.label) == clip.path.parent.name


def test_links_in_a_zip_are_files_like_others(project: Project, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(SHORT)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("Left/link.wav")
        link.create_system, link.external_attr = 3, 0o120777 << 16  # a symbolic link, in Unix' words
        archive.writestr(link, str(secret))
    ((name, reason),) = imported(project, file.getvalue()).skipped
    assert name == "Left/link.wav"
    assert "is not a sound file" in reason
    assert project.clips() == []


# What is told


def test_no_name_commands_the_terminal(project: Project, tmp_path: Path) -> None:
    """Neither in words nor in JSON: ESC, and CSI as one character of 8 bits."""
    folder = tmp_path / "set" / "Left"
    folder.mkdir(parents=True)
    for name in ("\x1b]0;owned\x07.txt", "\x9b2J.wav", "a\r\x1b[31m.wav"):
        (folder / name).write_bytes(b"nothing")
    command = [sys.executable, "-m", "earmark", "import", str(folder.parent), str(project.path)]
    for option in ([], ["--json"]):
        done = subprocess.run([*command, *option], capture_output=True, text=True, check=False)
        told = done.stdout + done.stderr
        assert "owned" in told
        assert [letter for letter in told if unicodedata.category(letter) == "Cc" and letter != "\n"] == []
    values = json.loads(done.stdout)
    assert len(values["skipped"]) == 3


def test_what_json_says_is_what_was_meant(capfd: pytest.CaptureFixture[str]) -> None:
    put({"label": "\x9b2J\x7f\u2028é"}, True, "")
    said = capfd.readouterr().out
    assert json.loads(said) == {"label": "\x9b2J\x7f\u2028é"}
    assert "\x9b" not in said
    put({}, False, "one\x1b[2J\ntwo")
    assert capfd.readouterr().out == "one?[2J\ntwo\n"


# Tables


@pytest.mark.parametrize(
    "content",
    [
        b"file_name" + b"," * (30 * MIB),
        b"file_name,label\n" + b"," * (30 * MIB),
        b"file_name,label\n" + b'"a\n",' * (5 * MIB),
        b'{"file_name": "a.wav", "x": [' + b"[]," * (8 * MIB) + b"[]]}",
        b'{"file_name": "' + b"a" * (20 * MIB) + b'"}',
        b"[" * (20 * MIB),
    ],
    ids=["columns", "a row", "lines of a row", "values", "a name", "depth"],
)
def test_a_row_that_would_fill_the_memory_is_told(content: bytes) -> None:
    name = "metadata.csv" if content.startswith(b"file") else "metadata.jsonl"

    def read() -> None:
        with pytest.raises(EarmarkError, match=f"^{name} is not a table that can be read"):
            list(read_table(content, name))

    assert peak_of(read) < 100 * MIB


def test_many_columns_are_read() -> None:
    """A row may be long, if not without end."""
    header = ",".join(["file_name", *(f"c{number}" for number in range(50_000)), "label"])
    row = ",".join(["a.wav", *["1"] * 50_000, "up"])
    assert list(read_table(f"{header}\n{row}\n".encode(), "metadata.csv")) == [("a.wav", "up")]


@pytest.mark.parametrize("limit", ["MAX_ROWS", "MAX_TABLE_BYTES"])
def test_all_tables_together_have_a_limit(project: Project, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(audiofolder, limit, {"MAX_ROWS": 5, "MAX_TABLE_BYTES": 50}[limit])
    entries = {f"{number}/metadata.csv": b"file_name\na.wav\nb.wav\n" for number in range(3)}
    with pytest.raises(EarmarkError, match=r"my\.zip has tables of more than .*: divide it"):
        imported(project, zipped({**entries, "0/a.wav": SHORT}))


def test_no_name_in_a_table_commands_the_terminal(project: Project) -> None:
    row = b'{"file_name": "a\\n\\u001b[2J\\ud800.wav"}\n'
    ((name, reason),) = imported(project, zipped({"metadata.jsonl": row, "x/metadata.jsonl": b""})).skipped
    assert name == "a??[2J?.wav"
    assert reason == "a??[2J?.wav is not there, though metadata.jsonl names it."


def test_a_list_of_speech_commands_takes_no_memory(project: Project) -> None:
    names = b"".join(b"a/%07d.wav\n" % number for number in range(200_000))
    data = zipped({"testing_list.txt": names + b"up/a.wav\n", "up/a.wav": SHORT})
    assert peak_of(lambda: imported(project, data)) < 32 * MIB
    assert import_into(project, io.BytesIO(data), name="my.zip", split="test").known == 1


# Sound


def test_a_clip_of_a_high_rate_is_shorter() -> None:
    """All that reads one takes several times its samples' memory; 28.8 million take 0.5 GB."""
    assert CLIP_SAMPLES == 28_800_000
    assert [longest_clip(rate) / rate for rate in (16_000, 48_000, 96_000, 192_000)] == [600, 600, 300, 150]
    with pytest.raises(EarmarkError, match="lasts longer than 150 s: cut it"):
        read_clip(wav(np.zeros(151 * 192_000, np.float32), 192_000, "FLAC"), "a.flac")


def test_noise_without_end_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = wav(np.zeros(605 * 8_000, np.float32), 8_000, "FLAC")
    data = zipped({f"{NOISE}/a.flac": noise})
    monkeypatch.setattr(found, "MAX_NOISE_SAMPLES", 600 * 8_000)
    ((_, reason),) = imported(project, data).skipped
    assert reason == "a.flac lasts longer than 10 minutes: cut it into several recordings."
    monkeypatch.undo()
    assert imported(project, data).known == 9  # minutes of silence that are like the first one


def ogg(rate: int, last: int) -> bytes:
    """Vorbis that claims that rate, and that many samples."""
    data, pages = wav(sounds.whistle(0.5, 1), container="OGG"), []
    while data:
        size = 27 + data[26] + sum(data[27 : 27 + data[26]])  # RFC 3533, section 6
        pages.append(bytearray(data[:size]))
        data = data[size:]
    start = 27 + pages[0][26]
    pages[0][start + 12 : start + 16] = struct.pack("<I", rate)
    pages[-1][6:14] = struct.pack("<q", last)
    for page in pages:
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", ogg_sum(page))
    return b"".join(pages)


def ogg_sum(page: bytearray) -> int:
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1) ^ (0x104C11DB7 if total & 0x80000000 else 0)
    return total


@pytest.mark.parametrize(("rate", "last"), [(2**31 - 1, 2**61), (655_350, 2**40), (44_100, 2**62), (1, 2**50)])
@pytest.mark.parametrize("label", ["Left", NOISE])
def test_a_header_s_claims_are_not_believed(project: Project, label: str, rate: int, last: int) -> None:
    data = zipped({f"{label}/a.ogg": ogg(rate, last)})
    assert peak_of(lambda: imported(project, data)) < 64 * MIB
    for clip in project.clips():
        assert clip.error is None
        assert clip.seconds < 1


def test_an_old_header_of_numpy_warns_nobody() -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 232L)}"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(928)
        assert read_spectrogram(data, "a.npy").shape == (1, 232)


# Teachable Machine


def samples_of(*recordings: str) -> bytes:
    frames = [[-50.0] * 232] * 43
    return json.dumps(
        [
            {"frequencyFrames": frames, "startTime": 0.1 * number, "endTime": 0.1 * number + 0.5, "blobFilePath": name}
            for number, name in enumerate(recordings)
        ]
    ).encode()


def test_a_recording_is_decoded_once_and_forgotten(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def count(data: bytes, name: str) -> Any:
        decoded.append(name)
        return decode(data, name)

    monkeypatch.setattr(teachable_machine, "decode", count)
    entries = {
        "samples.json": samples_of("a", "b", "c", "a", "b", "c"),
        "a": wav(sounds.whistle(2, 1)), "b": wav(sounds.whistle(2, 2)), "c": b"no sound",
    }  # fmt: skip
    findings = find_samples(io.BytesIO(zipped(entries)), "Clap.zip")
    assert [recording.name for recording in findings.recordings] == [
        f"Clap.zip, sample {number}" for number in (1, 4, 2, 5, 3, 6)
    ]
    done = imported(project, zipped(entries), "Clap.zip")
    assert [clip.has_sound for clip in done.added] == [True] * 4 + [False]
    assert decoded == ["a in Clap.zip", "b in Clap.zip", "c in Clap.zip"]


def test_commas_and_blanks_without_end_are_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachable_machine, "MAX_TOTAL_BYTES", 20 * MIB)
    with pytest.raises(EarmarkError, match="more than 20 MiB"):
        imported(project, zipped({"samples.json": b"[" + b", " * (12 * MIB)}), "Clap.zip")


# Folders


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_loops_and_devices_in_a_folder_are_told(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "Left"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe.wav")
    (folder / "loop").symlink_to("..")
    (folder / "self.wav").symlink_to("self.wav")
    (folder / "zero.wav").symlink_to("/dev/zero")
    (folder / "a.wav").write_bytes(SHORT)
    done = import_into(project, folder.parent)
    assert [clip.path.name for clip in done.added] == ["a.flac"]
    assert sorted(name for name, _ in done.skipped) == [
        f"Left/{name}" for name in ("loop", "pipe.wav", "self.wav", "zero.wav")
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["pipe.npy", "pipe.wav", "pipe.webm"])
def test_pipes_dropped_into_a_project_do_not_wait(project: Project, name: str) -> None:
    """Opening one waits until somebody writes into it, which nobody may ever do."""
    (project.path / "clips" / "Left").mkdir(parents=True)
    os.mkfifo(project.path / "clips" / "Left" / name)
    program = (
        "import sys, earmark\n"
        "project = earmark.Project(sys.argv[1])\n"
        "print([clip.error is not None for clip in project.clips()])\n"
        "try: earmark.load().recognize(sys.argv[2])\n"
        "except earmark.EarmarkError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(project.path), f"{project.path}/clips/Left/{name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    listed, told = done.stdout.splitlines()
    assert "False" not in listed
    assert name in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_model_that_is_a_pipe_or_too_large_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(10 << 30)  # sparse
    program = (
        "import earmark, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: earmark.load(name)\n"
        "    except earmark.EarmarkError as error: print(error)"
    )
    names = ["pipe.onnx", "large.onnx", "/dev/zero"]
    command = [sys.executable, "-c", program, *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines() == [
        "pipe.onnx is no file: a pipe or a device can't be loaded.",
        "large.onnx is larger than 256 MiB: Earmark runs small models only.",
        "/dev/zero is no file: a pipe or a device can't be loaded.",
    ]


@pytest.mark.parametrize("inner", [False, True])
def test_a_file_without_a_name_in_a_zip_is_passed_over(project: Project, inner: bool) -> None:
    entries = {"Clap/samples.json": samples_of("none")} if inner else {"Left/a.wav": SHORT}
    data = zipped({**entries, "nobody": b"nothing"}).replace(
        b"nobody", b"\0obody"
    )  # to Python a name that ends at once
    assert len(imported(project, data).added) == 1
