"""What tests of exceptions share: a shop that sells more than it has, and a desk that settles it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.type.money_pb2 import Money

from tests.retailer import Retailer, change, movement
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    stock_service_pb2 as stock_pb,
)

Record = exception_pb2.ExceptionRecord
REROUTED, BACKORDERED = exception_pb2.EXCEPTION_RESOLUTION_REROUTED, exception_pb2.EXCEPTION_RESOLUTION_BACKORDERED
CANCELLED, APPROVED = exception_pb2.EXCEPTION_RESOLUTION_CANCELLED, exception_pb2.EXCEPTION_RESOLUTION_APPROVED
COMPLETED, OTHER = exception_pb2.EXCEPTION_RESOLUTION_COMPLETED, exception_pb2.EXCEPTION_RESOLUTION_OTHER
MAPPED = exception_pb2.EXCEPTION_RESOLUTION_MAPPED
DEAR = Money(currency_code="USD", units=1000)

ROUTING = """\
kind: routing
policies:
  - name: ship
    position: 100
    rank: [fewest_shipments]
    review:
      - {name: dear, when: {order.value: {at_least: 1000}}}
      - {name: urgent, when: {order.tags: {contains: urgent}}}
"""
OWNERS = """\
kind: exception
rules:
  - {name: oversell, position: 10, when: {exception.kind: oversell}, do: review, owner: desk, due_in: 2h,
     escalate_to: lead}
  - {name: kept, position: 20, when: {exception.kind: review, order.tags: {contains: keep}}, do: hold, owner: desk,
     due_in: 1h}
  - {name: rest, position: 100, do: review, owner: operations, due_in: 1d}
"""


def write_rules(folder: Path) -> Path:
    """A rules folder that says who settles what."""
    rules = folder / "rules"
    rules.mkdir()
    (rules / "routing.yaml").write_text(ROUTING)
    (rules / "owners.yaml").write_text(OWNERS)
    return rules


async def oversold(shop: Retailer, order_id: str = "A-1", units: int = 5) -> tuple[allocation_pb.Allocation, Record]:
    """An order of more mugs than there are, and its exception."""
    sold = await shop.allocate(order_id, {"MUG": units})
    (raised,) = (await shop.get(sold.allocation_id)).exceptions
    return sold, raised


async def got(shop: Retailer, exception_id: str) -> exception_pb.GetExceptionResponse:
    answer: exception_pb.GetExceptionResponse = await shop.exceptions.GetException(
        exception_pb.GetExceptionRequest(exception_id=exception_id)
    )
    return answer


async def assign(shop: Retailer, exception_id: str, **fields: Any) -> Record:
    request = exception_pb.AssignExceptionRequest(exception_id=exception_id, actor="boss", **fields)
    given: Record = (await shop.exceptions.AssignException(request)).exception
    return given


async def report(shop: Retailer, **fields: Any) -> Record:
    said = {"source": "shopify-adapter", "description": "the price was refused"} | fields
    request = exception_pb.ReportSyncFailureRequest(**said)
    raised: Record = (await shop.exceptions.ReportSyncFailure(request)).exception
    return raised


async def receive(shop: Retailer, units: int, place: str = "dc") -> None:
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, units)
    await shop.record(change("MUG", place, at=datetime.now(UTC), movement=received))


def line(order: allocation_pb.Allocation) -> tuple[int, int, int, int]:
    """(promised, short, backordered, cancelled) units of the only line."""
    (only,) = order.lines
    return only.promised_count, only.short_count, only.backordered_count, only.cancelled_count
