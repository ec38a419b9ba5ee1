"""Random rules: buffers of all forms and both scopes, exposure blocks, and routing with all of its limits."""

from __future__ import annotations

import random
from collections.abc import Mapping

CONDITIONS = (
    "",
    "when: {location.type: store}, ",
    "when: {stock.available: {at_least: 8}}, ",
    "when: {stock.available: {at_most: 6}}, ",
    "when: {stock.on_hand: {more_than: 5}}, ",
    "when: {order.unit_count: {at_least: 9}}, ",
    "when: {stock.age_minutes: {more_than: 30}}, ",
)
"""Conditions of buffer rules."""
OF_A_LOCATION = ("location.", "stock.age_minutes")
"""Facts that buffer rules of a channel's total do not have."""
BLOCKS = (
    "{stock.count_confidence: {less_than: 0.5}}",
    "{stock.available: {less_than: 3}}",
    "{location.type: store, order.unit_count: {more_than: 10}}",
)
RANKS = ("[priority]", "[fewest_shipments, priority]", "[deepest_stock]", "[covers_most, fewest_shipments]")
LIMITS = ("", "", "max_shipments: 1, ", "max_shipments: 2, ", "ship_complete: true, ")
SOLD_MAY_USE = ("[]", "[]", "[buffer]", "[blocked]", "[buffer, blocked]")


def random_rules(seed: int, *, with_limits: bool = True) -> Mapping[str, str]:
    """Rule files by name, without exception rules; the same for the same seed.

    Without limits one policy routes every order, in any number of shipments.
    """
    dice = random.Random(seed)
    files = {f"{scope}.yaml": _buffers(dice, scope) for scope in ("location", "channel") if dice.random() < 0.7}
    if dice.random() < 0.5:
        files["blocks.yaml"] = _blocks(dice)
    return files | {"routing.yaml": _routing(dice, with_limits=with_limits)}


def _buffers(dice: random.Random, scope: str) -> str:
    rules = []
    for number in range(dice.randint(1, 3)):
        condition = dice.choice(
            [x for x in CONDITIONS if scope == "location" or not any(y in x for y in OF_A_LOCATION)]
        )
        effect = f"hold_back: {_hold_back(dice, scope)}"
        if scope == "channel" and dice.random() < 0.4:
            effect = dice.choice([f"cap: {dice.randint(1, 20)}", f"publish_zero_at_or_below: {dice.randint(1, 4)}"])
        rules.append(f"  - {{name: {scope}-{number}, {condition}{effect}}}\n")
    combine = dice.choice(["largest", "sum"])
    return f"kind: buffer\nname: {scope}\nscope: {scope}\ncombine: {combine}\nrules:\n{''.join(rules)}"


def _hold_back(dice: random.Random, scope: str) -> str:
    window = "stock_age" if scope == "location" else "12h"
    form = dice.choice(
        [
            f"units: {dice.randint(1, 5)}",
            f"percent: {dice.choice([10, 25, 40])}",
            f"days_of_cover: {dice.randint(1, 2)}",
            f"expected_sales: {{during: {window}, service_level: 0.9}}",
        ]
    )
    bounds = dice.choice(["", "", ", minimum: 1", ", maximum: 4"])
    return f"{{{form}{bounds}}}"


def _blocks(dice: random.Random) -> str:
    return f"kind: exposure\nname: blocks\nrules:\n  - {{name: block, when: {dice.choice(BLOCKS)}, block: not now}}\n"


def _routing(dice: random.Random, *, with_limits: bool) -> str:
    policies = [_policy(dice, 30, dice.choice(LIMITS) if with_limits else "")]
    if with_limits and dice.random() < 0.3:
        policies.insert(0, _policy(dice, 20, "only: {location.type: warehouse}, otherwise: next, "))
    if with_limits and dice.random() < 0.3:
        policies.insert(0, _policy(dice, 10, "applies_to: {order.unit_count: {less_than: 6}}, " + dice.choice(LIMITS)))
    return "kind: routing\npolicies:\n" + "".join(policies)


def _policy(dice: random.Random, position: int, entries: str) -> str:
    rank, may_use = dice.choice(RANKS), dice.choice(SOLD_MAY_USE)
    used = "" if may_use == "[]" else f"sold_may_use: {may_use}, "
    return f"  - {{name: policy-{position}, position: {position}, {entries}{used}rank: {rank}}}\n"
