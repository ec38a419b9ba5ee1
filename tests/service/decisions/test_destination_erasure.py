"""An erased destination leads to the same decision, whatever the rules look at, and keeps no more than they need."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st

from policies.domain.model import Channel, Commitment, Coordinates, Destination, Location, Order, OrderLine, World
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service.decisions.decision_inputs import RoutingInputs, inputs_of
from service.decisions.decision_log import capture
from service.decisions.destination_erasure import Erasure, compares_more, erasure, tells_destination
from service.rpc.message_differences import serialized
from tests.policies.small_retailer import level, policy, world
from truestock.v1 import decision_pb2

WEB = Channel("web", "web")
ZONES = b"""\
postal_code,country,region,up_to_km,per_shipment
7870,US,,,2
,NO,TX,,3
,,,120.5,5
787,US,,,6
,,,,9
"""
BY_ZONE = """
kind: delivery
rules:
  - {name: van, position: 10, when: {location.distance_km: {at_most: 33.3}}, service: van, transit_days: 0,
     cost: {per_shipment: 1}}
  - {name: parcel, position: 20, service: parcel, transit_days: 2, rates: zones.csv}
"""
BY_CODE = """
kind: exposure
name: codes
rules:
  - {name: far-away, when: {destination.postal_code: [78704, "9000"]}, block: not sold here}
