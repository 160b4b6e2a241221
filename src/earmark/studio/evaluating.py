"""An evaluation as the studio keeps it: the report, and its numbers beside it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from earmark.errors import EarmarkError
from earmark.evaluation.advice import as_dict
from earmark.evaluation.report import write_report
from earmark.project import Project
from earmark.storage.files import make_folder, write_atomically

if TYPE_CHECKING:
    from earmark.progress import Report

EVALUATION_FILE = "evaluation.json"
_NEEDED = {"method", "accuracy", "labels", "confusion", "recommendation", "advice"}  # by the page


def evaluate(project: Project, report: Report) -> None:
    """Evaluate a training on the project's base, and keep what came of it in the folder of that base's model.

    Without matplotlib there are the numbers alone, and why there is no report.

    Raises:
        EarmarkError: see `Project.evaluate`; or the folder can't be written.
    """
    base, now = project.base, project.fingerprint()
    evaluation = project.evaluate(base, report=report)
    file = project.report_file(base)
    make_folder(file.parent)
    remedy = None
    try:
        write_report(evaluation, file, title=project.name, model_card=_card(project, file.parent.name, now))
    except EarmarkError as error:
        file.unlink(missing_ok=True)  # it would be an older evaluation's
        remedy = str(error)
    kept = {
        **as_dict(evaluation),
        "base": base,
        "created": datetime.now(timezone.utc).isoformat(),
        "clips_fingerprint": now,
        "report_remedy": remedy,
    }
    # Last, since the page believes it: whoever stops the worker before this moment leaves the old numbers.
    write_atomically(file.with_name(EVALUATION_FILE), json.dumps(kept, allow_nan=False).encode())


def read_evaluation(project: Project, now: str) -> dict[str, Any] | None:
    """The last evaluation on the project's base, or None.

    Args:
        now: the project's fingerprint; with another one than the evaluation's, that is stale.
    """
    report = project.report_file()
    try:
        kept = json.loads(report.with_name(EVALUATION_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(kept, dict) or not kept.keys() >= _NEEDED:
        return None  # somebody's hand, or another Earmark's
    address = "/api/report" if report.is_file() else None
    return {**kept, "stale": kept.get("clips_fingerprint") != now, "report": address}


def _card(project: Project, name: str, now: str) -> dict[str, Any] | None:
    """The model's card, if it was trained from these recordings."""
    card = project.model_card(name)
    return card if card and card.get("clips_fingerprint") == now else None
