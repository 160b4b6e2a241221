"""Data sets as folders: which recordings there are, whose, of which split, and their sound."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from earmark import EarmarkError
from earmark.clips.corpus import (
    CLIP_SAMPLES,
    CorpusRecording,
    count_recordings,
    find_recordings,
    hash_recordings,
    loudest_part,
    read_sounds,
    read_words,
)
from tests import chirps


def touch(folder: Path, *names: str) -> Path:
    """Files that are only counted, not read: each holds its own name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def splits(folder: Path) -> dict[str, str]:
    """Path within the data set → split."""
    return {recording.path.relative_to(folder).as_posix(): recording.split for recording in find_recordings(folder)}


# Layouts


def test_the_lists_of_speech_commands_say_what_is_for_validation_and_test(tmp_path: Path) -> None:
    # "9" would be for validation by its hash (see below): the lists alone count.
    names = ("yes/a_nohash_0.wav", "yes/a_nohash_1.wav", "yes/b_nohash_0.wav", "no/9_nohash_0.wav", "no/c_nohash_0.wav")
    touch(tmp_path, *names, "_background_noise_/rain.wav")
    (tmp_path / "validation_list.txt").write_text("yes/a_nohash_0.wav\nyes/a_nohash_1.wav\ngone/a_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/c_nohash_0.wav\n")
    assert splits(tmp_path) == {
        "_background_noise_/rain.wav": "train",
        "no/9_nohash_0.wav": "train",
        "no/c_nohash_0.wav": "test",
        "yes/a_nohash_0.wav": "val",
        "yes/a_nohash_1.wav": "val",
        "yes/b_nohash_0.wav": "train",
    }


def test_a_list_that_is_no_text_names_no_recording(tmp_path: Path) -> None:
    touch(tmp_path, "yes/a.wav")
    (tmp_path / "testing_list.txt").write_bytes(b"\xff\xfe\x00yes/a.wav")
    assert splits(tmp_path) == {"yes/a.wav": "train"}


def test_split_folders_count_by_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "train/yes/9.wav", "train/no/a.flac", "val/yes/b.ogg", "test/bird/c.WAV")
    assert splits(tmp_path) == {
        "train/yes/9.wav": "train",
        "train/no/a.flac": "train",
        "val/yes/b.ogg": "val",
        "test/bird/c.WAV": "test",
    }
    assert [recording.word for recording in find_recordings(tmp_path)] == ["no", "yes", "yes", "bird"]


def test_a_word_may_be_called_like_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "test/8_nohash_0.wav", "train/8_nohash_0.wav", "bus/8_nohash_0.wav")
    found = find_recordings(tmp_path)
    assert [(recording.word, recording.split) for recording in found] == [
        ("bus", "train"), ("test", "train"), ("train", "train"),
    ]  # fmt: skip


def test_a_tenth_of_the_speakers_of_a_plain_folder_are_for_validation(tmp_path: Path) -> None:
    speakers = [f"speaker{number}" for number in range(600)]
    touch(tmp_path, *(f"{word}/{speaker}_nohash_{take}.wav" for word in ("yes", "no") for speaker in speakers
                      for take in (0, 1)))  # fmt: skip
    found = find_recordings(tmp_path)
    assert len(found) == 2_400
    sides = {split: {one.speaker for one in found if one.split == split} for split in ("train", "val", "test")}
    assert sides["train"] | sides["val"] == set(speakers)
    assert not sides["train"] & sides["val"]
    assert not sides["test"]
    assert 0.05 < len(sides["val"]) / 600 < 0.15  # four standard deviations of 10 %


def test_the_speakers_hash_decides(tmp_path: Path) -> None:
    # SHA-256 of "9" begins with 19581e27, which is 0.0990 of 2^32; of "8" with 2c624232, 0.1734.
    touch(tmp_path, "yes/9_nohash_3.wav", "yes/8_nohash_3.wav", "no/9.wav", "no/8.wav")
    assert splits(tmp_path) == {
        "yes/9_nohash_3.wav": "val", "no/9.wav": "val", "yes/8_nohash_3.wav": "train", "no/8.wav": "train",
    }  # fmt: skip


