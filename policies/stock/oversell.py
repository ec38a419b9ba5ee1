"""Why a channel sold units that no permitted location has. Only evidence decides; nothing is guessed.

Each cause, its evidence, and who wins where several apply (the first one in this order):

1. `unmapped`: the product is not in the catalog, so nothing else is known about it.
2. `rejected`: a location could not supply promised units, and no other location has them.
3. `count_correction`: a count found fewer units than were promised. Like a rejection it is an event of its own: the
   units were promised rightly, so no published figure explains their loss. A rejection wins because it names the
   shelf and the order.
4. `race`: other channels' orders were promised units after the figure that this channel went by was published to it.
   That is the figure last published, or with a lag the last one that the channel can have shown.
5. `stale_feed`: a stock figure behind it is older than its feed's declared cadence, or than a day if none is declared.
   A race that explains the missing units wins, because a fresh figure would have led to the same race. Against
   the other causes the stale figure wins: it cannot be known whether what it led to was right.
6. `not_told`: no figure was ever published to the channel, so none can be wrong.
7. `over_published`: more was published than there was.
8. `not_applied`: the figure was right, and the channel sold more than it said. Where the channel was seen to show no
   more than it was told, that is a `race` among its own shoppers instead.

Between race, over-published and not-applied the larger share of the missing units wins, and this order decides a tie.
The shares need no estimate. With U usable units the order of D units lacks S = D - U. Since the figure F was published,
this channel's other orders got A units and those of other channels B. So the channel sold A + D - F units beyond the
figure, B units went to others, the figure exceeded what there was by F - (U + A + B), and these three add up to S.

Units that are there but that a rule keeps are no oversell: `policies.decisions.withheld` names them first, as
`held_by_buffer` or `blocked_by_rule`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from policies.domain.model import StockLevel

UNMAPPED = "unmapped"
"""The channel sold a product that is not in the catalog."""
UNMAPPED_OUTLET = "unmapped_outlet"
"""The channel sold from an outlet that it does not have: no oversell, because what the outlet has is not known."""
REJECTED = "rejected"
COUNT_CORRECTION = "count_correction"
RACE = "race"
STALE_FEED = "stale_feed"
NOT_TOLD = "not_told"
OVER_PUBLISHED = "over_published"
NOT_APPLIED = "not_applied"

CAUSES = (UNMAPPED, REJECTED, COUNT_CORRECTION, RACE, STALE_FEED, NOT_TOLD, OVER_PUBLISHED, NOT_APPLIED)
"""All causes of oversells, first the one that wins where several apply."""
EVENTS = (REJECTED, COUNT_CORRECTION)
"""Causes that are events: what happened to promised units."""

STALE_AFTER = timedelta(days=1)
"""A figure older than this is stale if its feed declares no cadence: tills report at least daily."""


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """Sellable units that were published to a channel, when, and by which rules.

    `outlets` are those of each of its outlets, by id, where they were published too; else it is empty.
    """

    sellable: int
    publish_time: datetime
    policy_revision: str
    outlets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownFigure:
    """Units that a channel was seen to show, and when it was last seen to."""

    units: int
    observe_time: datetime


@dataclass(frozen=True, slots=True)
class OutletEvidence:
    """What a channel was told of the outlet that an order chose, and what it then showed of it, in units."""

    outlet_id: str
    published: int
    publish_time: datetime
    shown: int
    observe_time: datetime


@dataclass(frozen=True, slots=True)
class OversellEvidence:
    """What is known about the missing units of one product of one order, in units.

    `published` is the figure that the channel went by, None if there was none. `own_units` were promised since then to
    the channel's other orders, `other_units` to orders of other channels; what was released again does not count.
    `event` is one of EVENTS, or empty. `shown` is what the channel showed after `published` had reached it, None if
    nobody looked. `outlet` is the same of the outlet that the order chose, None if it is not known of one.
    """

    sku: str
    ordered: int
    short: int
    published: PublishedFigure | None = None
    own_units: int = 0
    other_units: int = 0
    is_stale: bool = False
    is_mapped: bool = True
    event: str = ""
    shown: ShownFigure | None = None
    outlet: OutletEvidence | None = None

    @property
    def is_applied(self) -> bool:
        """Whether the channel was seen to show no more than it was told: in the order's outlet, where that is known."""
        if self.outlet is not None:
            return self.outlet.shown <= self.outlet.published
        return self.shown is not None and self.published is not None and self.shown.units <= self.published.sellable

    @property
    def sold_beyond_figure(self) -> int:
        """Units that the channel sold beyond the published figure; below 0 if it sold fewer."""
        return 0 if self.published is None else self.own_units + self.ordered - self.published.sellable

    @property
    def published_beyond_stock(self) -> int:
        """Units by which the figure exceeded what there was; below 0 if there was more."""
        return self.short - self.sold_beyond_figure - self.other_units


