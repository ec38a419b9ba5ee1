"""What connectors say of their accounts is kept, compared with the catalog as it is, and forgotten when they end."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.retailer import Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import connection_pb2 as connection_pb, listing_pb2, readiness_service_pb2 as readiness_pb

SCOPE = connection_pb.ConnectionCheck.KIND_SCOPE


async def say(retailer: Retailer, **fields: Any) -> None:
    said = connection_pb.Connection(**{"channel_id": "web", "account": "web-us", **fields})
    await retailer.readiness.UpsertConnection(connection_pb.UpsertConnectionRequest(connection=said))


async def findings(shop: Retailer) -> dict[str, str]:
    request = readiness_pb.CheckReadinessRequest(channel_id="web")
    found = await shop.readiness.CheckReadiness(request, timeout=60)
    return {x.question: x.finding for x in found.answers if x.question.startswith("connect")}


async def test_a_look_at_the_shop_stays_until_the_next_and_is_compared_with_the_catalog_as_it_is(
    retailer: Retailer,
) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    await retailer.list_item("web", "old", "MUG")
    items = [connection_pb.ShopItem(item_id=item_id, seller_sku="MUG") for item_id in ("1", "2")]
    shop = connection_pb.ShopState(
        checks=[connection_pb.ConnectionCheck(kind=SCOPE, name="read_orders", works=True)],
        outlets=[connection_pb.ShopOutlet(outlet_id="71", display_name="Boise")],
        item_count=3,
        unmapped_item_count=2,
        unmapped_items=items,
        missing_item_count=1,
        missing_item_ids=["old"],
    )
    await say(retailer, shop=shop)
    await say(retailer, pause_reason="the shop has withdrawn its permission")
    before = await findings(retailer)
    await retailer.list_item("web", "1", "MUG")
    await retailer.list_item("web", "2", "MUG")
    delete = listing_pb2.DeleteListingRequest(channel_id="web", item_id="old")
    await retailer.catalog.DeleteListing(delete)
    after = await findings(retailer)
    await retailer.readiness.DeleteConnection(connection_pb.DeleteConnectionRequest(channel_id="web"))
    forgotten = await findings(retailer)

    assert before == {
        "connector_heard": "account web-us was last heard of just now",
        "connection_authorized": "paused: the shop has withdrawn its permission",
        "connection_scopes": "1 of 1 scope granted",
        "connection_webhooks": "not looked at; none was ever heard",
        "connection_outlets": "1 of 1 location of the shop without an outlet here",
        "connection_items": "2 of 3 items of the shop not mapped",
    }
    assert after["connection_items"] == "3 items of the shop, each mapped"
    assert list(forgotten) == ["connector_heard"]


async def test_everything_that_is_wrong_of_a_report_is_said_at_once(retailer: Retailer) -> None:
    unnamed = connection_pb.ConnectionCheck()
    shop = connection_pb.ShopState(checks=[unnamed], item_count=-1, missing_item_ids=[""])

    error = await refused(say(retailer, account="", shop=shop))

    assert error.fields == [
        "connection.account",
        "connection.shop.checks[0].kind",
        "connection.shop.checks[0].name",
        "connection.shop.item_count",
        "connection.shop.missing_item_ids[0]",
    ]


async def test_a_channel_that_does_not_exist_has_no_connector(retailer: Retailer) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="these are the channels: web"):
        await say(retailer, channel_id="wbe")
    with pytest.raises(grpc.aio.AioRpcError, match="no connector feeds this channel"):
        await retailer.readiness.DeleteConnection(connection_pb.DeleteConnectionRequest(channel_id="web"))
