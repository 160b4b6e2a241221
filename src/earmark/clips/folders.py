"""A project's clips on disk: one folder per label, one file per recording, and a trash for undoing."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import string
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from earmark.errors import EarmarkError
from earmark.front_end.examples import SOUND_FRAMES
from earmark.front_end.recordings import RECORDING_SUFFIXES, Recording, encode_recording, frame_count, recording_length
from earmark.front_end.spectrogram_file import is_spectrogram_file
from earmark.labels import file_stem, label_folder, tidy_label
from earmark.storage.files import free_path, make_folder, move, write_new

TRASH_SECONDS = 30 * 24 * 3600
DOUBT_SECONDS = 7 * 24 * 3600  # from when the clock first says that something is old until it is deleted
OLD = ".old"

Moved = tuple[tuple[Path, Path], ...]  # where each file or folder was, and where it is now


@dataclass(frozen=True)
class ClipFile:
    """A clip in a project.

    Attributes:
        label: the label that its folder stands for.
        path: the file's path.
        seconds: how long it lasts; 0 if it can't be read.
        frames: how many frames its spectrogram has; 0 if it can't be read.
        state: the file's size in bytes and modification time in ns, at the time when the rest was read.
        error: why it can't be read, or None.
        notes: from `add` alone, sentences about a recording that is silent, too quiet, clipped or mostly silence.
    """

    label: str
    path: Path
    seconds: float
    frames: int
    state: tuple[int, int]
    error: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def examples(self) -> int:
        """How many windows for short sounds it has: one a frame. Those that hold its sound are its examples."""
        return max(0, self.frames - SOUND_FRAMES + 1)

    @property
    def has_sound(self) -> bool:
        """Whether it has sound; otherwise only its spectrogram is left."""
        return not is_spectrogram_file(self.path)

    @property
    def id(self) -> str:
        """The clip's name within its project, which stays the same for as long as the clip is where it is."""
        return "/".join(quote(os.fsencode(name), safe=" ") for name in (self.path.parent.name, self.path.name))

    def moved_to(self, label: str) -> ClipFile:
        """The clip as it will be after its label is renamed to that one."""
        return replace(self, label=label, path=self.path.parent.parent / label_folder(label) / self.path.name)


