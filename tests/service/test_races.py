"""Several services on one database, and everything that can happen to an order at once."""

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

from service.database.database import plain_url
from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, change, line_units, movement, promised, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

SKUS, PLACES = ("CUP", "MUG", "POT"), ("dc", "high-street")
NO_ANSWERS = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
"""What a caller may hear who comes too late, or changes the product of a line that has left; all else is our fault."""


class Trade:
    """Random carts, sales, payments, parcels, rejections, returns, counts and movements, reproducible by their seed."""

    def __init__(self, shops: list[Retailer], seed: int) -> None:
        self.shops = shops
        self.dice = random.Random(seed)
        self.ids: dict[str, str] = {}
        self.shipments: dict[str, shipment_pb2.Shipment] = {}
        """Shipments as some answer told of them, which may be long ago."""
        self.acknowledged: set[str] = set()
        self.moves: list[Callable[[], Awaitable[None]]] = [
            *[self.order] * 5,
            self.pay,
            self.pay,
            self.release,
            self.cancel,
            self.count,
            self.move,
            self.look,
            self.ship,
            self.ship,
            self.reject,
            self.reassign,
            self.take_back,
        ]

    async def run(self, move_count: int) -> None:
        for _ in range(move_count):
            await self.dice.choice(self.moves)()
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
        answer = await self._call("AllocateOrder", request)
        if answer is not None:
            self.ids[order_id] = answer.allocation.allocation_id

    async def pay(self) -> None:
        await self._call("ConfirmAllocation", allocation_pb.ConfirmAllocationRequest(**self._known()))

    async def release(self) -> None:
        await self._call("ReleaseAllocation", allocation_pb.ReleaseAllocationRequest(**self._known()))

    async def cancel(self) -> None:
        line = allocation_pb.LineCancellation(line_id=self.dice.choice(["1", "2", "x0"]), unit_count=1)
        request = allocation_pb.CancelOrderLinesRequest(cancellations=[line], **self._known())
        await self._call("CancelOrderLines", request)

    async def ship(self) -> None:
        """A parcel leaves or is fetched, some of it or all, as its order has it; the other of the two is refused."""
        made = self._shipment()
        if self.dice.random() < 0.3:
            await self._call("CollectShipment", fulfillment_pb.CollectShipmentRequest(**made))
            return
        if self.dice.random() < 0.3:
            await self._call("AcceptShipment", fulfillment_pb.AcceptShipmentRequest(**made))
            return
        units = {self.dice.choice(["1", "2", "x0"]): 1} if self.dice.random() < 0.5 else {}
        await self._call("ShipShipment", fulfillment_pb.ShipShipmentRequest(lines=line_units(units), **made))

    async def reject(self) -> None:
        reason = self.dice.choice(["NOT_FOUND", "DAMAGED", "NO_CAPACITY"])
        number = fulfillment_pb.RejectReason.Value(f"REJECT_REASON_{reason}")
        await self._call("RejectShipment", fulfillment_pb.RejectShipmentRequest(reason=number, **self._shipment()))

    async def reassign(self) -> None:
        place = self.dice.choice(["", *PLACES])
        request = allocation_pb.ReassignShipmentRequest(location_id=place, actor="kim", **self._shipment())
        await self._call("ReassignShipment", request)

    async def take_back(self) -> None:
        request = fulfillment_pb.RecordReturnRequest(
            lines=line_units({self.dice.choice(["1", "2", "x0"]): 1}),
            disposition=fulfillment_pb.RETURN_DISPOSITION_SELLABLE,
            location_id=self.dice.choice(PLACES),
            **self._known(),
        )
        await self._call("RecordReturn", request)

    async def look(self) -> None:
        allocation_id = self._known()["allocation_id"]
        await self._answered(self.dice.choice(self.shops).get(allocation_id))

    async def count(self) -> None:
        # Often below what is promised there.
        said = stock_pb.StockCount(on_hand_count=self.dice.choice([0, 3, 6, 12, 25]))
        await self._record(change(*self._level(), at=datetime.now(UTC), count=said))

    async def move(self) -> None:
        kind = self.dice.choice([stock_pb.MOVEMENT_KIND_RECEIVED, stock_pb.MOVEMENT_KIND_SOLD])
        await self._record(
            change(*self._level(), at=datetime.now(UTC), movement=movement(kind, self.dice.randint(1, 4)))
        )

    def _level(self) -> tuple[str, str]:
        return self.dice.choice(SKUS), self.dice.choice(PLACES)

    def _known(self) -> dict[str, Any]:
        allocation_id = self.dice.choice(list(self.ids.values()) or [str(uuid.uuid4())])
        return {"allocation_id": allocation_id, "request_id": request_id()}

    def _shipment(self) -> dict[str, Any]:
        shipment_id = self.dice.choice(list(self.shipments) or [str(uuid.uuid4())])
        return {"shipment_id": shipment_id, "request_id": request_id()}

    async def _record(self, said: stock_pb.StockChange) -> None:
        await self.dice.choice(self.shops).record(said, source=f"till-{self.dice.randrange(3)}")

    async def _call(self, method: str, request: Any) -> Any:
        """Sends a request once, or at once through two services, which must hear the same."""
        shops = self.dice.sample(self.shops, 2 if self.dice.random() < 0.3 else 1)
        heard = await asyncio.gather(*(self._answered(_sent(shop, method, request)) for shop in shops))
        answers = [answer for answer in heard if answer is not None]
        assert all(answer == answers[0] for answer in answers)
        self.acknowledged.update(answer.allocation.allocation_id for answer in answers)
        self.shipments.update((made.shipment_id, made) for answer in answers for made in answer.allocation.shipments)
        return answers[0] if answers else None

    async def _answered(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if error.code() not in NO_ANSWERS:
                raise
            return None


def _sent(shop: Retailer, method: str, request: Any) -> Awaitable[Any]:
    stub = shop.allocations if hasattr(shop.allocations, method) else shop.fulfillment
    call: Awaitable[Any] = getattr(stub, method)(request, timeout=60)
    return call


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_nothing_is_promised_that_is_not_there(
    retailers: RetailerMaker, seed: int
) -> None:
    shops = [await retailers.make(RESOLVED_RULES) for _ in range(3)]
    await shops[0].stock({(sku, place): 12 for sku in SKUS for place in PLACES})
    waits = catalog_pb.Product(sku="MUG", tags=["launch"])
    await shops[0].catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[waits]))
    trade = Trade(shops, seed)

    await asyncio.gather(*(trade.run(30) for _ in range(12)))
    report = await shops[0].ledger()
    await asyncio.sleep(1.2)

    assert report.balanced, report.differences
    assert (await shops[0].ledger()).balanced
    assert await promised_beyond_stock(shops[0]) == []
    assert await deadlocks(shops[0]) == 0
    assert {str(row["id"]) for row in await shops[0].sql("SELECT id FROM allocation")} == trade.acknowledged


