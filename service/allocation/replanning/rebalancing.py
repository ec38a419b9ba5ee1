"""Reroutes promises that exceed stock and fills backorders, in the transaction that changed the stock.

Orders are locked here after stock levels, against the usual order of locks. They are therefore locked without waiting,
which cannot deadlock. If another transaction has locked one of them, the whole transaction is run again, and locks
that order together with its own at the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Text, Uuid, func, literal_column, select

from policies.domain.shipments import OPEN, ShipmentState
from policies.policy_set import PolicySet
from policies.stock.claims import Claim, Loss, WaitingOrder, in_fill_order, losses
from service.allocation.planning_context import ChannelContext, PlanningContext, context
from service.allocation.replanning.line_groups import units_leaving_with
from service.allocation.replanning.rerouting import fill_backorders, replan_units
from service.allocation.unit_of_work import UnitOfWork
from service.background import Turn, in_turns
from service.capacity import capacity_store
from service.catalog import catalog_store
from service.catalog.catalog_store import CatalogCache
from service.database.database import NEEDED, Connection, RowsBusy, Statement, any_of, parameter
from service.database.tables import Moment, allocation, promise, shipment as shipment_table, shortage
from service.orders import order_store
from service.orders.allocation_record import HELD, PROMISING, AllocationRecord
from service.stock import stock_age

COUNT_CORRECTION = "count_correction"
FILL_LIMIT = 500
"""Backordered orders that one transaction tries to fill; the sweeper tries the others."""

_allocation = allocation.c
FILL_ORDER = (
    func.coalesce(_allocation.priority, literal_column("0")).desc(),
    _allocation.create_time,
    _allocation.id,
)
"""The order in which backorders are filled, as that of `in_fill_order`."""
_UNACCEPTED = ShipmentState.ASSIGNED.value
_CLAIMS = Statement(
    select(
        promise.c.allocation_id,
        promise.c.shipment_id,
        promise.c.line_id,
        promise.c.unit_count,
        _allocation.create_time,
        shipment_table.c.state,
    )
    .join(allocation, _allocation.id == promise.c.allocation_id)
    .join(shipment_table, shipment_table.c.id == promise.c.shipment_id)
    .where(
        promise.c.sku == parameter("sku", Text),
        promise.c.location_id == parameter("location_id", Text),
        promise.c.unit_count > literal_column("0"),
        (promise.c.expire_time.is_(None)) | (promise.c.expire_time > parameter("now", Moment)),
    )
)
_WAITING = Statement(
    select(_allocation.id, _allocation.priority, _allocation.create_time)
    .where(
        _allocation.id.in_(
            select(shortage.c.allocation_id).where(shortage.c.sku == any_of("skus", Text), shortage.c.backordered)
        )
    )
    .order_by(*FILL_ORDER)
    .limit(parameter("count", Integer))
)
_LOCK_NOWAIT = Statement(
    select(_allocation.id)
    .where(_allocation.id == any_of("ids", Uuid))
    .order_by(_allocation.channel_id, _allocation.order_id)
    .with_for_update(key_share=True, nowait=True)
)


@dataclass(slots=True)
class LazyPlanningContext:
    """The rules, and the planning context, which is read when it is first needed."""

    cache: CatalogCache
    policy_set: PolicySet
    context: PlanningContext | None = None

    async def channel_context(
        self, connection: Connection, unit_of_work: UnitOfWork, channel_id: str
    ) -> ChannelContext:
        """The context of one channel's orders, with the products of the book and the kits of the orders."""
        if self.context is None:
            skus = {sku for sku, _ in unit_of_work.book.levels}
            self.context = await context(connection, self.cache, self.policy_set, skus)
        await stock_age.read_receipts(connection, unit_of_work.book, self.policy_set, self.context.products)
        await capacity_store.read_figures(connection, unit_of_work.book, self.context.catalog)
        kits = {line.kit.sku for r in unit_of_work.records.values() for line in r.lines if line.kit is not None}
        missing = kits.difference(self.context.products)
        if missing:
            version, products = await catalog_store.products(connection, missing)
            products = await self.cache.readiness.added(connection, self.policy_set, version, products)
            self.context = replace(self.context, products={**self.context.products, **products})
        return self.context.of(channel_id)


