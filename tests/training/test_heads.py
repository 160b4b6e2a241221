"""How heads learn: what is there to be learnt, every label alike, and never from what was kept aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from threadpoolctl import threadpool_info

from earmark import EarmarkError
from earmark.models.head_on_base import HeadWeights
from earmark.models.onnx_writer import Dense
from earmark.training.heads import ADDED_WEIGHTS, DECAY, SCALE, Head, HeadExamples, HeadOptions, direct, train_head
from earmark.training.optimizers import OPTIMIZERS
from earmark.training.sound_network import Epoch
from tests import twins
from tests.twins import HeadTwin

LABELS = ("up", "down", "left")
VALUES = 16

Array = npt.NDArray[np.float32]

pytestmark = pytest.mark.usefixtures("one_thread")  # of PyTorch, the twin


def clusters(
    counts: Sequence[int], seed: int = 0, *, spread: float = 0.3, kept_aside: int = 0, values: int = VALUES
) -> HeadExamples:
    """So many examples of each label, around a random point for each; the first `kept_aside` of each are kept aside."""
    centres = np.random.default_rng(99).normal(0, 1, (len(counts), values))
    random = np.random.default_rng(seed)
    targets = np.repeat(np.arange(len(counts)), counts)
    features = centres[targets] + random.normal(0, spread, (len(targets), values))
    is_validation = np.concatenate([np.arange(count) < kept_aside for count in counts])
    return HeadExamples(features.astype(np.float32), targets, is_validation)


def logits_of(head: HeadWeights, features: Array) -> npt.NDArray[np.float64]:
    """By hand: relu(W e + b) where the base's layer was tuned, length 1, × scale, dense layers with ReLU between."""
    values = features.astype(np.float64)
    if head.tuned is not None:
        values = np.maximum(values @ head.tuned.kernel.T + head.tuned.bias, 0)
    values = head.scale * values / np.linalg.norm(values, axis=1, keepdims=True)
    for number, dense in enumerate(head.layers):
        values = (np.maximum(values, 0) if number else values) @ dense.kernel.T + dense.bias
    return np.asarray(values)


def flat(head: HeadWeights) -> npt.NDArray[np.float32]:
    layers = head.layers if head.tuned is None else (*head.layers, head.tuned)
    return np.concatenate([array.ravel() for dense in layers for array in (dense.kernel, dense.bias)])


def last_layer(seed: int = 4, outputs: int = VALUES, inputs: int = VALUES) -> Dense:
    random = np.random.default_rng(seed)
    kernel, bias = random.normal(0, 1 / np.sqrt(inputs), (outputs, inputs)), random.normal(0, 0.1, outputs)
    return Dense(kernel.astype(np.float32), bias.astype(np.float32))


# Learning


@pytest.mark.parametrize("hidden_units", [0, 20])
def test_what_is_apart_is_learnt_and_others_of_its_kind_known(hidden_units: int) -> None:
    head, history = train_head(clusters([20, 20, 20]), LABELS, HeadOptions(hidden_units=hidden_units))
    assert [dense.kernel.shape for dense in head.layers] == (
        [(hidden_units, VALUES), (3, hidden_units)] if hidden_units else [(3, VALUES)]
    )
    assert history[-1].loss < history[0].loss / 3
    assert history[-1].accuracy == 1.0
    others = clusters([100, 100, 100], seed=7)
    assert (logits_of(head, others.features).argmax(axis=1) == others.targets).all()


def test_one_example_of_each_is_enough_to_know_clear_ones() -> None:
    head, _ = train_head(clusters([1, 1, 1]), LABELS, HeadOptions())
    others = clusters([50, 50, 50], seed=7)
    assert (logits_of(head, others.features).argmax(axis=1) == others.targets).mean() > 0.97


