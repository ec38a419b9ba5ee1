"""All tables of the connectors."""

from __future__ import annotations

from dataclasses import dataclass

from service.channels.store.account_states import AccountStates
from service.channels.store.cursors import Cursors
from service.channels.store.inbox import Inbox
from service.channels.store.pool import Pool


@dataclass(frozen=True, slots=True)
class ConnectorStore:
    """The tables of the connectors in one database."""

    pool: Pool
    inbox: Inbox
    cursors: Cursors
    states: AccountStates

    @classmethod
    async def open(cls, url: str, *, connections: int = 8) -> ConnectorStore:
        """Opens the database. Raises Away."""
        pool = await Pool.open(url, connections=connections)
        return cls(pool, Inbox(pool), Cursors(pool), AccountStates(pool))

    async def close(self) -> None:
        """Closes the connections."""
        await self.pool.close()
