"""How far the counts of a product at a location can be trusted, learnt from what people found there."""

from __future__ import annotations

NEWEST_WEIGHT = 0.3
"""What the newest evidence weighs against all before it."""

FULL_CONFIDENCE = 1.0
"""How far a figure is trusted of which nobody knows better."""

NOT_FOUND = 0.0
"""The evidence of a location that could not find what it was asked for."""


def count_accuracy(counted: int, expected: int) -> float:
    """The evidence, 0 to 1, of a person who counted so many units where so many were expected.

    1 less the difference as a share of the larger of the two, which a single unit is at least.
    """
    return 1 - min(1.0, abs(counted - expected) / max(counted, expected, 1))


def updated_confidence(before: float | None, evidence: float) -> float:
    """The confidence, 0 to 1, after one more piece of evidence.

    An exponentially weighted mean: each piece weighs `1 - NEWEST_WEIGHT` of the one after it. Without any before it a
    figure was trusted, so that one thing that was not found does not condemn a location.
    """
    trusted = FULL_CONFIDENCE if before is None else before
    return NEWEST_WEIGHT * evidence + (1 - NEWEST_WEIGHT) * trusted
