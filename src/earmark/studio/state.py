"""What all pages of one studio share: the project, its undo history, the trainer, the model, and the open sessions."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Protocol

from earmark.audio.clip import Clip
from earmark.clips.folders import ClipFile, check_length, fingerprint, recording_name
from earmark.clips.label_list import MAX_LABELS
from earmark.clips.settings import SOUNDS_MODE, Label
from earmark.errors import EarmarkError
from earmark.labels import MAX_CHARACTERS
from earmark.models.metadata import SHORT_WINDOW
from earmark.project import Project
from earmark.recognizer.recognizer import WORDS_MODEL, Recognizer, load
from earmark.studio.changes import Undo
from earmark.studio.evaluating import read_evaluation
from earmark.studio.label_names import LabelNames
from earmark.studio.trainer import Job, JobReport, Trainer
from earmark.web.batching import ScoringThread
from earmark.web.metrics import Metrics
from earmark.web.session import Sessions

MOST_PAGES = 32  # open at a time
UNDO_STEPS = 100
RECORDING_SECONDS = 60
UPLOAD_BYTES = 2 << 30
WATCH_SECONDS = 1.0  # between two checks for what other programs have done to the project
WATCH_SHARE = 0.02  # the most time spent on these checks, as a share: a check of many files takes long


class Page(Protocol):
    """A connected page, as the studio sees it."""

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message for the page."""

    def use(self, recognizer: Recognizer | None) -> None:
        """If the page listens with the project's model, listen with this recognizer from now on."""


