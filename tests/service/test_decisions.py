"""Every decision can be looked into and made once more, whatever has changed since."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, strategies as st
from prometheus_client import CollectorRegistry

from policies.model import (
    CHANNEL_KINDS,
    LOCATION_STATUSES,
    LOCATION_TYPES,
    METHODS,
    PRODUCT_STATUSES,
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
from service import bounds
from service.config import Settings
from service.database import Database
from service.decision_inputs import Inputs, inputs_of
from service.decision_log import capture
from service.decision_retention import Retention
from service.metrics import Metrics
from service.policy_folder import PolicyFolder
from service.sample import sample_locations, sample_products
from service.server import running
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

# What is written is what is read


def built(kind: type, /, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of a class whose every field is named, so that a field that is added to it is not forgotten here."""
    assert {part.name for part in dataclasses.fields(kind)} == set(parts), (
        f"say how {kind.__name__} is made, and store it"
    )
    return st.builds(kind, **parts)


words = st.sampled_from(["a", "Z-9", "\u00e9t\u00e9", "\u4e2d\u6587", "\U0001f9e2", "'; --", "a b"])
maybe_words = st.none() | words
tags = st.frozensets(words, max_size=3)
numbers = st.integers(-(2**31), 2**31 - 1)
amounts = st.none() | st.decimals(0, 10**12, places=4)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
shares = st.none() | st.floats(0, 1)
points = st.builds(Coordinates, st.floats(-90, 90), st.floats(-180, 180))
hours = st.none() | st.times()
levels = built(
    StockLevel,
    sku=st.sampled_from("AB"),
    location_id=st.sampled_from("xyz"),
    on_hand=numbers,
    unavailable=numbers,
    held=numbers,
    allocated=numbers,
    figure_time=moments,
    counted_time=moments,
    count_confidence=shares,
    source=maybe_words,
)
products = built(
    Product,
    sku=st.sampled_from("AB"),
    name=st.just("") | words,
    status=st.sampled_from(PRODUCT_STATUSES),
    tags=tags,
    category=maybe_words,
    brand=maybe_words,
    price=amounts,
    velocity_per_day=st.none() | st.floats(0, 1e7),
    has_dimensions=st.booleans(),
    has_barcode=st.booleans(),
    has_image=st.booleans(),
)
locations = built(
    Location,
    id=st.sampled_from("xyz"),
    type=st.sampled_from(LOCATION_TYPES),
    status=st.sampled_from(LOCATION_STATUSES),
    name=st.just("") | words,
    tags=tags,
    country=maybe_words,
    region=maybe_words,
    coordinates=st.none() | points,
    time_zone=st.sampled_from(["UTC", "America/Chicago"]),
    offers_pickup=st.booleans(),
    handling_minutes=st.integers(0, bounds.HANDLING_MINUTES),
    priority=st.none() | numbers,
    ships_to=st.none() | tags,
    cut_off=hours,
    opening_days=st.frozensets(st.integers(0, 6)),
    opens=st.none() | st.just(time(0, 0)),
    closes=st.none() | st.times(min_value=time(0, 1)),
    holidays=st.frozensets(st.dates(date(2000, 1, 1), date(2100, 1, 1)), max_size=3),
)
channels = built(
    Channel,
    id=words,
    kind=st.sampled_from(CHANNEL_KINDS),
    name=st.just("") | words,
    location_ids=st.frozensets(st.sampled_from("xyz")),
    cancellation_headroom=shares,
)
destinations = built(
    Destination, country=maybe_words, region=maybe_words, postal_code=maybe_words, coordinates=st.none() | points
)
lines = built(OrderLine, line_id=words, sku=st.sampled_from("AB"), unit_count=st.integers(1, 10**9), unit_price=amounts)
orders = built(
    Order,
    channel_id=words,
    order_id=words,
    lines=st.lists(lines, min_size=1, max_size=3).map(tuple),
    commitment=st.sampled_from(Commitment),
    method=st.sampled_from(METHODS),
    destination=st.none() | destinations,
    pickup_location_id=maybe_words,
    stated_value=amounts,
    priority=numbers,
    tags=tags,
)


