"""Keeps what channels show, and compares it with what was published to them.

A channel that shows another figure raises a `mismatch` exception of the sub-kind `channel`; one that shows the right
one again ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from policies.domain.model import Channel, Product
from policies.domain.resolutions import STOCK_CORRECTED
from policies.explanation import unit_count_text
from policies.stock.oversell import PublishedFigure
from policies.stock.shown_figures import ShownCount, ShownItem, drift, shown_items
from service import limits
from service.availability.channel_figure_requests import FiguresPage, FiguresRequest, StatedFigure, shown_message
from service.catalog import catalog_store, listing_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import no_channel
from service.exceptions import incidents
from service.exceptions.incidents import Incident, RaisedException
from service.metrics import Metrics
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import channel_figures, levels
from service.stock.channel_figures import FigureKey, Observation
from truestock.v1 import channel_figure_pb2 as figure_pb

MISMATCH, CHANNEL = "mismatch", "channel"
Result = figure_pb.ChannelFigureResult


@dataclass(slots=True)
class _Recorded:
    """What one request did, for metrics: the channel, new exceptions, ended ones, and the sizes of new differences."""

    channel_id: str
    raised: Sequence[RaisedException] = ()
    resolved: Sequence[UUID] = ()
    differences: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Drift:
    """An item that a channel shows beside what was published, and by how much they differ."""

    sku: str
    item: ShownItem
    published: PublishedFigure
    difference: int


class ChannelFigureOperations:
    """Records and lists what channels show."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def record(
        self, request: FiguresRequest, message: figure_pb.RecordChannelFiguresRequest
    ) -> figure_pb.RecordChannelFiguresResponse:
        """`message` is the request as it came. Raises NotFound (channel), RequestIdReused."""
        idempotent = IdempotentRequest.of("RecordChannelFigures", message, request.request_id, self._deps.new_id)
        return await idempotency.once(
            self._deps.database,
            "record_channel_figures",
            idempotent,
            figure_pb.RecordChannelFiguresResponse,
            lambda connection: self._record(connection, request),
            count=lambda recorded: _count(self._deps.metrics, recorded),
        )

    async def page(self, query: FiguresPage) -> figure_pb.ListChannelFiguresResponse:
        """Raises NotFound (channel)."""

        async def read(connection: Connection) -> figure_pb.ListChannelFiguresResponse:
            catalog = await self._deps.catalog_cache.at(connection, await catalog_store.version(connection))
            _channel(catalog, query.channel_id)
            rows = await channel_figures.page(connection, query.channel_id, query.skus, query.after, query.count)
            shown = [row for row in rows if query.with_history or row["is_last"]]
            token = ""
            if len(rows) == query.count:
                last = rows[-1]
                token = query.tokens.after(
                    last["sku"], last["item_id"], last["outlet_id"], last["first_time"].isoformat()
                )
            return figure_pb.ListChannelFiguresResponse(
                figures=[shown_message(row) for row in shown], next_page_token=token
            )

        return await self._deps.database.unlocked("list_channel_figures", read)

    async def _record(
        self, connection: Connection, request: FiguresRequest
    ) -> tuple[figure_pb.RecordChannelFiguresResponse, _Recorded]:
        keys = {(request.channel_id, x.item_id) for x in request.figures if x.item_id}
        listings = await listing_store.read(connection, keys) if keys else {}
        skus = {x.sku for x in request.figures if x.sku} | {x.sku for x in listings.values()}
        version, products = await catalog_store.products(connection, skus)
        catalog = await self._deps.catalog_cache.at(connection, version)
        channel, now = _channel(catalog, request.channel_id), await levels.clock(connection)
        results: list[figure_pb.ChannelFigureResult] = []
        observed: dict[int, Observation] = {}
        for index, stated in enumerate(request.figures):
            listing = listings.get((channel.id, stated.item_id))
            sku, units = (listing.sku, listing.unit_count) if listing else (stated.sku, 1)
            has_outlet = not stated.outlet_id or catalog.outlet(channel.id, stated.outlet_id) is not None
            problem = _problem(stated, sku, products, now, has_outlet=has_outlet)
            results.append(figure_pb.ChannelFigureResult(result=problem))
            if problem == Result.RESULT_UNSPECIFIED:
                key = (sku, stated.item_id, stated.outlet_id)
                observed[index] = Observation(key, stated.count, units, stated.time or now)
        await self._store(connection, channel.id, observed, results)
        judged = await self._judge(connection, channel, {x.key[0] for x in observed.values()})
        recorded = _Recorded(channel.id)
        for index, observation in observed.items():
            found = judged.get((observation.key[0], observation.key[1]))
            if found is not None:
                results[index].difference_count = found.difference
                if found.difference and results[index].result == Result.RESULT_RECORDED:
                    recorded.differences.append(abs(found.difference))
        recorded.raised, recorded.resolved = await self._report(
            connection, channel, [(x, products.get(x.sku)) for x in judged.values()], now
        )
        return figure_pb.RecordChannelFiguresResponse(results=results), recorded

    async def _store(
        self,
        connection: Connection,
        channel_id: str,
        observed: Mapping[int, Observation],
        results: Sequence[figure_pb.ChannelFigureResult],
    ) -> None:
        pairs = {(channel_id, x.key[0]) for x in observed.values()}
        latest: dict[FigureKey, ShownCount] = {}
        for counts in (await channel_figures.latest(connection, pairs)).values() if pairs else ():
            latest |= {(x.sku, x.item_id, x.outlet_id): x for x in counts}
        new, extended = [], []
        for index, observation in observed.items():
            before = latest.get(observation.key)
            if before is not None and _is_same(before, observation):
                results[index].result = Result.RESULT_UNCHANGED
                extended.append(replace(before, last_time=observation.time))
                continue
            is_older = before is not None and observation.time <= before.last_time
            results[index].result = Result.RESULT_OLDER if is_older else Result.RESULT_RECORDED
            new.append(observation)
        await channel_figures.store(connection, channel_id, new, extended)

    async def _judge(self, connection: Connection, channel: Channel, skus: set[str]) -> dict[tuple[str, str], _Drift]:
        """The items of these products whose figures can be judged, by (SKU, item id)."""
        if not skus:
            return {}
        pairs = {(channel.id, sku) for sku in skus}
        latest = await channel_figures.latest(connection, pairs)
        items = {sku: shown_items(counts) for (_, sku), counts in latest.items()}
        moments = {sku: max(x.observe_time for x in shown) for sku, shown in items.items() if shown}
        published = await channel_figures.published(connection, channel.id, moments.items())
        for (_, sku), waiting in self._deps.publication_log.waiting(pairs).items():
            for figure in waiting:
                known = published.get(sku)
                if figure.publish_time <= moments[sku] and (known is None or figure.publish_time > known.publish_time):
                    published[sku] = figure
        own = await channel_figures.own_units(
            connection, channel.id, {sku: figure.publish_time for sku, figure in published.items()}
        )
        judged: dict[tuple[str, str], _Drift] = {}
        for sku, shown in items.items():
            for item in shown:
                told = published.get(sku)
                difference = drift(item, told, channel.figure_lag, max(0, own.get(sku, 0)))
                if difference is not None and told is not None:
                    judged[sku, item.item_id] = _Drift(sku, item, told, difference)
        return judged

    async def _report(
        self,
        connection: Connection,
        channel: Channel,
        judged: Sequence[tuple[_Drift, Product | None]],
        now: datetime,
    ) -> tuple[list[RaisedException], list[UUID]]:
        """Raises an exception for each item that differs, and ends those of items that do not any more."""
        differing = [_incident(channel, product, x) for x, product in judged if x.difference]
        raised = await incidents.raise_all(connection, self._deps.policies(), now, differing, self._deps.new_id)
        right = [_subject(channel.id, x.sku, x.item.item_id) for x, _ in judged if not x.difference]
        resolved = await incidents.resolve_all(
            connection,
            now,
            MISMATCH,
            right,
            resolution=STOCK_CORRECTED,
            description="The channel shows what was published to it again.",
            new_id=self._deps.new_id,
        )
        return raised, resolved


