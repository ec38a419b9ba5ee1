"""Requests about exceptions, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import OTHER
from service import limits
from service.exceptions.exception_messages import EXCEPTION_STATES, RESOLUTIONS, SYNC_FAILURE_KINDS
from service.exceptions.exception_model import POLICY
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import exception_pb2, exception_service_pb2 as exception_pb, order_pb2

_STATES = {number: word for word, number in EXCEPTION_STATES.items()}
_RESOLUTIONS = {number: word for word, number in RESOLUTIONS.items()}
_LIST_ORDERS = (order_pb2.LIST_ORDER_DUE, order_pb2.LIST_ORDER_OLDEST, order_pb2.LIST_ORDER_NEWEST)


@dataclass(frozen=True, slots=True)
class ExceptionsPage:
    """Which exceptions to list: an empty filter matches all; `after` is the key of the last one of the page before.

    `order` is the (channel id, order id) of the order whose exceptions to list, given in place of its allocation id.
    `created` and `updated` are the start, included, and the end of a time. `order_by` is a ListOrder.
    """

    states: list[str]
    kinds: list[str]
    owners: list[str]
    channel_ids: list[str]
    skus: list[str]
    location_ids: list[str]
    assignees: list[str]
    resolutions: list[str]
    unassigned_only: bool
    overdue_only: bool
    number_part: str
    created: tuple[datetime | None, datetime | None]
    updated: tuple[datetime | None, datetime | None]
    allocation_id: UUID | None
    order: tuple[str, str] | None
    order_by: int
    with_counts: bool
    after: tuple[Any, ...] | None
    count: int
    tokens: PageTokens


@dataclass(frozen=True, slots=True)
class Assignment:
    """A new assignee or owner of an exception; `assignee` None is nobody, `owner` None keeps the owner."""

    exception_id: UUID
    assignee: str | None
    owner: str | None
    actor: str
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class ResolutionRequest:
    """How to resolve an exception, and who resolves it."""

    exception_id: UUID
    resolution: str
    actor: str
    note: str | None
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class SyncFailure:
    """What a feed or channel adapter could not do, and for which channel, product, location or order.

    `order` is its (channel id, order id).
    """

    source: str
    description: str
    channel_id: str | None
    sku: str | None
    location_id: str | None
    request_id: UUID | None
    order: tuple[str, str] | None = None
    kind: str | None = None

    @property
    def subject(self) -> str:
        """The key by which a repeated failure is found: `source/channel/sku/location`, then its order and its kind."""
        return self._subject(self.kind)

    @property
    def recovered_subjects(self) -> list[str]:
        """The keys of the failures that end when this works again: those of all kinds if it has none."""
        kinds = (self.kind,) if self.kind else (None, *SYNC_FAILURE_KINDS.values())
        return [self._subject(kind) for kind in kinds]

    def _subject(self, kind: str | None) -> str:
        parts = (self.source, self.channel_id or "", self.sku or "", self.location_id or "", *(self.order or ()))
        key = "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
        # No part has an unescaped percent sign, so no source or order can look like a kind.
        return f"{key}/%{kind}" if kind else key


def exceptions_page(request: exception_pb.ListExceptionsRequest) -> ExceptionsPage:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    unknown_states = [number for number in request.states if number not in _STATES]
    if unknown_states:
        fields.wrong(
            "states",
            f"{unknown_states[0]} is not one of {', '.join(f'STATE_{word.upper()}' for word in EXCEPTION_STATES)}",
        )
    for index, kind in enumerate(_filter_entries(fields, "kinds", request.kinds)):
        if kind not in EXCEPTION_KINDS:
            fields.wrong(f"kinds[{index}]", f"'{kind[:64]}' is not one of {', '.join(EXCEPTION_KINDS)}")
    owners = fields.texts("owners", request.owners, limits.EXCEPTION_FILTER)
    channel_ids = fields.texts("channel_ids", request.channel_ids, limits.EXCEPTION_FILTER)
    allocation_id = fields.uuid("allocation_id", request.allocation_id)
    order = fields.order_key("order", request.order) if request.HasField("order") else None
    if order and request.allocation_id:
        fields.wrong("order", "must be left out if allocation_id is given")
    if request.unassigned_only and request.assignees:
        fields.wrong("assignees", "must be left out if unassigned_only is set")
    order_by, tokens = fields.list_order(request.order_by, _LIST_ORDERS), PageTokens(request)
    page = ExceptionsPage(
        states=[_STATES[number] for number in request.states if number in _STATES],
        kinds=list(request.kinds),
        owners=owners,
        channel_ids=channel_ids,
        skus=fields.texts("skus", request.skus, limits.EXCEPTION_FILTER, longest=limits.SOLD_SKU_LENGTH),
        location_ids=fields.texts("location_ids", request.location_ids, limits.EXCEPTION_FILTER),
        assignees=fields.texts("assignees", request.assignees, limits.EXCEPTION_FILTER),
        resolutions=fields.words("resolutions", request.resolutions, _RESOLUTIONS),
        unassigned_only=request.unassigned_only,
        overdue_only=request.overdue_only,
        number_part=fields.order_number_part("order_id_part", request.order_id_part),
        created=fields.time_range("created_from", "created_before", request),
        updated=fields.time_range("updated_from", "updated_before", request),
        allocation_id=allocation_id,
        order=order,
        order_by=order_by,
        with_counts=request.include_counts,
        count=fields.page_size(request.page_size),
        after=tokens.time_and_id(fields) if order_by == order_pb2.LIST_ORDER_DUE else tokens.ids(fields),
        tokens=tokens,
    )
    fields.finish()
    return page


def exception_id(request: exception_pb.GetExceptionRequest) -> UUID:
    """Raises InvalidFields."""
    fields = Fields()
    id = fields.uuid("exception_id", request.exception_id, required=True)
    fields.finish()
    assert id is not None
    return id


def assignment(request: exception_pb.AssignExceptionRequest) -> Assignment:
    """Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    id = fields.uuid("exception_id", request.exception_id, required=True)
    assignee = fields.text("assignee", request.assignee, longest=limits.ID_LENGTH)
    owner = fields.text("owner", request.owner, longest=limits.ID_LENGTH)
    actor = _actor(fields, request.actor)
    request_id = fields.uuid("request_id", request.request_id)
    fields.finish()
    assert id is not None
    return Assignment(id, assignee, owner, actor, request_id)


