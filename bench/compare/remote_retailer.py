"""The retailer of the benchmarks at a running service of any revision: seeded and verified over its API.

Protocol Buffers ignore fields that one side does not know, so messages of this tree serve for other revisions too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from grpc import aio

from bench import bench_catalog
from bench.bench_calls import LOCATION_IDS, UNITS
from bench.cpu_meter import MeteredServer
from bench.rounds import WrongAnswer
from truestock.v1 import (
    catalog_service_pb2 as catalog_pb,
    catalog_service_pb2_grpc as catalog_grpc,
    stock_service_pb2 as stock_pb,
    stock_service_pb2_grpc as stock_grpc,
)

CALL_SECONDS = 60.0
SKUS_A_CALL = 100
"""With ten locations each, the most stock changes that one call may have."""
PAGE_SIZE = 1_000


@dataclass(slots=True)
class RemoteRetailer:
    """The retailer at one service."""

    name: str
    server: MeteredServer
    channel: aio.Channel

    async def seed(self, skus: Sequence[str]) -> None:
        """Creates locations, the channel and the products, and counts UNITS of each SKU at every location."""
        catalog = catalog_grpc.CatalogServiceStub(self.channel)
        locations = catalog_pb.UpsertLocationsRequest(locations=bench_catalog.locations())
        await catalog.UpsertLocations(locations, timeout=CALL_SECONDS)
        channels = catalog_pb.UpsertChannelsRequest(channels=[bench_catalog.channel()])
        await catalog.UpsertChannels(channels, timeout=CALL_SECONDS)
        counted_time = datetime.now(UTC) - timedelta(minutes=1)
        for start in range(0, len(skus), SKUS_A_CALL):
            batch = skus[start : start + SKUS_A_CALL]
            products = catalog_pb.UpsertProductsRequest(products=bench_catalog.products(batch))
            await catalog.UpsertProducts(products, timeout=CALL_SECONDS)
            counts = bench_catalog.counts(batch, counted_time)
            await stock_grpc.StockServiceStub(self.channel).RecordStockChanges(counts, timeout=CALL_SECONDS)

    async def verify(self) -> str:
        """What was verified. Raises WrongAnswer unless every stock level says what the calls answered."""
        answers = self.server.answers
        on_hand, held, allocated = Counter[str](), Counter[str](), Counter[str]()
        async for level in self._levels():
            on_hand[level.sku] += level.on_hand_count
            held[level.sku] += level.held_count
            allocated[level.sku] += level.allocated_count
        for sku, units in on_hand.items():
            received = units - UNITS * len(LOCATION_IDS)
            for word, answered, recorded in (
                ("sold", answers.sold[sku], allocated[sku]),
                ("held", answers.held[sku], held[sku]),
                ("received", answers.received[sku], received),
            ):
                if answered != recorded:
                    raise WrongAnswer(
                        f"{self.name}: {answered:,} units of {sku} are {word} by the answers, {recorded:,} by the "
                        "stock levels"
                    )
        return (
            f"{self.name}: {answers.sold.total():,} units sold, {answers.held.total():,} held and "
            f"{answers.received.total():,} received by the answers, as many by the stock levels of {len(on_hand):,} "
            "SKUs"
        )

    async def _levels(self) -> AsyncIterator[stock_pb.StockLevel]:
        stock = stock_grpc.StockServiceStub(self.channel)
        request = stock_pb.ListStockLevelsRequest(page_size=PAGE_SIZE)
        while True:
            response = await stock.ListStockLevels(request, timeout=CALL_SECONDS)
            for level in response.stock_levels:
                yield level
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


@asynccontextmanager
async def remote_retailer(name: str, server: MeteredServer) -> AsyncIterator[RemoteRetailer]:
    """A retailer without data, connected for the length of the block."""
    async with aio.insecure_channel(server.address) as channel:
        yield RemoteRetailer(name, server, channel)
