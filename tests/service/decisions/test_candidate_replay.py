"""What stored decisions would have been under rules that are not in force."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from service import limits
from service.database.compression import restored
from service.decisions import candidate_replay
from service.policy.rules_folder import read_folder
from tests.conftest import PLAIN_RULES, RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import decision_pb2, order_pb2, policy_service_pb2 as policy_pb

SAME = policy_pb.DecisionComparison.RESULT_SAME
DIFFERENT = policy_pb.DecisionComparison.RESULT_DIFFERENT
NOT_DECIDABLE = policy_pb.DecisionComparison.RESULT_NOT_DECIDABLE
WITHOUT_DC = b"""
kind: routing
policies:
  - name: without-dc
    position: 100
    rank: [fewest_shipments, {nearest: {band_km: 25}}, priority, deepest_stock]
    exclude:
      - {name: no-dc, when: {location.id: dc}}
    otherwise: exception
"""
COUNTED = b"""
kind: exposure
name: counted
rules:
  - {name: counted-lately, when: {stock.days_since_count: {more_than: 30}}, block: counted too long ago}
"""


async def replay(retailer: Retailer, files: Mapping[str, bytes], **fields: object) -> policy_pb.ReplayDecisionsResponse:
    candidates = [policy_pb.CandidateFile(path=path, content=content) for path, content in files.items()]
    request = policy_pb.ReplayDecisionsRequest(files=candidates, **fields)  # type: ignore[arg-type]
    response: policy_pb.ReplayDecisionsResponse = await retailer.policies.ReplayDecisions(request)
    return response


def units(plan: policy_pb.DecisionPlan) -> dict[tuple[str, str], int]:
    return {(x.sku, x.location_id): x.unit_count for x in plan.units}


async def test_the_rules_of_then_change_no_decision(retailers: RetailerMaker) -> None:
    """Holds, sales, changes, confirmations and rejections of a random day, by the rules of the repository."""
    retailer = await retailers.make(RULES)
    rng = random.Random(7)
    skus, places = ["MUG", "CUP", "CAP"], ["dc", "north", "south"]
    await retailer.stock({(sku, place): rng.randint(0, 9) for sku in skus for place in places})
    for number in range(24):
        lines = {sku: rng.randint(1, 4) for sku in rng.sample(skus, rng.randint(1, 3))}
        await retailer.allocate(f"A-{number % 16}", lines, rng.choice([HOLD, SOLD]))
    await retailer.stock({("MUG", "dc"): 1})

    response = await replay(retailer, read_folder(RULES).files, page_size=1_000)

    stored = await retailer.sql("SELECT inputs IS NOT NULL AS is_whole FROM decision")
    results = [comparison.result for comparison in response.comparisons]
    assert response.total_count == len(results) == len(stored) > 16
    assert results.count(SAME) == sum(row["is_whole"] for row in stored) > 10
    assert results.count(DIFFERENT) == 0
    assert all(x.cause == candidate_replay.NO_INPUTS for x in response.comparisons if x.result == NOT_DECIDABLE)


async def test_a_rule_that_excludes_a_location_changes_exactly_the_decisions_that_used_it(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3, ("MUG", "north"): 50, ("CUP", "dc"): 9})
    for number in range(8):
        await retailer.allocate(f"A-{number}", {"MUG": 2} if number % 2 else {"CUP": 1})

    response = await replay(retailer, {"rules/routing.yaml": WITHOUT_DC})

    assert len(response.comparisons) == 8
    used = [any(place == "dc" for _, place in units(x.original)) for x in response.comparisons]
    assert [x.result == DIFFERENT for x in response.comparisons] == used
    assert (used.count(True), used.count(False)) == (4, 4)
    assert all("dc" not in {place for _, place in units(x.replayed)} for x in response.comparisons)
    cup = response.comparisons[0]
    assert (cup.channel_id, cup.order_id, cup.original.outcome) == ("web", "A-0", order_pb2.OUTCOME_ALLOCATED)
    assert [(x.sku, x.unit_count, x.kind) for x in cup.replayed.shortages] == [("CUP", 1, "oversell")]
    assert cup.replayed.routing_policy == "without-dc"


async def test_decisions_are_chosen_by_time_channel_or_id_and_come_in_bounded_pages(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await retailer.stock({("MUG", "dc"): 50})
    await retailer.channels(tiktok="")
    orders = [await retailer.allocate(f"A-{n}", {"MUG": 1}, channel_id=("web", "tiktok")[n % 2]) for n in range(5)]
    ids = [order.decision.decision_id for order in orders]
    files = read_folder(PLAIN_RULES).files
    third = (await retailer.decision(ids[2])).decide_time

    first = await replay(retailer, files, page_size=3)
    monkeypatch.setattr(limits, "REPLAY_PAGE_BYTES", 1)
    small = await replay(retailer, files, page_size=3, page_token=first.next_page_token)
    monkeypatch.undo()
    since = await replay(retailer, files, since_time=third, channel_ids=["web"])
    until = await replay(retailer, files, until_time=third)
    one = await replay(retailer, files, decision_id=ids[3])

    pages = [[x.decision_id for x in page.comparisons] for page in (first, small, since, until, one)]
    assert pages == [ids[:3], ids[3:4], ids[2::2], ids[:2], ids[3:4]]
    assert [page.total_count for page in (first, small, since, until, one)] == [5, 0, 2, 2, 1]
    assert [bool(page.next_page_token) for page in (first, small, since, until, one)] == [True, True, *[False] * 3]
    other = replay(retailer, {"rules/a.yaml": WITHOUT_DC}, page_size=3, page_token=first.next_page_token)
    assert (await refused(other)).fields == ["page_token"]


async def test_what_cannot_be_decided_says_why_and_is_never_guessed(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5, ("CUP", "dc"): 0})
    refused_hold = await retailer.allocate("A-1", {"CUP": 1}, HOLD)
    old, changed, forgotten = [await retailer.allocate(f"B-{n}", {"MUG": 1}) for n in range(3)]
    # A later value of a field counts: this is `inputs_version: 0`.
    (stored,) = await retailer.sql("SELECT inputs FROM decision WHERE id = $1::uuid", old.decision.decision_id)
    await retailer.sql(
        "UPDATE decision SET inputs = $2 WHERE id = $1::uuid",
        old.decision.decision_id,
        restored(stored["inputs"]) + b"\x58\x00",
    )
    await retailer.sql(
        "UPDATE decision SET explanation = explanation || $2 WHERE id = $1::uuid",
        changed.decision.decision_id,
        decision_pb2.Decision(routing_policy="another").SerializeToString(),
    )
    await retailer.sql(
        "UPDATE decision SET policy_revision = 'gone' WHERE id = $1::uuid", forgotten.decision.decision_id
    )

    response = await replay(retailer, {**read_folder(PLAIN_RULES).files, "rules/counted.yaml": COUNTED})

    causes = {x.decision_id: x.cause for x in response.comparisons}
    assert {x.result for x in response.comparisons} == {NOT_DECIDABLE}
    assert causes[refused_hold.decision.decision_id].startswith("only a summary is stored")
    assert "stock.days_since_count was not recorded" in causes[old.decision.decision_id]
    assert "routing_policy differs" in causes[changed.decision.decision_id]
    assert causes[forgotten.decision.decision_id] == "its rules, gone, are no longer stored"
    assert all(not x.HasField("original") and not x.HasField("replayed") for x in response.comparisons)


async def test_rules_with_problems_are_listed_and_nothing_is_compared(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    await retailer.allocate("A-1", {"MUG": 1})

    response = await replay(retailer, {"rules/a.yaml": WITHOUT_DC.replace(b"location.id", b"location.name")})

    assert [problem.code for problem in response.problems] == ["unknown-fact"]
    assert (response.policy_revision, list(response.comparisons), response.next_page_token) == ("", [], "")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"files": {}}, "files"),
        ({"decision_id": "x"}, "decision_id"),
        ({"decision_id": "0190a6a2-7a3c-7c1e-9d7e-0242ac120002", "channel_ids": ["web"]}, "decision_id"),
        ({"channel_ids": [""]}, "channel_ids[0]"),
        ({"since_time": {"seconds": 20}, "until_time": {"seconds": 10}}, "until_time"),
        ({"page_size": -1}, "page_size"),
    ],
)
async def test_bad_requests_name_the_field(retailer: Retailer, fields: dict[str, object], field: str) -> None:
    files = fields.pop("files", {"rules/a.yaml": WITHOUT_DC})

    refusal = await refused(replay(retailer, files, **fields))  # type: ignore[arg-type]

    assert refusal.fields == [field]
