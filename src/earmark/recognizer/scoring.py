"""Scores of windows: the part of a recognizer that knows nothing of clips, sources and detections."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.front_end.frames import Frames, Windows, hop_of
from earmark.models.metadata import SHORT_WINDOW
from earmark.models.network import Network
from earmark.recognizer.decisions import ScoredWindow

WORD_HOP_SECONDS = 0.1  # the approximate hop between windows for words: 93 ms in whole frames of a spectrogram


@dataclass(frozen=True)
class Result:
    """The result of recognizing a clip or window.

    Attributes:
        label: the best label.
        score: the best label's score, 0 to 1.
        scores: the scores, float32 of shape [labels], in the order of `labels`.
        labels: all labels.
        spectrogram: frames × 232 bins in dB, or frames × samples for a waveform model, if requested.
        embedding: the window's embedding, or the mean over all windows that were averaged, shape [values], if
            requested.
    """

    label: str
    score: float
    scores: npt.NDArray[np.float32] = field(compare=False)
    labels: tuple[str, ...]
    spectrogram: Frames | None = field(default=None, compare=False, repr=False)
    embedding: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


class Classifier(Network):
    """A network with labels: takes windows and returns results.

    Args:
        model: the content of an ONNX file with Earmark's metadata in it.
        name: what to call the model in errors.

    Raises:
        EarmarkError: it is not a model, not one of Earmark's, or its parts don't fit together.
    """

    def __init__(self, model: bytes, name: str = "the model") -> None:
        super().__init__(model, name)
        if not self.labels:
            raise EarmarkError(f"{name} has no labels: it is a base to train on, not a recognizer.")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the scores: speech-commands' `wordLabels()`."""
        return self.metadata.labels

    def score_windows(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores of windows, shape [windows, labels].

        Args:
            windows: shape [windows, *input_shape]; windows of a spectrogram are in dB.
        """
        return self._run(["scores"], windows)[0]

    def hop_frames(self, overlap_factor: float | None = None) -> int:
        """Frames from one window to the next, for that overlap or for the default one; see `stream`."""
        frames = self.metadata.window_frames
        if overlap_factor is None and self.metadata.hop_frames is not None:
            return self.metadata.hop_frames
        if overlap_factor is None:
            return 1 if frames <= SHORT_WINDOW else round(WORD_HOP_SECONDS / self.front_end.frame_seconds)
        return hop_of(frames, overlap_factor)

    def recognize_windows(
        self, windows: npt.NDArray[np.float32], include_spectrogram: bool = False, include_embedding: bool = False
    ) -> list[Result]:
        """`recognize_batch` without its checks."""
        scores, *embeddings = self._run(["scores", "embedding"] if include_embedding else ["scores"], windows)
        return [
            self._result(
                row, windows[at] if include_spectrogram else None, embeddings[0][at] if include_embedding else None
            )
            for at, row in enumerate(scores)
        ]

    def _result(
        self,
        scores: npt.NDArray[np.float32],
        spectrogram: Frames | None = None,
        embedding: npt.NDArray[np.float32] | None = None,
    ) -> Result:
        best = int(scores.argmax())
        return Result(self.labels[best], float(scores[best]), scores, self.labels, spectrogram, embedding)


class StreamScorer:
    """Takes the frames of one stream as they come and returns scored windows.

    Args:
        recognizer: the recognizer whose network scores the windows.
        overlap_factor: see `Recognizer.stream`.
        first_frame: the position of the first frame in the stream, counted in frames.
        include_spectrogram, include_embedding: whether each window includes these.

    Raises:
        EarmarkError: the overlap is out of range, or the model has no embedding.
    """

    def __init__(
        self,
        recognizer: Classifier,
        overlap_factor: float | None = None,
        *,
        first_frame: float = 0,
        include_spectrogram: bool = False,
        include_embedding: bool = False,
    ) -> None:
        if include_embedding:
            recognizer.check_embedding()
        self.front_end = recognizer.front_end
        self._recognizer = recognizer
        self._include_spectrogram, self._include_embedding = include_spectrogram, include_embedding
        hop = recognizer.hop_frames(overlap_factor)
        self._windows = Windows(recognizer.metadata.window_frames, hop, first_frame, self.front_end)

    def cut(self, frames: Frames) -> tuple[npt.NDArray[np.float32], list[tuple[float, float]]]:
        """Take the next frames, for callers that score the windows themselves; see `Windows.process`."""
        return self._windows.process(frames)

    def process(self, frames: Frames) -> list[ScoredWindow]:
        """Take the next frames, shape [frames, values]; return the windows that they complete, scored."""
        windows, times = self.cut(frames)
        if not times:
            return []
        spectrogram, embedding = self._include_spectrogram, self._include_embedding
        results = self._recognizer.recognize_windows(windows, spectrogram, embedding)
        return [
            ScoredWindow(result.scores, start, end, result.spectrogram, result.embedding)
            for result, (start, end) in zip(results, times, strict=True)
        ]
