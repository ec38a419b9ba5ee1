"""Stock that moves between two locations: it leaves one, is nobody's on its way, and arrives at the other."""

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
        self, step: Dispatch | Receipt, asked: IdempotentRequest, policy_set: PolicySet
    ) -> stock_pb.TransferStockResponse:
        """All of it or nothing. Raises NotFound, InsufficientStock, WrongState, InvalidFields, RequestIdReused."""

        async def work(connection: Connection) -> tuple[stock_pb.TransferStockResponse, UnitOfWork]:
            if isinstance(step, Dispatch):
                record, unit_of_work = await self._dispatch(connection, step, policy_set)
            else:
                record, unit_of_work = await self._receive(connection, step, policy_set)
            return stock_pb.TransferStockResponse(transfer=transfer_store.message(record)), unit_of_work

        answer_type = stock_pb.TransferStockResponse
        answer, unit_of_work = await idempotency.once(self._deps.database, "transfer", asked, answer_type, work)
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)
        return answer

    async def _dispatch(
        self, connection: Connection, step: Dispatch, policy_set: PolicySet
    ) -> tuple[TransferRecord, UnitOfWork]:
        await _check_known(connection, step)
        # The destination gets its levels now, so that they show what is on its way to them.
        book = await self._open(connection, {(sku, step.to_location_id) for sku in step.units})
        made = TransferRecord(
            id=step.transfer_id,
            from_location_id=step.from_location_id,
            to_location_id=step.to_location_id,
            lines={sku: TransferLine(units) for sku, units in step.units.items()},
            expect_time=step.expect_time,
            dispatch_time=book.now,
        )
        if not await transfer_store.add(connection, made):
            return await _repeated_dispatch(connection, made), UnitOfWork(book)
        _check_available(book, step)
        for sku, units in sorted(step.units.items()):
            self._move(book, "transferred_out", (sku, step.from_location_id), -units, step.transfer_id)
        return made, await self._write(connection, book, policy_set)

    async def _receive(
        self, connection: Connection, step: Receipt, policy_set: PolicySet
    ) -> tuple[TransferRecord, UnitOfWork]:
        known = await transfer_store.find(connection, step.transfer_id)
        if known is None:
            raise NotFound("transfer", {"transfer_id": step.transfer_id}, _ADVICE_DISPATCH)
        _check_lines(known, step)
        to = known.to_location_id
        book = await self._open(connection, {(sku, to) for sku in step.units})
        # Levels are locked before the transfer, as in a dispatch; what has arrived is read under both locks.
        known = await transfer_store.find(connection, step.transfer_id, lock=True) or known
        if known.complete_time is not None:
            return _completed_already(known, step), UnitOfWork(book)
        _check_figures(book, known, step)
        after = known.with_received(step.units, book.now, complete=step.complete)
        unheard = [sku for sku in sorted(step.units) if book.levels[sku, to].as_of_time is None]
        for sku, units in sorted(step.units.items()):
            self._move(book, "transferred_in", (sku, to), units, step.transfer_id)
        unit_of_work = await self._write(connection, book, policy_set)
        # A figure that a source vouched for keeps its age: that units arrived does not say that the rest is there.
        await provenance.record(connection, book.now, [ReportedFigure(sku, to, book.now, TRANSFERS) for sku in unheard])
        await transfer_store.receive(connection, after, step.units)
        unit_of_work.raised += await self._raise_mismatch(connection, book, after, policy_set)
        return after, unit_of_work

    async def _open(self, connection: Connection, made: set[Key]) -> Book:
        await order_store.lock_needed(connection)
        await levels.ensure(connection, made)
        locked = await levels.lock(connection, {sku for sku, _ in made})
        return await levels.open_book(connection, locked, self._deps.new_id)

    async def _write(self, connection: Connection, book: Book, policy_set: PolicySet) -> UnitOfWork:
        """Writes a book in which stock has moved, and what follows from that for orders."""
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
        """Raises an exception where a transfer has ended with other units than it began with; returns it if new."""
        differing = {sku: line for sku, line in after.lines.items() if line.missing}
        if after.complete_time is None or not differing:
            return []
        version, products = await catalog_store.products(connection, differing)
        known = await self._deps.catalog_cache.at(connection, version)
        only = next(iter(differing)) if len(differing) == 1 else None
        incident = Incident(
            kind="mismatch",
            subject=after.id,
            description=_mismatch_description(after, differing.items()),
            location=known.locations.get(after.to_location_id),
            product=products.get(only) if only else None,
            sku=only,
            location_id=after.to_location_id,
            source=TRANSFERS,
        )
        return await incidents.raise_all(connection, policy_set, book.now, [incident], self._deps.new_id)


