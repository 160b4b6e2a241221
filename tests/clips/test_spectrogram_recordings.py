"""Recordings of which only the spectrogram is left: a project keeps them, learns from them and recognizes them."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import helper

import earmark
from earmark import Clip, EarmarkError, Project, Recognizer
from earmark.clips.folders import ClipFile, check_length
from earmark.evaluation.cross_validation import cross_validate
from earmark.evaluation.report import write_report
from earmark.front_end.examples import cut_examples, cut_windows
from earmark.front_end.frames import SPECTROGRAM, WAVEFORM
from earmark.front_end.recordings import SoundlessClip, frames_of, part_of, read_recording, sound_of, spectrogram_of
from earmark.front_end.spectrogram import FRAME_SECONDS, compute_spectrogram
from earmark.front_end.spectrogram_file import encode_spectrogram
from earmark.labels import RESERVED_LABELS
from earmark.models.metadata import FixedNormalization, Metadata
from earmark.models.network import Network
from earmark.models.onnx_writer import model_file
from earmark.training.embedding_cache import EmbeddingCache
from earmark.training.heads import HeadOptions
from earmark.training.plan import Training
from earmark.training.transfer import (
    Embedder,
    TaughtClip,
    TransferOptions,
    _mix_levels,
    _mix_recording,
    _Plan,
    train_transfer,
)
from tests import chirps, sounds
from tests.conftest import SHARED
from tests.corpus import clip_rows, read_row
from tests.small_base import small_base

NOISE, _ = RESERVED_LABELS
Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def own_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache of what Earmark makes itself, in a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user")))
        yield


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "cache.sqlite")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Four takes of each of two words, 1.2 s each, and noise."""
    project = Project(tmp_path / "project", create=True, mode="words")
    for word in ("rise", "fall"):
        for take in range(4):
            project.add(word, around(chirps.word(word, take=take), take), chirps.RATE, name=f"{take}")
    project.add(NOISE, chirps.noise(4), chirps.RATE, name="noise")
    return project


def around(samples: Array, seed: int, seconds: float = 0.1, rate: int = chirps.RATE) -> Array:
    """The sound with some of a quiet room's before and after it, so that it is longer than a window."""
    random = np.random.default_rng(seed)
    before, after = (0.0005 * random.standard_normal((2, round(seconds * rate)))).astype(np.float32)
    return np.concatenate((before, samples, after))


def levels_of(clip: ClipFile) -> Array:
    sound = earmark.read_clip(clip.path)
    return compute_spectrogram(sound.samples, sound.sample_rate, silence_before=False)


def take_sound(project: Project, clip: ClipFile) -> ClipFile:
    """Keep but the spectrogram of a recording, under the same name."""
    levels, key_frame = levels_of(clip), project.key_frames().get(clip.id)
    project.remove_clip(clip)
    return project.add_spectrogram(clip.label, levels, name=clip.path.stem, key_frame=key_frame)


def take_every_other_sound(project: Project) -> None:
    for clip in project.clips()[::2]:
        take_sound(project, clip)


def taught(project: Project) -> list[TaughtClip]:
    key_frames = project.key_frames()
    return [TaughtClip(clip, key_frames.get(clip.id)) for clip in project.clips()]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# As a project keeps them


@pytest.mark.parametrize("mode", ["sounds", "words"])
@pytest.mark.parametrize("seconds", [0.05, 0.1, 1.0, 3.21])
def test_it_counts_as_the_same_recording_with_its_sound_does(tmp_path: Path, mode: str, seconds: float) -> None:
    project = Project(tmp_path / "project", create=True, mode=mode)
    heard = project.add("Left", sounds.whistle(seconds, 1), sounds.RATE)
    seen = project.add_spectrogram("Left", levels_of(heard))
    assert (heard.has_sound, seen.has_sound) == (True, False)
    assert (seen.path.suffix, seen.path.parent) == (".npy", heard.path.parent)
    assert (seen.frames, seen.examples, seen.error) == (heard.frames, heard.examples, None)
    assert seen.frames == int(seconds * 44_100) // 1_024 - 1
    assert seen.seconds == pytest.approx(seen.frames * 1_024 / 44_100)
    assert project.examples_in(seen) == project.examples_in(heard)
    assert project.count_examples() == {"Left": 2 * project.examples_in(heard)}
    assert [clip.id for clip in Project(project.path).clips()] == sorted([heard.id, seen.id])


