"""What stored decisions would have been under other rules: compares them in the sandbox process.

A separate process, because any caller may send the rules: see `policy.rule_sandbox`. Nothing here is slow to import.
"""

from __future__ import annotations

import pickle
import sys
import time

from policies.decisions.decision import Decision
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service import limits
from service.decisions.decision_inputs import inputs_of
from service.decisions.decision_messages import difference
from service.decisions.destination_erasure import compares_more
from service.decisions.recorded_facts import lacking_facts
from service.decisions.replay_task import ReplayedDecision, ReplayTask
from service.policy.policy_messages import policy_problem
from service.policy.sandbox_process import confined
from truestock.v1 import decision_pb2, order_pb2, policy_service_pb2 as policy_pb

NO_INPUTS = "only a summary is stored: it refused a hold, or its inputs were too long or are too old"


class NotDecidable(Exception):
    """A decision that cannot be compared; the message says why."""


def compare(task: ReplayTask, *, seconds: float) -> policy_pb.ReplayDecisionsResponse:
    """Compares the decisions in their order, at least one of them, until `seconds` have passed."""
    started = time.monotonic()
    reading = read(task.files)
    if reading.policy_set is None:
        return policy_pb.ReplayDecisionsResponse(problems=map(policy_problem, reading.problems))
    response = policy_pb.ReplayDecisionsResponse(policy_revision=reading.policy_set.revision)
    past = _PastRules(task, reading.policy_set)
    for decision in task.decisions:
        if response.comparisons and time.monotonic() - started > seconds:
            break
        response.comparisons.append(_comparison(task, decision, past, reading.policy_set))
    return response


class _PastRules:
    """The rules of past decisions, each compiled once."""

    def __init__(self, task: ReplayTask, candidate: PolicySet) -> None:
        self._files = task.past_files
        self._policy_sets: dict[str, PolicySet | None] = {candidate.revision: candidate}

    def of(self, decision: ReplayedDecision) -> PolicySet:
        """The rules that decided. Raises NotDecidable."""
        revision = decision.policy_revision
        if revision not in self._policy_sets:
            files = self._files.get(revision)
            if not files:
                raise NotDecidable(f"its rules, {revision}, are no longer stored")
            self._policy_sets[revision] = read(files).policy_set
        policy_set = self._policy_sets[revision]
        if policy_set is None:
            version = decision.software_version
            raise NotDecidable(f"this version of Truestock, unlike {version}, cannot read its rules, {revision}")
        return policy_set


def _comparison(
    task: ReplayTask, decision: ReplayedDecision, past: _PastRules, candidate: PolicySet
) -> policy_pb.DecisionComparison:
    try:
        return _compared(task, decision, past.of(decision), candidate)
    except NotDecidable as error:
        cause = str(error)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        cause = f"re-running it failed in this version of Truestock: {type(error).__name__}: {error}"
    return policy_pb.DecisionComparison(result=policy_pb.DecisionComparison.RESULT_NOT_DECIDABLE, cause=cause)


def _compared(
    task: ReplayTask, decision: ReplayedDecision, past: PolicySet, candidate: PolicySet
) -> policy_pb.DecisionComparison:
    """Raises NotDecidable."""
    catalog = task.catalogs.get(decision.catalog_hash or "")
    if decision.inputs is None or catalog is None:
        raise NotDecidable(NO_INPUTS)
    message = decision_pb2.DecisionInputs.FromString(catalog + decision.inputs)
    inputs = inputs_of(message)
    lacking = sorted(lacking_facts(message, inputs.world.products.values(), past, candidate))
    if lacking:
        raise NotDecidable(f"{', '.join(lacking)} was not recorded for it, which these rules compare")
    if past is not candidate and compares_more(candidate, message.order.erased_destination):
        raise NotDecidable("its destination was dropped, and these rules compare more of it than was kept")
    original = inputs.decide(past)
    field = difference(decision.explanation, inputs.message_of(original, past, decision.id))
    if field:
        raise NotDecidable(
            f"with its own rules this version of Truestock decides it otherwise than {decision.software_version} did: "
            f"{field} differs"
        )
    replayed = original if past is candidate else inputs.decide(candidate)
    is_same = _result(original) == _result(replayed)
    comparison = policy_pb.DecisionComparison
    return comparison(
        result=comparison.RESULT_SAME if is_same else comparison.RESULT_DIFFERENT,
        original=_plan(original, past),
        replayed=_plan(replayed, candidate),
    )


def _result(decision: Decision) -> tuple[object, ...]:
    """What has to be equal for two results to be the same; the rules that led to them may differ."""
    shortages = sorted((x.line_id, x.sku, x.kind, x.unit_count) for x in decision.shortages)
    return decision.outcome, decision.units, shortages, decision.needs_review


def _plan(decision: Decision, policy_set: PolicySet) -> policy_pb.DecisionPlan:
    return policy_pb.DecisionPlan(
        policy_revision=policy_set.revision,
        routing_policy=decision.policy.name,
        routing_policy_source=str(decision.policy.source),
        outcome=order_pb2.Outcome.Value(f"OUTCOME_{decision.outcome.name}"),
        units=[
            decision_pb2.PromisedUnits(sku=sku, location_id=location_id, unit_count=count)
            for (sku, location_id), count in decision.units.items()
        ],
        shortages=[
            policy_pb.ShortUnits(
                line_id=short.line_id,
                sku=short.sku,
                unit_count=short.unit_count,
                kind=short.kind.value,
                rules=short.rules,
            )
            for short in decision.shortages
        ],
        review_rules=[rule.name for rule in decision.reviews],
    )


def main(*arguments: str) -> None:
    """Compares the decisions of the task on standard input; `arguments` are those of `confined`."""
    with confined(*arguments):
        # The service wrote the task, so it can be trusted; the rules in it are data.
        task: ReplayTask = pickle.load(sys.stdin.buffer)
        sys.stdout.buffer.write(compare(task, seconds=limits.REPLAY_SECONDS).SerializeToString())


if __name__ == "__main__":
    main(*sys.argv[1:])
