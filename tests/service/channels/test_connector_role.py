"""The role of the connectors in the database owns its own tables and reads nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from service.channels.adapter import Delivery, Hint
from service.channels.store import schema
from service.channels.store.connector_store import ConnectorStore

ROLE = "connectors_of_a_test"


async def test_a_role_that_owns_only_the_connectors_schema_can_migrate_and_work_and_sees_no_order(
    database_url: str,
) -> None:
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(
            f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'; CREATE SCHEMA {schema.SCHEMA} AUTHORIZATION {ROLE}"
        )
        parts = urlsplit(database_url)
        url = urlunsplit(parts._replace(netloc=f"{ROLE}:{ROLE}@{parts.netloc.rpartition('@')[2]}"))
        await schema.migrate(url)
        await schema.migrate(url)
        store = await ConnectorStore.open(url, connections=1)
        await store.inbox.accept("shop", [Delivery("1", "orders", (Hint("order", "A", datetime.now(UTC)),))])
        claims = await store.inbox.claim("shop", "order", 10)
        await store.close()
        may_read = await owner.fetchval(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            " AND has_table_privilege($1, format('%I.%I', schemaname, tablename), 'SELECT')",
            ROLE,
        )
    finally:
        await owner.execute(f"DROP OWNED BY {ROLE} CASCADE; DROP ROLE {ROLE}")
        await owner.close()

    assert [claim.entity_id for claim in claims] == ["A"]
    assert may_read == 0
