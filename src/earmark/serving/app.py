"""The recognition API: HTTP for files, a WebSocket for live sound. docs/serve.md shows how to use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware

from earmark.audio.clip import CLIP_SECONDS
from earmark.audio.finding import open_sound_file
from earmark.audio.sources import Source, record_clip
from earmark.errors import EarmarkError
from earmark.front_end.frames import stream_frames
from earmark.recognizer.decisions import Detection, as_dict
from earmark.recognizer.detecting import Detector
from earmark.recognizer.recognizer import Recognizer
from earmark.recognizer.scoring import Result
from earmark.serving.options import DetectOptions, Start
from earmark.serving.stream import Streams
from earmark.version import __version__
from earmark.web.answers import tell_errors, upload
from earmark.web.batching import ScoringThread
from earmark.web.limits import Limits, Places
from earmark.web.metrics import CountRequests, Metrics
from earmark.web.multipart import FORM, is_form, keep_file

UPLOAD_BYTES = 2 << 30
MOST_UPLOADS = 8  # files in progress at a time
FILE_ROUTES = (("POST", "/api/recognize"), ("POST", "/api/detect"))
SLOW_SECONDS, IDLE_SECONDS = 10.0, 60.0  # a client that reads or sends nothing for this long is dropped
STREAM_HELP = """
Besides these routes there is the WebSocket `/api/stream` for live sound. The client says what it will send, as the
schema `Start` has it:

    {"type": "start", "sample_rate": 16000, "encoding": "s16le", "channels": 1, "scores": true, "detections": true}

