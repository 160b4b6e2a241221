"""The data for pretraining: recordings and noise in memory, spliced words, and the teacher's embedding of each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import soxr

from earmark.clips.corpus import CLIP_SAMPLES, NOISE, CorpusRecording, hash_recordings, read_sounds, read_words
from earmark.errors import EarmarkError
from earmark.front_end.frames import WAVEFORM_RATE as TEACHER_RATE
from earmark.front_end.spectrogram import HOP, SAMPLE_RATE
from earmark.labels import RESERVED_LABELS
from earmark.models.speech_embedding import VALUES, find_networks
from earmark.storage.files import make_folder

if TYPE_CHECKING:
    from earmark.progress import Report

BACKGROUND, UNKNOWN = RESERVED_LABELS
SPLICED = "spliced"  # the source of words put together from the halves of two
SPLICE_SHARE = 0.2  # how many, per recording
CROSSFADE = 441  # samples, 10 ms
LEAST_NOISE = 1.5  # seconds; a window lasts 1.02
TEACHER_VALUES = 2 * VALUES  # mean and maximum over time
TEACHER_SECONDS = 1.03  # of each clip, so that it makes four embeddings
JUDGED_A_LABEL = 0.5  # a splice that the teacher takes for a label is none of another word
NOT_UNDERSTOOD = 0.02  # a recording that the teacher gives less for its own label is left out

Sound = npt.NDArray[np.int16]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PretrainingData:
    """Everything that pretraining draws from.

    Attributes:
        labels: `_background_noise_`, `_unknown_`, then the labels in alphabetical order.
        words: all words in the recordings.
        hash: SHA-256 of the recordings.
        samples: all clips at 44.1 kHz, one after the other.
        starts, lengths: each clip's position in the samples, shape [clips].
        targets: each clip's label, as an index.
        word_ids: each clip's word, as an index; −1 for a splice.
        sources: each clip's data set.
        teacher: each clip's standardized speech embedding, shape [clips, 192]; zeros if it has none.
        training, validation: the clips of each split, as indices.
        noise: all noise at 44.1 kHz, one after the other.
        left_out: training recordings that the teacher didn't understand.
    """

    labels: tuple[str, ...]
    words: tuple[str, ...]
    hash: str
    samples: Sound
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    word_ids: npt.NDArray[np.int64]
    sources: npt.NDArray[np.str_]
    teacher: Values
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    noise: Sound
    left_out: int

    def draw(self, random: np.random.Generator, count: int, background: float, unknown: float) -> npt.NDArray[np.int64]:
        """Draw clips to learn from, as indices; −1 stands for noise.

        Args:
            count: how many clips to draw.
            background, unknown: the shares of the two reserved labels; the other labels share the rest equally. Within
                a label, a data set is weighted by the square root of its size, so that small ones are drawn, too.
        """
        known = (1 - background - unknown) / (len(self.labels) - 2)
        shares = np.array([background, unknown, *[known] * (len(self.labels) - 2)])
        labels = random.choice(len(self.labels), count, p=shares / shares.sum())
        drawn = np.full(count, -1, np.int64)
        for label, (clips, weights) in self._pools.items():
            places = np.flatnonzero(labels == label)
            drawn[places] = random.choice(clips, len(places), p=weights)
        return drawn

    def batch(self, clips: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], ...]:
        """The clips, each in the middle of a row of 1.5 s, with their lengths, targets, words and embeddings."""
        rows = np.zeros((len(clips), CLIP_SAMPLES), np.int16)
        is_noise = clips < 0
        lengths = np.where(is_noise, 0, self.lengths[clips])
        for row, clip, length in zip(rows, clips, lengths, strict=True):
            before = (CLIP_SAMPLES - length) // 2
            row[before : before + length] = self.samples[self.starts[clip] : self.starts[clip] + length]
        targets = np.where(is_noise, self.labels.index(BACKGROUND), self.targets[clips])
        words = np.where(is_noise, -1, self.word_ids[clips])
        teacher = np.where(is_noise[:, np.newaxis], np.float32(0), self.teacher[clips])
        return rows, lengths, targets, words, teacher

    @cached_property
    def _pools(self) -> dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Each label's training clips, and how likely each is to be drawn."""
        pools = {}
        for label in np.unique(self.targets[self.training]):
            clips = self.training[self.targets[self.training] == label]
            _, source, counts = np.unique(self.sources[clips], return_inverse=True, return_counts=True)
            weights = 1 / np.sqrt(counts[source])
            pools[int(label)] = (clips, weights / weights.sum())
        return pools


