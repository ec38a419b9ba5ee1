"""Fills backorders that no stock change triggers: a location reopened, a rule changed, or an order ships complete.

Stock that arrives fills backorders in its own transaction (`rebalancing`).
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import BigInteger, Integer, Text, cast, exists, func, select

from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection, Statement, parameter
from service.database.tables import allocation, shortage, stock_level
from service.dependencies import Dependencies
from service.orders import order_store
from service.stock import levels

SWEEP_SKUS = 50
"""SKUs of one sweep; the next sweep continues after them."""

_level = stock_level.c
_is_available = exists().where(
    _level.sku == shortage.c.sku,
    # Each figure is an integer; their difference may need more.
    cast(_level.on_hand, BigInteger) - _level.unavailable - _level.held - _level.allocated > 0,
)
_WAITING_SKUS = Statement(
    select(shortage.c.sku)
    .where(shortage.c.backordered, shortage.c.sku > parameter("after", Text), _is_available)
    .group_by(shortage.c.sku)
    .order_by(shortage.c.sku)
    .limit(parameter("count", Integer))
)
_WAITING = Statement(
    select(allocation.c.id)
    .where(
        allocation.c.id.in_(
            select(shortage.c.allocation_id).where(shortage.c.backordered, shortage.c.sku == parameter("sku", Text))
        )
    )
    .order_by(*rebalancing.FILL_ORDER)
    .limit(rebalancing.FILL_LIMIT)
)
_COUNT = Statement(
    select(func.coalesce(func.sum(shortage.c.unit_count), 0).label("units")).where(shortage.c.backordered)
)


class Backorders:
    """Sweeps backorders. Several services on one database may each run it: the second finds nothing to fill."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._after = ""

    async def sweep(self) -> None:
        """Tries to fill the backorders of the next SKUs that have available stock."""

        async def read(connection: Connection) -> tuple[list[str], int]:
            rows = await _WAITING_SKUS.rows(connection, after=self._after, count=SWEEP_SKUS)
            total = await _COUNT.row(connection)
            return [row["sku"] for row in rows], total["units"] if total else 0

        skus, units = await self._deps.database.unlocked("backorders", read)
        self._deps.metrics.orders.backordered_units.set(units)
        self._after = skus[-1] if len(skus) == SWEEP_SKUS else ""
        for sku in skus:
            await self._deps.database.transaction(
                "backorders",
                partial(self._fill, sku),
                lambda unit_of_work: unit_of_work.count(self._deps.metrics),
            )

    async def _fill(self, sku: str, connection: Connection) -> UnitOfWork:
        rows = await _WAITING.rows(connection, sku=sku)
        ids = await order_store.lock(connection, [row["id"] for row in rows])
        skus = await order_store.line_skus(connection, ids) | {sku}
        locked = await levels.lock(connection, skus)
        unit_of_work = UnitOfWork(await levels.open_book(connection, locked, self._deps.new_id))
        unit_of_work.load((await order_store.read(connection, ids)).values())
        await rebalancing.fill(
            connection,
            unit_of_work,
            rebalancing.LazyPlanningContext(self._deps.catalog_cache, self._deps.policies()),
            all_levels=True,
        )
        await unit_of_work.write(connection)
        return unit_of_work
