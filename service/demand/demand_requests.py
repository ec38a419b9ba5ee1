"""Requests about unmet demand, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service import limits
from service.demand.demand_store import AVAILABILITY, HOLD_CUT, HOLD_REFUSED, MISSED_SALE, REPORTED
from service.history import history_requests
from service.history.history_requests import HistoryPage
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import demand_pb2 as demand_pb, order_pb2

KINDS = {
    demand_pb.DEMAND_KIND_HOLD_REFUSED: HOLD_REFUSED,
    demand_pb.DEMAND_KIND_HOLD_CUT: HOLD_CUT,
    demand_pb.DEMAND_KIND_AVAILABILITY: AVAILABILITY,
    demand_pb.DEMAND_KIND_MISSED_SALE: MISSED_SALE,
    demand_pb.DEMAND_KIND_REPORTED: REPORTED,
}
METHODS = {order_pb2.FULFILLMENT_METHOD_SHIP: "ship", order_pb2.FULFILLMENT_METHOD_PICKUP: "pickup"}
_REPORTED_KINDS = {
    demand_pb.DEMAND_KIND_UNSPECIFIED: REPORTED,
    demand_pb.DEMAND_KIND_REPORTED: REPORTED,
    demand_pb.DEMAND_KIND_MISSED_SALE: MISSED_SALE,
}


@dataclass(frozen=True, slots=True)
class DemandEvent:
    """Demand that a channel or a till could not meet, in items if it names one of the channel; it has no SKU then."""

    event_id: str
    kind: str
    channel_id: str | None
    location_id: str | None
    sku: str
    wanted: int
    met: int
    time: datetime
    method: str | None
    item_id: str = ""


@dataclass(frozen=True, slots=True)
class SumsPage:
    """Which sums by day to list: those of `since` to `until`, from the `offset`-th on."""

    since: datetime
    until: datetime
    offset: int
    count: int
    filters: Mapping[str, Sequence[str]]
    tokens: PageTokens


def events_request(
    request: demand_pb.RecordUnmetDemandRequest, retention: timedelta
) -> tuple[list[DemandEvent], UUID | None]:
    """The events and the request id. Raises InvalidFields with every problem."""
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    earliest = datetime.now(UTC) - retention
    events: list[DemandEvent] = []
    indexes: dict[tuple[str, str], int] = {}
    if fields.size("events", request.events, 1, limits.DEMAND_EVENTS):
        for index, event in enumerate(request.events):
            checked = _event(fields, f"events[{index}]", event, earliest)
            key = (event.channel_id, event.event_id)
            if key in indexes:
                fields.wrong(f"events[{index}].event_id", f"'{event.event_id}' is also events[{indexes[key]}]")
            indexes.setdefault(key, index)
            events += [checked] if checked else []
    fields.finish()
    return events, request_id


def demands_page(request: demand_pb.ListUnmetDemandRequest) -> HistoryPage:
    """Raises InvalidFields."""
    fields = Fields()
    return history_requests.history_page(fields, request, _filters(fields, request))


def sums_page(request: demand_pb.SumUnmetDemandRequest) -> SumsPage:
    """Raises InvalidFields."""
    fields = Fields()
    filters = _filters(fields, request)
    until = history_requests.optional_time(fields, request, "until_time") or datetime.now(UTC)
    since = history_requests.optional_time(fields, request, "since_time")
    history_requests.check_range(fields, since, until)
    if since is not None and until - since > limits.DEMAND_SUM_LONGEST:
        days = limits.DEMAND_SUM_LONGEST.days
        fields.wrong("since_time", f"is more than {days} days before until_time; ask for fewer days")
    since = since or max(limits.EARLIEST, until - limits.DEMAND_SUM_DEFAULT)
    count, tokens = fields.page_size(request.page_size), PageTokens(request)
    end, offset = tokens.time_and_number(fields) or (until, 0)
    fields.finish()
    return SumsPage(since, min(end, until), offset, count, filters, tokens)


def _event(fields: Fields, name: str, event: demand_pb.UnmetDemandEvent, earliest: datetime) -> DemandEvent | None:
    kind = _REPORTED_KINDS.get(event.kind)
    if kind is None:
        fields.wrong(f"{name}.kind", "is recorded by the service itself; send REPORTED or MISSED_SALE")
    is_missed = kind == MISSED_SALE
    event_id = fields.text(f"{name}.event_id", event.event_id, longest=limits.EVENT_ID_LENGTH, required=True)
    channel_id = fields.text(f"{name}.channel_id", event.channel_id, longest=limits.ID_LENGTH, required=not is_missed)
    location_id = fields.text(f"{name}.location_id", event.location_id, longest=limits.ID_LENGTH, required=is_missed)
    item_id = fields.text(f"{name}.item_id", event.item_id, longest=limits.ITEM_ID_LENGTH) or ""
    sku = "" if item_id else fields.sku(f"{name}.sku", event.sku)
    if item_id and event.sku:
        fields.wrong(f"{name}.sku", "must be empty if item_id is set: the item's listing says what it is")
    if item_id and not event.channel_id:
        fields.wrong(f"{name}.channel_id", "must not be empty if item_id is set: items belong to a channel")
    wanted = fields.whole_number(f"{name}.wanted_count", event.wanted_count, 1, limits.LINE_UNITS)
    if not 0 <= event.met_count < max(1, wanted):
        fields.wrong(f"{name}.met_count", f"is {event.met_count:,}; it must be 0 or more, and less than wanted_count")
    time = None
    if not event.HasField("demand_time"):
        fields.wrong(f"{name}.demand_time", "must not be empty")
    else:
        time = fields.past_moment(f"{name}.demand_time", event.demand_time)
    if time is not None and time < earliest:
        fields.wrong(f"{name}.demand_time", f"is before {earliest:%Y-%m-%d}; unmet demand is not kept that long")
    if event.method and event.method not in METHODS:
        fields.wrong(f"{name}.method", f"{event.method} is not a FulfillmentMethod")
    if kind is None or event_id is None or time is None:
        return None
    method = METHODS.get(event.method)
    return DemandEvent(event_id, kind, channel_id, location_id, sku, wanted, event.met_count, time, method, item_id)


def _filters(fields: Fields, request: Any) -> Mapping[str, Sequence[str]]:
    def ids(name: str, most: int, longest: int) -> Sequence[str]:
        return history_requests.names(fields, name, getattr(request, name), most=most, longest=longest)

    kinds: list[str] = []
    if fields.size("kinds", request.kinds, 0, limits.HISTORY_FILTER):
        for index, kind in enumerate(request.kinds):
            if kind not in KINDS:
                fields.wrong(f"kinds[{index}]", f"{kind} is not one of: {', '.join(KINDS.values())}")
        kinds = [KINDS[kind] for kind in request.kinds if kind in KINDS]
    return {
        "skus": ids("skus", limits.SKUS, limits.SKU_LENGTH),
        "channel_ids": ids("channel_ids", limits.HISTORY_FILTER, limits.ID_LENGTH),
        "location_ids": ids("location_ids", limits.HISTORY_FILTER, limits.ID_LENGTH),
        "kinds": kinds,
    }
