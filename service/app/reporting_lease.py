"""Which of the services on a database reports its figures: the one that holds a lease, so that sums count them once.

The lease is a row that its holder renews, because poolers that pool transactions keep no lock of a session. Every
service computes the figures as before; one that gets the lease reports them at once.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Interval, Text, Uuid, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert

from service.background import every
from service.database.database import Connection, Database, Statement, parameter
from service.database.tables import lease
from service.errors import NotReady
from service.metrics import Metrics

LEASE_SECONDS = 10.0
"""How long a service reports after its last renewal. If it is killed, another one reports after at most this time and
RENEW_SECONDS more."""
RENEW_SECONDS = 3.0

_NAME = "metrics"
_insert = insert(lease).from_select(
    ["name", "holder", "expire_time"],
    select(
        parameter("name", Text),
        parameter("holder", Uuid),
        func.clock_timestamp() + parameter("duration", Interval),
    ),
)
_RENEW = Statement(
    _insert.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": _insert.excluded.holder, "expire_time": _insert.excluded.expire_time},
        where=or_(lease.c.holder == _insert.excluded.holder, lease.c.expire_time < func.clock_timestamp()),
    ).returning(literal_column("1"))
)


class ReportingLease:
    """Renews the lease of one service, or tries to get it, and reports the database's figures while it holds it."""

    def __init__(self, database: Database, metrics: Metrics, holder: UUID) -> None:
        self._database = database
        self._metrics = metrics
        self._holder = holder
        self._expiry: asyncio.TimerHandle | None = None
        metrics.report_database(is_reported=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Renews the lease until `stop` is set. A service that stops leaves it to expire."""
        await every(RENEW_SECONDS, stop, self.renew)
        self._expire()

    async def renew(self) -> None:
        """Tries to get or to renew the lease once."""
        began = asyncio.get_running_loop().time()
        try:
            is_held = await self._database.transaction("report_lease", self._renew)
        except NotReady:
            # The database has logged why it does not answer. The lease that is held ends in time without it.
            return
        if is_held:
            self._report_until(began + LEASE_SECONDS)
        else:
            self._expire()

    async def _renew(self, connection: Connection) -> bool:
        duration = timedelta(seconds=LEASE_SECONDS)
        return await _RENEW.row(connection, name=_NAME, holder=self._holder, duration=duration) is not None

    def _report_until(self, moment: float) -> None:
        """Reports until a moment of the event loop's clock: no later than another service may get the lease."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._metrics.report_database(is_reported=True)
        self._expiry = asyncio.get_running_loop().call_at(moment, self._expire)

    def _expire(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._metrics.report_database(is_reported=False)
