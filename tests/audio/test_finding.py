"""Recordings by name: on the disk and, by fsspec, in stores; found, and read in constant memory."""

from __future__ import annotations

import gc
import glob
import io
import os
import random
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark import EarmarkError, read_clip
from earmark.audio.clip import Samples
from earmark.audio.compressed_audio import CompressedSource
from earmark.audio.finding import find_sound_files, open_sound_file
from earmark.audio.sources import FileSource
from tests import sounds

fsspec = pytest.importorskip("fsspec", reason="needs the package fsspec: pip install 'earmark[cloud]'")

WHISTLE = (np.round(sounds.whistle(2.5, 1) * 2**15) / 2**15).astype(np.float32)  # which 16 bits hold


def encoded(container: str, samples: Samples = WHISTLE, rate: int = sounds.RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container)
    return buffer.getvalue()


FLAC = encoded("FLAC")
TREE = (
    "a.wav",
    "B.FLAC",
    "day 1/c.mp3",
    "day 1/night/d.m4a",
    "day 1/[x].ogg",
    "day 1/notes.txt",
    "day 1/half.wav.part",
    "day 1/.hidden.wav",
    ".trash/e.wav",
    "z/odd.dat",
)
SOUNDS = ["B.FLAC", "a.wav", "day 1/[x].ogg", "day 1/c.mp3", "day 1/night/d.m4a"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in TREE:
        (tmp_path / "rec" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rec" / name).write_bytes(FLAC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    for name in TREE:
        memory.pipe(f"/bucket/rec/{name}", FLAC)
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def below(folder: str, names: list[str] = SOUNDS) -> list[str]:
    return [folder + name for name in names]


CASES = [
    ("rec", SOUNDS),
    ("rec/", SOUNDS),
    ("rec/day 1", SOUNDS[2:]),
    ("rec/*", SOUNDS),  # as a shell would give it: files, and folders to look into
    ("rec/*.wav", ["a.wav"]),
    ("rec/day*/*.mp3", ["day 1/c.mp3"]),
    ("rec/**/*.m4a", ["day 1/night/d.m4a"]),
    ("rec/**/[a-c].*", ["a.wav", "day 1/c.mp3"]),
    ("rec/**", SOUNDS),
    ("rec/**/*.dat", ["z/odd.dat"]),  # a suffix that is asked for
    ("rec/z/odd.dat", ["z/odd.dat"]),
    ("rec/day 1/.hidden.wav", ["day 1/.hidden.wav"]),
    ("rec/day 1/.h*", ["day 1/.hidden.wav"]),
    ("rec/day 1/half.wav.part", ["day 1/half.wav.part"]),
    ("rec/day 1/[x].ogg", ["day 1/[x].ogg"]),  # the file of that very name
    ("rec/day 1/[[]x].ogg", ["day 1/[x].ogg"]),
]


@pytest.mark.parametrize(("path", "found"), CASES, ids=[path for path, _ in CASES])
def test_files_folders_and_globs_are_found(tree: Path, path: str, found: list[str]) -> None:
    assert find_sound_files([path]) == below("rec/", found)
    assert find_sound_files([f"{tree}/{path}"]) == below(f"{tree}/rec/", found)
    assert find_sound_files([f"./{path}"]) == below("./rec/", found)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("path", "found"), CASES, ids=[path for path, _ in CASES])
def test_stores_are_searched_like_disks(path: str, found: list[str]) -> None:
    assert find_sound_files([f"memory://bucket/{path}"]) == below("memory://bucket/rec/", found)
    chain = f"simplecache::memory://bucket/{path}"
    assert find_sound_files([chain]) == below("simplecache::memory://bucket/rec/", found)


def test_each_file_counts_once_at_its_first_place(tree: Path) -> None:
    paths = ["rec/day 1/c.mp3", "rec/a.wav", "rec", "rec/../rec/a.wav", str(tree / "rec"), "rec/*.wav"]
    assert find_sound_files(paths) == [
        "rec/day 1/c.mp3", "rec/a.wav", "rec/B.FLAC", "rec/day 1/[x].ogg", "rec/day 1/night/d.m4a",
    ]  # fmt: skip


def test_an_object_store_counts_each_file_once(store: Any) -> None:
    paths = ["memory://bucket/rec/a.wav", "memory://bucket/rec/*.wav", "memory://bucket/rec"]
    assert find_sound_files(paths) == [
        f"memory://bucket/rec/{name}"
        for name in ("a.wav", "B.FLAC", "day 1/[x].ogg", "day 1/c.mp3", "day 1/night/d.m4a")
    ]
    assert len(find_sound_files(["memory://"])) == len(find_sound_files(["memory://**"])) == len(SOUNDS)
    assert store.exists("/bucket/rec/a.wav")


def test_the_hidden_folder_itself_may_be_named(tree: Path) -> None:
    assert find_sound_files(["rec/.trash"]) == ["rec/.trash/e.wav"]
    assert find_sound_files([f"{tree}/rec/.trash/*.wav"]) == [f"{tree}/rec/.trash/e.wav"]


def test_links_in_circles_end(tree: Path) -> None:
    for name in ("one", "two", "day 1/three"):
        (tree / "rec" / name).symlink_to(tree / "rec", target_is_directory=True)
    (tree / "rec" / "self").symlink_to("self")
    (tree / "rec" / "lost.wav").symlink_to("nowhere.wav")
    (tree / "rec" / "link.wav").symlink_to("a.wav")
    expected = sorted(os.path.realpath(tree / "rec" / name) for name in SOUNDS)
    for path in ("rec", "rec/**", "rec/**/*.*"):
        assert sorted(map(os.path.realpath, find_sound_files([path]))) == expected
    assert find_sound_files(["rec/one/a.wav"]) == ["rec/one/a.wav"]
    with pytest.raises(EarmarkError, match=r"lost\.wav does not exist"):
        find_sound_files(["rec/lost.wav"])


def test_globs_find_what_pythons_glob_finds(tree: Path) -> None:
    random.seed(1)
    parts = ["*", "**", "day 1", "d*", "rec", "?.wav", "*.*", "[a-z]", "night", "*.flac"]
    compared = 0
    for _ in range(300):
        pattern = "/".join(["rec", *random.choices(parts, k=random.randint(1, 3))])
        found = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 (that one is meant)
        files = {str(path) for path in found if path.is_file() and str(path.relative_to("rec")) in SOUNDS}
        inside = {str(path / name) for path in found if path.is_dir() for name in sounds_below(tree / path)}
        if files | inside:
            assert find_sound_files([pattern]) == sorted(files | inside), pattern
            compared += 1
        else:
            with pytest.raises(EarmarkError, match=r"matches no recordings|does not exist"):
                find_sound_files([pattern])
    assert compared > 50


def sounds_below(folder: Path) -> list[str]:
    root = next(parent for parent in (folder, *folder.parents) if parent.name == "rec")
    paths = [root / name for name in SOUNDS]
    return [path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder)]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("missing.wav", r"^missing\.wav does not exist: "),
        ("rec/*.aiff", r"^rec/\*\.aiff matches no recordings: "),
        ("nowhere/*.wav", r"matches no recordings: "),
        ("rec/z", r"^rec/z holds no recordings: "),
        ("nul\0.wav", "does not exist: "),
        ("", "does not exist: "),
        ("memory://bucket/missing.wav", r"^memory://bucket/missing\.wav was not found: "),
        ("memory://bucket/*.wav", r"^memory://bucket/\*\.wav matches no recordings: "),
        ("memory://bucket/rec/z", r"^memory://bucket/rec/z holds no recordings: "),
        ("unheardof://bucket/a.wav", r"^unheardof://bucket/a\.wav can't be read \(Protocol not known"),
    ],
)
def test_a_path_that_names_nothing_is_told(tree: Path, store: Any, path: str, said: str) -> None:
    assert tree.is_dir()
    assert store.exists("/bucket")
    with pytest.raises(EarmarkError, match=said) as caught:
        find_sound_files(["rec", path])
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_read_is_told(tree: Path) -> None:
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("nothing is closed to this user")
    (tree / "rec" / "day 1").chmod(0)
    try:
        with pytest.raises(EarmarkError, match=r"rec/day 1 can't be read \(Permission denied\)"):
            find_sound_files(["rec"])
    finally:
        (tree / "rec" / "day 1").chmod(0o755)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if "s3fs" not in sys.modules:
        monkeypatch.setitem(sys.modules, "s3fs", None)
        for ask in (find_sound_files, lambda paths: open_sound_file(paths[0])):
            with pytest.raises(EarmarkError, match=r"^s3://bucket/a\.wav needs another package: .*s3fs"):
                ask(["s3://bucket/a.wav"])
    for name in [name for name in sys.modules if name.split(".")[0] == "fsspec"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        EarmarkError, match=r"needs the package fsspec\S*: install it with `pip install 'earmark\[cloud\]"
    ):
        find_sound_files(["memory://bucket"])


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_stored_file_sounds_as_a_local_one(tmp_path: Path, store: Any, container: str) -> None:
    file = tmp_path / f"a.{container.lower()}"
    file.write_bytes(encoded(container))
    store.pipe("/bucket/a", file.read_bytes())
    expected = read_clip(file)
    for name in (str(file), "memory://bucket/a"):
        with open_sound_file(name) as source:
            assert (source.name, source.sample_rate, source.seconds) == (name, sounds.RATE, expected.seconds)
            chunks = list(source)
            np.testing.assert_array_equal(np.concatenate(chunks), expected.samples)
            assert len(chunks) > 1
            np.testing.assert_array_equal(np.concatenate(list(source)), expected.samples, "read again")
        with open_sound_file(name, 16) as source:
            assert [len(chunk) for chunk in source] == [len(expected.samples)]


