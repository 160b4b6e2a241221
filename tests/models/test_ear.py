"""The base `ear`: that it is what its card says, and that it tells sounds apart."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from earmark.audio.clip import Clip
from earmark.front_end.examples import cut_windows
from earmark.models.ear_embedding import ear_network, other_sounds
from earmark.models.network import Network
from earmark.models.saved_model import PRETRAINED
from earmark.training.bases import open_base
from tests import sounds
from tests.corpus import clip_rows, read_row

FOLDER = PRETRAINED / "ear"


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 5_000_000
    assert ear_network().input_shape == (49, 320)


def embed(base: Network, samples: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """The direction of a recording's loudest windows together."""
    windows = cut_windows(Clip(samples, rate), base.metadata.window_frames, base.front_end)
    values = base.embed_windows(windows)
    mean: npt.NDArray[np.float32] = (values / np.linalg.norm(values, axis=1, keepdims=True)).mean(axis=0)
    return mean


def recognized(base: Network, recordings: Path) -> float:
    """The share of recordings that are nearest to the mean of two others of their kind, of kinds with three or more."""
    by_kind = defaultdict(list)
    for row in clip_rows(recordings, "sound_events"):
        by_kind[row["word"]].append(row)
    kinds = [rows[:5] for rows in by_kind.values() if len(rows) >= 3]
    heard = [[embed(base, *read_row(recordings, "sound_events", row)) for row in rows] for rows in kinds]
    means = np.array([np.sum(own[:2], axis=0) for own in heard])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    right = [int((means @ one).argmax()) == number for number, own in enumerate(heard) for one in own[2:]]
    assert len(right) > 30
    return float(np.mean(right))


def test_it_tells_sounds_apart_better_than_a_base_for_words(recordings: Path) -> None:
    assert recognized(open_base("ear"), recordings) >= recognized(open_base("words"), recordings) + 0.15


def test_any_sound_has_an_embedding() -> None:
    base = ear_network()
    shape = (1, *base.input_shape)
    random = np.random.default_rng(0)
    for window in (
        np.zeros(shape, np.float32),
        np.ones(shape, np.float32),
        random.uniform(-1, 1, shape).astype(np.float32),
        np.full(shape, 1e-30, np.float32),
    ):
        values = base.embed_windows(window)
        assert values.shape == (1, 2048)
        assert np.isfinite(values).all()
        assert (values[:, :1024] <= values[:, 1024:] + 1e-5).all(), "a mean is no more than the maximum"


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_sound_at_another_rate_is_the_same_sound(rate: int) -> None:
    base = ear_network()
    whistle = sounds.whistle(1.0, 3)
    first, second = (embed(base, soxr.resample(whistle, sounds.RATE, to), to) for to in (16_000, rate))
    other = embed(base, sounds.snaps(1.0, 3), sounds.RATE)
    assert first @ second > first @ other


def test_other_sounds_are_embeddings_of_it() -> None:
    others = other_sounds()
    assert others.shape == (512, 2048)
    assert others.dtype == np.float32
    assert (others >= 0).all()
    assert (np.linalg.norm(others, axis=1) > 0).all()
    assert (others[:, :1024] <= others[:, 1024:] + 0.05 * others.max(axis=0)[1024:]).all()
