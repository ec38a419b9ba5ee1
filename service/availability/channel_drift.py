"""Finds what a channel shows beside what was published to it: by outlet where that is known, else in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from policies.domain.kits import Kit
from policies.domain.model import Channel, Product
from policies.explanation import unit_count_text
from policies.stock.oversell import PublishedFigure
from policies.stock.shown_figures import ShownCount, ShownItem, drift, shown_in_outlets, shown_items
from service.catalog.catalog_store import Catalog
from service.database.database import Connection
from service.exceptions.incidents import Incident
from service.stock import channel_figures
from service.stock.channel_figures import FigureKey, Pair
from service.stock.publication_log import PublicationLog

MISMATCH, CHANNEL = "mismatch", "channel"


@dataclass(frozen=True, slots=True)
class Drift:
    """An item that a channel shows beside what was published, and by how many items they differ; 0 if they agree."""

    sku: str
    item: ShownItem
    published: PublishedFigure
    difference: int

    @property
    def key(self) -> FigureKey:
        """Of the figure, with an empty outlet if it is of all of them together."""
        return self.sku, self.item.item_id, self.item.outlet_id


@dataclass(frozen=True, slots=True)
class Judged:
    """The figures that can be judged, and the keys of those that agree, or that nobody judges any more."""

    found: Sequence[Drift]
    right: Sequence[FigureKey]


@dataclass(frozen=True, slots=True)
class _Published:
    """What was published by the time at which each figure was observed: of products, and of outlets of them."""

    products: Mapping[str, PublishedFigure]
    outlets: Mapping[FigureKey, PublishedFigure]


async def judge(
    connection: Connection, channel: Channel, catalog: Catalog, skus: set[str], log: PublicationLog
) -> Judged:
    """Compares all that a channel was last seen to show of these products with what was published to it.

    An item whose outlets can be judged is not judged in all: the outlet that differs says more.
    """
    if not skus:
        return Judged((), ())
    latest = await channel_figures.latest(connection, {(channel.id, sku) for sku in skus})
    outlet_ids = {outlet.id for outlet in catalog.outlets.get(channel.id, ())}
    counts = {sku: _of_outlets(latest.get((channel.id, sku), ()), outlet_ids) for sku in skus}
    shown = {sku: shown_items(x) for sku, x in counts.items()}
    in_outlets = {sku: shown_in_outlets(x) for sku, x in counts.items()}
    published = await _published(connection, channel.id, shown, in_outlets, log)
    to_judge = [
        (sku, item, figure)
        for sku, items in shown.items()
        for item, figure in _judgeable(sku, items, in_outlets[sku], published, outlet_ids)
    ]
    own = await _own_units(connection, channel.id, catalog.kits.by_sku, to_judge)
    found = []
    for sku, item, figure in to_judge:
        difference = drift(item, figure, channel.figure_lag, own.get((sku, figure.publish_time), 0))
        if difference is not None:
            found.append(Drift(sku, item, figure, difference))
    gone = [(x.sku, x.item_id, x.outlet_id) for row in latest.values() for x in row if _is_gone(x, outlet_ids)]
    return Judged(found, [*_right(found), *gone])


def _is_gone(count: ShownCount, outlet_ids: set[str]) -> bool:
    return bool(count.outlet_id) and count.outlet_id not in outlet_ids


def _of_outlets(counts: Iterable[ShownCount], outlet_ids: set[str]) -> list[ShownCount]:
    """The counts without those of outlets that the channel does not have any more."""
    return [x for x in counts if not _is_gone(x, outlet_ids)]


async def _published(
    connection: Connection,
    channel_id: str,
    shown: Mapping[str, Sequence[ShownItem]],
    in_outlets: Mapping[str, Sequence[ShownItem]],
    log: PublicationLog,
) -> _Published:
    moments = {sku: max(x.observe_time for x in items) for sku, items in shown.items() if items}
    products = await channel_figures.published(connection, channel_id, moments.items())
    parts = {(sku, x.item_id, x.outlet_id): x.observe_time for sku, items in in_outlets.items() for x in items}
    asked = {(sku, outlet_id, time) for (sku, _, outlet_id), time in parts.items()}
    by_outlet = await channel_figures.published_to_outlets(connection, channel_id, asked, log)
    outlets = {
        key: by_outlet[key[0], key[2], time] for key, time in parts.items() if (key[0], key[2], time) in by_outlet
    }
    pairs: set[Pair] = {(channel_id, sku) for sku in moments}
    for (_, sku), waiting in log.waiting(pairs).items():
        for figure in waiting:
            known = products.get(sku)
            if figure.publish_time <= moments[sku] and (known is None or figure.publish_time > known.publish_time):
                products[sku] = figure
    return _Published(products, outlets)


def _judgeable(
    sku: str,
    items: Sequence[ShownItem],
    in_outlets: Sequence[ShownItem],
    published: _Published,
    outlet_ids: set[str],
) -> list[tuple[ShownItem, PublishedFigure]]:
    """Each item with what was published of it: in its outlets, or else in all if all of its outlets were observed."""
    judgeable = []
    for item in items:
        parts = [x for x in in_outlets if x.item_id == item.item_id]
        figures = [(x, published.outlets.get((sku, x.item_id, x.outlet_id))) for x in parts]
        known = [(x, figure) for x, figure in figures if figure is not None]
        judgeable += known
        is_whole = not parts or {x.outlet_id for x in parts} == outlet_ids
        if not known and is_whole and sku in published.products:
            judgeable.append((item, published.products[sku]))
    return judgeable


async def _own_units(
    connection: Connection,
    channel_id: str,
    kits: Mapping[str, Kit],
    to_judge: Iterable[tuple[str, ShownItem, PublishedFigure]],
) -> dict[tuple[str, datetime], int]:
    """Units promised to the channel's orders since each figure: of a kit, the kits that they may have been sold in."""
    since = {(sku, figure.publish_time) for sku, _, figure in to_judge}
    parts = {(part, time) for sku, time in since if sku in kits for part in kits[sku].components}
    units = await channel_figures.own_units(connection, channel_id, since | parts)
    own = {key: max(0, units.get(key, 0)) for key in since}
    for sku, time in since:
        if sku in kits:
            components = kits[sku].components.items()
            own[sku, time] = max(-(-max(0, units.get((part, time), 0)) // each) for part, each in components)
    return own


def _right(found: Iterable[Drift]) -> list[FigureKey]:
    """The figures that agree; of an item whose outlets all agree also the one of all of them."""
    right, outlets_agree = [x.key for x in found if not x.difference], dict[tuple[str, str], bool]()
    for x in found:
        if x.item.outlet_id:
            item = x.sku, x.item.item_id
            outlets_agree[item] = outlets_agree.get(item, True) and not x.difference
    return right + [(*item, "") for item, agree in outlets_agree.items() if agree]


def subject(channel_id: str, key: FigureKey) -> str:
    """The subject of the exception of a figure: no source of counts ends with a slash, so no other mismatch has it."""
    sku, item_id, outlet_id = key
    parts = ("channel", channel_id, sku, item_id, *([outlet_id] if outlet_id else []), "")
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def incident(channel: Channel, product: Product | None, found: Drift) -> Incident:
    """The exception of an item that a channel shows otherwise than it was published."""
    item = f" of item {found.item.item_id}" if found.item.item_id else ""
    outlet = f" in outlet {found.item.outlet_id}" if found.item.outlet_id else ""
    difference, noun = abs(found.difference), "too many" if found.difference > 0 else "too few"
    sentence = (
        f"{channel.id} shows {found.item.count}{item} of {found.sku}{outlet}, {difference} {noun}: "
        f"{unit_count_text(found.published.sellable)} may be sold{' there' if outlet else ''}, as published at "
        f"{found.published.publish_time:%Y-%m-%d %H:%M:%S} UTC."
    )
    return Incident(
        MISMATCH,
        subject(channel.id, found.key),
        sentence,
        channel=channel,
        product=product,
        channel_id=channel.id,
        sku=found.sku,
        sub_kind=CHANNEL,
        outlet_id=found.item.outlet_id or None,
    )
