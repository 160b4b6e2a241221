"""Files that are whole or not there, checked with real kills and a real limit of the disk."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark import EarmarkError
from earmark.files import make_folder, move, write_atomically


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


@pytest.mark.parametrize("target", ["folder", "x" * 300])
def test_what_can_not_be_written_is_told_in_one_sentence_and_changes_nothing(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(EarmarkError, match=rf"{target}.* can't be written \(.+\): free some space or choose a folder"):
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
        from earmark.files import write_atomically
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
        from earmark.files import write_atomically
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
