"""Horizontal bar charts as SVG: ratios beside their bars, and CPU time a call in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from bench.bench_report import Ratio

WIDTH, LABELS_WIDTH, MARGIN, ROW, BAR = 960, 330, 12, 24, 14
"""Sizes in pixels."""
SCALE_END = 2.0
"""Where the scale of ratios ends: at twice the bar."""
MET, MISSED, LINE, TEXT = "#2e7d32", "#c62828", "#424242", "#212121"
PART_COLORS = ("#1565c0", "#ef6c00", "#9e9e9e")


def ratio_chart(ratios: Sequence[Ratio], earlier: Mapping[str, float]) -> str:
    """How far each ratio with a bar is from it: 1 is the bar itself, to the right is better.

    A thin line spans the rounds, and a white mark stands at the `earlier` value, where there is one.
    """
    chart = _Chart(len(ratios), SCALE_END)
    for row, ratio in enumerate(ratios):
        value = attainment(ratio, ratio.value)
        chart.label(row, ratio.name)
        chart.bar(row, 0, value, MET if ratio.met else MISSED)
        ends = sorted(attainment(ratio, end) for end in (min(ratio.rounds), max(ratio.rounds)))
        chart.span(row, *ends)
        if ratio.name in earlier:
            chart.mark(row, attainment(ratio, earlier[ratio.name]))
        chart.note(row, f"{ratio.value:,.3g} ({ratio.target})", max(value, ends[1], 1.0))
    chart.rule(1.0, "the bar")
    return chart.svg()


def attainment(ratio: Ratio, value: float) -> float:
    """The value in units of the ratio's bar, so that 1 or more meets it."""
    if ratio.at_least is not None:
        return value / ratio.at_least
    assert ratio.at_most is not None, f"{ratio.name} has no bar"
    return ratio.at_most / value if value else SCALE_END


def stacked_chart(rows: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Figures in parts, such as CPU time of server, PostgreSQL and generator."""
    parts = list(dict.fromkeys(part for figures in rows.values() for part in figures))
    chart = _Chart(len(rows) + 1, max(sum(figures.values()) for figures in rows.values()) * 1.15)
    for row, (name, figures) in enumerate(rows.items()):
        chart.label(row, name)
        start = 0.0
        for part, color in zip(parts, PART_COLORS, strict=False):
            chart.bar(row, start, start + figures.get(part, 0.0), color)
            start += figures.get(part, 0.0)
        chart.note(row, f"{start:,.0f} {unit}", start)
    chart.legend(len(rows), parts)
    return chart.svg()


class _Chart:
    """A chart with one row for each bar, and a scale from 0 to `end`; what exceeds it is cut off."""

    def __init__(self, row_count: int, end: float) -> None:
        self._end = end
        self._height = row_count * ROW + 2 * MARGIN + ROW
        size = {"width": str(WIDTH), "height": str(self._height), "viewBox": f"0 0 {WIDTH} {self._height}"}
        font = {"font-family": "sans-serif", "font-size": "12", "fill": TEXT}
        self._root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, **font})
        self._add("rect", width=WIDTH, height=self._height, fill="white")

    def label(self, row: int, text: str) -> None:
        self._text(LABELS_WIDTH - 8, row, text, anchor="end")

    def note(self, row: int, text: str, value: float) -> None:
        self._text(self._x(value) + 6, row, text)

    def bar(self, row: int, start: float, stop: float, color: str) -> None:
        x = self._x(start)
        self._add("rect", x=x, y=self._y(row) - BAR / 2, width=self._x(stop) - x, height=BAR, fill=color)

    def span(self, row: int, start: float, stop: float) -> None:
        y = self._y(row)
        self._add("line", x1=self._x(start), x2=self._x(stop), y1=y, y2=y, stroke=LINE)

    def mark(self, row: int, value: float) -> None:
        self._add("circle", cx=self._x(value), cy=self._y(row), r=4, fill="white", stroke=LINE)

    def rule(self, value: float, text: str) -> None:
        x = self._x(value)
        self._add("line", x1=x, x2=x, y1=MARGIN, y2=self._height - ROW, stroke=LINE, **{"stroke-dasharray": "4 3"})
        self._add("text", text, x=x, y=self._height - MARGIN, **{"text-anchor": "middle"})

    def legend(self, row: int, parts: Sequence[str]) -> None:
        for number, (part, color) in enumerate(zip(parts, PART_COLORS, strict=False)):
            x = LABELS_WIDTH + number * 150
            self._add("rect", x=x, y=self._y(row) - BAR / 2, width=BAR, height=BAR, fill=color)
            self._text(x + BAR + 6, row, part)

    def svg(self) -> str:
        """The chart as text, with one element on each line."""
        ElementTree.indent(self._root, " ")
        return ElementTree.tostring(self._root, encoding="unicode") + "\n"

    def _text(self, x: float, row: int, text: str, anchor: str = "start") -> None:
        self._add("text", text, x=x, y=self._y(row) + 4, **{"text-anchor": anchor})

    def _add(self, kind: str, text: str = "", /, **attributes: str | float) -> None:
        values = {name: value if isinstance(value, str) else f"{value:.1f}" for name, value in attributes.items()}
        ElementTree.SubElement(self._root, kind, values).text = text or None

    def _x(self, value: float) -> float:
        width = WIDTH - LABELS_WIDTH - 130
        return LABELS_WIDTH + width * min(value, self._end) / self._end

    def _y(self, row: int) -> float:
        return MARGIN + row * ROW + ROW / 2
