"""Pretraining, on words that the tests make: the network, how it learns, its checkpoints, and `earmark pretrain`."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import pickle
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import earmark
from earmark import EarmarkError, Recognizer
from earmark.clips.corpus import find_recordings
from earmark.models.onnx_writer import multiply_adds
from earmark.pretraining.augmentation import Augmentation
from earmark.pretraining.data import PretrainingData, prepare
from earmark.pretraining.pretraining import (
    PretrainingEpoch,
    PretrainingOptions,
    _Average,
    _batches,
    _Learner,
    _log_priors,
    _Schedule,
    pretrain,
)
from earmark.pretraining.run import run as run_pretraining
from earmark.pretraining.word_network import WordNetwork, word_model_file
from tests import chirps
from tests.cli.test_main import complaint, run, run_json

LABELS = ("_background_noise_", "_unknown_", "fall", "high", "rise")
OPTIONS = PretrainingOptions(epochs=2, draws=320, batch_size=32, averaging=0.8)
SHORT = PretrainingOptions(epochs=2, draws=48, batch_size=16)
has_teacher = importlib.util.find_spec("livekit") is not None

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chirps.save_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def data(folder: Path) -> PretrainingData:
    return prepare(
        find_recordings(folder), ("rise", "fall", "high"), folder / "cache", teacher=has_teacher, seed=0,
        report=lambda *_: None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(
    data: PretrainingData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WordNetwork, list[PretrainingEpoch]]:
    return pretrain(data, tmp_path_factory.mktemp("trained"), OPTIONS)[:2]


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(
        torch.equal(first, second)
        for first, second in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


# The network


def test_the_network_has_the_parameters_that_its_layers_need() -> None:
    """Counted by hand: a separable convolution has kernel × inputs, inputs × outputs, and 2 × outputs to normalize."""

    def separable(inputs: int, outputs: int) -> int:
        return 9 * inputs + inputs * outputs + 2 * outputs

    blocks = [
        separable(inputs, outputs) + separable(outputs, outputs) + inputs * outputs + 2 * outputs
        for inputs, outputs in ((96, 128), (128, 160), (160, 192), (192, 192))
    ]
    assert blocks == [43_744, 70_112, 102_624, 115_200]
    stem = 3 * 232 * 96 + 2 * 96
    dense = (2 * 192 + 1) * 192 + (192 + 1) * 20
    assert stem + sum(blocks) + dense == 476_468
    assert sum(parameter.numel() for parameter in WordNetwork(20).parameters()) == 476_468


def test_the_networks_work() -> None:
    """Counted by hand: 43 places of the stem, 22 of the blocks, and the dense layers once."""
    blocks = sum(
        9 * inputs + inputs * outputs + 9 * outputs + outputs * outputs + inputs * outputs
        for inputs, outputs in ((96, 128), (128, 160), (160, 192), (192, 192))
    )
    expected = 43 * 232 * 96 * 3 + 22 * blocks + 384 * 192 + 192 * 20
    labels = tuple(f"label {number}" for number in range(20))
    assert multiply_adds(word_model_file(WordNetwork(20).eval(), "words", labels)) == expected


def test_the_shapes() -> None:
    network = WordNetwork(5).eval()
    windows = torch.randn(4, 43, 232, generator=torch.Generator().manual_seed(0))
    logits, embedding = network(windows)
    assert logits.shape == (4, 5)
    assert embedding.shape == (4, 192)
    assert (embedding >= 0).all()
    frames = torch.relu(network.stem_norm(network.stem(windows.transpose(1, 2))))
    lengths = [frames.shape[2]]
    for block in network.blocks:
        frames = block(frames)
        lengths.append(frames.shape[2])
    assert lengths == [43, 22, 22, 22, 22]
    one_by_one = torch.cat([network(window[None])[0] for window in windows])
    torch.testing.assert_close(one_by_one, logits, atol=1e-5, rtol=1e-4)


def test_the_onnx_file_computes_what_the_network_does(trained: tuple[WordNetwork, list[PretrainingEpoch]]) -> None:
    network, _ = trained
    assert not network.training
    norm = network.blocks[0].first.norm
    assert isinstance(norm, torch.nn.BatchNorm1d)  # it has learnt, so that there is something to fold
    assert norm.running_var is not None
    assert not torch.allclose(norm.running_var, torch.ones(128), atol=0.1)
    assert not torch.allclose(norm.weight, torch.ones(128), atol=1e-3)
    recognizer = Recognizer(word_model_file(network, "mine", LABELS))
    assert (recognizer.labels, recognizer.metadata.name, recognizer.input_shape) == (LABELS, "mine", (43, 232))
    levels = np.random.default_rng(0).uniform(-100, -30, (6, 43, 232)).astype(np.float32)
    with torch.no_grad():
        logits, embedding = network(torch.from_numpy(recognizer.metadata.normalization(levels)))
    np.testing.assert_allclose(recognizer.embed_windows(levels), embedding.numpy(), atol=1e-4)
    np.testing.assert_allclose(recognizer.score_windows(levels), logits.softmax(1).numpy(), atol=1e-4)
    assert logits.softmax(1).std() > 0.01


# Learning


def test_it_learns_words_that_it_then_hears_from_others(trained: tuple[WordNetwork, list[PretrainingEpoch]]) -> None:
    network, history = trained
    assert [(epoch.epoch, epoch.epochs) for epoch in history] == [(1, 2), (2, 2)]
    assert history[1].loss < 0.7 * history[0].loss
    assert history[1].accuracy is not None
    assert history[1].accuracy >= 5 / 6
    recognizer = Recognizer(word_model_file(network, "mine", LABELS))
    new = [(name, chirps.word(name, speaker)) for name in LABELS[2:] for speaker in ("eve", "fay", "gus", "hal")]
    found = [recognizer.recognize(samples, chirps.RATE).label for _, samples in new]
    assert sum(label == name for label, (name, _) in zip(found, new, strict=True)) >= 10


def test_the_reserved_labels_are_expected_as_often_as_a_word() -> None:
    # Of 18 words each is drawn with (1 − 0.07 − 0.25) / 18 = 0.03778: 0.07 is 1.853 times as much, 0.25 6.618 times.
    priors = _log_priors(20)
    torch.testing.assert_close(priors[:2].exp(), torch.tensor([1.853, 6.618]), atol=1e-3, rtol=0)
    assert not priors[2:].any()
    assert not _log_priors(4).any()  # of two words each is drawn with 0.34, more than either


def test_the_learning_rate_rises_and_falls() -> None:
    schedule = _Schedule(20)
    assert [schedule(step) for step in (0, 1, 2)] == pytest.approx([0.5, 1, 1])
    assert schedule(11) == pytest.approx(0.5)  # halfway down
    assert schedule(8) == pytest.approx(0.75)  # a third: (1 + cos 60°) / 2
    assert schedule(20) == pytest.approx(0)
    assert _Schedule(1)(0) == 1


def test_the_average_forgets_the_start_and_then_keeps() -> None:
    average = _Average(0.9)
    old, new = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 10.0])
    # At first a tenth is kept, after eight steps a half: (1 + 8) / (10 + 8).
    torch.testing.assert_close(average(old, new, 0), torch.tensor([0.1, 9.0]))
    torch.testing.assert_close(average(old, new, 8), torch.tensor([0.5, 5.0]))
    torch.testing.assert_close(average(old, new, torch.tensor(1_000)), torch.tensor([0.9, 1.0]))


def test_the_loss_by_hand() -> None:
    torch.manual_seed(0)
    learner = _Learner(4, 3).eval()
    windows = torch.randn(3, 43, 232)
    targets, words = torch.tensor([0, 1, 3]), torch.tensor([-1, 2, 0])
    teacher = torch.randn(3, 192)
    teacher[1] = 0
    with torch.no_grad():
        loss = learner.loss(windows, targets, words, teacher, smoothing=0.1).item()
        nothing = learner.loss(windows, targets, torch.full((3,), -1), torch.zeros(3, 192), smoothing=0.0).item()
        logits, embedding = (tensor.double().numpy() for tensor in learner.network(windows))
        said = learner.words(torch.from_numpy(embedding).float()).double().numpy()
        alike = learner.teacher(torch.from_numpy(embedding).float()).double().numpy()

    def log_softmax(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(values - np.log(np.exp(values).sum(axis=1, keepdims=True)), np.float64)

    chances = log_softmax(logits)
    wanted = np.full((3, 4), 0.1 / 4)  # a tenth is spread over all four
    wanted[[0, 1, 2], [0, 1, 3]] += 0.9
    expected = -(wanted * chances).sum(axis=1).mean()
    expected += 0.3 * -(log_softmax(said)[1, 2] + log_softmax(said)[2, 0]) / 2
    goal = teacher.double().numpy()
    cosines = [goal[row] @ alike[row] / np.linalg.norm(goal[row]) / np.linalg.norm(alike[row]) for row in (0, 2)]
    expected += 1 - np.mean(cosines)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert nothing == pytest.approx(-chances[[0, 1, 2], [0, 1, 3]].mean(), rel=1e-4)


def test_each_epoch_makes_other_windows_of_the_same_clip(data: PretrainingData) -> None:
    one = replace(data, training=data.training[data.targets[data.training] == LABELS.index("rise")][:1])
    augmentation = Augmentation(torch.from_numpy(data.noise), torch.device("cpu"))

    def made(epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(_batches(one, augmentation, SHORT, epoch, torch.device("cpu")))
        assert [len(windows) for windows, *_ in batches] == [16, 16, 16]
        return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])

    (first, targets), (again, _), (other, others) = made(1), made(1), made(2)
    assert torch.equal(first, again)
    rises = [windows[labels == LABELS.index("rise")] for windows, labels in ((first, targets), (other, others))]
    assert min(len(windows) for windows in rises) > 2
    pairs = (torch.cat(rises)[:, None] - torch.cat(rises)).abs().amax((2, 3))
    assert (pairs + torch.eye(len(pairs)) > 0.1).all()  # of the one clip no two windows are the same
    same = targets == others
    assert ((first - other).abs().amax((1, 2))[same] > 0.1).float().mean() > 0.8  # in each place of a batch


def test_the_last_seventh_of_the_epochs_is_calmer(data: PretrainingData) -> None:
    """Of 14 epochs the last two: fewer windows have a frame or bin hidden there, 40 % × 0.3 instead of 40 %."""
    augmentation = Augmentation(torch.from_numpy(data.noise), torch.device("cpu"))
    options = replace(SHORT, epochs=14, draws=96, batch_size=32)
    masked = {}
    for epoch in (1, 12, 13, 14):
        windows = torch.cat([batch[0] for batch in _batches(data, augmentation, options, epoch, torch.device("cpu"))])
        masked[epoch] = ((windows == 0).all(2).any(1) | (windows == 0).all(1).any(1)).float().mean()
    assert min(masked[1], masked[12]) > 0.45  # 64 %, less those shorter than a cell
    assert max(masked[13], masked[14]) < 0.4  # 23 %


def test_a_learning_rate_that_is_too_high_leaves_nothing(data: PretrainingData, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"^The training got lost in epoch 1: choose a smaller --learning-rate\.$"):
        pretrain(data, tmp_path, replace(SHORT, learning_rate=1e30))
    assert not list(tmp_path.iterdir())


def test_without_validation_recordings_nothing_is_claimed(data: PretrainingData, tmp_path: Path) -> None:
    none = replace(data, validation=np.zeros(0, np.int64))
    _, (epoch,), _ = pretrain(none, tmp_path, replace(SHORT, epochs=1))
    assert epoch.accuracy is None
    assert epoch.rejected is None
    assert str(epoch) == f"Epoch 1/1: loss {epoch.loss:.4f}, validation accuracy –, other words rejected –"
    assert str(PretrainingEpoch(1, 2, 0.5, 0.25, 1.0)).endswith("accuracy 25.0%, other words rejected 100.0%")


def test_the_callers_random_numbers_stay_as_they_are(data: PretrainingData, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    pretrain(data, tmp_path, replace(SHORT, epochs=1, draws=16))
    assert torch.equal(torch.rand(3), expected)


# Checkpoints


class PowerCutError(Exception):
    """What ends a training in its midst."""


@pytest.fixture(scope="module")
def uninterrupted(
    data: PretrainingData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WordNetwork, list[PretrainingEpoch], Path]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return *pretrain(data, folder, SHORT)[:2], folder


@pytest.fixture
def checkpoint(uninterrupted: tuple[WordNetwork, list[PretrainingEpoch], Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(uninterrupted[2] / "checkpoint.pt", tmp_path))


def test_an_interrupted_training_ends_with_the_same_bits(
    data: PretrainingData, uninterrupted: tuple[WordNetwork, list[PretrainingEpoch], Path], tmp_path: Path
) -> None:
    steps: list[tuple[int, int, int]] = []

    def interrupt(epoch: int, number: int, count: int) -> None:
        steps.append((epoch, number, count))
        if (epoch, number) == (2, 2):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        pretrain(data, tmp_path, SHORT, on_batch=interrupt)
    assert steps == [(1, 1, 3), (1, 2, 3), (1, 3, 3), (2, 1, 3), (2, 2, 3)]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
    heard: list[PretrainingEpoch] = []
    network, history, _ = pretrain(data, tmp_path, SHORT, on_epoch=heard.append)
    expected, its_history, _ = uninterrupted
    assert same_weights(network, expected)
    assert history == its_history
    assert heard == history[1:]  # the first isn't made again


def test_a_finished_training_is_not_done_again(
    data: PretrainingData, uninterrupted: tuple[WordNetwork, list[PretrainingEpoch], Path], checkpoint: Path
) -> None:
    network, history, _ = pretrain(data, checkpoint.parent, SHORT, on_batch=lambda *_: pytest.fail("a step"))
    assert same_weights(network, uninterrupted[0])
    assert history == uninterrupted[1]
    other, _, _ = pretrain(data, checkpoint.parent / "..", replace(SHORT, seed=1))
    assert not same_weights(network, other)


def test_a_training_begins_with_anothers_weights(
    data: PretrainingData, uninterrupted: tuple[WordNetwork, list[PretrainingEpoch], Path], tmp_path: Path
) -> None:
    start = uninterrupted[2] / "checkpoint.pt"
    still = replace(SHORT, epochs=1, learning_rate=1e-12, weight_decay=0.0, strength=0.5)
    network, _, begun = pretrain(data, tmp_path, still, start=start)
    for name, value in network.named_parameters():  # its averaged weights, which a rate of nothing leaves alone
        torch.testing.assert_close(value, uninterrupted[0].state_dict()[name], atol=1e-6, rtol=0)
    assert begun is not None
    assert (begun["data"], begun["epochs"], begun["strength"]) == (data.hash, SHORT.epochs, 1.0)
    with pytest.raises(EarmarkError, match=r"is of a training on other data .+: choose another folder\.$"):
        pretrain(data, tmp_path, still)  # the same options, but from a random start


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_what_is_no_checkpoint_is_no_beginning(data: PretrainingData, tmp_path: Path, content: bytes | None) -> None:
    start = tmp_path / "start.pt"
    if content is not None:
        start.write_bytes(content)
    with pytest.raises(EarmarkError, match=r"start\.pt is no checkpoint .+: name its checkpoint\.pt\.$"):
        pretrain(data, tmp_path, SHORT, start=start)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"strength": 0.5},
        {"epochs": 3},
        {"draws": 32},
        {"batch_size": 8},
        {"learning_rate": 1e-3},
        {"averaging": 0.9},
    ],
)
def test_a_checkpoint_of_other_options_is_refused(
    data: PretrainingData, checkpoint: Path, change: dict[str, Any]
) -> None:
    content = checkpoint.read_bytes()
    with pytest.raises(
        EarmarkError, match=r"checkpoint\.pt is of a training on other data .+: choose another folder\.$"
    ):
        pretrain(data, checkpoint.parent, replace(SHORT, **change))
    assert checkpoint.read_bytes() == content


def test_a_checkpoint_of_other_data_is_refused(data: PretrainingData, checkpoint: Path) -> None:
    others = [
        replace(data, hash="0" * 64),
        replace(data, labels=(*LABELS[:4], "up")),
        replace(data, teacher=np.zeros_like(data.teacher) if has_teacher else np.ones_like(data.teacher)),
    ]
    for other in others:
        with pytest.raises(EarmarkError, match=r"checkpoint\.pt is of a training on other data"):
            pretrain(other, checkpoint.parent, SHORT)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "list", "part missing", "other network"])
def test_a_damaged_checkpoint_is_told(data: PretrainingData, checkpoint: Path, damage: str) -> None:
    content = checkpoint.read_bytes()
    values = torch.load(checkpoint, weights_only=True)
    if damage == "list":
        torch.save([1, 2, 3], checkpoint)
    elif damage == "part missing":
        del values["optimizer"]
        torch.save(values, checkpoint)
    elif damage == "other network":
        torch.save({**values, "learner": _Learner(7, 2).state_dict()}, checkpoint)
    else:
        checkpoint.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(EarmarkError, match=r"checkpoint\.pt can't be read: delete it to begin anew\.$"):
        pretrain(data, checkpoint.parent, SHORT)


class Malice:
    """A pickle that runs a command where it is read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._file),)


