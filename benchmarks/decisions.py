"""Which decision options suit words: what is heard, missed, doubled and false in long streams of speech in noise.

    python -m benchmarks.decisions DATA [MINUTES]

DATA holds `speech_commands` and, where they are there, `wake_words`, `background_noise` and `esc10`, each as
`earmark.clips.corpus` reads it. For each of two levels of noise two streams are made of it, which share no speaker and
no noise: the options are compared on the first and reported on the second. The scores are computed once.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import earmark
from benchmarks.table import print_table
from earmark.audio.clip import Resampler, Samples, read_clip
from earmark.audio.sources import PcmSource
from earmark.clips.corpus import CorpusRecording, find_recordings, loudest_part
from earmark.evaluation.evaluation import Rate, Share
from earmark.labels import THRESHOLD
from earmark.recognizer.decisions import Decisions, Detection, ScoredWindow

RATE = 16_000  # Hz, that of Speech Commands
MINUTES = 40.0  # of each stream
DECIBELS = (20, 10)  # words above noise
LEVEL = 0.05  # root mean square of a word
GAPS = (0.3, 4.0)  # seconds between words
AGAIN, AGAIN_GAPS = 0.15, (0.5, 1.0)  # how often a word is said again, and how soon
OTHERS = 1 / 3  # share of words that the recognizer doesn't know
NEAR = 0.3  # seconds that a detection's middle may lie outside its word
EXTRA_COST = 2  # misses that a detection too many weighs: a wrong action is worse than a word that must be said again
SHOWN = 12

GRID: dict[str, tuple[Any, ...]] = {
    "probability_threshold": (0.6, 0.7, 0.75, 0.8, 0.9),
    "smoothing_windows": (1, 3, 5),
    "min_agreeing_windows": (1, 3, 4, 5, 6),
    "longest_sound_ms": (None, 900, 1_000, 1_150),
}
DEFAULTS: dict[str, Any] = dict(zip(GRID, (THRESHOLD, 1, 5, 1_000), strict=True))
REPORTED: list[dict[str, Any]] = [  # the defaults, each of them changed, and what Earmark began with
    DEFAULTS,
    {**DEFAULTS, "probability_threshold": 0.6},
    {**DEFAULTS, "probability_threshold": 0.9},
    {**DEFAULTS, "min_agreeing_windows": 1},
    {**DEFAULTS, "min_agreeing_windows": 3},
    {**DEFAULTS, "min_agreeing_windows": 6},
    {**DEFAULTS, "smoothing_windows": 3, "min_agreeing_windows": 6, "probability_threshold": 0.6},
    {**DEFAULTS, "smoothing_windows": 5, "min_agreeing_windows": 1},
    {**DEFAULTS, "smoothing_windows": 5, "min_agreeing_windows": 3},
    {**DEFAULTS, "longest_sound_ms": None},
    {**DEFAULTS, "suppression_time_ms": 250},
    {**DEFAULTS, "suppression_time_ms": 500},
    {**DEFAULTS, "smoothing_windows": 5, "min_agreeing_windows": 1, "longest_sound_ms": None},
]
OPTIONS = "suppression ms · threshold · windows averaged · that agree · longest ms"


@dataclass(frozen=True)
class Said:
    """A word in a stream, its begin and end in seconds, and whether it is the word before it once more."""

    word: str
    start: float
    end: float
    again: bool


@dataclass(frozen=True)
class Stream:
    """What was said, every window's scores, and how long it all lasts."""

    said: list[Said]
    windows: list[ScoredWindow]
    hours: float


@dataclass(frozen=True)
class Outcome:
    """What became of the words that the recognizer knows, and of the detections.

    Attributes:
        right: known words that were heard.
        again: of those that are the word before them once more.
        doubles: further detections of a word that was heard.
        wrong: known words' detections with another label.
        alarms: detections where another word was said, or nothing.
    """

    right: Share
    again: Share
    doubles: Share
    wrong: Share
    alarms: Rate

    @property
    def cost(self) -> float:
        """Misses for each known word, and what there was too much of."""
        extra = self.doubles.hits + self.wrong.hits + self.alarms.events
        return (self.right.count - self.right.hits + EXTRA_COST * extra) / self.right.count


