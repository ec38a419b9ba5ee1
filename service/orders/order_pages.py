"""Lists allocations page by page: oldest, newest or due first, by filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from policies.domain.model import Outcome
from policies.domain.order_status import OrderStatus
from service import limits
from service.database.database import Connection, Database
from service.orders import order_filters, order_listing as listing, order_messages, order_store
from service.orders.allocation_record import CONFIRMED
from service.orders.order_filters import OrderFilter, ids_between
from service.orders.order_listing import COMMON_OUTCOMES, due_listing, order_listing
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from service.stock import levels
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

_STATES = {
    number: name.removeprefix("STATE_").lower() for name, number in allocation_pb.Allocation.State.items() if number
}
_OUTCOMES = {number: outcome for outcome, number in order_messages.OUTCOMES.items()}
_STATUSES = {number: status for status, number in order_messages.STATUSES.items()}
_ORDERS = (order_pb2.LIST_ORDER_OLDEST, order_pb2.LIST_ORDER_NEWEST, order_pb2.LIST_ORDER_DUE)


@dataclass(frozen=True, slots=True)
class AllocationsPageRequest:
    """Which allocations to list, after which position and at most how many. Empty lists and texts do not filter.

    `orders` are filters by channel, SKU and number; `created` and `updated` are the start, included, and the end of a
    time. `order_by` is a ListOrder; `after` has the key of the list's last entry.
    """

    orders: OrderFilter
    states: Sequence[str]
    outcomes: Sequence[Outcome]
    statuses: Sequence[OrderStatus]
    needs_person_only: bool
    on_hold_only: bool
    location_ids: Sequence[str]
    created: tuple[datetime | None, datetime | None]
    updated: tuple[datetime | None, datetime | None]
    order_by: int
    after: tuple[Any, ...] | None
    count: int
    tokens: PageTokens

    @property
    def created_ids(self) -> tuple[UUID, UUID]:
        """Bounds of the ids of orders that pass the filters by time."""
        ends = [end for end in (self.created[1], self.updated[1]) if end]
        return ids_between(self.created[0], min(ends, default=None))


def page_request(request: allocation_pb.ListAllocationsRequest) -> AllocationsPageRequest:
    """Checks a list request. Raises InvalidFields."""
    fields = Fields()
    orders = OrderFilter(
        fields.texts("channel_ids", request.channel_ids, limits.CHANNEL_FILTER),
        fields.texts("skus", request.skus, limits.SKUS, longest=limits.SOLD_SKU_LENGTH),
        fields.order_number_part("order_id_part", request.order_id_part),
    )
    location_ids = fields.texts("location_ids", request.location_ids, limits.LOCATION_FILTER)
    if fields.text("location_id", request.location_id, longest=limits.ID_LENGTH):
        if location_ids:
            fields.wrong("location_id", "must be left out if location_ids are given")
        location_ids = [request.location_id]
    parsed = AllocationsPageRequest(
        orders=orders,
        states=fields.words("states", request.states, _STATES),
        outcomes=fields.words("outcomes", request.outcomes, _OUTCOMES),
        statuses=fields.words("statuses", request.statuses, _STATUSES),
        needs_person_only=request.needs_person_only,
        on_hold_only=request.on_hold_only,
        location_ids=location_ids,
        created=fields.time_range("created_from", "created_before", request),
        updated=fields.time_range("updated_from", "updated_before", request),
        order_by=fields.list_order(request.order_by, _ORDERS),
        count=min(fields.page_size(request.page_size), limits.ALLOCATIONS_PAGE_LIMIT),
        tokens=(tokens := PageTokens(request)),
        after=tokens.time_and_id(fields) if request.order_by == order_pb2.LIST_ORDER_DUE else tokens.ids(fields),
    )
    fields.finish()
    return parsed


async def page(database: Database, request: AllocationsPageRequest) -> allocation_pb.ListAllocationsResponse:
    """One page, read as of one moment."""

    async def work(connection: Connection) -> allocation_pb.ListAllocationsResponse:
        now = await levels.clock(connection)
        keys, end = await _keys(connection, request, now)
        records = await order_store.read(connection, [id for id, _ in keys])
        shown = _within_size_limit([order_messages.allocation(records[id], now) for id, _ in keys])
        last = keys[len(shown) - 1][1] if len(shown) < len(keys) else end
        return allocation_pb.ListAllocationsResponse(
            allocations=shown, next_page_token=request.tokens.after_key(last) if last else ""
        )

    return await database.snapshot("list", work)


async def _keys(
    connection: Connection, request: AllocationsPageRequest, now: datetime
) -> tuple[list[tuple[UUID, tuple[Any, ...]]], tuple[Any, ...] | None]:
    """The ids and positions of the page's orders, and the position of the next page; None after the last one."""
    few = await _few(connection, request)
    filters = _filters(request) | (frozenset() if few is None else {listing.FEW})
    first_id, last_id = request.created_ids
    is_newest = request.order_by == order_pb2.LIST_ORDER_NEWEST
    values = {
        **request.orders.values,
        "ids": few,
        "now": now,
        "states": sorted(_states(request)),
        "outcomes": [outcome.value for outcome in request.outcomes],
        "lead_outcomes": [outcome.value for outcome in request.outcomes or Outcome if outcome not in COMMON_OUTCOMES],
        "statuses": [status.value for status in request.statuses],
        "location_ids": sorted(set(request.location_ids)),
        "created_from": request.created[0] or limits.EARLIEST,
        "created_before": request.created[1] or limits.LATEST,
        "updated_from": request.updated[0] or limits.EARLIEST,
        "updated_before": request.updated[1] or limits.LATEST,
        "end_id": first_id if is_newest else last_id,
    }
    if request.order_by == order_pb2.LIST_ORDER_DUE:
        statements, key = due_listing(filters), listing.DUE_KEY
        start: tuple[Any, ...] = (limits.EARLIEST, order_filters.FIRST_ID)
    else:
        statements, key = order_listing(filters, descending=is_newest), listing.KEY
        start = (last_id if is_newest else first_id,)
    rows, end = await statements.page_after(connection, request.count, request.after or start, key, **values)
    return [(row["id"], tuple(row[name] for name in key)) for row in rows], end


