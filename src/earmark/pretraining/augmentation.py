"""Data augmentation: windows made from clips and noise, different each time, as a microphone might hear them; PyTorch.

What varies: where in the window the word lies, speed and pitch, the length of the vocal tract (Jaitly and Hinton 2013),
the room, noise at many levels, clipping, the microphone's frequency response and bandwidth, and masks in time and
frequency (Park et al. 2019, SpecAugment). Loudness doesn't vary: the normalization of a window removes it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from earmark.clips.corpus import CLIP_SAMPLES
from earmark.front_end.spectrogram import BINS, FFT_SIZE, FLOOR_DB, HOP, SAMPLE_RATE
from earmark.models.metadata import EPSILON, SILENCE_RANGE, SILENT_DB

FRAMES = 43
WINDOW_SAMPLES = (FRAMES + 1) * HOP  # a frame sees two hops
FLOOR = 0.8  # in deviations, as in the trained model's metadata; see `metadata.FlooredNormalization`
ROOM_FFT = 65_536  # more than a window and a room's echo


class Augmentation:
    """Makes training windows.

    Args:
        noise: recordings of noise at 44.1 kHz, one after the other, int16 of shape [samples].
        device: the device to compute on.
    """

    def __init__(self, noise: Tensor, device: torch.device) -> None:
        self._noise = noise.to(device)
        self._device = device
        self._blackman = torch.blackman_window(FFT_SIZE, device=device) / FFT_SIZE

    def __call__(self, clips: Tensor, lengths: Tensor, random: torch.Generator, strength: float = 1.0) -> Tensor:
        """One window of each clip.

        Args:
            clips: int16 of shape [n, CLIP_SAMPLES], each in the middle of its row; a row of length 0 becomes noise.
            lengths: how many samples of each row belong to the clip, shape [n].
            random: a random generator on `device`.
            strength: how often and how much the sound is changed; with 0, only its position in the window varies.

        Returns:
            Normalized windows, shape [n, 43, 232].
        """
        dice = _Dice(len(clips), random, self._device, strength)
        speech = self._placed(clips.float() / 32_768, lengths, dice)
        speech = self._in_a_room(speech, dice)
        sound = self._with_noise(speech, lengths, dice)
        limit = sound.abs().amax(1, keepdim=True) * dice.between(0.2, 0.8)
        sound = torch.where(dice.sometimes(0.05), sound.clamp(-limit, limit), sound)
        levels = self.spectrogram(sound)
        levels = _with_response(_with_vocal_tract(levels, dice), dice)
        # A microphone's own noise fills the valleys, at a varying distance below the loudest level.
        dynamic_range = torch.where(dice.chance(0.7), math.inf, dice.between(60, 140)).unsqueeze(2)
        return _masked(normalize(_raised(levels, dynamic_range)), dice)

    def spectrogram(self, sound: Tensor) -> Tensor:
        """The front end's levels in dB, in single precision: shape [n, samples] → [n, frames, 232]."""
        spectrum = torch.fft.rfft(sound.unfold(1, FFT_SIZE, HOP) * self._blackman)[..., :BINS]
        power = spectrum.real.square() + spectrum.imag.square()
        return 10 * torch.log10(power.clamp(min=10 ** (FLOOR_DB / 10)))

    def _placed(self, clips: Tensor, lengths: Tensor, dice: _Dice) -> Tensor:
        """Each clip at a different speed, somewhere in its window."""
        speed = torch.exp(dice.strength * dice.between(math.log(0.85), math.log(1.2)))
        slack = (WINDOW_SAMPLES - lengths.unsqueeze(1) / speed) / 2
        shift = dice.between(-1, 1) * slack.clamp(min=0.12 * SAMPLE_RATE)
        time = torch.arange(WINDOW_SAMPLES, device=self._device) - WINDOW_SAMPLES / 2
        position = (time - shift) * speed + CLIP_SAMPLES / 2
        inside = (position >= 0) & (position <= CLIP_SAMPLES - 2)
        position = position.clamp(0, CLIP_SAMPLES - 2)
        before = position.long()
        share = position - before
        return (clips.gather(1, before) * (1 - share) + clips.gather(1, before + 1) * share) * inside

    def _in_a_room(self, speech: Tensor, dice: _Dice) -> Tensor:
        """Some of the clips with an echo: noise that decays exponentially, by 60 dB in the reverberation time."""
        rows = dice.sometimes(0.25).squeeze(1).nonzero().squeeze(1)
        if len(rows) == 0:
            return speech
        reverberation = dice.between(0.1, 0.6)[rows]
        time = torch.arange(SAMPLE_RATE // 3, device=self._device) / SAMPLE_RATE
        echo = dice.normal(len(rows), len(time)) * torch.exp(-math.log(1000) * time / reverberation)
        echo *= 10 ** (dice.between(-15, 0)[rows] / 20) / echo.square().sum(1, keepdim=True).sqrt()
        echo[:, 0] = 1
        wet = torch.fft.irfft(torch.fft.rfft(speech[rows], ROOM_FFT) * torch.fft.rfft(echo, ROOM_FFT), ROOM_FFT)
        return speech.index_copy(0, rows, wet[:, :WINDOW_SAMPLES])

    def _with_noise(self, speech: Tensor, lengths: Tensor, dice: _Dice) -> Tensor:
        """Add noise from −5 to 40 dB below the speech, or none; where there is no speech, there is only noise."""
        noise = self._recorded_noise(dice)
        rows = dice.chance(0.4).squeeze(1).nonzero().squeeze(1)
        if len(rows) > 0:
            noise = noise.index_copy(0, rows, self._made_noise(rows, dice))
        power = speech.reshape(-1, FRAMES + 1, HOP).square().mean(2)
        is_active = power > power.amax(1, keepdim=True) * 0.05
        level = ((power * is_active).sum(1) / is_active.sum(1).clamp(min=1)).sqrt().unsqueeze(1)
        ratio = torch.where(dice.chance(0.15), dice.between(-5, 10), dice.between(5, 40))
        gain = level * 10 ** (-ratio / 20) * dice.sometimes(0.85)
        return torch.where(lengths.unsqueeze(1) == 0, noise * dice.chance(0.97), speech + gain * noise)

    def _recorded_noise(self, dice: _Dice) -> Tensor:
        starts = (dice.between(0, 1).squeeze(1) * (len(self._noise) - WINDOW_SAMPLES)).long()
        return _scaled(self._noise.unfold(0, WINDOW_SAMPLES, 1)[starts].float())

    def _made_noise(self, rows: Tensor, dice: _Dice) -> Tensor:
        """Noise of any colour, f^−a, which may swell and fall, with up to two tones."""
        bins = WINDOW_SAMPLES // 2 + 1
        colour = torch.arange(1, bins + 1, device=self._device) ** (-dice.between(-0.5, 2.5)[rows] / 2)
        spectrum = torch.complex(dice.normal(len(rows), bins), dice.normal(len(rows), bins)) * colour
        noise = _scaled(torch.fft.irfft(spectrum, WINDOW_SAMPLES))
        swell = torch.nn.functional.interpolate(dice.normal(len(rows), 1, 8), WINDOW_SAMPLES, mode="linear").squeeze(1)
        noise = noise * torch.exp(swell * (dice.between(-1, 1.2)[rows]).clamp(min=0))
        time = torch.arange(WINDOW_SAMPLES, device=self._device) / SAMPLE_RATE
        for chance in (0.25, 0.1):
            pitch = torch.exp(dice.between(math.log(60), math.log(5_000)))[rows]
            glide = 1 + dice.between(-0.2, 0.2)[rows] * time
            loudness = 10 ** (dice.between(-20, 20)[rows] / 20) * dice.chance(chance)[rows]
            noise = noise + loudness * torch.sin(2 * math.pi * pitch * glide * time)
        return _scaled(noise)


def normalize(levels: Tensor) -> Tensor:
    """`metadata.FlooredNormalization` for tensors: shape [n, frames, bins], each window with mean 0 and deviation 1."""
    is_silent = levels.amax(2, keepdim=True) <= SILENT_DB
    heard = torch.where(is_silent, _raised(levels, SILENCE_RANGE), levels)
    return _standardized(_standardized(heard).clamp(min=-FLOOR))


def _raised(levels: Tensor, dynamic_range: Tensor | float) -> Tensor:
    return torch.maximum(levels, levels.amax((1, 2), keepdim=True) - dynamic_range)


def _standardized(levels: Tensor) -> Tensor:
    centred = levels - levels.mean((1, 2), keepdim=True)
    return centred / (centred.square().mean((1, 2), keepdim=True).sqrt() + EPSILON)


def _with_vocal_tract(levels: Tensor, dice: _Dice) -> Tensor:
    """Half of the windows with the frequency axis stretched, as by a shorter or longer vocal tract."""
    stretch = torch.where(dice.sometimes(0.5), dice.between(0.88, 1.14), 1.0)
    position = (torch.arange(BINS, device=levels.device) * stretch).clamp(max=BINS - 1.01)
    before = position.long().unsqueeze(1).expand(-1, levels.shape[1], -1)
    share = (position - position.floor()).unsqueeze(1)
    return levels.gather(2, before) * (1 - share) + levels.gather(2, before + 1) * share


def _with_response(levels: Tensor, dice: _Dice) -> Tensor:
    """A microphone's frequency response: some dB up and down, with an upper and a lower limit."""
    bins = torch.arange(BINS, device=levels.device)
    curve = torch.nn.functional.interpolate(dice.normal(len(levels), 1, 8), BINS, mode="linear").squeeze(1)
    response = dice.strength * curve * dice.between(0, 6)
    above = (bins - dice.between(140, BINS)).clamp(min=0) * torch.exp(dice.between(math.log(1), math.log(20)))
    below = (dice.between(3, 20) - bins).clamp(min=0) * dice.between(0.5, 4)
    response = response - above * dice.sometimes(0.25) - below * dice.sometimes(0.2)
    return (levels + response.unsqueeze(1)).clamp(min=FLOOR_DB)


def _masked(windows: Tensor, dice: _Dice) -> Tensor:
    for axis, count, longest in ((1, FRAMES, 8), (2, BINS, 40)):
        length = dice.between(0, longest)
        start = dice.between(0, 1) * (count - length)
        index = torch.arange(count, device=windows.device)
        is_hidden = (index >= start) & (index < start + length) & dice.sometimes(0.4)
        windows = windows.masked_fill(is_hidden.unsqueeze(3 - axis), 0.0)
    return windows


def _scaled(sound: Tensor) -> Tensor:
    return sound / (sound.square().mean(1, keepdim=True).sqrt() + 1e-4)


class _Dice:
    """Random numbers for n rows, each of shape [n, 1]."""

    def __init__(self, rows: int, random: torch.Generator, device: torch.device, strength: float) -> None:
        self._rows, self._random, self._device = rows, random, device
        self.strength = strength

    def between(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self._rows, 1, generator=self._random, device=self._device)

    def chance(self, share: float) -> Tensor:
        return self.between(0, 1) < share

    def sometimes(self, share: float) -> Tensor:
        """Which rows are chosen, with a chance that grows with the strength."""
        return self.chance(share * self.strength)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._random, device=self._device)
