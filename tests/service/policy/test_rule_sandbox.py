"""TestPolicies: rules in a request are read and tested like a folder's, within limits, and never put in force."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import uvloop

from bench.module_process import children_with
from service import limits
from service.errors import NotReady, Overloaded, RulesTooCostly
from service.policy import rule_tests
from service.policy.rule_sandbox import RuleSandbox
from service.policy.rules_folder import read_folder
from service.policy.sandbox_process import SandboxReport
from tests.conftest import REPOSITORY, RULES, RetailerMaker, service_process
from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import policy_service_pb2 as policy_pb, policy_service_pb2_grpc as policy_grpc

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


@pytest.fixture(autouse=True)
def _no_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the service from testing the rules in force, so that every sandbox process is that of a request."""
    monkeypatch.setattr(rule_tests, "START_SECONDS", 3_600.0)


async def test_rules_in_a_request_are_tested_and_not_put_in_force(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 10})

    report = await send(retailer, CANDIDATE)

    assert not report.problems
    assert [(result.suite, result.test, result.passed) for result in report.results] == [
        ("Stores", "A store keeps two mugs", True),
        ("Stores", "A store keeps three mugs", False),
    ]
    failed = report.results[1]
    assert (failed.file, failed.line) == ("rules/buffer_test.yaml", 10)
    assert "expected 2 sellable, got 3" in failed.difference
    assert [(rule.file, rule.line, rule.code) for rule in report.untested_rules] == [
        ("rules/buffer.yaml", 7, "rule-untested"),
        ("rules/routing.yaml", 4, "rule-untested"),
    ]
    assert await in_force(retailer) == retailer.service.policy_revision != report.policy_revision
    assert await retailer.sellable("MUG") == 10


async def test_the_shipped_rules_get_the_same_revision_as_in_force(retailers: RetailerMaker) -> None:
    retailer = await retailers.make(RULES)

    report = await send(retailer, read_folder(RULES).files)

    assert report.policy_revision == retailer.service.policy_revision
    assert not [result.test for result in report.results if not result.passed]
    assert not report.problems
    assert not report.untested_rules


async def test_all_problems_are_reported_with_file_and_line(retailer: Retailer) -> None:
    report = await send(
        retailer, CANDIDATE | {"rules/buffer.yaml": BUFFER.replace("hold_back", "hold_bakc"), "rules/more.yaml": "{"}
    )

    assert report.policy_revision == ""
    assert not report.results
    positions = {(problem.file, problem.line, problem.code) for problem in report.problems}
    assert {("rules/buffer.yaml", 6, "unknown-key"), ("rules/buffer.yaml", 7, "unknown-key")} <= positions
    assert ("rules/more.yaml", 1, "not-yaml") in {(file, min(line, 1), code) for file, line, code in positions}


async def test_each_hostile_file_is_reported_as_a_problem(retailer: Retailer) -> None:
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

    report = await send(retailer, {f"rules/{code}.yaml": content for code, content in hostile.items()})

    reported = {(problem.file, problem.code) for problem in report.problems}
    assert {(f"rules/{code}.yaml", code) for code in hostile} <= reported


async def test_only_paths_inside_the_rules_folder_are_accepted(retailer: Retailer) -> None:
    invalid = [
        *("../rules/a.yaml", "/etc/passwd", "rules/../../a.yaml", "rules//a.yaml", "./a.yaml", "rules/.hidden/a.yaml"),
        *("", " ", "rules/a.yaml/", "rules/a\n.yaml", "r" * 257),
    ]

    error = await refused(send(retailer, dict.fromkeys(["rules/good.yaml", *invalid], "x")))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", *(f"files[{n}].path" for n in range(1, 12)))


async def test_all_invalid_paths_are_reported_at_once(retailer: Retailer) -> None:
    files = [policy_pb.CandidateFile(path=path) for path in ("rules/a.yaml", "../b.yaml", "rules/a.yaml")]

    error = await refused(retailer.policies.TestPolicies(policy_pb.TestPoliciesRequest(files=files)))

    assert error.fields == ["files[1].path", "files[2].path"]
    assert "sent twice" in error.message


@pytest.mark.parametrize("count", [0, 1_001])
async def test_fewer_than_1_or_more_than_1000_files_are_refused(retailer: Retailer, count: int) -> None:
    error = await refused(send(retailer, {f"rules/{number}.yaml": "" for number in range(count)}))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "files")


async def test_a_thousand_files_are_tested(retailer: Retailer) -> None:
    report = await send(retailer, {f"rules/{number}.yaml": "" for number in range(1_000)})

    assert len(report.problems) == 1_000


