"""What rules may ask, and how it is read from a context."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest

from policies.domain.model import (
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
from policies.facts.fact_table import FACTS, FactType, RulePlace, fact_names, find_fact

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
OSLO, BERGEN = Coordinates(59.9139, 10.7522), Coordinates(60.3913, 5.3221)

EVERYTHING = Context(
    NOW,
    channel=Channel("tiktok_shop", "social", cancellation_headroom=0.8),
    order=OrderFacts("ship", Decimal("19.99"), 3, 2, 0, frozenset({"gift"})),
    destination=Destination("NO", "Vestland", "5003", BERGEN),
    location=Location(
        "oslo",
        "store",
        country="NO",
        region="Oslo",
        coordinates=OSLO,
        tags=frozenset({"mall"}),
        opens=time(9),
        closes=time(17),
    ),
    product=Product("MUG", category="kitchen", brand="Ærlig", price=Decimal("7.50"), velocity_per_day=4.0),
    stock=StockLevel(
        "MUG",
        "oslo",
        on_hand=12,
        allocated=2,
        as_of_time=NOW - timedelta(minutes=90),
        counted_time=NOW - timedelta(days=3),
        count_confidence=0.8,
        source="pos",
    ),
    plan=PlanFacts(2, 305.0, Decimal("9.80")),
    exception_kind="oversell",
)


def ask(name: str, context: Context = EVERYTHING) -> object:
    return FACTS[name].read(context)


def test_every_fact_is_known_where_everything_is_given() -> None:
    unknown = [name for name in FACTS if ask(name) is None]

    assert unknown == []


def test_every_fact_but_none_is_unknown_where_nothing_is_given() -> None:
    known = [name for name in FACTS if ask(name, Context(NOW)) is not None]

    assert known == []


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_is_read_as_the_type_that_it_declares(name: str) -> None:
    types = {FactType.TEXT: str, FactType.NUMBER: int | float, FactType.FLAG: bool, FactType.TEXTS: frozenset}

    assert isinstance(ask(name), types[FACTS[name].type])


@pytest.mark.parametrize("name", FACTS)
def test_a_value_is_among_those_that_the_table_allows(name: str) -> None:
    assert not FACTS[name].allowed or ask(name) in FACTS[name].allowed


def test_a_price_equals_the_number_that_a_planner_writes() -> None:
    assert ask("order.value") == 19.99


def test_the_age_of_stock_is_told_in_minutes() -> None:
    assert ask("stock.age_minutes") == 90


def test_a_source_whose_clock_runs_ahead_sends_new_stock_not_stock_of_negative_age() -> None:
    ahead = StockLevel("MUG", "oslo", 1, as_of_time=NOW + timedelta(minutes=3))

    assert ask("stock.age_minutes", Context(NOW, stock=ahead)) == 0


def test_cover_is_what_is_available_over_what_sells_in_a_day() -> None:
    assert ask("stock.days_of_cover") == 2.5


@pytest.mark.parametrize("velocity", [None, 0.0])
def test_cover_is_unknown_of_a_product_that_does_not_sell_yet(velocity: float | None) -> None:
    context = Context(NOW, product=Product("MUG", velocity_per_day=velocity), stock=StockLevel("MUG", "oslo", 5))

    assert ask("stock.days_of_cover", context) is None


def test_distance_is_unknown_without_coordinates_and_never_zero() -> None:
    context = Context(NOW, location=Location("oslo", "store", coordinates=OSLO), destination=Destination("NO"))

    assert ask("location.distance_km", context) is None


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
def test_no_list_of_countries_is_everywhere_and_an_empty_one_nowhere(
    ships_to: frozenset[str] | None, country: str | None, serves: bool | None
) -> None:
    context = Context(NOW, location=Location("oslo", "store", ships_to=ships_to), destination=Destination(country))

    assert ask("location.serves_destination", context) is serves


@pytest.mark.parametrize(("time_zone", "is_open"), [("Europe/Oslo", True), ("America/New_York", False)])
def test_a_location_is_open_by_its_own_clock(time_zone: str, is_open: bool) -> None:
    location = Location("a", "store", time_zone=time_zone, opens=time(9), closes=time(17))

    assert ask("location.open_now", Context(NOW, location=location)) is is_open


def test_nobody_knows_whether_a_location_is_open_that_does_not_say_its_hours() -> None:
    paused = Location("oslo", "store", status="paused")
    holiday = Location("oslo", "store", holidays=frozenset({date(2026, 11, 27)}))

    assert ask("location.open_now", Context(NOW, location=Location("oslo", "store"))) is None
    assert ask("location.open_now", Context(NOW, location=paused)) is False
    assert ask("location.open_now", Context(NOW, location=holiday)) is False


def test_the_margin_is_what_the_order_brings_less_what_it_costs_to_send() -> None:
    assert ask("plan.margin_after_shipping") == 10.19
    assert (
        ask("plan.margin_after_shipping", Context(NOW, order=OrderFacts(), plan=PlanFacts(1, cost=Decimal(5)))) is None
    )
    assert (
        ask("plan.margin_after_shipping", Context(NOW, order=OrderFacts(value=Decimal(5)), plan=PlanFacts(1))) is None
    )


def test_an_untagged_product_has_a_known_empty_list_of_tags() -> None:
    assert ask("product.tags", Context(NOW, product=Product("MUG"))) == frozenset()


def test_a_channels_total_has_no_location_and_no_age() -> None:
    known = fact_names(RulePlace.CHANNEL_BUFFER)

    assert "stock.available" in known
    assert not {"location.type", "stock.age_minutes"} & set(known)


def test_a_fact_is_found_when_it_is_asked_whether_it_is_known() -> None:
    assert find_fact("location.distance_km.known") is FACTS["location.distance_km"]
    assert find_fact("location.distance") is None
