"""PortAudio, the system's library of microphones: whether it is here, and environments without and with devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
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


# For ALSA, the sound system of Linux: microphones that hear a file, and a loudspeaker that writes one. They are as fast
# as the computer.
DEVICES = """
pcm.!default {{
    type asym
    capture.pcm "kitchen microphone"
    playback.pcm "loudspeaker"
    hint {{ show on description "both" }}
}}
pcm."kitchen microphone" {{
    type plug
    slave {{ pcm "heard" format S16_LE channels 1 rate 48000 }}
}}
pcm."nursery microphone" {{
    type plug
    slave {{ pcm "heard" format S16_LE channels 1 rate 48000 }}
}}
pcm.heard {{
    type file
    file "/dev/null"
    infile "{folder}/heard.raw"
    format raw
    slave.pcm nothing
}}
pcm.loudspeaker {{
    type plug
    slave {{ pcm "played" format S16_LE channels 1 rate 48000 }}
}}
pcm.played {{
    type file
    file "{folder}/played.raw"
    format raw
    slave.pcm nothing
}}
pcm.nothing {{ type null }}
"""


def with_devices(folder: Path, heard: npt.NDArray[np.float32]) -> dict[str, str]:
    """What to add to a process's environment so that its microphones hear this sound, at 48 kHz."""
    skip_without_portaudio()
    (heard * 32_767).astype("<i2").tofile(folder / "heard.raw")
    (folder / "asound.conf").write_text(DEVICES.format(folder=folder))
    environment = {"ALSA_CONFIG_PATH": str(folder / "asound.conf")}
    script = "import sounddevice; print(sounddevice.query_devices(kind='input')['name'])"
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if run.stdout != "default\n":
        pytest.skip("needs PortAudio with ALSA")
    return environment
