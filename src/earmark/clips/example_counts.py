"""How many examples recordings of short sounds give. That takes reading them, so the counts are kept in a file.

The file lies in the project's cache and may be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from earmark.clips.folders import ClipFile
from earmark.errors import EarmarkError
from earmark.front_end.examples import SOUND_FRAMES
from earmark.front_end.recordings import read_recording, spectrogram_of
from earmark.front_end.silence import AT_FLOOR, FLOOR_PERCENT, STANDS_OUT, sounding
from earmark.labels import NOISE_LABELS
from earmark.storage.files import make_folder, write_atomically

RULE = [FLOOR_PERCENT, STANDS_OUT, AT_FLOOR, SOUND_FRAMES]  # another rule gives other counts

State = tuple[int, int]


class ExampleCounts:
    """Counts the windows of recordings that hold their sound; see `earmark.front_end.silence`.

    Args:
        file: where the counts are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        self._known: dict[str, tuple[State, int]] | None = None

    def of(self, clips: Sequence[ClipFile]) -> list[int]:
        """How many examples each recording gives; 0 for one that can't be read."""
        with self._lock:
            known = self._read() if self._known is None else self._known
            self._known = known
            new = {clip.id: (clip.state, _count(clip)) for clip in clips if _is_asked(clip) and not _holds(known, clip)}
            known |= new
            if new:
                self._write(known)
            return [known[clip.id][1] if _is_asked(clip) else clip.examples for clip in clips]

    def _read(self) -> dict[str, tuple[State, int]]:
        # Whatever is wrong with the file: it is reckoned anew.
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            values = json.loads(self._file.read_bytes())
            if values["rule"] == RULE:
                return {
                    str(name): ((int(size), int(changed)), int(count))
                    for name, (size, changed, count) in values["counts"].items()
                }
        return {}

    def _write(self, known: dict[str, tuple[State, int]]) -> None:
        counts = {name: [*state, count] for name, (state, count) in known.items()}
        with suppress(EarmarkError):  # a project that can't be written to is counted at each start
            make_folder(self._file.parent)
            write_atomically(self._file, json.dumps({"rule": RULE, "counts": counts}).encode())


def _is_asked(clip: ClipFile) -> bool:
    """Whether only the recording's sound tells how many examples it gives."""
    return clip.examples > 1 and clip.label not in NOISE_LABELS


def _holds(known: dict[str, tuple[State, int]], clip: ClipFile) -> bool:
    return clip.id in known and known[clip.id][0] == clip.state


def _count(clip: ClipFile) -> int:
    try:
        return int(sounding(spectrogram_of(read_recording(clip.path)), SOUND_FRAMES).sum())
    except EarmarkError:  # its header could be read, so that training will say what is wrong
        return 0
