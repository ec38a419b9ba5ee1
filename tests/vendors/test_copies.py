"""One sale, two doors: orders of a TikTok shop that a connector also writes into a Shopify shop are promised once.

Real processes over real HTTP; a fifth of the webhooks comes twice, and they come in any order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.channels.connector_processes import CHANNEL, Processes, processes
from tests.acceptance.channels.findings import order
from tests.connector_site import until
from tests.fakes.shopify.shop import ShopifyShop
from tests.fakes.tiktok_shop.shop import TikTokShop
from tests.vendors.presence import NEEDS_NPM
from truestock.v1 import order_pb2, outlet_pb2

pytestmark = NEEDS_NPM

ACCOUNT = "shopify-us"
MARKS: dict[str, Any] = {
    "name": lambda order_id: {"name": f"TT-{order_id}"},
    "note": lambda order_id: {"note": f"Gift. TikTok order {order_id}"},
    "attribute": lambda order_id: {"attributes": {"TikTok Order ID": order_id}},
    "source_identifier": lambda order_id: {"source_identifier": order_id},
}


def account_text(shop: ShopifyShop) -> str:
    return f"""
  - name: {ACCOUNT}
    platform: shopify
    channel: shopify
    shop: {shop.domain}
    public_url: http://127.0.0.1:8090
    api_url: {shop.address}
    secrets:
      client_id: {{env: TEST_CLIENT_ID}}
      client_secret: {{env: TEST_CLIENT_SECRET}}
    returns: {{location: dc}}
    copies:
      - of: {CHANNEL}
        source_names: [tiktok]
        order_id:
          - {{in: name, like: "TT-{{order_id}}"}}
          - {{in: note, like: "TikTok order {{order_id}}"}}
          - {{in: attribute, attribute: TikTok Order ID}}
          - {{in: source_identifier}}
