"""The recognizer: a network with its labels, which recognizes clips and listens to streams."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.audio import ArraySource, FileSource, Source, as_clip, open_source
from earmark.card import MODEL_FILE
from earmark.errors import EarmarkError
from earmark.metadata import KEY, Metadata
from earmark.spectrogram import BINS, FLOOR_DB, HOP, SAMPLE_RATE, Spectrogram, StreamingSpectrogram
from earmark.streaming import Decisions, Detection, ScoredWindow, Windows, hop_of

if TYPE_CHECKING:
    import onnxruntime

PROJECT_FILE = "earmark.toml"
PRETRAINED = Path(__file__).parent / "models"
WORDS = "words"  # the pretrained model of 20 labels
LOWEST_BIN = 5  # 108 Hz: below it lie rumble and a microphone's offset, which don't make a word loud
SHORT_WINDOW = 10  # frames; up to here a window is a short sound's, and predictions come every frame


@dataclass(frozen=True)
class Result:
    """What was recognized.

    Attributes:
        label: the best label.
        score: its score, 0 to 1.
        scores: float32 of shape [labels], in the order of `labels`.
        labels: all labels.
        spectrogram: frames × 232 bins in dB, if it was asked for.
    """

    label: str
    score: float
    scores: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    spectrogram: Spectrogram | None = None


class Recognizer:
    """Front end, network and labels. `load` makes one from a file.

    Args:
        model: an ONNX file's content, with Earmark's metadata in it.
        name: what errors call the model.

    Raises:
        EarmarkError: not a model, not one of Earmark's, or one whose parts don't fit together.

    Attributes:
        metadata: labels, window and normalisation.
    """

    def __init__(self, model: bytes, name: str = "the model") -> None:
        self._session = open_session(model, name)
        entries = self._session.get_modelmeta().custom_metadata_map
        if KEY not in entries:
            raise EarmarkError(f"{name} is an ONNX model but not one of Earmark's: its labels are missing.")
        self.metadata = Metadata.from_json(entries[KEY], name)
        self._check_shapes(name)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the scores."""
        return self.metadata.labels

    @property
    def default_smoothing(self) -> int:
        """Windows that `listen` averages: 3 of short sounds, 5 of words, which is half a second.

        A word is heard in about ten windows; a bark or a sneeze that sounds like one, in one to three.
        """
        return 3 if self.metadata.window_frames <= SHORT_WINDOW else 5

    @property
    def input_shape(self) -> tuple[int, int]:
        """Frames and bins of a window."""
        return (self.metadata.window_frames, BINS)

    def recognize(
        self,
        clip: str | Path | npt.ArrayLike,
        sample_rate: int | None = None,
        *,
        include_spectrogram: bool = False,
    ) -> Result:
        """Recognize a clip of any length. Silence on both sides fills one that is shorter than a window.

        Short sounds' scores are averaged over all the clip's windows; a word's are those of the window around the
        clip's loudest part.

        Args:
            clip: a path, or samples in [-1, 1] of shape [samples] or [samples, channels].
            sample_rate: of the samples, in Hz.
            include_spectrogram: whether the result holds the spectrogram of what was scored.

        Raises:
            EarmarkError: the clip can't be read, is empty or not finite.
        """
        with _clip_source(clip, sample_rate) as source:
            frames = _clip_frames(source, self.metadata.window_frames)
            if self.metadata.window_frames > SHORT_WINDOW:
                window = _loudest_window(frames, self.metadata.window_frames)
                return self._result(self.score_windows(window[np.newaxis])[0], window if include_spectrogram else None)
            return self._average(frames, include_spectrogram)

    def recognize_batch(self, spectrograms: npt.ArrayLike) -> list[Result]:
        """Recognize windows.

        Args:
            spectrograms: in dB, shape [windows, frames, bins] with `input_shape`'s frames and bins.

        Raises:
            EarmarkError: another shape, or values that are not finite.
        """
        try:
            windows = np.asarray(spectrograms, np.float32)
        except (ValueError, TypeError) as error:
            raise EarmarkError("The spectrograms are no array of numbers: pass [windows, frames, bins].") from error
        if windows.ndim != 3 or windows.shape[1:] != self.input_shape:
            frames, bins = self.input_shape
            raise EarmarkError(f"The spectrograms have the shape {windows.shape}: pass [windows, {frames}, {bins}].")
        if not np.isfinite(windows).all():
            raise EarmarkError(f"The spectrograms hold values that are not finite: raise them to {FLOOR_DB:.0f} dB.")
        return [self._result(scores) for scores in self.score_windows(windows)]

    def listen(
        self,
        source: str | Path | npt.ArrayLike | Source = "microphone",
        *,
        sample_rate: int | None = None,
        probability_threshold: float = 0.75,
        overlap_factor: float | None = None,
        suppression_time_ms: float = 0,
        smoothing_windows: int | None = None,
        invoke_callback_on_noise_and_unknown: bool = False,
    ) -> Iterator[Detection]:
        """Listen to a stream and yield each detection once its sound has ended; `stream` gives every window at once.

        Args:
            source: what `open_source` takes; it is closed when the iteration ends.
            sample_rate: of samples, in Hz.
            probability_threshold, suppression_time_ms, invoke_callback_on_noise_and_unknown: see `Decisions`.
            smoothing_windows: see `Decisions`; `default_smoothing` where None.
            overlap_factor: see `stream`.

        Raises:
            EarmarkError: the source can't be opened or read, or an option is out of its range.
        """
        decisions = Decisions(
            self.labels,
            probability_threshold=probability_threshold,
            suppression_time_ms=suppression_time_ms,
            smoothing_windows=self.default_smoothing if smoothing_windows is None else smoothing_windows,
            invoke_callback_on_noise_and_unknown=invoke_callback_on_noise_and_unknown,
        )
        return _decide(decisions, self.stream(source, sample_rate=sample_rate, overlap_factor=overlap_factor))

    def stream(
        self,
        source: str | Path | npt.ArrayLike | Source = "microphone",
        *,
        sample_rate: int | None = None,
        overlap_factor: float | None = None,
    ) -> Iterator[ScoredWindow]:
        """Yield every window's scores as soon as its last sample is in.

        Args:
            source: what `open_source` takes; it is closed when the iteration ends.
            sample_rate: of samples, in Hz.
            overlap_factor: how much neighbouring windows share, in [0, 1). Where None, short sounds get a window
                every frame and words one every tenth of a window, about 93 ms.

        Raises:
            EarmarkError: the source can't be opened or read, or the overlap is out of its range.
        """
        # Not a generator itself, so that a wrong option is told here and not at the first window.
        listener = Listener(self, overlap_factor)
        return _hear(listener, open_source(source, sample_rate=sample_rate))

    def score_windows(self, windows: Spectrogram) -> npt.NDArray[np.float32]:
        """Scores, shape [windows, labels], of windows in dB, shape [windows, frames, bins]."""
        if len(windows) == 0:
            return np.zeros((0, len(self.labels)), np.float32)
        return self._run("scores", windows)

    def embed_windows(self, windows: Spectrogram) -> npt.NDArray[np.float32]:
        """Embeddings, shape [windows, values], of windows in dB, shape [windows, frames, bins].

        Raises:
            EarmarkError: the model has no embedding.
        """
        if "embedding" not in (output.name for output in self._session.get_outputs()):
            raise EarmarkError(f"The model {self.metadata.name} has no embedding: choose one that is made for words.")
        return self._run("embedding", windows)

    def _run(self, output: str, windows: Spectrogram) -> npt.NDArray[np.float32]:
        return self._session.run([output], {"window": self.metadata.normalization(windows)})[0]  # type: ignore[no-any-return]

    def _average(self, blocks: Iterator[Spectrogram], include_spectrogram: bool) -> Result:
        """The mean of the scores of all windows."""
        kept: list[Spectrogram] = []
        total = np.zeros(len(self.labels), np.float64)
        windows = Windows(self.metadata.window_frames, 1)
        count = 0
        for frames in blocks:
            if include_spectrogram:
                kept.append(frames)
            scores = self.score_windows(windows.process(frames)[0])
            total += scores.sum(axis=0, dtype=np.float64)
            count += len(scores)
        return self._result((total / count).astype(np.float32), np.concatenate(kept) if include_spectrogram else None)

    def _result(self, scores: npt.NDArray[np.float32], spectrogram: Spectrogram | None = None) -> Result:
        best = int(scores.argmax())
        return Result(self.labels[best], float(scores[best]), scores, self.labels, spectrogram)

    def _check_shapes(self, name: str) -> None:
        silence = np.full((1, *self.input_shape), FLOOR_DB, np.float32)
        try:
            scores = self.score_windows(silence)
        except Exception as error:
            raise EarmarkError(f"{name} doesn't take windows of {self.input_shape}: train it again.") from error
        if scores.shape != (1, len(self.labels)) or not np.isfinite(scores).all():
            raise EarmarkError(f"{name} doesn't give one score for each of its labels: train it again.")