def test_what_is_kept_is_what_was_given(project: Project) -> None:
    levels = levels_of(project.clips("rise")[0])
    clip = project.add_spectrogram("new", levels, name="a/b", key_frame=7)
    assert clip.path == project.path / "clips" / "new" / "a%2Fb.npy"
    assert "new" in project.labels
    assert project.key_frames()[clip.id] == 7
    np.testing.assert_array_equal(np.load(clip.path), levels)
    (example,) = project.get_examples("new")
    np.testing.assert_array_equal(example.spectrogram(), levels)
    assert (example.uid, example.key_frame) == (clip.id, 7)
    again = project.add("new", clip.path)
    np.testing.assert_array_equal(np.load(again.path), levels)
    assert again.path.name != clip.path.name, "a name that is taken stays whose it is"
    assert project.add("new", SoundlessClip(levels)).seconds == clip.seconds
    with pytest.raises(EarmarkError, match=r"a%2Fb.npy has no sound, only its spectrogram: choose one with sound\.$"):
        example.audio()


def test_a_new_recording_does_not_get_the_key_frame_of_one_that_had_its_name(project: Project) -> None:
    levels = levels_of(project.clips("rise")[0])
    clip = project.add_spectrogram("rise", levels, name="one", key_frame=7)
    clip.path.unlink()
    assert project.add_spectrogram("rise", levels, name="one").id == clip.id
    assert project.key_frames() == {}


@pytest.mark.parametrize(
    ("label", "frames", "options"),
    [
        ("new", np.zeros((0, 232)), {}),
        ("new", np.zeros((43, 100)), {}),
        ("new", np.full((43, 232), np.nan), {}),
        ("new", np.zeros((43, 232)), {"key_frame": 43}),
        ("new", np.zeros((43, 232)), {"key_frame": -1}),
        ("new", np.zeros((43, 232)), {"key_frame": 0.5}),
        ("", np.zeros((43, 232)), {}),
        ("RISE", np.zeros((43, 232)), {}),
    ],
)
def test_what_can_not_be_added_changes_nothing(
    project: Project, label: str, frames: Array, options: dict[str, Any]
) -> None:
    before = files_below(project.path)
    with pytest.raises(EarmarkError):
        project.add_spectrogram(label, frames, **options)
    assert files_below(project.path) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on the size of files")
def test_a_full_disk_is_told_and_changes_nothing(project: Project) -> None:
    before = files_below(project.path)
    script = """if True:
        import resource, sys, numpy
        from earmark import EarmarkError, Project
        project = Project(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 1 << 40))  # the system then refuses larger files
        for label in ("rise", "new"):
            try:
                project.add_spectrogram(label, numpy.zeros((43, 232)), name="one")
            except EarmarkError as error:
                print(error)
    """
    told = subprocess.run([sys.executable, "-c", script, project.path], capture_output=True, text=True, check=True)
    assert [line.endswith("that you may write to.") for line in told.stdout.splitlines()] == [True, True]
    assert files_below(project.path) == before
    assert not (project.path / "clips" / "new").exists()


