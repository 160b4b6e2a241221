"""What a recognizer learns nothing from: noises that are noises, words that are words, no label's own among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

import earmark
from earmark.audio.clip import Clip
from earmark.front_end.examples import cut_windows
from earmark.labels import RESERVED_LABELS, check_label
from earmark.models.network import Network
from earmark.training import open_set
from tests.budget import budget

RATE = 16_000
MODELS = Path(earmark.__file__).parent / "models"


def noises_of(kind: open_set.Kind, count: int = 6, seconds: float = 2.0) -> list[npt.NDArray[np.float32]]:
    clips = open_set.synthesise_noise(count * len(open_set.KINDS), seconds, seed=3)
    return [clip.samples for clip in clips[open_set.KINDS.index(kind) :: len(open_set.KINDS)]]


def densities(kind: open_set.Kind) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Frequencies and the mean power density of noises of a kind, each scaled to a power of 1 (Welch, 1967)."""
    powers = []
    for samples in noises_of(kind):
        hertz, power = signal.welch(samples.astype(float), RATE, nperseg=1_024)
        powers.append(power / power.sum())
    return hertz, np.mean(powers, axis=0)


def embed(network: Network, clips: list[Clip]) -> npt.NDArray[np.float32]:
    windows = [cut_windows(clip, network.metadata.window_frames, network.front_end)[:1] for clip in clips]
    return network.embed_windows(np.concatenate(windows))


# Noise


def test_the_same_seed_gives_the_same_noise_however_many_there_are() -> None:
    few, many, others = (open_set.synthesise_noise(n, 0.2, seed=seed) for n, seed in ((15, 1), (40, 1), (15, 2)))
    assert [len(noises) for noises in (few, many, others)] == [15, 40, 15]
    for one, same, other in zip(few, many[:15], others, strict=True):
        np.testing.assert_array_equal(one.samples, same.samples)
        assert not one.samples.any() or not np.array_equal(one.samples, other.samples)
    assert open_set.synthesise_noise(0, 1.0) == []


@given(st.integers(1_000, 192_000), st.floats(0, 0.3), st.integers(0, 2**32))
@budget(40)
def test_every_rate_and_length_gives_sound_in_range(rate: int, seconds: float, seed: int) -> None:
    for clip in open_set.synthesise_noise(len(open_set.KINDS), seconds, rate, seed):
        assert clip.sample_rate == rate
        assert clip.samples.dtype == np.float32
        assert len(clip.samples) == max(1, round(seconds * rate))
        assert np.abs(clip.samples).max() <= 1  # false where it is not finite too


def test_the_levels_reach_from_silence_to_full_scale() -> None:
    peaks = np.array([np.abs(clip.samples).max() for clip in open_set.synthesise_noise(440, 0.3)])
    assert (peaks == 0).any()
    assert (peaks == 1 / 32_768).any()
    heard = peaks[peaks > 1 / 32_768]
    assert len(heard) > 380
    assert heard.min() >= 1e-4 * (1 - 1e-6)  # −80 dBFS
    # Levels in dB are drawn evenly: 20 dB hold a quarter of the noises, 400 of which deviate by less than 0.022.
    shares, _ = np.histogram(20 * np.log10(heard), bins=[-80, -60, -40, -20, 0.001])
    np.testing.assert_allclose(shares / len(heard), 0.25, atol=0.09)


def test_rumble_is_low() -> None:
    hertz, power = densities(open_set._rumble)
    assert power[hertz < 500].sum() > 0.95


def test_speech_shaped_noise_has_the_slope_of_speech() -> None:
    hertz, power = densities(open_set._speech_shaped)
    octaves = [10 * np.log10(power[(hertz >= low) & (hertz < 1.2 * low)].mean()) for low in (1_000, 2_000, 4_000)]
    np.testing.assert_allclose(np.diff(octaves), -9, atol=2)
    assert power[hertz < 50].sum() < 0.05


