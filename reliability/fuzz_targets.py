"""What is fuzzed: each parser that reads outside bytes, as a function that must return, whatever it is given.

A target tells what it finds by raising. What a parser itself may raise is an `EarmarkError` of one line.
"""

from __future__ import annotations

import io
import shutil
from contextlib import suppress
from pathlib import Path

from reliability.fuzz_mutation import (
    mutate_bytes,
    mutate_examples,
    mutate_json,
    mutate_messages,
    mutate_onnx,
    mutate_zip,
)
from reliability.fuzz_settings import cache, cards, journal, names, settings
from reliability.fuzz_told import Target, Try, check_sentence, told

CORPUS = Path(__file__).parent / "corpus"


def corpus_of(target: Target) -> list[tuple[str, bytes]]:
    """A target's seeds by name: what our own code wrote, and every case that once broke something."""
    return [(file.name, file.read_bytes()) for file in sorted((CORPUS / target.name).glob("*")) if file.is_file()]


# Sound


def audio(scratch: Path) -> Try:
    """libsndfile's formats: as a clip, as background noise, and as a source."""
    import numpy as np

    from earmark.audio.clip import clip_length, read_clip
    from earmark.audio.finding import open_sound_file
    from earmark.audio.sources import FileSource
    from earmark.exchange.found_recordings import cut_noise
    from earmark.front_end.recordings import read_recording

    file = scratch / "case"

    def attempt(data: bytes) -> None:
        with told():
            clip = read_clip(data)
            assert clip.samples.dtype == np.float32
            assert len(clip.samples) > 0
            assert np.abs(clip.samples).max() <= 1
        file.write_bytes(data)
        with told():
            read_recording(file)
        with told():
            clip_length(file)
        with told():
            cut_noise(data, "noise.wav")
        with told(), open_sound_file(str(file)) as source:
            for chunk in source:
                assert np.isfinite(chunk).all()
        with told(), FileSource(io.BytesIO(data), 0.01, name="stored") as source:
            for chunk in source:
                assert np.isfinite(chunk).all()

    return attempt


def pcm(_: Path) -> Try:
    """Raw PCM from a pipe; the first two bytes choose rate, channels and encoding."""
    import numpy as np

    from earmark.audio.clip import decode_pcm
    from earmark.audio.sources import PcmSource

    def attempt(data: bytes) -> None:
        rate, channels = data[0] * 200 if data else 0, data[1] if len(data) > 1 else 0
        for encoding in ("s16le", "f32le"):
            with told(), PcmSource(io.BytesIO(data[2:]), rate, encoding, channels) as source:
                for chunk in source:
                    assert np.abs(chunk).max(initial=0) <= 1
        decode_pcm(data[: len(data) - len(data) % 4], "f32le")

    return attempt


def compressed(scratch: Path) -> Try:
    """WebM, Matroska, MP4 and AAC, by PyAV."""
    import numpy as np

    from earmark.audio.compressed_audio import container_of, decode
    from earmark.audio.finding import open_sound_file

    file = scratch / "case"

    def attempt(data: bytes) -> None:
        if container_of(data) is None:
            return  # that is for libsndfile
        with told():
            clip = decode(data, "case.webm")
            assert np.abs(clip.samples).max() <= 1
        file.write_bytes(data)
        with told(), open_sound_file(str(file)) as source:
            for chunk in source:
                assert np.isfinite(chunk).all()

    return attempt


def spectrograms(scratch: Path) -> Try:
    """Spectrogram files (.npy)."""
    import numpy as np

    from earmark.front_end.recordings import read_recording
    from earmark.front_end.spectrogram_file import encode_spectrogram, read_spectrogram, spectrogram_length

    file = scratch / "case.npy"

    def attempt(data: bytes) -> None:
        with told():
            frames = read_spectrogram(data)
            assert np.array_equal(read_spectrogram(encode_spectrogram(frames)), frames)
            file.write_bytes(data)
            assert len(read_spectrogram(file)) == len(frames) == spectrogram_length(file)
        with told():
            read_recording(data, "case.npy")

    return attempt


# Imports


def zips(scratch: Path) -> Try:
    """A zip of recordings of any layout, imported into a project, which alone may change."""
    from earmark.exchange.importing import import_into
    from earmark.project import Project

    folder = scratch / "project"
    Project(folder, create=True)
    settings = (folder / "earmark.toml").read_bytes()
    before = sorted(scratch.iterdir())

    def attempt(data: bytes) -> None:
        with told():
            imported = import_into(Project(folder), io.BytesIO(data), name="case.zip")
            for clip in imported.added:
                assert clip.path.resolve().is_relative_to(folder / "clips"), clip.path
            for told_of in [*imported.notes, *(part for skipped in imported.skipped for part in skipped)]:
                check_sentence(told_of)
        assert sorted(scratch.iterdir()) == before
        clips = list((folder / "clips").rglob("*"))
        assert all(path.suffix in ("", ".flac", ".npy") and not path.is_symlink() for path in clips), clips
        shutil.rmtree(folder / "clips", ignore_errors=True)
        (folder / "earmark.toml").write_bytes(settings)

    return attempt


