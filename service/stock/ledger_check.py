"""Checks that every stock level is the sum of its movements and every promise is covered: `truestock verify-ledger`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Text, and_, case, func, literal_column, or_, select, true, union_all

from policies.stock.counting import ON_HAND_SIGNS
from policies.stock.feeds import TRANSFERS
from policies.stock.unavailable import OTHER, REASONS
from service.database.database import Connection, Statement, parameter
from service.database.tables import (
    allocation,
    order_line,
    promise,
    shortage,
    stock_level,
    stock_movement,
    stock_unavailable,
    transfer,
    transfer_line,
)
from service.stock.stock_history import movement_effect

_MOST_LISTED = 50
"""Differences listed for each check; all of them are counted."""

_FIGURES = ("on_hand", "unavailable", "held", "allocated")
_level, _movement = stock_level.c, stock_movement.c


def _level_differences() -> Select[Any]:
    """Stock levels whose figures are not the sum of their movements."""
    sums = (
        select(
            _movement.sku,
            _movement.location_id,
            *(func.sum(_movement[f"{name}_delta"]).label(name) for name in _FIGURES),
        )
        .group_by(_movement.sku, _movement.location_id)
        .subquery("sums")
    )
    differs = or_(*(func.coalesce(_level[name], 0) != func.coalesce(sums.c[name], 0) for name in _FIGURES))
    joined = stock_level.join(
        sums, and_(sums.c.sku == _level.sku, sums.c.location_id == _level.location_id), isouter=True, full=True
    )
    return (
        select(
            func.coalesce(_level.sku, sums.c.sku).label("sku"),
            func.coalesce(_level.location_id, sums.c.location_id).label("location_id"),
            *(func.coalesce(_level[name], 0).label(name) for name in _FIGURES),
            *(func.coalesce(sums.c[name], 0).label(f"{name}_sum") for name in _FIGURES),
        )
        .select_from(joined)
        .where(differs)
    )


def _reason_differences() -> Select[Any]:
    """Unavailable units of one reason that are not the sum of the movements with that reason."""
    has_reason = _movement.reason.in_([literal_column(f"'{reason}'") for reason in REASONS])
    reason = case((has_reason, _movement.reason), else_=literal_column(f"'{OTHER}'")).label("reason")
    movements = (
        select(_movement.sku, _movement.location_id, reason, func.sum(_movement.unavailable_delta).label("units"))
        .where(_movement.unavailable_delta != literal_column("0"))
        .group_by(_movement.sku, _movement.location_id, reason)
        .subquery("moved")
    )
    keys = ("sku", "location_id", "reason")
    joined = stock_unavailable.join(
        movements, and_(*(movements.c[key] == stock_unavailable.c[key] for key in keys)), isouter=True, full=True
    )
    stored, summed = func.coalesce(stock_unavailable.c.unit_count, 0), func.coalesce(movements.c.units, 0)
    return (
        select(
            *(func.coalesce(stock_unavailable.c[key], movements.c[key]).label(key) for key in keys),
            stored.label("unavailable"),
            summed.label("unavailable_sum"),
        )
        .select_from(joined)
        .where(stored != summed)
    )


def _reason_total_differences() -> Select[Any]:
    """Stock levels whose unavailable units are not the sum of their units by reason."""
    by_reason = (
        select(
            stock_unavailable.c.sku,
            stock_unavailable.c.location_id,
            func.sum(stock_unavailable.c.unit_count).label("units"),
        )
        .group_by(stock_unavailable.c.sku, stock_unavailable.c.location_id)
        .subquery("by_reason")
    )
    joined = stock_level.join(
        by_reason,
        and_(by_reason.c.sku == _level.sku, by_reason.c.location_id == _level.location_id),
        isouter=True,
        full=True,
    )
    total, summed = func.coalesce(_level.unavailable, 0), func.coalesce(by_reason.c.units, 0)
    return (
        select(
            func.coalesce(_level.sku, by_reason.c.sku).label("sku"),
            func.coalesce(_level.location_id, by_reason.c.location_id).label("location_id"),
            total.label("unavailable"),
            summed.label("unavailable_by_reason"),
        )
        .select_from(joined)
        .where(total != summed)
    )


def _promise_differences() -> Select[Any]:
    """Stock levels whose held and allocated units are not the units promised there."""

    def units_in_state(state: str) -> Any:
        units = func.sum(promise.c.unit_count).filter(promise.c.state == literal_column(f"'{state}'"))
        return func.coalesce(units, 0).label(state)

    promised = (
        select(promise.c.sku, promise.c.location_id, units_in_state("held"), units_in_state("allocated"))
        .group_by(promise.c.sku, promise.c.location_id)
        .subquery("promised")
    )
    pairs = [(func.coalesce(_level[name], 0), func.coalesce(promised.c[name], 0)) for name in ("held", "allocated")]
    joined = stock_level.join(
        promised,
        and_(promised.c.sku == _level.sku, promised.c.location_id == _level.location_id),
        isouter=True,
        full=True,
    )
    return (
        select(
            func.coalesce(_level.sku, promised.c.sku).label("sku"),
            func.coalesce(_level.location_id, promised.c.location_id).label("location_id"),
            *(column.label(name) for (column, _), name in zip(pairs, ("held", "allocated"), strict=True)),
            *(column.label(f"{name}_promised") for (_, column), name in zip(pairs, ("held", "allocated"), strict=True)),
        )
        .select_from(joined)
        .where(or_(*(a != b for a, b in pairs)))
    )


def _line_differences() -> Select[Any]:
    """Lines of held or confirmed orders whose units are not all promised, shipped, short or cancelled."""

    def total(table: Any, column: Any, name: str) -> Any:
        return (
            select(func.coalesce(func.sum(column), 0))
            .where(table.c.allocation_id == order_line.c.allocation_id, table.c.line_id == order_line.c.line_id)
            .scalar_subquery()
            .label(name)
        )

    promised = total(promise, promise.c.unit_count, "promised")
    shipped = total(promise, promise.c.shipped, "shipped")
    short = total(shortage, shortage.c.unit_count, "short")
    live = or_(
        allocation.c.state == literal_column("'confirmed'"),
        and_(allocation.c.state == literal_column("'held'"), allocation.c.expire_time > func.statement_timestamp()),
    )
    accounted = promised.element + shipped.element + short.element + order_line.c.cancelled
    return (
        select(
            order_line.c.allocation_id,
            order_line.c.line_id,
            order_line.c.unit_count,
            order_line.c.cancelled,
            promised,
            shipped,
            short,
        )
        .join(allocation, allocation.c.id == order_line.c.allocation_id)
        .where(live, order_line.c.unit_count != accounted)
    )


def _transfer_differences() -> Select[Any]:
    """Transfer lines whose dispatched, received or returned units differ from the stock movements."""
    movements = (
        select(
            _movement.reason.label("transfer_id"),
            _movement.sku,
            _movement.location_id,
            # A movement that a count already includes changes no figure, but its units did move.
            func.sum(movement_effect(_movement.on_hand_delta, ON_HAND_SIGNS)).label("units"),
        )
        .where(_movement.source == literal_column(f"'{TRANSFERS}'"))
        .group_by(_movement.reason, _movement.sku, _movement.location_id)
        .subquery("moved")
    )
    columns = (transfer_line.c.transfer_id, transfer_line.c.sku)
    lines = transfer.join(transfer_line, transfer_line.c.transfer_id == transfer.c.id)
    dispatched = select(
        *columns,
        transfer.c.from_location_id.label("location_id"),
        (transfer_line.c.returned - transfer_line.c.dispatched).label("units"),
    )
    received = select(*columns, transfer.c.to_location_id.label("location_id"), transfer_line.c.received.label("units"))
    stated = union_all(dispatched.select_from(lines), received.select_from(lines)).subquery("stated")
    keys = ("transfer_id", "sku", "location_id")
    joined = movements.join(stated, and_(*(movements.c[key] == stated.c[key] for key in keys)), isouter=True, full=True)
    moved_units, stated_units = func.coalesce(movements.c.units, 0), func.coalesce(stated.c.units, 0)
    return (
        select(
            *(func.coalesce(movements.c[key], stated.c[key]).label(key) for key in keys),
            moved_units.label("moved"),
            stated_units.label("on_transfer"),
        )
        .select_from(joined)
        .where(moved_units != stated_units)
    )


def _check(query: Select[Any]) -> Statement:
    differing = query.subquery("differing")
    return Statement(select(differing, func.count().over().label("differences")).limit(_MOST_LISTED))


_CHECKS = {
    "stock level differs from the sum of its movements": _check(_level_differences()),
    "unavailable units of a reason differ from the sum of their movements": _check(_reason_differences()),
    "unavailable units differ from the sum over their reasons": _check(_reason_total_differences()),
    "held or allocated units differ from the units promised": _check(_promise_differences()),
    "order line has units that are not promised, shipped, short or cancelled": _check(_line_differences()),
    "transfer differs from its stock movements": _check(_transfer_differences()),
}
_in_transit = (
    select(func.coalesce(func.sum(func.greatest(0, transfer_line.c.dispatched - transfer_line.c.received)), 0))
    .join(transfer, transfer.c.id == transfer_line.c.transfer_id)
    .where(transfer.c.complete_time.is_(None))
)

_TOTALS = Statement(
    select(
        select(func.count()).select_from(stock_level).scalar_subquery().label("levels"),
        select(func.count()).select_from(stock_movement).scalar_subquery().label("movements"),
        *(
            select(func.coalesce(func.sum(_level[name]), 0)).scalar_subquery().label(f"{name}_units")
            for name in _FIGURES
        ),
        *(
            select(func.coalesce(func.sum(column), 0)).scalar_subquery().label(name)
            for name, column in (("promised_units", promise.c.unit_count), ("short_units", shortage.c.unit_count))
        ),
        _in_transit.scalar_subquery().label("in_transit_units"),
    )
)
_MOVED_UNITS = Statement(
    select(_movement.kind, func.sum(_movement.on_hand_delta).label("units"))
    .group_by(_movement.kind)
    .order_by(_movement.kind)
)


_LIMIT_RESOURCES = Statement(
    select(
        func.set_config("statement_timeout", parameter("milliseconds", Text), true()),
        func.set_config("max_parallel_workers_per_gather", "0", true()),
    )
)


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """Result of a ledger check: `totals` count rows and units; `differences` are sentences, at most 50 of a kind."""

    totals: dict[str, int]
    on_hand_by_kind: dict[str, int]
    differences: tuple[str, ...]
    difference_count: int

    @property
    def balanced(self) -> bool:
        """Whether the check found no difference."""
        return self.difference_count == 0

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "balanced": self.balanced,
            **self.totals,
            "on_hand_by_kind": self.on_hand_by_kind,
            "difference_count": self.difference_count,
            "differences": list(self.differences),
        }


async def verify(connection: Connection, *, statement_seconds: float = 0) -> LedgerReport:
    """Checks all stock in one database snapshot and locks nothing, so it can run beside a busy service.

    Raises asyncpg.QueryCanceledError if a statement takes longer than `statement_seconds`; 0 means no limit.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # The check uses one core and leaves the others to the service.
        await _LIMIT_RESOURCES.rows(connection, milliseconds=str(int(statement_seconds * 1000)))
        totals = (await _TOTALS.rows(connection))[0]
        on_hand_by_kind = {
            row["kind"]: int(row["units"]) for row in await _MOVED_UNITS.rows(connection) if row["units"]
        }
        differences: list[str] = []
        difference_count = 0
        for sentence, check in _CHECKS.items():
            rows = await check.rows(connection)
            difference_count += rows[0]["differences"] if rows else 0
            differences += [_sentence(sentence, row) for row in rows]
    return LedgerReport(
        {name: int(units) for name, units in totals.items()}, on_hand_by_kind, tuple(differences), difference_count
    )


def _sentence(problem: str, row: Any) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in row.items() if name != "differences")
    return f"{problem}: {figures}"
