"""What the numbers of sources mean, whose numbers count where, and that nobody owns the same figure twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

FEED_ROLES = ("owner", "observer")
FEED_BASES = ("on_hand", "available")
OPEN_ORDERS = ("gross", "net")

EVERYTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Feed:
    """A source of stock figures. `location_ids` and `skus` are what it speaks of; empty means all.

    The defaults are what a source means that nobody has declared.
    """

    source: str
    role: str = "owner"
    basis: str = "on_hand"
    open_orders: str = "gross"
    location_ids: frozenset[str] = EVERYTHING
    skus: frozenset[str] = EVERYTHING
    tolerance_units: int = 0

    @property
    def owns(self) -> bool:
        """Whether its counts are the truth for what it speaks of."""
        return self.role == "owner"

    @property
    def is_net(self) -> bool:
        """Whether units of open orders have been taken off its counts."""
        return self.open_orders == "net"

    @property
    def counts_available(self) -> bool:
        """Whether its counts leave out units that are there and not sellable."""
        return self.basis == "available"

    def speaks_of(self, sku: str, location_id: str) -> bool:
        """Whether the product at the location is one of its figures."""
        return _covers(self.skus, sku) and _covers(self.location_ids, location_id)


class FeedAuthority(StrEnum):
    """How what a source says of one product at one location is taken."""

    OWNS = "owns"
    """Its counts and movements count."""
    BESIDE = "beside"
    """Another source owns the figure: counts are compared with it, movements count."""
    OBSERVES = "observes"
    """Everything is compared, and nothing counts."""


@dataclass(frozen=True, slots=True)
class OwnershipConflict:
    """Two feeds that would own one figure: the one that is refused, and its owner. None stands for all of them."""

    source: str
    owner: str
    location_id: str | None
    sku: str | None


def feed_authority(feeds: Mapping[str, Feed], source: str, sku: str, location_id: str) -> FeedAuthority:
    """How the source stands to the product at the location, among the declared feeds."""
    declared = feeds.get(source)
    if declared is not None and not declared.owns:
        return FeedAuthority.OBSERVES
    if declared is not None and declared.speaks_of(sku, location_id):
        return FeedAuthority.OWNS
    owned = any(feed.owns and feed.speaks_of(sku, location_id) for feed in feeds.values())
    return FeedAuthority.BESIDE if owned else FeedAuthority.OWNS


def ownership_conflicts(feeds: Mapping[str, Feed], declared: Sequence[Feed]) -> Iterator[OwnershipConflict]:
    """Where `declared` feeds would own what another feed owns, one of `feeds` or an earlier one of the same list."""
    owners = {source: feed for source, feed in feeds.items() if feed.owns}
    for feed in declared:
        owners.pop(feed.source, None)
    for feed in declared:
        if not feed.owns:
            continue
        for owner in owners.values():
            shared = _overlap(feed, owner)
            if shared is not None:
                yield OwnershipConflict(feed.source, owner.source, *shared)
        owners[feed.source] = feed


def on_hand_from_count(feed: Feed, counted: int, *, unavailable: int, open_units: int) -> int:
    """Units physically there, good or not, where the feed counted so many.

    `unavailable` are the units that were there and not sellable when it counted, and `open_units` those that it had
    taken off for orders; see `open_order_units`.
    """
    return counted + (unavailable if feed.counts_available else 0) + (open_units if feed.is_net else 0)


def open_order_units(allocated: int, later: Iterable[tuple[int, int]]) -> int:
    """Units that a net count leaves out: of orders sold up to its watermark, and still there when it was made.

    `allocated` units are allocated now. `later` are, for each order that changed since, its allocated units gained or
    lost after the watermark, and after the count, which is the later of the two. Of an order that has `a` units now it
    had `a - since_watermark` then and `a - since_count` at the count; the smaller of these is what the feed took off
    and what had not left.
    """
    return allocated - sum(max(since_watermark, since_count) for since_watermark, since_count in later)


def count_includes(
    feed: Feed | None, counted_time: datetime, event_time: datetime, promised_time: datetime | None
) -> bool:
    """Whether the on-hand figure of a feed's count has in already what happened to units at `event_time`.

    Units that were promised by the time of a net count, at `promised_time`, were put on top of it as open, so that they
    are in the figure until it is heard that they left. None where they were not promised.
    """
    was_open = feed is not None and feed.is_net and promised_time is not None and promised_time <= counted_time
    return event_time <= counted_time and not was_open


def differs(feed: Feed, counted: int, known: int) -> bool:
    """Whether an observation is too far from what is known, in units on hand, to be the same."""
    return abs(counted - known) > feed.tolerance_units


def _covers(names: frozenset[str], name: str) -> bool:
    return not names or name in names


def _overlap(one: Feed, other: Feed) -> tuple[str | None, str | None] | None:
    """A (location, SKU) of both feeds, None for all of them; None where they share nothing."""
    locations = _common(one.location_ids, other.location_ids)
    skus = _common(one.skus, other.skus)
    return None if locations is None or skus is None else (min(locations, default=None), min(skus, default=None))


def _common(one: frozenset[str], other: frozenset[str]) -> frozenset[str] | None:
    """What both name, empty for everything; None where that is nothing."""
    if not one or not other:
        return one or other
    return (one & other) or None


ORDERS = "orders"
"""The source of movements that orders cause."""
TRANSFERS = "transfers"
"""The source of movements that transfers cause; their `reason` is the transfer's id."""
OWN_SOURCES = (ORDERS, TRANSFERS)
"""Sources that no feed may call itself."""
