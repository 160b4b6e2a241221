"""The studio's HTTP and WebSocket routes. docs/studio-protocol.md describes them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, FiniteFloat
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from earmark.audio.clip import encode_wav
from earmark.errors import EarmarkError
from earmark.exchange.importing import Imported, import_into
from earmark.exchange.label_folders import write_zip
from earmark.front_end.recordings import Recording, read_recording, sound_of, spectrogram_of
from earmark.front_end.spectrogram import Spectrogram
from earmark.project import Project
from earmark.studio import changes
from earmark.studio.changes import Undo
from earmark.studio.evaluating import evaluation_report
from earmark.studio.lan import Lan, add_lan_routes
from earmark.studio.live_sound import picture
from earmark.studio.page_session import PageSession
from earmark.studio.policy import REPORT_POLICY
from earmark.studio.state import UPLOAD_BYTES, Studio
from earmark.version import __version__
from earmark.web.answers import tell_errors, upload
from earmark.web.limits import Limits, Places
from earmark.web.metrics import CountRequests

PICTURE_COLUMNS = 200
CLIP_BYTES = 256 << 20
MOST_UPLOADS, MOST_EXPORTS = 8, 4  # in progress at a time
FILE_ROUTES = (("POST", "/api/clips"), ("POST", "/api/import"))
STATIC = Path(str(files("earmark.studio") / "static"))

LabelName = Annotated[str, Query(alias="label")]
ClipId = Annotated[str, Query(alias="clip")]


class NewLabel(BaseModel):
    """A label to add."""

    name: str
    colour: str | None = None


class LabelChange(BaseModel):
    """The changes to a label; None leaves a value as it is."""

    name: str | None = None
    colour: str | None = None
    position: int | None = None


class ProjectChange(BaseModel):
    """The mode to change to, or the base to train on."""

    mode: str | None = None
    base: str | None = None


class ClipChange(BaseModel):
    """The label to move a clip to, or the start and end, in seconds, to trim it to."""

    label: str | None = None
    start: FiniteFloat | None = None
    end: FiniteFloat | None = None


class _Download(StreamingResponse):
    """A zip download. What is held for it is released once it has been sent or its client has gone."""

    def __init__(self, file: IO[bytes], held: ExitStack) -> None:
        headers = {"Content-Disposition": 'attachment; filename="recordings.zip"'}
        super().__init__(_parts(file), media_type="application/zip", headers=headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


def create_app(project: Project, lan: Lan | None = None) -> FastAPI:
    """Build the studio of one project as an ASGI app. Put a `Guard` in front of it.

    Args:
        project: the project to serve.
        lan: the studio's access from the network, if it has any. Pages on this machine manage its devices.
    """
    studio = Studio(project)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await studio.start()
        yield
        await studio.stop()

    app = FastAPI(title="Earmark studio", version=__version__, lifespan=lifespan, openapi_url=None)
    app.add_middleware(Limits, files=FILE_ROUTES, changes=True)
    app.add_middleware(CountRequests, metrics=studio.metrics)
    tell_errors(app)
    _add_label_routes(app, studio)
    uploads = Places(MOST_UPLOADS, "files are being taken in")
    _add_clip_routes(app, studio, uploads)
    _add_exchange_routes(app, studio, uploads)
    _add_job_routes(app, studio)
    add_lan_routes(app, lan)
    if lan is not None:
        lan.access.watchers.append(lambda _: studio.broadcast({"type": "devices"}))

    @app.get("/api/project")
    async def read_project() -> dict[str, Any]:
        return await studio.describe()

    @app.patch("/api/project")
    async def change_project(wanted: ProjectChange) -> dict[str, Any]:
        return await studio.configure(wanted.mode, wanted.base)

    @app.post("/api/undo")
    async def undo(step: int | None = None) -> dict[str, Any]:
        return await studio.undo(step)

    @app.get("/metrics")
    async def metrics() -> Response:
        return studio.metrics.response()

    @app.websocket("/api/live")
    async def live(websocket: WebSocket) -> None:
        await PageSession(studio, websocket).run()

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), "static")
    return app


def _add_label_routes(app: FastAPI, studio: Studio) -> None:
    project = studio.project

    @app.post("/api/labels")
    async def add_label(new: NewLabel) -> dict[str, Any]:
        return await studio.change("Add class", lambda: changes.add_label(project, new.name, new.colour))

    @app.patch("/api/labels")
    async def change_label(label: LabelName, wanted: LabelChange) -> dict[str, Any]:
        return await studio.change(
            "Change class",
            lambda: changes.change_label(project, studio.names, label, wanted.name, wanted.colour, wanted.position),
        )

    @app.delete("/api/labels")
    async def remove_label(label: LabelName) -> dict[str, Any]:
        return await studio.change("Remove class", lambda: changes.remove_label(project, studio.current(label)))


def _add_clip_routes(app: FastAPI, studio: Studio, uploads: Places) -> None:
    project = studio.project

    @app.post("/api/clips")
    async def add_clip(request: Request, label: LabelName, name: str = "the file") -> dict[str, Any]:
        with uploads.one(), tempfile.TemporaryFile() as file:
            await upload(request, file, CLIP_BYTES)
            notes: list[str] = []
            described = await studio.change(
                "Add recording", lambda: changes.add_clip(project, studio.current(label), file.read(), name, notes)
            )
            return {**described, "notes": notes}

    @app.patch("/api/clips")
    async def change_clip(clip: ClipId, wanted: ClipChange) -> dict[str, Any]:
        label, start, end = wanted.label, wanted.start, wanted.end
        if label is not None:
            return await studio.change(
                "Move recording", lambda: changes.move_clip(project, clip, studio.current(label))
            )
        if start is None or end is None:
            raise EarmarkError("Say what to change: a label to move to, or start and end to trim to.")
        return await studio.change("Trim recording", lambda: changes.trim_clip(project, clip, start, end))

    @app.delete("/api/clips")
    async def remove_clip(clip: ClipId) -> dict[str, Any]:
        return await studio.change("Delete recording", lambda: changes.remove_clip(project, clip))

    @app.get("/api/clips/audio")
    async def clip_audio(clip: ClipId) -> Response:
        audio = await asyncio.to_thread(lambda: encode_wav(sound_of(_read_clip(project, clip))))
        return Response(audio, media_type="audio/wav")

    @app.get("/api/clips/spectrogram")
    async def clip_spectrogram(clip: ClipId) -> Response:
        columns = await asyncio.to_thread(lambda: _clip_picture(_read_clip(project, clip)))
        return Response(columns, media_type="application/octet-stream")


def _add_exchange_routes(app: FastAPI, studio: Studio, uploads: Places) -> None:
    project, exports = studio.project, Places(MOST_EXPORTS, "exports are under way")

    @app.get("/api/export")
    async def download() -> StreamingResponse:
        with ExitStack() as held:
            held.enter_context(exports.one())
            file = held.enter_context(tempfile.TemporaryFile())
            await asyncio.to_thread(write_zip, project, file)
            file.seek(0)
            return _Download(file, held.pop_all())

    @app.post("/api/import")
    async def load(request: Request, name: str = "the file", label: str | None = None) -> dict[str, Any]:
        done: list[Imported] = []

        def change() -> Undo | None:
            done.append(import_into(project, file, name=name, label=None if label is None else studio.current(label)))
            return changes.forget_import(project, done[0]) if done[0].added else None

        with uploads.one(), tempfile.TemporaryFile() as file:
            await upload(request, file, UPLOAD_BYTES)
            described = await studio.change("Load recordings", change)
        (imported,) = done
        skipped = [{"name": name, "error": error} for name, error in imported.skipped]
        notes = imported.notes if imported.added else []
        return {
            "added": len(imported.added), "known": imported.known, "skipped": skipped, "notes": notes,
            "project": described,
        }  # fmt: skip


def _add_job_routes(app: FastAPI, studio: Studio) -> None:
    @app.post("/api/train")
    async def train() -> dict[str, Any]:
        return await studio.begin("training")

    @app.delete("/api/train")
    async def cancel_training() -> dict[str, Any]:
        return await studio.cancel("training")

    @app.post("/api/evaluate")
    async def evaluate() -> dict[str, Any]:
        return await studio.begin("evaluation")

    @app.delete("/api/evaluate")
    async def cancel_evaluation() -> dict[str, Any]:
        return await studio.cancel("evaluation")

    @app.get("/api/evaluation")
    async def read_evaluation() -> dict[str, Any] | None:
        return await studio.evaluation()

    @app.get("/api/report")
    async def read_report() -> Response:
        try:
            report = await asyncio.to_thread(lambda: evaluation_report(studio.project).read_bytes())
        except OSError as error:
            raise HTTPException(404, "There is no report yet: evaluate first.") from error
        return Response(report, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


def _read_clip(project: Project, clip_id: str) -> Recording:
    path = project.clip(clip_id).path
    return read_recording(path, path.name)


def _clip_picture(recording: Recording) -> bytes:
    return picture(_squeeze(spectrogram_of(recording))).tobytes()


def _squeeze(frames: Spectrogram) -> Spectrogram:
    """Reduce frames to at most 200 columns, each the maximum of the frames that it stands for."""
    if len(frames) <= PICTURE_COLUMNS:
        return frames
    edges = np.linspace(0, len(frames), PICTURE_COLUMNS, endpoint=False).astype(int)
    return np.maximum.reduceat(frames, edges, axis=0)


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    while part := file.read(1 << 16):
        yield part
