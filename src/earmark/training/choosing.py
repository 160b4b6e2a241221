"""Which base suits a project's recordings: one for words, or one for sounds that aren't speech.

It takes two looks. One compares each recording with the words and the noises that come with Earmark, as the base for
sounds hears them. The other recognizes each recording from the others, where there are several of a label. How often
the choice is right is told in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.labels import RESERVED_LABELS
from earmark.models.ear_embedding import EAR
from earmark.models.network import Network
from earmark.training.bases import base_for_sounds, base_for_words, open_base
from earmark.training.embedding_cache import EmbeddingCache
from earmark.training.open_set import directions
from earmark.training.transfer import Embedder, TaughtClip

CLIPS = 12  # of each label that are looked at, and at most so many in all
MOST_CLIPS = 240
NEAREST = 5  # of what comes with Earmark, that a recording is compared with
CLEARLY = 0.15  # the share of recordings by which one base has to be better to be chosen for that alone

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """A base for a project.

    Attributes:
        base: the base, as `open_base` takes it.
        why: why it was chosen, in one sentence; None if the user named it.
    """

    base: str | Path | Network
    why: str | None = None


def choose_base(clips: Sequence[TaughtClip], cache: EmbeddingCache) -> Choice:
    """Choose between the best bases for words and for other sounds that can be used on this computer.

    Args:
        clips: the project's recordings, each with its sound.
        cache: the cache of embeddings.

    Raises:
        EarmarkError: a recording can't be read.
    """
    for_words, for_sounds = base_for_words(), base_for_sounds()
    chosen = _some(clips)
    if not chosen:
        return Choice(for_words, "There are no recordings yet.")
    heard = {name: _embed(name, chosen, cache) for name in (for_words, for_sounds)}
    labels = [clip.file.label for clip in chosen]
    by_ear = heard[EAR] if EAR in heard else _embed(EAR, chosen, cache)
    share = float(np.mean(_are_speech(Embedder(open_base(EAR), cache), by_ear)))
    right = {name: _recognized(values, labels) for name, values in heard.items()}
    told = f"{share:.0%} of the recordings sound like speech"
    base = for_words if share >= 0.5 else for_sounds
    rates = [rate for rate in right.values() if rate is not None]
    if len(rates) < len(right):
        return Choice(base, f"{told}.")
    if abs(rates[0] - rates[1]) >= CLEARLY:
        base = max(right, key=lambda name: right[name] or 0.0)
    other = for_sounds if base == for_words else for_words
    return Choice(
        base,
        f"{told}, and of the recordings of a label, {right[base]:.0%} are recognized from the others, "
        f"with {other} {right[other]:.0%}.",
    )


def _some(clips: Sequence[TaughtClip]) -> list[TaughtClip]:
    """Some recordings of each label, spread evenly."""
    by_label: dict[str, list[TaughtClip]] = {}
    for clip in clips:
        if clip.file.label not in RESERVED_LABELS:
            by_label.setdefault(clip.file.label, []).append(clip)
    count = max(1, min(CLIPS, MOST_CLIPS // max(1, len(by_label))))
    return [
        own[index]
        for own in by_label.values()
        for index in np.unique(np.linspace(0, len(own) - 1, min(count, len(own))).astype(int))
    ][:MOST_CLIPS]


def _embed(base: str, clips: Sequence[TaughtClip], cache: EmbeddingCache) -> list[Array]:
    """Each recording's embeddings, as directions: shape [windows, values]."""
    return [directions(values) for values in Embedder(open_base(base), cache).embed_clips(clips)]


def _are_speech(embedder: Embedder, recordings: Sequence[Array]) -> list[bool]:
    """Whether each recording is more like the words that come with Earmark than like its noises."""
    words, noises = (directions(values) for values in (embedder.words()[:, 0], embedder.noises()))

    def likeness(values: Array, known: Array) -> float:
        return float(np.sort(values @ known.T, axis=1)[:, -NEAREST:].mean())

    return [likeness(values, words) > likeness(values, noises) for values in recordings]


def _recognized(recordings: Sequence[Array], labels: Sequence[str]) -> float | None:
    """The share of recordings whose label's mean, without the recording itself, is the nearest of all.

    None if there is but one label, or no label with two recordings.
    """
    names = sorted(set(labels))
    values = np.array([windows.mean(axis=0) for windows in recordings])
    targets = np.array([names.index(label) for label in labels])
    sums = np.array([values[targets == number].sum(axis=0) for number in range(len(names))])
    has_others = np.bincount(targets)[targets] > 1
    if len(names) < 2 or not has_others.any():
        return None
    means = directions(sums)
    likeness = values @ means.T
    own = directions(sums[targets] - values)
    likeness[np.arange(len(values)), targets] = (values * own).sum(axis=1)
    return float(np.mean(likeness.argmax(axis=1)[has_others] == targets[has_others]))
