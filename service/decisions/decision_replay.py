"""Deciding once more, from what was stored, by the rules of that time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, timedelta

from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service import limits
from service.database.database import Connection, Database
from service.decisions.decision_inputs import inputs_of
from service.decisions.decision_log import StoredDecision
from service.decisions.decision_messages import decision_message
from service.errors import NotReplayable, Overloaded
from service.policy import policy_store
from service.policy.thread_switching import FAST_SWITCHING
from service.rpc import idempotency
from truestock.v1 import decision_pb2


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came out now. `differing_field` is the first in which it differs from what was stored, empty if none."""

    decision: decision_pb2.Decision
    identical: bool
    differing_field: str


class DecisionReplayer:
    """Replays one decision at a time, in a thread of its own; some more may wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replays")
        self._policy_sets: OrderedDict[str, PolicySet] = OrderedDict()
        self._waiting_count = 0

    async def run(self, stored: StoredDecision) -> ReplayResult:
        """Raises NotReplayable where what it takes is not kept, and Overloaded where too many wait."""
        if stored.inputs is None:
            reason = "only a short record of it is kept: it refused a hold, its inputs were too long or are too old"
            raise NotReplayable(str(stored.id), reason)
        if self._waiting_count > limits.REPLAYS_WAITING:
            raise Overloaded(self._waiting_count, timedelta(seconds=1), "replays of decisions")
        self._waiting_count += 1
        try:
            files = await self._files(stored)
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._replay, stored, files)
        except BaseException:
            self._waiting_count -= 1
            raise
        # A caller who hangs up does not end the thread's work, so it is counted until it is over.
        work.add_done_callback(self._done)
        return await asyncio.shield(work)

    def _done(self, work: asyncio.Future[ReplayResult]) -> None:
        self._waiting_count -= 1
        if not work.cancelled():
            # Also where nobody waits any more: what has been looked at is not reported as lost.
            work.exception()

    async def _files(self, stored: StoredDecision) -> dict[str, bytes]:
        """The rules of that time; none where they are ready."""
        if stored.policy_revision in self._policy_sets:
            return {}

        async def work(connection: Connection) -> dict[str, bytes]:
            return await policy_store.files(connection, stored.policy_revision)

        return await self._database.unlocked("policy_files", work)

    def _replay(self, stored: StoredDecision, files: Mapping[str, bytes]) -> ReplayResult:
        assert stored.inputs is not None
        with FAST_SWITCHING:
            policy_set = self._policy_set(stored, files)
            decision = inputs_of(stored.inputs).decide(policy_set)
            now = stored.inputs.now.ToDatetime(tzinfo=UTC)
            made = decision_message(decision, policy_set.revision, stored.id, now)
        identical = idempotency.serialized(made) == stored.explanation
        known = decision_pb2.Decision.FromString(stored.explanation)
        return ReplayResult(made, identical, "" if identical else idempotency.differing_field(known, made))

    def _policy_set(self, stored: StoredDecision, files: Mapping[str, bytes]) -> PolicySet:
        """The rules of that time, compiled for this thread alone; the last few stay ready."""
        revision = stored.policy_revision
        known = self._policy_sets.get(revision)
        if known is None:
            if not files:
                raise NotReplayable(str(stored.id), f"its rules, {revision}, are not kept any more")
            known = read(files).policy_set
            if known is None:
                reason = f"this version of Truestock, unlike {stored.software_version}, cannot read its rules"
                raise NotReplayable(str(stored.id), f"{reason}, {revision}")
            self._policy_sets[revision] = known
        self._policy_sets.move_to_end(revision)
        while len(self._policy_sets) > limits.REPLAY_POLICY_SETS:
            self._policy_sets.popitem(last=False)
        return known
