"""Audit events of stock that people counted or corrected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from policies.stock.counting import ChangeResult
from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.database.database import Connection
from service.feeds.change_processing import RecordedChange
from service.feeds.stock_change import StockChange


async def record(connection: Connection, results: Iterable[RecordedChange]) -> None:
    """Writes an event for each change by hand that took effect. Those of feeds are movements only."""
    await audit_log.record(connection, [_audited(x) for x in results if x.before and x.result is ChangeResult.ACCEPTED])


def _audited(result: RecordedChange) -> AuditedChange:
    change, before = result.change, result.before
    assert before is not None
    old = {"on_hand": before.on_hand, "unavailable": before.unavailable}
    new = {"on_hand": result.on_hand, **_reported(change), "source": change.source, "change_id": change.change_id}
    level = f"{change.sku}/{change.location_id}"
    kind = "counted" if change.count else change.movement.kind if change.movement else "untracked"
    return AuditedChange(audit_log.STOCK, "stock_level", level, kind, old, new)


def _reported(change: StockChange) -> dict[str, Any]:
    """What the person said."""
    values: dict[str, Any] = {"effective_time": change.effective_time}
    if change.count is not None:
        values["counted"] = change.count.units
    if change.movement is not None:
        values |= {"moved": change.movement.units, "reason": change.movement.reason}
    return {name: value for name, value in values.items() if value is not None}
