"""The lock of a folder, among threads and among processes that are killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from earmark import EarmarkError, Project
from earmark.storage import folder_lock
from earmark.storage.folder_lock import FolderLock

HOLDER = """if True:
    import sys
    from pathlib import Path
    from earmark.storage.folder_lock import FolderLock
    with FolderLock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
    print("given back", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "PATIENCE", 0.05)


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that has the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_another_process_has_is_told_and_taken_when_that_is_killed(tmp_path: Path) -> None:
    project = Project(tmp_path / "clapper", create=True, labels=("Left",))
    holder = hold(project.path)
    with holder:
        with pytest.raises(EarmarkError, match=r"clapper is being changed by another program: wait for it, then try"):
            project.add_label("Up")
        assert list(project.labels) == ["Left"], "reading needs no lock"
        holder.kill()
        holder.wait()
        project.add_label("Up")
        assert list(project.labels) == ["Left", "Up"]


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_is_given_back_can_be_taken(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "given back\n"
        lock = FolderLock(tmp_path)
        with lock:
            exclusive = [lock.is_exclusive]
        assert [*exclusive, lock.is_exclusive] == [True, False]
        holder.stdin.write("\n")


def test_the_thread_that_has_it_may_take_it_again_and_others_wait(tmp_path: Path) -> None:
    taken: list[str] = []
    lock = FolderLock(tmp_path, lambda: taken.append("anew"))
    with lock, lock:
        other = threading.Thread(target=lambda: lock.__enter__() and lock.__exit__())  # type: ignore[func-returns-value]
        other.start()
        other.join(0.05)
        assert other.is_alive()
        assert taken == ["anew"]
    other.join(10)
    assert not other.is_alive()
    assert taken == ["anew", "anew"]


def test_where_there_are_no_locks_threads_are_kept_out_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_: int) -> bool:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(folder_lock, "_lock", no_locks)
    for folder in (tmp_path, tmp_path / "missing"):
        with FolderLock(folder) as lock:
            assert not lock.is_exclusive


def test_no_handle_is_left_open(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with FolderLock(tmp_path):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
