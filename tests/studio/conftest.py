"""What the studio's tests share: the pretrained words, speech to recognize with them, and a microphone in a room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

import earmark
from tests import sounds
from tests.browser import browsers
from tests.studio import spoken
from tests.studio.spoken import Speech


@pytest.fixture(scope="session")
def words() -> earmark.Recognizer:
    return earmark.load("words")


@pytest.fixture(scope="session")
def speech(recordings: Path, words: earmark.Recognizer) -> Speech:
    return spoken.speech(recordings, words)


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a page hears where that doesn't matter: murmur in a room."""
    file = tmp_path_factory.mktemp("room") / "room.wav"
    soundfile.write(file, sounds.murmur(4.0, 1), sounds.RATE)
    return file


@pytest.fixture(scope="module", autouse=True)
def browsers_end_with_their_module() -> Iterator[None]:
    yield
    browsers.close()
