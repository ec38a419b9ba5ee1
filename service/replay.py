"""Taking up again what was kept aside: as soon as a mapping arrives, and in the background whatever is worth a try."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog
from sqlalchemy import Integer, Text, literal_column, select

from policies.policy import PolicySet
from service import feed_silence, incidents, levels, quarantine, stock_changes
from service.catalogue import CatalogueCache
from service.database import Connection, Database, Statement, parameter
from service.doings import Doings
from service.errors import NotReady
from service.incidents import Raised
from service.metrics import Metrics
from service.stock_incidents import UNMAPPED_LOCATION, UNMAPPED_PRODUCT
from service.stock_recording import Result
from service.sweeper import every
from service.tables import exception, location, product

log = structlog.get_logger(__name__)

REPLAY_SECONDS = 3.0
SILENCE_SECONDS = 10.0
SETTLED_AT_ONCE = 500

_MAPPED = {
    kind: Statement(
        select(exception.c.subject)
        .join(table, key == exception.c.subject)
        .where(exception.c.state == literal_column("'open'"), exception.c.kind == parameter("kind", Text))
        .limit(parameter("count", Integer))
    )
    for kind, table, key in (
        (UNMAPPED_LOCATION, location, location.c.id),
        (UNMAPPED_PRODUCT, product, product.c.sku),
    )
}


class Replay:
    """Several services on one database may each have one: what one has recorded is a duplicate for the others."""

    def __init__(
        self,
        database: Database,
        cache: CatalogueCache,
        metrics: Metrics,
        new_id: Callable[[], UUID],
        policies: Callable[[], PolicySet],
    ) -> None:
        """`policies` gives the rules in force."""
        self._database = database
        self._cache = cache
        self._metrics = metrics
        self._new_id = new_id
        self._policies = policies

    async def run(self, stop: asyncio.Event) -> None:
        """Takes up what can be, and looks for feeds that have fallen silent, until `stop` is set."""
        await asyncio.gather(every(REPLAY_SECONDS, stop, self.sweep), every(SILENCE_SECONDS, stop, self.listen))

    async def mapped(self, *, skus: Sequence[str] = (), location_ids: Sequence[str] = ()) -> None:
        """Records what waited for these products or locations, which are committed; the rest is left to `sweep`."""
        try:
            await self._once(skus, location_ids)
        except NotReady:
            log.warning("what waited for a mapping is recorded a little later: the database is away")
        except Exception:
            # The mapping is committed and its caller must hear so; the sweep tries again what waited for it.
            log.exception("what waited for a mapping could not be recorded yet")

    async def sweep(self) -> None:
        """Records whatever can be recorded by now."""
        while await self._once() == quarantine.REPLAYED_AT_ONCE:
            pass

    async def listen(self) -> None:
        """Raises an exception for each feed that has fallen silent, and settles those of feeds that speak again."""
        policy_set = self._policies()

        async def work(connection: Connection) -> list[Raised]:
            return await feed_silence.check(connection, policy_set, self._new_id)

        incidents.count_raised(self._metrics, await self._database.transaction("listen", work))

    async def _once(self, skus: Sequence[str] = (), location_ids: Sequence[str] = ()) -> int:
        """One transaction; returns how many changes it looked at. Where its commit went unheard, nothing is left."""
        policy_set = self._policies()

        async def work(connection: Connection) -> tuple[int, list[Result], Doings | None]:
            changes, seen = await quarantine.due(connection, skus, location_ids)
            results: list[Result] = []
            doings = None
            if changes:
                results, doings = await stock_changes.record(
                    connection, changes, self._new_id, cache=self._cache, policy_set=policy_set
                )
            await self._settle(connection)
            return seen, results, doings

        seen, results, doings = await self._database.transaction("replay", work)
        stock_changes.count_results(self._metrics, results)
        if doings is not None:
            doings.count(self._metrics)
        return seen

    async def _settle(self, connection: Connection) -> None:
        """Settles what was open about products and locations that the catalogue has by now."""
        for kind, statement in _MAPPED.items():
            rows = await statement.rows(connection, kind=kind, count=SETTLED_AT_ONCE)
            subjects = [row["subject"] for row in rows]
            if subjects:
                await incidents.settle_all(
                    connection,
                    await levels.clock(connection),
                    kind,
                    subjects,
                    resolution="mapped",
                    description="The catalogue has it now.",
                    new_id=self._new_id,
                )
