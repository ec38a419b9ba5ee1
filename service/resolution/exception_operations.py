"""Operations of people on exceptions: assign, resolve, report. One transaction each.

Locks are taken in the order of all writers: request id, order, stock levels, and the exception last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from policies.domain.model import OrderFacts
from policies.domain.resolutions import ALLOWED, COMPLETED, is_allowed
from policies.policy_set import PolicySet
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planning_context import context
from service.allocation.replanning import rebalancing
from service.allocation.sync_failures import SYNC_FAILED
from service.allocation.unit_of_work import UnitOfWork
from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.catalog import catalog_store
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import CannotResolve, InvalidFields, NotFound, Violation
from service.exceptions import exception_messages, exception_store, incidents, order_incidents
from service.exceptions.exception_model import OPEN, ExceptionEvent, resolution_text
from service.exceptions.exception_requests import Assignment, ResolutionRequest, SyncFailure, resolution_names
from service.exceptions.exception_store import OrderTimelineNote
from service.exceptions.incidents import Incident, RaisedException, ResolvedException
from service.orders import order_store
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations.cancellation_request import CANCEL_REQUESTED
from service.orders.order_identity import OrderKey
from service.resolution import resolution_effects
from service.resolution.resolution_actions import EFFECTS, answer_by_person, apply_resolution
from service.resolution.resolution_effects import OrderBefore, Preview, effect_of, resolution_context
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import levels
from truestock.v1 import exception_service_pb2 as exception_pb
from truestock.v1.exception_pb2 import ResolutionEffect


@dataclass(frozen=True, slots=True)
class _ResolvedException:
    """What is counted of a resolved exception: its kind, and the changes to its order."""

    kind: str
    exception: ResolvedException
    unit_of_work: UnitOfWork | None = None
    newly_manual: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _RaisedFailure:
    """What is counted of a reported failure: the exception if it is new, and the channel of an order for a person."""

    raised: Sequence[RaisedException]
    newly_manual: Sequence[str]


class ExceptionOperations:
    """Operations on exceptions. Of concurrent calls one resolves an exception; the others raise CannotResolve."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def assign(self, request: Assignment, idempotent: IdempotentRequest) -> exception_pb.AssignExceptionResponse:
        """Raises NotFound, CannotResolve, RequestIdReused."""

        async def work(
            connection: Connection,
        ) -> tuple[exception_pb.AssignExceptionResponse, tuple[str, Sequence[str]]]:
            unlocked_row = await _existing_exception(connection, request.exception_id)
            if unlocked_row["allocation_id"]:
                await order_store.lock(connection, [unlocked_row["allocation_id"]])
            row = await _locked_open(connection, request.exception_id)
            now = await levels.clock(connection)
            owner = request.owner or row["owner"]
            if (request.assignee, owner) == (row["assignee"], row["owner"]):
                return _assigned(row), (row["kind"], ())
            description = _assignment_text(row, request.assignee, owner)
            updated = await exception_store.assign(connection, now, row["id"], assignee=request.assignee, owner=owner)
            assert updated is not None
            await _record_change(connection, "assigned", row, updated, ("owner", "assignee"))
            newly_manual = await self._add_history(
                connection, now, row, event="assigned", actor=request.actor, description=description
            )
            return _assigned(updated), (row["kind"], newly_manual)

        answer_type = exception_pb.AssignExceptionResponse
        return await idempotency.once(
            self._deps.database,
            "assign_exception",
            idempotent,
            answer_type,
            work,
            count=lambda assigned: self._count_manual(*assigned),
        )

    async def resolve(
        self, request: ResolutionRequest, idempotent: IdempotentRequest
    ) -> exception_pb.ResolveExceptionResponse:
        """Raises NotFound, InvalidFields, CannotResolve, WrongState, RequestIdReused."""
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[exception_pb.ResolveExceptionResponse, _ResolvedException]:
            unlocked_row = await _existing_exception(connection, request.exception_id)
            _check_allowed(unlocked_row["kind"], request.resolution)
            updated, resolved, effect = await self._resolve(connection, unlocked_row, request, policy_set)
            return exception_pb.ResolveExceptionResponse(
                exception=exception_messages.exception_record(updated), effect=effect
            ), resolved

        def count(resolved: _ResolvedException) -> None:
            incidents.count_resolved(self._deps.metrics, resolved.kind, request.resolution, [resolved.exception])
            self._count_manual(resolved.kind, resolved.newly_manual)
            if resolved.unit_of_work is not None:
                resolved.unit_of_work.count(self._deps.metrics)

        answer_type = exception_pb.ResolveExceptionResponse
        return await idempotency.once(
            self._deps.database, "resolve_exception", idempotent, answer_type, work, count=count
        )

    async def preview(self, request: ResolutionRequest) -> exception_pb.ResolveExceptionResponse:
        """What `resolve` would do now. Locks and writes nothing. Raises what it would raise."""
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> Preview:
            row = await _existing_exception(connection, request.exception_id)
            _check_allowed(row["kind"], request.resolution)
            _check_open(row)
            return await resolution_effects.preview(connection, self._deps, policy_set, row)

        preview = await self._deps.database.snapshot("preview", work)
        return exception_pb.ResolveExceptionResponse(
            exception=exception_messages.exception_record(preview.row), effect=await preview.effect(request.resolution)
        )

    async def get(self, exception_id: UUID) -> exception_pb.GetExceptionResponse:
        """An exception with its history and, while it is open, what its resolutions would do. Raises NotFound."""
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[exception_pb.GetExceptionResponse, Preview | None]:
            row = await _existing_exception(connection, exception_id)
            events = await exception_store.history(connection, exception_id)
            response = exception_pb.GetExceptionResponse(
                exception=exception_messages.exception_record(row),
                history=[exception_messages.exception_event(event) for event in events],
            )
            if row["state"] != OPEN:
                return response, None
            return response, await resolution_effects.preview(connection, self._deps, policy_set, row)

        response, preview = await self._deps.database.snapshot("get", work)
        if preview is not None:
            response.resolutions.extend(await preview.effects())
        return response

    async def _resolve(
        self, connection: Connection, unlocked_row: asyncpg.Record, request: ResolutionRequest, policy_set: PolicySet
    ) -> tuple[asyncpg.Record, _ResolvedException, ResolutionEffect]:
        allocation_id, unit_of_work = unlocked_row["allocation_id"], None
        if allocation_id:
            await order_store.lock(connection, [allocation_id])
        is_answer = unlocked_row["kind"] == CANCEL_REQUESTED
        if allocation_id and (is_answer or request.resolution in EFFECTS):
            skus = await order_store.line_skus(connection, [allocation_id])
            unit_of_work = await open_unit_of_work(connection, [allocation_id], skus, self._deps.new_id)
        row = await _locked_open(connection, request.exception_id)
        now = unit_of_work.book.now if unit_of_work else await levels.clock(connection)
        description = resolution_text(request.resolution) + (f" {request.note}" if request.note else "")
        updated = await exception_store.resolve(
            connection, now, row["id"], resolution=request.resolution, actor=request.actor, note=request.note
        )
        assert updated is not None
        # Not the note: it is free text.
        await _record_change(connection, "resolved", row, updated, ("state", "resolution"))
        effect = effect_of(request.resolution)
        if unit_of_work is not None and is_answer:
            effect = await self._answer(connection, unit_of_work, row, request, policy_set)
        elif unit_of_work is not None:
            effect = await self._apply_to_order(connection, unit_of_work, row, request.resolution, policy_set)
        newly_manual = await self._add_history(
            connection, now, row, event="resolved", actor=request.actor, description=description
        )
        resolved = _ResolvedException(row["kind"], ResolvedException.of(updated, now), unit_of_work, newly_manual)
        return updated, resolved, effect

    async def _apply_to_order(
        self,
        connection: Connection,
        unit_of_work: UnitOfWork,
        row: asyncpg.Record,
        resolution: str,
        policy_set: PolicySet,
    ) -> ResolutionEffect:
        record = unit_of_work.records[row["allocation_id"]]
        channel_context = (
            await context(connection, self._deps.catalog_cache, policy_set, record.skus, book=unit_of_work.book)
        ).of(record.channel_id)
        exception = await resolution_context(connection, row)
        before = OrderBefore.of(record, unit_of_work.book)
        unit_of_work.record(apply_resolution(channel_context, unit_of_work.book, record, exception, resolution))
        effect = effect_of(resolution, record, unit_of_work.book, before)
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)
        return effect

    async def _answer(
        self,
        connection: Connection,
        unit_of_work: UnitOfWork,
        row: asyncpg.Record,
        request: ResolutionRequest,
        policy_set: PolicySet,
    ) -> ResolutionEffect:
        """Answers the shopper's request to cancel that an exception is about."""
        record, book = unit_of_work.records[row["allocation_id"]], unit_of_work.book
        before = OrderBefore.of(record, book)
        answers = answer_by_person(
            book, record, row["id"], request.resolution, actor=request.actor, reason=request.note or ""
        )
        for change in answers:
            unit_of_work.record(change)
        effect = effect_of(request.resolution, record, book, before)
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)
        return effect

    async def report(
        self, failure: SyncFailure, idempotent: IdempotentRequest
    ) -> exception_pb.ReportSyncFailureResponse:
        """Raises RequestIdReused."""
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[exception_pb.ReportSyncFailureResponse, _RaisedFailure]:
            record = await _locked_order(connection, failure.order)
            incident = await self._incident(connection, failure, record)
            now = await levels.clock(connection)
            raised, newly_manual = await order_incidents.raise_on_orders(
                connection, policy_set, now, [incident], self._deps.new_id
            )
            row = await exception_store.find_open(connection, SYNC_FAILED, failure.subject)
            assert row is not None
            answer = exception_pb.ReportSyncFailureResponse(exception=exception_messages.exception_record(row))
            return answer, _RaisedFailure(raised, newly_manual)

        def count(effect: _RaisedFailure) -> None:
            incidents.count_raised(self._deps.metrics, effect.raised)
            self._count_manual(SYNC_FAILED, effect.newly_manual)

        answer_type = exception_pb.ReportSyncFailureResponse
        return await idempotency.once(
            self._deps.database, "report_sync_failure", idempotent, answer_type, work, count=count
        )

    async def recover(
        self, recovery: SyncFailure, idempotent: IdempotentRequest
    ) -> exception_pb.ReportSyncRecoveryResponse:
        """Resolves the exceptions about what works again. Raises RequestIdReused."""

        async def work(
            connection: Connection,
        ) -> tuple[exception_pb.ReportSyncRecoveryResponse, list[ResolvedException]]:
            await _locked_order(connection, recovery.order)
            now, sentence = await levels.clock(connection), f"{recovery.source} reports that it works again."
            resolved = await incidents.resolve_all(
                connection,
                now,
                SYNC_FAILED,
                recovery.recovered_subjects,
                resolution=COMPLETED,
                description=sentence,
                new_id=self._deps.new_id,
            )
            rows = [row for x in resolved if (row := await exception_store.find(connection, x.id)) is not None]
            notes = [
                OrderTimelineNote(
                    row["allocation_id"], "exception_resolved", f"Sync failed: {sentence}", row["policy_revision"]
                )
                for row in rows
                if row["allocation_id"] is not None
            ]
            await exception_store.note_on_orders(connection, now, notes, self._deps.new_id, needs_person=False)
            return exception_pb.ReportSyncRecoveryResponse(
                exceptions=[exception_messages.exception_record(row) for row in rows]
            ), resolved

        return await idempotency.once(
            self._deps.database,
            "report_sync_recovery",
            idempotent,
            exception_pb.ReportSyncRecoveryResponse,
            work,
            count=lambda ended: incidents.count_resolved(self._deps.metrics, SYNC_FAILED, COMPLETED, ended),
        )

    async def _incident(
        self, connection: Connection, failure: SyncFailure, record: AllocationRecord | None
    ) -> Incident:
        version, products = await catalog_store.products(connection, {failure.sku or ""})
        catalog = await self._deps.catalog_cache.at(connection, version)
        order = record.order_as_stated() if record is not None and record.lines else None
        return Incident(
            SYNC_FAILED,
            failure.subject,
            failure.description,
            channel=catalog.channels.get(failure.channel_id or ""),
            location=catalog.locations.get(failure.location_id or ""),
            product=products.get(failure.sku or ""),
            channel_id=record.channel_id if record else failure.channel_id,
            sku=failure.sku,
            location_id=failure.location_id,
            source=failure.source,
            allocation_id=record.id if record else None,
            sub_kind=failure.kind,
            order_id=failure.order[1] if failure.order and record is None else None,
            order=OrderFacts.of(order) if order else None,
            destination=order.destination if order else None,
        )

    async def _add_history(
        self, connection: Connection, now: datetime, row: asyncpg.Record, *, event: str, actor: str, description: str
    ) -> list[str]:
        """Adds an event to an exception and to the timeline of its order, and marks that a person acted on the order.

        Returns the order's channel if no person had acted on the order before.
        """
        await incidents.add_history(
            connection, now, [ExceptionEvent(row["id"], event, actor, description)], self._deps.new_id
        )
        if row["allocation_id"] is None:
            return []
        text = f"{row['kind'].replace('_', ' ').capitalize()}, by {actor}: {description}"
        note = OrderTimelineNote(row["allocation_id"], f"exception_{event}", text, row["policy_revision"], row["kind"])
        return await exception_store.note_on_orders(connection, now, [note], self._deps.new_id, needs_person=True)

    def _count_manual(self, kind: str, channel_ids: Sequence[str]) -> None:
        for channel_id in channel_ids:
            self._deps.metrics.orders.manual_interventions.labels(channel_id, kind).inc()


