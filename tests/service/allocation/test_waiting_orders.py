"""An order of which some units wait may use in the end what it could have used at once, and no more."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.allocation.replanning.backorders import Backorders
from service.app import housekeeping
from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.settings import Settings
from tests.conftest import RetailerMaker, seeds
from tests.random_rules import random_rules
from tests.retailer import HOLD, SOLD, Retailer, promised
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb

BUFFERS = """\
kind: buffer
name: floor
scope: location
rules:
  - {name: tenth, when: {product.tags: {contains: tenth}}, hold_back: {percent: 10}}
  - {name: seven, when: {product.tags: {contains: seven}}, hold_back: {units: 7}}
  - {name: while-many, when: {product.tags: {contains: while-many}, stock.available: {at_least: 50}},
     hold_back: {units: 20}}
  - {name: cover, when: {product.tags: {contains: cover}}, hold_back: {days_of_cover: 2, maximum: 30}}
"""
CHANNEL_BUFFERS = """\
kind: buffer
name: whole
scope: channel
rules:
  - {name: fifth-of-all, when: {product.tags: {contains: fifth-of-all}}, hold_back: {percent: 20}}
  - {name: while-all-many, when: {product.tags: {contains: while-all-many}, stock.available: {at_least: 50}},
     hold_back: {units: 20}}
"""
ROUTING = """\
kind: routing
policies:
  - {name: bulk, position: 10, applies_to: {order.unit_count: {at_least: 20}}, rank: [priority]}
  - {name: two-parcels, position: 20, applies_to: {order.tags: {contains: two-parcels}}, rank: [priority],
     max_shipments: 2}
  - {name: small, position: 30, rank: [priority], sold_may_use: [buffer]}
"""
EXCEPTIONS = """\
kind: exception
rules:
  - {name: rejected, position: 10, when: {exception.kind: rejected}, do: reroute, owner: stores, due_in: 4h}
  - {name: watched, position: 20, when: {product.tags: {contains: watched}}, do: hold, owner: desk, due_in: 4h}
  - {name: rest, position: 100, do: backorder, owner: desk, due_in: 1d}
"""
USABLE_OF_100 = {
    "tenth": 90,
    "seven": 93,
    "while-many": 80,
    "cover": 80,
    "fifth-of-all": 80,
    "while-all-many": 80,
    "tenth watched": 90,
}
"""Of 100 units at one location, those that an order may use of a product with these tags."""

UNSTEADY_FACTS = ("stock.available", "stock.on_hand", "order.unit_count")
"""Facts that change with the stock, or that CheckAvailability does not know."""

Sweep = Callable[[], Awaitable[None]]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    files = {"floor": BUFFERS, "whole": CHANNEL_BUFFERS, "routing": ROUTING, "exceptions": EXCEPTIONS}
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder


@pytest.fixture
async def shop(retailers: RetailerMaker, rules: Path, monkeypatch: pytest.MonkeyPatch) -> Retailer:
    """Short units wait; orders of 20 units or more may not use buffers, smaller ones may. Tests sweep themselves."""
    monkeypatch.setattr(housekeeping, "BACKORDER_SECONDS", 3_600)
    shop = await retailers.make(rules)
    await shop.has_done("backorders")
    return shop


@pytest.fixture
async def sweep(shop: Retailer, rules: Path) -> AsyncIterator[Sweep]:
    async with sweeps(shop, rules) as sweep:
        yield sweep


@asynccontextmanager
async def sweeps(shop: Retailer, rules: Path) -> AsyncIterator[Sweep]:
    """A function that tries all backorders."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(shop.database_url, metrics, connections=2)
    try:
        yield Backorders(Dependencies(Settings(), database, ActivePolicies(rules, metrics), metrics, new_id)).sweep
    finally:
        await database.close()


async def stock(shop: Retailer, tags: str, **units: int) -> None:
    """Counts units of MUG, a product with these tags, at stores whose ids are in order of priority."""
    await shop.stock({("MUG", location_id): count for location_id, count in units.items()})
    await tag(shop, "MUG", tags)
    for priority, location_id in enumerate(units):
        await shop.locations(location_id, priority=priority)


