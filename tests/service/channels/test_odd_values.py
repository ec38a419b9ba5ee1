"""Times and numbers that no platform should send: they cost no more than what they are of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from service.channels.adapter import Delivery, Hint
from service.channels.errors import Unreadable
from service.channels.shopify import words as shopify
from service.channels.square import words as square
from service.channels.tiktok_shop import words as tiktok
from service.channels.utc_times import utc_time

NO_TIMES: list[object] = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-01-01T00:00:00",
    "soon",
    None,
    7,
    {},
    [],
]

LISTED: dict[str, Callable[[Any], Hint]] = {
    "shopify order": lambda time: shopify.order_hint({"id": "gid://shopify/Order/9", "updatedAt": time}),
    "shopify fulfillment order": lambda time: shopify.fulfillment_order_hint(
        {"id": "gid://shopify/FulfillmentOrder/9", "updatedAt": time}
    ),
    "shopify level": lambda time: shopify.count_hint(
        {
            "item": {"id": "gid://shopify/InventoryItem/9"},
            "location": {"id": "gid://shopify/Location/9"},
            "updatedAt": time,
        }
    ),
    "square order": lambda time: square.order_hint({"id": "9", "updated_at": time}),
    "square count": lambda time: square.listed_count_hint(
        {"catalog_object_id": "9", "location_id": "9", "calculated_at": time}
    ),
    "tiktok order": lambda time: tiktok.changed_hints("order", {"id": "9", "update_time": time})[0],
}
WEBHOOKS: dict[str, Callable[[Any], Delivery]] = {
    "shopify": lambda time: shopify.delivery(
        {"x-shopify-topic": "orders/updated"}, json.dumps({"id": 9, "updated_at": time}).encode()
    ),
    "square": lambda time: square.delivery(
        json.dumps(
            {
                "type": "order.updated",
                "event_id": "1",
                "data": {"object": {"order_updated": {"order_id": "9", "updated_at": time}}},
            }
        ).encode()
    ),
    "tiktok": lambda time: tiktok.delivery(
        json.dumps({"type": 1, "data": {"order_id": "9", "update_time": time}}).encode()
    ),
}


@pytest.mark.parametrize("time", NO_TIMES)
@pytest.mark.parametrize("kind", LISTED)
def test_an_entry_of_a_list_without_a_readable_time_is_read_all_the_same(kind: str, time: object) -> None:
    hint = LISTED[kind](time)

    assert hint.entity_id in ("9", "9/9")
    assert hint.update_time is None or (kind == "tiktok order" and time == 7)


@pytest.mark.parametrize("time", NO_TIMES)
@pytest.mark.parametrize("platform", WEBHOOKS)
def test_a_webhook_without_a_readable_time_hints_all_the_same(platform: str, time: object) -> None:
    assert [hint.entity_id for hint in WEBHOOKS[platform](time).hints] == ["9"]


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-14, 14))
def test_a_time_is_read_in_utc_or_refused(time: datetime, hours: int) -> None:
    text = f"{time.replace(tzinfo=None).isoformat()}{'-' if hours < 0 else '+'}{abs(hours):02}:00"
    try:
        expected = time - timedelta(hours=hours)
    except OverflowError:
        with pytest.raises(ValueError, match="no year"):
            utc_time(text)
    else:
        assert utc_time(text) == expected


@pytest.mark.parametrize("quantity", ["1e999999999", "-1e999999999", "NaN", "Infinity", "many", None])
def test_a_quantity_that_is_none_is_refused_at_once(quantity: object) -> None:
    count = {"catalog_object_id": "9", "location_id": "9", "calculated_at": "2026-01-01T00:00:00Z"}

    with pytest.raises(Unreadable):
        square.count_reading({**count, "quantity": quantity})
