"""Maps outlets and items of an account: reads both sides, proposes, stores what people accept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.channels.adapter import ExternalItem, ExternalOutlet
from service.channels.mapping import POOL, Match, Proposal, item_proposals, outlet_proposals
from service.channels.store.connector_store import ConnectorStore
from service.cli.client import Client, connect
from service.cli.connectors.connector_site import ConnectorSite, with_store
from service.cli.files.mapping_file import listing_of, outlet_of, read_mapping
from truestock.v1.listing_pb2 import Listing, ListListingsRequest, UpsertListingsRequest
from truestock.v1.outlet_pb2 import ListOutletsRequest, Outlet, UpsertOutletsRequest

BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """What was stored, and how many entries of the inbox are read again."""

    outlet_count: int
    listing_count: int
    replayed_count: int

    def as_dict(self) -> dict[str, int]:
        """The counts for `--json`."""
        return {
            "outlet_count": self.outlet_count,
            "listing_count": self.listing_count,
            "replayed_count": self.replayed_count,
        }


def propose(site: ConnectorSite, name: str) -> list[Proposal]:
    """Proposals for every outlet and item of the account. Raises UserError."""
    account = site.account(name)

    async def read(store: ConnectorStore) -> tuple[list[ExternalOutlet], list[ExternalItem]]:
        async with site.opened(account, store) as running:
            return await running.adapter.outlets(), await running.adapter.items()

    outlets, items = with_store(site.settings, read)
    return asyncio.run(_proposals(site, account.channel_id, outlets, items))


def store(site: ConnectorSite, name: str, file: Path | None) -> Stored:
    """Stores what a file says, or the exact matches. Raises UserError."""
    channel_id = site.account(name).channel_id
    if file is not None:
        outlets, listings = read_mapping(file, channel_id)
    else:
        exact = [proposal for proposal in propose(site, name) if proposal.match is Match.EXACT]
        outlets = [outlet_of(channel_id, p.external_id, p.truestock_id) for p in exact if p.what == "outlet"]
        listings = [
            listing_of(channel_id, p.external_id, p.truestock_id, p.unit_count) for p in exact if p.what == "item"
        ]
    asyncio.run(_upsert(site.server, outlets, listings))

    async def replay(connectors: ConnectorStore) -> int:
        return await connectors.inbox.replay(name, states=("unmapped",))

    return Stored(len(outlets), len(listings), with_store(site.settings, replay))


async def _upsert(server: str, outlets: Sequence[Outlet], listings: Sequence[Listing]) -> None:
    async with connect(server) as client:
        for start in range(0, len(outlets), BATCH):
            request = UpsertOutletsRequest(outlets=outlets[start : start + BATCH])
            await client.ask(client.catalog.UpsertOutlets, request)
        for start in range(0, len(listings), BATCH):
            batch = UpsertListingsRequest(listings=listings[start : start + BATCH])
            await client.ask(client.catalog.UpsertListings, batch)


async def _proposals(
    site: ConnectorSite, channel_id: str, outlets: Sequence[ExternalOutlet], items: Sequence[ExternalItem]
) -> list[Proposal]:
    async with connect(site.server) as client:
        names: dict[str, set[str]] = {}
        for location in await client.locations():
            for name in (location.location_id, location.display_name):
                names.setdefault(name, set()).add(location.location_id)
        candidates = {name: sorted(ids) for name, ids in names.items() if name}
        skus = sorted({item.sku for item in items if item.sku})
        known = [product.sku for product in await client.products(skus)]
        near = await client.near_skus([sku for sku in skus if sku not in set(known)])
        return [
            *outlet_proposals(outlets, await _mapped_outlets(client, channel_id), candidates),
            *item_proposals(items, await _mapped_items(client, channel_id), known, near),
        ]


async def _mapped_outlets(client: Client, channel_id: str) -> dict[str, str]:
    request = ListOutletsRequest(channel_ids=[channel_id])
    found: Iterable[Outlet]
    found, _ = await client.list_entries(client.catalog.ListOutlets, request, lambda page: page.outlets)
    return {
        outlet.outlet_id: outlet.location_id or (f"{POOL}{outlet.pool_id}" if outlet.pool_id else "")
        for outlet in found
    }


async def _mapped_items(client: Client, channel_id: str) -> dict[str, tuple[str, int]]:
    request = ListListingsRequest(channel_ids=[channel_id])
    found, _ = await client.list_entries(client.catalog.ListListings, request, lambda page: page.listings)
    return {listing.item_id: (listing.sku, listing.unit_count or 1) for listing in found}
