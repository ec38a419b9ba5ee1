"""The facts that rules may use, and how each is read from a context."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from policies.domain.capacity import Capacity, CapacityFigures
from policies.domain.model import (
    CancellationFacts,
    Channel,
    Context,
    Coordinates,
    Destination,
    Location,
    OrderFacts,
    PlanFacts,
    Product,
    StockLevel,
)
from policies.domain.product_details import ListingReadiness
from policies.facts.fact_table import FACTS, FactType, RulePlace, fact_names, find_fact

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
OSLO, BERGEN = Coordinates(59.9139, 10.7522), Coordinates(60.3913, 5.3221)

EVERYTHING = Context(
    NOW,
    channel=Channel("tiktok_shop", "social", cancellation_headroom=0.8, platform="tiktok_shop"),
    order=OrderFacts(
        "ship",
        Decimal("19.99"),
        3,
        2,
        0,
        frozenset({"gift"}),
        NOW + timedelta(hours=30),
        date(2026, 12, 1),
        900,
        frozenset(),
    ),
    destination=Destination("NO", "Vestland", "5003", BERGEN),
    location=Location(
        "oslo",
        "store",
        country="NO",
        region="Oslo",
        coordinates=OSLO,
        tags=frozenset({"mall"}),
        handling_minutes=60,
        opens=time(9),
        closes=time(17),
        capacity=Capacity(orders_per_day=40),
    ),
    product=Product(
        "MUG",
        category="kitchen",
        brand="Ærlig",
        price=Decimal("7.50"),
        velocity_per_day=4.0,
        weight_grams=300,
        readiness=ListingReadiness(frozenset({"tiktok_shop"})),
    ),
    stock=StockLevel(
        "MUG",
        "oslo",
        on_hand=12,
        allocated=2,
        as_of_time=NOW - timedelta(minutes=90),
        physical_count_time=NOW - timedelta(days=3),
        oldest_receipt_time=NOW - timedelta(days=40),
        count_confidence=0.8,
        source="pos",
    ),
    plan=PlanFacts(2, 305.0, Decimal("9.80"), 3, 2),
    capacity=CapacityFigures(),
    exception_kind="oversell",
    cancellation=CancellationFacts("buyer", work_started=False),
)


def read_fact(name: str, context: Context = EVERYTHING) -> object:
    return FACTS[name].read(context)


def test_every_fact_is_known_in_a_complete_context() -> None:
    unknown = [name for name in FACTS if read_fact(name) is None]

    assert unknown == []


def test_every_fact_is_unknown_in_an_empty_context() -> None:
    known = [name for name in FACTS if read_fact(name, Context(NOW)) is not None]

    assert known == []


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_has_the_type_that_the_table_declares(name: str) -> None:
    types = {FactType.TEXT: str, FactType.NUMBER: int | float, FactType.FLAG: bool, FactType.TEXTS: frozenset}

    assert isinstance(read_fact(name), types[FACTS[name].type])


@pytest.mark.parametrize("name", FACTS)
def test_a_value_is_one_that_the_table_allows(name: str) -> None:
    assert not FACTS[name].allowed or read_fact(name) in FACTS[name].allowed


def test_a_price_equals_the_number_that_a_planner_writes() -> None:
    assert read_fact("order.value") == 19.99


def test_the_age_of_stock_is_in_minutes() -> None:
    assert read_fact("stock.age_minutes") == 90


def test_stock_from_a_source_whose_clock_is_ahead_has_age_zero() -> None:
    ahead = StockLevel("MUG", "oslo", 1, as_of_time=NOW + timedelta(minutes=3))

    assert read_fact("stock.age_minutes", Context(NOW, stock=ahead)) == 0


def test_days_of_cover_are_available_units_over_units_sold_per_day() -> None:
    assert read_fact("stock.days_of_cover") == 2.5


@pytest.mark.parametrize("velocity", [None, 0.0])
def test_days_of_cover_are_unknown_for_a_product_that_does_not_sell(velocity: float | None) -> None:
    context = Context(NOW, product=Product("MUG", velocity_per_day=velocity), stock=StockLevel("MUG", "oslo", 5))

    assert read_fact("stock.days_of_cover", context) is None


def test_distance_is_unknown_without_coordinates_and_never_zero() -> None:
    context = Context(NOW, location=Location("oslo", "store", coordinates=OSLO), destination=Destination("NO"))

    assert read_fact("location.distance_km", context) is None


@pytest.mark.parametrize(
    ("ships_to", "country", "serves"),
    [
        (None, "SE", True),
        (None, None, True),
        (frozenset[str](), "NO", False),
        (frozenset[str](), None, False),
        (frozenset({"NO"}), "NO", True),
        (frozenset({"NO"}), "SE", False),
        (frozenset({"NO"}), None, None),
    ],
)
def test_a_location_without_a_list_of_countries_ships_everywhere_and_with_an_empty_one_nowhere(
    ships_to: frozenset[str] | None, country: str | None, serves: bool | None
) -> None:
    context = Context(NOW, location=Location("oslo", "store", ships_to=ships_to), destination=Destination(country))

    assert read_fact("location.serves_destination", context) is serves


@pytest.mark.parametrize(("time_zone", "is_open"), [("Europe/Oslo", True), ("America/New_York", False)])
def test_a_location_is_open_by_its_own_time_zone(time_zone: str, is_open: bool) -> None:
    location = Location("a", "store", time_zone=time_zone, opens=time(9), closes=time(17))

    assert read_fact("location.open_now", Context(NOW, location=location)) is is_open


def test_whether_a_location_without_hours_is_open_is_unknown_unless_it_is_closed_all_day() -> None:
    paused = Location("oslo", "store", status="paused")
    holiday = Location("oslo", "store", holidays=frozenset({date(2026, 11, 27)}))

    assert read_fact("location.open_now", Context(NOW, location=Location("oslo", "store"))) is None
    assert read_fact("location.open_now", Context(NOW, location=paused)) is False
    assert read_fact("location.open_now", Context(NOW, location=holiday)) is False


def test_the_margin_is_the_order_value_less_the_shipping_cost() -> None:
    assert read_fact("plan.margin_after_shipping") == 10.19
    assert (
        read_fact("plan.margin_after_shipping", Context(NOW, order=OrderFacts(), plan=PlanFacts(1, cost=Decimal(5))))
        is None
    )
    assert (
        read_fact("plan.margin_after_shipping", Context(NOW, order=OrderFacts(value=Decimal(5)), plan=PlanFacts(1)))
        is None
    )


def test_an_untagged_product_has_a_known_empty_list_of_tags() -> None:
    assert read_fact("product.tags", Context(NOW, product=Product("MUG"))) == frozenset()


def test_facts_of_a_location_and_ages_are_unknown_for_a_channels_total() -> None:
    known = fact_names(RulePlace.CHANNEL_BUFFER)

    assert "stock.available" in known
    assert not {"location.type", "stock.age_minutes"} & set(known)


def test_a_fact_is_found_by_its_name_with_known() -> None:
    assert find_fact("location.distance_km.known") is FACTS["location.distance_km"]
    assert find_fact("location.distance") is None
