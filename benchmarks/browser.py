"""What the pretrained words lose as a TensorFlow.js export, since browsers don't limit a window's dynamic range.

    python -m benchmarks.browser DATA [FOLDER]

DATA are the recordings as `recipes/words/prepare.py` unpacks them, of which `val` and `test` are by speakers that the
training never saw. FOLDER holds the TensorFlow.js model `browser_fft/18w`. All three hear the same spectrograms, the
last two as a browser gives them; that a browser's frames are ours is a test (tests/test_npm_package.py).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import earmark
from benchmarks.table import print_table
from earmark.corpus import find_recordings
from earmark.exporting import export_model
from earmark.shares import Share


def as_in_a_browser(recognizer: earmark.Recognizer) -> earmark.Recognizer:
    """The export, read without what Earmark notes in it for itself."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        export_model(recognizer, folder, "tfjs")
        metadata = json.loads((folder / "metadata.json").read_text())
        del metadata["earmark"]
        (folder / "metadata.json").write_text(json.dumps(metadata))
        return earmark.load(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("original", type=Path, nargs="?")
    arguments = parser.parse_args()
    words = earmark.load("words")
    recognizers = {"words": words, "words in a browser": as_in_a_browser(words)}
    if arguments.original:
        recognizers["speech-commands in a browser"] = earmark.load(arguments.original)
    recordings = [
        recording
        for recording in find_recordings(arguments.data / "speech_commands")
        if recording.split != "train" and recording.word in words.labels
    ]
    heard = {
        name: [recognizer.recognize(recording.path).label for recording in recordings]
        for name, recognizer in recognizers.items()
    }
    rows = [
        (
            name,
            str(Share(sum(map(str.__eq__, labels, (recording.word for recording in recordings))), len(labels))),
            str(Share(sum(map(str.__eq__, labels, heard["words"])), len(labels))),
        )
        for name, labels in heard.items()
    ]
    print_table("Words by speakers that words never heard", ("model", "right", "the same as words here"), rows)


if __name__ == "__main__":
    main()