def test_a_hidden_layer_learns_what_no_line_divides() -> None:
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 400)
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    targets = (np.cos(2 * angles) > 0).astype(np.int64)  # opposite quarters of the circle
    examples = HeadExamples(features, targets, np.zeros(400, bool))
    accuracies = []
    for hidden_units in (0, 32):
        options = HeadOptions(epochs=100, hidden_units=hidden_units, optimizer="adam")
        head, _ = train_head(examples, ("a", "b"), options)
        accuracies.append((logits_of(head, features).argmax(axis=1) == targets).mean())
    assert accuracies[0] < 0.7
    assert accuracies[1] > 0.95


def test_a_linear_head_is_scikit_learns_logistic_regression() -> None:
    examples = clusters([30, 30, 30], spread=1.0)
    # Adam reaches the minimum soonest; speech-commands' way ends somewhat before it.
    head, _ = train_head(
        examples, LABELS, HeadOptions(epochs=600, batch_size=1_000, optimizer="adam", learning_rate=0.1)
    )
    features = examples.features / np.linalg.norm(examples.features, axis=1, keepdims=True) * SCALE
    # It minimises C × the sum of the losses + ½ × the weights' squares.
    regression = LogisticRegression(C=1 / (2 * DECAY * len(features)), tol=1e-8, max_iter=1_000)
    expected = regression.fit(features, examples.targets).predict_proba(features)
    np.testing.assert_allclose(softmax(logits_of(head, examples.features), axis=1), expected, atol=5e-3)
    assert expected.max() > 0.95


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("hidden_units", [0, 10])
def test_every_optimizer_learns(optimizer: str, hidden_units: int) -> None:
    options = HeadOptions(
        optimizer=optimizer, fine_tuning_optimizer=optimizer, fine_tuning_epochs=10, hidden_units=hidden_units
    )
    examples = clusters([20, 20, 20])
    head, history = train_head(examples, LABELS, options, tuned=last_layer())
    assert np.isfinite(flat(head)).all()
    assert history[-1].accuracy == 1.0
    others = clusters([50, 50, 50], seed=7)
    assert (logits_of(head, others.features).argmax(axis=1) == others.targets).mean() > 0.97


def test_optimizers_and_rates_are_not_the_same() -> None:
    options = [HeadOptions(epochs=3, optimizer=optimizer) for optimizer in OPTIMIZERS]
    options += [HeadOptions(epochs=3, learning_rate=rate) for rate in (0.001, 0.3)]
    heads = [flat(train_head(clusters([5, 5, 5]), LABELS, option)[0]) for option in options]
    for number, head in enumerate(heads):
        assert not any(np.array_equal(head, other) for other in heads[:number])


def test_the_first_step_is_along_the_gradient() -> None:
    """SGD with Nesterov's momentum, one batch: from zero weights each moves by −rate × (1 + 0.9) × gradient."""
    examples = clusters([4, 4, 4])
    head, (epoch,) = train_head(examples, LABELS, HeadOptions(epochs=1, batch_size=100, learning_rate=0.01))
    features = examples.features / np.linalg.norm(examples.features, axis=1, keepdims=True) * SCALE
    error = (1 / 3 - np.eye(3)[examples.targets]) / 12
    np.testing.assert_allclose(head.layers[0].kernel, -0.01 * 1.9 * error.T @ features, atol=1e-6)
    np.testing.assert_allclose(head.layers[0].bias, -0.01 * 1.9 * error.sum(axis=0), atol=1e-6)
    assert epoch.loss == pytest.approx(np.log(3), abs=1e-6)  # all labels alike at first


# As PyTorch does it


