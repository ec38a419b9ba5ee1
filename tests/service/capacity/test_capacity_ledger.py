"""What orders of one transaction take of locations' capacity, added up as they are planned one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

from hypothesis import given, strategies as st

from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse, DayLimits
from policies.domain.handling_times import HandlingTime
from policies.domain.model import Location
from service.stock.capacity_ledger import CapacityLedger, ShipmentUse

DAY = date(2026, 11, 27)
LOCATIONS = [Location(id, "store", capacity=Capacity(orders_per_day=9)) for id in ("a", "b")]
TIMES = [HandlingTime(DAY), HandlingTime(DAY, 9), HandlingTime(DAY, 10)]

shipments = st.lists(
    st.builds(ShipmentUse, st.sampled_from(["a", "b"]), st.sampled_from(TIMES), st.integers(1, 5)), max_size=3
)
Uses = Mapping[CapacityPeriod, CapacityUse]


def total_uses(shipments: Sequence[ShipmentUse]) -> Uses:
    """What these shipments take together."""
    return summed(*((1, {period: CapacityUse(1, x.unit_count)}) for x in shipments for period in x.periods()))


uses = st.builds(total_uses, shipments)
orders = st.integers(1, 4).map(lambda number: UUID(int=number))


def summed(*added: tuple[int, Uses]) -> dict[CapacityPeriod, CapacityUse]:
    """The sum of uses, each with the sign with which it counts; periods of which nothing is taken are left out."""
    order_counts: Counter[CapacityPeriod] = Counter()
    unit_counts: Counter[CapacityPeriod] = Counter()
    for sign, uses in added:
        for period, use in uses.items():
            order_counts[period] += sign * use.order_count
            unit_counts[period] += sign * use.unit_count
    periods = {period for period in order_counts if order_counts[period] or unit_counts[period]}
    return {period: CapacityUse(order_counts[period], unit_counts[period]) for period in periods}


@given(
    st.dictionaries(orders, st.tuples(shipments, st.booleans()), max_size=3),
    uses,
    st.lists(st.tuples(orders, shipments), max_size=6),
    st.tuples(orders, shipments),
)
def test_each_order_finds_taken_what_others_take_and_those_before_it_in_its_transaction(
    stored: dict[UUID, tuple[list[ShipmentUse], bool]],
    by_others: Uses,
    planned: list[tuple[UUID, list[ShipmentUse]]],
    asked: tuple[UUID, list[ShipmentUse]],
) -> None:
    counted = {id: {} if is_expired else total_uses(taken) for id, (taken, is_expired) in stored.items()}
    ledger = CapacityLedger()
    for id, (before, is_expired) in stored.items():
        ledger.load(id, before, is_expired=is_expired)
    ledger.read(LOCATIONS, summed((1, by_others), *((1, uses) for uses in counted.values())))
    for id, taken in planned:
        ledger.note(id, taken)

    figures = ledger.figures_for(*asked)

    now = {**counted, **{id: total_uses(taken) for id, taken in planned}}
    others = [(1, uses) for id, uses in now.items() if id != asked[0]]
    assert figures == CapacityFigures(summed((1, by_others), (1, total_uses(asked[1])), *others))


@given(
    st.lists(
        st.one_of(st.tuples(orders, shipments), st.tuples(orders, shipments, st.booleans()), st.tuples(uses)),
        max_size=9,
    )
)
def test_a_transaction_changes_what_is_stored_by_what_its_orders_take_now_less_what_they_took_before(
    steps: list[tuple[UUID, list[ShipmentUse]] | tuple[UUID, list[ShipmentUse], bool] | tuple[Uses]],
) -> None:
    """In any order, orders are noted, loaded, also once more, and figures are read: here, what others take."""
    ledger = CapacityLedger()
    before: dict[UUID, Uses] = {}
    now: dict[UUID, Uses] = {}
    for step in steps:
        match step:
            case (by_others,):
                ledger.read(LOCATIONS, by_others)
            case (id, taken):
                ledger.note(id, taken)
                now[id] = total_uses(taken)
            case (id, taken, is_expired):
                ledger.load(id, taken, is_expired=is_expired)
                before[id] = total_uses(taken)
                now[id] = {} if is_expired else before[id]
    changes = ledger.changes()

    assert changes == summed(*((1, uses) for uses in now.values()), *((-1, uses) for uses in before.values()))
    assert list(changes) == sorted(changes)


@given(uses, st.integers(0, 9), st.integers(0, 9), st.integers(1, 9))
def test_an_order_fits_on_a_day_exactly_if_there_is_room_for_it(
    taken: Uses, orders: int, units: int, count: int
) -> None:
    figures, capacity = CapacityFigures(dict(taken)), Capacity(orders_per_day=orders, units_per_day=units)

    assert figures.fits_on(DayLimits.of("a", DAY, capacity), count) == figures.room("a", capacity, DAY).fits(count)
