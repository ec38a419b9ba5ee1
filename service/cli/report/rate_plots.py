"""Plots of the page of a report, as SVG: one bar for each period. Needs matplotlib, of the extra `report`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

BAR, BEFORE, TEXT, LINE = "#3d6b99", "#b35c00", "#333333", "#cccccc"
LABELS = 5
"""Labels under the bars at most: more would touch."""
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text, which can be read, searched and printed well
    "svg.hashsalt": "truestock",  # the same figures give the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
}


def bars(labels: Sequence[str], shares: Sequence[float | None], before: float | None) -> str:
    """The share of each period, with a dashed line at the share of the window before, as an `svg` element.

    A period in which there was nothing to be a share of has no bar.
    """
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.6, 1.9), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(len(shares)), [share or 0 for share in shares], color=BAR, width=0.75)
        top = max([0.0, *(share for share in (*shares, before) if share is not None)])
        axes.set_ylim(0, top * 1.15 or 0.01)
        if before is not None:
            axes.axhline(before, color=BEFORE, linestyle="--", linewidth=1.2)
        steps = range(0, len(labels), -(-len(labels) // LABELS))
        axes.set_xticks(list(steps), [labels[number] for number in steps])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, colors=TEXT)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    """The figure as an element of a page, without the prologue of a file."""
    FigureCanvasSVG(figure)
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
