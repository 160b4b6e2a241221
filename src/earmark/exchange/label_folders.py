"""Label folders, or a zip of them: `<label>/<clip>.flac`, as in a project and in the studio's download."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from earmark.clips.folders import ClipFile
from earmark.clips.labelled import LabelledClips
from earmark.exchange.file_set import FileSet
from earmark.exchange.found_recordings import Findings, split_of
from earmark.exchange.label_tracks import add_spans, find_tracks
from earmark.exchange.written_recordings import Written
from earmark.labels import folder_label, label_folder
from earmark.storage.files import new_file, new_folder

if TYPE_CHECKING:
    from earmark.progress import Report


def find_label_folders(files: FileSet) -> Findings:
    """The recordings in label folders. A file's last folder is its label; a folder above it may be a split.

    Of a recording with a label track beside it, the marked spans are taken, with the labels that the track gives them.
    """
    findings, tracks = Findings(), find_tracks(files)
    used = {track for of in tracks.values() for track in of}
    for path in files.paths:
        if path in tracks:
            add_spans(findings, files, path, tracks[path])
        if path in tracks or path in used:
            continue
        folder = path.parent.name
        label = None if folder in ("", "..") else folder_label(folder)
        findings.add_file(files, path, label, split_of(path.parent.parent))
    return findings


def write_label_folders(project: LabelledClips, target: Path, report: Report | None = None) -> Written:
    """Write all recordings as the project stores them: to label folders, or to a zip if the target ends in .zip.

    Raises:
        EarmarkError: the target exists already or can't be written; nothing is left of it then.
    """
    if target.suffix.lower() == ".zip":
        with new_file(target) as file:
            return write_zip(project, file, report)
    written, clips = Written(), project.clips()
    with new_folder(target) as folder:
        for number, clip in enumerate(clips):
            if report is not None:
                report("Writing the recordings", number, len(clips))
            try:
                data = clip.path.read_bytes()
            except FileNotFoundError:  # somebody has deleted or moved it meanwhile
                continue
            except OSError as error:
                written.skip(clip, f"{clip.path.name} can't be read ({error.strerror}): check the file.")
                continue
            own = folder / label_folder(clip.label)
            own.mkdir(exist_ok=True)
            (own / clip.path.name).write_bytes(data)
            written.count += 1
    return written


def write_zip(project: LabelledClips, file: IO[bytes], report: Report | None = None) -> Written:
    """Write all recordings as a zip of label folders, uncompressed, since they are compressed already."""
    written, clips = Written(), project.clips()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for number, clip in enumerate(clips):
            if report is not None:
                report("Writing the recordings", number, len(clips))
            with suppress(FileNotFoundError):  # somebody has deleted or moved it meanwhile
                archive.write(clip.path, f"{label_folder(clip.label)}/{_name(clip)}")
                written.count += 1
    return written


def _name(clip: ClipFile) -> str:
    return os.fsencode(clip.path.name).decode(errors="replace")  # a zip's names are Unicode
