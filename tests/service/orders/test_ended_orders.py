"""An order that promises nothing any more has ended, however it ended; what has shipped stays allocated."""

from __future__ import annotations

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer, State, order_reference
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2


def outcomes(allocation: allocation_pb.Allocation) -> tuple[str, str, list[str]]:
    """State, outcome and outcomes of the lines."""
    names = [order_pb2.Outcome.Name(line.outcome).removeprefix("OUTCOME_") for line in allocation.lines]
    outcome = order_pb2.Outcome.Name(allocation.outcome).removeprefix("OUTCOME_")
    return State.Name(allocation.state).removeprefix("STATE_"), outcome, names


async def expire(shop: Retailer, order_id: str) -> None:
    """Lets a hold expire by the clock."""
    for table, column in (("promise", "allocation_id"), ("allocation", "id")):
        await shop.sql(
            f"UPDATE {table} SET expire_time = clock_timestamp() WHERE state = 'held' AND {column} = "
            "(SELECT id FROM allocation WHERE order_id = $1)",
            order_id,
        )


async def test_an_order_that_promises_nothing_any_more_has_ended(retailers: RetailerMaker) -> None:
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 50})
    await shop.catalog.UpsertProducts(
        catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="OLD", tags=["clearance"])])
    )
    released = await shop.allocate("released", {"MUG": 2}, HOLD)
    await shop.release(released.allocation_id)
    await shop.allocate("expired", {"MUG": 2}, HOLD)
    await expire(shop, "expired")
    emptied = await shop.allocate("hold-cancelled-by-line", {"MUG": 2}, HOLD)
    await shop.cancel(emptied.allocation_id, {"1": 2})
    by_line = await shop.allocate("sale-cancelled-by-line", {"MUG": 2})
    await shop.cancel(by_line.allocation_id, {"1": 2})
    await shop.allocate("cancelled-whole", {"MUG": 2})
    await shop.cancel_order("web/cancelled-whole")
    await shop.cancel_order("web/cancelled-early")
    await shop.allocate("cancelled-early", {"MUG": 2})
    await shop.allocate("cancelled-by-rule", {"OLD": 2})
    await shop.allocate("merged", {"MUG": 2})
    await shop.allocate("merged", {"MUG": 2}, copy_of=order_reference("web/original"))

    listed = (await shop.allocations.ListAllocations(allocation_pb.ListAllocationsRequest())).allocations
    ended = {order.order_id: outcomes(order) for order in listed if order.order_id != "original"}

    assert ended == {
        "released": ("RELEASED", "ENDED", ["ENDED"]),
        "expired": ("EXPIRED", "ENDED", ["ENDED"]),
        "hold-cancelled-by-line": ("RELEASED", "ENDED", ["ENDED"]),
        "sale-cancelled-by-line": ("CANCELLED", "ENDED", ["ENDED"]),
        "cancelled-whole": ("CANCELLED", "ENDED", ["ENDED"]),
        "cancelled-early": ("CANCELLED", "ENDED", ["ENDED"]),
        "cancelled-by-rule": ("CANCELLED", "ENDED", ["ENDED"]),
        "merged": ("CANCELLED", "ENDED", ["ENDED"]),
    }
    assert shop.metric("allocations_total", channel="web", outcome="ended") == 2


async def test_an_order_of_which_units_have_shipped_has_not_ended(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 50, ("CUP", "dc"): 50})
    sold = await retailer.allocate("A-1", {"MUG": 3, "CUP": 1})
    await retailer.ship(sold.shipments[0], {"1": 2})

    cancelled = (await retailer.cancel_order("web/A-1")).allocation
    returned = await retailer.record_return(sold.allocation_id, {"1": 2}, "sellable", "dc", event_id="r-1")

    assert outcomes(cancelled) == outcomes(returned) == ("CONFIRMED", "ALLOCATED", ["ALLOCATED", "ENDED"])


async def test_a_released_hold_that_is_held_again_is_allocated_again(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    held = await retailer.allocate("A-1", {"MUG": 3}, HOLD)
    released = await retailer.release(held.allocation_id)
    again = await retailer.allocate("A-1", {"MUG": 3}, HOLD)
    refused = await retailer.allocate("A-2", {"MUG": 3}, HOLD)

    assert [outcomes(x)[1] for x in (released, again, refused)] == ["ENDED", "ALLOCATED", "PARTLY_ALLOCATED"]
