"""Requests about transfers, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service import limits
from service.rpc import page_tokens
from service.rpc.validation import Fields
from truestock.v1 import stock_service_pb2 as stock_pb


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Units, by SKU, that leave a location for another; `fields` are where the request names each SKU."""

    transfer_id: str
    from_location_id: str
    to_location_id: str
    units: Mapping[str, int]
    expect_time: datetime | None
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Units, by SKU, that arrived; `complete` where nothing more will."""

    transfer_id: str
    units: Mapping[str, int]
    complete: bool
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TransfersPage:
    """Which transfers to list: behind (dispatch time, id), from or to a location unless it is empty."""

    location_id: str
    in_transit_only: bool
    before: tuple[datetime, str]
    count: int


def transfer_request(request: stock_pb.TransferStockRequest) -> tuple[Dispatch | Receipt, UUID | None]:
    """What is to happen to a transfer, and the request id. Raises InvalidFields with everything that is wrong."""
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


def transfers_page(request: stock_pb.ListTransfersRequest) -> TransfersPage:
    """Raises InvalidFields."""
    fields = Fields()
    fields.text("location_id", request.location_id, longest=limits.ID_LENGTH)
    count = fields.page_size(request.page_size)
    before = page_tokens.read_time_and_name(fields, request.page_token) or (page_tokens.NEWEST, "")
    fields.finish()
    return TransfersPage(request.location_id, request.in_transit_only, before, count)


def _dispatch(fields: Fields, transfer_id: str, message: stock_pb.TransferDispatch) -> Dispatch:
    at = "dispatch"
    for name in ("from_location_id", "to_location_id"):
        fields.text(f"{at}.{name}", getattr(message, name), longest=limits.ID_LENGTH, required=True)
    if message.from_location_id and message.from_location_id == message.to_location_id:
        fields.wrong(f"{at}.to_location_id", "is where the units come from; a transfer goes to another location")
    expect_time = None
    if message.HasField("expect_time"):
        expect_time = fields.moment(f"{at}.expect_time", message.expect_time, given=True)
    units, named = _units(fields, f"{at}.units", message.units, fewest=1)
    return Dispatch(transfer_id, message.from_location_id, message.to_location_id, units, expect_time, named)


def _receipt(fields: Fields, transfer_id: str, message: stock_pb.TransferReceipt) -> Receipt:
    if not message.units and not message.complete:
        fields.wrong("receipt.units", "must not be empty, unless nothing more will come: set `complete` then")
    units, named = _units(fields, "receipt.units", message.units, fewest=0)
    return Receipt(transfer_id, units, message.complete, named)


def _units(
    fields: Fields, at: str, stated: Sequence[stock_pb.TransferUnits], *, fewest: int
) -> tuple[dict[str, int], dict[str, str]]:
    """Units by SKU, and the field that names each SKU."""
    units: dict[str, int] = {}
    named: dict[str, str] = {}
    if not fields.size(at, stated, fewest, limits.TRANSFER_LINES):
        return units, named
    for index, one in enumerate(stated):
        field = f"{at}[{index}]"
        fields.sku(f"{field}.sku", one.sku)
        fields.whole_number(f"{field}.unit_count", one.unit_count, 1, limits.COUNTED_UNITS)
        if one.sku in units:
            fields.wrong(f"{field}.sku", f"'{one.sku}' is {named[one.sku]} too; add their units up")
        units.setdefault(one.sku, one.unit_count)
        named.setdefault(one.sku, field)
    return units, named