def test_it_moves_is_deleted_and_comes_back_like_any_other(project: Project) -> None:
    levels = levels_of(project.clips("rise")[0])
    clip = project.add_spectrogram("rise", levels, name="one", key_frame=7)
    prints = [project.fingerprint()]
    moved = project.move_clip(clip, "fall")
    assert (moved.id, moved.has_sound) == ("fall/one.npy", False)
    prints.append(project.fingerprint())
    project.change_label("fall", new_name="drop")
    assert project.clip("drop/one.npy").frames == len(levels)
    assert project.key_frames() == {"drop/one.npy": 7}
    trashed = project.remove_clip(project.clip("drop/one.npy"))
    prints.append(project.fingerprint())
    assert project.key_frames() == {}
    project.restore(trashed)
    label = project.remove_label("drop")
    assert project.all_have_sound()
    project.restore(label)
    assert not project.all_have_sound()
    assert project.key_frames() == {"drop/one.npy": 7}
    np.testing.assert_array_equal(np.load(project.clip("drop/one.npy").path), levels)
    prints.append(project.fingerprint())
    (project.path / "clips" / "drop" / "one.npy").write_bytes(encode_spectrogram(levels[1:]))
    prints.append(project.fingerprint())
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    ("start", "end", "first", "last"), [(0.1, 0.6, 4, 26), (-1.0, 0.5, 0, 22), (0.5, 99.0, 22, 50)]
)
def test_it_is_trimmed_to_the_frames_of_a_span(
    project: Project, start: float, end: float, first: int, last: int
) -> None:
    levels = levels_of(project.clips("rise")[0])
    assert len(levels) == 50
    clip = project.add_spectrogram("rise", levels, key_frame=24)
    trimmed, trashed = project.trim_clip(clip, start, end)
    np.testing.assert_array_equal(np.load(trimmed.path), levels[first:last])
    assert project.key_frames() == ({trimmed.id: 24 - first} if last > 24 else {})
    project.remove_clip(trimmed)
    project.restore(trashed)
    assert project.clip(clip.id) == clip
    for span in ((0.3, 0.3), (0.5, 0.2), (0.2, 0.24)):
        with pytest.raises(EarmarkError, match=r"make it at least 0\.1 s long"):
            project.trim_clip(clip, *span)
    assert project.clip(clip.id) == clip


def test_a_damaged_file_is_told_and_stops_a_training(project: Project) -> None:
    (project.path / "clips" / "rise" / "bad.npy").write_bytes(b"no levels")
    clip = project.clip("rise/bad.npy")
    assert clip.error == "bad.npy is not a spectrogram that can be read: save one with numpy.save."
    assert (clip.seconds, clip.frames, clip.examples) == (0, 0, 0)
    with pytest.raises(EarmarkError, match=r"Training needs every clip: bad.npy is not a spectrogram"):
        project.train("words")


# Its frames


def test_its_windows_are_those_of_its_sound(project: Project) -> None:
    for clip in project.clips():
        heard, seen = read_recording(clip.path), SoundlessClip(levels_of(clip))
        for options in ({}, {"key_frame": 30}, {"window_hop_ratio": 0.25}, {"everywhere": True}):
            np.testing.assert_array_equal(
                cut_windows(seen, 43, SPECTROGRAM, **options), cut_windows(heard, 43, SPECTROGRAM, **options)
            )
        np.testing.assert_array_equal(spectrogram_of(seen), spectrogram_of(heard))


@pytest.mark.parametrize("frames", [1, 20, 42])
def test_one_that_is_shorter_than_a_window_lies_in_its_middle(frames: int) -> None:
    levels = np.random.default_rng(frames).uniform(-90, -20, (frames, 232)).astype(np.float32)
    (window,) = cut_windows(SoundlessClip(levels), 43, SPECTROGRAM)
    before = (43 - frames) // 2
    np.testing.assert_array_equal(window[before : before + frames], levels)
    filling = np.delete(window, slice(before, before + frames), axis=0)
    assert (filling == levels.min()).all()


