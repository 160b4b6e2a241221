"""The recognizer: a network with its labels, which recognizes clips and listens to streams."""

from __future__ import annotations

import io
import os
import stat
import weakref
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import as_clip
from earmark.audio.sources import ArraySource, FileSource, Source, open_source, record_clip
from earmark.errors import EarmarkError, check_no_address
from earmark.front_end.frames import (
    SPECTROGRAM,
    Frames,
    Windows,
    clip_frames,
    loudest_window,
    stream_frames,
    window_amplitudes,
)
from earmark.front_end.recordings import frames_of, read_recording
from earmark.front_end.silence import silence_power, sounding_windows
from earmark.front_end.spectrogram import FFT_SIZE, FLOOR_DB
from earmark.front_end.spectrogram_file import is_spectrogram_file
from earmark.labels import THRESHOLD
from earmark.models.foreign_models import foreign_error, foreign_kind
from earmark.models.metadata import SHORT_WINDOW
from earmark.models.project_models import model_folder
from earmark.models.saved_model import MODEL_FILE, PRETRAINED, PROJECT_FILE, save_model
from earmark.recognizer.decisions import (
    Decisions,
    Detection,
    ScoredWindow,
    default_agreement,
    default_smoothing,
)
from earmark.recognizer.detecting import Detector, detect
from earmark.recognizer.listening import Callback, Listening
from earmark.recognizer.scoring import Classifier, Result, StreamScorer
from earmark.storage.zips import DAMAGED
from earmark.tfjs.reading import is_tfjs, read_tfjs

if TYPE_CHECKING:
    from earmark.project import Project

MAX_MODEL_BYTES = 256 << 20
WORDS_MODEL = "words"  # the pretrained model of 20 labels


@dataclass(frozen=True)
class Params:
    """How a recognizer hears: speech-commands' `params()`.

    Attributes:
        sample_rate: the rate in Hz to which all sound is resampled.
        fft_size: the samples in a frame's Fourier transform; None if the network takes the waveform itself.
        frame_ms: the time from one frame to the next.
        window_ms: how much sound one prediction sees.
    """

    sample_rate: int
    fft_size: int | None
    frame_ms: float
    window_ms: float