@pytest.mark.parametrize("hidden_units", [0, 10])
@pytest.mark.parametrize("is_tuned", [False, True])
def test_loss_and_gradient_are_pytorchs(hidden_units: int, is_tuned: bool) -> None:
    random, examples = np.random.default_rng(0), clusters([7, 5, 9], spread=1)
    features, targets = examples.features.astype(np.float64), examples.targets
    head = Head(VALUES, 3, hidden_units, last_layer() if is_tuned else None, random, np.float64)
    head.parameters += random.normal(0, 0.3, len(head.parameters))
    head.parameters[:] = head.parameters.astype(np.float32)  # as the file has them
    weights = random.uniform(0.2, 2, len(targets))
    twin = HeadTwin(head.weights())
    expected = twin.loss(*map(torch.tensor, (features, targets, weights)))
    gradients = [parameter.grad.flatten() for parameter in twin.parameters() if parameter.grad is not None]
    expected_gradient = torch.cat(gradients).numpy()
    assert len(expected_gradient) == len(head.parameters)
    loss, right, gradient, _ = head.loss(direct(head.embedding(features)), targets, weights)
    found = [(loss, right, gradient)]
    if is_tuned:
        found.append(head.tuned_loss(features, targets, weights))
        assert len(found[1][2]) == len(head.parameters)
    is_right = twin(torch.tensor(features)).argmax(1).numpy() == targets
    for loss, right, gradient in found:
        assert loss == pytest.approx(expected.item(), abs=1e-9)
        assert right == pytest.approx(weights[is_right].sum(), abs=1e-9)
        np.testing.assert_allclose(gradient, expected_gradient[: len(gradient)], atol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"hidden_units": 6}, {"fine_tuning_epochs": 10}], ids=str)
def test_ten_epochs_are_pytorchs(optimizer: str, options: dict[str, Any]) -> None:
    """The same first weights and the same order of examples, drawn as the training draws them."""
    examples = clusters([12, 8, 10], spread=1)
    tuned = last_layer() if "fine_tuning_epochs" in options else None
    head_options = HeadOptions(
        epochs=10, batch_size=8, seed=3, optimizer=optimizer, fine_tuning_optimizer=optimizer, **options
    )
    head, history = train_head(examples, LABELS, head_options, tuned=tuned)
    random = np.random.default_rng(3)
    twin = HeadTwin(Head(VALUES, 3, head_options.hidden_units, tuned, random).weights())
    counts = np.bincount(examples.targets)[examples.targets]
    features, targets = torch.from_numpy(examples.features).double(), torch.from_numpy(examples.targets)
    weights = torch.from_numpy(len(targets) / 3 / counts)  # every label alike, 1 on average
    kind, settings = twins.OPTIMIZERS[optimizer]
    _, rate = OPTIMIZERS[optimizer]
    phases = [(twin.own.parameters(), rate)] + ([(twin.parameters(), 0.03 * rate)] if tuned else [])
    number = 0
    for parameters, start in phases:
        steps = kind(parameters, lr=start, **settings)
        for epoch in range(10):
            steps.param_groups[0]["lr"] = start * 0.5 * (1 + np.cos(np.pi * epoch / 10))
            total = 0.0
            for batch in torch.split(torch.from_numpy(random.permutation(len(targets))), 8):
                total += twin.loss(features[batch], targets[batch], weights[batch]).item() * len(batch)
                steps.step()
            assert history[number].loss == pytest.approx(total / len(targets), abs=1e-5)
            number += 1
    assert number == len(history)
    with torch.no_grad():
        expected = torch.softmax(twin(features), 1).numpy()
    np.testing.assert_allclose(softmax(logits_of(head, examples.features), axis=1), expected, atol=1e-5)


# The same and not the same


@pytest.mark.parametrize("options", [{}, {"hidden_units": 8}, {"fine_tuning_epochs": 3}], ids=str)
def test_the_same_seed_gives_the_same_head(options: dict[str, Any]) -> None:
    tuned = last_layer() if "fine_tuning_epochs" in options else None

    def train(seed: int) -> tuple[HeadWeights, list[Epoch]]:
        examples = clusters([9, 9, 9], spread=1, kept_aside=2)
        return train_head(examples, LABELS, HeadOptions(epochs=4, batch_size=4, seed=seed, **options), tuned=tuned)

    first, history = train(5)
    np.random.rand(3)
    again, same_history = train(5)
    np.testing.assert_array_equal(flat(first), flat(again))
    assert history == same_history
    assert not np.array_equal(flat(first), flat(train(6)[0]))


