"""Scores of windows: what a recognizer is before it knows of clips, sources and detections."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError
from earmark.front_end.frames import Frames, Windows, hop_of
from earmark.models.metadata import SHORT_WINDOW
from earmark.models.network import Network
from earmark.recognizer.decisions import ScoredWindow

WORD_HOP_SECONDS = 0.1  # from one window of a word to the next, about: 93 ms in frames of a spectrogram


@dataclass(frozen=True)
class Result:
    """What was recognized.

    Attributes:
        label: the best label.
        score: its score, 0 to 1.
        scores: float32 of shape [labels], in the order of `labels`.
        labels: all labels.
        spectrogram: frames × 232 bins in dB, if it was asked for; of a waveform model, frames × samples.
        embedding: of the window, or the mean of all that were averaged, shape [values], if it was asked for.
    """

    label: str
    score: float
    scores: npt.NDArray[np.float32] = field(compare=False)
    labels: tuple[str, ...]
    spectrogram: Frames | None = field(default=None, compare=False, repr=False)
    embedding: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)


class Classifier(Network):
    """A network with labels: windows in, results out.

    Args:
        model: an ONNX file's content, with Earmark's metadata in it.
        name: what errors call the model.

    Raises:
        EarmarkError: not a model, not one of Earmark's, or one whose parts don't fit together.
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
        """Scores, shape [windows, labels], of windows, shape [windows, *input_shape], in dB if of a spectrogram."""
        return self._run(["scores"], windows)[0]

    def hop_frames(self, overlap_factor: float | None = None) -> int:
        """Frames from one window to the next, by that overlap or by the default one; see `stream`."""
        frames = self.metadata.window_frames
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
    """Frames of one stream in as they come, scored windows out.

    Args:
        recognizer: whose network scores the windows.
        overlap_factor: see `Recognizer.stream`.
        first_frame: where in the stream the first frame lies, counted in frames.
        include_spectrogram, include_embedding: whether each window comes with them.

    Raises:
        EarmarkError: the overlap is out of its range, or the model has no embedding.
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
        """The next frames, for who scores the windows elsewhere; see `Windows.process`."""
        return self._windows.process(frames)

    def process(self, frames: Frames) -> list[ScoredWindow]:
        """The next frames, shape [frames, values]; returns the windows that they complete, scored."""
        windows, times = self.cut(frames)
        if not times:
            return []
        spectrogram, embedding = self._include_spectrogram, self._include_embedding
        results = self._recognizer.recognize_windows(windows, spectrogram, embedding)
        return [
            ScoredWindow(result.scores, start, end, result.spectrogram, result.embedding)
            for result, (start, end) in zip(results, times, strict=True)
        ]
