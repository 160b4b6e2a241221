"""Detections as sound files: each is cut from its stream, with what is around it, into a folder of its label.

`earmark import` takes such folders, after somebody has sorted them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath

import numpy as np

from earmark.audio.clip import Clip, Samples, encode_flac, longest_clip
from earmark.audio.sources import Source
from earmark.errors import EarmarkError
from earmark.labels import file_stem, label_folder
from earmark.recognizer.decisions import Detection
from earmark.storage.files import make_folder, write_atomically

MARGIN_SECONDS = 0.5  # before and after a detection
KEPT_SECONDS = 120.0  # of a live stream, for detections that come when their sound has ended


@dataclass
class _Cut:
    """A detection to be cut, from its first sample, and to its last one if the stream goes on for so long."""

    detection: Detection
    first: int
    last: int


class Cutter:
    """Cuts detections out of a stream. Give it the stream's chunks and its detections, in any order.

    Files are named by the stream and the second at which the detection begins. A file of that name is replaced, so that
    the same recording, cut once more, leaves no copies. A detection that is longer than a clip may be becomes several
    files.

    Args:
        folder: where the labels' folders go.
        stem: what the files' names begin with.
        sample_rate: the stream's, in Hz.
        margin: seconds of sound before and after a detection.
        kept: how many seconds of the stream to remember, for detections that come later than their sound.

    Raises:
        EarmarkError: the margin is out of range.
    """

    def __init__(
        self, folder: Path, stem: str, sample_rate: int, margin: float = MARGIN_SECONDS, kept: float = 0.0
    ) -> None:
        check_margin(margin)
        self._folder, self._stem, self._rate, self._margin = folder, file_stem(stem), sample_rate, margin
        self._kept = round(kept * sample_rate)
        self._chunks: deque[Samples] = deque()
        self._first = self._end = 0  # what the chunks hold, in samples of the stream
        self._cuts: list[_Cut] = []

    def cut(self, detection: Detection) -> None:
        """Cut this detection as soon as all of its sound has come.

        Raises:
            EarmarkError: the file can't be written.
        """
        first = round((detection.start - self._margin) * self._rate)
        self._cuts.append(_Cut(detection, max(0, first), round((detection.end + self._margin) * self._rate)))
        self._write_whole()

    def hear(self, chunk: Samples) -> None:
        """Take the stream's next samples.

        Raises:
            EarmarkError: a file can't be written.
        """
        self._chunks.append(chunk)
        self._end += len(chunk)
        self._write_whole()
        wanted = min([self._end - self._kept, *(cut.first for cut in self._cuts)])
        while self._chunks and self._first + len(self._chunks[0]) <= wanted:
            self._first += len(self._chunks.popleft())

    def finish(self) -> None:
        """Write what the end of the stream has cut short.

        Raises:
            EarmarkError: a file can't be written.
        """
        for cut in self._cuts:
            self._write(cut, min(cut.last, self._end))
        self._cuts.clear()

    def _write_whole(self) -> None:
        longest = longest_clip(self._rate)
        for cut in self._cuts:
            while self._end - cut.first >= longest < cut.last - cut.first:
                self._write(cut, cut.first + longest)
                cut.first += longest
            if cut.last <= self._end:
                self._write(cut, cut.last)
        self._cuts = [cut for cut in self._cuts if cut.last > self._end]

    def _write(self, cut: _Cut, last: int) -> None:
        first = max(cut.first, self._first)
        if last <= first:
            return
        parts, start = [], self._first
        for chunk in self._chunks:
            parts.append(chunk[max(0, first - start) : max(0, last - start)])
            start += len(chunk)
        samples = np.concatenate(parts)
        at = max(cut.detection.start, cut.first / self._rate)
        path = self._folder / label_folder(cut.detection.label) / f"{self._stem}-{at:.2f}s.flac"
        make_folder(path.parent)
        write_atomically(path, encode_flac(Clip(samples, self._rate)))


class HeardSource(Source):
    """A source whose chunks a `Cutter` hears, too."""

    def __init__(self, source: Source, cutter: Cutter) -> None:
        self._source, self._cutter = source, cutter
        self.sample_rate, self.name, self.seconds = source.sample_rate, source.name, source.seconds

    def __iter__(self) -> Iterator[Samples]:
        for chunk in self._source:
            self._cutter.hear(chunk)
            yield chunk
        self.overflows = self._source.overflows

    def close(self) -> None:
        self._source.close()


def stream_stem(source: Source) -> str:
    """What the files cut from a source are named by: its file's name, or the time at which it is opened."""
    return f"{datetime.now():%Y-%m-%dT%H-%M-%S}" if source.seconds is None else PurePath(source.name).stem


def check_margin(margin: float) -> None:
    """Refuse a margin that is no time.

    Raises:
        EarmarkError: it is out of range.
    """
    if not (math.isfinite(margin) and 0 <= margin <= KEPT_SECONDS / 2):
        raise EarmarkError(f"The margin is {margin} s: give 0 to {KEPT_SECONDS / 2:.0f} s.")
