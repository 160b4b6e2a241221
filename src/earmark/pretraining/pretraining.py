"""Training the word network on recordings of many words by many people, on a CPU or a GPU.

The network learns three things at once: the labels; which of all words it is; and, with Google's speech embedding as
its teacher, the embedding of the same clip without noise. The last two improve the network's own embedding, and are
left out of the finished model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import swa_utils

from earmark.clips.corpus import CLIP_SAMPLES
from earmark.errors import EarmarkError
from earmark.labels import THRESHOLD
from earmark.pretraining.augmentation import WINDOW_SAMPLES, Augmentation, normalize
from earmark.pretraining.data import TEACHER_VALUES, UNKNOWN, PretrainingData
from earmark.pretraining.word_network import EMBEDDING, WordNetwork

BACKGROUND_SHARE, UNKNOWN_SHARE = 0.07, 0.25  # of what is drawn; the labels share the rest equally
WORD_WEIGHT, TEACHER_WEIGHT = 0.3, 1.0
# In the last seventh of the epochs the sound is changed less, so that training ends with sound like that which the
# model will hear (Touvron et al. 2019, arXiv:1906.06423).
CALM_PART, CALM_STRENGTH = 7, 0.3
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class PretrainingOptions:
    """How long and how fast to learn.

    Attributes:
        epochs: the number of epochs, of `draws` windows each.
        draws: windows per epoch.
        batch_size: windows per step.
        learning_rate: the highest learning rate; it rises for the first tenth and falls to 0 along a cosine.
        weight_decay: the weight decay in AdamW.
        label_smoothing: the share of a target that is spread over all labels.
        strength: the strength of the augmentation, 0 to 1.
        averaging: the share of the averaged weights that a step keeps (Polyak averaging); less in the first steps.
        seed: the random seed; the same seed, data and device give the same model.
    """

    epochs: int = 28
    draws: int = 38_400
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    strength: float = 1.0
    averaging: float = 0.999
    seed: int = 0


@dataclass(frozen=True)
class PretrainingEpoch:
    """One epoch.

    Attributes:
        epoch: the epoch's number, from 1.
        epochs: how many epochs there will be.
        loss: the mean loss over the batches.
        accuracy: the averaged network's accuracy on the validation recordings, 0 to 1; None if there are none.
        rejected: the share of validation recordings of other words for which no label's score reaches 0.75; None
            likewise.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
    rejected: float | None

    def __str__(self) -> str:
        accuracy, rejected = ("–" if share is None else f"{share:.1%}" for share in (self.accuracy, self.rejected))
        return (
            f"Epoch {self.epoch}/{self.epochs}: loss {self.loss:.4f}, validation accuracy {accuracy}, "
            f"other words rejected {rejected}"
        )


class _Learner(nn.Module):
    """The network with the two other outputs, which only training needs."""

    def __init__(self, labels: int, words: int) -> None:
        super().__init__()
        self.network = WordNetwork(labels)
        self.words = nn.Linear(EMBEDDING, words)
        self.teacher = nn.Linear(EMBEDDING, TEACHER_VALUES)

    def loss(self, windows: Tensor, targets: Tensor, words: Tensor, teacher: Tensor, smoothing: float) -> Tensor:
        """The mean loss; a word of −1 and a teacher's embedding of zeros don't count."""
        logits, embedding = self.network(windows)
        loss = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        is_word = words >= 0
        if is_word.any():
            word_loss = nn.functional.cross_entropy(self.words(embedding[is_word]), words[is_word])
            loss = loss + WORD_WEIGHT * word_loss
        is_taught = teacher.abs().sum(1) > 0
        if is_taught.any():
            alike = nn.functional.cosine_similarity(self.teacher(embedding[is_taught]), teacher[is_taught])
            loss = loss + TEACHER_WEIGHT * (1 - alike).mean()
        return loss