def resolution_request(request: exception_pb.ResolveExceptionRequest) -> ResolutionRequest:
    """Raises InvalidFields with everything that is wrong. Does not check that the kind allows the resolution."""
    fields = Fields()
    id = fields.uuid("exception_id", request.exception_id, required=True)
    resolution = _RESOLUTIONS.get(request.resolution, "")
    if not resolution:
        fields.wrong("resolution", f"must be one of {resolution_names(_RESOLUTIONS.values())}")
    actor = _actor(fields, request.actor)
    note = fields.text("note", request.note)
    if resolution == OTHER and not request.note:
        fields.wrong("note", "must say how it was resolved, for EXCEPTION_RESOLUTION_OTHER")
    request_id = fields.uuid("request_id", request.request_id)
    fields.finish()
    assert id is not None
    return ResolutionRequest(id, resolution, actor, note, request_id)


def sync_failure(request: exception_pb.ReportSyncFailureRequest) -> SyncFailure:
    """Raises InvalidFields with everything that is wrong."""
    return _sync_subject(request, request.description)


def sync_recovery(request: exception_pb.ReportSyncRecoveryRequest) -> SyncFailure:
    """What works again. Raises InvalidFields with everything that is wrong."""
    return _sync_subject(request, None)


def _sync_subject(
    request: exception_pb.ReportSyncFailureRequest | exception_pb.ReportSyncRecoveryRequest, description: str | None
) -> SyncFailure:
    fields = Fields()
    source = fields.text("source", request.source, longest=limits.ID_LENGTH, required=True)
    if description is not None:
        fields.text("description", description, required=True)
    channel_id = fields.text("channel_id", request.channel_id, longest=limits.ID_LENGTH)
    sku = fields.text("sku", request.sku, longest=limits.SKU_LENGTH)
    location_id = fields.text("location_id", request.location_id, longest=limits.ID_LENGTH)
    request_id = fields.uuid("request_id", request.request_id)
    order = fields.order_key("order", request.order) if request.HasField("order") else None
    if order and channel_id not in (None, order[0]):
        fields.wrong("order.channel_id", f"is '{order[0]}', and channel_id is '{channel_id}'; leave one of them out")
    if request.kind and request.kind not in SYNC_FAILURE_KINDS:
        names = [name for name, number in exception_pb2.SyncFailureKind.items() if number]
        fields.wrong("kind", f"{request.kind} is not one of {', '.join(names)}")
    fields.finish()
    channel_id = channel_id or (order[0] if order else None)
    kind = SYNC_FAILURE_KINDS.get(request.kind)
    return SyncFailure(source or "", description or "", channel_id, sku, location_id, request_id, order, kind)


def resolution_names(words: Iterable[str]) -> str:
    """Resolutions as their names in the API."""
    return ", ".join(f"EXCEPTION_RESOLUTION_{word.upper()}" for word in words)


def _actor(fields: Fields, actor: str) -> str:
    fields.text("actor", actor, longest=limits.ID_LENGTH, required=True)
    if actor == POLICY:
        fields.wrong("actor", f"'{POLICY}' is reserved for the service; name the person or program that acts")
    return actor


def _filter_entries(fields: Fields, field: str, values: Iterable[str]) -> list[str]:
    """The entries of a filter, or none if there are too many."""
    entries = list(values)
    return entries if fields.size(field, entries, 0, limits.EXCEPTION_FILTER) else []
