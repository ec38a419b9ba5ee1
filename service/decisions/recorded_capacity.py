"""What was taken of locations' capacity as decision inputs, for one decision after the other.

Of the orders of a transaction, each changes what is taken of a period or two. The bytes of all others are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.capacity import NOTHING_USED, CapacityFigures, CapacityPeriod, CapacityUse
from service.decisions.decision_inputs import capacity_message
from truestock.v1 import decision_pb2


class RecordedCapacity:
    """Serializes what was taken of the capacity of some locations. For one thread at a time."""

    __slots__ = ("_location_ids", "_records", "_used")

    def __init__(self, location_ids: frozenset[str]) -> None:
        self._location_ids = location_ids
        self._used: Mapping[CapacityPeriod, CapacityUse] = {}
        self._records: list[_PeriodRecord] = []
        """Those of the periods of `_used` at the locations, in order."""

    def content(self, figures: CapacityFigures) -> bytes:
        """DecisionInputs with what was taken of each period, in their order."""
        used = figures.used
        if used.keys() != self._used.keys():
            known = {record.period: record for record in self._records}
            periods = sorted([period for period in used if period.location_id in self._location_ids])
            self._records = [known.get(period) or _PeriodRecord(period) for period in periods]
        self._used = used
        return b"".join([record.content(used[record.period]) for record in self._records])


class _PeriodRecord:
    """What was taken of one period, as it was serialized last."""

    __slots__ = ("_content", "_inputs", "_message", "_use", "period")

    def __init__(self, period: CapacityPeriod) -> None:
        self.period = period
        self._inputs = decision_pb2.DecisionInputs(capacity_used=[capacity_message(period, NOTHING_USED)])
        self._message = self._inputs.capacity_used[0]
        self._use: CapacityUse | None = None
        self._content = b""

    def content(self, use: CapacityUse) -> bytes:
        if use != self._use:
            self._message.order_count, self._message.unit_count = use
            self._use, self._content = use, self._inputs.SerializeToString(deterministic=True)
        return self._content
