"""Events of any number of services are each sealed once, in one chain, and a killed service loses none."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from prometheus_client import CollectorRegistry

from service.app.wiring import new_id
from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.audit.sealer import Sealer
from service.database.database import Connection, Database
from service.metrics import Metrics
from tests.conftest import PLAIN_RULES, REPOSITORY, RetailerMaker, _addresses_of
from tests.service.audit.log import all_sealed, checked
from truestock.v1 import catalog_service_pb2 as catalog_pb
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[Database, Sealer]]:
    """A service's connections, and its sealer."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(url, metrics, connections=6)
    try:
        yield database, Sealer(database, metrics, new_id())
    finally:
        await database.close()


async def write(database: Database, name: str, before_commit: asyncio.Event | None = None) -> None:
    async def work(connection: Connection) -> None:
        await audit_log.record(connection, [AuditedChange("catalog", "product", name, "created", None, {})])
        if before_commit is not None:
            await before_commit.wait()

    await database.transaction("write", work)


async def waiting(database: Database) -> int:
    rows = await database.unlocked("test", lambda connection: connection.fetch("SELECT 1 FROM audit_unsealed"))
    return len(rows)


async def test_events_of_concurrent_writers_on_two_services_are_each_sealed_once(database_url: str) -> None:
    async with opened(database_url) as (first, first_sealer), opened(database_url) as (second, second_sealer):
        commit = asyncio.Event()
        late = asyncio.ensure_future(write(first, "late", commit))

        async def seal_until_written() -> None:
            while not written.done():
                await asyncio.gather(first_sealer.seal(), second_sealer.seal())

        written = asyncio.gather(*(write((first, second)[n % 2], f"MUG-{n}") for n in range(100)))
        await asyncio.gather(written, seal_until_written())
        # Its number is lower than those of events that are sealed already.
        commit.set()
        await late
        for _ in range(2):
            await asyncio.gather(first_sealer.seal(), second_sealer.seal())
        left = await waiting(first)
    report = await checked(database_url)

    assert (report.problem, report.event_count, left) == ("", 101, 0)


async def test_another_service_seals_once_the_lease_of_a_killed_one_has_ended(database_url: str) -> None:
    async with opened(database_url) as (first, killed), opened(database_url) as (_, other):
        await write(first, "MUG")
        await killed.seal()
        await write(first, "CUP")
        await other.seal()
        during = await waiting(first)
        ended = "UPDATE lease SET expire_time = clock_timestamp() - interval '1 second' WHERE name = 'audit seals'"
        await first.transaction("test", lambda connection: connection.execute(ended))
        await other.seal()
        after = await waiting(first)

    assert (during, after) == (1, 0)
    assert (await checked(database_url)).event_count == 2


@pytest.mark.long
async def test_a_service_that_is_killed_before_it_seals_loses_no_event(
    database_url: str, retailers: RetailerMaker
) -> None:
    names: list[str] = []
    process = await asyncio.to_thread(
        subprocess.Popen,
        [
            *(sys.executable, "-m", "service", "serve", "--database-url", database_url, "--rules", str(PLAIN_RULES)),
            *("--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TRUESTOCK_LOG_CALLS_PER_SECOND": "0"},
        text=True,
        cwd=REPOSITORY,
    )
    try:
        addresses = await asyncio.to_thread(_addresses_of, process)
        async with grpc.aio.insecure_channel(addresses.grpc) as channel:
            for number in range(200):
                location = catalog_pb.Location(location_id=f"store-{number}", type=catalog_pb.Location.TYPE_STORE)
                await CatalogServiceStub(channel).UpsertLocations(
                    catalog_pb.UpsertLocationsRequest(locations=[location])
                )
                names.append(location.location_id)
            process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)
    killed = await checked(database_url)
    survivor = await retailers.make()
    await all_sealed(survivor)
    whole = await checked(database_url, known=killed.end)
    written = await survivor.sql("SELECT entity_id FROM audit_event WHERE entity = 'location'")

    assert (killed.problem, whole.problem) == ("", "")
    assert killed.unsealed_count > 0
    assert {row["entity_id"] for row in written} == set(names)
    assert whole.event_count > killed.event_count + killed.unsealed_count
