"""The report's figures, as SVG. They take their colours from the page, so that they suit light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from itertools import cycle
from statistics import NormalDist
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import matplotlib
import matplotlib.patches
import numpy as np
from matplotlib.figure import Figure

from earmark.evaluation.evaluation import THRESHOLDS, Curve, Evaluation, Recommendation, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Placeholders for the page's own colours.
INK, MUTED, LINE, ACCENT, SECOND, SURFACE = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", SECOND: "second", SURFACE: "surface"}

WIDE = (5.4, 3.7)  # inches of 72 points; a point becomes one pixel or less
LABEL_COLUMNS = 20
COLUMN_POINTS = 6.5  # no character of the font is much wider, except East Asian ones, which take two columns
CELL_POINTS = 26
CURVES = 4  # of single labels; the worst ones are drawn
DASHES = ((0, (3, 2)), ":", "-.", (0, (8, 3)))
DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4)
DET_ENDS = (0.0005, 0.6)

_STYLE: Any = {
    "svg.fonttype": "none",  # keep text as text: it can be read aloud and selected, and takes the page's font
    "text.parse_math": False,  # a label may hold a $
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.grid": True,
    "grid.color": LINE,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}


def draw_confusion(evaluation: Evaluation) -> str:
    """How often each label was recognized as each. A cell's colour shows its share of the row's recordings."""
    confusion, labels = evaluation.confusion, [shorten(label) for label in evaluation.labels]
    # In points: space for the longest label and for the names of the axes.
    margin = 40 + max(map(_columns, labels)) * COLUMN_POINTS
    side = margin + CELL_POINTS * len(labels) + 8
    with _figure("confusion", (side / 72, side / 72)) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((margin / side, margin / side, 1 - (margin + 8) / side, 1 - (margin + 8) / side))
        axes.grid(False)
        for row, column in np.ndindex(confusion.shape):
            count, total = int(confusion[row, column]), int(confusion[row].sum())
            if count:
                colour = ACCENT if row == column else SECOND
                strength = 0.1 + 0.35 * count / total
                axes.add_patch(
                    matplotlib.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, color=colour, alpha=strength, lw=0)
                )
                axes.text(column, row, str(count), ha="center", va="center")
        axes.set(xlim=(-0.5, len(labels) - 0.5), ylim=(len(labels) - 0.5, -0.5))
        axes.xaxis.set_label_coords(0.5, -(margin - 12) / (side - margin - 8))
        axes.yaxis.set_label_coords(-(margin - 12) / (side - margin - 8), 0.5)
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="heard as", ylabel="recorded as")
        right = evaluation.accuracy
        return _svg(figure, "confusion", f"Confusion matrix: {right.hits} of {right.count} recordings on the diagonal.")


def draw_roc(evaluation: Evaluation) -> str:
    """The ROC curves of all targets together, and of the labels with the smallest areas."""
    areas = {label: evaluation.auc(label) for label in evaluation.targets}
    worst = sorted((area, label) for label, area in areas.items() if area < 1)[:CURVES]
    with _figure("roc", WIDE) as figure:
        axes = figure.subplots()
        together = evaluation.roc()
        _steps(axes, together, color=ACCENT, label=f"{together.area:.3f}  all together", linewidth=2.4)
        for (area, label), dash in zip(worst, cycle(DASHES), strict=False):
            _steps(axes, evaluation.roc(label), color=SECOND, linestyle=dash, label=f"{area:.3f}  {shorten(label)}")
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, label="0.500  by chance")
        axes.set(xlabel="others accepted", ylabel="own recognized", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.legend(title="area under the curve", loc="lower right", alignment="left")
        return _svg(figure, "roc", f"ROC curve of all labels together, with an area of {together.area:.3f}.")


def draw_det(evaluation: Evaluation) -> str:
    """False rejection against false acceptance on normal deviate axes (Martin, 1997)."""
    curve = evaluation.det
    with _figure("det", WIDE) as figure:
        axes = figure.subplots()
        axes.plot(_deviate(curve.false_acceptance), _deviate(curve.false_rejection), color=ACCENT)
        axes.plot(_deviate(DET_ENDS), _deviate(DET_ENDS), color=LINE, linewidth=1)
        error = float(_deviate([curve.equal_error])[0])
        axes.plot(error, error, "o", color=SECOND)
        axes.annotate(f"equal error {curve.equal_error:.1%}", (error, error), xytext=(8, 8), textcoords="offset points")
        ends = _deviate(DET_ENDS)
        axes.set(xlabel="others accepted", ylabel="own missed", xlim=ends, ylim=ends)
        ticks, names = _deviate(DET_TICKS), [f"{tick:.1%}" if tick < 0.01 else f"{tick:.0%}" for tick in DET_TICKS]
        axes.set_xticks(ticks, names)
        axes.set_yticks(ticks, names)
        return _svg(figure, "det", f"DET curve of all labels together, with an equal error of {curve.equal_error:.1%}.")


def draw_thresholds(evaluation: Evaluation, recommended: Recommendation, wanted: float) -> str:
    """The effects of a threshold: recordings recognized, and false alarms an hour if they were measured."""
    background = evaluation.background if evaluation.background and evaluation.background.hours else None
    with _figure("thresholds", (5.4, 4.6 if background else 2.7)) as figure:
        panels = figure.subplots(2 if background else 1, 1, sharex=True, squeeze=False)[:, 0]
        shares = [evaluation.detected(threshold) for threshold in THRESHOLDS]
        panels[-1].plot(THRESHOLDS, [share.value for share in shares], color=ACCENT, marker="o", markersize=3)
        panels[-1].fill_between(THRESHOLDS, *zip(*(s.interval for s in shares), strict=True), color=ACCENT, alpha=0.15)
        panels[-1].set(xlabel="probability threshold", ylabel="recordings\nrecognized", ylim=(-0.03, 1.03))
        panels[-1].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        if background:
            tried = background.thresholds
            rates = [background.rate(threshold) for threshold in tried]
            panels[0].plot(tried, [rate.value for rate in rates], color=SECOND, marker="o", markersize=3)
            panels[0].fill_between(tried, *zip(*(r.interval for r in rates), strict=True), color=SECOND, alpha=0.15)
            panels[0].axhline(wanted, color=MUTED, linestyle=":", linewidth=1.2)
            panels[0].text(tried[0], wanted, f"wanted: {wanted:g}", va="bottom", color=MUTED, fontsize=9)
            panels[0].set(ylabel="false alarms\nan hour")
            panels[0].set_ylim(bottom=0)
        for panel in panels:
            panel.axvline(recommended.threshold, color=INK, linestyle="--", linewidth=1.2)
        at_left = recommended.threshold < 0.75
        panels[0].annotate(
            f"recommended: {recommended.threshold:g}",
            (recommended.threshold, 1 if background else 0),
            xycoords=("data", "axes fraction"),
            xytext=(5 if at_left else -5, -10 if background else 8),
            textcoords="offset points",
            ha="left" if at_left else "right",
        )
        what = "False alarms an hour and recordings recognized" if background else "Recordings recognized"
        return _svg(figure, "thresholds", f"{what} at each threshold; {recommended.threshold:g} is recommended.")


def shorten(label: str) -> str:
    """The label, cut to the space on an axis."""
    if _columns(label) <= LABEL_COLUMNS:
        return label
    while _columns(label) >= LABEL_COLUMNS:
        label = label[:-1]
    return f"{label}…"


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _steps(axes: Axes, curve: Curve, **style: Any) -> None:
    axes.plot(curve.false_acceptance, curve.hits, clip_on=False, **style)


def _deviate(shares: Any) -> Values:
    """The positions of shares on an axis of normal deviates; values beyond the axis go to its ends."""
    inverse = NormalDist().inv_cdf
    return np.array([inverse(float(share)) for share in np.clip(shares, *DET_ENDS)])


@contextmanager
def _figure(name: str, size: tuple[float, float]) -> Iterator[Figure]:
    # With the salt, a figure's ids are the same each time, and differ from those of other figures.
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's fonts have the glyph
        yield Figure(figsize=size, layout="constrained")


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as SVG for a page, in which it takes the page's colours and font."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    drawn = buffer.getvalue()
    content = drawn[drawn.index(">", drawn.index("<svg")) + 1 :]
    content = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", content, flags=re.DOTALL)
    used = set(re.findall(r"#([\w.]+)", content))
    content = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", content)
    content = re.sub(r"font-family: [^;\"]*;?|font: [\d.]+px [^;\"]*", _without_family, content)
    for colour, variable in _VARIABLES.items():
        content = content.replace(colour, f"var(--{variable})")
    content = re.sub(r">\s+<", "><", content).strip()
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    return (
        f'<svg class="{name}" role="img" aria-label="{escape(description)}" viewBox="0 0 {width} {height}" '
        f'style="--width: {width}px">{content}'
    )


def _without_family(style: re.Match[str]) -> str:
    size = re.search(r"[\d.]+px", style[0])
    return f"font-size: {size[0]}" if size else ""
