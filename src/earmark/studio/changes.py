"""The changes that the page can make. Each function makes one change and returns a function that undoes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from earmark.clips.folders import check_length
from earmark.exchange.found_recordings import read_sound
from earmark.exchange.importing import Imported
from earmark.project import Project
from earmark.studio.label_names import LabelNames

Undo = Callable[[], object]


def add_label(project: Project, name: str, colour: str | None) -> Undo:
    label = project.add_label(name, colour)
    return lambda: project.remove_label(label.name)


def change_label(
    project: Project, names: LabelNames, name: str, new_name: str | None, colour: str | None, position: int | None
) -> Undo | None:
    with project.lock, names.lock:
        name = names.current(name, project.labels)
        before, place = project.label(name), project.labels.index(name)
        after = project.change_label(name, new_name=new_name, colour=colour, position=position)
        if after == before and project.labels.index(name) == place:
            return None
        names.rename(before.name, after.name)

    def undo() -> None:
        with project.lock, names.lock:
            project.change_label(after.name, new_name=before.name, colour=before.colour, position=place)
            names.rename(after.name, before.name)

    return undo


def remove_label(project: Project, name: str) -> Undo:
    trashed = project.remove_label(name)
    return lambda: project.restore(trashed)


def add_clip(project: Project, label: str, data: bytes, file_name: str, notes: list[str]) -> Undo:
    """Add an uploaded file. What the user should know of its recordings is added to `notes`."""
    project.label(label)  # unlike a recording, an upload needs a label that exists
    recordings = read_sound(data, file_name, label)
    for recording in recordings:
        check_length(recording)
    stem = PurePath(file_name.replace("\\", "/")).stem
    added = [project.add(label, recording, name=stem) for recording in recordings]
    notes.extend(note for clip in added for note in clip.notes)
    return lambda: [project.remove_clip(clip) for clip in added]


def move_clip(project: Project, clip_id: str, label: str) -> Undo | None:
    clip = project.clip(clip_id)
    if clip.label == label:
        return None
    moved = project.move_clip(clip, label)
    return lambda: project.move_clip(moved, clip.label)


def trim_clip(project: Project, clip_id: str, start: float, end: float) -> Undo:
    trimmed, trashed = project.trim_clip(project.clip(clip_id), start, end)

    def undo() -> None:
        project.remove_clip(trimmed)
        project.restore(trashed)

    return undo


def remove_clip(project: Project, clip_id: str) -> Undo:
    trashed = project.remove_clip(project.clip(clip_id))
    return lambda: project.restore(trashed)


def forget_import(project: Project, imported: Imported) -> Undo:
    return lambda: [project.remove_clip(clip) for clip in imported.added]
