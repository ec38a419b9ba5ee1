"""Migrations create the tables that the code declares, and keep data in both directions."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import base as postgresql_base
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service.database import migrate
from service.database.compression import compressed
from service.database.database import plain_url
from service.database.tables import TransactionId, metadata
from service.decisions.decision_batch import ID_PREFIX, packed
from truestock.v1 import decision_pb2


async def migrate_to(url: str, revision: str, *, down: bool = False) -> None:
    steps = command.downgrade if down else command.upgrade
    await asyncio.to_thread(steps, migrate.alembic_config(url), revision)


async def differences(url: str) -> list[Any]:
    def compare(connection: Connection) -> list[Any]:
        # Partitions of a table are not declared: the service makes one for each month.
        partitions = set(connection.execute(text("SELECT inhrelid::regclass::text FROM pg_inherits")).scalars())
        opts = {"compare_type": True, "include_object": lambda _, name, *__: name not in partitions}
        context = MigrationContext.configure(connection, opts=opts)
        return list(compare_metadata(context, metadata))

    connect = partial(asyncpg.connect, url)
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    async with engine.connect() as connection:
        changes = await connection.run_sync(compare)
    await engine.dispose()
    return changes


async def test_migrations_create_the_tables_that_the_code_declares(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLAlchemy does not know the type xid8.
    monkeypatch.setitem(postgresql_base.ischema_names, "xid8", TransactionId)

    assert await differences(database_url) == []


async def test_orders_and_stock_survive_the_migration_and_the_downgrade(empty_database_url: str) -> None:
    await migrate_to(empty_database_url, "0003")
    connection = await asyncpg.connect(plain_url(empty_database_url))
    try:
        await connection.execute(OLD_DATA)

        await migrate_to(empty_database_url, "head")
        level = await connection.fetchrow("SELECT tracked, version, unavailable FROM stock_level")
        unavailable = await connection.fetchrow("SELECT reason, unit_count FROM stock_unavailable")
        line = await connection.fetchrow("SELECT oversold, cancelled FROM order_line")
        exception = await connection.fetchrow("SELECT state, needs_person, resolution FROM exception")
        outcomes = await connection.fetch("SELECT outcome FROM allocation ORDER BY order_id")
        await migrate_to(empty_database_url, "0003", down=True)
        shortage = await connection.fetchrow("SELECT unit_count, cause FROM shortage")
    finally:
        await connection.close()

    assert tuple(level or ()) == (True, 0, 2)
    assert tuple(unavailable or ()) == ("other", 2)
    assert tuple(line or ()) == (3, 0)
    assert tuple(exception or ()) == ("open", True, None)
    assert [row["outcome"] for row in outcomes] == ["partly_allocated", "ended"]
    assert tuple(shortage or ()) == (3, "race")


async def test_what_counts_have_shown_survives_the_migration_and_the_downgrade(empty_database_url: str) -> None:
    await migrate_to(empty_database_url, "0018")
    connection = await asyncpg.connect(plain_url(empty_database_url))
    try:
        await connection.execute(COUNTED_DATA)
        await migrate_to(empty_database_url, "0019")
        levels = await connection.fetch(
            "SELECT movements_since_count, not_found_since_count, count_errors FROM stock_level ORDER BY sku"
        )
        await migrate_to(empty_database_url, "0018", down=True)
        confidences = await connection.fetch("SELECT count_confidence FROM stock_level ORDER BY sku")
    finally:
        await connection.close()

    # Since the count of BOWL one unit was sold and two were received; MUG was wrong in one count and never counted.
    assert [(row[0], row[1], round(row[2], 9)) for row in levels] == [(2, 0, 0), (0, 0, 1)]
    assert [row[0] for row in confidences] == [None, pytest.approx(0.7)]


async def test_decisions_survive_their_partition_by_month_and_the_downgrade(empty_database_url: str) -> None:
    old, other, shared = (UUID(int=id) for id in (0x0190A6A2_7A3C_7C1E_9D7E_0242AC120002, 2**127 + 7, 7))
    await migrate_to(empty_database_url, "0022")
    connection = await asyncpg.connect(plain_url(empty_database_url))
    try:
        await connection.execute(OLD_ORDER)
        for id in (old, other):
            await connection.execute(INSERT_DECISION, id)
        await migrate_to(empty_database_url, "0023")
        places = await connection.fetch("SELECT id, tableoid::regclass::text AS partition FROM decision")
        # A decision as it is stored now: alone with a destination, and with the second explanation of a batch.
        await connection.execute("UPDATE decision SET destination = $2 WHERE id = $1", other, b"d" * 200)
        await connection.execute(
            "INSERT INTO decision_batch (id, policy_revision, software_version, explanations, parts)"
            " VALUES ($1, 'rules', 'new', $2, '')",
            shared,
            packed([b"first", b"second"]),
        )
        await connection.execute(
            "INSERT INTO decision (id, allocation_id, create_time, batch_id, inputs, reference)"
            " VALUES ($1, '00000000-0000-7000-8000-000000000001', now(), $1, 'order', $2)",
            shared,
            struct.pack("<2i", 1, 0),
        )
        await migrate_to(empty_database_url, "0022", down=True)
        rows = {r["id"]: r for r in await connection.fetch("SELECT * FROM decision")}
    finally:
        await connection.close()

    order = decision_pb2.DecisionInputs(order=decision_pb2.OrderInput(channel_id="web"))
    assert {r["id"]: r["partition"] for r in places} == {old: "decision_first", other: "decision_default"}
    assert (rows[old]["explanation"], rows[old]["inputs"]) == (b"why", order.SerializeToString())
    assert rows[other]["inputs"] == order.SerializeToString() + b"\x0a\xcb\x01\x32\xc8\x01" + b"d" * 200
    assert (rows[shared]["policy_revision"], rows[shared]["inputs"]) == ("rules", None)
    assert rows[shared]["explanation"] == ID_PREFIX + str(shared).encode() + b"second"


async def test_compressed_values_are_restored_by_the_downgrade(empty_database_url: str) -> None:
    await migrate_to(empty_database_url, "head")
    connection = await asyncpg.connect(plain_url(empty_database_url))
    try:
        await connection.execute(
            "INSERT INTO request (id, method, content, answer) VALUES ($1, '', '', $2), ($3, '', '', 'plain')",
            *(UUID(int=1), compressed(b"answer " * 99), UUID(int=2)),
        )
        await connection.execute(
            "INSERT INTO decision (id, allocation_id, create_time, inputs) VALUES ($1, $1, now(), $2)",
            *(UUID(int=3), compressed(b"inputs " * 99)),
        )
        await migrate_to(empty_database_url, "0025", down=True)
        answers = await connection.fetch("SELECT answer FROM request ORDER BY id")
        inputs = await connection.fetchval("SELECT inputs FROM decision")
    finally:
        await connection.close()

    assert [row["answer"] for row in answers] == [b"answer " * 99, b"plain"]
    assert inputs == b"inputs " * 99


OLD_ORDER = """
INSERT INTO allocation (id, channel_id, order_id, state, outcome, commitment, method, tags)
VALUES ('00000000-0000-7000-8000-000000000001', 'web', 'A-1', 'confirmed', 'allocated', 'sold', 'ship', '{}')
"""
INSERT_DECISION = """
INSERT INTO decision (id, allocation_id, policy_revision, software_version, explanation, inputs, create_time)
VALUES ($1, '00000000-0000-7000-8000-000000000001', 'rules', 'old', 'why', '\\x0a050a03776562', now())
"""

COUNTED_DATA = """
INSERT INTO location (id, type, status, display_name, tags, time_zone, offers_pickup, handling_minutes)
VALUES ('dc', 'warehouse', 'open', '', '{}', 'UTC', false, 0);
INSERT INTO product (sku, display_name, status, tags)
VALUES ('MUG', '', 'active', '{}'), ('BOWL', '', 'active', '{}');
INSERT INTO stock_level (sku, location_id, on_hand, count_confidence, physical_count_time)
VALUES ('MUG', 'dc', 5, 0.7, NULL), ('BOWL', 'dc', 5, NULL, '2026-11-20T09:00Z');
INSERT INTO stock_movement (id, sku, location_id, kind, result, on_hand_delta, unavailable_delta, held_delta,
    allocated_delta, source, effective_time, ingest_time)
