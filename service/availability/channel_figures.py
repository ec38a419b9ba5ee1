"""Keeps what channels show, and compares it with what was published to them.

A channel that shows another figure raises a `mismatch` exception of the sub-kind `channel`; one that shows the right
one again ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from policies.domain.model import Channel, Product
from policies.domain.resolutions import STOCK_CORRECTED
from policies.stock.shown_figures import ShownCount
from service import limits
from service.availability import channel_drift
from service.availability.channel_drift import MISMATCH, Judged
from service.availability.channel_figure_requests import FiguresPage, FiguresRequest, StatedFigure, shown_message
from service.catalog import catalog_store, listing_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import no_channel
from service.exceptions import incidents
from service.exceptions.incidents import RaisedException, ResolvedException
from service.metrics import Metrics
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import channel_figures, levels
from service.stock.channel_figures import FigureKey, Observation
from truestock.v1 import channel_figure_pb2 as figure_pb

Result = figure_pb.ChannelFigureResult


@dataclass(slots=True)
class _Recorded:
    """What one request did, for metrics: new exceptions, ended ones, and by how much each new figure differs."""

    channel_id: str
    raised: Sequence[RaisedException] = ()
    resolved: Sequence[ResolvedException] = ()
    differences: list[int] = field(default_factory=list)


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

        async def read(connection: Connection, cache: CatalogCache) -> figure_pb.ListChannelFiguresResponse:
            catalog = await cache.at(connection, await catalog_store.version(connection))
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

        return await self._deps.reads.answer(
            lambda source: source.database.unlocked(
                "list_channel_figures", lambda connection: read(connection, source.catalog_cache)
            )
        )

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
        skus = {x.key[0] for x in observed.values()}
        judged = await channel_drift.judge(connection, channel, catalog, skus, self._deps.publication_log)
        by_key, recorded = {x.key: x for x in judged.found}, _Recorded(channel.id)
        for index, observation in observed.items():
            sku, item_id, _ = observation.key
            found = by_key.get(observation.key) or by_key.get((sku, item_id, ""))
            if found is not None:
                results[index].difference_count = found.difference
                if results[index].result == Result.RESULT_RECORDED:
                    recorded.differences.append(abs(found.difference))
        recorded.raised, recorded.resolved = await self._report(connection, channel, judged, products, now)
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

    async def _report(
        self,
        connection: Connection,
        channel: Channel,
        judged: Judged,
        products: Mapping[str, Product],
        now: datetime,
    ) -> tuple[list[RaisedException], list[ResolvedException]]:
        """Raises an exception for each figure that differs, and ends those of figures that do not any more."""
        differing = [channel_drift.incident(channel, products.get(x.sku), x) for x in judged.found if x.difference]
        raised = await incidents.raise_all(connection, self._deps.policies(), now, differing, self._deps.new_id)
        right = [channel_drift.subject(channel.id, key) for key in judged.right]
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


def _count(metrics: Metrics, recorded: _Recorded) -> None:
    incidents.count_raised(metrics, recorded.raised)
    incidents.count_resolved(metrics, MISMATCH, STOCK_CORRECTED, recorded.resolved)
    metrics.stock.count_channel_comparisons(recorded.channel_id, recorded.differences)
