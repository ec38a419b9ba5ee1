"""Reports compared with the counters of the same service."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from policies.decisions.cancellations import FAULTS, UNKNOWN
from policies.domain.model import EXCEPTION_KINDS, WITHHELD_KINDS
from policies.stock.oversell import CAUSES
from service.metrics.labels import INTERVENTION_REASONS
from service.rpc.proto_values import timestamp
from tests.retailer import Retailer
from truestock.v1 import report_service_pb2 as report_pb

OVERSELL, CANCELLATION = report_pb.REPORT_RATE_OVERSELL, report_pb.REPORT_RATE_CANCELLATION
EXCEPTION, MISMATCH = report_pb.REPORT_RATE_EXCEPTION, report_pb.REPORT_RATE_INVENTORY_MISMATCH
LATE, MANUAL = report_pb.REPORT_RATE_LATE_SHIPMENT, report_pb.REPORT_RATE_MANUAL_INTERVENTION
CHANNEL, LOCATION = report_pb.REPORT_DIMENSION_CHANNEL, report_pb.REPORT_DIMENSION_LOCATION

_COUNTERS: tuple[tuple[Any, str, str, str, Iterable[str]], ...] = (
    (OVERSELL, "oversold_units", "oversold_orders", "cause", CAUSES),
    (CANCELLATION, "cancelled_units", "cancelled_orders", "fault", (*FAULTS, UNKNOWN)),
    (EXCEPTION, "", "exceptions", "kind", EXCEPTION_KINDS),
    (MANUAL, "", "manual_interventions", "reason", INTERVENTION_REASONS),
)
"""Rates with their counters of units and of orders, and the label by which these have parts."""


async def report(shop: Retailer, **fields: Any) -> report_pb.GetReportResponse:
    """A report; by default of the last hour, and of what is a minute ahead by another clock."""
    now = datetime.now(UTC)
    window = {"since_time": timestamp(now - timedelta(hours=1)), "until_time": timestamp(now + timedelta(minutes=1))}
    request = report_pb.GetReportRequest(**{**window, **fields})
    response: report_pb.GetReportResponse = await shop.reports.GetReport(request)
    return response


def figures(message: Any, rate: Any) -> report_pb.ReportFigures:
    """The figures of one rate in a report, a group or a period."""
    found: report_pb.ReportFigures = next(x for x in message.figures if x.rate == rate)
    return found


async def check_report(shop: Retailer) -> None:
    """A report of everything says what the counters of the only service say, also added up by channel and by day."""
    answer = await report(shop, dimensions=[CHANNEL, LOCATION], step=report_pb.REPORT_STEP_DAY)
    channels, locations = (breakdown.groups for breakdown in answer.breakdowns)
    for group in channels:
        sold = figures(group, OVERSELL)
        assert sold.total_count == shop.metric("sold_units_total", channel=group.key)
        assert sold.total_order_count == shop.metric("sold_orders_total", channel=group.key)
        for rate, units, orders, label, values in _COUNTERS:
            parts = {part.name: part for part in figures(group, rate).parts}
            for value in values:
                part, labels = parts.get(value, report_pb.ReportPart()), {"channel": group.key, label: value}
                assert part.order_count == shop.metric(f"{orders}_total", **labels), (orders, labels, parts)
                assert not units or part.count == shop.metric(f"{units}_total", **labels), (units, labels, parts)
    withheld = {part.name: part.count for part in answer.withheld}
    assert withheld == {x: count for x in WITHHELD_KINDS if (count := shop.metric("withheld_units_total", cause=x))}
    for group in locations:
        mismatch = figures(group, MISMATCH)
        assert mismatch.total_count == shop.metric("inventory_comparisons_total", location=group.key)
        assert mismatch.count == shop.metric("inventory_mismatches_total", location=group.key)
        late, due = figures(group, LATE), {"location": group.key, "deadline": "ship_by"}
        assert late.total_count == shop.metric("shipments_due_total", **due)
        assert late.count == shop.metric("shipments_due_total", **due, result="late")
    for rate, *_ in _COUNTERS:
        whole = figures(answer, rate)
        for messages in (channels, answer.periods):
            assert sum(figures(x, rate).count for x in messages) == whole.count, rate
            assert sum(figures(x, rate).total_count for x in messages) == whole.total_count, rate
