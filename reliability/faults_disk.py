"""Disks that fail: each call of an operation to the file system fails in turn, and a small disk runs full.

The failing layer lies below Earmark: `os.fsync`, `os.open`, renames, links, folders and writes of files raise what the
system would, as SQLite is tested (https://www.sqlite.org/testing.html#i_o_error_testing).
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Claim
from earmark import EarmarkError, Project
from earmark.audio.clip import Clip
from earmark.exchange.exporting import export_recordings
from earmark.exchange.importing import import_into
from earmark.front_end.recordings import read_recording
from earmark.recognizer.decisions import Detection
from earmark.scan.detections import Scanned
from earmark.scan.journal import Journal
from reliability.faults_files import FailingFiles
from tests import sounds

ERRORS = (errno.EIO, errno.ENOSPC)
MORE_ERRORS = (*ERRORS, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE)
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112 (a flush costs nothing there)
BRIEFLY = 4  # operations on a disk that stays broken, in the short form
SMALL = 1 << 20  # bytes of the disk that runs full

Contents = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """Something that writes.

    Attributes:
        name: of the operation.
        prepare: called before with the project and a folder beside it; returns what is tried.
        fails_in_parts: whether what is asked for are many changes, of which some may be done.
        is_whole: tells of a project that isn't as before whether it is wholly changed.
    """

    name: str
    prepare: Callable[[Project, Path], Callable[[], object]]
    fails_in_parts: bool = False
    is_whole: Callable[[Project], bool] = lambda _: False


def _add(project: Project, _: Path) -> Callable[[], object]:
    return lambda: project.add("Left", sounds.whistle(0.3, 7), sounds.RATE, name="new")


def _add_to_new_label(project: Project, _: Path) -> Callable[[], object]:
    return lambda: project.add("Up", sounds.whistle(0.3, 7), sounds.RATE, name="new")


def _trim(project: Project, _: Path) -> Callable[[], object]:
    clip = project.clips("Left")[0]
    return lambda: project.trim_clip(clip, 0.05, 0.35)


def _move(project: Project, _: Path) -> Callable[[], object]:
    clip = project.clips("Left")[0]
    return lambda: project.move_clip(clip, "Noise")


def _remove(project: Project, _: Path) -> Callable[[], object]:
    clip = project.clips("Left")[0]
    return lambda: project.remove_clip(clip)


def _restore(project: Project, _: Path) -> Callable[[], object]:
    trashed = project.remove_clip(project.clips("Left")[0])
    return lambda: project.restore(trashed)


def _restore_label(project: Project, _: Path) -> Callable[[], object]:
    trashed = project.remove_label("Left")
    return lambda: project.restore(trashed)


def _import(project: Project, beside: Path) -> Callable[[], object]:
    def load() -> None:
        imported = import_into(project, beside / "source")
        if imported.skipped:
            raise EarmarkError(imported.skipped[0][1])
        if imported.left_out:
            raise EarmarkError(imported.notes[0])

    return load


def _export(project: Project, beside: Path) -> Callable[[], object]:
    return lambda: export_recordings(project, beside / "out" / "folders", "folders")


def _export_zip(project: Project, beside: Path) -> Callable[[], object]:
    return lambda: export_recordings(project, beside / "out" / "all.zip", "folders")


def _train(project: Project, _: Path) -> Callable[[], object]:
    return lambda: project.train("sounds", epochs=1, batch_size=512)


def _has_model(project: Project) -> bool:
    """A model that can be loaded, and its own card."""
    return project.model().labels == project.labels and project.model_card() is not None


def _delete_model(project: Project, _: Path) -> Callable[[], object]:
    project.train("sounds", epochs=1, batch_size=512, name="old")
    return lambda: project.delete_model("old")


def _journal(_: Project, beside: Path) -> Callable[[], object]:
    def scan() -> None:
        with Journal(beside / "found.csv", {"model": "words"}) as journal:
            for number in range(3):
                journal.add(Scanned(f"{number}.wav", 1.0, [Detection("yes", 0.9, 0.1, 0.5)]))

    return scan


OPERATIONS = (
    Operation("add", _add),
    Operation("add to a new label", _add_to_new_label),
    Operation("add a label", lambda project, _: lambda: project.add_label("Up")),
    Operation("rename a label", lambda project, _: lambda: project.change_label("Left", new_name="Whistle")),
    Operation("remove a label", lambda project, _: lambda: project.remove_label("Left")),
    Operation("restore a label", _restore_label),
    Operation("trim", _trim),
    Operation("move", _move),
    Operation("delete", _remove),
    Operation("restore", _restore),
    Operation("set the mode", lambda project, _: lambda: project.set_mode("words")),
    Operation("set the base", lambda project, _: lambda: project.set_base("sounds")),
    Operation("import", _import, fails_in_parts=True),
    Operation("export folders", _export),
    Operation("export a zip", _export_zip),
    Operation("scan's journal", _journal, fails_in_parts=True),
)
TRAINED = (Operation("train", _train, is_whole=_has_model), Operation("delete a model", _delete_model))


@dataclass
class Tally:
    """What came of the failures.

    Attributes:
        failures: how many were injected.
        before, after: clips that should be there, and that are.
        wrong: what didn't hold, in words.
    """

    failures: int
    before: int
    after: int
    wrong: list[str]


def run(long: bool) -> list[Claim]:
    """Fail each call of each operation; in the long form with more errors, and for each a disk that stays broken."""
    once, lasting, full = Tally(0, 0, 0, []), Tally(0, 0, 0, []), Tally(0, 0, 0, [])
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        template = Path(name)
        _small_project(template / "project")
        source = Project(template / "source", create=True)
        for number in range(2):
            source.add("Down", sounds.murmur(0.3, 20 + number), sounds.RATE, name=str(number))
        for number, operation in enumerate((*OPERATIONS, *TRAINED)):
            for error in MORE_ERRORS if long else (ERRORS[number % 2],):
                fail_each_call(template, operation, error, False, once)
            for error in MORE_ERRORS if long else ERRORS[1:] if number < BRIEFLY else ():
                fail_each_call(template, operation, error, True, lasting)
            if long:
                print(f"  disk faults: {operation.name}: {once.failures + lasting.failures:,}", file=sys.stderr)
    checks = [
        _check("each file call of each operation fails once: " + _names(MORE_ERRORS if long else ERRORS), once),
        _check("the same, and the disk stays broken", lasting),
    ]
    if (reason := _no_small_disk()) is None:
        fill_a_disk(full, 100 if long else 12)
        checks.append(_check("a disk of 1 MiB runs full (tmpfs)", full))
    else:
        checks.append(Claim("a disk of 1 MiB runs full (tmpfs)", "told, 0 lost", f"not tried: {reason}", True))
    return checks


def _names(errors: tuple[int, ...]) -> str:
    return ", ".join(errno.errorcode[error] for error in errors)


def _check(what: str, tally: Tally) -> Claim:
    measured = (
        f"{tally.failures:,} failures; clips before {tally.before:,}, after {tally.after:,}; "
        f"{tally.before - tally.after} lost; {len(tally.wrong)} otherwise wrong"
    )
    if tally.wrong:
        measured += f": {tally.wrong[0]}"
    holds = tally.failures > 0 and tally.before == tally.after and not tally.wrong
    return Claim(
        what,
        "one sentence; as before, or wholly changed; nothing left over; works again after; 0 lost",
        measured,
        holds,
    )


def fail_each_call(template: Path, operation: Operation, error: int, forever: bool, tally: Tally) -> None:
    """Try an operation with its first call failing, then with its second, until it goes through untouched.

    Args:
        template: a folder of what there is before, a "project" and a "source" to import.
        operation, error, forever: what fails, and how.
        tally: where it is noted.
    """
    at = 0
    while True:
        at += 1
        with tempfile.TemporaryDirectory(dir=MEMORY) as name:
            root = Path(name)
            shutil.copytree(template, root, dirs_exist_ok=True)
            project = Project(root / "project")
            change = operation.prepare(project, root)
            before, kept = contents(root), clips_of(project)
            told = None
            with FailingFiles(root, at, error, forever) as layer:
                try:
                    change()
                except EarmarkError as failed:
                    told = failed
                except Exception as raw:  # which must not happen
                    tally.wrong.append(f"{operation.name}, call {at}: {raw!r}")
            if layer.calls < at:
                return
            tally.failures += 1
            where = f"{operation.name}, {errno.errorcode[error]} at call {at}"
            again = Project(project.path)
            found = clips_of(again)
            tally.before += len(kept)
            tally.after += len(kept) if lost_none(again, kept) else len(kept.keys() & found.keys())
            if told is not None:
                _check_told(where, str(told), tally)
            if not forever:
                _check_whole(operation, where, layer, root, before, told, change, tally)


def _check_told(where: str, told: str, tally: Tally) -> None:
    if "\n" in told or not told.endswith("."):
        tally.wrong.append(f"{where}: told {told!r}")


def _check_whole(
    operation: Operation,
    where: str,
    layer: FailingFiles,
    root: Path,
    before: Contents,
    told: object,
    change: Callable[[], object],
    tally: Tally,
) -> None:
    """After one failure all is as before or wholly changed, nothing is left over, and the same works when repeated."""
    after = contents(root)
    if told is None and not operation.fails_in_parts and after == before:
        tally.wrong.append(f"{where}: neither done nor told")
    strays = {path for path in after if ".part" in path}
    # What can't be removed, or after a deletion be looked into, is cleared later.
    if strays and layer.failed not in ("unlink", "rmdir", *(["open"] if told is None else [])):
        tally.wrong.append(f"{where}: left {sorted(strays)}")
    after = {path: content for path, content in after.items() if path not in strays}
    if told is not None and after != before and not operation.fails_in_parts:
        changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
        if not operation.is_whole(Project(root / "project")):
            tally.wrong.append(f"{where}: changed {changed[:3]}")
    if told is not None:
        try:
            change()
        except Exception as error:
            tally.wrong.append(f"{where}: again: {error!r}")


def contents(root: Path) -> Contents:
    """All files' names and contents but the cache's."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def clips_of(project: Project) -> dict[bytes, str]:
    """Each clip's samples, and its label."""
    found = {}
    for clip in project.clips():
        recording = read_recording(clip.path)
        assert isinstance(recording, Clip)
        found[recording.samples.tobytes()] = clip.label
    return found