@given(
    st.lists(locations, max_size=2, unique_by=lambda one: one.id),
    st.lists(products, max_size=2, unique_by=lambda one: one.sku),
    st.lists(levels, max_size=3, unique_by=lambda one: (one.sku, one.location_id)),
    st.tuples(channels, orders, moments.filter(bool)),
    st.dictionaries(st.tuples(words, words), st.integers(0, 2**31 - 1), max_size=3),
    tags,
)
def test_what_is_read_back_is_what_was_decided_on(
    places: list[Location],
    shelf: list[Product],
    stock: list[StockLevel],
    asked: tuple[Channel, Order, datetime],
    own: dict[tuple[str, str], int],
    excluded: frozenset[str],
) -> None:
    channel, order, now = asked
    world = World(now, {x.id: x for x in places}, {x.sku: x for x in shelf}, {(x.sku, x.location_id): x for x in stock})

    found = read_back(world, channel, order, own, excluded)

    skus = {line.sku for line in order.lines}
    known = {x.id for x in places if channel.may_sell_from(x.id)}
    seen = {x.id: x for x in places if x.id in known}
    levels_seen = {key: x for key, x in world.levels.items() if key[0] in skus and key[1] in known}
    assert found == Inputs(
        World(now, seen, {x.sku: x for x in shelf if x.sku in skus}, levels_seen), channel, order, own, excluded
    )
    assert [x.unit_price for x in found.order.lines] == [x.unit_price for x in order.lines]


@given(orders, products)
def test_equal_inputs_are_stored_as_equal_bytes(order: Order, product: Product) -> None:
    world = World(datetime.now(UTC), {}, {product.sku: product})
    again = dataclasses.replace(order, tags=frozenset(sorted(order.tags, reverse=True)))

    first, second = (capture(world, Channel("web", "web"), one).stored(b"", short=False)[0] for one in (order, again))

    assert first == second


def read_back(
    world: World, channel: Channel, order: Order, own: dict[tuple[str, str], int], excluded: frozenset[str]
) -> Inputs:
    stored, catalogue = capture(world, channel, order, own, excluded).stored(b"", short=False)
    assert stored is not None
    assert catalogue is not None
    return inputs_of(decision_pb2.DecisionInputs.FromString(catalogue.content + stored))


# What is kept


async def test_a_decision_is_kept_with_the_stock_as_it_was_before_it(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9, ("CUP", "dc"): 5, ("MUG", "high-street"): 1})
    made = await retailer.allocate("A-1", {"MUG": 4}, destination=order_pb2.Destination(country="US"))

    kept = await decision(retailer, made.decision.decision_id)

    assert kept.decision == made.decision
    assert kept.allocation_id == made.allocation_id
    assert [(x.sku, x.location_id, x.on_hand_count, x.allocated_count) for x in kept.inputs.levels] == [
        ("MUG", "dc", 9, 0),
        ("MUG", "high-street", 1, 0),
    ]
    assert [x.location_id for x in kept.inputs.locations] == ["dc", "high-street"]
    assert kept.inputs.order.destination.country == "US"
    assert kept.inputs.now == kept.decide_time == made.decision.stock_read_time


async def test_units_that_an_order_had_already_are_kept_as_its_own(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 4})
    made = await retailer.allocate("A-1", {"MUG": 6})

    kept = await decision(retailer, made.decision.decision_id)

    assert [(x.sku, x.location_id, x.unit_count) for x in kept.inputs.own_units] == [("MUG", "dc", 4)]
    assert kept.inputs.levels[0].allocated_count == 4
    assert (await replay(retailer, made.decision.decision_id)).identical


async def test_orders_of_one_transaction_each_see_what_the_ones_before_left(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})

    made = await asyncio.gather(*(retailer.allocate(f"A-{n}", {"MUG": 2}) for n in range(6)))

    kept = [await decision(retailer, one.decision.decision_id) for one in made]
    assert sorted(one.inputs.levels[0].allocated_count for one in kept) == [0, 2, 4, 6, 8, 9]
    assert all([(await replay(retailer, one.decision.decision_id)).identical for one in made])


