"""The codelab's network for short sounds, and how it learns, in NumPy."""

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
from earmark.training.optimization import Adam, Array, Optimizer, cross_entropy, one_thread, views

SOUND_DEFAULTS: dict[str, Any] = {"epochs": 10, "batch_size": 16, "learning_rate": 0.01, "seed": 0}  # the codelab's
SOUND_NORMALIZATION = FixedNormalization(mean=-100.0, deviation=10.0)  # dB, the codelab's
TFJS_EPSILON = 1e-7  # what TF.js's Adam adds to the deviation


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training, as the codelab counts it: the batches' own loss and accuracy as they were learnt from.

    Attributes:
        epoch: from 1.
        epochs: how many there will be.
        loss: mean cross-entropy in nats.
        accuracy: 0 to 1.
        validation_loss, validation_accuracy: of the recordings that were kept aside, if any.
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
    start as TF.js starts them: Glorot normal, cut off at two deviations (Glorot and Bengio, 2010), biases 0.

    Args:
        labels: how many there are.
        random: where the first weights are drawn from.
        dtype: of the weights, and of all that is reckoned with them.

    Attributes:
        parameters: kernel, its bias, dense kernel and its bias, one after the other as `SoundWeights` has them.
    """

    FILTERS = 8
    POOLED = (BINS - 2) // 2  # bins that are left of a filter's output
    AREA = SOUND_FRAMES * 3  # values that a filter sees

    def __init__(self, labels: int, random: np.random.Generator, dtype: npt.DTypeLike = np.float32) -> None:
        inputs = self.FILTERS * self.POOLED
        self._shapes = [(self.FILTERS, self.AREA), (self.FILTERS,), (labels, inputs), (labels,)]
        self.parameters: Array = np.zeros(sum(map(math.prod, self._shapes)), dtype)
        self._kernel, self._kernel_bias, self._dense, self._dense_bias = views(self.parameters, self._shapes)
        self._kernel[:] = _glorot(random, self._kernel.shape, self.AREA, self.AREA * self.FILTERS)
        self._dense[:] = _glorot(random, self._dense.shape, inputs, labels)

    def logits(self, windows: Array) -> Array:
        """Of normalized windows, shape [n, 3, 232] → [n, labels]."""
        _, _, flat = self._pooled(windows)
        return flat @ self._dense.T + self._dense_bias

    def loss(self, windows: Array, targets: npt.NDArray[np.int64]) -> tuple[float, int, Array]:
        """What these examples say of the parameters.

        Args:
            windows: normalized, shape [n, 3, 232].
            targets: labels as their indices, shape [n].

        Returns:
            The mean cross-entropy in nats; how many examples have the highest logit at their label; and the mean's
            gradient by `parameters`.
        """
        patches, filtered, flat = self._pooled(windows)
        logits = flat @ self._dense.T + self._dense_bias
        losses, by_logits = cross_entropy(logits, targets)
        by_logits /= len(targets)
        gradient = np.empty_like(self.parameters)
        kernel, kernel_bias, dense, dense_bias = views(gradient, self._shapes)
        np.matmul(by_logits.T, flat, out=dense)
        by_logits.sum(axis=0, out=dense_bias)
        # From here on as [filters, n × pooled bins]; nothing goes back through what ReLU has cut off.
        by_pooled = by_logits @ self._dense * (flat > 0)
        by_pooled = by_pooled.reshape(len(windows), self.FILTERS, -1).swapaxes(0, 1).reshape(self.FILTERS, -1)
        by_pooled.sum(axis=1, out=kernel_bias)
        is_first = filtered[0] >= filtered[1]  # of the two bins that were pooled, the one that counted
        np.matmul(by_pooled * is_first, patches[0].T, out=kernel)
        kernel += (by_pooled * ~is_first) @ patches[1].T
        return float(losses.mean()), int((logits.argmax(axis=1) == targets).sum()), gradient

    def weights(self) -> SoundWeights:
        """The weights as arrays, for the ONNX file."""
        kernel = self._kernel.reshape(self.FILTERS, 1, SOUND_FRAMES, 3)
        arrays = (kernel, self._kernel_bias, self._dense, self._dense_bias)
        return SoundWeights(*(array.astype(np.float32) for array in arrays))

    def _pooled(self, windows: Array) -> tuple[Array, Array, Array]:
        """Convolution, ReLU and pooling, by matrix products.

        Returns:
            What the filters see of the even and of the odd bins, shape [2, 9, n × 115]; what they make of it, without
            the bias, [2, 8, n × 115]; and the larger of the two after bias and ReLU, flattened, [n, 8 × 115].
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
    """Train the codelab's network from scratch, by its defaults: Adam at 0.01, batches of 16, 10 epochs, shuffled.

    Args:
        examples: windows of 3 frames.
        labels: how many there are.
        on_epoch: called after each epoch; what it raises ends the training.

    Returns:
        The network and its epochs. The same seed and examples give the same network.

    Raises:
        EarmarkError: an option is out of its range, or there is nothing to learn from.
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
    """One pass over the examples; returns mean loss and accuracy."""
    total, correct = 0.0, 0
    for batch in batches:
        windows = SOUND_NORMALIZATION(examples.windows(batch))
        loss, right, gradient = network.loss(windows, examples.targets[batch])
        optimizer.step(network.parameters, gradient, learning_rate)
        total += loss * len(batch)
        correct += right
    return total / len(examples), correct / len(examples)


def _glorot(random: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Normal values of variance 2 / (fan_in + fan_out), those beyond two deviations drawn anew."""
    values = random.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = random.standard_normal(int(beyond.sum()))
    return values * math.sqrt(2 / (fan_in + fan_out))
