"""The layout of Speech Commands: read, written, and its rule of splits."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark import EarmarkError, Project, read_clip
from earmark.exchange.found_recordings import cut_noise
from earmark.exchange.importing import import_into
from earmark.exchange.speech_commands import which_set, write_speech_commands
from tests import chirps, sounds
from tests.corpus import clip_rows, read_row

NOISE = "_background_noise_"
# By the data set's own lists: speakers of testing_list.txt and validation_list.txt of version 0.01.
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "words", create=True, mode="words")


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Two words by three speakers, each in another split, and a minute and more of noise."""
    folder = tmp_path / "data"
    chirps.save_words(folder, ("rise", "fall"), ("0a7c2a8d", "1b4c9b89", "2c6d3924"), 2)
    chirps.save(folder / NOISE / "room.wav", chirps.noise(61))
    (folder / NOISE / "README.md").write_text("Where it comes from")
    (folder / "LICENSE").write_text("CC BY 4.0")
    for name, speaker in (("validation_list.txt", "1b4c9b89"), ("testing_list.txt", "2c6d3924")):
        lines = [f"{word}/{speaker}_nohash_{take}.wav\n" for word in ("rise", "fall") for take in (0, 1)]
        (folder / name).write_text("".join(lines))
    return folder


def stems(project: Project, label: str) -> list[str]:
    return [clip.path.stem for clip in project.clips(label)]


def test_all_of_a_data_set_is_read(project: Project, data_set: Path) -> None:
    done = import_into(project, data_set)
    assert (len(done.added), done.skipped, done.notes) == (13, [], [])
    assert set(project.labels) == {"rise", "fall", NOISE}
    assert stems(project, "rise")[:2] == ["0a7c2a8d_nohash_0", "0a7c2a8d_nohash_1"]
    assert [clip.seconds for clip in project.clips(NOISE)] == [61.0]


@pytest.mark.parametrize(
    ("split", "speaker", "noises"), [("train", "0a7c2a8d", 1), ("validation", "1b4c9b89", 0), ("test", "2c6d3924", 0)]
)
def test_a_split_is_what_its_list_names(
    project: Project, data_set: Path, split: str, speaker: str, noises: int
) -> None:
    import_into(project, data_set, split=split)
    assert stems(project, "rise") == stems(project, "fall") == [f"{speaker}_nohash_0", f"{speaker}_nohash_1"]
    assert len(project.clips(NOISE)) == noises


def test_a_zip_of_it_is_read_wherever_it_begins(project: Project, data_set: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in sorted(data_set.rglob("*.*")):
            archive.write(file, f"speech/v2/{file.relative_to(data_set)}")
    done = import_into(project, tmp_path / "data.zip", split="test", only=["fall"], limit=1)
    assert ([clip.path.stem for clip in done.added], done.skipped) == (["2c6d3924_nohash_0"], [])


def test_the_rule_of_splits_is_the_data_sets_own(recordings: Path) -> None:
    """Of the real data set's 19,247 recordings that lie here, each has the split that the data set gives it."""
    rows = clip_rows(recordings, "speech_commands")
    assert len(rows) > 19_000
    assert [row["clip"] for row in rows if which_set(row["clip"]) != SPLITS[row["split"]]] == []


def test_a_name_has_the_split_of_its_speaker() -> None:
    # From the official lists: bed/026290a7_nohash_0.wav is for validation, bed/0c40e715_nohash_0.wav for testing.
    assert which_set("026290a7_nohash_0.wav") == which_set("026290a7_nohash_17.flac") == "validation"
    assert which_set("0c40e715_nohash_0.wav") == "test"
    shares = [which_set(f"{number:08x}_nohash_0.wav") for number in range(20_000)]
    assert shares.count("validation") / 20_000 == pytest.approx(0.1, abs=0.01)
    assert shares.count("test") / 20_000 == pytest.approx(0.1, abs=0.01)


def test_noise_that_is_longer_than_a_clip_may_be_is_cut_into_minutes() -> None:
    rate = 1_000
    samples = (np.arange(rate * 610 + 7) % 2_000 / 2_000 - 0.5).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples, samples], axis=1), rate, format="WAV", subtype="FLOAT")
    parts = cut_noise(file.getvalue(), "noise.wav")
    assert [part.seconds for part in parts] == [60.0] * 10 + [10.007]
    np.testing.assert_array_equal(np.concatenate([part.samples for part in parts]), samples)
    with pytest.raises(EarmarkError, match=r"^noise\.wav"):
        cut_noise(file.getvalue()[:40], "noise.wav")