"""


@asynccontextmanager
async def both_connected(
    database_url: str, folder: Path, *, replicas: int
) -> AsyncIterator[tuple[TikTokShop, ShopifyShop, Processes]]:
    """The shops, and connectors between them and one Truestock."""
    start = datetime.now(UTC) - timedelta(hours=1)
    with TikTokShop(start=start).serving() as tiktok, ShopifyShop(seed=5, start=start).serving() as shopify:
        for shop in (tiktok, shopify):
            shop.faults.duplicates, shop.faults.reorder_seconds = 0.2, 0.5
        secrets = {"TEST_CLIENT_ID": shopify.client_id, "TEST_CLIENT_SECRET": shopify.client_secret}
        more = {"more_accounts": account_text(shopify), "more_secrets": secrets}
        async with processes(database_url, folder, tiktok, replicas=replicas, **more) as running:  # type: ignore[arg-type]
            await _connect(running, shopify)
            running.subscribe()
            yield tiktok, shopify, running


async def test_an_order_and_its_copy_are_one_promise_whichever_comes_first(database_url: str, tmp_path: Path) -> None:
    async with both_connected(database_url, tmp_path, replicas=1) as (tiktok, shopify, running):
        first = _bought(tiktok, "MUG")
        await _found(running, f"{CHANNEL}/{first}")
        copies = {first: _copied(shopify, "MUG", MARKS["name"](first))}
        tiktok.conditions.outage = True
        second = _bought(tiktok, "MUG")
        copies[second] = _copied(shopify, "MUG", MARKS["attribute"](second))
        await _found(running, f"shopify/{copies[second]}")
        tiktok.conditions.outage = False
        both = [await _linked(running, order_id, copy) for order_id, copy in copies.items()]
        sold = await _sold_units(running)
        level = await running.retailer.level("MUG", "dc")
        balanced = (await running.retailer.ledger()).balanced

    assert [sum(line.promised_count for line in found.allocation.lines) for found in both] == [2, 2]
    assert sold == 4
    assert level.available_count == 100 - 4
    assert balanced


@pytest.mark.long
async def test_an_order_and_its_copy_are_one_promise_however_it_is_marked(database_url: str, tmp_path: Path) -> None:
    copies: dict[str, str] = {}
    waiting: list[tuple[int, str]] = []
    async with both_connected(database_url, tmp_path, replicas=2) as (tiktok, shopify, running):
        for mark in MARKS.values():
            order_id = _bought(tiktok, "MUG")
            await _found(running, f"{CHANNEL}/{order_id}")
            copies[order_id] = _copied(shopify, "MUG", mark(order_id))
        for mark in MARKS.values():
            tiktok.conditions.outage = True
            order_id = _bought(tiktok, "MUG")
            copies[order_id] = _copied(shopify, "MUG", mark(order_id))
            alone = (await _found(running, f"shopify/{copies[order_id]}")).allocation
            waiting.append((alone.status, alone.hold.reason))
            tiktok.conditions.outage = False
        likely = _bought(tiktok, "TRAY")
        await _found(running, f"{CHANNEL}/{likely}")
        unmarked = _copied(shopify, "TRAY", {})
        both = {order_id: await _linked(running, order_id, copy) for order_id, copy in copies.items()}
        await until(lambda: running.retailer.open_exceptions(kinds=["sync_failed"]), "an exception")
        failures = await running.retailer.open_exceptions(kinds=["sync_failed"])
        second = await order(running, f"shopify/{unmarked}")
        units = {sku: (await running.retailer.level(sku, "dc")).available_count for sku in ("MUG", "TRAY")}
        sold = await _sold_units(running)
        running.verify_ledger()

    assert [sum(line.promised_count for line in found.allocation.lines) for found in both.values()] == [2] * 8
    assert waiting == [(order_pb2.ORDER_STATUS_ON_HOLD, "original is due")] * 4
    assert {found.allocation.status for found in both.values()} == {order_pb2.ORDER_STATUS_READY_TO_FULFILL}
    assert sold == 2 * 8 + 2
    assert units == {"MUG": 100 - 2 * 8, "TRAY": 100 - 2}
    assert second is None
    assert [failure.order_id for failure in failures] == [unmarked]
    assert f"likely {likely}" in failures[0].description


async def _connect(running: Processes, shopify: ShopifyShop) -> None:
    """Maps the Shopify shop to the same stock, and connects it."""
    place = shopify.books.add_location("Dallas")
    await running.retailer.channels(**{CHANNEL: "tiktok_shop", "shopify": "shopify"})
    outlet = outlet_pb2.Outlet(channel_id="shopify", outlet_id=str(place.id), location_id="dc")
    await running.retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))
    for sku in ("MUG", "TRAY"):
        item = shopify.books.add_item(sku, {place.id: 100})
        await running.retailer.list_item("shopify", str(item.variant_id), sku)
    running.run("connect", ACCOUNT)
    for subscription in shopify.operations.subscriptions.values():
        subscription.uri = f"http://{running.replicas[-1].address}/webhooks/{ACCOUNT}"


def _bought(shop: TikTokShop, sku: str) -> str:
    order = shop.books.buy({sku: 2})
    assert order is not None
    return order.id


def _copied(shop: ShopifyShop, sku: str, mark: dict[str, Any]) -> str:
    order = shop.books.place_order({sku: 2}, source_name="tiktok", **mark)
    assert order is not None
    return str(order.id)


async def _sold_units(running: Processes) -> float:
    """Units that the service has counted as sold, by all channels."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        page = (await client.get(f"http://{running.metrics}/metrics")).text
    families = text_string_to_metric_families(page)
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "truestock_sold_units_total")


async def _found(running: Processes, key: str) -> Any:
    return await until(lambda: order(running, key), f"order {key}")


async def _linked(running: Processes, order_id: str, copy: str) -> Any:
    async def linked() -> Any:
        found = await order(running, f"{CHANNEL}/{order_id}")
        copies = [each.order_id for each in found.allocation.copies] if found else []
        if copies != [copy] or found.allocation.hold.reason == "original is due":
            return None
        return found if sum(line.promised_count for line in found.allocation.lines) == 2 else None

    return await until(linked, f"order {order_id} with its copy {copy}")
