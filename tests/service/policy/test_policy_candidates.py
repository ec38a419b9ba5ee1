"""Rules that callers send are kept as candidates for a week, whole or not at all, within limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from policies.reading.rules_reader import MAX_FOLDER_BYTES
from service import limits
from service.candidates import candidate_store
from service.candidates.folder_upload import _PartialFolder
from service.database.database import Database
from service.metrics import Metrics
from service.policy import rule_tests
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, eventually
from tests.service.policy.test_rule_sandbox import BUFFER, CANDIDATE, ROUTING, encoded, send
from tests.service.test_bad_input import refused
from truestock.v1 import policy_service_pb2 as policy_pb

RULE_FILES = {path: content.encode() for path, content in CANDIDATE.items() if not path.endswith("_test.yaml")}
Part = policy_pb.CandidateFilePart


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database of the services, as another service has it."""
    database = await Database.open(database_url, Metrics(CollectorRegistry()), connections=4)
    yield database
    await database.close()


@pytest.fixture(autouse=True)
def _no_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the service from testing the rules in force, which would compete for the CPU."""
    monkeypatch.setattr(rule_tests, "START_SECONDS", 3_600.0)


async def test_rules_without_problems_are_kept_for_a_week_and_shared_by_services(retailers: RetailerMaker) -> None:
    first, second = await retailers.make(), await retailers.make()

    report = await send(first, CANDIDATE)

    kept = await contents(second, report.policy_revision)
    assert {file.path: file.content for file in kept.files} == RULE_FILES
    assert kept.policy_revision == report.policy_revision != first.service.policy_revision
    assert (kept.revision.candidate, kept.revision.in_force, kept.revision.file_count) == (True, False, 2)
    assert kept.revision.byte_count == sum(map(len, RULE_FILES.values()))
    assert report.candidate_expire_time == kept.revision.expire_time
    days = (report.candidate_expire_time.ToDatetime(UTC) - datetime.now(UTC)) / timedelta(days=1)
    assert 6.99 < days < 7.01
    assert (report.problem_count, report.test_count, report.failed_count, report.untested_count) == (0, 2, 1, 2)
    assert [x.policy_revision for x in await revisions(second, candidates=True)] == [report.policy_revision]
    assert report.policy_revision not in {x.policy_revision for x in await revisions(second)}


async def test_a_candidate_expires_after_a_week_unless_the_same_rules_renew_it(
    retailer: Retailer, database: Database
) -> None:
    revision = (await send(retailer, CANDIDATE)).policy_revision
    await retailer.sql("UPDATE policy_candidate SET renew_time = renew_time - interval '6 days 23 hours'")
    # The tests beside the rules may be others: the rules are the same.
    await candidate_store.keep(database, revision, RULE_FILES)
    await retailer.sql("UPDATE policy_candidate SET renew_time = renew_time - interval '6 days 23 hours'")
    assert (await contents(retailer, revision)).files

    await retailer.sql("UPDATE policy_candidate SET renew_time = renew_time - interval '2 hours'")

    error = await refused(contents(retailer, revision))
    assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "policy_revision")
    assert "kept for 91 days" in error.message
    assert "for 7 days" in error.message
    assert await revisions(retailer, candidates=True) == []


async def test_the_candidates_that_were_sent_longest_ago_go_first(
    retailer: Retailer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def keep(revision: str, size: int) -> None:
        await candidate_store.keep(database, revision, {"rules/a.yaml": b"#" * size, "rules/a_test.yaml": b"#" * 100})

    async def kept() -> list[str]:
        return [x.policy_revision for x in await revisions(retailer, candidates=True)]

    monkeypatch.setattr(limits, "CANDIDATES", 2)
    for revision in ("first", "second", "first", "third"):
        await keep(revision, 10)
    assert await kept() == ["third", "first"]

    monkeypatch.setattr(limits, "CANDIDATE_BYTES", 29)
    await keep("fourth", 20)
    assert await kept() == ["fourth"]

    monkeypatch.setattr(limits, "CANDIDATES", 3)
    await asyncio.gather(*(keep(f"{n}-at-once", 1) for n in range(8)))
    assert len(await kept()) == 3


async def test_a_folder_of_many_messages_is_tested_and_kept_as_one(retailer: Retailer) -> None:
    # A file of 1 MiB does not fit into one message, and the folder not into one request.
    large = {f"rules/large-{n}.yaml": (variant_file(n) + "#" * (1 << 20))[: 1 << 20].encode() for n in range(3)}
    files = encoded({"rules/routing.yaml": ROUTING, "rules/buffer_test.yaml": CANDIDATE["rules/buffer_test.yaml"]})
    files |= large | {"rules/buffer.yaml": BUFFER.encode()}

    report = (await stream(retailer, messages(files))).result

    assert [result.passed for result in report.results] == [True, False]
    assert not report.problems
    kept = await contents(retailer, report.policy_revision, paths=["rules/large-1.yaml", "rules/buffer.yaml"])
    assert {file.path: file.content for file in kept.files} == {
        path: files[path] for path in ("rules/large-1.yaml", "rules/buffer.yaml")
    }


async def test_invalid_streams_are_refused_and_keep_nothing(retailer: Retailer) -> None:
    routing = Part(path="rules/routing.yaml", content=ROUTING.encode())
    piece = b"#" * (1 << 19)
    large = [message(Part(path="rules/large.yaml", content=piece, continued=n > 0)) for n in range(33)]
    cases: list[tuple[Iterable[policy_pb.StreamTestPoliciesRequest], str]] = [
        ([], "parts"),
        ([message(routing), message()], "parts"),
        ([message(routing), message(routing)], "parts[1].path"),
        ([message(routing, Part(path="rules/../../a.yaml"))], "parts[1].path"),
        ([message(Part(path="rules/a.yaml", continued=True))], "parts[0].continued"),
        ([message(routing), message(Part(path="rules/b.yaml", continued=True))], "parts[1].continued"),
        (large, "parts"),
        ([message(*(Part(path=f"r/{k}/{n}.yaml") for n in range(500))) for k in range(3)], "parts"),
    ]
    for sent, field in cases:
        error = await refused(stream(retailer, sent))
        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field), (field, error.message)
    error = await refused(stream(retailer, [message(Part(path="rules/a.yaml", content=b"#" * (1 << 20)))]))
    assert error.is_(grpc.StatusCode.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")
    report = (await stream(retailer, [message(routing, Part(path="rules/b.yaml", content=b"\xff"))])).result
    assert (report.problem_count, report.HasField("candidate_expire_time")) == (1, False)
    assert [(problem.code, problem.file) for problem in report.problems] == [("not-utf-8", "rules/b.yaml")]
    assert await revisions(retailer, candidates=True) == []
    assert 33 * len(piece) > MAX_FOLDER_BYTES


async def test_a_stream_that_breaks_off_or_takes_too_long_keeps_nothing(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FOLDERS_AT_ONCE", 1)
    never = asyncio.Event()

    async def halting() -> AsyncIterator[policy_pb.StreamTestPoliciesRequest]:
        for part in messages(RULE_FILES):
            yield part
        await never.wait()

    received = asyncio.Event()
    add = _PartialFolder.add

    def note(folder: _PartialFolder, message: policy_pb.StreamTestPoliciesRequest) -> None:
        received.set()
        add(folder, message)

    monkeypatch.setattr(_PartialFolder, "add", note)
    call = asyncio.ensure_future(stream(retailer, halting()))
    await received.wait()
    assert (await refused(stream(retailer, messages(RULE_FILES)))).reason == "OVERLOADED"
    call.cancel()
    await asyncio.wait([call])

    async def is_free() -> bool:
        return bool((await stream(retailer, messages({"a.yaml": b""}))).result.problems)

    await eventually(is_free)
    monkeypatch.setattr(limits, "FOLDER_SECONDS", 0.05)
    error = await refused(stream(retailer, halting()))
    assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "parts")
    assert await revisions(retailer, candidates=True) == []


async def test_revisions_that_were_in_force_are_listed_newest_first_and_readable(
    retailers: RetailerMaker, tmp_path: Any
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "routing.yaml").write_text(ROUTING)
    (folder / "buffer_test.yaml").write_text("suite: None\n")
    retailer = await retailers.make(folder)
    old = retailer.service.policy_revision
    (folder / "buffer.yaml").write_text(BUFFER)

    async def is_listed() -> bool:
        listed = await revisions(retailer)
        # A period is recorded right after its rules have come into force.
        return len(listed) == 2 and all(x.periods for x in listed) and listed[1].periods[0].HasField("until_time")

    await eventually(is_listed)
    new, first = await revisions(retailer)
    assert (new.in_force, new.file_count, new.HasField("expire_time")) == (True, 2, False)
    assert (first.policy_revision, first.in_force, first.file_count) == (old, False, 1)
    kept = first.expire_time.ToDatetime() - first.create_time.ToDatetime()
    assert abs(kept - timedelta(days=91)) < timedelta(minutes=1)
    [old_period], [new_period] = first.periods, new.periods
    assert old_period.until_time == new_period.from_time
    assert (new_period.HasField("until_time"), new_period.run_id) == (False, old_period.run_id)
    stored = await contents(retailer, old)
    assert {file.path: file.content for file in stored.files} == {"rules/routing.yaml": ROUTING.encode()}
    current = await contents(retailer, "")
    assert (current.policy_revision, current.revision.in_force) == (new.policy_revision, True)
    assert {file.path: file.content for file in current.files} == encoded(
        {"rules/buffer.yaml": BUFFER, "rules/routing.yaml": ROUTING}
    )
    assert not any(
        file.content for file in (await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())).files
    )
    paged = [(await page(retailer, page_size=1)), (await page(retailer, page_size=1, page_number=1))]
    assert [[x.policy_revision for x in response.revisions] for response in paged] == [[new.policy_revision], [old]]
    assert not paged[1].next_page_token

    # Another service has the same rules, and stops.
    other = await retailers.make(folder)
    assert [x.HasField("until_time") for x in (await revisions(retailer))[0].periods] == [False, False]
    await retailers.stop(other)
    assert [x.HasField("until_time") for x in (await revisions(retailer))[0].periods] == [True, False]


async def test_a_revision_that_is_half_deleted_and_unknown_ones_are_not_found(retailer: Retailer) -> None:
    await retailer.sql("INSERT INTO policy_set (revision, path, content) VALUES ('half', 'rules/a.yaml', 'x')")
    await retailer.sql("INSERT INTO policy_revision (revision, file_count, byte_count) VALUES ('half', 2, 2)")

    for revision in ("half", "0123456789abcdef", "x" * 64):
        error = await refused(contents(retailer, revision))
        assert error.is_(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "policy_revision"), revision
        assert "91 days" in error.message
    for request, field in (
        ({"policy_revision": "x" * 65}, "policy_revision"),
        ({"paths": ["../a.yaml"]}, "paths[0]"),
        ({"paths": ["rules/a.yaml"] * 1_001}, "paths"),
    ):
        error = await refused(retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest(**request)))
        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field)
    unknown = policy_pb.GetPolicySetRequest(paths=["rules/none.yaml"])
    assert (await refused(retailer.policies.GetPolicySet(unknown))).reason == "NOT_FOUND"


@pytest.mark.long
async def test_the_largest_folder_is_tested_while_other_calls_are_answered(retailer: Retailer) -> None:
    files = {f"rules/large-{n}.yaml": dense_file(n, 980_000) for n in range(17)} | {
        "rules/routing.yaml": ROUTING.encode()
    }
    assert MAX_FOLDER_BYTES - (1 << 20) < sum(map(len, files.values())) <= MAX_FOLDER_BYTES
    call = asyncio.ensure_future(stream(retailer, messages(files)))
    delays = []
    while not call.done():
        # Of this process, which is the service's: not what a busy machine does meanwhile.
        started = time.process_time()
        await retailer.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
        delays.append(time.process_time() - started)
        await asyncio.sleep(0.05)

    assert not (await call).result.problems
    assert sorted(delays)[len(delays) // 2] < 0.05


def dense_file(number: int, size: int) -> bytes:
    """A file of rules with so many comments that it has `size` bytes."""
    return (variant_file(number) + "# Why this rule is as it is.\n" * (size // 29)).encode()[:size]


def variant_file(number: int) -> str:
    return (
        BUFFER.replace("stores", f"stores-{number}")
        .replace("keep-", f"keep-{number}-")
        .replace("units: 2", f"units: {number + 10}")
    )


def message(*parts: policy_pb.CandidateFilePart) -> policy_pb.StreamTestPoliciesRequest:
    return policy_pb.StreamTestPoliciesRequest(parts=parts)


def messages(files: Mapping[str, bytes], size: int = 700_000) -> list[policy_pb.StreamTestPoliciesRequest]:
    """The files in messages of one part each."""
    return [
        message(Part(path=path, content=content[start : start + size], continued=start > 0))
        for path, content in files.items()
        for start in range(0, max(1, len(content)), size)
    ]


async def stream(
    retailer: Retailer,
    sent: Iterable[policy_pb.StreamTestPoliciesRequest] | AsyncIterator[policy_pb.StreamTestPoliciesRequest],
) -> policy_pb.StreamTestPoliciesResponse:
    response: policy_pb.StreamTestPoliciesResponse = await retailer.policies.StreamTestPolicies(sent)
    return response


async def contents(retailer: Retailer, revision: str, **fields: Any) -> policy_pb.GetPolicySetResponse:
    request = policy_pb.GetPolicySetRequest(policy_revision=revision, include_contents=True, **fields)
    response: policy_pb.GetPolicySetResponse = await retailer.policies.GetPolicySet(request)
    return response


async def revisions(retailer: Retailer, **fields: Any) -> list[policy_pb.PolicyRevision]:
    return list((await page(retailer, **fields)).revisions)


async def page(retailer: Retailer, page_number: int = 0, **fields: Any) -> policy_pb.ListPolicyRevisionsResponse:
    request = policy_pb.ListPolicyRevisionsRequest(**fields)
    response: policy_pb.ListPolicyRevisionsResponse = await retailer.policies.ListPolicyRevisions(request)
    for _ in range(page_number):
        request.page_token = response.next_page_token
        response = await retailer.policies.ListPolicyRevisions(request)
    return response
