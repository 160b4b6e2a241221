"""Noises and words that teach a recognizer to stay silent for what it was never taught.

The noises are synthesised here. The words come with the package: 256 different ones, spoken by synthesised voices. See
models/unknown_words.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Clip, read_clip
from earmark.models.saved_model import PRETRAINED

WORDS_FILE = PRETRAINED / "unknown_words.ogg"
WORD_SECONDS = 1  # each word's slot in the file
QUIETEST = -80.0  # dBFS; the peak of the quietest noise
ALIKE_SHARE = 1 / 64  # the share of the unknown words that is left out for each label
LEAST_BIT = 2.0**-15  # of 16-bit sound

Sound = npt.NDArray[np.float64]
Embeddings = npt.NDArray[np.float32]
Random = np.random.Generator


def synthesise_noise(count: int, seconds: float, sample_rate: int = 16_000, seed: int = 0) -> list[Clip]:
    """Noises of all kinds in turn, including silence, with peaks anywhere from −80 to 0 dBFS.

    Args:
        count: how many noises to make.
        seconds: how long each noise is.
        sample_rate: the sample rate in Hz.
        seed: the random seed; with the same seed, a noise is the same however many are made.
    """
    time = np.arange(max(1, round(seconds * sample_rate))) / sample_rate
    return [_noise(KINDS[n % len(KINDS)], time, sample_rate, np.random.default_rng([seed, n])) for n in range(count)]


def _noise(kind: Kind, time: Sound, rate: int, random: Random) -> Clip:
    sound = kind(time, rate, random)
    peak = np.abs(sound).max()
    if peak > LEAST_BIT:  # silence stays as it is
        sound *= 10 ** (random.uniform(QUIETEST, 0) / 20) / peak
    return Clip(sound.astype(np.float32), rate)


# Each kind takes the samples' times in seconds, the rate in Hz and the random generator.


def _hiss(time: Sound, rate: int, random: Random) -> Sound:
    """White, pink, brown and anything between: hiss, a room, wind, the sea."""
    slope = random.uniform(-3, 9)  # dB an octave
    return _filtered(time, rate, random, lambda hertz: hertz ** (-slope / 6.02))  # 6.02 dB is a factor of two


def _band(time: Sound, rate: int, random: Random) -> Sound:
    """Noise around one frequency: a tap, a kettle, breath, cloth."""
    centre, width = _any_pitch(100, rate * 0.45, random), random.uniform(0.1, 1)  # Hz; octaves
    return _filtered(time, rate, random, lambda hertz: np.exp(-((np.log2(hertz / centre) / width) ** 2)))


def _rumble(time: Sound, rate: int, random: Random) -> Sound:
    """Noise below some 100 Hz: lorries, steps, wind on a microphone."""
    corner = random.uniform(30, 200)
    return _filtered(time, rate, random, lambda hertz: np.exp(-hertz / corner))


def _speech_shaped(time: Sound, rate: int, random: Random) -> Sound:
    """Noise with the spectrum of speech that swells like syllables but contains no words: a party next door.

    The density falls by about 9 dB an octave above 500 Hz, and below 100 Hz there is little (Byrne et al., 1994).
    """

    def speech(hertz: Sound) -> Sound:
        return np.minimum(1, (hertz / 500) ** -1.5) * np.minimum(1, (hertz / 100) ** 2)

    return _filtered(time, rate, random, speech) * _swell(time, random.uniform(2, 8), random)


def _fan(time: Sound, rate: int, random: Random) -> Sound:
    """Noise that comes and goes: fans, engines, saws, applause, rain."""
    return _hiss(time, rate, random) * _swell(time, _any_pitch(0.5, 40, random), random)


def _hum(time: Sound, rate: int, random: Random) -> Sound:
    """A low tone with its harmonics and a little noise: mains, motors, refrigerators."""
    pitch, fall = random.uniform(40, 400), random.uniform(0.5, 2)
    harmonics = [_tone(time, n * pitch, random) / n**fall for n in range(1, 30) if n * pitch < rate / 2]
    sound: Sound = np.sum(harmonics, axis=0)
    return sound + random.uniform(0, 0.1) * _hiss(time, rate, random)


def _whistle(time: Sound, rate: int, random: Random) -> Sound:
    """One to three tones that glide: whistling, feedback, squeaking doors, birds."""
    sound = np.zeros_like(time)
    for _ in range(random.integers(1, 4)):
        pitch, octaves = _any_pitch(150, rate * 0.1, random), random.uniform(-1, 1)
        sound += _tone(time, pitch * 2 ** (octaves * time / time[-1]) if len(time) > 1 else pitch, random)
    return sound * _swell(time, random.uniform(0.2, 6), random)


def _beeps(time: Sound, rate: int, random: Random) -> Sound:
    """A tone or two, switched on and off: alarm clocks, telephones, ovens, games."""
    tones = np.sum([_tone(time, _any_pitch(300, rate * 0.4, random), random) for _ in range(random.integers(1, 3))], 0)
    is_on = (time * random.uniform(1, 12) + random.random()) % 1 < random.uniform(0.1, 0.9)
    return np.where(is_on, tones, 0.0)


def _knocks(time: Sound, rate: int, random: Random) -> Sound:
    """A few bursts that die away: knocks, claps, keys, a dropped spoon."""
    return _bursts(time, int(random.integers(1, 9)), 0.3, random) * _band(time, rate, random)


def _crackle(time: Sound, rate: int, random: Random) -> Sound:
    """Many short bursts: rain on a window, frying, paper, fire."""
    density = round(_any_pitch(20, 200, random) * len(time) / rate) + 1
    return _bursts(time, density, 0.01, random) * _hiss(time, rate, random)


def _nothing(time: Sound, _rate: int, random: Random) -> Sound:
    """A microphone that is switched off: zeros, or now and then the lowest of 16 bits."""
    share = random.choice([0, 0.01, 0.5])
    return LEAST_BIT * random.choice([-1.0, 0.0, 1.0], size=len(time), p=[share / 2, 1 - share, share / 2])


Kind = Callable[[Sound, int, Random], Sound]
KINDS: tuple[Kind, ...] = (
    _hiss, _knocks, _hum, _fan, _band, _beeps, _speech_shaped, _crackle, _rumble, _whistle, _nothing,
)  # fmt: skip


def _filtered(time: Sound, rate: int, random: Random, gain: Callable[[Sound], Sound]) -> Sound:
    """Gaussian noise of deviation 1 whose amplitude spectrum is proportional to `gain` of the frequency in Hz."""
    spectrum = np.fft.rfft(random.standard_normal(len(time)))
    hertz = np.maximum(np.fft.rfftfreq(len(time), 1 / rate), 20)  # below this, a slope would leave nothing but drift
    sound: Sound = np.fft.irfft(spectrum * gain(hertz), len(time))
    deviation = float(sound.std())
    return sound / (deviation + 1e-12)


def _swell(time: Sound, hertz: float, random: Random) -> Sound:
    """A gain from 0 to 1 that goes up and down at about that rate, sometimes hardly, sometimes down to nothing."""
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * hertz * time + random.uniform(0, 2 * np.pi))
    gain: Sound = 1 - random.uniform(0.1, 1) * wave ** random.uniform(0.3, 3)
    return gain


def _bursts(time: Sound, count: int, longest: float, random: Random) -> Sound:
    """A gain that jumps up at random times, by random levels, and dies away within `longest` seconds or less."""
    gain = np.zeros_like(time)
    for _ in range(count):
        first = random.integers(len(time))
        decay = longest * random.uniform(0.05, 1)
        gain[first:] += random.uniform(0.1, 1) * np.exp(-(time[first:] - time[first]) / decay)
    return gain


def _tone(time: Sound, hertz: Sound | float, random: Random) -> Sound:
    wave: Sound = np.sin(2 * np.pi * hertz * time + random.uniform(0, 2 * np.pi))
    return wave


def _any_pitch(low: float, high: float, random: Random) -> float:
    """A frequency between the two, with all octaves equally likely."""
    return float(low * (max(high, low) / low) ** random.random())


def unknown_words() -> list[Clip]:
    """256 different words of a second each, at 16 kHz."""
    clip = read_clip(WORDS_FILE)
    slot = WORD_SECONDS * clip.sample_rate
    return [Clip(clip.samples[n : n + slot], clip.sample_rate) for n in range(0, len(clip.samples), slot)]


def far_from(unknown: Embeddings, clips: Embeddings) -> npt.NDArray[np.bool_]:
    """Which of the unknown words may be used beside one of the user's labels: all but those most similar to its clips.

    The user may teach a word that is among the unknown words, and it must not be both. How similar two clips of a word
    are differs from base to base, but their rank hardly does. So four of the 256 words are left out for each label.
    Given eight recorded clips of each of 22 words, these four held the user's word, said by a synthesised voice, in 92
    % of cases on the base `words` and in 89 % on `speech`. Leaving out the other three doesn't make the recognizer
    accept more unknown words.

    Args:
        unknown: embeddings of the unknown words, shape [words, values].
        clips: embeddings of the clips of one label, shape [clips, values].

    Returns:
        True for each word that may be used, shape [words]. One in 64 may not, and always at least one.
    """
    alike = (directions(unknown) @ directions(clips).T).mean(axis=1)  # cosine similarity
    is_far = np.ones(len(unknown), bool)
    is_far[np.argsort(-alike, kind="stable")[: math.ceil(len(unknown) * ALIKE_SHARE)]] = False
    return is_far


def directions(embeddings: Embeddings) -> Embeddings:
    """Embeddings of length 1, shape [n, values]; of length 0 where they have no direction."""
    lengths = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    normalized: Embeddings = np.divide(embeddings, lengths, dtype=np.float32)
    return normalized