"""


ID = UUID(int=7)


def erased_decision(inputs: RoutingInputs, policy_set: PolicySet) -> Erasure:
    """What stays of the decision that these rules make."""
    message = inputs.message_of(inputs.decide(policy_set), policy_set, ID)
    return erasure(inputs, policy_set, ID, serialized(message))


def distances(explanation: bytes) -> list[decision_pb2.FactSeen]:
    dropped = decision_pb2.Decision.FromString(explanation).dropped_candidates
    return [fact for candidate in dropped for fact in candidate.facts if fact.fact == "location.distance_km"]


def rules_of(routing: str, *more: str) -> PolicySet:
    texts = {"routing.yaml": routing, **{f"{number}.yaml": text for number, text in enumerate(more)}}
    files = {name: text.encode() for name, text in texts.items()} | ({"zones.csv": ZONES} if BY_ZONE in more else {})
    reading = read(files)
    assert reading.policy_set is not None, reading.problems
    return reading.policy_set


PLAIN = rules_of(policy(rank="[priority]"))
BANDS = rules_of(policy(rank="[{nearest: {band_km: 25}}]"))
POLICY_SETS = {
    "plain": PLAIN,
    "nearest": rules_of(policy(rank="[nearest]")),
    "bands": BANDS,
    "cheapest": rules_of(policy(rank="[lowest_cost, nearest]"), BY_ZONE),
    "postal codes": rules_of(policy(rank="[deepest_stock]"), BY_CODE),
    "near only": rules_of(
        policy(rank="[priority]", only="{location.distance_km: {at_most: 30.5}}", otherwise="exception"), BY_CODE
    ),
    "short ways": rules_of(policy(rank="[nearest]", split_only_if="{plan.distance_km: {at_most: 77}}"), BY_ZONE),
}

points = st.builds(Coordinates, st.floats(59.5, 60.5), st.floats(10.5, 12.0))
rounded_points = points.map(lambda x: Coordinates(round(x.latitude, 2), round(x.longitude, 2)))
destinations = st.none() | st.builds(
    Destination,
    country=st.none() | st.sampled_from(["NO", "US"]),
    region=st.none() | st.sampled_from(["TX", "Oslo"]),
    postal_code=st.none() | st.sampled_from(["78704", "78799", "9000", "0150", "787"]),
    coordinates=st.none() | rounded_points,
    located_by=st.sampled_from([None, "postal_code", "country"]),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    keys = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True))
    at = st.none() | points
    locations = [Location(key, "store", coordinates=draw(at), priority=draw(st.integers(0, 1))) for key in keys]
    levels = [level(sku, key, draw(st.integers(0, 4))) for sku in ("MUG", "CAP") for key in keys]
    return world(locations, levels)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    counts = draw(st.lists(st.integers(1, 6), min_size=1, max_size=2))
    lines = tuple(
        OrderLine(str(n), sku, count) for n, (sku, count) in enumerate(zip(("MUG", "CAP"), counts, strict=False))
    )
    return Order("web", "1", lines, draw(st.sampled_from(Commitment)), "ship", draw(destinations))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(POLICY_SETS)), worlds(), orders())
def test_a_decision_of_any_retailer_is_the_same_to_the_byte_without_its_destination(
    rules: str, snapshot: World, order: Order
) -> None:
    policy_set, inputs = POLICY_SETS[rules], RoutingInputs(snapshot, WEB, order)
    erased = erased_decision(inputs, policy_set)

    captured = capture(snapshot, WEB, order)
    stored = decision_pb2.DecisionInputs.FromString(captured.snapshot.stored_catalog().content)
    stored.MergeFromString(captured.by_value() or b"")
    if erased.destination is not None:
        stored.order.erased_destination.CopyFrom(erased.destination)
    replayed, original = inputs_of(stored).decide(policy_set), inputs.decide(policy_set)

    assert (
        inputs_of(stored).message_of(replayed, policy_set, ID).SerializeToString(deterministic=True)
        == erased.explanation
    )
    assert (replayed.units, replayed.shortages) == (original.units, original.shortages)
    assert [x.lines for x in replayed.plan] == [x.lines for x in original.plan]
    assert not stored.order.HasField("destination")


AUSTIN = Destination("US", "TX", "78704", Coordinates(60.12, 11.34), "postal_code")
PLACES = [
    Location("a", "store", coordinates=Coordinates(60.0, 11.0)),
    Location("b", "store", coordinates=Coordinates(60.4, 11.9)),
]
SNAPSHOT = world(PLACES, [level("MUG", "a", 5), level("MUG", "b", 5)])
ORDER = Order("web", "1", (OrderLine("1", "MUG", 1),), Commitment.SOLD, "ship", AUSTIN)


@pytest.mark.parametrize(
    ("rules", "postal_code", "step_km"),
    [("plain", "", 50), ("nearest", "", 50), ("postal codes", "78704", 50), ("bands", "", 50)],
)
def test_only_what_the_rules_tell_apart_stays_of_a_destination(rules: str, postal_code: str, step_km: int) -> None:
    kept = erased_decision(RoutingInputs(SNAPSHOT, WEB, ORDER), POLICY_SETS[rules]).destination

    assert kept is not None
    assert (kept.country, kept.region) == ("US", "TX")
    assert (kept.postal_code, kept.distance_step_km) == (postal_code, step_km)
    assert all(x.distance_km % 50 == 0 for x in kept.distances)


def test_distances_stay_as_exact_as_two_locations_are_apart() -> None:
    near = [
        Location("a", "store", coordinates=Coordinates(60.0, 11.3)),
        Location("b", "store", coordinates=Coordinates(60.0, 11.34)),
    ]
    snapshot = world(near, [level("MUG", "a", 5), level("MUG", "b", 5)])

    kept = erased_decision(RoutingInputs(snapshot, WEB, ORDER), POLICY_SETS["nearest"]).destination

    assert kept is not None
    assert kept.distance_step_km < 10


def test_a_decision_in_the_words_of_an_earlier_version_is_erased_as_any_other() -> None:
    policy_set, inputs = POLICY_SETS["near only"], RoutingInputs(SNAPSHOT, WEB, ORDER)
    former = inputs.message_of(inputs.decide(policy_set), policy_set, ID)
    far = [dropped for dropped in former.dropped_candidates if dropped.reason == "not-eligible"]
    assert far
    for dropped in far:
        dropped.reason = "only"

    assert erasure(inputs, policy_set, ID, serialized(former)) == erased_decision(inputs, policy_set)


def test_an_explanation_names_distances_only_as_exactly_as_they_were_kept() -> None:
    policy_set, inputs = POLICY_SETS["near only"], RoutingInputs(SNAPSHOT, WEB, ORDER)
    message = inputs.message_of(inputs.decide(policy_set), policy_set, ID)
    assert tells_destination(serialized(message))

    erased = erased_decision(inputs, policy_set)

    assert [x.value for x in distances(serialized(message))] == ["43.85773764"]
    assert [x.value for x in distances(erased.explanation)] == ["50"]


@pytest.mark.parametrize(
    ("rules", "compares"),
    [("plain", False), ("bands", True), ("cheapest", True), ("postal codes", True), ("near only", True)],
)
def test_other_rules_are_not_tried_on_what_was_dropped(rules: str, compares: bool) -> None:
    kept = erased_decision(RoutingInputs(SNAPSHOT, WEB, ORDER), PLAIN).destination

    assert kept is not None
    assert compares_more(POLICY_SETS[rules], kept) is compares
