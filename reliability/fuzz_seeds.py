"""Makes the fuzzer's seeds anew, by our own code: `python -m reliability.fuzz_seeds`. What was found stays there."""

from __future__ import annotations

import io
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import tomli_w

from earmark.audio.clip import Clip, encode_flac
from earmark.exchange.serialized_examples import SerializedExample, write_examples
from earmark.front_end.spectrogram_file import encode_spectrogram
from earmark.models.metadata import FixedNormalization, FlooredNormalization, Metadata, WindowNormalization
from earmark.training.embedding_cache import EmbeddingCache
from reliability.fuzz_mutation import Message, join, pack
from reliability.fuzz_targets import CORPUS
from tests.bands import band_model
from tests.small_base import small_base
from tests.tfjs_models import LABELS, SMALL_SHAPES, functional_model, manifest, random_weights, small

RATE = 8_000
SOUNDS = {  # by libsndfile's container and coding
    "pcm.wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "ima.wav": ("WAV", "IMA_ADPCM"),
    "ulaw.wav": ("WAV", "ULAW"), "gsm.wav": ("WAV", "GSM610"), "ex.wav": ("WAVEX", "PCM_24"), "rf64.wav": ("RF64",
    "PCM_16"), "w64.w64": ("W64", "PCM_16"), "pcm.aiff": ("AIFF", "PCM_16"), "alaw.aiff": ("AIFF", "ALAW"),
    "pcm.flac": ("FLAC", "PCM_16"), "vorbis.ogg": ("OGG", "VORBIS"), "opus.ogg": ("OGG", "OPUS"),
    "layer3.mp3": ("MP3", "MPEG_LAYER_III"), "pcm.caf": ("CAF", "PCM_16"), "alac.caf": ("CAF", "ALAC_16"),
    "pcm.au": ("AU", "PCM_16"), "voc.voc": ("VOC", "PCM_16"), "svx.svx": ("SVX", "PCM_16"), "sds.sds": ("SDS",
    "PCM_16"), "paf.paf": ("PAF", "PCM_16"), "ircam.sf": ("IRCAM", "PCM_16"), "nist.nist": ("NIST", "PCM_16"),
    "htk.htk": ("HTK", "PCM_16"), "mat5.mat": ("MAT5", "PCM_16"), "pvf.pvf": ("PVF", "PCM_16"), "xi.xi": ("XI",
    "DPCM_16"), "avr.avr": ("AVR", "PCM_16"), "mpc.mpc2k": ("MPC2K", "PCM_16"), "wve.wve": ("WVE", "ALAW"),
    "dwvw.aiff": ("AIFF", "DWVW_16"), "msadpcm.wav": ("WAV", "MS_ADPCM"),
}  # fmt: skip
TOML = {
    "name": "Clap & été",
    "mode": "words",
    "base": "words",
    "labels": [{"name": "Left", "colour": "#2563eb"}, {"name": "_background_noise_", "colour": "#64748b"}],
    "key_frames": {"Left/a.flac": 7},
}


def tone(seconds: float = 0.04) -> npt.NDArray[np.float32]:
    """A tone of 440 Hz."""
    return np.asarray(0.3 * np.sin(2 * np.pi * 440 / RATE * np.arange(round(seconds * RATE))), np.float32)


def sound(container: str, subtype: str, seconds: float = 0.04) -> bytes:
    """That tone as a file."""
    file = io.BytesIO()
    soundfile.write(file, tone(seconds), RATE, format=container, subtype=subtype)
    return file.getvalue()


def audio() -> dict[str, bytes]:
    return {name: sound(container, subtype) for name, (container, subtype) in SOUNDS.items()}


