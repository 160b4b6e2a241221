"""Sounds that the tests make: takes of a whistle, of snaps and of a room's noise, each seed another take.

They are recordings in all that matters to the software: a room's noise lies under each, pitch, loudness and rhythm vary
from take to take and within one, and levels are those of a microphone at arm's length.
"""

import numpy as np
import numpy.typing as npt

RATE = 48_000  # Hz, a microphone's usual rate, so that resampling is always part of the test
Samples = npt.NDArray[np.float32]


def room(seconds: float, seed: int, level: float = 0.002) -> Samples:
    """Noise that falls with frequency, as fans and rooms make it."""
    random = np.random.default_rng(seed)
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum /= np.maximum(1, np.fft.rfftfreq(count, 1 / RATE) / 200) ** 0.5
    noise = np.fft.irfft(spectrum, count)
    return np.asarray(level * noise / noise.std(), np.float32)


def whistle(seconds: float, seed: int) -> Samples:
    """A person's whistle that slides up and down between about 1.2 and 1.8 kHz, with a weak overtone."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    slide = random.uniform(240, 300) * np.sin(2 * np.pi * (random.uniform(0.4, 0.7) * time + random.uniform()))
    pitch = random.uniform(1_480, 1_520) + slide
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    loudness = random.uniform(0.1, 0.3) * (1 + 0.2 * np.sin(2 * np.pi * random.uniform(1, 3) * time))
    tone = loudness * (np.sin(phase) + 0.05 * np.sin(2 * phase))
    return (tone + room(seconds, seed + 1)).astype(np.float32)


def snaps(seconds: float, seed: int) -> Samples:
    """A quick run of finger snaps: bursts of noise around 2 to 4 kHz that die away within 10 ms, 30 or so a second."""
    random = np.random.default_rng(seed)
    sound = room(seconds, seed + 1)
    at = 0
    while (at := at + round(random.uniform(0.025, 0.035) * RATE)) < len(sound):
        time = np.arange(min(round(0.02 * RATE), len(sound) - at)) / RATE
        body = np.sin(2 * np.pi * random.uniform(2_000, 4_000) * time) + random.standard_normal(len(time))
        sound[at : at + len(time)] += random.uniform(0.1, 0.3) * body * np.exp(-time / 0.004)
    return sound.clip(-1, 1).astype(np.float32)


def murmur(seconds: float, seed: int) -> Samples:
    """What is neither: a room, and now and then a voice in it (a buzz at a voice's pitch, below 1 kHz)."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = random.uniform(100, 180) * (1 + 0.1 * np.sin(2 * np.pi * random.uniform(0.5, 1.5) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(phase * overtone) / overtone for overtone in range(1, 7))
    syllables = np.clip(np.sin(2 * np.pi * random.uniform(0.4, 0.8) * time), 0, 1)
    return (0.03 * voice * syllables + room(seconds, seed + 1)).astype(np.float32)