class ClipFolders:
    """`clips/<label>/<clip>` and `.trash/` in a project's folder. Every query reads the disk again.

    Args:
        project: the project's folder.
    """

    def __init__(self, project: Path) -> None:
        self._root, self._trash = project / "clips", project / ".trash"
        self._known: dict[Path, tuple[tuple[int, ...], ClipFile]] = {}

    def create(self) -> None:
        """Create the folder of clips."""
        make_folder(self._root)

    def labels(self) -> list[str]:
        """The labels that have a folder, in the order of the folders' names."""
        return list(self._folders())

    def of(self, label: str) -> list[ClipFile]:
        """A label's clips, in the order of their file names."""
        found = []
        for folder in self._folders().get(label, []):
            for path in _recordings(folder):
                with suppress(FileNotFoundError):  # somebody may delete the file at this very moment
                    found.append(self._clip(label, path))
        self._forget_all_but(label, {clip.path for clip in found})
        return found

    def all_have_sound(self) -> bool:
        """Whether all recordings have sound, none only a spectrogram; the files' names show it."""
        for folder in chain.from_iterable(self._folders().values()):
            with suppress(FileNotFoundError):
                names = filter(is_spectrogram_file, os.listdir(folder))  # noqa: PTH208 (names alone are fast)
                if any(_is_recording(folder / name) for name in names):
                    return False
        return True

    def find(self, clip_id: str) -> ClipFile | None:
        """The clip with that id, found without reading the others."""
        for label, folders in self._folders().items():
            for folder in folders:
                name = os.fsdecode(unquote_to_bytes(clip_id.rpartition("/")[2]))
                path = folder / name
                if path.parent == folder and _is_recording(path) and (clip := self._clip(label, path)).id == clip_id:
                    return clip
        return None

    def write(self, label: str, recording: Recording, name: str) -> ClipFile:
        """Write a recording; if the name is taken, it gets another one. If writing fails, nothing is left of it."""
        data, suffix = encode_recording(recording)
        folder = self._folder(label)
        is_new = not folder.exists()
        make_folder(folder)
        try:
            path = write_new(folder / f"{file_stem(name)}{suffix}", data)
        except EarmarkError:
            if is_new:
                _remove_empty(folder)
            raise
        return self._clip(label, path)

    def discard(self, clip: ClipFile, with_folder: bool = False) -> None:
        """Remove a clip that was just written, and its folder if that is new, after a change that failed midway."""
        with suppress(OSError):
            clip.path.unlink()
        if with_folder:
            _remove_empty(clip.path.parent)

    def as_moved(self, clip: ClipFile, label: str) -> ClipFile:
        """A clip as it will be after it is moved to another label."""
        return replace(clip, label=label, path=free_path(self._folder(label) / clip.path.name))

    def move(self, clip: ClipFile, moved: ClipFile) -> ClipFile:
        """Move a clip to where `as_moved` says."""
        move(clip.path, moved.path)
        return self._clip(moved.label, moved.path)

    def rename(self, label: str, new_label: str) -> None:
        """Give all clips of a label another label, which has no clips yet."""
        for folder in self._folders().get(label, []):
            _merge(folder, self._root / label_folder(new_label))

    def state(self) -> str:
        """A text that changes when a clip's file or a label's folder does, whoever changes it."""
        parts = []
        for folder in chain.from_iterable(self._folders().values()):
            parts.append(folder.name)
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(OSError):  # it may be deleted at this very moment
                        stat = entry.stat()
                        parts.append(f"{entry.name}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}")
        return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()

    def trash(self, clip: ClipFile) -> Moved:
        """Move a clip to the trash."""
        return self._to_trash([clip.path])

    def trash_label(self, label: str) -> Moved:
        """Move a label's whole folder to the trash."""
        return self._to_trash(self._folders().get(label, []))

    def restore(self, moved: Moved) -> None:
        """Bring back what was moved to the trash. Anything that has taken its place meanwhile stays, too.

        Raises:
            EarmarkError: the trash has been emptied since.
        """
        if not all(os.path.lexists(there) for _, there in moved):
            raise EarmarkError("That can't be undone: the trash was emptied.")
        for home, there in moved:
            _merge(there, home)

    def empty_trash(self) -> None:
        """Delete for good what was moved to the trash more than 30 days ago.

        A clock that jumps mustn't empty the trash: what is old gets a mark, and is deleted if it is still old a week
        later.
        """
        marked = {mark.name[1 : -len(OLD)]: mark for mark in self._trash.glob(f".*{OLD}")}
        for entry in [entry for entry in self._trash.glob("*") if entry not in marked.values()]:
            with suppress(OSError):  # what can't be removed now may be removed the next time
                mark = marked.pop(entry.name, None)
                if _age(entry) < TRASH_SECONDS:
                    if mark is not None:
                        mark.unlink()
                elif mark is None:
                    (self._trash / f".{entry.name}{OLD}").touch()
                elif _age(mark) > DOUBT_SECONDS:
                    _remove(entry)
                    mark.unlink()
        for mark in marked.values():
            with suppress(OSError):
                mark.unlink()

    def _folders(self) -> dict[str, list[Path]]:
        """Each label's folders: one, unless somebody has made a second folder that stands for the same label."""
        folders: dict[str, list[Path]] = {}
        for folder in _entries(self._root):
            if not folder.name.startswith(".") and os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir may raise)
                folders.setdefault(tidy_label(folder.name), []).append(folder)
        return folders

    def _folder(self, label: str) -> Path:
        return self._folders().get(label, [self._root / label_folder(label)])[0]

    def _clip(self, label: str, path: Path) -> ClipFile:
        stat = path.stat()
        # A file that replaced another may have the same size and time; a copy often has.
        file = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        known = self._known.get(path)
        if known is None or known[0] != file or known[1].label != label:
            known = self._known[path] = (file, _measure(label, path, (stat.st_size, stat.st_mtime_ns)))
        return known[1]

    def _forget_all_but(self, label: str, there: set[Path]) -> None:
        """Forget clips that are gone: a studio may run for days."""
        for path, (_, clip) in list(self._known.items()):
            if clip.label == label and path not in there:
                self._known.pop(path, None)

    def _to_trash(self, paths: list[Path]) -> Moved:
        entry = self._trash / f"{time.time_ns()}-{random_id()}"
        moved: list[tuple[Path, Path]] = []
        for path in paths:
            there = entry / path.relative_to(self._root)
            try:
                move(path, there)
            except EarmarkError:
                self.restore(tuple(moved))
                raise
            moved.append((path, there))
        return tuple(moved)


