"""Where the samples of a sound file lie, by its header and by its size, in the containers that hold sizes.

A header may be wrong about the samples: a recorder that lost power has written 0, one that wrote to a pipe 0xFFFFFFFF,
one that went on for more than 4 GiB the size modulo 2³², and a copy that was cut off holds less than it says.

Sources: Microsoft and IBM, "Multimedia Programming Interface and Data Specifications 1.0" (RIFF); EBU Tech 3306 (RF64);
ITU-R BS.2088 (BW64); Sony, "Sony Wave64"; Apple, "Audio Interchange File Format" (AIFF, AIFC) and "Core Audio Format
Specification" (CAF); Sun, the manual page audio(5) (AU).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Protocol

FIELD_32 = 0xFFFFFFFF  # the largest size that 32 bits hold; it also stands for a size that isn't known
OPEN = 0x1000  # sizes that far below 2³¹ and 2³² are those of programs that write to a pipe, too (SoX, arecord, FFmpeg)
SLOPPY = 64  # bytes; some writers count the header, or a byte that fills up
MOST_CHUNKS = 1_000  # that are looked at
_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of Wave64's chunks, after a name of four letters
# What may follow the samples: chunks of WAV, AIFF and CAF, and tags that players add.
_NAMES = (
    b"LISTlistJUNKjunkPAD FLLRfreefactbextcue smplinstINSTacidPEAKpeakiXMLaxmlaXMLid3 ID3 umidafspAFspwamdguanDISP"
    b"elm1levlminfregnSAURcartlinkchna_PMXplstMARKmarkMIDImidiNAMEAUTHANNO(c) COMTAPPLCHANchanCOMMFVERSAXLAESDinfo"
    b"paktstrguuidkukiovvwedctdata"
)
_KNOWN = frozenset(_NAMES[at : at + 4] for at in range(0, len(_NAMES), 4))
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


class Readable(Protocol):
    """A file that can be read anywhere."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


@dataclass(frozen=True)
class Extent:
    """Where the samples lie. All numbers are bytes.

    Attributes:
        start: the position of the first sample in the file.
        stated: the samples' size by the header; None if the header leaves it open.
        there: how much of them is in the file.
        field: the position of the size's field.
        packing: how the field is packed, as in `struct`.
        besides: what the field counts besides the samples.
    """

    start: int
    stated: int | None
    there: int
    field: int
    packing: str
    besides: int = 0

    @property
    def is_right(self) -> bool:
        """Whether the header says how much is there."""
        return self.stated == self.there

    @property
    def is_cut_off(self) -> bool:
        """Whether the file ends before its samples do."""
        return self.stated is not None and self.stated > self.there + SLOPPY

    @property
    def true_field(self) -> bytes:
        """The field as it should be; where 32 bits don't hold the size, the largest that they hold."""
        most = (1 << 8 * struct.calcsize(self.packing)) - 1
        return struct.pack(self.packing, min(self.there + self.besides, most))


@dataclass(frozen=True)
class _Layout:
    """How a container's chunks are laid out.

    Attributes:
        head: a chunk's name and size.
        first: where the first chunk begins.
        name: of the chunk that holds the samples.
        before: bytes of that chunk before the samples.
        align: the multiple at which chunks begin.
        counts_head: whether a size counts the chunk's name and size, too.
    """

    head: struct.Struct
    first: int
    name: bytes
    before: int = 0
    align: int = 2
    counts_head: bool = False

    @property
    def packing(self) -> str:
        return self.head.format[0] + self.head.format[-1]

    @property
    def besides(self) -> int:
        return self.before + (self.head.size if self.counts_head else 0)


def data_extent(file: Readable) -> Extent | None:
    """Where a file's samples lie; None for other containers, and for headers that are no whole ones."""
    file.seek(0)
    start = file.read(40)
    size = file.seek(0, io.SEEK_END)
    kind, form = start[:4], start[8:12]
    if kind in (b"RIFF", b"RIFX", b"RF64", b"BW64") and form == b"WAVE":
        order = ">" if kind == b"RIFX" else "<"
        return _Chunks(file, size, _Layout(struct.Struct(order + "4sI"), 12, b"data")).extent()
    if kind == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _Chunks(file, size, _Layout(struct.Struct(">4sI"), 12, b"SSND", before=8)).extent()
    if kind == b"caff":
        return _Chunks(file, size, _Layout(struct.Struct(">4sQ"), 8, b"data", before=4, align=1)).extent()
    if kind == b"riff" and start[24:28] == b"wave":
        layout = _Layout(struct.Struct("<16sQ"), 40, b"data" + _GUID, align=8, counts_head=True)
        return _Chunks(file, size, layout).extent()
    if kind in (b".snd", b"dns.") and len(start) >= 12:
        packing = ">I" if kind == b".snd" else "<I"
        at, stated = (struct.unpack_from(packing, start, field)[0] for field in (4, 8))
        if 24 <= at <= size:
            rest = size - at
            is_tag = stated < rest and _at(file, at + stated, 16).startswith(_TAGS)
            return Extent(at, _known(stated, FIELD_32), stated if is_tag else rest, 8, packing)
    return None


