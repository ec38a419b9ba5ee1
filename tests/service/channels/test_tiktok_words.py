"""What TikTok Shop's JSON becomes, without any I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from service.channels.adapter import Hint
from service.channels.effects import (
    CancelUnits,
    Fault,
    Hold,
    ItemUnits,
    Left,
    Place,
    RequestToCancel,
    TakeOrder,
    TakeReturn,
)
from service.channels.errors import Unreadable
from service.channels.tiktok_shop import words
from tests.fakes.clock import Clock
from tests.fakes.tiktok_shop.books import Books
from tests.fakes.tiktok_shop.records import Order
from tests.fakes.tiktok_shop.words import cancellation_json, order_json, return_json

START = datetime(2026, 11, 1, tzinfo=UTC)
LATER_STATUSES = ("PARTIALLY_SHIPPING", "AWAITING_COLLECTION", "IN_TRANSIT", "DELIVERED", "COMPLETED")


@pytest.fixture
def books() -> Books:
    books = Books(Clock(START, speed=1e-9))
    warehouse = books.add_warehouse("Dallas")
    for sku in ("MUG", "TRAY"):
        books.add_sku(sku, {warehouse.id: 10})
    return books


def bought(books: Books, units: dict[str, int]) -> Order:
    order = books.buy(units)
    assert order is not None
    return order


def taken(order: Order, **changed: Any) -> TakeOrder:
    effect = words.order_reading({**order_json(order), **changed}).effects[-1]
    assert isinstance(effect, TakeOrder)
    return effect


@pytest.mark.parametrize("status", ["UNPAID", "ON_HOLD", "AWAITING_SHIPMENT", *LATER_STATUSES])
def test_an_order_says_how_much_of_it_has_left(books: Books, status: str) -> None:
    effect = taken(bought(books, {"MUG": 2}), status=status)

    lefts = {"PARTIALLY_SHIPPING": Left.A_PART, "IN_TRANSIT": Left.ALL, "DELIVERED": Left.ALL, "COMPLETED": Left.ALL}
    assert effect.left is lefts.get(status, Left.NOTHING)
    assert effect.placed_time == START


def test_an_unpaid_order_only_holds_its_stock(books: Books) -> None:
    order = books.place_order({"MUG": 2})
    assert order is not None

    effect = taken(order)

    assert not effect.is_sold
    assert effect.lines == (ItemUnits(order.lines[0].sku.id, order.lines[0].sku.id, 2),)


def test_a_paid_order_is_sold_and_on_hold_until_the_hour_is_over(books: Books) -> None:
    order = books.place_order({"MUG": 1})
    assert order is not None
    books.pay(order)

    effect = taken(order)

    assert effect.is_sold
    assert effect.hold == Hold("remorse period", START + timedelta(hours=1, minutes=15))
    # The address is hidden, but for the country.
    assert effect.place == Place("US")


def test_a_preorder_is_on_hold_until_its_release(books: Books) -> None:
    order = books.place_order({"MUG": 1})
    assert order is not None
    books.pay(order)
    release = START + timedelta(days=20)

    effect = taken(order, release_date=int(release.timestamp()))

    assert effect.hold == Hold("remorse period", release)


def test_an_order_to_be_shipped_has_tiktoks_warehouse_and_its_earliest_time_and_no_hold(books: Books) -> None:
    order = bought(books, {"MUG": 1, "TRAY": 2})
    rts = int((START + timedelta(days=1)).timestamp())

    effect = taken(order, rts_sla_time=rts)

    assert effect.hold is None
    assert effect.outlet_id == order.warehouse_id
    assert effect.ship_by_time == START + timedelta(days=1)
    assert [line.count for line in effect.lines] == [1, 2]
    assert effect.place == Place("US", order.shopper.region, order.shopper.postal_code)


@pytest.mark.parametrize("status", LATER_STATUSES)
def test_an_order_that_is_further_stays_sold(books: Books, status: str) -> None:
    effect = taken(bought(books, {"MUG": 1}), status=status)

    assert effect.is_sold
    assert effect.status == status


@pytest.mark.parametrize("word", ["CANCEL", "CANCELLED"])
def test_both_words_for_a_cancelled_order_cancel_all_of_it(books: Books, word: str) -> None:
    order = bought(books, {"MUG": 2})
    books.cancel(order, "BUYER")

    effects = words.order_reading({**order_json(order), "status": word}).effects

    reason = "buyer_cancel_reason_no_longer_needed"
    assert effects[0] == CancelUnits(order.id, "cancelled", (), Fault.BUYER, reason, START)
    assert isinstance(effects[1], TakeOrder)
    assert sum(line.count for line in effects[1].lines) == 2


def test_an_order_that_was_cancelled_unpaid_was_never_sold(books: Books) -> None:
    order = books.place_order({"MUG": 1})
    assert order is not None
    books.cancel(order, "SYSTEM")

    effects = words.order_reading(order_json(order)).effects

    assert [type(effect) for effect in effects] == [TakeOrder]
    assert not taken(order).is_sold


def test_a_cancelled_unit_is_cancelled_by_who_did_it_and_is_not_ordered_any_more(books: Books) -> None:
    order = bought(books, {"MUG": 3})
    books.cancel(order, "SELLER", [order.lines[0]])

    cancelled, contents = words.order_reading(order_json(order)).effects

    assert isinstance(cancelled, CancelUnits)
    assert (cancelled.fault, cancelled.event_id) == (Fault.SELLER, f"unit/{order.lines[0].id}")
    assert [line.count for line in cancelled.lines] == [1]
    assert isinstance(contents, TakeOrder)
    assert [line.count for line in contents.lines] == [2]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"fulfillment_type": "FULFILLMENT_BY_TIKTOK"}, "fulfilled_by_channel"),
        ({"order_type": "VIRTUAL_ORDER"}, "not_shipped"),
    ],
)
def test_orders_that_nobody_here_ships_are_left_out(books: Books, changed: dict[str, str], reason: str) -> None:
    reading = words.order_reading({**order_json(bought(books, {"MUG": 1})), **changed})

    assert (reading.effects, reading.left_out) == ((), reason)


def test_a_word_that_tiktok_does_not_document_is_not_guessed(books: Books) -> None:
    order = bought(books, {"MUG": 1})

    with pytest.raises(Unreadable, match="ON_THE_MOON"):
        words.order_reading({**order_json(order), "status": "ON_THE_MOON"})


def test_a_shoppers_request_has_tiktoks_deadline(books: Books) -> None:
    order = bought(books, {"MUG": 2})
    record = books.request_cancel(order, [order.lines[1]])

    reading = words.cancellation_reading(cancellation_json(record))

    item = ItemUnits(order.lines[1].sku.id, order.lines[1].sku.id, 1)
    reason, deadline = "buyer_cancel_reason_change_of_mind", START + timedelta(days=1)
    assert reading.effects == (RequestToCancel(order.id, record.id, (item,), reason, deadline),)


def test_a_request_that_is_taken_back_is_withdrawn_and_a_granted_one_shows_on_its_order(books: Books) -> None:
    record = books.request_cancel(bought(books, {"MUG": 1}))
    books.answer_cancel(record, approve=False)
    granted = books.cancel(bought(books, {"MUG": 1}))

    assert words.cancellation_reading(cancellation_json(record)).effects == (
        RequestToCancel(record.order.id, record.id, is_withdrawn=True),
    )
    assert words.cancellation_reading(cancellation_json(granted)).effects == ()


@pytest.mark.parametrize(("kind", "has_goods"), [("RETURN_AND_REFUND", True), ("REFUND", False)])
def test_a_return_counts_once_it_is_complete(books: Books, kind: str, has_goods: bool) -> None:
    order = bought(books, {"MUG": 1})
    record = books.request_return(order, kind=kind)
    before = words.return_reading(return_json(record)).effects
    books.set_return(record, "RETURN_OR_REFUND_REQUEST_COMPLETE")

    effects = words.return_reading(return_json(record)).effects

    item = ItemUnits(order.lines[0].sku.id, order.lines[0].sku.id, 1)
    assert before == ()
    assert effects == (TakeReturn(order.id, record.id, (item,), has_goods, START),)


def test_a_webhook_is_only_a_hint_and_ids_above_2_to_the_53_stay_whole() -> None:
    body = b'{"type":11,"tts_notification_id":"7","data":{"order_id":1732301361504355959,"cancel_id":"4041"}}'

    delivery = words.delivery(body)

    assert delivery.key == "7"
    assert delivery.hints == (Hint("cancellation", "4041"), Hint("order", "1732301361504355959"))


def test_a_webhook_without_a_number_is_known_again_when_it_is_sent_again() -> None:
    first, again = (
        words.delivery(json.dumps({"type": 1, "timestamp": time, "data": {"order_id": "9"}}).encode())
        for time in (1_700_000_000, 1_700_000_120)
    )

    assert first.key == again.key


_VALUES = st.none() | st.integers() | st.text(max_size=20)
_DATA = st.dictionaries(st.sampled_from(["order_id", "update_time", "cancel_id", "package_list"]), _VALUES) | _VALUES


@settings(max_examples=50)
@given(
    st.binary(max_size=50)
    | st.builds(lambda topic, data: json.dumps({"type": topic, "data": data}).encode(), st.integers(1, 12), _DATA)
)
def test_no_webhook_that_is_signed_stops_the_intake(body: bytes) -> None:
    delivery = words.delivery(body)

    assert delivery.key
    assert delivery.is_readable or not delivery.hints


def test_nothing_that_is_read_has_a_shoppers_name_street_phone_or_mail_address(books: Books) -> None:
    order = bought(books, {"MUG": 1})

    text = repr(words.order_reading(order_json(order)))

    assert [data for data in books.shoppers.personal_data() if data in text] == []
    assert order.shopper.postal_code in text


def test_an_error_about_content_does_not_repeat_it(books: Books) -> None:
    order = order_json(bought(books, {"MUG": 1}))

    with pytest.raises(Unreadable) as caught:
        words.order_reading({**order, "update_time": order["recipient_address"]["name"]})

    assert order["recipient_address"]["name"] not in str(caught.value)
