"""Collecting examples by speech-commands' names, from files, arrays and streams."""

from __future__ import annotations

import re
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import earmark
from earmark import EarmarkError, Project, Recognizer, Source, compute_spectrogram
from earmark.clips.collecting import Example
from tests import sounds, tones
from tests.budget import budget
from tests.sounds import Samples


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "colours", create=True, mode="words")


@pytest.fixture
def base() -> Recognizer:
    """It knows "low" and "high"."""
    return Recognizer(tones.tone_model())


def sixteen_bits(seconds: float, seed: int = 1) -> Samples:
    """A whistle that FLAC keeps to the last bit, at 48 kHz."""
    return (np.rint(sounds.whistle(seconds, seed) * 32_768) / 32_768).astype(np.float32)


class Pieces(Source):
    """A stream that comes in pieces of any size, and goes on for longer than is listened to."""

    name = "the stream"

    def __init__(self, samples: Samples, size: int, sample_rate: int = sounds.RATE) -> None:
        self.sample_rate, self._samples, self._size = sample_rate, samples, size
        self.given, self.is_closed = 0, False

    def __iter__(self) -> Iterator[Samples]:
        for start in range(0, len(self._samples), self._size):
            self.given = start + self._size
            yield self._samples[start : start + self._size]

    def close(self) -> None:
        self.is_closed = True


# How long


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 1),
        ({"duration_sec": 2.5}, 2.5),
        ({"duration_sec": 0.1}, 0.1),
        ({"duration_multiplier": 1}, 1),
        ({"duration_multiplier": 1.5}, 1.5),
        ({"duration_multiplier": 3}, 3),
    ],
)
def test_an_example_lasts_as_long_as_was_asked_for(project: Project, options: dict[str, Any], seconds: float) -> None:
    samples = sixteen_bits(4)
    example = project.collect_example("red", samples, sample_rate=sounds.RATE, **options)
    audio = example.audio()
    assert audio.sample_rate == sounds.RATE
    np.testing.assert_array_equal(audio.samples, samples[: round(seconds * sounds.RATE)])
    assert (example.label, example.key_frame) == ("red", None)
    assert Project(project.path).labels == ("red",)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"duration_sec": 1, "duration_multiplier": 1}, "two ways to say the same"),
        ({"duration_sec": 0}, "duration_sec is 0: it must be from 0.1 to 600"),
        ({"duration_sec": 601}, "duration_sec is 601"),
        ({"duration_sec": float("nan")}, "duration_sec is nan"),
        ({"duration_multiplier": 0.5}, "duration_multiplier is 0.5: it must be from 1 to 600"),
        ({"duration_multiplier": 0}, "duration_multiplier is 0"),
        ({"duration_multiplier": float("inf")}, "duration_multiplier is inf"),
        ({"snippet_duration_sec": 0.5}, "belong together"),
        ({"on_snippet": print}, "belong together"),
        ({"snippet_duration_sec": 0, "on_snippet": print}, "snippet_duration_sec is 0: it must be"),
        ({"snippet_duration_sec": -1, "on_snippet": print}, "snippet_duration_sec is -1: it must be"),
        ({"snippet_duration_sec": float("nan"), "on_snippet": print}, "snippet_duration_sec is nan: it must be"),
    ],
)
def test_an_option_out_of_range_is_told_before_anything_is_opened(
    project: Project, options: dict[str, Any], says: str
) -> None:
    stream = Pieces(sixteen_bits(2), 960)
    with pytest.raises(EarmarkError, match=rf"{says}.*\.$"):
        project.collect_example("red", stream, **options)
    assert stream.given == 0
    assert project.labels == ()


@pytest.mark.parametrize("label", ["", " ", "x" * 65, "a\nb", "RED"])
def test_an_unfit_label_is_told(project: Project, label: str) -> None:
    project.add_label("red")
    with pytest.raises(EarmarkError, match=r": .+\.$"):
        project.collect_example(label, sixteen_bits(1), sample_rate=sounds.RATE)
    assert project.is_dataset_empty()


def test_a_label_is_checked_before_it_is_listened_for(project: Project) -> None:
    stream = Pieces(sixteen_bits(2), 960)
    with pytest.raises(EarmarkError, match="needs a name"):
        project.collect_example("  ", stream)
    assert stream.given == 0


# From what


