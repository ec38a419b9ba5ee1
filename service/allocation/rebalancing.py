"""What follows from a change of stock, in the same transaction: promises that do not fit move, backorders fill.

Orders are locked here after stock, against the order of locks: never waiting for one, so that no two wait for each
other. Where somebody else has one, the whole transaction is run again, and locks it with its own orders first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Text, Uuid, literal_column, select

from policies.domain.shipments import OPEN, ShipmentState
from policies.policy_set import PolicySet
from policies.stock.claims import Claim, Loss, WaitingOrder, in_fill_order, losses
from service.allocation.planning_context import ChannelContext, PlanningContext, context
from service.allocation.rerouting import fill_backorders, replan_units
from service.allocation.unit_of_work import UnitOfWork
from service.catalog.catalog_store import CatalogCache
from service.database.database import Connection, RowsBusy, Statement, any_of, parameter
from service.database.tables import Moment, allocation, promise, shipment, shortage
from service.orders import order_store
from service.orders.allocation_record import HELD, OVERSELL, PROMISING, AllocationRecord

COUNT_CORRECTION = "count_correction"
FILL_LIMIT = 500
"""Backordered orders that one transaction looks at; the sweeper goes on from there."""

_allocation = allocation.c
_UNACCEPTED = ShipmentState.ASSIGNED.value
_CLAIMS = Statement(
    select(
        promise.c.allocation_id,
        promise.c.shipment_id,
        promise.c.line_id,
        promise.c.unit_count,
        _allocation.create_time,
        shipment.c.state,
    )
    .join(allocation, _allocation.id == promise.c.allocation_id)
    .join(shipment, shipment.c.id == promise.c.shipment_id)
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
    .order_by(_allocation.priority.desc(), _allocation.create_time, _allocation.id)
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
    """The rules, and the catalogue once somebody needs it."""

    cache: CatalogCache
    policy_set: PolicySet
    context: PlanningContext | None = None

    async def channel_context(
        self, connection: Connection, unit_of_work: UnitOfWork, channel_id: str
    ) -> ChannelContext:
        """The surroundings of one channel's orders, with the products of the book."""
        if self.context is None:
            skus = {sku for sku, _ in unit_of_work.book.levels}
            self.context = await context(connection, self.cache, self.policy_set, skus)
        return self.context.of(channel_id)


async def rebalance(
    connection: Connection, unit_of_work: UnitOfWork, cache: CatalogCache, policy_set: PolicySet
) -> None:
    """Does what follows from everything that has happened to the stock book. To be called before it is written."""
    context = LazyPlanningContext(cache, policy_set)
    await _reroute(connection, unit_of_work, context)
    await fill(connection, unit_of_work, context)


async def _reroute(connection: Connection, unit_of_work: UnitOfWork, context: LazyPlanningContext) -> None:
    """Takes promises off levels that have less than is promised, and plans them anew: the older orders first."""
    lost: dict[UUID, list[tuple[tuple[str, str], Loss]]] = {}
    for key in sorted(unit_of_work.book.changed_keys()):
        excess = -unit_of_work.book.levels[key].available
        if excess > 0:
            for loss in losses(await _claims(connection, unit_of_work, key), excess):
                lost.setdefault(UUID(loss.claim.allocation_id), []).append((key, loss))
    await _lock_and_load(connection, unit_of_work, lost)
    for record in sorted((unit_of_work.records[one] for one in lost), key=lambda one: (one.create_time, one.id)):
        units = _release_lost(unit_of_work, record, lost[record.id])
        channel_context = await context.channel_context(connection, unit_of_work, record.channel_id)
        unit_of_work.record(replan_units(channel_context, unit_of_work.book, record, units, cause=COUNT_CORRECTION))


async def _claims(connection: Connection, unit_of_work: UnitOfWork, key: tuple[str, str]) -> list[Claim]:
    """The promises at one level, of orders that this transaction knows as they are by now."""
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
    for made in record.shipments:
        if made.location_id != key[1]:
            continue
        for line_id, units in made.units.items():
            if record.line(line_id).sku == key[0]:
                is_taken_up = made.state is not ShipmentState.ASSIGNED
                yield Claim(str(record.id), str(made.id), line_id, units, record.create_time, is_taken_up)


