"""Orders for an outlet: only its locations supply them, and what only others have is short for that reason."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, strategies as st

from policies.decisions.promise import same_contents
from policies.decisions.routing import route
from policies.decisions.shortages import OUTLET_SHORT, ShortageKind
from policies.domain.model import Commitment
from policies.domain.outlets import Outlet
from policies.domain.placement import Placement
from policies.explanation import DropReason
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, order, policy, rules, store, world

LOCATIONS = ("a", "b", "c", "d")
POLICIES = [ANYWHERE, policy(max_shipments=1), policy(ship_complete="true")]


@given(st.sets(st.sampled_from(LOCATIONS)), st.sampled_from(POLICIES), st.data())
def test_an_outlet_is_planned_as_a_channel_that_has_only_its_locations(
    location_ids: set[str], text: str, data: st.DataObject
) -> None:
    levels = [level(sku, id, data.draw(st.integers(0, 6))) for sku in ("MUG", "CUP") for id in LOCATIONS]
    everything = world([store(id) for id in LOCATIONS], levels)
    wanted = {"MUG": data.draw(st.integers(1, 15)), "CUP": data.draw(st.integers(1, 15))}
    wish = order(wanted, commitment=data.draw(st.sampled_from(Commitment)))
    if data.draw(st.booleans()):
        lines = (replace(wish.lines[0], placement=Placement(not_location_ids=frozenset("a"))), *wish.lines[1:])
        wish = replace(wish, lines=lines)
    chosen = replace(wish, outlet=Outlet("x", frozenset(location_ids)))
    # An empty list of locations would mean all of them.
    only_these = replace(TIKTOK, location_ids=frozenset(location_ids) or frozenset({"nowhere"}))

    decision = route(rules(text), everything, TIKTOK, chosen)
    alone = route(rules(text), everything, only_these, wish)

    assert decision.plan == alone.plan
    short = sum(x.unit_count for x in decision.shortages)
    assert short == sum(x.unit_count for x in alone.shortages)
    for sku in wanted:
        outside = sum(x.on_hand for x in levels if x.sku == sku and x.location_id not in location_ids)
        oversold = sum(x.unit_count for x in alone.shortages if (x.sku, x.kind) == (sku, ShortageKind.OVERSELL))
        named = [x for x in decision.shortages if (x.sku, x.cause) == (sku, OUTLET_SHORT)]
        assert {x.kind for x in named} <= {ShortageKind.UNFILLABLE}
        assert sum(x.unit_count for x in named) == min(outside, oversold)
    dropped = {x.location_id for x in decision.dropped if x.reason is DropReason.OUTSIDE_OUTLET}
    assert dropped == set(LOCATIONS) - location_ids


def test_another_outlet_is_other_contents_and_other_locations_of_the_same_are_not() -> None:
    first = order({"MUG": 1}, outlet=Outlet("x", frozenset("a")))

    assert same_contents(first, replace(first, outlet=Outlet("x", frozenset("bc"))))
    assert not same_contents(first, replace(first, outlet=Outlet("y", frozenset("a"))))
    assert not same_contents(first, replace(first, outlet=None))
