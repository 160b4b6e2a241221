"""Listening over the live connection: the pretrained words and the project's model, scores and detections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earmark
from earmark.front_end.spectrogram import StreamingSpectrogram
from earmark.recognizer.decisions import ScoredWindow
from earmark.studio.page_hearing import PageHearing
from earmark.web.batching import ScoringThread
from earmark.web.metrics import Metrics
from tests import sounds, tones
from tests.studio import spoken
from tests.studio.running import Page, Studio, studio
from tests.studio.spoken import Speech


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio whose project is empty."""
    with studio(tmp_path_factory.mktemp("hearing") / "clapper") as started:
        yield started


@pytest.fixture
def page(running: Studio) -> Iterator[Page]:
    connected = Page(running, spoken.RATE)
    yield connected
    connected.close()


def listen(page: Page, on: bool = True, **options: Any) -> dict[str, Any]:
    page.say(type="listen", on=on, **options)
    return page.wait("listening")


def listen_to_words(page: Page, probability_threshold: float = 0.75) -> None:
    assert listen(page, model="words", probability_threshold=probability_threshold)["on"] is True


def first_word(speech: Speech) -> np.ndarray:
    return speech.samples[: round((2 * spoken.PAUSE + 1) * spoken.RATE)]


def into_first_word(speech: Speech, words: earmark.Recognizer) -> np.ndarray:
    """The first word up to its detection's last window: that it is the last one, the next ones tell."""
    found = next(words.listen(speech.samples, sample_rate=spoken.RATE))
    return speech.samples[: round(found.end * spoken.RATE)]


def begin_first_word(page: Page, words: earmark.Recognizer, speech: Speech) -> None:
    """Listen until a detection is under way."""
    listen_to_words(page)
    page.play(into_first_word(speech, words))
    page.wait("detection", detection=1, ended=False)


def test_the_words_scores_are_the_apis_to_the_last_bit(page: Page, words: earmark.Recognizer) -> None:
    told = listen(page, model="words", probability_threshold=0.75)
    assert (told["on"], told["model"], tuple(told["labels"])) == (True, "words", words.labels)
    sound = np.concatenate([sounds.murmur(2.0, 1), sounds.snaps(1.0, 2), sounds.whistle(1.0, 3)])
    expected = [window.scores for window in words.stream(sound, sample_rate=spoken.RATE)]
    page.play(sound)
    listen(page, on=False, model="words")
    assert len(page.heard) >= len(expected) - 2 > 20  # the resampler holds the last frames back
    assert np.array_equal(np.array(page.heard, np.float32), expected[: len(page.heard)])


def test_the_detections_are_the_apis_and_each_is_told_from_its_beginning_to_its_end(
    page: Page, words: earmark.Recognizer, speech: Speech
) -> None:
    listen_to_words(page)
    page.play(speech.samples)
    listen(page, on=False, model="words")
    expected = list(words.listen(speech.samples, sample_rate=spoken.RATE))
    assert len(expected) >= len(speech.words) >= 5
    ended = [told for told in page.detections if told["ended"]]
    assert [earmark.Detection(*(told[key] for key in ("label", "score", "start", "end"))) for told in ended] == expected
    assert [told["detection"] for told in ended] == list(range(1, len(ended) + 1))
    for _, group in groupby(page.detections, key=lambda told: told["detection"]):
        steps = list(group)
        assert [step["ended"] for step in steps] == [False] * (len(steps) - 1) + [True]
        assert len(steps) > 1, "a word is shown while it goes on"
        assert len({(step["label"], step["start"]) for step in steps}) == 1
        assert [step["score"] for step in steps] == sorted(step["score"] for step in steps)
        assert [step["end"] for step in steps] == sorted(step["end"] for step in steps)
    assert not {"_unknown_", "_background_noise_"} & {told["label"] for told in page.detections}


def test_without_a_threshold_there_are_scores_alone(page: Page, speech: Speech) -> None:
    listen(page, model="words")
    page.play(first_word(speech))
    listen(page, on=False)
    assert page.heard
    assert page.detections == []


