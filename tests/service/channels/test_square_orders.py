"""What a Square merchant sells reaches Truestock by itself: a real service, a real connector, tills over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from service.channels.store.inbox import STATES
from tests.connector_site import PUBLIC_URL, Site, map_everything, site_of, until
from tests.fakes.square.merchant import SquareMerchant
from tests.fakes.square.tokens import webhook_signature
from tests.retailer import Retailer
from truestock.v1 import catalog_service_pb2 as catalog_pb, order_pb2
from truestock.v1.shipment_pb2 import Shipment

READY = order_pb2.ORDER_STATUS_READY_TO_FULFILL


@pytest.fixture
def merchant() -> Iterator[SquareMerchant]:
    with SquareMerchant(seed=5).serving() as merchant:
        yield merchant


@pytest.fixture
async def site(retailer: Retailer, merchant: SquareMerchant) -> AsyncIterator[Site]:
    await map_everything(retailer, merchant, {"MUG": 10})
    async with site_of(retailer, merchant, retailer.service.address) as site:
        await site.connect()
        yield site


async def test_a_sale_at_the_till_and_an_order_to_collect_take_stock_of_their_shop(site: Site) -> None:
    books = site.shop.books
    austin = next(iter(books.locations.values()))
    async with site.running():
        books.sell_at_till({"MUG": 2}, austin)
        order = books.place_order({"MUG": 1}, austin)
        ready = await until(lambda: _with_status(site, order.id, READY))
        await until(lambda: _has(site, "austin", on_hand=8))
        books.set_fulfillment(order, "COMPLETED")
        await until(lambda: _has(site, "austin", on_hand=7))
        collected = await site.order(order.id)

    assert [shipment.location_id for shipment in ready.allocation.shipments] == ["austin"]
    assert [shipment.state for shipment in collected.allocation.shipments] == [Shipment.STATE_COLLECTED]
    assert (await site.retailer.ledger()).balanced


OF_ANOTHER_MERCHANT = (
    {"type": "oauth.authorization.revoked", "data": {"type": "revocation", "object": {}}},
    {"type": "order.created", "data": {"object": {"order_created": {"order_id": "ORDER-OF-ANOTHER"}}}},
)


async def test_what_happens_at_another_merchant_of_the_application_changes_nothing_here(site: Site) -> None:
    events = [{"merchant_id": "ANOTHER", "event_id": str(n), **each} for n, each in enumerate(OF_ANOTHER_MERCHANT)]
    signed_url = f"{PUBLIC_URL}/webhooks/square-us"
    async with site.running(subscribe=False) as listening, httpx2.AsyncClient(trust_env=False) as http:
        url = f"http://{listening.webhooks}/webhooks/square-us"
        answers = []
        for body in (json.dumps(event).encode() for event in events):
            signature = webhook_signature(site.shop.signature_key, signed_url, body)
            headers = {"x-square-hmacsha256-signature": signature}
            answers.append((await http.post(url, content=body, headers=headers)).status_code)
        metrics = (await http.get(f"http://{listening.metrics}/metrics")).text
    states = await site.store.states.listed()

    assert answers == [200, 200]
    assert 'truestock_channel_deliveries_total{account="square-us",result="another_shop"} 2.0' in metrics
    assert [state["pause_reason"] for state in states] == [""]
    assert await site.store.inbox.listed("", "", STATES, 10) == []


async def _with_status(site: Site, order_id: str, status: int) -> Any:
    found = await site.order(order_id)
    return found if found is not None and found.allocation.status == status else None


async def _has(site: Site, location_id: str, *, on_hand: int) -> bool:
    return (await site.retailer.level("MUG", location_id)).on_hand_count == on_hand


@pytest.mark.long
async def test_counts_of_a_till_are_compared_or_owned_as_their_feed_says_and_not_taken_without_one(site: Site) -> None:
    books, retailer = site.shop.books, site.retailer
    austin, boston = books.locations.values()
    books.count("MUG", boston, 4)
    async with site.running():
        await site.settled()
        undeclared = await retailer.level("MUG", "boston")
    observer = _feed("observer", "austin")
    await retailer.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[observer]))
    async with site.running():
        books.sell_at_till({"MUG": 2}, austin)
        await until(lambda: _has(site, "austin", on_hand=8))
        books.count("MUG", austin, 7)
        (mismatch,) = await until(lambda: retailer.open_exceptions(kinds=["mismatch"], location_ids=["austin"]))
        compared = await retailer.level("MUG", "austin")
    owner = _feed("owner", "austin", "boston")
    await retailer.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[owner]))
    async with site.running():
        books.sell_at_till({"MUG": 1}, boston)
        await until(lambda: _has(site, "boston", on_hand=3))

    assert undeclared.on_hand_count == 10
    assert (mismatch.sku, mismatch.location_id, compared.on_hand_count) == ("MUG", "austin", 8)
    assert (await retailer.ledger()).balanced


def _feed(role: str, *location_ids: str) -> catalog_pb.Feed:
    number = catalog_pb.Feed.Role.Value(f"ROLE_{role.upper()}")
    return catalog_pb.Feed(source="channels/square-us/counts", role=number, computed=True, location_ids=location_ids)