async def _few(connection: Connection, request: AllocationsPageRequest) -> list[UUID] | None:
    """The ids of all orders that pass one of the filters, if these are few; None if not."""
    few = await order_filters.few_orders(connection, request.orders) if _may_be_few(request) else None
    if few is None and request.statuses and listing.OPEN_STATUSES.issuperset(request.statuses):
        return await order_filters.few_open_orders(connection)
    return few


def _may_be_few(request: AllocationsPageRequest) -> bool:
    """Whether to look first for the few orders that pass a filter: not where an index has them in the list's order."""
    orders, is_due = request.orders, request.order_by == order_pb2.LIST_ORDER_DUE
    has_others = bool(_filters(request) - {listing.CHANNELS, listing.STATES, listing.SKUS})
    return bool(orders.number_part) or (bool(orders.skus or orders.channel_ids) and (is_due or has_others))


def _filters(request: AllocationsPageRequest) -> frozenset[str]:
    statuses, outcomes = set(request.statuses), set(request.outcomes)
    names = {
        listing.CHANNELS: request.orders.channel_ids,
        listing.SKUS: request.orders.skus,
        listing.NUMBER: request.orders.number_part,
        listing.STATES: request.states or (statuses and _states(request) != set(_STATES.values())),
        listing.OUTCOMES: outcomes,
        listing.INCOMPLETE: (outcomes and outcomes.isdisjoint(COMMON_OUTCOMES))
        or (statuses and statuses <= listing.INCOMPLETE_STATUSES),
        listing.STATUSES: statuses,
        listing.NEEDS_PERSON: request.needs_person_only,
        listing.ON_HOLD: request.on_hold_only or statuses == {OrderStatus.ON_HOLD},
        listing.LOCATIONS: request.location_ids,
        listing.CREATED: any(request.created),
        listing.UPDATED: any(request.updated),
    }
    return frozenset(name for name, value in names.items() if value)


def _states(request: AllocationsPageRequest) -> set[str]:
    """The states of the orders to list; those that the statuses allow, unless states are given."""
    if request.states:
        return set(request.states)
    if not request.statuses:
        return set(_STATES.values())
    default = (CONFIRMED,)
    return {state for status in request.statuses for state in listing.STATES_OF_STATUS.get(status, default)}


def _within_size_limit(allocations: Sequence[allocation_pb.Allocation]) -> list[allocation_pb.Allocation]:
    """The first allocations that fit into an answer, and at least one if there is any."""
    remaining_bytes, shown = limits.ALLOCATIONS_PAGE_BYTES, list[allocation_pb.Allocation]()
    for message in allocations:
        remaining_bytes -= message.ByteSize()
        if remaining_bytes < 0 and shown:
            break
        shown.append(message)
    return shown
