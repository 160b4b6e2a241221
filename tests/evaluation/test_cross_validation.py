"""Evaluation on recordings that were not learnt from, which is proved and not taken on trust."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import earmark
from earmark import EarmarkError, Project, Recognizer
from earmark.audio.clip import read_clip
from earmark.cli.evaluate import evaluate_files
from earmark.evaluation.advice import as_dict
from earmark.evaluation.cross_validation import cross_validate, evaluate_on, find_sounds
from earmark.evaluation.evaluation import Evaluation
from earmark.front_end.recordings import read_recording, spectrogram_of
from earmark.training.embedding_cache import EmbeddingCache
from earmark.training.plan import Training
from earmark.training.transfer import TaughtClip, Trained
from tests import chirps, sounds, tones
from tests.sounds import Samples

QUICK: dict[str, Any] = {"open_set": False, "epochs": 3}


@dataclass(frozen=True)
class Watched(Training):
    """A training that notes what each of its models learnt from; see `ids` and `models`."""

    runs: tuple[list[set[str]], list[str]] = ((), ())  # type: ignore[assignment]

    def run(self, clips: Any, labels: Any, **options: Any) -> Trained:
        trained = super().run(clips, labels, **options)
        self.runs[0].append({clip.file.id for clip in clips})
        self.runs[1].append(hashlib.sha256(trained.model).hexdigest())
        return trained


def watched(cache: Path | None = None, **options: Any) -> Watched:
    base = Recognizer(tones.tone_model())
    return Watched(base, "tones", {**QUICK, **options}, EmbeddingCache(cache), ([], []))


def taught(project: Project) -> list[TaughtClip]:
    return [TaughtClip(clip) for clip in project.clips()]


def tone(label: str, take: int) -> Samples:
    hertz = {"deep": tones.LOW, "shrill": tones.HIGH}.get(label, 0)
    return tones.tone(hertz, 1, 0.2 + 0.02 * take) + tones.tone(3_000, 1, 0.001 * (take + 1))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Seven deep recordings, three shrill ones, and a single one of something else."""
    project = Project(tmp_path / "tunes", create=True, mode="words", labels=("deep", "shrill", "hush"))
    for label, count in (("deep", 7), ("shrill", 3), ("hush", 1)):
        for take in range(count):
            project.add(label, tone(label, take), tones.RATE, name=f"{label} {take}")
    return project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of labelled recordings: "deep" and "shrill" twice each."""
    for label in ("deep", "shrill"):
        for take in range(2):
            chirps.save(tmp_path / "test" / label / f"{take}.wav", tone(label, take))
    return tmp_path / "test"


@pytest.fixture
def recognizer(tmp_path: Path) -> Recognizer:
    """It knows "deep" and "shrill", noise and unknown words."""
    project = Recognizer(tones.tone_model()).create_transfer(tmp_path / "learnt")
    for label in ("deep", "shrill"):
        for take in range(3):
            project.add(label, tone(label, 5 + take), tones.RATE)
    return project.train(epochs=60)


# Every recording once, by a model that never saw it


@pytest.mark.parametrize(("folds", "parts"), [(2, 2), (3, 3), (5, 5), (7, 7), (100, 7)])
def test_each_recording_is_tested_once_by_a_model_that_never_saw_it(project: Project, folds: int, parts: int) -> None:
    training, clips = watched(), taught(project)
    evaluation = cross_validate(training, clips, project.labels, folds)
    everything = {clip.file.id for clip in clips}
    (alone,) = (clip.file.id for clip in clips if clip.file.label == "hush")
    tested = [clip.id for clip in evaluation.clips]
    assert sorted(tested) == sorted(everything - {alone}), "each once; a label's only recording is learnt from"
    learnt = training.runs[0]
    assert len(learnt) == parts
    for fold, ids in enumerate(learnt):
        left_out = {clip.id for clip in evaluation.clips if clip.fold == fold}
        assert left_out
        assert ids == everything - left_out
        assert {name.split("/")[0] for name in ids} == {"deep", "shrill", "hush"}, "no label is left out altogether"
    assert evaluation.method == f"each recognized by a model trained without it, in {parts} parts"
    assert evaluation.counts == {"deep": 7, "shrill": 3, "hush": 1}
    assert all(clip.label == clip.id.split("/")[0] for clip in evaluation.clips)
    assert evaluation.background is None


def test_the_parts_share_every_label_evenly(project: Project) -> None:
    evaluation = cross_validate(watched(), taught(project), project.labels, 3)
    for label, counts in (("deep", [2, 2, 3]), ("shrill", [1, 1, 1])):
        assert (
            sorted(sum(clip.label == label and clip.fold == fold for clip in evaluation.clips) for fold in range(3))
            == counts
        )


def test_the_scores_are_those_of_a_model_trained_on_the_rest(project: Project) -> None:
    evaluation = cross_validate(watched(), taught(project), project.labels, 3)
    for fold in range(3):
        left_out = {clip.id for clip in evaluation.clips if clip.fold == fold}
        rest = [clip for clip in taught(project) if clip.file.id not in left_out]
        alone = Recognizer(watched().run(rest, project.labels).model)
        for clip in evaluation.clips:
            if clip.fold == fold:
                np.testing.assert_array_equal(clip.scores, alone.recognize(clip.path).scores)


def test_what_only_the_left_out_recording_knows_is_not_known(project: Project) -> None:
    """Two of "hush" that sound like "deep" and "shrill": each alone would be known only from itself."""
    (hush,) = project.clips("hush")
    project.remove_clip(hush)
    for label in ("deep", "shrill"):
        project.add("hush", tone(label, 20), tones.RATE, name=f"like {label}")
    evaluation = cross_validate(watched(epochs=60), taught(project), project.labels, 2)
    heard = {clip.id: evaluation.labels[int(clip.scores.argmax())] for clip in evaluation.clips}
    assert heard["hush/like deep.flac"] == "deep"
    assert heard["hush/like shrill.flac"] == "shrill"
    assert evaluation.recall("hush").hits == 0
    whole = project.train(Recognizer(tones.tone_model()), **{**QUICK, "epochs": 60})
    assert whole.labels == evaluation.labels == ("deep", "shrill", "hush")


def test_a_cache_of_embeddings_brings_nothing_back(project: Project, tmp_path: Path) -> None:
    cached = watched(tmp_path / "cache.sqlite")
    first = cross_validate(cached, taught(project), project.labels, 3)
    second = cross_validate(cached, taught(project), project.labels, 3)
    plain = watched()
    without = cross_validate(plain, taught(project), project.labels, 3)
    assert cached.runs[1] == plain.runs[1] * 2
    for evaluation in (second, without):
        assert [clip.id for clip in evaluation.clips] == [clip.id for clip in first.clips]
        for one, other in zip(evaluation.clips, first.clips, strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)


def test_a_projects_evaluation_is_that_of_its_training(project: Project) -> None:
    base = Recognizer(tones.tone_model())
    evaluation = project.evaluate(base, folds=3, **QUICK)
    expected = cross_validate(watched(), taught(project), project.labels, 3)
    assert as_dict(evaluation) == as_dict(expected)
    assert project.models() == [], "nothing is saved"
    with pytest.raises(EarmarkError, match="has no colour: leave it out"):
        project.evaluate(base, colour="red")


def test_noise_and_unknown_words_are_labels_where_they_are_learnt(project: Project) -> None:
    evaluation = project.evaluate(Recognizer(tones.tone_model()), folds=2, epochs=2)
    assert evaluation.labels == ("deep", "shrill", "hush", "_background_noise_", "_unknown_")
    assert len(evaluation.clips) == 10
    assert json.loads(json.dumps(as_dict(evaluation)))["recordings"] == 10


def test_short_sounds_are_evaluated_too(tmp_path: Path) -> None:
    project = Project(tmp_path / "clapper", create=True)
    for seed in range(2):
        for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
            project.add(label, make(1.0, seed + 1), sounds.RATE)
    evaluation = project.evaluate(folds=2, epochs=5)
    assert evaluation.labels == ("Left", "Right")
    assert (evaluation.accuracy.hits, evaluation.accuracy.count) == (4, 4)


# What can't be


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_parts_are_told(project: Project, folds: int) -> None:
    with pytest.raises(EarmarkError, match=rf"^folds is {folds}: it must be 2 or more\.$"):
        project.evaluate(Recognizer(tones.tone_model()), folds=folds)


def test_too_few_recordings_are_told(tmp_path: Path) -> None:
    project = Project(tmp_path / "tunes", create=True, mode="words", labels=("deep", "shrill"))
    base = Recognizer(tones.tone_model())
    with pytest.raises(EarmarkError, match="at least one label: none has any yet"):
        project.evaluate(base)
    project.add("deep", tone("deep", 1), tones.RATE)
    with pytest.raises(EarmarkError, match="at least two labels: only 'deep' has some"):
        project.evaluate(base, open_set=False)
    project.add("shrill", tone("shrill", 1), tones.RATE)
    with pytest.raises(EarmarkError, match=r"^Evaluation leaves recordings out: it needs at least two of a label"):
        project.evaluate(base)


def test_a_recording_without_a_window_of_sound_is_neither_learnt_nor_tested(project: Project) -> None:
    click = project.clips("deep")[0].path.with_name("click.wav")
    soundfile.write(click, np.ones(100, np.float32), tones.RATE)
    evaluation = project.evaluate(Recognizer(tones.tone_model()), folds=2, **QUICK)
    assert len(evaluation.clips) == 10


def test_noise_alone_is_nothing_to_teach(tmp_path: Path) -> None:
    project = Project(tmp_path / "quiet", create=True, mode="words")
    for take in range(3):
        project.add("_background_noise_", chirps.noise(2, take), chirps.RATE)
    for change in (project.train, project.evaluate):
        with pytest.raises(EarmarkError, match="at least one label: none has any yet"):
            change(Recognizer(tones.tone_model()))


# Background


def test_a_background_is_measured_with_a_model_of_all_recordings(project: Project, tmp_path: Path) -> None:
    silence = chirps.save(tmp_path / "room" / "deeper" / "quiet.wav", np.zeros(3 * tones.RATE, np.float32))
    loud = chirps.save(tmp_path / "radio.wav", tones.silence_with({1: tones.tone(tones.LOW, 1)}, 4))
    training = watched(epochs=60)
    evaluation = cross_validate(training, taught(project), project.labels, 2, [tmp_path / "room", loud])
    assert training.runs[0][-1] == {clip.id for clip in project.clips()}
    assert len(training.runs[0]) == 3
    assert evaluation.background is not None
    assert evaluation.background.hours == pytest.approx(7 / 3_600)
    assert evaluation.background.counts["deep"][0] >= 1
    assert {alarm.recording for alarm in evaluation.background.worst_at(0.5)} <= {silence, loud}


def test_sounds_are_found_in_folders_and_named_by_themselves(tmp_path: Path) -> None:
    quiet = np.zeros(1_600, np.float32)
    files = [chirps.save(tmp_path / name, quiet) for name in ("b/c/two.wav", "b/one.flac", "a.ogg")]
    for stray in ("b/notes.txt", "b/._one.wav", "b/no suffix"):
        (tmp_path / stray).write_text("nothing to hear")
    (tmp_path / "b" / "folder.wav").mkdir()
    assert find_sounds([tmp_path]) == [files[2], files[0], files[1]]
    assert find_sounds(tmp_path) == find_sounds(str(tmp_path)) == find_sounds([tmp_path])
    assert find_sounds([files[1], tmp_path / "b" / "c"]) == [files[1], files[0]]
    assert find_sounds([]) == []


@pytest.mark.parametrize("name", ["missing", "empty", "x" * 300, "nul\0"])
def test_a_background_that_is_none_is_told_before_the_work_begins(
    project: Project, folder: Path, recognizer: Recognizer, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    for background in ([tmp_path / name], tmp_path / name):
        training = watched()
        with pytest.raises(EarmarkError, match=r": (check the path|choose another folder)\.$"):
            cross_validate(training, taught(project), project.labels, 2, background)  # type: ignore[arg-type]
        assert training.runs[0] == []
        with pytest.raises(EarmarkError, match=r": (check the path|choose another folder)\.$"):
            evaluate_on(recognizer, folder, background, report=fail)  # type: ignore[arg-type]


def fail(*progress: object) -> None:
    raise AssertionError(progress)


def test_progress_is_told_to_the_end(project: Project, folder: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    room = chirps.save(tmp_path / "room.wav", np.zeros(2 * tones.RATE, np.float32))
    told: dict[str, list[tuple[int, int]]] = {}

    def report(what: str, done: int, count: int) -> None:
        told.setdefault(what, []).append((done, count))

    cross_validate(watched(), taught(project), project.labels, 3, [room], report)
    assert told["Cross-validating"] == [(1, 3), (2, 3), (3, 3)]
    evaluate_on(recognizer, folder, [room], report=report)
    assert told["Recognizing"] == [(number, 4) for number in range(1, 5)]
    assert told["Listening to the recordings"]
    for done, count in told["Listening to the background"]:
        assert 0 <= done <= count == 2


# A trained recognizer on a folder


def test_a_folder_of_labels_is_recognized(folder: Path, recognizer: Recognizer) -> None:
    evaluation = evaluate_on(recognizer, folder)
    assert evaluation.labels == ("deep", "shrill", "_background_noise_", "_unknown_")
    assert [(clip.path.relative_to(folder).as_posix(), clip.label) for clip in evaluation.clips] == [
        ("deep/0.wav", "deep"), ("deep/1.wav", "deep"), ("shrill/0.wav", "shrill"), ("shrill/1.wav", "shrill"),
    ]  # fmt: skip
    for clip in evaluation.clips:
        np.testing.assert_array_equal(clip.scores, recognizer.recognize(clip.path).scores)
    assert evaluation.accuracy.hits == 4
    assert evaluation.method == f"the folder {folder}"
    assert evaluation.counts == {"deep": 2, "shrill": 2, "_background_noise_": 0, "_unknown_": 0}
    assert evaluate_on(recognizer, str(folder), counts={"deep": 3}).counts == {"deep": 3}


def test_of_a_data_set_its_test_split_counts(tmp_path: Path, recognizer: Recognizer) -> None:
    for split in ("train", "val", "test"):
        for label in ("deep", "shrill"):
            chirps.save(tmp_path / "splits" / split / label / "a.wav", tone(label, 1))
            chirps.save(tmp_path / "listed" / label / f"{split}_nohash_0.wav", tone(label, 1))
    (tmp_path / "listed" / "testing_list.txt").write_text("deep/test_nohash_0.wav\nshrill/test_nohash_0.wav\n")
    for name, expected in (("splits", ["test"] * 2), ("listed", ["test_nohash_0.wav"] * 2)):
        evaluation = evaluate_on(recognizer, tmp_path / name)
        found = [clip.path for clip in evaluation.clips]
        assert [path.parts[-3] if name == "splits" else path.name for path in found] == expected
        assert [clip.label for clip in evaluation.clips] == ["deep", "shrill"]


def test_a_recording_without_sound_is_recognized_too(tmp_path: Path) -> None:
    sound = chirps.save(tmp_path / "room.wav", chirps.noise(2))
    folder = tmp_path / "test" / "_background_noise_"
    folder.mkdir(parents=True)
    np.save(folder / "room.npy", spectrogram_of(read_recording(sound)))
    words = earmark.load("words")
    (clip,) = evaluate_on(words, folder.parent).clips
    assert (clip.path.name, clip.label) == ("room.npy", "_background_noise_")
    np.testing.assert_array_equal(clip.scores, words.recognize(sound).scores)


def test_words_that_were_not_taught_count_as_unknown(folder: Path, recognizer: Recognizer) -> None:
    for name in ("banana", "AC%2FDC", "_background_noise_"):
        chirps.save(folder / name / "a.wav", chirps.word("rise"))
    evaluation = evaluate_on(recognizer, folder)
    assert sorted(clip.label for clip in evaluation.clips) == [
        "_background_noise_", "_unknown_", "_unknown_", "deep", "deep", "shrill", "shrill",
    ]  # fmt: skip


def test_words_that_a_model_has_no_label_for_are_told(folder: Path, project: Project) -> None:
    closed = project.train(Recognizer(tones.tone_model()), **QUICK)
    chirps.save(folder / "banana" / "a.wav", chirps.word("rise"))
    with pytest.raises(
        EarmarkError, match=r"no label 'banana': leave that folder out, or teach it \(deep, shrill, hush"
    ):
        evaluate_on(closed, folder, report=fail)


def test_a_test_folder_that_is_none_is_told(tmp_path: Path, folder: Path, recognizer: Recognizer) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EarmarkError, match="missing is not a folder"):
        evaluate_on(recognizer, tmp_path / "missing")
    with pytest.raises(EarmarkError, match="empty holds no recordings"):
        evaluate_on(recognizer, tmp_path / "empty")
    (folder / "deep" / "bad.wav").write_text("no sound")
    with pytest.raises(EarmarkError, match=r"bad\.wav is not a sound file"):
        evaluate_on(recognizer, folder)


# With a report


def read_report(file: Path) -> str:
    """A report's page, which must not load anything from outside."""
    page = file.read_text("utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    for address in re.findall(r"""(?:src|href)\s*=\s*["']?([^"' >]*)""", page):
        assert address.startswith(("data:", "#")), address
    assert "@import" not in page
    assert "<script" not in page
    return page


@pytest.fixture
def trained_project(project: Project) -> Project:
    project.train(Recognizer(tones.tone_model()), name="mine", **QUICK)
    base = project.path.parent / "tones.onnx"
    base.write_bytes(tones.tone_model())
    return project


def test_a_projects_evaluation_and_its_report(trained_project: Project, tmp_path: Path) -> None:
    base = str(tmp_path / "tones.onnx")
    evaluation, file = evaluate_files(trained_project.path, base=base, folds=2)
    assert file == trained_project.path / "models" / "tones" / "report.html"
    assert "tunes" in read_report(file)
    assert as_dict(evaluation) == as_dict(trained_project.evaluate(base, folds=2))
    assert trained_project.models() == ["mine"], "a report is no model"


@pytest.mark.slow
def test_a_projects_model_on_a_folder_and_its_report(trained_project: Project, folder: Path, tmp_path: Path) -> None:
    evaluation, file = evaluate_files(str(trained_project.path), folder)
    assert file == trained_project.path / "models" / "mine" / "report.html", "beside the model that was evaluated"
    read_report(file)
    expected = evaluate_on(trained_project.model(), folder, counts=trained_project.count_recordings())
    assert as_dict(evaluation) == as_dict(expected)
    trained_project.train(str(tmp_path / "tones.onnx"), open_set=False, epochs=1)
    assert evaluate_files(trained_project.path, folder)[1].parent.name == "tones", "the newest"
    elsewhere = tmp_path / "new" / "my report.html"
    assert evaluate_files(trained_project.path, folder, base="mine", report_file=elsewhere)[1] == elsewhere
    read_report(elsewhere)
    with pytest.raises(EarmarkError, match=r"has no model 'speech': choose one of tones, mine"):
        evaluate_files(trained_project.path, folder, base="speech")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_any_model_on_a_folder(inside: Path, folder: Path, recognizer: Recognizer) -> None:
    saved = recognizer.save(inside / "saved")
    evaluation, file = evaluate_files(saved, folder)
    assert file == Path("report.html")
    assert str(saved) in read_report(inside / "report.html")
    assert as_dict(evaluation) == as_dict(evaluate_on(recognizer, folder))
    with pytest.raises(EarmarkError, match=r"saved is no project: name a folder of labelled recordings with --test\.$"):
        evaluate_files(saved)
    with pytest.raises(EarmarkError, match=r"^words is no project: "):
        evaluate_files("words")
    for unfit in ("x" * 300, "nul\0", "missing"):
        with pytest.raises(EarmarkError, match=r": .+\.$"):
            evaluate_files(unfit)
        with pytest.raises(EarmarkError, match=r": .+\.$"):
            evaluate_files(unfit, folder)


@pytest.mark.slow
def test_a_project_named_words_is_not_taken_for_the_words_that_come_with_earmark(
    inside: Path, trained_project: Project, folder: Path
) -> None:
    trained_project.path.rename(inside / "words")
    evaluation, file = evaluate_files("words", folder)
    assert len(evaluation.labels) == 20
    assert file == Path("report.html")
    assert {clip.label for clip in evaluation.clips} == {"_unknown_"}
    evaluation, file = evaluate_files("./words", folder)
    assert evaluation.labels == ("deep", "shrill", "hush")
    assert file == Path("words/models/mine/report.html")


def test_a_report_that_can_not_be_written_is_told(trained_project: Project, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EarmarkError, match="can't be written"):
        evaluate_files(trained_project.path, folder, report_file=tmp_path / "file" / "report.html")


# Real words


def test_real_words_are_evaluated_honestly(recordings: Path, tmp_path: Path) -> None:
    from tests.studio import spoken

    project = Project(tmp_path / "pets", create=True, mode="words")
    for word in ("cat", "happy"):
        for clip in spoken.recordings_of(recordings, word, 6):
            project.add(word, clip, spoken.RATE)
    evaluation: Evaluation = project.evaluate("words", folds=3, open_set=False)
    assert len(evaluation.clips) == 12
    assert evaluation.accuracy.hits >= 10
    assert all(read_clip(clip.path).sample_rate == spoken.RATE for clip in evaluation.clips)
    # A wrong label is not believed: who learns from the others hears what was said.
    wrong = spoken.recordings_of(recordings, "happy", 1, "val")[0]
    project.add("cat", wrong, spoken.RATE, name="wrong")
    again = project.evaluate("words", folds=3, open_set=False)
    (mistaken,) = (clip for clip in again.clips if clip.id == "cat/wrong.flac")
    assert again.labels[int(mistaken.scores.argmax())] == "happy"
    assert mistaken.id in [mistake.clip.id for mistake in again.mistakes]
    assert earmark.load("words").labels != project.labels
