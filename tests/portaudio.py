"""PortAudio, the system's library of microphones: whether it is here, and an environment without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def skip_without_portaudio() -> None:
    try:
        import sounddevice  # noqa: F401
    except OSError:
        pytest.skip("needs PortAudio: make test installs it")


def without_portaudio(folder: Path) -> dict[str, str]:
    """What to add to the environment of a process that shall not be able to load it, wherever it is installed.

    The loader comes to a file of its name that is no library before it comes to the system's.
    """
    if sys.platform != "linux":
        pytest.skip("sounddevice brings its own PortAudio along for other systems")
    (folder / "libportaudio.so.2").touch()
    return {"LD_LIBRARY_PATH": str(folder)}
