"""Results of tests of rules, and kept revisions, as messages of the API."""

from __future__ import annotations

from datetime import datetime

from policies.source.problems import terminal_safe
from service.candidates.kept_rules import KeptRevision
from service.policy.policy_messages import policy_problem
from service.policy.sandbox_process import SandboxReport, SandboxTestResult
from service.rpc import proto_values
from truestock.v1 import policy_service_pb2 as policy_pb


def tested_policies(report: SandboxReport, expire_time: datetime | None) -> policy_pb.TestPoliciesResponse:
    """The result of testing rules that are kept as a candidate until `expire_time`; None if they are not."""
    problem_count, test_count, failed_count, untested_count = report.counts
    return policy_pb.TestPoliciesResponse(
        policy_revision=report.revision,
        problems=map(policy_problem, report.problems),
        results=map(_test_result, report.results),
        untested_rules=map(policy_problem, report.untested),
        problem_count=problem_count,
        test_count=test_count,
        failed_count=failed_count,
        untested_count=untested_count,
        candidate_expire_time=proto_values.timestamp(expire_time),
    )


def policy_revision(kept: KeptRevision, in_force: str) -> policy_pb.PolicyRevision:
    """A revision that is kept; `in_force` is the revision in force."""
    is_in_force = kept.revision == in_force
    return policy_pb.PolicyRevision(
        policy_revision=kept.revision,
        in_force=is_in_force,
        create_time=proto_values.timestamp(kept.create_time),
        expire_time=None if is_in_force else proto_values.timestamp(kept.expire_time),
        file_count=kept.file_count,
        byte_count=kept.byte_count,
        candidate=kept.is_candidate,
        periods=[
            policy_pb.PolicyPeriod(
                instance=period.instance,
                run_id=str(period.run_id),
                from_time=proto_values.timestamp(period.since),
                until_time=proto_values.timestamp(period.until),
            )
            for period in kept.periods
        ],
    )


def _test_result(result: SandboxTestResult) -> policy_pb.PolicyTestResult:
    return policy_pb.PolicyTestResult(
        suite=terminal_safe(result.suite),
        test=terminal_safe(result.name),
        passed=result.passed,
        difference=terminal_safe(result.difference),
        file=result.file,
        line=result.line,
    )
