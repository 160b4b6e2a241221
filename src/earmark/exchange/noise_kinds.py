"""Which of the two labels for noise a recording gets that holds nothing to detect, such as a false alarm.

`_background_noise_` is mixed under words when a model learns, and `_unknown_` is what a model must tell from its words.
So speech among the background noise would spoil the training. The model `words` decides: what it hears as background
noise goes there, and what it takes for a word, for speech or for anything else goes to `_unknown_`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from earmark.front_end.frames import loudest_window
from earmark.front_end.recordings import Recording, frames_of
from earmark.labels import RESERVED_LABELS
from earmark.recognizer.recognizer import WORDS_MODEL, Recognizer, load

NOISE, UNKNOWN = RESERVED_LABELS


def kind_of_noise(recording: Recording) -> str:
    """`_background_noise_` or `_unknown_`, by what `words` hears in the second around the recording's loudest part."""
    words = _words()
    frames = words.metadata.window_frames
    window = loudest_window(frames_of(recording, frames, words.front_end), frames, words.front_end)
    return NOISE if words.recognize_windows(window[np.newaxis])[0].label == NOISE else UNKNOWN


@lru_cache(maxsize=1)
def _words() -> Recognizer:
    return load(WORDS_MODEL)
