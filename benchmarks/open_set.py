"""What learning noise and unknown words besides buys: false alarms with it and without, by base.

    python -m benchmarks.open_set DATA

DATA is what recipes/words/prepare.py and synthesize.py make. Projects of three and of six words, ten recordings each, are
trained with and without the open set. Counted are the other recordings of these words, recognized at the threshold of
0.75, and what `listen` reports in a stream of words that were never taught and in noise.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

import earmark
from benchmarks.table import print_table
from earmark.corpus import Recording, find_recordings
from earmark.evaluation import Share, count_false_alarms

RATE = 16_000
TAUGHT, TESTED = 10, 60  # recordings of a word
PROJECTS = (("alexa", "jarvis", "happy"), ("computer", "snowboy", "view_glass", "smart_mirror", "bed", "cat"))
GAP = 1.0  # seconds between the words of the stream
STREAM_WORDS = 900


def main() -> None:
    data = Path(sys.argv[1])
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        speech = Path(folder) / "speech.wav"
        write_stream(data, speech, random)
        noise = [r.path for corpus in ("esc10", "background_noise") for r in find_recordings(data / corpus, noise=True)]
        rows = []
        for base in ("words", "speech"):
            for number, words in enumerate(PROJECTS):
                recordings = {word: choose(data, word, random) for word in words}
                project = earmark.Project(Path(folder) / f"{base}-{number}", create=True, mode="words")
                for word, own in recordings.items():
                    for recording in own[:TAUGHT]:
                        project.add(word, recording.path)
                for open_set in (False, True):
                    recognizer = project.train(base, open_set=open_set)
                    heard = Share(*count_heard(recognizer, recordings))
                    alarms = [count_false_alarms(recognizer, files)[0] for files in ([speech], noise)]
                    rows.append((base, len(words), "yes" if open_set else "no", heard, *alarms))
                    print(*map(str, rows[-1]), file=sys.stderr)
    columns = ("base", "words", "open set", "recognized", "false alarms in speech", "in noise")
    print_table("Threshold 0.75, ten recordings a word", columns, rows)


def choose(data: Path, word: str, random: np.random.Generator) -> list[Recording]:
    """Recordings of a word, those to learn from first."""
    found = [
        recording
        for corpus in ("wake_words", "speech_commands")
        for recording in find_recordings(data / corpus)
        if recording.path.parent.name == word
    ]
    return [found[index] for index in random.permutation(len(found))[: TAUGHT + TESTED]]


def count_heard(recognizer: earmark.Recognizer, recordings: dict[str, list[Recording]]) -> tuple[int, int]:
    """How many recordings that weren't learnt from are recognized for sure, and of how many."""
    results = [
        (word, recognizer.recognize(recording.path)) for word, own in recordings.items() for recording in own[TAUGHT:]
    ]
    return sum(result.label == word and result.score >= 0.75 for word, result in results), len(results)


def write_stream(data: Path, file: Path, random: np.random.Generator) -> None:
    """Words that no project teaches, one after the other: labels of `words`, and synthesised ones."""
    taught = {word.replace("_", " ") for words in PROJECTS for word in words}
    found = [r for r in find_recordings(data / "speech_commands") if r.split == "val" and r.word not in taught]
    found += [r for r in find_recordings(data / "synthesised") if r.split == "test" and r.word not in taught]
    with soundfile.SoundFile(file, "w", RATE, 1) as sound:
        for index in random.permutation(len(found))[:STREAM_WORDS]:
            clip = earmark.read_clip(found[index].path)
            sound.write(soxr.resample(clip.samples, clip.sample_rate, RATE))
            sound.write(np.zeros(round(GAP * RATE), np.float32))


if __name__ == "__main__":
    main()
