"""Headers that are wrong about the samples: all that is there is read, and what is cut off is told."""

import io
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError, Project, read_clip
from earmark.audio.clip import Samples, clip_length, read_parts
from earmark.audio.finding import open_sound_file
from earmark.audio.headers import MendedFile, data_extent
from earmark.audio.sound_file import CutOffError
from earmark.audio.sources import FileSource
from tests import sounds
from tests.budget import budget

WHISTLE = sounds.whistle(0.5, 1)
GIB = 1 << 30
# Container, the position of the field with the size of the samples, how it is packed, and what it counts besides them.
FIELDS = {
    "WAV": (b"data", 4, "<I", 0),
    "RF64": (b"ds64", 16, "<Q", 0),  # EBU Tech 3306: after the chunk's size and the file's
    "W64": (b"data\xf3\xac\xd3\x11", 16, "<Q", 24),
    "AIFF": (b"SSND", 4, ">I", 8),
    "AU": (b".snd", 8, ">I", 0),
    "CAF": (b"data", 4, ">Q", 4),
}
CONTAINERS = [
    (container, subtype, order)
    for container in FIELDS
    for subtype, order in (("PCM_16", "FILE"), ("PCM_24", "FILE"), ("FLOAT", "FILE"), ("ULAW", "FILE"))
]
CONTAINERS += [("AIFF", "PCM_16", "LITTLE"), ("CAF", "PCM_16", "LITTLE"), ("W64", "PCM_U8", "FILE")]
CONTAINERS += [("WAV", "IMA_ADPCM", "FILE"), ("WAV", "GSM610", "FILE"), ("AIFF", "PCM_S8", "FILE")]


def encoded(container: str, subtype: str = "PCM_16", order: str = "FILE", samples: Samples = WHISTLE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sounds.RATE, format=container, subtype=subtype, endian=order)
    return buffer.getvalue()


def with_size(content: bytes, container: str, size: int) -> bytes:
    """The file with that size of the samples in its header; "all ones" where it is -1."""
    name, after, packing, besides = FIELDS[container]
    at = content.index(name) + after
    most = (1 << 8 * struct.calcsize(packing)) - 1
    field = struct.pack(packing, most if size < 0 else min(size + besides if size else 0, most))
    return content[:at] + field + content[at + len(field) :]


def listened(file: Path) -> Samples:
    with FileSource(file) as source:
        return np.concatenate(list(source))


@pytest.mark.parametrize(("container", "subtype", "order"), CONTAINERS)
@pytest.mark.parametrize("size", [0, 2_000, -1])
def test_all_samples_are_read_whatever_size_the_header_gives(
    container: str, subtype: str, order: str, size: int, tmp_path: Path
) -> None:
    content = encoded(container, subtype, order)
    whole = read_clip(content).samples
    wrong = with_size(content, container, size)
    assert wrong != content
    np.testing.assert_array_equal(read_clip(wrong).samples, whole)
    (tmp_path / "a.wav").write_bytes(wrong)
    np.testing.assert_array_equal(listened(tmp_path / "a.wav"), whole)
    assert clip_length(tmp_path / "a.wav") == (len(whole), sounds.RATE)


