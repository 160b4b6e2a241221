"""An evaluation on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from earmark.evaluation.evaluation import Evaluation
from earmark.evaluation.shares import Share


def show_evaluation(evaluation: Evaluation, false_alarms_per_hour: float = 1.0) -> None:
    """Print accuracy, labels, confusion, the recommended threshold and what to record next."""
    console = Console(highlight=False)
    console.print(f"Accuracy {evaluation.accuracy} recordings ({evaluation.method})", markup=False, soft_wrap=True)
    table = Table("label", "recordings", "recall", "precision", "most often taken for")
    for row, label in enumerate(evaluation.labels):
        recall = evaluation.recall(label)
        if recall.count == 0 and label not in evaluation.counts:
            continue
        others = {other: int(count) for other, count in zip(evaluation.labels, evaluation.confusion[row], strict=True)}
        wrong = {other: count for other, count in others.items() if other != label and count}
        worst = max(wrong, key=wrong.__getitem__) if wrong else ""
        table.add_row(
            Text(label),  # not a string, in which Rich would look for its markup
            str(evaluation.counts.get(label, recall.count)),
            _percent(recall),
            _percent(evaluation.precision(label)),
            Text(f"{worst} ({wrong[worst]})" if wrong else ""),
        )
    console.print(table)
    if evaluation.background is not None:
        console.print(f"False alarms at 0.75: {evaluation.false_alarms(0.75)}", markup=False, soft_wrap=True)
    recommended = evaluation.recommend_threshold(false_alarms_per_hour)
    console.print(f"Recommended threshold: {recommended.threshold:g}. {recommended.how}", markup=False, soft_wrap=True)
    for sentence in evaluation.advice():
        console.print(f"· {sentence}", markup=False, soft_wrap=True)


def _percent(share: Share) -> str:
    return f"{share.value:.1%}" if share.count else "–"
