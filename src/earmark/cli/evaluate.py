"""The work of `earmark evaluate`, and its output on the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from earmark.errors import EarmarkError
from earmark.evaluation.advice import advise
from earmark.evaluation.cross_validation import evaluate_on
from earmark.evaluation.evaluation import Evaluation
from earmark.evaluation.report import write_report
from earmark.evaluation.shares import Share
from earmark.labels import THRESHOLD
from earmark.models.saved_model import PROJECT_FILE, REPORT_FILE, read_card
from earmark.progress import Report
from earmark.project import Project
from earmark.recognizer.recognizer import WORDS_MODEL, load
from earmark.storage.files import make_folder


def evaluate_files(
    model: str | Path,
    test: str | Path | None = None,
    *,
    folds: int = 5,
    background: Iterable[str | Path] = (),
    base: str | None = None,
    report_file: Path | None = None,
    false_alarms_per_hour: float = 1.0,
    report: Report | None = None,
) -> tuple[Evaluation, Path]:
    """Evaluate a project or a model, and write the report.

    Args:
        model: a project's folder, or anything that `load` takes, which needs `test`.
        test: see `evaluate_on`.
        folds, background, report: see `cross_validate`.
        base: the base of the training to evaluate.
        report_file: where to write the report; beside the project's model where None.
        false_alarms_per_hour: the most that the recommended threshold may cause.

    Returns:
        The evaluation, and the report's file.

    Raises:
        EarmarkError: there is nothing at `model`, a model has no test folder, or as in `cross_validate` and
            `evaluate_on`.
    """
    is_project = os.path.isfile(Path(model) / PROJECT_FILE)  # noqa: PTH113 (Path.is_file raises for unfit names)
    if test is None and not is_project:
        raise EarmarkError(f"{model} is no project: name a folder of labelled recordings with --test.")
    if not is_project or (test is not None and str(model) == WORDS_MODEL):  # as `load` reads it
        assert test is not None
        evaluation = evaluate_on(load(model), test, background, report=report)
        title, card, default = str(model), None, Path(REPORT_FILE)
    else:
        project = Project(model)
        if test is None:
            chosen = project.choose_base(base).base
            default = project.report_file(chosen)
            evaluation = project.evaluate(chosen, folds=folds, background=background, report=report)
        else:
            name = project.report_file(base).parent.name if base else None
            default = project.model_folder(name) / REPORT_FILE
            recognizer, counts = load(default.parent), project.count_recordings()
            evaluation = evaluate_on(recognizer, test, background, counts=counts, report=report)
        title, card = project.name, read_card(default.parent)
    file = default if report_file is None else report_file
    make_folder(file.parent)
    write_report(evaluation, file, title=title, model_card=card, false_alarms_per_hour=false_alarms_per_hour)
    return evaluation, file


def show_evaluation(evaluation: Evaluation, false_alarms_per_hour: float = 1.0) -> None:
    """Print the accuracy, the labels, the confusion, the recommended threshold, and what to record next."""
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
            Text(label),  # not a string, as Rich would look for markup in it
            str(evaluation.counts.get(label, recall.count)),
            _percent(recall),
            _percent(evaluation.precision(label)),
            Text(f"{worst} ({wrong[worst]})" if wrong else ""),
        )
    console.print(table)
    if evaluation.background is not None:
        console.print(
            f"False alarms at {THRESHOLD:g}: {evaluation.false_alarms(THRESHOLD)}", markup=False, soft_wrap=True
        )
    recommended = evaluation.recommend_threshold(false_alarms_per_hour)
    console.print(f"Recommended threshold: {recommended.threshold:g}. {recommended.how}", markup=False, soft_wrap=True)
    for sentence in advise(evaluation):
        console.print(f"· {sentence}", markup=False, soft_wrap=True)


def _percent(share: Share) -> str:
    return f"{share.value:.1%}" if share.count else "–"
