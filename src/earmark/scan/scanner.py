"""What each process of a scan does: it scans one recording after the other, each from start to end."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from earmark.audio.clip import Samples
from earmark.audio.finding import open_sound_file
from earmark.audio.sound_file import CutOffError
from earmark.errors import EarmarkError
from earmark.front_end.frames import Frames, stream_frames
from earmark.recognizer.decisions import Decisions
from earmark.recognizer.detecting import Detector, detect
from earmark.recognizer.recognizer import Recognizer
from earmark.scan.detections import Scanned
from earmark.scan.journal import Failed, Outcome
from earmark.version import __version__

CHUNK_SECONDS = 16.0  # read at a time: enough windows for full batches, but only a few megabytes

# Called with a recording, how many seconds of it were scanned, and what fraction that is; 0 if that isn't known.
OnHeard: TypeAlias = Callable[[str, float, float], object]


@dataclass(frozen=True)
class Task:
    """What a process needs to know to scan recordings.

    Attributes:
        model: the content of the recognizer's ONNX file.
        name: what to call the model in errors.
        overlap_factor: see `Recognizer.stream`.
        options: the options of `Recognizer.decisions`.
    """

    model: bytes
    name: str
    overlap_factor: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Scanner:
    """A recognizer that scans one recording after the other.

    Args:
        task: what to do.
        is_alone: whether other cores would be idle: if so, one thread makes the frames and another scores them.

    Raises:
        EarmarkError: the model can't run, or an option is out of range.
    """

    def __init__(self, task: Task, is_alone: bool = False) -> None:
        self._task, self._is_alone = task, is_alone
        self._recognizer = Recognizer(task.model, task.name)
        self._detector()  # raises now if an option is wrong

    def scan(self, name: str, on_heard: OnHeard | None = None) -> Outcome:
        """Scan a recording to its end, in constant memory.

        Args:
            name: the recording's name, as `find_sound_files` gives it.
            on_heard: called after each part of the recording.
        """
        try:
            with open_sound_file(name, CHUNK_SECONDS) as source:
                seconds, problem = 0.0, None

                def chunks() -> Iterator[Samples]:
                    nonlocal seconds, problem
                    try:
                        for chunk in source:
                            yield chunk
                            seconds += len(chunk) / source.sample_rate
                            if on_heard is not None:
                                on_heard(name, seconds, seconds / source.seconds if source.seconds else 0.0)
                    except CutOffError as error:  # what there is was read
                        problem = str(error)

                detector = self._detector()
                blocks = stream_frames(detector.front_end, chunks(), source.sample_rate)
                detections = list(detect(detector, _ahead(blocks) if self._is_alone else blocks))
                return Scanned(name, seconds, detections, problem)
        except EarmarkError as error:
            return Failed(name, str(error))

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that must be the same for the results to be the same."""
        overlap = self._task.overlap_factor
        return {
            "earmark": __version__,
            "model_sha256": hashlib.sha256(self._task.model).hexdigest(),
            "hop_frames": self._recognizer.hop_frames(overlap),
            **self._decisions().options,
        }

    def _decisions(self) -> Decisions:
        return self._recognizer.decisions(overlap_factor=self._task.overlap_factor, **self._task.options)

    def _detector(self) -> Detector:
        return Detector(self._recognizer, self._decisions(), self._task.overlap_factor)


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _ahead(blocks: Iterable[Frames]) -> Iterator[Frames]:
    """Blocks of frames; another thread makes each while the previous one is in use."""
    left = iter(blocks)
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, left, None)
        while (frames := coming.result()) is not None:
            coming = thread.submit(next, left, None)
            yield frames
