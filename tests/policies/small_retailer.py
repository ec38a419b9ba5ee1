"""A small retailer for tests of rules: rules in YAML, as planners write them, and builders for stock and orders."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from policies.domain.model import (
    Channel,
    Commitment,
    Coordinates,
    Destination,
    Location,
    Order,
    OrderLine,
    Product,
    StockLevel,
    World,
)
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
TIKTOK = Channel("tiktok_shop", "social")
TILL = Channel("pos", "pos")

OSLO = Coordinates(59.91, 10.75)
BERGEN = Coordinates(60.39, 5.32)
TROMSO = Coordinates(69.65, 18.96)
TO_OSLO = Destination(country="NO", coordinates=OSLO)

ANYWHERE = """
kind: routing
policies:
  - {name: everything, position: 100, rank: [fewest_shipments, nearest], otherwise: exception}
"""


def rules(*texts: str) -> PolicySet:
    """The policy set of these files; fails if they have problems."""
    reading = read({f"rules/file-{number}.yaml": text.encode() for number, text in enumerate(texts)})
    assert not reading.problems, [problem.message for problem in reading.problems]
    assert reading.policy_set is not None
    return reading.policy_set


def policy(**entries: Any) -> str:
    """A routing file with one policy for every order; entries are in YAML flow style."""
    text = {"name": "everything", "position": "100", "rank": "[fewest_shipments, nearest]"} | entries
    return "kind: routing\npolicies:\n  - " + "\n    ".join(f"{key}: {value}" for key, value in text.items()) + "\n"


def store(key: str, **more: Any) -> Location:
    return Location(key, "store", **more)


def warehouse(key: str, **more: Any) -> Location:
    return Location(key, "warehouse", **more)


def level(sku: str, location_id: str, on_hand: int, *, age_minutes: float | None = 2, **more: Any) -> StockLevel:
    as_of_time = None if age_minutes is None else NOW - timedelta(minutes=age_minutes)
    return StockLevel(sku, location_id, on_hand, as_of_time=as_of_time, **more)


def world(locations: Iterable[Location], levels: Iterable[StockLevel], products: Iterable[Product] = ()) -> World:
    stock_levels = list(levels)
    catalog = {stock.sku: Product(stock.sku) for stock in stock_levels} | {product.sku: product for product in products}
    return World(
        NOW,
        {location.id: location for location in locations},
        catalog,
        {(stock.sku, stock.location_id): stock for stock in stock_levels},
    )


def order(units: Mapping[str, int] | list[tuple[str, int]], **more: Any) -> Order:
    """An order with one line for each pair of SKU and units. The line ids are 1, 2, ..."""
    pairs = list(units.items()) if isinstance(units, Mapping) else units
    lines = tuple(OrderLine(str(number), sku, count) for number, (sku, count) in enumerate(pairs, start=1))
    return Order("tiktok_shop", "TT-1", lines, **more)


def sold(units: Mapping[str, int] | list[tuple[str, int]], **more: Any) -> Order:
    return order(units, commitment=Commitment.SOLD, **more)
