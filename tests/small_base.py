"""A base for transfer learning whose embedding can be worked out by hand, small enough to train on in no time.

It stands for a pretrained one where a test must not depend on trained weights: its embedding is a random dense layer on
the mean spectrum of a window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, helper

from earmark.models.metadata import FixedNormalization, Metadata
from earmark.models.onnx_writer import Dense, model_file

FRAMES, BINS, VALUES = 43, 232, 12
NORMALIZATION = FixedNormalization(-110.0, 20.0)
LABELS = ("one", "other")

Array = npt.NDArray[np.float32]


def hidden_layer(bias: float = 0.0, values: int = VALUES) -> Dense:
    """The dense layer that gives the embedding, from a mean spectrum."""
    kernel = np.random.default_rng(1).normal(0, 0.2, (values, BINS)).astype(np.float32)
    return Dense(kernel, np.full(values, bias, np.float32))


def small_base(
    activation: str | None = "Relu",
    *,
    bias: float = 0.0,
    is_turned: bool = True,
    values: int = VALUES,
    scores: bool = True,
) -> bytes:
    """An ONNX file: mean over the frames → dense → activation = embedding → dense → softmax = scores.

    Args:
        activation: an ONNX operator; None for none.
        bias: of the dense layer; one that is low enough makes every embedding zero.
        is_turned: whether the kernel lies in the file as [outputs, inputs].
        values: of the embedding.
        scores: whether there are any.
    """
    layer = hidden_layer(bias, values)
    constants: dict[str, npt.NDArray[Any]] = {
        "kernel": layer.kernel if is_turned else np.ascontiguousarray(layer.kernel.T),
        "bias": layer.bias,
    }
    nodes: list[NodeProto] = [
        helper.make_node("ReduceMean", ["window"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["mean", "kernel", "bias"], ["dense"], transB=int(is_turned)),
        helper.make_node(activation or "Identity", ["dense"], ["embedding"]),
    ]
    outputs = {"embedding": values}
    if scores:
        constants["last"] = np.random.default_rng(2).normal(0, 1, (values, len(LABELS))).astype(np.float32)
        nodes.append(helper.make_node("MatMul", ["embedding", "last"], ["logits"]))
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=1))
        outputs["scores"] = len(LABELS)
    metadata = Metadata("small", LABELS if scores else (), FRAMES, NORMALIZATION)
    return model_file(nodes, constants, metadata, outputs)


def mean_spectra(windows: Array) -> npt.NDArray[np.float64]:
    """What goes into the dense layer, of windows [n, 43, 232] in dB."""
    return np.asarray(((windows.astype(np.float64) + 110) / 20).mean(axis=1))