class _Chunks:
    """A file of chunks.

    Args:
        file: the file.
        size: its size in bytes.
        layout: of its chunks.
    """

    def __init__(self, file: Readable, size: int, layout: _Layout) -> None:
        self._file, self._size, self._layout = file, size, layout

    def extent(self) -> Extent | None:
        """Where the samples lie; None where no chunk has any."""
        layout, at = self._layout, self._layout.first
        long_sizes: int | None = None  # where RF64 has the size of the samples
        for _ in range(MOST_CHUNKS):
            if (chunk := self._chunk(at)) is None:
                return None
            name, size = chunk
            body = at + layout.head.size
            if name == layout.name:
                return self._of_samples(at, size, long_sizes)
            if name == b"ds64":
                long_sizes = body + 8
            at = self._end(at, size)
        return None

    def _of_samples(self, at: int, size: int, long_sizes: int | None) -> Extent | None:
        layout = self._layout
        field, packing, before = at + layout.head.size - struct.calcsize(layout.packing), layout.packing, layout.before
        if long_sizes is not None and size == FIELD_32:
            field, packing = long_sizes, "<Q"
            if len(packed := _at(self._file, field, 8)) < 8:
                return None
            (size,) = struct.unpack(packing, packed)
        start = at + layout.head.size + before
        if layout.name == b"SSND":
            offset = _at(self._file, start - before, 4)
            if len(offset) < 4 or (skipped := struct.unpack(">I", offset)[0]) > self._size - start:
                return None
            start, before = start + skipped, before + skipped
        besides = before + layout.besides - layout.before
        rest = self._size - start
        if rest < 0:
            return None
        most = (1 << 8 * struct.calcsize(packing)) - 1
        stated = _known(size, most)
        stated = None if stated is None else max(0, stated - besides)
        return Extent(start, stated, self._there(start, stated, rest, most), field, packing, besides)

    def _there(self, start: int, stated: int | None, rest: int, most: int) -> int:
        """How many bytes of samples there are, of the `rest` of the file."""
        if stated is None or stated >= rest:
            return rest
        if rest - stated <= SLOPPY:
            return stated
        sizes = range(stated, rest, most + 1)  # as 32 bits hold the size modulo 2³²
        return next((size for size in sizes if self._is_list(start + size)), rest)

    def _is_list(self, at: int) -> bool:
        """Whether other chunks, or a player's tag, come at that position or where the next chunk may begin."""
        return self._begins_list(at) or (at % self._layout.align > 0 and self._begins_list(self._aligned(at)))

    def _begins_list(self, at: int) -> bool:
        begin = _at(self._file, at, 16)
        if begin.startswith(_TAGS) or begin[:4] in _KNOWN:
            return True
        for _ in range(MOST_CHUNKS):  # chunks of any name, to the very end of the file
            if self._size - self._layout.align < at <= self._size + self._layout.align:
                return True
            chunk = self._chunk(at)
            if chunk is None or not all(0x20 <= letter < 0x7F for letter in chunk[0][:4]):
                return False
            at = self._end(at, chunk[1])
        return False

    def _chunk(self, at: int) -> tuple[bytes, int] | None:
        """Name and size of the chunk at that position."""
        packed = _at(self._file, at, self._layout.head.size) if at <= self._size else b""
        if len(packed) < self._layout.head.size:
            return None
        name, size = self._layout.head.unpack(packed)
        return name, size

    def _end(self, at: int, size: int) -> int:
        """Where the next chunk begins."""
        head = self._layout.head.size
        return self._aligned(at + (max(size, head) if self._layout.counts_head else head + size))

    def _aligned(self, at: int) -> int:
        return at + -at % self._layout.align


class MendedFile:
    """A file as it should be: with other bytes at one place, or only a part of it.

    Args:
        file: the file itself.
        start, size: the part to read; by default all.
        at, patch: the position of other bytes, and these.
    """

    def __init__(
        self, file: Readable, start: int = 0, size: int | None = None, *, at: int = 0, patch: bytes = b""
    ) -> None:
        self._file, self._start, self._place, self._patch = file, start, at, patch
        self._size = file.seek(0, io.SEEK_END) - start if size is None else size
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        first, last = max(self._at, self._place), min(self._at + len(data), self._place + len(self._patch))
        if first < last:
            own = self._patch[first - self._place : last - self._place]
            data = data[: first - self._at] + own + data[last - self._at :]
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at


def _known(size: int, most: int) -> int | None:
    """The size that a field gives, or None if it means that the size isn't known."""
    is_open = size > most - OPEN or (most == FIELD_32 and 1 << 31 >= size > (1 << 31) - 1 - OPEN)
    return None if is_open else size


def _at(file: Readable, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
