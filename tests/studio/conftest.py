"""What the studio's tests share: the pretrained words, and speech to recognize with them."""

from __future__ import annotations

from pathlib import Path

import pytest

import earmark
from tests.studio import spoken
from tests.studio.spoken import Speech


@pytest.fixture(scope="session")
def words() -> earmark.Recognizer:
    return earmark.load("words")


@pytest.fixture(scope="session")
def speech(recordings: Path, words: earmark.Recognizer) -> Speech:
    return spoken.speech(recordings, words)
