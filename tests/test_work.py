"""How much work is done, counted: what makes things slow shows here on any machine, however busy.

Each limit is what it takes today, or just above it where the sound decides. `benchmarks/` measures the time.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import earmark
from earmark.audio.clip import Samples
from earmark.audio.sources import Source
from earmark.front_end import spectrogram
from earmark.front_end.spectrogram import BINS, BLOCK_FRAMES, FFT_SIZE, HOP, SAMPLE_RATE, StreamingSpectrogram
from earmark.models.network import BATCH
from tests import sounds

SECONDS = 20
CHUNK = 0.1  # seconds, as a microphone gives sound


class Chunks(Source):
    """Samples in chunks of 0.1 s; tells `after` of each one before the next."""

    def __init__(self, samples: Samples, rate: int = sounds.RATE, after: Callable[[], None] = lambda: None) -> None:
        self.sample_rate, self.name, self._after = rate, "the sound", after
        self._parts = np.array_split(samples, round(len(samples) / rate / CHUNK))

    def __iter__(self) -> Iterator[Samples]:
        for part in self._parts:
            yield part
            self._after()


class CountedSession:
    """A network's session, with the number of windows in each of its runs, and all of these windows."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs: list[int] = []
        self.windows: list[bytes] = []

    def run(self, outputs: list[str], inputs: dict[str, npt.NDArray[np.float32]]) -> Any:
        self.runs.append(len(inputs["window"]))
        self.windows += [window.tobytes() for window in inputs["window"]]
        return self._session.run(outputs, inputs)


def counted(recognizer: earmark.Recognizer) -> CountedSession:
    recognizer._session = session = CountedSession(recognizer._session)
    return session


@pytest.fixture
def words() -> earmark.Recognizer:
    return earmark.load("words")


def test_a_stream_of_words_is_scored_ten_times_a_second(words: earmark.Recognizer) -> None:
    session = counted(words)
    scored = list(words.stream(Chunks(sounds.murmur(SECONDS, 1))))
    frames = SECONDS * SAMPLE_RATE // HOP
    assert (
        sum(session.runs) == len(scored) == (frames - 43) // 4 + 1
    )  # a window of 43 frames every fourth: 10.8 a second
    assert max(session.runs) <= 2  # each as soon as its last sample is in


def test_a_stream_of_short_sounds_is_scored_every_frame(trained: earmark.Project) -> None:
    recognizer = earmark.load(trained.path)
    session = counted(recognizer)
    scored = list(recognizer.stream(Chunks(sounds.murmur(SECONDS, 1))))
    assert sum(session.runs) == len(scored) == SECONDS * SAMPLE_RATE // HOP - 2
    # The frames of one chunk go through the network together, not one by one.
    assert len(session.runs) <= SECONDS / CHUNK + 1