# Streams


def find(folder: Path, splits: tuple[str, ...], side: int) -> list[CorpusRecording]:
    """One side's recordings: speakers, and noises by their files, are divided by a hash of their names."""
    found = find_recordings(folder) if folder.is_dir() else []
    return [
        one for one in found if one.split in splits and hashlib.sha256(one.speaker.encode()).digest()[0] % 2 == side
    ]


def read(recording: CorpusRecording) -> Samples:
    clip = read_clip(recording.path)
    resampler = Resampler(clip.sample_rate, RATE)
    return np.concatenate((resampler.process(clip.samples), resampler.finish()))


def sounding(samples: Samples) -> slice:
    """Where a clip's word is: all but the first and the last hundredth of its power."""
    power = np.cumsum(np.square(samples - samples.mean(), dtype=np.float64))
    start, end = np.searchsorted(power, (0.01 * power[-1], 0.99 * power[-1]))
    return slice(int(start), int(end) + 1)


def deal(recordings: list[CorpusRecording], rng: np.random.Generator) -> Iterator[CorpusRecording]:
    """The recordings in random order, again and again."""
    while True:
        yield from (recordings[index] for index in rng.permutation(len(recordings)))


def script(
    labels: tuple[str, ...], data: Path, side: int, rng: np.random.Generator
) -> Iterator[tuple[CorpusRecording, bool]]:
    """What is said, without end, and whether it is the word before it once more (by whoever)."""
    words = find(data / "speech_commands", ("val", "test"), side)
    known = [one for one in words if one.word in labels]
    others = [one for one in words if one.word not in labels] + find(data / "wake_words", ("test",), side)
    next_known, next_other = deal(known, rng), deal(others, rng)
    while True:
        if rng.random() < OTHERS:
            yield next(next_other), False
            continue
        one = next(next_known)
        yield one, False
        if rng.random() < AGAIN:
            same = [other for other in known if other.word == one.word]
            yield same[rng.integers(len(same))], True


