"""Augmented windows: what must hold for each, and how often and how much each change is made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

import earmark
from earmark.clips.corpus import CLIP_SAMPLES
from earmark.front_end.spectrogram import compute_spectrogram
from earmark.pretraining.augmentation import Augmentation, _Dice, _masked, _with_response, _with_vocal_tract, normalize
from tests import chirps

RATE = 44_100
WINDOW = 45_056  # samples: 43 frames, each of 2,048 every 1,024
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")
Sound = npt.NDArray[np.int16]


def quantized(samples: npt.NDArray[np.float32]) -> Sound:
    return np.rint(samples * 32_767).astype(np.int16)


@pytest.fixture(scope="module")
def augmentation() -> Augmentation:
    return Augmentation(torch.from_numpy(quantized(chirps.noise(5, rate=RATE))), CPU)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dice(rows: int, seed: int = 0, strength: float = 1.0) -> _Dice:
    return _Dice(rows, seeded(seed), CPU, strength)


def rows_of(sound: Sound, count: int) -> tuple[Tensor, Tensor]:
    """That many rows with the sound in the middle, and their lengths."""
    rows = torch.zeros(count, CLIP_SAMPLES, dtype=torch.int16)
    before = (CLIP_SAMPLES - len(sound)) // 2
    rows[:, before : before + len(sound)] = torch.from_numpy(sound)
    return rows, torch.full((count,), len(sound))


def words(count: int) -> tuple[Tensor, Tensor]:
    return rows_of(quantized(chirps.word("rise", rate=RATE)), count)


# The front end


def test_the_spectrogram_is_the_front_ends(augmentation: Augmentation) -> None:
    clips = np.stack([
        chirps.word("bounce", rate=RATE), chirps.noise(1, 7, RATE), 0.001 * chirps.noise(1, 8, RATE),
    ])  # fmt: skip
    clips = np.pad(clips, ((0, 0), (0, WINDOW - RATE)), mode="reflect")
    levels = augmentation.spectrogram(torch.from_numpy(clips)).numpy()
    expected = np.stack([compute_spectrogram(clip, silence_before=False) for clip in clips])
    assert levels.shape == expected.shape == (3, 43, 232)
    assert expected.min() < expected.max() - 80
    # Single precision: exact within the range that counts, near the truth below it.
    for made, wanted in zip(levels, expected, strict=True):
        floor = wanted.max() - 80
        np.testing.assert_allclose(np.maximum(made, floor), np.maximum(wanted, floor), atol=0.05)
    np.testing.assert_allclose(levels, expected, atol=3)


def test_silence_lies_at_the_front_ends_floor(augmentation: Augmentation) -> None:
    (levels,) = augmentation.spectrogram(torch.zeros(1, WINDOW)).numpy()
    np.testing.assert_allclose(
        levels, compute_spectrogram(np.zeros(WINDOW, np.float32), silence_before=False), atol=1e-3
    )


def test_windows_are_normalized_as_the_finished_model_does() -> None:
    levels = np.random.default_rng(0).uniform(-160, -20, (4, 43, 232)).astype(np.float32)
    levels[2, :20] = -160
    levels[3] = -160
    made = normalize(torch.from_numpy(levels)).numpy()
    np.testing.assert_allclose(made, earmark.load("words").metadata.normalization(levels), atol=2e-4)
    np.testing.assert_allclose(made[:3].mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(made[:3].std(axis=(1, 2)), 1, atol=1e-4)
    assert not made[3].any()


# Whole windows


def test_windows_are_finite_and_normalized_where_no_mask_lies(augmentation: Augmentation) -> None:
    windows = augmentation(*words(200), seeded(0))
    assert windows.shape == (200, 43, 232)
    assert windows.isfinite().all()
    hidden = (windows == 0).all(2).any(1) | (windows == 0).all(1).any(1)
    # Neither mask is likelier than 40 % each, and one shorter than a cell may hide nothing: 36 % and some more.
    assert 0.25 < (~hidden).float().mean() < 0.6
    plain = windows[~hidden]
    np.testing.assert_allclose(plain.mean((1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(plain.std((1, 2), correction=0), 1, atol=1e-3)


def test_the_generator_alone_decides(augmentation: Augmentation) -> None:
    clips, lengths = words(8)
    first = augmentation(clips, lengths, seeded(5))
    torch.manual_seed(123)
    torch.testing.assert_close(augmentation(clips, lengths, seeded(5)), first, rtol=0, atol=0)
    other = augmentation(clips, lengths, seeded(6))
    assert ((other - first).abs().amax((1, 2)) > 0.5).all()
    between = (first[0] - first[1:]).abs().amax((1, 2))
    assert (between > 0.5).all()  # each row by dice of its own


def test_what_is_given_stays_as_it_is(augmentation: Augmentation) -> None:
    clips, lengths = words(4)
    before = clips.clone(), lengths.clone()
    augmentation(clips, lengths, seeded(0))
    assert torch.equal(clips, before[0])
    assert torch.equal(lengths, before[1])


def test_a_row_without_a_clip_becomes_noise(augmentation: Augmentation) -> None:
    clips, _ = words(60)
    lengths = torch.zeros(60, dtype=torch.int64)
    made = augmentation(torch.zeros_like(clips), lengths, seeded(0))
    torch.testing.assert_close(augmentation(clips, lengths, seeded(0)), made, rtol=0, atol=0)  # nothing of the clip
    is_noise = made.std((1, 2)) > 0.1
    assert 0.85 < is_noise.float().mean() <= 1  # 97 %; the others are digital silence
    assert made.isfinite().all()


def test_the_noise_is_the_recorded_one_or_made() -> None:
    time = np.arange(5 * RATE) / RATE
    tone = Augmentation(torch.from_numpy(quantized((0.3 * np.sin(2 * np.pi * 2_153.3 * time)).astype(np.float32))), CPU)
    silent = torch.zeros(300, WINDOW)
    sound = tone._with_noise(silent, torch.zeros(300, dtype=torch.int64), dice(300))
    levels = tone.spectrogram(sound).mean(1)
    # 2,153.3 Hz is bin 100: there a recorded row has nearly all of its power.
    is_recorded = (levels.argmax(1) == 100) & (levels[:, 100] - levels.median(1).values > 60)
    assert 0.5 < is_recorded.float().mean() < 0.67  # 60 % of 97 %
    power = sound.square().mean(1)
    assert ((power < 1e-6) | ((power - 1).abs() < 0.01)).all()  # as loud each, or silent


@pytest.mark.parametrize("length", [RATE, 0])
def test_digital_silence_gives_finite_windows(length: int) -> None:
    silence = torch.zeros(3 * RATE, dtype=torch.int16)
    windows = Augmentation(silence, CPU)(
        torch.zeros(50, CLIP_SAMPLES, dtype=torch.int16), torch.full((50,), length), seeded(0)
    )
    assert windows.isfinite().all()


def test_full_scale_and_one_sample_give_finite_windows(augmentation: Augmentation) -> None:
    for sound in (np.full(CLIP_SAMPLES, -32_768, np.int16), np.array([32_767], np.int16)):
        assert augmentation(*rows_of(sound, 30), seeded(0)).isfinite().all()


# Each change


def test_a_clip_lies_whole_in_its_window_at_any_place_and_speed(augmentation: Augmentation) -> None:
    clips, lengths = rows_of(np.linspace(5_000, 20_000, 22_050).astype(np.int16), 300)
    placed = augmentation._placed(clips.float() / 32_768, lengths, dice(300)).numpy()
    starts, seconds = [], []
    for row in placed:
        inside = np.flatnonzero(row > 0.1)
        first, last = inside[0], inside[-1]
        assert len(inside) == last - first + 1
        assert row[first + 1] * 32_768 == pytest.approx(5_000, abs=5)  # the one before may be half in
        assert row[last - 1] * 32_768 == pytest.approx(20_000, abs=5)
        starts.append(first / (WINDOW - len(inside)))
        seconds.append(len(inside) / RATE)
    assert 0.5 / 1.2 - 1e-3 <= min(seconds) < 0.43  # 0.5 s at a speed of 0.85 to 1.2
    assert 0.57 < max(seconds) <= 0.5 / 0.85 + 1e-3
    assert 0 <= min(starts) < 0.05
    assert 0.95 < max(starts) <= 1
    assert 0.4 < np.mean(starts) < 0.6


def test_a_clip_as_long_as_the_window_moves_a_little(augmentation: Augmentation) -> None:
    sound = np.zeros(RATE, np.int16)
    sound[RATE // 2] = 20_000  # the middle
    clips, lengths = rows_of(sound, 300)
    placed = augmentation._placed(clips.float() / 32_768, lengths, dice(300))
    middle = (placed.argmax(1) - WINDOW / 2) / RATE
    assert 0.1 < middle.max() < 0.13  # 120 ms, and more only where the clip, sped up, leaves more room
    assert -0.13 < middle.min() < -0.1


def test_without_strength_only_the_place_changes(augmentation: Augmentation) -> None:
    clips, lengths = words(60)
    burst, its_lengths = rows_of(np.full(22_050, 9_000, np.int16), 60)
    placed = augmentation._placed(burst.float() / 32_768, its_lengths, dice(60, strength=0))
    assert ((placed > 0.1).sum(1) - 22_050).abs().max() <= 2  # as fast as it was spoken
    assert len({int(start) for start in (placed > 0.1).int().argmax(1)}) > 40
    speech = clips[:, :WINDOW].float() / 32_768
    assert torch.equal(augmentation._in_a_room(speech, dice(60, strength=0)), speech)
    levels = torch.full((60, 43, 232), -70.0)
    torch.testing.assert_close(_with_vocal_tract(levels, dice(60, strength=0)), levels)
    torch.testing.assert_close(_with_response(levels, dice(60, strength=0)), levels)
    assert torch.equal(_masked(levels, dice(60, strength=0)), levels)
    assert augmentation(clips, lengths, seeded(0), 0.0).isfinite().all()


def test_a_room_adds_a_tail_that_dies_away(augmentation: Augmentation) -> None:
    click = torch.zeros(400, WINDOW)
    click[:, 10_000] = 1
    heard = augmentation._in_a_room(click, dice(400))
    is_dry = (heard == click).all(1)
    assert 0.68 < is_dry.float().mean() < 0.82
    wet = heard[~is_dry]
    assert wet[:, :10_000].abs().max() < 1e-4  # no echo before the sound
    np.testing.assert_allclose(wet[:, 10_000], 1, atol=1e-3)
    tail = wet[:, 10_001:]
    power = tail.square().sum(1)
    assert 10 ** (-15.5 / 10) < power.min() < 0.1
    assert 0.5 < power.max() < 1.2  # −15 to 0 dB of the sound's
    early, late = tail[:, :4_410].square().mean(1), tail[:, 8_820:13_230].square().mean(1)
    # 60 dB in at most 0.6 s: at least 20 dB in 0.2 s, less what chance makes of noise.
    assert (10 * torch.log10(early / (late + 1e-12)) > 17).all()


def test_noise_lies_as_far_under_the_speech_as_told(augmentation: Augmentation) -> None:
    time = torch.arange(WINDOW) / RATE
    speech = (0.3 * torch.sin(2 * torch.pi * 440 * time)).repeat(600, 1)
    noise = augmentation._with_noise(speech, torch.full((600,), WINDOW), dice(600)) - speech
    power = noise.square().mean(1)
    is_clean = power < 1e-12
    assert 0.09 < is_clean.float().mean() < 0.21  # 15 %
    ratio = 10 * torch.log10(0.045 / power[~is_clean])  # 0.3² / 2
    assert ratio.min() > -5.1
    assert ratio.max() < 40.1
    assert ratio.min() < 0
    assert ratio.max() > 38
    # 15 % from −5 to 10 dB, the others from 5 to 40 dB: 27 % below 10, 39 % above 25.
    assert 0.19 < (ratio < 10).float().mean() < 0.35
    assert 0.29 < (ratio > 25).float().mean() < 0.46


def test_the_noise_is_measured_against_the_word_and_not_the_pauses(augmentation: Augmentation) -> None:
    short = torch.zeros(300, WINDOW)
    short[:, 20_480:24_576] = 0.2  # 4 of 44 hops
    noise = augmentation._with_noise(short, torch.full((300,), 4_096), dice(300)) - short
    ratio = 10 * torch.log10(0.04 / noise.square().mean(1))
    assert -5.1 < ratio.min() < 5


def test_half_of_the_vocal_tracts_change() -> None:
    bins = torch.arange(232)
    levels = (-60 - 0.5 * (bins - 100).abs()).repeat(500, 43, 1)
    stretched = _with_vocal_tract(levels, dice(500))
    is_same = (stretched == levels)[:, :, :231].all(2).all(1)  # the last bin is always a mixture
    assert 0.42 < is_same.float().mean() < 0.58
    peaks = stretched[~is_same].mean(1).argmax(1)
    assert 87 <= peaks.min() < 92  # 100 / 1.14 is 87.7
    assert 109 < peaks.max() <= 114  # 100 / 0.88 is 113.6
    flat = torch.full((50, 43, 232), -70.0)
    torch.testing.assert_close(_with_vocal_tract(flat, dice(50)), flat)


def test_microphones_differ_and_some_end_early() -> None:
    flat = torch.full((1_000, 43, 232), -70.0)
    heard = _with_response(flat, dice(1_000))
    assert heard.min() >= -160
    assert (heard == heard[:, :1]).all()  # the same in each frame
    curve = heard[:, 0]
    middle = curve[:, 40:120].mean(1)
    # An upper end in a quarter of them: half of those fall 30 dB and more by bin 231. A lower end in a fifth.
    assert 0.05 < (curve[:, 231] < middle - 30).float().mean() < 0.25
    assert 0.01 < (curve[:, 0] < middle - 30).float().mean() < 0.2
    assert (curve[:, 40:120].std(1) > 2).float().mean() > 0.2


def test_masks_hide_up_to_8_frames_and_40_bins() -> None:
    masked = _masked(torch.ones(1_000, 43, 232), dice(1_000)) == 0
    frames, bins = masked.all(2).sum(1), masked.all(1).sum(1)
    assert frames.max() == 8
    assert bins.max() == 40
    assert 0.33 < (frames > 0).float().mean() < 0.43  # 40 %, less those shorter than a frame
    assert 0.33 < (bins > 0).float().mean() < 0.45
    # Any frame and bin may be hidden, those at the ends seldom; what is hidden is one piece.
    assert masked.all(2).any(0)[2:-2].all()
    assert masked.all(1).any(0)[2:-2].all()
    for row in masked.all(2):
        assert (row.int().diff() == 1).sum() <= 1
