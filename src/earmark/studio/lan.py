"""The studio in the local network: its addresses, its certificate, and the invitation that lets a phone in."""

from __future__ import annotations

import io
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import ifaddr
import platformdirs
import segno
from fastapi import FastAPI, Query, Request, Response

from earmark.errors import EarmarkError
from earmark.studio.access import Access
from earmark.studio.certificate import Certificate, own_certificate
from earmark.studio.policy import VISITORS
from earmark.studio.sign_in import DEVICE
from earmark.web.guard import LOOPBACK, Visitors

NOWHERE = ("192.0.2.1", 9)  # an address for documentation (RFC 5737): looking up its route sends nothing


@dataclass(frozen=True)
class Lan:
    """A studio that phones in the network can use.

    Attributes:
        port: the HTTPS port.
        addresses: this machine's IPv4 addresses, the likeliest first.
        certificate: the certificate for HTTPS.
        access: who may use the studio.
    """

    port: int
    addresses: tuple[str, ...]
    certificate: Certificate
    access: Access = field(default_factory=Access)

    @property
    def urls(self) -> list[str]:
        """The studio's URLs in the network."""
        return [f"https://{address}:{self.port}" for address in self.addresses]

    @property
    def invitation(self) -> str:
        """The URL with the code in its fragment, which browsers don't send; the sign-in page reads it."""
        return f"{self.urls[0]}/#{self.access.code}"

    @property
    def visitors(self) -> Visitors:
        return Visitors(
            {*LOOPBACK, *map(str.lower, self.certificate.names)},
            any_address=True,
            change_header=VISITORS.change_header,
            remedy="The studio doesn't answer to this name: use the address that it shows.",
        )

    def describe(self) -> dict[str, Any]:
        """What the page on this machine shows: URLs, code, fingerprint and devices."""
        devices = [
            {"id": device.id, "name": device.name, "address": device.address, "signed_in": device.signed_in}
            for device in self.access.devices()
        ]
        return {
            "urls": self.urls,
            "code": self.access.code,
            "fingerprint": self.certificate.fingerprint,
            "devices": devices,
        }

    def qr_code(self) -> bytes:
        """The invitation as a QR code, an SVG image."""
        picture = io.BytesIO()
        segno.make(self.invitation, error="m").save(picture, kind="svg", scale=4, light="#fff", xmldecl=False)
        return picture.getvalue()

    def qr_text(self) -> str:
        """The invitation as a QR code for a terminal, in half blocks."""
        text = io.StringIO()
        segno.make(self.invitation, error="l").terminal(text, border=2, compact=True)
        return text.getvalue()


def open_lan(port: int, folder: Path | None = None) -> Lan:
    """Prepare the studio for the network.

    Args:
        port: the HTTPS port.
        folder: where the certificate is kept; the user's data folder where None.

    Raises:
        EarmarkError: this machine is in no network, or the certificate can't be saved.
    """
    addresses = own_addresses()
    if not addresses:
        raise EarmarkError("This machine is in no network: connect it to the one that the phone is in, then try again.")
    host = socket.gethostname().split(".")[0].lower()
    names = [*addresses, "127.0.0.1", "localhost", *([host, f"{host}.local"] if host != "localhost" else [])]
    folder = folder or platformdirs.user_data_path("earmark", appauthor=False)
    return Lan(port, addresses, own_certificate(folder, names))


def own_addresses() -> tuple[str, ...]:
    """This machine's IPv4 addresses, without loopback and link-local ones. The default route's comes first."""
    found = [
        str(address.ip)
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if address.is_IPv4 and not str(address.ip).startswith(("127.", "169.254."))
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(NOWHERE)
            found.sort(key=lambda address: address != asking.getsockname()[0])
        except OSError:
            pass  # no default route: keep their order
    return tuple(dict.fromkeys(found))


def add_lan_routes(app: FastAPI, lan: Lan | None) -> None:
    """Add the routes for network access: pages on this machine manage it, and a device learns its id."""

    def managed(request: Request) -> Lan:
        if lan is None or DEVICE in request.scope:
            raise EarmarkError("Devices are let in and signed out on the studio's own computer: open the page there.")
        return lan

    @app.get("/api/lan")
    async def read_lan(request: Request) -> dict[str, Any] | None:
        if DEVICE in request.scope:
            return {"device": request.scope[DEVICE].id}
        return lan.describe() if lan is not None else None

    @app.get("/api/lan/qr")
    async def read_qr_code(request: Request) -> Response:
        return Response(managed(request).qr_code(), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    @app.post("/api/lan/code")
    async def renew_code(request: Request) -> dict[str, Any]:
        managed(request).access.renew_code()
        return managed(request).describe()

    @app.delete("/api/lan/devices")
    async def sign_out(request: Request, device: Annotated[str, Query()]) -> dict[str, Any]:
        managed(request).access.revoke(device)
        return managed(request).describe()