def test_its_parts_are_added_once(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    chirps.save(folder / NOISE / "long.flac", chirps.noise(601, rate=2_000), 2_000)
    done = import_into(project, folder)
    assert [clip.path.name for clip in done.added] == [f"long-{number}.flac" for number in range(1, 12)]
    again = import_into(project, folder)
    assert (again.added, again.known, again.skipped) == ([], 11, [])


def test_what_was_written_comes_back(project: Project, data_set: Path, tmp_path: Path) -> None:
    """Words of one second at 16 kHz and 16 bits come back bit for bit, under their names; the lists are the rule's."""
    import_into(project, data_set)
    written = write_speech_commands(project, tmp_path / "out")
    assert (written.count, written.skipped) == (13, [])
    names = {file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.wav")}
    assert "fall/0a7c2a8d_nohash_1.wav" in names
    assert f"{NOISE}/room.wav" in names
    words = names - {f"{NOISE}/room.wav"}
    for split, file in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        listed = (tmp_path / "out" / file).read_text().splitlines()
        assert listed == sorted(name for name in words if which_set(name.split("/")[1]) == split)
    other = Project(tmp_path / "other", create=True)
    assert len(import_into(other, tmp_path / "out").added) == 13
    for ours, theirs in zip(project.clips(), [other.clip(clip.id) for clip in project.clips()], strict=True):
        np.testing.assert_array_equal(read_clip(ours.path).samples, read_clip(theirs.path).samples)


def test_a_word_is_the_second_around_its_loudest_part_or_its_key_frame(project: Project, tmp_path: Path) -> None:
    rate = 48_000
    samples = np.zeros(4 * rate, np.float32)
    tone = np.sin(2 * np.pi * 1_000 * np.arange(4_800) / rate) * np.hanning(4_800)
    samples[rate : rate + 4_800] = 0.5 * tone  # 0.1 s at 1 s
    samples[3 * rate : 3 * rate + 4_800] = 0.25 * tone  # and a weaker one at 3 s
    for name in ("loud", "marked"):
        project.add("word", samples, rate, name=name)
    project.set_key_frame(project.clips("word")[1], round(3.05 * 44_100 / 1_024) - 1)
    write_speech_commands(project, tmp_path / "out")
    loud, marked = (soundfile.read(file)[0] for file in sorted((tmp_path / "out" / "word").glob("*_nohash_*.wav")))
    assert len(loud) == len(marked) == 16_000
    weak, strong = sorted((loud, marked), key=lambda part: float(np.abs(part).max()))
    assert np.abs(strong).max() == pytest.approx(0.5, abs=0.02)
    assert np.abs(weak).max() == pytest.approx(0.25, abs=0.02)
    assert np.flatnonzero(np.abs(weak) > 0.1).mean() == pytest.approx(8_000, abs=400)  # in the middle, to a frame


def test_a_short_word_gets_silence_on_both_sides(project: Project, tmp_path: Path) -> None:
    project.add("word", np.full(8_000, 0.5, np.float32), 16_000)
    write_speech_commands(project, tmp_path / "out")
    (file,) = (tmp_path / "out" / "word").iterdir()
    samples, rate = soundfile.read(file)
    assert (rate, soundfile.info(file).subtype) == (16_000, "PCM_16")
    np.testing.assert_array_equal(np.flatnonzero(samples), np.arange(4_000, 12_000))


def test_names_are_stable_and_each_recording_has_its_own(project: Project, tmp_path: Path) -> None:
    for seed in range(3):
        project.add("Left", sounds.whistle(0.5, seed), sounds.RATE)
        project.add("AC/DC", sounds.whistle(0.5, seed), sounds.RATE)
    project.add("Left", sounds.whistle(0.5, 0), sounds.RATE, name="twin")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        assert write_speech_commands(project, folder).count == 7
    names = [sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*")) for folder in (first, second)]
    assert names[0] == names[1]
    left, other = (sorted(file.name for file in (first / folder).iterdir()) for folder in ("Left", "AC%2FDC"))
    assert len(left) == 4
    assert set(other) < set(left)
    (twin,) = set(left) - set(other)
    assert twin.endswith("_nohash_1.wav")
    assert twin.replace("_1.", "_0.") in other


def test_a_spectrogram_alone_is_left_out_and_told(project: Project, tmp_path: Path) -> None:
    project.add("word", chirps.word("rise"), chirps.RATE)
    project.add_spectrogram("word", np.full((43, 232), -60.0), name="levels")
    (project.path / "clips" / "word" / "torn.flac").write_bytes(b"fLaC")
    written = write_speech_commands(project, tmp_path / "out")
    assert written.count == 1
    assert [name for name, _ in written.skipped] == ["word/levels.npy", "word/torn.flac"]
    assert "has no sound" in written.skipped[0][1]
    with pytest.raises(EarmarkError, match="out is there already"):
        write_speech_commands(project, tmp_path / "out")


def test_real_words_stay_what_they_are(project: Project, recordings: Path, tmp_path: Path) -> None:
    rows = [row for row in clip_rows(recordings, "speech_commands") if row["word"] in ("happy", "cat")][:200:10]
    for row in rows:
        samples, rate = read_row(recordings, "speech_commands", row)
        project.add(row["word"], samples, rate, name=row["clip"])
    assert write_speech_commands(project, tmp_path / "out").count == len(rows)
    for row in rows:
        samples, rate = read_row(recordings, "speech_commands", row)
        ours, our_rate = soundfile.read(tmp_path / "out" / row["word"] / f"{row['clip']}.wav", dtype="float32")
        assert our_rate == rate == 16_000
        padding = (16_000 - len(samples)) // 2
        np.testing.assert_allclose(ours[padding : padding + len(samples)], samples, rtol=0, atol=2**-16 + 2**-23)
