"""A network from elsewhere as a base: its graph, folded, with the declared front end before it and pooling after it.

The result is a file like that of any other base: `window` [1, frames, samples], the waveform → `embedding` [1, values].
It takes one window at a time, as the shapes of a folded graph are fixed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper

from earmark.errors import EarmarkError
from earmark.models.declaration import BEFORE_LAST, FLOAT, Declaration, fixed_shape
from earmark.models.metadata import BASE_INPUT, FixedNormalization, Metadata, TfLiteBase
from earmark.models.onnx_file import Graph, UnfitModelError
from earmark.models.onnx_fold import Folded, fold_graph
from earmark.models.onnx_writer import GraphBuilder, model_file

OWN, THEIRS = "own/", "base/"  # for the names of everything that is added, and of everything that was there


def base_metadata(name: str, declaration: Declaration) -> Metadata:
    """The metadata of a base with that declaration."""
    return Metadata(
        name, (), declaration.window_frames, FixedNormalization(0.0, 1.0), declaration.front_end,
        hop_frames=declaration.hop_frames, averages_clips=declaration.hears == "sounds",
    )  # fmt: skip


def tflite_base(name: str, sha256: str, values: int, declaration: Declaration) -> bytes:
    """The file of a base that is a TensorFlow Lite network: `base_embedding` [n, values] → `embedding`, the same.

    Args:
        name: the base's name.
        sha256: the sum of the network's file.
        values: the size of the embedding.
        declaration: what the network hears.
    """
    metadata = replace(base_metadata(name, declaration), tflite=TfLiteBase(name, sha256, values, declaration))
    node = helper.make_node("Identity", [BASE_INPUT], ["embedding"])
    return model_file([node], {}, metadata, {"embedding": values})


def adopt(model: bytes, graph: Graph, name: str, declaration: Declaration) -> bytes:
    """The base's ONNX file.

    Args:
        model: the content of the network's file.
        graph: what `read_graph` has read of it.
        name: the base's name.
        declaration: what the network hears.

    Raises:
        EarmarkError: the network has no such output or takes something else, or the guard refuses it.
    """
    if len(graph.inputs) != 1:
        raise EarmarkError(f"{name} takes {len(graph.inputs)} inputs: choose a network that takes sound alone.")
    (given,) = graph.inputs
    output = _output(graph, name, declaration)
    shape = fixed_shape(graph.declared[given], name, declaration)
    try:
        folded = fold_graph(model, graph, shape, output)
    except UnfitModelError as error:
        raise EarmarkError(
            f"{name} {error}: choose another export of it, or declare another window or output."
        ) from error
    if folded.kind not in (1, 10, 11) or not folded.shape or folded.shape[-1] < 2:
        raise EarmarkError(
            f"{name} has the output {output!r} of shape {folded.shape}: declare one that is an embedding."
        )
    built = _Built(declaration)
    built.hear(shape)
    built.take(folded, given)
    size = built.pool(THEIRS + output, folded)
    metadata = base_metadata(name, declaration)
    return model_file(
        built.nodes, built.constants, metadata, {"embedding": size}, windows=1, opset=folded.opset
    )  # fmt: skip


def _output(graph: Graph, name: str, declaration: Declaration) -> str:
    made = {output for node in graph.nodes for output in node.makes}
    wanted = declaration.output
    if wanted == BEFORE_LAST:
        dense = next((node for node in reversed(graph.nodes) if node.kind in ("Gemm", "MatMul")), None)
        if dense is None:
            raise EarmarkError(f"{name} has no dense layer: declare which of its values is the embedding.")
        return dense.takes[0]
    if wanted is None and len(graph.outputs) == 1:
        return graph.outputs[0]
    if wanted is None or wanted not in made:
        has = f"it has no {wanted!r}" if wanted else "it has several"
        raise EarmarkError(f"{name} needs `output` to be declared ({has}): choose {', '.join(graph.outputs)[:200]}.")
    return wanted


class _Built(GraphBuilder):
    """The nodes and constants of the base's file, in order. Only operators that all versions write alike are used."""

    def __init__(self, declaration: Declaration) -> None:
        super().__init__(OWN)
        self._declaration = declaration
        self._heard = ""

    def hear(self, shape: tuple[int, ...]) -> None:
        """From the window to what the network takes, of that shape."""
        declaration = self._declaration
        total = declaration.window_frames * declaration.front_end.values
        samples = self.add("Reshape", "window", self.keep([1, total], np.int64))
        if total > declaration.window_samples:
            bounds = [self.keep([value], np.int64) for value in (0, declaration.window_samples, 1)]
            samples = self.add("Slice", samples, *bounds)
        if declaration.scale != 1:
            samples = self.add("Mul", samples, self.keep(declaration.scale))
        if declaration.log_mel is not None:
            samples = self._log_mel(samples)
            frames, bands = declaration.log_mel.frames(declaration.window_samples), declaration.log_mel.bands
            if [size for size in shape if size > 1] == [bands, frames] and bands != frames:
                samples = self.add("Transpose", samples, perm=[0, 2, 1])
        self._heard = self.add("Reshape", samples, self.keep(shape, np.int64))

    def take(self, folded: Folded, given: str) -> None:
        """The network itself, under names that can't be ours."""

        def named(name: str) -> str:
            return self._heard if name == given else THEIRS + name if name else ""

        for node in folded.nodes:
            node.input[:] = [named(name) for name in node.input]
            node.output[:] = [named(name) for name in node.output]
            node.name = ""
            self.nodes.append(node)
        self.constants |= {THEIRS + name: array for name, array in folded.constants.items()}

    def pool(self, embedding: str, folded: Folded) -> int:
        """From the network's embedding to the base's. Returns its size."""
        values = folded.shape[-1]
        times = int(np.prod(folded.shape[:-1]))
        if folded.kind != FLOAT:
            embedding = self.add("Cast", embedding, to=TensorProto.FLOAT)
        if times == 1:
            self.add("Reshape", embedding, self.keep([1, values], np.int64), made="embedding")
            return values
        over_time = self.add("Reshape", embedding, self.keep([1, times, values], np.int64))
        turned = self.add("Transpose", over_time, perm=[0, 2, 1])
        operators = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}
        pooled = [self.add(operators[kind], turned) for kind in self._declaration.pooling.split("-")]
        both = pooled[0] if len(pooled) == 1 else self.add("Concat", *pooled, axis=1)
        size = values * len(pooled)
        self.add("Reshape", both, self.keep([1, size], np.int64), made="embedding")
        return size

    def _log_mel(self, samples: str) -> str:
        """Waveform [1, samples] → [1, frames, bands]: `LogMel.compute`."""
        declaration, log_mel = self._declaration, self._declaration.log_mel
        assert log_mel is not None
        real, imaginary, bands = map(self.keep, log_mel.matrices(declaration.sample_rate))
        frames = self.add("Gather", samples, self.keep(log_mel.places(declaration.window_samples), np.int64), axis=1)
        parts = [self.add("MatMul", frames, part) for part in (real, imaginary)]
        power = self.add("Add", *(self.add("Mul", part, part) for part in parts))
        if log_mel.power == 1:
            power = self.add("Sqrt", power)
        levels = self.add("Log", self.add("Add", self.add("MatMul", power, bands), self.keep(log_mel.offset)))
        if log_mel.factor != 1:
            levels = self.add("Mul", levels, self.keep(log_mel.factor))
        if (log_mel.mean, log_mel.deviation) != (0, 1):
            levels = self.add("Sub", levels, self.keep(log_mel.mean))
            levels = self.add("Div", levels, self.keep(log_mel.deviation))
        return levels
