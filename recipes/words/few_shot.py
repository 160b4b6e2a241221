"""How well unseen words are told apart from a few clips of each, by a linear classifier on an embedding."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

import earmark
from earmark.clips.corpus import CorpusRecording, read_words
from earmark.pretraining.data import ask_teacher

CLIPS = (1, 3, 5)
DRAWS = 20
LEAST_CLIPS = 8  # a word with fewer is left out: five to learn from, and some to be tested on
MOST_CLIPS = 60  # of a word, so that no word outweighs the others

Values = npt.NDArray[np.float32]


def few_shot(
    recognizers: dict[str, earmark.Recognizer], recordings: list[CorpusRecording]
) -> dict[str, dict[int, str]]:
    """Accuracy by each recognizer's embedding and by the teacher's, on the same clips: mean over 20 draws, deviation.

    Args:
        recognizers: whose embeddings are asked.
        recordings: of words that none of them has seen.
    """
    random = np.random.default_rng(0)
    counts = Counter(recording.word for recording in recordings)
    chosen = [
        recording
        for word in sorted(word for word, count in counts.items() if count >= LEAST_CLIPS)
        for recording in _some([recording for recording in recordings if recording.word == word], random)
    ]
    words = np.array([recording.word for recording in chosen])
    embeddings = {name: _embed(recognizer, chosen) for name, recognizer in recognizers.items()}
    embeddings["teacher"] = np.stack(list(ask_teacher(list(read_words(chosen)))))
    return {name: {count: _accuracy(values, words, count) for count in CLIPS} for name, values in embeddings.items()}


def _some(recordings: list[CorpusRecording], random: np.random.Generator) -> list[CorpusRecording]:
    return [recordings[number] for number in random.permutation(len(recordings))[:MOST_CLIPS]]


def _embed(recognizer: earmark.Recognizer, recordings: list[CorpusRecording]) -> Values:
    windows = [recognizer.recognize(recording.path, include_spectrogram=True).spectrogram for recording in recordings]
    return recognizer.embed_windows(np.stack([window for window in windows if window is not None]))


def _accuracy(values: Values, words: npt.NDArray[np.str_], clips: int) -> str:
    random = np.random.default_rng(clips)
    values = normalize(values)
    accuracies = []
    for _ in range(DRAWS):
        learnt = np.concatenate(
            [random.choice(np.flatnonzero(words == word), clips, replace=False) for word in np.unique(words)]
        )
        tested = np.setdiff1d(np.arange(len(words)), learnt)
        with warnings.catch_warnings():  # one clip of each word makes it ask whether words are numbers
            warnings.filterwarnings("ignore", message="The number of unique classes")
            classifier = LogisticRegression(C=100, max_iter=1_000).fit(values[learnt], words[learnt])
        found = classifier.predict(values[tested])
        is_right = found == words[tested]
        accuracies.append(np.mean([is_right[words[tested] == word].mean() for word in np.unique(words)]))
    return f"{np.mean(accuracies):.1%} ± {np.std(accuracies):.1%} ({len(np.unique(words))} words)"