class Recognizer(Classifier):
    """Front end, network and labels. `load` opens one from a file.

    Args:
        model: the content of an ONNX file with Earmark's metadata in it.
        name: what to call the model in errors.

    Raises:
        EarmarkError: it is not a model, not one of Earmark's, or its parts don't fit together.

    Attributes:
        metadata: labels, window, front end and normalisation.
        content: the ONNX file's content.
    """

    def __init__(self, model: bytes, name: str = "the model") -> None:
        super().__init__(model, name)
        # Weak references, so that a loop that was left by `break` releases its microphone.
        self._listenings: weakref.WeakSet[Listening] = weakref.WeakSet()

    @property
    def params(self) -> Params:
        """Sample rate, FFT size and window."""
        frame_ms = 1000 * self.front_end.frame_seconds
        fft_size = FFT_SIZE if self.front_end is SPECTROGRAM else None
        return Params(self.front_end.sample_rate, fft_size, frame_ms, frame_ms * self.metadata.window_frames)

    def create_transfer(self, path: str | Path) -> Project:
        """A project for teaching new words on this recognizer: speech-commands' `createTransfer`.

        It is created if it doesn't exist. Its models are trained on this recognizer, unless you name another base.

        Raises:
            EarmarkError: there is no embedding, the folder can't be written to, or it is a project of short sounds.
        """
        from earmark.project import Project

        self.check_embedding()
        project = Project(path, create=True, mode="words")
        if project.mode != "words":
            raise EarmarkError(f"{path} is a project of short sounds: choose another folder.")
        project.own_base = self
        return project

    def save(self, folder: str | Path) -> Path:
        """Write the model into a folder, from which `load` brings it back.

        Raises:
            EarmarkError: the folder can't be written to.
        """
        folder = Path(folder)
        save_model(folder, self.content, {"name": self.metadata.name, "labels": [{"name": x} for x in self.labels]})
        return folder

    def recognize(
        self,
        clip: str | Path | npt.ArrayLike | None = None,
        sample_rate: int | None = None,
        *,
        device: int | str | None = None,
        include_spectrogram: bool = False,
        include_embedding: bool = False,
    ) -> Result:
        """Recognize a clip of any length. A clip shorter than a window is padded with silence on both sides.

        For short sounds, the scores are averaged over the clip's windows, without those that lie at its noise floor
        while others stand out (see `earmark.front_end.silence`). On a base that hears sounds they are averaged too, and
        weighted by how loud each window is. For words, they are those of the window around the clip's loudest part.

        Args:
            clip: a path, which may also be that of a spectrogram file in a project; or samples in [-1, 1] of shape
                [samples] or [samples, channels]; or None for one window from the microphone.
            sample_rate: the samples' rate in Hz.
            device: the microphone's number or name.
            include_spectrogram: whether the result holds the spectrogram of what was scored.
            include_embedding: whether the result holds the embedding.

        Raises:
            EarmarkError: the clip can't be read, is empty or not finite; it is a spectrogram but the model needs the
                sound; there is no microphone or no embedding.
        """
        if include_embedding:
            self.check_embedding()
        with self._clip_frames(clip, sample_rate, device) as frames:
            if self.metadata.window_frames > SHORT_WINDOW and not self.metadata.averages_clips:
                window = loudest_window(frames, self.metadata.window_frames, self.front_end)
                return self.recognize_windows(window[np.newaxis], include_spectrogram, include_embedding)[0]
            return self._average(frames, include_spectrogram, include_embedding)

    def recognize_batch(
        self, spectrograms: npt.ArrayLike, *, include_spectrogram: bool = False, include_embedding: bool = False
    ) -> list[Result]:
        """Recognize windows.

        Args:
            spectrograms: levels in dB, shape [windows, frames, bins] with the frames and bins of `input_shape`, or a
                single window, or [windows, frames, bins, 1].
            include_spectrogram, include_embedding: whether each result holds these.

        Raises:
            EarmarkError: the shape is wrong, values are not finite, or there is no embedding.
        """
        try:
            windows = np.asarray(spectrograms, np.float32)
        except (ValueError, TypeError) as error:
            raise EarmarkError("The spectrograms are no array of numbers: pass [windows, frames, bins].") from error
        if windows.shape == self.input_shape:
            windows = windows[np.newaxis]
        elif windows.ndim == 4 and windows.shape[3] == 1:  # the shape in TensorFlow.js
            windows = windows[..., 0]
        if windows.ndim != 3 or windows.shape[1:] != self.input_shape:
            frames, values = self.input_shape
            raise EarmarkError(f"The spectrograms have the shape {windows.shape}: pass [windows, {frames}, {values}].")
        if not np.isfinite(windows).all():
            silence = f"raise them to {FLOOR_DB:.0f} dB" if self.front_end is SPECTROGRAM else "mend the samples"
            raise EarmarkError(f"The spectrograms hold values that are not finite: {silence}.")
        return self.recognize_windows(windows, include_spectrogram, include_embedding)

    def listen(
        self,
        source: str | Path | npt.ArrayLike | Source = "microphone",
        *,
        sample_rate: int | None = None,
        device: int | str | None = None,
        probability_threshold: float | None = None,
        label_thresholds: Mapping[str, float] | None = None,
        overlap_factor: float | None = None,
        suppression_time_ms: float = 0,
        smoothing_windows: int | None = None,
        min_agreeing_windows: int | None = None,
        longest_sound_ms: float | None = None,
        invoke_callback_on_noise_and_unknown: bool = False,
        include_spectrogram: bool = False,
        include_embedding: bool = False,
        callback: Callback | None = None,
    ) -> Listening:
        """Listen to a stream. Each detection comes when its sound has ended; `stream` gives every window at once.

        Loop over the result with `for` or `async for`. With a callback, a thread calls it for each detection.

        Args:
            source: anything that `open_source` takes; it is closed when the listening ends.
            sample_rate: the samples' rate in Hz.
            device: the microphone's number or name.
            probability_threshold: see `Decisions`. None means the model's own, or 0.75 if it has none.
            label_thresholds, suppression_time_ms, invoke_callback_on_noise_and_unknown: see `Decisions`.
            smoothing_windows, min_agreeing_windows, longest_sound_ms: see `Decisions`. None means the values that
                measurements found best.
            overlap_factor: see `stream`.
            include_spectrogram: whether detections hold the spectrogram of their best window.
            include_embedding: whether detections hold the embedding of their best window. As in speech-commands, this
                overrides two other options: the threshold is 0, and noise and unknown give detections, too.
            callback: called with each detection.

        Raises:
            EarmarkError: the source can't be opened or read, an option is out of range, or the model has no embedding.
        """
        if include_embedding:
            probability_threshold, label_thresholds, invoke_callback_on_noise_and_unknown = 0, None, True
        decisions = self.decisions(
            probability_threshold,
            overlap_factor=overlap_factor,
            label_thresholds=label_thresholds,
            suppression_time_ms=suppression_time_ms,
            smoothing_windows=smoothing_windows,
            min_agreeing_windows=min_agreeing_windows,
            longest_sound_ms=longest_sound_ms,
            invoke_callback_on_noise_and_unknown=invoke_callback_on_noise_and_unknown,
        )
        detector = Detector(
            self, decisions, overlap_factor, include_spectrogram=include_spectrogram,
            include_embedding=include_embedding,
        )  # fmt: skip
        opened = open_source(source, sample_rate=sample_rate, device=device)
        listening = Listening(_detect(detector, opened), opened, callback)
        self._listenings.add(listening)
        return listening

    def decisions(
        self,
        probability_threshold: float | None = None,
        *,
        overlap_factor: float | None = None,
        smoothing_windows: int | None = None,
        min_agreeing_windows: int | None = None,
        longest_sound_ms: float | None = None,
        **options: Any,
    ) -> Decisions:
        """The stage that turns the scores of this recognizer's windows into detections.

        Args:
            overlap_factor: the windows' overlap; see `stream`.
            probability_threshold: see `Decisions`. None means the model's own, or 0.75 if it has none.
            smoothing_windows, min_agreeing_windows, longest_sound_ms, options: see `Decisions`. None means the values
                that measurements found best for such windows and sounds.

        Raises:
            EarmarkError: a value is out of range.
        """
        frames = self.metadata.window_frames
        if probability_threshold is None:
            own = self.metadata.probability_threshold
            probability_threshold = THRESHOLD if own is None else own
        if smoothing_windows is None:
            smoothing_windows = default_smoothing(frames)
        if min_agreeing_windows is None:
            hop = self.hop_frames(overlap_factor)
            min_agreeing_windows = default_agreement(frames, hop, self.front_end.name)
        return Decisions(
            self.labels,
            probability_threshold=probability_threshold,
            smoothing_windows=smoothing_windows,
            min_agreeing_windows=min_agreeing_windows,
            longest_sound_ms=self.metadata.longest_sound_ms if longest_sound_ms is None else longest_sound_ms,
            **options,
        )

    @property
    def is_listening(self) -> bool:
        """Whether any of this recognizer's listenings is running."""
        return any(listening.is_listening for listening in list(self._listenings))

    def stop_listening(self) -> None:
        """Stop all of this recognizer's listenings."""
        for listening in list(self._listenings):
            listening.stop()

    def stream(
        self,
        source: str | Path | npt.ArrayLike | Source = "microphone",
        *,
        sample_rate: int | None = None,
        device: int | str | None = None,
        overlap_factor: float | None = None,
        include_spectrogram: bool = False,
        include_embedding: bool = False,
    ) -> Iterator[ScoredWindow]:
        """Yield every window's scores as soon as its last sample has come.

        Args:
            source: anything that `open_source` takes; it is closed when the iteration ends.
            sample_rate: the samples' rate in Hz.
            device: the microphone's number or name.
            overlap_factor: the share of a window that neighbouring windows have in common, in [0, 1). None means a
                window every frame for short sounds, and about every 0.1 s for words.
            include_spectrogram, include_embedding: whether each window includes these.

        Raises:
            EarmarkError: the source can't be opened or read, the overlap is out of range, or the model has no
                embedding.
        """
        # Not a generator itself, so that a wrong option raises here and not at the first window.
        scorer = StreamScorer(
            self, overlap_factor, include_spectrogram=include_spectrogram, include_embedding=include_embedding
        )
        return _score(scorer, open_source(source, sample_rate=sample_rate, device=device))

    def _average(self, blocks: Iterator[Frames], include_spectrogram: bool, include_embedding: bool) -> Result:
        """The mean of the scores of the windows that hold the clip's sound.

        On a base that hears sounds, each window counts by how loud it is, so that the pauses between two barks count
        for little. On the base `yamnet`, 94.9 % of ESC-10 are recognized from five recordings each with these weights,
        94.2 % without.
        """
        outputs = ["scores", "embedding"] if include_embedding else ["scores"]
        kept: list[Frames] = []
        powers: list[npt.NDArray[np.float64]] = []
        found: list[list[npt.NDArray[np.float32]]] = []
        loudness: list[npt.NDArray[np.float64]] = []
        by_loudness = self.metadata.averages_clips
        hop = max(1, self.metadata.window_frames // 2) if by_loudness else 1
        windows = Windows(self.metadata.window_frames, hop, front_end=self.front_end)
        for frames in blocks:
            if include_spectrogram:
                kept.append(frames)
            cut = windows.process(frames)[0]
            if len(cut):
                found.append(self._run(outputs, cut))
            if by_loudness:
                loudness.append(window_amplitudes(cut, self.front_end))
            else:
                powers.append(self.front_end.power(frames))
        if by_loudness:
            weights = np.concatenate(loudness)
        else:
            silence = silence_power(self.front_end)
            weights = sounding_windows(np.concatenate(powers), self.metadata.window_frames, silence).astype(np.float64)
        values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        means = [np.average(part, axis=0, weights=weights).astype(np.float32) for part in values]
        return self._result(
            means[0], np.concatenate(kept) if include_spectrogram else None, means[1] if include_embedding else None
        )

    @contextmanager
    def _clip_frames(
        self, clip: str | Path | npt.ArrayLike | None, sample_rate: int | None, device: int | str | None
    ) -> Iterator[Iterator[Frames]]:
        window_frames = self.metadata.window_frames
        if isinstance(clip, (str, Path)) and is_spectrogram_file(clip):
            yield frames_of(read_recording(Path(clip)), window_frames, self.front_end)
            return
        with self._clip_source(clip, sample_rate, device) as source:
            yield clip_frames(source, window_frames, self.front_end)

    def _clip_source(
        self, clip: str | Path | npt.ArrayLike | None, sample_rate: int | None, device: int | str | None
    ) -> Source:
        if isinstance(clip, (str, Path)):
            return FileSource(Path(clip))
        if clip is not None:
            return ArraySource(as_clip(clip, sample_rate))
        with open_source("microphone", device=device) as microphone:
            seconds = self.front_end.seconds_of(self.metadata.window_frames)
            return ArraySource(record_clip(microphone, seconds))


def _missing(path: Path) -> EarmarkError:
    if not path.is_dir():
        return EarmarkError(f"{path} does not exist: check the path.")
    if kind := foreign_kind(path.iterdir()):
        return foreign_error(str(path), kind)
    return EarmarkError(f"{path} holds no {MODEL_FILE}: name a model folder or a project.")


def _names_in(content: bytes) -> list[str]:
    """The names in a zip; none if it isn't one that can be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    except DAMAGED:
        return []


def _score(scorer: StreamScorer, source: Source) -> Iterator[ScoredWindow]:
    with source:
        for frames in stream_frames(scorer.front_end, source, source.sample_rate):
            yield from scorer.process(frames)


def _detect(detector: Detector, source: Source) -> Iterator[Detection]:
    with source:
        yield from detect(detector, stream_frames(detector.front_end, source, source.sample_rate))


def load(path: str | Path = WORDS_MODEL) -> Recognizer:
    """Load a recognizer.

    Args:
        path: "words", the pretrained model that comes with Earmark (write "./words" for a folder of that name); a model
            folder; a `model.onnx`; a project with a trained model; or the folder, zip or `model.json` of a
            speech-commands or Teachable Machine audio model (needs the package onnx).

    Raises:
        EarmarkError: nothing is there, or it is not a model.
    """
    check_no_address(path, "; of Teachable Machine, open it there and choose Export Model, TensorFlow.js, Download")
    path = PRETRAINED / WORDS_MODEL if path == WORDS_MODEL else Path(path)
    if os.path.isfile(path / PROJECT_FILE):  # noqa: PTH113 (Path.is_file raises for names that are too long)
        path = model_folder(path)
    file = path / MODEL_FILE if os.path.isdir(path) else path  # noqa: PTH112 (as above)
    if not os.path.isfile(path / MODEL_FILE) and is_tfjs(path):  # noqa: PTH113 (as above)
        return Recognizer(read_tfjs(path), str(path))
    try:
        found = file.stat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise EarmarkError(f"{file} is no file: a pipe or a device can't be loaded.")  # reading it might never end
        with file.open("rb") as opened:
            content = opened.read(MAX_MODEL_BYTES + 1)
        if len(content) > MAX_MODEL_BYTES:
            raise EarmarkError(f"{file} is larger than {MAX_MODEL_BYTES >> 20} MiB: Earmark runs small models only.")
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{file} can't be read ({error}): check the path.") from error
    if kind := foreign_kind(_names_in(content) or [file], content[:8]):
        raise foreign_error(str(file), kind)
    if content.startswith(b"PK"):
        raise EarmarkError(f"{file} holds no TensorFlow.js model: load another; `earmark import` takes recordings.")
    return Recognizer(content, str(file))