@pytest.mark.parametrize("bare", [False, True])
def test_a_checkpoint_never_runs_code(data: PretrainingData, tmp_path: Path, bare: bool) -> None:
    trap, file = tmp_path / "trap", tmp_path / "checkpoint.pt"
    if bare:
        file.write_bytes(pickle.dumps({"identity": Malice(trap)}))
    else:
        torch.save({"identity": Malice(trap)}, file)
    with pytest.raises(EarmarkError, match="can't be read"):
        pretrain(data, tmp_path, SHORT)
    assert not trap.exists()


# From data sets to a model folder


def run_here(folder: Path, output: Path, words: tuple[str, ...] | None, **more: Any) -> None:
    run_pretraining(
        [folder], [], words, output, replace(SHORT, epochs=1, draws=16), teacher=False,
        report=lambda *_: None, on_epoch=lambda _: None, **more,
    )  # fmt: skip


def test_reserved_labels_are_there_anyway(folder: Path, tmp_path: Path) -> None:
    run_here(folder, tmp_path / "mine", ("rise", "_unknown_", " rise ", "_background_noise_"), device="cpu")
    assert earmark.load(tmp_path / "mine").labels == ("_background_noise_", "_unknown_", "rise")


@pytest.mark.parametrize("words", [(), ("_unknown_",)])
def test_no_word_is_refused(folder: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(EarmarkError, match=r"^There is no word to tell apart: .+\.$"):
        run_here(folder, tmp_path / "mine", words)
    assert not (tmp_path / "mine").exists()


def test_data_of_noise_alone_is_refused(tmp_path: Path) -> None:
    chirps.save(tmp_path / "_background_noise_" / "room.wav", chirps.noise(2))
    with pytest.raises(EarmarkError, match="no word to tell apart"):
        run_here(tmp_path, tmp_path / "mine", None)


def pretrain_json(*arguments: object) -> list[dict[str, Any]]:
    told = run(*arguments, "--json", OMP_NUM_THREADS="1").stdout.decode()
    return [json.loads(line) for line in told.splitlines()]


def test_the_command_makes_a_model_folder(folder: Path, tmp_path: Path) -> None:
    rooms = tmp_path / "rooms"
    chirps.save(rooms / "train" / "rain" / "a.wav", chirps.noise(3, 5))
    output = tmp_path / "mine"
    arguments = [
        "pretrain", "--data", folder, "--noise", rooms, "--output", output, "--labels", "rise, fall,high",
        "--epochs", 2, "--draws", 32, "--batch-size", 16, "--seed", 3, "--device", "cpu", "--revision", "abc123",
        "--teacher" if has_teacher else "--no-teacher",
    ]  # fmt: skip
    *epochs, last = pretrain_json(*arguments)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    for epoch in epochs:
        assert epoch.keys() == {"epoch", "epochs", "loss", "accuracy", "rejected"}
        assert math.isfinite(epoch["loss"])
        assert 0 <= epoch["accuracy"] <= 1
    assert last == {"model": str(output)}

    card = json.loads((output / "model.json").read_text("utf-8"))
    model = (output / "model.onnx").read_bytes()
    assert card["name"] == "mine"
    assert card["labels"] == list(LABELS)
    assert card["recipe"] == {
        "revision": "abc123", "device": "cpu", "teacher": has_teacher,
        **asdict(PretrainingOptions(epochs=2, draws=32, batch_size=16, seed=3)),
        "start": None,
    }  # fmt: skip
    lines = sorted(
        f"{path.relative_to(root).parts[0]}"  # split
        for root in (folder,) for path in root.glob("*/*/*.wav")
    )  # fmt: skip
    assert card["data"]["recordings"] == {
        folder.name: {"train": lines.count("train"), "val": lines.count("val")}, "rooms": {"train": 1},
    }  # fmt: skip
    assert lines.count("train") == 4 * 3 * 2 + 1
    assert card["data"]["words"] == 4
    assert card["data"]["noise_seconds"] == 6 + 3
    assert card["data"]["left_out"] >= 0
    assert card["data"]["sha256"] == hash_by_hand(folder, rooms)
    assert card["validation"] == epochs[-1]
    assert card["parameters"] == 473_573  # 193 × 15 labels fewer than the 476,468 of twenty
    assert card["model_sha256"] == hashlib.sha256(model).hexdigest()
    assert card["versions"]["earmark"] == earmark.__version__
    assert {"model.onnx", "model.json", "checkpoint.pt"} < {file.name for file in output.iterdir()}
    assert not list(output.glob("*part*"))

    (found,) = run_json("recognize", folder / "val" / "rise" / "dee_nohash_0.wav", "--model", output)
    assert list(found["scores"]) == list(LABELS)
    assert sum(found["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert found["label"] == max(found["scores"], key=lambda label: float(found["scores"][label]))

    # Again: nothing is learnt anew, and the same model is written.
    assert pretrain_json(*arguments) == [last]
    assert (output / "model.onnx").read_bytes() == model


def hash_by_hand(folder: Path, rooms: Path) -> str:
    lines = [
        f"{folder.name}/{'/'.join(path.relative_to(folder).parts)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in folder.glob("*/*/*.wav")
    ]
    noise = rooms / "train" / "rain" / "a.wav"
    lines.append(f"rooms/train/_background_noise_/a.wav {hashlib.sha256(noise.read_bytes()).hexdigest()}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def test_all_words_become_labels(tmp_path: Path) -> None:
    chirps.save_words(tmp_path / "set", ["rise", "fall", "high"], ("ann", "bob", "cid"), takes=2)
    chirps.save(tmp_path / "set" / "_background_noise_" / "room.wav", chirps.noise(3))
    told = run(
        "pretrain", "--data", tmp_path / "set", "--output", tmp_path / "words", "--labels", "all", "--no-teacher",
        "--epochs", 1, "--draws", 8, "--batch-size", 4, "--device", "cpu", OMP_NUM_THREADS="1",
    ).stdout.decode()  # fmt: skip
    first, last = told.splitlines()
    # "ann", "bob" and "cid" are none of the tenth for validation.
    assert first.startswith("Epoch 1/1: loss ")
    assert first.endswith("validation accuracy –, other words rejected –")
    assert last.startswith(f"Saved in {tmp_path / 'words'}. Now: earmark listen ")
    assert earmark.load(tmp_path / "words").labels == LABELS
    card = json.loads((tmp_path / "words" / "model.json").read_text("utf-8"))
    assert card["validation"]["accuracy"] is None
    assert card["recipe"]["teacher"] is False


def test_what_the_command_cant_do_is_told(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    given = ("pretrain", "--no-teacher", "--labels", "rise")
    wrong = complaint(*given, "--data", folder, "--output", output, "--device", "abacus")
    assert "can't use the device 'abacus'" in wrong
    assert "missing is not a folder" in complaint(*given, "--data", tmp_path / "missing", "--output", output)
    assert not output.exists()
    (tmp_path / "file").write_text("in the way")
    blocked = complaint(*given, "--data", folder, "--output", tmp_path / "file" / "mine")
    assert "can't be written" in blocked
    assert (tmp_path / "file").read_text() == "in the way"