class Listener:
    """A recognizer at work on one stream of frames.

    Args:
        recognizer: whose network scores the windows.
        overlap_factor: see `Recognizer.stream`.
        first_frame: which of the stream's frames comes first, where it is not the first one.
    """

    def __init__(self, recognizer: Recognizer, overlap_factor: float | None = None, *, first_frame: int = 0) -> None:
        window_frames = recognizer.metadata.window_frames
        if overlap_factor is None:
            overlap_factor = 1 - 1 / window_frames if window_frames <= SHORT_WINDOW else 0.9
        self._recognizer = recognizer
        self._windows = Windows(window_frames, hop_of(window_frames, overlap_factor), first_frame)

    def process(self, frames: Spectrogram) -> list[ScoredWindow]:
        """The next frames, shape [frames, bins]; returns the windows that they complete, scored."""
        windows, times = self._windows.process(frames)
        scores = self._recognizer.score_windows(windows)
        return [ScoredWindow(row, start, end) for row, (start, end) in zip(scores, times, strict=True)]


def _hear(listener: Listener, source: Source) -> Iterator[ScoredWindow]:
    with source:
        front_end = StreamingSpectrogram(source.sample_rate)
        for chunk in source:
            yield from listener.process(front_end.process(chunk))
        yield from listener.process(front_end.finish())


