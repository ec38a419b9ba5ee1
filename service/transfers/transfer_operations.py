"""Transfers of stock between two locations: subtracted at one, unsellable in transit, added at the other."""

from __future__ import annotations

from collections.abc import Iterable

from policies.explanation import unit_count_text
from policies.policy_set import PolicySet
from policies.stock.feeds import TRANSFERS
from service import limits
from service.allocation import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import (
    ADD_LOCATION_FIRST,
    ADD_PRODUCT_FIRST,
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
from service.stock import levels, provenance
from service.stock.provenance import ReportedFigure
from service.stock.stock_book import Book, Key, Movement
from service.transfers import transfer_store
from service.transfers.transfer_requests import Dispatch, Receipt
from service.transfers.transfer_store import TransferLine, TransferRecord
from truestock.v1 import stock_service_pb2 as stock_pb

_ADVICE_DISPATCH = "dispatch it first, with TransferStock or `truestock transfer dispatch`"


class TransferOperations:
    """Dispatches and receipts, each in one transaction."""

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

        answer_type = stock_pb.TransferStockResponse
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
        # The destination gets its levels now, so that they can show the incoming units.
        book = await self._open(connection, {(sku, step.to_location_id) for sku in step.units})
        transfer = TransferRecord(
            id=step.transfer_id,
            from_location_id=step.from_location_id,
            to_location_id=step.to_location_id,
            lines={sku: TransferLine(units) for sku, units in step.units.items()},
            expect_time=step.expect_time,
            dispatch_time=book.now,
        )
        if not await transfer_store.add(connection, transfer):
            return await _repeated_dispatch(connection, transfer), UnitOfWork(book)
        _check_available(book, step)
        for sku, units in sorted(step.units.items()):
            self._move(book, "transferred_out", (sku, step.from_location_id), -units, step.transfer_id)
        return transfer, await self._write(connection, book, policy_set)

    async def _receive(
        self, connection: Connection, step: Receipt, policy_set: PolicySet
    ) -> tuple[TransferRecord, UnitOfWork]:
        transfer = await transfer_store.find(connection, step.transfer_id)
        if transfer is None:
            raise NotFound("transfer", {"transfer_id": step.transfer_id}, _ADVICE_DISPATCH)
        _check_lines(transfer, step)
        location_id = transfer.to_location_id
        book = await self._open(connection, {(sku, location_id) for sku in step.units})
        # Levels are locked before the transfer, as in a dispatch; received units are read under both locks.
        transfer = await transfer_store.find(connection, step.transfer_id, lock=True) or transfer
        if transfer.complete_time is not None:
            return _completed_already(transfer, step), UnitOfWork(book)
        _check_figures(book, transfer, step)
        after = transfer.with_received(step.units, book.now, complete=step.complete)
        unreported_skus = [sku for sku in sorted(step.units) if book.levels[sku, location_id].as_of_time is None]
        for sku, units in sorted(step.units.items()):
            self._move(book, "transferred_in", (sku, location_id), units, step.transfer_id)
        unit_of_work = await self._write(connection, book, policy_set)
        # A level that a source has reported keeps its age: the receipt does not confirm its other units.
        await provenance.record(
            connection, book.now, [ReportedFigure(sku, location_id, book.now, TRANSFERS) for sku in unreported_skus]
        )
        await transfer_store.receive(connection, after, step.units)
        unit_of_work.raised += await self._raise_mismatch(connection, book, after, policy_set)
        return after, unit_of_work

    async def _open(self, connection: Connection, keys: set[Key]) -> Book:
        await order_store.lock_needed(connection)
        await levels.ensure(connection, keys)
        locked = await levels.lock(connection, {sku for sku, _ in keys})
        return await levels.open_book(connection, locked, self._deps.new_id)

    async def _write(self, connection: Connection, book: Book, policy_set: PolicySet) -> UnitOfWork:
        """Rebalances orders over the changed stock and writes the book."""
        unit_of_work = UnitOfWork(book)
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)
        return unit_of_work

    def _move(self, book: Book, kind: str, key: Key, units: int, transfer_id: str) -> None:
        book.apply(
            Movement(
                id=self._deps.new_id(),
                sku=key[0],
                location_id=key[1],
                kind=kind,
                on_hand=units,
                unavailable=0,
                held=0,
                allocated=0,
                source=TRANSFERS,
                effective_time=book.now,
                reason=transfer_id,
            )
        )

    async def _raise_mismatch(
        self, connection: Connection, book: Book, after: TransferRecord, policy_set: PolicySet
    ) -> list[RaisedException]:
        """Raises an exception if a completed transfer did not receive the dispatched units; returns it if new."""
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


async def _check_known(connection: Connection, step: Dispatch) -> None:
    skus = await catalog_store.missing_products(connection, step.units)
    if skus:
        missing = {f"{step.fields[sku]}.sku": sku for sku in sorted(skus)}
        raise NotFound("product", missing, ADD_PRODUCT_FIRST)
    locations_by_field = {
        "dispatch.from_location_id": step.from_location_id,
        "dispatch.to_location_id": step.to_location_id,
    }
    locations = await catalog_store.missing_locations(connection, locations_by_field.values())
    if locations:
        missing = {field: id for field, id in locations_by_field.items() if id in locations}
        raise NotFound("location", missing, ADD_LOCATION_FIRST)


async def _repeated_dispatch(connection: Connection, dispatched: TransferRecord) -> TransferRecord:
    """The stored transfer of a repeated dispatch. Raises InvalidFields if the two dispatches differ."""
    stored = await transfer_store.find(connection, dispatched.id)
    assert stored is not None
    fields = list(transfer_store.differing_fields(stored, dispatched))
    if fields:
        problem = f"differs from the dispatch of transfer '{dispatched.id}'; use a new transfer_id for a new transfer"
        raise InvalidFields([Violation(f"dispatch.{field}", problem) for field in fields])
    return stored


def _check_available(book: Book, step: Dispatch) -> None:
    short: dict[str, tuple[str, int, int]] = {}
    for sku, units in step.units.items():
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


def _completed_already(transfer: TransferRecord, step: Receipt) -> TransferRecord:
    """The stored transfer if it is only completed again. Raises WrongState if units are received after completion."""
    if step.units:
        advice = "record units that arrived later as found, with RecordStockChanges"
        raise WrongState("transfer", transfer.id, "completed", "received", advice)
    return transfer


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


def _mismatch_description(after: TransferRecord, differing: Iterable[tuple[str, TransferLine]]) -> str:
    differences = [
        f"{unit_count_text(line.missing)} of '{sku}' did not arrive"
        if line.missing > 0
        else f"{unit_count_text(-line.missing)} of '{sku}' arrived that were not dispatched"
        for sku, line in sorted(differing)
    ]
    more = f"; and {len(differences) - 5} more products" if len(differences) > 5 else ""
    route = f"from '{after.from_location_id}' to '{after.to_location_id}'"
    return f"Transfer '{after.id}' {route} is complete, but {'; '.join(differences[:5])}{more}."
