"""The tables that migrations make are those that the code declares, and data come through both ways."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import base as postgresql_base
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service.database import migrate
from service.database.database import plain_url, sqlalchemy_url
from service.database.tables import TransactionId, metadata


async def move(url: str, revision: str, *, down: bool = False) -> None:
    steps = command.downgrade if down else command.upgrade
    await asyncio.to_thread(steps, migrate.alembic_config(url), revision)


async def differences(url: str) -> list[Any]:
    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    engine = create_async_engine(sqlalchemy_url(url), poolclass=NullPool)
    async with engine.connect() as connection:
        found = await connection.run_sync(compare)
    await engine.dispose()
    return found


async def test_migrations_make_the_tables_that_the_code_declares(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLAlchemy knows no xid8 of its own.
    monkeypatch.setitem(postgresql_base.ischema_names, "xid8", TransactionId)

    assert await differences(database_url) == []


async def test_orders_and_figures_come_through_the_migration_and_back(empty_database_url: str) -> None:
    await move(empty_database_url, "0003")
    connection = await asyncpg.connect(plain_url(empty_database_url))
    try:
        await connection.execute(OLD_DATA)

        await move(empty_database_url, "head")
        level = await connection.fetchrow("SELECT tracked, version, unavailable FROM stock_level")
        by_reason = await connection.fetchrow("SELECT reason, unit_count FROM stock_unavailable")
        line = await connection.fetchrow("SELECT oversold, cancelled FROM order_line")
        raised = await connection.fetchrow("SELECT state, needs_person, resolution FROM exception")
        await move(empty_database_url, "0003", down=True)
        short = await connection.fetchrow("SELECT unit_count, cause FROM shortage")
    finally:
        await connection.close()

    assert tuple(level or ()) == (True, 0, 2)
    assert tuple(by_reason or ()) == ("other", 2)
    assert tuple(line or ()) == (3, 0)
    assert tuple(raised or ()) == ("open", True, None)
    assert tuple(short or ()) == (3, "race")


OLD_DATA = """
INSERT INTO location (id, type, status, display_name, tags, time_zone, offers_pickup, handling_minutes)
VALUES ('dc', 'warehouse', 'open', '', '{}', 'UTC', false, 0);
INSERT INTO product (sku, display_name, status, tags) VALUES ('MUG', '', 'active', '{}');
INSERT INTO stock_level (sku, location_id, on_hand, unavailable, allocated) VALUES ('MUG', 'dc', 5, 2, 2);
INSERT INTO allocation (id, channel_id, order_id, state, outcome, commitment, method, priority, tags)
VALUES ('00000000-0000-7000-8000-000000000001', 'web', 'A-1', 'confirmed', 'partly_allocated', 'sold', 'ship', 0, '{}');
INSERT INTO order_line (allocation_id, line_id, position, sku, unit_count)
VALUES ('00000000-0000-7000-8000-000000000001', '1', 0, 'MUG', 5);
INSERT INTO shipment (id, allocation_id, position, location_id, state)
VALUES ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 0, 'dc', 'assigned');
INSERT INTO promise (shipment_id, line_id, allocation_id, sku, location_id, state, unit_count)
VALUES ('00000000-0000-7000-8000-000000000002', '1', '00000000-0000-7000-8000-000000000001', 'MUG', 'dc', 'allocated',
        2);
INSERT INTO shortage (allocation_id, line_id, kind, sku, unit_count, cause)
VALUES ('00000000-0000-7000-8000-000000000001', '1', 'oversell', 'MUG', 3, 'race');
INSERT INTO exception (id, allocation_id, kind, state, description, policy_revision, create_time, owner, due_time,
                       action, rule)
VALUES ('00000000-0000-7000-8000-000000000003', '00000000-0000-7000-8000-000000000001', 'oversell', 'open', '', '',
        now(), 'operations', now(), 'review', 'built-in');
"""
