"""`earmark studio`: the page on this machine and, with --lan, on phones in its network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.options import Mode
from earmark.errors import needs_package

if TYPE_CHECKING:
    from earmark.studio.lan import Lan

DEFAULT_PROJECT = Path("my-sounds")
WHITE_ON_BLACK, USUAL = "\x1b[97;40m", "\x1b[0m"  # cameras need a QR code's background to be the lighter


def studio(
    project: Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.")] = DEFAULT_PROJECT,
    mode: Mode = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any that is free.")] = 8000,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    lan: Annotated[
        bool, typer.Option("--lan", help="Let phones in the network use it too, over HTTPS, each with a code.")
    ] = False,
    lan_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for HTTPS.")] = 8443,
) -> None:
    """Open the studio: record, train and listen on a web page.

    It answers on this machine only. With --lan a phone in the same network can
    be the microphone: scan the QR code that is printed, or that the page shows.
    """
    try:
        from earmark.studio.serve import serve
    except ModuleNotFoundError as error:
        raise needs_package("The studio", error, "studio") from error
    serve(
        project, port, browser, lambda address: typer.echo(f"The studio of {project}: {address}  (Ctrl+C ends it)"),
        mode.value if mode else None, lan_port if lan else None, _invite,
    )  # fmt: skip


def _invite(lan: Lan, what: str) -> None:
    """Print how a phone can sign in. Later, print which device has signed in or out, and the current code.

    Args:
        lan: the studio's access from the network.
        what: a sentence on what happened; empty at the start.
    """
    if what:
        typer.echo(f"{what} For another phone: {lan.urls[0]}  code {lan.access.code}")
        return
    typer.echo(f"On a phone in the same network: {'  or  '.join(lan.urls)}  code {lan.access.code}")
    if sys.stdout.isatty() and (sys.stdout.encoding or "").lower().startswith("utf"):
        for line in lan.qr_text().splitlines():
            typer.echo(WHITE_ON_BLACK + line + USUAL)
    typer.echo(
        "The phone's browser warns once, as no authority knows this machine: go on. If in doubt, compare the\n"
        f"certificate's SHA-256 fingerprint: {lan.certificate.fingerprint}"
    )
