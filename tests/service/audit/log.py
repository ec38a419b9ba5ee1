"""What tests of the audit log share: its events as they are stored, and its check."""

from __future__ import annotations

import asyncpg

from service.audit import audit_check
from service.audit.audit_check import AuditReport
from service.audit.seal_store import ChainEnd
from service.audit.signing import PublicKeys
from service.database.database import plain_url
from tests.retailer import Retailer, eventually

NO_KEYS = PublicKeys()


async def events(shop: Retailer, entity_id: str) -> list[asyncpg.Record]:
    """The events of one thing, oldest first."""
    return await shop.sql("SELECT * FROM audit_event WHERE entity_id = $1 ORDER BY id", entity_id)


async def all_sealed(shop: Retailer) -> None:
    """Waits until every event is sealed."""

    async def none_waits() -> bool:
        return await shop.sql("SELECT 1 FROM audit_unsealed LIMIT 1") == []

    await eventually(none_waits)


async def checked(url: str, keys: PublicKeys = NO_KEYS, known: ChainEnd | None = None) -> AuditReport:
    """What a check of the database's audit log finds."""
    connection = await asyncpg.connect(plain_url(url))
    try:
        return await audit_check.check(connection, keys, known=known)
    finally:
        await connection.close()
