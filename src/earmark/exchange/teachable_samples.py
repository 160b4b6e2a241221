"""Teachable Machine's samples as recordings: sound if it is there and can be decoded, otherwise spectrograms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import PurePath
from typing import IO

from earmark.errors import EarmarkError
from earmark.exchange.file_set import FileSet
from earmark.exchange.found_recordings import NOISE, Findings, Found
from earmark.exchange.teachable_machine import PROJECT, SAMPLES, Sample, label_of, read_samples
from earmark.front_end.recordings import Recording, SoundlessClip
from earmark.front_end.spectrogram_file import as_spectrogram


def is_teachable_machine(files: FileSet) -> bool:
    """Whether a zip holds samples of Teachable Machine (of a class, of classes or of a project), by its file names."""
    names = [path.name for path in files.paths]
    zips = [name for name in names if name.lower().endswith(".zip")]
    return any(name.endswith(SAMPLES) for name in names) or PROJECT in map(str, files.paths) or names == zips != []


def find_samples(file: IO[bytes], name: str) -> Findings:
    """The samples of a download. If it doesn't name their class, its own file name does.

    Raises:
        EarmarkError: the download can't be read, or exceeds the limits.
    """
    findings = Findings(label=_label(label_of(name)))
    file.seek(0)
    samples = list(enumerate(read_samples(file, name), 1))
    # Samples of one recording follow one another, so it is decoded once, and dropped after the last of them.
    first = {id(sample.recording): number for number, sample in reversed(samples) if sample.recording is not None}
    samples.sort(key=lambda numbered: first.get(id(numbered[1].recording), numbered[0]))
    for number, sample in samples:
        stem = f"{PurePath(name).stem}-{number:03}"
        told = f"{name}, sample {number}"
        findings.recordings.append(
            Found(told, _label(sample.label), stem, partial(_read_sample, sample, told, findings))
        )
    return findings


def _label(name: str | None) -> str | None:
    """A class's label: the noise class of every audio project gets the label that is reserved for noise."""
    if name is None:
        return None
    return NOISE if re.sub(r"[\s_-]+", " ", name).strip().casefold() == "background noise" else name


def _read_sample(sample: Sample, name: str, findings: Findings, _label: str) -> Sequence[Recording]:
    try:
        clip = sample.clip()
    except EarmarkError as error:
        findings.notes.append(str(error))
        clip = None
    return [clip or SoundlessClip(as_spectrogram(sample.spectrogram, name), name)]
