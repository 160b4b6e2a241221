"""Runs the recognition API until it is interrupted."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection

from earmark.recognizer.recognizer import load
from earmark.serving.app import IDLE_SECONDS, SLOW_SECONDS, create_app
from earmark.web.connections import MOST_CONNECTIONS
from earmark.web.guard import LOOPBACK, Guard, Visitors
from earmark.web.metrics import Metrics
from earmark.web.run import bind, run


def serve(
    model: str,
    host: str,
    port: int,
    tell: Callable[[str], None],
    *,
    max_streams: int,
    slow_seconds: float = SLOW_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
) -> None:
    """Serve a recognizer.

    Args:
        model: what `load` takes.
        host: a name or address of this machine to listen on.
        port: 0 for any that is free.
        tell: called with the server's address once it answers.
        max_streams: how many live streams it takes at a time.
        slow_seconds, idle_seconds: a client that reads, or sends, nothing for so long is let go.
        hosts: further names that clients may use for this machine.
        origins: of other sites' pages that may ask.

    Raises:
        EarmarkError: the model can't be loaded, or the host or port be listened on.
    """
    metrics = Metrics()
    with metrics.loading(model):
        recognizer = load(model)
    visitors = _visitors(host, hosts, origins)
    app = create_app(
        recognizer, max_streams=max_streams, origins=visitors.origins, slow_seconds=slow_seconds,
        idle_seconds=idle_seconds, metrics=metrics,
    )  # fmt: skip
    listening = bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}"
    run(
        Guard(app, visitors), listening, lambda: tell(address), app.state.streams.end,
        most_connections=max_streams + MOST_CONNECTIONS,
    )  # fmt: skip


def _visitors(host: str, hosts: Collection[str], origins: Collection[str]) -> Visitors:
    """Who may ask: on loopback this machine alone; else whoever uses an address of it, or a name that was given."""
    names = {name.lower() for name in (*LOOPBACK, *hosts)}
    origins = {origin.lower().rstrip("/") for origin in origins}
    if _is_loopback(host):
        return Visitors(names, origins=origins, proxied=True)
    remedy = "The server doesn't answer to this name: use its address, or start it with --allow-host and the name."
    names |= {host.lower(), socket.gethostname().lower()}
    return Visitors(names, any_address=True, origins=origins, proxied=True, remedy=remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
