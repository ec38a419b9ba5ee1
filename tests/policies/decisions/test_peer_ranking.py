"""How Spree's order routing (2026) reduces the ranks of its rules to one location, given as our `rank` steps.

There each rule gives each location a number or abstains, and the first rule without a tie decides. Here a step ranks
all candidates or abstains for all. `id` names the peer's case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from policies.decisions.decision import Decision
from policies.decisions.routing import route
from policies.domain.model import Location, Outcome
from policies.reading.rules_reader import read
from tests.policies.small_retailer import TIKTOK, level, order, policy, rules, store, world

DEFAULT_FIRST = "{prefer: {when: {location.tags: {contains: default}}}}"
A_OR_B_FIRST = "{prefer: {when: {location.id: [A, B]}}}"


@dataclass(frozen=True, slots=True)
class Case:
    """Steps as planners write them, the locations' priorities, and the locations from best to worst."""

    id: str
    name: str
    rank: str
    order: str
    priorities: Mapping[str, int]
    default: str = "A"


CASES = [
    Case(
        "spree-reduce-abstain",
        "a step that abstains leaves the choice to the next",
        f"[chosen_by_shopper, nearest, priority, {DEFAULT_FIRST}]",
        "BAC",
        {"A": 5, "B": 1, "C": 5},
    ),
    Case(
        "spree-reduce-tie",
        "a tie goes to the next step and only among those that tie",
        f"[{A_OR_B_FIRST}, priority, {DEFAULT_FIRST}]",
        "BAC",
        {"A": 5, "B": 1, "C": 0},
    ),
    # Ours knows no default location of its own: a planner writes it as the last step. The peer's default is A; where
    # it is C instead, the ids alone would give another answer.
    Case(
        "spree-reduce-alltie",
        "where every step ties the last one sends the order to the default location",
        f"[priority, {DEFAULT_FIRST}]",
        "ABC",
        {"A": 0, "B": 0, "C": 0},
    ),
    Case(
        "spree-reduce-alltie",
        "the default location need not be the first by its id",
        f"[priority, {DEFAULT_FIRST}]",
        "CAB",
        {"A": 0, "B": 0, "C": 0},
        default="C",
    ),
    Case("spree-reduce-norules", "the default location alone decides", f"[{DEFAULT_FIRST}]", "CAB", {}, default="C"),
    Case(
        "spree-reduce-onlyone",
        "a location of known priority comes before those of none",
        f"[priority, {DEFAULT_FIRST}]",
        "CAB",
        {"C": 0},
    ),
    # The peer numbers the default 0 and every other location 1; `prefer` splits them into the same two.
    Case(
        "spree-default-rule",
        "the default location first and all others alike",
        f"[{DEFAULT_FIRST}, priority]",
        "CBA",
        {"A": 3, "B": 2, "C": 9},
        default="C",
    ),
]


def locations_of(case: Case) -> list[Location]:
    tags = {key: frozenset({"default"} if key == case.default else ()) for key in "ABC"}
    return [store(key, priority=case.priorities.get(key), tags=tags[key]) for key in "ABC"]


def send(rank: str, locations: Sequence[Location], unit_count: int, chosen: str | None = None) -> Decision:
    snapshot = world(locations, [level("MUG", item.id, 1) for item in locations])
    return route(rules(policy(rank=rank)), snapshot, TIKTOK, order({"MUG": unit_count}, pickup_location_id=chosen))


def used(decision: Decision) -> list[str]:
    return [shipment.location_id for shipment in decision.plan]


@pytest.mark.parametrize("case", CASES, ids=[f"{item.id}: {item.name}" for item in CASES])
def test_the_first_rank_step_that_is_not_a_tie_decides(case: Case) -> None:
    winner = send(case.rank, locations_of(case), 1)
    all_units = send(case.rank, locations_of(case), 3)

    assert used(winner) == [case.order[0]]
    assert used(all_units) == list(case.order)


def test_a_policy_without_any_step_is_refused_not_sent_to_a_default() -> None:
    """spree-reduce-norules differs in this: without rules the peer falls back on a location marked as the default.

    Ours asks the planner to say where orders go; the case itself passes above with the default as the only step.
    """
    reading = read({"empty.yaml": policy(rank="[]").encode()})

    assert reading.policy_set is None
    assert "'rank'" in reading.problems[0].message


def test_without_an_open_location_the_order_is_unfillable() -> None:
    """spree-reduce-empty."""
    nowhere = send("[priority]", [], 1)
    closed = send("[priority]", [store("A", status="closed")], 1)

    assert (used(nowhere), used(closed)) == ([], [])
    assert (nowhere.outcome, closed.outcome) == (Outcome.UNFILLABLE, Outcome.UNFILLABLE)


def test_a_location_with_every_product_beats_a_better_ranked_one_with_half() -> None:
    """spree-minsplit-coverage: the same winner, by another figure.

    The peer numbers each location by the products that it covers whole (-2 and -1). Ours compares whole plans by
    their shipments (1 and 2), so a location that covers much and still leaves two others to ship does not win.
    """
    half, whole = store("half", priority=1), store("whole", priority=2)
    snapshot = world([half, whole], [level("A", "whole", 10), level("B", "whole", 10), level("A", "half", 10)])
    request = order({"A": 1, "B": 1})

    assert used(route(rules(policy(rank="[fewest_shipments, priority]")), snapshot, TIKTOK, request)) == ["whole"]
    assert used(route(rules(policy(rank="[priority]")), snapshot, TIKTOK, request)) == ["half", "whole"]


def test_the_chosen_location_comes_first_and_the_others_keep_their_order() -> None:
    """spree-preferred: rank 0 for the named location; the peer abstains for the others, ours ranks them next.

    A step here abstains for all or for none, and one behind the other is the same order of preference.
    """
    others = [store("other", priority=1), store("third", priority=2), store("preferred", priority=3)]

    decision = send("[chosen_by_shopper, priority]", others, 3, chosen="preferred")

    assert used(decision) == ["preferred", "other", "third"]


@pytest.mark.parametrize("priorities", [(1, 2), (2, 1)])
def test_an_order_that_names_no_location_leaves_the_choice_to_the_next_step(priorities: tuple[int, int]) -> None:
    """spree-preferred-none."""
    both = [store("preferred", priority=priorities[0]), store("other", priority=priorities[1])]
    named_or_not = send("[chosen_by_shopper, priority]", both, 2)

    assert used(named_or_not) == used(send("[priority]", both, 2))
