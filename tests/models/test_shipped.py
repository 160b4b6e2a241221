"""The pretrained models in the package: that they are what their cards say, and that they hear."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr

import earmark
from earmark import Recognizer
from earmark.audio.clip import Samples
from tests.corpus import clip_rows, read_row

FOLDER = Path(earmark.__file__).parent / "models" / "words"
COMMANDS = ("down", "go", "left", "no", "right", "stop", "up", "yes")
RESERVED = ("_background_noise_", "_unknown_")


@pytest.fixture(scope="module")
def words() -> Recognizer:
    return earmark.load("words")


@pytest.fixture(scope="module")
def clips(recordings: Path) -> list[tuple[str, Samples]]:
    """Every seventh validation clip of the eight commands, by speakers whom training never heard, at 16 kHz."""
    rows = [
        row for row in clip_rows(recordings, "speech_commands") if row["split"] == "val" and row["word"] in COMMANDS
    ]
    return [(row["word"], read_row(recordings, "speech_commands", row)[0]) for row in rows[::7]]


@pytest.mark.parametrize("name", ["words", "ear"])
def test_the_card_is_of_this_very_file(name: str) -> None:
    folder = FOLDER.with_name(name)
    content, text = (folder / "model.onnx").read_bytes(), (folder / "README.md").read_text()
    card = json.loads((folder / "model.json").read_text())
    assert card["model_sha256"] == hashlib.sha256(content).hexdigest()
    assert f"`{card['model_sha256']}`" in text
    assert f"{card['parameters']:,}" in text
    assert f"{len(content):,} bytes" in text


def test_the_card_names_the_recipe() -> None:
    card = json.loads((FOLDER / "model.json").read_text())
    text = (FOLDER / "README.md").read_text()
    assert f"`{card['data']['sha256']}`" in text
    assert len(card["recipe"]["revision"]) == 40
    assert f"`{card['recipe']['revision']}`" in text
    assert f"seed {card['recipe']['seed']}" in text


def test_it_is_small(words: Recognizer) -> None:
    assert (FOLDER / "model.onnx").stat().st_size <= 2_500_000
    assert words.input_shape == (43, 232)


def test_the_labels_are_the_reserved_ones_then_the_words_by_the_alphabet(words: Recognizer) -> None:
    assert words.labels == (
        "_background_noise_", "_unknown_", "down", "eight", "five", "four", "go", "left", "nine", "no", "one", "right",
        "seven", "six", "stop", "three", "two", "up", "yes", "zero",
    )  # fmt: skip


def test_commands_are_heard(words: Recognizer, clips: list[tuple[str, Samples]]) -> None:
    right = [words.recognize(samples, 16_000).label == word for word, samples in clips]
    assert len(right) > 200
    assert np.mean(right) > 0.94  # 97 % of all of them, less three deviations of so few


def test_words_that_nobody_taught_are_rejected(words: Recognizer, recordings: Path) -> None:
    rows = [row for row in clip_rows(recordings, "wake_words") if row["word"] in ("jarvis", "snowboy", "view glass")]
    rows += [
        row
        for row in clip_rows(recordings, "speech_commands")
        if row["word"] in ("bird", "dog", "house", "marvin", "sheila", "wow")
    ]
    rejected = []
    for row in rows[::10]:
        samples, rate = read_row(recordings, row_corpus(row), row)
        result = words.recognize(samples, rate)
        rejected.append(result.label in RESERVED or result.score < 0.75)
    assert len(rejected) > 100
    assert np.mean(rejected) > 0.8


def row_corpus(row: dict[str, str]) -> str:
    return "wake_words" if row["word"] in ("jarvis", "snowboy", "view glass") else "speech_commands"


@pytest.mark.parametrize("level", [None, -100, -70, -40])
def test_silence_and_faint_noise_are_no_word(words: Recognizer, level: int | None) -> None:
    samples = np.zeros(32_000, np.float32)
    if level is not None:
        samples += np.random.default_rng(level + 200).normal(0, 10 ** (level / 20), 32_000).astype(np.float32)
    result = words.recognize(samples, 16_000)
    assert result.label in RESERVED


@pytest.mark.thinned(2)
@pytest.mark.parametrize("change", ["later", "earlier", "fainter", "louder", "8 kHz", "44.1 kHz", "48 kHz"])
def test_a_clip_keeps_its_label(words: Recognizer, clips: list[tuple[str, Samples]], change: str) -> None:
    kept = []
    for _, samples in clips[::3]:
        changed, rate = CHANGES[change](samples)
        kept.append(words.recognize(changed, rate).label == words.recognize(samples, 16_000).label)
    assert len(kept) > 60
    assert np.mean(kept) > 0.9


def later(samples: Samples) -> Samples:
    """100 ms, silence coming in."""
    return np.concatenate((np.zeros(1_600, np.float32), samples[:-1_600]))


def at_rate(samples: Samples, rate: int) -> tuple[Samples, int]:
    resampled: Samples = np.clip(soxr.resample(samples, 16_000, rate), -1, 1)
    return resampled, rate


CHANGES: dict[str, Callable[[Samples], tuple[Samples, int]]] = {
    "later": lambda samples: (later(samples), 16_000),
    "earlier": lambda samples: (later(samples[::-1])[::-1], 16_000),
    "fainter": lambda samples: (samples / np.float32(10), 16_000),
    "louder": lambda samples: (np.clip(samples * np.float32(2), -1, 1), 16_000),
    "8 kHz": lambda samples: at_rate(samples, 8_000),
    "44.1 kHz": lambda samples: at_rate(samples, 44_100),
    "48 kHz": lambda samples: at_rate(samples, 48_000),
}