def lost_none(project: Project, kept: dict[bytes, str]) -> bool:
    """Whether each clip is in the project or, where it was deleted or trimmed, in the trash."""
    there = set()
    for path in project.path.rglob("*.flac"):
        recording = read_recording(path)
        assert isinstance(recording, Clip)
        there.add(recording.samples.tobytes())
    return kept.keys() <= there


def _small_project(path: Path) -> Project:
    """Two clips of a label, of which one has a key frame, and one of another."""
    project = Project(path, create=True, labels=("Left", "Right", "Noise"))
    first = project.add("Left", sounds.whistle(0.4, 1), sounds.RATE, name="first")
    project.set_key_frame(first, 5)
    project.add("Left", sounds.whistle(0.3, 2), sounds.RATE, name="second")
    project.add("Right", sounds.snaps(0.4, 3), sounds.RATE, name="third")
    return project


def _no_small_disk() -> str | None:
    """Why no small disk can be had here, if so."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "only Linux's root mounts a tmpfs"
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", name], capture_output=True)
        if made.returncode:
            return made.stderr.decode().strip()
        subprocess.run(["umount", name], check=True)
    return None


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def fill_a_disk(tally: Tally, rounds: int) -> None:
    """Leave more room in each round, and do what a person does until there is none."""
    for number in range(rounds):
        with _small_disk() as disk:
            project = _small_project(disk / "project")
            clips = dict(clips_of(project))
            free = shutil.disk_usage(disk).free
            (disk / "other").write_bytes(bytes(max(0, free - 4096 * number)))
            for step in range(12):
                _try_on_full_disk(project, step, clips, tally)
            found = clips_of(Project(project.path))
            tally.before += len(clips)
            tally.after += len(clips.keys() & found.keys())
            if found.keys() - clips.keys():
                tally.wrong.append(f"round {number}: a clip that was told not to be saved is there")
            if strays := list(project.path.rglob("*.part")):
                tally.wrong.append(f"round {number}: left {strays}")
            (disk / "other").unlink()
            project.add("Left", sounds.whistle(0.3, 99), sounds.RATE)


def _try_on_full_disk(project: Project, step: int, clips: dict[bytes, str], tally: Tally) -> None:
    samples = sounds.whistle(0.2, 50 + step)
    try:
        with suppress(StopIteration):
            if step % 3 == 0:
                clip = project.add(project.labels[0], samples, sounds.RATE, name=f"{step}")
                recording = read_recording(clip.path)
                assert isinstance(recording, Clip)
                assert np.abs(recording.samples - samples).max() < 2**-22, "24 bits keep so much"
                clips[recording.samples.tobytes()] = clip.label
            elif step % 3 == 1:
                project.change_label(project.labels[0], new_name=f"Label {step}")
            else:
                project.set_key_frame(project.clips()[0], step)
    except EarmarkError as error:
        tally.failures += 1
        _check_told(f"step {step}", str(error), tally)
