"""The codelab's network and how it learns: as PyTorch has it, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from threadpoolctl import threadpool_info

import earmark
from earmark import Clip, EarmarkError
from earmark.front_end.examples import Examples, cut_examples
from earmark.recognizer.recognizer import Recognizer
from earmark.training.sound_network import Epoch, SoundNetwork, sound_model_file, train_sounds
from tests import sounds
from tests.twins import SoundTwin

LABELS = ("Left", "Right", "Noise")


def takes(seed: int) -> Examples:
    """A second of each of three sounds."""
    made = (sounds.whistle(1, seed), sounds.snaps(1, seed + 1), sounds.murmur(1, seed + 2))
    return cut_examples([(Clip(take, sounds.RATE), target) for target, take in enumerate(made)], 3)


def alike(count: int) -> Examples:
    """The same window so many times, label 0: every batch has the same gradient."""
    frames = np.random.default_rng(0).uniform(-100, -60, (3, 232)).astype(np.float32)
    return Examples(frames, np.zeros(count, np.int64), np.zeros(count, np.int64), 3)


def fresh(labels: int, seed: int) -> SoundNetwork:
    return SoundNetwork(labels, np.random.default_rng(seed))


def normalized(examples: Examples) -> torch.Tensor:
    return torch.from_numpy((examples.windows() + 100) / 10).double()


def exact(labels: int, seed: int) -> SoundNetwork:
    """A network that reckons in doubles; its biases aren't 0, so that all of its parts count."""
    random = np.random.default_rng(seed)
    network = SoundNetwork(labels, random, np.float64)
    network.parameters += random.normal(0, 0.05, len(network.parameters))
    network.parameters[:] = network.parameters.astype(np.float32)  # as the file has them
    return network


@pytest.fixture(scope="module")
def learnt() -> tuple[SoundNetwork, list[Epoch]]:
    return train_sounds(takes(1), 3)


def test_the_network_has_the_codelabs_shapes_and_parameters() -> None:
    network = fresh(3, 0)
    weights = network.weights()
    arrays = (weights.kernel, weights.kernel_bias, weights.dense, weights.dense_bias)
    assert [array.shape for array in arrays] == [(8, 1, 3, 3), (8,), (3, 920), (3,)]
    assert all(array.dtype == np.float32 for array in arrays)
    # Depthwise convolution: 3·3·1·8 weights and 8 biases. Of 232 bins 232 − 3 + 1 = 230 are left, pooled 115; the dense
    # layer has 8·115 inputs for each of 3 labels, and 3 biases.
    assert len(network.parameters) == (3 * 3 * 1 * 8 + 8) + (8 * 115 * 3 + 3) == 2_843
    assert network.logits(np.zeros((5, 3, 232), np.float32)).shape == (5, 3)


def test_a_fresh_network_starts_as_tfjs_starts_it() -> None:
    networks = [fresh(3, seed).weights() for seed in range(100)]
    filters = np.stack([network.kernel for network in networks])
    # Glorot normal: deviation √(2 / (inputs + outputs)), cut off at two deviations, which leaves 0.88 of it.
    for values, fans in ((filters, 9 + 72), (networks[0].dense, 920 + 3)):
        deviation = (2 / fans) ** 0.5
        assert float(np.abs(values).max()) <= 2 * deviation
        assert float(values.std()) == pytest.approx(0.88 * deviation, rel=0.05)
    biases = (networks[0].kernel_bias, networks[0].dense_bias)
    assert [(len(bias), int(np.count_nonzero(bias))) for bias in biases] == [(8, 0), (3, 0)]


@pytest.mark.parametrize(("labels", "count", "seed"), [(2, 1, 0), (3, 16, 1), (5, 40, 2)])
def test_loss_and_gradient_are_pytorchs(labels: int, count: int, seed: int) -> None:
    examples, network = takes(seed), exact(labels, seed)
    chosen = np.random.default_rng(seed).permutation(len(examples))[:count]
    windows, targets = normalized(examples)[chosen], torch.from_numpy(chosen % labels)
    loss, right, gradient = network.loss(windows.numpy(), targets.numpy())
    twin = SoundTwin(network)
    expected, expected_gradient = twin.gradient(windows, targets)
    assert loss == pytest.approx(expected, abs=1e-9)
    assert right == int((twin(windows).argmax(1) == targets).sum())
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-9)
    assert np.abs(gradient[:72]).max() > 1e-3, "the filters learn"


@pytest.mark.usefixtures("one_thread")
def test_ten_epochs_are_pytorchs() -> None:
    """The same first weights and the same order of examples, drawn as the training draws them."""
    examples = takes(1)
    network, history = train_sounds(examples, 3, seed=4)
    random = np.random.default_rng(4)
    twin = SoundTwin(SoundNetwork(3, random))
    adam = torch.optim.Adam(twin.parameters(), lr=0.01, eps=1e-7)
    windows, targets = normalized(examples), torch.from_numpy(examples.targets)
    for epoch in history:
        total = 0.0
        for batch in torch.split(torch.from_numpy(random.permutation(len(examples))), 16):
            loss, _ = twin.gradient(windows[batch], targets[batch])
            adam.step()
            total += loss * len(batch)
        assert epoch.loss == pytest.approx(total / len(examples), abs=1e-5)
    with torch.no_grad():
        expected = torch.softmax(twin(windows), 1).numpy()
    logits = network.logits(normalized(examples).float().numpy())
    np.testing.assert_allclose(softmax(logits, axis=1), expected, atol=1e-5)


