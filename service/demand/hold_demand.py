"""What HOLDs wanted and did not get, as rows that are written with the orders of their transaction.

The same order again is the same demand: of its units, only those count that no earlier attempt has counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from policies.decisions.unmet_demand import UnmetUnits, uncounted
from service.demand.demand_store import HOLD_COLUMNS, HOLD_CUT, HOLD_REFUSED, RULE_SEPARATOR
from service.metrics import Metrics

_CHANNEL, _CAUSE, _UNITS = (list(HOLD_COLUMNS).index(name) for name in ("channel_id", "cause", "unmet_count"))


@dataclass(frozen=True, slots=True)
class UnmetHold:
    """The units that one answer to a HOLD did not give it; `is_refused` if it gave nothing."""

    allocation_id: UUID
    channel_id: str
    order_id: str
    method: str
    policy_revision: str
    units: tuple[UnmetUnits, ...]
    is_refused: bool

    def exceeds(self, counted: Mapping[str, int]) -> bool:
        """Whether it lacks more units of a SKU than these."""
        units: dict[str, int] = {}
        for unmet in self.units:
            units[unmet.sku] = units.get(unmet.sku, 0) + unmet.unit_count
        return any(count > counted.get(sku, 0) for sku, count in units.items())


def rows(
    holds: Sequence[UnmetHold], counted: Mapping[UUID, Mapping[str, int]], now: datetime
) -> list[tuple[object, ...]]:
    """The rows, with values for HOLD_COLUMNS; `counted` has the units that each order counts already, by SKU."""
    # An order that came twice in one transaction counts what it lacked the first time.
    known = {id: dict(units) for id, units in counted.items()}
    ids = [hold.allocation_id for hold in holds]
    if len(set(ids)) < len(ids):
        known = {id: known.get(id, {}) for id in ids}
    written: list[tuple[object, ...]] = []
    for hold in holds:
        before = known.get(hold.allocation_id)
        units: Sequence[UnmetUnits] = hold.units
        if before is not None:
            units = uncounted(units, before)
            for unmet in units:
                before[unmet.sku] = before.get(unmet.sku, 0) + unmet.unit_count
        kind = HOLD_REFUSED if hold.is_refused else HOLD_CUT
        # In the order of HOLD_COLUMNS.
        written += [
            (
                *(now, kind, hold.channel_id, sku, wanted, met, unit_count, hold.method, cause, hold.policy_revision),
                *(RULE_SEPARATOR.join(rules) or None, hold.order_id, hold.allocation_id, line_id),
            )
            for line_id, sku, wanted, met, unit_count, cause, rules in units
        ]
    return written


def count(metrics: Metrics, written: Iterable[Sequence[Any]]) -> None:
    """Counts rows; to be called after the commit."""
    for row in written:
        metrics.orders.unmet_demand_units.labels(row[_CHANNEL], row[_CAUSE]).inc(row[_UNITS])