async def rebalance(
    connection: Connection, unit_of_work: UnitOfWork, cache: CatalogCache, policy_set: PolicySet
) -> None:
    """Reroutes and fills after all changes to the stock book; to be called before the book is written."""
    context = LazyPlanningContext(cache, policy_set)
    await _reroute(connection, unit_of_work, context)
    await fill(connection, unit_of_work, context)


async def _reroute(connection: Connection, unit_of_work: UnitOfWork, context: LazyPlanningContext) -> None:
    """Releases promises from levels that have fewer units than promised and replans them, oldest orders first."""
    lost: dict[UUID, list[tuple[tuple[str, str], Loss]]] = {}
    for key in sorted(unit_of_work.book.changed_keys()):
        excess = -unit_of_work.book.levels[key].available
        if excess > 0:
            for loss in losses(await _claims(connection, unit_of_work, key), excess):
                lost.setdefault(UUID(loss.claim.allocation_id), []).append((key, loss))
    await _lock_and_load(connection, unit_of_work, lost)
    turn = Turn()
    for record in sorted((unit_of_work.records[id] for id in lost), key=lambda record: (record.create_time, record.id)):
        units = _release_lost(unit_of_work, record, lost[record.id])
        channel_context = await context.channel_context(connection, unit_of_work, record.channel_id)
        change = await in_turns(replan_units, channel_context, unit_of_work.book, record, units, cause=COUNT_CORRECTION)
        unit_of_work.record(change)
        await turn.end_if_long()


async def _claims(connection: Connection, unit_of_work: UnitOfWork, key: tuple[str, str]) -> list[Claim]:
    """The promises at one level; those of orders that this transaction has loaded include its own changes."""
    sku, location_id = key
    rows = await _CLAIMS.rows(connection, sku=sku, location_id=location_id, now=unit_of_work.book.now)
    stored = [
        Claim(
            str(r["allocation_id"]),
            str(r["shipment_id"]),
            r["line_id"],
            r["unit_count"],
            r["create_time"],
            r["state"] != _UNACCEPTED,
        )
        for r in rows
        if r["allocation_id"] not in unit_of_work.records
    ]
    return stored + [
        claim for record in unit_of_work.records.values() for claim in _claims_of(unit_of_work, record, key)
    ]


def _claims_of(unit_of_work: UnitOfWork, record: AllocationRecord, key: tuple[str, str]) -> Iterable[Claim]:
    if record.state_at(unit_of_work.book.now) not in PROMISING:
        return
    for shipment in record.shipments:
        if shipment.location_id != key[1]:
            continue
        for line_id, units in shipment.units.items():
            if record.line(line_id).sku == key[0]:
                is_accepted = shipment.state is not ShipmentState.ASSIGNED
                yield Claim(str(record.id), str(shipment.id), line_id, units, record.create_time, is_accepted)


def _release_lost(
    unit_of_work: UnitOfWork, record: AllocationRecord, lost: Sequence[tuple[tuple[str, str], Loss]]
) -> dict[str, int]:
    """Releases units of the shipments that lose them, and those that may not ship without; returns units by line."""
    units: dict[str, int] = {}
    lost_from: dict[UUID, dict[str, int]] = {}
    for _, loss in lost:
        shipment_id = UUID(loss.claim.shipment_id)
        _release(unit_of_work, record, shipment_id, loss.claim.line_id, loss.unit_count)
        lost_units = lost_from.setdefault(shipment_id, {})
        for counts in (units, lost_units):
            counts[loss.claim.line_id] = counts.get(loss.claim.line_id, 0) + loss.unit_count
    for shipment_id, lost_units in lost_from.items():
        for line_id, count in units_leaving_with(record, record.shipment(shipment_id), lost_units).items():
            _release(unit_of_work, record, shipment_id, line_id, count)
            units[line_id] = units.get(line_id, 0) + count
    if record.state == HELD:
        record.shipments = [shipment for shipment in record.shipments if shipment.state in OPEN]
    return units


def _release(unit_of_work: UnitOfWork, record: AllocationRecord, shipment_id: UUID, line_id: str, count: int) -> None:
    shipment = record.shipment(shipment_id)
    line_units = record.line_units(shipment, line_id, count)
    unit_of_work.book.release(line_units, was_held=record.state == HELD, reason=COUNT_CORRECTION)
    shipment.remove_units(line_id, count, unit_of_work.book.now, ended=ShipmentState.CANCELLED)


