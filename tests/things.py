"""Things to import, one of each kind: each function makes one by the given path, and returns where it is."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np

from earmark.exchange.serialized_examples import SerializedExample, write_examples
from earmark.front_end.spectrogram import compute_spectrogram
from tests import chirps, sounds

SPEAKERS = ("ann", "bob", "cid")


def label_folders(folder: Path) -> Path:
    """Three takes of each of two words."""
    chirps.save_words(folder, ("rise", "fall"), SPEAKERS)
    return folder


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", label_folders(folder)))


def speech_commands(folder: Path) -> Path:
    """One speaker for each part."""
    label_folders(folder)
    for name, speaker in (("validation", "bob"), ("testing", "cid")):
        (folder / f"{name}_list.txt").write_text(f"rise/{speaker}_nohash_0.wav\nfall/{speaker}_nohash_0.wav\n")
    return folder


def audiofolder(folder: Path) -> Path:
    """One recording in each of two parts."""
    for part, word in (("train", "rise"), ("test", "fall")):
        chirps.save(folder / part / "a.wav", chirps.word(word))
        (folder / part / "metadata.csv").write_text(f"file_name,label\na.wav,{word}\n")
    return folder


def example_set(folder: Path) -> Path:
    whistle = sounds.whistle(1.1, 1)
    example = SerializedExample("Left", compute_spectrogram(whistle, sounds.RATE), 7, whistle, sounds.RATE)
    file = folder.with_suffix(".bin")
    file.write_bytes(write_examples([example]))
    return file


def class_samples(folder: Path) -> Path:
    """Teachable Machine's zip of a class, its recording lost."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        archive.writestr("samples.json", a_sample(2))
    return folder.with_suffix(".zip")


def teachable_project(folder: Path) -> Path:
    """The same of a project, with two classes."""
    with zipfile.ZipFile(folder.with_suffix(".tm"), "w") as archive:
        archive.writestr("manifest.json", json.dumps({"type": "audio"}))
        for seed, name in enumerate(("Background Noise", "Clap")):
            archive.writestr(f"{name}-!-samples.json", a_sample(seed))
    return folder.with_suffix(".tm")


def a_sample(seed: int) -> str:
    levels = compute_spectrogram(sounds.snaps(1.1, seed), sounds.RATE)[:43].tolist()
    return json.dumps([{"frequencyFrames": levels, "startTime": 0, "endTime": 1, "blob": None}])


def sound_file(folder: Path) -> Path:
    return chirps.save(folder.with_suffix(".wav"), chirps.word("rise"))


def label_track(folder: Path) -> Path:
    """A recording of two words, with Audacity's label track beside it."""
    folder.mkdir(parents=True)
    words = [chirps.word(word) for word in ("rise", "fall")]
    chirps.save(folder / "dawn.wav", np.concatenate(words))
    middle, end = (len(words[0]) / chirps.RATE, sum(map(len, words)) / chirps.RATE)
    (folder / "dawn.txt").write_text(f"0\t{middle}\trise\n{middle}\t{end}\tfall\n")
    return folder