def test_tones_are_tones_and_noise_is_noise() -> None:
    """The share of the strongest hundredth of the spectrum: nearly all for tones, little for noise of all bands."""

    def strongest(samples: npt.NDArray[np.float32]) -> float:
        power = np.sort(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2)[::-1]
        return float(power[: len(power) // 100].sum() / power.sum())

    assert min(strongest(samples) for samples in noises_of(open_set._hum)) > 0.8
    assert min(strongest(samples) for samples in noises_of(open_set._beeps)) > 0.8
    assert min(strongest(samples) for samples in noises_of(open_set._crackle)) < 0.3


def test_knocks_die_away() -> None:
    for samples in noises_of(open_set._knocks):
        loudness = np.sqrt(np.convolve(samples.astype(float) ** 2, np.ones(160) / 160, "same"))
        assert np.median(loudness) < 0.25 * loudness.max()


# Words


@pytest.fixture(scope="module")
def words() -> list[Clip]:
    return open_set.unknown_words()


def test_the_words_are_a_second_each(words: list[Clip]) -> None:
    assert [(clip.sample_rate, len(clip.samples)) for clip in words] == [(RATE, RATE)] * 256
    assert soundfile.info(open_set.WORDS_FILE).frames == 256 * RATE
    assert open_set.WORDS_FILE.stat().st_size < 800_000  # bytes


def test_each_second_holds_a_word_and_nothing_at_its_ends(words: list[Clip]) -> None:
    for clip in words:
        peak = np.abs(clip.samples).max()
        assert -22 < 20 * np.log10(peak) < 0  # dBFS
        for end in (clip.samples[:160], clip.samples[-160:]):
            assert np.sqrt(np.mean(end**2)) < 0.01 * peak


def test_no_word_comes_twice(words: list[Clip]) -> None:
    spectra = [np.abs(np.fft.rfft(clip.samples / np.linalg.norm(clip.samples))) for clip in words]
    alike = np.triu(np.stack(spectra) @ np.stack(spectra).T, 1)
    assert alike.max() < 0.95 * np.linalg.norm(spectra[0]) ** 2


def test_the_words_are_named() -> None:
    named = (MODELS / "unknown_words.md").read_text("utf-8").rstrip().rpartition("\n\n")[2].replace("\n", " ")
    names = named.split(", ")
    assert len(set(names)) == len(names) == 256
    assert not set(names) & set(earmark.load("words").labels)
    assert all(check_label(name) == name for name in names)


def test_the_pretrained_words_reject_nearly_all(words: list[Clip]) -> None:
    """They are what it learnt as `_unknown_`, so it hears words if each second holds one; some lie near its labels."""
    recognizer = earmark.load("words")
    results = [recognizer.recognize(clip.samples, clip.sample_rate) for clip in words]
    assert sum(result.label == "_unknown_" for result in results) > 0.8 * 256
    assert sum(result.label not in RESERVED_LABELS and result.score >= 0.75 for result in results) < 0.06 * 256
    assert not any(result.label == "_background_noise_" for result in results)


# A label's own word


def test_the_most_alike_are_left_out() -> None:
    """Cosines by hand: 1 and 0 to (1, 0), so that the mean of the two clips' is 0.5, 0.5, 0.7071 and −0.5."""
    clips = np.array([[1, 0], [0, 2]], np.float32)
    unknown = np.array([[1, 0], [0, 1], [3, 3], [-1, 0]], np.float32)
    assert open_set.far_from(unknown, clips).tolist() == [True, True, False, True]
    assert open_set.far_from(unknown, clips[:1]).tolist() == [False, True, True, True]


@pytest.mark.parametrize(("words", "left_out"), [(0, 0), (1, 1), (64, 1), (65, 2), (256, 4)])
def test_one_in_64_is_left_out(words: int, left_out: int) -> None:
    random = np.random.default_rng(0)
    unknown, clips = (random.standard_normal((n, 8)).astype(np.float32) for n in (words, 3))
    assert int((~open_set.far_from(unknown, clips)).sum()) == left_out


@given(st.integers(0, 2**32), st.floats(0.001, 1_000))
def test_the_length_of_an_embedding_means_nothing(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    unknown, clips = (random.standard_normal((n, 8)).astype(np.float32) for n in (100, 3))
    longer = unknown * random.uniform(0.1, 10, (100, 1)).astype(np.float32)
    expected = open_set.far_from(unknown, clips)
    np.testing.assert_array_equal(open_set.far_from(longer, clips * np.float32(factor)), expected)


def test_silence_is_like_nothing() -> None:
    unknown = np.array([[0, 0], [1, 0]], np.float32)
    assert open_set.far_from(unknown, np.array([[1, 0.1]], np.float32)).tolist() == [True, False]


def test_a_word_that_the_user_teaches_is_found_among_the_unknown(words: list[Clip]) -> None:
    """The user says it faster, more softly and in noise, three times."""
    network = earmark.load("words")
    unknown = embed(network, words)
    random = np.random.default_rng(0)
    for number in range(0, 256, 16):
        takes = []
        for speed in (0.9, 1.0, 1.1):
            said = 0.3 * signal.resample(words[number].samples, round(RATE / speed))
            noise = 0.002 * random.standard_normal(len(said))
            takes.append(Clip((said + noise).astype(np.float32), RATE))
        is_far = open_set.far_from(unknown, embed(network, takes))
        assert not is_far[number]
        assert is_far.sum() == 252
