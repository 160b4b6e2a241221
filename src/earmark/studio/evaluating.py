"""An evaluation as the studio keeps it: the report, with its numbers in a file beside it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import EarmarkError
from earmark.evaluation.advice import as_dict
from earmark.evaluation.report import write_report
from earmark.project import Project
from earmark.storage.files import make_folder, write_atomically
from earmark.training.bases import AUTO

if TYPE_CHECKING:
    from earmark.progress import Report

EVALUATION_FILE = "evaluation.json"
_NEEDED = {"method", "accuracy", "labels", "confusion", "recommendation", "advice"}  # what the page needs


def evaluate(project: Project, report: Report) -> None:
    """Evaluate a training on the project's base, and save the results in the folder of that base's model.

    Without matplotlib, only the numbers are saved, and the reason why there is no report.

    Raises:
        EarmarkError: the folder can't be written, or as in `Project.evaluate`.
    """
    base, now = str(project.choose_base().base), project.fingerprint()
    evaluation = project.evaluate(base, report=report)
    file = project.report_file(base)
    make_folder(file.parent)
    remedy = None
    try:
        write_report(evaluation, file, title=project.name, model_card=_card(project, file.parent.name, now))
    except EarmarkError as error:
        file.unlink(missing_ok=True)  # it would be that of an older evaluation
        remedy = str(error)
    kept = {
        **as_dict(evaluation),
        "base": base,
        "created": datetime.now(timezone.utc).isoformat(),
        "clips_fingerprint": now,
        "report_remedy": remedy,
    }
    # This comes last, as the page relies on it: if the worker is stopped before, the old numbers stay.
    write_atomically(file.with_name(EVALUATION_FILE), json.dumps(kept, allow_nan=False).encode())


def evaluation_report(project: Project) -> Path:
    """The report of the last evaluation on the project's base; of that on any base if each training chooses its own.

    The file need not be there.
    """
    names = [base.name for base in project.bases()] if project.base == AUTO else [project.base]
    reports = [project.report_file(name) for name in names if name != AUTO]
    return max(reports, key=lambda report: _modified(report.with_name(EVALUATION_FILE)))


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def read_evaluation(project: Project, now: str) -> dict[str, Any] | None:
    """Read the last evaluation on the project's base; None if there is none.

    Args:
        project: the evaluated project.
        now: the project's current fingerprint. If the evaluation has another one, it is stale.
    """
    report = evaluation_report(project)
    try:
        kept = json.loads(report.with_name(EVALUATION_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(kept, dict) or not kept.keys() >= _NEEDED:
        return None  # edited by hand, or written by another version
    address = "/api/report" if report.is_file() else None
    return {**kept, "stale": kept.get("clips_fingerprint") != now, "report": address}


def _card(project: Project, name: str, now: str) -> dict[str, Any] | None:
    """The model's card, if it was trained from these recordings."""
    card = project.model_card(name)
    return card if card and card.get("clips_fingerprint") == now else None