async def test_of_a_refused_cart_only_the_explanation_is_kept(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 0})
    made = await retailer.allocate("A-1", {"MUG": 1}, HOLD)

    kept = await decision(retailer, made.decision.decision_id)

    assert kept.decision == made.decision
    assert not kept.HasField("inputs")
    assert await refusal(replay(retailer, made.decision.decision_id)) == grpc.StatusCode.FAILED_PRECONDITION


async def test_of_a_decision_with_too_long_inputs_only_the_explanation_is_kept(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await retailer.stock({("MUG", f"dc-{n}"): 5 for n in range(9)})
    monkeypatch.setattr(bounds, "DECISION_BYTES", 300)
    made = await retailer.allocate("A-1", {"MUG": 1})

    kept = await decision(retailer, made.decision.decision_id)

    assert made.outcome == order_pb2.OUTCOME_ALLOCATED
    assert not kept.HasField("inputs")


async def test_a_catalogue_is_kept_once_until_it_is_edited(retailers: RetailerMaker) -> None:
    one, two = [await retailers.make() for _ in range(2)]
    await one.stock({("MUG", "dc"): 99})
    for number in range(4):
        await one.allocate(f"A-{number}", {"MUG": 1})
        await two.allocate(f"B-{number}", {"MUG": 1})
    before = await one.sql("SELECT hash FROM decision_catalogue")
    await one.locations("dc", display_name="Central")
    last = await one.allocate("A-9", {"MUG": 1})

    after = await one.sql("SELECT hash FROM decision_catalogue")
    kept = await decision(one, last.decision.decision_id)
    assert (len(before), len(after)) == (1, 2)
    assert kept.inputs.locations[0].display_name == "Central"


async def test_what_is_stored_is_counted_in_bytes(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 1})

    rows = await retailer.sql("SELECT sum(length(explanation) + length(inputs)) AS bytes FROM decision")

    assert retailer.metric("decisions_stored_bytes_total") == rows[0]["bytes"] > 0


