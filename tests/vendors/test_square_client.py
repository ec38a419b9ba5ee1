"""The fake Square merchant, driven by Square's own client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.receiver import receiving
from tests.fakes.square.merchant import SquareMerchant
from tests.vendors.presence import NEEDS_SQUARE

pytestmark = [pytest.mark.long, NEEDS_SQUARE]


@pytest.fixture
def merchant() -> Iterator[SquareMerchant]:
    with SquareMerchant(seed=3).serving() as merchant:
        location = merchant.books.add_location("Austin")
        merchant.books.add_variation("MUG", {location.id: 10})
        yield merchant


@pytest.fixture
def opened(merchant: SquareMerchant) -> Iterator[Callable[[str], Any]]:
    """Makes clients by a token; Square's has no way to close its connections, so they are closed here."""
    import httpx
    from square import Square

    with httpx.Client(trust_env=False) as http:
        yield lambda token: Square(token=token, base_url=merchant.address, httpx_client=http)


@pytest.fixture
def client(merchant: SquareMerchant, opened: Callable[[str], Any]) -> Any:
    granted = opened("none-yet").o_auth.obtain_token(
        client_id=merchant.client_id,
        client_secret=merchant.client_secret,
        code=merchant.tokens.code,
        grant_type="authorization_code",
    )
    return opened(granted.access_token)


def counted(client: Any) -> dict[str, str]:
    return {count.location_id: count.quantity for count in client.inventory.batch_get_counts(states=["IN_STOCK"])}


def test_a_token_is_refreshed_and_a_dead_one_is_refused(
    merchant: SquareMerchant, client: Any, opened: Callable[[str], Any]
) -> None:
    from square.core.api_error import ApiError

    merchant.tokens.expire_access()
    with pytest.raises(ApiError) as raised:
        client.locations.list()
    code = merchant.tokens.code
    first = client.o_auth.obtain_token(
        client_id=merchant.client_id, client_secret=merchant.client_secret, code=code, grant_type="authorization_code"
    )
    again = client.o_auth.obtain_token(
        client_id=merchant.client_id,
        client_secret=merchant.client_secret,
        refresh_token=first.refresh_token,
        grant_type="refresh_token",
    )

    assert raised.value.status_code == 401
    assert opened(again.access_token).locations.list().locations[0].name == "Austin"


def test_orders_are_found_by_the_time_of_their_last_change(merchant: SquareMerchant, client: Any) -> None:
    location = next(iter(merchant.books.locations.values()))
    sale = merchant.books.sell_at_till({"MUG": 2}, location)
    pickup = merchant.books.place_order({"MUG": 1}, location)
    merchant.books.set_fulfillment(pickup, "PREPARED")
    window = {"updated_at": {"start_at": "2020-01-01T00:00:00Z"}}
    query = {"filter": {"date_time_filter": window}, "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"}}
    first = client.orders.search(location_ids=[location.id], query=query, limit=1)
    second = client.orders.search(location_ids=[location.id], query=query, limit=1, cursor=first.cursor)
    (read,) = client.orders.batch_get(order_ids=[pickup.id]).orders

    assert [first.orders[0].id, second.orders[0].id] == [sale.id, pickup.id]
    assert (read.version, read.fulfillments[0].state) == (2, "PREPARED")
    assert pickup.shopper
    assert read.fulfillments[0].pickup_details.recipient.display_name == pickup.shopper.name


def test_a_batch_of_changes_counts_once(merchant: SquareMerchant, client: Any) -> None:
    location = next(iter(merchant.books.locations.values()))
    variation = merchant.books.variation("MUG")
    adjustment = {
        "from_state": "IN_STOCK",
        "to_state": "SOLD",
        "location_id": location.id,
        "catalog_object_id": variation.id,
        "quantity": "3",
        "occurred_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "reference_id": "shipment-1",
    }
    changes = [{"type": "ADJUSTMENT", "adjustment": adjustment}]
    for _ in range(2):
        answer = client.inventory.batch_create_changes(idempotency_key="one", changes=changes)

    assert answer.counts[0].quantity == "7"
    assert counted(client) == {location.id: "7"}


def test_items_refunds_and_returns_are_read(merchant: SquareMerchant, client: Any) -> None:
    location = next(iter(merchant.books.locations.values()))
    sale = merchant.books.sell_at_till({"MUG": 2}, location)
    refund = merchant.books.give_back(sale, {"MUG": 1}, location)
    (item,) = list(client.catalog.list(types="ITEM"))
    (listed,) = list(client.refunds.list())
    (returned,) = client.orders.batch_get(order_ids=[listed.order_id]).orders

    assert item.item_data.variations[0].item_variation_data.sku == "MUG"
    assert listed.id == refund.id
    assert returned.returns[0].source_order_id == sale.id
    assert returned.returns[0].return_line_items[0].quantity == "1"
    assert returned.returns[0].return_line_items[0].source_line_item_uid == sale.lines[0].uid
    assert returned.refunds[0].id == refund.id


def test_what_became_of_returned_units_is_in_the_changes_of_counts(merchant: SquareMerchant, client: Any) -> None:
    location = next(iter(merchant.books.locations.values()))
    sale = merchant.books.sell_at_till({"MUG": 2}, location)
    refund = merchant.books.give_back(sale, {"MUG": 1}, location)
    sold, back = client.inventory.batch_get_changes(location_ids=[location.id], types=["ADJUSTMENT"]).items[::-1]

    assert (sold.adjustment.from_state, sold.adjustment.to_state, sold.adjustment.quantity) == ("IN_STOCK", "SOLD", "2")
    assert (back.adjustment.to_state, back.adjustment.refund_id) == ("IN_STOCK", refund.id)


def test_webhooks_of_a_subscription_are_genuine_and_past_events_can_be_asked_for(
    merchant: SquareMerchant, opened: Callable[[str], Any]
) -> None:
    from square.utils.webhooks_helper import verify_signature

    location = next(iter(merchant.books.locations.values()))
    owner = opened(merchant.tokens.personal_token)
    with receiving() as receiver:
        subscription = owner.webhooks.subscriptions.create(
            subscription={
                "name": "Truestock",
                "event_types": ["inventory.count.updated"],
                "notification_url": receiver.url,
                "api_version": "2026-09-16",
            }
        ).subscription
        merchant.books.sell_at_till({"MUG": 2}, location)
        merchant.settle()
        ((headers, body),) = receiver.received
    past = owner.events.search_events(limit=100).events

    assert verify_signature(
        request_body=body.decode(),
        signature_header=headers["x-square-hmacsha256-signature"],
        signature_key=subscription.signature_key,
        notification_url=receiver.url,
    )
    states = [(count["state"], count["quantity"]) for count in json.loads(body)["data"]["object"]["inventory_counts"]]
    assert states == [("IN_STOCK", "8"), ("SOLD", "2")]
    assert json.loads(body)["event_id"] in {event.event_id for event in past}
    assert {event.type for event in past} == {"inventory.count.updated", "order.created", "order.updated"}


def test_a_webhook_that_fails_comes_again_for_24_hours(merchant: SquareMerchant) -> None:
    location = next(iter(merchant.books.locations.values()))
    with receiving() as receiver:
        merchant.subscribe(receiver.url, ["order.created"])
        receiver.status = 500
        merchant.books.sell_at_till({"MUG": 1}, location)
        merchant.settle()
        merchant.pass_time(timedelta(hours=30))
        bodies = {body for _, body in receiver.received}

    assert (len(receiver.received), len(bodies)) == (12, 1)
    assert merchant.webhooks.results["given up"] == 1
