"""From recordings and a base to a recognizer: what is learnt from, what is kept aside, and what is added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import earmark
from earmark import Clip, EarmarkError, Project, Recognizer
from earmark.clips.folders import ClipFile
from earmark.front_end.examples import windows_around
from earmark.front_end.spectrogram import compute_spectrogram
from earmark.models.metadata import LONGEST_WORD_MS
from earmark.models.network import Network
from earmark.training.bases import open_base
from earmark.training.embedding_cache import EmbeddingCache
from earmark.training.heads import HeadOptions
from earmark.training.transfer import (
    Embedder,
    TaughtClip,
    Trained,
    TransferOptions,
    _gather,
    _mix,
    _mixed_plan,
    _split,
    train_transfer,
)
from tests import bands, chirps
from tests.corpus import clip_rows, read_row
from tests.small_base import VALUES, hidden_layer, mean_spectra, small_base

NOISE, UNKNOWN = "_background_noise_", "_unknown_"
WORDS = ("high", "bounce")  # their mean spectra differ, which is what the small base hears

Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def own_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the cache of whoever runs the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user cache")))
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    """One for all tests, so that much is embedded once."""
    return EmbeddingCache(tmp_path_factory.mktemp("cache") / "embeddings.sqlite")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Four takes of each of two words, a second each."""
    project = Project(tmp_path / "project", create=True, mode="words")
    for word in WORDS:
        for take in range(4):
            project.add(word, chirps.word(word, take=take), chirps.RATE, name=f"{take}")
    return project


def taught(project: Project) -> list[TaughtClip]:
    key_frames = project.key_frames()
    return [TaughtClip(clip, key_frames.get(clip.id)) for clip in project.clips()]


def train(
    project: Project,
    cache: EmbeddingCache,
    *,
    base: bytes | None = None,
    head: HeadOptions | None = None,
    **options: Any,
) -> Trained:
    return train_transfer(
        Network(base or small_base()), taught(project), project.labels, TransferOptions(**options),
        head or HeadOptions(epochs=5), name="mine", cache=cache,
    )  # fmt: skip


def gathered(project: Project, cache: EmbeddingCache, **options: Any) -> list[tuple[int, int, bool]]:
    """Each recording's label, windows and whether it is kept aside; copies with noise come last."""
    embedder = Embedder(Network(small_base()), cache)
    found = _gather(embedder, taught(project), project.labels, TransferOptions(**options), None)
    rows = zip(found.features, found.targets, found.is_validation, strict=True)
    for _, targets, is_validation in rows:
        assert len(set(targets)) == len(set(is_validation)) == 1, "all windows of a recording go one way"
    return [
        (int(targets[0]), len(features), bool(is_validation[0]))
        for features, targets, is_validation in zip(found.features, found.targets, found.is_validation, strict=True)
    ]


# The recognizer


def test_the_recognizer_knows_new_takes_of_what_was_taught(tmp_path: Path, cache: EmbeddingCache) -> None:
    project = Project(tmp_path / "project", create=True, mode="words")
    for word in ("rise", "fall"):
        for take in range(4):
            project.add(word, chirps.word(word, take=take), chirps.RATE)
    trained = train(project, cache, base=earmark.load("words").content, head=HeadOptions())
    recognizer = Recognizer(trained.model)
    for word in ("rise", "fall"):
        for speaker in ("ann", "bob"):
            assert recognizer.recognize(chirps.word(word, speaker, 9), chirps.RATE).label == word
    assert recognizer.labels == trained.labels
    assert recognizer.metadata.name == "mine"
    assert len(trained.history) == 50
    assert trained.examples == 8