def test_a_noise_folder_holds_noise_whatever_its_folders_are_called(tmp_path: Path) -> None:
    touch(tmp_path / "esc10", "train/rain/a.wav", "test/yes/b.wav")
    found = find_recordings(tmp_path / "esc10", noise=True)
    assert [(recording.word, recording.split, recording.source) for recording in found] == [
        ("_background_noise_", "train", "esc10"), ("_background_noise_", "test", "esc10"),
    ]  # fmt: skip
    assert {recording.word for recording in find_recordings(tmp_path / "esc10")} == {"rain", "yes"}


@pytest.mark.parametrize(
    ("folder", "word"),
    [("caf%C3%A9", "café"), ("who%3F", "who?"), ("cafe\u0301", "café"), ("%2E%2E%2Fx", "../x"), (" yes ", "yes")],
)
def test_folders_are_decoded_to_labels(tmp_path: Path, folder: str, word: str) -> None:
    touch(tmp_path, f"{folder}/a.wav")
    assert [recording.word for recording in find_recordings(tmp_path)] == [word]


def test_only_sound_files_of_label_folders_are_recordings(tmp_path: Path) -> None:
    touch(
        tmp_path, "yes/a.wav", "yes/notes.txt", "yes/._a.wav", ".trash/b.wav", "top.wav", "yes/deep/c.wav", "README.md"
    )
    (tmp_path / "yes" / "folder.wav").mkdir()
    assert [recording.path.name for recording in find_recordings(tmp_path)] == ["a.wav"]


@pytest.mark.parametrize("name", ["missing", "file.wav"])
def test_what_is_no_folder_is_told(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "file.wav")
    with pytest.raises(EarmarkError, match=rf"{name} is not a folder: name a folder of labels\.$"):
        find_recordings(tmp_path / name)


def test_a_folder_without_recordings_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "yes/notes.txt", "top.wav")
    (tmp_path / "train").mkdir()
    with pytest.raises(EarmarkError, match=rf"^{re.escape(str(tmp_path))} holds no recordings: [^.]+\.$"):
        find_recordings(tmp_path)


def test_the_source_is_the_folders_name_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "digits", "one/a.wav")
    monkeypatch.chdir(tmp_path / "digits")
    for folder in (Path(), Path("../digits/"), tmp_path / "digits"):
        assert [recording.source for recording in find_recordings(folder)] == ["digits"]


def test_recordings_are_counted_by_source_and_split(tmp_path: Path) -> None:
    touch(tmp_path / "a", "train/yes/1.wav", "train/no/2.wav", "val/no/3.wav")
    touch(tmp_path / "b", "test/yes/1.wav")
    found = find_recordings(tmp_path / "a") + find_recordings(tmp_path / "b")
    assert count_recordings(found) == {"a": {"train": 2, "val": 1}, "b": {"test": 1}}


# The hash


def test_the_hash_is_that_of_the_sorted_lines(tmp_path: Path) -> None:
    touch(tmp_path / "set", "train/yes/b.wav", "val/no/a.wav")
    lines = [
        f"set/train/yes/b.wav {hashlib.sha256(b'train/yes/b.wav').hexdigest()}",
        f"set/val/no/a.wav {hashlib.sha256(b'val/no/a.wav').hexdigest()}",
    ]
    assert hash_recordings(find_recordings(tmp_path / "set")) == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_hash_depends_on_what_is_recorded_and_not_on_where_it_lies(tmp_path: Path) -> None:
    here = tmp_path / "here" / "set"
    touch(here, "train/yes/a.wav", "train/no/b.wav", "val/no/c.wav")
    found = find_recordings(here)
    whole = hash_recordings(found)
    assert hash_recordings(reversed(found)) == whole
    shutil.copytree(here, tmp_path / "there" / "set")
    assert hash_recordings(find_recordings(tmp_path / "there" / "set")) == whole

    hashes = {whole, hash_recordings(found[:2])}
    for number, (old, new) in enumerate(
        [("train/yes/a.wav", "val/yes/a.wav"), ("train/yes/a.wav", "train/yet/a.wav"), ("val/no/c.wav", "val/no/d.wav")]
    ):
        folder = tmp_path / str(number) / "set"
        shutil.copytree(here, folder)
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / old).rename(folder / new)
        hashes.add(hash_recordings(find_recordings(folder)))
    shutil.copytree(here, tmp_path / "another set")
    hashes.add(hash_recordings(find_recordings(tmp_path / "another set")))
    (here / "train" / "no" / "b.wav").write_text("other sound")
    hashes.add(hash_recordings(find_recordings(here)))
    assert len(hashes) == 7


