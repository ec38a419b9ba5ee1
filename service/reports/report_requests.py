"""Requests for reports, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from policies.reports import periods, rates
from service import limits
from service.rpc.validation import Fields
from truestock.v1 import report_service_pb2 as report_pb

STEPS = {
    report_pb.REPORT_STEP_UNSPECIFIED: None,
    report_pb.REPORT_STEP_HOUR: periods.HOUR,
    report_pb.REPORT_STEP_DAY: periods.DAY,
    report_pb.REPORT_STEP_WEEK: periods.WEEK,
    report_pb.REPORT_STEP_MONTH: periods.MONTH,
}
DIMENSIONS = {
    report_pb.REPORT_DIMENSION_CHANNEL: rates.CHANNEL,
    report_pb.REPORT_DIMENSION_LOCATION: rates.LOCATION,
    report_pb.REPORT_DIMENSION_SOURCE: rates.SOURCE,
    report_pb.REPORT_DIMENSION_RULE: rates.RULE,
    report_pb.REPORT_DIMENSION_REVISION: rates.REVISION,
}
_STEP_WORDS = {number: word for number, word in STEPS.items() if word is not None}


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """A window in periods, of which `boundaries` has the starts and the last end, and what to report of it."""

    boundaries: Sequence[datetime]
    has_step: bool
    time_zone: str
    dimensions: Sequence[str]
    channel_ids: Sequence[str]
    location_ids: Sequence[str]
    with_previous: bool
    with_oversells: bool
    currency: str = ""
    """The merchant's; empty if the rules state none."""

    @property
    def since(self) -> datetime:
        """The start of the window."""
        return self.boundaries[0]

    @property
    def until(self) -> datetime:
        """The end of the window, which does not belong to it."""
        return self.boundaries[-1]

    @property
    def before(self) -> datetime:
        """The start of the window of the same length before this one."""
        return max(limits.EARLIEST, self.since - (self.until - self.since))

    @property
    def filtered(self) -> list[str]:
        """The dimensions of its filters."""
        filters = ((rates.CHANNEL, self.channel_ids), (rates.LOCATION, self.location_ids))
        return [dimension for dimension, ids in filters if ids]


def report_request(request: report_pb.GetReportRequest, default_zone: str, currency: str = "") -> ReportRequest:
    """Raises InvalidFields with every problem."""
    fields = Fields()
    since, until = window(fields, request)
    if request.step not in STEPS:
        fields.wrong("step", f"is {request.step}; it must be one of: {', '.join(_STEP_WORDS.values())}")
    dimensions = fields.words("dimensions", request.dimensions, DIMENSIONS)
    channel_ids = fields.texts("channel_ids", request.channel_ids, limits.CHANNEL_FILTER)
    location_ids = fields.texts("location_ids", request.location_ids, limits.REPORT_LOCATIONS)
    if request.include_oversells and location_ids:
        fields.wrong("include_oversells", "goes with channel_ids only: what was oversold was at no location")
    zone = fields.time_zone("time_zone", request.time_zone or default_zone)
    fields.finish()
    try:
        starts = periods.boundaries(since, until, STEPS[request.step], ZoneInfo(zone), limits.REPORT_PERIODS)
    except ValueError as error:
        fields.wrong("step", f"{error} in the window; choose a longer step or a shorter window")
    fields.finish()
    has_step = request.step != report_pb.REPORT_STEP_UNSPECIFIED
    return ReportRequest(
        starts,
        has_step,
        zone,
        dimensions,
        channel_ids,
        location_ids,
        request.include_previous,
        request.include_oversells,
        currency,
    )


def window(fields: Fields, request: report_pb.GetReportRequest) -> tuple[datetime, datetime]:
    """The window of a request with `since_time` and `until_time`, by default the last 7 days."""
    since, until = fields.time_range("since_time", "until_time", request)
    now = datetime.now(UTC)
    if until is not None and until > now + limits.CLOCK_SKEW:
        fields.wrong("until_time", f"is {until:%Y-%m-%d %H:%M} UTC, which is in the future; leave it out for now")
    until = until or now
    if since is not None and since >= until:
        if not request.HasField("until_time"):
            fields.wrong("since_time", f"is {since:%Y-%m-%d %H:%M} UTC, which is in the future")
        since = None
    since = since or max(limits.EARLIEST, until - limits.REPORT_DEFAULT)
    if until - since > limits.REPORT_LONGEST:
        days = limits.REPORT_LONGEST // timedelta(days=1)
        fields.wrong("since_time", f"is more than {days} days before the end of the window; ask for fewer days")
    return since, until
