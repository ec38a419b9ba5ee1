"""The tests beside the rules in force run in the background and are reported; where they are required, they decide."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service import limits
from service.app.application import running
from service.app.listening import StartError
from service.policy import rule_tests
from tests.conftest import RetailerMaker, service_settings
from tests.retailer import Retailer, eventually
from tests.service.policy.test_rule_sandbox import many_rules
from truestock.v1 import policy_service_pb2 as policy_pb

ROUTING = "kind: routing\npolicies:\n- {name: all, position: 1, rank: [nearest], otherwise: exception}\n"
BUFFER = """\
kind: buffer
name: stores
scope: location
rules:
- {name: keep-two, when: {location.type: store}, hold_back: {units: 2}}
"""
SUITE = """\
suite: Stores
now: 2026-11-27T09:00:00Z
locations: {oslo: {type: store}}
products: {MUG: }
channels: {web: {kind: web}}
tests:
- name: A store keeps two mugs
  given: {channel: web, location: oslo, product: MUG, available: 5}
  expect: {sellable: UNITS, because: [keep-two]}
"""
FAILING, PASSING = SUITE.replace("UNITS", "1"), SUITE.replace("UNITS", "3")
ORDERS = """\
suite: Orders
now: 2026-11-27T09:00:00Z
locations: {oslo: {type: store}}
products: {MUG: }
channels: {web: {kind: web}}
tests:
- name: An order ships from the store
  given: {channel: web, commitment: sold, lines: {MUG: 1}, stock: {oslo: {MUG: 5}}}
  expect: {outcome: allocated, policy: all, shipments: [{location: oslo, lines: {MUG: 1}}], because: []}
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a failing test, and a routing policy without a test."""
    monkeypatch.setattr(rule_tests, "START_SECONDS", 0.0)
    monkeypatch.setattr(rule_tests, "CHECK_SECONDS", 0.05)
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "routing.yaml").write_text(ROUTING)
    (folder / "stores.yaml").write_text(BUFFER)
    (folder / "stores_test.yaml").write_text(FAILING)
    return folder


async def policy_set(shop: Retailer) -> policy_pb.GetPolicySetResponse:
    answer: policy_pb.GetPolicySetResponse = await shop.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    return answer


async def results(shop: Retailer, failed: int) -> policy_pb.PolicyTests:
    """The results of the tests, once so many have failed."""

    async def have_run() -> bool:
        tests = (await policy_set(shop)).tests
        return tests.HasField("test_time") and tests.failed_count == failed

    await eventually(have_run)
    return (await policy_set(shop)).tests


async def test_failing_tests_and_untested_rules_are_in_force_and_reported(
    retailers: RetailerMaker, rules: Path
) -> None:
    shop = await retailers.make(rules)
    failing = await results(shop, 1)
    counted = [shop.metric(f"policy_{name}") for name in ("failed_tests", "untested_rules")]

    (rules / "stores_test.yaml").write_text(PASSING)
    passing = await results(shop, 0)

    assert (failing.test_count, failing.untested_count) == (1, 1)
    assert [(failure.file, failure.line, failure.code) for failure in failing.failures] == [
        ("rules/stores_test.yaml", 9, "test-failed")
    ]
    assert [rule.file for rule in failing.untested_rules] == ["rules/routing.yaml"]
    assert counted == [1, 1]
    assert (passing.test_count, passing.untested_count) == (1, 1)
    assert shop.metric("policy_failed_tests") == 0
    runs = [shop.metric("policy_test_runs_total", result=result) for result in ("passed", "failed", "not_run")]
    assert runs == [1, 1, 0]


@pytest.mark.long
async def test_tests_that_are_too_costly_are_reported_and_hold_nothing_up(
    retailers: RetailerMaker, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SANDBOX_BYTES", 64 << 20)
    (rules / "many.yaml").write_text(many_rules(3_000))
    shop = await retailers.make(rules)

    tests = await results(shop, 0)

    assert "did not run to their end" in tests.not_run_reason
    assert (await policy_set(shop)).files
    assert shop.metric("policy_test_runs_total", result="not_run") == 1


async def test_where_tests_are_required_a_failing_folder_does_not_start(database_url: str, rules: Path) -> None:
    settings = service_settings(database_url, rules).model_copy(update={"require_tests": True})

    with pytest.raises(StartError) as error:
        async with running(settings):
            pass

    assert "rules/stores_test.yaml" in str(error.value)
    assert "no test makes the routing policy 'all' fire" in str(error.value)
    assert "--require-tests refuses" in str(error.value)


@pytest.mark.long
async def test_where_tests_are_required_a_failing_folder_leaves_the_rules_in_force(
    database_url: str, rules: Path
) -> None:
    (rules / "stores_test.yaml").write_text(PASSING)
    (rules / "routing_test.yaml").write_text(ORDERS)
    settings = service_settings(database_url, rules).model_copy(update={"require_tests": True})
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(settings))
        shop = await stack.enter_async_context(Retailer.connect(service, database_url))
        before = await policy_set(shop)

        (rules / "stores.yaml").write_text(BUFFER.replace("units: 2", "units: 4"))
        await eventually(lambda: is_refused(shop))
        refused = await policy_set(shop)
        (rules / "stores_test.yaml").write_text(SUITE.replace("UNITS", "1"))
        await eventually(lambda: is_refused(shop, refused=False))
        after = await policy_set(shop)

    assert not before.problems
    assert refused.policy_revision == before.policy_revision != after.policy_revision
    assert [problem.code for problem in refused.problems] == ["test-failed"]


async def is_refused(shop: Retailer, *, refused: bool = True) -> bool:
    return bool((await policy_set(shop)).problems) is refused
