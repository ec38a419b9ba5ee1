"""Random retailers use all of routing at once, and what they are told beforehand is what they then get.

Locations have coordinates, hours, holidays and a capacity; policies have deadlines, limits on splits and steps of all
kinds; delivery costs by distance and weight and takes days; stock came in on different days. Orders are held, sold,
changed, cancelled, rejected and shipped.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.type.date_pb2 import Date
from google.type.latlng_pb2 import LatLng
from google.type.timeofday_pb2 import TimeOfDay
from prometheus_client import CollectorRegistry

from service.allocation.replanning.backorders import Backorders
from service.app import housekeeping
from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.resolution.location_sweep import LocationSweep
from service.settings import Settings
from tests.conftest import RetailerMaker, seeds
from tests.retailer import HOLD, SOLD, Retailer, State, change, movement, order_request
from tests.service.capacity.test_capacity import LEDGER
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)

pytestmark = pytest.mark.usefixtures("one_day")

LOCATION_IDS = ("austin", "boston", "chicago", "dc")
SKUS = ("MUG", "BOWL", "TRAY")
KIT, SPLIT_KIT = "SET", "PAIR"
REFUSALS = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
PLACES = (LatLng(latitude=30.27, longitude=-97.74), LatLng(latitude=42.36, longitude=-71.06))
DESTINATIONS = (
    *(order_pb2.Destination(country="US", coordinates=place) for place in PLACES),
    *(order_pb2.Destination(country="US", postal_code=code) for code in ("78701", "02108", "00000")),
    order_pb2.Destination(country="US", region="TX"),
)
"""Where shoppers are, by coordinates, by postal code (the last one does not exist) or by region."""
PICKUP = order_pb2.FULFILLMENT_METHOD_PICKUP

STEPS = (
    "fewest_shipments",
    "lowest_cost",
    "earliest_promise",
    "least_loaded",
    "{nearest: {band_km: 100}}",
    "priority",
    "deepest_stock",
    "oldest_stock",
)
DELIVERY = """\
kind: delivery
rules:
  - {name: near, position: 10, when: {location.distance_km: {at_most: 500}}, service: van, transit_days: 1,
     cost: {per_shipment: 5, per_unit: 1, per_kg: 2}}
  - {name: far, position: 20, service: parcel, transit_days: 3, cost: {per_shipment: 9, per_kg: 0.50}}
