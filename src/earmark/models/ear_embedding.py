"""`ear`: what a second of sound is like, whatever made it. Its card, models/ear/README.md, says how it was made."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import numpy.typing as npt

from earmark.models.network import Network
from earmark.models.saved_model import MODEL_FILE, PRETRAINED

EAR = "ear"  # the base's name
# Compressed by zlib: the scale of each value, float32, then the sounds' values in 8 bits.
OTHER_SOUNDS_FILE = PRETRAINED / EAR / "other_sounds.bin"
VALUES = 2_048


@cache
def ear_network() -> Network:
    """The base `ear`: `window` [n, 49, 320], a waveform of 0.98 s at 16 kHz → `embedding` [n, 2048].

    The first half of the embedding is the mean over time, the second the maximum.
    """
    return Network((PRETRAINED / EAR / MODEL_FILE).read_bytes(), EAR)


@cache
def other_sounds() -> npt.NDArray[np.float32]:
    """Embeddings of sounds of all kinds, that a recognizer on this base is taught to stay silent for.

    Returns:
        Shape [512, 2048].
    """
    content = zlib.decompress(OTHER_SOUNDS_FILE.read_bytes())
    scale = np.frombuffer(content, "<f4", VALUES)
    values: npt.NDArray[np.float32] = np.frombuffer(content, "u1", offset=scale.nbytes).reshape(-1, VALUES) * scale
    return values
