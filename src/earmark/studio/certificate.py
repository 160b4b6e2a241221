"""The certificate for a studio's HTTPS in the network: made for this machine, kept on disk, and renewed in time.

Browsers grant the microphone only to secure pages. No authority can vouch for a machine in somebody's home, so the
certificate is self-signed. A browser warns about it once, and users in doubt can compare the fingerprint.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from earmark.errors import EarmarkError
from earmark.storage.files import write_atomically
from earmark.web.guard import is_address

FILE = "studio.pem"  # the key, then the certificate, in one file, so that they always match
LIFETIME = timedelta(days=397)  # the longest that browsers accept: CA/Browser Forum, Baseline Requirements, 6.3.2
RENEWED_BEFORE = timedelta(days=30)
CLOCKS_APART = timedelta(days=1)  # a phone's clock may be behind
MOST_NAMES = 20  # includes addresses that a laptop had in other networks: back there, it needs no new certificate
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key.

    Attributes:
        file: the PEM file with the key and the certificate.
        names: the names and addresses that the certificate is valid for.
        fingerprint: the certificate's SHA-256 fingerprint, as browsers show it.
        ends: when the certificate expires.
    """

    file: Path
    names: tuple[str, ...]
    fingerprint: str
    ends: datetime


def own_certificate(folder: Path, names: Iterable[str], now: datetime | None = None) -> Certificate:
    """Read this machine's certificate, or make a new one.

    A new one is made if the folder has none, or if the one there is damaged, expires within a month, or lacks a name.

    Args:
        folder: where the certificate is kept. Nobody but the user may read this folder.
        names: the names and addresses by which the machine is reached.
        now: the current time; the clock's where None.

    Raises:
        EarmarkError: the certificate can't be written.
    """
    now = now or datetime.now(timezone.utc)
    wanted = [name for name in dict.fromkeys(names) if is_address(name) or _NAME.fullmatch(name)][:MOST_NAMES]
    file = folder / FILE
    kept = _read_kept(file)
    _make_private(folder)
    if kept is not None and set(wanted) <= set(kept[1]) and _is_good(kept[0], now):
        file.chmod(0o600)  # a restored backup may be readable by all
        return _describe(file, *kept)
    known = [name for name in (kept[1] if kept else ()) if name not in wanted]
    names = tuple([*wanted, *known][:MOST_NAMES])
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(key, names, now)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(file, pem + certificate.public_bytes(Encoding.PEM))
    file.chmod(0o600)
    return _describe(file, certificate, names)


def _read_kept(file: Path) -> tuple[x509.Certificate, tuple[str, ...]] | None:
    """The kept certificate with its names and addresses, if the key belongs to it."""
    with suppress(OSError, ValueError, TypeError, x509.ExtensionNotFound):
        pem = file.read_bytes()
        key, certificate = load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form):
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            addresses = map(str, found.get_values_for_type(x509.IPAddress))
            return certificate, (*addresses, *found.get_values_for_type(x509.DNSName))
    return None


def _is_good(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - RENEWED_BEFORE


def _sign(key: ec.EllipticCurvePrivateKey, names: tuple[str, ...], now: datetime) -> x509.Certificate:
    """Sign a certificate for server use only. It can't be used to sign others."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Earmark studio")])
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name) for name in names
    ]
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now - CLOCKS_APART + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _describe(file: Path, certificate: x509.Certificate, names: tuple[str, ...]) -> Certificate:
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(file, names, fingerprint, certificate.not_valid_after_utc)


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise EarmarkError(
            f"{folder} can't be made for the studio's certificate ({error.strerror}): free that place."
        ) from error
