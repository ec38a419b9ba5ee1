"""What a service reads from a replica that is no replica: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.app.application import running
from service.app.wiring import new_id
from service.channels.truestock_calls import FROM_DATABASE
from service.database.database import Database
from service.metrics import Metrics
from service.replica import heartbeat
from service.replica.reads import DATABASE, READ_FROM
from service.settings import Settings
from tests.conftest import PLAIN_RULES, service_settings, service_url
from tests.retailer import Retailer, eventually


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(service_url(database_url), Metrics(CollectorRegistry()), connections=2)
    yield database
    await database.close()


async def test_a_server_that_is_no_replica_is_not_read_from_and_the_database_answers(
    database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = service_settings(database_url, PLAIN_RULES).model_copy(
        update={"read_database_url": service_url(database_url), "read_max_lag_seconds": 0.5}
    )
    async with running(settings) as service, Retailer.connect(service, database_url) as shop:
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 3})

        async def is_looked_at() -> bool:
            return shop.metric("replica_lag_seconds") > 0

        await eventually(is_looked_at)
        sellable = await shop.sellable("MUG")

    assert sellable == 3
    assert shop.metric("replica_up") == 0
    assert shop.metric("replica_reads_total", answered_by="replica") == 0
    assert shop.metric("replica_reads_total", answered_by="database") == 1
    # Another test of this process may have sent the log to the other stream.
    assert "it is no replica, or has been promoted" in "".join(capfd.readouterr())


async def test_a_service_without_a_replica_has_no_metric_of_one(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3})
    await retailer.sellable("MUG")

    families = [family for family in retailer.service.metrics.registry.collect() if "replica" in family.name]
    assert [family.name for family in families if family.samples] == []


async def test_numbers_of_a_reader_rise_and_are_seen_by_it_alone(database: Database) -> None:
    reader, other = new_id(), new_id()
    numbers = [await database.transaction("beat", lambda c: heartbeat.beat(c, reader)) for _ in range(3)]
    seen = [await database.unlocked("seen", partial(heartbeat.sighting, reader=id)) for id in (reader, other)]

    assert numbers == [1, 2, 3]
    assert [(x.number, x.is_replica) for x in seen] == [(3, False), (0, False)]


async def test_the_number_of_a_reader_that_ended_yesterday_is_deleted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = new_id()
    await database.transaction("beat", lambda c: heartbeat.beat(c, reader))
    await database.transaction("purge", heartbeat.purge)
    kept = await database.unlocked("seen", lambda c: heartbeat.sighting(c, reader))
    monkeypatch.setattr(heartbeat, "KEPT", timedelta(0))
    await database.transaction("purge", heartbeat.purge)
    purged = await database.unlocked("seen", lambda c: heartbeat.sighting(c, reader))

    assert [kept.number, purged.number] == [1, 0]


def test_a_replica_of_the_embedded_database_is_refused() -> None:
    with pytest.raises(ValueError, match="read_database_url names a replica of database_url, which is not given"):
        Settings(read_database_url="postgresql://me@two/truestock", database_url=None)


def test_the_url_of_a_replica_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://me:secret@two/shop\n")
    primary = "postgresql://me@one/shop"

    settings = Settings(database_url=primary, read_database_url_file=tmp_path / "url")

    assert (settings.database_url, settings.read_database_url) == (primary, "postgresql://me:secret@two/shop")
    assert "secret" not in repr(settings)
    with pytest.raises(ValueError, match="read_database_url and read_database_url_file both name a database"):
        Settings(database_url=primary, read_database_url=primary, read_database_url_file=tmp_path / "url")
    with pytest.raises(ValueError, match=r"read_database_url_file .*none cannot be read: No such file"):
        Settings(database_url=primary, read_database_url_file=tmp_path / "none")


def test_connectors_ask_the_database_for_what_an_order_depends_on() -> None:
    assert FROM_DATABASE == ((READ_FROM, DATABASE),)


def test_one_replica_is_named_because_only_one_is_watched() -> None:
    with pytest.raises(ValueError, match="read_database_url lists several servers; name one replica"):
        Settings(read_database_url="postgresql://me@two,three/shop", database_url="postgresql://me@one/shop")
