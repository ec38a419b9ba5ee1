"""Lists allocations page by page, oldest first, filtered by channel, state, location and need for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service import limits
from service.database.database import Connection, Database
from service.orders import order_messages, order_store
from service.orders.order_listing import CHANNELS, LOCATION, NEEDS_PERSON, ON_HOLD, STATES, order_listing
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from service.stock import levels
from truestock.v1 import allocation_service_pb2 as allocation_pb

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
        ids, end = await _ids(connection, request, now)
        records = await order_store.read(connection, ids[: request.count])
        shown = _within_size_limit([order_messages.allocation(records[id], now) for id in ids[: request.count]])
        last = shown[-1].allocation_id if len(shown) < len(ids) else end
        return allocation_pb.ListAllocationsResponse(
            allocations=shown, next_page_token=request.tokens.after(str(last)) if last else ""
        )

    return await database.snapshot("list", work)


async def _ids(
    connection: Connection, request: AllocationsPageRequest, now: datetime
) -> tuple[list[UUID], UUID | None]:
    """The ids of the page and of the order after it; if that is not known, the last id that was examined."""
    filters = {
        CHANNELS: request.channel_ids,
        STATES: request.states,
        NEEDS_PERSON: request.needs_person_only,
        ON_HOLD: request.on_hold_only,
        LOCATION: request.location_id,
    }
    rows, end = await order_listing(frozenset(name for name, value in filters.items() if value)).rows(
        connection,
        request.count + 1,
        {"after_id": request.after},
        now=now,
        channel_ids=list(request.channel_ids),
        states=list(request.states or _STATES.values()),
        location_id=request.location_id,
    )
    return [row["id"] for row in rows], end["after_id"] if end else None


def _within_size_limit(allocations: Sequence[allocation_pb.Allocation]) -> list[allocation_pb.Allocation]:
    """The first allocations that fit into an answer, and at least one if there is any."""
    remaining_bytes, shown = limits.ALLOCATIONS_PAGE_BYTES, list[allocation_pb.Allocation]()
    for message in allocations:
        remaining_bytes -= message.ByteSize()
        if remaining_bytes < 0 and shown:
            break
        shown.append(message)
    return shown
