"""How reliable the counts of a product at a location are, learned from recounts and failed picks."""

from __future__ import annotations

NEWEST_WEIGHT = 0.3
"""Weight of the newest evidence; all earlier evidence together has the remainder."""

FULL_CONFIDENCE = 1.0
"""Confidence in a count for which there is no evidence yet."""

NOT_FOUND = 0.0
"""Evidence of a location that could not find the units of a shipment."""


def count_accuracy(counted: int, expected: int) -> float:
    """Evidence, 0 to 1, of a person's count against the expected units.

    1 minus the difference as a share of the larger number, which counts as at least 1.
    """
    return 1 - min(1.0, abs(counted - expected) / max(counted, expected, 1))


def updated_confidence(before: float | None, evidence: float) -> float:
    """The confidence, 0 to 1, after one more piece of evidence.

    An exponentially weighted mean: each piece weighs `1 - NEWEST_WEIGHT` of the one after it. The mean starts at
    FULL_CONFIDENCE, so that a single missing unit does not make a location unreliable.
    """
    previous = FULL_CONFIDENCE if before is None else before
    return NEWEST_WEIGHT * evidence + (1 - NEWEST_WEIGHT) * previous
