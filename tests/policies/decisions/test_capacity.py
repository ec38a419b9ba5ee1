"""Locations that limit what they handle in a day: full ones take an order for a later day, or are not used."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from policies.decisions.decision import Decision
from policies.decisions.kits.kit_availability import assess_kit
from policies.decisions.routing import route, routed_order
from policies.decisions.shortages import LINE_RESTRICTED
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.handling_times import HandlingTime, first_handling_time, handling_times
from policies.domain.kits import Kit, KitPart, of_kit
from policies.domain.model import Location, Order, OrderLine, Product, StockLevel, World
from policies.domain.placement import Placement
from policies.explanation import DropReason
from tests.policies.small_retailer import (
    ANYWHERE,
    NOW,
    OSLO,
    TIKTOK,
    TO_OSLO,
    TROMSO,
    level,
    order,
    policy,
    rules,
    sold,
    store,
    warehouse,
    world,
)

TODAY = NOW.date()
TOMORROW = TODAY + timedelta(days=1)
EVENING = datetime.combine(TODAY, time(22), NOW.tzinfo)


def limited(key: str, **limits: Any) -> Location:
    return store(key, coordinates=OSLO, capacity=Capacity(**limits))


def used(*periods: tuple[str, date, int, int]) -> CapacityFigures:
    return CapacityFigures({CapacityPeriod(key, day): CapacityUse(*counts) for key, day, *counts in periods})


def decide(
    locations: Sequence[Location],
    levels: Sequence[StockLevel],
    wanted: Order,
    figures: CapacityFigures | None = None,
    text: str = ANYWHERE,
) -> Decision:
    snapshot: World = replace(world(locations, levels), capacity=figures or CapacityFigures())
    return route(rules(text), snapshot, TIKTOK, wanted)


def handled(decision: Decision) -> list[tuple[str, date | None]]:
    return [(x.location_id, x.handling and x.handling.day) for x in decision.plan]


def test_a_location_with_room_handles_the_order_today() -> None:
    decision = decide([limited("oslo", orders_per_day=1)], [level("MUG", "oslo", 5)], order({"MUG": 2}))

    assert handled(decision) == [("oslo", TODAY)]


def test_a_location_that_handles_only_so_many_orders_is_as_far_from_the_shopper_as_any_other() -> None:
    wanted = order({"MUG": 1}, destination=replace(TO_OSLO, coordinates=TROMSO))

    [shipment] = decide([limited("oslo", orders_per_day=1)], [level("MUG", "oslo", 5)], wanted).plan

    assert shipment.handling is not None
    assert shipment.distance_km == pytest.approx(1149, abs=5)


def test_a_location_without_a_limit_takes_nothing_of_any_day() -> None:
    assert handled(decide([store("oslo")], [level("MUG", "oslo", 5)], order({"MUG": 2}))) == [("oslo", None)]


def test_a_location_that_is_full_today_handles_the_order_tomorrow() -> None:
    figures = used(("oslo", TODAY, 1, 1))
    decision = decide([limited("oslo", orders_per_day=1)], [level("MUG", "oslo", 5)], order({"MUG": 2}), figures)

    assert handled(decision) == [("oslo", TOMORROW)]


def test_a_full_location_is_dropped_where_the_order_must_ship_today() -> None:
    levels = [level("MUG", "oslo", 5), level("MUG", "tromso", 5)]
    locations = [limited("oslo", orders_per_day=1), warehouse("tromso", coordinates=TROMSO)]
    wanted = order({"MUG": 2}, destination=TO_OSLO, ship_by_time=EVENING)
    decision = decide(locations, levels, wanted, used(("oslo", TODAY, 1, 1)))

    assert handled(decision) == [("tromso", None)]
    assert [(x.location_id, x.reason) for x in decision.dropped] == [("oslo", DropReason.CAPACITY)]


def test_an_order_due_at_midnight_is_not_put_off_to_the_next_day() -> None:
    midnight = datetime.combine(TOMORROW, time(0), NOW.tzinfo)
    wanted = order({"MUG": 2}, ship_by_time=midnight)
    decision = decide(
        [limited("oslo", orders_per_day=1)], [level("MUG", "oslo", 5)], wanted, used(("oslo", TODAY, 1, 1))
    )

    assert decision.plan == ()


def test_a_location_puts_an_order_off_by_no_more_days_than_it_states() -> None:
    location = limited("oslo", orders_per_day=1, days_ahead=1)
    figures = used(("oslo", TODAY, 1, 1), ("oslo", TOMORROW, 1, 1))

    assert decide([location], [level("MUG", "oslo", 5)], order({"MUG": 1}), figures).plan == ()


def test_what_only_full_locations_have_is_short_for_want_of_capacity_and_not_oversold() -> None:
    location = limited("oslo", orders_per_day=1, days_ahead=0)
    decision = decide([location], [level("MUG", "oslo", 3)], sold({"MUG": 4}), used(("oslo", TODAY, 1, 1)))

    assert [(x.unit_count, x.kind.value, x.cause) for x in decision.shortages] == [
        (3, "unfillable", "no_capacity"),
        (1, "oversell", ""),
    ]


def test_a_location_that_limits_units_gives_an_order_as_many_as_it_can_still_handle() -> None:
    location = limited("oslo", units_per_day=10, days_ahead=0)
    levels = [level("MUG", "oslo", 9), level("CAP", "oslo", 9)]
    decision = decide([location], levels, order({"MUG": 3, "CAP": 3}), used(("oslo", TODAY, 1, 6)))

    assert decision.units == {("MUG", "oslo"): 3, ("CAP", "oslo"): 1}


def test_the_earliest_parcel_is_that_of_a_location_with_room_today() -> None:
    """Both send parcels of two days; the one that `priority` prefers handles no order before Monday."""
    delivery = "kind: delivery\nrules:\n  - {name: parcel, position: 1, service: parcel, transit_days: 2}\n"
    locations = [
        replace(limited("a", orders_per_day=1, days_ahead=7), handling_minutes=0, priority=1),
        store("b", coordinates=OSLO, handling_minutes=0, priority=2),
    ]
    levels = [level("MUG", "a", 9), level("MUG", "b", 9)]
    full = used(*[("a", TODAY + timedelta(days=day), 1, 1) for day in range(3)])
    policy_set = rules(delivery, policy(rank="[earliest_promise, priority]"))

    def decided(figures: CapacityFigures) -> list[str]:
        snapshot = replace(world(locations, levels), capacity=figures)
        return [x.location_id for x in route(policy_set, snapshot, TIKTOK, order({"MUG": 2})).plan]

    assert (decided(CapacityFigures()), decided(full)) == (["a"], ["b"])


def test_the_earliest_parcel_of_a_location_has_only_the_products_that_it_has() -> None:
    """Location a has room for one unit today and for two on Monday. It has no cap to send, so that the mug fits."""
    delivery = "kind: delivery\nrules:\n  - {name: parcel, position: 1, service: parcel, transit_days: 2}\n"
    locations = [
        replace(limited("a", units_per_day=2, days_ahead=7), handling_minutes=0, priority=1),
        store("b", coordinates=OSLO, handling_minutes=0, priority=2),
        store("c", coordinates=OSLO, handling_minutes=0, priority=3),
    ]
    levels = [level("MUG", "a", 9), level("MUG", "b", 9), level("CAP", "c", 9)]
    figures = used(("a", TODAY, 1, 1), *[("a", TODAY + timedelta(days=day), 1, 2) for day in (1, 2)])
    wanted = order({"MUG": 1, "CAP": 1})
    policy_set = rules(delivery, policy(rank="[earliest_promise, priority]"))
    decision = route(policy_set, replace(world(locations, levels), capacity=figures), TIKTOK, wanted)

    assert handled(decision) == [("a", TODAY), ("c", None)]


SET = Kit("SET", {"MUG": 1, "BOWL": 2})


def sets(kit: Kit, count: int) -> Order:
    """An order of so many of a kit."""
    lines = []
    for sku, units in kit.components.items():
        part = KitPart("1", kit.sku, units, kit.may_split)
        lines.append(OrderLine(sku, sku, units * count, placement=of_kit(Placement(), part, None), kit=part))
    return Order("tiktok_shop", "1", tuple(lines))


def test_locations_that_can_handle_few_units_get_room_for_whole_kits() -> None:
    """With room for 4 and 8 units they ship one and two kits of three, and not mugs without their bowls."""
    locations = [limited("a", units_per_day=4, days_ahead=0), limited("b", units_per_day=8, days_ahead=0)]
    levels = [level(sku, key, 20) for key in "ab" for sku in ("MUG", "BOWL")]
    decision = decide(locations, levels, sets(SET, 5))

    assert sorted((x.location_id, x.unit_count) for x in decision.plan) == [("a", 3), ("b", 6)]
    assert {(x.kind.value, x.cause) for x in decision.shortages} == {("unfillable", "no_capacity")}


@pytest.mark.parametrize("may_split", [False, True])
def test_the_largest_order_of_kits_is_what_several_full_locations_can_handle_together(may_split: bool) -> None:
    kit = replace(SET, may_split=may_split)
    locations = [limited("a", units_per_day=4, days_ahead=0), limited("b", units_per_day=8, days_ahead=0)]
    snapshot = world(locations, [level(sku, key, 20) for key in "ab" for sku in ("MUG", "BOWL")])
    snapshot = replace(snapshot, capacity=CapacityFigures(), products={"SET": Product("SET")})
    largest = assess_kit(rules(ANYWHERE), snapshot, TIKTOK, kit).largest_single_order

    assert largest == 3
    assert route(rules(ANYWHERE), snapshot, TIKTOK, sets(kit, 3)).shortages == ()
    assert route(rules(ANYWHERE), snapshot, TIKTOK, sets(kit, 4)).shortages


def test_components_of_kits_that_may_be_split_share_the_room_of_a_location_kit_by_kit() -> None:
    """Each location can handle ten units of the twenty: it sends five mugs and five bowls, not ten mugs."""
    pair = Kit("PAIR", {"MUG": 1, "BOWL": 1}, may_split=True)
    locations = [limited(key, units_per_day=10, days_ahead=0) for key in "ab"]
    levels = [level(sku, key, 10) for key in "ab" for sku in ("MUG", "BOWL")]
    decision = decide(locations, levels, sets(pair, 10))

    assert sorted((x.location_id, x.unit_count) for x in decision.plan) == [("a", 10), ("b", 10)]
    assert decision.shortages == ()


def test_the_room_that_a_kit_leaves_goes_to_components_of_which_there_are_more() -> None:
    """The location has one bowl of the three, so it has room for all the mugs; the bowls come from elsewhere."""
    pair = Kit("PAIR", {"MUG": 1, "BOWL": 1}, may_split=True)
    locations = [limited("a", units_per_day=4, days_ahead=0), store("b")]
    levels = [level("MUG", "a", 3), level("BOWL", "a", 1), level("BOWL", "b", 2)]
    decision = decide(locations, levels, sets(pair, 3))

    assert {x.location_id: x.unit_count for x in decision.plan} == {"a": 4, "b": 2}


def room_given(wanted: Order, stock: Mapping[str, int], room: int, text: str = ANYWHERE) -> dict[str, int]:
    """The units that the order may have of one location that can handle so many units, by SKU."""
    location = limited("a", units_per_day=room, days_ahead=0)
    snapshot = world([location], [level(sku, "a", count) for sku, count in stock.items()])
    snapshot = replace(snapshot, capacity=CapacityFigures())
    units = routed_order(rules(text), snapshot, TIKTOK, wanted).usable.units
    return {sku: by_location["a"] for sku, by_location in units.items() if by_location.get("a")}


def room_unit_by_unit(kits: Sequence[tuple[Kit, int]], stock: Mapping[str, int], room: int) -> dict[str, int]:
    """As `room_given` must be where the room is too small: counted off kit by kit and unit by unit."""
    given = dict.fromkeys(stock, 0)
    for kit, count in kits:
        before = dict(given)
        for number in range(count):
            wanted = {
                sku: min(size, stock[sku] - given[sku], size * (number + 1) - (given[sku] - before[sku]))
                for sku, size in kit.components.items()
            }
            if not kit.may_split and (wanted != kit.components or sum(wanted.values()) > room):
                break
            for sku, more in wanted.items():
                given[sku] += min(more, room)
                room -= min(more, room)
    return {sku: count for sku, count in given.items() if count}


SIZES = st.integers(1, 3)


@given(
    st.lists(st.tuples(SIZES, SIZES, st.booleans(), st.integers(1, 6)), min_size=1, max_size=3),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
    st.integers(1, 30),
)
def test_the_room_of_a_location_is_given_out_kit_by_kit(
    ordered: list[tuple[int, int, bool, int]], have: tuple[int, int], room: int
) -> None:
    stock = dict(zip(("MUG", "BOWL"), have, strict=True))
    kits = [
        (Kit(f"KIT-{number}", {"MUG": mugs, "BOWL": bowls}, may_split), count)
        for number, (mugs, bowls, may_split, count) in enumerate(ordered)
    ]
    lines = []
    for number, (kit, count) in enumerate(kits):
        for sku, size in kit.components.items():
            part = KitPart(str(number), kit.sku, size, kit.may_split)
            lines.append(
                OrderLine(f"{number}-{sku}", sku, size * count, placement=of_kit(Placement(), part, None), kit=part)
            )
    total = {sku: sum(line.unit_count for line in lines if line.sku == sku) for sku in stock}
    usable = {sku: min(total[sku], count) for sku, count in stock.items()}
    expected = (
        {sku: count for sku, count in stock.items() if count}
        if sum(usable.values()) <= room
        else room_unit_by_unit(kits, stock, room)
    )

    assert room_given(Order("tiktok_shop", "1", tuple(lines)), stock, room) == expected


def test_a_location_keeps_no_room_for_a_line_that_may_not_ship_from_it() -> None:
    lines = (
        OrderLine("1", "MUG", 3, placement=Placement(not_location_ids=frozenset({"a"}))),
        OrderLine("2", "BOWL", 2),
    )
    location = limited("a", units_per_day=3, days_ahead=0)
    levels = [level("MUG", "a", 9), level("BOWL", "a", 9)]
    decision = decide([location], levels, Order("tiktok_shop", "1", lines))

    assert decision.units == {("BOWL", "a"): 2}


NOT_A = Placement(not_location_ids=frozenset({"a"}))


def test_what_a_line_may_not_have_of_a_location_is_not_short_for_want_of_room_there() -> None:
    """Two bowls fit into the three units of a day; the three mugs may not come from there at all."""
    lines = OrderLine("1", "MUG", 3, placement=NOT_A), OrderLine("2", "BOWL", 2)
    decision = decide(
        [limited("a", units_per_day=3, days_ahead=0)],
        [level("MUG", "a", 9), level("BOWL", "a", 9)],
        Order("tiktok_shop", "1", lines),
    )

    assert [(x.line_id, x.unit_count, x.cause) for x in decision.shortages] == [("1", 3, LINE_RESTRICTED)]


def test_the_room_that_a_line_may_not_use_is_for_the_lines_after_it() -> None:
    lines = OrderLine("1", "MUG", 3, placement=NOT_A), OrderLine("2", "BOWL", 4)
    decision = decide(
        [limited("a", units_per_day=3, days_ahead=0)],
        [level("MUG", "a", 9), level("BOWL", "a", 9)],
        Order("tiktok_shop", "1", lines),
    )

    assert decision.units == {("BOWL", "a"): 3}


def test_a_location_that_is_full_today_hides_no_other_one_that_is_full() -> None:
    locations = [limited("a", units_per_day=3), limited("b", units_per_day=1)]
    decision = decide(
        locations,
        [level("MUG", "a", 3), level("MUG", "b", 5)],
        order({"MUG": 5}),
        used(("a", TODAY, 1, 1)),
        policy(rank="[priority]"),
    )

    assert decision.units == {("MUG", "a"): 3, ("MUG", "b"): 1}


def test_sets_of_which_a_location_lacks_a_product_take_none_of_its_room() -> None:
    """A set is a mug and a cap; a kit is a mug and a bowl. Location a has two units of room, and mugs alone."""
    set_of_two = Placement(kit_line_id="1", units_per_kit=1)
    kit = KitPart("2", "KIT", 1)
    lines = (
        OrderLine("1", "MUG", 3, placement=set_of_two),
        OrderLine("2", "CAP", 3, placement=set_of_two),
        OrderLine("3", "MUG", 3, placement=of_kit(Placement(), kit, None), kit=kit),
        OrderLine("4", "BOWL", 3, placement=of_kit(Placement(), kit, None), kit=kit),
        OrderLine("5", "MUG", 1),
    )
    decision = decide(
        [limited("a", units_per_day=2, days_ahead=0)], [level("MUG", "a", 9)], Order("tiktok_shop", "1", lines)
    )

    assert decision.units == {("MUG", "a"): 1}


def test_a_location_that_is_too_full_for_all_lines_that_ship_together_is_dropped_for_that() -> None:
    together = Placement(keep_together="set")
    lines = OrderLine("1", "MUG", 2, placement=together), OrderLine("2", "BOWL", 2, placement=together)
    decision = decide(
        [limited("a", units_per_day=3, days_ahead=0)],
        [level("MUG", "a", 9), level("BOWL", "a", 9)],
        Order("tiktok_shop", "1", lines),
    )

    assert (decision.units, [x.reason for x in decision.dropped]) == ({}, [DropReason.CAPACITY])


def test_lines_that_ship_together_leave_the_room_to_others_where_it_is_too_small_for_them() -> None:
    together = Placement(keep_together="set")
    lines = (
        OrderLine("1", "MUG", 2, placement=together),
        OrderLine("2", "BOWL", 2, placement=together),
        OrderLine("3", "CAP", 2),
    )
    location = limited("a", units_per_day=3, days_ahead=0)
    decision = decide(
        [location], [level(sku, "a", 9) for sku in ("MUG", "BOWL", "CAP")], Order("tiktok_shop", "1", lines)
    )

    assert decision.units == {("CAP", "a"): 2}


def test_a_location_puts_an_order_off_rather_than_handle_only_a_part_of_it_today() -> None:
    decision = decide(
        [limited("oslo", units_per_day=10)], [level("MUG", "oslo", 9)], order({"MUG": 6}), used(("oslo", TODAY, 1, 6))
    )

    assert (handled(decision), decision.units) == ([("oslo", TOMORROW)], {("MUG", "oslo"): 6})


def test_closed_days_are_passed_over() -> None:
    location = replace(limited("oslo", orders_per_day=1), holidays=frozenset({TOMORROW}))
    decision = decide([location], [level("MUG", "oslo", 5)], order({"MUG": 1}), used(("oslo", TODAY, 1, 1)))

    assert handled(decision) == [("oslo", TODAY + timedelta(days=2))]


def test_an_order_after_the_cut_off_takes_of_the_next_day() -> None:
    location = replace(limited("oslo", orders_per_day=1), cut_off=time(8))

    assert handled(decide([location], [level("MUG", "oslo", 5)], order({"MUG": 1}))) == [("oslo", TOMORROW)]


def test_days_are_those_of_the_locations_own_calendar() -> None:
    location = replace(limited("kiritimati", orders_per_day=1), time_zone="Pacific/Kiritimati")

    assert first_handling_time(location, NOW + timedelta(hours=2)) == HandlingTime(TOMORROW)


def test_hours_are_filled_one_after_the_other_and_then_those_of_the_next_day() -> None:
    location = replace(
        limited("oslo", orders_per_hour=1, days_ahead=1), opens=time(8), closes=time(11), handling_minutes=60
    )
    times = [(x.day, x.hour) for x in handling_times(location, NOW)]

    assert times == [(TODAY, 10), (TOMORROW, 8), (TOMORROW, 9), (TOMORROW, 10)]


def test_a_full_hour_passes_the_order_on_to_the_next_one() -> None:
    location = limited("oslo", orders_per_hour=1)
    figures = CapacityFigures({CapacityPeriod("oslo", TODAY, 9): CapacityUse(1, 1)})
    decision = decide([location], [level("MUG", "oslo", 5)], order({"MUG": 1}), figures)

    assert [x.handling for x in decision.plan] == [HandlingTime(TODAY, 10)]


def test_the_least_loaded_location_ships_first() -> None:
    locations = [limited("a", orders_per_day=10), limited("b", units_per_day=10)]
    figures = used(("a", TODAY, 5, 5), ("b", TODAY, 4, 4))
    levels = [level("MUG", "a", 5), level("MUG", "b", 5)]
    decision = decide(locations, levels, order({"MUG": 1}), figures, policy(rank="[least_loaded]"))

    assert handled(decision) == [("b", TODAY)]


def test_a_location_without_a_limit_is_never_loaded() -> None:
    locations = [limited("a", orders_per_day=10), store("b")]
    levels = [level("MUG", "a", 5), level("MUG", "b", 5)]
    decision = decide(locations, levels, order({"MUG": 1}), used(("a", TODAY, 1, 1)), policy(rank="[least_loaded]"))

    assert handled(decision) == [("b", None)]


def test_least_loaded_separates_nothing_where_no_location_has_a_limit() -> None:
    levels = [level("MUG", "a", 5), level("MUG", "b", 5)]

    assert handled(decide([store("b"), store("a")], levels, order({"MUG": 1}), text=policy(rank="[least_loaded]"))) == [
        ("a", None)
    ]


@pytest.mark.parametrize(("taken", "ships_from"), [(8, "a"), (9, "b")])
def test_a_rule_keeps_the_last_places_of_a_day_free(taken: int, ships_from: str) -> None:
    keeps_two = policy(
        exclude="[{name: keep-places, when: {location.capacity_left: {less_than: 2}}}]", rank="[deepest_stock]"
    )
    levels = [level("MUG", "a", 9), level("MUG", "b", 5)]
    locations = [limited("a", orders_per_day=10), store("b")]
    decision = decide(locations, levels, order({"MUG": 1}), used(("a", TODAY, taken, taken)), keeps_two)

    assert [x.location_id for x in decision.plan] == [ships_from]


def test_a_location_without_a_unit_left_has_no_capacity_left() -> None:
    no_places = policy(exclude="[{name: full, when: {location.capacity_left: 0}}]")
    location = limited("oslo", orders_per_day=10, units_per_day=5)
    decision = decide([location], [level("MUG", "oslo", 9)], order({"MUG": 1}), used(("oslo", TODAY, 1, 5)), no_places)

    assert decision.plan == ()


counts = st.none() | st.integers(0, 6)


@given(
    limits=st.lists(st.tuples(counts, counts, counts, counts, st.integers(0, 2)), min_size=3, max_size=3),
    stock=st.lists(st.integers(0, 8), min_size=6, max_size=6),
    demand=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    orders=st.integers(1, 6),
    due_in=st.none() | st.integers(1, 60),
)
def test_orders_one_after_the_other_never_take_more_than_a_location_can_handle(
    limits: list[tuple[int | None, int | None, int | None, int | None, int]],
    stock: list[int],
    demand: tuple[int, int],
    orders: int,
    due_in: int | None,
) -> None:
    names = ["orders_per_day", "units_per_day", "orders_per_hour", "units_per_hour"]
    locations = [
        store(key, capacity=Capacity(*numbers)) if any(x is not None for x in numbers[:4]) else store(key)
        for key, numbers in zip("abc", limits, strict=True)
    ]
    levels = [level(sku, key, stock.pop()) for key in "abc" for sku in ("MUG", "CAP")]
    taken: dict[CapacityPeriod, CapacityUse] = {}
    for _ in range(orders):
        due = None if due_in is None else NOW + timedelta(hours=due_in)
        wanted = order({"MUG": demand[0], "CAP": demand[1]}, ship_by_time=due)
        for shipment in decide(locations, levels, wanted, CapacityFigures(dict(taken))).plan:
            if shipment.handling is None:
                continue
            day, hour = shipment.handling
            for period in {
                CapacityPeriod(shipment.location_id, day),
                CapacityPeriod(shipment.location_id, day, -1 if hour is None else hour),
            }:
                before = taken.get(period, CapacityUse())
                taken[period] = CapacityUse(before.order_count + 1, before.unit_count + shipment.unit_count)
    capacities = {location.id: location.capacity for location in locations}

    for period, use in taken.items():
        suffix = "per_day" if period.hour < 0 else "per_hour"
        for count, name in ((use.order_count, f"orders_{suffix}"), (use.unit_count, f"units_{suffix}")):
            limit = getattr(capacities[period.location_id], name)
            assert name in names
            assert limit is None or count <= limit