def test_files_arrays_and_streams_give_the_same_example(project: Project, tmp_path: Path) -> None:
    samples = sixteen_bits(1.5)
    soundfile.write(tmp_path / "a.wav", samples, sounds.RATE)
    stream = Pieces(samples, 700)
    examples = [
        project.collect_example("red", tmp_path / "a.wav"),
        project.collect_example("red", str(tmp_path / "a.wav")),
        project.collect_example("red", np.stack([samples, samples], axis=1), sample_rate=sounds.RATE),
        project.collect_example("red", (samples * 32_768).astype(np.int16), sample_rate=sounds.RATE),
        project.collect_example("red", stream),
    ]
    for example in examples:
        np.testing.assert_array_equal(example.audio().samples, samples[: sounds.RATE])
    assert len({example.uid for example in examples}) == 5
    assert stream.is_closed
    assert stream.given == 48_300, "no more was read than was asked for"


def test_a_source_that_is_shorter_is_taken_whole(project: Project) -> None:
    example = project.collect_example("red", sixteen_bits(0.4), sample_rate=sounds.RATE)
    assert example.audio().seconds == 0.4


@pytest.mark.parametrize(
    ("samples", "rate", "says"),
    [
        (np.zeros(0, np.float32), 16_000, "is empty"),
        (np.zeros(500, np.float32), 16_000, r"lasts 0\.03 s: make it at least 0\.1 s long"),
        (np.full(16_000, np.nan, np.float32), 16_000, "not finite"),
        (np.zeros(16_000, np.float32), None, "sample rate of the clip is missing"),
        (np.zeros((2, 2, 2), np.float32), 16_000, "3 dimensions"),
    ],
)
def test_sound_that_is_none_is_told_and_changes_nothing(
    project: Project, samples: Samples, rate: int | None, says: str
) -> None:
    with pytest.raises(EarmarkError, match=rf"{says}.*\.$"):
        project.collect_example("red", samples, sample_rate=rate)
    with pytest.raises(EarmarkError, match=r"missing\.wav does not exist"):
        project.collect_example("red", project.path / "missing.wav")
    assert (project.labels, project.clips()) == ((), [])


def test_a_stream_without_sound_is_told(project: Project) -> None:
    with pytest.raises(EarmarkError, match=r"^The stream is empty: "):
        project.collect_example("red", Pieces(np.zeros(0, np.float32), 100))
    lossy = Pieces(sixteen_bits(2), 960)
    lossy.overflows = 1
    with pytest.raises(EarmarkError, match="sound was lost"):
        project.collect_example("red", lossy)
    assert project.clips() == []


# Snippets


