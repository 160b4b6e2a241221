"""The choice of a base by a project's recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import earmark
from earmark import Project
from earmark.training.bases import base_for_words
from tests import chirps, sounds
from tests.corpus import clip_rows, read_row

KINDS = ("doorbell", "duck quack", "snare", "cicada", "cymbal", "door close", "gorilla snarl", "squirrel")


def teach(project: Project, recordings: Path, corpus: str, word: str, count: int, split: str = "train") -> None:
    rows = [row for row in clip_rows(recordings, corpus) if row["word"] == word and row["split"] == split]
    for row in rows[:count]:
        project.add(word, *read_row(recordings, corpus, row))


@pytest.mark.parametrize("count", [1, 3])
def test_words_get_a_base_for_words(recordings: Path, tmp_path: Path, count: int) -> None:
    project = Project(tmp_path / "words", create=True, mode="words")
    for word in ("alexa", "computer", "jarvis", "snowboy"):
        teach(project, recordings, "wake_words", word, count)
    choice = project.choose_base()
    assert choice.base == base_for_words()
    assert choice.why is not None
    assert "sound like speech" in choice.why


@pytest.mark.parametrize("count", [1, 3])
def test_other_sounds_get_ear(recordings: Path, tmp_path: Path, count: int) -> None:
    project = Project(tmp_path / "sounds", create=True, mode="words")
    for kind in KINDS:
        teach(project, recordings, "sound_events", kind, count)
    recognizer = project.train()
    assert recognizer.base_choice is not None
    assert recognizer.base_choice.base == "ear"
    assert project.models() == ["ear"]
    card = project.model_card()
    assert card is not None
    assert (card["base"], card["base_chosen_because"]) == ("ear", recognizer.base_choice.why)


def test_what_is_named_is_not_chosen(tmp_path: Path) -> None:
    project = Project(tmp_path / "named", create=True, mode="words")
    project.add("rise", chirps.word("rise"), chirps.RATE)
    assert (project.choose_base("words").base, project.choose_base("words").why) == ("words", None)
    project.set_base("words")
    assert (project.choose_base().base, project.choose_base().why) == ("words", None)
    project.set_base("auto")
    assert Project(project.path).base == "auto"


def test_a_project_without_recordings_gets_a_base_for_words(tmp_path: Path) -> None:
    project = Project(tmp_path / "empty", create=True, mode="words")
    assert project.choose_base().base == base_for_words()


def test_noise_alone_chooses_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path / "noise", create=True, mode="words")
    project.add("_background_noise_", sounds.room(2, 1), sounds.RATE)
    assert project.choose_base().base == base_for_words()


def test_a_damaged_recording_does_not_hinder_the_choice(tmp_path: Path) -> None:
    project = Project(tmp_path / "damaged", create=True, mode="words")
    for take in range(2):
        project.add("whistle", sounds.whistle(1, take), sounds.RATE)
    project.clips()[0].path.write_bytes(b"not sound")
    project.choose_base()


def test_the_same_recordings_give_the_same_choice(recordings: Path, tmp_path: Path) -> None:
    choices = []
    for name in ("one", "two"):
        project = Project(tmp_path / name, create=True, mode="words")
        for kind in KINDS[:3]:
            teach(project, recordings, "sound_events", kind, 2)
        choices.append(project.choose_base())
    assert choices[0] == choices[1]


def test_a_sound_that_was_not_taught_stays_unheard(recordings: Path, tmp_path: Path) -> None:
    """A third of these kinds were kept out of what ear and its other sounds were made from; see recipes/ear."""
    project = Project(tmp_path / "sounds", create=True, mode="words")
    for kind in KINDS[:4]:
        teach(project, recordings, "sound_events", kind, 3)
    recognizer = project.train("ear")
    kinds = sorted({row["word"] for row in clip_rows(recordings, "sound_events")} - set(KINDS))
    first = {row["word"]: row for row in reversed(clip_rows(recordings, "sound_events")) if row["word"] in kinds}
    results = [recognizer.recognize(*read_row(recordings, "sound_events", first[kind])) for kind in kinds]
    accepted = [result.label for result in results if result.score >= 0.75 and result.label in KINDS]
    assert len(results) > 100
    assert len(accepted) / len(results) < 0.2
    assert isinstance(recognizer, earmark.Recognizer)
    assert np.isfinite([result.score for result in results]).all()
