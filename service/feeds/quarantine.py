"""Changes of stock that cannot be recorded yet, kept as they came until their cause is mended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    Select,
    Text,
    and_,
    delete,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from policies.stock.counting import QuarantineCause
from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, location, product, stock_level, stock_quarantine
from service.feeds.stock_change import StockChange, stored_change

REPLAYED_AT_ONCE = 1_000
"""Changes that are taken up again in one transaction."""

_kept = stock_quarantine.c
_KEPT: Columns = {
    "source": Text,
    "change_id": Text,
    "sku": Text,
    "location_id": Text,
    "content": LargeBinary,
    "cause": Text,
    "reason": Text,
    "effective_time": Moment,
}
_new = unnested("kept", **_KEPT)
_insert = insert(stock_quarantine).from_select(
    [*_KEPT, "ingest_time"],
    select(*(_new.c[name] for name in _KEPT), parameter("now", Moment)).order_by(_new.c.source, _new.c.change_id),
)
_KEEP = Statement(
    _insert.on_conflict_do_update(
        index_elements=["source", "change_id"],
        set_={name: _insert.excluded[name] for name in (*_KEPT, "ingest_time") if name not in ("source", "change_id")},
    )
)
_gone = unnested("gone", source=Text, change_id=Text)
_LET_GO = Statement(
    delete(stock_quarantine).where(_kept.source == _gone.c.source, _kept.change_id == _gone.c.change_id)
)


def _is(cause: QuarantineCause) -> ColumnElement[bool]:
    return _kept.cause == literal_column(f"'{cause}'")


def _due() -> Select[tuple[object, ...]]:
    """What is worth another try, in the order in which it was true."""
    found = stock_quarantine.join(product, product.c.sku == _kept.sku)
    found = found.join(location, location.c.id == _kept.location_id)
    found = found.outerjoin(
        stock_level, and_(stock_level.c.sku == _kept.sku, stock_level.c.location_id == _kept.location_id)
    )
    worth_it = or_(
        _is(QuarantineCause.UNMAPPED),
        and_(_is(QuarantineCause.AHEAD), _kept.effective_time <= func.statement_timestamp()),
        # Something was heard of the level since: a later count that settles which of two was right, or that units were
        # set aside which are now put back.
        and_(
            stock_level.c.ingest_time > _kept.ingest_time,
            or_(
                and_(_is(QuarantineCause.RECOUNT), stock_level.c.counted_time > _kept.effective_time),
                _is(QuarantineCause.NOT_ASIDE),
            ),
        ),
    )
    columns = (_kept.source, _kept.change_id, _kept.content, _kept.cause)
    order = (_kept.effective_time, _kept.source, _kept.change_id)
    return select(*columns).select_from(found).where(worth_it).order_by(*order).limit(parameter("count", Integer))


_DUE = Statement(_due())
_DUE_OF = Statement(
    _due().where(or_(_kept.sku == any_of("skus", Text), _kept.location_id == any_of("location_ids", Text)))
)


async def keep(connection: Connection, now: datetime, kept: Sequence[tuple[StockChange, QuarantineCause, str]]) -> None:
    """Keeps changes aside, each with why; what was kept of the same source under the same id is replaced."""
    once = {(change.source, change.change_id): (change, cause, reason) for change, cause, reason in kept}
    rows = [
        (c.source, c.change_id, c.sku, c.location_id, c.content, cause.value, reason, c.effective_time)
        for c, cause, reason in once.values()
    ]
    if rows:
        await _KEEP.run(connection, now=now, **transposed(list(_KEPT), rows))


async def let_go(connection: Connection, ids: Iterable[tuple[str, str]]) -> None:
    """Forgets changes by (source, change id): they have been recorded."""
    rows = sorted(set(ids))
    if rows:
        await _LET_GO.run(connection, **transposed(["source", "change_id"], rows))


async def due(
    connection: Connection, skus: Sequence[str] = (), location_ids: Sequence[str] = ()
) -> tuple[list[StockChange], int]:
    """Changes that are worth another try, in the order in which they were true, and how many there were.

    At most REPLAYED_AT_ONCE, of these SKUs or locations, of all if none are named. What can no longer be read stays.
    """
    named = bool(skus or location_ids)
    values = {"skus": list(skus), "location_ids": list(location_ids)} if named else {}
    rows = await (_DUE_OF if named else _DUE).rows(connection, count=REPLAYED_AT_ONCE, **values)
    changes = [stored_change(row["source"], row["content"]) for row in rows]
    return [change for change in changes if change is not None], len(rows)
