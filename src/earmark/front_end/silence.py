"""Which windows of a recording hold its sound, and which only the silence around it.

A recording of a short sound is mostly longer than the sound. What lies at the recording's own noise floor says nothing
about the sound: it is not learnt as the sound, nor counted as an example, nor heard when the recording is recognized.

The floor is the level that a tenth of the frames don't reach. If the loudest frame is less than 25 dB above it, the
sound is steady, and all of the recording counts: the loudest frames of rain are 4 to 14 dB above their floor, those of
helicopters and engines 5 to 19, of barks, cries and sneezes 33 to 120 (ESC-10, twelve recordings of each). Else a
window counts if one of its frames is more than 6 dB above the floor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.front_end.frames import SPECTROGRAM, Frames, FrontEnd

FLOOR_PERCENT = 10  # of the frames are as quiet as the floor, or quieter
STANDS_OUT = 25.0  # dB above the floor; a sound whose loudest frame isn't as loud is a steady one
AT_FLOOR = 6.0  # dB above the floor; quieter frames are silent, where anything stands out


def sounding_windows(power: npt.NDArray[np.float64], window_frames: int, silence: float) -> npt.NDArray[np.bool_]:
    """Which windows of a recording don't lie at its noise floor.

    Args:
        power: each frame's power, as `FrontEnd.power` gives it, shape [frames].
        window_frames: the number of frames in a window.
        silence: the power of a frame of digital silence, which is no room's noise: it doesn't count for the floor.

    Returns:
        For each window whether it counts, shape [windows]. One at least does, if there is any.
    """
    count = max(0, len(power) - window_frames + 1)
    heard = power[power > silence]
    if len(heard) == 0:
        return np.ones(count, np.bool_)
    has_gap = len(heard) < len(power)
    floor = np.percentile(heard, FLOOR_PERCENT)
    if power.max() >= floor * 10 ** (STANDS_OUT / 10):
        sounds = power > floor * 10 ** (AT_FLOOR / 10)
    elif has_gap:  # a steady sound between digital silence
        sounds = power > silence
    else:
        return np.ones(count, np.bool_)
    if count == 0:
        return sounds[:0]
    return np.asarray(np.lib.stride_tricks.sliding_window_view(sounds, window_frames).any(axis=1))


def sounding(frames: Frames, window_frames: int, front_end: FrontEnd = SPECTROGRAM) -> npt.NDArray[np.bool_]:
    """The same for a recording's frames, shape [frames, values]."""
    return sounding_windows(front_end.power(frames), window_frames, silence_power(front_end))


def silence_power(front_end: FrontEnd) -> float:
    """The power of a frame of digital silence, or a little more, so that no rounding lifts silence above it."""
    silent = np.full((1, front_end.values), front_end.silence, np.float32)
    return float(front_end.power(silent)[0]) * 1.001