def test_what_stops_the_listening_ends_the_detection_under_way(
    page: Page, words: earmark.Recognizer, speech: Speech
) -> None:
    begin_first_word(page, words, speech)
    listen(page, on=False, model="words")
    assert {told["detection"] for told in page.detections} == {1}
    assert [told["ended"] for told in page.detections].count(True) == 1
    assert page.detections[-1]["ended"]


def test_a_gap_in_the_sound_ends_the_detection_under_way_and_the_next_is_another(
    page: Page, words: earmark.Recognizer, speech: Speech
) -> None:
    begin_first_word(page, words, speech)
    page.number += 100
    page.play(into_first_word(speech, words))
    begun = page.wait("detection", detection=2, ended=False)
    (end,) = [told for told in page.detections if told["ended"]]
    assert end["detection"] == 1
    assert begun["start"] < end["end"], "the stream began anew"


def test_the_threshold_changes_while_listening(page: Page, speech: Speech) -> None:
    listen_to_words(page, 1)
    page.play(first_word(speech))
    page.say(type="threshold", probability_threshold=0.75)
    page.play(first_word(speech))
    page.say(type="threshold", probability_threshold=1)
    page.play(first_word(speech))
    listen(page, on=False, model="words")
    said = [told["start"] for told in page.detections if told["ended"] and told["label"] == speech.words[0]]
    once = len(first_word(speech)) / spoken.RATE
    assert [once - 1 < start < 2 * once for start in said] == [True], "only while the threshold was 0.75"


