"""Orders leave a location that the catalog forbids them, or an exception says that they cannot.

Tests run the sweep themselves; the service runs it too, every two seconds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.resolution.exception_sweep import ExceptionSweep
from service.resolution.location_sweep import LocationSweep
from service.settings import Settings
from tests.conftest import RetailerMaker, seeds
from tests.exception_shop import CANCELLED, REROUTED, Record
from tests.retailer import HOLD, SOLD, Retailer, State, promised
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

ROUTING = """\
kind: routing
policies:
  - name: pickup
    position: 10
    applies_to: {order.method: pickup}
    only: {location.offers_pickup: true}
    rank: [priority]
    max_shipments: 1
  - name: ship
    position: 100
    exclude:
      - {name: not-working, when: {location.status: [paused, stocktake]}}
      - {name: not-served, when: {location.serves_destination: false}}
    rank: [fewest_shipments, priority]
"""
OWNERS = """\
kind: exception
rules:
  - {name: moves, position: 10, when: {exception.kind: location_unavailable}, do: review, owner: store-desk, due_in: 1h}
  - {name: rest, position: 100, do: review, owner: operations, due_in: 1d}
"""
Location = catalog_pb.Location
TO_NORWAY = order_pb2.Destination(country="NO")
PICKUP = order_pb2.FULFILLMENT_METHOD_PICKUP


class Sweeper:
    """The sweep of another service on the same database, run by the test until nothing is left to check."""

    def __init__(self, shop: Retailer, deps: Dependencies) -> None:
        self._shop, self._deps = shop, deps

    async def settle(self) -> None:
        for _ in range(100):
            await LocationSweep(self._deps).run()
            if not await self._shop.sql(OUTDATED):
                return
            # The service's own sweep has locked the orders.
            await asyncio.sleep(0.05)
        raise AssertionError("shipments are still to be checked")

    async def sweep_exceptions(self) -> None:
        await ExceptionSweep(self._deps).run()

    def counted(self, name: str, **labels: str) -> float:
        """The sum of a counter over this service and the shop's; either may have done the work."""
        own = self._deps.metrics.registry.get_sample_value(f"truestock_{name}", labels) or 0.0
        return own + self._shop.metric(name, **labels)