@budget(30)
@given(
    st.sampled_from([16_000, 44_100, 48_000]),
    st.floats(0.1, 1.7),
    st.floats(0.02, 2),
    st.integers(100, 60_000),
)
def test_snippets_are_the_recordings_spectrogram_cut_into_parts(
    tmp_path_factory: pytest.TempPathFactory, rate: int, seconds: float, snippet: float, size: int
) -> None:
    project = Project(tmp_path_factory.mktemp("snippets") / "new", create=True, mode="words")
    samples = sixteen_bits(2)[: round(1.8 * rate)]
    told: list[Samples] = []
    example = project.collect_example(
        "red", Pieces(samples, size, rate), duration_sec=seconds, snippet_duration_sec=snippet, on_snippet=told.append
    )
    whole = compute_spectrogram(samples[: round(seconds * rate)], rate)
    np.testing.assert_array_equal(np.concatenate(told), whole)
    assert all(part.shape[1] == 232 for part in told)
    assert len(told) == max(1, -(-round(seconds * rate) // round(snippet * rate)))
    # An example's own spectrogram is without the frame that sees the silence before it.
    np.testing.assert_array_equal(example.spectrogram(), whole[1:])


def test_snippets_come_while_the_recording_goes_on(project: Project) -> None:
    stream, told = Pieces(sixteen_bits(3), 480), []
    project.collect_example(
        "red",
        stream,
        duration_sec=2,
        snippet_duration_sec=0.5,
        on_snippet=lambda frames: told.append((stream.given, len(frames))),
    )
    # 0.5 s are 21.5 hops of 1,024 samples at 44.1 kHz; soxr holds the last 10 ms back.
    assert [given for given, _ in told] == [24_480, 48_480, 72_480, 96_000]
    assert sum(frames for _, frames in told) == 2 * 44_100 // 1_024


def test_what_a_snippets_callback_raises_ends_the_recording(project: Project) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("enough")

    stream = Pieces(sixteen_bits(3), 480)
    with pytest.raises(RuntimeError, match="enough"):
        project.collect_example("red", stream, snippet_duration_sec=0.1, on_snippet=fail)
    assert stream.is_closed
    assert project.labels == ()


# What was collected


@pytest.fixture
def collected(project: Project) -> tuple[Project, list[Example]]:
    project.add_label("green")
    takes = [("red", 1, 1.0), ("blue", 2, 0.5), ("red", 3, 2.0)]
    return project, [
        project.collect_example(label, sixteen_bits(seconds, seed), sample_rate=sounds.RATE, duration_sec=seconds)
        for label, seed, seconds in takes
    ]


def test_examples_are_counted_for_each_label(collected: tuple[Project, list[Example]]) -> None:
    project, _ = collected
    assert project.count_examples() == {"green": 0, "red": 2, "blue": 1}
    assert project.count_recordings() == {"green": 0, "red": 2, "blue": 1}
    assert project.duration_ms() == pytest.approx(3_500)
    assert not project.is_dataset_empty()
    # Of short sounds each window counts: 44,100 samples are 43 hops, a window takes 4; 22,050 are 21; 88,200 are 86.
    project.set_mode("sounds")
    assert project.count_examples() == {"green": 0, "red": 40 + 83, "blue": 18}
    assert project.count_recordings() == {"green": 0, "red": 2, "blue": 1}


def test_examples_are_told_with_what_they_hold(collected: tuple[Project, list[Example]]) -> None:
    project, examples = collected
    assert project.get_examples("green") == []
    assert project.get_examples("blue") == [examples[1]]
    assert {example.uid for example in project.get_examples("red")} == {examples[0].uid, examples[2].uid}
    for example in project.get_examples("red"):
        spectrogram = example.spectrogram()
        audio = example.audio()
        np.testing.assert_array_equal(
            spectrogram, compute_spectrogram(audio.samples, audio.sample_rate, silence_before=False)
        )
    with pytest.raises(EarmarkError, match="no label 'pink': choose one of green, red, blue"):
        project.get_examples("pink")


def test_an_example_is_removed_and_no_other(collected: tuple[Project, list[Example]]) -> None:
    project, examples = collected
    project.remove_example(examples[0].uid)
    assert project.get_examples("red") == [examples[2]]
    for uid in (examples[0].uid, "", "../earmark.toml", "nothing"):
        with pytest.raises(EarmarkError, match="no longer there"):
            project.remove_example(uid)
        with pytest.raises(EarmarkError, match="no longer there"):
            project.set_example_key_frame_index(uid, 0)
    assert project.count_examples() == {"green": 0, "red": 1, "blue": 1}


def test_all_examples_are_cleared_and_the_labels_stay(collected: tuple[Project, list[Example]]) -> None:
    project, _ = collected
    project.clear_examples()
    assert project.is_dataset_empty()
    assert project.duration_ms() == 0
    assert project.count_examples() == {"green": 0, "red": 0, "blue": 0}
    project.clear_examples()
    assert len(list((project.path / ".trash").rglob("*.flac"))) == 3, "deleted by mistake is not lost"


def test_an_examples_key_frame_is_set(collected: tuple[Project, list[Example]]) -> None:
    project, examples = collected
    loudest = examples[2].spectrogram().mean(axis=1).argmax()  # speech-commands' own way to find one
    project.set_example_key_frame_index(examples[2].uid, loudest)
    found = {example.uid: example.key_frame for example in project.get_examples("red")}
    assert found == {examples[0].uid: None, examples[2].uid: loudest}
    # One second is 43 hops of 1,024 samples, and the first frame takes two of them.
    with pytest.raises(EarmarkError, match="The key frame is 42: the recording has frames 0 to 41"):
        project.set_example_key_frame_index(examples[0].uid, 42)
    project.set_example_key_frame_index(examples[2].uid, None)
    assert [example.key_frame for example in project.get_examples("red")] == [None, None]


# On a recognizer of one's own


def test_a_recognizers_transfer_project_is_trained_on_that_recognizer(base: Recognizer, tmp_path: Path) -> None:
    project = base.create_transfer(tmp_path / "tunes")
    assert (project.mode, project.labels, project.name) == ("words", (), "tunes")
    for label, hertz in (("deep", tones.LOW), ("shrill", tones.HIGH)):
        for take in range(2):
            project.collect_example(label, tones.tone(hertz, 1, 0.2 + 0.1 * take), sample_rate=tones.RATE)
    trained = project.train(open_set=False, epochs=12)
    assert [epoch.epoch for epoch in trained.history] == list(range(1, 13))
    assert {epoch.epochs for epoch in trained.history} == {12}
    assert trained.history[-1].loss < trained.history[0].loss
    assert trained.labels == ("deep", "shrill")
    assert trained.input_shape == base.input_shape
    # The base's own network comes first: its embedding, the tones' powers, is the trained one's.
    windows = tones.tone(tones.LOW, 1, 0.4).reshape(1, *base.input_shape)
    np.testing.assert_allclose(trained.embed_windows(windows), base.embed_windows(windows), rtol=1e-6)
    assert project.models() == ["tones"]
    card = project.model_card()
    assert card is not None
    assert card["base"] == "tones"
    again = earmark.load(project.path)
    assert again.recognize(tones.tone(tones.HIGH, 1, 0.25), tones.RATE).label == "shrill"


def test_the_bases_words_are_refused_unless_they_are_allowed(base: Recognizer, tmp_path: Path) -> None:
    project = base.create_transfer(tmp_path / "tunes")
    for label in ("low", " low "):
        stream = Pieces(sixteen_bits(2), 960)
        with pytest.raises(EarmarkError, match=r"^The base knows 'low' already: .+ allow_base_words=True\.$"):
            project.collect_example(label, stream)
        assert stream.given == 0
    assert project.is_dataset_empty()
    for label in ("low", "_background_noise_", "_unknown_"):
        is_word = label == "low"
        project.collect_example(label, sixteen_bits(1), sample_rate=sounds.RATE, allow_base_words=is_word)
    assert project.labels == ("low", "_background_noise_", "_unknown_")
    plain = Project(tmp_path / "tunes")  # another program's, which knows of no recognizer
    plain.collect_example("high", sixteen_bits(1), sample_rate=sounds.RATE)


def test_a_recognizer_without_an_embedding_has_no_transfer(trained: Project, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="has no embedding: choose one that is made for words"):
        trained.model().create_transfer(tmp_path / "tunes")
    assert not (tmp_path / "tunes").exists()


def test_a_transfer_of_a_transfer_is_possible(base: Recognizer, tmp_path: Path) -> None:
    first = base.create_transfer(tmp_path / "first")
    for label, hertz in (("deep", tones.LOW), ("shrill", tones.HIGH)):
        first.collect_example(label, tones.tone(hertz, 1), sample_rate=tones.RATE)
    second = first.train(open_set=False).create_transfer(tmp_path / "second")
    with pytest.raises(EarmarkError, match="The base knows 'deep' already"):
        second.collect_example("deep", tones.tone(tones.LOW, 1), sample_rate=tones.RATE)
    for label, hertz in (("cello", tones.LOW), ("flute", tones.HIGH)):
        second.collect_example(label, tones.tone(hertz, 1), sample_rate=tones.RATE)
    trained = second.train(open_set=False)
    assert trained.recognize(tones.tone(tones.HIGH, 0.6), tones.RATE).label == "flute"


def test_examples_may_be_collected_from_several_threads(project: Project) -> None:
    def collect(number: int) -> None:
        for take in range(5):
            project.collect_example(f"label {number}", sixteen_bits(0.2, take), sample_rate=sounds.RATE)

    threads = [threading.Thread(target=collect, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert project.count_examples() == dict.fromkeys(project.labels, 5)
    assert set(project.labels) == {f"label {number}" for number in range(4)}


def test_a_loud_or_stereo_wav_of_8_bits_is_collected(project: Project, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "old.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(1)
        file.setframerate(11_025)
        file.writeframes(bytes([0, 255] * 11_025))  # full scale, of opposite signs: they cancel but for half a step
    example = project.collect_example("red", tmp_path / "old.wav")
    assert np.abs(example.audio().samples).max() <= 1 / 128
    assert re.fullmatch(r"red/.+\.flac", example.uid)


def test_a_recognizer_tells_its_labels_and_its_windows_shape(base: Recognizer) -> None:
    assert (base.labels, base.input_shape) == (("_background_noise_", "low", "high"), (50, 320))
    words = earmark.load("words")
    assert words.input_shape == (43, 232)
    assert len(words.labels) == 20
    assert words.recognize(np.zeros(16_000, np.float32), 16_000).labels == words.labels


def test_a_project_of_short_sounds_is_no_transfer_project(base: earmark.Recognizer, tmp_path: Path) -> None:
    earmark.Project(tmp_path / "snaps", create=True)
    with pytest.raises(EarmarkError, match=r"^.+snaps is a project of short sounds: .+\.$"):
        base.create_transfer(tmp_path / "snaps")
