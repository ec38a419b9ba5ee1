"""Requests about listings, checked and turned into plain values, and listings as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.domain.listings import ItemKey, Listing
from service import limits
from service.catalog import catalog_pages
from service.rpc.page_tokens import PageTokens
from service.rpc.validation import Fields
from truestock.v1 import listing_pb2 as listing_pb


@dataclass(frozen=True, slots=True)
class ListingsPage:
    """Which listings to list: at most `count` after a key that pass every filter that is set."""

    count: int
    after: ItemKey
    tokens: PageTokens
    filters: Mapping[str, Sequence[str]]


def listings(messages: Sequence[listing_pb.Listing]) -> list[Listing]:
    """The listings of an UpsertListings request. Raises InvalidFields with everything that is wrong."""
    fields = Fields()
    checked: list[Listing] = []
    first_indexes: dict[ItemKey, int] = {}
    if fields.size("listings", messages, 1, limits.UPSERTS):
        for index, message in enumerate(messages):
            at, key = f"listings[{index}]", (message.channel_id, message.item_id)
            if key in first_indexes:
                fields.wrong(f"{at}.item_id", f"'{message.item_id}' is listings[{first_indexes[key]}] too")
            first_indexes.setdefault(key, index)
            before = len(fields.violations)
            item_key(fields, f"{at}.", message.channel_id, message.item_id)
            sku = fields.sku(f"{at}.sku", message.sku)
            units = fields.whole_number(f"{at}.unit_count", message.unit_count or 1, 1, limits.ITEM_UNITS)
            if len(fields.violations) == before:
                checked.append(Listing(*key, sku, units))
    fields.finish()
    return checked


def deleted_item(request: listing_pb.DeleteListingRequest) -> ItemKey:
    """The item of a DeleteListing request. Raises InvalidFields."""
    fields = Fields()
    key = item_key(fields, "", request.channel_id, request.item_id)
    fields.finish()
    return key


def listings_page(request: listing_pb.ListListingsRequest) -> ListingsPage:
    """Raises InvalidFields."""
    fields = Fields()
    filters = {
        "channel_ids": catalog_pages.texts(fields, "channel_ids", request.channel_ids),
        "item_ids": catalog_pages.texts(fields, "item_ids", request.item_ids),
        "skus": catalog_pages.texts(fields, "skus", request.skus),
    }
    count, tokens = fields.page_size(request.page_size), PageTokens(request)
    after = tokens.names(fields) or ("", "")
    fields.finish()
    return ListingsPage(count, after, tokens, {name: entries for name, entries in filters.items() if entries})


def item_key(fields: Fields, at: str, channel_id: str, item_id: str) -> ItemKey:
    """The (channel id, item id) of fields with these names behind `at`."""
    fields.text(f"{at}channel_id", channel_id, longest=limits.ID_LENGTH, required=True)
    fields.text(f"{at}item_id", item_id, longest=limits.ITEM_ID_LENGTH, required=True)
    return channel_id, item_id


def listing_message(listing: Listing) -> listing_pb.Listing:
    """A listing as the API shows it."""
    return listing_pb.Listing(
        channel_id=listing.channel_id, item_id=listing.item_id, sku=listing.sku, unit_count=listing.unit_count
    )