def test_listening_to_a_room_scores_every_fifth_window(words: earmark.Recognizer) -> None:
    session = counted(words)
    assert list(words.listen(Chunks(sounds.room(SECONDS, 1)))) == []
    windows = (SECONDS * SAMPLE_RATE // HOP - 43) // 4 + 1
    assert windows / 6 < sum(session.runs) <= windows / 5 + 1


def test_listening_never_scores_a_window_twice(words: earmark.Recognizer, trained: earmark.Project) -> None:
    loud = np.concatenate(
        [make(4, seed) for seed, make in enumerate((sounds.whistle, sounds.snaps, sounds.murmur) * 2)]
    )
    for recognizer, hop in ((words, 4), (earmark.load(trained.path), 1)):
        for threshold in (0.75, 0.3):  # with the lower one, sounds begin and end all the time
            session = counted(recognizer)
            list(recognizer.listen(Chunks(loud), probability_threshold=threshold))
            assert sum(session.runs) <= len(loud) / sounds.RATE * SAMPLE_RATE / HOP / hop
            assert len(set(session.windows)) == len(session.windows)


def test_a_file_is_scored_in_batches(words: earmark.Recognizer) -> None:
    session = counted(words)
    windows = np.random.default_rng(0).uniform(-100, 0, (3 * BATCH, 43, BINS)).astype(np.float32)
    words.recognize_batch(windows)
    assert session.runs == [BATCH] * 3
    session.runs.clear()
    list(words.stream(sounds.murmur(SECONDS, 1), sample_rate=sounds.RATE))  # a second at a time
    assert len(session.runs) <= SECONDS + 1


def test_windows_that_are_averaged_are_scored_in_batches(trained: earmark.Project) -> None:
    recognizer = earmark.load(trained.path)
    session = counted(recognizer)
    # A second at a time comes, with 43 windows.
    list(recognizer.listen(sounds.murmur(SECONDS, 1), sample_rate=sounds.RATE))
    assert sum(session.runs) == SECONDS * SAMPLE_RATE // HOP - 2
    assert len(session.runs) <= 2 * SECONDS + 1


def test_while_a_sound_goes_on_four_windows_are_scored_at_a_time(words: earmark.Recognizer) -> None:
    session = counted(words)
    listening = words.listen(
        sounds.room(SECONDS, 1), sample_rate=sounds.RATE, probability_threshold=0, min_agreeing_windows=1,
        invoke_callback_on_noise_and_unknown=True,
    )  # fmt: skip
    assert list(listening)
    windows = (SECONDS * SAMPLE_RATE // HOP - 43) // 4 + 1
    assert sum(session.runs) == windows
    # Ten or eleven come with each second of the file: two runs of four, and one of the rest; those that came before
    # the first detection began, at once.
    assert max(session.runs[1:]) == 4
    assert len(session.runs) <= 3 * SECONDS + 3


@pytest.mark.parametrize("rate", [SAMPLE_RATE, sounds.RATE, 16_000])
@pytest.mark.parametrize("chunk", [0.02, CHUNK, 1.0, SECONDS])
def test_each_frame_takes_one_fft(monkeypatch: pytest.MonkeyPatch, rate: int, chunk: float) -> None:
    rows: list[int] = []
    own = spectrogram._rfft

    def transform(given: npt.NDArray[np.float64], *rest: Any) -> Any:
        assert given.shape[1] == FFT_SIZE
        rows.append(len(given))
        return own(given, *rest)

    monkeypatch.setattr(spectrogram, "_rfft", transform)
    samples = np.random.default_rng(0).uniform(-1, 1, SECONDS * rate).astype(np.float32)
    front_end, size = StreamingSpectrogram(rate), round(chunk * rate)
    frames = sum(len(front_end.process(samples[at : at + size])) for at in range(0, len(samples), size))
    frames += len(front_end.finish())
    assert sum(rows) == frames == SECONDS * SAMPLE_RATE // HOP
    # Those that come together are transformed together.
    blocks = -(-round(chunk * SAMPLE_RATE) // (HOP * BLOCK_FRAMES)) if chunk > CHUNK else 1
    assert len(rows) <= (SECONDS / chunk + 1) * blocks + 1


def test_frames_take_no_new_memory_but_their_own() -> None:
    front_end = StreamingSpectrogram()
    chunk = np.random.default_rng(0).uniform(-1, 1, BLOCK_FRAMES * HOP).astype(np.float32)
    front_end.process(chunk)  # the thread's arrays are made once
    frames = BLOCK_FRAMES * BINS * 4
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            front_end.process(chunk)
        held, peak = (size - before for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    # Where types differ, numpy converts 8,192 numbers at a time, in two buffers of 65 kB. The block in double
    # precision, or its spectra, would be 524 kB.
    assert frames < peak < frames + 2 * 8 * np.getbufsize() + 10_000
    assert held < 2_000


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stream", "listen"])
def test_listening_takes_as_much_memory_after_a_minute_as_at_first(words: earmark.Recognizer, way: str) -> None:
    sound = np.tile(sounds.murmur(5, 1), 12)
    seen = np.zeros((round(len(sound) / sounds.RATE / CHUNK), 2), np.int64)  # bytes and blocks held, after each chunk
    count = iter(range(len(seen)))

    def look() -> None:
        seen[next(count)] = tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()

    tracemalloc.start()
    try:
        for _ in getattr(words, way)(Chunks(sound, after=look)):
            pass
    finally:
        tracemalloc.stop()
    first, later = np.split(seen[100:], 2)
    assert (later.max(axis=0) <= first.max(axis=0) + np.array([10_000, 50])).all()
    # A window is 40 kB; the front end holds 139 kB, and what is decided on together is at most five windows.
    assert later[:, 0].max() < 450_000


def test_importing_earmark_imports_little() -> None:
    alone, loaded = modules_after("pass"), modules_after("import earmark")
    assert {name for name in loaded - alone if name.startswith("earmark")} == {"earmark", "earmark.version"}
    assert len(loaded - alone) <= 35  # Python's own `typing`, most of them


def test_help_imports_what_shows_it_and_nothing_that_hears() -> None:
    script = (
        "import sys; from earmark.cli.main import app\nsys.argv = ['earmark', '--help']\n"
        "try: app()\nexcept SystemExit: pass"
    )
    loaded = modules_after(script)
    assert "typer" in loaded
    packages = {name.partition(".")[0] for name in loaded}
    assert not packages & {"numpy", "torch", "onnx", "onnxruntime", "soundfile", "soxr", "fastapi", "ray", "asyncio"}
    assert len({name for name in loaded if name.startswith("earmark")}) <= 16
    assert len(loaded) <= 380


def modules_after(script: str) -> set[str]:
    """The modules that a fresh Python holds after the script."""
    show = "\nimport sys\nprint('\\n', *sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", script + show], capture_output=True, text=True, check=True)
    return set(run.stdout.rpartition("\n\n")[2].split())
