"""PolicyService: the rules in force, tests of other rules, and stored decisions."""

from __future__ import annotations

from typing import Any

from policies.linting.catalog_values import KnownValues
from policies.source.problems import terminal_safe
from service import limits
from service.catalog.fact_values import FactValueReader
from service.database.database import Database
from service.decisions import stored_decision
from service.decisions.decision_pages import replayed_page
from service.decisions.decision_replay import DecisionReplayer
from service.decisions.replay_requests import decisions_page
from service.decisions.stored_decision import StoredDecision
from service.errors import NotFound
from service.policy import policy_requests
from service.policy.active_policies import ActivePolicies
from service.policy.catalog_warnings import CatalogWarnings
from service.policy.policy_messages import policy_problem
from service.policy.policy_requests import candidate_files, named_values
from service.policy.rule_sandbox import RuleSandbox
from service.policy.rule_tests import RuleTestRun, RuleTests
from service.policy.sandbox_process import SandboxTestResult
from service.rpc import proto_values
from service.rpc.page_tokens import PageTokens
from service.version import VERSION
from truestock.v1 import decision_pb2, policy_service_pb2 as policy_pb, policy_service_pb2_grpc as policy_grpc


class PolicyServicer(policy_grpc.PolicyServiceServicer):
    """Serves the people who write rules."""

    def __init__(
        self,
        active_policies: ActivePolicies,
        database: Database,
        fact_values: FactValueReader,
        warnings: CatalogWarnings,
        rule_tests: RuleTests,
    ) -> None:
        self._rule_tests = rule_tests
        self._active_policies = active_policies
        self._database = database
        self._fact_values = fact_values
        self._warnings = warnings
        self._sandbox = RuleSandbox()
        self._replayer = DecisionReplayer(database)

    async def GetPolicySet(
        self, request: policy_pb.GetPolicySetRequest, context: Any
    ) -> policy_pb.GetPolicySetResponse:
        warnings = await self._warnings.current()
        loaded = self._active_policies.current
        return policy_pb.GetPolicySetResponse(
            policy_revision=loaded.policy_set.revision,
            files=[policy_pb.PolicyFile(path=path) for path in loaded.policy_set.files],
            load_time=proto_values.timestamp(loaded.load_time),
            problems=[policy_problem(problem) for problem in loaded.problems],
            refuse_time=proto_values.timestamp(loaded.refuse_time),
            warnings=[policy_problem(warning) for warning in warnings[: limits.POLICY_WARNINGS]],
            warning_count=len(warnings),
            tests=_tests(self._rule_tests.current()),
        )

    async def FindFactValues(
        self, request: policy_pb.FindFactValuesRequest, context: Any
    ) -> policy_pb.FindFactValuesResponse:
        known = await self._fact_values.known(named_values(request))
        return policy_pb.FindFactValuesResponse(facts=[_known(fact, values) for fact, values in known.items()])

    async def TestPolicies(
        self, request: policy_pb.TestPoliciesRequest, context: Any
    ) -> policy_pb.TestPoliciesResponse:
        outcome = await self._sandbox.run(candidate_files(request))
        return policy_pb.TestPoliciesResponse(
            policy_revision=outcome.revision,
            problems=[policy_problem(problem) for problem in outcome.problems],
            results=[_result(result) for result in outcome.results],
            untested_rules=[policy_problem(problem) for problem in outcome.untested],
        )

    async def GetDecision(self, request: policy_pb.GetDecisionRequest, context: Any) -> policy_pb.GetDecisionResponse:
        stored = await self._stored(request.decision_id)
        return policy_pb.GetDecisionResponse(
            decision=decision_pb2.Decision.FromString(stored.explanation),
            inputs=stored.inputs,
            allocation_id=str(stored.allocation_id),
            software_version=stored.software_version,
            decide_time=proto_values.timestamp(stored.decide_time),
        )

    async def ReplayDecision(
        self, request: policy_pb.ReplayDecisionRequest, context: Any
    ) -> policy_pb.ReplayDecisionResponse:
        stored = await self._stored(request.decision_id)
        replay = await self._replayer.run(stored)
        return policy_pb.ReplayDecisionResponse(
            decision=replay.decision,
            identical=replay.identical,
            stored_software_version=stored.software_version,
            software_version=VERSION,
            differing_field=replay.differing_field,
        )

    async def ReplayDecisions(
        self, request: policy_pb.ReplayDecisionsRequest, context: Any
    ) -> policy_pb.ReplayDecisionsResponse:
        tokens = PageTokens(request)
        page = decisions_page(request, tokens)
        if page.id is not None:
            await self._stored(request.decision_id)
        replayed = await replayed_page(self._database, self._sandbox, page)
        if replayed.position is not None:
            replayed.response.next_page_token = tokens.after_time(*replayed.position)
        return replayed.response

    async def _stored(self, text: str) -> StoredDecision:
        """The decision of this id. Raises InvalidFields and NotFound."""
        decision_id = policy_requests.decision_id(text)
        stored = await self._database.unlocked("get", lambda connection: stored_decision.find(connection, decision_id))
        if stored is None:
            advice = "it was never made, or it is past retention; check the id"
            raise NotFound("decision", {"decision_id": str(decision_id)}, advice)
        return stored


def _known(fact: str, values: KnownValues) -> policy_pb.KnownFactValues:
    return policy_pb.KnownFactValues(
        fact=fact,
        existing_values=sorted(values.existing),
        similar_values=values.similar,
        every_value=values.every,
    )


def _tests(tested: RuleTestRun | None) -> policy_pb.PolicyTests:
    if tested is None:
        return policy_pb.PolicyTests()
    return policy_pb.PolicyTests(
        test_time=proto_values.timestamp(tested.test_time),
        test_count=tested.test_count,
        failed_count=len(tested.failures),
        untested_count=len(tested.untested),
        failures=[policy_problem(failure) for failure in tested.failures[: limits.POLICY_WARNINGS]],
        untested_rules=[policy_problem(rule) for rule in tested.untested[: limits.POLICY_WARNINGS]],
        not_run_reason=tested.not_run,
    )


def _result(result: SandboxTestResult) -> policy_pb.PolicyTestResult:
    return policy_pb.PolicyTestResult(
        suite=terminal_safe(result.suite),
        test=terminal_safe(result.name),
        passed=result.passed,
        difference=terminal_safe(result.difference),
        file=result.file,
        line=result.line,
    )