def _release_lost(
    unit_of_work: UnitOfWork, record: AllocationRecord, lost: Sequence[tuple[tuple[str, str], Loss]]
) -> dict[str, int]:
    """Takes units off the shipments that lose them; returns them by line."""
    units: dict[str, int] = {}
    for _, loss in lost:
        claim, count = loss.claim, loss.unit_count
        made = record.shipment(UUID(claim.shipment_id))
        part = record.line_units(made, claim.line_id, count)
        unit_of_work.book.release(part, was_held=record.state == HELD, reason=COUNT_CORRECTION)
        made.remove_units(claim.line_id, count, unit_of_work.book.now, ended=ShipmentState.CANCELLED)
        units[claim.line_id] = units.get(claim.line_id, 0) + count
    if record.state == HELD:
        record.shipments = [made for made in record.shipments if made.state in OPEN]
    return units


async def fill(
    connection: Connection, unit_of_work: UnitOfWork, context: LazyPlanningContext, *, untouched: bool = False
) -> None:
    """Gives what is available to the backorders that wait for it, in their turn.

    Only what has just been touched is looked at, unless `untouched` says that all levels of the book are.
    """
    skus = _fillable(unit_of_work, untouched=untouched)
    if not skus:
        return
    rows = await _WAITING.rows(connection, skus=sorted(skus), count=FILL_LIMIT)
    stored = [
        WaitingOrder(str(r["id"]), r["priority"], r["create_time"]) for r in rows if r["id"] not in unit_of_work.records
    ]
    known = [
        WaitingOrder(str(r.id), r.priority, r.create_time) for r in unit_of_work.records.values() if _waits(r, skus)
    ]
    await _lock_and_load(connection, unit_of_work, [UUID(one.allocation_id) for one in stored])
    for one in in_fill_order([*stored, *known]):
        skus = _fillable(unit_of_work, untouched=untouched)
        if not skus:
            return
        record = unit_of_work.records[UUID(one.allocation_id)]
        # Where the policy's limits leave units out, only stock that comes is another matter than what was there.
        if _waits(record, skus) and not (untouched and _is_limited(record, skus)):
            channel_context = await context.channel_context(connection, unit_of_work, record.channel_id)
            verdict = fill_backorders(channel_context, unit_of_work.book, record)
            if verdict is not None:
                unit_of_work.record(verdict)


def _fillable(unit_of_work: UnitOfWork, *, untouched: bool) -> set[str]:
    """SKUs that backorders wait for, and of which something is available."""
    waiting = unit_of_work.book.backordered_skus | unit_of_work.backordered_skus
    if not waiting:
        return waiting
    keys = unit_of_work.book.levels if untouched else unit_of_work.book.changed_keys()
    return {sku for sku, place in keys if sku in waiting and unit_of_work.book.levels[sku, place].available > 0}


def _waits(record: AllocationRecord, skus: set[str]) -> bool:
    return record.state in PROMISING and any(short.backordered and short.sku in skus for short in record.shortages)


def _is_limited(record: AllocationRecord, skus: set[str]) -> bool:
    """Whether the order's limits on splitting leave out units of a product that is there."""
    return any(short.kind != OVERSELL and not short.backordered and short.sku in skus for short in record.shortages)


async def _lock_and_load(connection: Connection, unit_of_work: UnitOfWork, ids: Iterable[UUID]) -> None:
    """Locks and reads orders that the transaction does not know yet.

    An order is written whole. Others may let a hold lapse under the lock of a level alone, so a hold is ours only where
    all of its levels are.
    """
    unknown = [one for one in dict.fromkeys(ids) if one not in unit_of_work.records]
    if unknown:
        try:
            await _LOCK_NOWAIT.rows(connection, ids=unknown)
        except asyncpg.LockNotAvailableError as error:
            raise RowsBusy(unknown) from error
        found = (await order_store.read(connection, unknown)).values()
        ours = {sku for sku, _ in unit_of_work.book.levels}
        beyond = [r.id for r in found if r.state == HELD and not ours.issuperset(sku for sku, _ in r.promised())]
        if beyond:
            raise RowsBusy(beyond)
        unit_of_work.load(found)
