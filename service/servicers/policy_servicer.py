"""PolicyService: the rules in force, tests of other rules, and stored decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from policies.linting.catalog_values import KnownValues
from service import limits
from service.candidates import candidate_store
from service.candidates.candidate_messages import policy_revision, tested_policies
from service.candidates.folder_upload import FolderUploads, received_files
from service.candidates.kept_rules import KeptRules
from service.catalog.fact_values import FactValueReader
from service.database.database import Database
from service.decisions import stored_decision
from service.decisions.decision_pages import replayed_page
from service.decisions.decision_replay import DecisionReplayer
from service.decisions.replay_requests import decisions_page
from service.decisions.stored_decision import StoredDecision
from service.errors import NotFound
from service.policy import policy_history_pages, policy_requests
from service.policy.active_policies import ActivePolicies
from service.policy.catalog_warnings import CatalogWarnings
from service.policy.policy_messages import policy_problem
from service.policy.policy_requests import PolicySetRequest, candidate_files, named_values, policy_set_request
from service.policy.rule_sandbox import RuleSandbox
from service.policy.rule_tests import RuleTestRun, RuleTests
from service.policy.sandbox_process import Listed
from service.replica.reads import Reads
from service.rpc import proto_values
from service.rpc.call_limit import LimitedTurns
from service.rpc.page_tokens import NEWEST, PageTokens
from service.rpc.streams import ShutdownSignal
from service.rpc.validation import Fields
from service.version import VERSION
from truestock.v1 import (
    decision_pb2,
    policy_history_pb2 as history_pb,
    policy_service_pb2 as policy_pb,
    policy_service_pb2_grpc as policy_grpc,
)


class PolicyServicer(policy_grpc.PolicyServiceServicer):
    """Serves the people who write rules."""

    def __init__(
        self,
        *,
        active_policies: ActivePolicies,
        database: Database,
        fact_values: FactValueReader,
        warnings: CatalogWarnings,
        rule_tests: RuleTests,
        kept_rules: KeptRules,
        shutdown: ShutdownSignal,
        reads: Reads,
    ) -> None:
        self._reads = reads
        self._kept_rules = kept_rules
        self._shutdown = shutdown
        self._uploads = FolderUploads()
        self._contents = LimitedTurns(limits.CONTENTS_AT_ONCE, limits.CONTENTS_WAITING, "reads of rules")
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
        wanted = policy_set_request(request)
        if wanted.revision and wanted.revision != self._active_policies.in_force().revision:
            return await self._kept_policy_set(wanted)
        warnings = await self._warnings.current()
        loaded = self._active_policies.current
        files = {path: loaded.files[path] for path in loaded.policy_set.files}
        return policy_pb.GetPolicySetResponse(
            policy_revision=loaded.policy_set.revision,
            files=_files(files, wanted),
            load_time=proto_values.timestamp(loaded.load_time),
            problems=[policy_problem(problem) for problem in loaded.problems],
            refuse_time=proto_values.timestamp(loaded.refuse_time),
            warnings=[policy_problem(warning) for warning in warnings[: limits.POLICY_WARNINGS]],
            warning_count=len(warnings),
            tests=_tests(self._rule_tests.current()),
            # Without what only the database knows: this call answers without it.
            revision=policy_pb.PolicyRevision(
                policy_revision=loaded.policy_set.revision,
                in_force=True,
                file_count=len(files),
                byte_count=sum(map(len, files.values())),
            ),
        )

    async def ListPolicyRevisions(
        self, request: policy_pb.ListPolicyRevisionsRequest, context: Any
    ) -> policy_pb.ListPolicyRevisionsResponse:
        fields, tokens = Fields(), PageTokens(request)
        size, after = fields.page_size(request.page_size), tokens.time_and_name(fields)
        fields.finish()
        revisions = await self._kept_rules.page(
            candidates=request.candidates, count=size + 1, after=after or (NEWEST, "")
        )
        page = revisions[:size]
        in_force = self._active_policies.in_force().revision
        return policy_pb.ListPolicyRevisionsResponse(
            revisions=[policy_revision(kept, in_force) for kept in page],
            next_page_token=tokens.after_time(page[-1].create_time, page[-1].revision) if revisions[size:] else "",
        )

    async def FindFactValues(
        self, request: policy_pb.FindFactValuesRequest, context: Any
    ) -> policy_pb.FindFactValuesResponse:
        known = await self._fact_values.known(named_values(request))
        return policy_pb.FindFactValuesResponse(facts=[_known(fact, values) for fact, values in known.items()])

    async def TestPolicies(
        self, request: policy_pb.TestPoliciesRequest, context: Any
    ) -> policy_pb.TestPoliciesResponse:
        return await self._tested(candidate_files(request))

    async def StreamTestPolicies(
        self, request_iterator: AsyncIterator[policy_pb.StreamTestPoliciesRequest], context: Any
    ) -> policy_pb.StreamTestPoliciesResponse:
        with self._uploads.slot():
            async with aclosing(self._shutdown.while_running(request_iterator)) as messages:
                files = await received_files(messages)
            return policy_pb.StreamTestPoliciesResponse(result=await self._tested(files))

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

    async def ExplainDecision(
        self, request: policy_pb.ExplainDecisionRequest, context: Any
    ) -> policy_pb.ExplainDecisionResponse:
        stored = await self._stored(request.decision_id)
        replay = await self._replayer.run(stored, explains=True)
        return policy_pb.ExplainDecisionResponse(
            decision=decision_pb2.Decision.FromString(stored.explanation),
            explanation=replay.explanation,
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
        if page.id is None:
            replayed = await self._reads.answer(lambda source: replayed_page(source.database, self._sandbox, page))
        else:
            await self._stored(request.decision_id)
            replayed = await replayed_page(self._database, self._sandbox, page)
        if replayed.position is not None:
            replayed.response.next_page_token = tokens.after_time(*replayed.position)
        return replayed.response

    async def _kept_policy_set(self, wanted: PolicySetRequest) -> policy_pb.GetPolicySetResponse:
        """The rules of a revision that is not in force. Raises NotFound, and Overloaded if too many calls read them."""
        kept = await self._kept_rules.find(wanted.revision)
        async with self._contents.turn():
            files = await self._kept_rules.files(kept)
        return policy_pb.GetPolicySetResponse(
            policy_revision=kept.revision,
            files=_files(files, wanted),
            revision=policy_revision(kept, self._active_policies.in_force().revision),
        )

    async def _tested(self, files: Mapping[str, bytes]) -> policy_pb.TestPoliciesResponse:
        """The result of testing these rules, which are kept as a candidate if they can be read."""
        report = await self._sandbox.run(files, Listed(limits.LISTED_PROBLEMS, limits.LISTED_TEST_RESULTS))
        expire_time = await candidate_store.keep(self._database, report.revision, files) if report.revision else None
        return tested_policies(report, expire_time)

    async def ListPolicyHistory(
        self, request: history_pb.ListPolicyHistoryRequest, context: Any
    ) -> history_pb.ListPolicyHistoryResponse:
        return await self._reads.answer(lambda source: policy_history_pages.listed(source.database, request))

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


def _files(files: Mapping[str, bytes], wanted: PolicySetRequest) -> list[policy_pb.PolicyFile]:
    """The files that are wanted, with their contents if these are. Raises NotFound."""
    missing = {f"paths[{index}]": path for index, path in enumerate(wanted.paths) if path not in files}
    if missing:
        raise NotFound("rule file", missing, "leave paths out to list the files")
    return [
        policy_pb.PolicyFile(path=path, content=content if wanted.has_contents else b"")
        for path, content in files.items()
        if not wanted.paths or path in wanted.paths
    ]