def prepare(
    recordings: list[CorpusRecording],
    words: tuple[str, ...],
    cache_folder: Path,
    *,
    teacher: bool,
    seed: int,
    report: Report,
) -> PretrainingData:
    """Read the recordings, splice words and run the teacher; or read what an earlier call has stored.

    Args:
        recordings: the recordings of words and of noise, of all splits; those of the split `test` are not read.
        words: the words that become labels.
        cache_folder: the folder where the result is stored.
        teacher: whether to learn from the speech embedding, too.
        seed: the random seed for the splices.
        report: called with the progress.

    Raises:
        EarmarkError: a recording can't be read, a label has no recordings, there is too little noise or nothing to
            reject, or the folder can't be written to.
    """
    used = [recording for recording in recordings if recording.split != "test"]
    labels = (BACKGROUND, UNKNOWN, *sorted(words))
    _check(used, labels)
    content = hash_recordings(used)
    file = cache_folder / f"data-{content[:16]}-{seed}{'' if teacher else '-untaught'}.npz"
    if not file.exists():
        make_folder(cache_folder)
        if teacher:
            find_networks()  # before an hour of reading
        _keep(_prepare(used, labels, content, teacher, seed, report), file)
    try:
        with np.load(file, allow_pickle=False) as kept:
            values = {name: kept[name] for name in kept.files}
    except Exception as error:  # np.load has no common error for a damaged file
        raise EarmarkError(f"{file} can't be read: delete it to have it made anew.") from error
    if tuple(values["labels"]) != labels:
        raise EarmarkError(f"{file} was made for other labels: choose another folder.")
    for name in ("labels", "words"):
        values[name] = tuple(str(name) for name in values[name])
    return PretrainingData(**{**values, "hash": str(values["hash"]), "left_out": int(values["left_out"])})


def _check(recordings: list[CorpusRecording], labels: tuple[str, ...]) -> None:
    have = {recording.word for recording in recordings if recording.split == "train"}
    missing = [label for label in labels[2:] if label not in have]
    if missing:
        raise EarmarkError(f"There are no recordings of {', '.join(missing)}: add some, or choose --labels.")
    others = have - {NOISE, *labels[2:]}
    if not others and not _speakers(recordings):  # the words are enough where splices can be made of them
        raise _no_others()
    if NOISE not in have:
        raise EarmarkError(f"There is no noise: add recordings in a folder {NOISE}, or name them with --noise.")


def _no_others() -> EarmarkError:
    return EarmarkError(f"There are no recordings of other words, to be rejected: add some, or a folder {UNKNOWN}.")


def _keep(values: dict[str, Any], file: Path) -> None:
    aside = file.with_name("data.part.npz")
    try:
        np.savez(aside, **values)
        os.replace(aside, file)  # noqa: PTH105 (Path.replace is the same)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise EarmarkError(f"{file} can't be written ({error.strerror}): free some space.") from error


def _prepare(
    recordings: list[CorpusRecording], labels: tuple[str, ...], content: str, teacher: bool, seed: int, report: Report
) -> dict[str, Any]:
    noises = [recording for recording in recordings if recording.word == NOISE and recording.split == "train"]
    spoken = [recording for recording in recordings if recording.word != NOISE]
    noise = np.concatenate(list(_reported(read_sounds(noises), "Reading noise", len(noises), report)))
    if len(noise) < LEAST_NOISE * SAMPLE_RATE:
        raise EarmarkError(f"The noise lasts {len(noise) / SAMPLE_RATE:.1f} s: add more of it, minutes if you can.")
    clips = list(_reported(read_words(spoken), "Reading words", len(spoken), report))
    words = sorted({recording.word for recording in spoken if recording.split == "train"})
    index = {word: number for number, word in enumerate(words)}
    targets = [labels.index(recording.word if recording.word in labels else UNKNOWN) for recording in spoken]
    word_ids = [index.get(recording.word, -1) for recording in spoken]
    sources = [recording.source for recording in spoken]
    is_training = [recording.split == "train" for recording in spoken]

    spliced = _splice(spoken, clips, np.random.default_rng(seed))
    clips += spliced
    targets += [labels.index(UNKNOWN)] * len(spliced)
    word_ids += [-1] * len(spliced)
    sources += [SPLICED] * len(spliced)
    is_training += [True] * len(spliced)

    training = np.flatnonzero(is_training)
    if labels.index(UNKNOWN) not in {targets[clip] for clip in training}:
        raise _no_others()
    embeddings = np.zeros((len(clips), TEACHER_VALUES), np.float32)
    left_out = 0
    if teacher:
        heard = _reported(ask_teacher([clips[clip] for clip in training]), "Asking the teacher", len(training), report)
        embeddings[training] = np.stack(list(heard))
        embeddings[training] -= embeddings[training].mean(axis=0)
        embeddings[training] /= embeddings[training].std(axis=0) + 1e-6
        is_clear = _judge(embeddings[training], np.array(targets)[training], np.array(sources)[training], len(labels))
        left_out = int(np.sum(~is_clear & (np.array(sources)[training] != SPLICED)))
        training = training[is_clear]
        _check_understood(labels, {targets[clip] for clip in training})
    lengths = np.array([len(clip) for clip in clips])
    return {
        "labels": np.array(labels),
        "words": np.array(words),
        "hash": content,
        "samples": np.concatenate(clips),
        "starts": np.cumsum(lengths) - lengths,
        "lengths": lengths,
        "targets": np.array(targets),
        "word_ids": np.array(word_ids),
        "sources": np.array(sources),
        "teacher": embeddings,
        "training": training,
        "validation": np.flatnonzero(~np.array(is_training)),
        "noise": noise,
        "left_out": left_out,
    }


