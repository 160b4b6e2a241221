"""Teachable Machine's samples: a real download, layouts of projects, and hostile ones."""

from __future__ import annotations

import io
import json
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.audio.clip import encode_wav
from earmark.exchange.teachable_machine import MAX_ENTRIES, label_of, read_samples
from earmark.front_end.spectrogram import compute_spectrogram
from tests.budget import budget
from tests.conftest import SHARED

FIXTURE = SHARED / "fixtures" / "tfjs_speech_commands" / "teachable_machine_class.zip"
HOP_SECONDS = 1_024 / 44_100


@pytest.fixture
def download() -> Path:
    if not FIXTURE.is_file():
        pytest.skip("needs ../shared/fixtures/tfjs_speech_commands/teachable_machine_class.zip")
    return FIXTURE


def a_sample(level: object = -50.5, **other: Any) -> dict[str, Any]:
    """A sample as Teachable Machine keeps it, all its levels the same."""
    times = {"startTime": 0, "endTime": 1.0858, "recordingDuration": 2.1716}
    return {"frequencyFrames": [[level] * 232] * 43, "blob": None, **times, "blobFilePath": "sample-1.webm", **other}


def zipped(files: dict[str, object], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of those files: bytes as they are, anything else as JSON."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return buffer.getvalue()


def test_a_real_download_is_read(download: Path) -> None:
    samples = list(read_samples(download))
    with zipfile.ZipFile(download) as archive:
        told = json.loads(archive.read("samples.json"))
        recording = archive.read("sample-1.webm")
    assert len(samples) == len(told) == 10
    for sample, values in zip(samples, told, strict=True):
        assert sample.label is None
        assert (sample.start, sample.end) == (values["startTime"], values["endTime"])
        assert sample.spectrogram.dtype == np.float32
        np.testing.assert_array_equal(sample.spectrogram, np.array(values["frequencyFrames"], np.float32))
        assert sample.recording is samples[0].recording  # read once, decoded once
    assert samples[0].recording is not None
    assert samples[0].recording.data == recording
    with download.open("rb") as file:
        assert len(list(read_samples(file, "upload.zip"))) == 10


def test_a_samples_frames_are_those_of_its_recording_between_its_times(download: Path) -> None:
    """Our spectrogram at those moments is the most alike one, and by much: that is what the times mean."""
    pytest.importorskip("av")
    for sample in read_samples(download):
        assert sample.recording is not None
        clip = sample.recording.clip()
        ours = np.pad(compute_spectrogram(clip.samples, clip.sample_rate), ((30, 30), (0, 0)), constant_values=-100)
        moments = sample.start + (sample.end - sample.start) * np.arange(43) / 43  # at which a frame's samples end
        alike = []
        for shift in range(-10, 11):
            nearest = np.rint(moments / HOP_SECONDS).astype(int) - 1 + shift  # our frame k ends after k + 1 hops
            alike.append(np.corrcoef(ours[nearest + 30].ravel(), sample.spectrogram.ravel())[0, 1])
        assert abs(int(np.argmax(alike)) - 10) <= 1
        assert max(alike) > 0.8
        assert max(alike[0], alike[-1]) < 0.7


def test_a_samples_clip_is_cut_from_its_recording(download: Path) -> None:
    pytest.importorskip("av")
    first = next(iter(read_samples(download)))  # which is the last of the recording, whose end wasn't recorded
    clip = first.clip()
    assert clip is not None
    assert first.recording is not None
    whole = first.recording.clip()
    assert clip.sample_rate == whole.sample_rate == 48_000
    np.testing.assert_array_equal(clip.samples, whole.samples[round(9.7722 * 48_000) :])
    assert 1.0 < clip.seconds < 1.0858


def test_recordings_that_are_sound_files_by_another_name_are_cut_too() -> None:
    from earmark.audio.clip import Clip

    ramp = Clip(np.linspace(-0.5, 0.5, 16_000, dtype=np.float32), 8_000)
    samples = [a_sample(startTime=0.25, endTime=1.25), a_sample(startTime=2, endTime=3)]
    inside, beyond = read_samples(io.BytesIO(zipped({"samples.json": samples, "sample-1.webm": encode_wav(ramp)})))
    clip = inside.clip()
    assert clip is not None
    np.testing.assert_allclose(clip.samples, ramp.samples[2_000:10_000], atol=2**-15)
    with pytest.raises(EarmarkError, match=r"sample-1\.webm in the file ends before a sample of it begins"):
        beyond.clip()


def test_digital_silence_stays_minus_infinity_and_a_missing_recording_is_none() -> None:
    frames = [[None] * 232] + [[-60.25] * 232] * 42
    (sample,) = read_samples(io.BytesIO(zipped({"samples.json": [a_sample(frequencyFrames=frames)]})))
    assert np.isneginf(sample.spectrogram[0]).all()
    assert (sample.spectrogram[1:] == -60.25).all()
    assert sample.recording is None
    assert sample.clip() is None


WEBM = b"\x1a\x45\xdf\xa3 of "
Told = list[tuple[str | None, bytes | None]]  # each sample's label and recording
PROJECTS: dict[str, tuple[dict[str, object], Told]] = {
    "a class": ({"samples.json": [a_sample()], "sample-1.webm": WEBM}, [(None, WEBM)]),
    "folders": (
        {
            "project/Clap/samples.json": [a_sample(), a_sample()],
            "project/Clap/sample-1.webm": WEBM + b"Clap",
            "project/été 🙂/samples.json": [a_sample()],
            "project/été 🙂/sample-1.webm": WEBM + b"summer",
            "__MACOSX/project/Clap/._samples.json": b"\0\5\x16\7",
        },
        [("Clap", WEBM + b"Clap"), ("Clap", WEBM + b"Clap"), ("été 🙂", WEBM + b"summer")],
    ),
    "an unpacked class in its folder": ({"Clap-samples/samples.json": [a_sample()]}, [("Clap", None)]),
    "prefixed files": (
        {
            "manifest.json": {"type": "audio"},
            "Clap-!-samples.json": [a_sample()],
            "Clap-!-sample-1.webm": WEBM + b"Clap",
            "Background Noise-!-samples.json": [a_sample()],
            "Background Noise-!-sample-1.webm": WEBM + b"noise",
        },
        [("Clap", WEBM + b"Clap"), ("Background Noise", WEBM + b"noise")],
    ),
    "zips of classes": (
        {
            "Clap-samples.zip": zipped({"samples.json": [a_sample()], "sample-1.webm": WEBM}),
            "Snap-samples (1).zip": zipped({"samples.json": [a_sample()]}, zipfile.ZIP_STORED),
        },
        [("Clap", WEBM), ("Snap", None)],
    ),
    "a name that leads elsewhere": (
        {"../samples.json": [a_sample(blobFilePath="../../etc/passwd")]},
        [(None, None)],
    ),
}


@pytest.mark.parametrize(("files", "expected"), PROJECTS.values(), ids=PROJECTS.keys())
def test_classes_are_told_by_what_surrounds_their_samples(
    tmp_path: Path, files: dict[str, object], expected: Told
) -> None:
    path = tmp_path / "project.tm"
    path.write_bytes(zipped(files))
    samples = list(read_samples(path))
    assert [(s.label, s.recording.data if s.recording else None) for s in samples] == expected


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Clap-samples.zip", "Clap"),
        ("Clap-samples (1).zip", "Clap"),
        ("Clap (2).ZIP", "Clap"),
        ("Background Noise-samples.zip", "Background Noise"),
        ("C:\\downloads\\Snap audio samples.zip", "Snap"),
        ("downloads/été.zip", "été"),
        ("Resamples.zip", "Resamples"),
        ("samples (3).zip", None),
        ("samples.zip", None),
    ],
)
def test_the_label_that_a_downloads_name_tells(name: str, label: str | None) -> None:
    assert label_of(name) == label


