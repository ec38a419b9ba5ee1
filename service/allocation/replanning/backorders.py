"""Fills backorders that no stock change triggers: a location reopened or has room again, or a rule changed.

Stock that arrives fills backorders in its own transaction (`rebalancing`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set as AbstractSet
from functools import partial
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Text, cast, exists, func, literal_column, not_, select

from policies.decisions.shortages import NO_CAPACITY
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.capacity import capacity_now
from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import allocation, shortage, stock_level
from service.dependencies import Dependencies
from service.orders import order_store
from service.stock import levels

SWEEP_SKUS = 50
"""SKUs of one sweep; the next sweep continues after them."""

_level = stock_level.c
_is_available = exists().where(
    _level.sku == shortage.c.sku,
    # What only full locations have is not tried again and again.
    not_(_level.location_id == any_of("full_ids", Text)),
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
_WAITING_FOR_ROOM = Statement(
    select(allocation.c.id)
    .where(
        allocation.c.id.in_(
            select(shortage.c.allocation_id).where(
                shortage.c.backordered, shortage.c.cause == literal_column(f"'{NO_CAPACITY}'"), _is_available
            )
        )
    )
    .order_by(*rebalancing.FILL_ORDER)
    .limit(parameter("count", Integer))
)
_COUNT = Statement(
    select(func.coalesce(func.sum(shortage.c.unit_count), 0).label("units")).where(shortage.c.backordered)
)


class Backorders:
    """Sweeps backorders. Several services on one database may each run it: the second finds nothing to fill."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._after = ""
        self._room: Mapping[str, float] = {}

    async def sweep(self) -> None:
        """Tries to fill the orders that wait for room, and then the backorders of the next SKUs with available stock.

        Room is for any product, so orders that wait for it get it by priority and age, whatever they are for. They are
        tried when locations have other room than at the last sweep: at the start, or after an order or a day has ended
        or a limit was edited.
        """
        room = await self._read_room()
        if room != self._room:
            await self._fill_room(_full_ids(room))
            self._room = room = await self._read_room()
        full_ids = _full_ids(room)

        async def read(connection: Connection) -> tuple[list[str], int]:
            rows = await _WAITING_SKUS.rows(connection, after=self._after, count=SWEEP_SKUS, full_ids=full_ids)
            total = await _COUNT.row(connection)
            return [row["sku"] for row in rows], total["units"] if total else 0

        skus, units = await self._deps.database.unlocked("backorders", read)
        self._deps.metrics.orders.backordered_units.set(units)
        self._after = skus[-1] if len(skus) == SWEEP_SKUS else ""
        for sku in skus:
            await self._transaction(partial(self._fill, sku))

    async def _read_room(self) -> Mapping[str, float]:
        """The most units of one order that each location with a capacity could handle; also reported as metrics."""
        cache = self._deps.catalog_cache
        now = await self._deps.database.unlocked("capacity", partial(capacity_now.read, cache=cache))
        now.report(self._deps.metrics)
        return now.room()

    async def _fill_room(self, full_ids: Sequence[str]) -> None:
        async def read(connection: Connection) -> list[UUID]:
            rows = await _WAITING_FOR_ROOM.rows(connection, count=rebalancing.FILL_LIMIT, full_ids=full_ids)
            return [row["id"] for row in rows]

        for id in await self._deps.database.unlocked("backorders", read):
            await self._transaction(partial(self._fill_order, id))

    async def _transaction(self, fill: Callable[[Connection], Awaitable[UnitOfWork]]) -> None:
        metrics = self._deps.metrics
        await self._deps.database.transaction("backorders", fill, lambda unit_of_work: unit_of_work.count(metrics))

    async def _fill(self, sku: str, connection: Connection) -> UnitOfWork:
        rows = await _WAITING.rows(connection, sku=sku)
        unit_of_work, context = await self._load(connection, [row["id"] for row in rows], {sku})
        await rebalancing.fill(connection, unit_of_work, context, all_levels=True)
        await unit_of_work.write(connection)
        return unit_of_work

    async def _fill_order(self, id: UUID, connection: Connection) -> UnitOfWork:
        unit_of_work, context = await self._load(connection, [id])
        for record in unit_of_work.records.values():
            await rebalancing.fill_order(connection, unit_of_work, context, record)
        await unit_of_work.write(connection)
        return unit_of_work

    async def _load(
        self, connection: Connection, ids: Sequence[UUID], skus: AbstractSet[str] = frozenset()
    ) -> tuple[UnitOfWork, rebalancing.LazyPlanningContext]:
        """Locks orders, and the levels of their products and of these."""
        locked_ids = await order_store.lock(connection, ids)
        locked = await levels.lock(connection, await order_store.line_skus(connection, locked_ids) | skus)
        unit_of_work = UnitOfWork(await levels.open_book(connection, locked, self._deps.new_id))
        unit_of_work.load((await order_store.read(connection, locked_ids)).values())
        return unit_of_work, rebalancing.LazyPlanningContext(self._deps.catalog_cache, self._deps.policies())


def _full_ids(room: Mapping[str, float]) -> list[str]:
    return [location_id for location_id, units in room.items() if not units]
