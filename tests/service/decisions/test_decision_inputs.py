"""Stored decision inputs are read back unchanged."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import given, strategies as st

from policies.decisions.eligibility import NO_PROMISED_UNITS
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.day_hours import DayHours
from policies.domain.geography import great_circle_km
from policies.domain.kits import KitPart, of_kit
from policies.domain.listings import OrderedItem
from policies.domain.model import (
    CANCELLATION_ANSWERS,
    CHANNEL_KINDS,
    LOCATED_BY,
    LOCATION_STATUSES,
    LOCATION_TYPES,
    METHODS,
    PRODUCT_STATUSES,
    Channel,
    Commitment,
    Coordinates,
    Destination,
    ErasedPoint,
    Location,
    Order,
    OrderLine,
    Product,
    StockLevel,
    World,
)
from policies.domain.outlets import Outlet
from policies.domain.placement import ANYWHERE, of_whole_items
from policies.domain.product_details import ListingReadiness
from service import limits
from service.decisions import decision_batch, erased_destination, stored_decision
from service.decisions.decision_batch import BATCH_COLUMNS, DECISION_COLUMNS, DecisionRows, DecisionWrite
from service.decisions.decision_inputs import RoutingInputs, capacity_message, inputs_of
from service.decisions.decision_log import DecisionInputs, ProductLevels, capture, product_levels_bytes
from service.decisions.recorded_capacity import RecordedCapacity
from truestock.v1 import (
    decision_pb2,
)


def built(kind: type, /, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Random values of a dataclass. All its fields must be given, so that a new field is not forgotten here."""
    assert {part.name for part in dataclasses.fields(kind)} == set(parts), (
        f"generate every field of {kind.__name__}, and store it"
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
    as_of_time=moments,
    counted_time=moments,
    count_confidence=shares,
    source=maybe_words,
    tracked=st.booleans(),
    physical_count_time=moments,
    oldest_receipt_time=moments,
)
platforms = st.frozensets(st.sampled_from(["shopify", "tiktok_shop", "amazon"]))
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
    weight_grams=st.none() | st.integers(1, 10**9),
    readiness=st.none() | st.builds(ListingReadiness, platforms, platforms).filter(lambda x: x != ListingReadiness()),
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
    handling_minutes=st.none() | st.integers(0, limits.HANDLING_MINUTES),
    priority=st.none() | numbers,
    ships_to=st.none() | tags,
    cut_off=hours,
    opening_days=st.frozensets(st.integers(0, 6)),
    opens=st.none() | st.just(time(0, 0)),
    closes=st.none() | st.times(min_value=time(0, 1)),
    holidays=st.frozensets(st.dates(date(2000, 1, 1), date(2100, 1, 1)), max_size=3),
    weekday_hours=st.dictionaries(
        st.integers(0, 6),
        built(DayHours, opens=st.just(time(8)), closes=st.sampled_from([time(0), time(9)]), cut_off=hours),
        max_size=2,
    ).map(lambda by_day: tuple(sorted(by_day.items()))),
    capacity=st.none()
    | built(
        Capacity,
        orders_per_day=st.integers(0, 2**31 - 1),
        units_per_day=st.none() | st.integers(0, 2**31 - 1),
        orders_per_hour=st.none() | st.just(0),
        units_per_hour=st.none() | st.just(1),
        days_ahead=st.integers(0, 30),
    ),
)
channels = built(
    Channel,
    id=words,
    kind=st.sampled_from(CHANNEL_KINDS),
    name=st.just("") | words,
    location_ids=st.frozensets(st.sampled_from("xyz")),
    cancellation_headroom=shares,
    platform=maybe_words,
    figure_lag=st.integers(0, limits.FIGURE_LAG_SECONDS).map(lambda seconds: timedelta(seconds=seconds)),
    unpaid_order_duration=st.none() | st.integers(1, 72 * 3600).map(lambda seconds: timedelta(seconds=seconds)),
    cancellation_default=st.none() | st.sampled_from(CANCELLATION_ANSWERS),
    markets=st.lists(st.sampled_from(["CA", "US-HI"]), max_size=2).map(tuple),
)
destinations = built(
    Destination,
    country=maybe_words,
    region=maybe_words,
    postal_code=maybe_words,
    coordinates=st.none() | points,
    located_by=st.none() | st.sampled_from(LOCATED_BY),
)
items = built(OrderedItem, item_id=words, count=st.integers(1, 10**5), units_each=st.integers(0, 10**4))
kits = built(
    KitPart, line_id=words, sku=st.just("KIT"), unit_count=st.integers(1, limits.KIT_UNITS), may_split=st.booleans()
)
lines = built(
    OrderLine,
    line_id=words,
    sku=st.sampled_from("AB"),
    unit_count=st.integers(1, 10**9),
    unit_price=amounts,
    placement=st.just(ANYWHERE),
    item=st.none() | items,
    kit=st.none() | kits,
).map(
    lambda line: dataclasses.replace(
        line,
        placement=of_whole_items(ANYWHERE, line.line_id, line.item)
        if line.kit is None
        else of_kit(ANYWHERE, line.kit, line.item),
    )
)
orders = built(
    Order,
    channel_id=words,
    order_id=words,
    lines=st.lists(lines, min_size=1, max_size=3, unique_by=lambda line: line.line_id).map(tuple),
    commitment=st.sampled_from(Commitment),
    method=st.sampled_from(METHODS),
    destination=st.none() | destinations,
    pickup_location_id=maybe_words,
    stated_value=amounts,
    currency=st.sampled_from(["", "USD", "EUR"]),
    priority=st.none() | numbers,
    tags=tags,
    # Whether the channel had the outlet is a matter of its shortages, which are not stored.
    outlet=st.none() | built(Outlet, id=words, location_ids=tags, is_known=st.just(True)),
    ship_by_time=moments,
    deliver_by=st.none() | st.dates(date(2000, 1, 1), date(2100, 1, 1)),
)


