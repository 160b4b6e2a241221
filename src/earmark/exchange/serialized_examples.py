"""Sets of labelled spectrograms as TensorFlow.js speech-commands serializes them: `TFJSSCDS`, version 1.

Source: `dataset.js` of the npm package @tensorflow-models/speech-commands 0.5.4. All numbers are little-endian:

- 8 bytes `TFJSSCDS`, the version as uint32, the length of the JSON in bytes as uint32;
- the JSON in UTF-8: a list with one entry per example, its keys in this order: `label`, `spectrogramNumFrames`,
  `spectrogramFrameSize`; `spectrogramKeyFrameIndex` if one is marked; `rawAudioNumSamples` and `rawAudioSampleRateHz`
  if the sound is kept;
- for each example its spectrogram as float32, frame by frame, then its sound as float32.

The package sorts by label, then by the time when an example was added. A set that is read and written again keeps its
order and all its bytes. The package itself can't take a label that is a property of every JavaScript object
(`constructor`, `toString`, `__proto__`), nor a JSON of more than about 110 kB (some 1,600 examples), which overflows
its call stack.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Samples
from earmark.audio.sound_file import is_rate
from earmark.errors import EarmarkError
from earmark.front_end.spectrogram import Spectrogram

MAGIC = b"TFJSSCDS"
VERSION = 1
HEADER = struct.Struct("<8sII")  # magic, version, bytes of JSON
MAX_JSON_BYTES = 4 << 20  # some 40,000 examples, whose spectrograms take 1.6 GB; parsed JSON takes 24 times its size
FLOAT = np.dtype("<f4")
# The JSON's keys, in order.
LABEL, FRAMES, BINS = "label", "spectrogramNumFrames", "spectrogramFrameSize"
KEY_FRAME, SAMPLES, RATE = "spectrogramKeyFrameIndex", "rawAudioNumSamples", "rawAudioSampleRateHz"


@dataclass
class SerializedExample:
    """One example of a set.

    Attributes:
        label: the label, not empty. A lone surrogate is kept, since JavaScript's text may contain one.
        spectrogram: levels in dB as an AnalyserNode gives them, shape [frames, bins]; −∞ stands for digital silence.
            Some programs store it normalised instead, and the set doesn't say so.
        key_frame: the frame that matters most, such as the loudest; None if none is marked.
        samples: the sound in [-1, 1], shape [samples]; None if it isn't kept.
        sample_rate: the sound's sample rate in Hz; None without sound.
    """

    label: str
    spectrogram: Spectrogram
    key_frame: int | None = None
    samples: Samples | None = None
    sample_rate: int | None = None


def read_examples(data: bytes | bytearray | memoryview, name: str = "the set of examples") -> list[SerializedExample]:
    """Read a set. The arrays are copies.

    Args:
        data: the content of the file.
        name: what to call it in errors.

    Raises:
        EarmarkError: the data is no such set, of a newer version, damaged or cut off, or holds meaningless numbers.
    """
    view = memoryview(data)
    if len(view) < HEADER.size or view[: len(MAGIC)] != MAGIC:
        raise EarmarkError(f"{name} holds no examples of speech-commands: choose a file that it has serialized.")
    _, version, length = HEADER.unpack_from(view)
    if version != VERSION:
        raise EarmarkError(f"{name} is of version {version}, and Earmark reads version {VERSION}: update Earmark.")
    if length > MAX_JSON_BYTES:
        raise EarmarkError(f"{name} has a list of more than {MAX_JSON_BYTES >> 20} MiB: serialize fewer examples.")
    content = view[HEADER.size + length :]
    specs = [_check_spec(entry, name) for entry in _read_json(view[HEADER.size :][:length], length, name)]
    claimed = sum(spec.size for spec in specs)
    if claimed != len(content):
        message = f"{name} has {len(content):,} bytes of examples where its list says {claimed:,}"
        raise EarmarkError(f"{message}: get a whole copy of it.")
    examples = []
    for spec in specs:
        examples.append(_example(spec, np.frombuffer(content[: spec.size], FLOAT).astype(np.float32), name))
        content = content[spec.size :]
    return examples


def write_examples(examples: list[SerializedExample]) -> bytes:
    """The set as the content of a file, with the examples in the given order.

    Raises:
        EarmarkError: an example has no label, a wrong shape, numbers that aren't finite (except −∞ in a spectrogram), a
            key frame outside the spectrogram, or samples without a rate; or there are too many examples.
    """
    specs, content = [], []
    for example in examples:
        arrays = [np.asarray(example.spectrogram, FLOAT)]
        frames, bins = arrays[0].shape if arrays[0].ndim == 2 else (-1, -1)
        entry: dict[str, Any] = {LABEL: example.label, FRAMES: frames, BINS: bins}
        if example.key_frame is not None:
            entry[KEY_FRAME] = int(example.key_frame)
        if example.samples is not None:
            arrays.append(np.asarray(example.samples, FLOAT))
            entry |= {SAMPLES: arrays[1].size, RATE: None if example.sample_rate is None else int(example.sample_rate)}
        _example(_check_spec(entry, "The set"), np.concatenate([array.ravel() for array in arrays]), "The set")
        specs.append(entry)
        content += [array.tobytes() for array in arrays]
    # JavaScript writes lone surrogates as \ud800, and so does backslashreplace.
    text = json.dumps(specs, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
    if len(text) > MAX_JSON_BYTES:
        raise EarmarkError(f"{len(specs):,} examples are too many for one set: write several.")
    return b"".join([HEADER.pack(MAGIC, VERSION, len(text)), text, *content])


@dataclass(frozen=True)
class _Spec:
    """An entry of the list; its frames, bins and samples are counts."""

    label: str
    frames: int
    bins: int
    key_frame: int | None
    samples: int | None
    rate: int | None

    @property
    def size(self) -> int:
        """The size of its values in bytes."""
        return (self.frames * self.bins + (self.samples or 0)) * FLOAT.itemsize


def _check_spec(entry: object, name: str) -> _Spec:
    spec = entry if isinstance(entry, dict) else {}
    label, frames, bins = spec.get(LABEL), spec.get(FRAMES), spec.get(BINS)
    key_frame, samples, rate = spec.get(KEY_FRAME), spec.get(SAMPLES), spec.get(RATE)
    if not isinstance(label, str) or not label:
        raise EarmarkError(f"{name} has an example without a label: give each one.")
    if not _is_count(frames) or not _is_count(bins) or bins == 0:
        raise EarmarkError(f"{name} has an example without a spectrogram of frames and bins: serialize it again.")
    if key_frame is not None and not (_is_count(key_frame) and key_frame < frames):
        raise EarmarkError(f"{name} has an example whose key frame lies outside it: mark one of its frames.")
    if samples is None:
        return _Spec(label, frames, bins, key_frame, None, None)
    if not _is_count(samples):
        raise EarmarkError(f"{name} has an example whose sound has no length: serialize it again.")
    if not _is_count(rate) or not is_rate(rate):
        raise EarmarkError(f"{name} has an example whose sound has no sample rate that is known: say it in Hz.")
    return _Spec(label, frames, bins, key_frame, samples, rate)


def _example(spec: _Spec, values: npt.NDArray[np.float32], name: str) -> SerializedExample:
    """The example with those values: first its spectrogram's, then its sound's."""
    edge = spec.frames * spec.bins
    spectrogram, samples = values[:edge].reshape(spec.frames, spec.bins), values[edge:]
    if not (spectrogram < np.inf).all():
        raise EarmarkError(f"{name} has a spectrogram with values that are no levels in dB: record it anew.")
    if not np.isfinite(samples).all():
        raise EarmarkError(f"{name} has a sound with samples that are not finite: record it anew.")
    return SerializedExample(
        spec.label, spectrogram, spec.key_frame, samples if spec.samples is not None else None, spec.rate
    )


def _read_json(text: memoryview, length: int, name: str) -> list[object]:
    try:
        entries = json.loads(bytes(text).decode()) if len(text) == length else None
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise EarmarkError(f"{name} has a list of examples that can't be read: get a whole copy of it.")
    return entries


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 32
