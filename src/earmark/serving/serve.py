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
        model: anything that `load` takes.
        host: a name or address of this machine to listen on.
        port: the port to listen on; 0 for any free one.
        tell: called with the server's address once it answers.
        max_streams: the most live streams at a time.
        slow_seconds, idle_seconds: how long a client may read or send nothing before it is dropped.
        hosts: further names that clients may use for this machine.
        origins: origins of other sites whose pages may send requests.

    Raises:
        EarmarkError: the model can't be loaded, or the server can't listen on this host or port.
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
    """Which requests are allowed: on loopback this machine's own; otherwise those to its addresses or given names."""
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