async def fill(
    connection: Connection, unit_of_work: UnitOfWork, context: LazyPlanningContext, *, all_levels: bool = False
) -> None:
    """Promises available stock to the backorders that wait for it, by priority, then oldest first.

    Tried are the SKUs of levels whose available units this transaction has raised since the last call, or with
    `all_levels` those of all levels: a change that only lowers stock leaves no more to an order that waits.
    """
    book = unit_of_work.book
    keys = set(book.levels) if all_levels else book.risen_keys(unit_of_work.filled_movements)
    await _fill(connection, unit_of_work, context, keys)
    # The fills themselves raise no level.
    unit_of_work.filled_movements = len(book.movements)


async def _fill(
    connection: Connection, unit_of_work: UnitOfWork, context: LazyPlanningContext, keys: set[tuple[str, str]]
) -> None:
    skus = _fillable_skus(unit_of_work, keys)
    if not skus:
        return
    rows = await _WAITING.rows(connection, skus=sorted(skus), count=FILL_LIMIT)
    stored = [
        WaitingOrder(str(r["id"]), r["priority"], r["create_time"]) for r in rows if r["id"] not in unit_of_work.records
    ]
    loaded = [
        WaitingOrder(str(r.id), r.priority, r.create_time) for r in unit_of_work.records.values() if _waits(r, skus)
    ]
    await _lock_and_load(connection, unit_of_work, [UUID(order.allocation_id) for order in stored])
    turn = Turn()
    for order in in_fill_order([*stored, *loaded]):
        skus = _fillable_skus(unit_of_work, keys)
        if not skus:
            return
        record = unit_of_work.records[UUID(order.allocation_id)]
        if _waits(record, skus):
            channel_context = await context.channel_context(connection, unit_of_work, record.channel_id)
            change = await in_turns(fill_backorders, channel_context, unit_of_work.book, record)
            if change is not None:
                unit_of_work.record(change)
        await turn.end_if_long()


async def fill_order(
    connection: Connection, unit_of_work: UnitOfWork, context: LazyPlanningContext, record: AllocationRecord
) -> None:
    """Promises available stock to the backorders of one order that the transaction has loaded."""
    if record.state in PROMISING and any(short.backordered for short in record.shortages):
        channel_context = await context.channel_context(connection, unit_of_work, record.channel_id)
        change = await in_turns(fill_backorders, channel_context, unit_of_work.book, record)
        if change is not None:
            unit_of_work.record(change)


def _fillable_skus(unit_of_work: UnitOfWork, keys: set[tuple[str, str]]) -> set[str]:
    """SKUs that backorders wait for and that have available units at one of these levels."""
    waiting = unit_of_work.book.backordered_skus | unit_of_work.backordered_skus
    if not waiting:
        return waiting
    return {key[0] for key in keys if key[0] in waiting and unit_of_work.book.levels[key].available > 0}


def _waits(record: AllocationRecord, skus: set[str]) -> bool:
    return record.state in PROMISING and any(short.backordered and short.sku in skus for short in record.shortages)


async def _lock_and_load(connection: Connection, unit_of_work: UnitOfWork, ids: Iterable[UUID]) -> None:
    """Locks and reads orders that the transaction has not loaded yet. Raises RowsBusy."""
    missing = [id for id in dict.fromkeys(ids) if id not in unit_of_work.records]
    if missing:
        try:
            await _LOCK_NOWAIT.rows(connection, ids=missing)
        except asyncpg.LockNotAvailableError as error:
            raise RowsBusy(missing) from error
        records = (await order_store.read(connection, missing)).values()
        # An order is written back whole. Another transaction that locks only a stock level may expire a hold on it;
        # our write would then restore the promise, and its units would be released twice. So all levels of a hold
        # must be locked by this transaction, or it starts again.
        locked_skus = {sku for sku, _ in unit_of_work.book.levels}
        unlocked = [
            r.id for r in records if r.state == HELD and not locked_skus.issuperset(sku for sku, _ in r.promised())
        ]
        # Lines that ship together are planned together, so the stock of all of them must be known. The next attempt
        # locks the levels of all their products, though there may be none.
        unlocked += [r.id for r in records if r.id not in NEEDED.get() and not locked_skus.issuperset(_grouped_skus(r))]
        if unlocked:
            raise RowsBusy(unlocked)
        unit_of_work.load(records)


def _grouped_skus(record: AllocationRecord) -> Iterable[str]:
    return (line.sku for line in record.lines if line.placement.is_grouped or line.kit is not None)
