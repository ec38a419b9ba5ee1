"""Small routing cases as retailers meet them, played through the API of one service: who ships what.

Each has products and locations of its own; the tag of its order chooses the routing policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.type.date_pb2 import Date
from google.type.latlng_pb2 import LatLng
from google.type.money_pb2 import Money

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, order_request
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

RULES = {
    "routing": """
kind: routing
policies:
  - {name: fewest, position: 10, applies_to: {order.tags: {contains: fewest}}, rank: [fewest_shipments, priority]}
  - {name: ranked, position: 11, applies_to: {order.tags: {contains: ranked}}, rank: [priority]}
  - {name: domestic, position: 12, applies_to: {order.tags: {contains: domestic}},
     rank: [{prefer: {when: {location.same_country: true}}}, priority]}
  - {name: nearest, position: 13, applies_to: {order.tags: {contains: nearest}}, rank: [fewest_shipments, nearest]}
  - {name: no-outlets, position: 14, applies_to: {order.tags: {contains: no-outlets}}, rank: [priority],
     exclude: [{name: outlet-store, when: {location.tags: {contains: outlet}}}]}
  - {name: within-500-km, position: 15, applies_to: {order.tags: {contains: within-500-km}}, rank: [nearest],
     exclude: [{name: far, when: {location.distance_km: {more_than: 500}}}]}
  - {name: stores-first, position: 16, applies_to: {order.tags: {contains: stores-first}},
     only: {location.type: store}, ship_complete: true, otherwise: next, rank: [fewest_shipments, priority]}
  - {name: then-warehouses, position: 17, applies_to: {order.tags: {contains: stores-first}},
     only: {location.type: warehouse}, rank: [priority]}
  - {name: whole-only, position: 18, applies_to: {order.tags: {contains: whole-only}}, ship_complete: true,
     rank: [priority]}
  - {name: cheapest, position: 19, applies_to: {order.tags: {contains: cheapest}}, rank: [lowest_cost, priority]}
  - {name: soonest, position: 20, applies_to: {order.tags: {contains: soonest}}, rank: [earliest_promise, priority]}
  - {name: in-time, position: 21, applies_to: {order.tags: {contains: in-time}}, must_meet: [deliver_by],
     rank: [priority]}
  - {name: in-time-first, position: 22, applies_to: {order.tags: {contains: late-is-better-than-never}},
     must_meet: [deliver_by], ship_complete: true, otherwise: next, rank: [priority]}
  - {name: late, position: 23, applies_to: {order.tags: {contains: late-is-better-than-never}}, rank: [priority]}
  - {name: collect, position: 24, applies_to: {order.tags: {contains: collect}, order.method: pickup},
     only: {location.offers_pickup: true}, rank: [priority]}
  - {name: collect-or-send, position: 25, applies_to: {order.tags: {contains: send-to-store}, order.method: pickup},
     only: {location.offers_pickup: true}, rank: [priority], ship_to_store: true}
  - {name: collect-or-ship, position: 26, applies_to: {order.tags: {contains: ship-the-rest}, order.method: pickup},
     only: {location.offers_pickup: true}, rank: [priority], ship_rest: true}
  - {name: least-loaded, position: 27, applies_to: {order.tags: {contains: least-loaded}},
     rank: [least_loaded, priority]}
  - {name: deepest, position: 28, applies_to: {order.tags: {contains: deepest}}, rank: [deepest_stock]}
  - {name: one-parcel, position: 29, applies_to: {order.tags: {contains: one-parcel}}, max_shipments: 1,
     rank: [fewest_shipments, priority]}
  - {name: worth-splitting, position: 30, applies_to: {order.tags: {contains: worth-splitting}},
     min_split_value: 50, rank: [fewest_shipments, priority]}
  - {name: sooner-by-two-days, position: 31, applies_to: {order.tags: {contains: sooner-by-two-days}},
     split_only_if: {saves_days: 2}, rank: [earliest_promise, fewest_shipments, priority]}
  - {name: where-they-ship, position: 32, applies_to: {order.tags: {contains: where-they-ship}}, rank: [priority],
     exclude: [{name: does-not-ship-there, when: {location.serves_destination: false}}]}
  - {name: rest, position: 100, rank: [priority]}
""",
    "buffers": """
kind: buffer
name: keep-two
scope: location
rules:
  - {name: display-piece, when: {location.tags: {contains: keeps-two}}, hold_back: {units: 2}}
""",
    "exposure": """
