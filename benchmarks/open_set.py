"""What learning noise and unknown words besides buys, in a stream: words heard, doubles and false alarms, by base.

    python -m benchmarks.open_set DATA

DATA is what recipes/words/prepare.py makes. Projects of three and of six words, ten recordings each, are trained with
and without the open set. Then `listen` hears, by its defaults, a stream of other recordings of these words, with as
many of words that were never taught between them, in noise 20 dB below; and recordings of noise alone.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

import earmark
from benchmarks.table import print_table
from earmark.clips.corpus import CorpusRecording, find_recordings
from earmark.evaluation.evaluation import Rate, Share, count_false_alarms

RATE = 16_000
TAUGHT, TESTED = 10, 40  # recordings of a word
PROJECTS = (("alexa", "jarvis", "happy"), ("computer", "snowboy", "view_glass", "smart_mirror", "bed", "cat"))
GAPS = (0.3, 3.0)  # seconds between words
LEVEL, NOISE_LEVEL = 0.05, 0.005  # root mean squares
NEAR = 0.35  # seconds that a detection's middle may lie outside its word

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Said:
    """A word in the stream; None for one that was never taught."""

    word: str | None
    start: float
    end: float


def main() -> None:
    data = Path(sys.argv[1])
    random = np.random.default_rng(0)
    noise = [r.path for corpus in ("esc10", "background_noise") for r in find_recordings(data / corpus, noise=True)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, words in enumerate(PROJECTS):
            recordings = {word: choose(data, word, random) for word in words}
            stream = Path(folder) / f"{number}.wav"
            said = write_stream(data, recordings, stream, random)
            project = earmark.Project(Path(folder) / str(number), create=True, mode="words")
            for word, own in recordings.items():
                for recording in own[:TAUGHT]:
                    project.add(word, recording.path)
            for base in ("words", "speech"):
                for open_set in (False, True):
                    recognizer = project.train(base, open_set=open_set)
                    heard = count_heard(recognizer, stream, said)
                    alarms = count_false_alarms(recognizer, noise)[0]
                    rows.append((len(words), base, "yes" if open_set else "no", *heard, alarms))
                    print(*map(str, rows[-1]), file=sys.stderr)
    columns = ("words", "base", "open set", "heard", "doubles", "false alarms in the stream", "in noise alone")
    print_table("Ten recordings a word, threshold 0.75", columns, rows)


def choose(data: Path, word: str, random: np.random.Generator) -> list[CorpusRecording]:
    """Recordings of a word, those to learn from first."""
    found = [
        recording
        for corpus in ("wake_words", "speech_commands")
        for recording in find_recordings(data / corpus)
        if recording.path.parent.name == word
    ]
    return [found[index] for index in random.permutation(len(found))[: TAUGHT + TESTED]]


def count_heard(recognizer: earmark.Recognizer, stream: Path, said: list[Said]) -> tuple[Share, int, Rate]:
    """The share of taught words that was heard, how many were heard twice, and all other detections."""
    hits, others = [0] * len(said), 0
    for detection in recognizer.listen(stream):
        middle = (detection.start + detection.end) / 2
        near = [n for n, one in enumerate(said) if one.start - NEAR <= middle <= one.end + NEAR]
        right = [n for n in near if said[n].word == detection.label]
        if right:
            hits[right[0]] += 1
        else:
            others += 1
    counts = [count for count, one in zip(hits, said, strict=True) if one.word]
    share = Share(sum(count > 0 for count in counts), len(counts))
    return share, sum(count > 1 for count in counts), Rate(others, said[-1].end / 3600)


def write_stream(
    data: Path, recordings: dict[str, list[CorpusRecording]], file: Path, random: np.random.Generator
) -> list[Said]:
    """Taught words that weren't learnt from, and others by people who train none of the models, in noise."""
    others = [r for r in find_recordings(data / "speech_commands") if r.split == "val" and r.word not in recordings]
    items = [(word, recording.path) for word, own in recordings.items() for recording in own[TAUGHT:]]
    items += [("", others[index].path) for index in random.permutation(len(others))[: len(items)]]
    parts, said, at = [], [], 0
    for index in random.permutation(len(items)):
        word, path = items[index]
        gap, samples = np.zeros(round(random.uniform(*GAPS) * RATE), np.float32), read(path) * LEVEL
        loud = np.flatnonzero(np.convolve(samples**2, np.ones(RATE // 10), "same") > LEVEL**2 * 5)
        at += len(gap)
        said.append(Said(word or None, (at + loud[0]) / RATE, (at + loud[-1]) / RATE))
        at += len(samples)
        parts += [gap, samples]
    stream = np.concatenate(parts)
    noise = np.concatenate([read(r.path) for r in find_recordings(data / "background_noise", noise=True)])
    soundfile.write(file, np.clip(stream + NOISE_LEVEL * np.resize(noise, len(stream)), -1, 1), RATE)
    return said


def read(path: Path) -> Samples:
    """A recording at 16 kHz with a root mean square of 1."""
    clip = earmark.read_clip(path)
    samples = soxr.resample(clip.samples, clip.sample_rate, RATE)
    scaled: Samples = samples / max(1e-6, float(np.sqrt(np.mean(samples**2))))
    return scaled


if __name__ == "__main__":
    main()
