"""Lets hours pass that nobody wants to wait for: moves times in the demo's own database back."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from service.database.database import plain_url


@dataclass(frozen=True, slots=True)
class PassedTime:
    """Hours that pass for one feed, one location or one order, and for nothing else."""

    database_url: str

    async def since_last_report(self, source: str, location_id: str, hours: int) -> None:
        """A feed and the figures of its location are as old as if it had reported nothing for some hours."""
        await self._move("feed SET ingest_time = ingest_time", "source = $1", source, hours)
        await self._move("stock_level SET as_of_time = as_of_time", "location_id = $1", location_id, hours)

    async def since_time_to_ship(self, allocation_id: str, hours: int) -> None:
        """The shipments of an order should have left some hours ago."""
        await self._move("shipment SET ship_by_time = clock_timestamp()", "allocation_id = $1", allocation_id, hours)

    async def _move(self, change: str, condition: str, value: str, hours: int) -> None:
        connection = await asyncpg.connect(plain_url(self.database_url))
        try:
            await connection.execute(f"UPDATE {change} - make_interval(hours => $2) WHERE {condition}", value, hours)
        finally:
            await connection.close()