def oversell_cause(evidence: OversellEvidence) -> str:
    """The cause of the missing units, one of CAUSES; the module says how it is found."""
    if not evidence.is_mapped:
        return UNMAPPED
    if evidence.event:
        return evidence.event
    if evidence.published is None:
        return STALE_FEED if evidence.is_stale else NOT_TOLD
    # A channel that showed what it was told has applied it: what it sold beyond that, its own shoppers raced for. It
    # is then a race, which has the whole share of `not_applied`.
    own_race = max(0, evidence.sold_beyond_figure) if evidence.is_applied else 0
    shares = {
        RACE: evidence.other_units + own_race,
        OVER_PUBLISHED: evidence.published_beyond_stock,
        NOT_APPLIED: evidence.sold_beyond_figure,
    }
    cause = max(shares, key=lambda name: shares[name])
    return STALE_FEED if evidence.is_stale and cause != RACE else cause


def figure_in_effect(figures: Iterable[PublishedFigure], now: datetime, lag: timedelta) -> PublishedFigure | None:
    """The figure that a channel with this lag went by at `now`; None if none was published to it.

    That is the last one published `lag` ago or earlier. If all are newer, it is the oldest: what the channel showed
    before is not known. Of several figures of one moment, as for different destinations, it is the greatest: so many
    units the channel was told that it may sell.
    """
    known = list(figures)
    shown = [figure for figure in known if figure.publish_time <= now - lag]
    if shown:
        return max(shown, key=lambda figure: (figure.publish_time, figure.sellable))
    return min(known, key=lambda figure: (figure.publish_time, -figure.sellable), default=None)


def is_stale(levels: Iterable[StockLevel], cadences: Mapping[str, timedelta], now: datetime) -> bool:
    """Whether a stock figure that counts here is older than its feed's cadence, by source, or STALE_AFTER.

    Levels with units count; if none has any, all count: an old 0 may hide units that arrived. A figure that was never
    reported has no age.
    """
    tracked = [level for level in levels if level.tracked and level.as_of_time is not None]
    with_units = [level for level in tracked if level.on_hand > 0]
    return any(
        level.as_of_time is not None and now - level.as_of_time > cadences.get(level.source or "", STALE_AFTER)
        for level in with_units or tracked
    )


def evidence_text(evidence: OversellEvidence, cause: str, channel_id: str) -> str:
    """The cause and its evidence as one sentence without its full stop, for exceptions and explanations."""
    cause_words = cause.replace("_", " ")
    if evidence.published is None:
        return f"{evidence.sku}: {cause_words}, no figure was published to {channel_id}"
    figure = evidence.published
    published = f"{figure.sellable} published to {channel_id} at {figure.publish_time:%Y-%m-%d %H:%M:%S} UTC"
    since = f"since then {evidence.own_units + evidence.ordered} sold there and {evidence.other_units} elsewhere"
    shown = f", {evidence.shown.units} shown there" if evidence.shown else ""
    if (outlet := evidence.outlet) is not None:
        shown += f", {outlet.shown} shown in outlet {outlet.outlet_id} and {outlet.published} published to it"
    return f"{evidence.sku}: {cause_words}, {published} by rules {figure.policy_revision[:12]}{shown}, {since}"