@pytest.mark.parametrize(("container", "subtype", "order"), CONTAINERS)
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes_and_told(
    container: str, subtype: str, order: str, tmp_path: Path
) -> None:
    content = encoded(container, subtype, order)
    whole = read_clip(content).samples
    file = tmp_path / "a.wav"
    file.write_bytes(content[: len(content) - 3 * len(content) // 5])
    with FileSource(file) as source:
        chunks = []
        with pytest.raises(CutOffError, match=r"a\.wav is cut off, with 0\.[123] s of the 0\.[56] s"):  # noqa: PT012
            for chunk in source:
                chunks.append(chunk)  # noqa: PERF402
    heard = np.concatenate(chunks)
    assert 0.2 < len(heard) / len(whole) <= 0.5
    if "ADPCM" not in subtype and "GSM" not in subtype:  # whose last block is padded
        np.testing.assert_array_equal(heard, whole[: len(heard)])
    for read in (read_clip, clip_length, lambda path: list(read_parts(path.read_bytes(), 60, path.name))):
        with pytest.raises(EarmarkError, match="is cut off"):
            read(file)
    with pytest.raises(EarmarkError, match="is cut off"):
        Project(tmp_path / "project", create=True).add("Whistle", file)
    assert not list(tmp_path.glob("project/clips/*/*"))


@pytest.mark.parametrize("container", FIELDS)
def test_what_follows_the_samples_is_no_sound(container: str) -> None:
    content = encoded(container, samples=WHISTLE[:1001])  # an odd number, for what is filled up
    samples = read_clip(content).samples
    more = {
        "AIFF": b"ANNO" + struct.pack(">I", 2_000) + b"~" * 2_000,
        "CAF": b"info" + struct.pack(">Q", 2_000) + b"~" * 2_000,
        "AU": b"TAG" + b"~" * 125,
        "W64": b"levl\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a" + struct.pack("<Q", 2_024) + b"~" * 2_000,
    }.get(container, b"LIST" + struct.pack("<I", 2_000) + b"~" * 2_000)
    for tail in (more, b"TAG" + b"~" * 125, b"\0"):
        np.testing.assert_array_equal(read_clip(content + tail).samples, samples)
    empty = with_size(content[: data_extent(io.BytesIO(content)).start], container, 0)  # type: ignore[union-attr]
    with pytest.raises(EarmarkError, match="is empty"):
        read_clip(empty)


def sparse(folder: Path, container: str, size: int, field: int, tail: bytes = b"") -> Path:
    """A file of zeros with sound at its very end, and that size in its header; it takes no room on the disk."""
    content = encoded(container)
    extent = data_extent(io.BytesIO(content))
    assert extent is not None
    file = folder / f"long.{container.lower()}"
    with file.open("wb") as opened:
        opened.write(with_size(content, container, field)[: extent.start])
        opened.seek(extent.start + size - extent.there)
        opened.write(content[extent.start : extent.start + extent.there] + tail)
    return file


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU"])  # whose sizes have 32 bits
@pytest.mark.parametrize("field", ["modulo", "unknown", "zero"])
def test_more_than_4_gib_are_read_to_their_end(container: str, field: str, tmp_path: Path) -> None:
    size = 4 * GIB + 100_000
    given = {"modulo": size % 2**32, "unknown": -1, "zero": 0}[field]
    tail = b"" if field != "modulo" or container == "AU" else b"LIST\4\0\0\0abcd"
    with open_sound_file(str(sparse(tmp_path, container, size, given, tail))) as source:
        assert source.seconds == size // 2 / sounds.RATE
        sound = source._sound  # type: ignore[attr-defined]  # reading all 13 hours takes too long here
        sound.seek(size // 2 - len(WHISTLE))
        samples = sound.read(dtype="float32")
    np.testing.assert_array_equal(samples, read_clip(encoded(container)).samples)


@pytest.mark.parametrize("size", [0, 1, 64, 65, 10_000, 2**31 - 1, 2**31, 2**32 - 1])
def test_an_au_or_aiff_file_of_another_order_keeps_it(size: int) -> None:
    for container in ("AU", "AIFF"):
        content = encoded(container, order="LITTLE")
        assert data_extent(io.BytesIO(content)).is_right  # type: ignore[union-attr]
        if container == "AU":
            content = content[:8] + struct.pack("<I", size) + content[12:]
            extent = data_extent(io.BytesIO(content))
            assert extent is not None
            assert extent.there == len(content) - 24


@budget(300)
@given(
    container=st.sampled_from(list(FIELDS)),
    at=st.integers(0, 200),
    other=st.binary(min_size=1, max_size=12),
    cut=st.integers(0, 5_000),
    tail=st.binary(max_size=40),
)
def test_no_header_breaks_the_reading(container: str, at: int, other: bytes, cut: int, tail: bytes) -> None:
    content = encoded(container, samples=WHISTLE[:2_000])
    content = content[:at] + other + content[at + len(other) :]
    content = content[: len(content) - cut] + tail
    extent = data_extent(io.BytesIO(content))
    if extent is not None:
        assert 0 <= extent.start <= extent.start + extent.there <= len(content)
        assert len(extent.true_field) in (4, 8)
    try:
        clip = read_clip(content)
    except EarmarkError:
        return
    assert 0 < len(clip.samples) <= len(content)


@budget(100)
@given(content=st.binary(max_size=400), head=st.sampled_from([b"RIFF", b"RF64", b"FORM", b"caff", b".snd", b"riff"]))
def test_no_bytes_break_the_search_for_samples(content: bytes, head: bytes) -> None:
    forms = {b"RIFF": b"WAVE", b"RF64": b"WAVE", b"FORM": b"AIFF"}
    content = head + content[:4] + forms.get(head, b"") + content[4:]
    extent = data_extent(io.BytesIO(content))
    assert extent is None or extent.start + extent.there <= len(content)


@budget(100)
@given(
    whole=st.binary(min_size=1, max_size=60), at=st.integers(0, 60), patch=st.binary(max_size=8),
    reads=st.lists(st.tuples(st.integers(0, 70), st.integers(-1, 20)), max_size=5),
)  # fmt: skip
def test_a_mended_file_reads_like_one(whole: bytes, at: int, patch: bytes, reads: list[tuple[int, int]]) -> None:
    at = min(at, max(0, len(whole) - len(patch)))
    patch = patch[: len(whole) - at]
    mended, wanted = MendedFile(io.BytesIO(whole), at=at, patch=patch), bytearray(whole)
    wanted[at : at + len(patch)] = patch
    same = io.BytesIO(bytes(wanted))
    for position, size in reads:
        assert mended.seek(position) == same.seek(position)
        assert mended.read(size) == same.read(size)
    part = MendedFile(io.BytesIO(whole), at, len(patch))
    assert part.read() == whole[at : at + len(patch)]


def test_files_close_with_the_source(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        file = Path(folder, "a.wav")
        file.write_bytes(with_size(encoded("WAV"), "WAV", 0))
        source = FileSource(file)
        own = source._sound.own
        source.close()
        assert own.closed