"""

Allocation = allocation_pb.Allocation
Sweep = Callable[[], Awaitable[None]]


def rules_of(dice: random.Random) -> dict[str, str]:
    """Rule files by name. No rule looks at an order, so that a question without one is answered as an order is."""
    steps = ", ".join(dice.sample(STEPS, dice.randint(1, 4)))
    settings = [
        dice.choice(["", "max_shipments: 1", "max_shipments: 2"]),
        dice.choice(["", "ship_complete: true"]),
        dice.choice(["", "", "split_only_if: {saves_days: 2}"]),
        dice.choice(["must_meet: [deliver_by]", "must_meet: [ship_by, deliver_by]"]),
    ]
    policy = ", ".join(["name: all", "position: 100", *filter(None, settings), f"rank: [{steps}]"])
    pickup = [
        dice.choice(["", "ship_to_store: true"]),
        dice.choice(["", "ship_rest: true"]),
        dice.choice(settings[1:2]),
    ]
    at_store = ", ".join(["name: at-store", "position: 10", *filter(None, pickup), "rank: [priority]"])
    at_store += ", applies_to: {order.method: pickup}, only: {location.offers_pickup: true}"
    buffer = f"{{name: floor, when: {{location.type: store}}, hold_back: {{units: {dice.randint(1, 2)}}}}}"
    return {
        "routing.yaml": f"kind: routing\npolicies:\n  - {{{at_store}}}\n"
        f"  - {{{policy}, sold_may_use: [buffer], otherwise: exception}}\n",
        "buffer.yaml": f"kind: buffer\nname: stores\nscope: location\nrules:\n  - {buffer}\n",
        "delivery.yaml": DELIVERY,
    }


class RandomShop:
    """A retailer in random steps; the same seed makes the same steps."""

    def __init__(self, shop: Retailer, dice: random.Random, sweep: Sweep) -> None:
        self.sweep = sweep
        self.shop = shop
        self.dice = dice
        self.orders: dict[str, Allocation] = {}
        self.locations: dict[str, catalog_pb.Location] = {}
        self.taken: dict[tuple[str, date], tuple[int, int]] = {}
        """Orders and units that each location has taken of each day's capacity."""
        self.done: Counter[str] = Counter()

    async def set_up(self) -> None:
        grams = [self.dice.choice([None, 200, 1_500]) for _ in SKUS]
        products = [catalog_pb.Product(sku=sku, weight_grams=x) for sku, x in zip(SKUS, grams, strict=True)]
        await self.shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
        await self.shop.locations(*LOCATION_IDS)
        for location_id in LOCATION_IDS:
            counts = {(sku, location_id): self.dice.randint(0, 6) for sku in SKUS}
            await self.shop.count(counts, at=datetime.now(UTC) - timedelta(days=self.dice.randint(5, 9)))
        await self.shop.kits({KIT: {"MUG": 1, "BOWL": 2}})
        await self.shop.kits({SPLIT_KIT: {"MUG": 1, "TRAY": 2}}, may_split=True)
        await self.edit_locations()

    async def edit_locations(self) -> None:
        self.locations = {location_id: self._location(location_id) for location_id in LOCATION_IDS}
        request = catalog_pb.UpsertLocationsRequest(locations=self.locations.values())
        await self.shop.catalog.UpsertLocations(request)

    def _location(self, location_id: str) -> catalog_pb.Location:
        dice, is_store = self.dice, location_id != "dc"
        today = datetime.now(UTC).date()
        hours = catalog_pb.WorkingTime(
            opens=TimeOfDay(hours=0),
            closes=TimeOfDay(hours=0),
            cut_off=dice.choice([None, TimeOfDay(hours=0), TimeOfDay(hours=23, minutes=59)]),
            holidays=[to_message(today + timedelta(days=day)) for day in range(4) if dice.random() < 0.3],
        )
        return catalog_pb.Location(
            location_id=location_id,
            type=catalog_pb.Location.TYPE_STORE if is_store else catalog_pb.Location.TYPE_WAREHOUSE,
            coordinates=dice.choice([*PLACES, LatLng(latitude=41.88, longitude=-87.63)]),
            handling_minutes=dice.choice([0, 60]),
            priority=dice.randint(1, 3),
            offers_pickup=is_store and dice.random() < 0.7,
            country="US",
            time_zone="UTC",
            working_time=hours,
            capacity=dice.choice(
                [
                    None,
                    catalog_pb.Capacity(orders_per_day=dice.randint(0, 3)),
                    catalog_pb.Capacity(units_per_day=dice.randint(1, 9), days_ahead=dice.randint(0, 2)),
                ]
            ),
        )

    async def step(self) -> None:
        """One random step, refused or not, after which all that must hold is checked."""
        steps = [self.order] * 5 + [
            self.ask,
            self.ask_for_pickup,
            self.receive,
            self.ship,
            self.reject,
            self.cancel,
            self.end_hold,
        ]
        step = self.dice.choice([*steps, self.edit_locations])
        try:
            await step()
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSALS:
                raise
        else:
            self.done[step.__name__] += 1
            if sum(self.done.values()) % 3 == 0:
                await self.sweep()
        await self.check()

    async def order(self) -> None:
        """Tries an order, and then sends it."""
        dice = self.dice
        request = order_request(str(dice.randint(1, 8)), {}, dice.choice([HOLD, SOLD]))
        request.destination.CopyFrom(dice.choice(DESTINATIONS))
        if dice.random() < 0.3:
            request.method, request.pickup_location_id = PICKUP, dice.choice(LOCATION_IDS)
        for _ in range(dice.randint(1, 3)):
            line = request.lines.add(sku=dice.choice((*SKUS, KIT, SPLIT_KIT)), unit_count=dice.randint(1, 4))
            if dice.random() < 0.3:
                line.keep_together = "together"
            if dice.random() < 0.2:
                line.not_location_ids.append(dice.choice(LOCATION_IDS))
        if dice.random() < 0.5:
            request.deliver_by.CopyFrom(to_message(datetime.now(UTC).date() + timedelta(days=dice.randint(0, 5))))
        if dice.random() < 0.3:
            request.ship_by_time.FromDatetime(datetime.now(UTC) + timedelta(hours=dice.randint(1, 60)))
        trial = allocation_pb.AllocateOrderRequest(validate_only=True)
        trial.MergeFrom(request)

        tried = (await self.shop.allocations.AllocateOrder(trial)).allocation
        real = (await self.shop.allocations.AllocateOrder(request)).allocation

        if self._may_fill_itself(tried):
            assert units(tried) <= units(real), (tried, real)
        else:
            assert contents(tried) == contents(real), (tried, real)
        self._keep(real)
        homes = {
            shipment.location_id
            for shipment in real.shipments
            for units in shipment.lines
            if units.unit_count and line_of(real, units.line_id).keep_together
        }
        assert len(homes) <= 1, real

    async def ask(self) -> None:
        """What one order can get, at all and by each day, is what a held order then gets, and no unit more."""
        destination, sku = self.dice.choice(DESTINATIONS), self.dice.choice((*SKUS, KIT, SPLIT_KIT))
        request = availability_pb.CheckAvailabilityRequest(
            channel_id="web", skus=[sku], destination=destination, include_delivery_days=True
        )
        (figure,) = (await self.shop.availability.CheckAvailability(request)).availabilities
        await self._try_largest(sku, figure.largest_single_order_count, destination=destination)
        for day in figure.delivery_days:
            await self._try_largest(sku, day.largest_order_count, destination=destination, deliver_by=day.deliver_by)

    async def ask_for_pickup(self) -> None:
        """What one order can get that is picked up at a store is what a held order then gets, and no unit more."""
        sku = self.dice.choice((*SKUS, KIT, SPLIT_KIT))
        at: dict[str, Any] = {"method": PICKUP, "pickup_location_id": self.dice.choice(LOCATION_IDS)}
        if self.dice.random() < 0.5:
            at["destination"] = self.dice.choice(DESTINATIONS)
        request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=[sku], **at)
        (figure,) = (await self.shop.availability.CheckAvailability(request)).availabilities
        await self._try_largest(sku, figure.largest_single_order_count, **at)

    async def _try_largest(self, sku: str, count: int, **fields: Any) -> None:
        for units, is_whole in ((count, True), (count + 1, False)):
            if units:
                order = await self.shop.allocate("try", {sku: units}, HOLD, validate_only=True, **fields)
                assert (not order.shortages) == is_whole, (sku, units, fields, order)

    async def receive(self) -> None:
        units = movement(stock_pb.MOVEMENT_KIND_RECEIVED, self.dice.randint(1, 4))
        at = datetime.now(UTC) - timedelta(days=self.dice.randint(0, 4))
        await self.shop.record(change(self.dice.choice(SKUS), self.dice.choice(LOCATION_IDS), at=at, movement=units))

    async def ship(self) -> None:
        self._keep(await self.shop.ship(self._some_shipment()))

    async def reject(self) -> None:
        self._keep(await self.shop.reject(self._some_shipment(), self.dice.choice(["not_found", "no_capacity"])))

    async def cancel(self) -> None:
        order = self._some_order()
        line = self.dice.choice(order.lines)
        self._keep(await self.shop.cancel(order.allocation_id, {line.line_id: self.dice.randint(1, 2)}))

    async def end_hold(self) -> None:
        end = self.dice.choice([self.shop.confirm, self.shop.release])
        self._keep(await end(self._some_order().allocation_id))

    def _keep(self, order: Allocation) -> None:
        self.orders[order.order_id] = order

    def _some_order(self) -> Allocation:
        orders = list(self.orders.values())
        return self.dice.choice(orders) if orders else Allocation(lines=[allocation_pb.AllocatedLine()])

    def _some_shipment(self) -> object:
        shipments = [x for x in self._some_order().shipments if any(line.unit_count for line in x.lines)]
        return self.dice.choice(shipments) if shipments else Allocation().shipments.add()

    def _may_fill_itself(self, tried: Allocation) -> bool:
        """Whether the order replaces one whose units it gives back, and waits for more.

        Units that are given back go to waiting orders at once, itself included, which a trial does not play.
        """
        return tried.order_id in self.orders and any(shortage.backordered for shortage in tried.shortages)

    async def check(self) -> None:
        """All that must hold at any moment."""
        for order_id, order in self.orders.items():
            self.orders[order_id] = (await self.shop.get(order.allocation_id)).allocation
        promised = Counter[tuple[str, str]]()
        for order in self.orders.values():
            for shipment in order.shipments:
                for line in shipment.lines:
                    promised[line.sku, shipment.location_id] += line.unit_count
                    excluded = line_of(order, line.line_id).not_location_ids
                    assert not line.unit_count or shipment.location_id not in excluded, order
        levels = await self.shop.stock_service.ListStockLevels(stock_pb.ListStockLevelsRequest())
        for level in levels.stock_levels:
            count = promised[level.sku, level.location_id]
            assert level.held_count + level.allocated_count == count <= max(0, level.on_hand_count), (level, self.done)
        assert (await self.shop.ledger()).balanced
        await self._check_capacity()
        for order in self.orders.values():
            # Of a refused hold only a summary is stored.
            if order.decision.decision_id and order.state != State.STATE_REFUSED:
                answer = await self.shop.replay(order.decision.decision_id)
                assert answer.identical, answer

    async def _check_capacity(self) -> None:
        """Shipments account for all that was taken, and no location takes more than it can handle.

        A location may have taken more before its capacity was lowered, and then takes no more.
        """
        assert await self.shop.sql(LEDGER) == []
        rows = await self.shop.sql("SELECT * FROM capacity_use WHERE hour = -1")
        taken = {(row["location_id"], row["day"]): (row["order_count"], row["unit_count"]) for row in rows}
        for (location_id, day), counts in taken.items():
            capacity = self.locations[location_id].capacity
            before = self.taken.get((location_id, day), (0, 0))
            limits = (
                capacity.orders_per_day if capacity.HasField("orders_per_day") else inf,
                capacity.units_per_day if capacity.HasField("units_per_day") else inf,
            )
            for count, earlier, limit in zip(counts, before, limits, strict=True):
                assert count <= max(earlier, limit), (location_id, day, counts, before, capacity, self.done)
        self.taken = taken


