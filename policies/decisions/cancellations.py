"""Cancellations that are kept: which units of an order's contents they take off, in any order of arrival."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from policies.domain.model import OrderLine

PERMANENT = datetime(9999, 12, 31, tzinfo=UTC)
"""The time of a cancellation that no contents have in them."""


@dataclass(frozen=True, slots=True)
class PendingCancellation:
    """Units of one line that were cancelled, or, without a line, all that has not left.

    `cancel_time` is by the channel's clock. `is_applied` is false while no contents of the order have come.
    """

    line_id: str = ""
    unit_count: int = 0
    cancel_time: datetime | None = None
    is_applied: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is about the whole order."""
        return not self.line_id


def applies_to(kept: PendingCancellation, contents_time: datetime | None) -> bool:
    """Whether a cancellation of a line takes units off contents that the channel stated at a time.

    Contents that are not older than it have it in them. Where either has no time, it takes units off the first
    contents that come.
    """
    if kept.cancel_time == PERMANENT:
        return True
    if kept.cancel_time is None or contents_time is None:
        return not kept.is_applied
    return kept.cancel_time > contents_time


@dataclass(frozen=True, slots=True)
class PriorCancellations:
    """Units by line that are cancelled and stay so, because the same contents are said again, stated at a time."""

    units: Mapping[str, int] = field(default_factory=dict)
    contents_time: datetime | None = None


def cancelled_units(
    lines: Sequence[OrderLine],
    kept: Iterable[PendingCancellation],
    contents_time: datetime | None,
    standing: PriorCancellations,
) -> dict[str, int]:
    """Units to take off each line of an order's contents, by line id; lines without any are left out.

    Of what stands cancelled, the kept cancellations with a time are told apart, and judged by it anew.
    """
    kept = [one for one in kept if not one.is_whole]
    units: dict[str, int] = dict(standing.units)
    for one in kept:
        if one.is_applied and _is_reassessed(one, contents_time):
            was_taken = standing.contents_time is None or applies_to(one, standing.contents_time)
            units[one.line_id] = max(0, units.get(one.line_id, 0) - one.unit_count * was_taken)
    for one in kept:
        if applies_to(one, contents_time):
            units[one.line_id] = units.get(one.line_id, 0) + one.unit_count
    most = {line.line_id: line.unit_count for line in lines}
    return {line_id: min(count, most[line_id]) for line_id, count in units.items() if count and line_id in most}


def _is_reassessed(kept: PendingCancellation, contents_time: datetime | None) -> bool:
    return kept.cancel_time == PERMANENT or (kept.cancel_time is not None and contents_time is not None)
