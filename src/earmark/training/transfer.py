"""Transfer learning: from recordings and a base to a recognizer.

A base's embedding is computed once for each window of each recording, and cached. The head that is trained on it is
small.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import soxr

from earmark.audio.clip import Clip, read_clip
from earmark.clips.folders import ClipFile, content_hash
from earmark.errors import EarmarkError
from earmark.front_end.examples import cut_shifted, cut_windows
from earmark.front_end.frames import SPECTROGRAM
from earmark.front_end.recordings import Recording, SoundlessClip, read_recording, spectrogram_of
from earmark.front_end.spectrogram import FLOOR_DB, Spectrogram
from earmark.labels import RESERVED_LABELS
from earmark.models.ear_embedding import EAR, other_sounds
from earmark.models.metadata import LONGEST_WORD_MS, Metadata
from earmark.models.network import Network
from earmark.storage.user_folders import user_cache
from earmark.training.embedding_cache import EmbeddingCache, cache_key
from earmark.training.open_set import far_from, synthesise_noise, unknown_words

if TYPE_CHECKING:
    from earmark.models.onnx_writer import Dense
    from earmark.progress import Report
    from earmark.training.heads import HeadOptions
    from earmark.training.sound_network import Epoch

Array = npt.NDArray[np.float32]

NOISE, UNKNOWN = RESERVED_LABELS
SYNTHESISED_NOISES = 200
MORE_THAN_A_WORD = 1.5  # windows per recording, on average
# Seconds by which unknown words are shifted: in a stream they lie anywhere in a window, taught words mostly in the
# middle.
SHIFTS = (-0.4, -0.2, 0.0, 0.2, 0.4)
CUTTING = 1  # increase this whenever windows are cut or noise is made in another way: the cache is stale then
THREADS = min(4, os.cpu_count() or 1)

_made: dict[str, Array] = {}  # this process's embeddings of the clips that come with Earmark


@dataclass(frozen=True)
class TaughtClip:
    """A recording to learn from, and the frame of its spectrogram where the word is; None means where it is loudest."""

    file: ClipFile
    key_frame: int | None = None


@dataclass(frozen=True)
class TransferOptions:
    """How recordings become examples, under speech-commands' names.

    Attributes:
        validation_split: the share of each label's recordings that is held out, in [0, 1).
        window_hop_ratio: see `cut_windows`.
        augment_by_mixing_noise_ratio: the strength of the noise relative to the word, in (0, 1]. Each word is used a
            second time, mixed with recordings of `_background_noise_`, or with synthesised noise if there are none.
        open_set: whether `_background_noise_` and `_unknown_` are learnt, too, from synthesised noise and from words
            that come with Earmark, in addition to what was recorded for them.
        seed: the random seed for the split and the noise.

    Raises:
        EarmarkError: a value is out of its range.
    """

    validation_split: float = 0.0
    window_hop_ratio: float | None = None
    augment_by_mixing_noise_ratio: float | None = None
    open_set: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.validation_split < 1:
            raise EarmarkError(f"validation_split is {self.validation_split}: it must be at least 0 and less than 1.")
        if self.window_hop_ratio is not None and not 0 < self.window_hop_ratio <= 1:
            raise EarmarkError(f"window_hop_ratio is {self.window_hop_ratio}: it must be more than 0 and at most 1.")
        ratio = self.augment_by_mixing_noise_ratio
        if ratio is not None and not 0 < ratio <= 1:
            raise EarmarkError(f"augment_by_mixing_noise_ratio is {ratio}: it must be more than 0 and at most 1.")


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        model: the ONNX file's content.
        history: the epochs.
        labels: the model's labels; `_background_noise_` and `_unknown_` come last if they were added.
        examples: how many windows were learnt from or held out, not counting those for the open set.
        options: the options of the training, for the model's card.
        hears_words: whether its recordings are single words, or as short as words.
        hint: a sentence on another base that would hear such recordings better, if there is one.
    """

    model: bytes
    history: list[Epoch]
    labels: tuple[str, ...]
    examples: int
    options: dict[str, Any]
    hears_words: bool = False
    hint: str | None = None


@dataclass
class _Gathered:
    features: list[Array] = field(default_factory=list)
    targets: list[npt.NDArray[np.int64]] = field(default_factory=list)
    is_validation: list[npt.NDArray[np.bool_]] = field(default_factory=list)

    def add(self, features: Array, target: int, is_validation: bool = False) -> None:
        self.features.append(features)
        self.targets.append(np.full(len(features), target, np.int64))
        self.is_validation.append(np.full(len(features), is_validation, np.bool_))


