"""Short sounds amid silence: what is at a recording's noise floor isn't learnt as the sound, nor heard as it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark import Project
from earmark.exchange.importing import import_into
from tests import sounds, tones

RATE = sounds.RATE
BEEPS = [1.0 + 2 * number for number in range(12)]


def beeps(*seconds: float, length: float, seed: int) -> sounds.Samples:
    """Beeps of 0.4 s in a quiet room."""
    samples, beep = sounds.room(length, seed), tones.tone(1_000, 0.4, rate=RATE)
    for second in seconds:
        at = round(second * RATE)
        samples[at : at + len(beep)] += beep
    return samples


def taught(folder: Path, noise: str | None, other: bool = False) -> Project:
    """Three seconds around each beep, as a person records it; and what the silence is called, if anything."""
    project = Project(folder, create=True)
    for seed, second in enumerate((0.5, 1.2, 2.1)):
        project.add("beep", beeps(second, length=3, seed=seed), RATE)
        if noise is not None:
            project.add(noise, sounds.room(3, 50 + seed), RATE)
        if other:
            project.add("snaps", np.concatenate((sounds.room(1, 60 + seed), sounds.snaps(1, seed))), RATE)
    return project


@pytest.mark.parametrize("noise", ["_background_noise_", pytest.param("Quiet", marks=pytest.mark.slow)])
def test_twelve_beeps_are_twelve_detections(noise: str, tmp_path: Path) -> None:
    recognizer = taught(tmp_path / "beeps", noise).train()
    stream = beeps(*BEEPS, length=26, seed=99)
    found = [one for one in recognizer.listen(stream, sample_rate=RATE) if one.label == "beep"]
    assert [one.start for one in found] == pytest.approx(BEEPS, abs=0.1)
    assert [one.end for one in found] == pytest.approx([second + 0.4 for second in BEEPS], abs=0.1)


def test_silence_is_no_sound_where_no_label_teaches_it(tmp_path: Path) -> None:
    recognizer = taught(tmp_path / "beeps", None, other=True).train()
    assert list(recognizer.listen(sounds.room(10, 98), sample_rate=RATE)) == []
    heard = {one.label for one in recognizer.listen(beeps(2.0, length=4, seed=97), sample_rate=RATE)}
    assert "beep" in heard


def test_a_beep_in_silence_is_recognized_as_the_beep(tmp_path: Path) -> None:
    recognizer = taught(tmp_path / "beeps", "_background_noise_").train()
    assert recognizer.recognize(beeps(1.7, length=5, seed=96), RATE).label == "beep"
    assert recognizer.recognize(sounds.room(5, 95), RATE).label == "_background_noise_"


def test_a_model_counts_the_examples_that_it_learnt_from(tmp_path: Path) -> None:
    project = taught(tmp_path / "beeps", "_background_noise_")
    project.train(epochs=1)
    card = project.model_card()
    counts = project.count_examples()
    assert card is not None
    assert counts["_background_noise_"] == 3 * 126  # 3 s are 129 hops; a window takes four
    assert counts["beep"] == pytest.approx(3 * 20, abs=3)
    assert {label["name"]: label["examples"] for label in card["labels"]} == counts
    assert card["examples"] == sum(counts.values())


def test_counts_are_kept_and_follow_the_recordings(tmp_path: Path) -> None:
    project = taught(tmp_path / "beeps", "Noise")
    counts = project.count_examples()
    kept = project.path / ".cache" / "examples.json"
    assert kept.is_file()
    assert Project(project.path).count_examples() == counts
    kept.write_text('{"rule": [], "counts": 7}')  # another version's, or damaged
    assert Project(project.path).count_examples() == counts
    (first, *_) = project.clips("beep")
    project.move_clip(first, "Noise")
    moved = project.count_examples()
    assert moved["Noise"] == counts["Noise"] + 126
    assert moved["beep"] < counts["beep"]
    project.set_mode("words")
    assert project.count_examples() == {"beep": 2, "Noise": 4}


def test_a_new_recording_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    project = Project(tmp_path / "beeps", create=True)
    (note,) = project.add("beep", beeps(1.0, length=3, seed=1), RATE).notes
    assert note.startswith("The recording is mostly silence: only 0.5 of its 3.0 s stand out and are learnt as 'beep'")
    assert project.add("beep", beeps(0.1, length=0.7, seed=1), RATE).notes == ()
    assert project.add("beep", sounds.whistle(3, 1), RATE).notes == ()
    assert project.add("Noise", beeps(1.0, length=3, seed=1), RATE).notes == ()
    (note,) = project.add("Noise", np.zeros(RATE, np.float32), RATE).notes
    assert note.startswith("The recording is silent: ")
    project.set_mode("words")
    assert project.add("beep", beeps(1.0, length=3, seed=1), RATE).notes == ()


def test_parts_with_and_without_silence_are_evaluated_together(tmp_path: Path) -> None:
    project = Project(tmp_path / "beeps", create=True)
    for seed in range(4):
        project.add("whistle", sounds.whistle(1, seed), RATE)
        project.add("snaps", sounds.snaps(1, seed), RATE)
    project.add("snaps", np.concatenate((sounds.room(2, 9), sounds.snaps(1, 9))), RATE)  # silence in one of five parts
    evaluation = project.evaluate(epochs=3)
    assert evaluation.labels == ("whistle", "snaps", "_background_noise_")
    assert {len(one.scores) for one in evaluation.clips} == {3}


def test_an_import_tells_of_recordings_that_are_silent_or_mostly_so(tmp_path: Path) -> None:
    (tmp_path / "in" / "beep").mkdir(parents=True)
    for number in range(7):
        soundfile.write(tmp_path / "in" / "beep" / f"{number}.wav", beeps(1.0, length=3, seed=number), RATE)
    soundfile.write(tmp_path / "in" / "beep" / "good.wav", sounds.whistle(1, 1), RATE)
    imported = import_into(Project(tmp_path / "beeps", create=True), tmp_path / "in")
    assert len(imported.added) == 8
    assert [note.partition(": The recording is mostly silence: ")[0] for note in imported.notes[:5]] == [
        f"{number}.flac" for number in range(5)
    ]
    assert imported.notes[5:] == ["2 more recordings are silent, very quiet, clipped or mostly silence."]
    imported = import_into(Project(tmp_path / "words", create=True, mode="words"), tmp_path / "in")
    assert imported.notes == []