then sends raw PCM in binary messages of up to a second, and `{"type": "end"}` after the last. The server answers
`{"type": "ready", "labels": […], "window_seconds": …, "hop_seconds": …}`, then for each message that completes windows
`{"type": "scores", "windows": [{"start": …, "end": …, "scores": […]}]}`, for detections
`{"type": "detection", "detection": 1, "state": "begun" | "grown" | "ended", "label": …, "score": …, "start": …,
"end": …}`, and after the end `{"type": "ended", "seconds": …}`. It closes with code 1000 then, and otherwise after
`{"type": "error", "error": "One sentence."}`: 1008 for what can't be understood, 1013 for a client that doesn't read
and for more streams than the server takes, 1001 for one that sends nothing and when the server stops, 1011 for an error
of the server's own. A message of more than 1 MiB closes with 1009 at once.
"""


class Problem(BaseModel):
    """What went wrong, and what to do."""

    error: str = Field(description="One sentence.")


class Params(BaseModel):
    """How the recognizer hears."""

    sample_rate: int = Field(description="In Hz, to which all sound is brought.")
    fft_size: int | None = Field(description="Samples of a frame's Fourier transform; null where there is none.")
    frame_ms: float
    window_ms: float = Field(description="What one prediction sees.")


class ModelDescription(BaseModel):
    """The recognizer that answers."""

    name: str
    labels: list[str] = Field(description="In the order of all scores.")
    params: Params
    hop_seconds: float = Field(description="From one window of a stream to the next, unless it asks for another.")
    probability_threshold: float | None = Field(description="The model's own, if it has one.")
    version: str = Field(description="Of Earmark.")


class Recognition(BaseModel):
    """What a clip was recognized as."""

    label: str
    score: float
    scores: dict[str, float] = Field(description="Every label's.")


class DetectionFound(BaseModel):
    """A sound that was heard."""

    label: str
    score: float
    start: float = Field(description="In seconds of the file.")
    end: float


class Detections(BaseModel):
    """All that was heard in a file."""

    detections: list[DetectionFound]


class Health(BaseModel):
    """That the server answers."""

    status: str
    streams: int = Field(description="Live streams that are connected.")


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    told = {
        400: "The sound or an option can't be used.",
        403: "Another site's page is asking.",
        408: "The upload stood still.",
        413: "The file is too large.",
        422: "The request can't be understood.",
        500: "The server met an error of its own.",
        503: "The server is busy, or stops.",
    }
    return {code: {"model": Problem, "description": told[code]} for code in codes}


_BYTES = {"type": "string", "format": "binary"}
_FILE = {
    "requestBody": {
        "required": True,
        "description": (
            "A sound file: WAV, FLAC, OGG, MP3 or whatever else Earmark reads, as the body itself or in a form "
            "(curl -F file=@sound.wav)."
        ),
        "content": {
            "application/octet-stream": {"schema": _BYTES},
            FORM: {"schema": {"type": "object", "properties": {"file": _BYTES}, "required": ["file"]}},
        },
    }
}


class Uploads:
    """The files being recognized. Their number is limited, and each is held on disk."""

    def __init__(self) -> None:
        self._places = Places(MOST_UPLOADS, "files are being recognized")

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Path]:
        """Hold the request's body as a file for the duration of the block.

        Raises:
            HTTPException: there are too many uploads at a time, or the upload fails.
            EarmarkError: raised by the block. The message calls the file "The file", not by its path.
        """
        with self._places.one(), TemporaryDirectory(prefix="earmark-") as folder:
            path = Path(folder) / "sound"
            with path.open("wb") as file:
                await upload(request, file, UPLOAD_BYTES)
            content_type = request.headers.get("content-type", "")
            if is_form(content_type):
                await asyncio.to_thread(_take_out, path, content_type)
            try:
                yield path
            except EarmarkError as error:
                raise EarmarkError(str(error).replace(str(path), "The file")) from error


def _take_out(path: Path, content_type: str) -> None:
    with path.open("r+b") as body:
        keep_file(body, content_type)


def create_app(
    recognizer: Recognizer,
    *,
    max_streams: int,
    origins: Collection[str] = (),
    slow_seconds: float = SLOW_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Build the API of one recognizer as an ASGI app. Put a `Guard` in front of it.

    The app's `state.streams` holds its live streams.

    Args:
        recognizer: the recognizer to serve.
        max_streams: the most live streams at a time.
        origins: origins of other sites whose pages may read the answers (CORS).
        slow_seconds, idle_seconds: see `Streams`.
        metrics: where the app counts; its own where None.
    """
    metrics = metrics or Metrics()
    scoring = ScoringThread(metrics)
    streams = Streams(
        recognizer, scoring, metrics, most=max_streams, slow_seconds=slow_seconds, idle_seconds=idle_seconds
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(streams.watch())
        yield
        watching.cancel()
        scoring.stop()

    app = FastAPI(
        title="Earmark", version=__version__, summary=f"Recognizes sounds by the model {recognizer.metadata.name}.",
        description=STREAM_HELP, lifespan=lifespan, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.streams = streams
    app.add_middleware(Limits, files=FILE_ROUTES)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"])
    app.add_middleware(CountRequests, metrics=metrics)
    tell_errors(app)
    _add_file_routes(app, recognizer, scoring)
    _add_information_routes(app, recognizer, streams)

    @app.websocket("/api/stream")
    async def stream(websocket: WebSocket) -> None:
        await streams.serve(websocket)

    def described() -> dict[str, Any]:
        """Add the schema of a stream's first message, as OpenAPI doesn't describe WebSockets."""
        if app.openapi_schema is None:
            plain = FastAPI.openapi(app)
            plain["components"]["schemas"]["Start"] = Start.model_json_schema()
        return FastAPI.openapi(app)

    app.openapi = described  # type: ignore[method-assign]
    return app


def _add_file_routes(app: FastAPI, recognizer: Recognizer, scoring: ScoringThread) -> None:
    uploads = Uploads()
    one_clip = asyncio.Semaphore(1)  # one clip at a time, so that live streams keep a core

    @app.post("/api/recognize", responses=_problems(400, 403, 408, 413, 500, 503), openapi_extra=_FILE)
    async def recognize(request: Request) -> Recognition:
        """Recognize a sound file of up to ten minutes as one clip."""
        async with uploads.received(request) as path, one_clip:
            result = await asyncio.to_thread(_recognize, recognizer, path)
        scores = dict(zip(result.labels, result.scores.tolist(), strict=True))
        return Recognition(label=result.label, score=result.score, scores=scores)

    @app.post("/api/detect", responses=_problems(400, 403, 408, 413, 422, 500, 503), openapi_extra=_FILE)
    async def detect(request: Request, options: Annotated[DetectOptions, Query()]) -> Detections:
        """Find all detections in a sound file of any length, as `earmark listen --input FILE` does."""
        decisions = options.decisions(recognizer, options.label_thresholds())
        detector = Detector(recognizer, decisions, options.overlap_factor)
        found: list[Detection] = []
        async with uploads.received(request) as path:
            source = await asyncio.to_thread(open_sound_file, str(path))
            parts = _detect(detector, source)
            try:
                # In steps of a second of sound, in turn with the live streams.
                while (more := await scoring.run(lambda: next(parts, None))) is not None:
                    found += more
                    if await request.is_disconnected():
                        break
            finally:
                await scoring.run(source.close)  # not here: that thread may still be reading for a cancelled request
        return Detections(detections=[DetectionFound(**as_dict(one)) for one in found])


def _add_information_routes(app: FastAPI, recognizer: Recognizer, streams: Streams) -> None:
    @app.get("/api/model", responses=_problems(403))
    async def model() -> ModelDescription:
        """The recognizer: its labels, and how it hears."""
        return ModelDescription(
            name=recognizer.metadata.name,
            labels=list(recognizer.labels),
            params=Params(**asdict(recognizer.params)),
            hop_seconds=recognizer.hop_frames() * recognizer.front_end.frame_seconds,
            probability_threshold=recognizer.metadata.probability_threshold,
            version=__version__,
        )

    @app.get("/health", responses=_problems(403))
    @app.head("/health", include_in_schema=False)
    async def health() -> Health:
        """Whether the server answers."""
        return Health(status="ok", streams=len(streams))

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **_problems(403)})
    async def metrics() -> Response:
        """What the server counts, for Prometheus."""
        return streams.metrics.response()


def _recognize(recognizer: Recognizer, path: Path) -> Result:
    with open_sound_file(str(path)) as source:
        clip = record_clip(source, CLIP_SECONDS + 1)  # a second more, so that a longer file is refused rather than cut
    return recognizer.recognize(clip.samples, clip.sample_rate)


def _detect(detector: Detector, source: Source) -> Iterator[list[Detection]]:
    for frames in stream_frames(detector.front_end, source, source.sample_rate):
        yield detector.process(frames)
    yield detector.finish()
