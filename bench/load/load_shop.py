"""The shop of a load test: its catalog and stock, and what its users were answered, beside what exists.

Its SKUs are new in each run and nobody else stocks or sells them, so that more units sold than came in are an oversell.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.type.latlng_pb2 import LatLng

from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)
from truestock_client import Client, pages

WEB, TIKTOK = "load-web", "load-tiktok"
LOCATION_IDS = ("load-dc", *(f"load-store-{number}" for number in range(1, 6)))
PRODUCTS = 60
SHELF_UNITS = 500
"""Units of an ordinary product at each location."""
VIRAL_UNITS = 20
"""Units of the viral product at each location: few, so that a spike sells it out within seconds."""
FEED_PRODUCTS = 60
"""Products whose stock tills count again and again, and which no order buys: a count may lower stock below what was
sold, which would be an oversell of the till's.
"""
_BATCH = 400
"""Stock changes that one call records."""


@dataclass(slots=True)
class LoadShop:
    """One run of a load test, for all its users.

    `received` are units that may be in stock: counted before the call that records them. `sold` are units that answers
    promised, less those of cancellations that were sent. So a call without an answer never makes up an oversell.
    """

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    received: Counter[str] = field(default_factory=Counter)
    sold: Counter[str] = field(default_factory=Counter)
    short_units: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def viral_sku(self) -> str:
        """The product of a TikTok video."""
        return f"LOAD-{self.run_id}-VIRAL"

    @property
    def skus(self) -> list[str]:
        """The ordinary products."""
        return [f"LOAD-{self.run_id}-{number}" for number in range(PRODUCTS)]

    @property
    def feed_skus(self) -> list[str]:
        """The products that tills count."""
        return [f"LOAD-{self.run_id}-FEED-{number}" for number in range(FEED_PRODUCTS)]

    def open(self, client: Client) -> None:
        """Adds locations, channels, products and their stock. Raises CallError."""
        locations = [_location(number, location_id) for number, location_id in enumerate(LOCATION_IDS)]
        client.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=locations))
        kinds = catalog_pb.Channel.KIND_WEB, catalog_pb.Channel.KIND_SOCIAL
        channels = [
            catalog_pb.Channel(channel_id=name, kind=kind) for name, kind in zip((WEB, TIKTOK), kinds, strict=True)
        ]
        client.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=channels))
        for skus in _batches([self.viral_sku, *self.skus, *self.feed_skus], 100):
            products = [catalog_pb.Product(sku=sku, velocity_per_day=3.0) for sku in skus]
            client.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
        self._stock(client)

    def _stock(self, client: Client) -> None:
        units = {self.viral_sku: VIRAL_UNITS} | dict.fromkeys([*self.skus, *self.feed_skus], SHELF_UNITS)
        counts = [
            self.change(sku, location_id, count=stock_pb.StockCount(on_hand_count=count))
            for sku, count in units.items()
            for location_id in LOCATION_IDS
        ]
        for changes in _batches(counts, _BATCH):
            client.stock.RecordStockChanges(stock_pb.RecordStockChangesRequest(source="load-count", changes=changes))
        ordered = {sku: units[sku] for sku in (self.viral_sku, *self.skus)}
        self.received.update({sku: count * len(LOCATION_IDS) for sku, count in ordered.items()})

    def change(self, sku: str, location_id: str, **what: Any) -> stock_pb.StockChange:
        """A count or a movement of this moment."""
        change = stock_pb.StockChange(change_id=self.new_name(), sku=sku, location_id=location_id, **what)
        change.effective_time.GetCurrentTime()
        return change

    def new_name(self) -> str:
        """A name that no order or change has yet."""
        return f"{self.run_id}-{next(self._numbers)}"

    def order(self, channel_id: str, skus: Sequence[str], units: int = 1) -> allocation_pb.AllocateOrderRequest:
        """A paid order of so many units of each SKU to an address in one of two states."""
        region, postal_code = random.choice((("TX", "78704"), ("NY", "10001")))
        return allocation_pb.AllocateOrderRequest(
            channel_id=channel_id,
            order_id=self.new_name(),
            lines=[order_pb2.OrderLine(sku=sku, unit_count=units) for sku in skus],
            commitment=order_pb2.COMMITMENT_SOLD,
            destination=order_pb2.Destination(country="US", region=region, postal_code=postal_code),
        )

    def count_sale(self, allocation: allocation_pb.Allocation) -> None:
        """Counts the units that a paid order was promised, and those that it is short of."""
        for line in allocation.lines:
            self.sold[line.sku] += line.promised_count
            self.short_units += line.short_count

    def count_cancellation(self, allocation: allocation_pb.Allocation) -> None:
        """Counts the units of an order as given back; before the cancellation is sent, because it may go unanswered."""
        self.sold.subtract({line.sku: line.promised_count for line in allocation.lines})

    def oversells(self, client: Client) -> list[str]:
        """A sentence for each product of which more units were sold than exist. Raises CallError."""
        by_answers = [
            f"{self.sold[sku]} units of {sku} were sold, and {units} came in"
            for sku, units in self.received.items()
            if self.sold[sku] > units
        ]
        return by_answers + [
            f"{level.held_count + level.allocated_count} units of {level.sku} at {level.location_id} are promised, and "
            f"{level.on_hand_count - level.unavailable_count} are there"
            for level in self._levels(client)
            if level.held_count + level.allocated_count > level.on_hand_count - level.unavailable_count
        ]

    def _levels(self, client: Client) -> Iterator[stock_pb.StockLevel]:
        for skus in _batches([self.viral_sku, *self.skus], 100):
            for page in pages(client.stock.ListStockLevels, stock_pb.ListStockLevelsRequest(skus=skus)):
                yield from page.stock_levels


def _location(number: int, location_id: str) -> catalog_pb.Location:
    is_store = number > 0
    return catalog_pb.Location(
        location_id=location_id,
        type=catalog_pb.Location.TYPE_STORE if is_store else catalog_pb.Location.TYPE_WAREHOUSE,
        country="US",
        coordinates=LatLng(latitude=30 + 2 * number, longitude=-80 - 5 * number),
        priority=10 + number,
    )


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
