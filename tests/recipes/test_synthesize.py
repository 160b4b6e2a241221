"""The lists of words, and which words are spoken how often, by which voices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import synthesize
from synthesize import COUNTS, LABELS, SCARCE, VOICES, Utterance, read_words, trim, utterances

RECIPE = Path(synthesize.__file__).parent
LISTS = ("unknown_words.txt", "unseen_words.txt")
# Warden 2018, table 1: the five words that the full Speech Commands adds, none of which its recipe here may learn.
OFFICIAL_UNKNOWN = {"backward", "follow", "forward", "learn", "visual"}
# What sounds as a label does (CMU Pronouncing Dictionary, without stress).
HOMOPHONES = {
    "won", "wun", "to", "too", "tue", "fore", "for", "ate", "eight's", "write", "rite", "wright", "know", "noe", "nein",
    "knows", "sicks", "sics", "tew", "tu", "threes", "goe", "gogh", "dun", "knots", "rights", "fo", "uno", "aught",
}  # fmt: skip


def test_the_labels_are_those_of_the_model() -> None:
    assert len(LABELS) == len(set(LABELS)) == 18
    assert set(SCARCE) < set(LABELS)


def test_no_word_is_on_two_lists() -> None:
    unknown, unseen = (set(read_words(name)) for name in LISTS)
    assert not unknown & unseen
    assert not unknown & set(LABELS)
    assert not unseen & set(LABELS)


def test_nothing_learns_what_is_tested_or_sounds_as_a_label() -> None:
    unknown, unseen = (set(read_words(name)) for name in LISTS)
    assert not unknown & OFFICIAL_UNKNOWN
    assert unseen >= OFFICIAL_UNKNOWN
    assert not unknown & HOMOPHONES
    assert not unseen & HOMOPHONES


def test_the_lists_hold_plain_words() -> None:
    for name in LISTS:
        words = read_words(name)
        assert all(word.replace("'", "").replace(" ", "").isalpha() and word.islower() for word in words), name
    assert 750 < len(read_words("unknown_words.txt")) < 850  # "about 800 other words"


def test_each_labels_line_is_there_and_its_words_are_near_ones() -> None:
    lines = [line for line in (RECIPE / "unknown_words.txt").read_text("utf-8").splitlines() if line[0] != "#"]
    named = [line.partition(":")[0] for line in lines if ":" in line]
    assert sorted(named) == sorted(LABELS)
    words = read_words("unknown_words.txt")
    assert words["hero"]  # of the first line
    assert words["night"]
    assert not words["apple"]
    assert words["tree"]  # of both kinds
    assert 200 < sum(words.values()) < 500
    assert read_words("unseen_words.txt")["view glass"] is False  # an underscore stands for a space


def test_how_often_each_word_is_spoken() -> None:
    counts = Counter((one.split, one.word) for one in utterances())
    # Summed by hand from the engines' numbers.
    for word in LABELS:
        assert counts["train", word] == (158 if word in SCARCE else 54)
        assert counts["test", word] == 10
    for word, is_near in read_words("unknown_words.txt").items():
        assert counts["train", word] == (17 if is_near else 9)
        assert ("test", word) not in counts
    for word in read_words("unseen_words.txt"):
        assert counts["test", word] == 10
        assert ("train", word) not in counts
    assert len({one.file for one in utterances()}) == counts.total()
    assert counts.total() == 6 * 158 + 12 * 54 + 321 * 17 + 476 * 9 + (18 + 40) * 10


def test_an_utterance_is_its_files_own() -> None:
    one = Utterance("train", "view glass", "espeak", 3)
    assert one.file == Path("train/view glass/espeak-3.flac")
    assert one.random().integers(1_000_000) == one.random().integers(1_000_000)
    others = {Utterance("train", "yes", "espeak", number).random().integers(1_000_000) for number in range(20)}
    assert len(others) == 20


def test_the_test_voices_never_speak_in_training() -> None:
    for engine, voices in VOICES["test"].items():
        assert not set(voices) & set(VOICES["train"][engine])
        variants = {voice.partition("+")[2] for voice in VOICES["train"][engine]} - {""}
        assert not {voice.partition("+")[2] for voice in voices} & variants
    assert synthesize.PICO["test"] != synthesize.PICO["train"]
    assert set(COUNTS["test"]) == set(VOICES["test"]) | {"pico"}
    assert all(set(counts) <= set(synthesize.ENGINES) for counts in COUNTS.values())


def test_the_silence_around_a_word_goes() -> None:
    random = np.random.default_rng(0)
    samples = random.normal(0, 0.0001, 16_000).astype(np.float32)
    samples[5_000:9_000] += 0.5
    part = trim(samples, 16_000)
    np.testing.assert_array_equal(part, samples[4_200 : 9_000 + 799])  # 50 ms before and after
    assert len(trim(np.zeros(1_000, np.float32), 16_000)) == 0
    assert len(trim(np.zeros(0, np.float32), 16_000)) == 0
    loud = np.ones(100, np.float32)
    np.testing.assert_array_equal(trim(loud, 16_000), loud)


@pytest.mark.parametrize("name", LISTS)
def test_no_word_is_written_twice_for_the_same_label(name: str) -> None:
    for line in (RECIPE / name).read_text("utf-8").splitlines():
        if not line.startswith("#"):
            words = line.rpartition(":")[2].split()
            assert len(words) == len(set(words)), line
