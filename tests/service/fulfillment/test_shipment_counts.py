"""What the metrics count of shipments: whether locations keep their times, each shipment once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.retailer import Retailer, order_request


def due(shop: Retailer, deadline: str) -> tuple[float, float]:
    """Shipments from the dc that kept a deadline, and those that missed it."""
    by_result = [
        shop.metric("shipments_due_total", location="dc", deadline=deadline, result=result)
        for result in ("in_time", "late")
    ]
    return by_result[0], by_result[1]


async def test_a_shipment_is_in_time_or_late_by_the_channel_s_time_however_often_its_parcel_is_reported(
    retailer: Retailer,
) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    now = datetime.now(UTC)
    for order_id, hours in (("A-1", 24), ("A-2", -1), ("A-3", 24)):
        request = order_request(order_id, {"MUG": 2}, ship_by_time=now + timedelta(hours=hours))
        (shipment,) = (await retailer.allocations.AllocateOrder(request)).allocation.shipments
        if order_id == "A-3":
            await retailer.accept(shipment)
        await retailer.ship(shipment, {"1": 1}, event_id="p-1")
        if order_id != "A-3":
            await retailer.ship(shipment, {"1": 1}, event_id="p-2")
            await retailer.ship(shipment, {"1": 1}, event_id="p-2")

    assert due(retailer, "ship_by") == (1, 1)
    assert retailer.metric("shipment_ship_seconds_count", location="dc") == 2
    assert retailer.metric("shipment_accept_seconds_count", location="dc") == 3


async def test_a_parcel_that_was_scanned_by_mistake_does_not_count_again_when_it_leaves(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    request = order_request("A-1", {"MUG": 1}, ship_by_time=datetime.now(UTC) + timedelta(hours=1))
    (shipment,) = (await retailer.allocations.AllocateOrder(request)).allocation.shipments

    await retailer.ship(shipment, event_id="p-1")
    await retailer.undo(shipment, "p-1")
    await retailer.ship(shipment, event_id="p-2")

    assert due(retailer, "ship_by") == (1, 0)


async def test_a_delivery_counts_by_the_end_of_its_day_and_one_without_a_day_is_not_due(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    for order_id, days in (("A-1", 2), ("A-2", -2), ("A-3", None)):
        (shipment,) = (await retailer.allocate(order_id, {"MUG": 1})).shipments
        await retailer.ship(shipment)
        until = None if days is None else datetime.now(UTC) + timedelta(days=days)
        stated = "NULL" if until is None else f"'{until.isoformat()}'"
        await retailer.sql(f"UPDATE shipment SET deliver_by_time = {stated} WHERE id = '{shipment.shipment_id}'")
        await retailer.deliver(shipment)
        await retailer.deliver(shipment)

    assert due(retailer, "delivery_day") == (1, 1)
