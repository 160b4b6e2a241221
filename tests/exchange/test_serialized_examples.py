"""Serialized example sets: byte for byte as speech-commands writes them, against the package itself in Node."""

from __future__ import annotations

import json
import struct
import subprocess
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.exchange.serialized_examples import MAX_JSON_BYTES, SerializedExample, read_examples, write_examples
from tests.conftest import SHARED
from tests.tfjs_node import MODULES, skip_without_node

FIXTURE = SHARED / "fixtures" / "tfjs_speech_commands" / "examples.bin"

# The package makes a set of its own, with everything that an example may have, and takes ours apart and together.
SCRIPT = """
const fs = require("fs");
const [dataset, made, ours, again] = process.argv.slice(1);
const { Dataset } = require(dataset);
const set = new Dataset();
const levels = (frames, bins) => Float32Array.from({ length: frames * bins }, (_, i) => -20 - Math.sqrt(i));
const sound = (length) => Float32Array.from({ length }, (_, i) => Math.sin(i));
const silent = levels(2, 3);
silent.fill(-Infinity, 1, 4);
set.addExample({ label: "yes", spectrogram: { frameSize: 232, data: levels(43, 232) } });
set.addExample({ label: "été 🙂 下", spectrogram: { frameSize: 3, keyFrameIndex: 0, data: silent } });
set.addExample({ label: "_background_noise_", spectrogram: { frameSize: 2, data: levels(5, 2) },
                 rawAudio: { data: sound(7), sampleRateHz: 44100 } });
set.addExample({ label: "yes", spectrogram: { frameSize: 4, keyFrameIndex: 2, data: levels(3, 4) },
                 rawAudio: { data: sound(0), sampleRateHz: 48000 } });
set.addExample({ label: 'a"b\\\\c\\n\\u0001\\u007f\\u2028/', spectrogram: { frameSize: 1, data: levels(1, 1) } });
set.addExample({ label: "half \\ud83d", spectrogram: { frameSize: 1, data: levels(0, 1) } });
fs.writeFileSync(made, Buffer.from(set.serialize()));
const bytes = fs.readFileSync(ours);
const read = new Dataset(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
fs.writeFileSync(again, Buffer.from(read.serialize()));
const counts = Object.entries(read.getExampleCounts());
const examples = counts.flatMap(([label]) => read.getExamples(label).map(({ example }) => [
  example.label, example.spectrogram.frameSize, example.spectrogram.keyFrameIndex ?? null,
  Array.from(example.spectrogram.data, String),
  example.rawAudio ? [example.rawAudio.sampleRateHz, Array.from(example.rawAudio.data)] : null]));
console.log(JSON.stringify(examples));
"""


def example(label: str = "yes", frames: int = 2, bins: int = 3, **extra: Any) -> SerializedExample:
    levels = -20 - np.arange(frames * bins, dtype=np.float32).reshape(frames, bins)
    return SerializedExample(label, levels, **extra)


def sound(length: int) -> np.ndarray:
    return np.linspace(-1, 1, length, dtype=np.float32)


def packed(manifest: object, values: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """A set put together by hand."""
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest, separators=(",", ":")).encode()
    return b"TFJSSCDS" + struct.pack("<II", version, len(text) if length is None else length) + text + values


def entry(**extra: Any) -> dict[str, Any]:
    return {"label": "a", "spectrogramNumFrames": 1, "spectrogramFrameSize": 2, **extra}


def same(one: SerializedExample, other: SerializedExample) -> None:
    assert (one.label, one.key_frame, one.sample_rate) == (other.label, other.key_frame, other.sample_rate)
    np.testing.assert_array_equal(one.spectrogram, other.spectrogram)
    assert (one.samples is None) == (other.samples is None)
    if one.samples is not None and other.samples is not None:
        np.testing.assert_array_equal(one.samples, other.samples)


def test_a_real_set_round_trips_byte_for_byte() -> None:
    if not FIXTURE.is_file():
        pytest.skip("needs ../shared/fixtures/tfjs_speech_commands/examples.bin")
    data = FIXTURE.read_bytes()
    examples = read_examples(data)
    assert [(e.label, e.spectrogram.shape) for e in (examples[0], examples[-1])] == [
        ("_background_noise_", (43, 232)),
        ("下一张", (43, 232)),
    ]
    assert len(examples) == 30
    assert len({e.label for e in examples}) == 3
    # The file's last value, straight from its last bytes, and the first, after 16 bytes and the JSON.
    assert examples[-1].spectrogram[-1, -1] == struct.unpack("<f", data[-4:])[0]
    assert (
        examples[0].spectrogram[0, 0] == struct.unpack_from("<f", data, 16 + struct.unpack_from("<I", data, 12)[0])[0]
    )
    assert write_examples(examples) == data