VALUES
    (gen_random_uuid(), 'BOWL', 'dc', 'counted', 'accepted', 4, 0, 0, 0, 'anna', '2026-11-20T09:00Z', now()),
    (gen_random_uuid(), 'BOWL', 'dc', 'sold', 'absorbed', 0, 0, 0, 0, 'till', '2026-11-20T08:00Z', now()),
    (gen_random_uuid(), 'BOWL', 'dc', 'sold', 'accepted', -1, 0, 0, 0, 'till', '2026-11-20T10:00Z', now()),
    (gen_random_uuid(), 'BOWL', 'dc', 'held', 'accepted', 0, 0, 1, 0, 'orders', '2026-11-20T11:00Z', now()),
    (gen_random_uuid(), 'BOWL', 'dc', 'lost', 'accepted', -1, 0, 0, 0, 'till', '2026-11-20T11:00Z', now()),
    (gen_random_uuid(), 'BOWL', 'dc', 'received', 'accepted', 2, 0, 0, 0, 'till', '2026-11-20T12:00Z', now()),
    (gen_random_uuid(), 'MUG', 'dc', 'sold', 'accepted', -1, 0, 0, 0, 'till', '2026-11-20T10:00Z', now());
"""

OLD_DATA = """
INSERT INTO location (id, type, status, display_name, tags, time_zone, offers_pickup, handling_minutes)
VALUES ('dc', 'warehouse', 'open', '', '{}', 'UTC', false, 0);
INSERT INTO product (sku, display_name, status, tags) VALUES ('MUG', '', 'active', '{}');
INSERT INTO stock_level (sku, location_id, on_hand, unavailable, allocated) VALUES ('MUG', 'dc', 5, 2, 2);
INSERT INTO allocation (id, channel_id, order_id, state, outcome, commitment, method, priority, tags)
VALUES ('00000000-0000-7000-8000-000000000001', 'web', 'A-1', 'confirmed', 'partly_allocated', 'sold', 'ship', 0, '{}'),
       ('00000000-0000-7000-8000-000000000004', 'web', 'A-2', 'cancelled', 'allocated', 'sold', 'ship', 0, '{}');
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


