"""Benchmarks of this machine: a frame, a window, a second of sound, a training and a start.

Work is measured as the processor time of this process, so other programs don't count. Starts are measured as wall-clock
time, each in a new process. Every result is the median of several runs, with its quartiles. The sound is synthetic and
always the same: see `make_sound`.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from earmark.audio.clip import Clip, Resampler, Samples
from earmark.audio.sources import Source
from earmark.front_end.frames import sliding_windows
from earmark.front_end.spectrogram import BINS
from earmark.models.network import BATCH
from earmark.models.runtime import load_runtime
from earmark.progress import Report
from earmark.recognizer.recognizer import Recognizer, load
from earmark.scan.scanner import CHUNK_SECONDS, usable_cores
from earmark.version import __version__

SOUND_SECONDS = 2 * CHUNK_SECONDS
LIVE_CHUNK_SECONDS = 0.1  # the chunk size of a live stream
MICROPHONE_RATE = 48_000  # Hz, the usual rate
FEWEST_RUNS = 3
USUAL_RUNS = 20
EXAMPLES, LABELS, EPOCHS = 450, 3, 10  # for the training of the codelab's network

Found = TypeVar("Found")

# Run in a new process: prints the seconds for the import, and those for the import and the loading of the model.
START = """import sys, time
begun = time.perf_counter()
import earmark
imported = time.perf_counter()
earmark.load(sys.argv[1])
print(imported - begun, time.perf_counter() - begun)"""


@dataclass(frozen=True)
class Spread:
    """The distribution of several runs' times.

    Attributes:
        median: the median of the runs.
        lower_quartile, upper_quartile: the quartiles, between which lies the middle half of the runs.
        runs: the number of runs.
    """

    median: float
    lower_quartile: float
    upper_quartile: float
    runs: int


@dataclass(frozen=True)
class Machine:
    """The machine and the versions that were measured. `usable_cores` counts the cores that this process may use."""

    processor: str
    usable_cores: int
    system: str
    python: str
    numpy: str
    onnxruntime: str
    earmark: str


@dataclass(frozen=True)
class Bench:
    """The results for one model. The names of times end in their unit: `us` is microseconds, `ms` is milliseconds.

    Attributes:
        machine: see `Machine`.
        model: the model's name.
        labels: the number of the model's labels.
        frame_seconds: the time from one frame to the next.
        window_seconds: `frame_seconds` times the frames of a window, as `Recognizer.params` and the server count it.
        hop_seconds: the time from one window to the next.
        sound_seconds: the duration of the sound on which the `second_…` times were measured.
        batch_windows: the number of windows in a batch.
        frame_us: the front end's time for a frame.
        window_us: the network's time for a single window, including normalization.
        batched_window_us: the network's time for each window in a batch, including normalization.
        second_every_window_us: the time of front end and network for a second of sound, with every window scored.
        second_scanned_us: the time of front end, network and decisions for a second of sound in a scan, where only
            windows that can matter are scored. Reading the file is not included.
        second_live_us: the time of front end, network and decisions for a second of live sound in chunks of 0.1 s.
            Only windows that can matter are scored.
        second_resampled_us: the additional time to resample a second of 48 kHz sound to the front end's rate.
        import_ms: the time of `import earmark` in a new process.
        load_ms: the time of `import earmark` and `earmark.load` in a new process.
        load_again_ms: the time of `earmark.load` in a process that has called it before.
        training_seconds: the time to train the codelab's network on 450 examples for 10 epochs; None where a package
            is missing.
    """

    machine: Machine
    model: str
    labels: int
    frame_seconds: float
    window_seconds: float
    hop_seconds: float
    sound_seconds: float
    batch_windows: int
    frame_us: Spread
    window_us: Spread
    batched_window_us: Spread
    second_every_window_us: Spread
    second_scanned_us: Spread
    second_live_us: Spread
    second_resampled_us: Spread
    import_ms: Spread
    load_ms: Spread
    load_again_ms: Spread
    training_seconds: Spread | None

    @property
    def windows_per_second(self) -> float:
        """The number of windows in a second of sound."""
        return 1 / self.hop_seconds

    @property
    def realtime_factor_every_window(self) -> float:
        """Seconds of sound that one core processes per second when every window is scored."""
        return 1e6 / self.second_every_window_us.median

    @property
    def realtime_factor_scanned(self) -> float:
        """Seconds of sound that one core processes per second in a scan."""
        return 1e6 / self.second_scanned_us.median

    @property
    def live_streams_per_core(self) -> float:
        """The number of live streams that one core can handle: computed from one stream's cost, without a server."""
        return 1e6 / self.second_live_us.median

    def as_dict(self) -> dict[str, Any]:
        """All attributes and derived values, ready for JSON."""
        derived = (
            "windows_per_second", "realtime_factor_every_window", "realtime_factor_scanned", "live_streams_per_core",
        )  # fmt: skip
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


