"""`earmark doctor`: what somebody who helps needs to know of an installation, and nothing about its user."""

from __future__ import annotations

import locale
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import typer

from earmark.cli.options import Json
from earmark.cli.terminal import put
from earmark.errors import EarmarkError, as_reason
from earmark.version import __version__

PORTS = {"studio": 8000, "serve": 8001, "studio --lan": 8443}  # where these listen unless they are told otherwise
FOR_DEVELOPERS = {"test", "dist"}  # extras that no user needs
SIGNS = {"ok": "✓", "note": "–", "broken": "✗"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        state: "ok"; "note", where something optional isn't there; or "broken", where Earmark can't work.
        text: what was found.
        values: the same for a machine.
    """

    name: str
    state: str
    text: str
    values: dict[str, Any]


def doctor(as_json: Json = False) -> None:
    """Print what support needs: versions, extras, sound, models, ports. It holds no names of yours.

    The exit code is 1 if something is broken that Earmark can't do without. What is only missing is no fault.
    """
    findings = [_without_names(finding) for finding in _examine()]
    for finding in findings:
        put(asdict(finding), as_json, f"{SIGNS[finding.state]} {finding.name}: {finding.text}")
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def _examine() -> Iterator[Finding]:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding("Earmark", "ok", f"{__version__}, {python}, {system}, {os.cpu_count()} cores", {
        "version": __version__, "python": python, "system": system, "cores": os.cpu_count(),
    })  # fmt: skip
    text = f"output {sys.stdout.encoding if sys.stdout else None}, files {sys.getfilesystemencoding()}"
    coding = locale.getpreferredencoding(do_setlocale=False)
    yield Finding("Text", "ok", f"{text}, locale {coding}", {"locale": coding})
    required = _required()
    yield _packages(required.pop("", []))
    for extra, names in required.items():
        yield _extra(extra, names)
    for name, check in (("Sound files", _sound_files), ("Model words", _words), ("Microphones", _microphones)):
        yield _checked(name, check, is_needed=name != "Microphones")
    yield _programs()
    yield _cache()
    for command, port in PORTS.items():
        is_free = _is_free(port)
        text = "free" if is_free else "in use: choose another one with --port or --lan-port"
        yield Finding(f"Port {port} ({command})", "ok" if is_free else "note", text, {"port": port, "free": is_free})


def _required() -> dict[str, list[str]]:
    """The packages that Earmark requires, by extra; "" for those that it always needs. Nested extras are resolved."""
    found: dict[str, list[str]] = {"": []}
    try:
        texts = metadata.requires("earmark") or []
    except metadata.PackageNotFoundError:  # run from a copy that isn't installed
        return found
    for text in texts:
        name, marker = re.match(r"[\w.-]+(?:\[[\w,-]+\])?", text), re.search(r"extra == ['\"]([\w-]+)", text)
        versions = re.search(r"python_version ([<>]=?) ['\"]3\.(\d+)", text)
        if name is None or (versions and not _fits(versions[1], int(versions[2]))):
            continue
        found.setdefault(marker[1] if marker else "", []).append(name[0])
    return {extra: sorted(set(_resolved(extra, found))) for extra in found if extra not in FOR_DEVELOPERS}


def _fits(relation: str, minor: int) -> bool:
    own = sys.version_info[1]
    return {"<": own < minor, "<=": own <= minor, ">": own > minor, ">=": own >= minor}[relation]


def _resolved(extra: str, required: dict[str, list[str]]) -> Iterator[str]:
    for name in required.get(extra, []):
        own = re.fullmatch(r"earmark\[([\w,-]+)\]", name)
        if own is None:
            yield name.partition("[")[0]
        else:
            for other in own[1].split(","):
                yield from _resolved(other, required)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages(names: list[str]) -> Finding:
    versions = {name: _version(name) for name in names}
    text = ", ".join(f"{name} {version or 'is missing'}" for name, version in versions.items())
    return Finding("Packages", "ok" if all(versions.values()) else "broken", text, versions)


def _extra(extra: str, names: list[str]) -> Finding:
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    if missing:
        text = f"not installed (pip install 'earmark[{extra}]' brings {', '.join(missing)})"
    return Finding(f"Extra {extra}", "note" if missing else "ok", text, versions)


def _checked(name: str, check: Callable[[], tuple[str, dict[str, Any]]], *, is_needed: bool) -> Finding:
    try:
        return Finding(name, "ok", *check())
    except EarmarkError as error:
        reason = str(error)
    except Exception as error:  # whatever a broken package raises is what support wants to know
        reason = f"{type(error).__name__}: {as_reason(error)}"
    return Finding(name, "broken" if is_needed else "note", reason, {"error": reason})


def _sound_files() -> tuple[str, dict[str, Any]]:
    import numpy as np
    import soundfile

    from earmark.audio.clip import Clip, encode_flac, read_clip

    read_clip(encode_flac(Clip(np.zeros(100, np.float32), 16_000)))
    version = soundfile.__libsndfile_version__
    return f"libsndfile {version}", {"libsndfile": version}


def _words() -> tuple[str, dict[str, Any]]:
    import numpy as np

    from earmark.models.runtime import load_runtime
    from earmark.recognizer.recognizer import load

    recognizer = load("words")
    recognizer.recognize(np.zeros(16_000, np.float32), 16_000)
    providers = load_runtime().get_available_providers()
    return f"{len(recognizer.labels)} labels, on {', '.join(providers)}", {"providers": providers}


def _microphones() -> tuple[str, dict[str, Any]]:
    from earmark.audio.devices import has_output, inputs, portaudio

    sounddevice = portaudio()
    version, found = sounddevice.get_portaudio_version()[1], inputs()
    if not found:
        raise EarmarkError(f"{version} finds none: plug one in.")
    # Without their names, which often hold their owner's.
    listed = [{key: value for key, value in one.as_dict().items() if key != "name"} for one in found]
    text = "; ".join(
        f"{one.number} {one.system}{' (default)' if one.is_default else ''}, {one.default_rate:,} Hz" for one in found
    )
    loudspeaker = "a loudspeaker" if has_output() else "no loudspeaker"
    values = {"portaudio": version, "inputs": listed, "output": has_output()}
    return f"{version}, {loudspeaker}; {text}; `earmark devices` tells their names", values


def _programs() -> Finding:
    ffmpeg = shutil.which("ffmpeg") is not None
    return Finding("ffmpeg", "ok" if ffmpeg else "note", "found" if ffmpeg else "not found", {"ffmpeg": ffmpeg})


def _cache() -> Finding:
    from earmark.storage.user_folders import user_cache

    folder = user_cache()
    if folder is None:
        return Finding("Cache", "note", "there is no place for one", {"folder": None})
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    return Finding("Cache", "ok", f"{folder}, {size / 2**20:.1f} MiB", {"folder": str(folder), "bytes": size})


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        if os.name != "nt":  # a port that a program has just left counts as free, as servers take it
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _without_names(finding: Finding) -> Finding:
    """The finding without the user's name, home and computer, which paths and errors may hold."""
    hidden: dict[str, str] = {}
    for folder in (os.environ.get("HOME"), os.environ.get("USERPROFILE"), _home()):
        if folder and folder not in ("/", "\\"):
            hidden[folder] = "~"
    for variable in ("USER", "LOGNAME", "USERNAME"):
        hidden[os.environ.get(variable, "")] = "(user)"
    hidden[platform.node()] = "(computer)"

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for name, sign in hidden.items():
                if len(name) > 1:
                    edges = (r"(?<!\w)", r"(?!\w)") if sign != "~" else ("", r"(?!\w)")
                    value = re.sub(re.escape(name).join(edges), sign, value)
            return value
        if isinstance(value, dict):
            return {key: clean(one) for key, one in value.items()}
        return [clean(one) for one in value] if isinstance(value, (list, tuple)) else value

    return Finding(finding.name, finding.state, clean(finding.text), clean(finding.values))


def _home() -> str:
    try:
        return str(Path.home())
    except RuntimeError:  # the system doesn't know this user's home
        return ""
