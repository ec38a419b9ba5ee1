"""Previews of orders and availability by rules that are not in force: as these rules decide, and without any effect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from prometheus_client import CollectorRegistry

from bench.module_process import children_with
from policies.reading.rules_reader import revision
from service import limits
from service.candidates import candidate_processes, candidate_store
from service.database.database import Database
from service.metrics import Metrics
from service.policy import rule_tests
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, eventually, order_request, promised
from tests.service.policy.test_rule_sandbox import COSTLY, ROUTING, encoded
from tests.service.test_bad_input import refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb, order_pb2

BUFFER = "kind: buffer\nname: b\nscope: location\nrules:\n  - {name: keep-some, hold_back: {units: UNITS}}\n"


@pytest.fixture(autouse=True)
def _no_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the service from testing the rules in force, which would compete for the CPU."""
    monkeypatch.setattr(rule_tests, "START_SECONDS", 3_600.0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database of the services."""
    database = await Database.open(database_url, Metrics(CollectorRegistry()), connections=2)
    yield database
    await database.close()


async def test_previews_by_a_candidate_are_decided_by_its_rules_and_record_nothing(
    retailers: RetailerMaker, database: Database
) -> None:
    retailer = await retailers.make()
    await retailer.stock({("MUG", "dc"): 10, ("MUG", "oslo"): 4, ("CUP", "dc"): 5})
    stored = await retailer.allocate("1", {"CUP": 5})
    candidate = await keep(database, keeping(7))
    for operation in ("make_partitions", "learn_velocity"):
        await retailer.has_done(operation)
    before = await row_counts(retailer)

    availability = await check(retailer, "MUG", candidate_revision=candidate, include_locations=True)
    order = await preview(retailer, "2", {"MUG": 4}, candidate)
    oversold = await preview(retailer, "1", {"CUP": 6}, candidate)

    assert availability.policy_revision == candidate
    [figure] = availability.availabilities
    assert figure.sellable_count == 3
    assert {x.location_id: x.buffer_count for x in figure.locations} == {"dc": 7, "oslo": 4}
    assert order.decision.policy_revision == candidate
    assert (order.outcome, promised(order)) == (order_pb2.OUTCOME_PARTLY_ALLOCATED, {"dc": 3})
    assert [(x.unit_count, list(x.rules)) for x in order.shortages] == [(1, ["keep-some"])]
    # A change of a stored order, whose oversold unit has a cause that only the database knows.
    assert (oversold.allocation_id, [x.cause for x in oversold.shortages]) == (stored.allocation_id, ["not_told"])
    tried = order_request("2", {"MUG": 4}, validate_only=True, candidate_revision=candidate, explain=True)
    explanation = (await retailer.allocations.AllocateOrder(tried)).explanation
    assert [(x.location_id, x.unit_count) for x in explanation.locations] == [("dc", 3)]
    assert await row_counts(retailer) == before
    in_force = await preview(retailer, "2", {"MUG": 4}, retailer.service.policy_revision)
    assert (promised(in_force), in_force.decision.policy_revision) == ({"dc": 4}, retailer.service.policy_revision)
    assert (await check(retailer, "MUG", candidate_revision=retailer.service.policy_revision)).availabilities
    assert await row_counts(retailer) == before

    error = await refused(check(retailer, "MUG", channel_id="none", candidate_revision=candidate))
    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "channel_id")
    error = await refused(preview(retailer, "2", {"NONE": 1}, candidate, commitment=order_pb2.COMMITMENT_HOLD))
    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "lines[0].sku")
    assert len(processes()) == 1
    await retailers.stop(retailer)
    assert not processes()


async def test_invalid_names_of_candidates_are_refused(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    for call in (check(retailer, "MUG", candidate_revision="0" * 16), preview(retailer, "1", {"MUG": 1}, "0" * 16)):
        error = await refused(call)
        assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "candidate_revision")
        assert "for 7 days" in error.message
    request = order_request("1", {"MUG": 1}, candidate_revision=retailer.service.policy_revision)
    error = await refused(retailer.allocations.AllocateOrder(request))
    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "candidate_revision")
    batch = allocation_pb.BatchAllocateOrdersRequest(requests=[request])
    result = (await retailer.allocations.BatchAllocateOrders(batch)).results[0]
    assert "candidate_revision" in result.error.message
    for call in (check(retailer, "MUG", candidate_revision="x" * 65), preview(retailer, "1", {"MUG": 1}, "x" * 65)):
        assert (await refused(call)).fields == ["candidate_revision"]
    assert not processes()


@pytest.mark.long
async def test_revisions_that_were_in_force_can_answer_too(retailers: RetailerMaker, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "routing.yaml").write_text(ROUTING)
    retailer = await retailers.make(folder)
    await retailer.stock({("MUG", "dc"): 10})
    old = retailer.service.policy_revision
    (folder / "buffer.yaml").write_text(BUFFER.replace("UNITS", "10"))

    async def is_loaded() -> bool:
        return await retailer.sellable("MUG") == 0

    await eventually(is_loaded)
    answer = await check(retailer, "MUG", candidate_revision=old)
    assert (answer.policy_revision, answer.availabilities[0].sellable_count) == (old, 10)


@pytest.mark.long
async def test_hostile_candidates_are_bounded_and_hold_nobody_up(
    retailer: Retailer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    costly = await keep(database, encoded(COSTLY))
    monkeypatch.setattr(limits, "SANDBOX_SECONDS", 1)
    # However busy the machine is, the rules are refused for what they cost.
    monkeypatch.setattr(limits, "SANDBOX_WAIT_SECONDS", 600)
    call = asyncio.ensure_future(check(retailer, "MUG", candidate_revision=costly))
    delays = []
    while not call.done():
        # Of this process, which is the service's: not what a busy machine does meanwhile.
        started = time.process_time()
        await retailer.sellable("MUG")
        delays.append(time.process_time() - started)
        await asyncio.sleep(0.05)
    error = await refused(call)
    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "RULES_TOO_COSTLY", "candidate_revision")
    assert sorted(delays)[len(delays) // 2] < 0.05
    monkeypatch.setattr(limits, "SANDBOX_SECONDS", 10)
    monkeypatch.setattr(limits, "SANDBOX_BYTES", 128 << 20)
    monkeypatch.setattr(limits, "CANDIDATE_MORE_BYTES", 0)
    error = await refused(check(retailer, "MUG", candidate_revision=costly))
    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "RULES_TOO_COSTLY", "candidate_revision")
    monkeypatch.setattr(limits, "SANDBOX_BYTES", 1 << 30)
    monkeypatch.setattr(limits, "CANDIDATE_MORE_BYTES", 512 << 20)
    kept = [await keep(database, keeping(units)) for units in range(3)]

    answers = await asyncio.gather(*(check(retailer, "MUG", candidate_revision=x) for x in kept * 2))

    assert [x.availabilities[0].sellable_count for x in answers] == [10, 9, 8] * 2
    assert len(processes()) <= limits.CANDIDATE_PROCESSES
    # Its process has to start: all calls arrive before the first is answered.
    new = await keep(database, keeping(3))
    refusals = await asyncio.gather(
        *(check(retailer, "MUG", candidate_revision=new) for _ in range(30)), return_exceptions=True
    )
    overloaded = [x for x in refusals if isinstance(x, grpc.aio.AioRpcError)]
    assert {x.code() for x in overloaded} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(overloaded) == 30 - limits.CANDIDATE_PROCESSES - limits.CANDIDATE_CALLS_WAITING


@pytest.mark.long
async def test_a_process_ends_with_its_caller_and_when_it_is_idle(
    retailer: Retailer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    costly = await keep(database, encoded(COSTLY))

    async def are_running() -> bool:
        return bool(processes())

    async def are_ended() -> bool:
        return not processes()

    call = asyncio.ensure_future(check(retailer, "MUG", candidate_revision=costly))
    await eventually(are_running)
    call.cancel()
    await eventually(are_ended)
    monkeypatch.setattr(limits, "CANDIDATE_IDLE", 0 * limits.CANDIDATE_IDLE)
    plain = await keep(database, keeping(1))
    assert (await check(retailer, "MUG", candidate_revision=plain)).availabilities[0].sellable_count == 9
    await eventually(are_ended)
    assert (await check(retailer, "MUG", candidate_revision=plain)).availabilities[0].sellable_count == 9


def keeping(units: int) -> dict[str, bytes]:
    return encoded({"rules/routing.yaml": ROUTING, "rules/buffer.yaml": BUFFER.replace("UNITS", str(units))})


async def keep(database: Database, files: dict[str, bytes]) -> str:
    """The revision of rules that are kept without testing them."""
    await candidate_store.keep(database, revision(files), files)
    return revision(files)


async def check(retailer: Retailer, sku: str, **fields: Any) -> availability_pb.CheckAvailabilityResponse:
    request = availability_pb.CheckAvailabilityRequest(**{"channel_id": "web", "skus": [sku]} | fields)
    response: availability_pb.CheckAvailabilityResponse = await retailer.availability.CheckAvailability(request)
    return response


async def preview(
    retailer: Retailer, order_id: str, lines: dict[str, int], candidate: str, **fields: Any
) -> allocation_pb.Allocation:
    request = order_request(order_id, lines, validate_only=True, candidate_revision=candidate, **fields)
    response: allocation_pb.AllocateOrderResponse = await retailer.allocations.AllocateOrder(request)
    return response.allocation


async def row_counts(retailer: Retailer) -> dict[str, int]:
    """The rows of every table of the database, but for those that seal audit events some time after they are made."""
    tables = await retailer.sql(
        "SELECT relname FROM pg_stat_user_tables WHERE relname NOT IN ('audit_seal', 'audit_unsealed') ORDER BY relname"
    )
    return {name: (await retailer.sql(f'SELECT count(*) FROM "{name}"'))[0][0] for (name,) in tables}


def processes() -> list[psutil.Process]:
    return children_with(candidate_processes.MODULE)