async def _locked_order(connection: Connection, key: OrderKey | None) -> AllocationRecord | None:
    """The order that a failure concerns, locked; None if it names none, or one that has not arrived."""
    allocation_id = await order_store.find(connection, *key) if key else None
    if allocation_id is None:
        return None
    await order_store.lock(connection, [allocation_id])
    return (await order_store.read(connection, [allocation_id]))[allocation_id]


async def _record_change(
    connection: Connection, change: str, before: asyncpg.Record, after: asyncpg.Record, names: Sequence[str]
) -> None:
    """Writes the audit event of a change to an exception, with those of these columns that changed."""
    changed = [name for name in names if before[name] != after[name]]
    old, new = ({name: row[name] for name in changed} for row in (before, after))
    event = AuditedChange(
        audit_log.EXCEPTIONS, "exception", str(after["id"]), change, old, {"kind": after["kind"], **new}
    )
    await audit_log.record(connection, [event])


async def _existing_exception(connection: Connection, exception_id: UUID) -> asyncpg.Record:
    row = await exception_store.find(connection, exception_id)
    if row is None:
        raise exception_not_found(exception_id)
    return row


async def _locked_open(connection: Connection, exception_id: UUID) -> asyncpg.Record:
    row = await exception_store.lock(connection, exception_id)
    if row is None:
        raise exception_not_found(exception_id)
    _check_open(row)
    return row


