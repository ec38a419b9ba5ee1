"""Every decision can be read and replayed after any change of stock, catalog or rules."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from service import limits
from service.app.application import running
from service.sample.sample_retailer import sample_locations, sample_products
from service.settings import Settings
from tests.conftest import PLAIN_RULES, RULES, RetailerMaker, service_process
from tests.retailer import HOLD, SOLD, Retailer
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    decision_pb2,
    order_pb2,
    policy_service_pb2 as policy_pb,
    policy_service_pb2_grpc as policy_grpc,
)

# Stored decisions


async def test_a_decision_is_stored_with_the_stock_before_it(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9, ("CUP", "dc"): 5, ("MUG", "high-street"): 1})
    order = await retailer.allocate("A-1", {"MUG": 4}, destination=order_pb2.Destination(country="US"))

    stored = await retailer.decision(order.decision.decision_id)

    assert stored.decision == order.decision
    assert stored.allocation_id == order.allocation_id
    assert [(x.sku, x.location_id, x.on_hand_count, x.allocated_count) for x in stored.inputs.levels] == [
        ("MUG", "dc", 9, 0),
        ("MUG", "high-street", 1, 0),
    ]
    assert [x.location_id for x in stored.inputs.locations] == ["dc", "high-street"]
    assert stored.inputs.order.destination.country == "US"
    assert stored.inputs.now == stored.decide_time == order.decision.stock_read_time


async def test_units_promised_to_the_order_before_are_stored_with_its_decision(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 4})
    order = await retailer.allocate("A-1", {"MUG": 6})

    stored = await retailer.decision(order.decision.decision_id)

    assert [(x.sku, x.location_id, x.unit_count) for x in stored.inputs.promised_units] == [("MUG", "dc", 4)]
    assert stored.inputs.levels[0].allocated_count == 4
    assert (await retailer.replay(order.decision.decision_id)).identical


async def test_the_chosen_store_is_stored_with_the_decision_also_if_its_channel_sells_nothing_of_it(
    retailers: RetailerMaker,
) -> None:
    retailer = await retailers.make(RULES)
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.locations("store", offers_pickup=True)
    channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["dc"])
    await retailer.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
    order = await retailer.allocate(
        "A-1",
        {"MUG": 1},
        method=order_pb2.FULFILLMENT_METHOD_PICKUP,
        pickup_location_id="store",
        destination=order_pb2.Destination(country="US"),
    )

    stored = await retailer.decision(order.decision.decision_id)

    assert [(x.location_id, x.ship_to_shopper) for x in order.shipments] == [("dc", True)]
    assert sorted(x.location_id for x in stored.inputs.locations) == ["dc", "store"]
    assert (await retailer.replay(order.decision.decision_id)).identical


async def test_orders_of_one_transaction_see_the_stock_after_the_orders_before(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})

    orders = await asyncio.gather(*(retailer.allocate(f"A-{n}", {"MUG": 2}) for n in range(6)))

    decisions = [await retailer.decision(order.decision.decision_id) for order in orders]
    assert sorted(decision.inputs.levels[0].allocated_count for decision in decisions) == [0, 2, 4, 6, 8, 9]
    assert all([(await retailer.replay(order.decision.decision_id)).identical for order in orders])


async def test_a_refused_hold_is_stored_without_inputs(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 0})
    order = await retailer.allocate("A-1", {"MUG": 1}, HOLD)

    stored = await retailer.decision(order.decision.decision_id)

    assert stored.decision == order.decision
    assert not stored.HasField("inputs")
    assert await refusal(retailer.replay(order.decision.decision_id)) == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_decision_with_too_long_inputs_is_stored_without_them(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await retailer.stock({("MUG", f"dc-{n}"): 5 for n in range(9)})
    monkeypatch.setattr(limits, "DECISION_BYTES", 300)
    order = await retailer.allocate("A-1", {"MUG": 1})

    stored = await retailer.decision(order.decision.decision_id)

    assert order.outcome == order_pb2.OUTCOME_ALLOCATED
    assert not stored.HasField("inputs")


async def test_a_catalog_is_stored_once_until_it_is_edited(retailers: RetailerMaker) -> None:
    first, second = [await retailers.make() for _ in range(2)]
    await first.stock({("MUG", "dc"): 99})
    for number in range(4):
        await first.allocate(f"A-{number}", {"MUG": 1})
        await second.allocate(f"B-{number}", {"MUG": 1})
    before = await first.sql("SELECT hash FROM decision_catalog")
    await first.locations("dc", display_name="Central")
    last = await first.allocate("A-9", {"MUG": 1})

    after = await first.sql("SELECT hash FROM decision_catalog")
    stored = await first.decision(last.decision.decision_id)
    assert (len(before), len(after)) == (1, 2)
    assert stored.inputs.locations[0].display_name == "Central"


async def test_stored_bytes_are_counted(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 1})

    rows = await retailer.sql("SELECT sum(length(explanation) + length(inputs)) AS bytes FROM decision")

    assert retailer.metric("decisions_stored_bytes_total") == rows[0]["bytes"] > 0


async def test_the_timeline_of_an_order_names_its_decisions(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    first = await retailer.allocate("A-1", {"MUG": 1})
    second = await retailer.allocate("A-1", {"MUG": 2})

    latest = await retailer.get(first.allocation_id)

    assert [event.decision_id for event in latest.timeline] == [first.decision.decision_id, second.decision.decision_id]


@pytest.mark.parametrize(
    ("decision_id", "code"),
    [
        ("0190a6a2-7a3c-7c1e-9d7e-0242ac120002", grpc.StatusCode.NOT_FOUND),
        ("seven", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_an_unknown_decision_id_is_refused(retailer: Retailer, decision_id: str, code: grpc.StatusCode) -> None:
    assert await refusal(retailer.decision(decision_id)) == code
    assert await refusal(retailer.replay(decision_id)) == code


# Replays


@pytest.mark.long
async def test_replays_of_two_hundred_decisions_are_identical_after_any_change(
    database_url: str, tmp_path: Path
) -> None:
    dice = random.Random(20_261_124)
    rules = tmp_path / "rules"
    shutil.copytree(RULES, rules)
    async with sample_retailer(database_url, rules) as retailer:
        decision_ids = await sell(retailer, dice, 50)
        for _ in range(3):
            await change_rules(retailer, rules, dice)
            await change_catalog(retailer, dice)
            decision_ids += await sell(retailer, dice, 50)
        before_flood = [await retailer.replay(id) for id in decision_ids]
        await retailer.sql("UPDATE stock_level SET unavailable = 0, as_of_time = NULL, source = 'flood'")
        after_flood = [await retailer.replay(id) for id in decision_ids]
    with service_process("--database-url", database_url, "--rules", str(PLAIN_RULES)) as addresses:
        async with grpc.aio.insecure_channel(addresses.grpc) as channel:
            stub: Any = policy_grpc.PolicyServiceStub(channel)
            restarted = [
                await stub.ReplayDecision(policy_pb.ReplayDecisionRequest(decision_id=id)) for id in decision_ids
            ]

    for replays in (before_flood, after_flood, restarted):
        assert [replay.differing_field for replay in replays if not replay.identical] == []
    assert len({replay.decision.policy_revision for replay in before_flood}) == 4
    assert len({replay.decision.routing_policy for replay in before_flood}) > 2
    assert sum(bool(replay.decision.fired_rules) for replay in before_flood) > 100
    assert before_flood == after_flood == restarted


@pytest.mark.parametrize(
    ("field", "tampered"),
    [
        ("routing_policy", {"routing_policy": "mine"}),
        ("dropped_candidates[0].reason", {"dropped_candidates": [{"location_id": "far", "reason": "closed"}]}),
        ("fired_rules[0]", {"fired_rules": [{"rule": "mine"}]}),
        ("policy_revision", {"policy_revision": "0"}),
    ],
)
async def test_a_replay_names_the_field_that_was_tampered_with(
    retailer: Retailer, field: str, tampered: dict[str, Any]
) -> None:
    await retailer.stock({("MUG", "dc"): 9, ("CUP", "far"): 1})
    order = await retailer.allocate("A-1", {"MUG": 1})
    changed = decision_pb2.Decision()
    changed.CopyFrom(order.decision)
    for name, value in tampered.items():
        changed.ClearField(name)  # type: ignore[arg-type]
        changed.MergeFrom(decision_pb2.Decision(**{name: value}))
    await retailer.sql("UPDATE decision SET explanation = $1", changed.SerializeToString(deterministic=True))

    replay = await retailer.replay(order.decision.decision_id)

    assert not replay.identical
    assert replay.differing_field == field
    assert replay.decision == order.decision


async def test_replays_beyond_the_limit_are_refused(retailer: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    order = await retailer.allocate("A-1", {"MUG": 1})
    monkeypatch.setattr(limits, "REPLAYS_WAITING", 1)

    codes = await asyncio.gather(*(outcome(retailer.replay(order.decision.decision_id)) for _ in range(50)))

    assert {"OK", "RESOURCE_EXHAUSTED"} >= set(codes)
    assert codes.count("OK") >= 2
    assert (await retailer.replay(order.decision.decision_id)).identical


async def test_a_replay_without_stored_rules_is_refused(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    order = await retailer.allocate("A-1", {"MUG": 1})
    await retailer.sql("DELETE FROM policy_set")

    with pytest.raises(grpc.aio.AioRpcError, match="are no longer stored"):
        await retailer.replay(order.decision.decision_id)


async def refusal(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


async def outcome(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@asynccontextmanager
async def sample_retailer(database_url: str, rules: Path) -> AsyncIterator[Retailer]:
    """A service with the sample catalog and its stock."""
    settings = Settings(
        address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=database_url, rules=rules, sample=True
    )
    async with running(settings) as service, Retailer.connect(service, database_url) as retailer:
        yield retailer


async def sell(retailer: Retailer, dice: random.Random, count: int) -> list[str]:
    """Places random orders; returns the ids of their decisions that can be replayed."""
    skus = [product.sku for product in sample_products()][:40]
    location_ids = [location.location_id for location in sample_locations()]
    decision_ids: list[str] = []
    while len(decision_ids) < count:
        orders = [random_order(dice, skus, location_ids) for _ in range(count - len(decision_ids))]
        batch = allocation_pb.BatchAllocateOrdersRequest(requests=orders)
        results = (await retailer.allocations.BatchAllocateOrders(batch)).results
        assert [result.error.message for result in results if result.HasField("error")] == []
        sold = [result.allocation for result in results]
        decision_ids += [x.decision.decision_id for x in sold if x.state != allocation_pb.Allocation.STATE_REFUSED]
        decision_ids = list(dict.fromkeys(decision_ids))
    return decision_ids


def random_order(dice: random.Random, skus: list[str], location_ids: list[str]) -> allocation_pb.AllocateOrderRequest:
    lines = [
        order_pb2.OrderLine(sku=sku, unit_count=dice.choice([1, 1, 2, 5, 40]), unit_price=price(dice))
        for sku in dice.sample(skus, dice.randint(1, 4))
    ]
    request = allocation_pb.AllocateOrderRequest(
        channel_id=dice.choice(["shopify", "tiktok_shop", "pos"]),
        order_id=f"R-{dice.randrange(10**9)}",
        lines=lines,
        commitment=dice.choice([HOLD, SOLD, SOLD]),
        tags=dice.sample(["gift", "express", "vip"], dice.randint(0, 2)),
        priority=dice.randint(-5, 5),
    )
    if dice.random() < 0.2:
        request.method = order_pb2.FULFILLMENT_METHOD_PICKUP
        request.pickup_location_id = dice.choice(location_ids)
    if dice.random() < 0.8:
        request.destination.country = dice.choice(["US", "US", "CA"])
    if dice.random() < 0.6:
        request.destination.coordinates.latitude = dice.uniform(25, 48)
        request.destination.coordinates.longitude = dice.uniform(-124, -70)
    return request


def price(dice: random.Random) -> Any:
    amount = Decimal(dice.randint(1, 90_000)) / 100
    units = int(amount)
    return {"currency_code": "USD", "units": units, "nanos": int((amount - units) * 10**9)}


async def change_rules(retailer: Retailer, folder: Path, dice: random.Random) -> None:
    """Writes other rules into the folder and waits until they are in force."""
    before = (await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())).policy_revision
    await asyncio.to_thread(write_rules, folder, random_rules(dice))
    for _ in range(200):
        now = (await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())).policy_revision
        if now != before:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the rules did not come into force")


def write_rules(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    for name, content in files:
        (folder / name).write_text(content)


def random_rules(dice: random.Random) -> Iterable[tuple[str, str]]:
    steps = dice.sample(["fewest_shipments", "{nearest: {band_km: 50}}", "priority", "deepest_stock", "covers_most"], 3)
    used = dice.choice(["", "sold_may_use: [buffer]", "sold_may_use: [buffer, blocked]"])
    yield (
        "routing.yaml",
        f"""