NOW = datetime(2026, 11, 27, 9, 30, 0, 123_456, tzinfo=UTC)
WEB = Channel("web", "web")
ORDER = Order("web", "A-1", (OrderLine("1", "A", 2), OrderLine("2", "B", 1)))


@given(st.lists(locations, max_size=2, unique_by=lambda location: location.id), channels)
def test_a_catalog_is_read_back_unchanged(locations: list[Location], channel: Channel) -> None:
    inputs = read_back(World(NOW, {location.id: location for location in locations}, {}), channel, ORDER)

    assert inputs.channel == channel
    assert inputs.world.locations == {
        location.id: location for location in locations if channel.may_sell_from(location.id)
    }


@given(
    st.lists(products, max_size=2, unique_by=lambda product: product.sku),
    st.lists(levels, max_size=3, unique_by=lambda level: (level.sku, level.location_id)),
    moments,
    st.frozensets(
        st.builds(CapacityPeriod, location_id=st.sampled_from("xyz"), day=st.dates(), hour=st.integers(-1, 23))
    ),
)
def test_products_stock_levels_and_what_is_taken_of_capacity_are_read_back_unchanged(
    products: list[Product], levels: list[StockLevel], now: datetime | None, periods: frozenset[CapacityPeriod]
) -> None:
    locations = {key: Location(key, "store", capacity=Capacity(orders_per_day=9)) for key in "xyz"}
    levels_by_key = {(level.sku, level.location_id): level for level in levels}
    taken = CapacityFigures({period: CapacityUse(3, 7) for period in periods})
    world = World(now or NOW, locations, {product.sku: product for product in products}, levels_by_key, capacity=taken)

    assert read_back(world, WEB, ORDER).world == world


@given(
    orders,
    st.dictionaries(st.tuples(words, words), st.integers(0, 2**31 - 1), max_size=3),
    st.frozensets(st.tuples(words, words), max_size=3),
)
def test_an_order_is_read_back_unchanged(
    order: Order, own: dict[tuple[str, str], int], excluded: frozenset[tuple[str, str]]
) -> None:
    inputs = read_back(World(NOW, {}, {}), WEB, order, own, excluded)

    assert (inputs.order, inputs.own_units, inputs.rejected_by) == (order, own, excluded)
    assert [line.unit_price for line in inputs.order.lines] == [line.unit_price for line in order.lines]