def test_the_bytes_are_those_of_the_format() -> None:
    levels = np.array([[1.5, -np.inf]], np.float32)
    written = write_examples(
        [
            SerializedExample("é", levels, key_frame=0, samples=np.array([0.5], np.float32), sample_rate=44_100),
            SerializedExample("b", levels),
        ]
    )
    manifest = (
        '[{"label":"é","spectrogramNumFrames":1,"spectrogramFrameSize":2,"spectrogramKeyFrameIndex":0,'
        '"rawAudioNumSamples":1,"rawAudioSampleRateHz":44100},'
        '{"label":"b","spectrogramNumFrames":1,"spectrogramFrameSize":2}]'
    ).encode()
    values = bytes.fromhex("0000c03f 000080ff 0000003f 0000c03f 000080ff")  # 1.5, −∞, 0.5, 1.5, −∞
    assert written == b"TFJSSCDS\1\0\0\0" + len(manifest).to_bytes(4, "little") + manifest + values


def test_the_npm_package_and_we_read_each_others_sets(tmp_path: Path) -> None:
    skip_without_node()
    ours = [  # in the order of the package: by label, then as they came
        example("_background_noise_", 4, 2, samples=sound(9), sample_rate=44_100),
        example("no", 3, 2, key_frame=2),
        example("no", 1, 5, key_frame=0, samples=sound(3), sample_rate=16_000),
        example("\u2028 \x7f é 🙂"),
    ]
    ours[1].spectrogram[1] = -np.inf
    made, written, again = tmp_path / "made.bin", tmp_path / "ours.bin", tmp_path / "again.bin"
    written.write_bytes(write_examples(ours))
    dataset = MODULES / "@tensorflow-models" / "speech-commands" / "dist" / "dataset.js"
    command = ["node", "-e", SCRIPT, *map(str, (dataset, made, written, again))]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]

    assert again.read_bytes() == written.read_bytes()
    seen = [
        SerializedExample(
            label, np.array([float(x.replace("Infinity", "inf")) for x in values], np.float32).reshape(-1, bins), key,
            *((np.array(raw[1], np.float32), raw[0]) if raw else ()),
        )
        for label, bins, key, values, raw in json.loads(done.stdout)
    ]  # fmt: skip
    assert len(seen) == len(ours)
    for one, other in zip(seen, ours, strict=True):
        same(one, other)

    examples = read_examples(made.read_bytes())
    assert [e.label for e in examples] == [
        "_background_noise_", 'a"b\\c\n\x01\x7f\u2028/', "half \ud83d", "yes", "yes", "été 🙂 下",
    ]  # fmt: skip
    noise, _, empty, first, second, silent = examples
    assert first.spectrogram.shape == (43, 232)
    assert first.spectrogram[1, 0] == np.float32(-20 - np.sqrt(232))
    assert noise.samples is not None
    np.testing.assert_array_equal(noise.samples, np.sin(np.arange(7)).astype(np.float32))
    assert (noise.sample_rate, noise.key_frame, first.samples) == (44_100, None, None)
    assert (second.key_frame, second.sample_rate, len(second.samples if second.samples is not None else "?")) == (
        2, 48_000, 0,
    )  # fmt: skip
    assert silent.key_frame == 0
    assert np.isneginf(silent.spectrogram.ravel()).tolist() == [False, True, True, True, False, False]
    assert empty.spectrogram.shape == (0, 1)
    assert write_examples(examples) == made.read_bytes()


def test_arrays_are_copies_that_may_be_changed() -> None:
    data = bytearray(write_examples([example()]))
    levels = read_examples(data)[0].spectrogram
    levels[0, 0] = 5
    assert read_examples(memoryview(data))[0].spectrogram[0, 0] == -20


