"""Stored cancellations: how many units of each line they cancel, in whatever order messages arrive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from policies.domain.listings import OrderedItem
from policies.domain.model import CANCELLATION_FAULTS, OrderLine

BUYER, SELLER, CARRIER, FRAUD = "buyer", "seller", "carrier", "fraud"
FAULTS = CANCELLATION_FAULTS
UNKNOWN = "unknown"
"""The fault of a cancellation of which nobody stated it, in metrics."""

PERMANENT = datetime(9999, 12, 31, tzinfo=UTC)
"""The time of a cancellation that applies to all later versions of the order's contents."""


@dataclass(frozen=True, slots=True)
class CancellationCause:
    """Who caused a cancellation, one of FAULTS, and why; None if nobody stated it."""

    fault: str | None = None
    reason: str | None = None

    def sentence(self) -> str:
        """The cause as a sentence after a space; empty if nothing was stated."""
        parts = [f"Fault: {self.fault}." if self.fault else "", f"Reason: {self.reason}." if self.reason else ""]
        return "".join(f" {part}" for part in parts if part)


NO_CAUSE = CancellationCause()
"""The cause of a cancellation of which nothing was stated."""


@dataclass(frozen=True, slots=True)
class CancelledUnits:
    """Units that were cancelled together, and why."""

    unit_count: int
    cause: CancellationCause = NO_CAUSE


@dataclass(frozen=True, slots=True)
class PendingCancellation:
    """Cancelled units of one line or, without a line, all units not yet shipped; items if `item_id` is set.

    `cancel_time` is by the channel's clock, and so is `latest_time`, the latest at which it can have happened; None is
    unknown. `is_applied` is false until the order's contents have arrived.
    """

    line_id: str = ""
    unit_count: int = 0
    cancel_time: datetime | None = None
    is_applied: bool = False
    latest_time: datetime | None = None
    cause: CancellationCause = NO_CAUSE
    item_id: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it cancels the whole order."""
        return not self.line_id


def applies_to(pending: PendingCancellation, contents_time: datetime | None) -> bool:
    """Whether a cancellation of a line applies to contents that the channel stated at `contents_time`.

    Contents stated at or after the cancellation already include it. If either has no time, it applies to the first
    contents that arrive.
    """
    if pending.cancel_time == PERMANENT:
        return True
    if pending.cancel_time is None or contents_time is None:
        return not pending.is_applied
    return pending.cancel_time > contents_time


def stands(pending: PendingCancellation, sold_time: datetime | None) -> bool:
    """Whether a cancellation of the whole order stands although the channel stated it as sold at `sold_time`.

    Only a sale that is certainly newer ends it.
    """
    return sold_time is None or pending.latest_time is None or sold_time <= pending.latest_time


@dataclass(slots=True, unsafe_hash=True)
class PriorCancellations:
    """Units by line that are already cancelled in the previous contents, which were stated at `contents_time`."""

    units: Final[Mapping[str, int]] = field(default_factory=dict)
    contents_time: Final[datetime | None] = None


NO_PRIOR_CANCELLATIONS = PriorCancellations()


def cancelled_units(
    lines: Sequence[OrderLine],
    pending: Iterable[PendingCancellation],
    contents_time: datetime | None,
    prior: PriorCancellations,
) -> dict[str, int]:
    """Units to cancel of each line of an order's contents, by line id; lines without any are omitted.

    Applied cancellations with a time are removed from the prior ones first and then assessed again by their time.
    """
    pending = units_of_lines(pending, lines)
    units: dict[str, int] = dict(prior.units)
    for cancellation in pending:
        if cancellation.is_applied and _is_reassessed(cancellation, contents_time):
            was_applied = prior.contents_time is None or applies_to(cancellation, prior.contents_time)
            units[cancellation.line_id] = max(
                0, units.get(cancellation.line_id, 0) - cancellation.unit_count * was_applied
            )
    for cancellation in pending:
        if applies_to(cancellation, contents_time):
            units[cancellation.line_id] = units.get(cancellation.line_id, 0) + cancellation.unit_count
    ordered = {line.line_id: line.unit_count for line in lines}
    return {line_id: min(count, ordered[line_id]) for line_id, count in units.items() if count and line_id in ordered}


def units_of_lines(pending: Iterable[PendingCancellation], lines: Sequence[OrderLine]) -> list[PendingCancellation]:
    """The cancellations of lines, in units of their SKUs: those of kits as units of each component."""
    items = {line.line_id: line.item for line in lines}
    of_lines = _of_components([cancellation for cancellation in pending if not cancellation.is_whole], lines)
    return [_in_units(cancellation, items) for cancellation in of_lines]


def _of_components(pending: list[PendingCancellation], lines: Sequence[OrderLine]) -> list[PendingCancellation]:
    """The cancellations, with those of kits, by the line on which the kit was ordered, as units of its components."""
    components: dict[str, list[OrderLine]] = {}
    for line in lines:
        if line.kit is not None:
            components.setdefault(line.kit.line_id, []).append(line)
    if not components:
        return pending
    return [
        replace(cancellation, line_id=line.line_id, unit_count=cancellation.unit_count * size)
        if line is not None
        else cancellation
        for cancellation in pending
        for line, size in _parts(cancellation, components.get(cancellation.line_id))
    ]


def _parts(cancellation: PendingCancellation, components: list[OrderLine] | None) -> list[tuple[OrderLine | None, int]]:
    """The lines of a cancelled kit's components, with the units of each in one kit; items count these themselves."""
    if components is None:
        return [(None, 1)]
    is_of_items = cancellation.item_id is not None
    return [(line, 1 if is_of_items or line.kit is None else line.kit.unit_count) for line in components]


def _in_units(pending: PendingCancellation, items: Mapping[str, OrderedItem | None]) -> PendingCancellation:
    """The cancellation in units of its line's SKU; one of items of a line that ordered none counts units."""
    item = items.get(pending.line_id)
    if pending.item_id is None or item is None:
        return pending
    return replace(pending, unit_count=item.units(pending.unit_count), item_id=None)


def _is_reassessed(pending: PendingCancellation, contents_time: datetime | None) -> bool:
    return pending.cancel_time == PERMANENT or (pending.cancel_time is not None and contents_time is not None)
