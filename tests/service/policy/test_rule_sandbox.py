"""TestPolicies: rules that are sent are read and tested like a folder's, within bounds, and never come into force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc
import psutil
import pytest

from service import limits
from service.policy.rules_folder import find
from tests.conftest import RULES, RetailerMaker
from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import policy_service_pb2 as policy_pb

ROUTING = """
kind: routing
policies:
  - {name: everything, position: 100, rank: [nearest], otherwise: exception}
"""
BUFFER = """
kind: buffer
name: stores
scope: location
rules:
  - {name: keep-two, when: {location.type: store}, hold_back: {units: 2}}
  - {name: keep-nine, when: {location.type: warehouse}, hold_back: {units: 9}}
"""
SUITE = """
suite: Stores
now: 2026-11-27T09:00:00Z
locations: {oslo: {type: store}}
products: {MUG: }
tests:
  - name: A store keeps two mugs
    given: {channel: web, location: oslo, product: MUG, available: 5}
    expect: {sellable: 3, because: [keep-two]}
  - name: A store keeps three mugs
    given: {channel: web, location: oslo, product: MUG, available: 5}
    expect: {sellable: 2, because: [keep-two]}
channels: {web: {kind: web}}
"""
CANDIDATE = {"rules/routing.yaml": ROUTING, "rules/buffer.yaml": BUFFER, "rules/buffer_test.yaml": SUITE}


async def test_rules_that_are_sent_are_tested_and_never_in_force(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 10})

    found = await ask(retailer, CANDIDATE)

    assert not found.problems
    assert [(result.suite, result.test, result.passed) for result in found.results] == [
        ("Stores", "A store keeps two mugs", True),
        ("Stores", "A store keeps three mugs", False),
    ]
    failed = found.results[1]
    assert (failed.file, failed.line) == ("rules/buffer_test.yaml", 10)
    assert "expected 2 sellable, got 3" in failed.difference
    assert [(rule.file, rule.line, rule.code) for rule in found.untested_rules] == [
        ("rules/buffer.yaml", 7, "rule-untested"),
        ("rules/routing.yaml", 4, "rule-untested"),
    ]
    assert await in_force(retailer) == retailer.service.policy_revision != found.policy_revision
    assert await retailer.sellable("MUG") == 10


async def test_the_shipped_rules_have_the_revision_that_they_would_have_in_force(retailers: RetailerMaker) -> None:
    retailer = await retailers.make(RULES)

    found = await ask(retailer, find(RULES).files)

    assert found.policy_revision == retailer.service.policy_revision
    assert not [result.test for result in found.results if not result.passed]
    assert not found.problems
    assert not found.untested_rules


async def test_all_problems_come_with_their_places(retailer: Retailer) -> None:
    found = await ask(
        retailer, CANDIDATE | {"rules/buffer.yaml": BUFFER.replace("hold_back", "hold_bakc"), "rules/more.yaml": "{"}
    )

    assert found.policy_revision == ""
    assert not found.results
    places = {(problem.file, problem.line, problem.code) for problem in found.problems}
    assert {("rules/buffer.yaml", 6, "unknown-key"), ("rules/buffer.yaml", 7, "unknown-key")} <= places
    assert ("rules/more.yaml", 1, "not-yaml") in {(file, min(line, 1), code) for file, line, code in places}


async def test_hostile_files_are_problems_each_in_its_place(retailer: Retailer) -> None:
    hostile = {
        "not-utf-8": b"kind: \xff\xfe",
        "alias": b"a: &a [x, x]\nb: [*a, *a]\n",
        "too-deep": b"[" * 5_000,
        "tag": b"kind: !!python/object/apply:os.system [id]",
        "duplicate-key": b"kind: buffer\nkind: buffer",
        "out-of-range": b"kind: routing\npolicies: [{name: a, position: 1e309}]",
        "empty-file": b"",
        "not-yaml": b"\0",
    }

    found = await ask(retailer, {f"rules/{code}.yaml": content for code, content in hostile.items()})

    told = {(problem.file, problem.code) for problem in found.problems}
    assert {(f"rules/{code}.yaml", code) for code in hostile} <= told


async def test_only_plain_paths_are_taken(retailer: Retailer) -> None:
    bad = [
        *("../rules/a.yaml", "/etc/passwd", "rules/../../a.yaml", "rules//a.yaml", "./a.yaml", "rules/.hidden/a.yaml"),
        *("", " ", "rules/a.yaml/", "rules/a\n.yaml", "r" * 257),
    ]

    error = await refused(ask(retailer, dict.fromkeys(["rules/good.yaml", *bad], "x")))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", *(f"files[{n}].path" for n in range(1, 12)))


async def test_every_bad_path_is_named_at_once(retailer: Retailer) -> None:
    files = [policy_pb.CandidateFile(path=path) for path in ("rules/a.yaml", "../b.yaml", "rules/a.yaml")]

    error = await refused(retailer.policies.TestPolicies(policy_pb.TestPoliciesRequest(files=files)))

    assert error.fields == ["files[1].path", "files[2].path"]
    assert "sent twice" in error.message


@pytest.mark.parametrize("count", [0, 1_001])
async def test_1_to_1000_files_are_taken(retailer: Retailer, count: int) -> None:
    error = await refused(ask(retailer, {f"rules/{number}.yaml": "" for number in range(count)}))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "files")


async def test_a_thousand_files_are_answered(retailer: Retailer) -> None:
    found = await ask(retailer, {f"rules/{number}.yaml": "" for number in range(1_000)})

    assert len(found.problems) == 1_000


async def test_more_than_a_mebibyte_is_refused(retailer: Retailer) -> None:
    error = await refused(ask(retailer, {"rules/a.yaml": b"#" * (1 << 20)}))

    assert error.is_(grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")


async def test_rules_that_take_too_long_are_given_up_and_leave_nothing_behind(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SANDBOX_SECONDS", 1)

    error = await refused(ask(retailer, {"rules/routing.yaml": ROUTING, "rules/many.yaml": many_rules(4_000)}))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "RULES_TOO_COSTLY", "files")
    assert error.metadata == {"limit": "1 seconds"}
    assert not trials()


async def test_rules_that_take_too_much_memory_are_given_up(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SANDBOX_BYTES", 64 << 20)

    error = await refused(ask(retailer, {"rules/routing.yaml": ROUTING, "rules/many.yaml": many_rules(3_000)}))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "RULES_TOO_COSTLY", "files")
    assert error.metadata == {"limit": "64 MiB"}


async def test_a_caller_that_goes_leaves_nothing_running(retailer: Retailer) -> None:
    call = asyncio.ensure_future(ask(retailer, {"rules/routing.yaml": ROUTING, "rules/many.yaml": many_rules(4_000)}))
    async with asyncio.timeout(5):
        while not trials():  # noqa: ASYNC110 - processes are looked at from outside
            await asyncio.sleep(0.02)
        call.cancel()
        while trials():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_only_a_few_wait(retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SANDBOXES_AT_ONCE", 1)
    monkeypatch.setattr(limits, "SANDBOXES_WAITING", 1)
    retailer = await retailers.make()

    answers = await asyncio.gather(*(ask(retailer, CANDIDATE) for _ in range(4)), return_exceptions=True)

    assert sum(isinstance(answer, policy_pb.TestPoliciesResponse) for answer in answers) == 2
    refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert {refusal.code() for refusal in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert (await ask(retailer, CANDIDATE)).policy_revision


async def ask(retailer: Retailer, files: Mapping[str, str | bytes]) -> policy_pb.TestPoliciesResponse:
    sent = [
        policy_pb.CandidateFile(path=path, content=content if isinstance(content, bytes) else content.encode())
        for path, content in files.items()
    ]
    found: policy_pb.TestPoliciesResponse = await retailer.policies.TestPolicies(
        policy_pb.TestPoliciesRequest(files=sent)
    )
    return found


async def in_force(retailer: Retailer) -> str:
    found: policy_pb.GetPolicySetResponse = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    return found.policy_revision


def many_rules(count: int) -> str:
    rules = "\n".join(
        f"  - {{name: r-{n}, when: {{product.sku: A{n}, stock.on_hand: {{more_than: {n}}}}}, hold_back: {{units: 2}}}}"
        for n in range(count)
    )
    return f"kind: buffer\nname: many\nscope: location\nrules:\n{rules}\n"


def trials() -> list[psutil.Process]:
    """The processes in which this one tries rules."""
    return [
        process
        for process in psutil.Process().children()
        if process.status() != psutil.STATUS_ZOMBIE and "service.policy.sandbox_process" in process.cmdline()
    ]
