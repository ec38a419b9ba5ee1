"""What channels really show, as they are observed: one row for each figure, from when to when it was seen.

A figure that is observed again only extends its row, so that a channel may be read every minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    Interval,
    Select,
    Text,
    cast,
    delete,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on, insert

from policies.stock.oversell import PublishedFigure
from policies.stock.shown_figures import ShownCount
from service import limits
from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, allocation, availability_history, channel_figure, stock_movement
from service.stock.publication_log import PublicationLog

Pair = tuple[str, str]
"""(Channel id, SKU)."""
FigureKey = tuple[str, str, str]
"""(SKU, item id, outlet id); ids that the channel did not name are empty."""
OutletMoment = tuple[str, str, datetime]
"""(SKU, outlet id, a time)."""

_figure, _history, _movement = channel_figure.c, availability_history.c, stock_movement.c
_pair = unnested("pair", channel_id=Text, sku=Text)
_KEY = (_figure.channel_id, _figure.sku, _figure.item_id, _figure.outlet_id)
_LATEST = Statement(
    select(channel_figure)
    .join(_pair, (_pair.c.channel_id == _figure.channel_id) & (_pair.c.sku == _figure.sku))
    .ext(distinct_on(*_KEY))
    .order_by(*_KEY, _figure.last_time.desc(), _figure.first_time.desc())
)
_ROW: Columns = {
    "channel_id": Text,
    "sku": Text,
    "item_id": Text,
    "outlet_id": Text,
    "first_time": Moment,
    "last_time": Moment,
    "shown": BigInteger,
    "unit_count": Integer,
}
_new = unnested("new", **_ROW)
_INSERT = Statement(
    insert(channel_figure).from_select([*_ROW], select(*(_new.c[name] for name in _ROW))).on_conflict_do_nothing()
)
_seen = unnested("seen", channel_id=Text, sku=Text, item_id=Text, outlet_id=Text, first_time=Moment, last_time=Moment)
_EXTEND = Statement(
    update(channel_figure)
    .values(last_time=func.greatest(_figure.last_time, _seen.c.last_time))
    .where(
        *(_figure[name] == _seen.c[name] for name in ("channel_id", "sku", "item_id", "outlet_id", "first_time")),
    )
)
_asked = unnested("asked", channel_id=Text, sku=Text, until=Moment)
_told = (
    select(_history.sellable, _history.publish_time, _history.policy_revision)
    .where(
        _history.channel_id == _asked.c.channel_id,
        _history.sku == _asked.c.sku,
        _history.publish_time <= _asked.c.until,
    )
    .order_by(_history.publish_time.desc())
    .limit(literal_column("1"))
    .lateral("told")
)
_PUBLISHED = Statement(
    select(_asked.c.sku, _told.c.sellable, _told.c.publish_time, _told.c.policy_revision).select_from(
        _asked.join(_told, true())
    )
)
_asked_of = unnested("asked_of", channel_id=Text, sku=Text, outlet_id=Text, until=Moment)
_OUTLETS_ASKED = ("channel_id", "sku", "outlet_id", "until")


def _units_of(outlet_id: ColumnElement[str]) -> ColumnElement[int]:
    """The units of an outlet in a figure; null if the channel was not told of it."""
    return cast(func.jsonb_extract_path_text(cast(_history.outlets, JSONB), outlet_id), BigInteger)


def _last_of_outlet(channel_id: ColumnElement[str], sku: Any, outlet_id: Any, until: Any) -> Select[Any]:
    """The last figure with outlets that was published to a channel by a time, with the units of one of them."""
    return (
        select(_units_of(outlet_id).label("units"), _history.publish_time, _history.policy_revision)
        .where(
            _history.channel_id == channel_id,
            _history.sku == sku,
            _history.publish_time <= until,
            _history.outlets.is_not(None),
        )
        .order_by(_history.publish_time.desc())
        .limit(literal_column("1"))
    )


_told_of = _last_of_outlet(*(_asked_of.c[name] for name in _OUTLETS_ASKED)).lateral("told_of")
_PUBLISHED_OUTLETS = Statement(
    select(
        *(_asked_of.c.sku, _asked_of.c.outlet_id, _asked_of.c.until),
        *(_told_of.c.units, _told_of.c.publish_time, _told_of.c.policy_revision),
    )
    .select_from(_asked_of.join(_told_of, true()))
    .where(_told_of.c.units.is_not(None))
)
_since = unnested("since", sku=Text, publish_time=Moment)
_OWN_UNITS = Statement(
    select(
        _since.c.sku, _since.c.publish_time, func.sum(_movement.held_delta + _movement.allocated_delta).label("units")
    )
    .select_from(
        _since.join(
            stock_movement, (_movement.sku == _since.c.sku) & (_movement.ingest_time > _since.c.publish_time)
        ).join(allocation, allocation.c.id == _movement.allocation_id)
    )
    .where(
        allocation.c.channel_id == parameter("channel_id", Text),
        _movement.kind == any_of("kinds", Text),
    )
    .group_by(_since.c.sku, _since.c.publish_time)
)
_PROMISING = ["held", "allocated", "released", "expired"]
_later = channel_figure.alias("later")
_is_last = (
    ~select(_later.c.sku)
    .where(
        *(_later.c[name] == _figure[name] for name in ("channel_id", "sku", "item_id", "outlet_id")),
        tuple_(_later.c.last_time, _later.c.first_time) > tuple_(_figure.last_time, _figure.first_time),
    )
    .exists()
)
_POSITION = (_figure.sku, _figure.item_id, _figure.outlet_id, _figure.first_time)
_after = tuple_(
    parameter("sku", Text), parameter("item_id", Text), parameter("outlet_id", Text), parameter("first_time", Moment)
)
_in_order = (
    select(channel_figure, _is_last.label("is_last"))
    .where(
        _figure.channel_id == parameter("channel_id", Text),
        parameter("all_skus", Boolean) | (_figure.sku == any_of("skus", Text)),
        tuple_(*_POSITION) > _after,
    )
    .order_by(*_POSITION)
    .limit(parameter("count", Integer))
    .subquery("page")
)
_published_then = (
    select(_history.sellable, _history.publish_time)
    .where(
        _history.channel_id == _in_order.c.channel_id,
        _history.sku == _in_order.c.sku,
        _history.publish_time <= _in_order.c.last_time,
        _in_order.c.outlet_id == literal_column("''"),
    )
    .order_by(_history.publish_time.desc())
    .limit(literal_column("1"))
    .lateral("published_then")
)
_of_outlet_then = (
    _last_of_outlet(*(_in_order.c[name] for name in ("channel_id", "sku", "outlet_id", "last_time")))
    .where(_in_order.c.outlet_id != literal_column("''"))
    .lateral("of_outlet_then")
)
_PAGE = Statement(
    select(
        _in_order,
        func.coalesce(_of_outlet_then.c.units, _published_then.c.sellable).label("sellable"),
        func.coalesce(_of_outlet_then.c.publish_time, _published_then.c.publish_time).label("publish_time"),
    )
    .select_from(_in_order.outerjoin(_published_then, true()).outerjoin(_of_outlet_then, true()))
    .order_by(*(_in_order.c[column.name] for column in _POSITION))
)
_old = (
    select(*_KEY, _figure.first_time)
    .where(_figure.last_time < func.clock_timestamp() - parameter("retention", Interval))
    .limit(parameter("count", Integer))
)
_PURGE = Statement(delete(channel_figure).where(tuple_(*_KEY, _figure.first_time).in_(_old)).returning(_figure.sku))
PURGE_BATCH = 5_000
"""Old figures that one transaction deletes."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A count that a channel was seen to show of a SKU, at a time."""

    key: FigureKey
    count: int
    unit_count: int
    time: datetime


