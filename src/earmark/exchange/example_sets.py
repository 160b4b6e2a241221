"""Recordings as a set of examples of the npm package speech-commands, and back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from earmark.audio.clip import Clip, Resampler, as_clip
from earmark.clips.labelled import LabelledClips
from earmark.errors import EarmarkError
from earmark.exchange.found_recordings import Findings, Found
from earmark.exchange.serialized_examples import SerializedExample, read_examples, write_examples
from earmark.exchange.written_recordings import Written
from earmark.front_end.recordings import Recording, SoundlessClip, read_recording, spectrogram_of
from earmark.front_end.spectrogram import FLOOR_DB, HOP, SAMPLE_RATE, Spectrogram
from earmark.front_end.spectrogram_file import as_spectrogram
from earmark.storage.files import new_file

if TYPE_CHECKING:
    from earmark.progress import Report

WINDOW_FRAMES = 43  # in speech-commands' models; the package refuses to train on a set with a shorter example
# The rates that `AudioContext.createBuffer` takes everywhere (Web Audio API 1.1); the package plays examples with it.
BROWSER_RATES = range(8_000, 96_001)
# In dB: the medians, over 596 recorded words, of the mean and of the deviation of the loudest second.
TYPICAL_MEAN, TYPICAL_DEVIATION = -93.0, 19.0
BROWSER_EXAMPLES = 1_000  # with more, the package's call stack overflows; see `serialized_examples`


def find_examples(data: bytes, name: str) -> Findings:
    """The examples of a set: their sound if the set has it, otherwise their spectrogram.

    Raises:
        EarmarkError: the data is not such a set, or is damaged.
    """
    findings, examples = Findings(), read_examples(data, name)
    digits = len(str(len(examples)))  # so that the files sort in the set's order
    for number, example in enumerate(examples, 1):
        told, stem = f"{name}, example {number}", f"{PurePath(name).stem}-{number:0{digits}}"
        found = Found(told, example.label, stem, partial(_read_example, example, told), key_frame=example.key_frame)
        findings.recordings.append(found)
    if any(_is_normalized(example) for example in examples):
        findings.notes.append(
            f"Some spectrograms of {name} were normalized when they were collected: they get the mean "
            f"(−{-TYPICAL_MEAN:.0f} dB) and deviation ({TYPICAL_DEVIATION:.0f} dB) that recorded words usually have."
        )
    return findings


def write_example_set(project: LabelledClips, target: Path, report: Report | None = None) -> Written:
    """Write all recordings as a set of examples: spectrogram, key frame, and the sound if there is one.

    If a recording is shorter than the models' window, silence is added at the end of its spectrogram. Its sound stays
    as it is, except that rates which browsers don't play are resampled.

    Raises:
        EarmarkError: the file exists already or can't be written, or there is nothing to write, or too much.
    """
    written = Written()
    data = example_set(project, written, report=report)
    with new_file(target) as file:
        file.write(data)
    if written.count > BROWSER_EXAMPLES:
        written.notes.append(f"In a browser, speech-commands reads sets of some {BROWSER_EXAMPLES:,} examples at most.")
    return written


def example_set(
    project: LabelledClips, written: Written, labels: Collection[str] | None = None, report: Report | None = None
) -> bytes:
    """The recordings of some labels, or of all labels, as a set of examples.

    Args:
        project: the project whose recordings to take.
        written: collects how many examples there are, and which recordings can't be read.
        labels: the labels to take.
        report: called with the progress, as (what, done, of how many).

    Raises:
        EarmarkError: there is no such label, nothing to write, or too much.
    """
    key_frames = project.key_frames()
    wanted = project.labels if labels is None else [project.label(label).name for label in labels]
    clips = [clip for label in sorted(wanted, key=_javascript_order) for clip in project.clips(label)]
    examples: list[SerializedExample] = []
    for number, clip in enumerate(clips):
        if report is not None:
            report("Reading the recordings", number, len(clips))
        try:
            recording = read_recording(clip.path, clip.path.name)
        except EarmarkError as error:
            written.skip(clip, error)
            continue
        example = SerializedExample(clip.label, _spectrogram(recording), key_frames.get(clip.id))
        if isinstance(recording, Clip):
            sound = _playable(recording)
            example.samples, example.sample_rate = sound.samples, sound.sample_rate
        examples.append(example)
    if not examples:
        raise EarmarkError(f"{project.path} has no recordings to write: record some first.")
    written.count = len(examples)
    return write_examples(examples)


def _javascript_order(label: str) -> bytes:
    return label.encode("utf-16-be", "surrogatepass")


def _read_example(example: SerializedExample, name: str, _label: str) -> Sequence[Recording]:
    if example.samples is not None:
        return [as_clip(example.samples, example.sample_rate, name)]
    levels = example.spectrogram
    if _is_normalized(example):
        levels = levels * np.float32(TYPICAL_DEVIATION) + np.float32(TYPICAL_MEAN)
    return [SoundlessClip(as_spectrogram(levels, name), name)]


def _is_normalized(example: SerializedExample) -> bool:
    """Whether an example has no sound and a spectrogram with mean 0 and deviation 1, which no levels in dB have."""
    levels = example.spectrogram
    if example.samples is not None or not levels.size or not np.isfinite(levels).all():
        return False
    # In double precision, in which no sum or square of such levels overflows.
    mean, deviation = levels.mean(dtype=np.float64), levels.std(dtype=np.float64)
    return bool(abs(mean) < 0.01 and abs(deviation - 1) < 0.01)


def _spectrogram(recording: Recording) -> Spectrogram:
    frames = spectrogram_of(recording)
    if len(frames) < WINDOW_FRAMES and isinstance(recording, Clip):
        missing = (WINDOW_FRAMES + 1) * HOP * recording.sample_rate // SAMPLE_RATE + 1 - len(recording.samples)
        silence = np.zeros(max(0, missing), np.float32)
        frames = spectrogram_of(Clip(np.concatenate((recording.samples, silence)), recording.sample_rate))
    missing = max(0, WINDOW_FRAMES - len(frames))
    return np.pad(frames, ((0, missing), (0, 0)), constant_values=FLOOR_DB)


def _playable(clip: Clip) -> Clip:
    if clip.sample_rate in BROWSER_RATES:
        return clip
    resampler = Resampler(clip.sample_rate, SAMPLE_RATE)
    return Clip(np.concatenate((resampler.process(clip.samples), resampler.finish())).clip(-1, 1), SAMPLE_RATE)