def measure(model: str = "words", seconds: float = 20.0, report: Report | None = None) -> Bench:
    """Measure this machine's speed with a model.

    Args:
        model: anything that `load` takes.
        seconds: roughly how long to measure. Each benchmark runs at least three times, whatever this says.
        report: called before each benchmark with "Measuring", the number of benchmarks done, and their total.

    Raises:
        EarmarkError: there is no such model.
    """
    recognizer = load(model)
    front_end = recognizer.front_end
    shortest = front_end.seconds_of(recognizer.metadata.window_frames)
    clip = make_sound(max(SOUND_SECONDS, 3 * shortest), front_end.sample_rate)
    measurements: dict[str, Callable[[float], Any]] = {
        **_works(recognizer, clip),
        "load_again_ms": lambda share: spread_of(lambda: load(model), share, 1e3),
        "starts": lambda share: _repeat(lambda: start_once(model), share),
        "training_seconds": training_time,  # last, as it loads further packages
    }
    found = {}
    for done, (name, run) in enumerate(measurements.items()):
        if report is not None:
            report("Measuring", done, len(measurements))
        found[name] = run(seconds / len(measurements))
    imports, loads = zip(*found.pop("starts"), strict=True)
    return Bench(
        machine=this_machine(),
        model=recognizer.metadata.name,
        labels=len(recognizer.labels),
        frame_seconds=front_end.frame_seconds,
        window_seconds=recognizer.metadata.window_frames * front_end.frame_seconds,
        hop_seconds=recognizer.hop_frames() * front_end.frame_seconds,
        sound_seconds=clip.seconds,
        batch_windows=BATCH,
        import_ms=_spread(imports, 1e3),
        load_ms=_spread(loads, 1e3),
        **found,
    )


