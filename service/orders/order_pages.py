"""Lists allocations page by page, oldest first, filtered by channel, state, location and need for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Integer, Text, Uuid, exists, func, literal_column, select

from service import limits
from service.database.database import Connection, Database, Statement, any_of, parameter, parameters
from service.database.tables import IS_ON_HOLD, Moment, allocation, promise
from service.orders import order_messages, order_store
from service.orders.allocation_record import EXPIRED, HELD
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from service.stock import levels
from truestock.v1 import allocation_service_pb2 as allocation_pb

_allocation = allocation.c
_now: ColumnElement[Any] = parameter("now", Moment)
_held: ColumnElement[Any] = literal_column(f"'{HELD}'")
_has_expired = (_allocation.state == _held) & (_allocation.expire_time <= _now)
_HAS_STATE = (
    (func.cardinality(parameters("states", Text)) == 0)
    | ((_allocation.state == any_of("states", Text)) & ~_has_expired)
    | (_has_expired & parameter("expired_too", Boolean))
)
# An expired hold promises nothing, whether or not the sweeper has run.
_is_live = promise.c.expire_time.is_(None) | (promise.c.expire_time > _now)
_IS_AT_LOCATION = exists().where(
    promise.c.allocation_id == _allocation.id,
    promise.c.location_id == parameter("location_id", Text),
    (promise.c.shipped > 0) | ((promise.c.unit_count > 0) & _is_live),
)
_PAGE = Statement(
    select(_allocation.id)
    .where(
        _allocation.id > parameter("after", Uuid),
        (func.cardinality(parameters("channel_ids", Text)) == 0)
        | (_allocation.channel_id == any_of("channel_ids", Text)),
        _allocation.needs_person | ~parameter("needs_person_only", Boolean),
        _HAS_STATE,
        IS_ON_HOLD | ~parameter("on_hold_only", Boolean),
        (parameter("location_id", Text) == literal_column("''")) | _IS_AT_LOCATION,
    )
    # Newer ids sort after older ones.
    .order_by(_allocation.id)
    .limit(parameter("count", Integer))
)

_STATES = {
    number: name.removeprefix("STATE_").lower() for name, number in allocation_pb.Allocation.State.items() if number
}


@dataclass(frozen=True, slots=True)
class AllocationsPageRequest:
    """Which allocations to list, after which id and at most how many. Empty lists and texts do not filter."""

    channel_ids: Sequence[str]
    states: Sequence[str]
    needs_person_only: bool
    on_hold_only: bool
    location_id: str
    after: UUID
    count: int
    tokens: PageTokens


def page_request(request: allocation_pb.ListAllocationsRequest) -> AllocationsPageRequest:
    """Checks a list request. Raises InvalidFields."""
    fields = Fields()
    if fields.size("channel_ids", request.channel_ids, 0, limits.CHANNEL_FILTER):
        for index, channel_id in enumerate(request.channel_ids):
            fields.text(f"channel_ids[{index}]", channel_id, longest=limits.ID_LENGTH, required=True)
    for index, state in enumerate(request.states):
        if state not in _STATES:
            fields.wrong(f"states[{index}]", f"must be one of: {', '.join(_STATES.values())}")
    fields.text("location_id", request.location_id, longest=limits.ID_LENGTH)
    count = fields.page_size(request.page_size)
    tokens = PageTokens(request)
    after = tokens.id(fields) or UUID(int=0)
    fields.finish()
    states = sorted({_STATES[state] for state in request.states})
    return AllocationsPageRequest(
        list(request.channel_ids),
        states,
        request.needs_person_only,
        request.on_hold_only,
        request.location_id,
        after,
        min(count, limits.ALLOCATIONS_PAGE_LIMIT),
        tokens,
    )


async def page(database: Database, request: AllocationsPageRequest) -> allocation_pb.ListAllocationsResponse:
    """One page, read as of one moment."""

    async def work(connection: Connection) -> allocation_pb.ListAllocationsResponse:
        now = await levels.clock(connection)
        ids = await _ids(connection, request, now)
        records = await order_store.read(connection, ids[: request.count])
        shown = _within_size_limit([order_messages.allocation(records[id], now) for id in ids[: request.count]])
        has_more = len(shown) < len(ids)
        return allocation_pb.ListAllocationsResponse(
            allocations=shown, next_page_token=request.tokens.after(shown[-1].allocation_id) if has_more else ""
        )

    return await database.snapshot("list", work)


async def _ids(connection: Connection, request: AllocationsPageRequest, now: datetime) -> list[UUID]:
    """The ids of the page, and one more id if another page follows."""
    rows = await _PAGE.rows(
        connection,
        now=now,
        after=request.after,
        channel_ids=list(request.channel_ids),
        states=list(request.states),
        expired_too=EXPIRED in request.states,
        needs_person_only=request.needs_person_only,
        on_hold_only=request.on_hold_only,
        location_id=request.location_id,
        count=request.count + 1,
    )
    return [r["id"] for r in rows]


def _within_size_limit(allocations: Sequence[allocation_pb.Allocation]) -> list[allocation_pb.Allocation]:
    """The first allocations that fit into an answer, and at least one if there is any."""
    remaining_bytes, shown = limits.ALLOCATIONS_PAGE_BYTES, list[allocation_pb.Allocation]()
    for message in allocations:
        remaining_bytes -= message.ByteSize()
        if remaining_bytes < 0 and shown:
            break
        shown.append(message)
    return shown
