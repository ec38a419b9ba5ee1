"""Gives sold orders the units of items that are mapped by now: right after a mapping, and regularly in the background.

Lines that were sold before the catalog had their SKU get the components of the kit that it is by now. The other lines
of such an order stay as they are, for locations may be at work on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from sqlalchemy import Integer, Text, literal_column, select

from policies.domain.kits import Kits
from policies.domain.listings import ItemKey, Listing
from policies.domain.model import MAX_UNITS, OrderLine
from policies.explanation import unit_count_text
from policies.stock.oversell import UNMAPPED
from service.allocation.intake import ordered_kits
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import context
from service.allocation.replanning.rerouting import fill_backorders
from service.allocation.unit_of_work import UnitOfWork
from service.background import FailureLog, every
from service.catalog import catalog_store, listing_store
from service.database.database import Connection, Statement, parameter, transposed, unnested
from service.database.tables import allocation, kit, listing, order_line, shortage
from service.dependencies import Dependencies
from service.errors import NotReady
from service.orders import order_store
from service.orders.allocation_record import CONFIRMED, AllocationRecord, LineRecord, ShortageRecord

SWEEP_SECONDS = 3.0
BATCH = 50
"""Orders that one transaction maps."""
BATCHES_AT_ONCE = 20
"""Batches that a mapping waits for; the background maps the other orders."""
MAPPED = "mapped"
"""The event of an order whose item was mapped."""

_is_listed = (listing.c.channel_id == allocation.c.channel_id) & (listing.c.item_id == order_line.c.item_id)
_waiting = (
    select(order_line.c.allocation_id)
    .join(allocation, allocation.c.id == order_line.c.allocation_id)
    .join(listing, _is_listed)
    .where(order_line.c.item_units == literal_column("0"), allocation.c.state == literal_column(f"'{CONFIRMED}'"))
    .distinct()
    .limit(parameter("count", Integer))
)
_WAITING = Statement(_waiting)
_named = unnested("named", channel_id=Text, item_id=Text)
_WAITING_FOR = Statement(
    _waiting.join(_named, (_named.c.channel_id == allocation.c.channel_id) & (_named.c.item_id == order_line.c.item_id))
)


_WAITING_FOR_KITS = Statement(
    select(shortage.c.allocation_id)
    .join(kit, kit.c.sku == shortage.c.sku)
    .join(allocation, allocation.c.id == shortage.c.allocation_id)
    .where(
        shortage.c.backordered,
        shortage.c.cause == literal_column(f"'{UNMAPPED}'"),
        allocation.c.state == literal_column(f"'{CONFIRMED}'"),
    )
    .distinct()
    .limit(parameter("count", Integer))
)


class MappedItems:
    """Several services on one database may each run one: an order that one has mapped waits no more."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._failures = FailureLog()

    async def run(self, stop: asyncio.Event) -> None:
        """Maps the items of waiting orders until `stop` is set: of those that arrived while their item was mapped."""
        await every(SWEEP_SECONDS, stop, self.map_waiting)

    async def map_now(self, listings: Sequence[Listing]) -> None:
        """Maps the items of the orders that waited for these listings, which are committed."""
        try:
            await self._map([listing.key for listing in listings], BATCHES_AT_ONCE)
        except NotReady:
            # The database has logged why it does not answer, and the background maps the orders later.
            pass
        except Exception as error:
            # The listings are committed, so their call must succeed.
            self._failures.failed(
                "orders that waited for a listing could not be planned; they will be in the background", error
            )

    async def map_waiting(self) -> None:
        """Maps the items of all orders that wait for one that is mapped by now."""
        while await self._map(None, BATCHES_AT_ONCE):
            pass

    async def _map(self, keys: Sequence[ItemKey] | None, batches: int) -> bool:
        """Maps at most so many batches of orders; returns whether there may be more."""
        for _ in range(batches):
            if not await self._deps.database.unlocked("mapped_items", partial(_find, keys=keys)):
                return False
            work = partial(self._map_batch, keys)
            if not await self._deps.database.transaction("mapped_items", work, self._count):
                # Other transactions have locked what was found; the background maps it later.
                return False
        return True

    def _count(self, unit_of_work: UnitOfWork | None) -> None:
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)

    async def _map_batch(self, keys: Sequence[ItemKey] | None, connection: Connection) -> UnitOfWork | None:
        """Maps the items of one batch of orders; None if all of them are locked, or wait no more."""
        ids = await order_store.lock_if_free(connection, await _find(connection, keys))
        stored = await order_store.read(connection, ids)
        items = {key for record in stored.values() for key in _unmapped(record)}
        listings = await listing_store.read(connection, items) if items else {}
        version = await catalog_store.version(connection)
        kits = (await self._deps.catalog_cache.at(connection, version)).kits
        skus = await order_store.line_skus(connection, ids) | {x.sku for x in listings.values()}
        components = kits.components_of(skus)
        if not listings and not components:
            return None
        skus |= components
        unit_of_work = await open_unit_of_work(connection, ids, skus, self._deps.new_id, self._deps.publication_log)
        planning = await context(
            connection, self._deps.catalog_cache, self._deps.policies(), skus, book=unit_of_work.book
        )
        records = [unit_of_work.records[id] for id in ids]
        for record in sorted(records, key=lambda record: (record.create_time, record.id)):
            change = map_lines(record, listings, kits)
            if change is None:
                continue
            unit_of_work.record(change)
            filled = fill_backorders(planning.of(record.channel_id), unit_of_work.book, record)
            if filled is not None:
                unit_of_work.record(filled)
        await unit_of_work.write(connection)
        return unit_of_work if unit_of_work.changes else None


