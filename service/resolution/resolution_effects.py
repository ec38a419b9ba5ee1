"""What a resolution does, or would do now, to the units of its order and to stock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from policies.domain.resolutions import ALLOWED, DESCRIPTIONS, OTHER, Place, UnitMove, UnitPlace, moves_between
from policies.policy_set import PolicySet
from service.allocation.planning_context import ChannelContext, context
from service.background import in_turns
from service.capacity import order_uses
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import TruestockError
from service.exceptions import exception_store
from service.exceptions.exception_messages import RESOLUTIONS
from service.orders import order_messages, order_store
from service.orders.allocation_record import AllocationRecord
from service.resolution.resolution_actions import EFFECTS, ResolutionContext, apply_resolution
from service.stock import levels
from service.stock.stock_book import Book
from truestock.v1 import exception_pb2

_PLACES = {place: exception_pb2.UnitMove.Place.Value(f"PLACE_{place.name}") for place in UnitPlace}


@dataclass(frozen=True, slots=True)
class OrderBefore:
    """The units of an order by place, before a resolution; `movements` counts those of the book."""

    places: Mapping[Place, int]
    movements: int

    @classmethod
    def of(cls, record: AllocationRecord, book: Book) -> OrderBefore:
        """The order as it is."""
        return cls(_places(record), len(book.movements))


@dataclass(frozen=True, slots=True)
class Preview:
    """An open exception with its order, read in one snapshot without locks; no order if `record` is None."""

    row: asyncpg.Record
    record: AllocationRecord | None
    book: Book
    channel_context: ChannelContext | None
    context: ResolutionContext

    async def effect(self, resolution: str) -> exception_pb2.ResolutionEffect:
        """What a resolution that the kind allows would do. Raises what it would raise."""
        if resolution not in EFFECTS or self.record is None or self.channel_context is None:
            return effect_of(resolution)
        record, book = deepcopy(self.record), Book(self.book.now, dict(self.book.levels), self.book.new_id)
        book.backordered_skus = set(self.book.backordered_skus)
        before = OrderBefore.of(record, book)
        await in_turns(apply_resolution, self.channel_context, book, record, self.context, resolution)
        return effect_of(resolution, record, book, before)

    async def effects(self) -> list[exception_pb2.ResolutionEffect]:
        """What each resolution that the kind allows would do, in the order in which a person may choose."""
        return [await self._effect_or_problem(resolution) for resolution in ALLOWED[self.row["kind"]]]

    async def _effect_or_problem(self, resolution: str) -> exception_pb2.ResolutionEffect:
        try:
            return await self.effect(resolution)
        except TruestockError as error:
            effect = effect_of(resolution)
            effect.problem = str(error)
            return effect


async def preview(connection: Connection, deps: Dependencies, policy_set: PolicySet, row: asyncpg.Record) -> Preview:
    """Reads what the resolutions of an exception need; to be called in a snapshot. Locks and writes nothing."""
    allocation_id: UUID | None = row["allocation_id"]
    record = (await order_store.read(connection, [allocation_id]))[allocation_id] if allocation_id else None
    skus: Sequence[str] = sorted(record.skus) if record else ()
    now, stock_levels = await levels.read(connection, skus)
    book = Book(now, dict(stock_levels), deps.new_id)
    channel_context = None
    if record is not None:
        order_uses.load(book.capacity, record, now)
        planning = await context(connection, deps.catalog_cache, policy_set, skus, book=book)
        channel_context = planning.of(record.channel_id)
    return Preview(
        row,
        record,
        book,
        channel_context,
        await resolution_context(connection, row),
    )


async def resolution_context(connection: Connection, row: asyncpg.Record) -> ResolutionContext:
    """An exception as a resolution sees it."""
    return ResolutionContext(
        id=row["id"],
        kind=row["kind"],
        action=row["action"],
        line_ids=frozenset(row["line_ids"] or ()),
        shipment_id=row["shipment_id"],
        others_open=await exception_store.other_open_count(connection, row),
    )


def effect_of(
    resolution: str,
    record: AllocationRecord | None = None,
    book: Book | None = None,
    before: OrderBefore | None = None,
) -> exception_pb2.ResolutionEffect:
    """The effect of a resolution that has been applied to a record and a book; without them, it changes nothing."""
    effect = exception_pb2.ResolutionEffect(
        resolution=RESOLUTIONS[resolution], description=DESCRIPTIONS[resolution], needs_note=resolution == OTHER
    )
    if record is None or book is None or before is None:
        return effect
    skus = {line.line_id: line.sku for line in record.lines}
    effect.moves.extend(_move(move, skus) for move in moves_between(before.places, _places(record)))
    effect.stock.extend(_stock(book, before.movements))
    allocation = order_messages.allocation(record, book.now)
    effect.outcome, effect.status = allocation.outcome, allocation.status
    return effect


def _places(record: AllocationRecord) -> dict[Place, int]:
    """The units of an order that have not shipped, by place."""
    units: Counter[Place] = Counter()
    for shipment in record.shipments:
        for line_id, count in shipment.units.items():
            units[Place(line_id, UnitPlace.ALLOCATED, shipment.location_id)] += count
    for short in record.shortages:
        place = UnitPlace.BACKORDERED if short.backordered else UnitPlace.SHORT
        units[Place(short.line_id, place)] += short.unit_count
    for line in record.lines:
        units[Place(line.line_id, UnitPlace.CANCELLED)] += line.cancelled
    return {place: count for place, count in units.items() if count}


def _move(move: UnitMove, skus: Mapping[str, str]) -> exception_pb2.UnitMove:
    message = exception_pb2.UnitMove(
        line_id=move.start.line_id,
        sku=skus.get(move.start.line_id, ""),
        unit_count=move.unit_count,
        from_location_id=move.start.location_id,
        to=_PLACES[move.end.place],
        to_location_id=move.end.location_id,
    )
    # `from` is a word of the language.
    setattr(message, "from", _PLACES[move.start.place])
    return message


def _stock(book: Book, movements_before: int) -> list[exception_pb2.StockEffect]:
    figures: dict[tuple[str, str], Counter[str]] = {}
    for movement in book.movements[movements_before:]:
        sums = figures.setdefault((movement.sku, movement.location_id), Counter())
        sums["on_hand_change"] += movement.on_hand
        sums["unavailable_change"] += movement.unavailable
        sums["allocated_change"] += movement.allocated
    return [
        exception_pb2.StockEffect(sku=sku, location_id=location_id, **sums)
        for (sku, location_id), sums in sorted(figures.items())
        if any(sums.values())
    ]
