"""Training a head, a small classifier on a base's embedding, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.models.head_on_base import HeadWeights
from earmark.models.onnx_writer import Dense
from earmark.training.optimizers import OPTIMIZERS, Array, cross_entropy, one_thread, views
from earmark.training.sound_network import Epoch

SCALE = 10.0  # multiplies the embedding's direction: decides how confident a head gets in a given number of steps
SHORTEST = 1e-12  # length of an embedding; a shorter embedding has no direction
DECAY = 4e-3  # weight decay: the penalty on the weights' squares
# The total weight of the examples that were added for a label. With more weight, unknown words would swallow a label
# that has one recording. What people recorded has weight 1 for each label.
ADDED_WEIGHTS = {"_unknown_": 0.2}
FINE_TUNING_SHARE = 0.03  # of the learning rate: the base's own layer should move only a little


@dataclass(frozen=True)
class HeadOptions:
    """How a head is trained, under speech-commands' names.

    Attributes:
        epochs: passes over the examples.
        batch_size: examples per step.
        optimizer: "sgd" (with momentum, as in speech-commands; from one to three recordings a label it learns better
            than the others, which scale each parameter separately), "adam", "rmsprop" or "adagrad".
        learning_rate: the rate at the start, which falls to 0 along a half cosine. None means the optimizer's usual
            rate.
        hidden_units: the size of a hidden layer; 0 means a linear softmax.
        fine_tuning_epochs: further epochs, in which the base's last layer learns as well.
        fine_tuning_optimizer: the optimizer in those epochs.
        seed: the random seed; the same seed and examples give the same head.

    Raises:
        EarmarkError: a value is out of range.
    """

    epochs: int = 50
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float | None = None
    hidden_units: int = 0
    fine_tuning_epochs: int = 0
    fine_tuning_optimizer: str = "adam"
    seed: int = 0

    def __post_init__(self) -> None:
        rate = 1.0 if self.learning_rate is None else self.learning_rate
        if self.epochs < 1 or self.batch_size < 1 or not 0 < rate < math.inf:
            raise EarmarkError("epochs, batch_size and learning_rate must be greater than 0: choose other values.")
        if not 0 <= self.hidden_units <= 4096:
            raise EarmarkError(f"hidden_units is {self.hidden_units}: it must be from 0 to 4,096.")
        if self.fine_tuning_epochs < 0:
            raise EarmarkError(f"fine_tuning_epochs is {self.fine_tuning_epochs}: it must be 0 or more.")
        if not 0 <= self.seed < 2**63:
            raise EarmarkError(f"The seed is {self.seed}: it must be a number from 0 to 2^63 − 1.")
        for optimizer in (self.optimizer, self.fine_tuning_optimizer):
            if optimizer not in OPTIMIZERS:
                raise EarmarkError(f"The optimizer {optimizer!r} is not known: use {', '.join(OPTIMIZERS)}.")


@dataclass(frozen=True)
class HeadExamples:
    """The examples that a head learns from.

    Attributes:
        features: the base's embeddings or, with fine-tuning, the input of its last layer, shape [examples, values].
        targets: the index of each example's label, int64.
        is_validation: which examples are held out for validation, bool.
        is_added: which examples were added for the open set, bool; None if there are none.
    """

    features: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    is_validation: npt.NDArray[np.bool_]
    is_added: npt.NDArray[np.bool_] | None = None


class Head:
    """The head, and the base's last layer before it if that is fine-tuned.

    The embedding's direction × `SCALE` → dense layers, with ReLU between them → logits. The last layer starts at 0, so
    that at first all labels are equally likely. A hidden layer starts with uniform values within ± 1 / √inputs.

    Args:
        values: the size of the base's embedding or, if its last layer is fine-tuned, of that layer's input.
        labels: the number of labels.
        hidden_units: the size of a hidden layer; 0 means none.
        tuned: the base's last layer, if it is to be fine-tuned.
        random: the generator for the initial weights.
        dtype: the type of the weights, and of everything computed with them.

    Attributes:
        parameters: each layer's kernel and bias, one after the other; those of the tuned layer come last.
        own: how many of the parameters are the head's own.
    """

    def __init__(
        self,
        values: int,
        labels: int,
        hidden_units: int,
        tuned: Dense | None,
        random: np.random.Generator,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        embedding = values if tuned is None else len(tuned.bias)
        sizes = [embedding, hidden_units, labels] if hidden_units else [embedding, labels]
        self._shapes: list[tuple[int, ...]] = [
            shape for inputs, outputs in pairwise(sizes) for shape in ((outputs, inputs), (outputs,))
        ]
        self.own = sum(map(math.prod, self._shapes))
        if tuned is not None:
            self._shapes += [tuned.kernel.shape, tuned.bias.shape]
        self.parameters: Array = np.zeros(sum(map(math.prod, self._shapes)), dtype)
        self._layers = _layers(self.parameters, self._shapes)
        self._tuned = None
        if tuned is not None:
            self._tuned = kernel, bias = self._layers.pop()
            kernel[:], bias[:] = tuned.kernel, tuned.bias
        for kernel, bias in self._layers[:-1]:
            bound = 1 / math.sqrt(kernel.shape[1])
            kernel[:], bias[:] = random.uniform(-bound, bound, kernel.shape), random.uniform(-bound, bound, bias.shape)

    @property
    def is_tuned(self) -> bool:
        """Whether the base's last layer is among the parameters."""
        return self._tuned is not None

    def embedding(self, features: Array) -> Array:
        """The base's embedding, shape [n, values]: the features themselves, or the tuned layer's output for them."""
        if self._tuned is None:
            return features
        return np.maximum(features @ self._tuned[0].T + self._tuned[1], 0)

    def logits(self, directions: Array) -> Array:
        """The logits of embeddings from `direct`, shape [n, values] → [n, labels]."""
        return self._forward(directions)[1]

    def loss(
        self, directions: Array, targets: npt.NDArray[np.int64], weights: Array
    ) -> tuple[float, float, Array, Array]:
        """The loss of these examples and its gradient by the head's own parameters.

        Args:
            directions: embeddings from `direct`, shape [n, values].
            targets: the indices of the labels, shape [n].
            weights: the weights of the examples, shape [n].

        Returns:
            The mean of the weighted cross-entropies in nats; the summed weight of the examples whose highest logit is
            that of their label; the gradient of the mean, with the penalty on the kernels' squares, by the own
            parameters; and the gradient of the mean by the first layer's output.
        """
        given, logits = self._forward(directions)
        losses, by_output = cross_entropy(logits, targets)
        by_output *= (weights / len(targets))[:, np.newaxis]
        gradient = np.empty_like(self.parameters[: self.own])
        by_layers = _layers(gradient, self._shapes[: 2 * len(self._layers)])
        for number in reversed(range(len(self._layers))):
            kernel, (by_kernel, by_bias) = self._layers[number][0], by_layers[number]
            np.matmul(by_output.T, given[number], out=by_kernel)
            by_kernel += 2 * DECAY * kernel
            by_output.sum(axis=0, out=by_bias)
            if number:
                by_output = by_output @ kernel * (given[number] > 0)
        right = weights[logits.argmax(axis=1) == targets].sum()
        return float((weights * losses).mean()), float(right), gradient, by_output

    def tuned_loss(self, features: Array, targets: npt.NDArray[np.int64], weights: Array) -> tuple[float, float, Array]:
        """Like `loss`, but from the features, and with the gradient by all parameters, including the tuned layer's."""
        embedding = self.embedding(features)
        directions = direct(embedding)
        loss, right, own, by_first = self.loss(directions, targets, weights)
        by_directions = by_first @ self._layers[0][0]
        # An embedding's length doesn't matter, so only the part of the gradient that is orthogonal to it counts.
        along = (by_directions * directions).sum(axis=1, keepdims=True) / SCALE**2
        by_embedding = (by_directions - along * directions) * SCALE / _lengths(embedding) * (embedding > 0)
        tuned = ((by_embedding.T @ features).ravel(), by_embedding.sum(axis=0))
        return loss, right, np.concatenate((own, *tuned))

    def weights(self) -> HeadWeights:
        """The weights as arrays, for the ONNX file."""
        tuned = None if self._tuned is None else _dense(*self._tuned)
        return HeadWeights(SCALE, tuple(_dense(*layer) for layer in self._layers), tuned)

    def _forward(self, directions: Array) -> tuple[list[Array], Array]:
        """The input of each layer, and the logits."""
        given = [directions]
        for kernel, bias in self._layers[:-1]:
            given.append(np.maximum(given[-1] @ kernel.T + bias, 0))
        kernel, bias = self._layers[-1]
        return given, given[-1] @ kernel.T + bias


