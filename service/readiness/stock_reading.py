"""Reads stock figures, what sold unreported, and orders, as far as the checklist asks about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy import text

from policies.domain.model import StockLevel, World
from policies.readiness.buffer_answers import LAG_DAYS
from policies.readiness.routing_answers import DEMAND_DAYS, SHIPMENT_DAYS, Demand
from policies.readiness.stock_answers import MISMATCH_DAYS, SILENT_AFTER, LocationStock
from policies.readiness.unreported_sales import UnreportedLoss
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection, Statement
from service.database.monthly_partitions import first_id
from service.feeds.feed_silence import STALE_AFTER_CADENCES
from service.stock import levels

BEST_SELLERS = 300
"""Products of a channel whose levels are looked at one by one: those that sell fastest."""
MOVEMENTS = 200_000
"""The newest movements that are searched for what sold unreported."""
_DEMANDS = 200

_LEVELS = Statement(
    text(
        """
        SELECT location_id, count(*) AS level_count, max(as_of_time) AS report_time,
            count(*) FILTER (WHERE as_of_time IS NULL) AS never_counted,
            (array_agg(sku ORDER BY sku) FILTER (WHERE on_hand < 0))[1:5] AS negative_skus
        FROM stock_level WHERE location_id = ANY(:location_ids) AND tracked GROUP BY location_id
        """
    )
)
_COMPARISONS = Statement(
    text(
        """
        SELECT location_id, count(*) AS comparisons, count(*) FILTER (WHERE is_mismatch) AS mismatches
        FROM stock_comparison WHERE count_time >= :since AND location_id = ANY(:location_ids) GROUP BY location_id
        """
    )
)
_FEEDS = Statement(
    text(
        """
        SELECT source, location_ids, cadence_minutes, coalesce(ingest_time, update_time) AS since
        FROM feed WHERE role = 'owner' ORDER BY source
        """
    )
)
_BEST_SELLERS = Statement(
    text(
        """
        SELECT p.sku FROM product p
        WHERE p.status = 'active' AND EXISTS (
            SELECT FROM stock_level l WHERE l.sku = p.sku AND l.location_id = ANY(:location_ids) AND l.on_hand > 0
        )
        ORDER BY coalesce(p.velocity_per_day, p.learned_velocity) DESC NULLS LAST, p.sku LIMIT :count
        """
    )
)
_LOSSES = Statement(
    text(
        """
        WITH newest AS (
            SELECT * FROM stock_movement WHERE ingest_time >= :since AND location_id = ANY(:location_ids)
                AND kind IN ('counted', 'sold') AND allocation_id IS NULL
            ORDER BY ingest_time DESC LIMIT :count
        ),
        since_count AS (
            SELECT *, lag(effective_time) OVER (
                PARTITION BY sku, location_id, kind ORDER BY effective_time, ingest_time
            ) AS previous_time
            FROM newest
        )
        SELECT sku, location_id, -on_hand_delta AS units, ingest_time AS known_time,
            CASE WHEN kind = 'counted' THEN coalesce(previous_time, effective_time) ELSE effective_time END AS lost_time
        FROM since_count WHERE on_hand_delta < 0
        """
    )
)
_DEMAND = Statement(
    text(
        """
        SELECT method, CASE WHEN method = 'ship' THEN country END AS country, count(*) AS order_count FROM allocation
        WHERE channel_id = :channel_id AND id >= :first_id GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT :count
        """
    )
)
_SHIPMENTS = Statement(
    text(
        """
        SELECT s.location_id, count(*) AS shipments FROM shipment s JOIN allocation a ON a.id = s.allocation_id
        WHERE s.id >= :first_id AND s.location_id = ANY(:location_ids) AND a.channel_id = :channel_id
            AND coalesce(s.method, a.method) <> 'pickup' GROUP BY 1
        """
    )
)


async def world_of(connection: Connection, catalog: Catalog, skus: Iterable[str], location_ids: Sequence[str]) -> World:
    """The products and their levels at these locations, as of now."""
    now, found = await levels.read(connection, skus, len(catalog.locations))
    _, products = await catalog_store.products(connection, {sku for sku, _ in found})
    of_channel = frozenset(location_ids)
    kept = {key: level for key, level in found.items() if key[1] in of_channel and level.tracked}
    return World(now, {id: catalog.locations[id] for id in location_ids}, products, kept)


async def best_sellers(connection: Connection, location_ids: Sequence[str]) -> list[str]:
    """Active products with stock at these locations that sell fastest."""
    rows = await _BEST_SELLERS.rows(connection, location_ids=list(location_ids), count=BEST_SELLERS)
    return [row["sku"] for row in rows]


async def location_stock(connection: Connection, location_ids: Sequence[str], world: World) -> list[LocationStock]:
    """The figures of each location; how far counts are trusted is of the levels of `world`."""
    since = world.now - timedelta(days=MISMATCH_DAYS)
    ids = list(location_ids)
    by_id = {row["location_id"]: row for row in await _LEVELS.rows(connection, location_ids=ids)}
    compared = {
        row["location_id"]: (row["comparisons"], row["mismatches"])
        for row in await _COMPARISONS.rows(connection, since=since, location_ids=ids)
    }
    cadences, silent = await _feeds(connection, ids, world.now)
    trust = _confidence(world.levels.values())
    found = []
    for id in ids:
        row = by_id.get(id)
        comparisons, mismatches = compared.get(id, (0, 0))
        found.append(
            LocationStock(
                id,
                level_count=row["level_count"] if row else 0,
                report_time=row["report_time"] if row else None,
                silent_after=cadences.get(id, SILENT_AFTER),
                silent_feeds=tuple(silent.get(id, ())),
                never_counted=row["never_counted"] if row else 0,
                negative_skus=tuple(row["negative_skus"] or ()) if row else (),
                confidence=trust.get(id),
                comparisons=comparisons,
                mismatches=mismatches,
            )
        )
    return found


async def losses(connection: Connection, location_ids: Sequence[str], now: datetime) -> list[UnreportedLoss]:
    """Units that sources reported as gone in the last LAG_DAYS, of the newest MOVEMENTS."""
    since = now - timedelta(days=LAG_DAYS)
    rows = await _LOSSES.rows(connection, since=since, location_ids=list(location_ids), count=MOVEMENTS)
    return [
        UnreportedLoss(*(row[x] for x in ("sku", "location_id", "units", "lost_time", "known_time"))) for row in rows
    ]


async def demands(connection: Connection, channel_id: str, now: datetime) -> list[Demand]:
    """What the channel's orders of the last DEMAND_DAYS asked for, most orders first."""
    first = first_id(now - timedelta(days=DEMAND_DAYS))
    rows = await _DEMAND.rows(connection, channel_id=channel_id, first_id=first, count=_DEMANDS)
    return [Demand(row["method"], row["country"], row["order_count"]) for row in rows]