def test_what_is_no_download_is_told_from_one(tmp_path: Path) -> None:
    others = {
        "labels.zip": zipped({"Clap/one.wav": b"RIFF", "Snap/two.wav": b"RIFF"}),
        "model.zip": zipped({"model.json": {}, "metadata.json": {}, "weights.bin": b""}),
        "empty.zip": zipped({}),
        "text.zip": b"no zip at all",
        "nothing.zip": b"",
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EarmarkError, match=rf"^{re.escape(name)} (holds no samples|can't be read)"):
            next(read_samples(tmp_path / name))
    with pytest.raises(EarmarkError, match=r"missing\.zip does not exist"):
        next(read_samples(tmp_path / "missing.zip"))


def claiming(size: int) -> bytes:
    """A download whose samples claim that size, unpacked."""
    data = bytearray(zipped({"samples.json": [a_sample()]}))
    at = data.index(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(data)


def locked() -> bytes:
    """A download that says it is encrypted."""
    data = bytearray(zipped({"samples.json": [a_sample()]}))
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def long_contents() -> bytes:
    """A zip whose table of contents alone has more than 4 MiB."""
    return zipped({f"{number:060000d}": b"" for number in range(75)})


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"no zip at all", "can't be read"),
    "cut off": (lambda: zipped({"samples.json": [a_sample()]})[:-30], "can't be read"),
    "no samples": (lambda: zipped({"Clap/one.wav": b"RIFF"}), "holds no samples"),
    "an empty class": (lambda: zipped({"samples.json": []}), "holds no samples"),
    "images": (lambda: zipped({"manifest.json": {"type": "image"}, "a-!-0.jpg": b""}), "of the type image"),
    "a manifest without a type": (lambda: zipped({"manifest.json": [1]}), "holds no samples"),
    "no list": (lambda: zipped({"samples.json": {"a": 1}}), "can't be read"),
    "no objects": (lambda: zipped({"samples.json": [1]}), "can't be read"),
    "a list cut off": (lambda: zipped({"samples.json": json.dumps([a_sample()]).encode()[:-1]}), "can't be read"),
    "no JSON": (lambda: zipped({"samples.json": b"[{]"}), "can't be read"),
    "no UTF-8": (lambda: zipped({"samples.json": b'[{"\xff": 1}]'}), "can't be read"),
    "deep nesting": (lambda: zipped({"samples.json": b"[" * 3_000_000}), "can't be read"),
    "an endless sample": (lambda: zipped({"samples.json": b'[{"a":[' + b"0," * (60 << 20)}), "can't be read"),
    "no frames": (lambda: zipped({"samples.json": [{}]}), "no spectrogram of 43 × 232"),
    "42 frames": (lambda: zipped({"samples.json": [a_sample(frequencyFrames=[[0] * 232] * 42)]}), "43 × 232"),
    "flat frames": (lambda: zipped({"samples.json": [a_sample(frequencyFrames=[0] * 43 * 232)]}), "43 × 232"),
    "text as level": (lambda: zipped({"samples.json": [a_sample("-50")]}), "43 × 232"),
    "NaN": (lambda: zipped({"samples.json": [a_sample(float("nan"))]}), "can't be read"),
    "a level beyond all": (lambda: zipped({"samples.json": [a_sample(1e300)]}), "no levels in dB"),
    "no times": (lambda: zipped({"samples.json": [a_sample(startTime=None)]}), "doesn't say where"),
    "times the wrong way": (lambda: zipped({"samples.json": [a_sample(startTime=2)]}), "doesn't say where"),
    "an hour": (lambda: zipped({"samples.json": [a_sample(endTime=3_600)]}), "doesn't say where"),
    "4 GB claimed": (lambda: claiming((1 << 32) - 2), "samples.json of more than 1024 MiB"),
    "locked": (locked, "can't be read"),
    "packed otherwise": (lambda: zipped({"samples.json": [a_sample()]}, zipfile.ZIP_LZMA), "packed in an unusual way"),
    "many files": (lambda: zipped({f"{n}": b"" for n in range(MAX_ENTRIES + 1)}), "more than 20,000 files"),
    "long contents": (long_contents, "can't be read"),
    "a large recording": (
        lambda: zipped({"samples.json": [a_sample()], "sample-1.webm": bytes((64 << 20) + 1)}),
        "sample-1.webm of more than 64 MiB",
    ),
    "a zip in a zip in a zip": (
        lambda: zipped({"a.zip": zipped({"b.zip": zipped({"samples.json": [a_sample()]})})}),
        "holds no samples",
    ),
    "a damaged zip in a zip": (lambda: zipped({"a.zip": b"PK"}), "can't be read"),
}