async def tag(shop: Retailer, sku: str, tags: str) -> None:
    product = catalog_pb.Product(sku=sku, tags=tags.split(), velocity_per_day=10)
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))


async def now(shop: Retailer, order: allocation_pb.Allocation) -> allocation_pb.Allocation:
    return (await shop.get(order.allocation_id)).allocation


def waiting(order: allocation_pb.Allocation) -> int:
    return sum(line.backordered_count for line in order.lines)


async def test_an_order_that_waits_leaves_every_buffer_alone(shop: Retailer, sweep: Sweep) -> None:
    await shop.stock({(tags, "dc"): 100 for tags in USABLE_OF_100})
    for tags in USABLE_OF_100:
        await tag(shop, tags, tags)

    orders = {tags: await shop.allocate(tags, {tags: 100}, SOLD) for tags in USABLE_OF_100}
    await sweep()

    for tags, usable in USABLE_OF_100.items():
        current = await now(shop, orders[tags])
        assert (promised(current), waiting(current)) == ({"dc": usable}, 100 - usable), tags
        assert current.version == orders[tags].version


@pytest.mark.parametrize("how", ["rejected", "counted as 0"])
async def test_rerouted_units_leave_the_buffer_of_a_location_that_ships_the_rest(
    shop: Retailer, sweep: Sweep, how: str
) -> None:
    await stock(shop, "tenth", a=50, b=100)
    order = await shop.allocate("A-1", {"MUG": 120})
    assert promised(order) == {"a": 45, "b": 75}

    if how == "rejected":
        await shop.reject(order.shipments[1], "not_found")
    else:
        await shop.count({("MUG", "b"): 0})
    await sweep()

    current = await now(shop, order)
    assert promised(current)["a"] == sum(promised(current).values()) == 45
    assert waiting(current) == 75


async def test_the_rest_of_a_large_order_is_planned_as_a_large_order(shop: Retailer, sweep: Sweep) -> None:
    await stock(shop, "seven", dc=20)

    order = await shop.allocate("A-1", {"MUG": 20})
    await shop.count({("MUG", "dc"): 21})
    await sweep()

    current = await now(shop, order)
    assert (promised(current), waiting(current)) == ({"dc": 14}, 6)


async def test_arriving_stock_fills_what_the_buffer_leaves_of_it(shop: Retailer) -> None:
    await stock(shop, "tenth", dc=100)
    first, second = await shop.allocate("A-1", {"MUG": 120}), await shop.allocate("A-2", {"MUG": 40})
    assert (promised(first), promised(second)) == ({"dc": 90}, {"dc": 9})

    await shop.count({("MUG", "dc"): 131})

    # The first order sees 122 free units, its own 90 among them; the second then sees 22 with its own 9.
    first, second = await now(shop, first), await now(shop, second)
    assert (promised(first), promised(second)) == ({"dc": 109}, {"dc": 19})


async def test_a_change_that_only_lowers_stock_fills_no_backorder(shop: Retailer) -> None:
    await stock(shop, "while-many", dc=60)
    order = await shop.allocate("A-1", {"MUG": 60})
    assert (promised(order), waiting(order)) == ({"dc": 40}, 20)

    # Below 50 units the rule keeps nothing.
    await shop.count({("MUG", "dc"): 49})
    await shop.ship(order.shipments[0], {"1": 5})

    current = await now(shop, order)
    assert (promised(current), waiting(current)) == ({"dc": 35}, 20)


async def test_units_that_an_order_releases_go_to_its_own_units_that_wait(shop: Retailer) -> None:
    await stock(shop, "tenth", a=50, b=50)
    order = await shop.allocate("A-1", [("MUG", 60), ("MUG", 60)])
    assert promised(order) == {"a": 45, "b": 45}

    current = await shop.cancel(order.allocation_id, {"1": 10})

    # The second line waited for 30 units and gets the 10 that the first gave up.
    assert sum(promised(current).values()) == 90
    assert waiting(current) == 20
    assert await shop.sellable("MUG") == 8


