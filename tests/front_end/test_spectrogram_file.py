"""The files of recordings of which only the spectrogram is left."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.front_end.spectrogram_file import (
    MAX_FRAMES,
    as_spectrogram,
    encode_spectrogram,
    is_spectrogram_file,
    read_spectrogram,
    spectrogram_length,
)

LEVELS = np.random.default_rng(0).uniform(-150, -10, (5, 232)).astype(np.float32)
CONTENT = encode_spectrogram(LEVELS)


def saved(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def file_of(header: bytes, data: bytes = LEVELS.tobytes(), version: bytes = b"\x01\x00") -> bytes:
    """A file as NumPy's documentation of the format has it: magic, version, the header's length, header, data."""
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


def header(shape: str = "(5, 232)", descr: str = "'<f4'", order: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()


def refused(data: bytes, folder: Path) -> str:
    """The sentence that a file gets."""
    file = folder / "bad.npy"
    file.write_bytes(data)
    with pytest.raises(EarmarkError) as told:
        read_spectrogram(file, file.name)
    sentence = str(told.value)
    assert sentence.startswith("bad.npy ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# What is read


def test_the_file_is_the_one_that_numpy_saves(tmp_path: Path) -> None:
    assert saved(LEVELS) == CONTENT
    file = tmp_path / "one.npy"
    file.write_bytes(CONTENT)
    np.testing.assert_array_equal(np.load(file, allow_pickle=False), LEVELS)


@pytest.mark.parametrize("frames", [1, 2, 43, 1_000])
def test_what_is_written_is_read_to_the_last_bit(frames: int, tmp_path: Path) -> None:
    levels = np.random.default_rng(frames).uniform(-160, 100, (frames, 232)).astype(np.float32)
    file = tmp_path / "levels.npy"
    file.write_bytes(encode_spectrogram(levels))
    assert file.stat().st_size % 64 == frames * 232 * 4 % 64, "the data are aligned"
    for found in (read_spectrogram(file), read_spectrogram(file.read_bytes(), "levels.npy")):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, levels)
    assert spectrogram_length(file) == frames


def test_the_longest_is_as_long_as_the_longest_clip(tmp_path: Path) -> None:
    assert MAX_FRAMES == 600 * 44_100 // 1_024
    file = tmp_path / "long.npy"
    file.write_bytes(saved(np.zeros((MAX_FRAMES, 232), np.float32)))
    assert spectrogram_length(file) == len(read_spectrogram(file)) == MAX_FRAMES
    file.write_bytes(saved(np.zeros((MAX_FRAMES + 1, 232), np.float32)))
    with pytest.raises(EarmarkError, match=r"long.npy has the shape \(25840, 232\): give 1 to 25,839 frames"):
        spectrogram_length(file)


def test_other_layouts_in_memory_are_written_alike() -> None:
    for same in (np.asfortranarray(LEVELS), LEVELS.astype(">f4"), np.repeat(LEVELS, 2, axis=0)[::2]):
        assert encode_spectrogram(same) == CONTENT


def test_silence_is_raised_to_the_floor(tmp_path: Path) -> None:
    levels = LEVELS.copy()
    levels[0, :3] = -np.inf, -1e30, -160.5
    expected = levels.copy()
    expected[0, :3] = -160
    np.testing.assert_array_equal(as_spectrogram(levels), expected)
    file = tmp_path / "silent.npy"
    file.write_bytes(saved(levels))
    np.testing.assert_array_equal(read_spectrogram(file), expected)


@pytest.mark.parametrize("name", ["a.npy", "a.NPY", "folder/a.b.npy"])
def test_a_spectrogram_is_known_by_its_suffix(name: str) -> None:
    assert is_spectrogram_file(name)
    assert not is_spectrogram_file(name + ".flac")


# What is refused


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (np.zeros((0, 232)), "The spectrogram has the shape (0, 232): give 1 to 25,839 frames (600 s) of 232 levels."),
        (np.zeros((43, 231)), "The spectrogram has the shape (43, 231)"),
        (np.zeros((1, 43, 232)), "The spectrogram has the shape (1, 43, 232)"),
        (np.zeros(232), "The spectrogram has the shape (232,)"),
        (0.0, "The spectrogram has the shape ()"),
        (np.full((2, 232), np.nan), "The spectrogram holds levels that are NaN or above 100: give levels in dB."),
        (np.full((2, 232), np.inf), "The spectrogram holds levels that are NaN or above 100"),
        (np.full((2, 232), 1e300), "The spectrogram holds levels that are NaN or above 100"),
        (np.full((2, 232), 100.1), "The spectrogram holds levels that are NaN or above 100"),
        ("levels", "The spectrogram is no array of numbers"),
        ([[1.0], [1.0, 2.0]], "The spectrogram is no array of numbers"),
        ([[object()] * 232], "The spectrogram is no array of numbers"),
    ],
)
def test_levels_that_no_file_may_hold_are_told(frames: Any, sentence: str) -> None:
    with pytest.raises(EarmarkError) as told:
        as_spectrogram(frames)
    assert sentence in str(told.value)


BAD = {
    "nothing": b"",
    "no magic": b"\x94" + CONTENT[1:],
    "text": b"these are no levels at all",
    "half a header": CONTENT[:40],
    "version 2": b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header())) + header() + LEVELS.tobytes(),
    "version 3": b"\x93NUMPY\x03\x00" + struct.pack("<I", len(header())) + header() + LEVELS.tobytes(),
    "no dictionary": file_of(b"[]\n"),
    "code": file_of(b"__import__('os').system('true')\n"),
    "nested": file_of(b"(" * 9_000 + b")" * 900),
    "a key too many": file_of(b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 232), 'more': 1}\n"),
    "float64": saved(LEVELS.astype(np.float64)),
    "float16": saved(LEVELS.astype(np.float16)),
    "int32": saved(LEVELS.astype(np.int32)),
    "big-endian": saved(LEVELS.astype(">f4")),
    "columns first": saved(np.asfortranarray(LEVELS)),
    "fields": saved(np.zeros(5, [("a", "<f4")])),
    "pickled": saved(np.array([{"a": 1}], object), allow_pickle=True),
    "one dimension": saved(LEVELS[0]),
    "three dimensions": saved(LEVELS[np.newaxis]),
    "other bins": saved(LEVELS[:, :231]),
    "no frames": saved(LEVELS[:0]),
    "minus one frame": file_of(header("(-1, 232)")),
    "a fraction": file_of(header("(5.0, 232)")),
    "10 GB claimed": file_of(header("(10000000, 232)")),
    "more than an integer holds": file_of(header("(" + "9" * 400 + ", 232)")),
    "cut off": CONTENT[:-1],
    "a byte too many": CONTENT + b"\x00",
    "NaN": saved(np.where(np.arange(232) == 7, np.nan, LEVELS).astype(np.float32)),
    "infinite": saved(np.where(np.arange(232) == 7, np.inf, LEVELS).astype(np.float32)),
    "no dB": saved(1e6 * np.ones((5, 232), np.float32)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_none_gets_one_sentence(name: str, tmp_path: Path) -> None:
    sentence = refused(BAD[name], tmp_path)
    if name in ("NaN", "infinite", "no dB"):
        assert sentence == "bad.npy holds levels that are NaN or above 100: give levels in dB."
        assert spectrogram_length(tmp_path / "bad.npy") == 5, "the length needs no look at the levels"
        return
    with pytest.raises(EarmarkError) as told:
        spectrogram_length(tmp_path / "bad.npy")
    assert str(told.value) == sentence


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    refused(saved(np.array([Trap()], object), allow_pickle=True), tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"none.npy does not exist: check the path\.$"):
        read_spectrogram(tmp_path / "none.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(EarmarkError, match=r"folder.npy is a folder: name a file\.$"):
        read_spectrogram(tmp_path / "folder.npy")
    with pytest.raises(EarmarkError, match=r"can't be read"):
        spectrogram_length(tmp_path / "a\x00.npy")


# Whatever comes


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    for content in (data, b"\x93NUMPY\x01\x00" + data, file_of(data)):
        with pytest.raises(EarmarkError):
            read_spectrogram(content, "random.npy")


@given(st.text(alphabet="{}[]()'\"<>f4descrshapefortran_orderTrueFalse0123456789,: L-+*\n", max_size=120))
def test_headers_of_any_kind_are_refused_or_mean_the_levels(text: str) -> None:
    try:
        found = read_spectrogram(file_of(text.encode()), "random.npy")
    except EarmarkError as error:
        assert str(error).startswith("random.npy ")  # noqa: PT017 (whether it is raised is not the question)
    else:
        np.testing.assert_array_equal(found, LEVELS)


@given(
    st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), max_size=6),
    st.lists(st.tuples(st.integers(0, 140), st.integers(0, 255)), max_size=3),
    st.integers(0, 2_000),
)
@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")  # of a header as Python 2 wrote it
def test_damage_of_any_kind_is_told_or_leaves_levels(
    changes: list[tuple[int, int]], in_header: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(CONTENT)
    for at, value in changes + in_header:
        data[at] = value
    content = bytes(data[: len(data) - cut])
    try:
        found = read_spectrogram(content, "damaged.npy")
    except EarmarkError as error:
        assert str(error).startswith("damaged.npy ")  # noqa: PT017
        assert str(error).endswith(".")  # noqa: PT017
    else:
        assert cut == 0
        assert found.shape == LEVELS.shape
        assert found.min() >= -160
        assert found.max() <= 100


@given(st.lists(st.floats(-160, 100, width=32), min_size=232, max_size=232), st.integers(1, 4))
def test_levels_of_any_kind_come_back(levels: list[float], frames: int) -> None:
    array = as_spectrogram([levels] * frames)
    np.testing.assert_array_equal(read_spectrogram(encode_spectrogram(array)), array)
    np.testing.assert_array_equal(array, np.array([levels] * frames, np.float32))
