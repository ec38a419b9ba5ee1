"""Transfers of stock between two locations: subtracted at one, unsellable in transit, added at the other.

A step may be booked after a count that has seen its effect. Then the count already includes it, and on hand stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from policies.explanation import unit_count_text
from policies.policy_set import PolicySet
from policies.stock.counting import TRANSFER_CANCELLED, TRANSFERRED_IN, TRANSFERRED_OUT, counted_already
from policies.stock.feeds import TRANSFERS
from service import limits
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planning_context import ChannelContext, context
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store, unknown_records
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import (
    InsufficientStock,
    InvalidFields,
    NotFound,
    Violation,
    WrongState,
)
from service.exceptions import incidents
from service.exceptions.incidents import Incident, RaisedException
from service.orders import order_store
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import levels, provenance, stock_history
from service.stock.provenance import ReportedFigure
from service.stock.stock_book import Book, Key, Occurrence
from service.transfers import transfer_store
from service.transfers.order_transfers import OrderTransfer, allocation_of
from service.transfers.transfer_requests import Dispatch, Receipt, TransferCancellation
from service.transfers.transfer_store import TransferLine, TransferRecord
from truestock.v1 import stock_service_pb2 as stock_pb

Answer = TypeVar("Answer", bound=Message)
LaterStep = TypeVar("LaterStep", Receipt, TransferCancellation)

_ADVICE_DISPATCH = "dispatch it first, with TransferStock or `truestock transfer dispatch`"


class TransferOperations:
    """Dispatches, receipts and cancellations, each in one transaction."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def execute(
        self, step: Dispatch | Receipt, idempotent_request: IdempotentRequest, policy_set: PolicySet
    ) -> stock_pb.TransferStockResponse:
        """Dispatches or receives, all or nothing.

        Raises NotFound, InsufficientStock, WrongState, InvalidFields, RequestIdReused.
        """

        async def work(connection: Connection) -> tuple[stock_pb.TransferStockResponse, UnitOfWork]:
            if isinstance(step, Dispatch):
                record, unit_of_work = await self._dispatch(connection, step, policy_set)
            else:
                record, unit_of_work = await self._receive(connection, step, policy_set)
            return stock_pb.TransferStockResponse(transfer=transfer_store.message(record)), unit_of_work

        return await self._once(idempotent_request, stock_pb.TransferStockResponse, work)

    async def cancel(
        self, step: TransferCancellation, idempotent_request: IdempotentRequest, policy_set: PolicySet
    ) -> stock_pb.CancelTransferResponse:
        """Calls off a transfer in transit. Raises NotFound, WrongState, InvalidFields, RequestIdReused."""

        async def work(connection: Connection) -> tuple[stock_pb.CancelTransferResponse, UnitOfWork]:
            record, unit_of_work = await self._cancel(connection, step, policy_set)
            return stock_pb.CancelTransferResponse(transfer=transfer_store.message(record)), unit_of_work

        return await self._once(idempotent_request, stock_pb.CancelTransferResponse, work)

    async def _once(
        self,
        idempotent_request: IdempotentRequest,
        answer_type: type[Answer],
        work: Callable[[Connection], Awaitable[tuple[Answer, UnitOfWork]]],
    ) -> Answer:
        return await idempotency.once(
            self._deps.database,
            "transfer",
            idempotent_request,
            answer_type,
            work,
            count=lambda unit_of_work: unit_of_work.count(self._deps.metrics),
        )

    async def _dispatch(
        self, connection: Connection, step: Dispatch, policy_set: PolicySet
    ) -> tuple[TransferRecord, UnitOfWork]:
        await _check_known(connection, step)
        allocation_id = None if step.shipment_id is None else await allocation_of(connection, step.shipment_id)
        # The destination gets its levels now, so that they can show the incoming units.
        keys = {(sku, step.to_location_id) for sku in step.units}
        unit_of_work = await self._open(connection, keys, allocation_id)
        book = unit_of_work.book
        transfer = TransferRecord(
            id=step.transfer_id,
            from_location_id=step.from_location_id,
            to_location_id=step.to_location_id,
            lines={sku: TransferLine(units) for sku, units in step.units.items()},
            expect_time=step.expect_time,
            dispatch_time=step.effective_time or book.now,
            allocation_id=allocation_id,
            shipment_id=step.shipment_id,
        )
        if not await transfer_store.add(connection, transfer):
            return await _repeated_dispatch(connection, transfer, step), unit_of_work
        if allocation_id is not None and step.shipment_id is not None:
            OrderTransfer.of(unit_of_work, allocation_id, step.shipment_id).dispatch(step)
        occurrences = await _occurrences(connection, book, step.from_location_id, step)
        _check_available(book, step, occurrences)
        for sku, units in sorted(step.units.items()):
            key = (sku, step.from_location_id)
            book.transfer(TRANSFERRED_OUT, key, units, occurrences[sku], transfer_id=step.transfer_id)
        await self._write(connection, unit_of_work, policy_set)
        await transfer_store.record_change(connection, "dispatched", None, transfer)
        return transfer, unit_of_work

    async def _receive(
        self, connection: Connection, step: Receipt, policy_set: PolicySet
    ) -> tuple[TransferRecord, UnitOfWork]:
        transfer = await _dispatched(connection, step.transfer_id)
        _check_lines(transfer, step)
        location_id = transfer.to_location_id
        unit_of_work = await self._open(connection, {(sku, location_id) for sku in step.units}, transfer.allocation_id)
        book = unit_of_work.book
        # Levels are locked before the transfer, as in a dispatch; received units are read under both locks.
        transfer = await transfer_store.find(connection, step.transfer_id, lock=True) or transfer
        if transfer.complete_time is not None:
            return _ended_already(transfer, step), unit_of_work
        step = await _not_before_dispatch(connection, transfer, step, "receipt.effective_time")
        _check_figures(book, transfer, step)
        receive_time = step.effective_time or book.now
        after = transfer.with_received(step.units, receive_time, complete=step.complete)
        unreported_skus = [sku for sku in sorted(step.units) if book.levels[sku, location_id].as_of_time is None]
        occurrences = await _occurrences(connection, book, location_id, step)
        for sku, units in sorted(step.units.items()):
            book.transfer(TRANSFERRED_IN, (sku, location_id), units, occurrences[sku], transfer_id=step.transfer_id)
        order = _order_of(unit_of_work, transfer)
        if order is not None:
            context = await self._context(connection, unit_of_work, order, policy_set)
            order.receive(context, step.units, transfer)
            if after.complete_time is not None:
                order.lose(context)
        await self._write(connection, unit_of_work, policy_set)
        # A level that a source has reported keeps its age: the receipt does not confirm its other units.
        await provenance.record(
            connection, book.now, [ReportedFigure(sku, location_id, receive_time, TRANSFERS) for sku in unreported_skus]
        )
        await transfer_store.receive(connection, after, step.units)
        await transfer_store.record_change(connection, "received", transfer, after)
        unit_of_work.raised += await self._raise_mismatch(connection, book, after, policy_set)
        return after, unit_of_work

    async def _cancel(
        self, connection: Connection, step: TransferCancellation, policy_set: PolicySet
    ) -> tuple[TransferRecord, UnitOfWork]:
        transfer = await _dispatched(connection, step.transfer_id)
        origin = transfer.from_location_id
        unit_of_work = await self._open(connection, {(sku, origin) for sku in transfer.lines}, transfer.allocation_id)
        book = unit_of_work.book
        transfer = await transfer_store.find(connection, step.transfer_id, lock=True) or transfer
        step = await _not_before_dispatch(connection, transfer, step, "effective_time")
        if transfer.complete_time is not None:
            return _cancelled_already(transfer, step), unit_of_work
        after = transfer.with_rest_returned(step.effective_time or book.now)
        _check_returned_figures(book, after)
        for part in await _returned_parts(connection, book, after, step):
            book.transfer(TRANSFER_CANCELLED, part.key, part.units, part.occurrence, transfer_id=after.id)
        order = _order_of(unit_of_work, transfer)
        if order is not None:
            order.call_off(transfer)
        await self._write(connection, unit_of_work, policy_set)
        await transfer_store.cancel(connection, after)
        await transfer_store.record_change(connection, "cancelled", transfer, after)
        unit_of_work.raised += await self._raise_mismatch(connection, book, after, policy_set)
        return after, unit_of_work

    async def _open(self, connection: Connection, keys: set[Key], allocation_id: UUID | None) -> UnitOfWork:
        """Locks the order whose units a transfer carries, if it does, and the levels."""
        ids = [] if allocation_id is None else [allocation_id]
        if ids:
            await order_store.lock(connection, ids)
        else:
            await order_store.lock_needed(connection)
        await levels.ensure(connection, keys)
        skus = {sku for sku, _ in keys} | (await order_store.line_skus(connection, ids) if ids else set())
        return await open_unit_of_work(connection, ids, skus, self._deps.new_id, self._deps.publication_log)

    async def _context(
        self, connection: Connection, unit_of_work: UnitOfWork, order: OrderTransfer, policy_set: PolicySet
    ) -> ChannelContext:
        skus = {sku for sku, _ in unit_of_work.book.levels} | order.record.skus
        return (await context(connection, self._deps.catalog_cache, policy_set, skus)).of(order.record.channel_id)

    async def _write(self, connection: Connection, unit_of_work: UnitOfWork, policy_set: PolicySet) -> None:
        """Rebalances orders over the changed stock and writes the book."""
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)

    async def _raise_mismatch(
        self, connection: Connection, book: Book, after: TransferRecord, policy_set: PolicySet
    ) -> list[RaisedException]:
        """Raises an exception if an ended transfer did not receive the dispatched units; returns it if new."""
        differing = {sku: line for sku, line in after.lines.items() if line.missing}
        if after.complete_time is None or not differing:
            return []
        version, products = await catalog_store.products(connection, differing)
        catalog = await self._deps.catalog_cache.at(connection, version)
        only_sku = next(iter(differing)) if len(differing) == 1 else None
        incident = Incident(
            kind="mismatch",
            subject=after.id,
            description=_mismatch_description(after, differing.items()),
            location=catalog.locations.get(after.to_location_id),
            product=products.get(only_sku) if only_sku else None,
            sku=only_sku,
            location_id=after.to_location_id,
            source=TRANSFERS,
        )
        return await incidents.raise_all(connection, policy_set, book.now, [incident], self._deps.new_id)


