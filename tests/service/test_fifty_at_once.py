"""Each write of orders and shipments, 50 times concurrently: one request id writes once, many ids stay consistent.

The counters of the two services add up to what the tables say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.counters import check_counters
from tests.retailer import HOLD, SOLD, Retailer, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

UnitCounts = tuple[int, int, int, int]
"""On hand, unavailable, held and allocated units at the first store."""
Call = Callable[[Retailer, Any, str], Awaitable[Any]]

PICKUP = {"method": order_pb2.FULFILLMENT_METHOD_PICKUP, "pickup_location_id": "a-store"}
WRONG_STATE = {grpc.StatusCode.FAILED_PRECONDITION}


@dataclass(frozen=True, slots=True)
class Write:
    """One kind of write on an order of two units, and the unit counts after it, sent once or many times."""

    name: str
    call: Call
    after: UnitCounts
    first_steps: tuple[str, ...] = ()
    commitment: int = SOLD
    pickup: bool = False
    after_many: UnitCounts | None = None
    """The counts after 50 different requests, if more than one of them may succeed."""


async def reassign(shop: Retailer, order: Any, id: str) -> Any:
    request = allocation_pb.ReassignShipmentRequest(
        shipment_id=order.shipments[0].shipment_id, location_id="b-store", actor="kim", request_id=id
    )
    return (await shop.allocations.ReassignShipment(request)).allocation


WRITES = [
    Write("AllocateOrder", lambda s, o, i: s.allocate("B-1", {"MUG": 2}, request_id=i), (9, 0, 0, 4)),
    Write("ConfirmAllocation", lambda s, o, i: s.confirm(o.allocation_id, request_id=i), (9, 0, 0, 2), (), HOLD),
    Write("ReleaseAllocation", lambda s, o, i: s.release(o.allocation_id, request_id=i), (9, 0, 0, 0), (), HOLD),
    Write(
        "CancelOrderLines",
        lambda s, o, i: s.cancel(o.allocation_id, {"1": 1}, request_id=i),
        (9, 0, 0, 1),
        after_many=(9, 0, 0, 0),
    ),
    Write("AcceptShipment", lambda s, o, i: s.accept(o.shipments[0], request_id=i), (9, 0, 0, 2)),
    Write("ShipShipment", lambda s, o, i: s.ship(o.shipments[0], request_id=i), (7, 0, 0, 0)),
    Write("DeliverShipment", lambda s, o, i: s.deliver(o.shipments[0], request_id=i), (7, 0, 0, 0)),
    Write("MarkReadyForPickup", lambda s, o, i: s.mark_ready(o.shipments[0], request_id=i), (9, 0, 0, 2), pickup=True),
    Write("CollectShipment", lambda s, o, i: s.collect(o.shipments[0], request_id=i), (7, 0, 0, 0), pickup=True),
    Write(
        "ReturnUncollected",
        lambda s, o, i: s.return_uncollected(o.shipments[0], request_id=i),
        (9, 0, 0, 0),
        pickup=True,
    ),
    Write("RejectShipment", lambda s, o, i: s.reject(o.shipments[0], "not_found", request_id=i), (7, 0, 0, 0)),
    Write(
        "RecordReturn",
        lambda s, o, i: s.record_return(o.allocation_id, {"1": 1}, "damaged", "a-store", request_id=i),
        (8, 1, 0, 0),
        first_steps=("ship",),
        after_many=(9, 2, 0, 0),
    ),
    Write("ReassignShipment", reassign, (9, 0, 0, 0)),
]
NAMES = [write.name for write in WRITES]


async def prepared_order(shop: Retailer, write: Write) -> Any:
    await shop.stock({("MUG", "a-store"): 9, ("MUG", "b-store"): 9})
    await shop.locations("a-store", "b-store", offers_pickup=True)
    fields: dict[str, Any] = PICKUP if write.pickup else {}
    order = await shop.allocate("A-1", {"MUG": 2}, write.commitment, **fields)
    for step in write.first_steps:
        await getattr(shop, step)(order.shipments[0])
    return order


async def unit_counts(shop: Retailer) -> UnitCounts:
    level = await shop.level("MUG", "a-store")
    return level.on_hand_count, level.unavailable_count, level.held_count, level.allocated_count


@pytest.mark.parametrize("write", WRITES, ids=NAMES)
async def test_fifty_requests_with_one_id_write_once_and_get_the_same_response(
    retailers: RetailerMaker, write: Write
) -> None:
    shops = [await retailers.make(RESOLVED_RULES) for _ in range(2)]
    order, same_id = await prepared_order(shops[0], write), request_id()

    responses = await asyncio.gather(*(write.call(shops[n % 2], order, same_id) for n in range(50)))

    assert all(response == responses[0] for response in responses)
    assert await unit_counts(shops[0]) == write.after
    assert (await shops[0].ledger()).balanced
    await check_counters(*shops)


@pytest.mark.parametrize("write", WRITES, ids=NAMES)
async def test_fifty_requests_with_different_ids_count_no_unit_twice(retailers: RetailerMaker, write: Write) -> None:
    shops = [await retailers.make(RESOLVED_RULES) for _ in range(2)]
    order = await prepared_order(shops[0], write)

    calls = (write.call(shops[n % 2], order, request_id()) for n in range(50))
    responses = await asyncio.gather(*calls, return_exceptions=True)

    errors = [response for response in responses if isinstance(response, BaseException)]
    assert all(isinstance(error, grpc.aio.AioRpcError) and error.code() in WRONG_STATE for error in errors)
    assert len(errors) < 50
    assert await unit_counts(shops[0]) == (write.after_many or write.after)
    assert (await shops[0].ledger()).balanced
    await check_counters(*shops)


# Upserts of the catalog replace whole records, so repeating them is safe


def upsert(kind: str, name: str) -> tuple[str, Any]:
    """The method that upserts one record, and its request."""
    fields: dict[str, Any] = {
        "Locations": lambda: {
            "locations": [catalog_pb.Location(location_id=name, type=catalog_pb.Location.TYPE_STORE)]
        },
        "Products": lambda: {"products": [catalog_pb.Product(sku=name)]},
        "Channels": lambda: {"channels": [catalog_pb.Channel(channel_id=name, kind=catalog_pb.Channel.KIND_WEB)]},
    }
    return f"Upsert{kind}", getattr(catalog_pb, f"Upsert{kind}Request")(**fields[kind]())


@pytest.mark.parametrize("kind", ["Locations", "Products", "Channels"])
@pytest.mark.parametrize("names", [1, 50])
async def test_fifty_concurrent_upserts_create_each_record_once(
    retailers: RetailerMaker, kind: str, names: int
) -> None:
    shops = [await retailers.make() for _ in range(2)]
    calls = [upsert(kind, f"n-{number % names}") for number in range(50)]

    responses = await asyncio.gather(
        *(getattr(shops[n % 2].catalog, method)(request) for n, (method, request) in enumerate(calls))
    )

    assert sum(response.created_count for response in responses) == names
    assert sum(response.updated_count for response in responses) == 50 - names