def test_training_leaves_its_examples_and_the_bases_layer_as_they_were() -> None:
    examples, tuned = clusters([5, 5, 5], kept_aside=1), last_layer()
    for array in (examples.features, examples.targets, examples.is_validation, tuned.kernel, tuned.bias):
        array.flags.writeable = False
    before = examples.features.copy(), tuned.kernel.copy()
    train_head(examples, LABELS, HeadOptions(epochs=2, fine_tuning_epochs=2), tuned=tuned)
    np.testing.assert_array_equal(examples.features, before[0])
    np.testing.assert_array_equal(tuned.kernel, before[1])


# Every label alike


def test_a_label_with_ten_times_the_examples_is_not_favoured() -> None:
    """What lies amid two labels goes to one as often as to the other, though one has ten times the examples."""
    counts = (10, 100)
    shares = []
    for seed in range(5):
        random = np.random.default_rng(seed)
        targets = np.repeat([0, 1], counts)
        features = random.normal(0, 1, (110, 8))
        features[:, 0] += np.where(targets == 0, -1, 1)
        features[:, 1] += 4  # away from the origin, so that the direction tells where a point lies
        head, _ = train_head(
            HeadExamples(features.astype(np.float32), targets, np.zeros(110, bool)), ("few", "many"), HeadOptions()
        )
        test = random.normal(0, 1, (4_000, 8))
        test[:, 1] += 4
        shares.append((logits_of(head, test.astype(np.float32)).argmax(axis=1) == 1).mean())
    # The weighted loss has its boundary in the middle; without weights it lies at log(10) / 2 = 1.15 deviations from
    # there, and 0.87 of the points would go to the label of many.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)


def test_an_example_many_times_counts_as_once() -> None:
    """Whole batches: the loss is each label's mean, so copies of a label's examples change nothing."""
    few = clusters([4, 4, 4], spread=1)
    many = HeadExamples(*(np.concatenate((column, column[np.tile(np.arange(4), 9)])) for column in _columns(few)))
    assert np.bincount(many.targets).tolist() == [40, 4, 4]
    options = HeadOptions(batch_size=1_000)
    heads = [train_head(examples, LABELS, options) for examples in (few, many)]
    np.testing.assert_allclose(flat(heads[0][0]), flat(heads[1][0]), atol=1e-4)
    assert heads[0][1][-1].loss == pytest.approx(heads[1][1][-1].loss, abs=1e-4)


def _columns(examples: HeadExamples) -> tuple[Any, Any, Any]:
    return examples.features, examples.targets, examples.is_validation


def test_unknown_words_weigh_less_than_a_label() -> None:
    """Two labels on one point: its score goes by what their examples weigh."""
    assert 0 < ADDED_WEIGHTS["_unknown_"] < 0.5
    features, targets, added = np.ones((200, 4), np.float32), np.repeat([0, 1], 100), np.repeat([False, True], 100)
    for other, is_added, expected in (
        ("_unknown_", added, 1 / (1 + ADDED_WEIGHTS["_unknown_"])),
        ("_unknown_", None, 1 / 2),  # recorded by the user
        ("_background_noise_", added, 1 / 2),
    ):
        examples = HeadExamples(features, targets, np.zeros(200, bool), is_added)
        head, _ = train_head(examples, ("word", other), HeadOptions(epochs=300, batch_size=500))
        score = softmax(logits_of(head, features[:1]), axis=1)[0, 0]
        assert score == pytest.approx(expected, abs=0.01)


def test_a_label_without_examples_is_never_likely() -> None:
    examples = clusters([20, 20])
    head, _ = train_head(examples, ("a", "b", "empty"), HeadOptions())
    assert softmax(logits_of(head, examples.features), axis=1)[:, 2].max() < 0.1


# What is kept aside


