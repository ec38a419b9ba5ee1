"""Items of channels among the products whose availability is published: their names, and what they were computed as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from policies.domain.listings import ItemKey, Listing

Pair = tuple[str, str]
"""(Channel id, name): the name of a product is its SKU, that of an item has a prefix that no SKU has."""

_PREFIX = "\x1f"


def name_of_item(item_id: str) -> str:
    """The name of an item among SKUs."""
    return _PREFIX + item_id


def item_of(name: str) -> str:
    """The id of the item that has this name; empty if it is a SKU."""
    return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else ""


def item_keys(pairs: Iterable[Pair]) -> dict[Pair, ItemKey]:
    """The items among these pairs."""
    return {pair: (pair[0], item_of(pair[1])) for pair in pairs if pair[1].startswith(_PREFIX)}


class PublishedItems:
    """The listings by which the published figures of items were computed last; None once an item is not mapped."""

    def __init__(self) -> None:
        self._listings: dict[Pair, Listing | None] = {}
        self._by_sku: dict[str, set[Pair]] = {}

    def listing(self, pair: Pair) -> Listing | None:
        """The listing by which an item was computed last."""
        return self._listings.get(pair)

    def of_sku(self, sku: str) -> Iterable[Pair]:
        """The items that were computed from this SKU."""
        return self._by_sku.get(sku, ())

    def note(self, items: Mapping[Pair, ItemKey], listings: Mapping[ItemKey, Listing]) -> None:
        """Keeps what items are computed by."""
        for pair, key in items.items():
            old, new = self._listings.get(pair), listings.get(key)
            if old is not None and (new is None or new.sku != old.sku):
                self._by_sku[old.sku].discard(pair)
            if new is not None:
                self._by_sku.setdefault(new.sku, set()).add(pair)
            self._listings[pair] = new

    def edited(self, items: Mapping[Pair, ItemKey], listings: Mapping[ItemKey, Listing]) -> list[Pair]:
        """The items whose listing is another one now."""
        return [pair for pair, key in items.items() if listings.get(key) != self._listings.get(pair)]
