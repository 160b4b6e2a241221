"""The codelab's network for short sounds, and its training, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.front_end.examples import SOUND_FRAMES, Examples
from earmark.front_end.spectrogram import BINS
from earmark.models.metadata import FixedNormalization, Metadata
from earmark.models.onnx_writer import SoundWeights, sound_model
from earmark.training.optimizers import Adam, Array, Optimizer, cross_entropy, one_thread, views

SOUND_DEFAULTS: dict[str, Any] = {"epochs": 10, "batch_size": 16, "learning_rate": 0.01, "seed": 0}  # the codelab's
SOUND_NORMALIZATION = FixedNormalization(mean=-100.0, deviation=10.0)  # dB, as in the codelab
TFJS_EPSILON = 1e-7  # what Adam in TF.js adds to the deviation


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training. As in the codelab, loss and accuracy are those of the batches at the time of learning.

    Attributes:
        epoch: the epoch's number, from 1.
        epochs: how many epochs there will be.
        loss: the mean cross-entropy in nats.
        accuracy: the accuracy, 0 to 1.
        validation_loss, validation_accuracy: the same for the recordings that were held out, if any.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def __str__(self) -> str:
        told = f"Epoch {self.epoch}/{self.epochs}: loss {self.loss:.4f}, accuracy {self.accuracy:.1%}"
        if self.validation_accuracy is None:
            return told
        return f"{told}, validation loss {self.validation_loss:.4f}, accuracy {self.validation_accuracy:.1%}"


class SoundNetwork:
    """The codelab's network for short sounds.

    Source: the TensorFlow.js codelab "Audio recognition using transfer learning": depthwiseConv2d(depthMultiplier 8,
    kernelSize [3, 3], relu) → maxPooling2d(poolSize [1, 2], strides [2, 2]) → flatten → dense(softmax). Weights
    start as in TF.js: Glorot normal, truncated at two deviations (Glorot and Bengio, 2010), biases 0.

    Args:
        labels: the number of labels.
        random: the generator for the initial weights.
        dtype: the type of the weights, and of everything computed with them.

    Attributes:
        parameters: kernel, bias, dense kernel and dense bias, one after the other, in the layout of `SoundWeights`.
    """

    FILTERS = 8
    POOLED = (BINS - 2) // 2  # bins in a filter's output after pooling
    AREA = SOUND_FRAMES * 3  # values that a filter sees

    def __init__(self, labels: int, random: np.random.Generator, dtype: npt.DTypeLike = np.float32) -> None:
        inputs = self.FILTERS * self.POOLED
        self._shapes = [(self.FILTERS, self.AREA), (self.FILTERS,), (labels, inputs), (labels,)]
        self.parameters: Array = np.zeros(sum(map(math.prod, self._shapes)), dtype)
        self._kernel, self._kernel_bias, self._dense, self._dense_bias = views(self.parameters, self._shapes)
        self._kernel[:] = _glorot(random, self._kernel.shape, self.AREA, self.AREA * self.FILTERS)
        self._dense[:] = _glorot(random, self._dense.shape, inputs, labels)

    def logits(self, windows: Array) -> Array:
        """The logits of normalized windows, shape [n, 3, 232] → [n, labels]."""
        _, _, flat = self._pooled(windows)
        return flat @ self._dense.T + self._dense_bias

    def loss(self, windows: Array, targets: npt.NDArray[np.int64]) -> tuple[float, int, Array]:
        """The loss of these examples and its gradient.

        Args:
            windows: normalized windows, shape [n, 3, 232].
            targets: the indices of the labels, shape [n].

        Returns:
            The mean cross-entropy in nats; the number of examples whose highest logit is that of their label; and the
            gradient of the mean by `parameters`.
        """
        patches, filtered, flat = self._pooled(windows)
        logits = flat @ self._dense.T + self._dense_bias
        losses, by_logits = cross_entropy(logits, targets)
        by_logits /= len(targets)
        gradient = np.empty_like(self.parameters)
        kernel, kernel_bias, dense, dense_bias = views(gradient, self._shapes)
        np.matmul(by_logits.T, flat, out=dense)
        by_logits.sum(axis=0, out=dense_bias)
        # From here on as [filters, n × pooled bins]; no gradient flows back through what ReLU has set to 0.
        by_pooled = by_logits @ self._dense * (flat > 0)
        by_pooled = by_pooled.reshape(len(windows), self.FILTERS, -1).swapaxes(0, 1).reshape(self.FILTERS, -1)
        by_pooled.sum(axis=1, out=kernel_bias)
        is_first = filtered[0] >= filtered[1]  # whether the first of the two pooled bins was the larger
        np.matmul(by_pooled * is_first, patches[0].T, out=kernel)
        kernel += (by_pooled * ~is_first) @ patches[1].T
        return float(losses.mean()), int((logits.argmax(axis=1) == targets).sum()), gradient

    def weights(self) -> SoundWeights:
        """The weights as arrays, for the ONNX file."""
        kernel = self._kernel.reshape(self.FILTERS, 1, SOUND_FRAMES, 3)
        arrays = (kernel, self._kernel_bias, self._dense, self._dense_bias)
        return SoundWeights(*(array.astype(np.float32) for array in arrays))

    def _pooled(self, windows: Array) -> tuple[Array, Array, Array]:
        """Convolution, ReLU and pooling, as matrix products.

        Returns:
            The filters' inputs at the even and at the odd bins, shape [2, 9, n × 115]; their outputs without the bias,
            [2, 8, n × 115]; and the larger of the two after bias and ReLU, flattened, [n, 8 × 115].
        """
        near = np.lib.stride_tricks.sliding_window_view(windows, 3, axis=2)  # [n, 3, 230, 3]
        by_parity = near.reshape(*near.shape[:2], self.POOLED, 2, 3).transpose(3, 1, 4, 0, 2)
        patches = by_parity.reshape(2, self.AREA, -1)
        filtered = self._kernel @ patches
        pooled = np.maximum(filtered[0], filtered[1])
        pooled += self._kernel_bias[:, np.newaxis]
        np.maximum(pooled, 0, out=pooled)
        flat = pooled.reshape(self.FILTERS, len(windows), -1).swapaxes(0, 1).reshape(len(windows), -1)
        return patches, filtered, flat


def train_sounds(
    examples: Examples,
    labels: int,
    *,
    epochs: int = SOUND_DEFAULTS["epochs"],
    batch_size: int = SOUND_DEFAULTS["batch_size"],
    learning_rate: float = SOUND_DEFAULTS["learning_rate"],
    seed: int = SOUND_DEFAULTS["seed"],
    on_epoch: Callable[[Epoch], object] | None = None,
) -> tuple[SoundNetwork, list[Epoch]]:
    """Train the codelab's network from scratch, by default as there: Adam at 0.01, batches of 16, 10 epochs, shuffled.

    Args:
        examples: windows of 3 frames.
        labels: the number of labels.
        on_epoch: called after each epoch; an exception that it raises ends the training.

    Returns:
        The network and its epochs. The same seed and examples give the same network.

    Raises:
        EarmarkError: an option is out of range, or there is nothing to learn from.
    """
    if epochs < 1 or batch_size < 1 or not 0 < learning_rate < math.inf:
        raise EarmarkError("epochs, batch_size and learning_rate must be greater than 0: choose other values.")
    if not 0 <= seed < 2**63:
        raise EarmarkError(f"The seed is {seed}: it must be a number from 0 to 2^63 − 1.")
    if len(examples) == 0:
        raise EarmarkError("There are no examples to train on: record some first.")
    random = np.random.default_rng(seed)
    network, optimizer = SoundNetwork(labels, random), Adam(epsilon=TFJS_EPSILON)
    history = []
    with one_thread():
        for number in range(1, epochs + 1):
            batches = np.split(random.permutation(len(examples)), range(batch_size, len(examples), batch_size))
            loss, accuracy = _learn(network, optimizer, learning_rate, examples, batches)
            history.append(Epoch(number, epochs, loss, accuracy))
            if on_epoch is not None:
                on_epoch(history[-1])
    return network, history


def sound_model_file(network: SoundNetwork, name: str, labels: tuple[str, ...]) -> bytes:
    """The trained network as an ONNX file that describes itself."""
    return sound_model(network.weights(), Metadata(name, labels, SOUND_FRAMES, SOUND_NORMALIZATION))


def _learn(
    network: SoundNetwork,
    optimizer: Optimizer,
    learning_rate: float,
    examples: Examples,
    batches: list[npt.NDArray[np.int64]],
) -> tuple[float, float]:
    """One pass over the examples; returns the mean loss and the accuracy."""
    total, correct = 0.0, 0
    for batch in batches:
        windows = SOUND_NORMALIZATION(examples.windows(batch))
        loss, right, gradient = network.loss(windows, examples.targets[batch])
        optimizer.step(network.parameters, gradient, learning_rate)
        total += loss * len(batch)
        correct += right
    return total / len(examples), correct / len(examples)


def _glorot(random: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Normal values of variance 2 / (fan_in + fan_out); those beyond two deviations are drawn again."""
    values = random.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = random.standard_normal(int(beyond.sum()))
    return values * math.sqrt(2 / (fan_in + fan_out))