async def test_a_version_serves_a_database_that_a_later_one_migrated_as_long_as_that_one_allows_it(
    database_url: str,
) -> None:
    connection = await asyncpg.connect(plain_url(database_url))
    own = migrate.newest_revision()
    schemas = []
    for since in (own, "9998"):
        await connection.execute("UPDATE alembic_version SET version_num = '9999', serves_since = $1", since)
        schemas.append(await migrate.schema(database_url))
    await connection.close()

    assert [(schema.is_later, schema.is_served) for schema in schemas] == [(True, True), (True, False)]


async def test_a_migrated_database_says_which_versions_may_serve_it(database_url: str) -> None:
    schema = await migrate.schema(database_url)

    assert schema == migrate.Schema(migrate.newest_revision(), migrate.SERVES_SINCE)
    assert schema.is_served
    assert not schema.is_later


async def test_a_migration_waits_for_calls_only_for_moments_and_is_tried_again(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.05)
    await migrate_to(empty_database_url, "0064")
    call = await asyncpg.connect(plain_url(empty_database_url))
    attempts = []
    once = migrate._migrate_once

    async def counted(*arguments: Any) -> None:
        attempts.append(arguments)
        if len(attempts) == 3:
            await call.close()
        await once(*arguments)

    monkeypatch.setattr(migrate, "_migrate_once", counted)
    transaction = call.transaction()
    await transaction.start()
    await call.execute("LOCK TABLE allocation IN ACCESS SHARE MODE")

    assert await migrate.migrate(empty_database_url) == migrate.newest_revision()
    assert len(attempts) == 3
