"""What pretraining draws from: shares, batches, splices, the cache, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark import EarmarkError
from earmark.clips.corpus import CLIP_SAMPLES, CorpusRecording, find_recordings, read_words
from earmark.pretraining.data import (
    CROSSFADE,
    SPLICED,
    PretrainingData,
    _check_understood,
    _judge,
    ask_teacher,
    prepare,
)
from tests import chirps

needs_teacher = pytest.mark.skipif(
    not importlib.util.find_spec("livekit"), reason="needs livekit-wakeword, which needs Python 3.11"
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def untaught(folder: Path, words: tuple[str, ...] = ("rise", "fall"), cache: str = "cache") -> PretrainingData:
    return prepare(find_recordings(folder), words, folder / cache, teacher=False, seed=0, report=lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rises, falls and others by three speakers, and one for validation."""
    return chirps.save_data(tmp_path_factory.mktemp("data"), takes=4)


@pytest.fixture(scope="module")
def spoken(folder: Path) -> list[CorpusRecording]:
    """The recordings of words in the order in which the data has them."""
    return [recording for recording in find_recordings(folder) if recording.word != "_background_noise_"]


@pytest.fixture(scope="module")
def data(folder: Path) -> PretrainingData:
    return untaught(folder)


def clip(data: PretrainingData, number: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return data.samples[data.starts[number] : data.starts[number] + data.lengths[number]]


def test_all_recordings_are_there_with_their_labels(data: PretrainingData, spoken: list[CorpusRecording]) -> None:
    assert data.labels == ("_background_noise_", "_unknown_", "fall", "rise")
    assert data.words == ("bounce", "fall", "high", "rise")
    expected = {"fall": 2, "rise": 3, "high": 1, "bounce": 1}
    for number, (recording, sound) in enumerate(zip(spoken, read_words(spoken), strict=True)):
        np.testing.assert_array_equal(clip(data, int(number)), sound)
        assert data.targets[number] == expected[recording.word]
        assert data.words[data.word_ids[number]] == recording.word
        assert data.sources[number] == recording.source
        assert (number in data.training) == (recording.split == "train")
        assert (number in data.validation) == (recording.split == "val")
    assert len(data.noise) == 6 * 44_100
    assert data.left_out == 0
    assert not data.teacher.any()


# Drawing


def test_labels_are_drawn_by_their_shares(data: PretrainingData) -> None:
    drawn = data.draw(np.random.default_rng(0), 20_000, background=0.07, unknown=0.25)
    assert not set(drawn) & set(data.validation)
    assert set(drawn) == {-1, *data.training}
    shares = [np.mean(drawn == -1), *(np.mean((drawn >= 0) & (data.targets[drawn] == label)) for label in (1, 2, 3))]
    np.testing.assert_allclose(shares, [0.07, 0.25, 0.34, 0.34], atol=0.015)  # 4 standard deviations


def test_the_generator_alone_decides_what_is_drawn(data: PretrainingData) -> None:
    first, again, other = (data.draw(np.random.default_rng(seed), 50, 0.1, 0.2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_data_set_counts_by_the_square_root_of_its_size(tmp_path: Path) -> None:
    chirps.save_words(tmp_path / "big" / "train", ["rise"], [f"s{number}" for number in range(18)])
    chirps.save_words(tmp_path / "small" / "train", ["rise"], ["t0", "t1"])
    chirps.save_words(tmp_path / "small" / "train", ["high"], ["t3"])
    noise = chirps.save(tmp_path / "rooms" / "a" / "b.wav", chirps.noise(2)).parents[1]
    recordings = find_recordings(tmp_path / "big") + find_recordings(tmp_path / "small")
    recordings += [
        CorpusRecording(one.path, one.word, "train", one.source) for one in find_recordings(noise, noise=True)
    ]
    data = prepare(recordings, ("rise",), tmp_path, teacher=False, seed=0, report=lambda *_: None)
    assert len(data.sources) == 21  # nobody says two words, so that nothing is spliced
    drawn = data.draw(np.random.default_rng(0), 20_000, 0.1, 0.2)
    rises = drawn[(drawn >= 0) & (data.targets[drawn] == 2)]
    # √18 to √2 is 3 to 1.
    assert np.mean(data.sources[rises] == "big") == pytest.approx(0.75, abs=0.015)
    counts = np.bincount(rises)[data.sources[: rises.max() + 1] == "big"]
    assert counts.max() < 1.3 * counts.min()  # within a data set all alike


# Batches


def test_clips_lie_in_the_middle_of_their_rows(data: PretrainingData) -> None:
    rows, lengths, targets, words, teacher = data.batch(np.array([3, -1, 10]))
    assert rows.shape == (3, 66_150)
    assert rows.dtype == np.int16
    np.testing.assert_array_equal(lengths, [44_100, 0, 44_100])
    for row, number in ((0, 3), (2, 10)):
        np.testing.assert_array_equal(rows[row, 11_025:55_125], clip(data, int(number)))
        assert not rows[row, :11_025].any()
        assert not rows[row, 55_125:].any()
    assert not rows[1].any()
    np.testing.assert_array_equal(targets, [data.targets[3], 0, data.targets[10]])
    np.testing.assert_array_equal(words, [data.word_ids[3], -1, data.word_ids[10]])
    assert teacher.shape == (3, 192)


def test_an_empty_batch_has_no_rows(data: PretrainingData) -> None:
    assert [len(array) for array in data.batch(np.zeros(0, np.int64))] == [0] * 5


# Splices


def test_splices_join_two_words_of_one_speaker(data: PretrainingData, spoken: list[CorpusRecording]) -> None:
    spliced = np.flatnonzero(data.sources == SPLICED)
    # Of 64 recordings 20 % are tried; of the 15 others of a speaker three have the same word and don't count.
    assert 5 <= len(spliced) <= 12
    assert set(spliced) <= set(data.training)
    pairs = set()
    for number in spliced:
        sound = clip(data, int(number))
        assert 10_000 < len(sound) <= CLIP_SAMPLES
        heads = [one for one in range(len(spoken)) if np.array_equal(clip(data, one)[:4_410], sound[:4_410])]
        tails = [one for one in range(len(spoken)) if np.array_equal(clip(data, one)[-4_410:], sound[-4_410:])]
        (first,), (second,) = heads, tails
        assert spoken[first].split == spoken[second].split == "train"
        assert spoken[first].speaker == spoken[second].speaker
        assert spoken[first].word != spoken[second].word
        # Half of each word, and nothing else but the fade between them.
        head = int(np.argmax(clip(data, first)[: len(sound)] != sound[: len(clip(data, first))]))
        tail = int(np.argmax(clip(data, second)[::-1][: len(sound)] != sound[::-1][: len(clip(data, second))]))
        assert len(sound) - head - tail <= CROSSFADE
        assert 0.35 < head / 44_100 < 0.65
        assert 0.35 < tail / 44_100 < 0.65
        pairs.add((first, second))
        assert data.targets[number] == 1
        assert data.word_ids[number] == -1
    assert len(pairs) > 3


def test_splices_depend_on_the_seed(folder: Path, data: PretrainingData) -> None:
    other = prepare(
        find_recordings(folder), ("rise", "fall"), folder / "cache", teacher=False, seed=1, report=lambda *_: None
    )
    same = min(len(data.samples), len(other.samples))
    assert len(other.samples) != len(data.samples) or (other.samples[:same] != data.samples[:same]).any()
    np.testing.assert_array_equal(data.samples[: 64 * 44_100], other.samples[: 64 * 44_100])


# The cache


def test_the_data_is_read_once(folder: Path, data: PretrainingData) -> None:
    told: list[str] = []
    again = prepare(
        list(reversed(find_recordings(folder))), ("fall", "rise"), folder / "cache", teacher=False, seed=0,
        report=lambda what, _done, _count: told.append(what),
    )  # fmt: skip
    assert not told
    for name, value in vars(data).items():
        if name != "_pools":
            np.testing.assert_array_equal(getattr(again, name), value)
    assert {file.suffix for file in (folder / "cache").iterdir()} == {".npz"}
    assert not list((folder / "cache").glob("*.part*"))


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    prepare(
        find_recordings(chirps.save_data(tmp_path, takes=1)), ("rise",), tmp_path / "cache", teacher=False, seed=0,
        report=lambda *step: told.append(step),
    )  # fmt: skip
    assert told == [("Reading noise", 1, 1), *(("Reading words", number, 16) for number in range(1, 17))]


def test_other_labels_need_another_folder(folder: Path, data: PretrainingData) -> None:
    (before,) = (file for file in (folder / "cache").glob(f"data-{data.hash[:16]}-0-*.npz"))
    content = before.read_bytes()
    with pytest.raises(EarmarkError, match=r"data-.+ was made for other labels: choose another folder\.$"):
        untaught(folder, ("rise", "high"))
    assert before.read_bytes() == content
    assert untaught(folder, ("rise", "high"), cache="other").labels[2:] == ("high", "rise")


def test_a_changed_recording_is_read_anew(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, takes=1)
    first = untaught(tmp_path)
    chirps.save(tmp_path / "train" / "high" / "ann_nohash_0.wav", chirps.word("high", "ann", 99))
    second = untaught(tmp_path)
    assert first.hash != second.hash
    assert (first.samples != second.samples).any()


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_cache_is_told(tmp_path: Path, damage: str) -> None:
    chirps.save_data(tmp_path, takes=1)
    untaught(tmp_path)
    (file,) = (tmp_path / "cache").glob("*.npz")
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(EarmarkError, match=r"data-.+ can't be read: delete it to have it made anew\.$"):
        untaught(tmp_path)
    file.unlink()
    assert len(untaught(tmp_path).training) >= 12


# What is refused, and what isn't read


def test_the_test_split_is_never_read(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, takes=1)
    before = untaught(tmp_path, cache="one")
    (tmp_path / "test" / "rise").mkdir(parents=True)
    (tmp_path / "test" / "rise" / "x.wav").write_bytes(b"not audio")
    (tmp_path / "test" / "secret").mkdir()
    (tmp_path / "test" / "secret" / "y.wav").write_bytes(b"not audio")
    after = untaught(tmp_path, cache="two")
    assert after.hash == before.hash
    assert after.words == before.words
    np.testing.assert_array_equal(after.samples, before.samples)


def test_a_recording_that_cant_be_read_is_named_and_nothing_is_kept(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, takes=1)
    (tmp_path / "train" / "rise" / "broken.wav").write_bytes(b"not audio")
    with pytest.raises(EarmarkError, match=r"broken\.wav is not .+: .+\.$"):
        untaught(tmp_path)
    assert not list((tmp_path / "cache").glob("*"))


def test_a_label_without_training_recordings_is_named(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, ("rise", "fall"), takes=1)
    chirps.save_words(tmp_path / "val", ["high"], ["dee"])  # for validation alone
    with pytest.raises(EarmarkError, match=r"^There are no recordings of high, zero: add some, or choose --labels\.$"):
        untaught(tmp_path, ("zero", "rise", "high"))


def test_data_without_noise_is_refused(tmp_path: Path) -> None:
    chirps.save_words(tmp_path / "train", ["rise", "fall"], ["ann"])
    with pytest.raises(EarmarkError, match=r"^There is no noise: .+_background_noise_.+--noise\.$"):
        untaught(tmp_path, ("rise",))


def test_too_little_noise_is_refused(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, ("rise", "fall"), takes=1)
    chirps.save(tmp_path / "train" / "_background_noise_" / "room.wav", chirps.noise(1))
    with pytest.raises(EarmarkError, match=r"^The noise lasts 1\.0 s: .+\.$"):
        untaught(tmp_path, ("rise",))


def test_without_other_words_splices_stand_for_them(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, ("rise", "fall"), takes=2)
    data = untaught(tmp_path)
    assert set(data.sources[data.training][data.targets[data.training] == 1]) == {SPLICED}


def test_a_folder_of_unknown_words_is_enough(tmp_path: Path) -> None:
    chirps.save_words(tmp_path / "train", ["rise"], ["ann", "bob"])
    chirps.save(tmp_path / "train" / "_unknown_" / "x.wav", chirps.word("high", "eve"))
    chirps.save(tmp_path / "train" / "_background_noise_" / "room.wav", chirps.noise(2))
    data = untaught(tmp_path, ("rise",))
    assert data.targets.tolist() == [1, 2, 2]


@pytest.mark.parametrize("speakers", [(("rise", "ann"), ("rise", "bob")), (("rise", "ann"), ("fall", "bob"))])
def test_data_without_anything_to_reject_is_refused(tmp_path: Path, speakers: tuple[tuple[str, str], ...]) -> None:
    for word, speaker in speakers:
        chirps.save_words(tmp_path / "train", [word], [speaker])
    chirps.save(tmp_path / "train" / "_background_noise_" / "room.wav", chirps.noise(2))
    with pytest.raises(EarmarkError, match=r"^There are no recordings of other words, to be rejected: .+\.$"):
        untaught(tmp_path, tuple(sorted({word for word, _ in speakers})))


def test_a_folder_that_cant_be_written_is_told(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, takes=1)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(EarmarkError, match=r"cache can't be written.*: .+\.$"):
        untaught(tmp_path)


# The teacher


@needs_teacher
def test_the_teachers_embeddings_are_standardized(tmp_path: Path) -> None:
    chirps.save_data(tmp_path, takes=2)
    data = prepare(find_recordings(tmp_path), ("rise", "fall"), tmp_path, teacher=True, seed=0, report=lambda *_: None)
    taught = np.flatnonzero(data.teacher.any(axis=1))
    assert set(data.training) <= set(taught)
    assert not set(taught) & set(data.validation)
    values = data.teacher[taught].astype(np.float64)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    is_varied = values.std(axis=0) > 0.1  # the maximum of some values is always 0
    assert is_varied.mean() > 0.5
    np.testing.assert_allclose(values.std(axis=0)[is_varied], 1, atol=1e-3)
    # It tells the words apart: the same word is nearer than another one.
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    words = data.word_ids[taught]
    alike = (unit @ unit.T)[np.triu_indices(len(words), 1)]
    same = (words[:, None] == words)[np.triu_indices(len(words), 1)] & (words >= 0)[np.triu_indices(len(words), 1)[0]]
    assert alike[same].mean() > alike[~same].mean() + 0.2
    # Kept apart from what was made without a teacher.
    assert not prepare(
        find_recordings(tmp_path), ("rise", "fall"), tmp_path, teacher=False, seed=0, report=lambda *_: None
    ).teacher.any()


@needs_teacher
def test_the_teacher_hears_neither_loudness_nor_what_lies_around_the_middle() -> None:
    word = chirps.word("bounce", rate=44_100)
    sound = np.rint(word * 32_767).astype(np.int16)
    quiet = np.rint(word * 32_767 / 4).astype(np.int16)
    long = np.concatenate((quiet[:10_000], sound, quiet[-10_000:]))
    other = np.rint(chirps.word("fall", rate=44_100) * 32_767).astype(np.int16)
    embeddings = np.stack(list(ask_teacher([sound, quiet, long, other])))
    assert embeddings.shape == (4, 192)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.98
    assert unit[0] @ unit[2] > 0.98
    assert unit[0] @ unit[3] < 0.95


@needs_teacher
@pytest.mark.parametrize("samples", [1, 100, 66_150])
def test_the_teacher_takes_clips_of_any_length(samples: int) -> None:
    for sound in (np.zeros(samples, np.int16), np.full(samples, 32_767, np.int16)):
        (embedding,) = ask_teacher([sound])
        assert embedding.shape == (192,)
        assert np.isfinite(embedding).all()


def test_what_the_teacher_doesnt_understand_is_left_out() -> None:
    random = np.random.default_rng(0)
    # Labels 1, 2 and 3 lie in three corners; label 0 is noise, which no word is.
    corners = np.array([[0, 0], [-5, -5], [5, -5], [0, 5]])
    targets = np.repeat([1, 2, 3], 100)
    embeddings = (corners[targets] + random.normal(0, 0.5, (300, 2))).astype(np.float32)
    mistaken = np.array([[0, 5], [-5, -5], [0, 5]], np.float32)  # said to be 2, spliced, spliced
    embeddings = np.concatenate((embeddings, mistaken))
    targets = np.concatenate((targets, [2, 1, 1]))
    sources = np.array(["set"] * 301 + [SPLICED] * 2)
    is_clear = _judge(embeddings, targets, sources, 4)
    assert is_clear[:300].all()
    # A 3 that is called 2; a splice that is nothing; a splice that came out as a 3.
    assert is_clear[300:].tolist() == [False, True, False]


def test_a_label_that_is_never_understood_is_named() -> None:
    labels = ("_background_noise_", "_unknown_", "fall", "rise")
    _check_understood(labels, {1, 2, 3})
    with pytest.raises(EarmarkError, match=r"understands no recording of _unknown_, rise: choose --no-teacher\.$"):
        _check_understood(labels, {2})


# Real recordings


def test_real_words_are_spliced_in_their_middle(recordings: Path, tmp_path: Path) -> None:
    """A real word fills less than its clip: half of its time lies before the cut."""
    sound, rate = soundfile.read(recordings / "speech_commands" / "val-yes.ogg", dtype="float32", frames=16_000)
    other, _ = soundfile.read(recordings / "speech_commands" / "val-zero.ogg", dtype="float32", frames=16_000)
    for word, samples in (("yes", sound), ("zero", other)):
        for take in range(10):
            chirps.save(tmp_path / "train" / word / f"x_nohash_{take}.wav", samples, rate)
    chirps.save(tmp_path / "train" / "_background_noise_" / "room.wav", chirps.noise(2))
    data = untaught(tmp_path, ("yes",))
    spliced = np.flatnonzero(data.sources == SPLICED)
    assert len(spliced)
    for number in spliced:
        power = np.square(clip(data, int(number)).astype(np.float64))
        assert power[: len(power) // 2].sum() > 0.02 * power.sum()
        assert power[len(power) // 2 :].sum() > 0.02 * power.sum()
