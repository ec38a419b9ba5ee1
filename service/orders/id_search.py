"""Finds ids that a person has cut short.

Ids begin with their time, so those of one moment begin alike; people therefore write their ends, which are random. A
beginning is a range of the primary key. An end is looked up among the newest ids only, because an index of ends would
cost every order a write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Table, Text, Uuid, cast, func, literal_column, select, union

from service import limits
from service.database.database import Connection, Statement, parameter
from service.database.tables import allocation, decision, exception, shipment, transfer
from service.rpc.validation import Fields
from truestock.v1 import allocation_service_pb2 as allocation_pb

_Kind = allocation_pb.FindIdsRequest
_HEX = re.compile(r"[0-9a-f]{6,32}")


@dataclass(frozen=True, slots=True)
class IdSearch:
    """A checked request. `digits` are those of a part of a UUID, None if the text is no such part."""

    kind: allocation_pb.FindIdsRequest.Kind.ValueType
    text: str
    digits: str | None


def id_search(request: allocation_pb.FindIdsRequest) -> IdSearch:
    """What to look for. Raises InvalidFields."""
    fields = Fields()
    if request.kind not in _STATEMENTS:
        fields.wrong("kind", "must say what the id is of")
    fields.text("text", request.text, longest=limits.TRANSFER_ID_LENGTH, required=True)
    digits = request.text.replace("-", "").lower()
    is_part = _HEX.fullmatch(digits) is not None
    if not is_part and request.kind not in (_Kind.KIND_ALLOCATION, _Kind.KIND_TRANSFER):
        fields.wrong("text", f"'{request.text[:64]}' is not a part of a UUID with at least 6 of its digits")
    fields.finish()
    return IdSearch(request.kind, request.text, digits if is_part else None)


async def find(connection: Connection, search: IdSearch) -> allocation_pb.FindIdsResponse:
    """The ids that the text stands for, newest first. The whole number of an order goes before parts of ids."""
    low, high = _range(search.digits)
    values = {"text": search.text, "digits": search.digits, "low": low, "high": high, "count": limits.FOUND_IDS + 1}
    rows = await _ORDERS.rows(connection, **values) if search.kind == _Kind.KIND_ALLOCATION else []
    if not rows and (search.digits or search.kind == _Kind.KIND_TRANSFER):
        rows = await _STATEMENTS[search.kind].rows(connection, **values)
    found = [allocation_pb.FoundId(id=str(row["id"]), description=row["description"]) for row in rows]
    return allocation_pb.FindIdsResponse(ids=found[: limits.FOUND_IDS], more=len(found) > limits.FOUND_IDS)


def _range(digits: str | None) -> tuple[UUID | None, UUID | None]:
    """The first and the last id that begin with these digits."""
    return (UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))) if digits else (None, None)


def _by_part_of_id(table: Table, description: ColumnElement[str]) -> Statement:
    """The rows whose id begins with the digits, or ends with them and is one of the newest."""
    digits, count = parameter("digits", Text), parameter("count", Integer)
    begins = select(table.c.id).where(table.c.id.between(parameter("low", Uuid), parameter("high", Uuid))).limit(count)
    newest = select(table.c.id).order_by(table.c.id.desc()).limit(literal_column(str(limits.IDS_SEARCHED))).subquery()
    end = func.right(func.replace(cast(newest.c.id, Text), "-", ""), func.length(digits))
    ends = select(newest.c.id).where(end == digits).limit(count)
    orders = table if table is allocation else table.outerjoin(allocation, allocation.c.id == table.c.allocation_id)
    return Statement(
        select(table.c.id, description.label("description"))
        .select_from(orders)
        .where(table.c.id.in_(union(begins.subquery().select(), ends.subquery().select())))
        .order_by(table.c.id.desc())
        .limit(count)
    )


_order = func.concat_ws("/", allocation.c.channel_id, allocation.c.order_id)
_ORDERS = Statement(
    select(allocation.c.id, _order.label("description"))
    .where(allocation.c.order_id == parameter("text", Text))
    .order_by(allocation.c.id.desc())
    .limit(parameter("count", Integer))
)
_newest_transfers = (
    select(transfer)
    .order_by(transfer.c.dispatch_time.desc(), transfer.c.id.desc())
    .limit(literal_column(str(limits.TRANSFERS_SEARCHED)))
    .subquery()
)
_TRANSFERS = Statement(
    select(
        _newest_transfers.c.id,
        func.concat_ws(" to ", _newest_transfers.c.from_location_id, _newest_transfers.c.to_location_id).label(
            "description"
        ),
    )
    .where(func.starts_with(_newest_transfers.c.id, parameter("text", Text)))
    .order_by(_newest_transfers.c.dispatch_time.desc(), _newest_transfers.c.id.desc())
    .limit(parameter("count", Integer))
)
_STATEMENTS = {
    _Kind.KIND_ALLOCATION: _by_part_of_id(allocation, _order),
    _Kind.KIND_SHIPMENT: _by_part_of_id(shipment, func.concat_ws(", ", _order, shipment.c.location_id)),
    _Kind.KIND_EXCEPTION: _by_part_of_id(exception, func.concat_ws(", ", exception.c.kind, func.nullif(_order, ""))),
    _Kind.KIND_DECISION: _by_part_of_id(decision, _order),
    _Kind.KIND_TRANSFER: _TRANSFERS,
}
