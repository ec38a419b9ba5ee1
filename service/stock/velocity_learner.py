"""Learns from the ledger how fast products sell, in the background, each sale once, however many services there are.

The formula is in `policies/velocity.py`; here is which sales are new. A transaction that is still open may write
movements that nobody sees yet, so only transactions below a snapshot's horizon are read: all of them have ended. How
far that was is kept in the transaction that keeps what was learnt.
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
"""Movements of one transaction of the learner; a larger transaction of somebody else is read whole."""

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
        .label("full"),
        func.clock_timestamp().label("now"),
    )
)

_sold_at_pos = case(
    # A count may have had the sale in it already: it was a sale all the same.
    (
        (_movement.kind == literal_column("'sold'"))
        & _movement.result.in_([literal_column("'accepted'"), literal_column("'absorbed'")]),
        func.coalesce(_movement.reported_count, -_movement.on_hand_delta),
    ),
    else_=literal_column("0"),
)
_sold_in_orders = case(
    # What leaves the house was sold when it was allocated.
    (_movement.kind.in_([literal_column("'shipped'"), literal_column("'collected'")]), literal_column("0")),
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
    # In the order in which upserts write products, so that neither waits for the other for ever.
    .order_by(product.c.sku.collate("C"))
    .with_for_update(key_share=True)
)
_learned = unnested("learnt", sku=Text, velocity=Double)
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
    """Transactions that have all ended, from `begin` on and before `end`, and when that was found out."""

    begin: int
    end: int
    now: datetime
    is_last: bool


class VelocityLearner:
    """Several services on one database may each have one: while one of them learns, the others do nothing."""

    def __init__(self, database: Database, *, movements: int = LEARN_MOVEMENTS) -> None:
        self._database = database
        self._movements = movements

    async def run(self, stop: asyncio.Event) -> None:
        """Learns every LEARN_SECONDS until `stop` is set."""
        await every(LEARN_SECONDS, stop, self.learn)

    async def learn(self) -> None:
        """Learns from everything that has happened since the last time. Raises NotReady."""
        while await self._database.transaction("learn_velocity", self._learn_batch):
            pass

    async def _learn_batch(self, connection: Connection) -> bool:
        """Learns from at most so many movements; returns whether there may be more."""
        await _ENSURE_READER.run(connection)
        row = await _LOCK.row(connection)
        if row is None:
            return False
        stretch = await self._next_range(connection, row["horizon"])
        if stretch is None:
            return False
        sales: dict[str, list[Sale]] = {}
        for sold in await _SALES.rows(connection, horizon=stretch.begin, end=stretch.end):
            sales.setdefault(sold["sku"], []).append(Sale(sold["units"], sold["effective_time"]))
        await _store(connection, sales, stretch.now)
        await _ADVANCE.run(connection, end=stretch.end)
        return not stretch.is_last

    async def _next_range(self, connection: Connection, horizon: int) -> _TransactionRange | None:
        found = await _HORIZON.row(connection, horizon=horizon, most=self._movements)
        assert found is not None
        ended, full = found["ended"], found["full"]
        if ended <= horizon:
            return None
        if full is None or full >= ended:
            return _TransactionRange(horizon, ended, found["now"], is_last=True)
        # A transaction is read whole, also where it alone is more than enough.
        return _TransactionRange(horizon, max(full, horizon + 1), found["now"], is_last=False)


async def _store(connection: Connection, sales: Mapping[str, Iterable[Sale]], now: datetime) -> None:
    if not sales:
        return
    known = {row["sku"]: _velocity(row) for row in await _READ_VELOCITIES.rows(connection, skus=sorted(sales))}
    rows = [(sku, updated_velocity(velocity, sales[sku], now).units_per_day) for sku, velocity in known.items()]
    await _STORE.run(connection, now=now, **transposed(["sku", "velocity"], rows))


def _velocity(row: asyncpg.Record) -> Velocity | None:
    if row["learned_velocity"] is None:
        return None
    return Velocity(row["learned_velocity"], row["learned_velocity_time"])