def contents(order: Allocation) -> object:
    """What an order got: units by line and location with their dates, and what is short and why."""
    return (
        [
            (x.location_id, [(y.line_id, y.unit_count) for y in x.lines], to_day(x.deliver_date), x.ship_by_time)
            for x in order.shipments
            if any(line.unit_count for line in x.lines)
        ],
        [(x.line_id, x.kind, x.cause, x.unit_count) for x in order.shortages],
        order.outcome,
    )


def units(order: Allocation) -> Counter[tuple[str, str]]:
    """Units by line and location."""
    counts = Counter[tuple[str, str]]()
    for shipment in order.shipments:
        for line in shipment.lines:
            counts[line.line_id, shipment.location_id] += line.unit_count
    return counts


def line_of(order: Allocation, line_id: str) -> allocation_pb.AllocatedLine:
    return next(line for line in order.lines if line.line_id == line_id)


def to_message(day: date) -> Date:
    return Date(year=day.year, month=day.month, day=day.day)


def to_day(message: Date) -> date | None:
    return date(message.year, message.month, message.day) if message.year else None


@asynccontextmanager
async def sweeping(retailer: Retailer, folder: Path) -> AsyncIterator[Sweep]:
    """Fills backorders and moves shipments of closed locations, as services do in the background."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(retailer.database_url, metrics, connections=2)
    deps = Dependencies(Settings(), database, ActivePolicies(folder, metrics), metrics, new_id)
    backorders, locations = Backorders(deps), LocationSweep(deps)

    async def sweep() -> None:
        await backorders.sweep()
        await locations.run()

    try:
        yield sweep
    finally:
        await database.close()


async def play(retailers: RetailerMaker, folder: Path, seed: int, steps: int) -> None:
    dice = random.Random(seed)
    for name, content in rules_of(dice).items():
        (folder / name).write_text(content)
    retailer = await retailers.make(folder)
    await retailer.has_done("backorders")
    async with sweeping(retailer, folder) as sweep:
        shop = RandomShop(retailer, dice, sweep)
        await shop.set_up()
        for _ in range(steps):
            await shop.step()
    print(dict(shop.done))  # noqa: T201


@pytest.mark.parametrize("seed", seeds(1, of_long_tests=9))
async def test_what_a_retailer_is_told_is_what_it_gets(
    retailers: RetailerMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    # Between two of the test's questions nothing else may change; the test sweeps itself.
    monkeypatch.setattr(housekeeping, "BACKORDER_SECONDS", 3_600)
    monkeypatch.setattr(housekeeping, "LOCATION_SECONDS", 3_600)
    await play(retailers, tmp_path, seed, steps=40 if seed else 25)
