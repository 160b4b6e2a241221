"""A recognizer of the waveform itself whose scores can be worked out by hand: it tells a low tone from a high one.

A frame of 20 ms holds whole periods of both tones, so that a tone of amplitude a has the power a² in each frame, its
mean over the window's frames is the embedding, and noise wins where both are small.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from onnx import helper

from earmark.front_end.frames import WAVEFORM, WAVEFORM_HOP
from earmark.models.metadata import FixedNormalization, Metadata
from earmark.models.onnx_writer import model_file

FRAMES = 50  # 1 s
RATE = 16_000
LABELS = ("_background_noise_", "low", "high")
LOW, HIGH = 500, 2_000  # Hz
GAIN, BIAS = 100.0, 2.0

Samples = npt.NDArray[np.float32]


def tone_model(frames: int = FRAMES, labels: tuple[str, ...] = LABELS) -> bytes:
    """An ONNX file: `embedding` [n, 2], the tones' mean powers → `scores`, softmax of (2, 100 × them)."""
    time = np.arange(WAVEFORM_HOP) / RATE
    waves = [wave(2 * np.pi * hertz * time) for hertz in (LOW, HIGH) for wave in (np.sin, np.cos)]
    constants = {
        "waves": np.stack(waves, axis=1).astype(np.float32) * np.float32(2 / WAVEFORM_HOP),
        "pairs": np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32),
        "gain": np.array([[0, GAIN, 0], [0, 0, GAIN]], np.float32),
        "bias": np.array([BIAS, 0, 0], np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["window", "waves"], ["parts"]),
        helper.make_node("Mul", ["parts", "parts"], ["squares"]),
        helper.make_node("MatMul", ["squares", "pairs"], ["powers"]),
        helper.make_node("ReduceMean", ["powers"], ["embedding"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["embedding", "gain", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    metadata = Metadata("tones", labels, frames, FixedNormalization(0.0, 1.0), WAVEFORM)
    return model_file(nodes, constants, metadata, {"scores": 3, "embedding": 2} if labels else {"embedding": 2})


def scores_by_hand(low: float, high: float) -> list[float]:
    """Of a window with those mean powers."""
    powers = [math.exp(BIAS), math.exp(GAIN * low), math.exp(GAIN * high)]
    return [power / sum(powers) for power in powers]


def tone(hertz: float, seconds: float, amplitude: float = 0.3, rate: int = RATE) -> Samples:
    """A sine."""
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def silence_with(sounds: dict[float, Samples], seconds: float, rate: int = RATE) -> Samples:
    """Silence with sounds in it, each at its second."""
    samples = np.zeros(round(seconds * rate), np.float32)
    for second, sound in sounds.items():
        at = round(second * rate)
        samples[at : at + len(sound)] += sound
    return samples
