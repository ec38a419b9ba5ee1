"""What each feed's stock figures mean, which feed owns which figure, and checks that no figure has two owners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

OWNER, OBSERVER = FEED_ROLES = ("owner", "observer")
FEED_BASES = ("on_hand", "available")
OPEN_ORDERS = ("gross", "net")

EVERYTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Feed:
    """A source of stock figures. `location_ids` and `skus` are what it reports on; empty means all.

    `computed` says that a program computes its counts, unless a count itself says that a person counted.

    The defaults apply to a source that has not been declared.
    """

    source: str
    role: str = OWNER
    basis: str = "on_hand"
    open_orders: str = "gross"
    location_ids: frozenset[str] = EVERYTHING
    skus: frozenset[str] = EVERYTHING
    tolerance_units: int = 0
    computed: bool = False

    @property
    def owns(self) -> bool:
        """Whether its counts set the stock figures that it reports on."""
        return self.role == OWNER

    @property
    def is_net(self) -> bool:
        """Whether its counts exclude units of open orders."""
        return self.open_orders == "net"

    @property
    def counts_available(self) -> bool:
        """Whether its counts exclude units that are on hand but not sellable."""
        return self.basis == "available"

    def covers(self, sku: str, location_id: str) -> bool:
        """Whether the feed reports on the product at the location."""
        return _covers(self.skus, sku) and _covers(self.location_ids, location_id)


class FeedAuthority(StrEnum):
    """How reports from a source about one product at one location are used."""

    OWNS = "owns"
    """Its counts and movements change the figure."""
    SECONDARY = "secondary"
    """Another source owns the figure: counts are only compared with it, movements change it."""
    OBSERVES = "observes"
    """Counts and movements are only compared with the figure."""


@dataclass(frozen=True, slots=True)
class OwnershipConflict:
    """Two feeds that claim one figure: `source` is refused, `owner` has it. None means all locations or all SKUs."""

    source: str
    owner: str
    location_id: str | None
    sku: str | None


def feed_authority(feeds: Mapping[str, Feed], source: str, sku: str, location_id: str) -> FeedAuthority:
    """How the source's reports about the product at the location are used, given the declared feeds."""
    declared = feeds.get(source)
    if declared is not None and not declared.owns:
        return FeedAuthority.OBSERVES
    if declared is not None and declared.covers(sku, location_id):
        return FeedAuthority.OWNS
    owned = any(feed.owns and feed.covers(sku, location_id) for feed in feeds.values())
    return FeedAuthority.SECONDARY if owned else FeedAuthority.OWNS


def ownership_conflicts(feeds: Mapping[str, Feed], declared: Sequence[Feed]) -> Iterator[OwnershipConflict]:
    """Figures that `declared` feeds claim although a feed of `feeds`, or an earlier one in the list, owns them."""
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
    """Units physically on hand, sellable or not, given the number that the feed counted.

    `unavailable` are units on hand that were not sellable at the time of the count; `open_units` are units that the
    count excludes because they belong to open orders, see `open_order_units`.
    """
    return counted + (unavailable if feed.counts_available else 0) + (open_units if feed.is_net else 0)


def open_order_units(allocated: int, later: Iterable[tuple[int, int]]) -> int:
    """Units that a net count excludes: sold up to its watermark and not yet shipped at the time of the count.

    `allocated` units are allocated now. `later` has, for each order that changed since, the change in its allocated
    units since the watermark and since the count; the count is the later of the two. An order with `a` units now had
    `a - since_watermark` at the watermark and `a - since_count` at the count. The smaller of the two is what the feed
    excluded and what had not shipped yet.
    """
    return allocated - sum(max(since_watermark, since_count) for since_watermark, since_count in later)


def count_includes(
    feed: Feed | None, counted_time: datetime, event_time: datetime, promised_time: datetime | None
) -> bool:
    """Whether the on-hand figure from a feed's count already includes a change to units at `event_time`.

    `promised_time` is when the units were promised, None if they were not. Units promised before a net count were
    added back to it as open, so the figure includes them until their shipment is reported.
    """
    # A net count excludes open orders, so their units are added back to it. They must be subtracted when their
    # shipment is reported, even one from before the count. Otherwise on hand stays too high until the next count,
    # and units are sold that are not there.
    was_open = feed is not None and feed.is_net and promised_time is not None and promised_time <= counted_time
    return event_time <= counted_time and not was_open


def differs(feed: Feed, counted: int, known: int) -> bool:
    """Whether an observed count differs from the known units on hand by more than the feed's tolerance."""
    return abs(counted - known) > feed.tolerance_units


def _covers(names: frozenset[str], name: str) -> bool:
    return not names or name in names


def _overlap(first: Feed, second: Feed) -> tuple[str | None, str | None] | None:
    """A (location, SKU) that both feeds cover, None for all; None where they share nothing."""
    locations = _common(first.location_ids, second.location_ids)
    skus = _common(first.skus, second.skus)
    return None if locations is None or skus is None else (min(locations, default=None), min(skus, default=None))


def _common(first: frozenset[str], second: frozenset[str]) -> frozenset[str] | None:
    """The names in both sets, empty meaning all; None where they share none."""
    if not first or not second:
        return first or second
    return (first & second) or None


ORDERS = "orders"
"""The source of movements caused by orders."""
TRANSFERS = "transfers"
"""The source of movements caused by transfers; their `reason` is the id of the transfer."""
OWN_SOURCES = (ORDERS, TRANSFERS)
"""Source names that no feed may use."""