def _order_of(unit_of_work: UnitOfWork, transfer: TransferRecord) -> OrderTransfer | None:
    if transfer.allocation_id is None or transfer.shipment_id is None:
        return None
    return OrderTransfer.of(unit_of_work, transfer.allocation_id, transfer.shipment_id)


@dataclass(frozen=True, slots=True)
class _ReturnedPart:
    """Units of one product that are at the origin again, and whether a count already includes them."""

    key: Key
    units: int
    occurrence: Occurrence


async def _dispatched(connection: Connection, transfer_id: str) -> TransferRecord:
    transfer = await transfer_store.find(connection, transfer_id)
    if transfer is None:
        raise NotFound("transfer", {"transfer_id": transfer_id}, _ADVICE_DISPATCH)
    return transfer


async def _not_before_dispatch(
    connection: Connection, transfer: TransferRecord, step: LaterStep, field: str
) -> LaterStep:
    """The step, at the dispatch if it precedes it by no more than clocks may differ.

    Raises InvalidFields if it precedes it by more. A dispatch without a stated time may have been booked late.
    """
    time, dispatch_time = step.effective_time, transfer.dispatch_time
    if time is None or time >= dispatch_time or not await transfer_store.has_stated_dispatch(connection, transfer):
        return step
    if time >= dispatch_time - limits.CLOCK_SKEW:
        return replace(step, effective_time=dispatch_time)
    problem = (
        f"is {time:%Y-%m-%d %H:%M:%S} UTC, before the dispatch of transfer '{transfer.id}' at "
        f"{dispatch_time:%Y-%m-%d %H:%M:%S} UTC; state when the units moved after that"
    )
    raise InvalidFields([Violation(field, problem)])