@pytest.mark.parametrize("threshold", [1.01, -0.5, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_told_and_the_one_before_it_stays(
    page: Page, speech: Speech, threshold: float
) -> None:
    assert listen(page, model="words", probability_threshold=threshold)["on"] is False
    listen_to_words(page)
    page.say(type="threshold", probability_threshold=threshold)
    error = page.wait("error")["error"]
    assert error == f"probability_threshold is {threshold}: it must be between 0 and 1."
    page.play(first_word(speech))
    assert page.wait("detection")["label"] == speech.words[0]


def test_a_threshold_that_cannot_be_listened_with_is_told(page: Page) -> None:
    page.say(type="listen", on=True, model="words", probability_threshold=2)
    assert page.wait("error")["error"] == "probability_threshold is 2: it must be between 0 and 1."
    assert page.wait("listening")["on"] is False


def test_a_threshold_that_comes_when_nothing_listens_does_nothing(page: Page) -> None:
    page.say(type="threshold", probability_threshold=0.5)
    assert listen(page, on=False)["on"] is False


@pytest.mark.parametrize("model", ["letters", "", "Words", "../words", "models/words"])
def test_a_model_that_is_not_there_is_told(page: Page, model: str) -> None:
    page.say(type="listen", on=True, model=model)
    error = page.wait("error")["error"]
    assert error == f"There is no model {model!r} to listen with: choose 'project' or 'words'."
    assert page.wait("listening") == {"type": "listening", "on": False, "model": model, "labels": []}
    listen_to_words(page)


def test_the_words_are_told_without_listening(page: Page, words: earmark.Recognizer) -> None:
    told = listen(page, on=False, model="words")
    assert (told["on"], tuple(told["labels"])) == (False, words.labels)
    page.play(sounds.room(2.0, 1))
    page.hear(60)
    assert page.heard == []


def test_a_page_listens_with_one_model_at_a_time(trained: earmark.Project) -> None:
    with studio(trained.path) as running:
        page = Page(running)
        for model, labels in (("project", 3), ("words", 20), ("project", 3)):
            listen(page, model=model)
            page.heard.clear()
            page.play(sounds.snaps(2.0, 1))
            assert listen(page, on=False)["on"] is False
            assert {len(scores) for scores in page.heard} == {labels}
        page.close()


def test_the_projects_detections_are_the_apis_too(trained: earmark.Project) -> None:
    sound = np.concatenate([sounds.murmur(1.0, 5), sounds.snaps(1.0, 6), sounds.murmur(1.0, 7), sounds.whistle(1.0, 8)])
    with studio(trained.path) as running:
        page = Page(running)
        listen(page, probability_threshold=0.75)
        page.play(np.concatenate([sound, sounds.murmur(1.0, 9)]))
        listen(page, on=False)
        expected = [found.label for found in trained.model().listen(sound, sample_rate=sounds.RATE)]
        told = [told["label"] for told in page.detections if told["ended"]]
        assert told[: len(expected)] == expected
        assert {"Left", "Right"} <= set(expected)
        page.close()


@pytest.mark.slow
def test_the_words_are_heard_while_the_project_trains(tmp_path: Path, speech: Speech) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
        project.add(label, make(20.0, 1), sounds.RATE)
    with studio(project.path) as running:
        page = Page(running, spoken.RATE)
        listen_to_words(page)
        running.request("POST", "/api/train")
        page.wait("training", state="epoch", epoch=1)
        page.play(first_word(speech))
        assert page.wait("detection")["label"] == speech.words[0]
        page.wait("training", state="done")
        page.play(np.concatenate([spoken.quiet(1.0, 4), first_word(speech)]))  # and no new model takes over
        assert page.wait("detection", detection=page.detections[-1]["detection"] + 1)["label"] == speech.words[0]
        assert {len(scores) for scores in page.heard} == {20}
        page.close()


def test_the_words_are_loaded_once_for_all_pages(tmp_path: Path) -> None:
    from earmark.studio.state import Studio as State

    async def load_twice() -> list[earmark.Recognizer]:
        state = State(earmark.Project(tmp_path / "clapper", create=True))
        return [*await asyncio.gather(state.words(), state.words()), await state.words()]

    first, *others = asyncio.run(load_twice())
    assert all(other is first for other in others)


def test_messages_stay_json(page: Page, speech: Speech) -> None:
    """A browser's JSON.parse knows no NaN and no Infinity."""
    listen_to_words(page)
    page.play(first_word(speech))
    listen(page, on=False, model="words")
    assert json.dumps(page.detections, allow_nan=False)


@pytest.mark.parametrize("chunk", [960, 5_000])
@pytest.mark.parametrize("before", [0.0, 12.34])
def test_a_model_of_the_waveform_hears_it_beside_the_pages_spectrogram(chunk: int, before: float) -> None:
    recognizer = earmark.Recognizer(tones.tone_model())
    rate = 48_000
    low, high = tones.tone(tones.LOW, 1.2, rate=rate), tones.tone(tones.HIGH, 1.2, rate=rate)
    sound = tones.silence_with({2.0: low, 5.0: high}, 9, rate)
    ended: list[earmark.Detection] = []

    def tell(detection: earmark.Detection, is_new: bool, is_ended: bool) -> None:  # noqa: ARG001
        if is_ended:
            ended.append(detection)

    shown = StreamingSpectrogram(rate)
    windows: list[ScoredWindow] = []

    async def hear() -> None:
        scoring = ScoringThread(Metrics())
        hearing = PageHearing(
            "project", scoring, recognizer, 0.75, tell, sample_rate=rate, first_frame=99, seconds=before
        )
        for part in np.split(sound, range(chunk, len(sound), chunk)):
            windows.extend(await hearing.process(shown.process(part), part))
        hearing.finish()
        scoring.stop()

    asyncio.run(hear())
    expected = list(recognizer.stream(sound, sample_rate=rate))
    assert len(expected) - 2 <= len(windows) <= len(expected)  # the resampler holds the last frames back
    for window, other in zip(windows, expected, strict=False):
        assert (window.start - before, window.end - before) == pytest.approx((other.start, other.end))
        np.testing.assert_allclose(window.scores, other.scores, rtol=1e-4)
    assert windows[1].start - windows[0].start == pytest.approx(0.1)  # a tenth of a window of 50 frames, 20 ms each
    detections = list(recognizer.listen(sound, sample_rate=rate))
    assert [one.label for one in ended] == [one.label for one in detections] == ["low", "high"]
    for told, found in zip(ended, detections, strict=True):
        assert (told.start - before, told.end - before) == pytest.approx((found.start, found.end))
