"""Microseconds a frame: the front end beside the bare FFTs of the same frames, and streaming beside batch.

    python -m benchmarks.front_end

All on one core, in turn in each of many rounds; the table gives medians, and ratios the medians of the rounds' ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import scipy.fft

from benchmarks.table import Claim, print_claims, print_table
from earmark.front_end.spectrogram import FFT_SIZE, HOP, SAMPLE_RATE, StreamingSpectrogram

SECONDS, ROUNDS = 20, 15
FRAMES = SECONDS * SAMPLE_RATE // HOP
BLOCKS = (16, 64)  # frames of a bare FFT at a time: which is faster depends on the caches
BATCH, CHUNKS = "ours, batch", {"ours, 100 ms at a time": 0.1, "ours, 20 ms at a time": 0.02}
RATE = 48_000  # what most microphones give: as much work again, for it is resampled


def tone_in_noise(rate: int) -> np.ndarray:
    random = np.random.default_rng(1)
    tone = np.sin(2 * np.pi * 440 * np.arange(SECONDS * rate) / rate)
    return (0.3 * tone + random.normal(0, 0.01, SECONDS * rate)).astype(np.float32)


def blocks(size: int) -> Iterator[np.ndarray]:
    """The frames that ours computes too, float32 and not windowed, so many at a time."""
    samples = tone_in_noise(SAMPLE_RATE)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FFT_SIZE)[::HOP]
    return (frames[start : start + size] for start in range(0, len(frames), size))


def bare(library: str, size: int) -> Callable[[], None]:
    """Their FFTs in double precision, as ours are; numpy's into arrays that are kept, which is the fastest."""
    given = list(blocks(size))
    doubles, spectra = np.empty((size, FFT_SIZE)), np.empty((size, FFT_SIZE // 2 + 1), np.complex128)

    def run() -> None:
        for block in given:
            here = doubles[: len(block)]
            here[:] = block
            if library == "numpy":
                np.fft.rfft(here, out=spectra[: len(block)])
            else:
                scipy.fft.rfft(here)

    return run


def ours(chunk_seconds: float, rate: int = SAMPLE_RATE) -> Callable[[], None]:
    samples, size = tone_in_noise(rate), round(chunk_seconds * rate)

    def run() -> None:
        front_end = StreamingSpectrogram(rate)
        for start in range(0, len(samples), size):
            front_end.process(samples[start : start + size])

    return run


def programs() -> dict[str, Callable[[], None]]:
    made = {
        f"{library} rfft, {size} frames at a time": bare(library, size)
        for library in ("numpy", "scipy")
        for size in BLOCKS
    }
    made[BATCH] = ours(SECONDS)
    made |= {name: ours(seconds) for name, seconds in CHUNKS.items()}
    made[f"{BATCH}, from {RATE} Hz"] = ours(SECONDS, RATE)
    return made | {f"{name}, from {RATE} Hz": ours(seconds, RATE) for name, seconds in CHUNKS.items()}


def measure() -> dict[str, list[float]]:
    """Microseconds of CPU a frame, of each program in each round."""
    made = programs()
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, run in made.items():
            start = time.process_time()
            run()
            times[name].append((time.process_time() - start) / FRAMES * 1e6)
    return times


def ratio(times: dict[str, list[float]], name: str, to: str) -> float:
    return statistics.median(mine / other for mine, other in zip(times[name], times[to], strict=True))


def claims(times: dict[str, list[float]]) -> list[Claim]:
    bare_times = {name: statistics.median(values) for name, values in times.items() if "rfft" in name}
    fastest = min(bare_times, key=bare_times.__getitem__)
    fft, streaming = ratio(times, BATCH, fastest), ratio(times, next(iter(CHUNKS)), BATCH)
    return [
        Claim(f"the front end beside bare FFTs ({fastest})", "≤ 1.5 ×", f"{fft:.2f} ×", fft <= 1.5),
        Claim("streaming at 100 ms beside batch", "≤ 1.3 ×", f"{streaming:.2f} ×", streaming <= 1.3),
    ]


def rows() -> list[Claim]:
    """Measure, print the table, and say what holds."""
    times = measure()
    table = [
        (name, statistics.median(values), min(values), ratio(times, name, BATCH)) for name, values in times.items()
    ]
    print_table(f"A frame, over {ROUNDS} rounds", ("", "µs, median", "µs, least", "× batch"), table)
    return claims(times)


def main() -> None:
    print_claims("The front end", rows())


if __name__ == "__main__":
    main()
