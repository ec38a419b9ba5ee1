"""Several services on one database, and concurrent operations on the same orders."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest

from policies.stock.oversell import CAUSES
from service.database.database import plain_url
from tests.conftest import RESOLVED_RULES, RetailerMaker, seeds
from tests.retailer import HOLD, SOLD, Retailer, change, line_units, movement, promised, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    outlet_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

SKUS, LOCATION_IDS = ("CUP", "MUG", "POT"), ("dc", "high-street")
OUTLET_IDS = ("a", "b")
PROMISED_OUTSIDE_OUTLET = """
SELECT promise.* FROM promise JOIN allocation ON allocation.id = promise.allocation_id
WHERE promise.unit_count > 0 AND NOT promise.location_id = ANY(allocation.outlet_location_ids)
    AND NOT EXISTS (SELECT FROM order_event WHERE allocation_id = allocation.id AND event = 'reassigned')
"""
"""Units of orders for an outlet at locations that it did not have, but for those that a person moved."""
IN_TWO_OUTLETS = """
SELECT outlet.channel_id, located.id FROM outlet JOIN pool ON pool.id = outlet.pool_id,
    unnest(pool.location_ids) AS located (id)
GROUP BY outlet.channel_id, located.id HAVING count(*) > 1
"""
EXPECTED_REFUSALS = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
"""Errors for a caller that is too late or changes the product of a shipped line; any other error is a defect."""


class RandomTrade:
    """Random holds, sales, payments, shipments, rejections, returns, counts and movements, reproducible by seed."""

    def __init__(self, shops: list[Retailer], seed: int) -> None:
        self.shops = shops
        self.dice = random.Random(seed)
        self.ids: dict[str, str] = {}
        self.shipments: dict[str, shipment_pb2.Shipment] = {}
        """Shipments by id, as some earlier response had them."""
        self.acknowledged: set[str] = set()
        self.operations: list[Callable[[], Awaitable[None]]] = [
            *[self.order] * 5,
            self.pay,
            self.pay,
            self.release,
            self.cancel,
            self.record_count,
            self.record_movement,
            self.read,
            self.ship,
            self.ship,
            self.reject,
            self.reassign,
            self.record_return,
            self.change_outlets,
        ]

    async def run(self, operation_count: int) -> None:
        for _ in range(operation_count):
            await self.dice.choice(self.operations)()
            if self.dice.random() < 0.02:
                await asyncio.sleep(1)

    async def order(self) -> None:
        order_id = f"A-{self.dice.randrange(40)}"
        skus = self.dice.sample(SKUS, self.dice.randint(1, 3))
        lines = [order_pb2.OrderLine(sku=sku, unit_count=self.dice.randint(1, 3)) for sku in skus]
        if self.dice.random() < 0.3:
            lines = [
                order_pb2.OrderLine(line_id=f"x{n}", sku=x.sku, unit_count=x.unit_count) for n, x in enumerate(lines)
            ]
        request = allocation_pb.AllocateOrderRequest(
            channel_id="web",
            order_id=order_id,
            lines=lines,
            commitment=self.dice.choice([HOLD, HOLD, SOLD]),
            request_id=request_id(),
        )
        request.hold_duration.FromTimedelta(timedelta(seconds=self.dice.choice([1, 1, 60])))
        if self.dice.random() < 0.3:
            request.destination.country = self.dice.choice(["US", "CA"])
        if self.dice.random() < 0.2:
            request.method = order_pb2.FULFILLMENT_METHOD_PICKUP
        if self.dice.random() < 0.4:
            request.outlet_id = self.dice.choice(OUTLET_IDS)
        response = await self._call("AllocateOrder", request)
        if response is not None:
            self.ids[order_id] = response.allocation.allocation_id

    async def pay(self) -> None:
        await self._call("ConfirmAllocation", allocation_pb.ConfirmAllocationRequest(**self._allocation()))

    async def release(self) -> None:
        await self._call("ReleaseAllocation", allocation_pb.ReleaseAllocationRequest(**self._allocation()))

    async def cancel(self) -> None:
        line = allocation_pb.LineCancellation(line_id=self.dice.choice(["1", "2", "x0"]), unit_count=1)
        request = allocation_pb.CancelOrderLinesRequest(cancellations=[line], **self._allocation())
        await self._call("CancelOrderLines", request)

    async def ship(self) -> None:
        """Ships or collects all units or one; the operation that does not fit the method of the order is refused."""
        fields = self._shipment()
        if self.dice.random() < 0.3:
            await self._call("CollectShipment", fulfillment_pb.CollectShipmentRequest(**fields))
            return
        if self.dice.random() < 0.3:
            await self._call("AcceptShipment", fulfillment_pb.AcceptShipmentRequest(**fields))
            return
        units = {self.dice.choice(["1", "2", "x0"]): 1} if self.dice.random() < 0.5 else {}
        await self._call("ShipShipment", fulfillment_pb.ShipShipmentRequest(lines=line_units(units), **fields))

    async def reject(self) -> None:
        reason = self.dice.choice(["NOT_FOUND", "DAMAGED", "NO_CAPACITY"])
        number = fulfillment_pb.RejectReason.Value(f"REJECT_REASON_{reason}")
        await self._call("RejectShipment", fulfillment_pb.RejectShipmentRequest(reason=number, **self._shipment()))

    async def reassign(self) -> None:
        location_id = self.dice.choice(["", *LOCATION_IDS])
        request = allocation_pb.ReassignShipmentRequest(location_id=location_id, actor="kim", **self._shipment())
        await self._call("ReassignShipment", request)

    async def record_return(self) -> None:
        request = fulfillment_pb.RecordReturnRequest(
            lines=line_units({self.dice.choice(["1", "2", "x0"]): 1}),
            disposition=fulfillment_pb.RETURN_DISPOSITION_SELLABLE,
            location_id=self.dice.choice(LOCATION_IDS),
            **self._allocation(),
        )
        await self._call("RecordReturn", request)

    async def change_outlets(self) -> None:
        """Gives an outlet other locations, or deletes it; refused if another outlet has one of the locations."""
        catalog, outlet_id = self.dice.choice(self.shops).catalog, self.dice.choice(OUTLET_IDS)
        if self.dice.random() < 0.3:
            deleted = outlet_pb2.DeleteOutletRequest(channel_id="web", outlet_id=outlet_id)
            await self._response(catalog.DeleteOutlet(deleted))
            return
        locations = self.dice.choice([LOCATION_IDS, *((location_id,) for location_id in LOCATION_IDS)])
        pool = outlet_pb2.Pool(pool_id=f"pool-{outlet_id}", location_ids=locations)
        await self._response(catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=[pool])))
        outlet = outlet_pb2.Outlet(channel_id="web", outlet_id=outlet_id, pool_id=pool.pool_id)
        await self._response(catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet])))

    async def read(self) -> None:
        allocation_id = self._allocation()["allocation_id"]
        await self._response(self.dice.choice(self.shops).get(allocation_id))

    async def record_count(self) -> None:
        # Often below the promised units there.
        count = stock_pb.StockCount(on_hand_count=self.dice.choice([0, 3, 6, 12, 25]))
        await self._record(change(*self._level(), at=datetime.now(UTC), count=count))

    async def record_movement(self) -> None:
        kind = self.dice.choice([stock_pb.MOVEMENT_KIND_RECEIVED, stock_pb.MOVEMENT_KIND_SOLD])
        await self._record(
            change(*self._level(), at=datetime.now(UTC), movement=movement(kind, self.dice.randint(1, 4)))
        )

    def _level(self) -> tuple[str, str]:
        return self.dice.choice(SKUS), self.dice.choice(LOCATION_IDS)

    def _allocation(self) -> dict[str, Any]:
        allocation_id = self.dice.choice(list(self.ids.values()) or [str(uuid.uuid4())])
        return {"allocation_id": allocation_id, "request_id": request_id()}

    def _shipment(self) -> dict[str, Any]:
        shipment_id = self.dice.choice(list(self.shipments) or [str(uuid.uuid4())])
        return {"shipment_id": shipment_id, "request_id": request_id()}

    async def _record(self, stock_change: stock_pb.StockChange) -> None:
        await self.dice.choice(self.shops).record(stock_change, source=f"till-{self.dice.randrange(3)}")

    async def _call(self, method: str, request: Any) -> Any:
        """Sends a request once, or concurrently through two services, which must give the same response."""
        shops = self.dice.sample(self.shops, 2 if self.dice.random() < 0.3 else 1)
        results = await asyncio.gather(*(self._response(_call_of(shop, method, request)) for shop in shops))
        responses = [response for response in results if response is not None]
        assert all(response == responses[0] for response in responses)
        self.acknowledged.update(response.allocation.allocation_id for response in responses)
        shipments = [shipment for response in responses for shipment in response.allocation.shipments]
        self.shipments.update((shipment.shipment_id, shipment) for shipment in shipments)
        return responses[0] if responses else None

    async def _response(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if error.code() not in EXPECTED_REFUSALS:
                raise
            return None


def _call_of(shop: Retailer, method: str, request: Any) -> Awaitable[Any]:
    stub = shop.allocations if hasattr(shop.allocations, method) else shop.fulfillment
    call: Awaitable[Any] = getattr(stub, method)(request, timeout=60)
    return call


@pytest.mark.parametrize("seed", seeds(1, of_long_tests=11))
async def test_concurrent_operations_never_promise_more_than_the_stock(retailers: RetailerMaker, seed: int) -> None:
    shops = [await retailers.make(RESOLVED_RULES) for _ in range(3)]
    await shops[0].stock({(sku, location_id): 12 for sku in SKUS for location_id in LOCATION_IDS})
    product = catalog_pb.Product(sku="MUG", tags=["launch"])
    await shops[0].catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))
    trade = RandomTrade(shops, seed)

    await asyncio.gather(*(trade.run(30 if seed else 12) for _ in range(12)))
    report = await shops[0].ledger()
    await asyncio.sleep(1.2)

    assert report.balanced, report.differences
    assert (await shops[0].ledger()).balanced
    assert await promised_beyond_stock(shops[0]) == []
    assert await shops[0].sql(PROMISED_OUTSIDE_OUTLET) == []
    assert await shops[0].sql(IN_TWO_OUTLETS) == []
    assert await deadlocks(shops[0]) == 0
    assert {str(row["id"]) for row in await shops[0].sql("SELECT id FROM allocation")} == trade.acknowledged


async def promised_beyond_stock(shop: Retailer) -> list[Any]:
    """Stock levels with more promised units than stock after some transaction, from their movements.

    Within a transaction a count may be below the promises until they are rerouted.
    """
    return await shop.sql(
        """
        SELECT * FROM (
            SELECT sku, location_id, xid, ingest_time, kinds,
                   sum(stock) OVER level_so_far AS stock, sum(promised) OVER level_so_far AS promised
            FROM (
                SELECT sku, location_id, xid, min(ingest_time) AS ingest_time, min(id::text) AS first_id,
                       array_agg(kind ORDER BY id) AS kinds, sum(on_hand_delta - unavailable_delta) AS stock,
                       sum(held_delta + allocated_delta) AS promised
                FROM stock_movement GROUP BY sku, location_id, xid
            ) AS transactions
            WINDOW level_so_far AS (PARTITION BY sku, location_id ORDER BY ingest_time, first_id)
        ) AS history
        WHERE promised > greatest(0, stock)
        """
    )


async def deadlocks(shop: Retailer) -> int:
    await shop.sql("SELECT pg_stat_force_next_flush()")
    rows = await shop.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    count: int = rows[0]["deadlocks"]
    return count


# A payment of a partly allocated order replans it, which must not undo concurrent changes.


async def test_units_cancelled_while_a_payment_replans_stay_cancelled(retailers: RetailerMaker) -> None:
    first, second = [await retailers.make() for _ in range(2)]
    await first.stock({("MUG", "dc"): 3})
    held = await first.allocate("A-1", {"MUG": 5}, HOLD)

    async with blocked_planning(first):
        paying = asyncio.create_task(first.confirm(held.allocation_id))
        await asyncio.sleep(0.3)
        await second.cancel(held.allocation_id, {"1": 4})
    await paying

    line = (await first.get(held.allocation_id)).allocation.lines[0]
    assert (line.promised_count, line.cancelled_count, line.short_count) == (1, 4, 0)
    assert (await first.ledger()).balanced


async def test_a_hold_released_while_its_payment_replans_is_not_sold(retailers: RetailerMaker) -> None:
    first, second = [await retailers.make() for _ in range(2)]
    await first.stock({("MUG", "dc"): 3})
    held = await first.allocate("A-1", {"MUG": 5}, HOLD)

    async with blocked_planning(first):
        paying = asyncio.create_task(outcome(first.confirm(held.allocation_id)))
        await asyncio.sleep(0.3)
        released = await outcome(second.release(held.allocation_id))
    paid = await paying

    # One of the two is refused, whichever is second.
    assert sorted([paid, released]) == ["FAILED_PRECONDITION", "OK"]
    assert (await first.ledger()).balanced


async def test_a_late_payment_does_not_undo_an_amendment(retailers: RetailerMaker) -> None:
    first, second = [await retailers.make() for _ in range(2)]
    await first.stock({("MUG", "dc"): 9})
    held = await first.allocate("A-1", {"MUG": 1}, HOLD)
    await first.expire(held)

    async with blocked_planning(first):
        paying = asyncio.create_task(first.confirm(held.allocation_id))
        await asyncio.sleep(0.3)
        await second.allocate("A-1", {"MUG": 3}, SOLD)
    await paying

    assert promised((await first.get(held.allocation_id)).allocation) == {"dc": 3}


# Concurrent requests through two services


async def test_one_order_with_different_lines_through_two_services_is_one_promise(
    retailers: RetailerMaker,
) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 30, ("CUP", "dc"): 30})

    responses = await asyncio.gather(
        *(shops[n % 2].allocate("A-1", {"MUG": 1 + n % 3, "CUP": 1 + n % 4}) for n in range(24))
    )

    last = (await shops[0].get(responses[0].allocation_id)).allocation
    assert {response.allocation_id for response in responses} == {last.allocation_id}
    assert last.lines in [response.lines for response in responses]
    assert await shops[0].sellable("MUG") == 30 - last.lines[0].unit_count
    assert (await shops[0].ledger()).balanced


async def test_a_change_id_used_for_two_products_concurrently_counts_once(retailers: RetailerMaker) -> None:
    first, second = [await retailers.make() for _ in range(2)]
    await first.stock({("MUG", "dc"): 0, ("CUP", "dc"): 0})
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 1)

    for turn in range(8):
        changes = [
            change(sku, "dc", at=datetime.now(UTC), change_id=f"r-{turn}", movement=received) for sku in SKUS[:2]
        ]
        results = await asyncio.gather(first.record(changes[0]), second.record(changes[1]))
        names = sorted(stock_pb.StockChangeResult.ChangeResult.Name(result[0].result) for result in results)
        assert names == ["CHANGE_RESULT_ACCEPTED", "CHANGE_RESULT_DUPLICATE"]


# Metrics


async def test_metrics_count_a_repeatedly_amended_order_once(retailer: Retailer) -> None:
    """No unit of an order counts twice when its lines, locations or causes change."""
    await retailer.stock({("MUG", "dc"): 3})
    united_states, canada = order_pb2.Destination(country="US"), order_pb2.Destination(country="CA")

    await retailer.allocate("A-1", {"MUG": 5}, destination=canada)
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 2)
    await retailer.record(change("MUG", "dc", at=datetime.now(UTC), movement=received))
    await retailer.allocate("A-2", {"MUG": 2})
    short = await retailer.allocate("A-1", {"MUG": 5}, destination=united_states)

    assert short.shortages[0].unit_count == 2
    assert sum(retailer.metric("oversold_units_total", channel="web", cause=cause) for cause in CAUSES) == 2
    assert sum(retailer.metric("oversold_orders_total", channel="web", cause=cause) for cause in CAUSES) == 1
    assert retailer.metric("manual_interventions_total", channel="web", reason="oversell") == 1


async def test_a_sold_order_that_shrinks_and_grows_again_is_counted_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})

    for units in (5, 2, 5):
        await retailer.allocate("A-1", {"MUG": units})

    sold, cancelled = (retailer.metric(f"{name}_units_total", channel="web") for name in ("sold", "cancelled"))
    assert sold - cancelled == 5


async def outcome(call: Awaitable[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@asynccontextmanager
async def blocked_planning(shop: Retailer) -> AsyncIterator[None]:
    """Blocks this service while it plans an order for mugs, so that other orders for mugs queue."""
    await shop.allocate("B-1", {"MUG": 1}, HOLD)
    connection = await asyncpg.connect(plain_url(shop.database_url))
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM allocation WHERE order_id = 'B-1' FOR UPDATE")
            new_destination = order_pb2.Destination(country="US")
            blocked = asyncio.create_task(shop.allocate("B-1", {"MUG": 1}, HOLD, destination=new_destination))
            await asyncio.sleep(0.3)
            yield
    finally:
        await connection.close()
    await blocked
