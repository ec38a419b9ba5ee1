"""Transfers in PostgreSQL: dispatched and received units, and pages. Stock changes in `transfer_operations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    Uuid,
    insert,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.stock.counting import TRANSFERRED_OUT
from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.database.database import Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, stock_movement, transfer, transfer_line
from service.rpc.proto_values import timestamp
from truestock.v1 import stock_service_pb2 as stock_pb

_transfer, _line, _movement = transfer.c, transfer_line.c, stock_movement.c
_READ = Statement(select(transfer).where(_transfer.id == parameter("id", Text)))
_LOCK = Statement(select(transfer).where(_transfer.id == parameter("id", Text)).with_for_update())
_LINES = Statement(
    select(transfer_line).where(_line.transfer_id == any_of("ids", Text)).order_by(_line.transfer_id, _line.sku)
)
_ADD = Statement(
    upsert(transfer)
    .values(
        id=parameter("id", Text),
        from_location_id=parameter("from_location_id", Text),
        to_location_id=parameter("to_location_id", Text),
        expect_time=parameter("expect_time", Moment),
        dispatch_time=parameter("dispatch_time", Moment),
        allocation_id=parameter("allocation_id", Uuid),
        shipment_id=parameter("shipment_id", Uuid),
    )
    .on_conflict_do_nothing()
    .returning(_transfer.id)
)
_added = unnested("added", sku=Text, dispatched=Integer)
_ADD_LINES = Statement(
    insert(transfer_line).from_select(
        ["transfer_id", "sku", "dispatched"], select(parameter("id", Text), _added.c.sku, _added.c.dispatched)
    )
)
_receipt = unnested("receipt", sku=Text, units=Integer)
_RECEIVE = Statement(
    update(transfer_line)
    .values(received=_line.received + _receipt.c.units)
    .where(_line.transfer_id == parameter("id", Text), _line.sku == _receipt.c.sku)
)
_COMPLETE = Statement(
    update(transfer)
    .values(complete_time=parameter("complete_time", Moment), cancelled=parameter("cancelled", Boolean))
    .where(_transfer.id == parameter("id", Text))
)
_return = unnested("return", sku=Text, units=Integer)
_RETURN = Statement(
    update(transfer_line)
    .values(returned=_return.c.units)
    .where(_line.transfer_id == parameter("id", Text), _line.sku == _return.c.sku)
)
_BOOKED_AT_ONCE = Statement(
    select(_movement.id)
    .where(
        _movement.sku == any_of("skus", Text),
        _movement.location_id == parameter("location_id", Text),
        _movement.effective_time >= parameter("dispatch_time", Moment),
        _movement.kind == literal_column(f"'{TRANSFERRED_OUT}'"),
        _movement.reason == parameter("id", Text),
        _movement.ingest_time == parameter("dispatch_time", Moment),
    )
    .limit(literal_column("1"))
)


@dataclass(frozen=True, slots=True)
class TransferLine:
    """Dispatched and received units of one product; more may be received than dispatched.

    `returned` units are at the origin again because the transfer was cancelled.
    """

    dispatched: int
    received: int = 0
    returned: int = 0

    @property
    def missing(self) -> int:
        """Dispatched units that neither arrived nor returned; below 0 if more arrived than were dispatched."""
        return self.dispatched - self.received - self.returned


@dataclass(frozen=True, slots=True)
class TransferRecord:
    """A transfer between two locations; `lines` are by SKU. It has ended once `complete_time` is set.

    `allocation_id` and `shipment_id` are those of the pickup order whose units it carries to their store, if any.
    """

    id: str
    from_location_id: str
    to_location_id: str
    lines: Mapping[str, TransferLine]
    expect_time: datetime | None
    dispatch_time: datetime
    complete_time: datetime | None = None
    cancelled: bool = False
    allocation_id: UUID | None = None
    shipment_id: UUID | None = None

    def with_received(self, units: Mapping[str, int], now: datetime, *, complete: bool) -> TransferRecord:
        """The transfer after a receipt, complete if everything has arrived or `complete` is set."""
        lines = {
            sku: TransferLine(line.dispatched, line.received + units.get(sku, 0)) for sku, line in self.lines.items()
        }
        is_complete = complete or all(line.missing <= 0 for line in lines.values())
        return replace(self, lines=lines, complete_time=now if is_complete else None)

    def with_rest_returned(self, now: datetime) -> TransferRecord:
        """The transfer after a cancellation: units that were not received are at the origin again."""
        lines = {
            sku: TransferLine(line.dispatched, line.received, max(0, line.missing)) for sku, line in self.lines.items()
        }
        return replace(self, lines=lines, complete_time=now, cancelled=True)


async def find(connection: Connection, id: str, *, lock: bool = False) -> TransferRecord | None:
    """The transfer with this id, its row locked if `lock` is set; None if there is none."""
    row = await (_LOCK if lock else _READ).row(connection, id=id)
    # The lines are read by a later statement than the one that may have waited for the lock, so they are current.
    return None if row is None else (await _with_lines(connection, [row]))[0]


async def has_stated_dispatch(connection: Connection, record: TransferRecord) -> bool:
    """Whether the dispatch stated when the units left; without a stated time, it is the time of its movements."""
    key = {"id": record.id, "location_id": record.from_location_id, "dispatch_time": record.dispatch_time}
    return await _BOOKED_AT_ONCE.row(connection, skus=sorted(record.lines), **key) is None


async def page(
    connection: Connection, location_id: str, before: tuple[datetime, str], count: int, *, in_transit_only: bool
) -> list[TransferRecord]:
    """At most `count` transfers before (dispatch time, id), newest first."""
    filters = {"location_id": location_id} if location_id else {}
    statement = _listing(by_location=bool(location_id), in_transit_only=in_transit_only)
    rows = await statement.rows(connection, before_time=before[0], before_id=before[1], count=count, **filters)
    return await _with_lines(connection, rows)


async def add(connection: Connection, record: TransferRecord) -> bool:
    """Writes a new transfer; returns False and writes nothing if the id exists."""
    names = ("id", "from_location_id", "to_location_id", "expect_time", "dispatch_time", "allocation_id", "shipment_id")
    if await _ADD.row(connection, **{name: getattr(record, name) for name in names}) is None:
        return False
    rows = [(sku, line.dispatched) for sku, line in sorted(record.lines.items())]
    await _ADD_LINES.run(connection, id=record.id, **transposed(["sku", "dispatched"], rows))
    return True


async def receive(connection: Connection, after: TransferRecord, units: Mapping[str, int]) -> None:
    """Writes received units, and the completion of the transfer if it is complete."""
    if units:
        await _RECEIVE.run(connection, id=after.id, **transposed(["sku", "units"], sorted(units.items())))
    if after.complete_time is not None:
        await _COMPLETE.run(connection, id=after.id, complete_time=after.complete_time, cancelled=False)


async def cancel(connection: Connection, after: TransferRecord) -> None:
    """Writes the cancellation of a transfer and its returned units."""
    units = [(sku, line.returned) for sku, line in sorted(after.lines.items())]
    await _RETURN.run(connection, id=after.id, **transposed(["sku", "units"], units))
    await _COMPLETE.run(connection, id=after.id, complete_time=after.complete_time, cancelled=True)


async def record_change(
    connection: Connection, change: str, before: TransferRecord | None, after: TransferRecord
) -> None:
    """Writes the audit event of a step of a transfer."""
    values = [None if record is None else _audited_values(record) for record in (before, after)]
    await audit_log.record(connection, [AuditedChange(audit_log.STOCK, "transfer", after.id, change, *values)])


def _audited_values(record: TransferRecord) -> dict[str, Any]:
    return {
        "from_location_id": record.from_location_id,
        "to_location_id": record.to_location_id,
        "dispatched": {sku: line.dispatched for sku, line in sorted(record.lines.items())},
        "received": {sku: line.received for sku, line in sorted(record.lines.items())},
        "complete_time": record.complete_time,
        "cancelled": record.cancelled,
    }


def message(record: TransferRecord) -> stock_pb.Transfer:
    """A transfer as a message of the API, its lines by SKU."""
    return stock_pb.Transfer(
        transfer_id=record.id,
        from_location_id=record.from_location_id,
        to_location_id=record.to_location_id,
        state=_state(record),
        lines=[
            stock_pb.TransferLine(
                sku=sku,
                dispatched_count=line.dispatched,
                received_count=line.received,
                returned_count=line.returned,
            )
            for sku, line in sorted(record.lines.items())
        ],
        expect_time=timestamp(record.expect_time),
        dispatch_time=timestamp(record.dispatch_time),
        complete_time=timestamp(record.complete_time),
        shipment_id=str(record.shipment_id or ""),
    )


def differing_fields(stored: TransferRecord, repeated: TransferRecord) -> Iterable[str]:
    """The fields in which two dispatches differ."""
    for name in ("from_location_id", "to_location_id", "expect_time", "shipment_id"):
        if getattr(stored, name) != getattr(repeated, name):
            yield name
    if {sku: line.dispatched for sku, line in stored.lines.items()} != {
        sku: line.dispatched for sku, line in repeated.lines.items()
    }:
        yield "units"


@cache
def _listing(*, by_location: bool, in_transit_only: bool) -> Statement:
    """The statement with exactly these filters: an optional condition would keep PostgreSQL from using an index."""
    # Each end of a transfer has an index in the order of the list. One condition on both ends could use neither.
    ends = (_transfer.from_location_id, _transfer.to_location_id) if by_location else ()
    here = [end == parameter("location_id", Text) for end in ends] or [true()]
    pages = [_newest(transfer, condition, in_transit_only=in_transit_only) for condition in here]
    if len(pages) == 1:
        return Statement(pages[0])
    return Statement(_newest(union_all(*pages).subquery("transfer"), true(), in_transit_only=False))


def _newest(rows: FromClause, condition: ColumnElement[bool], *, in_transit_only: bool) -> Select[Any]:
    order = (rows.c.dispatch_time, rows.c.id)
    before = tuple_(*order) < tuple_(parameter("before_time", Moment), parameter("before_id", Text))
    selected = select(rows).where(before, condition)
    if in_transit_only:
        selected = selected.where(rows.c.complete_time.is_(None))
    return selected.order_by(*(column.desc() for column in order)).limit(parameter("count", Integer))


def _state(record: TransferRecord) -> stock_pb.Transfer.State.ValueType:
    if record.cancelled:
        return stock_pb.Transfer.STATE_CANCELLED
    is_complete = record.complete_time is not None
    return stock_pb.Transfer.STATE_COMPLETED if is_complete else stock_pb.Transfer.STATE_IN_TRANSIT


async def _with_lines(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[TransferRecord]:
    lines: dict[str, dict[str, TransferLine]] = {row["id"]: {} for row in rows}
    for line in await _LINES.rows(connection, ids=list(lines)) if lines else ():
        units = (line["dispatched"], line["received"], line["returned"])
        lines[line["transfer_id"]][line["sku"]] = TransferLine(*units)
    return [_record(row, lines[row["id"]]) for row in rows]


def _record(row: asyncpg.Record, lines: Mapping[str, TransferLine]) -> TransferRecord:
    names = (
        *("id", "from_location_id", "to_location_id", "expect_time", "dispatch_time", "complete_time", "cancelled"),
        *("allocation_id", "shipment_id"),
    )
    return TransferRecord(lines=lines, **{name: row[name] for name in names})
