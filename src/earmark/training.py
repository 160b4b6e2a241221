"""The codelab's network for short sounds, and how it learns. PyTorch is imported here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earmark.errors import EarmarkError
from earmark.examples import SOUND_FRAMES, Examples
from earmark.formats.onnx import SoundWeights, sound_model
from earmark.metadata import FixedNormalization, Metadata
from earmark.spectrogram import BINS

SOUND_DEFAULTS: dict[str, Any] = {"epochs": 10, "batch_size": 16, "learning_rate": 0.01, "seed": 0}  # the codelab's
SOUND_NORMALIZATION = FixedNormalization(mean=-100.0, deviation=10.0)  # dB, the codelab's


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


class SoundNetwork(nn.Module):
    """The codelab's network for short sounds.

    Source: the TensorFlow.js codelab "Audio recognition using transfer learning": depthwiseConv2d(depthMultiplier 8,
    kernelSize [3, 3], relu) → maxPooling2d(poolSize [1, 2], strides [2, 2]) → flatten → dense(softmax). Weights
    start as TF.js starts them: Glorot normal, cut off at two deviations (Glorot and Bengio, 2010), biases 0.

    Shape: [n, 3, 232], normalized → logits [n, labels].
    """

    FILTERS = 8

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(1, self.FILTERS, (SOUND_FRAMES, 3))
        self.pool = nn.MaxPool2d((1, 2), stride=(2, 2))
        pooled = (BINS - 2) // 2
        self.dense = nn.Linear(self.FILTERS * pooled, labels)
        area = SOUND_FRAMES * 3
        _glorot(self.filter.weight, area, area * self.FILTERS)
        _glorot(self.dense.weight, self.FILTERS * pooled, labels)
        nn.init.zeros_(self.filter.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.dense.bias)

    def forward(self, windows: Tensor) -> Tensor:
        pooled = self.pool(torch.relu(self.filter(windows.unsqueeze(1))))
        return self.dense(pooled.flatten(1))  # type: ignore[no-any-return]

    def weights(self) -> SoundWeights:
        """The weights as arrays, for the ONNX file."""
        tensors = (self.filter.weight, self.filter.bias, self.dense.weight, self.dense.bias)
        return SoundWeights(*(tensor.detach().numpy() for tensor in tensors))  # type: ignore[union-attr]


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
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SoundNetwork(labels)
        targets = torch.from_numpy(examples.targets)
        # TF.js's Adam adds 1e-7 where PyTorch's adds 1e-8.
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, eps=1e-7)
        history = []
        for number in range(1, epochs + 1):
            loss, accuracy = _learn(network, optimizer, examples, targets, min(batch_size, len(examples)))
            history.append(Epoch(number, epochs, loss, accuracy))
            if on_epoch is not None:
                on_epoch(history[-1])
    return network, history


def warm_up() -> None:
    """Run a tiny training: PyTorch's first step in a process takes a second, the later ones a millisecond."""
    frames = np.full((SOUND_FRAMES, BINS), SOUND_NORMALIZATION.mean, np.float32)
    train_sounds(Examples(frames, np.zeros(1, np.int64), np.zeros(1, np.int64), SOUND_FRAMES), 2, epochs=1)


def sound_model_file(network: SoundNetwork, name: str, labels: tuple[str, ...]) -> bytes:
    """The trained network as an ONNX file that describes itself."""
    return sound_model(network.weights(), Metadata(name, labels, SOUND_FRAMES, SOUND_NORMALIZATION))


def _learn(
    network: SoundNetwork, optimizer: torch.optim.Optimizer, examples: Examples, targets: Tensor, batch_size: int
) -> tuple[float, float]:
    """One pass over the examples in random order; returns mean loss and accuracy."""
    total, correct = 0.0, 0
    for batch in torch.split(torch.randperm(len(examples)), batch_size):
        logits = network(torch.from_numpy(SOUND_NORMALIZATION(examples.windows(batch.numpy()))))
        loss = nn.functional.cross_entropy(logits, targets[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item() * len(batch)
        correct += int((logits.argmax(1) == targets[batch]).sum())
    return total / len(examples), correct / len(examples)


def _glorot(weight: Tensor, fan_in: int, fan_out: int) -> None:
    deviation = math.sqrt(2 / (fan_in + fan_out))
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch work on one thread."""
    # The network is so small that handing work to a second thread takes longer than the work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