def test_real_words_are_learnt_from_five_recordings_and_others_rejected(
    recordings: Path, tmp_path: Path, cache: EmbeddingCache
) -> None:
    project = Project(tmp_path / "project", create=True, mode="words")
    rows = clip_rows(recordings, "wake_words")
    tests: list[tuple[str, Array, int]] = []
    for word in ("alexa", "computer", "jarvis", "snowboy"):
        own = [row for row in rows if row["word"] == word][:25]
        for number, row in enumerate(own):
            samples, rate = read_row(recordings, "wake_words", row)
            if number < 5 and word != "snowboy":
                project.add(word, samples, rate)
            elif number >= 5:
                tests.append((word, samples, rate))
    trained = train_transfer(
        open_base("words"), taught(project), project.labels, TransferOptions(), HeadOptions(), name="wake", cache=cache
    )
    recognizer = Recognizer(trained.model)
    results = [(word, recognizer.recognize(samples, rate)) for word, samples, rate in tests]
    right = [result.label == word for word, result in results if word != "snowboy"]
    assert len(right) == 60
    assert np.mean(right) > 0.8
    alarms = [
        result.label not in (NOISE, UNKNOWN) and result.score > 0.75 for word, result in results if word == "snowboy"
    ]
    assert np.mean(alarms) < 0.35


def test_the_same_recordings_and_seed_give_the_same_model(project: Project, cache: EmbeddingCache) -> None:
    options: dict[str, Any] = {"validation_split": 0.3, "augment_by_mixing_noise_ratio": 0.4, "window_hop_ratio": 0.25}
    first = train(project, cache, **options)
    assert train(project, EmbeddingCache(None), **options) == first
    assert train(project, cache, **options, seed=1).model != first.model


@pytest.mark.parametrize(
    ("more", "options", "are_words"),
    [
        (np.zeros(0, np.float32), {}, True),
        (np.pad(chirps.word("high", take=8), 2 * chirps.RATE), {}, True),  # long, but a word is all that it holds
        (np.tile(chirps.word("high", take=8), 6), {}, False),  # a sound that goes on
        (np.zeros(0, np.float32), {"window_hop_ratio": 0.25}, False),  # several windows of each were asked for
    ],
    ids=["words", "a word amid silence", "long sounds", "several windows"],
)
def test_recordings_of_words_make_a_recognizer_of_words(
    project: Project, cache: EmbeddingCache, more: Array, options: dict[str, float], are_words: bool
) -> None:
    for _ in range(4 if len(more) else 0):
        project.add("high", more, chirps.RATE)
    project.add(NOISE, chirps.noise(10), chirps.RATE)  # of any length
    trained = train(project, cache, head=None, base=None, open_set=False, **options)
    assert Recognizer(trained.model).metadata.longest_sound_ms == (LONGEST_WORD_MS if are_words else None)


def test_progress_is_told(project: Project) -> None:
    told: list[tuple[str, int, int]] = []
    epochs: list[object] = []
    train_transfer(
        Network(small_base()), taught(project), project.labels, TransferOptions(open_set=False), HeadOptions(epochs=2),
        name="mine", cache=EmbeddingCache(None), report=lambda *row: told.append(row), on_epoch=epochs.append,
    )  # fmt: skip
    assert told[-1] == ("Listening to the recordings", 8, 8)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert len(epochs) == 2


# Labels


def test_without_the_open_set_the_labels_are_those_of_the_project(project: Project, cache: EmbeddingCache) -> None:
    trained = train(project, cache, open_set=False)
    assert trained.labels == Recognizer(trained.model).labels == WORDS
    assert trained.examples == 8