@pytest.mark.thinned(5)
@pytest.mark.parametrize(("make", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_downloads_get_one_sentence(tmp_path: Path, make: Callable[[], bytes], said: str) -> None:
    path = tmp_path / "mine.zip"
    path.write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(EarmarkError, match=said) as caught:
            list(read_samples(path))
        assert tracemalloc.get_traced_memory()[1] < 128 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith("mine.zip ")
    assert "\n" not in str(caught.value)


def test_many_recordings_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.exchange.teachable_machine.MAX_RECORDINGS_BYTES", 3 << 20)
    samples = [a_sample(blobFilePath=f"{n}.webm") for n in range(8)]
    files: dict[str, object] = {"samples.json": samples, **{f"{n}.webm": bytes(1 << 20) for n in range(8)}}
    with pytest.raises(EarmarkError, match="more than 3 MiB of recordings"):
        list(read_samples(io.BytesIO(zipped(files)), "mine.zip"))


def test_samples_are_counted_over_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.exchange.teachable_machine.MAX_SAMPLES", 3)
    files: dict[str, object] = {f"{label}/samples.json": [a_sample()] * 2 for label in "ab"}
    with pytest.raises(EarmarkError, match="more than 3 samples"):
        list(read_samples(io.BytesIO(zipped(files)), "mine.zip"))


LEVELS = st.none() | st.floats(-300, 50, width=32)


@budget(25)
@given(st.lists(LEVELS, min_size=232, max_size=232), st.integers(0, 42), st.booleans())
def test_levels_are_read_as_they_were_written(row: list[float | None], at: int, spaced: bool) -> None:
    frames: list[list[float | None]] = [[-100.0] * 232] * 43
    frames[at] = row
    text = json.dumps([a_sample(), a_sample(frequencyFrames=frames)], indent=1 if spaced else None).encode()
    _, sample = read_samples(io.BytesIO(zipped({"samples.json": text})))
    expected = np.array([-np.inf if level is None else level for level in row], np.float32)
    np.testing.assert_array_equal(sample.spectrogram[at], expected)


@given(st.data())
def test_damage_of_any_kind_is_an_error_or_harmless(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    inner = zipped({"samples.json": [a_sample(-9)], "sample-1.webm": WEBM}, method)
    whole = zipped({"Clap.zip": inner}, method) if data.draw(st.booleans()) else inner
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        # Anywhere, or in the tables at the end, where a random byte rarely falls.
        near = data.draw(st.booleans())
        damaged[data.draw(st.integers(len(whole) - 200 if near else 0, len(whole) - 1))] = data.draw(
            st.integers(0, 255)
        )
    with suppress(EarmarkError):
        list(read_samples(io.BytesIO(damaged[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))])))