async def _occurrences(
    connection: Connection, book: Book, location_id: str, step: Dispatch | Receipt | TransferCancellation
) -> Mapping[str, Occurrence]:
    """By SKU: when the units of a step moved, and whether a count of the location already includes that."""
    skus = {sku for sku, _ in book.levels}
    if step.effective_time is None:
        return dict.fromkeys(skus, Occurrence(book.now))
    times = dict.fromkeys({(sku, location_id) for sku in skus} & set(book.levels), step.effective_time)
    counted_levels = await provenance.counted_levels(connection, times)
    return {sku: Occurrence(step.effective_time, counted_levels.get((sku, location_id), False)) for sku in skus}


async def _returned_parts(
    connection: Connection, book: Book, after: TransferRecord, step: TransferCancellation
) -> list[_ReturnedPart]:
    """The units of a cancelled transfer that are at its origin again.

    Without a stated time nobody says where the units were while the origin was counted: on the truck, or on the shelf
    because they never left. The counts themselves tell: units that they found beyond all recorded movements never left.
    """
    origin = after.from_location_id
    returned = {(sku, origin): line.returned for sku, line in sorted(after.lines.items()) if line.returned}
    if step.effective_time is not None:
        occurrences = await _occurrences(connection, book, origin, step)
        return [_ReturnedPart(key, units, occurrences[key[0]]) for key, units in returned.items()]
    # The history reads what is effective after a moment, and the dispatch itself belongs to it.
    since = after.dispatch_time - timedelta(microseconds=1)
    history = await stock_history.read(connection, {(key, since) for key in returned}, set(), set())
    parts = []
    for key, units in returned.items():
        moved, changed = history.moved_since(key, since), history.on_hand_change_since(key, since)
        counted = counted_already(units, moved=moved, changed=changed)
        # Units that never left are no movement for any count since the dispatch, also for one that arrives later.
        never_left = Occurrence(after.dispatch_time, is_counted=True)
        parts += [_ReturnedPart(key, counted, never_left)] if counted else []
        parts += [_ReturnedPart(key, units - counted, Occurrence(book.now))] if counted < units else []
    return parts


