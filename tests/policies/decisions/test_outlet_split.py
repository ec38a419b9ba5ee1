"""The units of a channel over its outlets: they always add up, and the fullest outlet gives first."""

from __future__ import annotations

import time

from hypothesis import given, strategies as st

from policies.decisions.availability.outlet_split import NO_OUTLET, outlet_figures, outlet_units, reduced
from policies.decisions.availability.sellable import assess_availability
from policies.decisions.kits.kit_availability import assess_kit
from policies.domain.kits import Kit
from policies.domain.model import Channel
from policies.domain.outlets import Outlet, outlet_conflict
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, rules, store, world

LOCATIONS = ("a", "b", "c", "d", "e")
UNITS = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(0, 12), min_size=1)


def a_unit_at_a_time(units: dict[str, int], count: int) -> dict[str, int]:
    left = dict(units)
    for _ in range(count):
        fullest = max(sorted(left), key=lambda id: left[id])
        left[fullest] -= 1
    return left


@given(UNITS, st.data())
def test_units_are_taken_from_the_fullest_one_at_a_time(units: dict[str, int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, sum(units.values())))

    assert reduced(units, count) == a_unit_at_a_time(units, count)


def test_ties_are_taken_by_id() -> None:
    assert reduced({"c": 5, "a": 5, "b": 5}, 2) == {"a": 4, "b": 4, "c": 5}
    assert reduced({"10": 9, "9": 9, "z": 1}, 3) == {"10": 7, "9": 8, "z": 1}


def test_millions_of_units_take_no_time() -> None:
    units = {f"outlet-{number:03}": 1_000_000_000 - number for number in range(500)}
    started = time.thread_time()

    left = reduced(units, 400_000_000_000)

    assert sum(left.values()) == sum(units.values()) - 400_000_000_000
    assert max(left.values()) - min(left.values()) <= 1
    assert time.thread_time() - started < 0.1


@st.composite
def outlets(draw: st.DrawFn) -> list[Outlet]:
    """Outlets without a location in common; some have none, and some locations are in none."""
    homes = {location: draw(st.sampled_from(["", "x", "y", "z"])) for location in LOCATIONS}
    return [Outlet(id, frozenset(x for x in LOCATIONS if homes[x] == id)) for id in ("x", "y", "z")]


CHANNEL_RULES = st.lists(
    st.sampled_from(
        [
            "hold_back: {units: 3}",
            "hold_back: {percent: 30}",
            "publish_zero_at_or_below: 6",
            "cap: 7",
            "cap: 0",
            "hold_back: {units: 40}",
        ]
    ),
    max_size=3,
    unique=True,
)


@given(outlets(), CHANNEL_RULES, st.data())
def test_outlets_add_up_to_what_the_channel_may_sell(
    declared: list[Outlet], channel_rules: list[str], data: st.DataObject
) -> None:
    stores = [store(id, status=data.draw(st.sampled_from(["open", "open", "closed"]))) for id in LOCATIONS]
    levels = [
        level(
            *("MUG", id, data.draw(st.integers(-2, 15))),
            unavailable=data.draw(st.integers(0, 2)),
            held=data.draw(st.integers(0, 3)),
            allocated=data.draw(st.integers(0, 3)),
        )
        for id in data.draw(st.lists(st.sampled_from(LOCATIONS), unique=True))
    ]
    texts = [f"  - {{name: rule-{number}, {text}}}" for number, text in enumerate(channel_rules)]
    buffers = ["\n".join(["kind: buffer", "name: totals", "scope: channel", "rules:", *texts])] if texts else []
    kept = "kind: buffer\nname: floor\nscope: location\nrules:\n  - {name: one, hold_back: {units: 1}}\n"
    everything = world(stores, levels)
    availability = assess_availability(rules(ANYWHERE, kept, *buffers), everything, TIKTOK, "MUG")
    promised = {(x.sku, x.location_id): data.draw(st.integers(0, x.held + x.allocated)) for x in levels}

    units = outlet_units(availability, declared)
    figures = outlet_figures(availability, declared, everything.levels, promised)

    assert sum(units.values()) == availability.sellable
    assert min(units.values()) >= 0
    assert [(x.outlet_id, x.sellable) for x in figures] == list(units.items())
    assert list(units)[:3] == ["x", "y", "z"]
    assert sum(x.promised_here for x in figures) == sum(promised.values())
    assert sum(x.on_hand for x in figures) == sum(x.on_hand for x in levels)
    missing = sum(-min(0, x.available) for x in levels)
    for total in ("sellable", "kept_by_rules", "promised_here", "promised_elsewhere", "unavailable"):
        missing -= sum(getattr(x, total) for x in figures)
    assert missing == -sum(x.on_hand for x in levels)


