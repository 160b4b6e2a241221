"""Import: bringing recordings into a project from files of many kinds, which are recognized by their content."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, TYPE_CHECKING

import numpy as np

from earmark.audio.clip import Clip, Samples, encode_flac, read_clip, read_parts
from earmark.clips.folders import ClipFile
from earmark.clips.labelled import LabelledClips
from earmark.clips.settings import Label
from earmark.errors import DiskError, EarmarkError, check_no_address, on_one_line
from earmark.exchange.audiofolder import find_audiofolder, is_audiofolder
from earmark.exchange.example_sets import find_examples
from earmark.exchange.file_set import Beside, FileSet, Folder, Zip
from earmark.exchange.found_recordings import NOISE, SPLITS, Findings, Found, is_recording, read_sound
from earmark.exchange.label_folders import find_label_folders
from earmark.exchange.label_tracks import add_spans, find_tracks
from earmark.exchange.model_files import check_no_model, check_no_model_file
from earmark.exchange.noise_kinds import kind_of_noise
from earmark.exchange.serialized_examples import MAGIC
from earmark.exchange.speech_commands import find_speech_commands, is_speech_commands
from earmark.exchange.teachable_samples import find_samples, is_teachable_machine
from earmark.front_end.recordings import Recording, frame_count, read_recording
from earmark.labels import check_label
from earmark.models.saved_model import PROJECT_FILE

if TYPE_CHECKING:
    from earmark.progress import Report


MAX_EXAMPLES_BYTES = 1 << 30  # of a set of examples, which is read at once: some 25,000 examples without sound
MAX_SOUND_BYTES = 256 << 20
# Of all recordings in an import together: a file of silence is tiny, but may take hours to decode.
MAX_SECONDS = 500 * 3600
MAX_ADDED_BYTES = 64 << 30  # that the recordings take up in the project
MOST_TOLD = 5  # notes about single recordings
SUMMED_SECONDS = 10  # of a recording that are decoded at a time, to compare it
WHAT = (
    "label folders, Speech Commands, an audiofolder, a zip of these, samples of Teachable Machine or speech-commands, "
    "or a sound file"
)


@dataclass
class Imported:
    """The result of an import.

    Attributes:
        added: the new recordings.
        known: how many recordings were left out because the project had them already.
        skipped: the name of each recording that was left out for another reason, with the reason.
        unread: how many of these are recordings, and not other files that lay among them.
        left_out: how many recordings were not looked at, because the disk is full or a limit is reached; a note says
            why.
        notes: sentences that the user should read.
    """

    added: list[ClipFile] = field(default_factory=list)
    known: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unread: int = 0
    left_out: int = 0
    notes: list[str] = field(default_factory=list)


def import_into(
    project: LabelledClips,
    source: str | Path | IO[bytes],
    *,
    label: str | None = None,
    only: Collection[str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    merge_labels: bool = False,
    as_noise: bool = False,
    report: Report | None = None,
    name: str | None = None,
) -> Imported:
    """Add the recordings of a folder or file. Those that the project has already, or that can't be read, are skipped.

    Args:
        project: the project to add to; new labels are added.
        source: label folders, in which label tracks of Audacity or Raven may lie beside the sound files; the layout of
            Speech Commands or of Hugging Face's audiofolder; or a zip of one of these; another project; a set of
            examples that speech-commands has serialized; samples or a project downloaded from Teachable Machine; or a
            sound file. Either a path or an open file.
        label: the label for recordings to which the source gives none; by default taken from the source's name.
        only: the labels to import; others are left out.
        split: "train", "validation" or "test", to import only that part of the data set.
        limit: the most recordings to import of each label; the first ones are taken.
        merge_labels: whether labels that differ from one of the project's, or from each other, only by upper and lower
            case become one; the project's name stays, or the first. Otherwise they are refused.
        as_noise: whether the recordings hold nothing to detect, whatever their labels say, such as false alarms. Those
            in which `words` hears background noise become `_background_noise_`, all others `_unknown_`.
        report: called with the progress, as (what, done, of how many).
        name: the source's name in errors, which gives the label if nothing else does; by default its own name.

    Raises:
        EarmarkError: there is nothing to import, the source can't be read as a whole, the disk has no room for any of
            it, labels differ only by upper and lower case, or an option is not valid; nothing is added then.
    """
    if split is not None and split not in SPLITS:
        raise EarmarkError(f"There is no split {split!r}: choose {', '.join(SPLITS)}.")
    if limit is not None and limit < 1:
        raise EarmarkError(f"The limit is {limit}: it must be 1 or more.")
    if as_noise and label is not None:
        raise EarmarkError("As noise, recordings get the labels for noise: leave out the label (--label).")
    label = NOISE if as_noise else None if label is None else check_label(label)
    with _opened(source, name) as (findings, name):
        imported = Imported(
            skipped=[(on_one_line(name), on_one_line(why)) for name, why in findings.skipped], unread=findings.unread
        )
        if label is not None and not as_noise and all(found.label for found in findings.recordings):
            imported.notes.append("The recordings keep the labels that they came with.")
        _give(findings, label or findings.label)
        wanted = _choose(findings, name, only, split, limit)
        if wanted and not any(found.label for found in wanted):
            raise EarmarkError(
                f"{name} doesn't tell a label: give one (--label), or put it into a folder that is named like it."
            )
        if as_noise:
            wanted = deque(replace(found, label=NOISE, sort=kind_of_noise) for found in wanted)
        else:
            wanted = _as_one(project.label_settings(), wanted, name, merge_labels)
        _add_all(project, wanted, imported, report)
        imported.notes += dict.fromkeys(map(on_one_line, findings.notes))
    told = [f"{clip.path.name}: {note}" for clip in imported.added for note in clip.notes]
    imported.notes += map(on_one_line, told[:MOST_TOLD])
    if len(told) > MOST_TOLD:
        more = _recordings(len(told) - MOST_TOLD, "is", "are").replace("recording", "more recording", 1)
        imported.notes.append(f"{more} silent, very quiet, clipped or mostly silence.")
    if soundless := sum(not clip.has_sound for clip in imported.added):
        which = _recordings(soundless, "has", "have")
        imported.notes.append(f"{which} a spectrogram and no sound: a model can learn from it, but it can't be played.")
    return imported


@contextmanager
def _opened(source: str | Path | IO[bytes], name: str | None) -> Iterator[tuple[Findings, str]]:
    """What a source holds, which is open meanwhile, and its name in errors."""
    if not isinstance(source, (str, Path)):
        with _found_in_file(source, name or "the file") as findings:
            yield findings, name or "the file"
        return
    name, path = name or str(source), Path(source)
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises for names that are too long)
        is_project = (path / PROJECT_FILE).is_file()
        yield _find_in_files(Folder(path / "clips" if is_project else path, name)), name
        return
    if not os.path.isfile(path):  # noqa: PTH113 (as above); a pipe can't be looked into, either
        check_no_address(name)
        raise EarmarkError(f"{name} does not exist, or is no file: check the path.")
    if (beside := _marked(path, name)) is not None:
        yield beside, name
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise EarmarkError(f"{name} can't be read ({error.strerror}): check the file.") from error
    with file, _found_in_file(file, name) as findings:
        yield findings, name


def _marked(path: Path, name: str) -> Findings | None:
    """What label tracks mark in one sound file; None if none lies beside it."""
    recording = PurePosixPath(path.name)
    if not is_recording(recording):
        return None
    files = Beside(path, name)
    if not (tracks := find_tracks(files).get(recording)):
        return None
    findings = Findings()
    add_spans(findings, files, recording, tracks)
    return findings


@contextmanager
def _found_in_file(file: IO[bytes], name: str) -> Iterator[Findings]:
    start = file.read(len(MAGIC))
    file.seek(0)
    if start == MAGIC:
        yield find_examples(_content(file, MAX_EXAMPLES_BYTES, name), name)
    elif start.startswith(b"PK") or PurePath(name).suffix.lower() == ".zip":
        with Zip(file, name) as files:
            yield find_samples(file, name) if is_teachable_machine(files) else _find_in_files(files)
    else:
        yield _find_sound(file, name)


def _find_in_files(files: FileSet) -> Findings:
    if is_audiofolder(files):
        findings = find_audiofolder(files)
    elif is_speech_commands(files):
        findings = find_speech_commands(files)
    else:
        findings = find_label_folders(files)
        if not findings.recordings and not findings.unread:
            check_no_model(files)
            raise EarmarkError(f"{files.name} holds no recordings: choose {WHAT}.")
    findings.skipped += files.skipped
    return findings


def _find_sound(file: IO[bytes], name: str) -> Findings:
    data, path = _content(file, MAX_SOUND_BYTES, name), PurePath(name)
    if not is_recording(PurePosixPath(name)):
        try:
            read_clip(data)
        except EarmarkError as error:
            check_no_model_file(data, name)
            raise EarmarkError(f"{name} can't be imported: choose {WHAT}.") from error
    return Findings([Found(path.name, None, path.stem, partial(read_sound, data, path.name))])


def _content(file: IO[bytes], limit: int, name: str) -> bytes:
    try:
        data = file.read(limit + 1)
    except OSError as error:
        raise EarmarkError(f"{name} can't be read ({error.strerror}): check the file.") from error
    if len(data) > limit:
        raise EarmarkError(f"{name} is larger than {limit >> 20} MiB: divide it.")
    return data


def _give(findings: Findings, label: str | None) -> None:
    """Give the label to the recordings that have none."""
    if label is not None:
        findings.recordings = [
            found if found.label is not None else replace(found, label=label) for found in findings.recordings
        ]


def _choose(
    findings: Findings, name: str, only: Collection[str] | None, split: str | None, limit: int | None
) -> deque[Found]:
    """The recordings that the options select."""
    chosen = findings.recordings
    if only is not None:
        labels = {found.label for found in chosen if found.label is not None}
        if missing := sorted(set(only) - labels):
            has = ", ".join(sorted(labels)[:20]) if labels else "none at all"
            raise EarmarkError(f"{name} has no label {missing[0]!r}: it has {has}.")
        chosen = [found for found in chosen if found.label in only]
    if split is not None:
        chosen = [found for found in chosen if found.split == split]
        if not chosen:
            raise EarmarkError(f"{name} has no recordings for the split {split}: leave it out to import all.")
    if limit is not None:
        counts: Counter[str | None] = Counter()
        first = []
        for found in chosen:
            counts[found.label] += 1
            if counts[found.label] <= limit:
                first.append(found)
        chosen = first
    findings.recordings = []
    return deque(chosen)


def _as_one(labels: list[Label], wanted: deque[Found], name: str, merge: bool) -> deque[Found]:
    """The recordings, of which those whose labels differ only by upper and lower case have one label.

    Raises:
        EarmarkError: there are such labels, and they aren't to be merged.
    """
    known = {label.name.casefold(): label.name for label in labels}
    merged: dict[str, str] = {}
    for given in dict.fromkeys(found.label for found in wanted if found.label is not None):
        try:
            own = check_label(given)
        except EarmarkError:  # which is told when its recordings are added
            continue
        one = known.setdefault(own.casefold(), own)
        if one != own and not merge:
            raise EarmarkError(
                f"{name} has the label {own!r} beside {one!r}, and upper and lower case count as the same: "
                "merge the two (--merge-labels), or rename one."
            )
        merged[given] = one
    return deque(replace(found, label=merged.get(found.label or "", found.label)) for found in wanted)


def _add_all(project: LabelledClips, wanted: deque[Found], imported: Imported, report: Report | None) -> None:
    known, count = _Known(project), len(wanted)
    while wanted:  # recordings that have been added needn't stay in memory
        if known.seconds > MAX_SECONDS or known.added_bytes > MAX_ADDED_BYTES:
            imported.left_out = len(wanted)
            imported.notes.append(
                f"That is as much as goes in at once, {MAX_SECONDS // 3600:,} hours or {MAX_ADDED_BYTES >> 30:,} GiB: "
                f"{_recordings(len(wanted), 'is', 'are')} left out; import them label by label (--only)."
            )
            return
        if report is not None:
            report("Adding the recordings", count - len(wanted), count)
        found = wanted.popleft()
        try:
            _add(known, found, imported)
        except DiskError as error:
            if not imported.added:
                raise
            imported.left_out = len(wanted) + 1
            imported.notes.append(f"{_recordings(imported.left_out, 'is', 'are')} left out: {error}")
            return


def _recordings(count: int, one_verb: str, verb: str) -> str:
    return f"One recording {one_verb}" if count == 1 else f"{count:,} recordings {verb}"


def _add(known: _Known, found: Found, imported: Imported) -> None:
    """Add a recording, with all of its parts that are new, or note why not.

    Raises:
        DiskError: the recording can't be written, and neither could any other.
    """
    file = PurePath(found.name).name
    try:
        if found.label is None:
            raise EarmarkError(f"{file} lies in no folder: put it into one named like its label.")
        label = check_label(found.label)
        recordings = found.read(label)
        labelled = [(found.sort(recording) if found.sort else label, recording) for recording in recordings]
        new = [(own, recording) for own, recording in labelled if known.add(own, recording)]
        imported.known += len(recordings) - len(new)
        for number, (own, recording) in enumerate(new, 1):
            name = found.stem if len(recordings) == 1 else f"{found.stem}-{number}"
            at = found.key_frame if found.key_frame is not None and found.key_frame < frame_count(recording) else None
            imported.added.append(known.project.add(own, recording, name=name, key_frame=at))
            with suppress(OSError):  # somebody has just deleted it
                known.added_bytes += imported.added[-1].path.stat().st_size
    except DiskError:
        raise
    except EarmarkError as error:
        imported.skipped.append((on_one_line(found.name), str(error)))
        imported.unread += 1


class _Known:
    """Knows the project's recordings, so that none is added twice.

    Each is read only once, however many recordings with its label are imported.
    """

    def __init__(self, project: LabelledClips) -> None:
        self.project = project
        self._sums: dict[str, set[bytes]] = {}
        self.seconds = 0.0  # of all recordings that were read, new or not
        self.added_bytes = 0

    def add(self, label: str, recording: Recording) -> bool:
        """Note the recording; returns whether it is new. Recordings are compared as stored, in FLAC's 24 bits."""
        self.seconds += recording.seconds
        if label not in self._sums:
            self._sums[label] = set()
            for known in self.project.clips(label):
                with suppress(EarmarkError):  # a recording that can't be read equals no other
                    self._sums[label].add(_sum(read_recording(known.path)))
        own = _sum_as_kept(recording) if isinstance(recording, Clip) else _sum(recording)
        is_new = own not in self._sums[label]
        self._sums[label].add(own)
        return is_new


def _sum(recording: Recording) -> bytes:
    if isinstance(recording, Clip):
        return _digest(recording.sample_rate, [recording.samples])
    return hashlib.sha256(recording.frames.tobytes()).digest()


def _sum_as_kept(clip: Clip) -> bytes:
    """The hash of a clip as its FLAC file will store it, computed without holding all of it in memory."""
    parts = read_parts(encode_flac(clip), SUMMED_SECONDS, "the clip")
    return _digest(clip.sample_rate, (part.samples for part in parts))


def _digest(sample_rate: int, parts: Iterable[Samples]) -> bytes:
    digest = hashlib.sha256(sample_rate.to_bytes(4, "little"))
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.digest()
