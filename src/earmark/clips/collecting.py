"""Collecting examples, under the names that speech-commands uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.audio.clip import Clip, Samples, as_clip
from earmark.audio.sources import Source, first_seconds, open_source
from earmark.clips.example_counts import ExampleCounts
from earmark.clips.folders import ClipFile, check_length
from earmark.clips.labelled import LabelledClips
from earmark.clips.settings import WORDS_MODE
from earmark.errors import EarmarkError
from earmark.front_end.recordings import read_recording, sound_of, spectrogram_of
from earmark.front_end.spectrogram import Spectrogram, StreamingSpectrogram
from earmark.labels import RESERVED_LABELS, check_label

if TYPE_CHECKING:
    from earmark.models.network import Network

WINDOW_SECONDS = 1.0  # an example's length, unless another is asked for
LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Example:
    """A collected recording.

    Attributes:
        uid: its id within the project, which stays the same for as long as it exists.
        label: its label.
        path: its file's path.
        key_frame: the frame of the spectrogram where the word is, if that was set.
    """

    uid: str
    label: str
    path: Path
    key_frame: int | None

    def audio(self) -> Clip:
        """The recording's sound: speech-commands' `rawAudio`.

        Raises:
            EarmarkError: the recording can't be read, or only its spectrogram is left.
        """
        return sound_of(read_recording(self.path, self.path.name))

    def spectrogram(self) -> Spectrogram:
        """The recording's levels in dB, shape [frames, 232].

        Raises:
            EarmarkError: it can't be read.
        """
        return spectrogram_of(read_recording(self.path, self.path.name))


class Collecting(LabelledClips):
    """A project's recordings, with the methods of speech-commands' `TransferSpeechCommandRecognizer`.

    Attributes:
        own_base: the recognizer whose `create_transfer` made this project; None for other projects.
    """

    own_base: Network | None = None

    def collect_example(
        self,
        label: str,
        source: str | Path | npt.ArrayLike | Source = "microphone",
        *,
        sample_rate: int | None = None,
        device: int | str | None = None,
        duration_multiplier: float | None = None,
        duration_sec: float | None = None,
        snippet_duration_sec: float | None = None,
        on_snippet: Callable[[Spectrogram], object] | None = None,
        allow_base_words: bool = False,
    ) -> Example:
        """Record an example: one second or the given duration, or all of the source if that is shorter.

        Args:
            label: the example's label; a new label is added.
            source: anything that `open_source` takes; raw audio is an array with its sample_rate.
            sample_rate: the samples' rate in Hz.
            device: the microphone's number or name.
            duration_multiplier: the duration as a multiple of one second, 1 or more.
            duration_sec: the duration in seconds; only one of the two may be given.
            snippet_duration_sec: how much sound each snippet holds.
            on_snippet: called during the recording with each snippet's spectrogram, shape [frames, 232], in dB. The
                first snippet begins with the frame that sees silence before the sound; the last may be shorter.
            allow_base_words: whether the label may be a word that the base knows already.

        Raises:
            EarmarkError: the source can't be read or is too short, an option is out of range, or the label isn't valid.
        """
        seconds = _duration(duration_multiplier, duration_sec)
        if (snippet_duration_sec is None) != (on_snippet is None):
            raise EarmarkError("snippet_duration_sec and on_snippet belong together: give both, or neither.")
        if snippet_duration_sec is not None and not 0 < snippet_duration_sec <= LONGEST_SECONDS:
            raise EarmarkError(f"snippet_duration_sec is {snippet_duration_sec}: it must be more than 0.")
        label = check_label(label)  # before the recording, not after it
        if not allow_base_words and label in self._base_words():
            raise EarmarkError(
                f"The base knows {label!r} already: choose another label, or pass allow_base_words=True."
            )
        with open_source(source, sample_rate=sample_rate, device=device) as opened:
            chunks = [np.zeros(0, np.float32), *_snipped(opened, seconds, snippet_duration_sec, on_snippet)]
            clip = as_clip(np.concatenate(chunks), opened.sample_rate, opened.name)
        check_length(clip)
        return _example(self.add(label, clip))

    def count_examples(self) -> dict[str, int]:
        """How many examples each label has: recordings for words, windows for short sounds."""
        return {label: sum(self.examples_of(self.clips(label))) for label in self.labels}

    def examples_in(self, clip: ClipFile) -> int:
        """How many examples a recording counts for: one for words, each of its windows with sound for short sounds."""
        return self.examples_of([clip])[0]

    def examples_of(self, clips: Sequence[ClipFile]) -> list[int]:
        """The same for several recordings, in their order."""
        if self.mode == WORDS_MODE:
            return [min(1, clip.examples) for clip in clips]
        return self._counts.of(clips)

    def get_examples(self, label: str) -> list[Example]:
        """A label's recordings.

        Raises:
            EarmarkError: there is no such label.
        """
        self.label(label)
        key_frames = self.key_frames()
        return [_example(clip, key_frames.get(clip.id)) for clip in self.clips(label)]

    def remove_example(self, uid: str) -> None:
        """Delete a recording: move it to the trash.

        Raises:
            EarmarkError: there is no such recording.
        """
        self.remove_clip(self.clip(uid))

    def set_example_key_frame_index(self, uid: str, key_frame_index: int | None) -> None:
        """Set the frame of a recording's spectrogram at which its word is; None means where it is loudest.

        Raises:
            EarmarkError: there is no such recording, or it is shorter than that.
        """
        self.set_key_frame(self.clip(uid), key_frame_index)

    def clear_examples(self) -> None:
        """Delete all recordings: move them to the trash. The labels stay."""
        with self.lock:
            for clip in self.clips():
                self.remove_clip(clip)

    def is_dataset_empty(self) -> bool:
        """Whether there are no recordings."""
        return not self.clips()

    def duration_ms(self) -> float:
        """How long all recordings together last, in milliseconds."""
        return 1000 * sum(clip.seconds for clip in self.clips())

    @cached_property
    def _counts(self) -> ExampleCounts:
        return ExampleCounts(self.path / ".cache" / "examples.json")

    def _base_words(self) -> set[str]:
        """The words that the base knows: its labels except the reserved ones, which all models share."""
        return set() if self.own_base is None else set(self.own_base.metadata.labels) - set(RESERVED_LABELS)


def _example(clip: ClipFile, key_frame: int | None = None) -> Example:
    return Example(clip.id, clip.label, clip.path, key_frame)


def _duration(multiplier: float | None, seconds: float | None) -> float:
    if multiplier is not None and seconds is not None:
        raise EarmarkError("duration_multiplier and duration_sec are two ways to say the same: give one of them.")
    if multiplier is not None and not 1 <= multiplier <= LONGEST_SECONDS:
        raise EarmarkError(f"duration_multiplier is {multiplier}: it must be from 1 to {LONGEST_SECONDS:.0f}.")
    if seconds is not None and not 0.1 <= seconds <= LONGEST_SECONDS:
        raise EarmarkError(f"duration_sec is {seconds}: it must be from 0.1 to {LONGEST_SECONDS:.0f}.")
    return WINDOW_SECONDS * (multiplier or 1.0) if seconds is None else seconds


def _snipped(
    source: Source,
    seconds: float,
    snippet_seconds: float | None,
    on_snippet: Callable[[Spectrogram], object] | None,
) -> Iterator[Samples]:
    """The source's first seconds; each snippet's spectrogram is reported as soon as it is complete."""
    held = np.zeros(0, np.float32)
    size = max(1, round((snippet_seconds or 0) * source.sample_rate))
    front_end = StreamingSpectrogram(source.sample_rate)
    for part in first_seconds(source, seconds):
        yield part
        if on_snippet is not None:
            held = np.concatenate((held, part))
            while len(held) > size:  # the last one waits for what the resampler still holds then
                on_snippet(front_end.process(held[:size]))
                held = held[size:]
    if on_snippet is not None:
        on_snippet(np.concatenate((front_end.process(held), front_end.finish())))
