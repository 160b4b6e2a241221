"""The report of an evaluation: one self-contained HTML file with figures, and mistakes to listen to."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

from earmark.audio.clip import Clip
from earmark.errors import EarmarkError, needs_package
from earmark.evaluation.advice import advise
from earmark.evaluation.evaluation import Alarm, Evaluation, Rate, Recommendation, Share
from earmark.evaluation.shares import spell_hours
from earmark.storage.files import write_atomically
from earmark.version import __version__

MISTAKES = 12
ALARMS = 6

_HERE = Path(__file__).parent
_LOGO = _HERE.parent / "studio" / "static" / "logo.svg"


def write_report(
    evaluation: Evaluation,
    file: Path,
    *,
    title: str,
    model_card: Mapping[str, Any] | None = None,
    false_alarms_per_hour: float = 1.0,
) -> None:
    """Write the report. The same evaluation gives the same file.

    Args:
        evaluation: the evaluation. Its recordings are read, so that the mistakes can be played.
        file: the HTML file to write.
        title: the title, e.g. the project's name.
        model_card: the model's `model.json`, whose plain values are shown.
        false_alarms_per_hour: the rate that the recommended threshold keeps to.

    Raises:
        EarmarkError: matplotlib is missing, or the file can't be written; an existing file is then still there.
    """
    figures = _import_figures()
    recommended = evaluation.recommend_threshold(false_alarms_per_hour)
    sections = [
        _summary(evaluation, recommended),
        _advice(evaluation),
        _labels(evaluation),
        _confusion(evaluation, figures),
        _thresholds(evaluation, recommended, false_alarms_per_hour, figures),
        _curves(evaluation, figures),
        _mistakes(evaluation),
        _alarms(evaluation, recommended),
        _card(model_card or {}),
    ]
    page = Template(_read_text(_HERE / "page.html")).substitute(
        title=escape(title),
        style=_read_text(_HERE / "report.css"),
        logo=_read_text(_LOGO).replace("<svg ", '<svg aria-hidden="true" ', 1),
        version=escape(__version__),
        sections="\n".join(filter(None, sections)),
    )
    write_atomically(file, page.encode(errors="replace"))  # a file's name needn't be text


def _summary(evaluation: Evaluation, recommended: Recommendation) -> str:
    accuracy = evaluation.accuracy
    numbers = [
        ("Recognized", _percent(accuracy), f"{accuracy.hits} of {accuracy.count} recordings; {_interval(accuracy)}"),
        (
            "Recommended threshold",
            f"{recommended.threshold:g}",
            f"with it, {recommended.recall.hits} of {recommended.recall.count} recordings of the labels are detected",
        ),
    ]
    numbers.append(("False alarms at that threshold", *_alarm_numbers(recommended.false_alarms)))
    shown = "".join(
        f'<div><dt>{name}</dt><dd class="value">{value}</dd><dd class="muted">{detail}</dd></div>'
        for name, value, detail in numbers
    )
    return _section(
        "Summary",
        f'<dl class="numbers">{shown}</dl><p>How the recordings were held out: {escape(evaluation.method)}.</p>',
    )


def _alarm_numbers(rate: Rate | None) -> tuple[str, str]:
    """The large and the small text. For less than an hour the large one is no rate, which would be too rough."""
    if rate is None:
        return "unknown", "no background was measured"
    low, high = rate.interval
    counted = f"{rate.events} in {spell_hours(rate.hours)}"
    per_hour = f"{rate.value:.1f} an hour"
    large, small = (per_hour, counted) if rate.hours >= 1 else (counted, per_hour)
    return large, f"{small} of background; 95 % interval {low:.1f} to {high:.1f} an hour"


def _advice(evaluation: Evaluation) -> str:
    advice = advise(evaluation)
    if not advice:
        return _section("What to record next", "<p>Nothing stands out: no label is short of recordings or weak.</p>")
    return _section("What to record next", _list(escape(sentence) for sentence in advice))


def _labels(evaluation: Evaluation) -> str:
    rows = [
        [
            escape(label),
            _share_cell(evaluation.recall(label)),
            _share_cell(evaluation.precision(label)),
            _decimal(evaluation.auc(label)),
            str(evaluation.counts.get(label, 0)),
        ]
        for label in evaluation.labels
    ]
    head = ["Label", "Recall", "Precision", "AUC", "Recordings"]
    return _section(
        "Each label",
        _table("Each label", head, rows)
        + '<p class="muted">Recall: how many of the label’s recordings were recognized. Precision: how many of those '
        "heard as the label are it. Both with their 95 % interval. AUC: how often one of its recordings scores higher "
        "than another’s.</p>",
    )


def _confusion(evaluation: Evaluation, figures: ModuleType) -> str:
    rows = [
        [
            escape(label),
            *(
                f'<span class="right">{count}</span>' if row == column else str(count)
                for column, count in enumerate(counts)
            ),
        ]
        for row, (label, counts) in enumerate(zip(evaluation.labels, evaluation.confusion.tolist(), strict=True))
    ]
    head = ["Recorded as ↓ heard as →", *map(escape, evaluation.labels)]
    return _section(
        "What was heard as what",
        _scroll("The figure of the confusion matrix", f"<figure>{figures.draw_confusion(evaluation)}</figure>")
        + _details(_table("The confusion matrix", head, rows, "matrix")),
    )


def _thresholds(evaluation: Evaluation, recommended: Recommendation, wanted: float, figures: ModuleType) -> str:
    figure = f"<figure>{figures.draw_thresholds(evaluation, recommended, wanted)}</figure>"
    words = (
        f"<p>{recommended.threshold:g} is recommended. {escape(recommended.how)}</p>"
        '<p class="muted">A recording counts as recognized where its own label is the best and its score reaches the '
        "threshold. The shades are 95 % intervals.</p>"
    )
    table = ""
    if background := evaluation.background:
        rates = [(threshold, background.rate(threshold)) for threshold in background.thresholds]
        rows = [
            [
                f"{threshold:g}" + (" ← recommended" if threshold == recommended.threshold else ""),
                str(rate.events),
                f"{_decimal(rate.value, 1)} <small>{rate.interval[0]:.1f} – {rate.interval[1]:.1f}</small>",
                _share_cell(evaluation.detected(threshold)),
            ]
            for threshold, rate in rates
        ]
        head = ["Threshold", "False alarms", "An hour", "Recognized"]
        table = _details(_table("Thresholds", head, rows))
    return _section(
        "Which threshold",
        f'<div class="pair">{figure}<div>{words}{table}</div></div>',
    )


def _curves(evaluation: Evaluation, figures: ModuleType) -> str:
    if math.isnan(evaluation.det.equal_error):
        return _section("Trade-offs", "<p>Curves need recordings of at least two labels.</p>")
    return _section(
        "Trade-offs",
        f'<div class="pair"><figure>{figures.draw_roc(evaluation)}<figcaption>ROC: each point is a threshold on one '
        "label’s score. The nearer to the top left, the better. Shown are all labels together and those with the "
        f"smallest areas.</figcaption></figure><figure>{figures.draw_det(evaluation)}<figcaption>DET: the same for "
        "all labels together, drawn so that small errors show. The nearer to the bottom left, the better."
        "</figcaption></figure></div>",
    )


def _mistakes(evaluation: Evaluation) -> str:
    mistakes = evaluation.mistakes
    if not mistakes:
        none = "None: every recording was recognized." if evaluation.clips else "There were no recordings to mistake."
        return _section("Mistakes", f"<p>{none}</p>")
    items = [
        _heard(
            f"{_quote(mistake.clip.label)} heard as {_quote(mistake.heard)}, score {mistake.score:.2f}",
            f"{mistake.clip.path.parent.name}/{mistake.clip.path.name}",
            mistake.clip.path,
        )
        for mistake in mistakes[:MISTAKES]
    ]
    return _section("Mistakes", f"<p>{_extent(len(items), len(mistakes))}.</p>{_list(items, 'heard')}")


def _alarms(evaluation: Evaluation, recommended: Recommendation) -> str:
    background = evaluation.background
    if background is None:
        return ""
    alarms: tuple[Alarm, ...] = background.worst_at(recommended.threshold)[:ALARMS]
    if not alarms:
        return _section("False alarms", f"<p>None in the background at the threshold {recommended.threshold:g}.</p>")
    items = [
        _heard(
            f"Background heard as {_quote(alarm.label)}, score {alarm.score:.2f}",
            f"{alarm.recording.name}, {alarm.start:.1f} to {alarm.end:.1f} s",
            alarm.recording,
            (alarm.start, alarm.end),
        )
        for alarm in alarms
    ]
    count = background.rate(recommended.threshold).events
    shown = f"{_extent(len(alarms), count)}, in the background at the threshold {recommended.threshold:g}"
    return _section("False alarms", f"<p>{shown}.</p>{_list(items, 'heard')}")


def _card(card: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in card.items() if isinstance(value, (str, int, float))}
    if not plain:
        return ""
    rows = [[escape(name.replace("_", " ")), escape(str(value))] for name, value in plain.items()]
    return _section("The model", _table("The model", [], rows, "card"))


# Pieces of a page; what comes in is HTML already, unless it says otherwise


def _heard(what: str, name: str, path: Path, span: tuple[float, float] | None = None) -> str:
    """A recording, or a span of it in seconds: its picture, and a player if it has sound. `name` is plain text."""
    from earmark.evaluation.report_sounds import audio_uri, loudest_seconds, part_around, picture_uri, small

    text = f'<h3>{what}</h3><p class="muted">{escape(name)}</p>'
    try:
        part = loudest_seconds(path) if span is None else part_around(path, *span)
    except EarmarkError as error:  # deleted or damaged since
        return f'{text}<p class="muted">{escape(str(error))}</p>'
    if isinstance(part, Clip):
        part = small(part)
        sound = f'<audio controls preload="metadata" aria-label="{what}" src="{audio_uri(part)}"></audio>'
    else:
        sound, text = "", f'{text}<p class="muted">Only its spectrogram is left.</p>'
    picture = picture_uri(part)
    image = f'<img alt="Spectrogram of {part.seconds:.1f} s, 0 to 5 kHz" src="{picture}">' if picture else ""
    return f"{image}{sound}{text}"


def _extent(shown: int, count: int) -> str:
    if count == 1:
        return "The only one"
    return f"{'All' if shown == count else f'The {shown} surest of'} {count}, the surest first"


def _section(heading: str, content: str) -> str:
    name = heading.lower().replace(" ", "-")
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{heading}</h2>{content}</section>'


def _table(name: str, head: list[str], rows: list[list[str]], kind: str = "") -> str:
    """A table whose rows begin with their headings. Only its name is plain text."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    top = f"<thead><tr>{columns}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return _scroll(name, f'<table class="{kind}">{top}<tbody>{body}</tbody></table>')


def _details(table: str) -> str:
    return f"<details><summary>The same as a table</summary>{table}</details>"


def _scroll(name: str, content: str) -> str:
    """A container for what may be wider than a phone; it can be scrolled with the keyboard, too."""
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{escape(name)}">{content}</div>'


def _list(items: Iterable[str], kind: str = "") -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _quote(label: str) -> str:
    return f"“{escape(label)}”"


def _percent(share: Share) -> str:
    return f"{share.value:.1%}" if share.count else "–"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"95 % interval {low:.1%} to {high:.1%}"


def _share_cell(share: Share) -> str:
    low, high = share.interval
    if not share.count:
        return "–"
    return f"{share.value:.0%} <small>{share.hits} of {share.count}; {low:.0%} – {high:.0%}</small>"


def _decimal(value: float, places: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{places}f}"


def _read_text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _import_figures() -> ModuleType:
    # Where the home can't be written, matplotlib warns that it keeps its list of fonts for this once alone.
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        from earmark.evaluation import figures
    except ModuleNotFoundError as error:
        raise needs_package("The report", error, "evaluate") from error
    finally:
        log.setLevel(level)
    return figures
