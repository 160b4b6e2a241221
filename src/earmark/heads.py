"""How a head learns: a small classifier on a base's embedding. PyTorch is imported here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from earmark.errors import EarmarkError
from earmark.formats.onnx import Dense
from earmark.formats.transfer import HeadWeights
from earmark.training import Epoch, one_thread

SCALE = 10.0  # of the embedding's direction: how sure a head gets in so many steps
DECAY = 4e-3  # of the weights: the penalty on their squares
# How much all examples weigh together that were added for a label; heavier, unknown words would swallow a label of one
# recording. What people recorded weighs 1 for each label.
ADDED_WEIGHTS = {"_unknown_": 0.2}
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], float]] = {  # and the learning rate at the start
    "sgd": (partial(torch.optim.SGD, momentum=0.9, nesterov=True), 0.03),
    "adam": (torch.optim.Adam, 0.03),
    "rmsprop": (torch.optim.RMSprop, 0.01),
    "adagrad": (torch.optim.Adagrad, 0.1),
}
FINE_TUNING_SHARE = 0.03  # of the learning rate: the base's own layer should move, not jump


@dataclass(frozen=True)
class HeadOptions:
    """How a head is trained, by speech-commands' names.

    Attributes:
        epochs: passes over the examples.
        batch_size: examples a step.
        optimizer: "sgd" (with momentum, as speech-commands'; from one to three recordings a label it learns better than
            the others, which scale every value by itself), "adam", "rmsprop" or "adagrad".
        learning_rate: at the start; it falls to 0 along a half cosine. None for the optimizer's usual one.
        hidden_units: of a hidden layer; 0 for a linear softmax.
        fine_tuning_epochs: further ones in which the base's last layer learns as well.
        fine_tuning_optimizer: for those.
        seed: the same seed and examples give the same head.

    Raises:
        EarmarkError: a value is out of its range.
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
    """What a head learns from.

    Attributes:
        features: the base's embeddings, or with fine-tuning what goes into its last layer, shape [examples, values].
        targets: each one's label as its index, int64.
        is_validation: which are kept aside, bool.
        is_added: which were added for the open set, bool; None for none.
    """

    features: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    is_validation: npt.NDArray[np.bool_]
    is_added: npt.NDArray[np.bool_] | None = None


class Head(nn.Module):
    """The head, and before it the base's last layer where that is tuned.

    Shape: [n, values] → logits [n, labels].
    """

    def __init__(self, values: int, labels: int, hidden_units: int, tuned: Dense | None) -> None:
        super().__init__()
        self.tuned = None
        if tuned is not None:
            self.tuned = nn.Linear(tuned.kernel.shape[1], tuned.kernel.shape[0])
            self.tuned.weight.data, self.tuned.bias.data = torch.tensor(tuned.kernel), torch.tensor(tuned.bias)
            self.tuned.requires_grad_(False)  # until the head is good enough to learn from
            values = len(tuned.bias)
        sizes = [values, hidden_units, labels] if hidden_units else [values, labels]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        last = self.layers[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]  # no label is likelier at first than another
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        if self.tuned is not None:
            features = torch.relu(self.tuned(features))
        values = nn.functional.normalize(features) * SCALE
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        return self.layers[-1](values)  # type: ignore[no-any-return]

    def penalty(self) -> Tensor:
        """The sum of the layers' squared weights."""
        return torch.stack([layer.weight.square().sum() for layer in self.layers]).sum()  # type: ignore[operator]

    def weights(self) -> HeadWeights:
        """The weights as arrays, for the ONNX file."""
        tuned = None if self.tuned is None else _dense(self.tuned)
        return HeadWeights(SCALE, tuple(_dense(layer) for layer in self.layers), tuned)


