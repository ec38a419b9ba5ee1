"""The events of an order say whose call caused each of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.retailer import Retailer, order_request
from tests.service.auth.test_access import bearer, principal, served
from truestock.v1 import allocation_service_pb2 as allocation_pb


class Caller:
    """Calls the methods of a stub with a token."""

    def __init__(self, stub: Any, name: str) -> None:
        self._stub = stub
        self._metadata = bearer(name)

    def __getattr__(self, method: str) -> Any:
        def call(request: Any, **options: Any) -> Any:
            return getattr(self._stub, method)(request, metadata=self._metadata, **options)

        return call


async def test_each_event_of_an_order_names_its_caller_also_in_one_batch(database_url: str, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text("principals:\n" + "".join(principal(name, "admin") for name in ("ops", "shop", "till")))
    async with served(database_url, access) as service, Retailer.connect(service, database_url) as shop:
        for stub in ("catalog", "stock_service", "allocations"):
            setattr(shop, stub, Caller(getattr(shop, stub), "ops"))
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 20})
        orders = shop.allocations._stub
        answers = await asyncio.gather(
            *(
                Caller(orders, name).AllocateOrder(order_request(f"{name}-{number}", {"MUG": 1}))
                for number in range(4)
                for name in ("shop", "till")
            )
        )
        id = answers[0].allocation.allocation_id
        cancelled = allocation_pb.LineCancellation(line_id=answers[0].allocation.lines[0].line_id, unit_count=1)
        await Caller(orders, "till").CancelOrderLines(
            allocation_pb.CancelOrderLinesRequest(allocation_id=id, cancellations=[cancelled])
        )
        timelines = [await shop.get(answer.allocation.allocation_id) for answer in answers]
        rows = await shop.sql("SELECT DISTINCT principal FROM order_event")

    senders = [timeline.timeline[0].principal for timeline in timelines]
    assert senders == ["shop", "till"] * 4
    assert [event.principal for event in timelines[0].timeline] == ["shop", "till"]
    assert {row["principal"] for row in rows} == {"shop", "till"}