def test_a_short_one_is_nearly_what_its_sound_is() -> None:
    network = earmark.load("words")
    for word in ("rise", "fall", "bounce"):
        sound = Clip(chirps.word(word)[2_000:14_000], chirps.RATE)
        seen = SoundlessClip(spectrogram_of(sound))
        one, other = (network.embed_windows(cut_windows(take, 43, SPECTROGRAM))[0] for take in (sound, seen))
        assert one @ other > 0.9 * np.linalg.norm(one) * np.linalg.norm(other)


def test_short_sounds_are_cut_alike() -> None:
    clips: list[tuple[Clip | SoundlessClip, int]] = [
        (Clip(sounds.whistle(1.0, 1), sounds.RATE), 0),
        (Clip(sounds.snaps(0.02, 2), sounds.RATE), 1),
        (Clip(sounds.snaps(0.7, 3), sounds.RATE), 1),
    ]
    heard = cut_examples(clips, 3)
    seen = cut_examples([(SoundlessClip(spectrogram_of(clip)), target) for clip, target in clips], 3)
    np.testing.assert_array_equal(seen.windows(), heard.windows())
    np.testing.assert_array_equal(seen.targets, heard.targets)


def test_what_asks_for_its_sound_is_refused() -> None:
    seen = SoundlessClip(np.full((50, 232), -60, np.float32), "take.npy")
    with pytest.raises(EarmarkError, match=r"^take.npy has no sound, only its spectrogram: choose one with sound\.$"):
        sound_of(seen)
    with pytest.raises(EarmarkError, match=r"^take.npy has no sound.*choose a model on the base words\.$"):
        list(frames_of(seen, 70, WAVEFORM))
    check_length(part_of(seen, 0, 3 * FRAME_SECONDS))
    with pytest.raises(EarmarkError, match=r"^The recording lasts 0.05 s: make it at least 0.1 s long\.$"):
        check_length(part_of(seen, 0, 2 * FRAME_SECONDS))


# Training


def learnt(project: Project, cache: EmbeddingCache, **options: Any) -> Recognizer:
    """As `train` does, but in the order of names: files with sound and without have another content."""
    training = Training(project.base, project.base, options, cache)
    return Recognizer(training.run(taught(project), project.labels).model)


def test_short_sounds_are_learnt_alike_with_and_without_sound(tmp_path: Path, cache: EmbeddingCache) -> None:
    project = Project(tmp_path / "clapper", create=True)
    for take in range(2):
        project.add("Left", sounds.whistle(1.5, 10 * take + 1), sounds.RATE, name=f"{take}")
        project.add("Right", sounds.snaps(1.5, 10 * take + 2), sounds.RATE, name=f"{take}")
    before = learnt(project, cache, epochs=2).content
    take_every_other_sound(project)
    assert [clip.has_sound for clip in project.clips()] == [False, True, False, True]
    after = learnt(project, cache, epochs=2)
    assert after.content == before
    for clip, label in ((project.clips("Left")[0], "Left"), (project.clips("Right")[0], "Right")):
        assert after.recognize(clip.path).label == label
        spectrogram = after.recognize(clip.path, include_spectrogram=True).spectrogram
        assert spectrogram is not None
        np.testing.assert_array_equal(spectrogram, np.load(clip.path))


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    "options", [{}, {"window_hop_ratio": 0.25}, {"open_set": False}, {"validation_split": 0.5}], ids=str
)
def test_words_are_learnt_alike_with_and_without_sound(
    project: Project, cache: EmbeddingCache, options: dict[str, Any]
) -> None:
    def train() -> bytes:
        return train_transfer(
            Network(small_base()), taught(project), project.labels, TransferOptions(**options), HeadOptions(epochs=3),
            name="mine", cache=cache,
        ).model  # fmt: skip

    project.set_key_frame(project.clips("fall")[2], 25)
    before = train()
    take_every_other_sound(project)
    assert sum(clip.has_sound for clip in project.clips()) == 4
    assert train() == before


