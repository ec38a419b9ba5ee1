"""Learns sales velocity from the ledger in the background; each sale counts once, however many services run.

The formula is in `policies/stock/velocity.py`; this file finds the new sales. An open transaction may still commit
movements, so only transactions below the horizon of a snapshot are read: all of them have ended. The position is stored
in the same transaction as the velocities.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from sqlalchemy import ColumnElement, Double, Integer, Text, case, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.stock.velocity import Sale, Velocity, updated_velocity
from service.background import every
from service.database.database import Connection, Database, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, TransactionId, ledger_reader, product, stock_movement

LEARN_SECONDS = 60.0
LEARN_MOVEMENTS = 20_000
"""Movements read in one transaction of the learner; a larger transaction of another writer is read whole."""

_NAME = "velocity"
_movement = stock_movement.c
_ENSURE_READER = Statement(
    upsert(ledger_reader)
    .values(name=_NAME, horizon=literal_column("'0'::xid8"))
    .on_conflict_do_nothing()
    .returning(ledger_reader.c.name)
)
_LOCK = Statement(
    select(ledger_reader.c.horizon)
    .where(ledger_reader.c.name == literal_column(f"'{_NAME}'"))
    .with_for_update(skip_locked=True)
)
_ended: ColumnElement[int] = literal_column("pg_snapshot_xmin(pg_current_snapshot())")
_HORIZON = Statement(
    select(
        _ended.label("ended"),
        select(_movement.xid)
        .where(_movement.xid >= parameter("horizon", TransactionId))
        .order_by(_movement.xid)
        .offset(parameter("most", Integer))
        .limit(literal_column("1"))
        .scalar_subquery()
        .label("batch_end"),
        func.clock_timestamp().label("now"),
    )
)

_sold_at_pos = case(
    # A sale that a later count absorbed is still a sale.
    (
        (_movement.kind == literal_column("'sold'"))
        & _movement.result.in_([literal_column("'accepted'"), literal_column("'absorbed'")]),
        func.coalesce(_movement.reported_count, -_movement.on_hand_delta),
    ),
    else_=literal_column("0"),
)
_sold_in_orders = case(
    # Units that ship or are collected, or did not ship after all, were counted as sold when they were allocated.
    (
        _movement.kind.in_([literal_column(f"'{kind}'") for kind in ("shipped", "collected", "ship_undone")]),
        literal_column("0"),
    ),
    else_=_movement.allocated_delta,
)
_sold = _sold_in_orders + _sold_at_pos
_SALES = Statement(
    select(_movement.sku, _movement.effective_time, func.sum(_sold).label("units"))
    .where(_movement.xid >= parameter("horizon", TransactionId), _movement.xid < parameter("end", TransactionId))
    .group_by(_movement.sku, _movement.effective_time)
    .having(func.sum(_sold) != literal_column("0"))
)
_READ_VELOCITIES = Statement(
    select(product.c.sku, product.c.learned_velocity, product.c.learned_velocity_time)
    .where(product.c.sku == any_of("skus", Text))
    # Upserts lock products in the same order, so the two cannot deadlock. FOR NO KEY UPDATE, because inserts of stock
    # levels check their foreign key to product and FOR UPDATE would make them wait.
    .order_by(product.c.sku.collate("C"))
    .with_for_update(key_share=True)
)
_learned = unnested("learned", sku=Text, velocity=Double)
_STORE = Statement(
    update(product)
    .values(learned_velocity=_learned.c.velocity, learned_velocity_time=parameter("now", Moment))
    .where(product.c.sku == _learned.c.sku)
)
_ADVANCE = Statement(
    update(ledger_reader)
    .values(horizon=parameter("end", TransactionId))
    .where(ledger_reader.c.name == literal_column(f"'{_NAME}'"))
)


@dataclass(frozen=True, slots=True)
class _TransactionRange:
    """Ended transactions from `begin` up to but not including `end`, and the time at which they were found."""

    begin: int
    end: int
    now: datetime
    is_last: bool


class VelocityLearner:
    """Several services on one database may each run one: while one learns, the others do nothing."""

    def __init__(self, database: Database, *, movements: int = LEARN_MOVEMENTS) -> None:
        self._database = database
        self._movements = movements

    async def run(self, stop: asyncio.Event) -> None:
        """Learns every LEARN_SECONDS until `stop` is set."""
        await every(LEARN_SECONDS, stop, self.learn)

    async def learn(self) -> None:
        """Learns from all movements since the last run. Raises NotReady."""
        while await self._database.transaction("learn_velocity", self._learn_batch):
            pass

    async def _learn_batch(self, connection: Connection) -> bool:
        """Learns from one batch of movements; returns whether there may be more."""
        await _ENSURE_READER.run(connection)
        row = await _LOCK.row(connection)
        if row is None:
            return False
        transactions = await self._next_range(connection, row["horizon"])
        if transactions is None:
            return False
        sales: dict[str, list[Sale]] = {}
        for sale in await _SALES.rows(connection, horizon=transactions.begin, end=transactions.end):
            sales.setdefault(sale["sku"], []).append(Sale(sale["units"], sale["effective_time"]))
        await _store(connection, sales, transactions.now)
        await _ADVANCE.run(connection, end=transactions.end)
        return not transactions.is_last

    async def _next_range(self, connection: Connection, horizon: int) -> _TransactionRange | None:
        row = await _HORIZON.row(connection, horizon=horizon, most=self._movements)
        assert row is not None
        ended, batch_end = row["ended"], row["batch_end"]
        if ended <= horizon:
            return None
        if batch_end is None or batch_end >= ended:
            return _TransactionRange(horizon, ended, row["now"], is_last=True)
        # A transaction is read whole, even if it alone exceeds the batch.
        return _TransactionRange(horizon, max(batch_end, horizon + 1), row["now"], is_last=False)


async def _store(connection: Connection, sales: Mapping[str, Iterable[Sale]], now: datetime) -> None:
    if not sales:
        return
    velocities = {row["sku"]: _velocity(row) for row in await _READ_VELOCITIES.rows(connection, skus=sorted(sales))}
    rows = [(sku, updated_velocity(velocity, sales[sku], now).units_per_day) for sku, velocity in velocities.items()]
    await _STORE.run(connection, now=now, **transposed(["sku", "velocity"], rows))


def _velocity(row: asyncpg.Record) -> Velocity | None:
    if row["learned_velocity"] is None:
        return None
    return Velocity(row["learned_velocity"], row["learned_velocity_time"])
