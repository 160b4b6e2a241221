"""What somebody who makes a recording should know of it: it is kept, but may not teach what was meant."""

from __future__ import annotations

from earmark.audio.clip import Clip
from earmark.audio.level import level_notes
from earmark.clips.settings import SOUNDS_MODE
from earmark.front_end.examples import SOUND_FRAMES
from earmark.front_end.recordings import Recording, spectrogram_of
from earmark.front_end.silence import sounding
from earmark.front_end.spectrogram import FRAME_SECONDS
from earmark.labels import NOISE_LABELS

MOSTLY = 0.5  # of the windows


def notes_on(recording: Recording, label: str, mode: str) -> tuple[str, ...]:
    """Sentences about a recording that is silent, too quiet, clipped, or for short sounds mostly silence.

    Args:
        recording: the recording.
        label: its label.
        mode: the project's mode, "sounds" or "words".
    """
    is_noise = label in NOISE_LABELS
    if isinstance(recording, Clip) and (notes := level_notes(recording, may_be_quiet=is_noise)):
        return notes
    if mode != SOUNDS_MODE or is_noise:
        return ()
    sounds = sounding(spectrogram_of(recording), SOUND_FRAMES)
    if len(sounds) == 0 or sounds.mean() >= MOSTLY:
        return ()
    heard = f"{sounds.sum() * FRAME_SECONDS:.1f} of its {recording.seconds:.1f} s"
    return (
        f"The recording is mostly silence: only {heard} stand out and are learnt as {label!r}; hold the sound, or "
        "repeat it, to teach more.",
    )
