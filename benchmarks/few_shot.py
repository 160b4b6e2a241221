"""How many recordings a new word needs, by base.

    python benchmarks/few_shot.py DATA [--peer FOLDER]

DATA is what recipes/words/prepare.py makes. For each base, k recordings of each word are drawn at random ten times, a
linear head is trained on them (without noise and unknown words, so that only the words are told apart), and all other
recordings are recognized, none by a speaker of the k ones where the corpus names its speakers. Prints the mean accuracy
over words and its 95 % interval over the draws. FOLDER holds the TensorFlow.js speech-commands model.
"""

from __future__ import annotations

import argparse
import math
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from earmark.audio.sources import FileSource
from earmark.clips.corpus import CorpusRecording, find_recordings
from earmark.front_end.frames import clip_frames, loudest_window
from earmark.models.network import Network
from earmark.training.bases import open_base
from earmark.training.heads import HeadExamples, HeadOptions, train_head

COUNTS = (1, 3, 5, 10, 30)
DRAWS = 10
TRIES = 300  # draws, of which those count that leave something of every word to be tested
T95 = 2.262  # Student's t for ten draws
MOST_CLIPS = 80  # of a word, so that the run stays short
LEAST_TESTED = 1  # recording of a word that must be left
WAKE_WORDS = ("alexa", "computer", "jarvis", "smart_mirror", "snowboy", "view_glass")
SETS = {
    # never heard by `words`, and none of the TensorFlow.js model's labels
    "nine words new to every base": (
        "bird", "dog", "house", "marvin", "sheila", "wow", "jarvis", "snowboy", "view_glass",
    ),
    # of which `words` heard six as "something else"
    "nine words of many recordings": (*WAKE_WORDS, "bed", "cat", "happy"),
    # yes, stop and zero are labels of `words` and of the TensorFlow.js model: a fair question to `speech` alone
    "a dozen words": (*WAKE_WORDS, "bed", "cat", "happy", "yes", "stop", "zero"),
    "ten sounds (ESC-10)": (
        "baby_cry", "chainsaw", "clock_tick", "dog_bark", "fire_crackling", "helicopter", "person_sneeze", "rain",
        "rooster", "sea_waves",
    ),
}  # fmt: skip

Values = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", type=Path, help="the TensorFlow.js model's folder")
    options = parser.parse_args()
    bases = {"words": open_base("words"), "speech": open_base("speech")}
    if options.peer:
        bases["TensorFlow.js"] = open_base(options.peer)
    table = Table("words", "base", "recordings", *(f"k = {count}" for count in COUNTS))
    for name, words in SETS.items():
        source = "esc10" if "ESC" in name else None
        recordings = _choose(options.data, words, source)
        for base, network in bases.items():
            if name.startswith("a dozen") and base != "speech":
                continue
            values = np.concatenate([_embed(network, recording.path) for recording in recordings])
            accuracies = [_measure(values, recordings, count) for count in COUNTS]
            table.add_row(name, base, str(len(recordings)), *accuracies)
    Console(width=150).print(table)


def _choose(data: Path, words: tuple[str, ...], source: str | None) -> list[CorpusRecording]:
    """At most so many recordings of each word, of whatever split."""
    corpora = (source,) if source else ("speech_commands", "wake_words")
    found = [recording for corpus in corpora for recording in find_recordings(data / corpus, noise=source is not None)]
    random = np.random.default_rng(0)
    chosen = []
    for word in words:
        own = [recording for recording in found if (recording.path.parent.name if source else recording.word) == word]
        chosen += [own[index] for index in sorted(random.permutation(len(own))[:MOST_CLIPS])]
    return chosen


def _embed(network: Network, file: Path) -> Values:
    """The embedding of the window that `recognize` looks at."""
    frames = network.metadata.window_frames
    with FileSource(file) as source:
        window = loudest_window(clip_frames(source, frames, network.front_end), frames, network.front_end)
    return network.embed_windows(window[np.newaxis])


def _measure(values: Values, recordings: list[CorpusRecording], count: int) -> str:
    draws = (_draw(values, recordings, count, seed) for seed in range(TRIES))
    told = list(islice((accuracy for accuracy in draws if accuracy is not None), DRAWS))
    if len(told) < DRAWS:
        return "–"
    reach = T95 * float(np.std(told, ddof=1)) / math.sqrt(len(told))
    return f"{np.mean(told):.1%} ± {reach:.1%}"


def _draw(values: Values, recordings: list[CorpusRecording], count: int, seed: int) -> float | None:
    """The accuracy of one draw, the mean over words; None where a word has too few recordings."""
    random = np.random.default_rng(seed)
    names = np.array([recording.path.parent.name for recording in recordings])
    words = tuple(sorted(set(names)))
    learnt, tested = [], []
    for word in words:
        own = random.permutation(np.flatnonzero(names == word))
        if len(own) < count + LEAST_TESTED:
            return None
        learnt += own[:count].tolist()
        tested += own[count:].tolist()
    speakers = {recordings[index].speaker for index in learnt if "_nohash_" in recordings[index].path.name}
    tested = [index for index in tested if recordings[index].speaker not in speakers]
    if any(sum(names[tested] == word) < LEAST_TESTED for word in words):
        return None
    targets = np.array([words.index(name) for name in names])
    examples = HeadExamples(values[learnt], targets[learnt], np.zeros(len(learnt), np.bool_))
    head, _ = train_head(examples, words, HeadOptions(seed=seed))
    directions = values[tested] / np.linalg.norm(values[tested], axis=1, keepdims=True)
    logits = head.scale * directions @ head.layers[-1].kernel.T + head.layers[-1].bias
    is_right = logits.argmax(1) == targets[tested]
    return float(np.mean([is_right[targets[tested] == word].mean() for word in range(len(words))]))


if __name__ == "__main__":
    main()
