"""The TensorFlow.js model as a recognizer, against its layers written out in NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from peer import load_peer

from earmark.metadata import WindowNormalization
from tests.conftest import SHARED
from tests.corpus import clip_rows, read_row

Array = npt.NDArray[np.float64]
LABELS = ["_background_noise_", "_unknown_", "yes"]
# Layer, shape of its kernel as TF.js has it: height, width, inputs, outputs. Frames and bins halve and halve again.
KERNELS = {"first": (2, 8, 1, 3), "second": (2, 4, 3, 4), "hidden": (2 * 27 * 4, 2_000), "last": (2_000, 3)}


def layers() -> list[dict[str, Any]]:
    def convolution(name: str, size: list[int]) -> dict[str, Any]:
        config = {"name": name, "kernel_size": size, "strides": [1, 1], "padding": "valid", "activation": "relu"}
        return {"class_name": "Conv2D", "config": config}

    def pooling(name: str, size: list[int], strides: list[int]) -> dict[str, Any]:
        return {"class_name": "MaxPooling2D", "config": {"name": name, "pool_size": size, "strides": strides}}

    return [
        convolution("first", [2, 8]),
        pooling("pool_1", [2, 2], [2, 2]),
        convolution("second", [2, 4]),
        pooling("pool_2", [4, 4], [10, 4]),
        {"class_name": "Flatten", "config": {"name": "flat"}},
        {"class_name": "Dropout", "config": {"name": "dropped", "rate": 0.5}},
        {"class_name": "Dense", "config": {"name": "hidden", "activation": "relu"}},
        {"class_name": "Dense", "config": {"name": "last", "activation": "softmax"}},
    ]


def save(folder: Path) -> dict[str, npt.NDArray[np.float32]]:
    """A model folder as speech-commands has it, its weights in two shards cut in the midst of an array."""
    random = np.random.default_rng(0)
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for name, shape in KERNELS.items():
        weights[f"{name}/kernel"] = random.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape).astype(np.float32)
        weights[f"{name}/bias"] = random.normal(0, 0.3, shape[-1]).astype(np.float32)
    entries = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in weights.items()]
    content = b"".join(array.astype("<f4").tobytes() for array in weights.values())
    (folder / "one").write_bytes(content[:1_002])
    (folder / "two").write_bytes(content[1_002:])
    model = {
        "modelTopology": {"model_config": {"class_name": "Sequential", "config": layers()}},
        "weightsManifest": [{"paths": ["one", "two"], "weights": entries}],
    }
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "metadata.json").write_text(json.dumps({"words": LABELS}))
    return weights


def convolve(image: Array, kernel: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Array:
    """[height, width, inputs] → [height, width, outputs], without padding, rectified."""
    high, wide, _, outputs = kernel.shape
    made = np.zeros((image.shape[0] - high + 1, image.shape[1] - wide + 1, outputs))
    for down in range(high):
        for right in range(wide):
            part = image[down : down + made.shape[0], right : right + made.shape[1]]
            made += part @ kernel[down, right].astype(np.float64)
    return np.maximum(made + bias, 0)


def pool(image: Array, size: tuple[int, int], strides: tuple[int, int]) -> Array:
    rows = range(0, image.shape[0] - size[0] + 1, strides[0])
    columns = range(0, image.shape[1] - size[1] + 1, strides[1])
    return np.array([[image[y : y + size[0], x : x + size[1]].max(axis=(0, 1)) for x in columns] for y in rows])


def by_hand(window: npt.NDArray[np.float32], weights: dict[str, npt.NDArray[np.float32]]) -> tuple[Array, Array]:
    """Scores and embedding."""
    levels = window.astype(np.float64)
    image = ((levels - levels.mean()) / levels.std())[:, :, np.newaxis]
    image = pool(convolve(image, weights["first/kernel"], weights["first/bias"]), (2, 2), (2, 2))
    assert image.shape == (21, 112, 3)
    image = pool(convolve(image, weights["second/kernel"], weights["second/bias"]), (4, 4), (10, 4))
    assert image.shape == (2, 27, 4)
    hidden = np.maximum(image.ravel() @ weights["hidden/kernel"] + weights["hidden/bias"], 0)
    powers = np.exp(hidden @ weights["last/kernel"] + weights["last/bias"])
    return powers / powers.sum(), hidden


def test_scores_and_embedding_are_those_of_the_layers_by_hand(tmp_path: Path) -> None:
    weights = save(tmp_path)
    peer = load_peer(tmp_path)
    assert peer.labels == tuple(LABELS)
    assert peer.input_shape == (43, 232)
    assert peer.metadata.normalization == WindowNormalization()
    windows = np.random.default_rng(1).uniform(-120, -20, (4, 43, 232)).astype(np.float32)
    scores, embeddings = peer.score_windows(windows), peer.embed_windows(windows)
    assert embeddings.shape == (4, 2_000)
    expected = [by_hand(window, weights) for window in windows]
    np.testing.assert_allclose(scores, [one for one, _ in expected], atol=1e-4)
    np.testing.assert_allclose(embeddings, [one for _, one in expected], atol=1e-3)
    assert np.std([one for one, _ in expected], axis=0).max() > 0.001  # the windows matter


def test_the_real_model_hears_real_words(recordings: Path) -> None:
    folder = SHARED / "fixtures" / "tfjs_speech_commands" / "browser_fft_18w"
    if not folder.is_dir():
        pytest.skip("needs the model in ../shared/fixtures")
    peer = load_peer(folder)
    assert len(peer.labels) == 20
    right = []
    for word in ("yes", "no", "stop", "left", "go"):
        rows = [row for row in clip_rows(recordings, "speech_commands") if (row["split"], row["word"]) == ("val", word)]
        right += [peer.recognize(*read_row(recordings, "speech_commands", row)).label == word for row in rows[:8]]
    assert np.mean(right) > 0.75
