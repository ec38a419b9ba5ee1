"""Retries quarantined stock changes: at once when a product or location is mapped, and regularly in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Integer, Text, func, literal_column, select

from policies.domain.listings import ItemKey
from policies.domain.resolutions import COMPLETED, MAPPED
from service.background import FailureLog, every
from service.database.database import Connection, Statement, parameter
from service.database.tables import exception, listing, location, outlet, product
from service.dependencies import Dependencies
from service.errors import NotReady
from service.exceptions import incidents
from service.exceptions.incidents import RaisedException, ResolvedException
from service.feeds import feed_silence, hand_changes, quarantine, stock_intake
from service.feeds.stock_incidents import UNMAPPED_LOCATION, UNMAPPED_PRODUCT
from service.feeds.stock_intake import Intake
from service.orders.order_exceptions import ITEM_SUBJECT
from service.stock import levels

RETRY_SECONDS = 3.0
FEED_CHECK_SECONDS = 10.0
RESOLVED_AT_ONCE = 500

_MAPPED = [
    (
        kind,
        Statement(
            select(exception.c.subject)
            .join(table, key == exception.c.subject)
            .where(exception.c.state == literal_column("'open'"), exception.c.kind == parameter("kind", Text))
            .limit(parameter("count", Integer))
        ),
    )
    for kind, table, key in (
        (UNMAPPED_LOCATION, location, location.c.id),
        # Of an outlet that orders wait for.
        (UNMAPPED_LOCATION, outlet, outlet.c.channel_id + literal_column("'/'") + outlet.c.id),
        (UNMAPPED_PRODUCT, product, product.c.sku),
    )
]
_subject_of_item = func.substr(exception.c.subject, literal_column(str(len(ITEM_SUBJECT) + 1)))
_channel_of_item = func.split_part(_subject_of_item, literal_column("'/'"), literal_column("1"))
_MAPPED_ITEMS = Statement(
    select(exception.c.subject)
    .join(
        listing,
        (listing.c.channel_id == _channel_of_item)
        & (listing.c.item_id == func.substr(_subject_of_item, func.length(_channel_of_item) + literal_column("2"))),
    )
    .where(
        exception.c.state == literal_column("'open'"),
        exception.c.kind == parameter("kind", Text),
        exception.c.subject.like(literal_column(f"'{ITEM_SUBJECT}%'")),
    )
    .limit(parameter("count", Integer))
)


@dataclass(frozen=True, slots=True)
class _RetriedBatch:
    """What one transaction did: how many changes it read, what it recorded, and the exceptions resolved, by kind."""

    change_count: int
    intake: Intake | None
    resolved: dict[str, list[ResolvedException]]


class QuarantineRetry:
    """Several services on one database may each run one: a change that one records is a duplicate for the others."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._failures = FailureLog()

    async def run(self, stop: asyncio.Event) -> None:
        """Retries quarantined changes and checks for stale feeds until `stop` is set."""
        await asyncio.gather(
            every(RETRY_SECONDS, stop, self.retry_due), every(FEED_CHECK_SECONDS, stop, self.check_feeds)
        )

    async def retry_mapped(
        self, *, skus: Sequence[str] = (), location_ids: Sequence[str] = (), items: Sequence[ItemKey] = ()
    ) -> None:
        """Records changes that waited for these products, locations or items, which are committed."""
        try:
            await self._retry_batch(skus, location_ids, items)
        except NotReady:
            # The database has logged why it does not answer, and the background retry records the changes later.
            pass
        except Exception as error:
            # The mapping is committed, so its call must succeed; the background retry records the changes later.
            self._failures.failed(
                "stock changes that waited for a mapping could not be recorded; they will be retried in the background",
                error,
            )

    async def retry_due(self) -> None:
        """Records all quarantined changes that can be recorded by now."""
        while await self._retry_batch() >= quarantine.RETRY_BATCH:
            pass

    async def check_feeds(self) -> None:
        """Raises an exception for each stale feed and resolves those of feeds that report again."""
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[list[RaisedException], list[ResolvedException]]:
            return await feed_silence.check(connection, policy_set, self._deps.new_id)

        def count(checked: tuple[list[RaisedException], list[ResolvedException]]) -> None:
            raised, resolved = checked
            incidents.count_raised(self._deps.metrics, raised)
            incidents.count_resolved(self._deps.metrics, feed_silence.STALE, COMPLETED, resolved)

        await self._deps.database.transaction("check_feed_silence", work, count)

    async def _retry_batch(
        self, skus: Sequence[str] = (), location_ids: Sequence[str] = (), items: Sequence[ItemKey] = ()
    ) -> int:
        """Retries one batch in one transaction and returns how many changes it read."""
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> _RetriedBatch:
            changes, change_count = await quarantine.due(connection, skus, location_ids, items)
            intake = None
            if changes:
                intake = await stock_intake.record(
                    connection, changes, self._deps.new_id, cache=self._deps.catalog_cache, policy_set=policy_set
                )
                await hand_changes.record(connection, intake.results)
            return _RetriedBatch(change_count, intake, await self._resolve_mapped(connection))

        return (await self._deps.database.transaction("retry_quarantine", work, self._count)).change_count

    def _count(self, batch: _RetriedBatch) -> None:
        if batch.intake is not None:
            batch.intake.count(self._deps.metrics)
        for kind, ids in batch.resolved.items():
            incidents.count_resolved(self._deps.metrics, kind, MAPPED, ids)

    async def _resolve_mapped(self, connection: Connection) -> dict[str, list[ResolvedException]]:
        """Resolves exceptions about products, locations and outlets that are in the catalog now; by kind."""
        resolved: dict[str, list[ResolvedException]] = {}
        for kind, statement in (*_MAPPED, (UNMAPPED_PRODUCT, _MAPPED_ITEMS)):
            rows = await statement.rows(connection, kind=kind, count=RESOLVED_AT_ONCE)
            subjects = [row["subject"] for row in rows]
            if subjects:
                resolved.setdefault(kind, []).extend(
                    await incidents.resolve_all(
                        connection,
                        await levels.clock(connection),
                        kind,
                        subjects,
                        resolution=MAPPED,
                        description="It is in the catalog now.",
                        new_id=self._deps.new_id,
                    )
                )
        return resolved
