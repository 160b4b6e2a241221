"""Whether a recording is at a level that can be used: not silent, not too quiet, not clipped."""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip, Samples

SILENT = 2 / 2**15  # peak, as a part of full scale: no more than 16 bits' rounding
TOO_QUIET = 0.01  # peak: −40 dBFS; speech at arm's length has −20 to −6
FULL = 0.98  # clipping can't begin below this
CLIPPED = 4  # equal samples in a row at the top; a sound that just reaches it has two


def peak(samples: Samples) -> float:
    """The largest sample, 0 to 1; 0 if there are none."""
    return float(max(samples.max(initial=0), -samples.min(initial=0)))


def decibels(value: float) -> float:
    """A part of full scale in dBFS."""
    return 20 * float(np.log10(max(value, 1e-8)))


def level_notes(clip: Clip, *, may_be_quiet: bool = False) -> tuple[str, ...]:
    """What somebody who records should know of the level, as sentences; none if it is right.

    Args:
        clip: the recording.
        may_be_quiet: whether a low level is right, as for background noise.
    """
    loudest = peak(clip.samples)
    if loudest < SILENT:
        return ("The recording is silent: check that the right microphone is chosen and not muted.",)
    if loudest < TOO_QUIET and not may_be_quiet:
        level = f"{decibels(loudest):.0f} dBFS".replace("-", "−")
        return (f"The recording is very quiet (its peak is {level}): go closer to the microphone, or turn it up.",)
    if is_clipped(clip.samples):
        return ("The recording is clipped: go further from the microphone, or turn it down.",)
    return ()


def is_clipped(samples: Samples) -> bool:
    """Whether peaks are cut off: some samples in a row have the same value near full scale."""
    at_top = (samples >= FULL) | (samples <= -FULL)
    if np.count_nonzero(at_top) < CLIPPED:
        return False
    same = at_top[1:] & (samples[1:] == samples[:-1])
    runs = np.convolve(same, np.ones(CLIPPED - 1, np.int64), "valid")
    return bool((runs == CLIPPED - 1).any())
