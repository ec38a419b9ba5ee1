"""Records counts, movements and announced deliveries in one transaction, with a result for each change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, func, literal_column, select

from policies.domain.model import Product
from policies.domain.resolutions import COMPLETED, STOCK_CORRECTED
from policies.policy_set import PolicySet
from policies.stock.counting import SETTING_ASIDE_SIGNS, ChangeResult, QuarantineCause
from policies.stock.feeds import Feed
from service import limits
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store, listing_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection, Statement, any_of, transposed, unnested
from service.database.tables import stock_movement
from service.feeds import feed_silence, incoming, quarantine, stock_incidents
from service.feeds.change_processing import ChangeRecorder, RecordedChange
from service.feeds.quarantine import QuarantineLoss
from service.feeds.stock_change import StockChange
from service.history import counted_orders
from service.metrics import OTHER_SOURCES, Metrics
from service.orders import order_store
from service.stock import count_learning, levels, provenance, stock_history, unavailable_units
from service.stock.stock_book import Book, Key
from service.stock.stock_history import History

_movement = stock_movement.c
_reported = unnested("reported", source=Text, change_id=Text)
_RECORDED_BEFORE = Statement(
    select(_movement.source, _movement.change_id).join(
        _reported, (_reported.c.source == _movement.source) & (_reported.c.change_id == _movement.change_id)
    )
)
_UNTRACKED_SINCE = Statement(
    select(_movement.sku, _movement.location_id, func.max(_movement.effective_time).label("since"))
    .where(
        _movement.sku == any_of("skus", Text),
        _movement.kind == literal_column("'untracked'"),
        _movement.result == literal_column("'accepted'"),
    )
    .group_by(_movement.sku, _movement.location_id)
)


@dataclass(frozen=True, slots=True)
class Intake:
    """What one transaction did with stock changes: the result of each, in order, and what it wrote and dropped."""

    results: Sequence[RecordedChange]
    unit_of_work: UnitOfWork
    loss: QuarantineLoss

    def count(self, metrics: Metrics) -> None:
        """Counts it in the metrics, after the commit."""
        self.unit_of_work.count(metrics)
        for source, count in self.loss.dropped_counts.items():
            metrics.stock.count_dropped_changes(source, count)
        for result in self.results:
            metrics.stock.stock_changes.labels(result.result.value).inc()
            if result.result is ChangeResult.REFUSED:
                metrics.stock.count_dropped_changes(OTHER_SOURCES, 1)
            if result.difference is not None:
                units = abs(result.difference) if result.mismatch else 0
                metrics.stock.count_comparison(result.change.source, result.change.location_id, units)


async def record(
    connection: Connection,
    changes: Sequence[StockChange],
    new_id: Callable[[], UUID],
    *,
    cache: CatalogCache,
    policy_set: PolicySet,
) -> Intake:
    """Records changes in the given order and quarantines those that cannot be recorded.

    They may come from several sources. Locks levels like every other writer. A change id counts once for its source,
    whatever the second change with it contains.
    """
    changes = await _in_units(connection, changes)
    version, products = await catalog_store.products(connection, {change.sku for change in changes})
    catalog = await cache.at(connection, version)
    unmapped = {change.subject_key: _unmapped(change, products, catalog) for change in changes}
    mapped = [change for change in changes if not unmapped[change.subject_key]]
    await order_store.lock_needed(connection)
    await levels.ensure(connection, {change.key for change in mapped})
    locked = await levels.lock(connection, {change.sku for change in mapped})
    book = await levels.open_book(connection, locked, new_id)
    recorder = await _recorder(connection, book, mapped, catalog.feeds)
    results: Sequence[RecordedChange] = [recorder.record(change, unmapped[change.subject_key]) for change in changes]
    unit_of_work = UnitOfWork(book)
    await rebalancing.rebalance(connection, unit_of_work, cache, policy_set)
    await unit_of_work.write(connection)
    await counted_orders.write_comparisons(connection, _comparisons(book, results))
    await provenance.record(connection, book.now, recorder.figures.values())
    await incoming.write(connection, book.now, recorder.deliveries)
    results, loss = await _update_quarantine(connection, book.now, results, catalog.feeds)
    raised, resolved = await stock_incidents.raise_and_resolve(
        connection,
        book.now,
        results,
        loss,
        policy_set=policy_set,
        products=products,
        locations=catalog.locations,
        new_id=new_id,
    )
    unit_of_work.raised += raised
    unit_of_work.resolved[stock_incidents.MISMATCH, STOCK_CORRECTED] = resolved
    declared = {change.source for change in changes} & catalog.feeds.keys()
    if declared:
        resumed = await feed_silence.record_reports(connection, book.now, declared, new_id)
        unit_of_work.resolved[feed_silence.STALE, COMPLETED] = resumed
    await recorder.locations.write(connection)
    return Intake(results, unit_of_work, loss)


async def _in_units(connection: Connection, changes: Sequence[StockChange]) -> Sequence[StockChange]:
    """The changes with those of items in units of their SKUs, as far as listings map them."""
    items = {change.item for change in changes if change.item is not None}
    if not items:
        return changes
    listings = await listing_store.read(connection, items)
    return [change if change.item is None else change.in_units(listings.get(change.item)) for change in changes]


def _unmapped(change: StockChange, products: Mapping[str, Product], catalog: Catalog) -> str:
    """Which product or location of a change is not in the catalog; empty if both are."""
    advice = "is not in the catalog; the change is recorded once it is upserted"
    if change.sku not in products:
        if change.item is not None:
            advice = "is not mapped; the change is recorded once a listing maps it"
        return f"{change.subject} {advice}"
    return "" if change.location_id in catalog.locations else f"location '{change.location_id}' {advice}"


async def _recorder(
    connection: Connection, book: Book, changes: Sequence[StockChange], feeds: Mapping[str, Feed]
) -> ChangeRecorder:
    """A recorder with everything that the changes are assessed by, read under the locks."""
    locked = set(book.levels)
    change_ids = sorted({(change.source, change.change_id) for change in changes})
    recorded = (
        await _RECORDED_BEFORE.rows(connection, **transposed(["source", "change_id"], change_ids)) if change_ids else []
    )
    return ChangeRecorder(
        book=book,
        feeds=feeds,
        bases=await provenance.bases(connection, locked),
        history=await _history(connection, changes, feeds),
        locations=await count_learning.read(connection, {c.location_id for c in changes if c.count is not None}),
        unavailable=await unavailable_units.read(connection, {c.key for c in changes if _concerns_unavailable(c)}),
        untracked_since=await _untracked_since(connection, book),
        recorded_ids={(row["source"], row["change_id"]) for row in recorded},
    )


async def _history(connection: Connection, changes: Sequence[StockChange], feeds: Mapping[str, Feed]) -> History:
    """Movements after the times of the counts, as far as the basis of their feeds needs them."""
    moments, unavailable, net = set(), set(), set()
    for change in changes:
        if change.count is None:
            continue
        feed, count_key = feeds.get(change.source) or Feed(change.source), (change.key, change.effective_time)
        moments.add(count_key)
        if feed.counts_available or _concerns_unavailable(change):
            unavailable.add(count_key)
        if feed.is_net:
            net.add((*count_key, change.count.orders_until or change.effective_time))
    return await stock_history.read(connection, moments, unavailable, net)


def _concerns_unavailable(change: StockChange) -> bool:
    """Whether the change is about unavailable units."""
    if change.count is not None:
        return change.count.unavailable_total is not None or change.count.unavailable is not None
    return change.movement is not None and change.movement.kind in SETTING_ASIDE_SIGNS


async def _untracked_since(connection: Connection, book: Book) -> dict[Key, datetime]:
    """When sources stopped tracking the levels that are not tracked now."""
    skus = sorted({sku for (sku, _), level in book.levels.items() if not level.tracked})
    rows = await _UNTRACKED_SINCE.rows(connection, skus=skus) if skus else []
    return {(row["sku"], row["location_id"]): row["since"] for row in rows}


async def _update_quarantine(
    connection: Connection, now: datetime, results: Sequence[RecordedChange], declared: Collection[str]
) -> tuple[list[RecordedChange], QuarantineLoss]:
    """Stores quarantined changes and removes those that have been recorded.

    Returns the results, in which those for which there was no room are refused, and for what there was none.
    """
    quarantined = [
        (r.change, r.cause or QuarantineCause.UNMAPPED, r.reason)
        for r in results
        if r.result is ChangeResult.QUARANTINED
    ]
    loss = await quarantine.store(connection, now, quarantined, declared)
    recorded = [(r.change.source, r.change.change_id) for r in results if r.result is not ChangeResult.QUARANTINED]
    await quarantine.remove(connection, recorded)
    return [_refused(r) if _is_refused(r, loss) else r for r in results], loss


def _is_refused(result: RecordedChange, loss: QuarantineLoss) -> bool:
    return result.result is ChangeResult.QUARANTINED and result.change.source in loss.refused_sources


def _comparisons(book: Book, results: Sequence[RecordedChange]) -> list[tuple[object, ...]]:
    """The counts that were compared with on hand, as they are kept."""
    return [
        (book.now, x.change.source, x.change.location_id, x.change.sku, x.difference, x.mismatch)
        for x in results
        if x.difference is not None
    ]


def _refused(result: RecordedChange) -> RecordedChange:
    reason = (
        f"{result.reason}; it is not kept, because {limits.QUARANTINED_SOURCES} sources that no feed declares have "
        f"changes in quarantine: declare '{result.change.source}' as a feed and send it again with a new request id"
    )
    return replace(result, result=ChangeResult.REFUSED, reason=reason, cause=None)
