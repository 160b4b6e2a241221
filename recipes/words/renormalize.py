"""Give a trained words model the normalization that training has now; its weights stay as they are.

    python renormalize.py MODEL

MODEL is the folder that `earmark pretrain` made. `words` was trained with levels raised to 80 dB (for three windows in
ten, to 60 to 140 dB) below a window's highest one. The floor at 0.8 deviations that it has now raises about the same
levels, and can be applied in a browser too.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from onnx import helper, load_model_from_string

import earmark
from earmark.models.metadata import KEY, FlooredNormalization
from earmark.models.saved_model import CARD_FILE, MODEL_FILE
from earmark.pretraining.augmentation import FLOOR
from earmark.storage.files import write_atomically


def main(folder: Path) -> None:
    recognizer = earmark.load(folder)
    model = load_model_from_string(recognizer.content)
    metadata = replace(recognizer.metadata, normalization=FlooredNormalization(FLOOR))
    helper.set_model_props(model, {KEY: metadata.to_json()})
    content = model.SerializeToString()
    card = json.loads((folder / CARD_FILE).read_text())
    card["model_sha256"] = hashlib.sha256(content).hexdigest()
    write_atomically(folder / MODEL_FILE, content)
    write_atomically(folder / CARD_FILE, json.dumps(card, ensure_ascii=False, indent=2).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