def _is_same(before: ShownCount, observation: Observation) -> bool:
    """Whether a channel still shows what it was last seen to show."""
    is_later = observation.time >= before.first_time
    return is_later and (before.count, before.unit_count) == (observation.count, observation.unit_count)


def _channel(catalog: Catalog, channel_id: str) -> Channel:
    if channel_id not in catalog.channels:
        raise no_channel({"channel_id": channel_id}, catalog.channels)
    return catalog.channels[channel_id]


def _problem(
    stated: StatedFigure,
    sku: str,
    products: Mapping[str, Product],
    now: datetime,
    *,
    has_outlet: bool,
) -> figure_pb.ChannelFigureResult.Result.ValueType:
    """Why a figure cannot be kept; unspecified if it can."""
    if not sku:
        return Result.RESULT_UNKNOWN_ITEM
    if sku not in products:
        return Result.RESULT_UNKNOWN_SKU
    if not has_outlet:
        return Result.RESULT_UNKNOWN_OUTLET
    if stated.time is not None and stated.time < now - limits.CHANNEL_FIGURE_RETENTION:
        return Result.RESULT_TOO_OLD
    return Result.RESULT_UNSPECIFIED


def _subject(channel_id: str, sku: str, item_id: str) -> str:
    # No source of counts has a slash at its end, so no mismatch of counts has this subject.
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in ("channel", channel_id, sku, item_id, ""))


def _incident(channel: Channel, product: Product | None, found: _Drift) -> Incident:
    item = f" of item {found.item.item_id}" if found.item.item_id else ""
    difference, noun = abs(found.difference), "too many" if found.difference > 0 else "too few"
    sentence = (
        f"{channel.id} shows {found.item.count}{item} of {found.sku}, {difference} {noun}: "
        f"{unit_count_text(found.published.sellable)} may be sold, as published at "
        f"{found.published.publish_time:%Y-%m-%d %H:%M:%S} UTC."
    )
    return Incident(
        MISMATCH,
        _subject(channel.id, found.sku, found.item.item_id),
        sentence,
        channel=channel,
        product=product,
        channel_id=channel.id,
        sku=found.sku,
        sub_kind=CHANNEL,
    )


def _count(metrics: Metrics, recorded: _Recorded) -> None:
    incidents.count_raised(metrics, recorded.raised)
    incidents.count_resolved(metrics, MISMATCH, STOCK_CORRECTED, recorded.resolved)
    metrics.stock.channel_mismatches.labels(recorded.channel_id).inc(len(recorded.differences))
    metrics.stock.channel_mismatch_units.labels(recorded.channel_id).inc(sum(recorded.differences))