@pytest.mark.slow
def test_real_words_are_learnt_and_recognized_as_well_without_sound(
    recordings: Path, tmp_path: Path, cache: EmbeddingCache
) -> None:
    project = Project(tmp_path / "words", create=True, mode="words")
    project.set_base("words")
    rows = clip_rows(recordings, "wake_words")
    tests: list[tuple[str, ClipFile]] = []
    aside = Project(tmp_path / "aside", create=True, mode="words")
    for word in ("alexa", "computer", "jarvis"):
        for number, row in enumerate([row for row in rows if row["word"] == word][:20]):
            samples, rate = read_row(recordings, "wake_words", row)
            samples = around(samples, number, 0.3, rate)
            if number < 6:
                project.add(word, samples, rate, name=f"{number}")
            else:
                tests.append((word, aside.add(word, samples, rate)))
    with_sound = learnt(project, cache)
    take_every_other_sound(project)
    without = learnt(project, cache)
    assert without.content == with_sound.content, "a window's frames are the same, to the last bit"
    right = 0
    for word, clip in tests:
        heard = without.recognize(clip.path, include_embedding=True)
        seen = without.recognize(take_sound(aside, clip).path, include_embedding=True)
        np.testing.assert_array_equal(seen.scores, heard.scores)
        np.testing.assert_array_equal(seen.embedding, heard.embedding)
        right += seen.label == word
    assert right / len(tests) > 0.8


def fixture_examples() -> list[tuple[str, Array]]:
    """The examples of a set that speech-commands serialized: magic, version, length of the JSON, JSON, spectrograms."""
    file = SHARED / "fixtures" / "tfjs_speech_commands" / "examples.bin"
    if not file.is_file():
        pytest.skip("needs the example set in ../shared/fixtures")
    content = file.read_bytes()
    magic, version, length = struct.unpack_from("<8sII", content)
    assert (magic, version) == (b"TFJSSCDS", 1)
    found, at = [], 16 + length
    for example in json.loads(content[16:at]):
        shape = (example["spectrogramNumFrames"], example["spectrogramFrameSize"])
        assert shape == (43, 232)
        found.append((example["label"], np.frombuffer(content, "<f4", 43 * 232, at).reshape(shape)))
        at += 4 * 43 * 232
    return found


@pytest.mark.slow
def test_what_speech_commands_has_serialized_can_be_learnt(tmp_path: Path, cache: EmbeddingCache) -> None:
    project = Project(tmp_path / "slides", create=True, mode="words")
    for label, levels in fixture_examples():
        project.add_spectrogram(label, levels)
    assert project.count_recordings() == dict.fromkeys(project.labels, 10)
    assert len(project.labels) == 3
    assert project.base == "words"
    recognizer = project.train()
    right = [recognizer.recognize(clip.path).label == clip.label for clip in project.clips()]
    assert np.mean(right) > 0.9
    training = Training("words", "words", {}, cache)
    evaluation = cross_validate(training, taught(project), project.labels, folds=5)
    assert evaluation.accuracy.value > 0.6, "each was recognized by a model that never saw it; one in three is chance"


def test_embeddings_are_of_the_file_as_it_is(project: Project, cache: EmbeddingCache) -> None:
    network = Network(small_base())

    def embed(clip: ClipFile) -> Array:
        (found,) = Embedder(network, cache).embed([_Plan(TaughtClip(clip), None)])
        return found

    heard = project.clips("rise")[0]
    other = levels_of(project.clips("fall")[0])
    before = embed(heard)
    project.add_spectrogram("rise", other, name=heard.path.stem)
    seen = project.clip(heard.id.replace(".flac", ".npy"))
    np.testing.assert_array_equal(
        embed(seen), network.embed_windows(cut_windows(SoundlessClip(other), 43, SPECTROGRAM))
    )
    np.testing.assert_array_equal(embed(heard), before)
    seen.path.write_bytes(encode_spectrogram(levels_of(heard)))
    np.testing.assert_array_equal(embed(project.clip(seen.id)), before)


