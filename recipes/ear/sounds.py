"""What the student hears: recordings and synthesised sounds, changed and mixed anew for each batch.

There are few recordings, so that variety has to come from what is done to them: playback at another speed or backwards,
a random frequency response, a room's echo, an onset at a random place, mixtures of up to three at any level.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from front_end import PATCH_SAMPLES, RATE
from torch import Tensor

from earmark.training.open_set import synthesise_noise

# The data sets, and how often each is drawn from. ESC-10 is none of them.
SHARES = {
    "sound_events": 0.30, "ambience": 0.20, "background_noise": 0.05, "talk_english_orders": 0.06, "talk_yoruba": 0.04,
    "art4apps_words": 0.05, "mandarin_words": 0.05, "wake_words": 0.05, "noises": 0.08, "impacts": 0.12,
}  # fmt: skip
MADE = ("noises", "impacts")
MADE_COUNT, MADE_SECONDS = 3_000, 1.5
HELD_OUT = 3  # one in so many kinds of sound events is left out, and so is a part of the ambience
FFT = 16_384  # more than a patch
ECHO_FFT = 32_768  # more than a patch and its echo


def is_held_out(kind: str) -> bool:
    """Whether recordings of this kind of sound are kept for the tests."""
    return hashlib.sha256(kind.encode()).digest()[0] % HELD_OUT == 0


def read_sounds(folder: Path, held_out: bool = False) -> Tensor:
    """A data set's recordings one after the other, at 16 kHz: int16 of shape [samples].

    Args:
        folder: <split>/<kind>/<recording>.wav. The names of kinds matter for sound events and ambience alone.
        held_out: whether to read what is kept for the tests instead.
    """
    parts = []
    for file in sorted(folder.rglob("*.wav")):
        tests_something = folder.name in ("sound_events", "ambience")
        if (
            tests_something
            and is_held_out(file.parent.name if folder.name == "sound_events" else file.stem) != held_out
        ):
            continue
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        samples = soxr.resample(samples.mean(1), rate, RATE)
        parts.append((samples.clip(-1, 1) * 32_767).astype(np.int16))
    return torch.from_numpy(np.concatenate(parts))


def make_noises() -> Tensor:
    """Noises of all kinds, as `read_sounds` gives recordings."""
    clips = synthesise_noise(MADE_COUNT, MADE_SECONDS, RATE, seed=1)
    return torch.from_numpy((np.concatenate([clip.samples for clip in clips]) * 32_767).astype(np.int16))


def make_impacts() -> Tensor:
    """Struck things: a burst of noise that excites some resonances, each with its own decay, once or repeatedly.

    Modal synthesis, see Cook 2002, "Real Sound Synthesis for Interactive Applications", chapter 4.
    """
    random = np.random.default_rng(2)
    made = [_impact(random) for _ in range(MADE_COUNT)]
    return torch.from_numpy((np.concatenate(made) * 32_767).astype(np.int16))


def _impact(random: np.random.Generator) -> np.ndarray:
    time = np.arange(round(MADE_SECONDS * RATE)) / RATE
    sound = np.zeros_like(time)
    count, lowest = random.integers(1, 12), 60 * 60 ** random.random()
    stretch = random.choice([1.0, random.uniform(0.9, 2.2)])  # harmonic or not
    pitches = lowest * np.arange(1, count + 1) ** stretch * np.exp(random.normal(0, 0.02 * random.random(), count))
    decays = 0.005 * 300 ** random.random() / np.arange(1, count + 1) ** random.uniform(0, 1.5)
    levels = np.exp(random.normal(-random.uniform(0, 0.4) * np.arange(count), 0.7))
    one = sum(
        level * np.exp(-time / decay) * np.sin(2 * np.pi * pitch * time + random.uniform(0, 6.28))
        for pitch, decay, level in zip(pitches, decays, levels, strict=True)
        if pitch < RATE / 2
    )
    click = random.standard_normal(len(time)) * np.exp(-time / (0.001 * 30 ** random.random()))
    one = one + click * random.uniform(0, 2)
    gap = 0.04 * 30 ** random.random()
    start = random.uniform(0, 0.6)
    for strike in range(int(random.choice([1, 1, 1, 2, 3, 10]))):
        first = int((start + strike * gap * random.uniform(0.9, 1.1)) * RATE)
        if first < len(time):
            sound[first:] += one[: len(time) - first] * random.uniform(0.5, 1)
    loud: np.ndarray = sound / (np.abs(sound).max() + 1e-9) * 10 ** (random.uniform(-30, 0) / 20)
    return loud


class Sounds:
    """Draws batches of patches.

    Args:
        data: the folder of the unpacked data sets.
        seed: the random seed.
    """

    def __init__(self, data: Path, seed: int = 0) -> None:
        self._random = torch.Generator().manual_seed(seed)
        pools = [read_sounds(data / name) for name in SHARES if name not in MADE] + [make_noises(), make_impacts()]
        self._sound = torch.cat(pools)
        ends = torch.tensor([0, *np.cumsum([len(pool) for pool in pools])])
        self._starts, self._lengths = ends[:-1], ends[1:] - ends[:-1]
        self._shares = torch.tensor(list(SHARES.values()))
        self.seconds = dict(zip(SHARES, (len(pool) / RATE for pool in pools), strict=True))

    def batches(self, size: int) -> Iterator[Tensor]:
        """Batches without end: float32 of shape [size, PATCH_SAMPLES] in [-1, 1]."""
        while True:
            sound = self._drawn(size)
            drawn = sound
            for number, chance in enumerate((0.45, 0.15), 1):  # a second and a third sound beneath the first
                other = drawn.roll(number, 0) * 10 ** (self._between(size, -30, 5) / 20)
                sound = sound + other * (self._between(size, 0, 1) < chance)
            peak = sound.abs().amax(1, keepdim=True).clamp(min=1e-6)
            level = 10 ** (self._between(size, -40, 0) / 20)
            hiss = torch.randn(sound.shape, generator=self._random) * 10 ** (self._between(size, -100, -50) / 20)
            yield (sound / peak * level + hiss).clamp(-1, 1)

    def _between(self, size: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(size, 1, generator=self._random)

    def _drawn(self, size: int) -> Tensor:
        """One changed sound for each row, with a mean square of 1 where it isn't silent."""
        pool = torch.multinomial(self._shares, size, replacement=True, generator=self._random)
        speed = torch.where(
            self._between(size, 0, 1) < 0.6, torch.exp(self._between(size, math.log(0.55), math.log(1.8))), 1.0
        )
        room = self._lengths[pool] - 2 * PATCH_SAMPLES
        first = (torch.rand(size, generator=self._random, dtype=torch.float64) * room).long() + self._starts[pool]
        position = torch.arange(PATCH_SAMPLES) * speed
        before = position.long()
        share = position - before
        index = first.unsqueeze(1) + before
        sound = (self._sound[index] * (1 - share) + self._sound[index + 1] * share) / 32_768
        backwards = self._between(size, 0, 1) < 0.1
        sound = torch.where(backwards, sound.flip(1), sound)
        sound = self._filtered(sound)
        onset = (self._between(size, 0, 0.9) * PATCH_SAMPLES).long() * (self._between(size, 0, 1) < 0.2)
        sound = sound * (torch.arange(PATCH_SAMPLES) >= onset)
        return sound / sound.square().mean(1, keepdim=True).sqrt().clamp(min=1e-4)

    def _filtered(self, sound: Tensor) -> Tensor:
        """With a random frequency response, and for some rows a room's echo."""
        size, bins = len(sound), FFT // 2 + 1
        points = torch.randn(size, 1, 10, generator=self._random)
        on_log_axis = torch.nn.functional.interpolate(points, 256, mode="linear", align_corners=True).squeeze(1)
        octaves = torch.log2(torch.arange(bins).clamp(min=1)) / math.log2(bins)
        curve = on_log_axis[:, (octaves * 255).long()] * self._between(size, 0, 10)
        sound = torch.fft.irfft(torch.fft.rfft(sound, FFT) * 10 ** (curve / 20), FFT)[:, :PATCH_SAMPLES]
        rows = (self._between(size, 0, 1) < 0.25).squeeze(1).nonzero().squeeze(1)
        if len(rows):
            time = torch.arange(RATE // 2) / RATE
            decay = self._between(len(rows), 0.05, 0.8)
            echo = torch.randn(len(rows), len(time), generator=self._random) * torch.exp(-6.9 * time / decay)
            echo *= 10 ** (self._between(len(rows), -15, 3) / 20) / echo.square().sum(1, keepdim=True).sqrt()
            echo[:, 0] = 1
            spectrum = torch.fft.rfft(sound[rows], ECHO_FFT) * torch.fft.rfft(echo, ECHO_FFT)
            sound[rows] = torch.fft.irfft(spectrum, ECHO_FFT)[:, :PATCH_SAMPLES]
        return sound