def test_a_file_in_an_archive_in_a_store_is_read(store: Any) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in/a.wav", encoded("WAV"))
        archive.writestr("b.flac", FLAC)
    store.pipe("/bucket/all.zip", buffer.getvalue())
    names = find_sound_files(["zip://::memory://bucket/all.zip"])
    assert names == ["zip://b.flac::memory://bucket/all.zip", "zip://in/a.wav::memory://bucket/all.zip"]
    assert find_sound_files(["zip://in/*.wav::memory://bucket/all.zip"]) == names[1:]
    for name in names:
        with open_sound_file(name) as source:
            gc.collect()  # the archive stays open while its file is
            np.testing.assert_array_equal(np.concatenate(list(source)), read_clip(FLAC).samples)


class Failing(io.BytesIO):
    """A remote file whose connection goes after so many bytes."""

    def __init__(self, data: bytes, after: int, error: BaseException) -> None:
        super().__init__(data)
        self._after, self._error = after, error

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self._after:
            raise self._error
        return super().read(size)


def m4a() -> bytes:
    av = pytest.importorskip("av", reason="needs the package av: pip install 'earmark[webm]'")
    buffer = io.BytesIO()
    with av.open(buffer, "w", "matroska") as file:
        stream = file.add_stream("flac", rate=sounds.RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(WHISTLE.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate, frame.pts = sounds.RATE, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


SOURCES: dict[str, Callable[[Any], FileSource | CompressedSource]] = {
    "libsndfile": lambda file: FileSource(file, name="s3://bucket/a"),
    "ffmpeg": lambda file: CompressedSource(file, "s3://bucket/a"),
}


def data_for(kind: str) -> bytes:
    return encoded("WAV") if kind == "libsndfile" else m4a()


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_store_that_goes_away_is_told_and_its_file_closed(
    capfd: pytest.CaptureFixture[str], kind: str, share: float
) -> None:
    data = data_for(kind)
    file = Failing(data, int(share * len(data)), TimeoutError("no answer\nfor 30 s"))
    said = r"^s3://bucket/a can't be read \(no answer for 30 s\): check "
    with pytest.raises(EarmarkError, match=said), SOURCES[kind](file) as source:
        list(source)
    assert file.closed
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", SOURCES)
def test_ctrl_c_while_a_store_is_read_is_not_lost(kind: str) -> None:
    data = data_for(kind)
    file = Failing(data, len(data) // 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), SOURCES[kind](file) as source:
        list(source)
    assert file.closed


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_may_be_closed_in_the_midst_of_a_read(kind: str) -> None:
    """As a signal's handler does: it runs between two steps of Python, within the decoder's callback too."""
    closing: list[Any] = []

    class Closing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            while closing:
                closing.pop().close()
            return super().read(size)

    file = Closing(data_for(kind))
    source = SOURCES[kind](file)
    closing.append(source)
    assert sum(map(len, source)) < len(WHISTLE), "it ends early"
    assert file.closed
    source.close()
    with pytest.raises(EarmarkError, match="is closed: open it again"):
        list(source)


@pytest.mark.parametrize("kind", SOURCES)
def test_another_thread_may_close_a_source(kind: str) -> None:
    source = SOURCES[kind](io.BytesIO(data_for(kind)))
    chunks = iter(source)
    next(chunks)
    thread = threading.Thread(target=source.close)
    thread.start()
    thread.join()
    assert list(chunks) == []


@pytest.mark.parametrize("kind", SOURCES)
def test_a_stored_file_is_closed_with_its_source(kind: str) -> None:
    file = io.BytesIO(data_for(kind))
    with SOURCES[kind](file) as source:
        np.testing.assert_array_equal(np.concatenate(list(source)), read_clip(encoded("WAV")).samples)
    assert file.closed
    junk = io.BytesIO(b"no sound at all")
    with pytest.raises(EarmarkError, match=r"^s3://bucket/a is "):
        SOURCES[kind](junk)
    assert junk.closed


@pytest.mark.parametrize("place", ["{tree}/", "memory://bucket/"])
def test_what_cannot_be_opened_is_told(tree: Path, store: Any, place: str) -> None:
    contents = {
        "empty.wav": b"",
        "text.wav": b"Dear reader,",
        "cut.flac": FLAC[: len(FLAC) // 2],
        "a.webm": b"\x1a\x45\xdf\xa3",
    }
    for name, content in contents.items():
        (tree / name).write_bytes(content)
        store.pipe(f"/bucket/{name}", content)
    for name in [*contents, "missing.wav"]:
        full = place.format(tree=tree) + name
        with pytest.raises(EarmarkError) as caught, open_sound_file(full) as source:
            list(source)
        assert str(caught.value).startswith(f"{full} ")
        assert "\n" not in str(caught.value)


def test_long_recordings_take_constant_memory(tmp_path: Path, store: Any) -> None:
    """Ten minutes of 8 channels at 192 kHz would be 3.7 GB of floats; a minute stands for them."""
    peaks = []
    for seconds in (4, 40):
        file = tmp_path / f"{seconds}.wav"
        with soundfile.SoundFile(file, "w", 192_000, 8, "PCM_16") as sound:
            for _ in range(seconds):
                sound.write(np.zeros((192_000, 8), np.int16))
        store.put(str(file), "/bucket/long.wav")
        for name in (str(file), "memory://bucket/long.wav"):
            with open_sound_file(name, 16) as source:
                tracemalloc.start()
                assert sum(len(chunk) for chunk in source) == seconds * 192_000
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        file.unlink()
    assert max(peaks) < 16 << 20
    assert max(peaks[2:]) < 1.5 * max(peaks[:2])


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "GSM610"), ("AU", "G721_32")])
def test_codecs_that_cannot_seek_are_read_and_read_again(
    tmp_path: Path, store: Any, container: str, subtype: str
) -> None:
    """GSM is how telephone systems keep calls."""
    path = tmp_path / "call"
    soundfile.write(path, sounds.whistle(2, 1), 8_000, format=container, subtype=subtype)
    expected = read_clip(path).samples
    store.pipe("/calls/call.wav", path.read_bytes())
    for name in (str(path), "memory://calls/call.wav"):
        with open_sound_file(name) as source:
            for _ in range(2):
                np.testing.assert_array_equal(np.concatenate(list(source)), expected)
    assert len(expected) >= 2 * sounds.RATE