class Studio:
    """One project, served to several pages. Changes run in threads, one at a time.

    Args:
        project: the project to serve.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.metrics = Metrics()
        self.scoring = ScoringThread(self.metrics)
        self.trainer = Trainer(project.path, self._on_report)
        self.recognizer: Recognizer | None = None
        self._model = ""  # the model's name
        self._words: Recognizer | None = None
        self._words_lock = asyncio.Lock()
        full = f"{MOST_PAGES} pages are open already: close one of them."
        self.sessions: Sessions[Page] = Sessions(self.metrics, MOST_PAGES, full)
        self._epochs: list[JobReport] = []
        self._progress: JobReport | None = None  # the running job's latest progress, if it has reported any
        self._undo: deque[tuple[int, str, Undo]] = deque(maxlen=UNDO_STEPS)
        self._steps = 0
        self.names = LabelNames()
        self._undo_lock, self._save_lock = asyncio.Lock(), asyncio.Lock()
        # Lets a page notice when another project is served at its address.
        self._id = hashlib.sha256(os.fsencode(project.path.resolve())).hexdigest()[:16]
        self._tasks: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._model_state: object = None  # the state of the models on disk when the model was loaded
        self._seen: object = None  # the project's state at the last check
        # The recordings on disk, so that one resent after a lost connection isn't saved twice.
        self._saved = dict(filter(None, map(self._recording, project.clips())))

    async def start(self) -> None:
        """Load the model, if there is one, and get the trainer ready."""
        with suppress(EarmarkError):  # another program is changing the project: the next start tidies up
            await asyncio.to_thread(self.project.empty_trash)
        with suppress(EarmarkError):  # reported when a page asks
            self._seen, _ = await asyncio.to_thread(self.project.state)
        await self.trainer.start()
        await self._load_model()
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop the trainer and the scoring thread."""
        if self._watcher is not None:
            self._watcher.cancel()
        await self.trainer.stop()
        self.scoring.stop()

    async def words(self) -> Recognizer:
        """The pretrained recognizer of words. It is loaded for the first page that needs it, then shared by all.

        Raises:
            EarmarkError: it can't be loaded.
        """
        async with self._words_lock:
            if self._words is None:
                with self.metrics.loading(WORDS_MODEL):
                    self._words = await asyncio.to_thread(load, WORDS_MODEL)
        return self._words

    async def change(self, description: str, operation: Callable[[], Undo | None]) -> dict[str, Any]:
        """Change labels or clips, then describe the project.

        Args:
            description: names the change in the undo history.
            operation: makes the change, and returns what undoes it; None if nothing changed.
        """
        await self._apply(description, operation)
        return await self.describe()

    async def _apply(self, description: str, operation: Callable[[], Undo | None]) -> None:
        """Change labels or clips, and add the change to the undo history; see `change`."""
        undo = await asyncio.to_thread(operation)
        if undo is not None:
            self._steps += 1
            self._undo.append((self._steps, description, undo))
            self.broadcast({"type": "changed"})

    async def undo(self, step: int | None = None) -> dict[str, Any]:
        """Undo the last change.

        Args:
            step: the step to undo, which must be the last one; None for whichever is the last.

        Raises:
            EarmarkError: there is nothing to undo, the last change is another step, or it can't be undone.
        """
        async with self._undo_lock:
            if not self._undo:
                raise EarmarkError("There is nothing to undo.")
            last, _, undo = self._undo[-1]
            if step not in (None, last):
                raise EarmarkError("That can't be undone any more: something else was changed after it.")
            await asyncio.to_thread(undo)
            self._undo = deque((entry for entry in self._undo if entry[0] != last), UNDO_STEPS)
        self.broadcast({"type": "changed"})
        return await self.describe()

    def current(self, label: str) -> str:
        """The current name of a label that a page knows by this name."""
        return self.names.current(label, self.project.labels)

    def saved(self, recording: str) -> str | None:
        """The clip id of a recording that is saved already; None if it isn't."""
        return self._saved.get(recording)

    async def save(self, recording: str, label: str, clip: Clip) -> tuple[str, tuple[str, ...]]:
        """Save a recording. If its label was deleted meanwhile, it comes back, so that nothing is lost.

        Returns:
            The clip's id, and what the user should know of it; see `ClipFile.notes`.

        Raises:
            EarmarkError: the recording is too short, or can't be written.
        """
        check_length(clip)
        notes: list[str] = []

        def add() -> Undo:
            with self.project.lock:  # so that the label isn't renamed before the recording is saved
                saved = self.project.add(self.current(label), clip, name=recording_name(recording))
            self._saved[recording] = saved.id
            notes.extend(saved.notes)
            return lambda: self.project.remove_clip(saved)

        async with self._save_lock:  # the page may have resent it while it is being saved
            if recording not in self._saved:
                await self._apply("Add recording", add)
            return self._saved[recording], tuple(notes)

    async def configure(self, mode: str | None, base: str | None) -> dict[str, Any]:
        """Change the mode, or the base to train on. The recordings stay.

        Raises:
            EarmarkError: there is no such mode or base, or both were given.
        """
        if mode is not None and base is not None:
            raise EarmarkError("The bases are the mode's: change the mode first, then the base.")
        if mode is not None:
            await asyncio.to_thread(self.project.set_mode, mode)
        if base is not None:
            await asyncio.to_thread(self.project.set_base, base)
        if self.trainer.job != "training":
            self._epochs.clear()  # they belong to another training
        await self._load_model()
        return await self.describe()

    async def begin(self, job: Job) -> dict[str, Any]:
        """Start a training or an evaluation.

        Raises:
            EarmarkError: a job is running already.
        """
        await self.trainer.begin(job)
        return await self.describe()

    async def cancel(self, job: Job) -> dict[str, Any]:
        """Stop this job, if it is running."""
        await self.trainer.cancel(job)
        if job == "training":
            await self._load_model()  # the new model may have been written just before the training was cancelled
        return await self.describe()

    async def evaluation(self) -> dict[str, Any] | None:
        """The last evaluation on the project's base; None if there is none."""
        return await asyncio.to_thread(lambda: read_evaluation(self.project, self.project.fingerprint()))

    async def describe(self) -> dict[str, Any]:
        """Describe the project, as the answer to `GET /api/project`."""
        described = await asyncio.to_thread(self._describe_project)
        described["undo"] = self._undo[-1][1] if self._undo else None
        described["undo_step"] = self._undo[-1][0] if self._undo else None
        for job in ("training", "evaluation"):
            is_running = self.trainer.job == job
            described[job] |= {"running": is_running, "progress": self._progress if is_running else None}
        return described

    def broadcast(self, message: dict[str, Any]) -> None:
        """Queue a message for every page."""
        for session in self.sessions:
            session.send(message)

    def _describe_project(self) -> dict[str, Any]:
        project = self.project
        with self.names.lock:
            settings, clips = project.label_settings(), project.clips()
            ids = [self.names.id(label.name) for label in settings]
        now = fingerprint([label.name for label in settings], clips)
        labels = [{"id": id_, **self._describe_label(label, clips)} for id_, label in zip(ids, settings, strict=True)]
        evaluation = read_evaluation(project, now) or {}
        return {
            "id": self._id,
            "name": project.name,
            "mode": project.mode,
            "base": project.base,
            "bases": [asdict(base) for base in project.bases()],
            "examples": sum(label["examples"] for label in labels),
            "labels": labels,
            "model": self._describe_model(now),
            "training": {"epochs": list(self._epochs)},
            "evaluation": {key: evaluation.get(key) for key in ("created", "stale")},
            "limits": {
                "labels": MAX_LABELS,
                "label_characters": MAX_CHARACTERS,
                "recording_seconds": RECORDING_SECONDS,
                "upload_bytes": UPLOAD_BYTES,
            },
        }

    def _describe_label(self, label: Label, clips: list[ClipFile]) -> dict[str, Any]:
        own_clips = [clip for clip in clips if clip.label == label.name]
        counts = self.project.examples_of(own_clips)
        own = [_describe_clip(clip, count) for clip, count in zip(own_clips, counts, strict=True)]
        examples = sum(clip["examples"] for clip in own)
        return {"name": label.name, "colour": label.colour, "examples": examples, "clips": own}

    def _describe_model(self, now: str) -> dict[str, Any] | None:
        if self.recognizer is None:
            return None
        card = self.project.model_card(self._model) or {}
        metrics = card.get("metrics")
        metrics = metrics if isinstance(metrics, dict) else {}
        return {
            "name": self._model,
            "base": card.get("base"),
            "base_chosen_because": card.get("base_chosen_because"),
            "labels": list(self.recognizer.labels),
            "colours": _colours(card, self.recognizer.labels),
            "accuracy": metrics.get("accuracy"),
            "loss": metrics.get("loss"),
            "examples": card.get("examples"),
            "created": card.get("created"),
            "stale": card.get("clips_fingerprint") != now,
        }

    def _recording(self, clip: ClipFile) -> tuple[str, str] | None:
        match = re.search("-([a-z0-9]{8})$", clip.path.stem)
        return (match[1], clip.id) if match else None

    def _on_report(self, job: Job, report: JobReport) -> None:
        state = report["state"]
        values = {key: value for key, value in report.items() if key != "state"}
        self._progress = values if state == "progress" else None
        if job == "training" and state == "started":
            self._epochs.clear()
        if state == "epoch":
            self._epochs.append(values)
        if state == "done":
            task = asyncio.create_task(self._take_over(job, report))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.broadcast({"type": job, **report})

    async def _take_over(self, job: Job, report: JobReport) -> None:
        """Load a newly trained model, then tell the pages that the job is done."""
        if job == "training":
            await self._load_model()
        else:
            self.broadcast({"type": "changed"})
        self.broadcast({"type": job, **report})

    async def _load_model(self) -> None:
        with self.metrics.loading("project"):
            self._model, self.recognizer = await asyncio.to_thread(self._find_model)
        for session in self.sessions:
            session.use(self.recognizer)
        self.broadcast({"type": "changed"})

    async def _watch(self) -> None:
        """Notify pages when other programs change the project, as another studio, a terminal or a file manager."""
        took = 0.0
        while True:
            await asyncio.sleep(max(WATCH_SECONDS, took / WATCH_SHARE))
            if not self.sessions:
                continue
            began = time.monotonic()
            with suppress(EarmarkError):  # reported when a page asks
                recorded, models = await asyncio.to_thread(self.project.state)
                if models != self._model_state and self.trainer.job is None:
                    await self._load_model()
                elif recorded != self._seen:
                    self.broadcast({"type": "changed"})
                self._seen = recorded
            took = time.monotonic() - began

    def _find_model(self) -> tuple[str, Recognizer | None]:
        """Find the model on the project's base, else the newest one of the project's mode.

        There may be none yet, or only a damaged one. The page then asks the user to train.
        """
        project = self.project
        self._model_state = project.state()[1]
        mode, base = project.mode, project.base
        for name in sorted(project.models(), key=lambda name: name != base):
            with suppress(EarmarkError):
                recognizer = project.model(name)
                if (recognizer.metadata.window_frames <= SHORT_WINDOW) == (mode == SOUNDS_MODE):
                    return name, recognizer
        return "", None


def _describe_clip(clip: ClipFile, examples: int) -> dict[str, Any]:
    return {
        "id": clip.id,
        "seconds": round(clip.seconds, 3),
        "examples": examples,
        "has_sound": clip.has_sound,
        "error": clip.error and clip.error.encode(errors="replace").decode(),
    }


def _colours(card: dict[str, Any], labels: tuple[str, ...]) -> list[str | None]:
    """The colours that the labels had when the model was trained. They stay, whatever becomes of the classes."""
    entries = card.get("labels")
    known = {
        entry["name"]: entry.get("colour")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }
    return [known.get(label) for label in labels]
