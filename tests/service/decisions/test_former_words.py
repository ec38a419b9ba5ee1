"""A decision that an earlier version explained in other words replays as the same decision."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from policies.explanation import unit_count_text
from service.decisions.former_words import in_current_words
from service.rpc.message_differences import serialized
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD
from truestock.v1 import decision_pb2

counts = st.none() | st.integers(0, 1_000_000)
LIMITS = """
kind: buffer
name: limits
scope: channel
rules:
  - {name: last-units, publish_zero_at_or_below: 1, cap: 50, hold_back: {units: 2}}
"""


def explained(effect: str, reason: str = "no-stock") -> bytes:
    fired = decision_pb2.FiredRule(rule="r", source="rules/b.yaml:3", effect=effect)
    dropped = decision_pb2.DroppedCandidate(location_id="dc", reason=reason, rule="told at most 3 units")
    return serialized(decision_pb2.Decision(decision_id="1", fired_rules=[fired], dropped_candidates=[dropped]))


@given(held_back=counts, threshold=counts, cap=counts)
def test_buffers_as_version_0_1_said_them(held_back: int | None, threshold: int | None, cap: int | None) -> None:
    former, current = [], []
    for count, was, now in (
        (held_back, "held back", "held back"),
        (threshold, "told 0 at or below", "published as 0 at or below"),
        (cap, "told at most", "capped at"),
    ):
        former += [] if count is None else [f"{was} {unit_count_text(count)}"]
        current += [] if count is None else [f"{now} {unit_count_text(count)}"]

    assert in_current_words(explained(", ".join(former))) == explained(", ".join(current))


def test_exclusions_as_version_0_1_said_them() -> None:
    assert in_current_words(explained("not used by the routing policy", "only")) == explained(
        "excluded by the routing policy", "not-eligible"
    )


@pytest.mark.parametrize(
    "effect",
    [
        "blocked: told at most 3 units",
        "restricted: first, told 0 at or below 2 units",
        "by van, told at most 3 units, cost 5.00",
        "blocked: not used by the routing policy",
        "needs review",
        "capped at 3 units",
    ],
)
def test_the_words_of_planners_and_of_this_version_stay(effect: str) -> None:
    assert in_current_words(explained(effect)) == explained(effect)


async def test_a_decision_in_former_words_replays_as_the_same(retailers: RetailerMaker, tmp_path: Path) -> None:
    shutil.copytree(PLAIN_RULES, tmp_path / "rules")
    (tmp_path / "rules" / "limits.yaml").write_text(LIMITS)
    retailer = await retailers.make(tmp_path / "rules")
    await retailer.stock({("MUG", "dc"): 9})
    order = await retailer.allocate("A-1", {"MUG": 1}, HOLD)
    (now,) = [fired.effect for fired in order.decision.fired_rules]
    assert now == "held back 2 units, published as 0 at or below 1 unit, capped at 50 units"

    replays = []
    for former in ("held back 2 units, told 0 at or below 1 unit, told at most 50 units", now.replace("50", "60")):
        order.decision.fired_rules[0].effect = former
        await retailer.sql("UPDATE decision SET explanation = $1", serialized(order.decision))
        replays.append(await retailer.replay(order.decision.decision_id))

    assert [(x.identical, x.differing_field) for x in replays] == [(True, ""), (False, "fired_rules[0].effect")]
