"""One odd record breaks nothing: whatever the API accepts, every read of it succeeds, and so do reads of the others."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import hypothesis
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.latlng_pb2 import LatLng
from google.type.money_pb2 import Money
from google.type.timeofday_pb2 import TimeOfDay
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from tests.conftest import REPOSITORY, RetailerMaker, seeds
from tests.retailer import HOLD, SOLD, Retailer, State, change, eventually, movement, promised, refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)

EXTREME_RULES = REPOSITORY / "tests" / "rules_extreme"
"""Rules that use every fact and form of figure."""
NUMBERS = [
    *(0.0, -0.0, 5e-324, 1e-307, 1e-300, 1e-12, 9.9e-7, 1e-6, 0.1, 1.0, 1e7, 1.0000001e7, 1e308),
    *(float("inf"), float("-inf"), float("nan"), -1.0),
]
"""For every number that is not whole."""
COUNTS = [0, 1, 999, 100_000, 999_999_999, 1_000_000_000, 2_147_483_647, -1, -2_147_483_648]
INTERNAL = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
EDGES = [
    *(
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, microsecond=1, tzinfo=UTC),
        datetime(1999, 1, 1, tzinfo=UTC),
    ),
    *(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)),
]
LOCATIONS = ("north", "south", "west")

numbers, counts, edges = st.sampled_from(NUMBERS), st.sampled_from(COUNTS), st.sampled_from(EDGES)
ODD_TEXTS = ["", "\x00", "a\x00b", "é" * 64, "\U0001f600", " x ", "x" * 256, "'; --", "\u202e", "%s{0}"]
# Most texts are plain: one that is refused takes the whole record with it.
texts = st.sampled_from(["plain"] * 20 + ODD_TEXTS)


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """Three locations."""
    shop = await retailers.make(EXTREME_RULES, watch_refresh_seconds=2)
    await shop.locations(*LOCATIONS)
    return shop


def moment(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


@st.composite
def money(draw: st.DrawFn) -> Money:
    units = draw(st.sampled_from([0, 1, 999_999_999_999, 1_000_000_000_000, 10**18, -1]))
    return Money(
        currency_code=draw(st.sampled_from(["USD", "XXX", ""])),
        units=units,
        nanos=draw(st.sampled_from([0, 1, 999_999_999, -1])),
    )


@st.composite
def products(draw: st.DrawFn) -> catalog_pb.Product:
    product = catalog_pb.Product(sku="?", display_name=draw(texts), tags=[draw(texts)], category=draw(texts))
    if draw(st.integers(0, 3)):
        product.velocity_per_day = draw(numbers)
    if draw(st.booleans()):
        product.price.CopyFrom(draw(money()))
    if draw(st.booleans()):
        sizes = {name: draw(counts) for name in ("weight_grams", "length_mm", "width_mm", "height_mm")}
        product.dimensions.CopyFrom(catalog_pb.PackageDimensions(**sizes))
    return product


@st.composite
def locations(draw: st.DrawFn) -> catalog_pb.Location:
    location = catalog_pb.Location(
        location_id=draw(st.sampled_from(LOCATIONS)), type=catalog_pb.Location.TYPE_STORE, display_name=draw(texts)
    )
    location.time_zone = draw(
        st.sampled_from(["", "Pacific/Apia", "Pacific/Kiritimati", "America/Santiago", "nowhere"])
    )
    if draw(st.booleans()):
        degrees = st.sampled_from([0.0, -0.0, 5e-324, 90.0, -90.0, 180.0, -180.0, 90.1, float("nan"), float("inf")])
        location.coordinates.CopyFrom(LatLng(latitude=draw(degrees), longitude=draw(degrees)))
    if draw(st.booleans()):
        location.handling_minutes = draw(counts | st.sampled_from([43_199, 43_200]))
    if draw(st.booleans()):
        location.priority = draw(counts)
    if draw(st.booleans()):
        times = st.sampled_from([(0, 0), (0, 1), (23, 59), (24, 0), (25, 0), (-1, 0)])
        opens, closes = (TimeOfDay(hours=hours, minutes=minutes) for hours, minutes in (draw(times), draw(times)))
        location.working_time.CopyFrom(catalog_pb.WorkingTime(opens=opens, closes=closes))
    return location


@st.composite
def stock_changes(draw: st.DrawFn) -> stock_pb.StockChange:
    fields: dict[str, Any] = {}
    kind = draw(st.sampled_from(["count", "movement", "incoming"]))
    if kind == "count":
        fields["count"] = stock_pb.StockCount(on_hand_count=draw(counts))
        if draw(st.booleans()):
            fields["count"].unavailable_count = draw(counts)
    elif kind == "movement":
        fields["movement"] = movement(
            draw(st.sampled_from(sorted(set(stock_pb.MovementKind.values()) - {0}))), draw(counts)
        )
    else:
        fields["incoming"] = stock_pb.IncomingUnits(
            reference=draw(texts), unit_count=draw(counts), expect_time=moment(draw(edges))
        )
    at = draw(edges | st.just(datetime.now(UTC) - timedelta(minutes=1)))
    if draw(st.booleans()):
        fields["sequence"] = draw(st.sampled_from([0, 1, 2**63 - 1, -(2**63)]))
    return change("?", draw(st.sampled_from(LOCATIONS)), at=at, **fields)


@st.composite
def orders(draw: st.DrawFn) -> allocation_pb.AllocateOrderRequest:
    line = order_pb2.OrderLine(sku="?", unit_count=draw(counts))
    if draw(st.booleans()):
        line.unit_price.CopyFrom(draw(money()))
    request = allocation_pb.AllocateOrderRequest(
        channel_id="web",
        commitment=draw(st.sampled_from([HOLD, SOLD])),
        lines=[line] * draw(st.sampled_from([1, 1, 500])),
    )
    request.destination.country = "US"
    if draw(st.booleans()):
        request.destination.coordinates.CopyFrom(LatLng(latitude=draw(numbers), longitude=draw(numbers)))
    if draw(st.booleans()):
        request.order_value.CopyFrom(draw(money()))
    if draw(st.booleans()):
        request.priority = draw(counts)
    if draw(st.booleans()):
        request.channel_update_time.CopyFrom(moment(draw(edges)))
    return request


scenarios = st.tuples(products(), locations(), st.lists(stock_changes(), min_size=1, max_size=5), orders())


@pytest.mark.parametrize("seed", seeds(1, of_long_tests=5))
async def test_whatever_is_accepted_every_read_of_it_succeeds(shop: Retailer, seed: int) -> None:
    loop, skus = asyncio.get_running_loop(), (f"ODD-{seed}-{number}" for number in itertools.count())
    seen: dict[str, int] = {}
    watch = asyncio.create_task(_watch(shop, seen))
    accepted: list[str] = []

    async def play(scenario: tuple[Any, Any, Any, Any]) -> None:
        product, location, changes, order = scenario
        product.sku = order.order_id = sku = next(skus)
        for line in order.lines:
            line.sku = sku
        for stock_change in changes:
            stock_change.sku = sku
        await _write(shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location])))
        if await _write(shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))) is None:
            return
        accepted.append(sku)
        await shop.count({(sku, "north"): 1_000_000_000})
        for stock_change in changes:
            await _write(shop.record(stock_change))
        answer = await _write(shop.allocations.AllocateOrder(order))
        await _read_everything(shop, sku)
        # Of a refused hold only a summary is stored.
        if answer is not None and answer.allocation.state != State.STATE_REFUSED:
            assert (await shop.replay(answer.allocation.decision.decision_id)).identical

    @settings(
        phases=[Phase.generate],
        max_examples=25 if seed else 12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @hypothesis.seed(seed)
    @given(scenarios)
    def played(scenario: tuple[Any, Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(play(scenario), loop).result(timeout=60)

    await asyncio.to_thread(played)

    async def all_seen() -> bool:
        return watch.done() or seen.keys() >= set(accepted)

    await eventually(all_seen)
    assert not watch.done(), watch.exception()
    watch.cancel()
    assert (await shop.ledger()).balanced


async def _write(call: Awaitable[Any]) -> Any:
    """The answer; None if the request is refused, which must be because of its contents."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        refusal = error
    assert refusal.code() not in INTERNAL, f"{refusal.code()}: {refusal.details()}"
    return None


