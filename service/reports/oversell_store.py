"""SQL of oversells and of what would have avoided them: losses reported late, least figures told, refused units."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

import asyncpg
from sqlalchemy import BigInteger, Integer, Interval, Text, cast, func, literal_column, select

from policies.reports.avoidance import LateLoss
from service import limits
from service.database.database import Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import (
    Moment,
    allocation,
    availability_history,
    order_count,
    stock_movement,
    unmet_demand,
)
from service.history.counted_orders import OVERSOLD

REPORTED_WITHIN = timedelta(days=7)
"""How long after a figure was published losses of before are looked for: later ones are not of the same mistake."""
Pair = tuple[str, str]
"""(Channel id, SKU)."""
Publication = tuple[str, datetime]
"""(SKU, when its figure was published)."""

_count, _order = order_count.c, allocation.c
_oversells = (
    select(
        *(_count.count_time, _count.channel_id, _count.allocation_id, _count.unit_count, _count.cause),
        *(_count.oversold, _order.order_id),
    )
    .join(allocation, _order.id == _count.allocation_id)
    .where(
        _count.kind == literal_column(f"'{OVERSOLD}'"),
        _count.count_time >= parameter("since", Moment),
        _count.count_time < parameter("until", Moment),
        _count.oversold.is_not(None),
    )
)
_newest_of_most = (_count.unit_count.desc(), _count.count_time.desc(), _count.id)
_OVERSELLS = Statement(_oversells.order_by(*_newest_of_most).limit(parameter("count", Integer)))
_OVERSELLS_OF = Statement(
    _oversells.where(_count.channel_id == any_of("channel_ids", Text))
    .order_by(*_newest_of_most)
    .limit(parameter("count", Integer))
)
_published = unnested("published", position=Integer, sku=Text, publish_time=Moment)
_movement = stock_movement.c
_LOSSES = Statement(
    select(_published.c.position, _movement.source, _movement.effective_time, -_movement.on_hand_delta)
    .join(
        stock_movement,
        (_movement.sku == _published.c.sku)
        & (_movement.ingest_time > _published.c.publish_time)
        & (_movement.ingest_time <= _published.c.publish_time + parameter("within", Interval))
        & (_movement.effective_time <= _published.c.publish_time),
    )
    # What orders did is no report of a feed.
    .where(_movement.on_hand_delta < 0, _movement.allocation_id.is_(None))
)
_pairs = unnested("pairs", channel_id=Text, sku=Text)
_told, _unmet = availability_history.c, unmet_demand.c
_LEAST_TOLD = Statement(
    select(_told.channel_id, _told.sku, func.min(_told.sellable).label("least"))
    .join(_pairs, (_told.channel_id == _pairs.c.channel_id) & (_told.sku == _pairs.c.sku))
    .where(_told.publish_time >= parameter("since", Moment), _told.publish_time < parameter("until", Moment))
    .group_by(_told.channel_id, _told.sku)
)
_REFUSED = Statement(
    select(_unmet.channel_id, _unmet.sku, cast(func.sum(_unmet.unmet_count), BigInteger).label("units"))
    .join(_pairs, (_unmet.channel_id == _pairs.c.channel_id) & (_unmet.sku == _pairs.c.sku))
    .where(_unmet.demand_time >= parameter("since", Moment), _unmet.demand_time < parameter("until", Moment))
    .group_by(_unmet.channel_id, _unmet.sku)
)


async def oversells(
    connection: Connection, since: datetime, until: datetime, channel_ids: Sequence[str]
) -> list[asyncpg.Record]:
    """What was oversold in a window, the most units first: at most one more than a report lists."""
    values = {"since": since, "until": until, "count": limits.REPORT_OVERSELLS + 1}
    if channel_ids:
        return await _OVERSELLS_OF.rows(connection, **values, channel_ids=list(channel_ids))
    return await _OVERSELLS.rows(connection, **values)


async def late_losses(connection: Connection, published: Collection[Publication]) -> dict[Publication, list[LateLoss]]:
    """Losses of these products that happened before a figure was published, and were reported afterwards."""
    known = sorted(published)
    losses: dict[Publication, list[LateLoss]] = {publication: [] for publication in known}
    rows = [(position, *publication) for position, publication in enumerate(known)]
    columns = transposed(["position", "sku", "publish_time"], rows)
    for position, source, effective_time, units in (
        await _LOSSES.rows(connection, **columns, within=REPORTED_WITHIN) if rows else ()
    ):
        losses[known[position]].append(LateLoss(source, effective_time, units))
    return losses


async def least_told(
    connection: Connection, since: datetime, until: datetime, pairs: Iterable[Pair]
) -> dict[Pair, int]:
    """The least that each channel was told of each product in a window."""
    columns = transposed(["channel_id", "sku"], sorted(pairs))
    rows = await _LEAST_TOLD.rows(connection, **columns, since=since, until=until)
    return {(row["channel_id"], row["sku"]): row["least"] for row in rows}


async def refused_units(
    connection: Connection, since: datetime, until: datetime, pairs: Iterable[Pair]
) -> dict[Pair, int]:
    """Units of each product that each channel's shoppers wanted and did not get in a window."""
    columns = transposed(["channel_id", "sku"], sorted(pairs))
    rows = await _REFUSED.rows(connection, **columns, since=since, until=until)
    return {(row["channel_id"], row["sku"]): row["units"] for row in rows}
