"""The proof that every figure is the sum of its movements and every promise is kept: `truestock verify-ledger`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Text, and_, case, func, literal_column, or_, select, true, union_all

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

_MOST_LISTED = 50
"""Differences that are listed; all are counted."""

_FIGURES = ("on_hand", "unavailable", "held", "allocated")
_level, _movement = stock_level.c, stock_movement.c


def _level_differences() -> Select[Any]:
    """Levels whose figures are not the sum of their movements."""
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
    """Units that are not sellable for one reason, where they are not the sum of the movements with that reason."""
    named = _movement.reason.in_([literal_column(f"'{reason}'") for reason in REASONS])
    reason = case((named, _movement.reason), else_=literal_column(f"'{OTHER}'")).label("reason")
    moved = (
        select(_movement.sku, _movement.location_id, reason, func.sum(_movement.unavailable_delta).label("units"))
        .where(_movement.unavailable_delta != literal_column("0"))
        .group_by(_movement.sku, _movement.location_id, reason)
        .subquery("moved")
    )
    keys = ("sku", "location_id", "reason")
    joined = stock_unavailable.join(
        moved, and_(*(moved.c[key] == stock_unavailable.c[key] for key in keys)), isouter=True, full=True
    )
    known, summed = func.coalesce(stock_unavailable.c.unit_count, 0), func.coalesce(moved.c.units, 0)
    return (
        select(
            *(func.coalesce(stock_unavailable.c[key], moved.c[key]).label(key) for key in keys),
            known.label("unavailable"),
            summed.label("unavailable_sum"),
        )
        .select_from(joined)
        .where(known != summed)
    )


def _reason_total_differences() -> Select[Any]:
    """Levels whose unavailable units are not the sum of their units by reason."""
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
    whole, summed = func.coalesce(_level.unavailable, 0), func.coalesce(by_reason.c.units, 0)
    return (
        select(
            func.coalesce(_level.sku, by_reason.c.sku).label("sku"),
            func.coalesce(_level.location_id, by_reason.c.location_id).label("location_id"),
            whole.label("unavailable"),
            summed.label("unavailable_by_reason"),
        )
        .select_from(joined)
        .where(whole != summed)
    )


def _promise_differences() -> Select[Any]:
    """Levels whose held and allocated units are not what is promised there."""

    def of(state: str) -> Any:
        units = func.sum(promise.c.unit_count).filter(promise.c.state == literal_column(f"'{state}'"))
        return func.coalesce(units, 0).label(state)

    promised = (
        select(promise.c.sku, promise.c.location_id, of("held"), of("allocated"))
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
    """Lines of live promises whose units are not all promised, shipped, short or cancelled."""

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
    """Units of transfers that did not leave or arrive as their lines say."""
    moved = (
        select(
            _movement.reason.label("transfer_id"),
            _movement.sku,
            _movement.location_id,
            func.sum(_movement.on_hand_delta).label("units"),
        )
        .where(_movement.source == literal_column(f"'{TRANSFERS}'"))
        .group_by(_movement.reason, _movement.sku, _movement.location_id)
        .subquery("moved")
    )
    columns = (transfer_line.c.transfer_id, transfer_line.c.sku)
    whose = transfer.join(transfer_line, transfer_line.c.transfer_id == transfer.c.id)
    left = select(
        *columns, transfer.c.from_location_id.label("location_id"), (-transfer_line.c.dispatched).label("units")
    )
    came = select(*columns, transfer.c.to_location_id.label("location_id"), transfer_line.c.received.label("units"))
    said = union_all(left.select_from(whose), came.select_from(whose)).subquery("said")
    keys = ("transfer_id", "sku", "location_id")
    joined = moved.join(said, and_(*(moved.c[key] == said.c[key] for key in keys)), isouter=True, full=True)
    moved_units, said_units = func.coalesce(moved.c.units, 0), func.coalesce(said.c.units, 0)
    return (
        select(
            *(func.coalesce(moved.c[key], said.c[key]).label(key) for key in keys),
            moved_units.label("moved"),
            said_units.label("said"),
        )
        .select_from(joined)
        .where(moved_units != said_units)
    )


def _check(query: Select[Any]) -> Statement:
    found = query.subquery("found")
    return Statement(select(found, func.count().over().label("differences")).limit(_MOST_LISTED))


_CHECKS = {
    "a figure is not the sum of its movements": _check(_level_differences()),
    "unavailable units of a reason are not the sum of its movements": _check(_reason_differences()),
    "unavailable units are not the sum of their reasons": _check(_reason_total_differences()),
    "a figure is not what is promised": _check(_promise_differences()),
    "a line's units are not all promised, shipped, short or cancelled": _check(_line_differences()),
    "a transfer is not what left and arrived": _check(_transfer_differences()),
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
    """What the proof came to. `totals` are units and rows over everything; `differences` are sentences, bounded."""

    totals: dict[str, int]
    on_hand_by_kind: dict[str, int]
    differences: tuple[str, ...]
    difference_count: int

    @property
    def balanced(self) -> bool:
        """Whether nothing differs."""
        return self.difference_count == 0

    def as_dict(self) -> dict[str, Any]:
        """The report as programs read it."""
        return {
            "balanced": self.balanced,
            **self.totals,
            "on_hand_by_kind": self.on_hand_by_kind,
            "difference_count": self.difference_count,
            "differences": list(self.differences),
        }


async def verify(connection: Connection, *, statement_seconds: float = 0) -> LedgerReport:
    """Checks everything in one snapshot, so that it can run beside a busy service.

    Raises asyncpg.QueryCanceledError where a statement takes longer than `statement_seconds`; 0 is for ever.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        # One core is enough: whoever trades needs the others.
        await _LIMIT_RESOURCES.rows(connection, milliseconds=str(int(statement_seconds * 1000)))
        totals = (await _TOTALS.rows(connection))[0]
        moved = {row["kind"]: int(row["units"]) for row in await _MOVED_UNITS.rows(connection) if row["units"]}
        differences: list[str] = []
        count = 0
        for sentence, check in _CHECKS.items():
            rows = await check.rows(connection)
            count += rows[0]["differences"] if rows else 0
            differences += [_sentence(sentence, row) for row in rows]
    return LedgerReport({name: int(units) for name, units in totals.items()}, moved, tuple(differences), count)


def _sentence(what: str, row: Any) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in row.items() if name != "differences")
    return f"{what}: {figures}"