def direct(embeddings: Array) -> Array:
    """Embeddings, shape [n, values], scaled to length `SCALE`, so that only their direction counts."""
    return embeddings * (SCALE / _lengths(embeddings))


def train_head(
    examples: HeadExamples,
    labels: tuple[str, ...],
    options: HeadOptions,
    *,
    tuned: Dense | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> tuple[HeadWeights, list[Epoch]]:
    """Train a head with cross-entropy, in which every label has the same weight, however many examples it has.

    Args:
        labels: the labels.
        tuned: the base's last layer, if it is to be fine-tuned.
        on_epoch: called after each epoch; an exception that it raises ends the training.

    Returns:
        The head and its epochs. The same seed and examples give the same head.

    Raises:
        EarmarkError: there is nothing to learn from.
    """
    if examples.is_validation.all():
        raise EarmarkError("There are no examples to train on: record some first.")
    random = np.random.default_rng(options.seed)
    head = Head(examples.features.shape[1], len(labels), options.hidden_units, tuned, random)
    run = _Run(head, examples, labels, options, random, on_epoch)
    with one_thread():
        run.train()
        if head.is_tuned:
            run.fine_tune()
    return head.weights(), run.history


class _Run:
    """One training of one head."""

    def __init__(
        self,
        head: Head,
        examples: HeadExamples,
        labels: tuple[str, ...],
        options: HeadOptions,
        random: np.random.Generator,
        on_epoch: Callable[[Epoch], object] | None,
    ) -> None:
        self._head, self._options, self._random, self._on_epoch = head, options, random, on_epoch
        learnt, kept_aside = ~examples.is_validation, examples.is_validation
        self._features, self._targets = examples.features[learnt], examples.targets[learnt]
        self._kept_aside, self._kept_targets = examples.features[kept_aside], examples.targets[kept_aside]
        is_added = np.zeros_like(learnt) if examples.is_added is None else examples.is_added
        self._weights = _weights(self._targets, is_added[learnt], labels)
        self.history: list[Epoch] = []

    def train(self) -> None:
        """Train only the head: the examples' embeddings are the same in each epoch."""
        options, head = self._options, self._head
        learnt = direct(head.embedding(self._features))
        kind, rate = OPTIMIZERS[options.optimizer]
        optimizer, own = kind(), head.parameters[: head.own]

        def learn(batch: npt.NDArray[np.int64], rate: float) -> tuple[float, float]:
            loss, right, gradient, _ = head.loss(learnt[batch], self._targets[batch], self._weights[batch])
            optimizer.step(own, gradient, rate)
            return loss, right

        self._epochs(options.epochs, options.learning_rate or rate, learn)

    def fine_tune(self) -> None:
        """Train the head and the base's last layer."""
        options, head = self._options, self._head
        kind, rate = OPTIMIZERS[options.fine_tuning_optimizer]
        optimizer = kind()

        def learn(batch: npt.NDArray[np.int64], rate: float) -> tuple[float, float]:
            features, targets, weights = self._features[batch], self._targets[batch], self._weights[batch]
            loss, right, gradient = head.tuned_loss(features, targets, weights)
            optimizer.step(head.parameters, gradient, rate)
            return loss, right

        self._epochs(options.fine_tuning_epochs, FINE_TUNING_SHARE * rate, learn)

    def _epochs(
        self,
        epochs: int,
        learning_rate: float,
        learn: Callable[[npt.NDArray[np.int64], float], tuple[float, float]],
    ) -> None:
        """Pass over the examples that many times, in random order, with a rate that falls along a half cosine.

        Args:
            learn: takes one step, for a batch at a rate, and returns the batch's mean loss and the weight of its
                correct examples.
        """
        count, size = len(self._targets), self._options.batch_size
        tuning = self._options.fine_tuning_epochs if self._head.is_tuned else 0
        for number in range(epochs):
            rate = learning_rate * 0.5 * (1 + math.cos(math.pi * number / epochs))
            total, correct = 0.0, 0.0
            for batch in np.split(self._random.permutation(count), range(size, count, size)):
                loss, right = learn(batch, rate)
                total += loss * len(batch)
                correct += right
            learnt = (total / count, min(1.0, correct / count))  # the weights are rounded, so the sum may exceed 1
            told = Epoch(len(self.history) + 1, self._options.epochs + tuning, *learnt, *self._validate())
            self.history.append(told)
            if self._on_epoch is not None:
                self._on_epoch(told)

    def _validate(self) -> tuple[float | None, float | None]:
        if len(self._kept_targets) == 0:
            return None, None
        logits = self._head.logits(direct(self._head.embedding(self._kept_aside)))
        losses, _ = cross_entropy(logits, self._kept_targets)
        return float(losses.mean()), float((logits.argmax(axis=1) == self._kept_targets).mean())


def _layers(vector: Array, shapes: Sequence[tuple[int, ...]]) -> list[tuple[Array, Array]]:
    """A vector of parameters, or of their gradient, as kernels and biases."""
    arrays = views(vector, shapes)
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def _lengths(embeddings: Array) -> Array:
    lengths: Array = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), SHORTEST)
    return lengths


def _weights(
    targets: npt.NDArray[np.int64], is_added: npt.NDArray[np.bool_], labels: tuple[str, ...]
) -> npt.NDArray[np.float32]:
    """Each example's weight, 1 on average."""
    shares = np.array([[1.0, ADDED_WEIGHTS.get(label, 1.0)] for label in labels])
    counts = np.zeros((len(labels), 2))
    np.add.at(counts, (targets, is_added.astype(int)), 1)
    weights = (shares / np.maximum(1, counts))[targets, is_added.astype(int)]
    return (weights / weights.mean()).astype(np.float32)  # type: ignore[no-any-return]


def _dense(kernel: Array, bias: Array) -> Dense:
    return Dense(kernel.astype(np.float32), bias.astype(np.float32))