async def _check_known(connection: Connection, step: Dispatch) -> None:
    skus = await catalog_store.missing_products(connection, step.units)
    if skus:
        missing = {f"{step.fields[sku]}.sku": sku for sku in sorted(skus)}
        raise await unknown_records.product_error(connection, missing)
    locations_by_field = {
        "dispatch.from_location_id": step.from_location_id,
        "dispatch.to_location_id": step.to_location_id,
    }
    locations = await catalog_store.missing_locations(connection, locations_by_field.values())
    if locations:
        missing = {field: id for field, id in locations_by_field.items() if id in locations}
        raise await unknown_records.location_error(connection, missing)


async def _repeated_dispatch(connection: Connection, dispatched: TransferRecord, step: Dispatch) -> TransferRecord:
    """The stored transfer of a repeated dispatch. Raises InvalidFields if the two dispatches differ."""
    stored = await transfer_store.find(connection, dispatched.id)
    assert stored is not None
    fields = list(transfer_store.differing_fields(stored, dispatched))
    if step.effective_time not in (None, stored.dispatch_time):
        fields.append("effective_time")
    if fields:
        problem = f"differs from the dispatch of transfer '{dispatched.id}'; use a new transfer_id for a new transfer"
        raise InvalidFields([Violation(f"dispatch.{field}", problem) for field in fields])
    return stored


def _check_available(book: Book, step: Dispatch, occurrences: Mapping[str, Occurrence]) -> None:
    """Raises InsufficientStock. Units that a count already excludes have left, so they need not be available."""
    short: dict[str, tuple[str, int, int]] = {}
    for sku, units in step.units.items():
        if occurrences[sku].is_counted:
            continue
        level = book.levels.get((sku, step.from_location_id))
        available = max(0, level.available) if level else 0
        if units > available:
            short[f"{step.fields[sku]}.unit_count"] = (sku, units, available)
    if short:
        raise InsufficientStock(step.from_location_id, short)