def _check_understood(labels: tuple[str, ...], understood: set[int]) -> None:
    lost = [label for target, label in enumerate(labels[1:], 1) if target not in understood]
    if lost:
        raise EarmarkError(f"The teacher understands no recording of {', '.join(lost)}: choose --no-teacher.")


def _reported(items: Iterator[Any], what: str, count: int, report: Report) -> Iterator[Any]:
    for number, item in enumerate(items, 1):
        report(what, number, count)
        yield item


def _splice(recordings: list[CorpusRecording], clips: list[Sound], random: np.random.Generator) -> list[Sound]:
    """Words that don't exist: the first half of one word and the second half of another, by the same speaker.

    They sound like real recordings and contain the labels' own sounds, so a part of a word isn't enough to recognize
    it. File names tell the speakers.
    """
    speakers = _speakers(recordings)
    if not speakers:
        return []
    chances = np.array([len(spoken) for spoken in speakers], float)
    spliced = []
    for speaker in random.choice(len(speakers), int(SPLICE_SHARE * len(recordings)), p=chances / chances.sum()):
        first, second = random.choice(speakers[speaker], 2, replace=False)
        if recordings[first].word != recordings[second].word:
            spliced.append(_join(clips[first], clips[second]))
    return spliced


def _speakers(recordings: list[CorpusRecording]) -> list[list[int]]:
    """The training recordings of each speaker who says more than one word, as indices."""
    by_speaker: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, recording in enumerate(recordings):
        if recording.split == "train" and recording.word != NOISE:
            by_speaker[recording.source, recording.speaker].append(number)
    return [spoken for spoken in by_speaker.values() if len({recordings[one].word for one in spoken}) > 1]


def _join(first: Sound, second: Sound) -> Sound:
    """The first clip up to the middle of its word, then the second one from the middle of its own."""
    head, tail = first[: _middle(first)].astype(np.float32), second[_middle(second) :].astype(np.float32)
    fade = min(CROSSFADE, len(head), len(tail))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    joined = head[len(head) - fade :] * (1 - ramp) + tail[:fade] * ramp
    return np.concatenate((head[: len(head) - fade], joined, tail[fade:])).astype(np.int16)[:CLIP_SAMPLES]


def _middle(clip: Sound) -> int:
    """The sample at the middle of the time that the word takes."""
    hops = clip[: len(clip) // HOP * HOP].reshape(-1, HOP).astype(np.float64)
    power = np.square(hops).mean(axis=1)
    active = np.flatnonzero(power > 0.05 * power.max(initial=0))
    return int(np.median(active) + 1) * HOP if len(active) else len(clip) // 2


def ask_teacher(clips: list[Sound]) -> Iterator[Values]:
    """The speech embedding of each clip's middle second, shape [192], at equal loudness; on all cores."""
    with ProcessPoolExecutor() as pool:
        yield from pool.map(_embed_one, clips, chunksize=64)


def _embed_one(clip: Sound) -> Values:
    embedding = _teacher()
    samples = soxr.resample(clip.astype(np.float32) / 32_768, SAMPLE_RATE, TEACHER_RATE)
    samples /= np.abs(samples).max(initial=1e-4) * 2
    wanted = round(TEACHER_SECONDS * TEACHER_RATE)
    missing = max(0, wanted - len(samples))
    samples = np.pad(samples, (missing // 2, missing - missing // 2))
    start = (len(samples) - wanted) // 2
    return embedding.embed(samples[np.newaxis, start : start + wanted])[0]  # type: ignore[no-any-return]


@cache
def _teacher() -> Any:
    from earmark.models.speech_embedding import SpeechEmbedding

    return SpeechEmbedding()


def _judge(
    embeddings: Values, targets: npt.NDArray[np.int64], sources: npt.NDArray[np.str_], labels: int
) -> npt.NDArray[np.bool_]:
    """Which clips are what they claim to be, according to a linear classifier on the teacher's embeddings.

    Synthesised speech is not always intelligible, and two halves may form a label's word.
    """
    import torch

    is_spliced = sources == SPLICED
    counts = np.bincount(targets[~is_spliced], minlength=labels)
    weights = torch.from_numpy((1 / np.sqrt(np.maximum(counts, 1))).astype(np.float32))
    inputs, goals = torch.from_numpy(embeddings[~is_spliced]), torch.from_numpy(targets[~is_spliced])
    torch.manual_seed(0)
    classifier = torch.nn.Linear(embeddings.shape[1], labels)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.02, weight_decay=1e-4)
    for _ in range(300):
        loss = torch.nn.functional.cross_entropy(classifier(inputs), goals, weights)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        scores = classifier(torch.from_numpy(embeddings)).softmax(1).numpy()
    own = scores[np.arange(len(targets)), targets]
    return np.where(is_spliced, scores[:, 2:].max(axis=1) < JUDGED_A_LABEL, own > NOT_UNDERSTOOD)  # type: ignore[no-any-return]
