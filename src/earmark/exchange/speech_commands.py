"""The layout of the Speech Commands data set: words of one second, noise, and lists of the files for testing.

Source: P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv:1804.03209 (2018), and
the data set's own README: `<word>/<8 hex digits for the speaker>_nohash_<number>.wav` at 16 kHz and 16 bits, long
recordings in `_background_noise_`, and `validation_list.txt` and `testing_list.txt`, which name files as
`<word>/<file>`; files that neither names are for training.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from earmark.audio.clip import Clip, Resampler, Samples
from earmark.clips.folders import ClipFile
from earmark.clips.labelled import LabelledClips
from earmark.errors import EarmarkError
from earmark.exchange.file_set import FileSet
from earmark.exchange.found_recordings import NOISE, Findings, Split, is_recording
from earmark.exchange.written_recordings import Written
from earmark.front_end.recordings import read_recording, sound_of
from earmark.front_end.spectrogram import FRAME_SECONDS
from earmark.labels import folder_label, label_folder
from earmark.storage.files import new_folder

if TYPE_CHECKING:
    from earmark.progress import Report

RATE = 16_000  # Hz
LENGTH = RATE  # samples in a word's file
LISTS: dict[str, Split] = {"validation_list.txt": "validation", "testing_list.txt": "test"}
MAX_LIST_BYTES = 16 << 20  # of each list; the data set's own lists have some 300 kB
MAX_RECORDINGS = 2**27 - 1  # of a word, by the data set's rule
VALIDATION_PERCENT = TEST_PERCENT = 10.0
README = """Recordings in the layout of Speech Commands (Warden 2018, arXiv:1804.03209): WAV at 16 kHz and 16 bits.

A file's name begins with eight digits that tell who speaks, or which recording it is. What validation_list.txt and
testing_list.txt don't name is for training.
"""


def is_speech_commands(files: FileSet) -> bool:
    """Whether a folder or zip has the layout's lists."""
    return any(path.name in LISTS for path in files.paths)


def find_speech_commands(files: FileSet) -> Findings:
    """The recordings of the layout, with their splits; noise is for training. Other files are ignored."""
    lists = [path for path in files.paths if path.name in LISTS]
    root = min((path.parent for path in lists), key=lambda folder: len(folder.parts))
    # A file's name in the lists, which may also name files that don't exist.
    words = {
        f"{path.parent.name}/{path.name}": path
        for path in files.paths
        if is_recording(path) and path.parent.parent == root and path.parent != root
    }
    listed: dict[PurePosixPath, Split] = {}
    for path in lists:
        if path.parent == root:
            for line in io.BytesIO(files.read(path, MAX_LIST_BYTES)):
                if word := words.get(line.decode(errors="replace").strip()):
                    listed[word] = LISTS[path.name]
    findings = Findings()
    for path in words.values():
        findings.add_file(files, path, folder_label(path.parent.name), listed.get(path, "train"))
    return findings


def which_set(name: str) -> Split:
    """The split of a file, by the first part of its name: the data set's own rule (README, `which_set`)."""
    speaker = name.split("_nohash_")[0]
    share = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (MAX_RECORDINGS + 1) * (100.0 / MAX_RECORDINGS)
    if share < VALIDATION_PERCENT:
        return "validation"
    return "test" if share < VALIDATION_PERCENT + TEST_PERCENT else "train"


def write_speech_commands(project: LabelledClips, target: Path, report: Report | None = None) -> Written:
    """Write all recordings with sound in the layout: for a word, one second around its key frame or its loudest part.

    Raises:
        EarmarkError: the folder exists already and isn't empty, or can't be written to; nothing is left of it then.
    """
    written, clips, key_frames = Written(), project.clips(), project.key_frames()
    lists: dict[Split, list[str]] = {split: [] for split in ("train", "validation", "test")}
    taken: set[str] = set()
    with new_folder(target) as folder:
        (folder / "README.md").write_text(README, "utf-8")
        for number, clip in enumerate(clips):
            if report is not None:
                report("Writing the recordings", number, len(clips))
            try:
                sound = sound_of(read_recording(clip.path, clip.path.name))
            except EarmarkError as error:
                written.skip(clip, error)
                continue
            samples = _resampled(sound)
            path = f"{label_folder(clip.label)}/{_name(clip, sound, taken)}"
            taken.add(path)
            if clip.label != NOISE:
                samples = _one_second(samples, key_frames.get(clip.id))
                lists[which_set(path.split("/")[1])].append(path)
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(_wav(samples))
            written.count += 1
        for list_name, split in LISTS.items():
            (folder / list_name).write_text("".join(f"{line}\n" for line in sorted(lists[split])), "utf-8")
    return written


def _name(clip: ClipFile, sound: Clip, taken: set[str]) -> str:
    """The file's name: for noise its own; for a word a name like the data set's, or its own if it has such a name."""
    if clip.label == NOISE:
        others = (f"{clip.path.stem}-{number}.wav" for number in count(2))
        names: Iterator[str] = chain([f"{clip.path.stem}.wav"], others)
    else:
        known = re.match(r"([0-9a-f]{8})_nohash_(\d{1,9})", clip.path.stem)
        speaker = known[1] if known else hashlib.sha256(sound.samples.tobytes()).hexdigest()[:8]
        names = (f"{speaker}_nohash_{number}.wav" for number in count(int(known[2]) if known else 0))
    return next(name for name in names if f"{label_folder(clip.label)}/{name}" not in taken)


def _resampled(clip: Clip) -> Samples:
    resampler = Resampler(clip.sample_rate, RATE)
    return np.concatenate((resampler.process(clip.samples), resampler.finish())).clip(-1, 1)


def _wav(samples: Samples) -> bytes:
    """A 16-bit WAV file with each sample rounded to the nearest value; libsndfile rounds floats down."""
    buffer = io.BytesIO()
    quantized = np.rint(samples * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    soundfile.write(buffer, quantized, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _one_second(samples: Samples, key_frame: int | None) -> Samples:
    """The second around the key frame, or the loudest second; a shorter recording is padded on both sides."""
    missing = LENGTH - len(samples)
    if missing > 0:
        return np.pad(samples, (missing // 2, missing - missing // 2))
    if key_frame is None:
        # Warden 2018, section 5: the second whose absolute samples have the greatest sum.
        sums = np.concatenate(([0.0], np.cumsum(np.abs(samples, dtype=np.float64))))
        start = int(np.argmax(sums[LENGTH:] - sums[:-LENGTH]))
    else:
        # A frame's middle lies one hop after its start.
        start = round((key_frame + 1) * FRAME_SECONDS * RATE) - LENGTH // 2
    start = min(max(0, start), len(samples) - LENGTH)
    return samples[start : start + LENGTH]
