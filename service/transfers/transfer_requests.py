"""Requests about transfers, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from google.protobuf.message import Message

from service import limits
from service.rpc.page_tokens import NEWEST, PageTokens
from service.rpc.validation import Fields
from truestock.v1 import stock_service_pb2 as stock_pb


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Units by SKU that leave one location for another; `fields` maps each SKU to its field in the request.

    `effective_time` is when they left, None if they leave now. `shipment_id` is that of the pickup order whose store
    they are sent to, if any.
    """

    transfer_id: str
    from_location_id: str
    to_location_id: str
    units: Mapping[str, int]
    expect_time: datetime | None
    effective_time: datetime | None
    fields: Mapping[str, str]
    shipment_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Units by SKU that arrived; `complete` if no more will. `effective_time` is None if they arrive now."""

    transfer_id: str
    units: Mapping[str, int]
    complete: bool
    effective_time: datetime | None
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TransferCancellation:
    """A transfer that is called off. `effective_time` is when its units were back in stock, None if not stated."""

    transfer_id: str
    effective_time: datetime | None


@dataclass(frozen=True, slots=True)
class TransfersPage:
    """Which transfers to list: before (dispatch time, id), from or to the location unless it is empty."""

    location_id: str
    in_transit_only: bool
    before: tuple[datetime, str]
    count: int
    tokens: PageTokens


def transfer_request(request: stock_pb.TransferStockRequest) -> tuple[Dispatch | Receipt, UUID | None]:
    """The step of a transfer and the request id. Raises InvalidFields with every problem."""
    fields = Fields()
    fields.text("transfer_id", request.transfer_id, longest=limits.TRANSFER_ID_LENGTH, required=True)
    request_id = fields.uuid("request_id", request.request_id)
    step: Dispatch | Receipt | None = None
    if request.WhichOneof("step") == "dispatch":
        step = _dispatch(fields, request.transfer_id, request.dispatch)
    elif request.WhichOneof("step") == "receipt":
        step = _receipt(fields, request.transfer_id, request.receipt)
    else:
        fields.wrong("step", "must be a dispatch or a receipt")
    fields.finish()
    assert step is not None
    return step, request_id


def cancellation_request(request: stock_pb.CancelTransferRequest) -> tuple[TransferCancellation, UUID | None]:
    """The cancellation of a transfer and the request id. Raises InvalidFields with every problem."""
    fields = Fields()
    fields.text("transfer_id", request.transfer_id, longest=limits.TRANSFER_ID_LENGTH, required=True)
    request_id = fields.uuid("request_id", request.request_id)
    cancellation = TransferCancellation(request.transfer_id, _effective_time(fields, "effective_time", request))
    fields.finish()
    return cancellation, request_id


def transfers_page(request: stock_pb.ListTransfersRequest) -> TransfersPage:
    """Raises InvalidFields."""
    fields = Fields()
    fields.text("location_id", request.location_id, longest=limits.ID_LENGTH)
    count = fields.page_size(request.page_size)
    tokens = PageTokens(request)
    before = tokens.time_and_name(fields) or (NEWEST, "")
    fields.finish()
    return TransfersPage(request.location_id, request.in_transit_only, before, count, tokens)


def _dispatch(fields: Fields, transfer_id: str, message: stock_pb.TransferDispatch) -> Dispatch:
    at = "dispatch"
    for name in ("from_location_id", "to_location_id"):
        fields.text(f"{at}.{name}", getattr(message, name), longest=limits.ID_LENGTH, required=True)
    if message.from_location_id and message.from_location_id == message.to_location_id:
        fields.wrong(f"{at}.to_location_id", "must differ from from_location_id")
    expect_time = None
    if message.HasField("expect_time"):
        expect_time = fields.moment(f"{at}.expect_time", message.expect_time, given=True)
    effective_time = _effective_time(fields, f"{at}.effective_time", message)
    units, field_by_sku = _units(fields, f"{at}.units", message.units, minimum=1)
    locations = (message.from_location_id, message.to_location_id)
    shipment_id = fields.uuid(f"{at}.shipment_id", message.shipment_id)
    return Dispatch(transfer_id, *locations, units, expect_time, effective_time, field_by_sku, shipment_id)


def _receipt(fields: Fields, transfer_id: str, message: stock_pb.TransferReceipt) -> Receipt:
    if not message.units and not message.complete:
        fields.wrong(
            "receipt.units", "must not be empty unless `complete` is set, which means that no more units will arrive"
        )
    units, field_by_sku = _units(fields, "receipt.units", message.units, minimum=0)
    effective_time = _effective_time(fields, "receipt.effective_time", message)
    return Receipt(transfer_id, units, message.complete, effective_time, field_by_sku)


def _effective_time(fields: Fields, field: str, message: Message) -> datetime | None:
    if not message.HasField("effective_time"):
        return None
    return fields.past_moment(field, message.effective_time)  # type: ignore[attr-defined]


def _units(
    fields: Fields, at: str, entries: Sequence[stock_pb.TransferUnits], *, minimum: int
) -> tuple[dict[str, int], dict[str, str]]:
    """Units by SKU, and the field of each SKU."""
    units: dict[str, int] = {}
    field_by_sku: dict[str, str] = {}
    if not fields.size(at, entries, minimum, limits.TRANSFER_LINES):
        return units, field_by_sku
    for index, entry in enumerate(entries):
        field = f"{at}[{index}]"
        fields.sku(f"{field}.sku", entry.sku)
        fields.whole_number(f"{field}.unit_count", entry.unit_count, 1, limits.COUNTED_UNITS)
        if entry.sku in units:
            fields.wrong(
                f"{field}.sku",
                f"'{entry.sku}' is also in {field_by_sku[entry.sku]}; give each SKU once, with the sum of its units",
            )
        units.setdefault(entry.sku, entry.unit_count)
        field_by_sku.setdefault(entry.sku, field)
    return units, field_by_sku
