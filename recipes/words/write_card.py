"""Put the model into the package, with its card: what it learnt from, how good it is, what it is for.

    python write_card.py MODEL MEASURED

MODEL is what `earmark pretrain` made, MEASURED what `evaluate.py --json` measured.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from evaluate import PEER

import earmark
from earmark.models.saved_model import CARD_FILE, MODEL_FILE
from earmark.storage.files import make_folder, write_atomically

TEMPLATE = Path(__file__).with_name("card.md")
PACKAGED = Path(earmark.__file__).parent / "models" / "words"
SOURCES = {
    "speech_commands": "Google Speech Commands, a part of v0.01/0.02 · CC BY 4.0 · P. Warden, arXiv:1804.03209",
    "free_spoken_digits": "Free Spoken Digit Dataset · CC BY-SA 4.0 · Z. Jackson et al.",
    "wake_words": "wake-word benchmark: alexa, computer, smart mirror · Apache-2.0 · Picovoice",
    "synthesised": "single words by Piper (joe), Kokoro-82M (mixed styles), Pico, Festival, Flite and espeak-ng",
    "background_noise": "Speech Commands' noise, the first four fifths of each recording · CC BY 4.0 · P. Warden",
    "esc10": "ESC-10, folds 1 to 4 · CC BY 3.0 · K. Piczak",
}


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: write_card.py MODEL MEASURED")
    model, measured = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    card = json.loads((model / CARD_FILE).read_text())
    make_folder(PACKAGED)
    for name in (MODEL_FILE, CARD_FILE):
        shutil.copyfile(model / name, PACKAGED / name)
    write_atomically(PACKAGED / "README.md", fill(TEMPLATE.read_text(), card, measured).encode())


def fill(template: str, card: dict[str, Any], measured: dict[str, Any]) -> str:
    """The card's text, from a model's `model.json` and what was measured."""
    ours = measured["words"]
    peer = measured.get(PEER, {"table": {}, "few_shot": {}})
    teacher = measured.get("teacher", {"few_shot": {}})
    return template.format(
        **card["recipe"],
        **measured["cost"],
        stages=", then ".join(_stages(card["recipe"])),
        parameters=card["parameters"],
        model_sha256=card["model_sha256"],
        date=card["created"][:10],
        versions=", ".join(f"{name} {version}" for name, version in card["versions"].items()),
        words=card["data"]["words"],
        noise_minutes=card["data"]["noise_seconds"] / 60,
        left_out=card["data"]["left_out"],
        data_sha256=card["data"]["sha256"],
        sources=_rows(
            (name, SOURCES[name], *(splits.get(split, 0) for split in ("train", "val", "test")))
            for name, splits in card["data"]["recordings"].items()
        ),
        table=_rows((row, value, peer["table"].get(row, "")) for row, value in ours["table"].items()),
        few_shot=_rows(
            (row, value, peer["few_shot"].get(row, ""), teacher["few_shot"].get(row, ""))
            for row, value in ours["few_shot"].items()
        ),
        labels=_rows((label, recall, _mistakes(label, ours)) for label, recall in ours["recall"].items()),
        alarms="; ".join(ours["alarms"]) or "none",
    )


def _stages(recipe: dict[str, Any]) -> list[str]:
    """What one training after another did, each begun with the weights of the one before."""
    earlier = _stages(recipe["start"]) if recipe.get("start") else []
    stage = f"{recipe['epochs']} epochs of {recipe['draws']:,} windows at {recipe['learning_rate']}"
    strength = recipe.get("strength", 1.0)
    return [*earlier, stage + (f" with augmentation at {strength} of its strength" if strength < 1 else "")]


def _mistakes(label: str, ours: dict[str, Any]) -> str:
    row = ours["confusion"][ours["labels"].index(label)]
    counts = sorted(zip(row, ours["labels"], strict=True), reverse=True)
    return ", ".join(f"{other} {count}" for count, other in counts if count and other != label)


def _rows(rows: Any) -> str:
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


if __name__ == "__main__":
    main()