def fingerprint(labels: Iterable[str], clips: Iterable[ClipFile]) -> str:
    """A text that changes when one of the labels or clips does."""
    parts = [*labels, *(f"{clip.id}:{clip.state[0]}:{clip.state[1]}" for clip in clips)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def content_hash(clip: ClipFile) -> str:
    """A hash of the clip's file, which is the same for all copies of it, whatever they are called.

    Raises:
        EarmarkError: the file can't be read.
    """
    digest = hashlib.sha256()
    try:
        with clip.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise EarmarkError(f"{clip.path} can't be read ({error.strerror}): check the file.") from error
    return digest.hexdigest()


def by_content(clips: Iterable[ClipFile]) -> list[ClipFile]:
    """Sort clips by their content alone, so that renamed and copied files come in the same order.

    Raises:
        EarmarkError: a file can't be read.
    """
    by_size: defaultdict[int, list[ClipFile]] = defaultdict(list)
    for clip in clips:
        by_size[clip.state[0]].append(clip)
    # Compressed files seldom have the same size, so a file is seldom read for this.
    same = (by_size[size] for size in sorted(by_size))
    return [clip for group in same for clip in (sorted(group, key=content_hash) if len(group) > 1 else group)]


def check_length(recording: Recording) -> None:
    """Refuse a recording that is too short for one example.

    Raises:
        EarmarkError: it is too short.
    """
    if frame_count(recording) < SOUND_FRAMES:
        raise EarmarkError(f"The recording lasts {recording.seconds:.2f} s: make it at least 0.1 s long.")


def recording_name(identity: str | None = None) -> str:
    """A new recording's file name without suffix: the time when it was made, and an id that makes it unique."""
    return f"{datetime.now():%Y-%m-%dT%H-%M-%S}-{identity or random_id()}"


def random_id() -> str:
    """An id of eight characters from a-z and 0-9."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, in order; none if the folder is gone.

    Raises:
        EarmarkError: it can't be read.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise EarmarkError(
            f"{folder} can't be read ({error.strerror}): check the folder and its permissions."
        ) from error


def _recordings(folder: Path) -> list[Path]:
    return list(filter(_is_recording, _entries(folder)))


def _is_recording(path: Path) -> bool:
    # os.path's function, since Path's raises an error for names that no file can have
    named = path.suffix.lower() in RECORDING_SUFFIXES and not path.name.startswith(".")
    return named and os.path.isfile(path)  # noqa: PTH113


def _measure(label: str, path: Path, state: tuple[int, int]) -> ClipFile:
    try:
        seconds, frames = recording_length(path)
    except EarmarkError as error:
        return ClipFile(label, path, 0.0, 0, state, str(error))
    return ClipFile(label, path, seconds, frames, state)


def _age(path: Path) -> float:
    return time.time() - path.lstat().st_mtime


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # somebody may have put something into it
        folder.rmdir()


def _merge(source: Path, target: Path) -> None:
    """Move a file or folder. A file that is in the way keeps its name, and the moved file gets another."""
    if source.is_dir() and target.is_dir() and not source.samefile(target):
        for file in sorted(source.iterdir()):
            move(file, free_path(target / file.name))
        _remove_empty(source)
    elif source.is_dir():
        move(source, target)
    else:
        move(source, free_path(target))