kind: routing
policies:
  - {{name: vip, position: 1, applies_to: {{order.tags: {{contains: vip}}}}, rank: [{steps[0]}], otherwise: next}}
  - name: rest
    position: 9
    exclude: [{{name: far, when: {{location.distance_km: {{more_than: {dice.randint(500, 3_000)}}}}}}}]
    review: [{{name: dear, when: {{order.value: {{at_least: {dice.randint(50, 900)}}}}}}}]
    rank: [{", ".join(steps)}]
    max_shipments: {dice.randint(1, 4)}
    {used}
""",
    )
    yield (
        "floor.yaml",
        f"""
kind: buffer
name: floor
scope: location
combine: {dice.choice(["largest", "sum"])}
rules:
  - {{name: some, when: {{location.type: store}}, hold_back: {{units: {dice.randint(1, 4)}}}}}
  - name: fast
    when: {{product.velocity_per_day: {{at_least: 1}}}}
    hold_back: {{expected_sales: {{during: stock_age, service_level: 0.{dice.randint(80, 99)}}}, minimum: 1}}
""",
    )
    yield (
        "trust.yaml",
        f"""
kind: exposure
name: trust
rules:
  - {{name: old, when: {{stock.age_minutes: {{more_than: {dice.randint(60, 4_000)}}}}}, block: stale}}
""",
    )


async def change_catalog(retailer: Retailer, dice: random.Random) -> None:
    locations = sample_locations()
    for location in locations:
        location.status = dice.choice(catalog_pb.Location.Status.values()[1:])
        location.priority = dice.randint(1, 50)
    await retailer.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=locations))