@pytest.mark.parametrize("options", [{}, {"hidden_units": 8}, {"fine_tuning_epochs": 3}], ids=str)
def test_what_is_kept_aside_is_never_learnt_from(options: dict[str, Any]) -> None:
    tuned = last_layer() if "fine_tuning_epochs" in options else None
    examples = clusters([8, 8, 8], kept_aside=3)
    changed = examples.features.copy()
    changed[examples.is_validation] = np.random.default_rng(1).normal(0, 100, (9, VALUES))
    swapped = np.where(examples.is_validation, (examples.targets + 1) % 3, examples.targets)
    head_options = HeadOptions(epochs=5, **options)
    head, history = train_head(examples, LABELS, head_options, tuned=tuned)
    for other in (replace(examples, features=changed), replace(examples, targets=swapped)):
        same, other_history = train_head(other, LABELS, head_options, tuned=tuned)
        np.testing.assert_array_equal(flat(head), flat(same))
        assert [(epoch.loss, epoch.accuracy) for epoch in history] == [
            (epoch.loss, epoch.accuracy) for epoch in other_history
        ]
        assert history[-1].validation_loss != other_history[-1].validation_loss
    kept = ~examples.is_validation
    without = HeadExamples(examples.features[kept], examples.targets[kept], examples.is_validation[kept])
    np.testing.assert_array_equal(flat(head), flat(train_head(without, LABELS, head_options, tuned=tuned)[0]))


@pytest.mark.parametrize("hidden_units", [0, 6])
@pytest.mark.parametrize("fine_tuning_epochs", [0, 2])
def test_validation_is_what_scikit_learn_makes_of_the_head(hidden_units: int, fine_tuning_epochs: int) -> None:
    examples = clusters([12, 9, 7], spread=1.5, kept_aside=4)
    options = HeadOptions(epochs=3, hidden_units=hidden_units, fine_tuning_epochs=fine_tuning_epochs)
    head, history = train_head(examples, LABELS, options, tuned=last_layer() if fine_tuning_epochs else None)
    scores = softmax(logits_of(head, examples.features[examples.is_validation]), axis=1)
    targets = examples.targets[examples.is_validation]
    assert history[-1].validation_loss == pytest.approx(log_loss(targets, scores, labels=[0, 1, 2]), rel=1e-4)
    assert history[-1].validation_accuracy == pytest.approx(accuracy_score(targets, scores.argmax(axis=1)), abs=1e-6)
    assert 0 < accuracy_score(targets, scores.argmax(axis=1)) < 1


def test_loss_and_accuracy_are_weighted_means_of_what_was_learnt_from() -> None:
    examples = clusters([12, 4, 4], spread=1.5, kept_aside=2)
    _, (epoch,) = train_head(examples, LABELS, HeadOptions(epochs=1, batch_size=100))
    # One batch, learnt from by a fresh head, which gives all labels the same score and so says the first.
    assert epoch.loss == pytest.approx(np.log(3), abs=1e-5)
    assert epoch.accuracy == pytest.approx(1 / 3, abs=1e-5)  # one of three labels, not 10 of 14 examples
    _, (epoch,) = train_head(examples, LABELS, HeadOptions(epochs=1, batch_size=3, learning_rate=1e-12))
    assert epoch.loss == pytest.approx(np.log(3), abs=1e-5)


def test_without_any_kept_aside_there_is_no_validation() -> None:
    _, history = train_head(clusters([3, 3]), ("a", "b"), HeadOptions(epochs=2))
    assert [(epoch.validation_loss, epoch.validation_accuracy) for epoch in history] == [(None, None)] * 2


# Epochs and fine-tuning


def test_each_epoch_is_told_as_it_ends_and_those_of_the_fine_tuning_follow() -> None:
    told: list[Epoch] = []
    options = HeadOptions(epochs=4, fine_tuning_epochs=3)
    _, history = train_head(clusters([5, 5]), ("a", "b"), options, tuned=last_layer(), on_epoch=told.append)
    assert told == history
    assert [(epoch.epoch, epoch.epochs) for epoch in history] == [(number, 7) for number in range(1, 8)]
    _, history = train_head(clusters([5, 5]), ("a", "b"), options)
    assert [(epoch.epoch, epoch.epochs) for epoch in history] == [(number, 4) for number in range(1, 5)]