def train_transfer(
    base: Network,
    clips: Sequence[TaughtClip],
    labels: tuple[str, ...],
    options: TransferOptions,
    head_options: HeadOptions,
    *,
    name: str,
    cache: EmbeddingCache,
    report: Report | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Trained:
    """Train a head on a base.

    Args:
        base: a network with an embedding.
        clips: the recordings to learn from.
        labels: the clips' labels, in order.
        options, head_options: how to train.
        name: the new model's name.
        cache: the cache of embeddings.
        report: called with the progress, as (what, done, of how many).
        on_epoch: called after each epoch.

    Raises:
        EarmarkError: there are no clips, or one can't be read; an option is out of range; the base has no embedding, or
            none that can be fine-tuned although fine-tuning was requested; or it needs sound that one of the clips no
            longer has.
    """
    from earmark.models.head_on_base import transfer_model, tunable_model
    from earmark.training.heads import HeadExamples, train_head

    base.check_embedding()
    if not clips:
        raise EarmarkError("There are no recordings to train on: record some first.")
    check_sound(base, clips)
    network, tuned = base, None
    if head_options.fine_tuning_epochs:
        tunable = tunable_model(base.content, base.metadata)
        if tunable is None:
            raise EarmarkError(f"The base {base.metadata.name} can't be fine-tuned: leave out fine_tuning_epochs.")
        network, tuned = Network(tunable[0], base.metadata.name), tunable[1]
    embedder = Embedder(network, cache)
    all_labels = (*labels, *(label for label in RESERVED_LABELS if options.open_set and label not in labels))
    gathered = _gather(embedder, clips, all_labels, options, report)
    examples = sum(map(len, gathered.targets))
    if options.open_set:
        _add_open_set(embedder, gathered, all_labels, tuned)
    learnt_from = HeadExamples(
        np.concatenate(gathered.features), np.concatenate(gathered.targets),
        np.concatenate(gathered.is_validation), np.arange(sum(map(len, gathered.targets))) >= examples,
    )  # fmt: skip
    head, history = train_head(learnt_from, all_labels, head_options, tuned=tuned, on_epoch=on_epoch)
    hears_words = _are_words(gathered, clips, options)
    metadata = Metadata(
        name, all_labels, base.metadata.window_frames, base.metadata.normalization, base.front_end,
        LONGEST_WORD_MS if hears_words else None, None, base.metadata.hop_frames,
        base.metadata.averages_clips, base.metadata.tflite,
    )  # fmt: skip
    used = {**asdict(options), **asdict(head_options)}
    return Trained(transfer_model(base.content, head, metadata), history, all_labels, examples, used, hears_words)


def check_sound(base: Network, clips: Sequence[TaughtClip]) -> None:
    """Refuse recordings of which only the spectrogram is left, if the base needs the sound itself.

    Raises:
        EarmarkError: one of the clips is such a recording.
    """
    soundless = next((clip.file.path for clip in clips if not clip.file.has_sound), None)
    if soundless is not None and base.front_end is not SPECTROGRAM:
        raise EarmarkError(
            f"{soundless.parent.name}/{soundless.name} has no sound, only its spectrogram, and the base "
            f"{base.metadata.name} hears sound: train on the base words (`earmark train … --base words`)."
        )


def _gather(
    embedder: Embedder,
    clips: Sequence[TaughtClip],
    labels: tuple[str, ...],
    options: TransferOptions,
    report: Report | None,
) -> _Gathered:
    gathered = _Gathered()
    kept_aside = _split(clips, options)
    plans = [_Plan(clip, options.window_hop_ratio) for clip in clips]
    if options.augment_by_mixing_noise_ratio is not None:
        learnt = [clip for clip, is_kept_aside in zip(clips, kept_aside, strict=True) if not is_kept_aside]
        noises = [clip.file for clip in learnt if clip.file.label == NOISE]
        mixed = [_mixed_plan(clip, noises, options) for clip in learnt if clip.file.label != NOISE]
        plans += mixed
        kept_aside += [False] * len(mixed)
    for plan, features, is_kept_aside in zip(plans, embedder.embed(plans, report), kept_aside, strict=True):
        gathered.add(features, labels.index(plan.clip.file.label), is_kept_aside)
    return gathered


def _are_words(gathered: _Gathered, clips: Sequence[TaughtClip], options: TransferOptions) -> bool:
    """Whether the recordings are single words, or as short as words: they seldom give more than one window each."""
    windows = [
        len(targets)
        for clip, targets in zip(clips, gathered.targets, strict=False)  # those mixed with noise come after them
        if clip.file.label not in RESERVED_LABELS
    ]
    return options.window_hop_ratio is None and float(np.mean(windows or [0])) < MORE_THAN_A_WORD


def _split(clips: Sequence[TaughtClip], options: TransferOptions) -> list[bool]:
    """Which recordings are held out: the same share of each label, but never all."""
    random = np.random.default_rng(options.seed)
    kept = [False] * len(clips)
    for label in sorted({clip.file.label for clip in clips}):
        own = [index for index, clip in enumerate(clips) if clip.file.label == label]
        count = min(round(options.validation_split * len(own)), len(own) - 1)
        if options.validation_split and len(own) > 1:
            count = max(1, count)
        for index in random.permutation(own)[:count]:
            kept[index] = True
    return kept


def _add_open_set(embedder: Embedder, gathered: _Gathered, labels: tuple[str, ...], tuned: Dense | None) -> None:
    """Add noise, unknown words and, for the base `ear`, other sounds, except what may be among the labels."""
    noise, unknown = embedder.noises(), embedder.words(SHIFTS)
    others = other_sounds() if embedder.network.metadata.name == EAR else noise[:0]
    learnt = ~np.concatenate(gathered.is_validation)
    features, targets = np.concatenate(gathered.features)[learnt], np.concatenate(gathered.targets)[learnt]
    middles = unknown[:, len(SHIFTS) // 2]
    if tuned is not None:  # then features are the input of the base's last layer
        middles, features = (np.maximum(values @ tuned.kernel.T + tuned.bias, 0) for values in (middles, features))
    is_free, is_other = np.ones(len(unknown), np.bool_), np.ones(len(others), np.bool_)
    for number in np.unique(targets):
        if labels[number] not in RESERVED_LABELS:
            is_free &= far_from(middles, features[targets == number])
            if len(others):
                is_other &= far_from(others, features[targets == number])
    gathered.add(np.concatenate((noise, others[is_other])), labels.index(NOISE))
    gathered.add(unknown[is_free].reshape(-1, noise.shape[1]), labels.index(UNKNOWN))


@dataclass(frozen=True)
class _Plan:
    """A recording, and how windows are cut from it, with or without noise mixed in."""

    clip: TaughtClip
    window_hop_ratio: float | None
    # The noise's strength, a seed, and the noise; None means synthesised noise.
    mixed: tuple[float, int, ClipFile | None] | None = None

    def key(self) -> str:
        """A key that changes when anything changes that the windows are made from."""
        file = self.clip.file
        noise = None if self.mixed is None else (*self.mixed[:2], self.mixed[2] and _identity(self.mixed[2]))
        is_noise = file.label == NOISE
        return cache_key(CUTTING, _identity(file), is_noise, self.clip.key_frame, self.window_hop_ratio, noise)

    def windows(self, network: Network) -> Array:
        file = self.clip.file
        recording = read_recording(file.path, file.path.name)
        if self.mixed is not None:
            recording = _mix_recording(recording, *self.mixed)
        return cut_windows(
            recording, network.metadata.window_frames, network.front_end,
            key_frame=self.clip.key_frame, everywhere=file.label == NOISE, goes_on=network.metadata.averages_clips,
            window_hop_ratio=self.window_hop_ratio,
        )  # fmt: skip


class Embedder:
    """Computes a base's embeddings of recordings.

    Args:
        network: the base.
        cache: the cache of embeddings.
    """

    def __init__(self, network: Network, cache: EmbeddingCache) -> None:
        self.network, self._cache = network, cache
        self._name = hashlib.sha256(network.content).hexdigest()

    def embed(self, plans: Sequence[_Plan], report: Report | None = None) -> Iterator[Array]:
        """Each recording's embeddings, shape [windows, values], in order, whether cached or new."""
        keys = [cache_key(self._name, plan.key()) for plan in plans]
        known = self._cache.get(keys)
        new = {key: plan for key, plan in zip(keys, plans, strict=True) if key not in known}
        self._cache.put({}, known)
        done = 0
        with ThreadPoolExecutor(THREADS) as pool:
            todo = iter(new.items())
            # A few at a time, so that windows don't pile up, and finished work is kept if the training is stopped.
            while part := list(islice(todo, 16 * THREADS)):
                values = pool.map(self._embed_plan, (plan for _, plan in part))
                computed = dict(zip((key for key, _ in part), values, strict=True))
                self._cache.put(computed)
                known |= computed
                done += len(part)
                if report is not None:
                    report("Listening to the recordings", done, len(new))
        return (known[key] for key in keys)

    def embed_clips(self, clips: Sequence[TaughtClip], report: Report | None = None) -> Iterator[Array]:
        """As `embed`, for recordings whose windows are cut as `TransferOptions` does by default."""
        return self.embed([_Plan(clip, None) for clip in clips], report)

    def noises(self) -> Array:
        """Embeddings of the noises that come with Earmark, shape [noises, values]."""
        seconds = self.network.front_end.seconds_of(self.network.metadata.window_frames)
        return self.embed_made("noise", lambda: synthesise_noise(SYNTHESISED_NOISES, seconds))

    def words(self, shifts: tuple[float, ...] = (0.0,)) -> Array:
        """Embeddings of the words that come with Earmark, shape [words, shifts, values]; see `cut_shifted`."""
        values = self.embed_made("unknown words", unknown_words, shifts)
        return values.reshape(-1, len(shifts), values.shape[1])

    def embed_made(self, what: str, make: Callable[[], Iterable[Clip]], shifts: tuple[float, ...] = (0.0,)) -> Array:
        """Embeddings of clips that come with Earmark, one window per shift, cached for all of the user's projects."""
        folder = user_cache()
        cache = EmbeddingCache(None if folder is None else folder / "embeddings.sqlite")
        key = cache_key(self._name, CUTTING, what, shifts)
        known = _made if key in _made else cache.get([key])
        if key not in known:
            frames, front_end = self.network.metadata.window_frames, self.network.front_end
            embedded = [self.network.embed_windows(cut_shifted(clip, frames, front_end, shifts)) for clip in make()]
            known = {key: np.concatenate(embedded)}
            cache.put(known)
        # An evaluation needs it once for each fold, and there may be no folder to keep it in.
        _made[key] = known[key]
        return known[key]

    def _embed_plan(self, plan: _Plan) -> Array:
        return self.network.embed_windows(plan.windows(self.network))


def _mixed_plan(clip: TaughtClip, noises: Sequence[ClipFile], options: TransferOptions) -> _Plan:
    assert options.augment_by_mixing_noise_ratio is not None
    number = int.from_bytes(hashlib.sha256(f"{options.seed} {content_hash(clip.file)}".encode()).digest()[:4], "big")
    noise = noises[number % len(noises)] if noises else None
    return _Plan(clip, options.window_hop_ratio, (options.augment_by_mixing_noise_ratio, number, noise))


def _mix_recording(recording: Recording, ratio: float, seed: int, noise: ClipFile | None) -> Recording:
    """The recording mixed with a part of the noise: as sound or, if one of the two has none, as spectrograms."""
    if isinstance(recording, Clip) and (noise is None or noise.has_sound):
        return _mix(recording, ratio, seed, noise)
    if noise is None:
        (sound,) = synthesise_noise(1, recording.seconds, seed=seed)
        levels = spectrogram_of(sound)
    else:
        levels = spectrogram_of(read_recording(noise.path, noise.path.name))
    return SoundlessClip(_mix_levels(spectrogram_of(recording), levels, ratio, seed))


def _mix_levels(levels: Spectrogram, noise: Spectrogram, ratio: float, seed: int) -> Spectrogram:
    """Levels in dB mixed with a part of the noise's. The powers add up, as they do on average for unrelated sounds.

    The noise's loudest frame is `ratio` times as strong as the recording's, in amplitude.
    """
    start = seed % max(1, len(noise) - len(levels) + 1)
    power, added = _power(levels), _power(noise[start : start + len(levels)])
    added = np.resize(added - _power(np.float32(FLOOR_DB)), power.shape)  # digital silence adds nothing
    loudest = added.sum(axis=1).max(initial=0)
    if loudest > 0:
        power += added * (ratio**2 * power.sum(axis=1).max(initial=0) / loudest)
    return (10 * np.log10(power)).astype(np.float32)


def _power(levels: Spectrogram | np.float32) -> npt.NDArray[np.float64]:
    return np.power(10, levels / 10, dtype=np.float64)


def _mix(clip: Clip, ratio: float, seed: int, noise: ClipFile | None) -> Clip:
    """The clip mixed with a part of the noise, which at its loudest is `ratio` times as strong as the clip."""
    if noise is None:
        (sound,) = synthesise_noise(1, clip.seconds, seed=seed)
    else:
        sound = read_clip(noise.path, noise.path.name)
    samples = sound.samples
    if sound.sample_rate != clip.sample_rate:
        samples = soxr.resample(samples, sound.sample_rate, clip.sample_rate)
    start = seed % max(1, len(samples) - len(clip.samples) + 1)
    part = np.resize(samples[start : start + len(clip.samples)], len(clip.samples))
    highest = float(np.abs(part).max(initial=0))
    if highest > 0:
        part = part * np.float32(ratio * float(np.abs(clip.samples).max()) / highest)
    return Clip(np.clip(clip.samples + part, -1, 1).astype(np.float32), clip.sample_rate)


def _identity(file: ClipFile) -> tuple[str, tuple[int, int]]:
    return file.id, file.state
