"""Which units of an order are short for which reason, where one order meets every reason at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby

from hypothesis import given, settings, strategies as st

from policies.decisions.routing import route
from policies.decisions.shortages import NO_CAPACITY, OUTLET_SHORT, TOO_LATE, Shortage, ShortageKind
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.model import World
from policies.domain.outlets import Outlet
from tests.policies.small_retailer import NOW, TIKTOK, level, policy, rules, sold, store, world

REASONS = {
    "free": None,
    "spare": (ShortageKind.UNFILLABLE, (), ""),
    "full": (ShortageKind.UNFILLABLE, (), NO_CAPACITY),
    "held": (ShortageKind.HELD_BY_BUFFER, ("shelf",), ""),
    "blocked": (ShortageKind.BLOCKED_BY_RULE, ("not-trusted",), ""),
    "outside": (ShortageKind.UNFILLABLE, (), OUTLET_SHORT),
    "late": (ShortageKind.UNFILLABLE, (), TOO_LATE),
    "nowhere": (ShortageKind.OVERSELL, (), ""),
}
"""The locations, and why their units are short, in the order in which the units of an order count as short.

Only `free` ships: the order may have one shipment, and `free` has at least as much as `spare`.
"""
RULES = rules(
    policy(rank="[priority]", max_shipments="1", must_meet="[deliver_by]"),
    """
kind: buffer
name: floor
scope: location
rules:
  - {name: shelf, when: {location.id: held}, hold_back: {units: 9}}
""",
    """
kind: exposure
name: trust
rules:
  - {name: not-trusted, when: {location.id: blocked}, block: not counted}
""",
    """
kind: delivery
rules:
  - {name: post, position: 1, when: {location.id: late}, service: post, transit_days: 9}
  - {name: van, position: 2, service: van, transit_days: 0}
""",
)
ONE_A_DAY = Capacity(orders_per_day=1, days_ahead=0)
SKUS = ("MUG", "CUP")


def stocked(units: Mapping[str, Mapping[str, int]]) -> World:
    """Stores with these units by SKU; `full` has had its order of the day."""
    places = [
        store(key, priority=number, handling_minutes=0, capacity=ONE_A_DAY if key == "full" else None)
        for number, key in enumerate(REASONS)
    ]
    levels = [level(sku, key, count) for sku, there in units.items() for key, count in there.items()]
    full = CapacityFigures({CapacityPeriod("full", NOW.date()): CapacityUse(1, 1)})
    return replace(world(places, levels), capacity=full)


def expected(lines: Sequence[tuple[str, int]], units: Mapping[str, Mapping[str, int]]) -> Iterator[Shortage]:
    """The shortages by hand: the units of a product, line after line, meet those of one location after the other."""
    for sku in dict.fromkeys(sku for sku, _ in lines):
        wanted = [str(number) for number, (key, count) in enumerate(lines, start=1) if key == sku for _ in range(count)]
        there = [key for key in REASONS for _ in range(units[sku].get(key, 0))]
        met = [*there, *["nowhere"] * len(wanted)][: len(wanted)]
        for (line_id, key), each in groupby(zip(wanted, met, strict=True)):
            if reason := REASONS[key]:
                kind, names, cause = reason
                yield Shortage(line_id, sku, len([*each]), kind, names, cause)


few = st.integers(0, 3)
places = st.fixed_dictionaries(
    {"free": st.integers(3, 4), "spare": few, "full": few, "held": few, "blocked": few, "outside": few, "late": few}
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 9)), min_size=1, max_size=4),
    st.fixed_dictionaries(dict.fromkeys(SKUS, places)),
)
def test_each_short_unit_has_the_first_reason_that_is_left(
    lines: list[tuple[str, int]], units: dict[str, dict[str, int]]
) -> None:
    outlet = Outlet("city", frozenset(REASONS) - {"outside"})
    cart = sold(lines, outlet=outlet, deliver_by=NOW.date() + timedelta(days=4))

    decision = route(RULES, stocked(units), TIKTOK, cart)

    assert list(decision.shortages) == [*expected(lines, units)]