def test_an_exception_ends_the_training() -> None:
    told: list[Epoch] = []

    def stop_after_two(epoch: Epoch) -> None:
        told.append(epoch)
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    threads = [library["num_threads"] for library in threadpool_info()]
    with pytest.raises(KeyboardInterrupt):
        train_head(clusters([3, 3]), ("a", "b"), HeadOptions(), on_epoch=stop_after_two)
    assert [epoch.epoch for epoch in told] == [1, 2]
    assert [library["num_threads"] for library in threadpool_info()] == threads


def test_the_bases_layer_learns_in_the_fine_tuning_alone() -> None:
    examples, layer = clusters([9, 9, 9], spread=1), last_layer()
    untouched, _ = train_head(examples, LABELS, HeadOptions(epochs=6), tuned=layer)
    assert untouched.tuned is not None
    np.testing.assert_array_equal(untouched.tuned.kernel, layer.kernel)
    np.testing.assert_array_equal(untouched.tuned.bias, layer.bias)
    tuned, history = train_head(examples, LABELS, HeadOptions(epochs=6, fine_tuning_epochs=10), tuned=layer)
    assert tuned.tuned is not None
    assert 1e-3 < np.abs(tuned.tuned.kernel - layer.kernel).max() < 1, "it moves and doesn't jump"
    assert not np.array_equal(tuned.tuned.bias, layer.bias)
    assert history[-1].loss < history[5].loss


def test_a_layer_that_gives_nothing_leaves_the_head_finite() -> None:
    layer = Dense(np.zeros((VALUES, VALUES), np.float32), np.full(VALUES, -1, np.float32))
    head, history = train_head(clusters([5, 5]), ("a", "b"), HeadOptions(epochs=3, fine_tuning_epochs=3), tuned=layer)
    assert np.isfinite(flat(head)).all()
    assert np.isfinite([epoch.loss for epoch in history]).all()


@pytest.mark.parametrize("hidden_units", [0, 6])
def test_a_fresh_head_finds_no_label_likelier_than_another(hidden_units: int) -> None:
    random = np.random.default_rng(0)
    logits = Head(VALUES, 3, hidden_units, None, random).logits(direct(random.normal(0, 1, (5, VALUES))))
    assert logits.shape == (5, 3)
    assert not logits.any()


# Bad options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": -1}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"hidden_units": -1}, "hidden_units"),
        ({"hidden_units": 4_097}, "hidden_units"),
        ({"fine_tuning_epochs": -1}, "fine_tuning_epochs"),
        ({"seed": -1}, "The seed is -1"),
        ({"seed": 2**63}, f"The seed is {2**63}"),
        ({"optimizer": "lbfgs"}, "The optimizer 'lbfgs' is not known: use sgd, adam, rmsprop, adagrad"),
        ({"optimizer": ""}, "The optimizer ''"),
        ({"optimizer": "SGD"}, "The optimizer 'SGD'"),
        ({"fine_tuning_optimizer": "nadam"}, "The optimizer 'nadam'"),
    ],
    ids=str,
)
def test_an_option_out_of_range_is_told_in_a_sentence(options: dict[str, Any], says: str) -> None:
    with pytest.raises(EarmarkError) as told:
        HeadOptions(**options)
    assert says in str(told.value)
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "options",
    [{"epochs": 1}, {"batch_size": 1}, {"hidden_units": 4_096}, {"seed": 2**63 - 1}, {"learning_rate": 1e-9}],
    ids=str,
)
def test_the_last_value_in_range_works(options: dict[str, Any]) -> None:
    head, _ = train_head(clusters([2, 2]), ("a", "b"), HeadOptions(**{"epochs": 1, **options}))
    assert np.isfinite(flat(head)).all()


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_to_learn_from_is_told(count: int) -> None:
    examples = clusters([count, count], kept_aside=count)
    with pytest.raises(EarmarkError, match=r"^There are no examples to train on: record some first\.$"):
        train_head(examples, ("a", "b"), HeadOptions())
