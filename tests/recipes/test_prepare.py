"""Unpacking a packed corpus that the test makes: which clip goes where, and that its sound is its own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import prepare
import pytest
import soundfile
from prepare import unpack

from earmark.clips.corpus import find_recordings
from tests import chirps
from tests.conftest import SHARED

RATE = 16_000
UNSEEN = {"bird", "view_glass"}


def pack(folder: Path, clips: list[tuple[str, str, str, float]]) -> dict[str, float]:
    """A packed corpus of tones: split, word, clip's name and pitch in Hz; returns the pitches by clip."""
    folder.mkdir(parents=True)
    at: dict[tuple[str, str], int] = {}
    sounds: dict[tuple[str, str], list[chirps.Samples]] = {}
    with (folder / "index.tsv").open("w", newline="") as index:
        table = csv.writer(index, delimiter="\t")
        table.writerow(("split", "word", "start", "samples", "speaker", "clip"))
        for number, (split, word, clip, pitch) in enumerate(clips):
            length = 8_000 + 1_000 * number
            start = at.setdefault((split, word), 0)
            table.writerow((split, word, start, length, "-", clip))
            at[split, word] += length
            tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(length) / RATE)
            sounds.setdefault((split, word), []).append(tone.astype(np.float32))
    for (split, word), parts in sounds.items():
        file = folder / f"{split}-{word.replace(' ', '_')}.ogg"
        soundfile.write(file, np.concatenate(parts), RATE, format="OGG", subtype="VORBIS")
    return {Path(clip).stem: pitch for _, _, clip, pitch in clips}


def pitch_of(file: Path) -> float:
    samples, rate = soundfile.read(file)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def test_clips_go_to_their_splits_with_their_own_sound(tmp_path: Path) -> None:
    clips = [
        ("train", "yes", "yes/a_nohash_0.wav", 500.0),
        ("train", "yes", "yes/b_nohash_0.wav", 1_000.0),
        ("val", "yes", "yes/c_nohash_0.wav", 700.0),
        ("train", "bird", "bird/d_nohash_0.wav", 1_500.0),
        ("val", "bird", "bird/e_nohash_0.wav", 2_000.0),
        ("train", "view glass", "f.wav", 2_500.0),
        ("test", "no", "no/g_nohash_0.wav", 3_000.0),
    ]
    pitches = pack(tmp_path / "speech_commands", clips)
    made = list(unpack(tmp_path / "speech_commands", tmp_path / "out", UNSEEN))
    assert {file.relative_to(tmp_path / "out").as_posix() for file in made} == {
        "train/yes/a_nohash_0.flac",
        "train/yes/b_nohash_0.flac",
        "val/yes/c_nohash_0.flac",
        "test/bird/d_nohash_0.flac",  # of an unseen word, whatever its split was
        "test/bird/e_nohash_0.flac",
        "test/view_glass/f.flac",
        "test/no/g_nohash_0.flac",
    }
    for number, (_, _, clip, _) in enumerate(clips):
        (file,) = (file for file in made if file.stem == Path(clip).stem)
        assert soundfile.info(file).frames == 8_000 + 1_000 * number
        assert pitch_of(file) == pytest.approx(pitches[file.stem], abs=3)
    assert sorted(recording.path for recording in find_recordings(tmp_path / "out")) == sorted(made)


def test_the_last_fifth_of_a_long_noise_is_kept_apart(tmp_path: Path) -> None:
    pack(tmp_path / "background_noise", [("train", "pink noise", "pink_noise.wav", 800.0)])
    train, test = unpack(tmp_path / "background_noise", tmp_path / "out", UNSEEN)
    assert train == tmp_path / "out" / "train" / "pink_noise" / "pink_noise.flac"
    assert test == tmp_path / "out" / "test" / "pink_noise" / "pink_noise.flac"
    (first, _), (last, _) = soundfile.read(train, dtype="int16"), soundfile.read(test, dtype="int16")
    whole, _ = soundfile.read(tmp_path / "background_noise" / "train-pink_noise.ogg", dtype="int16")
    assert (len(first), len(last)) == (6_400, 1_600)
    np.testing.assert_array_equal(np.concatenate((first, last)), whole[:8_000])


def test_the_fifth_fold_of_esc10_is_kept_apart(tmp_path: Path) -> None:
    names = ("1-100-A.wav", "4-5-B.wav", "5-177957-D.wav")
    pack(tmp_path / "esc10", [("train", "rain", name, 400.0) for name in names])
    made = list(unpack(tmp_path / "esc10", tmp_path / "out", UNSEEN))
    assert [file.relative_to(tmp_path / "out").as_posix() for file in made] == [
        "train/rain/1-100-A.flac", "train/rain/4-5-B.flac", "test/rain/5-177957-D.flac",
    ]  # fmt: skip


def test_the_program_unpacks_all_corpora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for corpus in prepare.CORPORA:
        pack(tmp_path / "packed" / corpus, [("train", "marvin", "x.wav", 500.0)])
    monkeypatch.setattr("sys.argv", ["prepare.py", str(tmp_path / "packed"), str(tmp_path / "out")])
    prepare.main()
    assert capsys.readouterr().out.splitlines() == [
        "speech_commands: 1 recordings", "free_spoken_digits: 1 recordings", "wake_words: 1 recordings",
        "background_noise: 2 recordings", "esc10: 1 recordings",
    ]  # fmt: skip
    assert (tmp_path / "out" / "wake_words" / "test" / "marvin" / "x.flac").is_file()  # on the list of unseen words
    monkeypatch.setattr("sys.argv", ["prepare.py"])
    with pytest.raises(SystemExit, match=r"usage: prepare\.py PACKED DEST"):
        prepare.main()


@pytest.mark.usefixtures("recordings")
def test_no_speaker_is_heard_in_training_and_validation() -> None:
    """Of the real Speech Commands, by the index, which names the speakers."""
    with (SHARED / "data" / "speech_commands" / "index.tsv").open(newline="") as index:
        rows = list(csv.DictReader(index, delimiter="\t"))
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["split"], set()).add(Path(row["clip"]).stem.split("_nohash_")[0])
    assert len(sides["train"]) > 100
    assert len(sides["val"]) > 20
    assert not sides["train"] & sides["val"]