# Noise that is mixed in


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_powers_add(ratio: float) -> None:
    random = np.random.default_rng(1)
    word, noise = random.uniform(-90, -30, (43, 232)), random.uniform(-70, -60, (100, 232))
    mixed = _mix_levels(word.astype(np.float32), noise.astype(np.float32), ratio, seed=58 + 7)
    power, own, part = (10 ** (levels / 10) for levels in (mixed.astype(np.float64), word, noise[7:50]))
    added = power - own
    assert added.sum(axis=1).max() == pytest.approx(ratio**2 * own.sum(axis=1).max(), rel=1e-3)
    share = added.sum(axis=0) / added.sum()
    np.testing.assert_allclose(share, part.sum(axis=0) / part.sum(), rtol=0.05, err_msg="the noise's own spectrum")


@pytest.mark.parametrize("frames", [0, 1, 10, 43])
def test_noise_of_any_length_is_mixed_in_and_silence_adds_nothing(frames: int) -> None:
    word = np.random.default_rng(1).uniform(-90, -30, (43, 232)).astype(np.float32)
    silence = np.full((frames, 232), -160, np.float32)
    np.testing.assert_allclose(_mix_levels(word, silence, 1.0, 5), word, atol=1e-4)
    mixed = _mix_levels(word, silence + 100, 0.5, 5)
    assert np.isfinite(mixed).all()
    assert (mixed >= word - 1e-4).all()
    assert (mixed > word + 1e-4).any(axis=1).all() == (frames > 0), "all over, however short the noise"


@pytest.mark.parametrize("is_noise_heard", [True, False])
def test_mixed_levels_are_about_those_of_mixed_sounds(project: Project, is_noise_heard: bool) -> None:
    noise, word = project.clips(NOISE)[0], read_recording(project.clips("rise")[0].path)

    def before_the_word(levels: Array) -> float:
        """The level of a frame's sound, where there is only the noise."""
        return float(10 * np.log10((10 ** (levels[:8].astype(np.float64) / 10)).sum(axis=1).mean()))

    heard = before_the_word(spectrogram_of(_mix_recording(word, 0.3, 0, noise)))
    if not is_noise_heard:
        noise = take_sound(project, noise)
    seen = before_the_word(spectrogram_of(_mix_recording(SoundlessClip(spectrogram_of(word)), 0.3, 0, noise)))
    assert seen > before_the_word(spectrogram_of(word)) + 20
    # Sounds are compared by their peaks, and levels by their powers: a noise's peaks are higher for the same power.
    assert 0 < seen - heard < 12


@pytest.mark.parametrize("is_noise_heard", [True, False, None])
def test_words_without_sound_are_learnt_with_noise_too(
    project: Project, cache: EmbeddingCache, is_noise_heard: bool | None
) -> None:
    take_every_other_sound(project)
    (noise,) = project.clips(NOISE)
    if noise.has_sound and not is_noise_heard:
        noise = take_sound(project, noise)
    if is_noise_heard is None:
        project.remove_clip(noise)
    clips = taught(project)
    trained = train_transfer(
        Network(small_base()), clips, project.labels, TransferOptions(augment_by_mixing_noise_ratio=0.3),
        HeadOptions(epochs=3), name="mine", cache=cache,
    )  # fmt: skip
    plain = train_transfer(
        Network(small_base()), clips, project.labels, TransferOptions(), HeadOptions(epochs=3), name="mine", cache=cache
    )
    assert trained.examples == plain.examples + 8


# A base that hears the sound itself


def waveform_base(labels: tuple[str, ...] = ()) -> bytes:
    """A network on windows of a second of sound: the mean over its frames is the embedding, and the scores."""
    outputs = {"embedding": 320} | ({"scores": 320} if labels else {})
    nodes = [helper.make_node("ReduceMean", ["window"], [name], axes=[1], keepdims=0) for name in outputs]
    return model_file(nodes, {}, Metadata("wave", labels, 50, FixedNormalization(0, 1), WAVEFORM), outputs)


