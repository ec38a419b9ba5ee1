"""Which rules were in force when, on which service: starts, reloads, refused folders and stops."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import Retailer, eventually
from truestock.v1 import policy_history_pb2 as history_pb, policy_service_pb2 as policy_pb

Kind = history_pb.PolicyEvent.Kind


async def history(shop: Retailer, **fields: Any) -> Sequence[history_pb.PolicyEvent]:
    """Newest first."""
    request = history_pb.ListPolicyHistoryRequest(**fields)
    answer: history_pb.ListPolicyHistoryResponse = await shop.policies.ListPolicyHistory(request)
    return answer.events


async def revision(shop: Retailer) -> str:
    policies: policy_pb.GetPolicySetResponse = await shop.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    return policies.policy_revision


async def test_the_life_of_a_services_rules_is_recorded(retailers: RetailerMaker, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    shop, reader = await retailers.make(rules), await retailers.make()
    first = await revision(shop)

    buffer = "kind: buffer\nname: floor\nscope: location\ncombine: largest\nrules:\n"
    (rules / "floor.yaml").write_text(buffer + "  - {name: two, when: {location.type: store}, hold_back: {units: 2}}\n")
    await eventually(lambda: _has(shop, Kind.KIND_LOADED))
    second = await revision(shop)
    (rules / "floor.yaml").write_text(buffer)
    await eventually(lambda: _has(shop, Kind.KIND_REFUSED))
    await retailers.stop(shop)

    run_id = (await history(reader, policy_revisions=[second]))[0].run_id
    events = [event for event in await history(reader) if event.run_id == run_id]
    assert [(event.kind, event.policy_revision) for event in events] == [
        (Kind.KIND_STOPPED, second),
        (Kind.KIND_REFUSED, second),
        (Kind.KIND_LOADED, second),
        (Kind.KIND_STARTED, first),
    ]
    assert first != second
    assert [event.problem_count for event in events] == [0, 1, 0, 0]
    assert "floor.yaml" in events[1].problem
    assert events[2].load_time == events[2].event_time == events[0].load_time
    assert len({event.instance for event in events}) == 1


async def test_the_history_is_listed_by_revision_service_and_time(retailers: RetailerMaker) -> None:
    shop = await retailers.make()
    other = await retailers.make()
    (newer, older) = await history(shop)

    assert {newer.policy_revision, older.policy_revision} == {await revision(other)}
    assert list(await history(shop, instances=[newer.instance])) == [newer, older]
    assert list(await history(shop, instances=["elsewhere"])) == []
    assert list(await history(shop, policy_revisions=["none"])) == []
    assert list(await history(shop, since_time=newer.event_time)) == [newer]
    assert list(await history(shop, until_time=newer.event_time)) == [older]


async def _has(shop: Retailer, kind: int) -> bool:
    return any(event.kind == kind for event in await history(shop))
