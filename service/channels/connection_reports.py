"""Tells Truestock how an account is, and what a look at its shop has found: CheckReadiness judges both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from grpc import aio

from service.channels.accounts import Account
from service.channels.adapter import Adapter, Check, CheckKind
from service.channels.errors import Unreadable
from service.channels.plain_text import plain_line
from service.channels.truestock_calls import CALL_SECONDS, answer, timestamp
from truestock.v1 import connection_pb2 as connection_pb
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.listing_pb2 import Listing, ListListingsRequest
from truestock.v1.readiness_service_pb2_grpc import ReadinessServiceStub

PAGE_SIZE = 1_000
MOST_NAMED, MOST_OUTLETS, MOST_CHECKS = 100, 500, 200
"""Items, outlets and checks of one report."""
LONGEST_ID, LONGEST_NAME, LONGEST_TEXT = 128, 256, 1_000
_KINDS = {
    CheckKind.SCOPE: connection_pb.ConnectionCheck.KIND_SCOPE,
    CheckKind.WEBHOOK: connection_pb.ConnectionCheck.KIND_WEBHOOK,
}


class ConnectionReports:
    """Reports about one account. Every call of Truestock raises Away, Unmapped or Unreadable."""

    def __init__(self, connection: aio.Channel, account: Account) -> None:
        self._account = account
        self._readiness: Any = ReadinessServiceStub(connection)
        self._catalog: Any = CatalogServiceStub(connection)

    async def send(self, state: asyncpg.Record, shop: connection_pb.ShopState | None = None) -> None:
        """Sends a row of the accounts' states, and with it what a look at the shop found if there was one now."""
        said = connection_pb.Connection(
            channel_id=self._account.channel_id,
            account=self._account.name,
            pause_reason=plain_line(state["pause_reason"], LONGEST_TEXT),
            shop=shop,
        )
        times: Mapping[str, datetime | None] = {
            "token_expire_time": state["token_expire_time"],
            "token_refresh_time": state["refresh_time"],
            "webhook_time": state["delivery_time"],
        }
        for name, time in times.items():
            if time is not None:
                getattr(said, name).CopyFrom(timestamp(time))
        request = connection_pb.UpsertConnectionRequest(connection=said)
        await answer(self._readiness.UpsertConnection(request, timeout=CALL_SECONDS))

    async def shop_state(self, adapter: Adapter, checks: Sequence[Check]) -> connection_pb.ShopState:
        """What the shop has, beside what is mapped. Also raises Away and AuthorizationLost of the adapter."""
        stated = [_check(check) for check in checks if check.kind in _KINDS][:MOST_CHECKS]
        try:
            outlets = await adapter.outlets()
            items = {item.item_id: item for item in await adapter.items()}
        except Unreadable as error:
            return connection_pb.ShopState(checks=stated, list_problem=plain_line(str(error), LONGEST_TEXT))
        listed = {listing.item_id async for listing in self._listings()}
        unmapped, missing = sorted(items.keys() - listed), sorted(listed - items.keys())
        return connection_pb.ShopState(
            checks=stated,
            outlets=[
                connection_pb.ShopOutlet(outlet_id=outlet.outlet_id, display_name=plain_line(outlet.name, LONGEST_NAME))
                for outlet in outlets
            ][:MOST_OUTLETS],
            item_count=len(items),
            unmapped_item_count=len(unmapped),
            unmapped_items=[
                connection_pb.ShopItem(item_id=item_id, seller_sku=plain_line(items[item_id].sku, LONGEST_NAME))
                for item_id in unmapped[:MOST_NAMED]
            ],
            missing_item_count=len(missing),
            missing_item_ids=missing[:MOST_NAMED],
        )

    async def _listings(self) -> AsyncIterator[Listing]:
        request = ListListingsRequest(channel_ids=[self._account.channel_id], page_size=PAGE_SIZE)
        while True:
            response = await answer(self._catalog.ListListings(request, timeout=CALL_SECONDS))
            for listing in response.listings:
                yield listing
            request.page_token = response.next_page_token
            if not request.page_token:
                return


def _check(check: Check) -> connection_pb.ConnectionCheck:
    name = check.what.removeprefix(f"{check.kind.value} ")
    return connection_pb.ConnectionCheck(
        kind=_KINDS[check.kind],
        name=plain_line(name, LONGEST_ID),
        works=check.works,
        todo=plain_line(check.todo, LONGEST_TEXT),
    )