@pytest.mark.parametrize(("examples", "steps"), [(1, 1), (16, 1), (17, 2), (33, 3)])
def test_a_step_of_adam_moves_by_one_hundredth_and_a_batch_holds_16(examples: int, steps: int) -> None:
    # Adam's first steps along a constant gradient move every weight by the learning rate, whatever the gradient. It is
    # constant where the steps are tiny.
    rate = 0.01 if steps == 1 else 1e-6
    options = {} if steps == 1 else {"learning_rate": rate}
    network, _ = train_sounds(alike(examples), 3, epochs=1, seed=5, **options)  # type: ignore[arg-type]
    moved = network.weights().dense_bias
    assert moved[0] > 0
    assert moved[1] < 0
    assert moved[2] < 0
    np.testing.assert_allclose(np.abs(moved), rate * steps, rtol=1e-3)


def test_the_defaults_are_the_codelabs(learnt: tuple[SoundNetwork, list[Epoch]]) -> None:
    network, history = learnt
    assert [(epoch.epoch, epoch.epochs) for epoch in history] == [(number, 10) for number in range(1, 11)]
    spelled, _ = train_sounds(takes(1), 3, epochs=10, batch_size=16, learning_rate=0.01, seed=0)
    np.testing.assert_array_equal(network.parameters, spelled.parameters)


def test_three_sounds_are_learnt_and_other_takes_of_them_known(learnt: tuple[SoundNetwork, list[Epoch]]) -> None:
    network, history = learnt
    assert history[-1].loss < history[0].loss / 2
    assert history[-1].accuracy > 0.95
    others = takes(100)
    best = network.logits((others.windows() + 100) / 10).argmax(axis=1)
    assert (best == others.targets).mean() > 0.85


def test_loss_and_accuracy_are_means_over_all_examples() -> None:
    # With a learning rate of nearly nothing, the epoch's numbers are those of the fresh network.
    examples = takes(7)
    _, (epoch,) = train_sounds(examples, 3, epochs=1, learning_rate=1e-12, seed=3, batch_size=7)
    with torch.no_grad():
        scores = torch.softmax(SoundTwin(fresh(3, 3))(normalized(examples)), 1).numpy()
    right = scores[np.arange(len(examples)), examples.targets]
    assert epoch.loss == pytest.approx(-np.log(right).mean(), rel=1e-4)
    assert epoch.accuracy == pytest.approx((scores.argmax(1) == examples.targets).mean(), abs=1e-9)


def test_the_same_seed_gives_the_same_network_and_another_gives_another(
    learnt: tuple[SoundNetwork, list[Epoch]],
) -> None:
    network, history = learnt
    np.random.rand(3)
    again, same_history = train_sounds(takes(1), 3)
    np.testing.assert_array_equal(network.parameters, again.parameters)
    assert history == same_history
    other, _ = train_sounds(takes(1), 3, seed=1)
    assert not np.array_equal(network.parameters, other.parameters)


def test_the_onnx_file_scores_as_pytorch_does(learnt: tuple[SoundNetwork, list[Epoch]]) -> None:
    network, _ = learnt
    recognizer = Recognizer(sound_model_file(network, "sounds", LABELS))
    assert recognizer.labels == LABELS
    assert recognizer.input_shape == (3, 232)
    windows = takes(50).windows()
    with torch.no_grad():
        expected = torch.softmax(SoundTwin(network)(torch.from_numpy((windows + 100) / 10).double()), 1).numpy()
    scores = np.stack([result.scores for result in recognizer.recognize_batch(windows)])
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_each_epoch_is_told_as_it_ends_and_an_exception_ends_the_training() -> None:
    told: list[Epoch] = []

    def stop_after_two(epoch: Epoch) -> None:
        told.append(epoch)
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    threads = [library["num_threads"] for library in threadpool_info()]
    with pytest.raises(KeyboardInterrupt):
        train_sounds(alike(4), 2, on_epoch=stop_after_two)
    assert [epoch.epoch for epoch in told] == [1, 2]
    assert [library["num_threads"] for library in threadpool_info()] == threads


def test_an_epoch_reads_as_a_line() -> None:
    assert str(Epoch(3, 10, 0.12345, 0.875)) == "Epoch 3/10: loss 0.1235, accuracy 87.5%"


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"seed": 2**64},
        {"seed": -(2**64)},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_told(options: dict[str, int]) -> None:
    with pytest.raises(EarmarkError, match=r"must be|range|greater"):
        train_sounds(alike(2), 2, **options)  # type: ignore[arg-type]


def test_no_examples_are_told() -> None:
    with pytest.raises(EarmarkError, match="no examples to train on: record some"):
        train_sounds(alike(0), 2)


def test_a_trained_project_knows_new_takes(trained: earmark.Project) -> None:
    recognizer = trained.model()
    for label, make in zip(LABELS, (sounds.whistle, sounds.snaps, sounds.murmur), strict=True):
        for seed in (21, 31, 41):
            assert recognizer.recognize(make(1, seed), sounds.RATE).label == label
