"""The computer's microphones: which there are, and which one is meant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from earmark.errors import EarmarkError

RATES = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)  # Hz that are asked for


@dataclass(frozen=True)
class Input:
    """A microphone, or whatever else the system takes sound from.

    Attributes:
        number: its number in PortAudio's list.
        name: its name.
        system: the part of the system that it belongs to, such as ALSA, Core Audio or WASAPI.
        channels: how many channels it has.
        default_rate: its own sample rate in Hz.
        is_default: whether it is taken where none is named.
    """

    number: int
    name: str
    system: str
    channels: int
    default_rate: int
    is_default: bool

    @cached_property
    def rates(self) -> tuple[int, ...]:
        """The usual sample rates, in Hz, at which it can be opened. Asking takes some time."""
        return tuple(rate for rate in RATES if rate == self.default_rate or _opens(self.number, rate))

    def as_dict(self) -> dict[str, Any]:
        """As `earmark devices --json` prints it."""
        return {
            "number": self.number, "name": self.name, "system": self.system, "channels": self.channels,
            "default_rate": self.default_rate, "rates": self.rates, "default": self.is_default,
        }  # fmt: skip


def inputs() -> list[Input]:
    """All microphones, in the order of their numbers.

    Raises:
        EarmarkError: there is no PortAudio.
    """
    sounddevice = portaudio()
    systems = [system["name"] for system in sounddevice.query_hostapis()]
    default = _default("input")
    return [
        Input(
            number, device["name"], systems[device["hostapi"]], device["max_input_channels"],
            int(device["default_samplerate"]), number == default,
        )
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]  # fmt: skip


def find_input(wanted: str | int | None = None) -> Input:
    """The microphone with that number, that name, or that part of its name in capitals or small letters.

    None means the default one, or the first if there is no default.

    Raises:
        EarmarkError: there is no PortAudio, no microphone, no such one, or more than one.
    """
    found = inputs()
    if not found:
        which = (
            "No microphone was found" if wanted is None else f"The microphone {wanted!r} was not found, nor any other"
        )
        raise EarmarkError(f"{which}: plug one in, or give a sound file instead.")
    if wanted is None:
        return next((one for one in found if one.is_default), found[0])
    if isinstance(wanted, str) and wanted.isascii() and wanted.isdecimal():
        wanted = int(wanted)
    if isinstance(wanted, int):
        fitting = [one for one in found if one.number == wanted]
    else:
        fitting = [one for one in found if one.name == wanted] or [
            one for one in found if wanted.casefold() in one.name.casefold()
        ]
    if len(fitting) == 1:
        return fitting[0]
    many = ", ".join(f"{one.number} {one.name}" for one in fitting or found)
    problem = (
        f"{len(fitting)} microphones are meant by {wanted!r}" if fitting else f"The microphone {wanted!r} was not found"
    )
    raise EarmarkError(f"{problem}: give the number or more of the name of one of these: {many}.")


def has_output() -> bool:
    """Whether there is a loudspeaker."""
    return _default("output") is not None


def portaudio() -> Any:
    """The package sounddevice.

    Raises:
        EarmarkError: PortAudio can't be loaded.
    """
    try:
        import sounddevice
    except OSError as error:  # the Python package is there, the system's PortAudio isn't
        raise EarmarkError(
            "The microphone needs PortAudio, which can't be loaded: install it (Debian and Ubuntu: apt install "
            "libportaudio2), or give a sound file instead."
        ) from error
    return sounddevice


def _default(kind: str) -> int | None:
    """The number of the default microphone or loudspeaker; None if there is none."""
    sounddevice = portaudio()
    try:
        return int(sounddevice.query_devices(kind=kind)["index"])
    except (ValueError, sounddevice.PortAudioError):
        return None


def _opens(number: int, rate: int) -> bool:
    sounddevice = portaudio()
    try:
        sounddevice.check_input_settings(device=number, channels=1, dtype="float32", samplerate=rate)
    except (ValueError, sounddevice.PortAudioError):
        return False
    return True
