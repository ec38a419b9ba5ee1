"""Reads the evidence for oversells, and gives shortages, exceptions and decisions their causes.

It runs after the plans and before anything is written, under the locks of the plans, and only where units are oversold:
other transactions read nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Integer, Text, Uuid, cast, func, literal_column, select, true

from policies.domain.model import Channel, StockLevel
from policies.stock.oversell import (
    OutletEvidence,
    OversellEvidence,
    PublishedFigure,
    ShownFigure,
    evidence_text,
    figure_in_effect,
    is_stale,
    oversell_cause,
)
from policies.stock.shown_figures import ShownCount, shown_evidence, shown_in_outlets, shown_items
from service.allocation.planner import AllocationChange
from service.database.database import Columns, Connection, Statement, any_of, transposed, unnested
from service.database.tables import Moment, allocation, availability_history, feed, stock_level, stock_movement
from service.decisions import decision_messages
from service.orders.allocation_record import OVERSELL, AllocationRecord, ShortageRecord
from service.orders.order_exceptions import OrderException
from service.stock import channel_figures
from service.stock.publication_log import Pair, PublicationLog
from service.stock.stock_book import Book, Movement
from truestock.v1 import decision_pb2

_PROMISING = ("held", "allocated", "released", "expired")
"""Kinds of movements by which orders get units or give them up. What ships stays promised here: it is gone."""

_history, _movement = availability_history.c, stock_movement.c
_QUESTION: Columns = {"channel_id": Text, "sku": Text, "until": Moment}
_question = unnested("question", **_QUESTION)
_of_pair = (_history.channel_id == _question.c.channel_id, _history.sku == _question.c.sku)
_figure = select(_history.sellable, _history.publish_time, _history.policy_revision).where(*_of_pair)
_shown = (
    _figure.where(_history.publish_time <= _question.c.until)
    .order_by(_history.publish_time.desc())
    .limit(literal_column("1"))
)
_first = (
    _figure.where(_history.publish_time > _question.c.until).order_by(_history.publish_time).limit(literal_column("1"))
)
_FIGURES = [
    Statement(
        select(
            _question.c.channel_id, _question.c.sku, figure.c.sellable, figure.c.publish_time, figure.c.policy_revision
        ).select_from(_question.join(figure, true()))
    )
    for figure in (_shown.lateral("shown"), _first.lateral("first"))
]
_PROMISED_QUESTION: Columns = {
    "position": Integer,
    "channel_id": Text,
    "sku": Text,
    "allocation_id": Uuid,
    "since": Moment,
}
_since = unnested("since", **_PROMISED_QUESTION)
_is_own = allocation.c.channel_id == _since.c.channel_id
_units = _movement.held_delta + _movement.allocated_delta
_PROMISED = Statement(
    select(
        _since.c.position,
        cast(func.coalesce(func.sum(_units).filter(_is_own), literal_column("0")), BigInteger).label("own_units"),
        cast(func.coalesce(func.sum(_units).filter(~_is_own), literal_column("0")), BigInteger).label("other_units"),
    )
    .select_from(
        # By location and effective time, because that is an index of the ledger: older movements are not read.
        _since.join(stock_level, stock_level.c.sku == _since.c.sku)
        .join(
            stock_movement,
            (_movement.sku == _since.c.sku)
            & (_movement.location_id == stock_level.c.location_id)
            & (_movement.effective_time > _since.c.since)
            & (_movement.ingest_time > _since.c.since)
            & (_movement.allocation_id != _since.c.allocation_id)
            & _movement.kind.in_([literal_column(f"'{kind}'") for kind in _PROMISING]),
        )
        .join(allocation, allocation.c.id == _movement.allocation_id)
    )
    .group_by(_since.c.position)
)
_CADENCES = Statement(
    select(feed.c.source, feed.c.cadence_minutes).where(
        feed.c.source == any_of("sources", Text), feed.c.cadence_minutes.is_not(None)
    )
)


@dataclass(slots=True)
class UnexplainedOversell:
    """A change that left units oversold without a cause, as it was when it was recorded.

    `decision` and `change.inputs` get the evidence. `movement_count` is how many movements the book had; later ones
    belong to orders that were planned later. `sold_as` are, for each missing product, the SKUs as which it was sold:
    its own or those of kits, with how many units of it one has.
    """

    change: AllocationChange
    channel: Channel
    ordered: dict[str, int]
    short: dict[str, int]
    decision: decision_pb2.Decision
    movement_count: int
    sold_as: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, change: AllocationChange, book: Book) -> UnexplainedOversell | None:
        """The oversold units of a change that have no cause yet; None if there are none."""
        record, short = change.record, dict[str, int]()
        for shortage in change.oversold:
            if not shortage.cause:
                short[shortage.sku] = short.get(shortage.sku, 0) + shortage.unit_count
        if not short or change.channel is None:
            return None
        ordered = {sku: units + _usable_units(record, sku) for sku, units in short.items()}
        sold_as = {sku: _sold_as(record, change.oversold, sku) for sku in short}
        return cls(change, change.channel, ordered, short, record.decision, len(book.movements), sold_as)

    def pairs(self) -> set[Pair]:
        """The channel with each SKU as which a missing product may have been published to it."""
        return {(self.channel.id, sold) for sku in self.short for sold in (sku, *self.sold_as[sku])}


def _usable_units(record: AllocationRecord, sku: str) -> int:
    """Units of the product that the order has, or that limits on splitting or rules keep from it."""
    promised = sum(units for (key, _), units in record.promised().items() if key == sku)
    return promised + sum(short.unit_count for short in record.shortages if short.sku == sku and short.kind != OVERSELL)


def _sold_as(record: AllocationRecord, oversold: Sequence[ShortageRecord], sku: str) -> dict[str, int]:
    """The SKUs as which the missing units of a product were sold, with how many units of it each has."""
    short = {x.line_id for x in oversold if x.sku == sku}
    lines = [line for line in record.lines if line.line_id in short]
    return {sku if x.kit is None else x.kit.sku: 1 if x.kit is None else x.kit.unit_count for x in lines}


async def explain(
    connection: Connection,
    book: Book,
    channels: Mapping[UUID, str],
    unexplained: Sequence[UnexplainedOversell],
    log: PublicationLog | None,
) -> list[AllocationChange]:
    """Gives the records and decisions of these changes their causes; returns the changes with causes.

    `channels` are the channels of the orders that the transaction has loaded, by allocation id.
    """
    figures = await _figures(connection, book, unexplained, log)
    promised = await _promised(connection, book, channels, unexplained, figures)
    cadences = await _cadences(connection, book)
    shown = await _shown_counts(connection, unexplained, figures)
    outlets = await _outlets(connection, unexplained, shown, log)
    changes = []
    # The newest first: the shortages that a record has now are of its last plan.
    for position, oversell in reversed(list(enumerate(unexplained))):
        evidence = [
            OversellEvidence(
                sku=sku,
                ordered=oversell.ordered[sku],
                short=oversell.short[sku],
                published=figures[position][sku],
                own_units=max(0, promised[position, sku][0]),
                other_units=max(0, promised[position, sku][1]),
                is_stale=is_stale(_levels(book, oversell.channel, sku), cadences, book.now),
                shown=_seen_since(oversell, sku, shown, figures[position][sku]),
                outlet=outlets.get((position, sku)),
            )
            for sku in sorted(oversell.short)
        ]
        changes.append(_apply(oversell, evidence))
    return changes[::-1]


async def _shown_counts(
    connection: Connection,
    unexplained: Sequence[UnexplainedOversell],
    figures: Sequence[Mapping[str, PublishedFigure | None]],
) -> Mapping[Pair, Sequence[ShownCount]]:
    """What channels were last seen to show of products that they had been told a figure of."""
    told = {
        pair
        for oversell, by_sku in zip(unexplained, figures, strict=True)
        if any(figure is not None for figure in by_sku.values())
        for pair in oversell.pairs()
    }
    return await channel_figures.latest(connection, told) if told else {}


def _seen_since(
    oversell: UnexplainedOversell,
    sku: str,
    counts: Mapping[Pair, Sequence[ShownCount]],
    published: PublishedFigure | None,
) -> ShownFigure | None:
    """What the channel was seen to show after a figure had reached it; None if nobody has looked since."""
    channel, seen = oversell.channel, list[ShownFigure]()
    for sold, units in (oversell.sold_as[sku] or {sku: 1}).items():
        shown = shown_evidence(shown_items(counts.get((channel.id, sold), ())))
        if shown is not None:
            seen.append(replace(shown, units=shown.units * units))
    most = max(seen, key=lambda x: (x.units, x.observe_time), default=None)
    if most is None or published is None or most.observe_time < published.publish_time + channel.figure_lag:
        return None
    return most


async def _outlets(
    connection: Connection,
    unexplained: Sequence[UnexplainedOversell],
    counts: Mapping[Pair, Sequence[ShownCount]],
    log: PublicationLog | None,
) -> dict[tuple[int, str], OutletEvidence]:
    """What channels were told of the outlets that orders chose, and then showed there, by position and SKU.

    As it was sold: of a kit's component the figures of the kit, in units of the component. Of several, as where a
    product was sold by itself and in a kit, it is the one that showed most.
    """
    found: dict[tuple[int, str], OutletEvidence] = {}
    for position, oversell in enumerate(unexplained):
        outlet, channel = oversell.change.record.outlet, oversell.channel
        seen = [
            (sku, sold, units, item)
            for sku in oversell.short
            for sold, units in (oversell.sold_as[sku] or {sku: 1}).items()
            for item in shown_in_outlets(counts.get((channel.id, sold), ()))
            if outlet is not None and item.outlet_id == outlet.id
        ]
        asked = {(sold, item.outlet_id, item.observe_time) for _, sold, _, item in seen}
        told = await channel_figures.published_to_outlets(connection, channel.id, asked, log) if asked else {}
        for sku, sold, units, item in seen:
            figure = told.get((sold, item.outlet_id, item.observe_time))
            if figure is None or item.observe_time < figure.publish_time + channel.figure_lag:
                continue
            published, shown = figure.sellable * units, item.units * units
            known = found.get((position, sku))
            if known is None or shown > known.shown:
                times = figure.publish_time, item.observe_time
                found[position, sku] = OutletEvidence(item.outlet_id, published, times[0], shown, times[1])
    return found


async def _figures(
    connection: Connection, book: Book, unexplained: Sequence[UnexplainedOversell], log: PublicationLog | None
) -> list[dict[str, PublishedFigure | None]]:
    """The figure in effect for each product of each change, in its units.

    It is that of what was sold: of a kit's component that of the kit, if the channel was told one, or else its own. Of
    several, as where a product was sold by itself and in a kit, it is the greatest.
    """
    lags = {pair: x.channel.figure_lag for x in unexplained for pair in x.pairs()}
    found: dict[Pair, list[PublishedFigure]] = log.waiting(lags) if log is not None else {pair: [] for pair in lags}
    questions = transposed(list(_QUESTION), [(*pair, book.now - lag) for pair, lag in sorted(lags.items())])
    for statement in _FIGURES if any(lags.values()) else _FIGURES[:1]:
        for row in await statement.rows(connection, **questions):
            figure = PublishedFigure(row["sellable"], row["publish_time"], row["policy_revision"])
            found[row["channel_id"], row["sku"]].append(figure)

    def in_effect(channel: Channel, sku: str, units: int) -> PublishedFigure | None:
        figure = figure_in_effect(found[channel.id, sku], book.now, channel.figure_lag)
        return figure if figure is None or units == 1 else replace(figure, sellable=figure.sellable * units)

    def told(oversell: UnexplainedOversell, sku: str) -> PublishedFigure | None:
        channel = oversell.channel
        figures = [in_effect(channel, sold, units) for sold, units in oversell.sold_as[sku].items()]
        told = [figure for figure in figures if figure is not None]
        return max(told, key=lambda x: (x.sellable, x.publish_time)) if told else in_effect(channel, sku, 1)

    return [{sku: told(x, sku) for sku in x.short} for x in unexplained]


async def _promised(
    connection: Connection,
    book: Book,
    channels: Mapping[UUID, str],
    unexplained: Sequence[UnexplainedOversell],
    figures: Sequence[Mapping[str, PublishedFigure | None]],
) -> dict[tuple[int, str], tuple[int, int]]:
    """Units promised since the figure in effect to the channel's other orders and to other channels' orders."""
    keys = [(position, sku) for position, oversell in enumerate(unexplained) for sku in oversell.short]
    questions = [
        (index, x.channel.id, sku, x.change.record.id, figure.publish_time)
        for index, (position, sku) in enumerate(keys)
        if (figure := figures[position][sku]) is not None
        for x in (unexplained[position],)
    ]
    units = dict.fromkeys(keys, (0, 0))
    if not questions:
        return units
    for row in await _PROMISED.rows(connection, **transposed(list(_PROMISED_QUESTION), questions)):
        units[keys[row["position"]]] = (row["own_units"], row["other_units"])
    for index, channel_id, sku, allocation_id, _ in questions:
        own, other = units[keys[index]]
        for movement in book.movements[: unexplained[keys[index][0]].movement_count]:
            if _is_promise(movement, sku, allocation_id):
                is_own = channels.get(movement.allocation_id or allocation_id) == channel_id
                own += (movement.held + movement.allocated) * is_own
                other += (movement.held + movement.allocated) * (not is_own)
        units[keys[index]] = (own, other)
    return units


def _is_promise(movement: Movement, sku: str, allocation_id: UUID) -> bool:
    is_other = movement.allocation_id not in (None, allocation_id)
    return movement.sku == sku and movement.kind in _PROMISING and is_other


async def _cadences(connection: Connection, book: Book) -> dict[str, timedelta]:
    """The declared cadences of the feeds behind the figures of the book, by source."""
    sources = {level.source for level in book.levels.values() if level.source}
    rows = await _CADENCES.rows(connection, sources=sorted(sources)) if sources else []
    return {row["source"]: timedelta(minutes=row["cadence_minutes"]) for row in rows}


def _levels(book: Book, channel: Channel, sku: str) -> list[StockLevel]:
    return [level for (key, location), level in book.levels.items() if key == sku and channel.may_sell_from(location)]


def _apply(oversell: UnexplainedOversell, evidence: Sequence[OversellEvidence]) -> AllocationChange:
    """Writes the causes into the record and the decision; returns the change with them."""
    change, causes = oversell.change, {x.sku: oversell_cause(x) for x in evidence}
    for sku, cause in causes.items():
        change.record.explain_oversell(sku, cause)
    oversell.decision.oversells.extend(decision_messages.oversell(x, causes[x.sku]) for x in evidence)
    if change.inputs is not None:
        change.inputs.oversells = tuple(evidence)
    sentences = {x.sku: evidence_text(x, causes[x.sku], oversell.channel.id) for x in evidence}
    exceptions = tuple(_explained(raised, change.oversold, sentences) for raised in change.exceptions)
    oversold = tuple(replace(short, cause=short.cause or causes[short.sku]) for short in change.oversold)
    return replace(change, oversold=oversold, exceptions=exceptions)


def _explained(
    raised: OrderException, oversold: Sequence[ShortageRecord], sentences: Mapping[str, str]
) -> OrderException:
    """An exception of oversold units with the evidence of its products, also if its order has lost the lines since."""
    if raised.kind != OVERSELL:
        return raised
    skus = dict.fromkeys(short.sku for short in oversold if short.line_id in raised.line_ids)
    text = "; ".join(sentences[sku] for sku in skus if sku in sentences)
    return replace(raised, description=f"{raised.description}. {text}.") if text else raised
