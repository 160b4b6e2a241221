"""Files that are whole or not there, checked with real kills and a real limit of the disk."""

import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark import EarmarkError
from earmark.storage.files import make_folder, move, new_file, new_folder, write_atomically, write_new


def test_a_write_makes_the_file_and_replaces_it_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    write_atomically(file, b"old")
    assert file.read_bytes() == b"old"
    write_atomically(file, b"the new one")
    assert file.read_bytes() == b"the new one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_an_empty_file_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "empty", b"")
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_folder_that_went_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"a\.bin can't be written, since it or its folder is gone: look again"):
        write_atomically(tmp_path / "missing" / "a.bin", b"new")


@pytest.mark.parametrize(
    ("target", "remedy"),
    [("folder", "free some space or choose a folder that you may write to"), ("x" * 300, "choose a shorter name")],
)
def test_what_can_not_be_written_is_told_in_one_sentence_and_changes_nothing(
    tmp_path: Path, target: str, remedy: str
) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(EarmarkError, match=rf"{target}.* can't be written \([^()]+\): {remedy}\.$"):
        write_atomically(tmp_path / target, b"data")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("write", [lambda path: write_atomically(path / "a.bin", b""), make_folder])
def test_a_file_where_a_folder_should_be_is_told(write: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(EarmarkError, match=r"file.* there is a file where a folder should be: choose another place"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_full_disk_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    write_atomically(file, b"old")
    script = """if True:
        import resource, sys
        from pathlib import Path
        from earmark import EarmarkError
        from earmark.storage.files import write_atomically
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the system then refuses larger files
        try:
            write_atomically(Path(sys.argv[1]), b"x" * 5000)
        except EarmarkError as error:
            print(error)
    """
    run = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=True)
    assert f"{file} can't be written" in run.stdout
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_kill_at_any_moment_leaves_one_whole_version(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    size = 1 << 20
    script = f"""if True:
        import sys
        from pathlib import Path
        from earmark.storage.files import write_atomically
        version = 0
        while True:
            version += 1
            write_atomically(Path(sys.argv[1]), bytes([version % 256]) * {size})
            if version == 1:
                print("first", flush=True)
    """
    for seed in range(5):
        with subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"first\n"
            time.sleep(random.Random(seed).uniform(0, 0.05))
            writer.kill()
        data = file.read_bytes()
        assert len(data) == size
        assert data == data[:1] * size


def test_a_move_makes_the_folder_that_it_goes_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"data")
    move(tmp_path / "a", tmp_path / "new" / "er" / "b")
    assert (tmp_path / "new" / "er" / "b").read_bytes() == b"data"
    assert not (tmp_path / "a").exists()


def test_a_move_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="can't be written"):
        move(tmp_path / "nothing", tmp_path / "b")


def test_folders_are_made_with_those_above_and_may_be_there(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EarmarkError, match="can't be written"):
        make_folder(tmp_path / "file" / "b")


class Disk:
    """What is asked of the disk, and what it refuses: a failing layer below the files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[str] = []
        self.refuses: dict[str, int] = {}  # from the number of syncs at which a call fails
        self._sync, self._link = os.fsync, os.link
        monkeypatch.setattr(os, "fsync", self.sync)
        monkeypatch.setattr(os, "link", self.link)

    def sync(self, handle: int) -> None:
        self.synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        if self.refuses.get("fsync") == len(self.synced):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(handle)

    def link(self, source: object, target: object, **options: object) -> None:
        if "link" in self.refuses:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        self._link(source, target, **options)  # type: ignore[arg-type]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc")
    return Disk(monkeypatch)


def test_what_is_written_moved_or_made_is_on_the_disk_with_its_folders(tmp_path: Path, disk: Disk) -> None:
    make_folder(tmp_path / "a" / "b")
    assert disk.synced == [str(tmp_path), str(tmp_path / "a")], "a folder's name is in the one above it"
    disk.synced.clear()
    write_atomically(tmp_path / "a" / "file", b"data")
    aside, folder = disk.synced
    assert (Path(aside).parent, Path(aside).suffix, folder) == (tmp_path / "a", ".part", str(tmp_path / "a"))
    disk.synced.clear()
    move(tmp_path / "a" / "file", tmp_path / "c" / "file")
    assert disk.synced == [str(tmp_path), str(tmp_path / "c"), str(tmp_path / "a")]
    disk.synced.clear()
    with new_folder(tmp_path / "out") as made:
        (made / "deep").mkdir()
        (made / "deep" / "file").write_bytes(b"data")
    assert {Path(path).name for path in disk.synced} >= {"deep", "file", tmp_path.name}


def test_a_failed_flush_is_a_failed_write(tmp_path: Path, disk: Disk) -> None:
    """Of the file itself (the first), and of its folder (the second)."""
    file = tmp_path / "a.bin"
    write_atomically(file, b"old")
    for failing in (1, 2):
        for write in (write_atomically, write_new):
            disk.synced.clear()
            disk.refuses["fsync"] = failing
            with pytest.raises(
                EarmarkError, match=r"can't be written \(Input/output error\): check the disk, then try"
            ):
                write(file if write is write_atomically else tmp_path / "new", b"new")
            assert file.read_bytes() == b"old"
            assert list(tmp_path.iterdir()) == [file]


def test_a_move_whose_folder_can_not_be_flushed_is_taken_back(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "a").write_bytes(b"data")
    disk.refuses["fsync"] = 2
    with pytest.raises(EarmarkError, match="check the disk"):
        move(tmp_path / "a", tmp_path / "new" / "b")
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_file_system_without_links_or_flushes_of_folders_will_do(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.refuses["link"] = 1
    sync = os.fsync

    def no_folders(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(handle)

    monkeypatch.setattr(os, "fsync", no_folders)
    write_atomically(tmp_path / "a", b"old")
    write_atomically(tmp_path / "a", b"new")
    first, second = write_new(tmp_path / "b", b"1"), write_new(tmp_path / "b", b"2")
    assert [path.read_bytes() for path in (tmp_path / "a", first, second)] == [b"new", b"1", b"2"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_that_comes_while_another_is_written_stays(tmp_path: Path) -> None:
    def write_slowly() -> None:
        with new_file(tmp_path / "a.zip") as file:
            file.write(b"ours")
            (tmp_path / "a.zip").write_bytes(b"theirs")

    with pytest.raises(EarmarkError, match=r"a\.zip is there already"):
        write_slowly()
    assert (tmp_path / "a.zip").read_bytes() == b"theirs"
    assert len(list(tmp_path.iterdir())) == 1
