"""What evaluate.py counts and changes, and the whole of it on data that the test makes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
from synthesize import LABELS

from earmark import Recognizer
from earmark.clips.corpus import CorpusRecording
from earmark.models.metadata import Metadata, WindowNormalization
from earmark.models.onnx_writer import word_model
from earmark.pretraining.word_network import WordNetwork
from earmark.recognizer.scoring import Result
from tests import bands, chirps


def pair(
    word: str, heard: str, score: float, split: str = "test", source: str = "set"
) -> tuple[CorpusRecording, Result]:
    recording = CorpusRecording(Path(f"{word}.wav"), word, split, source)  # type: ignore[arg-type]
    return recording, Result(heard, score, np.array([score], np.float32), (heard,))


def word_network() -> bytes:
    """The word network, untrained, of twenty labels."""
    weights = WordNetwork(20).eval().weights()
    labels = ("_background_noise_", "_unknown_", *LABELS)
    return word_model(weights, Metadata("words", labels, 43, WindowNormalization(80)))


# Counting


def test_right_counts_the_asked_words_whatever_the_score() -> None:
    pairs = [pair("yes", "yes", 0.3), pair("yes", "no", 0.9), pair("no", "no", 0.9), pair("bird", "bird", 0.9)]
    assert (evaluate.right(pairs, ("yes",)).hits, evaluate.right(pairs, ("yes",)).count) == (1, 2)
    assert (evaluate.right(iter(pairs), ("yes", "no")).hits, evaluate.right(pairs, ("yes", "no")).count) == (2, 3)
    assert evaluate.right(pairs, ("up",)).count == 0


def test_rejected_is_what_brings_no_word_at_the_threshold() -> None:
    pairs = [
        pair("bird", "_unknown_", 0.99),
        pair("bird", "_background_noise_", 0.99),
        pair("bird", "go", 0.7499),
        pair("bird", "go", 0.75),
        pair("bird", "go", 0.99),
    ]
    assert [evaluate.is_quiet(result) for _, result in pairs] == [True, True, True, False, False]
    share = evaluate.rejected(pairs)
    assert (share.hits, share.count) == (3, 5)
    assert [evaluate.known(one) for one in (pair("yes", "no", 1), pair("bird", "yes", 1))] == [True, False]


# Changing


@pytest.mark.parametrize(
    ("by", "expected"),
    [(0, [1, 2, 3, 4]), (1, [0, 1, 2, 3]), (-1, [2, 3, 4, 0]), (3, [0, 0, 0, 1]), (-3, [4, 0, 0, 0]), (4, [0] * 4)],
)
def test_shifted_keeps_the_length(by: int, expected: list[float]) -> None:
    samples = np.array([1, 2, 3, 4], np.float32)
    assert evaluate.shifted(samples, by).tolist() == expected
    assert samples.tolist() == [1, 2, 3, 4]


def test_resampled_is_clipped_as_a_file_is() -> None:
    square = np.sign(np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
    made = evaluate.resampled(square, 16_000, 44_100)
    assert len(made) == 44_100
    assert np.abs(made).max() == 1
    time = np.arange(16_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 1_000 * time)).astype(np.float32)
    expected = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 8_000)
    np.testing.assert_allclose(evaluate.resampled(tone, 16_000, 8_000)[200:-200], expected[200:-200], atol=2e-3)


def test_what_doesnt_change_a_recognizers_mind(tmp_path: Path) -> None:
    """The bands' recognizer hears the same at another level, time and rate."""
    recognizer = Recognizer(bands.band_model())
    low, high = (bands.room_with({0.3: bands.burst(band, 0.4, 1)}, 1.0) for band in (bands.LOW, bands.HIGH))
    recordings = [
        CorpusRecording(chirps.save(tmp_path / f"{name}.wav", samples), name, "val", "set")
        for name, samples in (("low", low), ("high", high))
    ]
    kept = evaluate.invariance(recognizer, recordings)
    assert list(kept) == [f"same label: {change}" for change in (
        "100 ms later", "100 ms earlier", "−20 dB", "+6 dB, clipped", "8 kHz", "44.1 kHz", "48 kHz",
    )]  # fmt: skip
    assert all(text.startswith("100.0% ") and text.endswith(" of 2") for text in kept.values())