def tables(_: Path) -> Try:
    """Tables of an audiofolder."""
    from earmark.exchange.audiofolder import read_table

    def attempt(data: bytes) -> None:
        for name in ("metadata.csv", "metadata.jsonl"):
            with told():
                for file, label in read_table(data, name):
                    assert isinstance(file, str)
                    assert label is None or isinstance(label, str)

    return attempt


def teachable(_: Path) -> Try:
    """Samples of Teachable Machine."""
    from earmark.exchange.teachable_samples import find_samples

    def attempt(data: bytes) -> None:
        with told():
            for found in find_samples(io.BytesIO(data), "Clap-samples.zip").recordings[:20]:
                with told():
                    found.read(found.label or "Clap")

    return attempt


def examples(_: Path) -> Try:
    """Sets of examples of the package speech-commands, written again as they were read."""
    import numpy as np

    from earmark.exchange.example_sets import find_examples
    from earmark.exchange.serialized_examples import read_examples, write_examples

    def attempt(data: bytes) -> None:
        with told():
            read = read_examples(data)
            again = read_examples(write_examples(read))
            assert len(again) == len(read)
            for one, other in zip(again, read, strict=True):
                assert (one.label, one.key_frame, one.sample_rate) == (other.label, other.key_frame, other.sample_rate)
                assert np.array_equal(one.spectrogram, other.spectrogram)
        with told():
            for found in find_examples(data, "case.bin").recordings[:20]:
                with told():
                    found.read("label")

    return attempt


# Models


def tfjs(scratch: Path) -> Try:
    """A zip of a TensorFlow.js model, loaded as it is, or unpacked into a folder."""
    import zipfile

    from earmark.recognizer.recognizer import load

    file, folder = scratch / "case.zip", scratch / "case"

    def attempt(data: bytes) -> None:
        file.write_bytes(data)
        if len(data) % 4:
            with told():
                load(file)
            return
        folder.mkdir()
        with suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if entry.filename.replace(".", "").isalnum():  # a name and no path: this is no test of the unpacking
                    (folder / entry.filename).write_bytes(archive.read(entry))
        with told():
            load(folder)
        shutil.rmtree(folder)

    return attempt


def onnx(scratch: Path) -> Try:
    """A model.onnx, loaded; what loads must then recognize silence."""
    import numpy as np

    from earmark.recognizer.recognizer import load

    file = scratch / "model.onnx"

    def attempt(data: bytes) -> None:
        file.write_bytes(data)
        with told():
            recognizer = load(file)
            scores = recognizer.recognize(np.zeros(4_000, np.float32), 16_000).scores
            assert scores.shape == (len(recognizer.labels),)

    return attempt


# The network; heavy to import, so each is looked up when it is prepared


def live(scratch: Path) -> Try:
    """The studio's live sessions."""
    from reliability.fuzz_sessions import live

    return live(scratch)


def stream(_: Path) -> Try:
    """The recognition API's streams."""
    from reliability.fuzz_sessions import stream

    return stream()


def requests(_: Path) -> Try:
    """The recognition API's requests: options, headers, uploads."""
    from reliability.fuzz_sessions import requests

    return requests()


TARGETS = {
    target.name: target
    for target in (
        Target("audio", audio, mutate_bytes, 800),
        Target("pcm", pcm, mutate_bytes, 2_000),
        Target("compressed", compressed, mutate_bytes, 300),
        Target("spectrograms", spectrograms, mutate_bytes, 2_000),
        Target("zip", zips, mutate_zip, 400),
        Target("tables", tables, mutate_bytes, 2_000),
        Target("teachable", teachable, mutate_zip, 300),
        Target("examples", examples, mutate_examples, 2_000),
        Target("tfjs", tfjs, mutate_zip, 400),
        Target("onnx", onnx, mutate_onnx, 400),
        Target("live", live, mutate_messages, 600),
        Target("stream", stream, mutate_messages, 600),
        Target("requests", requests, mutate_messages, 400),
        Target("settings", settings, mutate_bytes, 1_000),
        Target("cards", cards, mutate_json, 1_000),
        Target("journal", journal, mutate_bytes, 1_000),
        Target("names", names, mutate_bytes, 2_000),
        Target("cache", cache, mutate_bytes, 400),
    )
}
