"""How `earmark record` goes: a countdown, a beep, a clip and what to know of it, and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.devices import has_output, portaudio
from earmark.audio.sources import MicrophoneSource, Source, record_clip
from earmark.cli.terminal import complain, put, terminal
from earmark.clips.folders import check_length
from earmark.labels import check_label
from earmark.project import Project

MICROPHONE_SECONDS = 3.0  # of a microphone, which never ends, unless another length is asked for
BEEP_HERTZ, BEEP_SECONDS, BEEP_RATE = 880, 0.15, 48_000
BEEP_FADES = 0.3  # seconds until the room has swallowed it


@dataclass(frozen=True)
class Rounds:
    """How several clips are recorded one after the other.

    Attributes:
        count: how many clips.
        pause: seconds between two of them.
        countdown: seconds that are counted down before the first.
        beep: whether a beep says when to begin.
    """

    count: int
    pause: float
    countdown: int
    beep: bool


def record_rounds(
    open_source: Callable[[], Source],
    rounds: Rounds,
    folder: Path,
    label: str,
    *,
    seconds: float | None,
    mode: str | None,
    as_json: bool,
) -> None:
    """Record clips and save each before the next. The project is made with the first.

    The source is opened for each clip anew, after the beep: so no clip holds it.
    """
    label = check_label(label)
    for number in range(rounds.count):
        source = open_source()  # told before the countdown, not after it
        if isinstance(source, MicrophoneSource) and (rounds.beep or rounds.countdown or number):
            source.close()
            _get_ready(rounds, number)
            source = open_source()
        with source:
            clip = _record(source, seconds)
        check_length(clip)
        _save(clip, folder, label, mode, as_json)


def _get_ready(rounds: Rounds, number: int) -> None:
    console = terminal()
    if number:
        time.sleep(rounds.pause)
    else:
        for left in range(rounds.countdown, 0, -1):
            console.print(f"{left}…", highlight=False)
            time.sleep(1)
    if rounds.count > 1:
        console.print(f"{number + 1} of {rounds.count}", highlight=False)
    if rounds.beep:
        _beep()


def _beep() -> None:
    """Beep, and wait until nothing of it is left in the room. Without a loudspeaker the terminal rings its bell."""
    sounddevice = portaudio()
    seconds = np.arange(round(BEEP_SECONDS * BEEP_RATE)) / BEEP_RATE
    fade = np.minimum(1, np.minimum(seconds, BEEP_SECONDS - seconds) / 0.01)
    try:
        if not has_output():
            terminal().bell()
            return
        sounddevice.play((0.2 * fade * np.sin(2 * np.pi * BEEP_HERTZ * seconds)).astype(np.float32), BEEP_RATE)
        sounddevice.wait()
    except sounddevice.PortAudioError as error:
        complain(f"The loudspeaker can't be used ({error}): recording goes on without a beep.", "Note")
    time.sleep(BEEP_FADES)


def _record(source: Source, seconds: float | None) -> Clip:
    is_microphone = isinstance(source, MicrophoneSource)
    if is_microphone and seconds is None:
        seconds = MICROPHONE_SECONDS
    length = f"{seconds:g} s" if seconds is not None else "all"
    with terminal().status(f"Recording {length} from {source.name}…"):
        clip = record_clip(source, seconds)
    if seconds is None or is_microphone:
        return clip
    if source.seconds is None:
        if clip.seconds >= seconds:
            complain(f"What follows the first {seconds:g} s of {source.name} is left out.", "Note")
    elif source.seconds > clip.seconds:
        left = source.seconds - clip.seconds
        complain(f"{source.name} lasts {source.seconds:.2f} s: its last {left:.2f} s are left out.", "Note")
    return clip


def _save(clip: Clip, folder: Path, label: str, mode: str | None, as_json: bool) -> None:
    project = Project(folder, create=True, mode=mode or "sounds")
    saved = project.add(label, clip)
    if mode is not None:
        project.set_mode(mode)
    examples = project.examples_in(saved)
    values = {
        "label": saved.label, "path": str(saved.path), "seconds": saved.seconds, "examples": examples,
        "notes": saved.notes,
    }  # fmt: skip
    text = f"{saved.label}: {saved.seconds:.2f} s, {examples} example{'' if examples == 1 else 's'} → {saved.path}"
    put(values, as_json, text)
    for note in saved.notes:
        complain(note, "Note")
