"""What Shopify says, and what it means for Truestock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from service.channels.adapter import Hint
from service.channels.effects import (
    CancelUnits,
    CountUnits,
    Fault,
    Hold,
    ItemUnits,
    Left,
    Place,
    Reading,
    TakeOrder,
    TakeReturn,
    TillMovement,
)
from service.channels.errors import Unreadable
from service.channels.shopify import words

UPDATED, REFUNDED = "2026-03-01T12:00:00Z", "2026-03-01T11:00:00Z"
MUG, BOWL = 9_110_000_000_000_000_011, 9_110_000_000_000_000_012
ORDER_ID = "9110000000000000001"
AUSTIN, BOSTON = 71, 72


def gid(kind: str, number: object) -> str:
    return f"gid://shopify/{kind}/{number}"


def line(
    line_id: int = 1, ordered: int = 2, *, current: int | None = None, unshipped: int | None = None, **details: Any
) -> dict[str, Any]:
    current = ordered if current is None else current
    return {
        "id": gid("LineItem", line_id),
        "quantity": ordered,
        "currentQuantity": current,
        "unfulfilledQuantity": current if unshipped is None else unshipped,
        "requiresShipping": True,
        "sku": "MUG",
        "variant": {"id": gid("ProductVariant", MUG)},
        **details,
    }


def order(*lines: dict[str, Any], **details: Any) -> dict[str, Any]:
    return {
        "id": gid("Order", ORDER_ID),
        "createdAt": "2026-03-01T10:00:00Z",
        "updatedAt": UPDATED,
        "cancelledAt": None,
        "cancelReason": None,
        "test": False,
        "displayFinancialStatus": "PAID",
        "displayFulfillmentStatus": "UNFULFILLED",
        "retailLocation": None,
        "shippingAddress": {"countryCodeV2": "US", "provinceCode": "TX", "zip": "78701"},
        "lineItems": {"nodes": list(lines) or [line()]},
        "fulfillmentOrders": {"nodes": [fulfillment_order()]},
        "fulfillments": [],
        **details,
    }


def fulfillment_order(status: str = "OPEN", *reasons: str, **details: Any) -> dict[str, Any]:
    holds = [{"reason": reason} for reason in reasons]
    return {"status": status, "fulfillBy": None, "fulfillmentHolds": holds, **details}


def parcel(line_id: int, units: int, status: str = "SUCCESS") -> dict[str, Any]:
    row = {"quantity": units, "lineItem": {"id": gid("LineItem", line_id)}}
    return {"status": status, "fulfillmentLineItems": {"nodes": [row]}}


def refund(number: int, *rows: tuple[int, int, str, int | None], at: str = REFUNDED) -> dict[str, Any]:
    """A refund of rows of line id, units, restock type and location."""
    nodes = [
        {
            "quantity": units,
            "restockType": restock_type,
            "location": {"id": gid("Location", location)} if location else None,
            "lineItem": {"id": gid("LineItem", line_id), "variant": {"id": gid("ProductVariant", MUG)}},
        }
        for line_id, units, restock_type, location in rows
    ]
    return {"id": gid("Refund", number), "createdAt": at, "refundLineItems": {"nodes": nodes}}


def taken(*args: Any, **kwargs: Any) -> TakeOrder:
    effects = words.order_reading(*args, **kwargs).effects
    return next(effect for effect in effects if isinstance(effect, TakeOrder))


def units(count: int, line_id: int = 1, item: int = MUG) -> ItemUnits:
    return ItemUnits(str(line_id), str(item), count)


def test_a_paid_order_is_sold_with_its_lines_and_where_it_goes() -> None:
    reading = words.order_reading(order(), [])

    assert reading.update_time == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert reading.effects == (
        TakeOrder(
            ORDER_ID,
            "unfulfilled",
            True,
            (units(2),),
            reading.update_time,
            place=Place("US", "TX", "78701"),
            placed_time=datetime(2026, 3, 1, 10, tzinfo=UTC),
        ),
    )


@pytest.mark.parametrize(("shipped", "left"), [(0, Left.NOTHING), (1, Left.A_PART), (2, Left.ALL)])
def test_an_order_says_how_much_of_it_has_left(shipped: int, left: Left) -> None:
    assert taken(order(line(unshipped=2 - shipped), fulfillments=[parcel(1, shipped)]), []).left is left


@pytest.mark.parametrize(("payment", "is_sold"), [("PENDING", False), ("AUTHORIZED", True), ("PAID", True)])
def test_an_order_whose_payment_is_pending_is_held_and_not_sold(payment: str, is_sold: bool) -> None:
    assert taken(order(displayFinancialStatus=payment), []).is_sold is is_sold


@pytest.mark.parametrize("payment", ["PARTIALLY_PAID", "EXPIRED"])
def test_an_order_with_an_incomplete_payment_is_sold_and_nobody_may_work_on_it(payment: str) -> None:
    effect = taken(order(displayFinancialStatus=payment), [])

    assert (effect.is_sold, effect.status, effect.hold) == (True, "ON_HOLD", Hold("payment is incomplete"))


def test_an_order_that_staff_put_on_hold_says_why_and_is_released_afterwards() -> None:
    held = fulfillment_order("ON_HOLD", "INCORRECT_ADDRESS", "HIGH_RISK_OF_FRAUD")
    on_hold = taken(order(fulfillmentOrders={"nodes": [held]}, displayFulfillmentStatus="ON_HOLD"), [])
    released = taken(order(), [])

    assert on_hold.hold == Hold("high risk of fraud, incorrect address")
    assert (on_hold.status, released.status, released.hold) == ("ON_HOLD", "unfulfilled", None)


def test_the_earliest_time_to_ship_by_counts_of_what_is_still_to_be_shipped() -> None:
    nodes = [
        fulfillment_order("CLOSED", fulfillBy="2026-03-01T00:00:00Z"),
        fulfillment_order(fulfillBy="2026-03-05T00:00:00Z"),
        fulfillment_order(fulfillBy="2026-03-04T02:00:00+02:00"),
    ]

    assert taken(order(fulfillmentOrders={"nodes": nodes}), []).ship_by_time == datetime(2026, 3, 4, tzinfo=UTC)


def test_an_edited_order_has_its_new_contents() -> None:
    edited = order(
        line(1, 2, current=1), line(2, 1, variant={"id": gid("ProductVariant", BOWL)}), line(3, 2, current=0)
    )

    assert taken(edited, []).lines == (units(1), units(1, 2, BOWL))


def test_a_cancelled_order_is_cancelled_by_whom_shopify_says() -> None:
    cancelled = order(
        line(1, 2, current=0),
        cancelledAt="2026-03-01T11:30:00Z",
        cancelReason="INVENTORY",
        displayFinancialStatus="REFUNDED",
    )
    cancel, take = words.order_reading(cancelled, [refund(5, (1, 2, "CANCEL", AUSTIN))]).effects

    assert isinstance(cancel, CancelUnits)
    assert (cancel.lines, cancel.fault, cancel.reason) == ((), Fault.SELLER, "inventory")
    assert cancel.update_time == datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    assert isinstance(take, TakeOrder)
    assert (take.status, take.lines) == ("CANCELLED", (units(2),))


@pytest.mark.parametrize("restock_type", ["CANCEL", "NO_RESTOCK"])
def test_units_refunded_before_they_ship_are_cancelled(restock_type: str) -> None:
    reading = words.order_reading(order(line(1, 3, current=2)), [refund(5, (1, 1, restock_type, None))])

    assert [type(effect) for effect in reading.effects] == [CancelUnits, TakeOrder]
    assert reading.effects[0] == CancelUnits(
        ORDER_ID, "refund/5", (units(1),), Fault.UNKNOWN, "refunded", datetime(2026, 3, 1, 11, tzinfo=UTC)
    )
    assert taken(order(line(1, 3, current=2)), [refund(5, (1, 1, restock_type, None))]).lines == (units(2),)


def test_units_come_back_at_the_location_that_the_refund_names() -> None:
    shipped = order(line(1, 3, current=1, unshipped=0), fulfillments=[parcel(1, 3)])
    take, *back = words.order_reading(shipped, [refund(5, (1, 1, "RETURN", AUSTIN), (1, 1, "RETURN", BOSTON))]).effects
    time = datetime(2026, 3, 1, 11, tzinfo=UTC)

    assert isinstance(take, TakeOrder)
    assert take.lines == (units(3),)
    assert back == [
        TakeReturn(ORDER_ID, "refund/5/71", (units(1),), True, time, outlet_id="71"),
        TakeReturn(ORDER_ID, "refund/5/72", (units(1),), True, time, outlet_id="72"),
    ]


def test_a_refund_without_goods_after_shipping_moves_nothing() -> None:
    shipped = order(line(1, 2, current=1, unshipped=0), fulfillments=[parcel(1, 2)])
    take, away = words.order_reading(shipped, [refund(5, (1, 1, "NO_RESTOCK", None))]).effects

    assert isinstance(take, TakeOrder)
    assert take.lines == (units(2),)
    assert isinstance(away, TakeReturn)
    assert (away.has_goods, away.lines, away.event_id) == (False, (units(1),), "refund/5/away")


def test_a_refund_that_cancelled_goes_on_to_do_so_when_a_later_one_is_of_shipped_units() -> None:
    first, second = refund(5, (1, 1, "NO_RESTOCK", None)), refund(6, (1, 1, "NO_RESTOCK", None), at=UPDATED)
    before = words.order_reading(order(line(1, 3, current=2)), [first]).effects
    shipped = order(line(1, 3, current=1, unshipped=0), fulfillments=[parcel(1, 2)])
    after = words.order_reading(shipped, [first, second]).effects

    assert before[0] == after[0]
    assert [type(effect) for effect in after] == [CancelUnits, TakeOrder, TakeReturn]
    assert isinstance(after[2], TakeReturn)
    assert after[2].order_id == ORDER_ID
    assert taken(shipped, [first, second]).lines == (units(2),)


def test_a_parcel_that_failed_has_not_shipped() -> None:
    failed = order(line(1, 2, current=2, unshipped=2), fulfillments=[parcel(1, 2, "FAILURE")])

    assert taken(failed, []).lines == (units(2),)


def test_a_sale_at_a_register_is_a_sale_of_that_till_and_comes_back_where_the_refund_says() -> None:
    sale = order(
        line(1, 2, current=1, unshipped=0), retailLocation={"id": gid("Location", AUSTIN)}, shippingAddress=None
    )
    sold, back = words.order_reading(sale, [refund(5, (1, 1, "RETURN", BOSTON))]).effects

    assert sold == TillMovement(ORDER_ID, "sale", "71", (units(2),), datetime(2026, 3, 1, 10, tzinfo=UTC))
    assert back == TillMovement(
        ORDER_ID, "refund/5/72", "72", (units(1),), datetime(2026, 3, 1, 11, tzinfo=UTC), is_return=True
    )


def test_a_gift_card_that_is_sold_at_a_register_or_given_back_there_moves_no_stock() -> None:
    till = {"id": gid("Location", AUSTIN)}
    card = line(2, 1, requiresShipping=False, isGiftCard=True)
    refunded = refund(5, (2, 1, "RETURN", AUSTIN), (1, 0, "RETURN", AUSTIN))
    refunded["refundLineItems"]["nodes"][0]["lineItem"]["isGiftCard"] = True
    effects = words.order_reading(order(line(1), card, retailLocation=till, shippingAddress=None), [refunded]).effects

    assert [(type(effect), getattr(effect, "lines", ())) for effect in effects] == [(TillMovement, (units(2),))]


def test_an_order_of_a_register_that_is_sent_to_the_shopper_is_an_order() -> None:
    assert taken(order(retailLocation={"id": gid("Location", AUSTIN)}), []).lines == (units(2),)


def test_test_orders_and_what_needs_no_shipping_are_left_out() -> None:
    assert words.order_reading(order(test=True), []).left_out == "test_order"
    assert words.order_reading(order(line(requiresShipping=False)), []).left_out == "not_shipped"
    assert taken(order(line(1), line(2, requiresShipping=False)), []).lines == (units(2),)


def test_an_item_whose_variant_was_deleted_waits_for_a_listing_and_is_not_dropped() -> None:
    assert taken(order(line(variant=None)), []).lines == (ItemUnits("1", "deleted-variant-of-1", 2),)


@pytest.mark.parametrize(
    "change",
    [
        {"displayFinancialStatus": "IN_SHELLS"},
        {"updatedAt": "yesterday"},
        {"updatedAt": "2026-03-01T12:00:00"},
        {"lineItems": None},
        {"id": "gid://shopify/Order/x"},
    ],
)
def test_what_is_not_as_shopify_documents_it_is_not_guessed(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="Shopify"):
        words.order_reading(order(**change), [])


def test_a_missing_field_is_named_and_no_value_is_repeated() -> None:
    broken = order(note="Ring at Quillan Featherwick's", lineItems={"nodes": [{"id": "Featherwick"}]})

    with pytest.raises(Unreadable) as raised:
        words.order_reading(broken, [])
    assert str(raised.value) == "an order is not as Shopify documents it: it has no 'requiresShipping'"


def delivered(topic: str, body: Any) -> Any:
    headers = {"x-shopify-topic": topic, "x-shopify-webhook-id": "b54557e4"}
    return words.delivery(headers, json.dumps(body).encode())


def test_webhooks_hint_at_their_order_by_an_id_that_no_double_can_hold() -> None:
    created = delivered("orders/create", {"id": 9110000000000000001, "updated_at": UPDATED})
    edited = delivered("orders/edited", {"order_edit": {"id": 1, "order_id": 9110000000000000001}})
    refunded = delivered("refunds/create", {"id": 2, "order_id": 9110000000000000001})
    held = delivered("fulfillment_orders/placed_on_hold", {"fulfillment_order": {"id": gid("FulfillmentOrder", 7)}})

    assert (created.key, created.topic) == ("b54557e4", "orders/create")
    assert [(hint.kind, hint.entity_id) for hint in created.hints] == [("order", ORDER_ID)]
    assert created.hints[0].update_time == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert [each.hints[0].entity_id for each in (edited, refunded)] == [ORDER_ID, ORDER_ID]
    assert [(hint.kind, hint.entity_id) for hint in held.hints] == [("fulfillment_order", "7")]


def test_a_removed_app_ends_the_authorization_and_other_topics_hint_at_nothing() -> None:
    assert delivered("app/uninstalled", {"id": 1}).ends_authorization
    assert delivered("products/update", {"id": 1}).hints == ()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"id":null}', b'{"id":"x"}', b'{"id":true}', b"\xff"])
def test_a_webhook_without_sense_is_a_delivery_without_hints(body: bytes) -> None:
    delivery = words.delivery({"x-shopify-topic": "orders/create"}, body)

    assert (delivery.is_readable, delivery.hints) == (False, ())
    assert len(delivery.key) == 64


LEVEL: dict[str, Any] = {
    "id": "gid://shopify/InventoryItem/808950810",
    "tracked": True,
    "variants": {"nodes": [{"id": "gid://shopify/ProductVariant/457924702"}]},
    "inventoryLevel": {
        "updatedAt": "2026-03-01T10:00:00Z",
        "location": {"id": "gid://shopify/Location/655441491"},
        "quantities": [{"name": "on_hand", "quantity": 7}],
    },
}


def test_a_level_is_a_count_of_its_variant_at_its_location() -> None:
    reading = words.count_reading(LEVEL)

    assert reading.effects == (CountUnits("457924702", "655441491", 7, datetime(2026, 3, 1, 10, tzinfo=UTC)),)


@pytest.mark.parametrize("changed", [{"tracked": False}, {"inventoryLevel": None}, {"variants": {"nodes": []}}, None])
def test_what_shopify_does_not_count_is_no_count(changed: dict[str, Any] | None) -> None:
    assert words.count_reading({**LEVEL, **changed} if changed else None) == Reading(
        words.LONG_AGO, left_out="not_counted"
    )


def test_more_sold_than_was_there_is_a_count_of_none() -> None:
    level = {**LEVEL["inventoryLevel"], "quantities": [{"name": "on_hand", "quantity": -3}]}
    (effect,) = words.count_reading({**LEVEL, "inventoryLevel": level}).effects

    assert isinstance(effect, CountUnits)
    assert effect.count == 0


def test_a_level_that_changed_is_heard_of_by_item_and_location() -> None:
    body = {"inventory_item_id": 808950810, "location_id": 655441491, "updated_at": "2026-03-01T05:00:00-05:00"}
    (hint,) = words.delivery({"x-shopify-topic": "inventory_levels/update"}, json.dumps(body).encode()).hints

    assert hint == Hint("count", "808950810/655441491", datetime(2026, 3, 1, 10, tzinfo=UTC))
    assert words.item_and_location(hint.entity_id) == (
        "gid://shopify/InventoryItem/808950810",
        "gid://shopify/Location/655441491",
    )