def test_earlier_levels_of_a_product_take_no_memory() -> None:
    def store_counts(counts: range) -> None:
        for on_hand in counts:
            product_levels_bytes(ProductLevels("A", None, (StockLevel("A", "x", on_hand),)), limits.DECISION_BYTES)

    store_counts(range(10))
    tracemalloc.start()
    try:
        store_counts(range(1_000, 6_000))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept_bytes < 10_000


periods = st.builds(
    CapacityPeriod,
    location_id=st.sampled_from("vwxyz"),
    day=st.dates(date(2026, 11, 27), date(2026, 11, 28)),
    hour=st.sampled_from([-1, 9]),
)
taken = st.dictionaries(periods, st.builds(CapacityUse, st.integers(0, 3), st.integers(0, 300)), max_size=6)


@given(st.lists(taken, max_size=6))
def test_what_is_taken_of_capacity_is_recorded_alike_whatever_was_recorded_before(
    taken_one_after_another: list[dict[CapacityPeriod, CapacityUse]],
) -> None:
    """The channel sells from some of the locations only."""
    record = RecordedCapacity(frozenset("xyz"))
    for taken in taken_one_after_another:
        messages = [capacity_message(*use) for use in sorted(taken.items()) if use[0].location_id in "xyz"]
        plain = decision_pb2.DecisionInputs(capacity_used=messages)

        assert record.content(CapacityFigures(taken)) == plain.SerializeToString(deterministic=True)


@given(orders, products)
def test_equal_inputs_are_stored_as_equal_bytes(order: Order, product: Product) -> None:
    world = World(datetime.now(UTC), {}, {product.sku: product})
    equal_order = dataclasses.replace(order, tags=frozenset(sorted(order.tags, reverse=True)))

    first, second = (capture(world, Channel("web", "web"), x).by_value() for x in (order, equal_order))

    assert first == second


@given(st.lists(points, min_size=1, max_size=3, unique=True), points)
def test_an_erased_destination_is_as_far_away_as_it_was(from_points: list[Coordinates], to: Coordinates) -> None:
    locations = {str(n): Location(str(n), "store", coordinates=point) for n, point in enumerate(from_points)}
    destination = Destination("US", "TX", "78704", to)

    message = erased_destination.erased(destination, locations)
    read = erased_destination.destination_of(message, locations)

    assert (read.country, read.region, read.postal_code) == ("US", "TX", None)
    assert isinstance(read.coordinates, ErasedPoint)
    assert [great_circle_km(x, read.coordinates) for x in from_points] == [great_circle_km(x, to) for x in from_points]


def read_back(
    world: World,
    channel: Channel,
    order: Order,
    own: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
    excluded: frozenset[tuple[str, str]] = frozenset(),
) -> RoutingInputs:
    """The inputs of a decision that is stored alone, and as the second of two with other stock before."""
    inputs = capture(world, channel, order, own, rejected_by=excluded)
    catalog = inputs.snapshot.stored_catalog().content
    alone = read_rows(decision_batch.stored_rows([write_of(inputs)], world.now, uuid4))[0]
    assert alone is not None
    alone.MergeFromString(catalog)
    others = {key: dataclasses.replace(level, allocated=7, held=0) for key, level in world.levels.items()}
    before = capture(dataclasses.replace(world, levels=others), channel, order)
    rows = decision_batch.stored_rows([write_of(before), write_of(inputs)], world.now, uuid4)
    batched = read_rows(rows)[1]
    assert batched is not None
    batched.MergeFromString(catalog)
    assert len(rows.batches) == 1
    assert batched == alone
    return inputs_of(batched)


def write_of(inputs: DecisionInputs) -> DecisionWrite:
    return DecisionWrite(uuid4(), uuid4(), decision_pb2.Decision(), inputs, is_summary=False)


def read_rows(rows: DecisionRows) -> list[decision_pb2.DecisionInputs | None]:
    """The inputs in rows as they are read from the database."""
    decisions = [dict(zip(DECISION_COLUMNS, row, strict=True)) | {"erased_destination": None} for row in rows.decisions]
    batches = {row[0]: dict(zip(BATCH_COLUMNS, row, strict=True)) for row in rows.batches}
    return [stored_decision.inputs(stored_decision.with_batch(x, batches.get(x["batch_id"]))) for x in decisions]