OUTDATED = """
SELECT shipment.id FROM shipment
JOIN location ON location.id = shipment.location_id JOIN allocation ON allocation.id = shipment.allocation_id
WHERE shipment.catalog_version < location.recheck_version AND allocation.state = 'confirmed'
AND shipment.state IN ('assigned', 'accepted', 'ready_for_pickup')
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "routing.yaml").write_text(ROUTING)
    (folder / "owners.yaml").write_text(OWNERS)
    return folder


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path) -> Retailer:
    """Five mugs in each of two stores; orders prefer `soho`."""
    shop = await retailers.make(rules)
    await shop.stock({("MUG", "soho"): 5, ("MUG", "bond"): 5})
    await edit(shop, "soho")
    await edit(shop, "bond", priority=2)
    return shop


@pytest.fixture
async def sweeper(shop: Retailer, rules: Path) -> AsyncIterator[Sweeper]:
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(shop.database_url, metrics, connections=4)
    try:
        yield Sweeper(shop, Dependencies(Settings(), database, ActivePolicies(rules, metrics), metrics, new_id))
    finally:
        await database.close()


async def edit(shop: Retailer, location_id: str, **fields: Any) -> None:
    """Writes a location anew; what `fields` leave out is as in the fixture."""
    await shop.locations(location_id, **{"offers_pickup": True, "priority": 1} | fields)


async def sell_from(shop: Retailer, *location_ids: str) -> None:
    """Writes the channel anew, with these locations."""
    channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=location_ids)
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))


async def latest(shop: Retailer, order: allocation_pb.Allocation) -> allocation_pb.Allocation:
    allocation: allocation_pb.Allocation = (await shop.get(order.allocation_id)).allocation
    return allocation


async def places(shop: Retailer, order: allocation_pb.Allocation) -> dict[str, int]:
    """Promised units of an order by location, where there are any."""
    return {location_id: units for location_id, units in promised(await latest(shop, order)).items() if units}


async def close(shop: Retailer) -> None:
    await edit(shop, "soho", status=Location.STATUS_CLOSED)


async def pause(shop: Retailer) -> None:
    await edit(shop, "soho", status=Location.STATUS_PAUSED)


async def ship_to_sweden_only(shop: Retailer) -> None:
    await edit(shop, "soho", ships_to=catalog_pb.CountryList(countries=["SE"]))


async def drop_from_channel(shop: Retailer) -> None:
    await sell_from(shop, "bond")


async def stop_pickup(shop: Retailer) -> None:
    await edit(shop, "soho", offers_pickup=False)


EDITS: list[tuple[Callable[[Retailer], Awaitable[None]], dict[str, Any]]] = [
    (close, {}),
    (pause, {}),
    (ship_to_sweden_only, {"destination": TO_NORWAY}),
    (drop_from_channel, {}),
    (stop_pickup, {"method": PICKUP}),
]


async def test_an_order_leaves_a_location_that_it_may_not_use_any_more(shop: Retailer, sweeper: Sweeper) -> None:
    for number, (change, fields) in enumerate(EDITS, start=1):
        await edit(shop, "soho")
        await sell_from(shop)
        order = await shop.allocate(f"A-{number}", {"MUG": 1}, **fields)
        assert await places(shop, order) == {"soho": 1}

        await change(shop)
        await sweeper.settle()

        after = await shop.get(order.allocation_id)
        assert await places(shop, order) == {"bond": 1}, change
        assert after.timeline[-1].description == "Rerouted 1 unit from soho to bond (location unavailable)."
        assert not after.exceptions
        assert not after.allocation.needs_person
        assert (await shop.replay(after.allocation.decision.decision_id)).identical
        assert sweeper.counted("rerouted_units_total", channel="web", cause="location_unavailable") == number
        assert (await shop.level("MUG", "soho")).available_count == 5
    assert (await shop.ledger()).balanced


async def test_units_that_no_other_location_has_stay_and_one_exception_says_so(
    shop: Retailer, sweeper: Sweeper
) -> None:
    order = await shop.allocate("A-1", {"MUG": 4})
    await shop.count({("MUG", "bond"): 1})

    await close(shop)
    await sweeper.settle()
    await edit(shop, "soho", status=Location.STATUS_PAUSED)
    await sweeper.settle()

    assert await places(shop, order) == {"soho": 3, "bond": 1}
    after = await shop.get(order.allocation_id)
    (raised,) = after.exceptions
    assert (raised.kind, raised.owner, raised.location_id) == ("location_unavailable", "store-desk", "soho")
    assert raised.shipment_id == order.shipments[0].shipment_id
    assert raised.needs_person
    assert raised.description.startswith("3 units (MUG) can no longer be fulfilled by soho: ")
    assert [event.event for event in after.timeline] == ["sold", "rerouted", "location_unavailable"]
    sentence = "3 units (MUG) can no longer be fulfilled by soho: soho is closed. No other location can supply them."
    assert after.timeline[-1].description == sentence
    assert sweeper.counted("manual_interventions_total", channel="web", reason="location_unavailable") == 1
    assert sweeper.counted("oversold_units_total", channel="web", cause="over_published") == 0

    await edit(shop, "soho")
    await sweeper.settle()

    assert await places(shop, order) == {"soho": 3, "bond": 1}
    (resolved,) = (await shop.get(order.allocation_id)).exceptions
    assert resolved.state == Record.STATE_RESOLVED


async def test_an_order_is_not_split_over_more_shipments_than_its_policy_allows(
    shop: Retailer, sweeper: Sweeper
) -> None:
    await shop.count({("MUG", "bond"): 1})
    order = await shop.allocate("A-1", {"MUG": 2}, method=PICKUP)

    await close(shop)
    await sweeper.settle()

    assert await places(shop, order) == {"soho": 2}
    (raised,) = await shop.open_exceptions()
    assert raised.description.startswith("2 units (MUG) can no longer be fulfilled by soho: soho is closed.")


async def test_a_person_can_cancel_or_reroute_units_that_a_location_keeps(shop: Retailer, sweeper: Sweeper) -> None:
    await shop.count({("MUG", "bond"): 0})
    orders = [await shop.allocate(f"A-{number}", {"MUG": 2}) for number in (1, 2)]
    await close(shop)
    await sweeper.settle()
    exceptions = {raised.allocation_id: raised.exception_id for raised in await shop.open_exceptions()}

    await shop.count({("MUG", "bond"): 2})
    await shop.resolve(exceptions[orders[0].allocation_id], REROUTED)
    await shop.resolve(exceptions[orders[1].allocation_id], CANCELLED)

    assert await places(shop, orders[0]) == {"bond": 2}
    assert (await latest(shop, orders[1])).state == State.STATE_CANCELLED
    assert (await shop.ledger()).balanced


async def test_a_location_keeps_what_it_has_begun(shop: Retailer, sweeper: Sweeper) -> None:
    order = await shop.allocate("A-1", {"MUG": 2})
    await shop.accept(order.shipments[0])

    await pause(shop)
    await sweeper.settle()
    assert await places(shop, order) == {"soho": 2}
    assert not await shop.open_exceptions()

    # Nobody works at a closed location, and only a person can find out whether the parcel is packed.
    await close(shop)
    await sweeper.settle()
    assert await places(shop, order) == {"soho": 2}
    (raised,) = await shop.open_exceptions()
    assert raised.description.startswith("2 units (MUG) are accepted at soho: soho is closed.")

    await shop.ship(order.shipments[0], event_id="E-1")
    await sweeper.sweep_exceptions()
    assert not await shop.open_exceptions()


async def test_a_hold_is_planned_again_when_it_is_paid(shop: Retailer, sweeper: Sweeper) -> None:
    await shop.count({("MUG", "bond"): 3})
    held = [await shop.allocate(f"A-{number}", {"MUG": 2}, HOLD) for number in (1, 2)]
    await close(shop)
    await sweeper.settle()
    assert [await places(shop, order) for order in held] == [{"soho": 2}] * 2

    confirmed = await shop.confirm(held[0].allocation_id)
    sold = await shop.allocate("A-2", {"MUG": 2}, SOLD)

    assert [order.state for order in (confirmed, sold)] == [State.STATE_CONFIRMED] * 2
    assert await places(shop, confirmed) == {"bond": 2}
    assert confirmed.outcome == order_pb2.OUTCOME_ALLOCATED
    # A paid order is never refused: what is nowhere else is short, and somebody hears of it.
    assert await places(shop, sold) == {"bond": 1}
    assert [shortage.unit_count for shortage in sold.shortages] == [1]
    assert [raised.allocation_id for raised in await shop.open_exceptions()] == [sold.allocation_id]
    assert (await shop.level("MUG", "soho")).available_count == 5
    assert (await shop.ledger()).balanced


async def test_only_edits_that_rules_can_test_have_orders_checked(
    shop: Retailer, sweeper: Sweeper, rules: Path
) -> None:
    order = await shop.allocate("A-1", {"MUG": 2})
    await edit(shop, "soho", display_name="Soho", priority=7)
    await sell_from(shop, "soho", "bond")
    await sell_from(shop)
    assert not await shop.sql(OUTDATED)

    # Rules are for new plans: what was promised under earlier ones stays.
    (rules / "routing.yaml").write_text(ROUTING.replace("[paused, stocktake]", "[open]"))
    await sweeper.settle()
    assert await places(shop, order) == {"soho": 2}


async def test_hours_alone_move_no_order(shop: Retailer, rules: Path, sweeper: Sweeper) -> None:
    always_open = catalog_pb.WorkingTime()
    always_open.opens.hours, always_open.closes.hours, always_open.closes.minutes = 0, 23, 59
    await edit(shop, "soho", working_time=always_open)
    order = await shop.allocate("A-1", {"MUG": 2})
    await shop.sql("UPDATE shipment SET assign_time = date_trunc('day', now()) + interval '12 hours'")
    (rules / "routing.yaml").write_text(
        ROUTING.replace("{location.status: [paused, stocktake]}", "{location.open_now: false}")
    )

    # The order was planned at noon, when the location was open; that it is closed at this minute plays no part.
    noon = catalog_pb.WorkingTime()
    noon.opens.hours, noon.opens.minutes, noon.closes.hours, noon.closes.minutes = 11, 59, 12, 1
    await edit(shop, "soho", working_time=noon)
    await sweeper.settle()

    assert await places(shop, order) == {"soho": 2}


async def test_an_order_planned_by_an_older_catalog_is_found_later(shop: Retailer, sweeper: Sweeper) -> None:
    await close(shop)
    order = await shop.allocate("A-1", {"MUG": 2})
    # As if the order had been planned before the edit and stored after it.
    await shop.sql("UPDATE shipment SET catalog_version = 0, location_id = 'soho'")
    await shop.sql("UPDATE promise SET location_id = 'soho'")
    await shop.sql("UPDATE stock_level SET allocated = 2 * (location_id = 'soho')::int")

    await sweeper.settle()

    assert await places(shop, order) == {"bond": 2}


async def test_the_service_moves_orders_by_itself(shop: Retailer) -> None:
    orders = [await shop.allocate(f"A-{number}", {"MUG": 1}) for number in range(4)]
    await close(shop)

    for _ in range(80):
        if [await places(shop, order) for order in orders] == [{"bond": 1}] * 4:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the orders are still at the closed location")


async def test_more_orders_than_one_transaction_takes_all_move(shop: Retailer, sweeper: Sweeper) -> None:
    await shop.count({("MUG", "soho"): 60, ("MUG", "bond"): 60})
    line = order_pb2.OrderLine(sku="MUG", unit_count=1)
    requests = [
        allocation_pb.AllocateOrderRequest(channel_id="web", order_id=f"A-{n}", lines=[line], commitment=SOLD)
        for n in range(60)
    ]
    await shop.allocations.BatchAllocateOrders(allocation_pb.BatchAllocateOrdersRequest(requests=requests))

    await close(shop)
    await sweeper.settle()

    assert (await shop.level("MUG", "soho")).allocated_count == 0
    assert (await shop.level("MUG", "bond")).allocated_count == 60


@pytest.mark.parametrize("seed", seeds(1, of_long_tests=20))
async def test_after_any_edit_no_order_is_where_it_may_not_be_unless_an_exception_says_so(
    shop: Retailer, sweeper: Sweeper, seed: int
) -> None:
    dice = random.Random(seed)
    location_ids = ["soho", "bond", "dc"]
    await shop.stock({(sku, id): dice.randint(0, 12) for sku in ("MUG", "BOWL") for id in location_ids})
    catalog = _Catalog(dice, location_ids)
    await catalog.write(shop, location_ids)
    orders: list[allocation_pb.Allocation] = []
    for step in range(4 if seed == 0 else 10):
        for number in range(3):
            units = {sku: dice.randint(1, 3) for sku in dice.sample(["MUG", "BOWL"], dice.randint(1, 2))}
            fields: dict[str, Any] = {"destination": order_pb2.Destination(country=dice.choice(["NO", "SE"]))}
            fields |= {"method": PICKUP} if dice.random() < 0.3 else {}
            orders.append(await shop.allocate(f"A-{step}-{number}", units, **fields))
            if orders[-1].shipments and dice.random() < 0.2:
                await shop.accept(dice.choice(orders[-1].shipments))
        await catalog.write(shop, dice.sample(location_ids, 2))

        await sweeper.settle()

        named = {raised.shipment_id for raised in await shop.open_exceptions(kinds=["location_unavailable"])}
        for order in orders:
            now = await latest(shop, order)
            for shipment in now.shipments:
                if shipment.state == shipment.STATE_ASSIGNED and any(line.unit_count for line in shipment.lines):
                    may_use = catalog.allows(shipment.location_id, await shop.sql(ORDER, order.order_id))
                    assert may_use is (shipment.shipment_id not in named), (seed, step, now)
    assert (await shop.ledger()).balanced


ORDER = "SELECT method, country FROM allocation WHERE order_id = $1"


class _Catalog:
    """Random locations and channel of the test, and by hand what the rules above say about them."""

    def __init__(self, dice: random.Random, location_ids: list[str]) -> None:
        self._dice = dice
        self._locations: dict[str, dict[str, Any]] = {}
        self._all = location_ids
        self._channel: list[str] = []

    async def write(self, shop: Retailer, location_ids: list[str]) -> None:
        dice = self._dice
        for location_id in location_ids:
            statuses = [Location.STATUS_OPEN] * 3 + [Location.STATUS_PAUSED, Location.STATUS_CLOSED]
            countries = dice.choice([None, None, ["NO"], ["SE"], []])
            self._locations[location_id] = {
                "status": dice.choice(statuses),
                "offers_pickup": dice.random() < 0.7,
                "priority": dice.randint(1, 3),
                "ships_to": None if countries is None else catalog_pb.CountryList(countries=countries),
            }
            await edit(shop, location_id, **self._locations[location_id])
        self._channel = dice.choice([[], dice.sample(self._all, 2)])
        await sell_from(shop, *self._channel)

    def allows(self, location_id: str, orders: list[Any]) -> bool:
        (order,) = orders
        location = self._locations[location_id]
        if location["status"] == Location.STATUS_CLOSED or location_id not in (self._channel or self._all):
            return False
        if order["method"] == "pickup":
            return bool(location["offers_pickup"])
        serves = location["ships_to"] is None or order["country"] in location["ships_to"].countries
        return location["status"] == Location.STATUS_OPEN and serves