def test_outlets_with_all_locations_of_the_channel_leave_nothing_outside() -> None:
    stock = world([store("a"), store("b")], [level("MUG", "a", 4), level("MUG", "b", 9)])
    availability = assess_availability(rules(ANYWHERE), stock, TIKTOK, "MUG")

    assert outlet_units(availability, [Outlet("x", frozenset({"a"})), Outlet("y", frozenset({"b"}))]) == {
        "x": 4,
        "y": 9,
    }


def test_locations_in_no_outlet_give_first() -> None:
    stock = world(
        [store("a"), store("b"), store("c")], [level("MUG", "a", 4), level("MUG", "b", 9), level("MUG", "c", 3)]
    )
    capped = rules(ANYWHERE, "kind: buffer\nname: cap\nscope: channel\nrules:\n  - {name: five, cap: 5}\n")
    availability = assess_availability(capped, stock, Channel("web", "web"), "MUG")

    declared = [Outlet("x", frozenset({"a"})), Outlet("y", frozenset({"c"}))]

    assert outlet_units(availability, declared) == {"x": 2, "y": 3, NO_OUTLET: 0}


def test_units_promised_to_other_channels_are_not_this_channels() -> None:
    levels = [level("MUG", "a", 9, allocated=3), level("MUG", "b", 9, held=2), level("MUG", "c", 9)]
    stock = world([store("a"), store("b"), store("c")], levels)
    availability = assess_availability(rules(ANYWHERE), stock, TIKTOK, "MUG")
    declared = [Outlet("x", frozenset({"a", "b"}))]

    figures = outlet_figures(availability, declared, stock.levels, {("MUG", "a"): 1})

    assert [(x.outlet_id, x.promised_here, x.promised_elsewhere) for x in figures] == [("x", 1, 4), (NO_OUTLET, 0, 0)]


def test_kits_that_several_locations_make_up_together_are_in_no_outlet() -> None:
    levels = [level("MUG", "a", 4), level("BOWL", "a", 1), level("BOWL", "b", 9)]
    stock = world([store("a"), store("b")], levels)
    kit = Kit("SET", {"MUG": 1, "BOWL": 1}, may_split=True)
    availability = assess_kit(rules(ANYWHERE), stock, TIKTOK, kit)
    everywhere = [Outlet("x", frozenset({"a"})), Outlet("y", frozenset({"b"}))]

    assert outlet_units(availability, everywhere) == {"x": 1, "y": 0, NO_OUTLET: 3}


def test_a_location_in_two_outlets_of_one_channel_is_a_conflict() -> None:
    both = [Outlet("y", frozenset({"a", "b"})), Outlet("x", frozenset({"b", "c"}))]

    conflict = outlet_conflict({"web": both, "pos": both[:1]})

    assert conflict is not None
    assert (conflict.channel_id, conflict.location_id) == ("web", "b")
    assert (conflict.outlet_id, conflict.other_outlet_id) == ("x", "y")
    assert outlet_conflict({"web": both[:1], "pos": both[1:]}) is None
