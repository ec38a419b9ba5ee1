"""What Square says, as its fake merchant writes it, and what it means for Truestock."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from service.channels.effects import (
    CancelUnits,
    CountUnits,
    HandOver,
    ItemUnits,
    Place,
    TakeOrder,
    TakeReturn,
    TillMovement,
)
from service.channels.errors import NotYet, Unreadable
from service.channels.square import words
from tests.fakes.clock import Clock
from tests.fakes.square.books import Books
from tests.fakes.square.records import IN_STOCK, SOLD, Location, Order
from tests.fakes.square.words import change_json, count_json, event_data, order_json


@pytest.fixture
def books() -> Books:
    books = Books(Clock(datetime(2026, 3, 1, 12, tzinfo=UTC)), seed=4)
    location = books.add_location("Austin")
    books.add_location("Boston")
    books.add_variation("MUG", {location.id: 10})
    return books


def shops(books: Books) -> list[Location]:
    return list(books.locations.values())


def reading(order: Order, *sources: Order, **changes: Any) -> Any:
    return words.order_reading({**order_json(order), **changes}, {each.id: order_json(each) for each in sources})


def returned_reading(books: Books, returned: Order, *sources: Order, is_settled: bool = True) -> Any:
    changes = [change_json(change) for change in books.changes]
    origins = {each.id: order_json(each) for each in sources}
    return words.order_reading(order_json(returned), origins, changes, is_settled=is_settled)


def test_a_sale_in_the_shop_is_one_of_its_till(books: Books) -> None:
    sale = books.sell_at_till({"MUG": 2}, shops(books)[0])
    (effect,) = reading(sale).effects

    assert isinstance(effect, TillMovement)
    assert (effect.order_id, effect.outlet_id, effect.is_return) == (sale.id, shops(books)[0].id, False)
    assert effect.lines == (ItemUnits(sale.lines[0].uid, books.variation("MUG").id, 2),)


def test_an_open_ticket_is_no_sale_yet(books: Books) -> None:
    sale = books.sell_at_till({"MUG": 2}, shops(books)[0])

    assert reading(sale, state="OPEN").effects == ()
    assert reading(sale, state="DRAFT").left_out == "draft"


def test_an_order_to_be_sent_is_sold_from_its_shop_and_says_where_it_goes(books: Books) -> None:
    order = books.place_order({"MUG": 1}, shops(books)[0], "SHIPMENT")
    (effect,) = reading(order).effects
    assert order.shopper

    assert isinstance(effect, TakeOrder)
    assert (effect.status, effect.is_sold, effect.outlet_id) == ("PROPOSED", True, shops(books)[0].id)
    assert effect.place == Place(order.shopper.country, order.shopper.region, order.shopper.postal_code)
    assert not any(text in repr(effect) for text in order.shopper.personal_data())


def test_an_order_to_be_picked_up_that_is_not_paid_is_held(books: Books) -> None:
    order = books.place_order({"MUG": 1}, shops(books)[0])
    order.paid = False
    (effect,) = reading(order).effects

    assert isinstance(effect, TakeOrder)
    assert (effect.is_sold, effect.place) == (False, None)


def test_an_order_that_was_cancelled_is_cancelled(books: Books) -> None:
    order = books.place_order({"MUG": 1}, shops(books)[0])
    books.set_fulfillment(order, "CANCELED")
    cancel, take = reading(order).effects

    assert isinstance(cancel, CancelUnits)
    assert isinstance(take, TakeOrder)
    assert (cancel.lines, take.status) == ((), "CANCELED")


def test_what_was_sold_at_a_till_comes_back_in_the_shop_that_took_it(books: Books) -> None:
    sale = books.sell_at_till({"MUG": 2}, shops(books)[0])
    returned = books.give_back(sale, {"MUG": 1}, shops(books)[1]).order
    (effect,) = returned_reading(books, returned, sale).effects

    assert words.source_order_ids(order_json(returned)) == (sale.id,)
    assert isinstance(effect, TillMovement)
    assert (effect.is_return, effect.outlet_id, [each.count for each in effect.lines]) == (
        True,
        shops(books)[1].id,
        [1],
    )


def test_what_was_sent_or_picked_up_comes_back_to_its_order(books: Books) -> None:
    order = books.place_order({"MUG": 2}, shops(books)[0])
    books.set_fulfillment(order, "COMPLETED")
    returned = books.give_back(order, {"MUG": 1}, shops(books)[1]).order
    (effect,) = returned_reading(books, returned, order).effects

    assert isinstance(effect, TakeReturn)
    assert (effect.order_id, effect.has_goods, effect.outlet_id) == (order.id, True, shops(books)[1].id)
    assert effect.lines == (ItemUnits(order.lines[0].uid, books.variation("MUG").id, 1),)


def test_what_was_refunded_and_not_put_back_on_the_shelf_comes_back_nowhere(books: Books) -> None:
    order, sale = books.place_order({"MUG": 2}, shops(books)[0]), books.sell_at_till({"MUG": 2}, shops(books)[0])
    books.set_fulfillment(order, "COMPLETED")
    refunded = books.give_back(order, {"MUG": 1}, shops(books)[1], restock=False).order
    of_sale = books.give_back(sale, {"MUG": 1}, shops(books)[0], restock=False).order
    (effect,) = returned_reading(books, refunded, order).effects

    assert isinstance(effect, TakeReturn)
    assert (effect.order_id, effect.has_goods, effect.lines[0].count) == (order.id, False, 1)
    assert returned_reading(books, of_sale, sale).effects == ()


def test_nothing_is_said_of_returned_units_while_square_may_still_put_them_back(books: Books) -> None:
    sale = books.sell_at_till({"MUG": 2}, shops(books)[0])
    returned = books.give_back(sale, {"MUG": 1}, shops(books)[1]).order

    with pytest.raises(NotYet):
        words.order_reading(order_json(returned), {sale.id: order_json(sale)}, (), is_settled=False)
    assert returned_reading(books, returned, sale, is_settled=False).effects


def test_units_that_another_return_put_back_are_not_those_of_this_one(books: Books) -> None:
    sale = books.sell_at_till({"MUG": 2}, shops(books)[0])
    books.give_back(sale, {"MUG": 1}, shops(books)[0])
    of_nothing = books.give_back(sale, {"MUG": 1}, shops(books)[0], restock=False).order

    assert returned_reading(books, of_nothing, sale).effects == ()


def test_an_order_that_was_collected_or_sent_has_left_its_shop(books: Books) -> None:
    order = books.place_order({"MUG": 1}, shops(books)[0])
    (waiting,) = reading(order).effects
    books.set_fulfillment(order, "COMPLETED")
    taken, left = reading(order).effects

    assert (waiting.is_pickup, taken.is_pickup) == (True, True)
    assert isinstance(left, HandOver)
    assert (left.order_id, left.is_collected) == (order.id, True)


def test_a_count_just_before_an_order_is_closed_already_lacks_its_units(books: Books) -> None:
    shop = shops(books)[0]
    order = books.place_order({"MUG": 1}, shop)
    books.set_fulfillment(order, "COMPLETED")
    *_, left = reading(order).effects
    counted = datetime.fromtimestamp(books.calculated[books.variation("MUG").id, shop.id], UTC)

    assert counted < datetime.fromisoformat(order_json(order)["closed_at"])
    assert left.time < counted


def test_amounts_without_an_item_have_no_stock_and_parts_of_a_unit_are_not_guessed(books: Books) -> None:
    sale = books.sell_at_till({"MUG": 2}, shops(books)[0])
    (line,) = order_json(sale)["line_items"]
    typed_in = {"uid": "x", "quantity": "1", "item_type": "CUSTOM_AMOUNT"}

    assert reading(sale, line_items=[typed_in]).left_out == "not_counted"
    assert len(reading(sale, line_items=[line, typed_in]).effects) == 1
    assert reading(sale, line_items=[{**line, "quantity": "2.00000"}]).effects[0].lines[0].count == 2
    with pytest.raises(Unreadable, match="parts of a unit"):
        reading(sale, line_items=[{**line, "quantity": "0.5"}])


@pytest.mark.parametrize(
    "change", [{"state": "PONDERED"}, {"updated_at": "now"}, {"line_items": [{"quantity": {}}, 7]}]
)
def test_what_is_not_as_square_documents_it_is_not_guessed(books: Books, change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="Square"):
        reading(books.sell_at_till({"MUG": 2}, shops(books)[0]), **change)


def test_webhooks_of_orders_and_refunds_hint_at_the_order_to_read(books: Books) -> None:
    sale = books.sell_at_till({"MUG": 2}, shops(books)[0])
    refund = books.give_back(sale, {"MUG": 1}, shops(books)[1])

    def delivered(event_type: str, record: Any) -> Any:
        message = {"event_id": "df5f3813", "type": event_type, "data": event_data(books, event_type, record)}
        return words.delivery(json.dumps(message).encode())

    updated, refunded = delivered("order.updated", sale), delivered("refund.created", refund)

    assert (updated.key, [(hint.kind, hint.entity_id) for hint in updated.hints]) == ("df5f3813", [("order", sale.id)])
    assert [hint.entity_id for hint in refunded.hints] == [refund.order.id]
    counted = delivered("inventory.count.updated", books.changes[1])
    variation, place = books.variation("MUG"), shops(books)[0]
    assert [(hint.kind, hint.entity_id) for hint in counted.hints] == [("count", f"{variation.id}/{place.id}")]


def counted(books: Books, **changes: Any) -> Any:
    return words.count_reading({**count_json(books, books.variation("MUG"), shops(books)[0]), **changes})


def test_a_count_says_how_many_there_are_and_never_less_than_none(books: Books) -> None:
    (effect,) = counted(books).effects
    (oversold,) = counted(books, quantity="-2").effects

    assert isinstance(effect, CountUnits)
    assert (effect.count, effect.outlet_id) == (10, shops(books)[0].id)
    assert oversold.count == 0


def test_a_count_of_parts_of_a_unit_is_left_out_and_one_that_is_no_number_is_not_guessed(books: Books) -> None:
    assert counted(books, quantity="1.25").left_out == "parts_of_a_unit"
    with pytest.raises(Unreadable, match="a count is not as Square documents it"):
        counted(books, quantity="NaN")


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["MUG", "BOWL"]), st.integers(1, 9), min_size=1), st.data())
def test_of_returned_units_each_comes_back_or_is_only_refunded_and_none_twice(
    units: dict[str, int], data: st.DataObject
) -> None:
    books = Books(Clock(datetime(2026, 3, 1, 12, tzinfo=UTC)))
    place = books.add_location("Austin")
    for sku in ("MUG", "BOWL"):
        books.add_variation(sku, {place.id: 99})
    order = books.place_order(units, place)
    books.set_fulfillment(order, "COMPLETED")
    back = {sku: data.draw(st.integers(0, number)) for sku, number in units.items()}
    returned = books.give_back(order, units, place, restock=False).order
    for sku, number in back.items():
        if number:
            books.adjust(sku, place, number, SOLD, IN_STOCK, refund_id=returned.refund_id)
    effects = returned_reading(books, returned, order).effects
    counts = {
        has_goods: {line.item_id: line.count for each in effects if each.has_goods is has_goods for line in each.lines}
        for has_goods in (True, False)
    }
    ids = {sku: books.variation(sku).id for sku in units}

    assert counts[True] == {ids[sku]: number for sku, number in back.items() if number}
    assert counts[False] == {ids[sku]: units[sku] - back[sku] for sku in units if units[sku] > back[sku]}


_VALUES = st.none() | st.integers() | st.text(max_size=10) | st.lists(st.none() | st.integers(), max_size=2)
_FIELDS = ("state", "updated_at", "line_items", "fulfillments", "returns", "location_id", "net_amount_due_money")


@settings(max_examples=80)
@given(st.dictionaries(st.sampled_from(_FIELDS), _VALUES))
def test_an_order_with_any_wrong_field_is_read_or_refused_and_nothing_else(changes: dict[str, Any]) -> None:
    books = Books(Clock(datetime(2026, 3, 1, 12, tzinfo=UTC)))
    place = books.add_location("Austin")
    books.add_variation("MUG", {place.id: 9})
    with suppress(Unreadable, NotYet):
        reading(books.place_order({"MUG": 1}, place), **changes)


@settings(max_examples=50)
@given(
    st.binary(max_size=50)
    | st.builds(
        lambda topic, content: json.dumps({"type": topic, "event_id": "1", "data": {"object": content}}).encode(),
        st.sampled_from(["order.updated", "refund.created", "inventory.count.updated", "oauth.authorization.revoked"]),
        st.dictionaries(st.sampled_from(["order_updated", "refund", "inventory_counts"]), _VALUES) | _VALUES,
    )
)
def test_no_webhook_that_is_signed_stops_the_intake(body: bytes) -> None:
    delivery = words.delivery(body)

    assert delivery.key
    assert delivery.is_readable or not delivery.hints


def test_a_revoked_application_ends_the_authorization() -> None:
    body = json.dumps({"event_id": "1", "type": "oauth.authorization.revoked", "data": {"type": "revocation"}})

    assert words.delivery(body.encode()).ends_authorization


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"type":"order.created"}', b'{"type":"order.created","event_id":1,"data":7}']
)
def test_a_webhook_without_sense_is_a_delivery_without_hints(body: bytes) -> None:
    delivery = words.delivery(body)

    assert (delivery.is_readable, delivery.hints) == (False, ())