def speak(
    labels: tuple[str, ...], data: Path, side: int, seconds: float, rng: np.random.Generator
) -> tuple[Samples, list[Said]]:
    """Words of one level, one after the other; their clips' quiet ends lie over one another."""
    stream, said = np.zeros(round(seconds * RATE), np.float32), []
    at = 2 * RATE  # where the next word begins
    for recording, again in script(labels, data, side, rng):
        clip = loudest_part(read(recording), 3 * RATE // 2)
        word = sounding(clip)
        at += round(rng.uniform(*(AGAIN_GAPS if again else GAPS)) * RATE)
        offset, end = at - word.start, at + word.stop - word.start
        if offset + len(clip) >= len(stream):
            break
        stream[offset : offset + len(clip)] += clip * (LEVEL / np.sqrt(np.mean(np.square(clip[word]))))
        said.append(Said(recording.word, at / RATE, end / RATE, again))
        at = end
    return stream, said


def noise(data: Path, side: int, length: int, rng: np.random.Generator) -> Samples:
    """Recordings of noise, each at level 1, one after the other."""
    folders = [data / "background_noise", data / "esc10"]
    recordings = [one for folder in folders for one in find(folder, ("test",), side)]
    parts: list[Samples] = []
    for recording in deal(recordings, rng):
        if sum(map(len, parts)) >= length:
            break
        samples = read(recording)
        parts.append(samples / max(1e-6, float(np.sqrt(np.mean(np.square(samples))))))
    return np.concatenate(parts)[:length]


def make_stream(recognizer: earmark.Recognizer, data: Path, side: int, decibels: float, minutes: float) -> Stream:
    rng = np.random.default_rng([side, round(decibels)])
    samples, said = speak(recognizer.labels, data, side, 60 * minutes, rng)
    samples += noise(data, side, len(samples), rng) * np.float32(LEVEL * 10 ** (-decibels / 20))
    # Raw PCM, for an array of samples is a clip, and clips aren't that long.
    windows = recognizer.stream(PcmSource(io.BytesIO(samples.tobytes()), RATE, "f32le"))
    return Stream(said, list(windows), len(samples) / RATE / 3600)


# Outcomes


def decide(stream: Stream, labels: tuple[str, ...], options: dict[str, Any]) -> list[Detection]:
    decisions = Decisions(labels, **options)
    return decisions.process(stream.windows) + decisions.finish()


def judge(streams: list[Stream], labels: tuple[str, ...], options: dict[str, Any]) -> Outcome:
    """What becomes of the words of those streams."""
    counts: Counter[str] = Counter()
    for stream in streams:
        known = [word for word in stream.said if word.word in labels]
        heard = match(stream, decide(stream, labels, options), labels, counts)
        counts["known"] += len(known)
        counts["again"] += sum(word.again for word in known)
        counts["right"] += len(heard)
        counts["heard again"] += sum(stream.said[index].again for index in heard)
    return Outcome(
        right=Share(counts["right"], counts["known"]),
        again=Share(counts["heard again"], counts["again"]),
        doubles=Share(counts["double"], counts["known"]),
        wrong=Share(counts["wrong"], counts["known"]),
        alarms=Rate(counts["alarm"], sum(stream.hours for stream in streams)),
    )


def match(stream: Stream, detections: list[Detection], labels: tuple[str, ...], counts: Counter[str]) -> set[int]:
    """Count the detections that aren't right; returns which words were heard.

    A detection belongs to the word whose middle is nearest to its own, of those with its label if there are any.
    """
    heard: set[int] = set()
    middles = np.array([(word.start + word.end) / 2 for word in stream.said])
    for detection in detections:
        middle = (detection.start + detection.end) / 2
        order = np.argsort(np.abs(middles - middle))[:3]
        near = [i for i in order if stream.said[i].start - NEAR <= middle <= stream.said[i].end + NEAR]
        same = [i for i in near if stream.said[i].word == detection.label]
        if same:
            counts["double"] += same[0] in heard
            heard.add(int(same[0]))
        elif near and stream.said[near[0]].word in labels:
            counts["wrong"] += 1
        else:
            counts["alarm"] += 1
    return heard


def show(title: str, streams: list[Stream], labels: tuple[str, ...], chosen: list[dict[str, Any]]) -> None:
    """What becomes of the streams' words with each of those options."""
    rows = []
    for options in chosen:
        outcome = judge(streams, labels, options)
        name = " · ".join(str(value) for value in {"suppression_time_ms": 0, **options}.values())
        shares = (brief(outcome.right), f"{outcome.again.value:.0%}", outcome.doubles.hits, brief(outcome.wrong))
        rows.append((name, *shares, brief(outcome.alarms), outcome.cost))
    columns = ("options", "heard", "again", "doubles", "wrong", "false alarms", "cost")
    print_table(f"{title} ({OPTIONS})", columns, rows)


def brief(value: Share | Rate) -> str:
    """With its interval, short enough for a wide table."""
    low, high = value.interval
    if isinstance(value, Share):
        return f"{value.value:.1%} ({100 * low:.1f}–{100 * high:.1f})"
    return f"{value.value:.0f}/h ({low:.0f}–{high:.0f})"


def main() -> None:
    data, minutes = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else MINUTES
    recognizer = earmark.load("words")
    labels = recognizer.labels
    choosing = [make_stream(recognizer, data, 0, decibels, minutes) for decibels in DECIBELS]
    options = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    options.sort(key=lambda one: judge(choosing, labels, one).cost)
    show("Streams to choose by: the best", choosing, labels, options[:SHOWN])
    for name, values in GRID.items():
        best = [next(one for one in options if one[name] == value) for value in values]
        show(f"Streams to choose by: the best for each {name}", choosing, labels, best)
    reporting = [make_stream(recognizer, data, 1, decibels, minutes) for decibels in DECIBELS]
    show("Other streams, with other speakers", reporting, labels, [*REPORTED, options[0]])
    for decibels, stream in zip(DECIBELS, reporting, strict=True):
        show(f"Those {decibels} dB above the noise", [stream], labels, [DEFAULTS, REPORTED[-1]])


if __name__ == "__main__":
    main()
