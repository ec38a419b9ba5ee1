"""Re-runs a stored decision with its original inputs and rules: is the result identical, and why is it that one?"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from policies.decisions.alternatives.decision_explanation import explain
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service import limits
from service.background import FailureLog
from service.database.database import Connection, Database
from service.decisions.decision_inputs import inputs_of
from service.decisions.decision_messages import difference
from service.decisions.destination_erasure import Erasure, erasure, unreplayable
from service.decisions.explanation_messages import explanation_message
from service.decisions.stored_decision import StoredDecision
from service.errors import NotReplayable, Overloaded
from service.policy import policy_store
from service.policy.thread_switching import FAST_SWITCHING
from truestock.v1 import decision_explanation_pb2 as explanation_pb, decision_pb2


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The replayed decision. `differing_field` is the first field that differs from the stored one, or empty.

    `explanation` is set if it was asked for.
    """

    decision: decision_pb2.Decision
    differing_field: str
    explanation: explanation_pb.DecisionExplanation | None = None

    @property
    def identical(self) -> bool:
        """Whether the replayed decision is the stored one, in the words of this version."""
        return not self.differing_field


class DecisionReplayer:
    """Replays one decision at a time in its own thread; a limited number wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replays")
        self._policy_sets: OrderedDict[str, PolicySet] = OrderedDict()
        self._waiting_count = 0
        self._failures = FailureLog()

    async def run(self, stored: StoredDecision, *, explains: bool = False) -> ReplayResult:
        """Replays a decision, and explains it if that is asked for.

        Raises NotReplayable if inputs or rules are no longer stored, Overloaded if too many replays wait.
        """
        if stored.inputs is None:
            reason = "only a summary is stored: it refused a hold, or its inputs were too long or are too old"
            raise NotReplayable(str(stored.id), reason)
        if self._waiting_count > limits.REPLAYS_WAITING:
            raise Overloaded(self._waiting_count, timedelta(seconds=1), "replays of decisions")
        self._waiting_count += 1
        try:
            files = await self._files(stored)
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._replay, stored, files, explains)
        except BaseException:
            self._waiting_count -= 1
            raise
        # A caller that hangs up does not stop the thread, so the replay counts as waiting until the thread is done.
        work.add_done_callback(self._done)
        return await asyncio.shield(work)

    async def erasure(self, stored: StoredDecision) -> Erasure:
        """What stays of a decision once its destination is dropped; never shed, callers do not ask for it."""
        files = {} if stored.inputs is None else await self._files(stored)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._erasure, stored, files)

    def _done(self, work: asyncio.Future[ReplayResult]) -> None:
        self._waiting_count -= 1
        if not work.cancelled():
            # Reading the exception keeps asyncio from logging it as never retrieved if the caller has hung up.
            work.exception()

    async def _files(self, stored: StoredDecision) -> dict[str, bytes]:
        """The rule files of the decision; none if their policy set is cached."""
        if stored.policy_revision in self._policy_sets:
            return {}

        async def work(connection: Connection) -> dict[str, bytes]:
            return await policy_store.files(connection, stored.policy_revision)

        return await self._database.unlocked("policy_files", work)

    def _replay(self, stored: StoredDecision, files: Mapping[str, bytes], explains: bool) -> ReplayResult:
        assert stored.inputs is not None
        with FAST_SWITCHING:
            policy_set = self._policy_set(stored, files)
            inputs = inputs_of(stored.inputs)
            routed = inputs.routed(policy_set)
            replayed = inputs.message_of(routed.decision(), policy_set, stored.id)
            explanation = explanation_message(explain(routed)) if explains else None
        return ReplayResult(replayed, difference(stored.explanation, replayed), explanation)

    def _erasure(self, stored: StoredDecision, files: Mapping[str, bytes]) -> Erasure:
        if stored.inputs is None:
            return unreplayable(stored.explanation)
        with FAST_SWITCHING:
            inputs = inputs_of(stored.inputs)
            try:
                return erasure(inputs, self._policy_set(stored, files), stored.id, stored.explanation)
            except NotReplayable:
                pass
            except Exception as error:
                # Personal data go, even if that leaves a decision that cannot be replayed.
                self._failures.failed("decision_not_replayed", error, decision_id=str(stored.id))
            return unreplayable(stored.explanation, inputs)

    def _policy_set(self, stored: StoredDecision, files: Mapping[str, bytes]) -> PolicySet:
        """The rules of the decision, compiled for this thread alone; the last few are cached."""
        revision = stored.policy_revision
        policy_set = self._policy_sets.get(revision)
        if policy_set is None:
            if not files:
                raise NotReplayable(str(stored.id), f"its rules, {revision}, are no longer stored")
            # Matchers are for one thread at a time: they share one engine session and an unlocked memory. The rules in
            # force belong to the event loop, so a replay compiles its own copy, even of the same revision.
            policy_set = read(files).policy_set
            if policy_set is None:
                reason = f"this version of Truestock, unlike {stored.software_version}, cannot read its rules"
                raise NotReplayable(str(stored.id), f"{reason}, {revision}")
            self._policy_sets[revision] = policy_set
        self._policy_sets.move_to_end(revision)
        while len(self._policy_sets) > limits.REPLAY_POLICY_SETS:
            self._policy_sets.popitem(last=False)
        return policy_set
