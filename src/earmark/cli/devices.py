"""`earmark devices`: the microphones, and a test of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.options import Json
from earmark.cli.terminal import complain, put, terminal
from earmark.errors import EarmarkError

if TYPE_CHECKING:
    from earmark.audio.clip import Samples
    from earmark.audio.devices import Input

METER_WIDTH = 40  # characters, for 60 dB
METER_DECIBELS = 60.0


def devices(
    test: Annotated[bool, typer.Option("--test", help="Listen to one for some seconds and show its level.")] = False,
    device: Annotated[
        str | None,
        typer.Option(help="The microphone to test: its number or a part of its name.", show_default="the default one"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=600, help="How long to test.")] = 5.0,
    as_json: Json = False,
) -> None:
    """List the microphones with their numbers, names and sample rates, or test one.

    The default one is marked with a star. Rates are in Hz, the device's own first.
    """
    from earmark.audio.devices import find_input, inputs

    if test:
        _test(find_input(device), seconds, as_json)
        return
    if device is not None:
        raise EarmarkError("A device is named for a test alone: add --test, or leave out --device.")
    found = inputs()
    if not found:
        complain("No microphone was found: plug one in.", "Note")
    for one in found:
        others = ", ".join(f"{rate:,}" for rate in one.rates if rate != one.default_rate)
        rates = f"{one.default_rate:,} Hz{f' ({others})' if others else ''}"
        put(
            one.as_dict(),
            as_json,
            f"{'*' if one.is_default else ' '} {one.number:2}  {one.name}, {one.system}  {rates}",
        )


def _test(found: Input, seconds: float, as_json: bool) -> None:
    import numpy as np

    from earmark.audio.clip import as_clip
    from earmark.audio.level import decibels, level_notes, peak
    from earmark.audio.sources import MicrophoneSource, first_seconds

    chunks: list[Samples] = []
    unseen: list[Samples] = []
    with MicrophoneSource(found.number) as source, terminal().status(f"Listening to {found.name}…") as status:
        for chunk in first_seconds(source, seconds):
            chunks.append(chunk)
            unseen.append(chunk)
            if sum(map(len, unseen)) >= source.sample_rate / 10:
                status.update(f"{found.name} {_meter(decibels(max(map(peak, unseen))))}")
                unseen.clear()
    clip = as_clip(np.concatenate(chunks), source.sample_rate, found.name)
    highest = decibels(peak(clip.samples))
    mean = decibels(float(np.sqrt(np.square(clip.samples, dtype=np.float64).mean())))
    notes = level_notes(clip)
    values = {
        "number": found.number, "name": found.name, "seconds": clip.seconds, "peak_dbfs": highest, "rms_dbfs": mean,
        "notes": notes,
    }  # fmt: skip
    verdict = "" if notes else " That is a good level."
    put(values, as_json, f"{found.name}: peak {highest:.0f} dBFS, mean {mean:.0f} dBFS.{verdict}")
    for note in notes:
        complain(note, "Note")


def _meter(level: float) -> str:
    filled = round(METER_WIDTH * min(1.0, max(0.0, 1 + level / METER_DECIBELS)))
    return f"{'█' * filled}{'░' * (METER_WIDTH - filled)} {level:4.0f} dBFS"