async def test_units_that_a_limit_on_shipments_left_out_wait_until_a_shipment_has_left(
    shop: Retailer, sweep: Sweep
) -> None:
    await stock(shop, "plain", a=4, b=4, c=4)
    order = await shop.allocate("A-1", {"MUG": 12}, tags=["two-parcels"])
    await sweep()
    assert promised(await now(shop, order)) == {"a": 4, "b": 4}

    await shop.count({("MUG", "a"): 5})
    current = await now(shop, order)
    assert (promised(current), waiting(current)) == ({"a": 5, "b": 4}, 3)

    await shop.ship(current.shipments[1])
    await sweep()

    assert promised(await now(shop, order)) == {"a": 5, "b": 0, "c": 3}


async def test_the_decision_about_units_that_waited_is_replayed_to_the_byte(shop: Retailer) -> None:
    await stock(shop, "tenth", a=50, b=100)
    order = await shop.allocate("A-1", {"MUG": 120})
    await shop.reject(order.shipments[1], "not_found", {"1": 25})
    await shop.count({("MUG", "a"): 70})

    decisions = [event.decision_id for event in (await shop.get(order.allocation_id)).timeline if event.decision_id]
    replays = [await shop.replay(decision_id) for decision_id in decisions]

    assert len(replays) == 3
    assert [replay.differing_field for replay in replays if not replay.identical] == []


# Every way to ask how much an order may use agrees


@pytest.mark.parametrize("seed", seeds(2, of_long_tests=40))
async def test_every_way_to_ask_how_much_an_order_may_use_agrees(
    retailers: RetailerMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(housekeeping, "BACKORDER_SECONDS", 3_600)
    folder, dice = tmp_path / "rules", random.Random(seed)
    folder.mkdir()
    for name, content in {**steady_rules(seed), "exceptions.yaml": EXCEPTIONS}.items():
        (folder / name).write_text(content)
    shop = await retailers.make(folder)
    await shop.has_done("backorders")
    async with sweeps(shop, folder) as sweep:
        for number in range(3):
            await check_one_product(shop, sweep, dice, f"{seed}-{number}")
    assert (await shop.ledger()).balanced


def steady_rules(seed: int) -> Mapping[str, str]:
    """Random rules with a percentage, whose conditions hold or not whatever the stock and the size of the order."""
    for number in itertools.count(seed * 1_000):
        files = random_rules(number, with_limits=False)
        text = "".join(files.values())
        is_steady = not any(fact in text for fact in UNSTEADY_FACTS)
        if is_steady and "percent" in text and "sold_may_use: [buffer" not in text:
            return files
    raise AssertionError


async def check_one_product(shop: Retailer, sweep: Sweep, dice: random.Random, sku: str) -> None:
    """What is published, held, sold, filled and swept of a product is the same as what a new order would get."""
    figures = {(sku, location_id): dice.randint(0, 30) for location_id in "abc"}
    await shop.stock(figures)
    await tag(shop, sku, "")  # with a velocity that the service does not learn from the orders below meanwhile
    units = dice.randint(1, 3 * sum(figures.values()) + 1)
    may_hold = sum(promised(await shop.allocate("dry", {sku: units}, HOLD, validate_only=True)).values())
    may_sell = sum(promised(await shop.allocate("dry", {sku: units}, SOLD, validate_only=True)).values())
    assert may_hold == min(units, await shop.sellable(sku)) <= may_sell

    order = await shop.allocate(f"A-{sku}", {sku: units}, SOLD)
    assert sum(promised(order).values()) == may_sell
    await check_sweep(shop, sweep, order)
    key = dice.choice(list(figures))
    await shop.count({key: figures[key] + dice.randint(1, 20)}, at=datetime.now(UTC))
    order = await now(shop, order)
    await check_sweep(shop, sweep, order)
    got = sum(promised(order).values())

    await shop.cancel_order(f"web/A-{sku}")

    assert got == sum(promised(await shop.allocate("dry", {sku: units}, SOLD, validate_only=True)).values())


async def check_sweep(shop: Retailer, sweep: Sweep, order: allocation_pb.Allocation) -> None:
    """A sweep of unchanged stock finds nothing for the order."""
    await sweep()

    assert (await now(shop, order)).version == order.version
