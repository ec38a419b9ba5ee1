"""Finds the order that a copy is most likely of, where the copy does not say it; a person decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from grpc import aio

from service.channels.accounts import Account
from service.channels.effects import ItemUnits, TakeOrder
from service.channels.truestock_calls import CALL_SECONDS, FROM_DATABASE, answer, timestamp
from truestock.v1 import allocation_service_pb2 as allocation
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.listing_pb2 import ListListingsRequest
from truestock.v1.order_pb2 import LIST_ORDER_NEWEST

COPY_WINDOW = timedelta(days=3)
"""How much older than its copy an original may be."""
MOST_LOOKED_AT = 500


class OriginalSearch:
    """Searches orders of other channels for one account."""

    def __init__(self, connection: aio.Channel, account: Account) -> None:
        self._account = account
        self._allocations: Any = AllocationServiceStub(connection)
        self._catalog: Any = CatalogServiceStub(connection)

    async def likely(self, effect: TakeOrder) -> str:
        """The order of the other channel with the same contents, nearest in time, that has no copy yet; or empty."""
        assert effect.original is not None
        units = await self._units_by_sku(effect.lines)
        since = timestamp(effect.update_time - COPY_WINDOW)
        request = allocation.ListAllocationsRequest(
            channel_ids=[effect.original.channel_id],
            skus=sorted(units)[:1],
            created_from=since,
            page_size=MOST_LOOKED_AT,
            order_by=LIST_ORDER_NEWEST,
        )
        if not units:
            return ""
        response = await answer(
            self._allocations.ListAllocations(request, timeout=CALL_SECONDS, metadata=FROM_DATABASE)
        )
        same = [one for one in response.allocations if not one.copies and _units_of(one.lines) == units]
        time = effect.update_time.timestamp()
        nearest = min(same, key=lambda one: abs(one.create_time.seconds - time), default=None)
        return nearest.order_id if nearest is not None else ""

    async def _units_by_sku(self, lines: Sequence[ItemUnits]) -> Counter[str]:
        """Units of each SKU; none if an item is not mapped."""
        item_ids = sorted({line.item_id for line in lines})[:100]
        request = ListListingsRequest(channel_ids=[self._account.channel_id], item_ids=item_ids, page_size=1_000)
        response = await answer(self._catalog.ListListings(request, timeout=CALL_SECONDS))
        listings = {listing.item_id: listing for listing in response.listings}
        units: Counter[str] = Counter()
        for line in lines:
            if line.item_id not in listings:
                return Counter()
            listing = listings[line.item_id]
            units[listing.sku] += line.count * (listing.unit_count or 1)
        return units


def _units_of(lines: Iterable[Any]) -> Counter[str]:
    units: Counter[str] = Counter()
    for line in lines:
        units[line.sku] += line.unit_count
    return units