kind: exposure
name: hazardous
rules:
  - {name: no-paint, when: {product.tags: {contains: hazardous}, location.tags: {contains: no-hazardous}},
     restrict: no hazardous goods}
""",
    "delivery": """
kind: delivery
rules:
  - {name: van, position: 1, when: {location.tags: {contains: van}}, service: van, transit_days: 1,
     ships_on: [mon, tue, wed, thu, fri, sat, sun], cost: {per_shipment: 4, per_unit: 2}}
  - {name: pallet, position: 2, when: {location.tags: {contains: pallet}}, service: pallet, transit_days: 5,
     ships_on: [mon, tue, wed, thu, fri, sat, sun], cost: {per_shipment: 15}}
  - {name: parcel, position: 3, service: parcel, transit_days: 3, ships_on: [mon, tue, wed, thu, fri, sat, sun],
     cost: {per_shipment: 6}}
""",
}
AUSTIN, DALLAS, DENVER, BOSTON = (
    LatLng(latitude=30.27, longitude=-97.74),
    LatLng(latitude=32.78, longitude=-96.80),
    LatLng(latitude=39.74, longitude=-104.99),
    LatLng(latitude=42.36, longitude=-71.06),
)
TO_AUSTIN = order_pb2.Destination(country="US", coordinates=AUSTIN)
PICKUP = order_pb2.FULFILLMENT_METHOD_PICKUP
STORE = catalog_pb.Location.TYPE_STORE

Places = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """Locations in order of priority, with their fields; on hand by (SKU, location); lines; who ships what of a SKU."""

    name: str
    tag: str
    locations: Places
    stock: Mapping[tuple[str, str], int]
    lines: list[tuple[str, int]]
    shipped: Mapping[tuple[str, str], int]
    short: int = 0
    order: Mapping[str, Any] = field(default_factory=dict)
    line_fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    before: tuple[list[tuple[str, int]], ...] = ()
    """Orders that came before."""
    kits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    commitment: int = HOLD
    tags: Mapping[str, str] = field(default_factory=dict)
    """The tag of a product."""


TOMORROW = Date()
"""Stands for the day after that on which the case is played."""


def tomorrow() -> Date:
    day = datetime.now(UTC).date() + timedelta(days=1)
    return Date(year=day.year, month=day.month, day=day.day)


TWO: Places = {"a": {}, "b": {}}
CASES = [
    Case(
        "one location that has everything ships it, though a better one has a part",
        "fewest", TWO, {("MUG", "a"): 5, ("MUG", "b"): 5, ("BOWL", "b"): 5}, [("MUG", 1), ("BOWL", 1)],
        {("MUG", "b"): 1, ("BOWL", "b"): 1},
    ),
    Case(
        "the first of the ranked locations ships what all have",
        "ranked", TWO, {("MUG", "a"): 5, ("MUG", "b"): 50}, [("MUG", 2)], {("MUG", "a"): 2},
    ),
    Case(
        "an order to Canada ships from Canada",
        "domestic", {"a": {"country": "US"}, "b": {"country": "CA"}}, {("MUG", "a"): 5, ("MUG", "b"): 5}, [("MUG", 1)],
        {("MUG", "b"): 1}, order={"destination": order_pb2.Destination(country="CA")},
    ),
    Case(
        "an order to Canada ships from abroad before it is short",
        "domestic", {"a": {"country": "US"}, "b": {"country": "CA"}}, {("MUG", "a"): 5, ("MUG", "b"): 1}, [("MUG", 3)],
        {("MUG", "b"): 1, ("MUG", "a"): 2}, order={"destination": order_pb2.Destination(country="CA")},
    ),
    Case(
        "the nearest location ships",
        "nearest", {"a": {"coordinates": BOSTON}, "b": {"coordinates": DALLAS}}, {("MUG", "a"): 5, ("MUG", "b"): 5},
        [("MUG", 1)], {("MUG", "b"): 1}, order={"destination": TO_AUSTIN},
    ),
    Case(
        "a shopper who states a region gets the nearest location too",
        "nearest", {"a": {"coordinates": BOSTON}, "b": {"coordinates": DALLAS}}, {("MUG", "a"): 5, ("MUG", "b"): 5},
        [("MUG", 1)], {("MUG", "b"): 1}, order={"destination": order_pb2.Destination(country="US", region="TX")},
    ),
    Case(
        "one parcel from afar beats two of which one is near",
        "nearest", {"a": {"coordinates": BOSTON}, "b": {"coordinates": DALLAS}, "c": {"coordinates": DENVER}},
        {("MUG", "a"): 5, ("BOWL", "a"): 5, ("MUG", "b"): 5, ("BOWL", "c"): 5}, [("MUG", 1), ("BOWL", 1)],
        {("MUG", "a"): 1, ("BOWL", "a"): 1}, order={"destination": TO_AUSTIN},
    ),
    Case(
        "of two parcels that are needed, the near pair is taken",
        "nearest", {"a": {"coordinates": BOSTON}, "b": {"coordinates": DALLAS}, "c": {"coordinates": DENVER}},
        {("MUG", "a"): 5, ("MUG", "b"): 5, ("BOWL", "c"): 5}, [("MUG", 1), ("BOWL", 1)],
        {("MUG", "b"): 1, ("BOWL", "c"): 1}, order={"destination": TO_AUSTIN},
    ),
    Case(
        "an outlet store ships nothing",
        "no-outlets", {"a": {"tags": ["outlet"]}, "b": {}}, {("MUG", "a"): 5, ("MUG", "b"): 1}, [("MUG", 2)],
        {("MUG", "b"): 1}, short=1,
    ),
    Case(
        "a location beyond the limit of distance ships nothing",
        "within-500-km", {"a": {"coordinates": BOSTON}, "b": {"coordinates": DALLAS}},
        {("MUG", "a"): 9, ("MUG", "b"): 1}, [("MUG", 2)], {("MUG", "b"): 1}, short=1, order={"destination": TO_AUSTIN},
    ),
    Case(
        "a store keeps its display pieces and the warehouse ships the rest",
        "ranked", {"a": {"type": STORE, "tags": ["keeps-two"]}, "b": {}}, {("MUG", "a"): 4, ("MUG", "b"): 9},
        [("MUG", 3)], {("MUG", "a"): 2, ("MUG", "b"): 1},
    ),
    Case(
        "stores ship an order that they have whole",
        "stores-first", {"a": {}, "b": {"type": STORE}}, {("MUG", "a"): 9, ("MUG", "b"): 2}, [("MUG", 2)],
        {("MUG", "b"): 2},
    ),
    Case(
        "the warehouse ships an order that stores do not have whole",
        "stores-first", {"a": {}, "b": {"type": STORE}}, {("MUG", "a"): 9, ("MUG", "b"): 2}, [("MUG", 3)],
        {("MUG", "a"): 3},
    ),
    Case(
        "an order that ships whole or not at all does not ship in part",
        "whole-only", TWO, {("MUG", "a"): 2, ("MUG", "b"): 2}, [("MUG", 5)], {}, short=5,
    ),
    Case(
        "a location that takes one order a day leaves the second one to the next location",
        "ranked", {"a": {"capacity": catalog_pb.Capacity(orders_per_day=1, days_ahead=0)}, "b": {}},
        {("MUG", "a"): 9, ("MUG", "b"): 9}, [("MUG", 2)], {("MUG", "b"): 2}, before=([("MUG", 1)],),
    ),
    Case(
        "the van is cheaper for one unit",
        "cheapest", {"a": {"tags": ["pallet"]}, "b": {"tags": ["van"]}}, {("MUG", "a"): 20, ("MUG", "b"): 20},
        [("MUG", 1)], {("MUG", "b"): 1},
    ),
    Case(
        "the pallet is cheaper for ten units",
        "cheapest", {"a": {"tags": ["pallet"]}, "b": {"tags": ["van"]}}, {("MUG", "a"): 20, ("MUG", "b"): 20},
        [("MUG", 10)], {("MUG", "a"): 10},
    ),
    Case(
        "one pallet costs less than a van and a parcel",
        "cheapest", {"a": {"tags": ["van"]}, "b": {}, "c": {"tags": ["pallet"]}},
        {("MUG", "a"): 5, ("BOWL", "b"): 5, ("MUG", "c"): 5, ("BOWL", "c"): 5}, [("MUG", 4), ("BOWL", 1)],
        {("MUG", "c"): 4, ("BOWL", "c"): 1},
    ),
    Case(
        "the location whose carrier is faster ships",
        "soonest", {"a": {"handling_minutes": 0}, "b": {"handling_minutes": 0, "tags": ["van"]}},
        {("MUG", "a"): 5, ("MUG", "b"): 5}, [("MUG", 1)], {("MUG", "b"): 1},
    ),
    Case(
        "a full location whose carrier is faster leaves the order to one that ships today",
        "soonest",
        {
            "a": {"handling_minutes": 0},
            "b": {"handling_minutes": 0, "tags": ["van"], "capacity": catalog_pb.Capacity(orders_per_day=0)},
        },
        {("MUG", "a"): 5, ("MUG", "b"): 5}, [("MUG", 1)], {("MUG", "a"): 1},
    ),
    Case(
        "only a location that delivers in time ships an order that must arrive tomorrow",
        "in-time", {"a": {"handling_minutes": 0}, "b": {"handling_minutes": 0, "tags": ["van"]}},
        {("MUG", "a"): 5, ("MUG", "b"): 1}, [("MUG", 2)], {("MUG", "b"): 1}, short=1,
        order={"destination": TO_AUSTIN, "deliver_by": TOMORROW},
    ),
    Case(
        "an order that nobody can deliver in time ships late where the shop prefers that",
        "late-is-better-than-never", {"a": {"handling_minutes": 0}}, {("MUG", "a"): 5}, [("MUG", 2)], {("MUG", "a"): 2},
        order={"destination": TO_AUSTIN, "deliver_by": TOMORROW},
    ),
    Case(
        "an order to collect comes from the store that the shopper chose",
        "collect", {"a": {"offers_pickup": True}, "b": {"offers_pickup": True}}, {("MUG", "a"): 9, ("MUG", "b"): 2},
        [("MUG", 3)], {("MUG", "b"): 2}, short=1, order={"method": PICKUP, "pickup_location_id": "b"},
    ),
    Case(
        "what the chosen store lacks is sent to it",
        "send-to-store", {"a": {}, "b": {"offers_pickup": True}}, {("MUG", "a"): 9, ("MUG", "b"): 2}, [("MUG", 3)],
        {("MUG", "b"): 2, ("MUG", "a"): 1}, order={"method": PICKUP, "pickup_location_id": "b"},
    ),
    Case(
        "what the chosen store lacks is shipped to the shopper",
        "ship-the-rest", {"a": {}, "b": {"offers_pickup": True}}, {("MUG", "a"): 9, ("BOWL", "b"): 2},
        [("MUG", 1), ("BOWL", 1)], {("BOWL", "b"): 1, ("MUG", "a"): 1},
        order={"method": PICKUP, "pickup_location_id": "b", "destination": TO_AUSTIN},
    ),
    Case(
        "a line that names its location ships from nowhere else",
        "ranked", TWO, {("MUG", "a"): 9, ("MUG", "b"): 1}, [("MUG", 2)], {("MUG", "b"): 1}, short=1,
        line_fields={"MUG": {"only_location_ids": ["b"]}},
    ),
    Case(
        "lines that belong together leave from the one location that has both, others from anywhere",
        "ranked", TWO, {("MUG", "a"): 9, ("BOWL", "b"): 9, ("MUG", "b"): 9, ("CUP", "a"): 9},
        [("MUG", 1), ("BOWL", 1), ("CUP", 1)], {("MUG", "b"): 1, ("BOWL", "b"): 1, ("CUP", "a"): 1},
        line_fields={"MUG": {"keep_together": "set"}, "BOWL": {"keep_together": "set"}},
    ),
    Case(
        "a kit comes whole from the location that has all of it",
        "ranked", TWO, {("MUG", "a"): 9, ("MUG", "b"): 2, ("BOWL", "b"): 9}, [("SET", 3)],
        {("MUG", "b"): 2, ("BOWL", "b"): 2}, short=2, kits={"SET": {"MUG": 1, "BOWL": 1}},
    ),
    Case(
        "the location with more of its day free ships",
        "least-loaded",
        {
            "a": {"capacity": catalog_pb.Capacity(orders_per_day=4)},
            "b": {"capacity": catalog_pb.Capacity(orders_per_day=4)},
        },
        {("MUG", "a"): 9, ("MUG", "b"): 9}, [("MUG", 1)], {("MUG", "b"): 1}, before=([("MUG", 1)],),
    ),
    Case(
        "the location with most stock ships",
        "deepest", TWO, {("MUG", "a"): 5, ("MUG", "b"): 6}, [("MUG", 1)], {("MUG", "b"): 1},
    ),
    Case(
        "where only one parcel is allowed, the location with most of the order ships it",
        "one-parcel", TWO, {("MUG", "a"): 2, ("MUG", "b"): 3}, [("MUG", 5)], {("MUG", "b"): 3}, short=2,
    ),
    Case(
        "an order of small value is not split",
        "worth-splitting", TWO, {("MUG", "a"): 2, ("MUG", "b"): 3}, [("MUG", 4)], {("MUG", "b"): 3}, short=1,
        line_fields={"MUG": {"unit_price": Money(currency_code="USD", units=10)}},
    ),
    Case(
        "an order of some value is split",
        "worth-splitting", TWO, {("MUG", "a"): 2, ("MUG", "b"): 3}, [("MUG", 5)], {("MUG", "a"): 2, ("MUG", "b"): 3},
        line_fields={"MUG": {"unit_price": Money(currency_code="USD", units=10)}},
    ),
    Case(
        "an order is split where that saves two days",
        "sooner-by-two-days",
        {key: {"handling_minutes": 0, "tags": [tag]} for key, tag in (("a", "van"), ("b", "van"), ("c", "pallet"))},
        {("MUG", "a"): 1, ("BOWL", "b"): 1, ("MUG", "c"): 1, ("BOWL", "c"): 1}, [("MUG", 1), ("BOWL", 1)],
        {("MUG", "a"): 1, ("BOWL", "b"): 1},
    ),
    Case(
        "a location that may not send hazardous goods leaves them to another, even of a paid order",
        "ranked", {"a": {"tags": ["no-hazardous"]}, "b": {}}, {("PAINT", "a"): 5, ("PAINT", "b"): 1}, [("PAINT", 2)],
        {("PAINT", "b"): 1}, short=1, commitment=SOLD, tags={"PAINT": "hazardous"},
    ),
    # `ships_to` is a fact on which rules act, as those of the repository do in each policy.
    Case(
        "a country that a location does not ship to gets it from another",
        "where-they-ship", {"a": {"ships_to": catalog_pb.CountryList(countries=["CA"])}, "b": {}},
        {("MUG", "a"): 5, ("MUG", "b"): 5}, [("MUG", 1)], {("MUG", "b"): 1}, order={"destination": TO_AUSTIN},
    ),
]  # fmt: skip


@pytest.mark.usefixtures("one_day")
async def test_orders_ship_from_where_a_retailer_expects_it(retailers: RetailerMaker, tmp_path: Path) -> None:
    for name, content in RULES.items():
        (tmp_path / f"{name}.yaml").write_text(content)
    shop = await retailers.make(tmp_path)

    wrong = []
    for number, case in enumerate(CASES):
        order = await play(shop, f"c{number}-", case)
        shipped: Counter[tuple[str, str]] = Counter()
        for shipment in order.shipments:
            for line in shipment.lines:
                shipped[line.sku.split("-", 1)[1], shipment.location_id.split("-", 1)[1]] += line.unit_count
        short = sum(x.unit_count for x in order.shortages)
        if dict(shipped) != dict(case.shipped) or short != case.short:
            dropped = [(x.location_id, x.reason) for x in order.decision.dropped_candidates if x.reason != "no-stock"]
            wrong.append((case.name, dict(shipped), short, dropped))

    assert wrong == []


async def play(shop: Retailer, prefix: str, case: Case) -> allocation_pb.Allocation:
    """The order of a case, after its locations and stock were made under names of their own."""
    await shop.stock({(prefix + sku, prefix + place): units for (sku, place), units in case.stock.items()})
    for priority, (place, fields) in enumerate(case.locations.items()):
        location = catalog_pb.Location(
            **{"type": catalog_pb.Location.TYPE_WAREHOUSE, "country": "US", "priority": priority, **fields},
            location_id=prefix + place,
        )
        await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location]))
    products = [catalog_pb.Product(sku=prefix + sku, tags=[tag]) for sku, tag in case.tags.items()]
    if products:
        await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
    for kit, components in case.kits.items():
        await shop.kits({prefix + kit: {prefix + sku: units for sku, units in components.items()}})
    for number, lines in enumerate(case.before):
        await shop.allocate(f"{prefix}{number}", [(prefix + sku, n) for sku, n in lines], HOLD, tags=["ranked"])
    request = order_request(prefix, {}, case.commitment, tags=[case.tag])
    for name, value in case.order.items():
        if name == "pickup_location_id":
            request.pickup_location_id = prefix + value
        elif name == "method":
            request.method = value
        else:
            getattr(request, name).CopyFrom(tomorrow() if value is TOMORROW else value)
    for sku, units in case.lines:
        fields = dict(case.line_fields.get(sku, {}))
        if "only_location_ids" in fields:
            fields["only_location_ids"] = [prefix + place for place in fields["only_location_ids"]]
        request.lines.append(order_pb2.OrderLine(sku=prefix + sku, unit_count=units, **fields))
    allocation: allocation_pb.Allocation = (await shop.allocations.AllocateOrder(request, timeout=60)).allocation
    return allocation