def pretrain(
    data: PretrainingData,
    output: Path,
    options: PretrainingOptions,
    *,
    start: Path | None = None,
    device: str = "cpu",
    on_epoch: Callable[[PretrainingEpoch], object] | None = None,
    on_batch: Callable[[int, int, int], object] | None = None,
) -> tuple[WordNetwork, list[PretrainingEpoch], dict[str, Any] | None]:
    """Train the word network. A checkpoint after each epoch lets an interrupted training continue.

    Args:
        data: the data to learn from.
        output: the folder for the checkpoint.
        options: how to train.
        start: the checkpoint of another training on the same data, whose averaged weights to start from.
        device: PyTorch's name for the device.
        on_epoch: called after each epoch.
        on_batch: called after each step with the epoch and the step in it, both from 1, and the number of steps.

    Returns:
        The network, with averaged weights; its epochs; and the data and options of the training that it started from,
        if any.

    Raises:
        EarmarkError: the checkpoint belongs to another training, or can't be read or written; or the loss is not
            finite.
    """
    where = torch.device(device)
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        learner = _Learner(len(data.labels), len(data.words)).to(where)
    begun = _begin(start, learner, where) if start else None
    averaged = swa_utils.AveragedModel(learner, avg_fn=_Average(options.averaging), use_buffers=True)
    network = averaged.module.network
    assert isinstance(network, WordNetwork)
    priors = _log_priors(len(data.labels)).to(where)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    steps = math.ceil(options.draws / options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _Schedule(steps * options.epochs))
    parts = {"learner": learner, "averaged": averaged, "optimizer": optimizer, "schedule": schedule}
    taught = bool(data.teacher.any())
    identity = {"data": data.hash, "labels": list(data.labels), "teacher": taught, **asdict(options), "start": begun}
    history = _resume(output / CHECKPOINT, parts, identity, where)
    augmentation = Augmentation(torch.from_numpy(data.noise), where)
    for epoch in range(len(history) + 1, options.epochs + 1):
        learner.train()
        losses = []
        for number, batch in enumerate(_batches(data, augmentation, options, epoch, where), 1):
            loss = learner.loss(*batch, smoothing=options.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            averaged.update_parameters(learner)
            losses.append(loss.detach())
            if on_batch is not None:
                on_batch(epoch, number, steps)
        accuracy, rejected = _validate(network, data, augmentation, priors)
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise EarmarkError(f"The training got lost in epoch {epoch}: choose a smaller --learning-rate.")
        history.append(PretrainingEpoch(epoch, options.epochs, mean, accuracy, rejected))
        _save(output / CHECKPOINT, parts, identity, history)
        if on_epoch is not None:
            on_epoch(history[-1])
    with torch.no_grad():
        network.scores.bias.sub_(priors)
    return network.cpu().eval(), history, begun


class _Schedule:
    """The learning rate's factor at each step: it rises for a tenth of the steps, then falls along a cosine."""

    def __init__(self, steps: int) -> None:
        self._steps, self._rise = steps, max(1, steps // 10)

    def __call__(self, step: int) -> float:
        if step < self._rise:
            return (step + 1) / self._rise
        return 0.5 * (1 + math.cos(math.pi * (step - self._rise) / max(1, self._steps - self._rise)))


class _Average:
    """The mean of the weights over time. In a short training it covers the last tenth, so that it forgets the start."""

    def __init__(self, keep: float) -> None:
        self._keep = keep

    def __call__(self, averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        keep = min(self._keep, (1 + int(steps)) / (10 + int(steps)))
        return averaged * keep + current * (1 - keep)


def _batches(
    data: PretrainingData, augmentation: Augmentation, options: PretrainingOptions, epoch: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """An epoch's batches: windows, targets, words, teacher's embeddings. The next is made while one is in use."""
    drawn = data.draw(np.random.default_rng((options.seed, epoch)), options.draws, BACKGROUND_SHARE, UNKNOWN_SHARE)
    is_calm = options.epochs - epoch < options.epochs // CALM_PART
    strength = min(options.strength, CALM_STRENGTH) if is_calm else options.strength
    groups = np.array_split(drawn, math.ceil(options.draws / options.batch_size))

    def make(number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        random = torch.Generator(device).manual_seed((options.seed * 1_000 + epoch) * 1_000_000 + number)
        batch = data.batch(groups[number])
        clips, lengths, targets, words, teacher = (torch.from_numpy(array).to(device) for array in batch)
        return augmentation(clips, lengths, random, strength), targets, words, teacher

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(make, 0)
        for number in range(1, len(groups) + 1):
            batch = coming.result()
            if number < len(groups):
                coming = ahead.submit(make, number)
            yield batch


def _log_priors(labels: int) -> Tensor:
    """Logarithms of how much more often than a word the two reserved labels were drawn; 0 if they weren't drawn.

    Without these priors, a score says how likely a label is if all labels are equally frequent: logit adjustment (Menon
    et al. 2021, arXiv:2007.07314). Many other words are drawn so that the network knows them, not because they are
    expected.
    """
    word = (1 - BACKGROUND_SHARE - UNKNOWN_SHARE) / (labels - 2)
    shares = torch.tensor([BACKGROUND_SHARE, UNKNOWN_SHARE, *[word] * (labels - 2)])
    return torch.log(shares / word).clamp(min=0)


def _validate(
    network: WordNetwork, data: PretrainingData, augmentation: Augmentation, priors: Tensor
) -> tuple[float | None, float | None]:
    """The accuracy on the labels' validation recordings, and the share of other words that is rejected at 0.75."""
    if len(data.validation) == 0:
        return None, None
    network.eval()
    right, others = [], []
    with torch.no_grad():
        for rows in np.array_split(data.validation, max(1, len(data.validation) // 256)):
            clips, _, targets, _, _ = (torch.from_numpy(array).to(priors.device) for array in data.batch(rows))
            middle = (CLIP_SAMPLES - WINDOW_SAMPLES) // 2
            sound = clips[:, middle : middle + WINDOW_SAMPLES].float() / 32_768
            scores = (network(normalize(augmentation.spectrogram(sound)))[0] - priors).softmax(1)
            is_other = targets == data.labels.index(UNKNOWN)
            right.append((scores.argmax(1) == targets)[~is_other])
            others.append(scores[is_other][:, 2:].amax(1) < THRESHOLD)
    network.train()
    return _share(right), _share(others)


def _share(hits: list[Tensor]) -> float | None:
    together = torch.cat(hits)
    return float(together.float().mean()) if len(together) else None


def _begin(file: Path, learner: _Learner, device: torch.device) -> dict[str, Any]:
    """Give the learner a checkpoint's averaged weights; returns the data and options of that training."""
    prefix = "module."  # AveragedModel puts it before the names of what it averages
    try:
        checkpoint = torch.load(file, map_location=device, weights_only=True)
        averaged = checkpoint["averaged"].items()
        learner.load_state_dict(
            {name.removeprefix(prefix): value for name, value in averaged if name.startswith(prefix)}
        )
        return dict(checkpoint["identity"])
    except Exception as error:  # torch.load has no common error class for a damaged file
        raise EarmarkError(
            f"{file} is no checkpoint of a training on the same data and labels: name its checkpoint.pt."
        ) from error


def _resume(
    file: Path, parts: dict[str, Any], identity: dict[str, Any], device: torch.device
) -> list[PretrainingEpoch]:
    if not file.exists():
        return []
    try:
        checkpoint = torch.load(file, map_location=device, weights_only=True)
        if checkpoint["identity"] == identity:
            for name, part in parts.items():
                part.load_state_dict(checkpoint[name])
            return [PretrainingEpoch(**epoch) for epoch in checkpoint["history"]]
    except Exception as error:  # torch.load has no common error class for a damaged file
        raise EarmarkError(f"{file} can't be read: delete it to begin anew.") from error
    raise EarmarkError(f"{file} is of a training on other data or with other options: choose another folder.")


def _save(file: Path, parts: dict[str, Any], identity: dict[str, Any], history: list[PretrainingEpoch]) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    aside = file.with_suffix(".part")
    try:
        torch.save({**state, "identity": identity, "history": [asdict(epoch) for epoch in history]}, aside)
        aside.replace(file)
    except (OSError, RuntimeError) as error:  # a full disk raises either
        raise EarmarkError(f"{file} can't be written: free some space or choose another folder.") from error
