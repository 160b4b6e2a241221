"""`earmark serve`: the recognition API."""

from __future__ import annotations

from typing import Annotated

import typer

from earmark.cli.options import MODEL_HELP
from earmark.errors import needs_package


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)] = "words",
    host: Annotated[
        str, typer.Option(help="Name or address of this machine to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any that is free.")] = 8001,
    max_streams: Annotated[int, typer.Option(min=1, help="Live streams at a time. More are refused.")] = 200,
    slow_seconds: Annotated[
        float, typer.Option(min=0.1, help="A client that reads nothing for this long is disconnected.")
    ] = 10.0,
    idle_seconds: Annotated[
        float, typer.Option(min=0.1, help="A client that sends nothing for this long is disconnected.")
    ] = 60.0,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another name of this machine. Repeat it for more.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A site whose pages may use the server. Repeat it for more.")
    ] = None,
) -> None:
    """Serve a recognizer to programs: HTTP for sound files, a WebSocket for live sound.

    Its routes are described at /openapi.json. It asks nobody for a password: to
    open it to a network, put it behind a proxy that does.
    """
    try:
        from earmark.serving.serve import serve as run
    except ModuleNotFoundError as error:
        raise needs_package("The server", error, "serve") from error
    run(
        model, host, port, lambda address: typer.echo(f"Serving {model}: {address}  (Ctrl+C ends it)"),
        max_streams=max_streams, slow_seconds=slow_seconds, idle_seconds=idle_seconds,
        hosts=allow_host or (), origins=allow_origin or (),
    )  # fmt: skip
