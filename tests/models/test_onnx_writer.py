"""The sound network as an ONNX file, against the layers written out in NumPy."""

import io
import json

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from earmark.models.metadata import FixedNormalization, Metadata, WindowNormalization
from earmark.models.onnx_writer import (
    Convolution,
    Dense,
    SoundWeights,
    WordWeights,
    multiply_adds,
    sound_model,
    word_model,
)

Array = npt.NDArray[np.float32]


def random_weights(labels: int, seed: int = 0) -> SoundWeights:
    random = np.random.default_rng(seed)
    shapes = ((8, 1, 3, 3), (8,), (labels, 920), (labels,))
    return SoundWeights(*(random.normal(0, 0.3, shape).astype(np.float32) for shape in shapes))


def by_hand(windows: Array, weights: SoundWeights) -> npt.NDArray[np.float64]:
    """Convolution, ReLU, pooling, dense layer and softmax, each as its definition reads."""
    filtered = np.zeros((len(windows), 8, 230))
    for output in range(8):
        for at in range(230):
            patch = windows[:, :, at : at + 3].astype(np.float64)
            filtered[:, output, at] = (patch * weights.kernel[output, 0]).sum(axis=(1, 2)) + weights.kernel_bias[output]
    pooled = np.maximum(filtered, 0).reshape(len(windows), 8, 115, 2).max(axis=3)
    logits = pooled.reshape(len(windows), 920) @ weights.dense.T.astype(np.float64) + weights.dense_bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


@pytest.mark.parametrize("labels", [2, 3, 20])
def test_the_scores_are_those_of_the_layers_by_hand(labels: int) -> None:
    weights = random_weights(labels)
    names = tuple(f"label {number}" for number in range(labels))
    model = sound_model(weights, Metadata("sounds", names, 3, FixedNormalization(-100.0, 10.0)))
    session = onnxruntime.InferenceSession(model)
    windows = np.random.default_rng(1).normal(0, 1, (5, 3, 232)).astype(np.float32)
    (scores,) = session.run(["scores"], {"window": windows})
    assert scores.shape == (5, labels)
    np.testing.assert_allclose(scores, by_hand(windows, weights), atol=1e-5)


def test_the_file_alone_says_all_that_is_needed() -> None:
    metadata = Metadata("sounds", ("Left", "été 🙂", "../x"), 3, FixedNormalization(-100.0, 10.0))
    model = onnx.load(io.BytesIO(sound_model(random_weights(3), metadata)))
    onnx.checker.check_model(model, full_check=True)
    (entry,) = (entry.value for entry in model.metadata_props if entry.key == "earmark")
    values = json.loads(entry)
    assert values["labels"] == ["Left", "été 🙂", "../x"]
    assert values["window_frames"] == 3
    assert values["normalization"] == {"mean": -100, "deviation": 10}
    assert values["front_end"] == {"sample_rate": 44_100, "fft_size": 2_048, "hop": 1_024, "bins": 232}
    (window,), (scores,) = model.graph.input, model.graph.output
    assert [dimension.dim_value for dimension in window.type.tensor_type.shape.dim] == [0, 3, 232]
    assert [dimension.dim_value for dimension in scores.type.tensor_type.shape.dim] == [0, 3]


def convolved(frames: npt.NDArray[np.float64], layer: Convolution) -> npt.NDArray[np.float64]:
    """A convolution over time, output by output: frames [n, channels, length], zeros beyond both ends."""
    outputs, inputs, width = layer.kernel.shape
    count, _, length = frames.shape
    made = np.zeros((count, outputs, -(-length // layer.stride)))
    for output in range(outputs):
        seen = frames[:, [output]] if inputs == 1 else frames
        for at in range(made.shape[2]):
            for tap in range(width):
                frame = at * layer.stride + tap - width // 2
                if 0 <= frame < length:
                    made[:, output, at] += seen[:, :, frame] @ layer.kernel[output, :, tap]
        made[:, output] += 0 if layer.bias is None else layer.bias[output]
    return made


def test_the_words_scores_and_embedding_are_those_of_the_layers_by_hand() -> None:
    random = np.random.default_rng(3)

    def array(*shape: int) -> Array:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def block(inputs: int, outputs: int, width: int, stride: int) -> tuple[Convolution, ...]:
        return (
            Convolution(array(inputs, 1, width), None, stride),
            Convolution(array(outputs, inputs, 1), array(outputs), 1),
            Convolution(array(outputs, 1, width), None, 1),
            Convolution(array(outputs, outputs, 1), array(outputs), 1),
            Convolution(array(outputs, inputs, 1), array(outputs), stride),
        )

    stem = Convolution(array(4, 232, 3), array(4), 1)
    blocks = [block(4, 6, 5, 2), block(6, 6, 3, 1), block(6, 5, 7, 2)]
    embedding, last = Dense(array(8, 10), array(8)), Dense(array(3, 8), array(3))
    weights = WordWeights(stem, blocks, embedding, last)  # type: ignore[arg-type]
    metadata = Metadata("words", ("_unknown_", "yes", "no"), 43, WindowNormalization(80))
    model = word_model(weights, metadata)
    onnx.checker.check_model(onnx.load(io.BytesIO(model)), full_check=True)
    windows = random.normal(0, 1, (3, 43, 232)).astype(np.float32)
    scores, embeddings = onnxruntime.InferenceSession(model).run(["scores", "embedding"], {"window": windows})

    frames = np.maximum(convolved(windows.transpose(0, 2, 1).astype(np.float64), stem), 0)
    for first, first_point, second, second_point, around in blocks:
        inner = np.maximum(convolved(convolved(frames, first), first_point), 0)
        inner = convolved(convolved(inner, second), second_point)
        frames = np.maximum(inner + convolved(frames, around), 0)
    assert frames.shape == (3, 5, 11)  # 43 frames halved twice, rounded up
    both = np.concatenate((frames.mean(axis=2), frames.max(axis=2)), axis=1)
    expected = np.maximum(both @ embedding.kernel.T + embedding.bias, 0)
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)
    powers = np.exp(expected @ last.kernel.T + last.bias)
    np.testing.assert_allclose(scores, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def test_multiply_adds_of_a_small_network_by_hand() -> None:
    weights = {"kernel": np.zeros((4, 6, 3), np.float32), "each": np.zeros((4, 1, 5), np.float32)}
    weights["dense"] = np.zeros((7, 4 * 5), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["window", "kernel"], ["a"], pads=[1, 1]),
            helper.make_node("Conv", ["a", "each"], ["b"], pads=[2, 2], strides=[2], group=4),
            helper.make_node("Flatten", ["b"], ["c"]),
            helper.make_node("Gemm", ["c", "dense"], ["scores"], transB=1),
        ],
        "small",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", 6, 10])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 7])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    # 10 places × 4 × 6 × 3, then 5 places × 4 × 5, then 7 × 20.
    assert multiply_adds(model.SerializeToString()) == 720 + 100 + 140
