"""The TensorFlow.js model as a recognizer. Its numbers are checked in tests/tfjs/test_reading.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import earmark
from tests.conftest import SHARED
from tests.corpus import clip_rows, read_row


def test_the_real_model_hears_real_words(recordings: Path) -> None:
    folder = SHARED / "fixtures" / "tfjs_speech_commands" / "browser_fft_18w"
    if not folder.is_dir():
        pytest.skip("needs the model in ../shared/fixtures")
    peer = earmark.load(folder)
    assert len(peer.labels) == 20
    right = []
    for word in ("yes", "no", "stop", "left", "go"):
        rows = [row for row in clip_rows(recordings, "speech_commands") if (row["split"], row["word"]) == ("val", word)]
        right += [peer.recognize(*read_row(recordings, "speech_commands", row)).label == word for row in rows[:8]]
    assert np.mean(right) > 0.75