# Sound


def test_a_short_clip_is_left_whole() -> None:
    samples = np.ones(1_000, np.float32)
    assert loudest_part(samples, 1_000) is samples


@pytest.mark.parametrize(
    ("burst_at", "start"),
    [
        (60_000, 37_950),  # 60,000 + half of the burst − half of the part
        (0, 0),
        (10_000, 0),
        (110_250, 66_150),  # at the very end
    ],
)
def test_the_loudest_part_lies_around_the_loudest_half_second(burst_at: int, start: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.001, 132_300).astype(np.float32)  # 3 s
    samples[burst_at : burst_at + 22_050] += 0.5
    part = loudest_part(samples, 66_150)
    assert len(part) == 66_150
    np.testing.assert_array_equal(part, samples[start : start + 66_150])


def recordings_of(files: list[Path]) -> list[CorpusRecording]:
    return [CorpusRecording(file, "rise", "train", "set") for file in files]


def test_words_are_read_at_44100_hertz_in_order(tmp_path: Path) -> None:
    files = chirps.save_words(tmp_path, ("rise", "fall"), ("ann", "bob"))
    heard = list(read_words(recordings_of(files)))
    assert len(heard) == 4
    for file, sound in zip(files, heard, strict=True):
        samples, _ = soundfile.read(file)
        assert sound.dtype == np.int16
        assert len(sound) == 44_100
        expected = resample_poly(samples, 441, 160) * 32_767
        assert np.abs(sound - expected)[1_000:-1_000].max() < 0.005 * np.abs(expected).max()


def test_a_long_word_is_cut_and_a_long_noise_is_not(tmp_path: Path) -> None:
    late = np.zeros(3 * 44_100, np.float32)
    late[-44_100:] = chirps.word("rise", rate=44_100)
    file = chirps.save(tmp_path / "late.flac", late, 44_100)
    (word,), (whole,) = read_words(recordings_of([file])), read_sounds(recordings_of([file]))
    assert len(word) == CLIP_SAMPLES == 66_150
    assert len(whole) == len(late)
    np.testing.assert_array_equal(word, whole[-66_150:])  # the word lies in the last half of the last second
    assert np.abs(whole / 32_767 - late).max() < 1e-4


def test_full_scale_doesnt_wrap(tmp_path: Path) -> None:
    square = np.sign(np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
    file = tmp_path / "square.wav"
    soundfile.write(file, square, 16_000, subtype="FLOAT")  # resampled, its edges overshoot
    (sound,) = read_words(recordings_of([file]))
    at = np.arange(len(sound)) / 44_100 * 440 % 1
    inside = np.minimum(at % 0.5, 0.5 - at % 0.5) > 0.15  # away from the edges
    assert (sound[inside & (at < 0.5)] > 20_000).all()
    assert (sound[inside & (at > 0.5)] < -20_000).all()
    assert sound.max() == 32_767


@pytest.mark.parametrize("content", [b"", b"not audio", b"RIFF\x24\x00\x00\x00WAVE"])
def test_a_file_that_is_no_sound_is_named(tmp_path: Path, content: bytes) -> None:
    good = chirps.save(tmp_path / "good.wav", chirps.word("rise"))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(content)
    with pytest.raises(EarmarkError, match=r"broken\.wav .+: .+\.$"):
        list(read_words(recordings_of([good, broken])))
