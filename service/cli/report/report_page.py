"""The page of a report: one file of HTML without script or network. Needs jinja2, of the extra `report`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from policies.reports.comparison import Change, Verdict, compared
from policies.reports.rates import Figures
from service.cli.console import count
from service.cli.report import rate_plots
from service.cli.report.rate_words import (
    RATE_MEANINGS,
    RATE_NAMES,
    all_remedies,
    cause,
    change_words,
    dimension_word,
    figures_of,
    headroom_words,
    main_parts,
    of_total,
    rate_text,
    share_text,
    window_of,
)
from service.cli.report.value_words import KIND_NAMES, has_prices, worth_by_kind
from truestock.v1 import report_service_pb2 as report_pb

OVERSELLS = 25
"""Oversells that the page lists, the most units first."""
WORST = 5
"""Rows of each table of the worst."""
_HEADINGS = {
    "channel": ("Channels", "Which channel sells more than there is, or makes work"),
    "location": ("Locations", "Which location ships late, or does not have what it should"),
    "source": ("Stock feeds", "Which system's counts disagree with the stock that we sell from"),
    "rule": ("Rules", "Which rules were at work where things went wrong; shares are of all orders"),
    "revision": ("Versions of the rules", "Which version of the rules was in force"),
}
_SIGNS = {Verdict.BETTER: "▼", Verdict.WORSE: "▲", Verdict.SIMILAR: "●", Verdict.UNKNOWN: ""}


@dataclass(frozen=True, slots=True)
class RateCard:
    """One rate as the page shows it; `plot` is an `svg` element with its text alternative, if there are periods."""

    name: str
    meaning: str
    share: str
    of_total: str
    verdict: str
    sign: str
    change: str
    causes: str
    plot: Markup
    plot_text: str


@dataclass(frozen=True, slots=True)
class WorstTable:
    """The worst channels, locations, feeds or rules: headings and rows of cells."""

    title: str
    question: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    more_count: int


def step_for(since: datetime, until: datetime) -> report_pb.ReportStep.ValueType:
    """The step in which a window of this length reads well: at most some 60 bars."""
    if until - since <= timedelta(days=2):
        return report_pb.REPORT_STEP_HOUR
    return report_pb.REPORT_STEP_DAY if until - since <= timedelta(days=62) else report_pb.REPORT_STEP_WEEK


def page(report: report_pb.GetReportResponse, made: datetime) -> str:
    """The report as a page of HTML, made at this time."""
    environment = Environment(
        loader=PackageLoader("service.cli.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rates, before = figures_of(report.figures), figures_of(report.previous_figures)
    changes = {name: compared(figures, before.get(name)) for name, figures in rates.items()}
    return environment.get_template("report.html.jinja").render(
        window=window_of(report),
        made=f"{made.astimezone(ZoneInfo(report.time_zone)):%Y-%m-%d %H:%M}",
        summary=_summary(changes),
        cards=[_card(report, figures, changes[name]) for name, figures in rates.items()],
        tables=list(_tables(report)),
        values=_value_table(report),
        headrooms=[(x.channel_id, *headroom_words(x)) for x in report.headrooms],
        currency=report.currency_code,
        oversells=[_oversell(x) for x in report.oversells[:OVERSELLS]],
        more_oversells=f"{len(report.oversells) - OVERSELLS}{' or more' if report.oversells_are_truncated else ''}"
        if len(report.oversells) > OVERSELLS
        else "",
        refused=[(cause(part.name), f"{part.count:,}") for part in report.unmet_demand],
        refused_units=count(sum(part.count for part in report.unmet_demand), "more unit"),
        open_exceptions=count(report.open_exception_count, "exception is", "exceptions are"),
        overdue=report.overdue_exception_count,
        sold=_sold(rates),
        periods=_period_table(report),
    )


def _summary(changes: dict[str, Change]) -> str:
    """What got better and worse in one or two sentences."""

    def named(verdict: Verdict) -> str:
        names = [RATE_NAMES[name].lower() for name, change in changes.items() if change.verdict is verdict]
        return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + names[-1] if names else ""

    worse, better = named(Verdict.WORSE), named(Verdict.BETTER)
    if all(change.verdict is Verdict.UNKNOWN for change in changes.values()):
        return "There is nothing to compare with: no sales were recorded in the period before."
    sentences = [f"Worse than in the period before: {worse}." if worse else "", f"Better: {better}." if better else ""]
    return " ".join(filter(None, sentences)) or "Nothing changed clearly since the period before."


def _sold(rates: dict[str, Figures]) -> str:
    sold = rates.get("oversell")
    return f"{count(sold.total, 'unit')} in {count(sold.total_orders, 'order')} were sold." if sold is not None else ""


def _card(report: report_pb.GetReportResponse, figures: Figures, change: Change) -> RateCard:
    shares = [figures_of(period.figures)[figures.rate].share for period in report.periods]
    labels = _labels(report)
    is_plotted = len(shares) > 1 and any(shares)
    return RateCard(
        name=RATE_NAMES[figures.rate],
        meaning=RATE_MEANINGS[figures.rate],
        share=rate_text(figures),
        of_total=of_total(figures),
        verdict=change.verdict.replace(" ", "-"),
        sign=_SIGNS[change.verdict],
        change=change_words(figures.rate, change),
        causes=main_parts(figures),
        # The text of matplotlib is made of our own labels and numbers.
        plot=Markup(rate_plots.bars(labels, shares, change.share_before) if is_plotted else ""),
        plot_text=_plot_text(figures.rate, labels, shares, change),
    )


def _plot_text(rate: str, labels: Sequence[str], shares: Sequence[float | None], change: Change) -> str:
    """What a plot shows, for those who cannot see it."""
    known = [(share, label) for share, label in zip(shares, labels, strict=True) if share is not None]
    if not known:
        return ""
    highest, when = max(known)
    at = "at" if ":" in when else "on"
    if len(known) == 1:
        return f"{share_text(rate, highest)} {at} {when}; nothing was counted otherwise."
    before = share_text(rate, change.share_before)
    line = f" The dashed line is the period before: {before}." if change.share_before else ""
    return f"Highest {share_text(rate, highest)}, {at} {when}; lowest {share_text(rate, min(known)[0])}.{line}"


def _labels(report: report_pb.GetReportResponse) -> list[str]:
    zone = ZoneInfo(report.time_zone)
    starts = [period.start_time.ToDatetime(UTC).astimezone(zone) for period in report.periods]
    is_hourly = len(starts) > 1 and starts[1] - starts[0] < timedelta(hours=2)
    return [f"{start:%H:%M}" if is_hourly else f"{start:%-d %b}" for start in starts]


def _tables(report: report_pb.GetReportResponse) -> Iterator[WorstTable]:
    for breakdown in report.breakdowns:
        if not breakdown.groups:
            continue
        title, question = _HEADINGS[dimension_word(breakdown.dimension)]
        groups = [(group.key, figures_of(group.figures)) for group in breakdown.groups]
        rates = [
            name for name in groups[0][1] if any(figures[name].total or figures[name].count for _, figures in groups)
        ]
        groups = [group for group in groups if any(group[1][name].count for name in rates)] or groups
        groups.sort(key=lambda group: (-max(figures.share or 0 for figures in group[1].values()), group[0]))
        yield WorstTable(
            title=title,
            question=question,
            columns=[RATE_NAMES[name] for name in rates],
            rows=[(key, *(_cell(figures[name]) for name in rates)) for key, figures in groups[:WORST]],
            more_count=max(0, len(groups) - WORST),
        )


def _value_table(report: report_pb.GetReportResponse) -> WorstTable | None:
    """What units were worth, in all and by channel; None if no order states a price."""
    if not has_prices(report.values):
        return None
    kinds = [kind for kind in KIND_NAMES if any(value.kind == kind for value in report.values)]
    channels = [
        (group.key, worth_by_kind(group.values))
        for breakdown in report.breakdowns
        if breakdown.dimension == report_pb.REPORT_DIMENSION_CHANNEL
        for group in breakdown.groups
        if group.values
    ]
    rows = [("all", worth_by_kind(report.values)), *(channels if len(channels) > 1 else ())]
    return WorstTable(
        "What it was worth",
        "",
        [KIND_NAMES[kind] for kind in kinds],
        [(name, *(texts.get(kind, "") for kind in kinds)) for name, texts in rows],
        0,
    )


def _oversell(oversell: report_pb.Oversell) -> tuple[str, ...]:
    """The cells of one oversell: what, where, units, why, and what would have avoided it."""
    order = f"{oversell.channel_id}/{oversell.order_id}"
    units = f"{oversell.short_count:,}"
    return oversell.sku, order, units, cause(oversell.cause), all_remedies(oversell)


def _cell(figures: Figures) -> str:
    if figures.share is None:
        return f"{figures.count:,}" if figures.count else ""
    return f"{rate_text(figures)} ({figures.count:,} of {figures.total:,})" if figures.count else "none"


def _period_table(report: report_pb.GetReportResponse) -> WorstTable | None:
    if not report.periods:
        return None
    names = list(figures_of(report.figures))
    rows = [
        (label, *(_cell(figures[name]) for name in names))
        for label, period in zip(_labels(report), report.periods, strict=True)
        for figures in (figures_of(period.figures),)
        if any(x.total or x.count for x in figures.values())
    ]
    return WorstTable("All figures", "", [RATE_NAMES[name] for name in names], rows, 0)