async def promised_beyond_stock(shop: Retailer) -> list[Any]:
    """Levels at which more was promised than was there, as each transaction left them: their history, replayed.

    Inside a transaction a count may be below the promises for as long as it takes to move them elsewhere.
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


# A payment for less than the whole order is planned anew: what happened meanwhile must not be undone.


async def test_units_cancelled_while_a_payment_is_planned_anew_stay_cancelled(retailers: RetailerMaker) -> None:
    one, two = [await retailers.make() for _ in range(2)]
    await one.stock({("MUG", "dc"): 3})
    held = await one.allocate("A-1", {"MUG": 5}, HOLD)

    async with planning_waits(one):
        paying = asyncio.create_task(one.confirm(held.allocation_id))
        await asyncio.sleep(0.3)
        await two.cancel(held.allocation_id, {"1": 4})
    await paying

    line = (await one.get(held.allocation_id)).allocation.lines[0]
    assert (line.promised_count, line.cancelled_count, line.short_count) == (1, 4, 0)
    assert (await one.ledger()).balanced


async def test_a_cart_released_while_its_payment_is_planned_anew_is_not_sold(retailers: RetailerMaker) -> None:
    one, two = [await retailers.make() for _ in range(2)]
    await one.stock({("MUG", "dc"): 3})
    held = await one.allocate("A-1", {"MUG": 5}, HOLD)

    async with planning_waits(one):
        paying = asyncio.create_task(outcome(one.confirm(held.allocation_id)))
        await asyncio.sleep(0.3)
        freed = await outcome(two.release(held.allocation_id))
    paid = await paying

    # Whichever came first, the other is told that it came too late.
    assert sorted([paid, freed]) == ["FAILED_PRECONDITION", "OK"]
    assert (await one.ledger()).balanced


async def test_a_changed_order_is_not_changed_back_by_a_late_payment(retailers: RetailerMaker) -> None:
    one, two = [await retailers.make() for _ in range(2)]
    await one.stock({("MUG", "dc"): 9})
    held = await one.allocate("A-1", {"MUG": 1}, HOLD, hold_duration=timedelta(seconds=1))
    await asyncio.sleep(1.1)

    async with planning_waits(one):
        paying = asyncio.create_task(one.confirm(held.allocation_id))
        await asyncio.sleep(0.3)
        await two.allocate("A-1", {"MUG": 3}, SOLD)
    await paying

    assert promised((await one.get(held.allocation_id)).allocation) == {"dc": 3}


# Two doors at once


async def test_one_order_that_comes_through_two_doors_with_other_contents_is_one_promise(
    retailers: RetailerMaker,
) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 30, ("CUP", "dc"): 30})

    answers = await asyncio.gather(
        *(shops[n % 2].allocate("A-1", {"MUG": 1 + n % 3, "CUP": 1 + n % 4}) for n in range(24))
    )

    last = (await shops[0].get(answers[0].allocation_id)).allocation
    assert {answer.allocation_id for answer in answers} == {last.allocation_id}
    assert last.lines in [answer.lines for answer in answers]
    assert await shops[0].sellable("MUG") == 30 - last.lines[0].unit_count
    assert (await shops[0].ledger()).balanced


async def test_one_change_id_for_two_products_at_once_counts_once(retailers: RetailerMaker) -> None:
    one, two = [await retailers.make() for _ in range(2)]
    await one.stock({("MUG", "dc"): 0, ("CUP", "dc"): 0})
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 1)

    for turn in range(8):
        said = [change(sku, "dc", at=datetime.now(UTC), change_id=f"r-{turn}", movement=received) for sku in SKUS[:2]]
        results = await asyncio.gather(one.record(said[0]), two.record(said[1]))
        names = sorted(stock_pb.StockChangeResult.ChangeResult.Name(result[0].result) for result in results)
        assert names == ["CHANGE_RESULT_ACCEPTED", "CHANGE_RESULT_DUPLICATE"]


# What is counted


async def test_an_order_that_changes_again_and_again_is_counted_as_what_it_is(retailer: Retailer) -> None:
    """Each order's figures never count twice, whatever becomes of its lines, places and causes."""
    await retailer.stock({("MUG", "dc"): 3})
    there, here = order_pb2.Destination(country="US"), order_pb2.Destination(country="CA")

    await retailer.allocate("A-1", {"MUG": 5}, destination=here)
    received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 2)
    await retailer.record(change("MUG", "dc", at=datetime.now(UTC), movement=received))
    await retailer.allocate("A-2", {"MUG": 2})
    short = await retailer.allocate("A-1", {"MUG": 5}, destination=there)

    causes = ("race", "stale_feed", "over_published")
    assert short.shortages[0].unit_count == 2
    assert sum(retailer.metric("oversold_units_total", channel="web", cause=cause) for cause in causes) == 2
    assert sum(retailer.metric("oversold_orders_total", channel="web", cause=cause) for cause in causes) == 1
    assert retailer.metric("manual_interventions_total", channel="web", reason="oversell") == 1


async def test_a_sold_order_that_shrinks_and_grows_again_is_not_sold_twice(retailer: Retailer) -> None:
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
async def planning_waits(shop: Retailer) -> AsyncIterator[None]:
    """An order for mugs is being decided in this service and does not get on, so that others for mugs queue."""
    await shop.allocate("B-1", {"MUG": 1}, HOLD)
    connection = await asyncpg.connect(plain_url(shop.database_url))
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM allocation WHERE order_id = 'B-1' FOR UPDATE")
            elsewhere = order_pb2.Destination(country="US")
            stuck = asyncio.create_task(shop.allocate("B-1", {"MUG": 1}, HOLD, destination=elsewhere))
            await asyncio.sleep(0.3)
            yield
    finally:
        await connection.close()
    await stuck