def _check_open(row: asyncpg.Record) -> None:
    if row["state"] == "superseded":
        raise CannotResolve(
            str(row["id"]), row["state"], "is superseded: its problem no longer exists", "nothing needs to be done"
        )
    if row["state"] != "open":
        state_text = f"is already resolved as {row['resolution']} by {row['resolved_by']}"
        raise CannotResolve(str(row["id"]), row["state"], state_text, "look it up with GetException")


def exception_not_found(exception_id: UUID) -> NotFound:
    """The error for an exception id that does not exist."""
    advice = "find it with ListExceptions or `truestock exceptions`"
    return NotFound("exception", {"exception_id": str(exception_id)}, advice)


def _check_allowed(kind: str, resolution: str) -> None:
    if not is_allowed(kind, resolution):
        text = f"an exception of kind {kind} allows {resolution_names(ALLOWED[kind])}"
        raise InvalidFields([Violation("resolution", f"{resolution_names([resolution])} is not allowed; {text}")])


def _assigned(row: asyncpg.Record | None) -> exception_pb.AssignExceptionResponse:
    assert row is not None
    return exception_pb.AssignExceptionResponse(exception=exception_messages.exception_record(row))


def _assignment_text(row: asyncpg.Record, assignee: str | None, owner: str) -> str:
    """What an assignment changes, as a sentence."""
    parts = [f"moved from {row['owner']} to {owner}"] if owner != row["owner"] else []
    if assignee != row["assignee"]:
        parts.append(f"assigned to {assignee}" if assignee else f"unassigned from {row['assignee']}")
    # Not `capitalize`, which would write the names of people and owners in small letters.
    sentence = " and ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}."
