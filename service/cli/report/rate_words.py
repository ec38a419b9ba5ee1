"""Rates, causes and periods of a report in the words of people who run shops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from policies.reports import rates
from policies.reports.comparison import Change, Verdict
from policies.reports.rates import Figures, Part
from service.cli.console import count, enum_word
from truestock.v1 import report_service_pb2 as report_pb

RATE_NAMES: Mapping[str, str] = {
    "oversell": "Oversold units",
    "cancellation": "Cancelled units",
    "exception": "Exceptions",
    "inventory_mismatch": "Counts that differed",
    "late_shipment": "Late shipments",
    "manual_intervention": "Orders that needed a person",
}
RATE_TOTALS: Mapping[str, tuple[str, str]] = {
    "oversell": ("unit sold", "units sold"),
    "cancellation": ("unit sold", "units sold"),
    "exception": ("order sold", "orders sold"),
    "inventory_mismatch": ("count compared", "counts compared"),
    "late_shipment": ("shipment due", "shipments due"),
    "manual_intervention": ("order sold", "orders sold"),
}
"""What a rate is a share of, one and many."""
RATE_MEANINGS: Mapping[str, str] = {
    "oversell": "Units that a channel sold although no location had them.",
    "cancellation": "Units that were cancelled after they were sold, whoever wanted it.",
    "exception": "Problems that were raised for somebody to solve, for each order sold.",
    "inventory_mismatch": "Counts by a second system that did not agree with the stock that we sell from.",
    "late_shipment": "Shipments that had not left, or were not ready at the counter, when they had to be.",
    "manual_intervention": "Orders that the rules could not finish alone.",
}
CAUSE_WORDS: Mapping[str, str] = {
    "unmapped": "product not in the catalog",
    "rejected": "not found at the location",
    "count_correction": "a count found fewer",
    "race": "sold elsewhere at the same time",
    "stale_feed": "old stock figures",
    "not_told": "channel was told no figure",
    "over_published": "told more than there was",
    "not_applied": "channel sold more than it was told",
    "held_by_buffer": "kept by a buffer",
    "blocked_by_rule": "blocked by a rule",
    "late_shipment": "late shipment",
    "cancel_requested": "shopper asked to cancel",
}
_BY_NUMBER = {report_pb.ReportRate.Value(f"REPORT_RATE_{rate.name.upper()}"): rate.name for rate in rates.RATES}


def figures_of(messages: Iterable[report_pb.ReportFigures]) -> dict[str, Figures]:
    """The rates of a message by name."""
    return {
        name: Figures(
            name,
            x.count,
            x.total_count,
            x.order_count,
            x.total_order_count,
            tuple(Part(part.name, part.count, part.order_count) for part in x.parts),
        )
        for x in messages
        if (name := _BY_NUMBER.get(x.rate)) is not None
    }


def remedy_words(remedy: report_pb.OversellRemedy) -> str:
    """What would have avoided an oversell, in a sentence."""
    kinds = report_pb.OversellRemedy
    if remedy.kind == kinds.KIND_BUFFER:
        whose = f"by the rule {remedy.rule}" if remedy.rule else "on this channel"
        refused = f"{remedy.added_refusal_count:,} beside the {remedy.refused_count:,} refused"
        return f"a buffer of {count(remedy.unit_count, 'unit')} more {whose} (would have refused at most {refused})"
    if remedy.kind == kinds.KIND_FRESHER_FEED:
        return f"figures of {remedy.source} at most {count(remedy.max_age_minutes, 'minute')} old"
    if remedy.kind == kinds.KIND_COUNT:
        since = f"since {remedy.since_time.ToDatetime():%Y-%m-%d}" if remedy.HasField("since_time") else "at all"
        return f"a count at {remedy.location_id} {since}"
    if remedy.kind == kinds.KIND_APPLY_FIGURES:
        return f"the channel selling no more than it was told: it sold {count(remedy.unit_count, 'unit')} beyond that"
    return "telling the channel a figure of this product"


def all_remedies(oversell: report_pb.Oversell) -> str:
    """Everything that would have avoided an oversell by itself."""
    return "; or ".join(map(remedy_words, oversell.remedies)) or "nothing that is known"


def dimension_word(dimension: Any) -> str:
    """A dimension in a word: `channel`."""
    return enum_word(report_pb.ReportDimension, dimension, "REPORT_DIMENSION_").replace(" ", "_")


def percent(share: float | None) -> str:
    """A share such as `1.2%`; `-` if there is none."""
    if share is None:
        return "-"
    digits = 1 if share == 0 or share >= 0.001 else 2
    return f"{share:.{digits}%}"


def share_text(rate: str, share: float | None) -> str:
    """A rate in words: `1.2%`, or for exceptions, of which an order can have several, `165 per 100`."""
    if rate == "exception" and share is not None:
        return f"{100 * share:.{0 if share >= 0.1 else 1}f} per 100"
    return percent(share)


def rate_text(figures: Figures) -> str:
    """The rate of these figures in words."""
    return share_text(figures.rate, figures.share)


def cause(name: str) -> str:
    """A cause, fault or kind in words."""
    return CAUSE_WORDS.get(name, name.replace("_", " "))


def of_total(figures: Figures) -> str:
    """The figures of a rate: `7 of 50 units sold`, or `no units sold`."""
    if not figures.total and not figures.count:
        return f"no {RATE_TOTALS[figures.rate][1]}"
    return f"{figures.count:,} of {count(figures.total, *RATE_TOTALS[figures.rate])}"


def main_parts(figures: Figures, most: int = 3) -> str:
    """What a rate mostly consists of: `old stock figures 4, a count found fewer 2`."""
    return ", ".join(f"{cause(part.name)} {part.count:,}" for part in figures.parts[:most])


def change_words(rate: str, change: Change) -> str:
    """A comparison in words: `worse: was 1.2%`."""
    if change.verdict is Verdict.UNKNOWN:
        return "nothing to compare with"
    return f"{change.verdict}: was {share_text(rate, change.share_before)}"


def headroom_words(headroom: report_pb.ReportHeadroom) -> tuple[str, str]:
    """What is left before a marketplace's penalty, and of what: `42% left`, `2.5% of the orders of 7 days`."""
    left = f"{headroom.left_share:.0%} left"
    if not headroom.HasField("allowed_share"):
        return left, "as the channel states it"
    return left, f"{100 * headroom.allowed_share:g}% of the orders of {count(headroom.window_days, 'day')}"


def window_words(since: datetime, until: datetime, zone: str) -> str:
    """A window by the clock of a time zone: `2026-11-20 09:00 to 2026-11-27 09:00, America/Chicago`."""
    start, end = (moment.astimezone(ZoneInfo(zone)) for moment in (since, until))
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}, {zone}"


def window_of(report: report_pb.GetReportResponse) -> str:
    """The window of a report in words."""
    since, until = (moment.ToDatetime(UTC) for moment in (report.since_time, report.until_time))
    return window_words(since, until, report.time_zone)
