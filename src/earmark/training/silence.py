"""What a model of short sounds learns of the silence around them, so that it isn't taken for one of them.

The network's scores always add up to 1. So what it has never heard, silence too, is some label to it, and often surely.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from earmark.front_end.examples import Examples
from earmark.front_end.frames import SPECTROGRAM
from earmark.labels import NOISE_LABELS, RESERVED_LABELS

NOISE, _ = RESERVED_LABELS
AS_QUIET = 6.0  # dB above the silence; a label that is no louder teaches it
COMPARED = 2_000  # windows


def teach_silence(examples: Examples, labels: tuple[str, ...]) -> tuple[Examples, tuple[str, ...]]:
    """Make examples of the silent windows, as many as a label has on average.

    They become the examples of the label that holds noise. If there is none, `_background_noise_` is added, which is
    never a detection; but not if a label is as quiet as they are, since that one teaches silence.

    Returns:
        The examples, and the model's labels. Both are as they were where nothing is silent.
    """
    if len(examples.silent) == 0:
        return examples, labels
    target = next((labels.index(label) for label in NOISE_LABELS if label in labels), len(labels))
    if target == len(labels) and _is_taught(examples):
        return examples, labels
    few = min(len(examples.silent), len(examples) // len(np.unique(examples.targets)))
    starts = examples.silent[_evenly(len(examples.silent), few)]
    added = replace(
        examples,
        starts=np.concatenate((examples.starts, starts)),
        targets=np.concatenate((examples.targets, np.full(few, target, np.int64))),
    )
    return added, (*labels, NOISE) if target == len(labels) else labels


def _is_taught(examples: Examples) -> bool:
    """Whether a label's examples are about as quiet as the silent windows."""
    limit = _level(examples, examples.silent) + AS_QUIET
    own = (examples.starts[examples.targets == target] for target in np.unique(examples.targets))
    return any(_level(examples, starts) <= limit for starts in own)


def _level(examples: Examples, starts: np.ndarray) -> float:
    """The median level of the windows that begin with these frames, in dB."""
    middles = starts[_evenly(len(starts), min(len(starts), COMPARED))] + examples.window_frames // 2
    return 10 * float(np.log10(np.median(SPECTROGRAM.power(examples.frames[middles]))))


def _evenly(count: int, chosen: int) -> np.ndarray:
    return np.linspace(0, count - 1, chosen).round().astype(np.int64)