def _check_lines(transfer: TransferRecord, step: Receipt) -> None:
    unknown = {f"{step.fields[sku]}.sku": sku for sku in step.units if sku not in transfer.lines}
    if unknown:
        lines = ", ".join(sorted(transfer.lines)[:20])
        advice = f"the transfer contains: {lines}; record other units as found, with RecordStockChanges"
        raise NotFound("transfer line", unknown, advice)


def _ended_already(transfer: TransferRecord, step: Receipt) -> TransferRecord:
    """The stored transfer if it is only completed again. Raises WrongState if units arrive or it was cancelled."""
    if step.units or transfer.cancelled:
        state = "cancelled" if transfer.cancelled else "completed"
        advice = f"record units that arrived later as found at '{transfer.to_location_id}', with RecordStockChanges"
        raise WrongState("transfer", transfer.id, state, "received", advice)
    return transfer


def _cancelled_already(transfer: TransferRecord, step: TransferCancellation) -> TransferRecord:
    """The stored transfer if it was cancelled before.

    Raises InvalidFields if that cancellation has another time, WrongState if the transfer is complete.
    """
    if transfer.cancelled:
        if step.effective_time not in (None, transfer.complete_time):
            problem = (
                f"differs from the cancellation of transfer '{transfer.id}', which returned its units at "
                f"{transfer.complete_time:%Y-%m-%d %H:%M:%S} UTC; count the origin if that is wrong"
            )
            raise InvalidFields([Violation("effective_time", problem)])
        return transfer
    lost = sum(max(0, line.missing) for line in transfer.lines.values())
    advice = (
        f"{unit_count_text(lost)} did not arrive and {'is' if lost == 1 else 'are'} recorded as lost; record what is "
        f"still at '{transfer.from_location_id}' as found, with RecordStockChanges, and resolve the mismatch exception"
        if lost
        else "all units were received; send them back with a new transfer"
    )
    raise WrongState("transfer", transfer.id, "completed", "cancelled", advice)


def _check_figures(book: Book, transfer: TransferRecord, step: Receipt) -> None:
    """Raises InvalidFields if a figure would exceed COUNTED_UNITS."""
    too_many = [
        Violation(f"{step.fields[sku]}.unit_count", f"would raise a stock figure above {limits.COUNTED_UNITS:,} units")
        for sku, units in step.units.items()
        if book.levels[sku, transfer.to_location_id].on_hand + units > limits.COUNTED_UNITS
        or transfer.lines[sku].received + units > limits.COUNTED_UNITS
    ]
    if too_many:
        raise InvalidFields(too_many)


def _check_returned_figures(book: Book, after: TransferRecord) -> None:
    """Raises InvalidFields if a figure of the origin would exceed COUNTED_UNITS."""
    too_many = [
        sku
        for sku, line in sorted(after.lines.items())
        if book.levels[sku, after.from_location_id].on_hand + line.returned > limits.COUNTED_UNITS
    ]
    if too_many:
        problem = f"would raise on hand of '{too_many[0]}' above {limits.COUNTED_UNITS:,} units; count it first"
        raise InvalidFields([Violation("transfer_id", problem)])


def _mismatch_description(after: TransferRecord, differing: Iterable[tuple[str, TransferLine]]) -> str:
    differences = [
        f"{unit_count_text(line.missing)} of '{sku}' did not arrive"
        if line.missing > 0
        else f"{unit_count_text(-line.missing)} of '{sku}' arrived that were not dispatched"
        for sku, line in sorted(differing)
    ]
    more = f"; and {len(differences) - 5} more products" if len(differences) > 5 else ""
    route = f"from '{after.from_location_id}' to '{after.to_location_id}'"
    state = "cancelled" if after.cancelled else "complete"
    return f"Transfer '{after.id}' {route} is {state}, but {'; '.join(differences[:5])}{more}."
