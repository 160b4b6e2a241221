"""A recognizer of one-second windows whose scores can be worked out by hand, and the sounds that it knows.

It stands for words where a test must not depend on trained weights: it tells noise in one band from noise in another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from earmark.models.metadata import KEY, Metadata, Normalization, WindowNormalization

FRAMES, BINS = 43, 232
LABELS = ("_background_noise_", "low", "high")
LOW, HIGH = (300, 1_200), (2_000, 4_000)  # Hz
BIAS = (2.0, 0.0, 0.0)  # so that a window without either is noise
RATE = 16_000  # Hz, that of Speech Commands

Samples = npt.NDArray[np.float32]


def band_weights() -> npt.NDArray[np.float32]:
    """What each bin of a frame counts for each label, shape [232, 3]: 4 × the mean over the label's band."""
    hertz = np.arange(BINS) * 44_100 / 2_048
    weights = np.zeros((BINS, 3), np.float32)
    for label, (lowest, highest) in ((1, LOW), (2, HIGH)):
        inside = (hertz >= lowest) & (hertz <= highest)
        weights[inside, label] = 4 / inside.sum()
    return weights


def band_model(normalization: Normalization | None = None, name: str = "bands") -> bytes:
    """An ONNX file: softmax(mean over the frames of (window × weights) + bias)."""
    constants = {"weights": band_weights(), "bias": np.array(BIAS, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["window", "weights"], ["levels"]),
            helper.make_node("ReduceMean", ["levels"], ["means"], axes=[1], keepdims=0),
            helper.make_node("Add", ["means", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        ],
        name,
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", FRAMES, BINS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", len(LABELS)])],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    metadata = Metadata(name, LABELS, FRAMES, normalization or WindowNormalization(60.0))
    helper.set_model_props(model, {KEY: metadata.to_json()})
    return model.SerializeToString()  # type: ignore[no-any-return]


def hiss(seconds: float, seed: int, rate: int = RATE) -> Samples:
    """A quiet room: noise of the same level at all frequencies."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (0.0005 * noise).astype(np.float32)


def burst(band: tuple[int, int], seconds: float, seed: int, rate: int = RATE) -> Samples:
    """Noise in a band of frequencies, 40 dB above the room."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    spectrum, hertz = np.fft.rfft(noise), np.fft.rfftfreq(len(noise), 1 / rate)
    spectrum[(hertz < band[0]) | (hertz > band[1])] = 0
    inside = np.fft.irfft(spectrum, len(noise))
    return np.asarray(0.05 * inside / inside.std(), np.float32)


def room_with(sounds: dict[float, Samples], seconds: float, rate: int = RATE) -> Samples:
    """A quiet room with sounds in it, each at its second."""
    samples = hiss(seconds, 0, rate)
    for second, sound in sounds.items():
        at = round(second * rate)
        samples[at : at + len(sound)] += sound
    return samples