def _decide(decisions: Decisions, windows: Iterator[ScoredWindow]) -> Iterator[Detection]:
    for window in windows:
        yield from decisions.process([window])
    yield from decisions.finish()


def load(path: str | Path = WORDS) -> Recognizer:
    """Load a recognizer.

    Args:
        path: "words", the pretrained model that comes with Earmark (a folder of that name is "./words"); a model
            folder, a `model.onnx`, or a project with a trained model.

    Raises:
        EarmarkError: nothing there, or not a model.
    """
    path = PRETRAINED / WORDS if path == WORDS else Path(path)
    if os.path.isfile(path / PROJECT_FILE):  # noqa: PTH113 (Path.is_file raises for names that are too long)
        from earmark.project import Project

        return Project(path).model()
    file = path / MODEL_FILE if os.path.isdir(path) else path  # noqa: PTH112 (as above)
    try:
        return Recognizer(file.read_bytes(), str(file))
    except FileNotFoundError as error:
        if path.is_dir():
            raise EarmarkError(f"{path} holds no {MODEL_FILE}: name a model folder or a project.") from error
        raise EarmarkError(f"{path} does not exist: check the path.") from error
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{file} can't be read ({error}): check the path.") from error


def open_session(model: bytes, name: str) -> onnxruntime.InferenceSession:
    """An ONNX model, to be run on one thread.

    Raises:
        EarmarkError: not a model; it is called by `name`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One small network at a time: more threads, and waiting for them by spinning, cost more than they give.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception class for each status, with no common base of its own
        raise EarmarkError(f"{name} is not an ONNX model that can be run: train or export it again.") from error


def _clip_source(clip: str | Path | npt.ArrayLike, sample_rate: int | None) -> Source:
    if isinstance(clip, (str, Path)):
        return FileSource(Path(clip))
    return ArraySource(as_clip(clip, sample_rate))


def _clip_frames(source: Source, window_frames: int) -> Iterator[Spectrogram]:
    """A clip's frames, in constant memory; silence on both sides fills a clip that is shorter than one window."""
    front_end = StreamingSpectrogram(source.sample_rate, silence_before=False)
    needed = math.ceil((window_frames + 1) * HOP * source.sample_rate / SAMPLE_RATE)
    chunks = iter(source)
    start = np.zeros(0, np.float32)
    while len(start) < needed and (chunk := next(chunks, None)) is not None:
        start = np.concatenate((start, chunk))
    missing = max(0, needed - len(start))
    yield front_end.process(np.pad(start, (missing // 2, missing - missing // 2)))
    for chunk in chunks:
        yield front_end.process(chunk)
    yield front_end.finish()


def _loudest_window(blocks: Iterator[Spectrogram], window_frames: int) -> Spectrogram:
    """The window whose middle holds most of the clip's power, shape [window_frames, bins], in constant memory.

    Each frame's power counts by a Hann window, so that the loudest part comes to lie in the middle.
    """
    weights = np.hanning(window_frames + 2)[1:-1]
    held, best, most = np.zeros((0, BINS), np.float32), np.zeros((0, BINS), np.float32), -1.0
    for frames in blocks:
        held = np.concatenate((held, frames))
        if len(held) < window_frames:
            continue
        power = np.power(10, held[:, LOWEST_BIN:] / 10, dtype=np.float64).sum(axis=1)
        loudness = np.correlate(power, weights, "valid")
        at = int(loudness.argmax())
        if loudness[at] > most:
            best, most = held[at : at + window_frames].copy(), float(loudness[at])
        held = held[len(loudness) :]
    return best