NAN, INFINITY = struct.pack("<ff", np.nan, 0), struct.pack("<ff", 0, np.inf)
RAW = {"rawAudioNumSamples": 2, "rawAudioSampleRateHz": 44_100}
HOSTILE = {
    "empty": (b"", "no examples of speech-commands"),
    "not a set": (b"RIFF" + bytes(100), "no examples of speech-commands"),
    "the header alone": (packed([])[:15], "no examples of speech-commands"),
    "a newer version": (packed([], version=2), "version 2, and Earmark reads version 1"),
    "no list": (packed({}), "list of examples that can't be read"),
    "no JSON": (packed(b"[{]"), "list of examples that can't be read"),
    "no UTF-8": (packed(b'[{"label":"\xff"}]'), "list of examples that can't be read"),
    "a list cut off": (packed([entry()], length=1000), "list of examples that can't be read"),
    "a list of 4 GB": (packed([], length=(1 << 32) - 1), "more than 4 MiB"),
    "deep nesting": (packed(b"[" * 200_000), "list of examples that can't be read"),
    "a very long number": (packed(b"[" + b"9" * 100_000 + b"]"), "can't be read|without a label"),
    "no object": (packed([1]), "without a label"),
    "no label": (packed([entry(label="")]), "without a label"),
    "a number as label": (packed([entry(label=3)]), "without a label"),
    "no frames": (packed([entry(spectrogramNumFrames=None)]), "without a spectrogram"),
    "frames below zero": (packed([entry(spectrogramNumFrames=-1)]), "without a spectrogram"),
    "half a frame": (packed([entry(spectrogramNumFrames=1.5)]), "without a spectrogram"),
    "a truth as frames": (packed([entry(spectrogramNumFrames=True)]), "without a spectrogram"),
    "no bins": (packed([entry(spectrogramFrameSize=0)]), "without a spectrogram"),
    "10 GB": (packed([entry(spectrogramNumFrames=12_500_000, spectrogramFrameSize=200)]), "10,000,000,000"),
    "beyond 64 bits": (
        packed([entry(spectrogramNumFrames=1 << 31, spectrogramFrameSize=1 << 31)] * 9),
        "its list says",
    ),
    "values cut off": (packed([entry()], bytes(7)), "7 bytes of examples where its list says 8"),
    "values too many": (packed([entry()], bytes(12)), "12 bytes of examples where its list says 8"),
    "a key frame beyond": (packed([entry(spectrogramKeyFrameIndex=1)], bytes(8)), "key frame lies outside"),
    "a key frame as text": (packed([entry(spectrogramKeyFrameIndex="0")], bytes(8)), "key frame lies outside"),
    "NaN": (packed([entry()], NAN), "no levels in dB"),
    "infinity": (packed([entry()], INFINITY), "no levels in dB"),
    "NaN in the sound": (packed([entry(**RAW)], bytes(8) + NAN), "not finite"),
    "no length of the sound": (packed([entry(**{**RAW, "rawAudioNumSamples": -1})], bytes(8)), "no length"),
    "no rate": (packed([entry(rawAudioNumSamples=2)], bytes(16)), "no sample rate"),
    "a rate of 0": (packed([entry(**{**RAW, "rawAudioSampleRateHz": 0})], bytes(16)), "no sample rate"),
}


@pytest.mark.parametrize(("data", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_set_gets_one_sentence(data: bytes, said: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(EarmarkError, match=said) as caught:
            read_examples(data, "mine.bin")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith("mine.bin ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (example(label=""), "without a label"),
        (SerializedExample("a", np.zeros(4, np.float32)), "without a spectrogram"),
        (SerializedExample("a", np.full((1, 2), np.nan, np.float32)), "no levels in dB"),
        (example(key_frame=2), "key frame lies outside"),
        (example(samples=sound(3)), "no sample rate"),
        (example(samples=np.array([np.inf], np.float32), sample_rate=44_100), "not finite"),
    ],
)
def test_what_could_not_be_read_is_not_written(wrong: SerializedExample, said: str) -> None:
    with pytest.raises(EarmarkError, match=said):
        write_examples([example(), wrong])


def test_a_set_is_not_made_longer_than_it_may_be_read() -> None:
    with pytest.raises(EarmarkError, match="2 examples are too many"):
        write_examples([example("a" * (MAX_JSON_BYTES // 2))] * 2)


LEVELS = st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.just(float("-inf")))
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def examples_of_any_kind(draw: st.DrawFn) -> SerializedExample:
    frames, bins = draw(st.integers(0, 4)), draw(st.integers(1, 4))
    levels = draw(st.lists(LEVELS, min_size=frames * bins, max_size=frames * bins))
    key = draw(st.none() | st.integers(0, frames - 1)) if frames else None
    samples = draw(st.none() | st.lists(FINITE, max_size=5))
    # Surrogates, too: JavaScript's text may hold halves of them, but Python joins no pairs.
    label = draw(
        st.text(st.characters(), min_size=1).filter(lambda text: not any("\ud800" <= c < "\udc00" for c in text))
    )
    return SerializedExample(
        label,
        np.array(levels, np.float32).reshape(frames, bins),
        key,
        None if samples is None else np.array(samples, np.float32),
        None if samples is None else draw(st.integers(1_000, 65_535)),
    )


@given(st.lists(examples_of_any_kind(), max_size=5))
def test_what_is_written_is_read_and_written_the_same(examples: list[SerializedExample]) -> None:
    data = write_examples(examples)
    read = read_examples(data)
    assert len(read) == len(examples)
    for one, other in zip(read, examples, strict=True):
        same(one, other)
        assert one.spectrogram.tobytes() == other.spectrogram.tobytes()  # −0 stays −0
    assert write_examples(read) == data


@given(st.data())
def test_damage_of_any_kind_is_an_error_or_harmless(data: st.DataObject) -> None:
    whole = write_examples([example(), example("no", key_frame=1, samples=sound(4), sample_rate=8_000)])
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(whole)))] + data.draw(st.binary(max_size=8))
    with suppress(EarmarkError):
        read_examples(bytes(damaged))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_or_a_set(data: bytes) -> None:
    for content in (data, b"TFJSSCDS\1\0\0\0" + data, packed(data)):
        with suppress(EarmarkError):
            read_examples(content)
