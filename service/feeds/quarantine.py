"""Stock changes that cannot be recorded yet, stored as sent until their cause is fixed, within limits for each source.

A full source loses its own oldest changes: later counts include what they said. First go those that can never be
recorded as they are. A source that no feed declares has no place of its own once QUARANTINED_SOURCES of them have
changes here, because anybody can invent names of sources; its changes are refused, so that they push out no others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    text,
)
from sqlalchemy.dialects.postgresql import insert

from policies.domain.listings import ItemKey
from policies.stock.counting import QuarantineCause
from service import limits
from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, listing, location, product, stock_level, stock_quarantine
from service.feeds.stock_change import StockChange, stored_change

RETRY_BATCH = 1_000
"""Quarantined changes that one transaction retries."""

_stored = stock_quarantine.c
_CHANGE: Columns = {
    "source": Text,
    "change_id": Text,
    "sku": Text,
    "location_id": Text,
    "content": LargeBinary,
    "cause": Text,
    "reason": Text,
    "effective_time": Moment,
    "channel_id": Text,
    "item_id": Text,
}
_new = unnested("change", **_CHANGE)
_insert = insert(stock_quarantine).from_select(
    [*_CHANGE, "ingest_time"],
    select(*(_new.c[name] for name in _CHANGE), parameter("now", Moment)).order_by(_new.c.source, _new.c.change_id),
)
_STORE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["source", "change_id"],
        set_={
            name: _insert.excluded[name] for name in (*_CHANGE, "ingest_time") if name not in ("source", "change_id")
        },
    )
)
_recorded = unnested("recorded", source=Text, change_id=Text)
_REMOVE = Statement(
    delete(stock_quarantine).where(_stored.source == _recorded.c.source, _stored.change_id == _recorded.c.change_id)
)


def _has_cause(cause: QuarantineCause) -> ColumnElement[bool]:
    return _stored.cause == literal_column(f"'{cause}'")


_LOCK = Statement(
    select(func.pg_advisory_xact_lock(func.hashtextextended("truestock quarantine", literal_column("0"))))
)
"""Transactions that quarantine changes do so one after the other, so that they count what the others have stored."""
_SOURCES = Statement(
    # One index look-up for each source, however many changes it has.
    text(
        "WITH RECURSIVE stored(source) AS (SELECT min(source) FROM stock_quarantine UNION ALL SELECT (SELECT "
        "min(later.source) FROM stock_quarantine AS later WHERE later.source > stored.source) FROM stored WHERE "
        "stored.source IS NOT NULL) SELECT source FROM stored WHERE source IS NOT NULL"
    )
)
_SURPLUS = Statement(
    select(_stored.source, (func.count() - parameter("limit", Integer)).label("count"))
    .where(_stored.source == any_of("sources", Text))
    .group_by(_stored.source)
    .having(func.count() > parameter("limit", Integer))
)
_NEVER_RECORDED = (QuarantineCause.TOO_MANY, QuarantineCause.MEANING)
_oldest = (
    select(_stored.change_id)
    .where(_stored.source == parameter("source", Text))
    .order_by(or_(*map(_has_cause, _NEVER_RECORDED)).desc(), _stored.ingest_time, _stored.change_id)
    .limit(parameter("count", Integer))
)
_DROP_OLDEST = Statement(
    delete(stock_quarantine).where(_stored.source == parameter("source", Text), _stored.change_id.in_(_oldest))
)


@dataclass(frozen=True, slots=True)
class QuarantineLoss:
    """Changes for which there was no room: the sources that were refused, and how many older ones others lost."""

    refused_sources: frozenset[str] = frozenset()
    dropped_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def dropped_count(self) -> int:
        """How many changes were dropped in all."""
        return sum(self.dropped_counts.values())


def _due() -> Select[tuple[object, ...]]:
    """Quarantined changes that may be recordable by now, by effective time."""
    tables = stock_quarantine.join(product, product.c.sku == _stored.sku)
    tables = tables.join(location, location.c.id == _stored.location_id)
    tables = tables.outerjoin(
        stock_level, and_(stock_level.c.sku == _stored.sku, stock_level.c.location_id == _stored.location_id)
    )
    is_retryable = or_(
        _has_cause(QuarantineCause.UNMAPPED),
        and_(_has_cause(QuarantineCause.AHEAD), _stored.effective_time <= func.statement_timestamp()),
        # The level was reported since: a later count can decide between two counts of one moment, and units that a
        # change puts back may have been set aside.
        and_(
            stock_level.c.ingest_time > _stored.ingest_time,
            or_(
                and_(_has_cause(QuarantineCause.RECOUNT), stock_level.c.counted_time > _stored.effective_time),
                _has_cause(QuarantineCause.NOT_ASIDE),
            ),
        ),
    )
    columns = (_stored.source, _stored.change_id, _stored.content, _stored.cause)
    order = (_stored.effective_time, _stored.source, _stored.change_id)
    return select(*columns).select_from(tables).where(is_retryable).order_by(*order).limit(parameter("count", Integer))


_DUE = Statement(_due())
_DUE_OF = Statement(
    _due().where(or_(_stored.sku == any_of("skus", Text), _stored.location_id == any_of("location_ids", Text)))
)


_of_items = (
    select(_stored.source, _stored.change_id, _stored.content, _stored.cause)
    .select_from(
        stock_quarantine.join(
            listing, (listing.c.channel_id == _stored.channel_id) & (listing.c.item_id == _stored.item_id)
        ).join(location, location.c.id == _stored.location_id)
    )
    .where(_stored.sku == literal_column("''"), _stored.item_id.is_not(None))
    .order_by(_stored.effective_time, _stored.source, _stored.change_id)
    .limit(parameter("count", Integer))
)
_DUE_OF_ITEMS = Statement(_of_items)
"""Quarantined changes of items that are mapped by now."""
_named = unnested("named", channel_id=Text, item_id=Text)
_is_named = (_named.c.channel_id == _stored.channel_id) & (_named.c.item_id == _stored.item_id)
_DUE_OF_NAMED_ITEMS = Statement(_of_items.where(select(_named).where(_is_named).exists()))


async def store(
    connection: Connection,
    now: datetime,
    quarantined: Sequence[tuple[StockChange, QuarantineCause, str]],
    declared: Collection[str],
) -> QuarantineLoss:
    """Stores changes with their cause and reason; replaces those stored with the same source and change id.

    `declared` are the sources of declared feeds. Returns for what there was no room.
    """
    latest = {(change.source, change.change_id): (change, cause, reason) for change, cause, reason in quarantined}
    if not latest:
        return QuarantineLoss()
    await _LOCK.run(connection)
    refused = await _refused_sources(connection, {source for source, _ in latest} - set(declared), declared)
    rows = [
        (
            *(c.source, c.change_id, c.sku, c.location_id, c.content, cause.value, reason, c.effective_time),
            *(c.item or (None, None)),
        )
        for c, cause, reason in latest.values()
        if c.source not in refused
    ]
    if rows:
        await _STORE.run(connection, now=now, **transposed(list(_CHANGE), rows))
    return QuarantineLoss(refused, await _drop_oldest(connection, {row[0] for row in rows}))


async def _refused_sources(connection: Connection, undeclared: set[str], declared: Collection[str]) -> frozenset[str]:
    """Which of these undeclared sources have no changes in quarantine and find no place there."""
    if not undeclared:
        return frozenset()
    stored = {row["source"] for row in await _SOURCES.rows(connection)}
    room = limits.QUARANTINED_SOURCES - len(stored.difference(declared))
    return frozenset(sorted(undeclared - stored)[max(room, 0) :])


async def _drop_oldest(connection: Connection, sources: set[str]) -> dict[str, int]:
    """Drops what these sources have beyond their limit; returns how many changes of each."""
    limit = limits.QUARANTINED_CHANGES
    rows = await _SURPLUS.rows(connection, sources=sorted(sources), limit=limit)
    surplus = {row["source"]: row["count"] for row in rows}
    for source, count in surplus.items():
        await _DROP_OLDEST.run(connection, source=source, count=count)
    return surplus


async def remove(connection: Connection, ids: Iterable[tuple[str, str]]) -> None:
    """Removes changes by (source, change id), because they have been recorded."""
    rows = sorted(set(ids))
    if rows:
        await _REMOVE.run(connection, **transposed(["source", "change_id"], rows))


async def due(
    connection: Connection, skus: Sequence[str] = (), location_ids: Sequence[str] = (), items: Sequence[ItemKey] = ()
) -> tuple[list[StockChange], int]:
    """Quarantined changes to retry, by effective time, and how many rows were read.

    At most RETRY_BATCH of products and as many of items, for these SKUs, locations or items, or for all if none are
    given. Changes that the current limits refuse stay in quarantine.
    """
    rows = []
    if skus or location_ids:
        values = {"skus": list(skus), "location_ids": list(location_ids)}
        rows += await _DUE_OF.rows(connection, count=RETRY_BATCH, **values)
    elif not items:
        rows += await _DUE.rows(connection, count=RETRY_BATCH)
    if items:
        named = transposed(["channel_id", "item_id"], items)
        rows += await _DUE_OF_NAMED_ITEMS.rows(connection, count=RETRY_BATCH, **named)
    elif not skus:
        # Those of a location that has just been added, too: there are few.
        rows += await _DUE_OF_ITEMS.rows(connection, count=RETRY_BATCH)
    stored = [change for row in rows if (change := stored_change(row["source"], row["content"])) is not None]
    return sorted(stored, key=lambda change: change.effective_time), len(rows)