async def latest(connection: Connection, pairs: Iterable[Pair]) -> dict[Pair, list[ShownCount]]:
    """The last figure of each item and outlet of these channels and SKUs."""
    found: dict[Pair, list[ShownCount]] = {}
    for row in await _LATEST.rows(connection, **transposed(["channel_id", "sku"], sorted(set(pairs)))):
        found.setdefault((row["channel_id"], row["sku"]), []).append(shown_count(row))
    return found


async def store(
    connection: Connection, channel_id: str, new: Sequence[Observation], extended: Sequence[ShownCount]
) -> None:
    """Keeps new figures, and until when others are known to have been shown."""
    if new:
        rows = [(channel_id, *x.key, x.time, x.time, x.count, x.unit_count) for x in new]
        await _INSERT.run(connection, **transposed([*_ROW], rows))
    if extended:
        seen = [(channel_id, x.sku, x.item_id, x.outlet_id, x.first_time, x.last_time) for x in extended]
        names = ["channel_id", "sku", "item_id", "outlet_id", "first_time", "last_time"]
        await _EXTEND.run(connection, **transposed(names, seen))


async def published(
    connection: Connection, channel_id: str, moments: Iterable[tuple[str, datetime]]
) -> dict[str, PublishedFigure]:
    """The figure last published to a channel by a time, for each (SKU, time); SKUs without any are left out."""
    asked = [(channel_id, sku, time) for sku, time in sorted(moments)]
    if not asked:
        return {}
    rows = await _PUBLISHED.rows(connection, **transposed(["channel_id", "sku", "until"], asked))
    return {r["sku"]: PublishedFigure(r["sellable"], r["publish_time"], r["policy_revision"]) for r in rows}