def compressed() -> dict[str, bytes]:
    import av

    made = {}
    kinds = {
        "opus.webm": ("libopus", "webm", 48_000), "aac.m4a": ("aac", "mp4", 16_000), "aac.aac": ("aac", "adts",
        16_000), "flac.mka": ("flac", "matroska", 16_000), "pcm.mkv": ("pcm_s16le", "matroska", 8_000),
        "alac.m4a": ("alac", "mp4", 16_000), "mp3.mkv": ("libmp3lame", "matroska", 16_000),
    }  # fmt: skip
    for name, (codec, container, rate) in kinds.items():
        file = io.BytesIO()
        with av.open(file, "w", container) as opened:
            stream: Any = opened.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.resize(tone(), (1, rate // 20)), format="flt", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            opened.mux(stream.encode(frame))
            opened.mux(stream.encode(None))
        made[name] = file.getvalue()
    return made


def spectrograms() -> dict[str, bytes]:
    return {"two_frames.npy": encode_spectrogram(np.full((2, 232), -60, np.float32))}


def pcm() -> dict[str, bytes]:
    return {"mono": b"\x28\1" + bytes(range(40)), "stereo": b"\xf0\2" + np.arange(16, dtype="<f4").tobytes()}


def zips() -> dict[str, bytes]:
    wav, flac = sound("WAV", "PCM_16", 0.02), encode_flac(Clip(tone(0.05), RATE))
    row = json.dumps({"file_name": "data/a.wav", "label": "up"})
    noise = [(f"{label}/{name}_nohash_0.wav", wav) for label in ("yes", "no") for name in ("0a7c2a8d", "0b09edd3")]
    return {
        "labels.zip": pack([("Left/a.wav", wav), ("Right/été.flac", flac), ("Left/.DS_Store", b""), ("loose.wav",
        wav)]), "spectrograms.zip": pack([("Left/a.npy", spectrograms()["two_frames.npy"]), ("%2e%2e/b.wav", wav)]),
        "csv.zip": pack([("metadata.csv", b"file_name,label\ndata/a.wav,up\n"), ("data/a.wav", wav)]),
        "jsonl.zip": pack([("train/metadata.jsonl", row.encode()), ("train/data/a.wav", wav)]),
        "commands.zip": pack([*noise, ("_background_noise_/hum.wav", wav), ("validation_list.txt",
        b"yes/0a7c2a8d_nohash_0.wav\n"), ("testing_list.txt", b"no/0b09edd3_nohash_0.wav\n")]),
        "model.zip": pack([("model.json", b'{"modelTopology": {}}')]),
    }  # fmt: skip


def tables() -> dict[str, bytes]:
    return {
        "metadata.csv": b'file_name,label,x\r\na.wav,up,1\r\n"b,c.wav","down\n",2\r\n',
        "metadata.jsonl": b'{"file_name": "a.wav", "label": "up"}\n\n{"file_name": "b.wav", "label": null}\n',
    }


def teachable() -> dict[str, bytes]:
    frames = [[-100.0] * 231 + [None]] * 43
    times = {"startTime": 0.0, "endTime": 0.03, "recordingDuration": 0.05, "blob": None}
    sample = {"frequencyFrames": frames, "blobFilePath": "sample-1.webm", **times}
    content = json.dumps([sample, {**sample, "blobFilePath": "none"}]).encode()
    one = pack([("samples.json", content), ("sample-1.webm", compressed()["opus.webm"])])
    return {
        "class.zip": one,
        "classes.zip": pack([("Clap-samples.zip", one)]),
        "project.zip": pack([("manifest.json", b'{"type": "audio"}'), ("Clap-!-samples.json", content)]),
        "image.zip": pack([("manifest.json", b'{"type": "image"}')]),
    }


def examples() -> dict[str, bytes]:
    levels = np.full((3, 4), -60, np.float32)
    return {
        "spectrogram": write_examples([SerializedExample("up", levels, 1)]),
        "sound": write_examples(
            [SerializedExample("up", levels, None, tone(0.005), RATE), SerializedExample("été", levels)]
        ),
        "empty": write_examples([]),
    }


def tfjs() -> dict[str, bytes]:
    weights = random_weights(SMALL_SHAPES)
    content = b"".join(array.astype("<f4").tobytes() for array in weights.values())
    made = {}
    metadata = {"wordLabels": LABELS}
    own = json.loads(Metadata("x", tuple(LABELS), 3, FixedNormalization(-100, 10)).to_json())
    for name, topology, said in (
        ("list", small(), metadata), ("graph", functional_model("input", "filter", "pool", "flat", "last"),
        {"words": LABELS}), ("own", small(), {**metadata, "earmark": own}),
    ):  # fmt: skip
        model = {"modelTopology": topology, "weightsManifest": manifest(weights, ["weights.bin"])}
        files = {
            "model.json": json.dumps(model).encode(),
            "metadata.json": json.dumps(said).encode(),
            "weights.bin": content,
        }
        made[f"{name}.zip"] = pack(list(files.items()))
        made[f"{name}_in_folder.zip"] = pack([(f"m/{file}", data) for file, data in files.items()])
    return made


def onnx() -> dict[str, bytes]:
    return {"bands.onnx": band_model(), "embedding.onnx": small_base()}


def noise(samples: int) -> bytes:
    """Noise in 16 bits."""
    return np.random.default_rng(1).integers(-3_000, 3_000, samples).astype("<i2").tobytes()


def chunk(number: int, samples: int = 512) -> bytes:
    """A message of sound from the page: number, encoding, time of capture, samples."""
    return struct.pack("<IB3xd", number, 0, 1.7e12 + number) + noise(samples)


def live() -> dict[str, bytes]:
    hello = json.dumps({"type": "hello", "sample_rate": 2_000, "next": 0})
    listen = json.dumps({"type": "listen", "on": True, "model": "project", "probability_threshold": 0.1})
    record = {"type": "record", "recording": "abcd1234", "label": "Left", "sample_rate": 2_000, "first": 0}
    stop = json.dumps({"type": "stop", "recording": "abcd1234", "end": 3})
    off = json.dumps({"type": "listen", "on": False})
    threshold = json.dumps({"type": "threshold", "probability_threshold": 0.9})
    discard = json.dumps({"type": "discard", "recording": "abcd1234"})
    sound: list[Message] = [chunk(number) for number in range(3)]
    heard: list[Message] = [chunk(number, 1_600) for number in range(4)]
    return {
        "record": join([hello, json.dumps(record), *sound, stop]),
        "late": join([hello, json.dumps(record), stop, *reversed(sound), sound[0]]),
        "listen": join([hello, listen, *heard[:3], threshold, *heard[2:], off]),
        "discard": join([hello, json.dumps(record), sound[0], discard, json.dumps({**record, "label": "\ud800"})]),
    }


def stream() -> dict[str, bytes]:
    begin = {
        "type": "start",
        "sample_rate": 2_000,
        "encoding": "s16le",
        "channels": 1,
        "scores": True,
        "detections": True,
    }
    options = {
        "probability_threshold": 0.5,
        "overlap_factor": 0.5,
        "label_thresholds": {"low": 0.9},
        "smoothing_windows": 3,
    }
    sound = noise(1_600)
    end = json.dumps({"type": "end"})
    floats = {"type": "start", "sample_rate": 2_000, "encoding": "f32le", "channels": 2, "scores": False}
    return {
        "scores": join([json.dumps(begin | options), sound, sound, end]),
        "floats": join([json.dumps(floats), np.full(2_400, 0.1, "<f4").tobytes(), b"\0\0\0", end]),
    }


def requests() -> dict[str, bytes]:
    options = "probability_threshold=0.5&overlap_factor=0.5&label_threshold=low%3D0.9&smoothing_windows=3"
    headers = "host: 127.0.0.1:8000\norigin: http://127.0.0.1:8000\ncontent-type: audio/wav\ncontent-length: 364"
    wav = sound("WAV", "PCM_16", 0.02)
    return {
        "detect": join([f"POST /api/detect?{options}", headers, wav]),
        "recognize": join(["POST /api/recognize", headers, wav[:100], wav[100:]]),
        "model": join(["GET /api/model", "host: localhost"]),
        "metrics": join(["GET /metrics", "host: [::1]:80"]),
        "openapi": join(["GET /openapi.json", "host: localhost"]),
    }


def settings() -> dict[str, bytes]:
    return {"earmark.toml": tomli_w.dumps(TOML).encode(), "empty.toml": b'name = "x"\nmode = "sounds"\n'}


def cards() -> dict[str, bytes]:
    evaluation = {"method": "", "accuracy": {}, "labels": [], "confusion": [], "recommendation": {}, "advice": []}
    made = {
        "card.json": json.dumps(
            {"model_sha256": "MODEL_SHA256", "labels": [{"name": "a", "colour": "#2563eb"}]}
        ).encode()
    }
    made["evaluation.json"] = json.dumps({**evaluation, "clips_fingerprint": "now"}).encode()
    for normalization in (FixedNormalization(-100, 10), WindowNormalization(60), FlooredNormalization(2)):
        name = type(normalization).__name__.lower()
        made[f"{name}.json"] = Metadata("x", ("a", "b"), 43, normalization, longest_sound_ms=700).to_json().encode()
    return made


def journal() -> dict[str, bytes]:
    lines = (
        {"scan": {"model": "x"}},
        {"name": "a.wav", "seconds": 2.5, "detections": [["up", 0.9, 0.1, 0.6]]},
        {"name": "b.wav", "seconds": 1, "detections": []},
    )
    return {"found": b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)}


def names() -> dict[str, bytes]:
    texts = ("Left", "été", "CON", "a/../b", "..", "%2e%2e", "up=0.9", "🙂" * 20, "e\u0301", "a.b.c")
    return {f"name{number}": text.encode() for number, text in enumerate(texts)}


def cache() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cache.sqlite")
        EmbeddingCache(file).put({"a": np.ones((2, 3), np.float32), "b": np.zeros((0, 3), np.float32)})
        return {"cache.sqlite": file.read_bytes()}


def main() -> None:
    """Write all seeds."""
    for make in (
        audio, compressed, spectrograms, pcm, zips, tables, teachable, examples, tfjs, onnx, live, stream, requests,
        settings, cards, journal, names, cache,
    ):  # fmt: skip
        folder = CORPUS / ("zip" if make is zips else make.__name__)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make().items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
