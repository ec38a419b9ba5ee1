"""A change of the audit log anywhere is found, whoever made it, and the first broken link is named."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from service.app.wiring import new_id
from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.audit.audit_monitor import AuditMonitor
from service.audit.sealer import Sealer
from service.audit.signing import PublicKeys, SigningKey
from service.candidates import candidate_store
from service.database.database import Connection, Database, plain_url
from service.metrics import Metrics
from tests.conftest import seeds, service_url
from tests.service.audit.log import checked

KEY = SigningKey(Ed25519PrivateKey.generate())
KEYS = PublicKeys((KEY.key.public_key(),))
EDITS = (
    "UPDATE audit_event SET {column} = coalesce({column}, '') || 'x' WHERE id = {id}",
    "UPDATE audit_event SET event_time = event_time + interval '1 microsecond' WHERE id = {id}",
    "DELETE FROM audit_event WHERE id = {id}",
    "UPDATE audit_event SET before = '{{}}' WHERE id = {id}",
    "UPDATE audit_event e SET after = o.after FROM audit_event o WHERE e.id = {id} AND o.id = {other}",
    "INSERT INTO audit_event (principal, credential, area, entity, entity_id, change) VALUES ('', '', '', '', '', '')",
    """UPDATE audit_seal SET event_id = -event_id WHERE event_id IN ({id}, {other});
    UPDATE audit_seal SET event_id = CASE -event_id WHEN {id} THEN {other} ELSE {id} END WHERE event_id < 0""",
    "UPDATE audit_seal SET hash = sha256(hash) WHERE event_id = {id}",
    "UPDATE audit_seal SET seal_time = seal_time - interval '1 second' WHERE event_id = {id}",
    "UPDATE audit_seal SET signature = sha512(hash) WHERE event_id = {id}",
    "UPDATE audit_seal SET signature = NULL",
    "DELETE FROM audit_seal WHERE event_id = {id}",
    "DELETE FROM audit_seal WHERE event_id = {id}; DELETE FROM audit_event WHERE id = {id}",
    "INSERT INTO audit_seal SELECT position + 99, event_id + 99, hash, seal_time FROM audit_seal WHERE event_id = {id}",
    "UPDATE audit_anchor SET event_time = event_time + interval '1 day'",
    "UPDATE audit_anchor SET anchor_time = anchor_time + interval '1 day'",
    "UPDATE audit_anchor SET position = position + 1",
    "UPDATE audit_anchor SET hash = sha256(hash)",
    "DELETE FROM audit_anchor",
    "DELETE FROM audit_anchor WHERE number = 1",
    """INSERT INTO audit_anchor SELECT number + 1, position + 3, hash, event_time, anchor_time, signature
    FROM audit_anchor ORDER BY number DESC LIMIT 1""",
    "INSERT INTO audit_unsealed VALUES (123456789)",
)
TEXTS = (
    "principal",
    "credential",
    "actor",
    "peer",
    "rpc",
    "request_id",
    "area",
    "entity",
    "entity_id",
    "change",
    "after",
)


async def write_events(database: Database, *names: str) -> None:
    async def work(connection: Connection) -> None:
        changes = [AuditedChange("catalog", "product", name, "created", None, {"name": name}) for name in names]
        await audit_log.record(connection, changes)

    await database.transaction("write", work)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.open(service_url(database_url), Metrics(CollectorRegistry()), connections=4)
    yield opened
    await opened.close()


def sealer_on(database: Database) -> Sealer:
    """Its events are old as soon as they are sealed."""
    return Sealer(database, Metrics(CollectorRegistry()), new_id(), signing_key=KEY, retention=timedelta())


async def edit(url: str, *statements: str) -> None:
    """Edits the log as the owner of its tables can."""
    connection = await asyncpg.connect(plain_url(url))
    try:
        for table in ("audit_event", "audit_seal", "audit_anchor"):
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_events_are_sealed_in_order_signed_and_found_whole(database: Database, database_url: str) -> None:
    sealer = sealer_on(database)
    await write_events(database, *(f"MUG-{number}" for number in range(40)))
    await sealer.seal()
    await write_events(database, "CUP")
    waiting = await checked(database_url, KEYS)
    await sealer.seal()
    report = await checked(database_url, KEYS, known=waiting.end)

    assert (waiting.problem, waiting.event_count, waiting.unsealed_count) == ("", 40, 1)
    assert (report.problem, report.event_count, report.unsealed_count) == ("", 41, 0)
    assert report.is_signed
    stranger = PublicKeys((Ed25519PrivateKey.generate().public_key(),))
    assert "signature that is not of a given key" in (await checked(database_url, stranger)).problem


async def test_a_log_without_a_key_is_whole_until_a_signature_is_asked_for(
    database: Database, database_url: str
) -> None:
    await write_events(database, "MUG")
    await Sealer(database, Metrics(CollectorRegistry()), new_id()).seal()

    assert (await checked(database_url)).problem == ""
    assert "is not signed" in (await checked(database_url, KEYS)).problem


async def test_a_cut_end_is_found_by_who_has_seen_it(database: Database, database_url: str) -> None:
    metrics = Metrics(CollectorRegistry())
    monitor = AuditMonitor(database, metrics)
    await write_events(database, "MUG", "CUP")
    await sealer_on(database).seal()
    seen = (await checked(database_url)).end
    await monitor.check()
    before = metrics.audit.broken._value.get()
    cut = "DELETE FROM audit_event WHERE id = 2", "DELETE FROM audit_seal WHERE position = 2"
    await edit(database_url, *cut)
    await monitor.check()

    assert (await checked(database_url)).problem == ""
    assert "the log was cut" in (await checked(database_url, known=seen)).problem
    assert (before, metrics.audit.broken._value.get()) == (0, 1)


@pytest.mark.parametrize("seed", seeds(3, of_long_tests=60))
async def test_a_random_edit_anywhere_is_found(seed: int, database: Database, database_url: str) -> None:
    chance = random.Random(seed)
    sealer = sealer_on(database)
    for batch in range(5):
        await write_events(database, *(f"{batch}-{number}" for number in range(chance.randint(1, 5))))
        await sealer.seal()
        if batch < 2:
            await sealer.purge()
    connection = await asyncpg.connect(plain_url(database_url))
    ids = [row["id"] for row in await connection.fetch("SELECT id FROM audit_event ORDER BY id")]
    await connection.close()
    whole = await checked(database_url, KEYS)
    chosen = chance.sample(ids, 2)
    statement = chance.choice(EDITS).format(id=chosen[0], other=chosen[1], column=chance.choice(TEXTS))
    await edit(database_url, statement)
    report = await checked(database_url, KEYS, known=whole.end)

    assert (whole.problem, whole.deleted_count > 0) == ("", True)
    assert report.problem, statement


async def test_old_events_leave_a_signed_anchor_and_the_rest_stays_whole(database: Database, database_url: str) -> None:
    sealer = sealer_on(database)
    await write_events(database, "MUG", "CUP")
    await sealer.seal()
    seen = (await checked(database_url, KEYS)).end
    young = Sealer(database, Metrics(CollectorRegistry()), new_id(), signing_key=KEY, retention=timedelta(days=1))
    await young.purge()
    kept = await checked(database_url, KEYS)
    await Sealer(database, Metrics(CollectorRegistry()), new_id(), retention=timedelta()).purge()
    unsigned = await checked(database_url, KEYS)
    await sealer.purge()
    await write_events(database, "BOWL")
    await sealer.seal()
    report = await checked(database_url, KEYS, known=seen)

    assert (kept.event_count, unsigned.event_count) == (2, 2)
    assert (report.problem, report.deleted_count, report.event_count) == ("", 2, 1)
    assert report.end.position == 3


async def test_nothing_is_deleted_that_no_anchor_covers(database: Database, database_url: str) -> None:
    await write_events(database, "MUG")
    await sealer_on(database).seal()
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        deleted = await connection.fetchval("SELECT audit_delete_anchored(10)")
    finally:
        await connection.close()

    assert deleted == 0
    assert (await checked(database_url, KEYS)).event_count == 1


async def test_a_temporary_table_does_not_stand_for_an_anchor(database: Database, database_url: str) -> None:
    await write_events(database, "MUG")
    await sealer_on(database).seal()
    connection = await asyncpg.connect(plain_url(database_url))
    try:
        await connection.execute("CREATE TEMP TABLE audit_anchor AS SELECT 100::bigint AS position")
        deleted = await connection.fetchval("SELECT audit_delete_anchored(10)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM audit_event")
    finally:
        await connection.close()

    assert deleted == 0


async def test_a_candidate_is_kept_in_the_log_when_it_is_new(database: Database) -> None:
    for _ in range(2):
        await candidate_store.keep(database, "0123456789abcdef", {"rules/a.yaml": b"kind: routing"})
    rows = await database.unlocked("test", lambda connection: connection.fetch("SELECT * FROM audit_event"))

    assert [(x["area"], x["entity"], x["entity_id"], x["change"]) for x in rows] == [
        ("policy", "policy_candidate", "0123456789abcdef", "created")
    ]