# The network's work


def test_the_cost_is_of_the_file_that_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(word_network())
    for place in (tmp_path, file):
        work = evaluate.cost(Recognizer(file.read_bytes()), place)
        assert work["bytes"] == file.stat().st_size
        assert work["multiply_adds"] == 10_158_912
        assert 0 < work["milliseconds_best"] <= work["milliseconds"]


# All of it


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make.sh makes, in small: of each set some words, known and unseen, and noise."""
    folder = tmp_path_factory.mktemp("data")
    names = list(chirps.GLIDES)

    def save(source: str, split: str, words: tuple[str, ...], count: int) -> None:
        for number, word in enumerate(words):
            for take in range(count):
                sound = chirps.word(names[number % 4], f"{source}{take}", number)
                chirps.save(folder / source / split / word / f"s{take}_nohash_0.wav", sound)

    save("speech_commands", "val", (*LABELS, "bed"), 1)
    save("speech_commands", "train", ("yes", "zero"), 2)
    save("speech_commands", "test", ("bird", "dog"), 8)
    save("free_spoken_digits", "test", ("one", "two"), 1)
    save("wake_words", "test", ("jarvis",), 2)
    save("synthesised", "test", ("yes", "go"), 1)
    save("synthesised", "test", ("wondering", "tomb"), 8)
    for source, split in (("background_noise", "train"), ("background_noise", "test"), ("esc10", "test")):
        chirps.save(folder / source / split / "rain" / "a.wav", chirps.noise(3, len(source + split)))
    return folder


def test_held_out_is_all_but_training(data: Path) -> None:
    assert {one.split for one in evaluate.held_out(data, "speech_commands")} == {"val", "test"}
    assert len(evaluate.held_out(data, "speech_commands")) == 19 + 16
    assert {one.word for one in evaluate.unseen(data)} == {"bird", "dog", "jarvis", "wondering", "tomb"}
    assert len(evaluate.noises(data, held_out_only=True)) == 2
    assert len(evaluate.noises(data, held_out_only=False)) == 3


def test_noise_and_silence_are_counted_by_the_second(data: Path) -> None:
    kept = evaluate.noise_kept(Recognizer(bands.band_model()), data)
    counts = [int(re.findall(r"of (\d+)$", text)[0]) for text in kept.values()]
    assert counts == [6, 6, 81]  # two times three seconds; digital silence and 80 levels


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("livekit"), reason="needs livekit-wakeword, which needs Python 3.11")
def test_the_program_measures_a_model(data: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(word_network())
    program = Path(evaluate.__file__)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(data), "--json", str(tmp_path / "measured.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "measured.json").read_text("utf-8"))
    assert set(values) == {"cost", "words", "teacher"}
    words = values["words"]
    assert list(words["recall"]) == list(LABELS)
    assert words["table"]["eight commands, recorded"].endswith(" of 8")
    assert words["table"]["ten digits, recorded"].endswith(" of 12")
    assert words["table"]["all 18 words, synthesised by new voices"].endswith(" of 2")
    assert words["table"]["unseen words rejected, recorded"].endswith(" of 18")
    confusion = np.array(words["confusion"])
    assert confusion.shape == (20, 20)
    assert confusion.sum() == 18 + 2
    assert confusion[:2].sum() == 0  # the real words' own rows alone
    assert [len(values[name]["few_shot"]) for name in ("words", "teacher")] == [6, 6]
    assert values["cost"]["bytes"] == (tmp_path / "model.onnx").stat().st_size
