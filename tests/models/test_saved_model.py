"""The card of a saved model."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import earmark
from earmark import EarmarkError
from earmark.models import saved_model as cards
from earmark.models.saved_model import read_card, save_model
from earmark.storage.files import write_atomically


def test_a_card_says_how_its_model_came_to_be(trained: earmark.Project) -> None:
    card = trained.model_card()
    assert card is not None
    model = trained.path / "models" / "sounds" / "model.onnx"
    digest = subprocess.run(["sha256sum", str(model)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert card["model_sha256"] == digest
    # 3.5 s at 48 kHz are 154,350 samples at 44.1: 150 hops of 1,024, and a window takes 4, so 147 windows start.
    assert [(entry["name"], entry["clips"], entry["examples"]) for entry in card["labels"]] == [
        ("Left", 1, 147),
        ("Right", 1, 147),
        ("Noise", 1, 147),
    ]
    assert len({entry["colour"] for entry in card["labels"]}) == 3
    assert card["examples"] == 3 * 147
    assert card["training"] == {"epochs": 10, "batch_size": 16, "learning_rate": 0.01, "seed": 0}
    assert 0.9 < card["metrics"]["accuracy"] <= 1
    assert card["versions"]["earmark"] == earmark.__version__
    assert card["versions"].keys() == {"earmark", "numpy", "onnx", "soxr"}
    age = datetime.now(timezone.utc) - datetime.fromisoformat(card["created"])
    assert timedelta(0) <= age < timedelta(hours=1)


def test_a_saved_model_and_its_card_are_read_again(tmp_path: Path) -> None:
    save_model(tmp_path / "new" / "sounds", b"the model", {"name": "été"})
    assert (tmp_path / "new" / "sounds" / "model.onnx").read_bytes() == b"the model"
    card = read_card(tmp_path / "new" / "sounds")
    assert card is not None
    assert card["name"] == "été"
    assert card["model_sha256"] == hashlib.sha256(b"the model").hexdigest()
    assert sorted(path.name for path in (tmp_path / "new" / "sounds").iterdir()) == ["model.json", "model.onnx"]


def test_the_card_of_another_model_is_none(tmp_path: Path) -> None:
    save_model(tmp_path, b"old", {})
    (tmp_path / "model.onnx").write_bytes(b"new")  # as a crash between the two writes leaves them
    assert read_card(tmp_path) is None


def test_whenever_it_is_killed_a_model_has_its_own_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write in turn is the last one that comes through, or the first that fails."""
    for writes in range(4):
        folder = tmp_path / str(writes)
        save_model(folder, b"old", {"name": "old"})
        left = iter(range(writes))

        def write(path: Path, data: bytes, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            write_atomically(path, data)

        monkeypatch.setattr(cards, "write_atomically", write)
        with suppress(KeyboardInterrupt):
            save_model(folder, b"new", {"name": "new"})
        monkeypatch.undo()
        found = read_card(folder)
        assert found is not None
        assert found["name"].encode() == (folder / "model.onnx").read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"5", b"\xff", b"{}", b'{"model_sha256": 5}', b"[" * 100_000]
)
def test_a_broken_card_is_none(tmp_path: Path, content: bytes) -> None:
    save_model(tmp_path, b"model", {})
    (tmp_path / "model.json").write_bytes(content)
    assert read_card(tmp_path) is None


def test_no_model_has_no_card(tmp_path: Path) -> None:
    assert read_card(tmp_path / "nothing") is None
    save_model(tmp_path, b"model", {})
    (tmp_path / "model.onnx").unlink()
    assert read_card(tmp_path) is None


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EarmarkError, match="can't be written"):
        save_model(tmp_path / "file" / "sounds", b"model", {})


def test_a_card_is_json_that_people_read(trained: earmark.Project) -> None:
    text = (trained.path / "models" / "sounds" / "model.json").read_text("utf-8")
    assert json.loads(text) == trained.model_card()
    assert text.count("\n") > 10


def test_a_card_may_hold_numpys_numbers(tmp_path: Path) -> None:
    save_model(tmp_path, b"model", {"epochs": np.int64(3), "rate": np.float32(0.5), "base": tmp_path})
    card = read_card(tmp_path)
    assert card is not None
    assert (card["epochs"], card["rate"], card["base"]) == (3, 0.5, str(tmp_path))