def map_lines(record: AllocationRecord, listings: Mapping[ItemKey, Listing], kits: Kits) -> AllocationChange | None:
    """Gives lines of items that are mapped their SKUs and units, and lines whose SKU is a kit by now its components.

    All are on backorder. None if there are no such lines.
    """
    mapped = []
    lines, used = [], {line.line_id for line in record.lines}
    for line in record.lines:
        item = line.item
        found = None if item is None or item.is_mapped else listings.get((record.channel_id, item.item_id))
        if item is None or found is None:
            lines.append(line)
            continue
        ordered = replace(line.ordered(item.count), item=replace(item, units_each=found.unit_count))
        ordered = replace(ordered, sku=found.sku, unit_count=item.count * found.unit_count)
        kit = kits.by_sku.get(found.sku)
        if kit is not None and ordered.unit_count * max(kit.components.values()) > MAX_UNITS:
            # So many components can be no line; the channel has to split the order.
            lines.append(line)
            continue
        parts = [ordered] if kit is None else ordered_kits.component_lines(ordered, kit, used)
        lines += [_mapped_line(line, part) for part in parts]
        record.shortages = [x for short in record.shortages for x in _mapped_shortages(short, line.line_id, parts)]
        mapped.append(f"item {item.item_id} is {unit_count_text(found.unit_count)} of {found.sku}")
    record.lines = lines
    mapped += ordered_kits.expand_waiting(record, kits)
    if not mapped:
        return None
    added = tuple(short for short in record.shortages if short.cause == UNMAPPED)
    return AllocationChange(record, MAPPED, f"Mapped: {'; '.join(mapped)}.", oversold=added)


def _mapped_line(line: LineRecord, part: OrderLine) -> LineRecord:
    """The record of what a line ordered, or of one component of it; until now each item has counted as one unit."""
    assert part.item is not None
    each = part.item.units_each
    return replace(
        LineRecord.of(part),
        unit_count=line.unit_count * each,
        cancelled=line.cancelled * each,
        oversold=line.oversold * each,
        withheld=line.withheld * each,
    )


def _mapped_shortages(short: ShortageRecord, line_id: str, parts: Sequence[OrderLine]) -> Iterator[ShortageRecord]:
    if short.line_id != line_id:
        yield short
        return
    for part in parts:
        assert part.item is not None
        yield replace(short, line_id=part.line_id, sku=part.sku, unit_count=short.unit_count * part.item.units_each)


def _unmapped(record: AllocationRecord) -> list[ItemKey]:
    return [
        (record.channel_id, line.item.item_id)
        for line in record.lines
        if line.item is not None and not line.item.is_mapped
    ]


async def _find(connection: Connection, keys: Sequence[ItemKey] | None) -> list[UUID]:
    """The ids of at most BATCH orders that wait for items that are mapped by now, of these items if any are given.

    Otherwise also of those that wait for a product that is a kit by now.
    """
    if keys is None:
        rows = await _WAITING.rows(connection, count=BATCH) or await _WAITING_FOR_KITS.rows(connection, count=BATCH)
    else:
        rows = await _WAITING_FOR.rows(connection, count=BATCH, **transposed(["channel_id", "item_id"], keys))
    return [row["allocation_id"] for row in rows]
