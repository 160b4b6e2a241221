"""Write the student as a model file of Earmark's, and its embeddings of sounds of all kinds.

    python recipes/ear/export.py DATA WORK OUTPUT

DATA holds the unpacked data sets, WORK the checkpoint of distill.py; OUTPUT is the folder for what is written.
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from front_end import FFT, FRAME, HOP, OFFSET, mel_matrix
from network import Student
from onnx import TensorProto
from sounds import read_sounds
from teacher import VALUES, Teacher
from torch import nn

from earmark.front_end.frames import WAVEFORM, WAVEFORM_HOP
from earmark.models.ear_embedding import OTHER_SOUNDS_FILE
from earmark.models.metadata import FixedNormalization, Metadata
from earmark.models.network import Network
from earmark.models.onnx_writer import GraphBuilder, model_file
from earmark.models.saved_model import save_model

NAME = "ear"
WINDOW_FRAMES = 49  # 0.98 s: 96 frames of the log-mel spectrogram, and the samples that the last one needs
SEEN = 3 * HOP  # samples, the hops that a frame lies in
OTHERS = 512
OTHER_SHARES = {"sound_events": 0.45, "ambience": 0.45, "background_noise": 0.05, "talk_english_orders": 0.05}
LEAST_PEAK = 0.002  # of a window that is more than silence


@dataclass(frozen=True)
class Layer:
    """A convolution with ReLU after it: kernel [outputs, inputs / groups, height, width], bias [outputs]."""

    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    stride: int
    groups: int


def layers_of(network: Student | Teacher) -> list[Layer]:
    """The convolutions in order, with batch normalization folded into the one before it."""
    found: list[Layer] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bias = torch.zeros(module.out_channels) if module.bias is None else module.bias
            found.append(Layer(_array(module.weight), _array(bias), module.stride[0], module.groups))
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            factor = _array(module.weight / torch.sqrt(module.running_var + module.eps))
            shift = _array(module.bias) - _array(module.running_mean) * factor
            last = found[-1]
            found[-1] = Layer(last.kernel * factor[:, None, None, None], shift, last.stride, last.groups)
    return found


class _Graph(GraphBuilder):
    def rounded(self, kernel: npt.NDArray[np.float32]) -> str:
        """A kernel in 8 bits, with a scale for each output channel. ONNX Runtime unfolds it when it opens the model."""
        scale = np.abs(kernel).max((1, 2, 3), keepdims=True) / 127 + 1e-12
        steps = self.keep(np.round(kernel / scale), np.int8)
        return self.add("Mul", self.add("Cast", steps, to=TensorProto.FLOAT), self.keep(scale))


def ear_model(
    layers: list[Layer], window_frames: int = WINDOW_FRAMES, name: str = NAME, *, whole: bool = False
) -> bytes:
    """The model file: `window` [n, frames, 320], the waveform at 16 kHz → `embedding` [n, 2048], mean and maximum.

    Args:
        layers: the network's convolutions.
        window_frames: how many frames of 20 ms a window has.
        name: the model's name.
        whole: whether to keep kernels in float32.
    """
    graph = _Graph()
    hops = window_frames * WAVEFORM_HOP // HOP
    frames = hops - SEEN // HOP + 1
    sound = graph.add("Reshape", "window", graph.keep([-1, hops, HOP], np.int64))
    axis = graph.keep([1], np.int64)
    parts = [
        graph.add("Slice", sound, graph.keep([first], np.int64), graph.keep([first + frames], np.int64), axis)
        for first in range(SEEN // HOP)
    ]
    levels = _log_mel(graph, graph.add("Concat", *parts, axis=2))
    values = graph.add("Unsqueeze", levels, axis)
    for layer in layers:
        wide = layer.kernel.shape[2] == 3
        kernel = graph.keep(layer.kernel) if whole or wide else graph.rounded(layer.kernel)
        pads = [0] * 4 if not wide else [0, 0, 1, 1] if layer.stride == 2 else [1] * 4
        made = graph.add(
            "Conv", values, kernel, graph.keep(layer.bias), strides=[layer.stride] * 2, group=layer.groups, pads=pads
        )
        values = graph.add("Relu", made)
    over_time = graph.add("ReduceMean", values, axes=[3], keepdims=0)
    mean = graph.add("ReduceMean", over_time, axes=[2], keepdims=0)
    highest = graph.add("ReduceMax", over_time, axes=[2], keepdims=0)
    graph.add("Concat", mean, highest, axis=1, made="embedding")
    metadata = Metadata(name, (), window_frames, FixedNormalization(0.0, 1.0), WAVEFORM, averages_clips=True)
    return model_file(graph.nodes, graph.constants, metadata, {"embedding": 2 * VALUES})


def _log_mel(graph: _Graph, frames: str) -> str:
    """Frames [n, t, 480], of which the window sees the first 400 samples → levels [n, t, 64]."""
    matrix = mel_matrix().numpy()
    bins = np.flatnonzero(matrix.any(axis=1))
    # Seen from its middle, a frame has an even part, which only cosines see, and an odd one, for sines: half the work.
    half = FRAME // 2
    time = np.arange(half)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / FRAME), 0.5 - 0.5 * np.cos(2 * np.pi * (FRAME - 1 - time) / FRAME)
    axis = graph.keep([2], np.int64)
    first = graph.add("Slice", frames, graph.keep([0], np.int64), graph.keep([half], np.int64), axis)
    last = graph.add(
        "Slice", frames, graph.keep([FRAME - 1], np.int64), graph.keep([half - 1], np.int64), axis,
        graph.keep([-1], np.int64),
    )  # fmt: skip
    first, last = (
        graph.add("Mul", part, graph.keep(weights)) for part, weights in zip((first, last), window, strict=True)
    )
    turns = 2 * np.pi * np.outer(time - (FRAME - 1) / 2, bins) / FFT
    parts = [
        graph.add("MatMul", graph.add(operator, first, last), graph.keep(wave(turns)))
        for operator, wave in (("Add", np.cos), ("Sub", np.sin))
    ]
    power = graph.add("Add", *(graph.add("Mul", part, part) for part in parts))
    mel = graph.add("MatMul", graph.add("Sqrt", power), graph.keep(matrix[bins]))
    return graph.add("Log", graph.add("Add", mel, graph.keep(OFFSET)))


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().numpy().astype(np.float32)


def read_student(work: Path) -> Student:
    """The student with the averaged weights of a checkpoint."""
    averaged = torch.load(work / "checkpoint.pt", weights_only=True)["averaged"]
    student = Student()
    student.load_state_dict(
        {key.removeprefix("module."): value for key, value in averaged.items() if key.startswith("module.")}
    )
    return student.eval()


def embed_others(model: bytes, data: Path) -> npt.NDArray[np.float32]:
    """Embeddings of windows from all over the training's sounds, each at a random level: shape [OTHERS, 2048]."""
    network, random = Network(model, NAME), np.random.default_rng(0)
    samples = WINDOW_FRAMES * WAVEFORM_HOP
    windows: list[npt.NDArray[np.float32]] = []
    for name, share in OTHER_SHARES.items():
        sound = read_sounds(data / name).numpy().astype(np.float32) / 32_768
        wanted = len(windows) + round(share * OTHERS)
        while len(windows) < wanted:
            first = random.integers(len(sound) - samples)
            window = sound[first : first + samples]
            peak = np.abs(window).max()
            if peak > LEAST_PEAK:
                windows.append(window / peak * 10 ** (random.uniform(-30, 0) / 20))
    return network.embed_windows(np.array(windows, np.float32).reshape(-1, WINDOW_FRAMES, WAVEFORM_HOP))


def main() -> None:
    data, work, output = map(Path, sys.argv[1:4])
    output.mkdir(parents=True, exist_ok=True)
    student = read_student(work)
    model = ear_model(layers_of(student))
    card = {
        "name": NAME,
        "labels": [],
        "recipe": {"steps": torch.load(work / "checkpoint.pt", weights_only=True)["step"], "seed": 0},
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
    }
    save_model(output, model, card, ("earmark", "numpy", "onnx", "torch"))
    others = embed_others(model, data)
    scale = np.maximum(others.max(axis=0), 1e-6) / 255
    content = scale.astype("<f4").tobytes() + np.round(others / scale).astype(np.uint8).tobytes()
    (output / OTHER_SOUNDS_FILE.name).write_bytes(zlib.compress(content, 9))


if __name__ == "__main__":
    main()
