"""A server's metrics, for Prometheus.

Format: the Prometheus text exposition format, written by prometheus-client.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)  # windows
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """One server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # CPU seconds and memory
        self.open = Gauge("earmark_streams_open", "Live streams that are connected.", registry=registry)
        self.streams = Counter("earmark_streams", "Live streams that were connected.", registry=registry)
        self.dropped = Counter(
            "earmark_streams_dropped", "Live streams that the server refused or ended.", ["reason"], registry=registry
        )
        self.chunks = Counter("earmark_chunks", "Messages of sound that came in.", registry=registry)
        self.audio = Counter("earmark_audio_seconds", "Seconds of sound that came in.", registry=registry)
        self.windows = Counter("earmark_windows_scored", "Windows of live streams scored.", registry=registry)
        self.batches = Histogram(
            "earmark_batch_windows", "Windows that went through the network at once.",
            buckets=BATCH_SIZES, registry=registry,
        )  # fmt: skip
        self.latency = Histogram(
            "earmark_chunk_seconds", "From a chunk that completes windows to its scores.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.requests = Counter(
            "earmark_http_requests", "HTTP requests that were answered.", ["route", "status"], registry=registry
        )
        self.load = Gauge(
            "earmark_model_load_seconds", "What it took to load a model.", ["model"], registry=registry
        )  # fmt: skip

    @contextmanager
    def loading(self, model: str) -> Iterator[None]:
        """Record how long the block takes to load this model."""
        began = time.perf_counter()
        yield
        self.load.labels(model).set(time.perf_counter() - began)

    def response(self) -> Response:
        """All metrics, as the answer to `GET /metrics`."""
        return Response(generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class CountRequests:
    """ASGI middleware that counts HTTP requests by route. There is no end of paths, so these are not counted."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        is_counted = False

        def count(status: int) -> None:
            nonlocal is_counted
            is_counted = True
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, status).inc()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception:
            if not is_counted:
                count(500)  # Starlette sends this answer outside all middleware
            raise