async def published_to_outlets(
    connection: Connection, channel_id: str, asked: set[OutletMoment], log: PublicationLog | None
) -> dict[OutletMoment, PublishedFigure]:
    """The figure last published for an outlet by a time, for each (SKU, outlet id, time).

    Those without one are left out. `sellable` are the units of the outlet. `log` has figures that are not written yet.
    """
    if not asked:
        return {}
    questions = [(channel_id, *question) for question in sorted(asked)]
    rows = await _PUBLISHED_OUTLETS.rows(connection, **transposed(list(_OUTLETS_ASKED), questions))
    found = {
        (r["sku"], r["outlet_id"], r["until"]): PublishedFigure(r["units"], r["publish_time"], r["policy_revision"])
        for r in rows
    }
    waiting = log.waiting({(channel_id, sku) for sku, _, _ in asked}) if log is not None else {}
    for sku, outlet_id, until in asked:
        for figure in waiting.get((channel_id, sku), ()):
            units, known = figure.outlets.get(outlet_id), found.get((sku, outlet_id, until))
            is_newer = known is None or figure.publish_time > known.publish_time
            if units is not None and figure.publish_time <= until and is_newer:
                found[sku, outlet_id, until] = replace(figure, sellable=units)
    return found


async def own_units(
    connection: Connection, channel_id: str, since: Iterable[tuple[str, datetime]]
) -> dict[tuple[str, datetime], int]:
    """Units promised to a channel's orders, for each (SKU, time) since that time; those without any are left out."""
    questions = sorted(set(since))
    if not questions:
        return {}
    values = transposed(["sku", "publish_time"], questions)
    rows = await _OWN_UNITS.rows(connection, channel_id=channel_id, kinds=_PROMISING, **values)
    return {(row["sku"], row["publish_time"]): int(row["units"] or 0) for row in rows}


async def page(
    connection: Connection, channel_id: str, skus: Sequence[str], after: tuple[str, str, str, datetime], count: int
) -> list[asyncpg.Record]:
    """At most `count` figures of a channel after a position, each with whether it is the last of its key."""
    sku, item_id, outlet_id, first_time = after
    return await _PAGE.rows(
        connection,
        channel_id=channel_id,
        skus=sorted(set(skus)),
        all_skus=not skus,
        sku=sku,
        item_id=item_id,
        outlet_id=outlet_id,
        first_time=first_time,
        count=count,
    )


def shown_count(row: asyncpg.Record) -> ShownCount:
    """A row of `channel_figure` as a value of `policies`."""
    return ShownCount(
        row["sku"],
        row["item_id"],
        row["outlet_id"],
        row["shown"],
        row["unit_count"],
        row["first_time"],
        row["last_time"],
    )


async def purge(connection: Connection, retention: timedelta = limits.CHANNEL_FIGURE_RETENTION) -> int:
    """Deletes at most PURGE_BATCH figures that were last observed longer ago than that; returns how many."""
    return len(await _PURGE.rows(connection, retention=retention, count=PURGE_BATCH))
