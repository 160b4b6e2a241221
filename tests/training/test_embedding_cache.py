"""The cache saves work and nothing else: whatever becomes of its file, a training gives the same model."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earmark import Project
from earmark.clips.folders import by_content
from earmark.models.network import Network
from earmark.training.embedding_cache import KEPT_SECONDS, EmbeddingCache, cache_key
from earmark.training.heads import HeadOptions
from earmark.training.transfer import TaughtClip, Trained, TransferOptions, train_transfer
from tests import chirps
from tests.budget import budget
from tests.small_base import small_base

Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def own_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Leave the cache of whoever runs the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("user cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "embeddings.sqlite"


def some_entries(count: int = 3, seed: int = 0) -> dict[str, Array]:
    random_ = np.random.default_rng(seed)
    return {
        cache_key(seed, number): random_.normal(0, 1, (number % 4 + 1, 96)).astype(np.float32)
        for number in range(count)
    }


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], value)


# Keeping


@budget(30)
@given(st.dictionaries(st.text(), arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9))), max_size=9))
def test_what_is_kept_comes_back_to_the_last_bit(entries: dict[str, Array]) -> None:
    entries = {cache_key(key): value for key, value in entries.items()}
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Path(folder) / "embeddings.sqlite")
        assert cache.get(entries) == {}
        cache.put(entries)
        found = EmbeddingCache(Path(folder) / "embeddings.sqlite").get([*entries, cache_key("another", "one")])
    assert {key: value.tobytes() for key, value in found.items()} == {
        key: value.tobytes() for key, value in entries.items()
    }
    assert all(found[key].shape == value.shape for key, value in entries.items())


def test_there_may_be_thousands(file: Path) -> None:
    entries = some_entries(3_000)
    cache = EmbeddingCache(file)
    cache.put(entries)
    assert_same(cache.get(entries), entries)
    assert_same(cache.get(list(entries)[1_200:1_203]), dict(list(entries.items())[1_200:1_203]))


def test_a_key_kept_again_has_its_last_value(file: Path) -> None:
    cache, (key, *_) = EmbeddingCache(file), some_entries()
    for value in (np.zeros((1, 2), np.float32), np.ones((3, 4), np.float32)):
        cache.put({key: value})
    assert_same(cache.get([key]), {key: np.ones((3, 4), np.float32)})


def test_without_a_file_nothing_is_kept() -> None:
    cache = EmbeddingCache(None)
    cache.put(some_entries())
    assert cache.get(some_entries()) == {}


def test_to_ask_makes_no_file(file: Path) -> None:
    assert EmbeddingCache(file).get(["x"]) == {}
    assert not file.parent.exists()


def test_what_nobody_has_asked_for_in_a_month_is_forgotten(file: Path) -> None:
    cache = EmbeddingCache(file)
    old, used, new = (some_entries(2, seed) for seed in range(3))
    cache.put(old | used)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE embeddings SET used = ?", (int(time.time()) - KEPT_SECONDS - 100,))
    cache.put(new, used=used)
    assert_same(cache.get(old | used | new), used | new)


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_keys_of_other_parts_are_others(parts: list[str], others: list[str]) -> None:
    plain = [[part.replace("\n", " ") for part in side] for side in (parts, others)]
    assert (cache_key(*plain[0]) == cache_key(*plain[1])) == (plain[0] == plain[1])


# Damage


def empty(file: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path) -> None:
    file.write_bytes(random.Random(0).randbytes(50_000))


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def zeros_amid(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3 : 2 * len(content) // 3] = bytes(len(content) // 3)
    file.write_bytes(content)


def foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE songs (title TEXT)")


def of_another_time(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE embeddings (key TEXT PRIMARY KEY, windows INTEGER, value BLOB, used INTEGER)")


def values_of_other_kinds(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE embeddings SET windows = NULL, value = 'text'")


def other_values(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE embeddings SET value = zeroblob(length(value))")


def a_folder(file: Path) -> None:
    file.unlink()
    (file / "inside").mkdir(parents=True)


def no_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def a_file_for_the_folder(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_bytes(b"")


def a_link_to_nowhere(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent / "nowhere" / "else")


DAMAGES = (
    empty, garbage, truncated, zeros_amid, foreign, of_another_time, values_of_other_kinds, other_values, a_folder,
    no_folder, a_file_for_the_folder, a_link_to_nowhere,
)  # fmt: skip
LASTING = (a_folder, a_file_for_the_folder)  # what isn't ours stays, and nothing is kept
EVERY_DAMAGE = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


@EVERY_DAMAGE
def test_a_damaged_file_is_as_good_as_none(file: Path, damage: Callable[[Path], None]) -> None:
    entries = some_entries(100)
    EmbeddingCache(file).put(entries)
    damage(file)
    cache = EmbeddingCache(file)
    found = cache.get(entries)
    assert_same(found, {key: entries[key] for key in found})
    for _ in range(2):  # the first may find that the file must go
        cache.put(entries)
    assert_same(cache.get(entries), {} if damage in LASTING else entries)


def test_no_changed_byte_gives_another_value(file: Path) -> None:
    entries = some_entries(12)
    EmbeddingCache(file).put(entries)
    content, choose = file.read_bytes(), random.Random(1)
    lost = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        file.write_bytes(damaged)
        found = EmbeddingCache(file).get(entries)
        assert_same(found, {key: entries[key] for key in found})
        lost += len(found) < len(entries)
    assert lost > 50


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """With the rights of a plain user: root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.parametrize(("rights", "is_readable"), [(0o555, True), (0o000, False)])
def test_a_folder_that_may_not_be_written_or_entered_is_left_alone(rights: int, is_readable: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be entered by its owner alone
        file = Path(folder) / "cache" / "embeddings.sqlite"
        entries, more = some_entries(), some_entries(3, seed=1)
        EmbeddingCache(file).put(entries)
        Path(folder).chmod(0o755)
        file.chmod(0o444)
        file.parent.chmod(rights)
        try:
            with as_somebody_else():
                cache = EmbeddingCache(file)
                assert_same(cache.get(entries), entries if is_readable else {})
                cache.put(more, used=entries)
                assert_same(cache.get(entries | more), entries if is_readable else {})
        finally:
            file.parent.chmod(0o755)
        assert_same(EmbeddingCache(file).get(entries), entries)


# Training


class Counting(Network):
    """A base that counts what it embeds, and may do something else before."""

    def __init__(self, model: bytes, before: Callable[[], object] = lambda: None) -> None:
        super().__init__(model)
        self.windows, self._before, self._lock = 0, before, threading.Lock()

    def embed_windows(self, windows: Array) -> Array:
        with self._lock:  # recordings are embedded on several threads
            self._before()
            self.windows += len(windows)
        return super().embed_windows(windows)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Six recordings, a window each."""
    project = Project(tmp_path / "project", create=True, mode="words")
    for word in ("high", "bounce"):
        for take in range(3):
            project.add(word, chirps.word(word, take=take), chirps.RATE, name=f"{take}")
    return project


def train(
    project: Project,
    cache: EmbeddingCache,
    base: Network | None = None,
    *,
    name: str = "m",
    open_set: bool = False,
    **options: Any,
) -> Trained:
    key_frames = project.key_frames()
    return train_transfer(
        base or Network(small_base()),
        # As a project learns from them: label by label, in the order of what they hold.
        [TaughtClip(clip, key_frames.get(clip.id)) for x in project.labels for clip in by_content(project.clips(x))],
        project.labels, TransferOptions(open_set=open_set, **options), HeadOptions(epochs=3), name=name, cache=cache,
    )  # fmt: skip


def embedded(project: Project, file: Path, **options: Any) -> int:
    """How many windows a training embeds anew; its model is checked to be the one that needs no cache."""
    base = Counting(small_base())
    trained = train(project, EmbeddingCache(file), base, **options)
    assert trained == train(project, EmbeddingCache(None), **options)
    return base.windows


def test_a_second_training_embeds_nothing(
    project: Project, file: Path, own_user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded(project, file) == 6
    assert embedded(project, file) == 0
    assert embedded(project, file, validation_split=0.5) == 0
    shutil.rmtree(own_user_cache)
    monkeypatch.setattr("earmark.training.transfer._made", {})  # what tests before this one made
    base = Counting(small_base())
    train(project, EmbeddingCache(file), base, open_set=True)
    assert base.windows > 400, "noises and words that come with Earmark"
    embedded_once = base.windows
    train(project, EmbeddingCache(file), base, open_set=True)
    assert base.windows == embedded_once


def test_a_project_keeps_its_own_cache_which_may_be_deleted(project: Project) -> None:
    first = project.train(Network(small_base()), open_set=False, epochs=3)
    base = Counting(small_base())
    assert project.train(base, open_set=False, epochs=3).content == first.content
    assert base.windows == 0
    shutil.rmtree(project.path / ".cache")
    assert project.train(base, open_set=False, epochs=3).content == first.content
    assert base.windows == 6
    assert len(project.clips()) == 6


def test_a_changed_or_new_recording_is_embedded_and_no_other(project: Project, file: Path) -> None:
    embedded(project, file)
    clip = project.clips("high")[1]
    chirps.save(clip.path, chirps.word("high", take=50))
    assert embedded(project, file) == 1
    project.add("bounce", chirps.word("bounce", take=60), chirps.RATE)
    assert embedded(project, file) == 1
    project.remove_clip(project.clips("high")[0])
    assert embedded(project, file) == 0


def test_a_recording_of_the_same_size_and_another_time_is_another(project: Project, file: Path) -> None:
    clip = project.clips("high")[0]
    chirps.save(clip.path.with_suffix(".wav"), chirps.word("high", take=70))
    clip.path.unlink()
    embedded(project, file)
    (wav,) = [one for one in project.clips("high") if one.path.suffix == ".wav"]
    size, changed = wav.state
    chirps.save(wav.path, chirps.word("rise", take=71))
    os.utime(wav.path, ns=(changed + 1, changed + 1))
    assert wav.path.stat().st_size == size
    assert embedded(project, file) == 1


def test_recordings_that_swap_their_places_are_not_confused(project: Project, file: Path) -> None:
    embedded(project, file)
    one, other = (project.clips(word)[0].path for word in ("high", "bounce"))
    aside = project.path / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    assert embedded(project, file) == 2  # their models are compared in there
    project.move_clip(project.clips("high")[1], "bounce")
    embedded(project, file)
    project.change_label("bounce", new_name="jump")
    embedded(project, file)


def test_other_windows_of_a_recording_are_embedded(project: Project, file: Path) -> None:
    project.add("high", np.pad(chirps.word("high"), chirps.RATE), chirps.RATE, name="long")
    assert embedded(project, file) == 7
    (clip,) = [one for one in project.clips() if one.seconds > 2]
    project.set_key_frame(clip, 20)
    assert embedded(project, file) == 1
    assert embedded(project, file, window_hop_ratio=0.1) > 7
    assert embedded(project, file, augment_by_mixing_noise_ratio=0.2) == 7
    assert embedded(project, file, augment_by_mixing_noise_ratio=0.3) == 7
    assert embedded(project, file, augment_by_mixing_noise_ratio=0.3) == 0
    project.set_key_frame(clip, None)
    assert embedded(project, file) == 0


def test_each_base_has_its_own(project: Project, file: Path) -> None:
    assert embedded(project, file) == 6
    for model in (small_base(bias=0.1), small_base("Tanh"), small_base(scores=False)):
        base = Counting(model)
        assert train(project, EmbeddingCache(file), base) == train(project, EmbeddingCache(None), Network(model))
        assert base.windows == 6
    assert embedded(project, file) == 0


@pytest.mark.thinned(3)
@EVERY_DAMAGE
def test_a_training_goes_on_whatever_became_of_the_file(
    project: Project, file: Path, damage: Callable[[Path], None]
) -> None:
    assert embedded(project, file) == 6
    damage(file)
    embedded(project, file)  # its model is compared in there
    embedded(project, file)
    assert embedded(project, file) == (6 if damage in LASTING else 0)


@pytest.mark.parametrize("damage", [no_folder, garbage, a_folder, foreign], ids=lambda damage: damage.__name__)
def test_a_training_goes_on_when_the_file_is_deleted_or_damaged_meanwhile(
    project: Project, file: Path, damage: Callable[[Path], None]
) -> None:
    expected = train(project, EmbeddingCache(None))
    EmbeddingCache(file).put(some_entries())

    def damage_it() -> None:
        if file.is_file():
            damage(file)

    assert train(project, EmbeddingCache(file), Counting(small_base(), damage_it)) == expected
    assert embedded(project, file) in (0, 6)


def test_what_was_embedded_is_kept_where_a_training_is_broken_off(project: Project, file: Path) -> None:
    def stop(_: str, done: int, total: int) -> None:
        if done < total:
            raise KeyboardInterrupt

    for take in range(3, 80):
        project.add("high", chirps.word("high", take=take), chirps.RATE, name=f"{take}")
    clips = [TaughtClip(clip) for clip in project.clips()]
    with pytest.raises(KeyboardInterrupt):
        train_transfer(
            Network(small_base()), clips, project.labels, TransferOptions(open_set=False), HeadOptions(epochs=1),
            name="m", cache=EmbeddingCache(file), report=stop,
        )  # fmt: skip
    assert 0 < embedded(project, file) < len(clips)


TRAINING = """if True:
    import sys
    from pathlib import Path
    from earmark import Project
    from earmark.models.network import Network
    project, base, name = Project(sys.argv[1]), Network(Path(sys.argv[2]).read_bytes()), sys.argv[3]
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(1, 5):
        recognizer = project.train(base, name=name, open_set=False, epochs=3, window_hop_ratio=number / 10)
        (project.path / f"{name} {number}.onnx").write_bytes(recognizer.content)
"""


def test_two_processes_may_train_at_once(project: Project, tmp_path: Path) -> None:
    for word in ("high", "bounce"):
        project.add(word, np.pad(chirps.word(word, take=9), chirps.RATE), chirps.RATE)
    (tmp_path / "base.onnx").write_bytes(small_base())
    command = [sys.executable, "-c", TRAINING, str(project.path), str(tmp_path / "base.onnx")]
    processes = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        print("go", file=process.stdin, flush=True)
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    for number in range(1, 5):
        for name in ("one", "two"):
            expected = train(project, EmbeddingCache(None), name=name, window_hop_ratio=number / 10)
            assert (project.path / f"{name} {number}.onnx").read_bytes() == expected.model
    assert embedded(project, project.path / ".cache" / "embeddings.sqlite", window_hop_ratio=0.1) == 0