@pytest.mark.parametrize(
    ("own", "labels"),
    [
        ((), (*WORDS, NOISE, UNKNOWN)),
        ((NOISE,), (*WORDS, NOISE, UNKNOWN)),
        ((UNKNOWN,), (*WORDS, UNKNOWN, NOISE)),
        ((UNKNOWN, NOISE), (*WORDS, UNKNOWN, NOISE)),
    ],
)
def test_noise_and_unknown_words_come_last_where_they_are_missing(
    project: Project, cache: EmbeddingCache, own: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    for label in own:
        project.add(label, chirps.noise(1), chirps.RATE)
    trained = train(project, cache)
    assert trained.labels == Recognizer(trained.model).labels == labels
    assert trained.examples == 8 + len(own), "what comes with Earmark isn't counted"


@pytest.mark.parametrize("label", [NOISE, UNKNOWN])
def test_recordings_of_ones_own_for_the_reserved_labels_are_learnt_from(
    project: Project, cache: EmbeddingCache, label: str
) -> None:
    base = earmark.load("words").content
    without = Recognizer(train(project, cache, base=base, head=HeadOptions()).model)
    for seed in range(5):
        project.add(label, chirps.word("rise", take=seed), chirps.RATE)
    recognizer = Recognizer(train(project, cache, base=base, head=HeadOptions()).model)
    sound = chirps.word("rise", take=9)
    scores = [one.recognize(sound, chirps.RATE).scores[one.labels.index(label)] for one in (without, recognizer)]
    assert scores[1] > scores[0] + 0.1


def test_one_word_alone_is_enough_with_the_open_set(tmp_path: Path, cache: EmbeddingCache) -> None:
    project = Project(tmp_path / "project", create=True, mode="words")
    project.add("rise", chirps.word("rise"), chirps.RATE)
    recognizer = Recognizer(train(project, cache, base=earmark.load("words").content, head=HeadOptions()).model)
    assert recognizer.labels == ("rise", NOISE, UNKNOWN)
    assert recognizer.recognize(chirps.word("rise", take=5), chirps.RATE).label == "rise"
    assert recognizer.recognize(np.zeros(chirps.RATE, np.float32), chirps.RATE).label == NOISE


# Windows


def test_a_recording_of_noise_gives_windows_all_over(project: Project, cache: EmbeddingCache) -> None:
    before = train(project, cache, open_set=False).examples
    project.add(NOISE, chirps.noise(4), chirps.RATE)
    # 4 s are 172 hops of 1,024 samples at 44.1 kHz and so 171 frames; windows of 43 start at 0, 22, … 128.
    assert train(project, cache, open_set=False).examples == before + len(range(0, 171 - 42, 22)) == before + 6


def test_window_hop_ratio_gives_several_windows_of_a_word(project: Project, cache: EmbeddingCache) -> None:
    for word in WORDS:  # three seconds, the word in their middle
        project.add(word, np.pad(chirps.word(word, take=9), chirps.RATE), chirps.RATE)
    (long,) = [clip for clip in project.clips("high") if clip.seconds > 2]
    project.set_key_frame(long, 64)
    clips = [clip for clip in taught(project) if clip.file == long]
    embedder = Embedder(Network(small_base()), cache)
    # 3 s are 129 hops and so 128 frames. The 43 around frame 64 start at 43; a quarter of a window is 11 frames.
    for ratio, starts in ((0.1, list(range(23, 65, 4))), (0.25, [32, 43, 54]), (1.0, [43]), (None, [43])):
        assert ratio is None or starts == windows_around(128, 64, 43, round(43 * ratio))
        found = _gather(embedder, clips, WORDS, TransferOptions(window_hop_ratio=ratio), None)
        frames = compute_spectrogram(*_samples(long), silence_before=False)
        windows = np.stack([frames[start : start + 43] for start in starts])
        expected = np.maximum(mean_spectra(windows) @ hidden_layer().kernel.T, 0)
        np.testing.assert_allclose(np.concatenate(found.features), expected, rtol=1e-3, atol=1e-4)
    rows = gathered(project, cache, window_hop_ratio=0.25)
    assert sum(count for _, count, _ in rows) == train(project, cache, window_hop_ratio=0.25).examples > 10


def _samples(file: ClipFile) -> tuple[Array, int]:
    clip = earmark.read_clip(file.path)
    return clip.samples, clip.sample_rate


# What is kept aside


def add_long_takes(project: Project) -> None:
    """Recordings that give several windows each, and three of noise."""
    for number in range(3):
        for word in WORDS:
            word_twice = np.concatenate([chirps.word(word, "cid", take) for take in (number, 10 + number)])
            project.add(word, np.pad(word_twice, chirps.RATE // 2), chirps.RATE, name=f"long {number}")
        project.add(NOISE, chirps.noise(3, number), chirps.RATE, name=f"room {number}")


@pytest.mark.parametrize("split", [0.1, 0.3, 0.5, 0.9, 0.999])
def test_each_label_keeps_its_share_of_recordings_aside_but_never_all(
    project: Project, cache: EmbeddingCache, split: float
) -> None:
    add_long_takes(project)
    project.add("once", chirps.word("fall"), chirps.RATE)
    rows = gathered(project, cache, validation_split=split, window_hop_ratio=0.25)
    assert max(count for _, count, _ in rows) > 3, "windows are many to a recording"
    for label, name in enumerate(project.labels):
        kept = [is_validation for target, _, is_validation in rows if target == label]
        count = len(project.clips(name))
        assert len(kept) == count
        assert sum(kept) == (0 if count == 1 else min(max(1, round(split * count)), count - 1))


def test_nothing_is_kept_aside_unless_asked_for(project: Project, cache: EmbeddingCache) -> None:
    assert not any(is_validation for _, _, is_validation in gathered(project, cache))
    assert train(project, cache).history[-1].validation_loss is None


def test_the_split_is_another_for_another_seed_and_the_same_for_the_same(project: Project) -> None:
    splits = [_split(taught(project), TransferOptions(validation_split=0.25, seed=seed)) for seed in (0, 0, 1, 2, 3)]
    assert splits[0] == splits[1]
    assert len({tuple(split) for split in splits}) > 1


@pytest.mark.parametrize("ratio", [None, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_aside_changes_nothing_of_the_model(
    project: Project, cache: EmbeddingCache, ratio: float | None, seed: int
) -> None:
    """Neither by its windows, nor by its noise in others, nor by the unknown words that are like it."""
    add_long_takes(project)
    options: dict[str, Any] = {"validation_split": 0.4, "window_hop_ratio": 0.5, "seed": seed}
    options["augment_by_mixing_noise_ratio"] = ratio
    before = train(project, cache, **options)
    clips = taught(project)
    kept = _split(clips, TransferOptions(validation_split=0.4, seed=seed))
    for number, (clip, is_kept_aside) in enumerate(zip(clips, kept, strict=True)):
        if is_kept_aside:
            seconds = clip.file.seconds
            chirps.save(clip.file.path, np.resize(chirps.word("rise", take=number), round(seconds * chirps.RATE)))
    assert [clip.file.id for clip in taught(project)] == [clip.file.id for clip in clips]
    after = train(project, cache, **options)
    assert after.model == before.model
    assert after.history[-1].validation_loss != before.history[-1].validation_loss
    chosen = clips[kept.index(False)].file
    chirps.save(chosen.path, chirps.word("rise", take=99))
    assert train(project, cache, **options).model != before.model


# Noise


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("noise_seconds", [0.3, 5.0])
def test_noise_is_mixed_in_at_its_strength(project: Project, ratio: float, noise_seconds: float) -> None:
    noise = project.add(NOISE, chirps.noise(noise_seconds), 44_100)  # another rate than the word's
    clip = Clip(0.5 * chirps.word("high"), chirps.RATE)
    mixed = _mix(clip, ratio, 123_456, noise)
    assert (mixed.sample_rate, mixed.samples.dtype.name) == (chirps.RATE, "float32")
    added = mixed.samples - clip.samples
    assert np.abs(added).max() == pytest.approx(ratio * np.abs(clip.samples).max(), rel=1e-4)
    assert np.abs(added[: chirps.RATE // 4]).max() > 0.3 * np.abs(added).max(), "all over"
    np.testing.assert_array_equal(_mix(clip, ratio, 123_456, noise).samples, mixed.samples)
    if noise_seconds > 1:
        assert not np.array_equal(_mix(clip, ratio, 654_321, noise).samples, mixed.samples)


def test_what_is_mixed_in_is_a_part_of_the_noise_recording(project: Project) -> None:
    samples = chirps.noise(3)
    noise = project.add(NOISE, samples, chirps.RATE)
    clip = Clip(chirps.word("high"), chirps.RATE)
    for seed in (0, 7, 40_000):
        added = _mix(clip, 0.25, seed, noise).samples - clip.samples
        at = int(np.correlate(samples, added, "valid").argmax())
        part = samples[at : at + len(added)]
        np.testing.assert_allclose(added / np.abs(added).max(), part / np.abs(part).max(), atol=1e-3)


def test_a_mix_stays_within_full_scale_and_silence_stays_silent(project: Project) -> None:
    noise = project.add(NOISE, chirps.noise(2), chirps.RATE)
    loud = Clip(np.sign(chirps.word("high")), chirps.RATE)
    assert np.abs(_mix(loud, 1.0, 5, noise).samples).max() <= 1
    silent = Clip(np.zeros(1_000, np.float32), 8_000)
    assert not _mix(silent, 1.0, 5, noise).samples.any()
    silent_noise = project.add(NOISE, np.zeros(chirps.RATE, np.float32), chirps.RATE)
    np.testing.assert_array_equal(_mix(loud, 1.0, 5, silent_noise).samples, loud.samples)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_without_recordings_of_noise_it_is_made(rate: int) -> None:
    clip = Clip(np.asarray(0.5 * np.sin(np.arange(rate)), np.float32), rate)
    added = [_mix(clip, 0.5, seed, None).samples - clip.samples for seed in (1, 1, 2)]
    np.testing.assert_array_equal(added[0], added[1])
    assert not np.array_equal(added[0], added[2])
    peak = np.abs(clip.samples).max()
    assert all(np.abs(one).max() == pytest.approx(0.5 * peak, rel=1e-3) for one in added)


def test_each_word_is_learnt_from_once_more_with_noise(project: Project, cache: EmbeddingCache) -> None:
    add_long_takes(project)
    options: dict[str, Any] = {"validation_split": 0.4}
    plain = gathered(project, cache, **options)
    mixed = gathered(project, cache, **options, augment_by_mixing_noise_ratio=0.3)
    assert mixed[: len(plain)] == plain
    copies = mixed[len(plain) :]
    noise = project.labels.index(NOISE)
    learnt = [target for target, _, is_validation in plain if not is_validation and target != noise]
    assert [target for target, _, _ in copies] == learnt
    assert not any(is_validation for _, _, is_validation in copies)


def test_the_projects_noise_is_what_is_mixed_in(project: Project) -> None:
    noise = project.add(NOISE, chirps.noise(3), chirps.RATE)
    word = np.pad(chirps.word("high"), chirps.RATE // 2)
    file = project.add("high", word, chirps.RATE)
    plan = _mixed_plan(TaughtClip(file), [noise], TransferOptions(augment_by_mixing_noise_ratio=0.3))
    assert plan.mixed is not None
    (window,) = plan.windows(Network(small_base()))
    for source, is_it in ((noise, True), (None, False)):
        mixed = _mix(earmark.read_clip(file.path), 0.3, plan.mixed[1], source)
        frames = compute_spectrogram(mixed.samples, mixed.sample_rate, silence_before=False)
        differences = [np.abs(frames[at : at + 43] - window).max() for at in range(len(frames) - 42)]
        assert (min(differences) == 0) == is_it


def test_a_little_noise_and_a_lot_are_not_the_same(project: Project, cache: EmbeddingCache) -> None:
    models = {train(project, cache, augment_by_mixing_noise_ratio=ratio).model for ratio in (None, 0.1, 1.0)}
    assert len(models) == 3


# Fine-tuning


def test_fine_tuning_moves_the_bases_layer_and_learns(project: Project, cache: EmbeddingCache) -> None:
    head = HeadOptions(epochs=10, fine_tuning_epochs=5)
    trained = train(project, cache, head=head, open_set=False)
    recognizer, base = Recognizer(trained.model), Network(small_base())
    windows = np.random.default_rng(0).uniform(-120, -20, (3, 43, 232)).astype(np.float32)
    assert np.abs(recognizer.embed_windows(windows) - base.embed_windows(windows)).max() > 1e-3
    assert len(trained.history) == 15
    plain = train(project, cache, head=HeadOptions(epochs=10), open_set=False)
    np.testing.assert_array_equal(Recognizer(plain.model).embed_windows(windows), base.embed_windows(windows))
    np.testing.assert_allclose(
        [epoch.loss for epoch in trained.history[:10]], [epoch.loss for epoch in plain.history], rtol=1e-3
    )
    assert recognizer.recognize(chirps.word("bounce", take=9), chirps.RATE).label == "bounce"


@pytest.mark.slow
@pytest.mark.parametrize("activation", [None, "Tanh"])
def test_a_base_that_can_not_be_tuned_is_told(project: Project, cache: EmbeddingCache, activation: str | None) -> None:
    with pytest.raises(EarmarkError, match=r"^The base small can't be fine-tuned: leave out fine_tuning_epochs\.$"):
        train(project, cache, base=small_base(activation), head=HeadOptions(fine_tuning_epochs=1))
    assert train(project, cache, base=small_base(activation)).labels[:2] == WORDS


# What can not be


def test_a_base_without_an_embedding_is_told(project: Project, cache: EmbeddingCache) -> None:
    with pytest.raises(EarmarkError, match=r"^The model bands has no embedding"):
        train(project, cache, base=bands.band_model())


def test_no_recordings_are_told(tmp_path: Path, cache: EmbeddingCache) -> None:
    empty = Project(tmp_path / "empty", create=True, mode="words", labels=WORDS)
    for is_open in (True, False):
        with pytest.raises(EarmarkError, match=r"^There are no recordings to train on: record some first\.$"):
            train(empty, cache, open_set=is_open)


def test_a_recording_that_is_damaged_or_gone_is_named(project: Project) -> None:
    clips = taught(project)
    clips[5].file.path.write_bytes(b"no sound")
    for _ in range(2):
        with pytest.raises(EarmarkError, match=clips[5].file.path.name):
            _train_on(project, clips)
        clips[5].file.path.unlink(missing_ok=True)


def _train_on(project: Project, clips: Sequence[TaughtClip]) -> Trained:
    return train_transfer(
        Network(small_base()), clips, project.labels, TransferOptions(open_set=False), HeadOptions(epochs=1),
        name="mine", cache=EmbeddingCache(None),
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"validation_split": -0.1},
        {"validation_split": 1.0},
        {"validation_split": float("nan")},
        {"window_hop_ratio": 0.0},
        {"window_hop_ratio": 1.1},
        {"window_hop_ratio": float("nan")},
        {"augment_by_mixing_noise_ratio": 0.0},
        {"augment_by_mixing_noise_ratio": -1.0},
        {"augment_by_mixing_noise_ratio": 1.5},
        {"augment_by_mixing_noise_ratio": float("inf")},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_told_in_a_sentence(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(EarmarkError) as told:
        TransferOptions(**options)
    assert str(told.value).startswith(f"{name} is {value}: it must be ")
    assert str(told.value).endswith(".")


def test_the_small_base_is_what_it_says() -> None:
    windows = np.random.default_rng(0).uniform(-120, -20, (3, 43, 232)).astype(np.float32)
    expected = np.maximum(mean_spectra(windows) @ hidden_layer().kernel.T, 0)
    assert expected.shape == (3, VALUES)
    np.testing.assert_allclose(Network(small_base()).embed_windows(windows), expected, rtol=1e-4, atol=1e-4)
