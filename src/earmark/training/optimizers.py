"""Training small networks in NumPy: cross-entropy with its gradient, and the optimizers.

A network's parameters are one vector, and its layers hold views of it. So an optimizer's step takes a handful of
operations, however many layers there are. In networks of a few thousand parameters, these take most of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod, sqrt
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

Array = npt.NDArray[np.floating[Any]]


class Optimizer(Protocol):
    """Moves parameters against their gradient. It keeps its own state from step to step."""

    def step(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        """Move the parameters in place. Both arrays have the same shape as in the first step."""


class Sgd:
    """Stochastic gradient descent with Nesterov's momentum.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", in PyTorch's
    form: the velocity is a sum of gradients, which is multiplied by the learning rate afterwards.
    """

    def __init__(self, momentum: float = 0.9) -> None:
        self._momentum = momentum
        self._velocity: Array | None = None

    def step(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        if self._velocity is None:
            self._velocity = gradient.copy()
        else:
            self._velocity *= self._momentum
            self._velocity += gradient
        parameters -= learning_rate * (gradient + self._momentum * self._velocity)


class Adam:
    """Source: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization" (arXiv:1412.6980), algorithm 1."""

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._mean: Array | float = 0.0
        self._square: Array | float = 0.0
        self._steps = 0

    def step(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        self._steps += 1
        self._mean = self._beta1 * self._mean + (1 - self._beta1) * gradient
        self._square = self._beta2 * self._square + (1 - self._beta2) * np.square(gradient)
        deviation = np.sqrt(self._square) / sqrt(1 - self._beta2**self._steps) + self._epsilon
        parameters -= learning_rate / (1 - self._beta1**self._steps) * self._mean / deviation


class RmsProp:
    """Source: Hinton 2012, "Neural Networks for Machine Learning", lecture 6e."""

    def __init__(self, decay: float = 0.99, epsilon: float = 1e-8) -> None:
        self._decay, self._epsilon = decay, epsilon
        self._square: Array | float = 0.0

    def step(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        self._square = self._decay * self._square + (1 - self._decay) * np.square(gradient)
        parameters -= learning_rate * gradient / (np.sqrt(self._square) + self._epsilon)


class Adagrad:
    """Source: Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods for Online Learning"."""

    def __init__(self, epsilon: float = 1e-10) -> None:
        self._epsilon = epsilon
        self._square: Array | float = 0.0

    def step(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        self._square = self._square + np.square(gradient)
        parameters -= learning_rate * gradient / (np.sqrt(self._square) + self._epsilon)


OPTIMIZERS: dict[str, tuple[Callable[[], Optimizer], float]] = {  # with the learning rate at the start
    "sgd": (Sgd, 0.03),
    "adam": (Adam, 0.03),
    "rmsprop": (RmsProp, 0.01),
    "adagrad": (Adagrad, 0.1),
}


def views(vector: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """The vector's values as arrays of these shapes, one after the other, which share its memory."""
    arrays, start = [], 0
    for shape in shapes:
        arrays.append(vector[start : start + prod(shape)].reshape(shape))
        start += prod(shape)
    return arrays


def cross_entropy(logits: Array, targets: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """The softmax's cross-entropy of each example, and its gradient by the logits.

    Args:
        logits: shape [n, labels].
        targets: the index of each example's label, shape [n].

    Returns:
        Losses in nats, shape [n], and gradients, shape [n, labels]: softmax − one-hot.
    """
    rows = np.arange(len(targets))
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradients = np.exp(shifted)
    totals = gradients.sum(axis=1)
    losses = np.log(totals) - shifted[rows, targets]
    gradients /= totals[:, np.newaxis]
    gradients[rows, targets] -= 1
    return losses, gradients


@contextmanager
def one_thread() -> Iterator[None]:
    """Run matrix products on one thread: handing such small ones to another thread takes longer than computing them."""
    with threadpool_limits(1, user_api="blas"):
        yield