async def _read_everything(shop: Retailer, sku: str) -> None:
    for detailed in (False, True):
        question = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=[sku], include_locations=detailed)
        question.destination.country = "US"
        (availability,) = (await shop.availability.CheckAvailability(question)).availabilities
        assert not availability.problem
    await shop.stock_service.ListStockLevels(stock_pb.ListStockLevelsRequest(skus=[sku]))
    await shop.stock_service.ListStockMovements(stock_pb.ListStockMovementsRequest(skus=[sku]))
    await shop.catalog.ListProducts(catalog_pb.ListProductsRequest(skus=[sku]))
    await shop.catalog.ListLocations(catalog_pb.ListLocationsRequest())


async def _watch(shop: Retailer, seen: dict[str, int]) -> None:
    async for message in shop.availability.WatchAvailability(
        availability_pb.WatchAvailabilityRequest(channel_id="web")
    ):
        seen.update({entry.sku: entry.sellable_count for entry in message.changes})


# Sums over locations


async def test_a_billion_units_at_each_of_three_locations_are_three_billion(shop: Retailer) -> None:
    await shop.stock({("SCREW", location): 1_000_000_000 for location in LOCATIONS})
    seen: dict[str, int] = {}
    watch = asyncio.create_task(_watch(shop, seen))

    availability = (
        await shop.availability.CheckAvailability(
            availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["SCREW"], include_locations=True)
        )
    ).availabilities[0]

    async def is_published() -> bool:
        return watch.done() or seen.get("SCREW") == availability.sellable_count

    await eventually(is_published)
    assert not watch.done(), watch.exception()
    watch.cancel()
    assert availability.available_count == 3_000_000_000
    assert availability.sellable_count > 2_900_000_000


