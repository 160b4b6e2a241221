"""Unseen words from a few clips: perfect where they are easy to tell apart, chance where they are the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import few_shot
import numpy as np
import pytest

from earmark import Recognizer
from earmark.clips.corpus import CorpusRecording, find_recordings
from earmark.models.metadata import Metadata, WindowNormalization
from earmark.models.onnx_writer import Convolution, Dense, WordWeights, word_model
from tests import chirps

needs_teacher = pytest.mark.skipif(
    not importlib.util.find_spec("livekit"), reason="needs livekit-wakeword, which needs Python 3.11"
)


def averaging_recognizer() -> Recognizer:
    """Its embedding is each bin's mean and maximum over time, as far as they are above the window's mean."""
    stem = Convolution(np.eye(232, dtype=np.float32)[:, :, np.newaxis], np.zeros(232, np.float32), 1)
    embedding = Dense(np.eye(464, dtype=np.float32), np.zeros(464, np.float32))
    scores = Dense(np.zeros((2, 464), np.float32), np.zeros(2, np.float32))
    weights = WordWeights(stem, [], embedding, scores)
    return Recognizer(word_model(weights, Metadata("bins", ("a", "b"), 43, WindowNormalization(80))))


def numbers(text: str) -> tuple[float, float]:
    """Mean and deviation of "93.4% ± 1.2% (3 words)", in percent."""
    mean, deviation = text.split(" (")[0].replace("%", "").split(" ± ")
    return float(mean), float(deviation)


@needs_teacher
def test_words_that_differ_are_told_apart(tmp_path: Path) -> None:
    speakers = [f"s{number}" for number in range(9)]
    chirps.save_words(tmp_path / "test", ["rise", "high"], speakers)
    chirps.save_words(tmp_path / "test", ["bounce"], speakers[:7])  # too few
    recognizers = {"bins": averaging_recognizer()}
    scores = few_shot.few_shot(recognizers, find_recordings(tmp_path))
    assert scores.keys() == {"bins", "teacher"}
    for by_count in scores.values():
        assert list(by_count) == [1, 3, 5]
        assert all(text.endswith(" (2 words)") for text in by_count.values())
        assert numbers(by_count[5])[0] > 90


def test_accuracy_counts_each_word_alike() -> None:
    words = np.array(["a"] * 60 + ["b"] * 10)
    corners = np.where((words == "a")[:, np.newaxis], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    assert few_shot._accuracy(corners, words, 3) == "100.0% ± 0.0% (2 words)"
    # The same everywhere: one of the words gets all, so that its share is 1 and the other's 0.
    same = np.ones_like(corners)
    assert few_shot._accuracy(same, words, 3) == "50.0% ± 0.0% (2 words)"


def test_more_clips_tell_more() -> None:
    random = np.random.default_rng(0)
    words = np.repeat(np.array(["a", "b", "c", "d"]), 40)
    values = (np.repeat(random.normal(0, 1, (4, 20)), 40, axis=0) + random.normal(0, 1.2, (160, 20))).astype(np.float32)
    one, five = (numbers(few_shot._accuracy(values, words, clips))[0] for clips in (1, 5))
    assert 30 < one < five < 100


def test_no_word_has_more_than_sixty_clips() -> None:
    recordings = [CorpusRecording(Path(f"{number}.wav"), "a", "test", "set") for number in range(100)]
    some = few_shot._some(recordings, np.random.default_rng(0))
    assert len({one.path for one in some}) == 60
    assert some != recordings[:60]
