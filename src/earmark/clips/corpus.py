"""Data sets of recorded words for pretraining: folders of labels, with their splits.

Three layouts are known: the full Speech Commands data set, with its `validation_list.txt` and `testing_list.txt`;
`DIR/{train,val,test}/<word>/<clip>`; and plain `DIR/<word>/<clip>`, of which every tenth speaker is held out for
validation.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import AUDIO_SUFFIXES, Resampler, read_clip
from earmark.errors import EarmarkError
from earmark.front_end.spectrogram import SAMPLE_RATE
from earmark.labels import RESERVED_LABELS, tidy_label

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
LISTS: dict[str, Split] = {"validation_list.txt": "val", "testing_list.txt": "test"}  # Warden 2018, section 7.2
NOISE = RESERVED_LABELS[0]
VALIDATION_SHARE = 0.1
CLIP_SAMPLES = 66_150  # 1.5 s at 44.1 kHz: a window, and what shifts and speeds up into it
LOUDNESS_SAMPLES = 22_050  # half a second: about a word


@dataclass(frozen=True)
class CorpusRecording:
    """One file of a data set.

    Attributes:
        path: the file's path.
        word: the word in it; `_background_noise_` for noise.
        split: the part of the data set that it belongs to.
        source: the data set's name, which is its folder's name.
    """

    path: Path
    word: str
    split: Split
    source: str

    @property
    def speaker(self) -> str:
        """The speaker: the first part of the file name, as in Speech Commands; without one, the recording itself."""
        return self.path.stem.split("_nohash_")[0]


def find_recordings(
    folder: Path, *, noise: bool = False, suffixes: Collection[str] = AUDIO_SUFFIXES
) -> list[CorpusRecording]:
    """All recordings of a data set, in the order of their paths.

    Args:
        folder: the data set, in one of this module's layouts.
        noise: whether everything in it is background noise, whatever its folders are called.
        suffixes: the suffixes of the files to take.

    Raises:
        EarmarkError: there is no such folder, or it has no recordings.
    """
    if not folder.is_dir():
        raise EarmarkError(f"{folder} is not a folder: name a folder of labels.")
    found = [(file, split) for split in SPLITS for file in _files(folder / split, suffixes)]
    if not found:
        listed = _listed(folder)
        found = [(file, _split(file, folder, listed)) for file in _files(folder, suffixes)]
    source = os.path.basename(os.path.abspath(folder))  # noqa: PTH100, PTH119 (a link keeps its name; "." has none)
    recordings = [
        CorpusRecording(file, NOISE if noise else tidy_label(file.parent.name), split, source) for file, split in found
    ]
    if not recordings:
        raise EarmarkError(f"{folder} holds no recordings: it needs a folder of sound files for each word.")
    return recordings


def hash_recordings(recordings: Iterable[CorpusRecording]) -> str:
    """SHA-256 of all recordings: their sources, splits, words, names and contents, whatever their order."""
    lines = sorted(
        f"{recording.source}/{recording.split}/{recording.word}/{recording.path.name} "
        f"{hashlib.sha256(recording.path.read_bytes()).hexdigest()}"
        for recording in recordings
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count_recordings(recordings: Iterable[CorpusRecording]) -> dict[str, dict[str, int]]:
    """How many recordings there are: source → split → count."""
    counts: dict[str, Counter[str]] = {}
    for recording in recordings:
        counts.setdefault(recording.source, Counter())[recording.split] += 1
    return {source: dict(splits) for source, splits in counts.items()}


def read_words(recordings: list[CorpusRecording]) -> Iterator[npt.NDArray[np.int16]]:
    """The recordings' sound at 44.1 kHz, at most 1.5 s around the loudest part of each, read on all cores."""
    with ProcessPoolExecutor() as pool:
        yield from pool.map(_read_word, (recording.path for recording in recordings), chunksize=64)


def read_sounds(recordings: list[CorpusRecording]) -> Iterator[npt.NDArray[np.int16]]:
    """The recordings' whole sound at 44.1 kHz, read on all cores."""
    with ProcessPoolExecutor() as pool:
        yield from pool.map(_read_sound, (recording.path for recording in recordings), chunksize=8)


def loudest_part(samples: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """At most that many samples, around the half second with the most power."""
    if len(samples) <= length:
        return samples
    power = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    middle = int(np.argmax(power[LOUDNESS_SAMPLES:] - power[:-LOUDNESS_SAMPLES])) + LOUDNESS_SAMPLES // 2
    start = min(max(0, middle - length // 2), len(samples) - length)
    return samples[start : start + length]


def _read_word(path: Path) -> npt.NDArray[np.int16]:
    return _quantize(loudest_part(_read_samples(path), CLIP_SAMPLES))


def _read_sound(path: Path) -> npt.NDArray[np.int16]:
    return _quantize(_read_samples(path))


def _read_samples(path: Path) -> npt.NDArray[np.float32]:
    clip = read_clip(path)
    resampler = Resampler(clip.sample_rate, SAMPLE_RATE)
    return np.concatenate((resampler.process(clip.samples), resampler.finish()))


def _quantize(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return np.rint(np.clip(samples, -1, 1) * 32_767).astype(np.int16)


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    files = (file for file in folder.glob("*/*") if file.suffix.lower() in suffixes and file.is_file())
    return sorted(file for file in files if not file.name.startswith(".") and not file.parent.name.startswith("."))


def _listed(folder: Path) -> dict[str, Split]:
    lists = {name: folder / name for name in LISTS if (folder / name).is_file()}
    return {
        line: LISTS[name] for name, file in lists.items() for line in file.read_text("utf-8", "replace").splitlines()
    }


def _split(file: Path, folder: Path, listed: dict[str, Split]) -> Split:
    if listed:
        return listed.get(file.relative_to(folder).as_posix(), "train")
    # As Speech Commands does it: by a hash of the speaker, so that nobody is on both sides.
    speaker = CorpusRecording(file, "", "train", "").speaker
    share = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big") / 2**64
    return "val" if share < VALIDATION_SHARE else "train"
