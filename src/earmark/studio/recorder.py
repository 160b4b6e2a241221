"""A page's recordings: chunks are held until a recording is complete, then saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from earmark.audio.clip import Clip, Samples, as_clip
from earmark.clips.settings import WORDS_MODE
from earmark.errors import EarmarkError
from earmark.front_end.examples import SOUND_FRAMES, example_count
from earmark.front_end.frames import SPECTROGRAM
from earmark.front_end.silence import silence_power, sounding_windows
from earmark.front_end.spectrogram import StreamingSpectrogram
from earmark.labels import NOISE_LABELS
from earmark.studio.state import RECORDING_SECONDS, Studio

HELD_SECONDS = 20 * RECORDING_SECONDS  # in all unfinished recordings of one page
HELD_RECORDINGS = 100


class SoundCounter:
    """Counts the windows of a recording under way that hold its sound, as far as its chunks have come in a row.

    Args:
        sample_rate: the sample rate in Hz.
        first: the number of the first chunk.
    """

    def __init__(self, sample_rate: int, first: int) -> None:
        self._front_end = StreamingSpectrogram(sample_rate, silence_before=False)
        self._next = first
        self._powers = np.zeros(0)

    def take(self, chunks: Mapping[int, Samples]) -> None:
        """Take the next of these chunks, by their numbers."""
        while (chunk := chunks.get(self._next)) is not None:
            self._next += 1
            self._powers = np.concatenate((self._powers, SPECTROGRAM.power(self._front_end.process(chunk))))

    def examples(self) -> int:
        """How many windows there are so far."""
        return int(sounding_windows(self._powers, SOUND_FRAMES, silence_power(SPECTROGRAM)).sum())


@dataclass
class OpenRecording:
    """A recording under way. It takes each chunk with first ≤ number < end once, in any order."""

    label: str
    sample_rate: int
    first: int
    is_one_example: bool
    end: int | None = None
    chunks: dict[int, Samples] = field(default_factory=dict)
    samples: int = 0
    counter: SoundCounter | None = None

    @property
    def seconds(self) -> float:
        """The duration of the chunks so far."""
        return self.samples / self.sample_rate

    @property
    def is_complete(self) -> bool:
        """Whether its end is known and all chunks before it have come."""
        return self.end is not None and len(self.chunks) >= self.end - self.first

    def wants(self, number: int) -> bool:
        """Whether the chunk of this number belongs to the recording and has not come yet."""
        return self.first <= number and (self.end is None or number < self.end) and number not in self.chunks

    def add(self, number: int, samples: Samples) -> None:
        """Add a chunk."""
        self.chunks[number] = samples
        self.samples += len(samples)
        if self.counter is not None:
            self.counter.take(self.chunks)

    def stop(self, end: int) -> None:
        """End the recording before the chunk of this number, and forget later chunks."""
        self.end = end
        self.chunks = {number: chunk for number, chunk in self.chunks.items() if number < end}
        self.samples = sum(map(len, self.chunks.values()))

    def examples(self) -> int:
        """How many examples it would give now; see `Project.examples_in`."""
        if self.counter is not None:
            return self.counter.examples()
        windows = example_count(self.samples, self.sample_rate, SOUND_FRAMES)
        return min(1, windows) if self.is_one_example else windows

    def clip(self) -> Clip:
        """Join the chunks into a clip.

        Raises:
            EarmarkError: the sound is no valid clip.
        """
        chunks = (self.chunks[number] for number in sorted(self.chunks))
        return as_clip(np.concatenate([np.zeros(0, np.float32), *chunks]), self.sample_rate, "the recording")


class Recorder:
    """The recordings of one page, each with the id that the page gave it.

    Args:
        studio: where recordings are saved.
        send: queues a message for the page.
    """

    def __init__(self, studio: Studio, send: Callable[[dict[str, Any]], None]) -> None:
        self._studio, self._send = studio, send
        self._recordings: dict[str, OpenRecording] = {}
        self._saving: set[asyncio.Task[None]] = set()

    def takes(self, identity: str) -> bool:
        """Whether this recording may begin. If not, tell the page that it is saved already, or why it is refused."""
        if (clip := self._studio.saved(identity)) is not None:
            self._send({"type": "saved", "recording": identity, "clip": clip, "notes": ()})
        elif len(self._recordings) >= HELD_RECORDINGS:
            self._refuse(identity, f"More than {HELD_RECORDINGS} recordings are under way: wait for them to be saved.")
        else:
            return True
        return False

    def begin(self, identity: str, label: str, sample_rate: int, first: int) -> None:
        """Begin a recording with the chunk of this number."""
        is_one_example = self._studio.project.mode == WORDS_MODE
        recording = OpenRecording(label, sample_rate, first, is_one_example)
        if not is_one_example and label not in NOISE_LABELS:
            recording.counter = SoundCounter(sample_rate, first)
        self._recordings[identity] = recording

    def stop(self, identity: str, end: int) -> None:
        """End a recording before the chunk of this number."""
        recording = self._recordings.get(identity)
        if recording is not None:
            recording.stop(end)
            self._save_if_complete(identity, recording)

    def discard(self, identity: str) -> None:
        """Forget a recording."""
        self._recordings.pop(identity, None)

    def discard_all(self) -> None:
        """Forget the recordings under way. Complete ones are being saved, and stay."""
        self._recordings.clear()

    def process(self, number: int, samples: Samples) -> None:
        """Add a chunk to every recording that wants it."""
        for identity, recording in list(self._recordings.items()):
            if recording.wants(number):
                self._keep(identity, recording, number, samples)

    async def wait_until_saved(self) -> None:
        """Wait until all complete recordings are saved."""
        if self._saving:
            await asyncio.wait(self._saving)

    def _keep(self, identity: str, recording: OpenRecording, number: int, samples: Samples) -> None:
        held = sum(other.seconds for other in self._recordings.values())
        longest = (RECORDING_SECONDS + 1) * recording.sample_rate
        if recording.samples + len(samples) > longest or held > HELD_SECONDS:
            self._refuse(identity, f"A recording can last at most {RECORDING_SECONDS} s: record it in parts.")
            return
        recording.add(number, samples)
        self._send({"type": "recording", "recording": identity, "examples": recording.examples()})
        self._save_if_complete(identity, recording)

    def _save_if_complete(self, identity: str, recording: OpenRecording) -> None:
        if recording.is_complete:
            del self._recordings[identity]
            task = asyncio.create_task(self._save(identity, recording))
            self._saving.add(task)
            task.add_done_callback(self._saving.discard)

    async def _save(self, identity: str, recording: OpenRecording) -> None:
        try:
            # Not in the event loop: joining a minute of sound takes long enough to delay everybody's live sound.
            clip = await asyncio.to_thread(recording.clip)
            saved, notes = await self._studio.save(identity, recording.label, clip)
            self._send({"type": "saved", "recording": identity, "clip": saved, "notes": notes})
        except EarmarkError as error:
            self._refuse(identity, str(error))
        except Exception:
            self._refuse(identity, "The studio met an error of its own: its terminal tells more.")
            raise

    def _refuse(self, identity: str, error: str) -> None:
        self._recordings.pop(identity, None)
        self._send({"type": "refused", "recording": identity, "error": error})