async def test_a_request_above_one_mebibyte_is_refused(retailer: Retailer) -> None:
    error = await refused(send(retailer, {"rules/a.yaml": b"#" * (1 << 20)}))

    assert error.is_(grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")


async def test_rules_that_take_too_long_are_refused_and_leave_no_process(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SANDBOX_SECONDS", 1)

    error = await refused(send(retailer, COSTLY))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "RULES_TOO_COSTLY", "files")
    assert error.metadata == {"limit": "1 seconds"}
    assert not trials()


async def test_rules_that_take_too_much_memory_are_refused(retailer: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SANDBOX_BYTES", 64 << 20)

    error = await refused(send(retailer, {"rules/routing.yaml": ROUTING, "rules/many.yaml": many_rules(3_000)}))

    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "RULES_TOO_COSTLY", "files")
    assert error.metadata == {"limit": "64 MiB"}


async def test_a_cancelled_request_leaves_no_process(retailer: Retailer) -> None:
    call = asyncio.ensure_future(send(retailer, COSTLY))
    async with asyncio.timeout(60):
        while not trials():  # noqa: ASYNC110 - no event tells of a child process
            await asyncio.sleep(0.02)
        call.cancel()
        while trials():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_requests_beyond_the_limit_of_waiting_ones_are_refused(
    retailers: RetailerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SANDBOXES_AT_ONCE", 1)
    monkeypatch.setattr(limits, "SANDBOXES_WAITING", 1)
    retailer = await retailers.make()

    answers = await asyncio.gather(*(send(retailer, CANDIDATE) for _ in range(4)), return_exceptions=True)

    assert sum(isinstance(answer, policy_pb.TestPoliciesResponse) for answer in answers) == 2
    refusals = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert {refusal.code() for refusal in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert (await send(retailer, CANDIDATE)).policy_revision


@pytest.mark.parametrize("moment", ["before it reads", "while it works"])
def test_rules_are_too_costly_if_their_process_is_killed_at_any_moment(moment: str) -> None:
    files = CANDIDATE | {"rules/long.yaml": "#" * 900_000} if moment == "before it reads" else COSTLY

    with pytest.raises(RulesTooCostly):
        uvloop.run(run_and_send(files, signal.SIGKILL, after=0 if moment == "before it reads" else 1))


def test_a_signal_to_all_processes_of_a_stopping_service_is_no_fault_of_the_rules() -> None:
    with pytest.raises(NotReady):
        uvloop.run(run_and_send(CANDIDATE, signal.SIGTERM, after=0))


def test_rules_are_not_blamed_for_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SANDBOX_WAIT_SECONDS", 0.1)

    with pytest.raises(Overloaded) as raised:
        uvloop.run(RuleSandbox().run(encoded(CANDIDATE)))

    assert raised.value.retry_after is not None
    assert not trials()


async def run_and_send(files: Mapping[str, str], number: signal.Signals, *, after: float) -> SandboxReport:
    """Tests these rules, and sends a signal to the process some seconds after it began."""
    report = asyncio.ensure_future(RuleSandbox().run(encoded(files)))
    while not (processes := trials()):  # noqa: ASYNC110 - no event tells of a child process
        await asyncio.sleep(0.001)
    await asyncio.sleep(after)
    processes[0].send_signal(number)
    return await report


@pytest.mark.long
def test_a_killed_service_leaves_no_process_that_tests_rules(tmp_path: Path) -> None:
    for name, content in COSTLY.items():
        (tmp_path / Path(name).name).write_text(content)
    code = (
        "import asyncio, pathlib, sys; from service.policy.rule_sandbox import RuleSandbox\n"
        "files = {f'rules/{path.name}': path.read_bytes() for path in pathlib.Path(sys.argv[1]).iterdir()}\n"
        "asyncio.run(RuleSandbox().run(files))"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=REPOSITORY) as service:
        while not (processes := trials(service.pid)):
            time.sleep(0.02)
        # Until it works on the rules, which takes several seconds on any machine.
        while processes[0].cpu_times().user < 0.5:
            time.sleep(0.02)
        service.kill()
    processes[0].wait(timeout=2)


@pytest.mark.long
async def test_every_call_is_answered_while_others_keep_grpc_busy(database_url: str) -> None:
    # uvloop, as in `truestock serve`: it started processes with fork(), which gRPC's handlers made crash.
    with service_process("--database-url", database_url, "--rules", str(RULES)) as addresses:
        async with grpc.aio.insecure_channel(addresses.grpc) as channel:
            policies: Any = policy_grpc.PolicyServiceStub(channel)
            request = policy_pb.TestPoliciesRequest(files=candidates(CANDIDATE))
            calling = True

            async def keep_busy() -> None:
                while calling:
                    await policies.GetPolicySet(policy_pb.GetPolicySetRequest())

            async def call(count: int) -> None:
                for _ in range(count):
                    assert (await policies.TestPolicies(request)).policy_revision

            async with asyncio.TaskGroup() as tasks:
                busy = [tasks.create_task(keep_busy()) for _ in range(3)]
                await asyncio.gather(*(call(6) for _ in range(5)))
                calling = False
                await asyncio.wait(busy)


async def send(retailer: Retailer, files: Mapping[str, str | bytes]) -> policy_pb.TestPoliciesResponse:
    request = policy_pb.TestPoliciesRequest(files=candidates(files))
    report: policy_pb.TestPoliciesResponse = await retailer.policies.TestPolicies(request)
    return report


def candidates(files: Mapping[str, str | bytes]) -> list[policy_pb.CandidateFile]:
    return [policy_pb.CandidateFile(path=path, content=content) for path, content in encoded(files).items()]


def encoded(files: Mapping[str, str | bytes]) -> dict[str, bytes]:
    return {path: content if isinstance(content, bytes) else content.encode() for path, content in files.items()}


async def in_force(retailer: Retailer) -> str:
    report: policy_pb.GetPolicySetResponse = await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    return report.policy_revision


def many_rules(count: int, name: str = "many") -> str:
    rules = "\n".join(
        f"- name: {name}{n}\n  hold_back: {{units: 2}}\n  when: {{product.sku: A{n}, stock.on_hand: {{at_least: {n}}}}}"
        for n in range(count)
    )
    return f"kind: buffer\nname: {name}\nscope: location\nrules:\n{rules}\n"


# Two seconds of CPU time on a fast machine.
COSTLY = {"rules/routing.yaml": ROUTING, "rules/a.yaml": many_rules(3_500, "a"), "rules/b.yaml": many_rules(3_500, "b")}


def trials(pid: int | None = None) -> list[psutil.Process]:
    """The sandbox processes of a process, or of this one."""
    return children_with("service.policy.sandbox_process", pid)
