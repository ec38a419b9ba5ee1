"""What is ordered to exercise paths, and when orders of the channel last went them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text

from policies.decisions.availability.sellable import assess_availability
from policies.domain.model import SHIP, Channel, Destination, Location, StockLevel, World
from policies.policy_set import PolicySet
from policies.readiness.path_answers import (
    CANCELLATION,
    LOCATION_OFF,
    PARTIAL_FULFILLMENT,
    REFUND,
    RETURN,
    STOCK_CHANGE,
)
from policies.readiness.routing_answers import Demand
from service.database.database import Connection, Statement
from service.readiness.exercised_paths import UNITS, PathSubject

EVENTS = 200_000
"""The newest events of orders that are searched for each path."""
LEAST_SELLABLE = 10
"""Units that a product must be able to sell for it to be ordered."""
_COUNTED = "(count correction)"
_OFF = "(location unavailable)"
_LAST = Statement(
    text(
        f"""
        WITH newest AS (SELECT * FROM order_event ORDER BY id DESC LIMIT :count),
        of_channel AS (
            SELECT e.*, count(*) FILTER (WHERE e.event = 'shipped') OVER (PARTITION BY e.allocation_id) AS parts
            FROM newest e JOIN allocation a ON a.id = e.allocation_id WHERE a.channel_id = :channel_id
        )
        SELECT
            max(event_time) FILTER (WHERE event = 'cancelled') AS {CANCELLATION},
            max(event_time) FILTER (WHERE event = 'shipped' AND parts > 1) AS {PARTIAL_FULFILLMENT},
            max(event_time) FILTER (WHERE event = 'refunded') AS {REFUND},
            max(event_time) FILTER (WHERE event = 'returned') AS {RETURN},
            max(event_time) FILTER (WHERE description LIKE '%{_COUNTED}%') AS {STOCK_CHANGE},
            max(event_time) FILTER (WHERE description LIKE '%{_OFF}%') AS {LOCATION_OFF}
        FROM of_channel
        """.replace(f"{RETURN},", f'"{RETURN}",')
    )
)


async def last_real(connection: Connection, channel_id: str) -> Mapping[str, datetime]:
    """When an order of the channel last went each path, among the newest EVENTS of all orders."""
    row = await _LAST.row(connection, channel_id=channel_id, count=EVENTS)
    return {} if row is None else {path: time for path, time in row.items() if time is not None}


def path_subject(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    skus: Sequence[str],
    demands: Sequence[Demand],
) -> PathSubject | None:
    """What to order: the first product that could be sold if it were in stock everywhere; None if there is none."""
    locations = list(world.locations.values())
    country = next((x.country for x in demands if x.method == SHIP and x.country), None)
    point = next((x.coordinates for x in locations if x.coordinates and x.country == country), None)
    destination = None if country is None else Destination(country, coordinates=point)
    for sku in skus:
        stocked = World(world.now, world.locations, world.products, _levels(sku, locations, world.now))
        figure = assess_availability(policy_set, stocked, channel, sku, method=SHIP, destination=destination)
        if figure.sellable >= LEAST_SELLABLE:
            return PathSubject(channel.id, tuple(sorted(world.locations)), sku, country, point)
    return None


def _levels(sku: str, locations: Sequence[Location], now: datetime) -> dict[tuple[str, str], StockLevel]:
    """The product counted a moment ago at each location."""
    return {
        (sku, x.id): StockLevel(
            sku, x.id, UNITS, as_of_time=now, counted_time=now, count_confidence=1.0, physical_count_time=now
        )
        for x in locations
    }