def test_a_base_that_hears_the_sound_refuses_them_by_name(project: Project, cache: EmbeddingCache) -> None:
    base = Network(waveform_base())
    train_transfer(
        base, taught(project), project.labels, TransferOptions(), HeadOptions(epochs=1), name="a", cache=cache
    )
    take_sound(project, project.clips("rise")[1])
    sentence = (
        r"^rise/1.npy has no sound, only its spectrogram, and the base wave hears sound: "
        r"train on the base words \(`earmark train … --base words`\)\.$"
    )
    with pytest.raises(EarmarkError, match=sentence):
        project.train(base)
    with pytest.raises(EarmarkError, match=sentence):
        project.evaluate(base)
    assert project.models() == []


def test_a_recognizer_that_hears_the_sound_refuses_them(project: Project) -> None:
    labels = tuple(f"label {number}" for number in range(320))
    recognizer = Recognizer(waveform_base(labels))
    recognizer.recognize(project.clips("rise")[0].path)
    seen = take_sound(project, project.clips("rise")[0])
    with pytest.raises(EarmarkError, match=r"0.npy has no sound, only its spectrogram, and the model hears the sound"):
        recognizer.recognize(seen.path)


def test_the_base_is_words_unless_another_was_chosen(project: Project) -> None:
    pytest.importorskip("livekit.wakeword")
    assert project.base == "auto"
    clip = take_sound(project, project.clips("rise")[0])
    assert project.base == "words"
    assert [base.name for base in project.bases() if base.remedy is None] == ["words"]
    project.set_base("speech")
    assert project.base == "speech"
    with pytest.raises(
        EarmarkError, match=r"rise/0.npy has no sound, .* the base speech hears sound: train on the base"
    ):
        project.train()
    project.remove_clip(clip)
    assert all(base.remedy is None for base in project.bases()[:2])


# Evaluation


@pytest.mark.slow
def test_an_evaluation_shows_them_without_a_player(project: Project, cache: EmbeddingCache, tmp_path: Path) -> None:
    take_every_other_sound(project)
    # Taught the wrong way round, so that mistakes are made.
    for pair in zip(project.clips("rise")[:2], project.clips("fall")[:2], strict=True):
        for clip, label in zip(pair, ("fall", "rise"), strict=True):
            project.move_clip(clip, label)
    training = Training(Network(small_base()), "small", {"epochs": 5}, cache)
    evaluation = cross_validate(training, taught(project), project.labels, folds=2)
    assert {clip.path.suffix for clip in evaluation.clips} == {".flac", ".npy"}
    seen = [mistake for mistake in evaluation.mistakes if mistake.clip.path.suffix == ".npy"]
    heard = len(evaluation.mistakes) - len(seen)
    assert seen
    file = tmp_path / "report.html"
    write_report(evaluation, file, title="words")
    page = file.read_text("utf-8")
    assert page.count("<audio") == heard
    assert page.count('alt="Spectrogram of 1.2 s, 0 to 5 kHz"') == len(evaluation.mistakes)
    assert page.count("Only its spectrogram is left.") == len(seen)


def test_the_report_shows_the_loudest_part_of_a_long_one(tmp_path: Path) -> None:
    from earmark.evaluation.report_sounds import loudest_seconds, picture_uri

    levels = np.full((1_000, 232), -100, np.float32)
    levels[700:720, 50] = -20
    file = tmp_path / "long.npy"
    file.write_bytes(encode_spectrogram(levels))
    part = loudest_seconds(file)
    assert isinstance(part, SoundlessClip)
    assert part.seconds == pytest.approx(3, abs=FRAME_SECONDS)
    assert (part.frames[:, 50] == -20).sum() == 20
    assert (picture_uri(part) or "").startswith("data:image/png;base64,")
