"""An evaluation on the terminal: all that it says, whatever the labels are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earmark.cli.evaluate import show_evaluation
from earmark.evaluation.advice import advise
from earmark.evaluation.evaluation import Background, Evaluation, ScoredClip

LABELS = ("_background_noise_", "[/red] {x}", "été", "_unknown_")


def clip(label: str, best: str, score: float = 0.9) -> ScoredClip:
    scores = np.full(len(LABELS), (1 - score) / 3, np.float32)
    scores[LABELS.index(best)] = score
    return ScoredClip(Path("a.wav"), label, scores)


def evaluation(background: Background | None = None, counts: dict[str, int] | None = None) -> Evaluation:
    red, ete = LABELS[1:3]
    clips = [clip(red, red)] * 3 + [clip(red, ete)] * 2 + [clip(red, "_unknown_")] + [clip(ete, ete)] * 4
    return Evaluation(LABELS, tuple(clips), "by hand [bold]", background, counts or {red: 6, ete: 4})


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("wide")
def test_each_label_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(evaluation())
    told = capsys.readouterr().out
    # 7 of 10 and Wilson's interval: Newcombe's method 3 gives 0.397 to 0.892.
    assert told.splitlines()[0] == "Accuracy 70.0% (39.7% – 89.2%) of 10 recordings (by hand [bold])"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if line.startswith("│")]
    assert rows == [
        ["[/red] {x}", "6", "50.0%", "100.0%", "été (2)"],
        ["été", "4", "100.0%", "66.7%", ""],
    ]
    assert "Recommended threshold: " in told
    assert "False alarms at" not in told


@pytest.mark.usefixtures("wide")
def test_a_label_that_was_only_learnt_has_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(evaluation(counts={"[/red] {x}": 6, "été": 4, "_background_noise_": 1}))
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [cell.strip() for cell in rows[0]] == ["_background_noise_", "1", "–", "–", ""]


@pytest.mark.usefixtures("wide")
def test_the_threshold_keeps_to_the_wanted_false_alarms(capsys: pytest.CaptureFixture[str]) -> None:
    counts: dict[str, tuple[int, ...]] = {"[/red] {x}": (9, 4, 1), "été": (1, 0, 0)}
    background = Background(2.0, (0.5, 0.75, 0.9), counts)
    for wanted, threshold in ((5.0, "0.5"), (2.0, "0.75"), (0.5, "0.9"), (0.1, "0.9")):
        show_evaluation(evaluation(background), wanted)
        told = capsys.readouterr().out
        assert "False alarms at 0.75: 2.0/h (0.5 – 5.1): 4 in 2.00 h\n" in told  # Garwood: 1.09 to 10.24 in 2 h
        assert f"Recommended threshold: {threshold}. " in told
        assert ("None keeps to" in told) == (wanted == 0.1)


def test_sentences_are_not_broken_where_nobody_sees_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    measured = evaluation()
    show_evaluation(measured)
    told = capsys.readouterr().out
    assert f"Recommended threshold: 0.75. {measured.recommend_threshold().how}\n" in told
    for sentence in advise(measured):
        assert f"· {sentence}\n" in told