# Differences of figures


async def test_a_count_that_changes_stock_by_more_than_an_integer_holds_is_quarantined(shop: Retailer) -> None:
    await shop.stock({("SCREW", "north"): 0, ("NAIL", "north"): 0})
    fall = movement(stock_pb.MOVEMENT_KIND_ADJUSTED, -1_000_000_000)
    await shop.record(change("SCREW", "north", at=datetime.now(UTC), movement=fall))
    loss = movement(stock_pb.MOVEMENT_KIND_LOST, 1_000_000_000)
    count = stock_pb.StockCount(on_hand_count=1_000_000_000)
    counted = stock_pb.CountedMovement(movement=loss, count=count)

    results = await shop.record(
        change("SCREW", "north", at=datetime.now(UTC), counted_movement=counted),
        change("NAIL", "north", at=datetime.now(UTC), count=stock_pb.StockCount(on_hand_count=3)),
    )

    result = stock_pb.StockChangeResult
    assert [x.result for x in results] == [result.CHANGE_RESULT_QUARANTINED, result.CHANGE_RESULT_ACCEPTED]
    assert results[0].reason == "stock, or its change, would exceed 1,000,000,000 units; check the number"
    assert (await shop.level("SCREW", "north")).on_hand_count == -1_000_000_000


async def test_fewer_units_available_than_an_integer_holds_are_read(shop: Retailer) -> None:
    """Promises of billions take thousands of orders; each of the three figures is one that the service can reach."""
    await shop.stock({("SCREW", "north"): 1, ("NAIL", "north"): 1})
    await shop.sql(
        "UPDATE stock_level SET on_hand = -1000000000, unavailable = 1000000000, allocated = 1000000000"
        " WHERE sku = 'SCREW'"
    )

    assert (await shop.level("SCREW", "north")).available_count == -3_000_000_000
    await _read_everything(shop, "SCREW")


# Velocity


@pytest.mark.parametrize("velocity", [1e-307, 5e-324, 9.99e-7, -1e-300, float("nan"), float("inf"), 1.1e7])
async def test_a_velocity_outside_its_bounds_is_refused_with_them(shop: Retailer, velocity: float) -> None:
    product = catalog_pb.Product(sku="MUG", velocity_per_day=velocity)

    error = await refused(shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product])))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "it must be 0, or 0.000001 to 10,000,000" in (error.details() or "")


@pytest.mark.parametrize("column", ["velocity_per_day", "learned_velocity"])
async def test_a_velocity_that_was_stored_before_it_had_a_bound_is_read(shop: Retailer, column: str) -> None:
    await shop.stock({("MUG", "north"): 1_000_000_000, ("CUP", "north"): 7})
    learned = ", learned_velocity_time = now()" if column == "learned_velocity" else ""
    await shop.sql(f"UPDATE product SET {column} = 1e-307{learned} WHERE sku = 'MUG'")

    await _read_everything(shop, "MUG")
    order = await shop.allocate("A-1", {"MUG": 1, "CUP": 1})

    assert promised(order) == {"north": 2}


# One product's trouble


async def test_trouble_with_one_product_is_said_and_leaves_the_others_alone(shop: Retailer) -> None:
    """No call can store such a price; PostgreSQL can, and no rule can compare it."""
    await shop.stock({("MUG", "north"): 7, ("CUP", "north"): 7})
    await shop.sql("UPDATE product SET price = 'NaN', currency = 'USD' WHERE sku = 'MUG'")
    seen: dict[str, int] = {}
    watch = asyncio.create_task(_watch(shop, seen))

    question = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG", "CUP"])
    answers = [(await shop.availability.CheckAvailability(question)).availabilities for _ in range(2)]

    async def is_published() -> bool:
        return watch.done() or seen.keys() == {"MUG", "CUP"}

    await eventually(is_published)
    assert not watch.done(), watch.exception()
    watch.cancel()
    (mug, cup), again = answers
    assert (mug.sellable_count, seen["MUG"]) == (0, 0)
    assert "the availability of 'MUG' could not be computed" in mug.problem
    assert again[0].problem == mug.problem
    assert cup.sellable_count == seen["CUP"] > 0
    assert not cup.problem