async def test_the_history_of_an_order_names_its_decisions(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    first = await retailer.allocate("A-1", {"MUG": 1})
    second = await retailer.allocate("A-1", {"MUG": 2})

    told = await retailer.get(first.allocation_id)

    assert [event.decision_id for event in told.timeline] == [first.decision.decision_id, second.decision.decision_id]


@pytest.mark.parametrize(
    ("decision_id", "code"),
    [
        ("0190a6a2-7a3c-7c1e-9d7e-0242ac120002", grpc.StatusCode.NOT_FOUND),
        ("seven", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_decision_that_is_not_there_is_said_to_be_so(
    retailer: Retailer, decision_id: str, code: grpc.StatusCode
) -> None:
    assert await refusal(decision(retailer, decision_id)) == code
    assert await refusal(replay(retailer, decision_id)) == code


# Deciding once more


async def test_two_hundred_decisions_come_out_the_same_whatever_has_changed_since(
    database_url: str, tmp_path: Path
) -> None:
    dice = random.Random(20_261_124)
    rules = tmp_path / "rules"
    shutil.copytree(RULES, rules)
    async with sample_retailer(database_url, rules) as retailer:
        made = await sell(retailer, dice, 50)
        for _ in range(3):
            await change_rules(retailer, rules, dice)
            await change_catalogue(retailer, dice)
            made += await sell(retailer, dice, 50)
        at_once = [await replay(retailer, one) for one in made]
        await retailer.sql("UPDATE stock_level SET unavailable = 0, figure_time = NULL, source = 'flood'")
        afterwards = [await replay(retailer, one) for one in made]
    with service_process("--database-url", database_url, "--rules", str(PLAIN_RULES)) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = policy_grpc.PolicyServiceStub(channel)
            restarted = [await stub.ReplayDecision(policy_pb.ReplayDecisionRequest(decision_id=one)) for one in made]

    for answers in (at_once, afterwards, restarted):
        assert [one.differing_field for one in answers if not one.identical] == []
    assert len({one.decision.policy_revision for one in at_once}) == 4
    assert len({one.decision.routing_policy for one in at_once}) > 2
    assert sum(bool(one.decision.fired_rules) for one in at_once) > 100
    assert at_once == afterwards == restarted


@pytest.mark.parametrize(
    ("field", "tampered"),
    [
        ("routing_policy", {"routing_policy": "mine"}),
        ("dropped_candidates[0].reason", {"dropped_candidates": [{"location_id": "far", "reason": "closed"}]}),
        ("fired_rules[0]", {"fired_rules": [{"rule": "mine"}]}),
        ("policy_revision", {"policy_revision": "0"}),
    ],
)
async def test_an_explanation_that_was_tampered_with_is_found_out(
    retailer: Retailer, field: str, tampered: dict[str, Any]
) -> None:
    await retailer.stock({("MUG", "dc"): 9, ("CUP", "far"): 1})
    made = await retailer.allocate("A-1", {"MUG": 1})
    changed = decision_pb2.Decision()
    changed.CopyFrom(made.decision)
    for name, value in tampered.items():
        changed.ClearField(name)  # type: ignore[arg-type]
        changed.MergeFrom(decision_pb2.Decision(**{name: value}))
    await retailer.sql("UPDATE decision SET explanation = $1", changed.SerializeToString(deterministic=True))

    found = await replay(retailer, made.decision.decision_id)

    assert not found.identical
    assert found.differing_field == field
    assert found.decision == made.decision


async def test_replays_do_not_wait_for_each_other_without_bound(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    made = await retailer.allocate("A-1", {"MUG": 1})
    monkeypatch.setattr(bounds, "REPLAYS_WAITING", 1)

    codes = await asyncio.gather(*(outcome(replay(retailer, made.decision.decision_id)) for _ in range(50)))

    assert {"OK", "RESOURCE_EXHAUSTED"} >= set(codes)
    assert codes.count("OK") >= 2
    assert (await replay(retailer, made.decision.decision_id)).identical


async def test_rules_that_are_gone_are_said_to_be_gone(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    made = await retailer.allocate("A-1", {"MUG": 1})
    await retailer.sql("DELETE FROM policy_set")

    with pytest.raises(grpc.aio.AioRpcError, match="are not kept any more"):
        await replay(retailer, made.decision.decision_id)


# Forgetting


async def test_old_decisions_go_except_the_one_that_a_promise_rests_on(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    first = await retailer.allocate("A-1", {"MUG": 1})
    last = await retailer.allocate("A-1", {"MUG": 2})
    await retailer.sql("UPDATE decision SET create_time = create_time - interval '91 days'")
    young = await retailer.allocate("A-2", {"MUG": 1})

    forgotten = await forget(retailer)

    assert forgotten == 2
    assert await refusal(decision(retailer, first.decision.decision_id)) == grpc.StatusCode.NOT_FOUND
    kept = await decision(retailer, last.decision.decision_id)
    assert kept.decision == last.decision
    assert not kept.HasField("inputs")
    assert (await retailer.get(last.allocation_id)).allocation.decision == last.decision
    assert (await replay(retailer, young.decision.decision_id)).identical


async def test_what_no_decision_needs_any_more_goes_a_day_later(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.sql("INSERT INTO policy_set (revision, path, content) VALUES ('old', 'rules/a.yaml', '')")
    await retailer.allocate("A-1", {"MUG": 1})
    await grow_old(retailer, days=90.5)
    await forget(retailer)
    before = await counts(retailer)
    await grow_old(retailer, days=91.5)
    await forget(retailer)

    in_force = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    assert before == {"decision_catalogue": 1, "old": 1, "new": 1}
    assert await counts(retailer) == {"decision_catalogue": 0, "old": 0, "new": 1}
    assert [r["revision"] for r in await retailer.sql("SELECT revision FROM policy_set")] == [in_force.policy_revision]


async def test_a_catalogue_in_use_does_not_age(retailers: RetailerMaker) -> None:
    one = await retailers.make()
    await one.stock({("MUG", "dc"): 9})
    await one.allocate("A-1", {"MUG": 1})
    await grow_old(one, days=95)
    # Another service has nothing in its memory of what is there.
    two = await retailers.make()
    made = await two.allocate("A-2", {"MUG": 1})

    await forget(one)

    assert (await replay(one, made.decision.decision_id)).identical


async def test_two_services_that_forget_at_once_forget_everything_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 99})
    for units in range(1, 40):
        await retailer.allocate("A-1", {"MUG": units})
    await grow_old(retailer, days=91)

    forgotten = await asyncio.gather(forget(retailer), forget(retailer))

    rest = await retailer.sql("SELECT inputs FROM decision")
    assert sum(forgotten) == 39
    assert [row["inputs"] for row in rest] == [None]


async def decision(retailer: Retailer, decision_id: str) -> policy_pb.GetDecisionResponse:
    answer: policy_pb.GetDecisionResponse = await retailer.policies.GetDecision(
        policy_pb.GetDecisionRequest(decision_id=decision_id)
    )
    return answer


async def replay(retailer: Retailer, decision_id: str) -> policy_pb.ReplayDecisionResponse:
    answer: policy_pb.ReplayDecisionResponse = await retailer.policies.ReplayDecision(
        policy_pb.ReplayDecisionRequest(decision_id=decision_id)
    )
    return answer


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


async def grow_old(retailer: Retailer, *, days: float) -> None:
    """Lets everything that is stored of decisions be so many days old."""
    age = timedelta(days=days)
    await retailer.sql("UPDATE decision SET create_time = clock_timestamp() - $1::interval", age)
    await retailer.sql("UPDATE decision_catalogue SET use_time = clock_timestamp() - $1::interval", age)
    await retailer.sql("UPDATE policy_set SET use_time = clock_timestamp() - $1::interval", age)


async def forget(retailer: Retailer) -> float:
    """What the background does, at once; returns how many decisions were forgotten or lost their inputs."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(retailer.database_url, metrics, connections=2)
    try:
        await Retention(database, PolicyFolder(PLAIN_RULES, metrics), metrics, timedelta(days=90)).forget()
    finally:
        await database.close()
    return metrics.registry.get_sample_value("truestock_decisions_forgotten_total") or 0.0


async def counts(retailer: Retailer) -> dict[str, int]:
    found = await retailer.sql("SELECT count(*) FROM decision_catalogue")
    files = await retailer.sql("SELECT count(*) FILTER (WHERE revision = 'old') AS old, count(*) FROM policy_set")
    old, everything = files[0]["old"], files[0]["count"]
    return {"decision_catalogue": found[0]["count"], "old": old, "new": everything - old}


@asynccontextmanager
async def sample_retailer(database_url: str, rules: Path) -> AsyncIterator[Retailer]:
    """A service with the sample catalogue and its stock."""
    settings = Settings(
        address="127.0.0.1:0", metrics_address="127.0.0.1:0", database_url=database_url, rules=rules, sample=True
    )
    async with running(settings) as service, Retailer.connect(service, database_url) as made:
        yield made


async def sell(retailer: Retailer, dice: random.Random, count: int) -> list[str]:
    """Random orders; the ids of the decisions on them that can be made once more."""
    skus = [product.sku for product in sample_products()][:40]
    places = [place.location_id for place in sample_locations()]
    found: list[str] = []
    while len(found) < count:
        wanted = [random_order(dice, skus, places) for _ in range(count - len(found))]
        batch = allocation_pb.BatchAllocateOrdersRequest(requests=wanted)
        results = (await retailer.allocations.BatchAllocateOrders(batch)).results
        assert [result.error.message for result in results if result.HasField("error")] == []
        made = [result.allocation for result in results]
        found += [one.decision.decision_id for one in made if one.state != allocation_pb.Allocation.STATE_REFUSED]
        found = list(dict.fromkeys(found))
    return found


def random_order(dice: random.Random, skus: list[str], places: list[str]) -> allocation_pb.AllocateOrderRequest:
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
        request.pickup_location_id = dice.choice(places)
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
    """Puts other rules into the folder and waits until they are in force."""
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
    used = dice.choice(["[]", "[buffer]", "[buffer, blocked]"])
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
    sold_may_use: {used}
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
  - {{name: old, when: {{stock.age_minutes: {{more_than: {dice.randint(60, 4_000)}}}}}, block: not heard of}}
""",
    )


async def change_catalogue(retailer: Retailer, dice: random.Random) -> None:
    places = sample_locations()
    for place in places:
        place.status = dice.choice([*catalog_pb.Location.Status.values(), catalog_pb.Location.STATUS_OPEN])
        place.priority = dice.randint(1, 50)
    await retailer.catalogue.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=places))