async def shipments(
    connection: Connection, channel_id: str, location_ids: Sequence[str], now: datetime
) -> Mapping[str, int]:
    """The channel's shipments of the last SHIPMENT_DAYS, by location."""
    first = first_id(now - timedelta(days=SHIPMENT_DAYS))
    rows = await _SHIPMENTS.rows(connection, channel_id=channel_id, first_id=first, location_ids=list(location_ids))
    return {row["location_id"]: row["shipments"] for row in rows}


async def _feeds(
    connection: Connection, location_ids: Sequence[str], now: datetime
) -> tuple[dict[str, timedelta], dict[str, list[str]]]:
    """By location, how old its figures may be where its feeds have a cadence, and which of these feeds are silent."""
    cadences: dict[str, timedelta] = {}
    silent: dict[str, list[str]] = defaultdict(list)
    for row in await _FEEDS.rows(connection):
        if row["cadence_minutes"] is None:
            continue
        limit = timedelta(minutes=STALE_AFTER_CADENCES * row["cadence_minutes"])
        for id in row["location_ids"] or location_ids:
            cadences[id] = max(limit, cadences.get(id, timedelta()))
            if now - row["since"] > limit:
                silent[id].append(row["source"])
    return cadences, silent


def _confidence(found: Iterable[StockLevel]) -> dict[str, float]:
    """The median chance that a figure is right, by location; without those where no person has counted."""
    by_location: dict[str, list[float]] = defaultdict(list)
    for level in found:
        if level.count_confidence is not None:
            by_location[level.location_id].append(level.count_confidence)
    return {id: median(chances) for id, chances in by_location.items()}