def train_head(
    examples: HeadExamples,
    labels: tuple[str, ...],
    options: HeadOptions,
    *,
    tuned: Dense | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> tuple[HeadWeights, list[Epoch]]:
    """Train a head: cross-entropy, in which every label weighs the same however many examples it has.

    Args:
        labels: which there are.
        tuned: the base's last layer, where it is to be tuned.
        on_epoch: called after each epoch; what it raises ends the training.

    Returns:
        The head and its epochs. The same seed and examples give the same head.

    Raises:
        EarmarkError: there is nothing to learn from.
    """
    if examples.is_validation.all():
        raise EarmarkError("There are no examples to train on: record some first.")
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        head = Head(examples.features.shape[1], len(labels), options.hidden_units, tuned)
        run = _Run(head, examples, labels, options, on_epoch)
        _, rate = OPTIMIZERS[options.optimizer]
        run.train(options.optimizer, options.learning_rate or rate, options.epochs)
        if options.fine_tuning_epochs and head.tuned is not None:
            head.tuned.requires_grad_(True)
            _, rate = OPTIMIZERS[options.fine_tuning_optimizer]
            run.train(options.fine_tuning_optimizer, FINE_TUNING_SHARE * rate, options.fine_tuning_epochs)
    return head.weights(), run.history


class _Run:
    """One training of one head."""

    def __init__(
        self,
        head: Head,
        examples: HeadExamples,
        labels: tuple[str, ...],
        options: HeadOptions,
        on_epoch: Callable[[Epoch], object] | None,
    ) -> None:
        self._head, self._options, self._on_epoch = head, options, on_epoch
        learnt = ~examples.is_validation
        self._features, self._targets = _tensors(examples, learnt)
        self._kept_aside = _tensors(examples, examples.is_validation)
        is_added = np.zeros_like(learnt) if examples.is_added is None else examples.is_added
        self._weights = torch.from_numpy(_weights(examples.targets[learnt], is_added[learnt], labels))
        self._epochs = options.epochs + (options.fine_tuning_epochs if head.tuned is not None else 0)
        self.history: list[Epoch] = []

    def train(self, optimizer: str, learning_rate: float, epochs: int) -> None:
        parameters = [parameter for parameter in self._head.parameters() if parameter.requires_grad]
        kind, _ = OPTIMIZERS[optimizer]
        steps = kind(parameters, lr=learning_rate)
        for number in range(epochs):
            for group in steps.param_groups:
                group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * number / epochs))
            loss, accuracy = self._learn(steps)
            validation = self._validate()
            self.history.append(Epoch(len(self.history) + 1, self._epochs, loss, accuracy, *validation))
            if self._on_epoch is not None:
                self._on_epoch(self.history[-1])

    def _learn(self, steps: torch.optim.Optimizer) -> tuple[float, float]:
        """One pass over the examples in random order; returns mean loss and accuracy, both by the examples' weights."""
        total, correct = 0.0, 0.0
        for batch in torch.split(torch.randperm(len(self._targets)), self._options.batch_size):
            logits = self._head(self._features[batch])
            losses = nn.functional.cross_entropy(logits, self._targets[batch], reduction="none")
            weights = self._weights[batch]
            loss = (weights * losses).mean()
            steps.zero_grad()
            (loss + DECAY * self._head.penalty()).backward()  # type: ignore[no-untyped-call]
            steps.step()
            total += loss.item() * len(batch)
            correct += float((weights * (logits.argmax(1) == self._targets[batch])).sum())
        return total / len(self._targets), correct / len(self._targets)

    @torch.no_grad()
    def _validate(self) -> tuple[float | None, float | None]:
        features, targets = self._kept_aside
        if len(targets) == 0:
            return None, None
        logits = self._head(features)
        accuracy = (logits.argmax(1) == targets).float().mean().item()
        return nn.functional.cross_entropy(logits, targets).item(), accuracy


def _tensors(examples: HeadExamples, chosen: npt.NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(examples.features[chosen]), torch.from_numpy(examples.targets[chosen])


def _weights(
    targets: npt.NDArray[np.int64], is_added: npt.NDArray[np.bool_], labels: tuple[str, ...]
) -> npt.NDArray[np.float32]:
    """Each example's weight, 1 on average."""
    shares = np.array([[1.0, ADDED_WEIGHTS.get(label, 1.0)] for label in labels])
    counts = np.zeros((len(labels), 2))
    np.add.at(counts, (targets, is_added.astype(int)), 1)
    weights = (shares / np.maximum(1, counts))[targets, is_added.astype(int)]
    return (weights / weights.mean()).astype(np.float32)  # type: ignore[no-any-return]


def _dense(layer: nn.Module) -> Dense:
    assert isinstance(layer, nn.Linear)
    return Dense(layer.weight.detach().numpy(), layer.bias.detach().numpy())