def make_sound(seconds: float, sample_rate: int) -> Clip:
    """Make a sound like slow speech: every 1.5 s a word of 0.6 s, in the noise of a quiet room.

    Every call makes the same sound. A word is a buzz in two syllables, with a falling pitch. Its overtones are
    strongest at two formants, which differ from word to word. None is a real word. What a model detects, if anything,
    doesn't matter here.
    """
    random = np.random.default_rng(0)
    sound = 0.001 * random.standard_normal(round(seconds * sample_rate))
    moments = np.arange(round(0.6 * sample_rate)) / sample_rate
    for start in range(sample_rate // 2, len(sound) - len(moments), round(1.5 * sample_rate)):
        phase = 2 * np.pi * (random.uniform(100, 220) * moments - 30 * moments**2)
        formants = random.uniform((300, 900), (800, 2_400))
        overtones = np.arange(1, 31)
        strengths = sum(np.exp(-(((150 * overtones - formant) / 200) ** 2)) for formant in formants)
        buzz = sum(strength * np.sin(overtone * phase) for overtone, strength in zip(overtones, strengths, strict=True))
        sound[start : start + len(moments)] += 0.1 * buzz * np.abs(np.sin(2 * np.pi * moments / 1.2 * 2))
    return Clip(sound.clip(-1, 1).astype(np.float32), sample_rate)


def spread_of(work: Callable[[], object], seconds: float, factor: float = 1.0) -> Spread:
    """Measure the processor time of a piece of work, in seconds × factor.

    Args:
        work: called once unmeasured to warm up, then repeatedly.
        seconds: how long to measure, in seconds.
        factor: converts seconds to the wanted unit, and from a whole call to one piece of its work.
    """
    work()

    def run() -> float:
        count, took, begun = 0, 0.0, time.process_time()
        while count == 0 or took <= seconds / USUAL_RUNS:  # until this coarse clock has moved
            work()
            count += 1
            took = time.process_time() - begun
        return took / count

    return _spread(_repeat(run, seconds), factor)


def start_once(model: str) -> tuple[float, float]:
    """Measure a new process: seconds to import earmark, and seconds to import it and load the model."""
    done = subprocess.run([sys.executable, "-c", START, model], check=True, capture_output=True, text=True)
    imported, loaded = map(float, done.stdout.split()[-2:])
    return imported, loaded


def training_time(seconds: float) -> Spread | None:
    """Measure the training of the codelab's network on 450 examples of 3 labels for 10 epochs.

    Args:
        seconds: how long to measure, in seconds.

    Returns:
        The processor time of a training, in seconds; None if a package is missing.
    """
    try:
        from earmark.front_end.examples import SOUND_FRAMES, Examples
        from earmark.training.sound_network import train_sounds
    except ModuleNotFoundError:
        return None
    random = np.random.default_rng(0)
    frames = random.uniform(-120, -40, (EXAMPLES + SOUND_FRAMES - 1, BINS)).astype(np.float32)
    examples = Examples(frames, np.arange(EXAMPLES), np.arange(EXAMPLES) % LABELS, SOUND_FRAMES)
    return spread_of(lambda: train_sounds(examples, LABELS, epochs=EPOCHS), seconds)


def this_machine() -> Machine:
    """Describe this machine: the processor, the cores, and the relevant versions."""
    return Machine(
        processor=_processor(),
        usable_cores=usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=load_runtime().__version__,
        earmark=__version__,
    )


class _Chunks(Source):
    """A source that yields a clip in chunks of a fixed duration."""

    def __init__(self, clip: Clip, chunk_seconds: float) -> None:
        self.sample_rate, self.name, self.seconds = clip.sample_rate, "the clip", clip.seconds
        self._samples, self._size = clip.samples, round(chunk_seconds * clip.sample_rate)

    def __iter__(self) -> Iterator[Samples]:
        for start in range(0, len(self._samples), self._size):
            yield self._samples[start : start + self._size]


def _works(recognizer: Recognizer, clip: Clip) -> dict[str, Callable[[float], Spread]]:
    """The benchmarks in microseconds. Each takes the number of seconds to measure."""
    front_end, window_frames = recognizer.front_end, recognizer.metadata.window_frames
    second = clip.samples[: clip.sample_rate]
    frames = front_end.stream(clip.sample_rate).process(clip.samples)
    cut = sliding_windows(frames, window_frames)
    windows = cut[np.arange(BATCH) % len(cut)]
    stream = front_end.stream(clip.sample_rate)
    microphone = make_sound(1.0, MICROPHONE_RATE).samples
    resampler = Resampler(MICROPHONE_RATE, clip.sample_rate)
    works: dict[str, tuple[Callable[[], object], float]] = {  # each with how many units it processes
        "frame_us": (lambda: stream.process(second), 1 / front_end.frame_seconds),
        "window_us": (lambda: recognizer.score_windows(windows[:1]), 1),
        "batched_window_us": (lambda: recognizer.score_windows(windows), BATCH),
        "second_every_window_us": (lambda: list(recognizer.stream(_Chunks(clip, CHUNK_SECONDS))), clip.seconds),
        "second_scanned_us": (lambda: list(recognizer.listen(_Chunks(clip, CHUNK_SECONDS))), clip.seconds),
        "second_live_us": (lambda: list(recognizer.listen(_Chunks(clip, LIVE_CHUNK_SECONDS))), clip.seconds),
        "second_resampled_us": (lambda: resampler.process(microphone), 1),
    }
    return {name: partial(spread_of, work, factor=1e6 / amount) for name, (work, amount) in works.items()}


def _repeat(run: Callable[[], Found], seconds: float) -> list[Found]:
    """Repeat a run for this many seconds, at least three times, and collect its results."""
    found: list[Found] = []
    until = time.perf_counter() + seconds
    while len(found) < FEWEST_RUNS or time.perf_counter() < until:
        found.append(run())
    return found


def _spread(values: Sequence[float], factor: float) -> Spread:
    lower, median, upper = (factor * at for at in statistics.quantiles(values, n=4, method="inclusive"))
    return Spread(median, lower, upper, len(values))


def _processor() -> str:
    """The processor's name, if the system reveals it."""
    try:
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, name = line.partition(":")
            if key.strip() in ("model name", "Model"):  # the latter is a Raspberry Pi's
                return name.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return platform.processor() or platform.machine() or "unknown"
