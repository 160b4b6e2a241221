"""Our networks as ONNX files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper

from earmark.metadata import KEY, Metadata
from earmark.spectrogram import BINS

OPSET = 13  # old enough for any onnxruntime of the last years
IR_VERSION = 8


@dataclass(frozen=True)
class SoundWeights:
    """Trained weights of the codelab's sound network (`training.SoundNetwork`), float32.

    Attributes:
        kernel: shape [8, 1, 3, 3]: filter, 1, frame, bin.
        kernel_bias: shape [8].
        dense: shape [labels, 920]; the inputs are filter after filter, 115 pooled bins each.
        dense_bias: shape [labels].
    """

    kernel: npt.NDArray[np.float32]
    kernel_bias: npt.NDArray[np.float32]
    dense: npt.NDArray[np.float32]
    dense_bias: npt.NDArray[np.float32]


def sound_model(weights: SoundWeights, metadata: Metadata) -> bytes:
    """The sound network as an ONNX file: `window` [n, 3, 232], normalized → `scores` [n, labels]."""
    nodes = [
        helper.make_node("Reshape", ["window", "plane"], ["image"]),
        helper.make_node("Conv", ["image", "kernel", "kernel_bias"], ["filtered"]),
        helper.make_node("Relu", ["filtered"], ["rectified"]),
        helper.make_node("MaxPool", ["rectified"], ["pooled"], kernel_shape=[1, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    frames, labels = metadata.window_frames, len(metadata.labels)
    constants: dict[str, npt.NDArray[Any]] = {
        "plane": np.array([-1, 1, frames, BINS], np.int64),
        "kernel": weights.kernel,
        "kernel_bias": weights.kernel_bias,
        "dense": weights.dense,
        "dense_bias": weights.dense_bias,
    }
    graph = helper.make_graph(
        nodes,
        metadata.name,
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", frames, BINS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", labels])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, {KEY: metadata.to_json()})
    checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]
