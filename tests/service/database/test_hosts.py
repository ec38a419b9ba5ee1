"""Of several hosts of the database, the one that the URL asks for is used, and one that is away holds up nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from service.app.application import running
from service.app.listening import StartError
from service.channels.errors import Away
from service.channels.store.pool import Pool
from service.database import connection_pool
from service.database.database import Connection, Database, single_connection
from service.database.hosts import Hosts, NoHost
from service.metrics import Metrics
from service.settings import Settings, database_hosts
from tests.conftest import PLAIN_RULES, service_settings
from tests.server_socket import options_of


def url_of(database_url: str, *hosts: tuple[str, int], target: str = "read-write") -> str:
    """The embedded database behind other hosts that are asked before it."""
    plain, options = database_url.partition("?")[0], options_of(database_url)
    names = ",".join([*(quote(host, safe="") for host, _ in hosts), quote(options["host"], safe="")])
    ports = ",".join([*(str(port) for _, port in hosts), options["port"]])
    passfile = quote(options["passfile"], safe="")
    return f"{plain}?host={names}&port={ports}&passfile={passfile}&target_session_attrs={target}"


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """A host that takes connections and never answers, as one whose disk hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "127.0.0.1", server.getsockname()[1]


@pytest.fixture
def closed() -> tuple[str, int]:
    """A host on which no PostgreSQL runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return "127.0.0.1", free.getsockname()[1]


async def opened(url: str) -> Database:
    return await Database.open(url, Metrics(CollectorRegistry()), connections=2)


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ("postgresql://shop@db1,db2:5433/shop", [("db1", 5432), ("db2", 5433)]),
        ("postgresql://shop:a%2Cb@[::1]:5433,[::2]/shop", [("::1", 5433), ("::2", 5432)]),
        ("postgresql:///shop?host=db1,db2&port=6432", [("db1", 6432), ("db2", 6432)]),
        ("postgresql:///shop?host=/run/a,/run/b&port=1,2", [("/run/a", 1), ("/run/b", 2)]),
        ("postgresql://shop@db1:5433/shop", []),
        ("postgresql:///shop", []),
    ],
)
def test_hosts_are_listed_with_their_ports_as_in_libpq(given: str, hosts: list[tuple[str, int]]) -> None:
    assert database_hosts(given) == hosts


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("postgresql://u:secret@db1,,db3/shop", "lists 3 hosts, of which number 2 is empty"),
        (
            "postgresql://u:secret@db1,db2:/shop",
            "number 2 has no port after its colon; write them such as db1:5432,db2",
        ),
        ("postgresql://u:secret@db1:0,db2/shop", "number 1 has no port after its colon"),
        ("postgresql://u:secret@/shop?host=a,b,c&port=1,2", "has 2 ports for 3 hosts; give each host its port"),
        ("postgresql://u:secret@a,b/shop?target_session_attrs=master", "than any, read-write, read-only, primary"),
    ],
)
def test_a_malformed_list_of_hosts_is_refused_with_what_is_wrong(given: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        Settings(database_url=given)

    assert "secret" not in str(refused.value)


def test_of_several_hosts_the_one_that_takes_writes_is_meant_where_the_url_does_not_say() -> None:
    assert Hosts("postgresql://db1,db2/shop").target == "read-write"
    assert Hosts("postgresql://db1/shop").target == "any"


async def test_a_host_that_does_not_answer_holds_up_no_connection(
    database_url: str, silent: tuple[str, int], closed: tuple[str, int]
) -> None:
    async with asyncio.timeout(8), single_connection(url_of(database_url, silent, closed)) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_the_host_that_served_last_is_asked_first(database_url: str, silent: tuple[str, int]) -> None:
    hosts, asked = Hosts(url_of(database_url, silent)), []

    async def open_one(url: str, **options: Any) -> Connection:
        asked.append(options["host"])
        return await asyncpg.connect(url, **options)

    for _ in range(2):
        await (await hosts.connect(open_one)).close()

    assert asked == ["127.0.0.1", options_of(database_url)["host"], options_of(database_url)["host"]]


async def test_a_server_that_did_not_answer_a_statement_in_time_is_asked_last(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two names of one server stand for a primary whose commits wait for ever, and for its successor."""
    monkeypatch.setattr(connection_pool, "STATEMENT_SECONDS", 0.2)
    options = options_of(database_url)
    folder = f"{options['host']}/."
    database = await opened(url_of(database_url, (folder, int(options["port"]))))
    addresses = []

    async def wait_the_first_time(connection: Connection) -> None:
        addresses.append(connection._addr)
        if len(addresses) == 1:
            await connection.execute("SELECT pg_sleep(60)")

    await database.transaction("test", wait_the_first_time)
    await database.transaction("test", wait_the_first_time)
    await database.close()

    first, *following = [address.partition("/.s.PGSQL.")[0] for address in addresses]
    assert first == folder
    assert following == [options["host"]] * 2


async def test_without_any_host_the_error_says_of_each_why_not(database_url: str, closed: tuple[str, int]) -> None:
    with pytest.raises(
        NoHost, match=r"none of 2 hosts can be used now \(127.*Connect call failed.*not what target_session_attrs=stan"
    ):
        await Hosts(url_of(database_url, closed, target="standby")).connect()


async def test_one_host_that_is_not_what_the_url_asks_for_is_refused(database_url: str) -> None:
    """As the name of a managed database is, while it still leads to the former primary."""
    with pytest.raises(ConnectionError, match="not what target_session_attrs=standby asks for"):
        await Hosts(f"{database_url}&target_session_attrs=standby").connect()


async def test_a_standby_is_preferred_but_not_needed_where_the_url_prefers_one(
    database_url: str, closed: tuple[str, int]
) -> None:
    connection = await Hosts(url_of(database_url, closed, target="prefer-standby")).connect()

    assert not await connection.fetchval("SELECT pg_is_in_recovery()")
    await connection.close()


async def test_a_wrong_password_is_named_though_another_host_is_away(
    database_url: str, closed: tuple[str, int]
) -> None:
    url = url_of(database_url, closed).replace("//truestock@", "//truestock:wrong@")

    with pytest.raises(asyncpg.InvalidPasswordError, match="password authentication failed"):
        await Hosts(url).connect()


async def test_a_connection_to_a_server_that_takes_no_writes_any_more_is_given_up(database_url: str) -> None:
    """As if its server were a standby now: the write of the same call goes to another connection."""
    database = await opened(database_url)

    async def write(connection: Connection) -> None:
        await connection.execute("CREATE TABLE written ()")

    async with database.session("test") as connection:
        await connection.execute("SET default_transaction_read_only = on")
    await database.transaction("test", write)

    await database.close()


async def test_connectors_give_such_a_connection_up_too(database_url: str, closed: tuple[str, int]) -> None:
    pool = await Pool.open(url_of(database_url, closed), connections=1)
    [before] = await pool.rows("SELECT pg_backend_pid()")

    async def write_as_on_a_standby() -> None:
        async with pool.transaction() as connection:
            await connection.execute("SET TRANSACTION READ ONLY")
            await connection.execute("CREATE TABLE written ()")

    with pytest.raises(Away, match="read-only transaction"):
        await write_as_on_a_standby()

    assert await pool.rows("SELECT pg_backend_pid()") != [before]
    await pool.close()


async def test_a_service_does_not_start_on_a_database_that_takes_no_writes(database_url: str) -> None:
    async with single_connection(database_url) as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    with pytest.raises(StartError, match="takes no writes: it is a standby, or read-only by its settings"):
        async with running(service_settings(database_url, PLAIN_RULES)):
            pass