async def _check_known(connection: Connection, step: Dispatch) -> None:
    skus = await catalog_store.missing_products(connection, step.units)
    if skus:
        wrong = {f"{step.fields[sku]}.sku": sku for sku in sorted(skus)}
        raise NotFound("product", wrong, ADD_PRODUCT_FIRST)
    named = {"dispatch.from_location_id": step.from_location_id, "dispatch.to_location_id": step.to_location_id}
    locations = await catalog_store.missing_locations(connection, named.values())
    if locations:
        wrong = {field: id for field, id in named.items() if id in locations}
        raise NotFound("location", wrong, ADD_LOCATION_FIRST)


async def _repeated_dispatch(connection: Connection, made: TransferRecord) -> TransferRecord:
    """The transfer as it stands, where a dispatch is sent again. Raises InvalidFields where it says something else."""
    known = await transfer_store.find(connection, made.id)
    assert known is not None
    fields = list(transfer_store.differing_fields(known, made))
    if fields:
        what = f"differs from what transfer '{made.id}' was dispatched with; give another transfer an id of its own"
        raise InvalidFields([Violation(f"dispatch.{field}", what) for field in fields])
    return known


def _check_available(book: Book, step: Dispatch) -> None:
    short: dict[str, tuple[str, int, int]] = {}
    for sku, units in step.units.items():
        level = book.levels.get((sku, step.from_location_id))
        available = max(0, level.available) if level else 0
        if units > available:
            short[f"{step.fields[sku]}.unit_count"] = (sku, units, available)
    if short:
        raise InsufficientStock(step.from_location_id, short)


def _check_lines(known: TransferRecord, step: Receipt) -> None:
    strange = {f"{step.fields[sku]}.sku": sku for sku in step.units if sku not in known.lines}
    if strange:
        lines = ", ".join(sorted(known.lines)[:20])
        advice = f"its products are: {lines}; record what came without having been dispatched as found"
        raise NotFound("transfer line", strange, advice)


def _completed_already(known: TransferRecord, step: Receipt) -> TransferRecord:
    """The transfer as it stands, where only its end is said again. Raises WrongState where more should arrive."""
    if step.units:
        advice = "record units that turned up as found, with RecordStockChanges"
        raise WrongState("transfer", known.id, "settled", "received", advice)
    return known


def _check_figures(book: Book, known: TransferRecord, step: Receipt) -> None:
    """Raises InvalidFields where a figure would pass what the database has room for."""
    too_many = [
        Violation(f"{step.fields[sku]}.unit_count", f"would take a figure past {limits.COUNTED_UNITS:,} units")
        for sku, units in step.units.items()
        if book.levels[sku, known.to_location_id].on_hand + units > limits.COUNTED_UNITS
        or known.lines[sku].received + units > limits.COUNTED_UNITS
    ]
    if too_many:
        raise InvalidFields(too_many)


def _mismatch_description(after: TransferRecord, differing: Iterable[tuple[str, TransferLine]]) -> str:
    said = [
        f"{unit_count_text(line.missing)} of '{sku}' did not arrive"
        if line.missing > 0
        else f"{unit_count_text(-line.missing)} of '{sku}' more than left"
        for sku, line in sorted(differing)
    ]
    more = f"; and {len(said) - 5} more products" if len(said) > 5 else ""
    way = f"from '{after.from_location_id}' to '{after.to_location_id}'"
    return f"Transfer '{after.id}' {way} is settled, and {'; '.join(said[:5])}{more}."
