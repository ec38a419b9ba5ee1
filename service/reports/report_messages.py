"""Reports as messages of the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from policies.domain.cancellation_limits import CancellationLimit
from policies.reports import rates
from policies.reports.periods import periods
from policies.reports.rates import Breakdown, Count, Figures, Part, Rate, Sums, Value
from service import limits
from service.reports.report_requests import DIMENSIONS, ReportRequest
from service.rpc.proto_values import money, timestamp
from truestock.v1 import report_service_pb2 as report_pb

_RATES: Mapping[str, Any] = {
    rate.name: report_pb.ReportRate.Value(f"REPORT_RATE_{rate.name.upper()}") for rate in rates.RATES
}
_MOST_MONEY = Decimal(2**63 - 1)
_DIMENSION_NUMBERS: Mapping[str, Any] = {word: number for number, word in DIMENSIONS.items()}


def report(
    request: ReportRequest,
    counts: Mapping[str, Sequence[Count]],
    before: Sequence[Count],
    open_exceptions: tuple[int, int],
) -> report_pb.GetReportResponse:
    """The report of a window with these counts by dimension; `before` are those of the window before it."""
    shown = rates.rates_of(request.filtered)
    window = Breakdown(len(request.boundaries) - 1)
    for count in counts.get("", ()):
        window.add(count)
    return report_pb.GetReportResponse(
        since_time=timestamp(request.since),
        until_time=timestamp(request.until),
        time_zone=request.time_zone,
        figures=_figures(window.whole, shown),
        previous_figures=_figures(_summed(before), shown) if request.with_previous else [],
        periods=_periods(request, window, shown),
        breakdowns=[
            _breakdown(request, dimension, counts.get(dimension, ()), window, shown) for dimension in request.dimensions
        ],
        unmet_demand=map(_part, window.whole.parts(rates.UNMET)),
        withheld=map(_part, window.whole.parts(rates.WITHHELD)),
        open_exception_count=open_exceptions[0],
        overdue_exception_count=open_exceptions[1],
        values=map(_value, window.whole.values(request.currency)),
        currency_code=request.currency,
    )


def headroom(channel_id: str, left: float, limit: CancellationLimit | None) -> report_pb.ReportHeadroom:
    """The headroom of a channel; `limit` is that of its marketplace, None if the channel states what is left."""
    message = report_pb.ReportHeadroom(channel_id=channel_id, left_share=left)
    if limit is not None:
        message.allowed_share, message.window_days = limit.share, limit.window.days
    return message


def _summed(counts: Iterable[Count]) -> Sums:
    sums = Sums()
    for count in counts:
        sums.add(count)
    return sums


def _breakdown(
    request: ReportRequest, dimension: str, counts: Sequence[Count], window: Breakdown, shown: Sequence[Rate]
) -> report_pb.ReportBreakdown:
    groups = rates.broken_down(counts, dimension, len(request.boundaries) - 1)
    having = [rate for rate in shown if dimension in rate.dimensions]
    # A rule fires for some orders; what it is compared with are all of them.
    totals = window if dimension == rates.RULE else None
    return report_pb.ReportBreakdown(
        dimension=_DIMENSION_NUMBERS[dimension],
        groups=[
            report_pb.ReportGroup(
                key=key,
                figures=_figures(groups[key].whole, having, None if totals is None else totals.whole),
                periods=_periods(request, groups[key], having, totals),
                values=map(_value, groups[key].whole.values(request.currency)),
            )
            for key in rates.greatest(groups, limits.REPORT_GROUPS)
        ],
        is_truncated=len(groups) > limits.REPORT_GROUPS,
    )


def _periods(
    request: ReportRequest, sums: Breakdown, shown: Sequence[Rate], totals: Breakdown | None = None
) -> list[report_pb.ReportPeriod]:
    if not request.has_step:
        return []
    spans: list[tuple[datetime, datetime]] = periods(request.boundaries)
    return [
        report_pb.ReportPeriod(
            start_time=timestamp(start),
            end_time=timestamp(end),
            figures=_figures(sums.periods[number], shown, None if totals is None else totals.periods[number]),
        )
        for number, (start, end) in enumerate(spans)
    ]


def _figures(sums: Sums, shown: Sequence[Rate], totals: Sums | None = None) -> list[report_pb.ReportFigures]:
    return [_message(figures) for figures in sums.figures(shown, totals)]


def _message(figures: Figures) -> report_pb.ReportFigures:
    return report_pb.ReportFigures(
        rate=_RATES[figures.rate],
        count=figures.count,
        total_count=figures.total,
        order_count=figures.orders,
        total_order_count=figures.total_orders,
        parts=map(_part, figures.parts),
    )


def _value(value: Value) -> report_pb.ReportValue:
    return report_pb.ReportValue(
        kind=report_pb.ReportValue.Kind.Value(f"KIND_{value.measure.upper()}"),
        unit_count=value.units,
        value=money(min(value.value, _MOST_MONEY), value.currency) if value.currency else None,
    )


def _part(part: Part) -> report_pb.ReportPart:
    return report_pb.ReportPart(name=part.name, count=part.count, order_count=part.orders)
