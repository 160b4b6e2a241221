"""Models with their front end inside the graph: the waveform of one window goes in, and scores come out.

The spectrogram is computed in double precision, as in `spectrogram`. In single precision a quiet bin beside a loud one
is off by decibels, and scores are off by up to 8e-4. It needs ONNX's DFT, which came with operator set 17.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, load_model_from_string, numpy_helper

from earmark.front_end.frames import SPECTROGRAM
from earmark.front_end.spectrogram import BINS, FLOOR_DB, HOP
from earmark.front_end.spectrogram import WINDOW as ANALYSIS_WINDOW
from earmark.models.metadata import (
    EPSILON,
    SILENCE_RANGE,
    SILENT_DB,
    FixedNormalization,
    FlooredNormalization,
    Metadata,
    Normalization,
)
from earmark.models.onnx_writer import OPSET, GraphBuilder, windows_of

INPUT, WINDOW = "waveform", "window"
PREFIX = "front_end/"  # for the names of everything that is added, so that none is taken already


def waveform_samples(metadata: Metadata) -> int:
    """How many samples make up one window; each frame of a spectrogram sees two hops."""
    if metadata.front_end is SPECTROGRAM:
        return (metadata.window_frames + 1) * HOP
    return metadata.window_frames * metadata.front_end.values


def with_front_end(model: bytes, metadata: Metadata) -> bytes:
    """The model with the input `waveform` [n, samples], in [-1, 1] at the front end's rate, in place of `window`."""
    loaded = load_model_from_string(model)
    graph = _FrontEnd()
    frames, values = metadata.window_frames, metadata.front_end.values
    if metadata.front_end is SPECTROGRAM:
        made = graph.levels(graph.reshaped(INPUT, frames + 1, HOP), frames)
        loaded.opset_import[0].version = max(loaded.opset_import[0].version, OPSET)
    else:
        made = graph.reshaped(INPUT, frames, values)
    graph.add("Identity", graph.normalized(made, metadata.normalization), made=WINDOW)
    nodes = [*graph.nodes, *loaded.graph.node]
    windows = windows_of(loaded)
    given = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [windows, waveform_samples(metadata)])
    _replace(loaded, nodes, given)
    loaded.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in graph.constants.items())
    checker.check_model(loaded)
    return loaded.SerializeToString()  # type: ignore[no-any-return]


def without_front_end(model: bytes, metadata: Metadata) -> bytes:
    """What `with_front_end` was given."""
    loaded = load_model_from_string(model)
    nodes = [node for node in loaded.graph.node if not node.output[0].startswith(PREFIX) and node.output[0] != WINDOW]
    shape: list[str | int | None] = [windows_of(loaded), metadata.window_frames, metadata.front_end.values]
    _replace(loaded, nodes, helper.make_tensor_value_info(WINDOW, TensorProto.FLOAT, shape))
    kept = [tensor for tensor in loaded.graph.initializer if not tensor.name.startswith(PREFIX)]
    del loaded.graph.initializer[:]
    loaded.graph.initializer.extend(kept)
    return loaded.SerializeToString()  # type: ignore[no-any-return]


def _replace(model: ModelProto, nodes: list[NodeProto], given: Any) -> None:
    # Before the list that holds them is deleted.
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    model.graph.input.append(given)


class _FrontEnd(GraphBuilder):
    """Nodes from `waveform` to `window`, and their constants."""

    def __init__(self) -> None:
        super().__init__(PREFIX)

    def reshaped(self, samples: str, frames: int, values: int) -> str:
        return self.add("Reshape", samples, self.keep([-1, frames, values], np.int64))

    def levels(self, hops: str, frames: int) -> str:
        """Hops [n, frames + 1, 1024] → levels in dB [n, frames, 232]: `spectrogram._decibels`."""
        axis = self.keep([1], np.int64)
        halves = [
            self.add("Slice", hops, self.keep([first], np.int64), self.keep([first + frames], np.int64), axis)
            for first in (0, 1)
        ]
        seen = self.add("Cast", self.add("Concat", *halves, axis=2), to=TensorProto.DOUBLE)
        weighted = self.add("Mul", seen, self.keep(ANALYSIS_WINDOW, np.float64))
        parts = self.keep([3], np.int64)  # real and imaginary part of a complex number
        spectrum = self.add("DFT", self.add("Unsqueeze", weighted, parts), axis=2, onesided=1)
        bins = [self.keep([number], np.int64) for number in (0, BINS, 2)]
        spectrum = self.add("Slice", spectrum, *bins)
        power = self.add("ReduceSum", self.add("Mul", spectrum, spectrum), parts, keepdims=0)
        power = self.add("Max", power, self.keep(10 ** (FLOOR_DB / 10), np.float64))
        levels = self.add("Mul", self.add("Log", power), self.keep(10 / np.log(10), np.float64))
        return self.add("Cast", levels, to=TensorProto.FLOAT)

    def normalized(self, window: str, normalization: Normalization) -> str:
        """Does what `Normalization.__call__` does, for shape [n, frames, values]."""
        if isinstance(normalization, FixedNormalization):
            centred = self.add("Sub", window, self.keep(normalization.mean))
            return self.add("Div", centred, self.keep(normalization.deviation))
        if isinstance(normalization, FlooredNormalization):
            is_silent = self.add("LessOrEqual", self.add("ReduceMax", window, axes=[2]), self.keep(SILENT_DB))
            window = self.add("Where", is_silent, self._raised(window, SILENCE_RANGE), window)
            return self._standardized(self.add("Max", self._standardized(window), self.keep(-normalization.floor)))
        if normalization.dynamic_range is not None:
            window = self._raised(window, normalization.dynamic_range)
        return self._standardized(window)

    def _raised(self, window: str, dynamic_range: float) -> str:
        highest = self.add("ReduceMax", window, axes=[1, 2])
        return self.add("Max", window, self.add("Sub", highest, self.keep(dynamic_range)))

    def _standardized(self, window: str) -> str:
        mean = self.add("ReduceMean", self.add("Cast", window, to=TensorProto.DOUBLE), axes=[1, 2])
        centred = self.add("Sub", window, self.add("Cast", mean, to=TensorProto.FLOAT))
        deviation = self.add("Sqrt", self.add("ReduceMean", self.add("Mul", centred, centred), axes=[1, 2]))
        return self.add("Div", centred, self.add("Add", deviation, self.keep(EPSILON)))
