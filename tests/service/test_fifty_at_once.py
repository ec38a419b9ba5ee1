"""Every write of orders and shipments, fifty times at once: with one request id it is one, with many it is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

Figures = tuple[int, int, int, int]
"""On hand, unavailable, held and allocated at the first store."""
Call = Callable[[Retailer, Any, str], Awaitable[Any]]

PICKUP = {"method": order_pb2.FULFILLMENT_METHOD_PICKUP, "pickup_location_id": "a-store"}
TOO_LATE = {grpc.StatusCode.FAILED_PRECONDITION}


@dataclass(frozen=True, slots=True)
class Write:
    """One kind of write on an order of two units, and the figures after it, however often it was sent."""

    name: str
    call: Call
    after: Figures
    begin: tuple[str, ...] = ()
    commitment: int = SOLD
    pickup: bool = False
    after_many: Figures | None = None
    """Where fifty different requests may do more than one."""


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
        begin=("ship",),
        after_many=(9, 2, 0, 0),
    ),
    Write("ReassignShipment", reassign, (9, 0, 0, 0)),
]
NAMES = [write.name for write in WRITES]


async def begun(shop: Retailer, write: Write) -> Any:
    await shop.stock({("MUG", "a-store"): 9, ("MUG", "b-store"): 9})
    await shop.locations("a-store", "b-store", offers_pickup=True)
    fields: dict[str, Any] = PICKUP if write.pickup else {}
    order = await shop.allocate("A-1", {"MUG": 2}, write.commitment, **fields)
    for step in write.begin:
        await getattr(shop, step)(order.shipments[0])
    return order


async def figures(shop: Retailer) -> Figures:
    level = await shop.level("MUG", "a-store")
    return level.on_hand_count, level.unavailable_count, level.held_count, level.allocated_count


@pytest.mark.parametrize("write", WRITES, ids=NAMES)
async def test_fifty_with_one_request_id_are_one_and_hear_the_same(retailers: RetailerMaker, write: Write) -> None:
    shops = [await retailers.make(RESOLVED_RULES) for _ in range(2)]
    order, same = await begun(shops[0], write), request_id()

    answers = await asyncio.gather(*(write.call(shops[n % 2], order, same) for n in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert await figures(shops[0]) == write.after
    assert (await shops[0].ledger()).balanced


@pytest.mark.parametrize("write", WRITES, ids=NAMES)
async def test_fifty_with_other_request_ids_take_nothing_twice(retailers: RetailerMaker, write: Write) -> None:
    shops = [await retailers.make(RESOLVED_RULES) for _ in range(2)]
    order = await begun(shops[0], write)

    calls = (write.call(shops[n % 2], order, request_id()) for n in range(50))
    answers = await asyncio.gather(*calls, return_exceptions=True)

    errors = [one for one in answers if isinstance(one, BaseException)]
    assert all(isinstance(one, grpc.aio.AioRpcError) and one.code() in TOO_LATE for one in errors)
    assert len(errors) < 50
    assert await figures(shops[0]) == (write.after_many or write.after)
    assert (await shops[0].ledger()).balanced


# The catalogue, whose records are whole and so are safe to say again


def upsert(kind: str, name: str) -> tuple[str, Any]:
    """The call that upserts one record, and its request."""
    made: dict[str, Any] = {
        "Locations": lambda: {
            "locations": [catalog_pb.Location(location_id=name, type=catalog_pb.Location.TYPE_STORE)]
        },
        "Products": lambda: {"products": [catalog_pb.Product(sku=name)]},
        "Channels": lambda: {"channels": [catalog_pb.Channel(channel_id=name, kind=catalog_pb.Channel.KIND_WEB)]},
    }
    return f"Upsert{kind}", getattr(catalog_pb, f"Upsert{kind}Request")(**made[kind]())


@pytest.mark.parametrize("kind", ["Locations", "Products", "Channels"])
@pytest.mark.parametrize("names", [1, 50])
async def test_fifty_upserts_at_once_make_each_record_once(retailers: RetailerMaker, kind: str, names: int) -> None:
    shops = [await retailers.make() for _ in range(2)]
    calls = [upsert(kind, f"n-{number % names}") for number in range(50)]

    answers = await asyncio.gather(*(getattr(shops[n % 2].catalog, call)(said) for n, (call, said) in enumerate(calls)))

    assert sum(answer.created_count for answer in answers) == names
    assert sum(answer.updated_count for answer in answers) == 50 - names
