"""Actions of locations on shipments, and their effect on stock and orders."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import asyncpg
import grpc
import pytest

from policies.stock.oversell import CAUSES
from service.database.database import plain_url
from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer, eventually, promised, refused, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    exception_pb2,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    shipment_pb2,
)

State = shipment_pb2.Shipment.State
PICKUP = order_pb2.FULFILLMENT_METHOD_PICKUP


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """Rejections are rerouted; oversold launch products are backordered, clearance cancelled, others raised."""
    return await retailers.make(RESOLVED_RULES)


async def states(shop: Retailer, order: allocation_pb.Allocation) -> dict[str, str]:
    shipments = (await shop.get(order.allocation_id)).allocation.shipments
    return {x.location_id: State.Name(x.state).removeprefix("STATE_") for x in shipments}


async def figures(shop: Retailer, sku: str, location_id: str) -> tuple[int, int, int, int]:
    """On hand, unavailable, allocated and available."""
    level = await shop.level(sku, location_id)
    return level.on_hand_count, level.unavailable_count, level.allocated_count, level.available_count


# Shipping


async def test_shipped_units_are_subtracted_from_on_hand_and_allocated_together(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    order = await shop.allocate("A-1", {"MUG": 3})

    shipped = await shop.ship(order.shipments[0])

    assert await figures(shop, "MUG", "dc") == (2, 0, 0, 2)
    assert shipped.shipments[0].state == State.STATE_SHIPPED
    assert (shipped.lines[0].promised_count, shipped.lines[0].shipped_count) == (0, 3)
    assert (await shop.ledger()).balanced


async def test_a_line_ships_in_three_parcels_and_a_repeated_parcel_counts_once(
    shop: Retailer,
) -> None:
    await shop.stock({("MUG", "dc"): 9})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 5})).shipments

    for event, units in [("p-1", 2), ("p-2", 2), ("p-1", 2), ("p-3", 1), ("p-3", 1)]:
        order = await shop.ship(shipment, {"1": units}, event_id=event)

    assert order.shipments[0].state == State.STATE_SHIPPED
    assert await figures(shop, "MUG", "dc") == (4, 0, 0, 4)
    assert (await shop.ledger()).balanced


async def test_more_units_than_remain_cannot_ship_and_nothing_changes(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 9, ("CUP", "dc"): 9})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 5, "CUP": 1})).shipments

    error = await refused(shop.ship(shipment, {"2": 1, "1": 6}))

    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "line 1 has 5 units remaining, so 6 cannot be shipped" in (error.details() or "")
    assert await figures(shop, "CUP", "dc") == (9, 0, 1, 8)


async def test_a_delivered_shipment_counts_as_shipped_even_if_not_reported(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 3})).shipments

    await shop.deliver(shipment, event_id="d-1")
    late = await shop.ship(shipment, event_id="p-1")

    assert late.shipments[0].state == State.STATE_DELIVERED
    assert await figures(shop, "MUG", "dc") == (2, 0, 0, 2)


@pytest.mark.parametrize("order_of_arrival", [("accept", "ship", "deliver"), ("deliver", "ship", "accept")])
async def test_events_of_a_shipment_end_in_one_state_in_any_order(
    shop: Retailer, order_of_arrival: tuple[str, ...]
) -> None:
    await shop.stock({("MUG", "dc"): 5})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 3})).shipments

    for name in order_of_arrival:
        await getattr(shop, name)(shipment)
        order = await getattr(shop, name)(shipment)

    assert order.shipments[0].state == State.STATE_DELIVERED
    assert await figures(shop, "MUG", "dc") == (2, 0, 0, 2)
    assert (await shop.ledger()).balanced


async def test_a_shipment_that_a_later_count_includes_is_not_subtracted_twice(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 3})).shipments
    ship_time = datetime.now(UTC) - timedelta(seconds=40)
    await shop.count({("MUG", "dc"): 2}, at=ship_time + timedelta(seconds=20))

    await shop.ship(shipment, event_time=ship_time)

    assert await figures(shop, "MUG", "dc") == (2, 0, 0, 2)
    assert (await shop.ledger()).balanced


@pytest.mark.parametrize(
    ("units", "message"), [({"1": 4}, "line 1 has 0 units remaining"), ({"9": 1}, "no line of the shipment '9'")]
)
async def test_units_that_were_not_in_a_shipment_cannot_ship_late(
    shop: Retailer, units: dict[str, int], message: str
) -> None:
    await shop.stock({("MUG", "dc"): 5})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 3})).shipments
    await shop.deliver(shipment)

    error = await refused(shop.ship(shipment, units))

    assert message in (error.details() or "")


async def test_a_shipment_of_an_unpaid_order_cannot_ship(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 3}, HOLD)).shipments

    error = await refused(shop.ship(shipment))

    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "not sold yet" in (error.details() or "")


async def test_units_can_be_cancelled_after_acceptance_but_not_after_shipping(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 9})
    order = await shop.allocate("A-1", {"MUG": 5})
    await shop.accept(order.shipments[0])
    await shop.ship(order.shipments[0], {"1": 2})

    cancelled = await shop.cancel(order.allocation_id, {"1": 2})
    error = await refused(shop.cancel(order.allocation_id, {"1": 2}))

    line = cancelled.lines[0]
    assert (line.shipped_count, line.cancelled_count, line.promised_count) == (2, 2, 1)
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert await figures(shop, "MUG", "dc") == (7, 0, 1, 6)
    assert (await shop.ledger()).balanced


async def test_cancelling_a_partly_shipped_order_keeps_its_shipped_units(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 9})
    order = await shop.allocate("A-1", {"MUG": 5})
    await shop.ship(order.shipments[0], {"1": 2})

    cancelled = await shop.cancel(order.allocation_id, {"1": 3})

    assert cancelled.shipments[0].state == State.STATE_SHIPPED
    assert cancelled.state == allocation_pb.Allocation.STATE_CONFIRMED
    assert (await shop.ledger()).balanced


async def test_a_changed_order_replans_its_unshipped_units(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 9, ("CUP", "dc"): 9})
    order = await shop.allocate("A-1", {"MUG": 5})
    await shop.ship(order.shipments[0], {"1": 2})

    changed = await shop.allocate("A-1", {"MUG": 3, "CUP": 1})

    assert [(x.shipped_count, x.promised_count) for x in changed.lines] == [(2, 1), (0, 1)]
    assert await figures(shop, "MUG", "dc") == (7, 0, 1, 6)
    assert (await shop.ledger()).balanced


# Rejections


async def test_units_not_found_are_subtracted_from_on_hand_and_rerouted(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 3})
    order = await shop.allocate("A-1", {"MUG": 2})

    again = await shop.reject(order.shipments[0], "not_found")

    assert promised(again) | {"a-store": 0} == {"a-store": 0, "b-store": 2}
    assert await figures(shop, "MUG", "a-store") == (1, 0, 0, 1)
    assert await states(shop, order) == {"a-store": "REJECTED", "b-store": "ASSIGNED"}
    assert (await shop.ledger()).balanced


async def test_a_rejection_that_policy_resolves_needs_no_person_and_records_it(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 3})
    order = await shop.allocate("A-1", {"MUG": 2})

    await shop.reject(order.shipments[0], "no_capacity")
    answer = await shop.get(order.allocation_id)

    (exception,) = answer.exceptions
    assert (exception.kind, exception.resolution) == ("rejected", exception_pb2.EXCEPTION_RESOLUTION_REROUTED)
    assert exception.resolved_by == "policy"
    assert not answer.allocation.needs_person
    assert shop.metric("rerouted_units_total", channel="web", cause="rejected") == 2
    assert shop.metric("manual_interventions_total", channel="web", reason="rejected") == 0


async def test_rejected_units_that_no_other_location_has_are_an_oversell(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 1})
    order = await shop.allocate("A-1", {"MUG": 2})

    again = await shop.reject(order.shipments[0], "not_found")

    (short,) = again.shortages
    assert (short.unit_count, short.cause) == (1, "rejected")
    assert again.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert again.needs_person
    event = next(x for x in (await shop.get(order.allocation_id)).timeline if x.event == "rerouted")
    assert event.description == "Rerouted 1 unit to b-store (rejected); 1 unit short."
    assert shop.metric("oversold_units_total", channel="web", cause="rejected") == 1
    assert (await shop.ledger()).balanced


async def test_a_location_that_rejected_a_line_is_not_asked_for_it_again(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 9, ("MUG", "b-store"): 9})
    order = await shop.allocate("A-1", {"MUG": 2})
    again = await shop.reject(order.shipments[0], "closed")

    last = await shop.reject(again.shipments[-1], "closed")

    assert promised(last) == {"a-store": 0, "b-store": 0}
    assert last.shortages[0].unit_count == 2
    assert await shop.sellable("MUG") == 18


async def test_units_not_found_lower_the_count_confidence_of_the_location(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 3})
    order = await shop.allocate("A-1", {"MUG": 2})
    await shop.reject(order.shipments[0], "not_found")

    level, other = await shop.level("MUG", "a-store"), await shop.level("MUG", "b-store")

    assert (level.on_hand_count, level.count_confidence) == (1, 0.5)
    assert other.count_confidence == 1
    assert (await shop.sql("SELECT location_id, errors FROM location_count_history")) == [("a-store", 1)]


@pytest.mark.parametrize(("reason", "figure"), [("damaged", (3, 2, 0, 1)), ("set_aside", (3, 2, 0, 1))])
async def test_units_rejected_as_damaged_or_set_aside_become_unavailable(
    shop: Retailer, reason: str, figure: tuple[int, int, int, int]
) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 3})
    order = await shop.allocate("A-1", {"MUG": 2})

    await shop.reject(order.shipments[0], reason)

    assert await figures(shop, "MUG", "a-store") == figure
    assert (await shop.ledger()).balanced


async def test_a_rejection_of_some_units_leaves_the_others_where_they_are(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 3})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 3})).shipments

    again = await shop.reject(shipment, "not_found", {"1": 1}, event_id="r-1")
    twice = await shop.reject(shipment, "not_found", {"1": 1}, event_id="r-1")

    assert promised(again) == promised(twice) == {"a-store": 2, "b-store": 1}
    assert (await shop.ledger()).balanced


# Pickup and returns


async def test_a_pickup_order_becomes_ready_and_is_collected(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 2}, method=PICKUP, pickup_location_id="a-store")).shipments

    waiting = await shop.mark_ready(shipment)
    collected = await shop.collect(shipment)

    assert waiting.shipments[0].state == State.STATE_READY_FOR_PICKUP
    assert collected.shipments[0].state == State.STATE_COLLECTED
    assert await figures(shop, "MUG", "a-store") == (1, 0, 0, 1)


async def test_uncollected_units_are_available_at_the_store_again(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 2}, method=PICKUP, pickup_location_id="a-store")).shipments
    await shop.mark_ready(shipment)

    returned = await shop.return_uncollected(shipment)

    assert returned.state == allocation_pb.Allocation.STATE_CANCELLED
    assert returned.shipments[0].state == State.STATE_UNCOLLECTED
    assert await figures(shop, "MUG", "a-store") == (3, 0, 0, 3)
    assert (await shop.ledger()).balanced


async def test_an_order_of_which_nothing_was_collected_and_the_rest_is_short_needs_a_person(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("CUP", "a-store"): 0})
    lines = {"MUG": 2, "CUP": 1}
    (shipment,) = (await shop.allocate("A-1", lines, method=PICKUP, pickup_location_id="a-store")).shipments
    await shop.mark_ready(shipment)

    returned = await shop.return_uncollected(shipment)

    assert returned.outcome == order_pb2.OUTCOME_NEEDS_REVIEW


@pytest.mark.parametrize(
    ("disposition", "figure"),
    [("sellable", (2, 0, 0, 2)), ("inspect", (2, 2, 0, 0)), ("damaged", (2, 2, 0, 0))],
)
async def test_returned_units_are_added_to_the_named_location_by_disposition(
    shop: Retailer, disposition: str, figure: tuple[int, int, int, int]
) -> None:
    await shop.stock({("MUG", "dc"): 5, ("CUP", "a-store"): 0})
    order = await shop.allocate("A-1", {"MUG": 3})
    await shop.ship(order.shipments[0])

    for _ in range(2):
        returned = await shop.record_return(order.allocation_id, {"1": 2}, disposition, "a-store", event_id="r-1")

    assert await figures(shop, "MUG", "a-store") == figure
    assert returned.lines[0].returned_count == 2
    assert (await shop.ledger()).balanced


async def test_more_units_than_shipped_cannot_be_returned(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    order = await shop.allocate("A-1", {"MUG": 3})
    await shop.ship(order.shipments[0], {"1": 2})

    error = await refused(shop.record_return(order.allocation_id, {"1": 3}, "sellable", "dc"))

    assert "line 1 has 2 units remaining, so 3 cannot be returned" in (error.details() or "")


async def test_a_refund_without_a_return_changes_no_stock(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 5})
    order = await shop.allocate("A-1", {"MUG": 3})
    await shop.ship(order.shipments[0])

    await shop.record_return(order.allocation_id, {"1": 1}, "not_returned")

    assert await figures(shop, "MUG", "dc") == (2, 0, 0, 2)


# Reassignment


async def test_a_person_reassigns_a_shipment_to_a_location_that_has_the_units(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 3})
    order = await shop.allocate("A-1", {"MUG": 2})
    request = allocation_pb.ReassignShipmentRequest(
        shipment_id=order.shipments[0].shipment_id, location_id="b-store", actor="kim"
    )

    moved = (await shop.allocations.ReassignShipment(request)).allocation

    assert await states(shop, moved) == {"a-store": "CANCELLED", "b-store": "ASSIGNED"}
    assert moved.needs_person
    assert shop.metric("manual_interventions_total", channel="web", reason="reassigned") == 1
    assert (await shop.ledger()).balanced


async def test_a_shipment_cannot_be_reassigned_to_a_closed_location(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 3})
    order = await shop.allocate("A-1", {"MUG": 2})
    await shop.locations("b-store", status=catalog_pb.Location.STATUS_CLOSED)
    request = allocation_pb.ReassignShipmentRequest(
        shipment_id=order.shipments[0].shipment_id, location_id="b-store", actor="kim"
    )

    error = await refused(shop.allocations.ReassignShipment(request))

    assert "b-store is closed" in (error.details() or "")
    assert await states(shop, order) == {"a-store": "ASSIGNED"}


async def test_a_shipment_stays_if_no_other_location_has_all_its_units(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 3, ("MUG", "b-store"): 1})
    order = await shop.allocate("A-1", {"MUG": 2})
    request = allocation_pb.ReassignShipmentRequest(shipment_id=order.shipments[0].shipment_id, actor="kim")

    error = await refused(shop.allocations.ReassignShipment(request))

    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert await states(shop, order) == {"a-store": "ASSIGNED"}
    assert (await shop.ledger()).balanced


# Rebalancing after a change of stock


async def test_a_count_below_the_allocated_units_reroutes_the_newest_order(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 4, ("MUG", "b-store"): 4})
    old, newer = [await shop.allocate(order, {"MUG": 2}) for order in ("A-1", "A-2")]

    await shop.count({("MUG", "a-store"): 3})

    assert promised((await shop.get(old.allocation_id)).allocation) == {"a-store": 2}
    rerouted = await shop.get(newer.allocation_id)
    assert promised(rerouted.allocation) == {"a-store": 1, "b-store": 1}
    assert rerouted.timeline[-1].description == "Rerouted 1 unit to b-store (count correction)."
    assert shop.metric("rerouted_units_total", channel="web", cause="count_correction") == 1
    assert (await shop.ledger()).balanced


async def test_accepted_shipments_are_rerouted_last(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 4, ("MUG", "b-store"): 4})
    old, newer = [await shop.allocate(order, {"MUG": 2}) for order in ("A-1", "A-2")]
    await shop.accept(newer.shipments[0])

    await shop.count({("MUG", "a-store"): 2})

    assert promised((await shop.get(newer.allocation_id)).allocation) == {"a-store": 2}
    assert promised((await shop.get(old.allocation_id)).allocation) | {"a-store": 0} == {"a-store": 0, "b-store": 2}


async def test_a_count_below_the_allocated_units_without_other_stock_is_an_oversell(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 4})
    order = await shop.allocate("A-1", {"MUG": 3})

    await shop.count({("MUG", "a-store"): 1})

    short = (await shop.get(order.allocation_id)).allocation
    assert [(x.unit_count, x.cause) for x in short.shortages] == [(2, "count_correction")]
    assert await figures(shop, "MUG", "a-store") == (1, 0, 1, 0)
    assert shop.metric("oversold_units_total", channel="web", cause="count_correction") == 2
    assert (await shop.ledger()).balanced


async def test_a_hold_larger_than_a_new_count_shrinks_and_is_no_oversell(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 4})
    held = await shop.allocate("A-1", {"MUG": 3}, HOLD)

    await shop.count({("MUG", "a-store"): 1})

    now = (await shop.get(held.allocation_id)).allocation
    assert promised(now) == {"a-store": 1}
    assert shop.metric("oversold_units_total", channel="web", cause="count_correction") == 0
    assert (await shop.ledger()).balanced


async def test_shrinking_a_hold_locks_the_levels_of_all_its_products(shop: Retailer) -> None:
    """An order is written whole, while a hold expires under the lock of its level only, so all of them are locked."""
    await shop.stock({("MUG", "a-store"): 4, ("POT", "a-store"): 4})
    await shop.allocate("A-1", {"MUG": 3, "POT": 3}, HOLD)

    connection = await asyncpg.connect(plain_url(shop.database_url))
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM stock_level WHERE sku = 'POT' FOR UPDATE")
            counting = asyncio.create_task(shop.count({("MUG", "a-store"): 1}))
            await asyncio.sleep(0.5)
            has_waited = not counting.done()
    finally:
        await connection.close()
    await counting

    assert has_waited
    assert (await shop.level("MUG", "a-store")).held_count == 1
    assert (await shop.ledger()).balanced


async def launch(shop: Retailer, tag: str = "launch") -> None:
    product = catalog_pb.Product(sku="MUG", tags=[tag])
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))


async def test_arriving_stock_fills_backorders_by_priority_and_age_in_one_transaction(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 0})
    await launch(shop)
    first = await shop.allocate("A-1", {"MUG": 2})
    second = await shop.allocate("A-2", {"MUG": 2})
    urgent = await shop.allocate("A-3", {"MUG": 2}, priority=5)

    await shop.count({("MUG", "dc"): 5}, at=datetime.now(UTC))

    orders = [(await shop.get(x.allocation_id)).allocation for x in (first, second, urgent)]
    assert first.outcome == order_pb2.OUTCOME_BACKORDERED
    assert [x.lines[0].promised_count for x in orders] == [2, 1, 2]
    assert orders[1].lines[0].backordered_count == 1
    assert await shop.sellable("MUG") == 0
    assert (await shop.ledger()).balanced


async def test_units_released_by_an_order_fill_backorders_first(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 2})
    await launch(shop)
    first = await shop.allocate("A-1", {"MUG": 2})
    waiting = await shop.allocate("A-2", {"MUG": 1})

    await shop.cancel(first.allocation_id, {"1": 2})

    assert promised((await shop.get(waiting.allocation_id)).allocation) == {"dc": 1}
    assert await shop.sellable("MUG") == 1


async def test_a_backorder_is_filled_when_a_location_opens_again(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 4})
    await launch(shop)
    await shop.locations("dc", status=catalog_pb.Location.STATUS_CLOSED)
    order = await shop.allocate("A-1", {"MUG": 2})
    assert order.outcome == order_pb2.OUTCOME_BACKORDERED

    await shop.locations("dc")

    async def is_filled() -> bool:
        return promised((await shop.get(order.allocation_id)).allocation) == {"dc": 2}

    await eventually(is_filled)

    assert await shop.sellable("MUG") == 2
    assert (await shop.ledger()).balanced


async def test_a_backorder_is_an_oversell_and_needs_no_person(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})
    await launch(shop)

    order = await shop.allocate("A-1", {"MUG": 3})

    assert order.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert (order.lines[0].backordered_count, order.lines[0].short_count) == (2, 0)
    assert not order.needs_person
    assert sum(shop.metric("oversold_units_total", channel="web", cause=cause) for cause in CAUSES) == 2


async def test_units_that_policy_cancels_count_as_sold_and_oversold(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 1})
    await launch(shop, "clearance")

    order = await shop.allocate("A-1", {"MUG": 3})

    assert (order.lines[0].promised_count, order.lines[0].cancelled_count) == (1, 2)
    assert order.outcome == order_pb2.OUTCOME_ALLOCATED
    assert not order.needs_person
    assert shop.metric("sold_units_total", channel="web") == 3
    assert shop.metric("cancelled_units_total", channel="web") == 2
    assert sum(shop.metric("oversold_units_total", channel="web", cause=cause) for cause in CAUSES) == 2


async def test_an_order_of_which_policy_cancels_everything_is_cancelled(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 0})
    await launch(shop, "clearance")

    order = await shop.allocate("A-1", {"MUG": 3})

    assert order.state == allocation_pb.Allocation.STATE_CANCELLED
    assert (await shop.ledger()).balanced


# Repeated and concurrent calls


@pytest.mark.parametrize("method", ["accept", "ship", "deliver"])
async def test_fifty_calls_at_once_with_one_request_id_take_effect_once(shop: Retailer, method: str) -> None:
    await shop.stock({("MUG", "dc"): 9})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 3})).shipments
    same = request_id()

    answers = await asyncio.gather(*(getattr(shop, method)(shipment, request_id=same) for _ in range(50)))

    assert all(answer == answers[0] for answer in answers)
    assert (await shop.level("MUG", "dc")).on_hand_count == (9 if method == "accept" else 6)
    assert (await shop.ledger()).balanced


async def test_fifty_parcels_of_one_unit_at_once_never_ship_more_than_allocated(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 90})
    (shipment,) = (await shop.allocate("A-1", {"MUG": 20})).shipments

    calls = (shop.ship(shipment, {"1": 1}, event_id=f"p-{n}", request_id=request_id()) for n in range(50))
    answers = await asyncio.gather(*calls, return_exceptions=True)

    errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(errors) == 30
    assert {"line 1 has 0 units remaining" in (error.details() or "") for error in errors} == {True}
    assert await figures(shop, "MUG", "dc") == (70, 0, 0, 70)
    assert (await shop.ledger()).balanced


async def test_fifty_returns_at_once_never_return_more_than_shipped(shop: Retailer) -> None:
    await shop.stock({("MUG", "dc"): 20})
    order = await shop.allocate("A-1", {"MUG": 20})
    await shop.ship(order.shipments[0])

    calls = (shop.record_return(order.allocation_id, {"1": 1}, "sellable", "dc", event_id=f"r-{n}") for n in range(50))
    answers = await asyncio.gather(*calls, return_exceptions=True)

    codes = Counter(x.code() if isinstance(x, grpc.aio.AioRpcError) else "OK" for x in answers)
    assert codes == {"OK": 20, grpc.StatusCode.FAILED_PRECONDITION: 30}
    assert await figures(shop, "MUG", "dc") == (20, 0, 0, 20)
    assert (await shop.ledger()).balanced


async def test_the_work_list_of_a_location_has_its_sold_shipments_oldest_first(shop: Retailer) -> None:
    await shop.stock({("MUG", "a-store"): 9, ("MUG", "b-store"): 9})
    for number in range(3):
        await shop.allocate(f"A-{number}", {"MUG": 1})
    await shop.allocate("H-1", {"MUG": 1}, HOLD)

    pages, token = [], ""
    while True:
        request = fulfillment_pb.ListShipmentsRequest(location_ids=["a-store"], page_size=2, page_token=token)
        page = await shop.fulfillment.ListShipments(request)
        pages.append([shipment.order_id for shipment in page.shipments])
        token = page.next_page_token
        if not token:
            break

    assert pages == [["A-0", "A-1"], ["A-2"]]
