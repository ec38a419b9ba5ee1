"""A standby replaces a killed primary: service, commands and connectors follow, and no answered order is lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import grpc
import pytest

from service.app.application import running
from service.app.listening import StartError
from service.channels.store import schema
from service.channels.store.connector_store import ConnectorStore
from service.cli.commands import database_commands
from service.database.hosts import Hosts
from service.settings import Settings
from tests.conftest import PLAIN_RULES, service_settings
from tests.postgres_servers import ReplicatedPair, needs_postgresql, replicated_pair
from tests.retailer import SOLD, Retailer, eventually, order_request, refused, request_id
from tests.steady_shoppers import Shoppers, check_each_order_is_there_once

pytestmark = [pytest.mark.database, pytest.mark.long, needs_postgresql]

STOCK = {("MUG", "dc"): 10_000}
ORDERS = 30


@pytest.fixture
def pair() -> Iterator[ReplicatedPair]:
    with replicated_pair() as servers:
        yield servers


async def test_everything_follows_the_primary_and_no_answered_order_is_lost(pair: ReplicatedPair) -> None:
    url = pair.url()
    await asyncio.to_thread(database_commands.migrate_database, Settings(database_url=url))
    await schema.migrate(url)
    store = await ConnectorStore.open(url, connections=2)
    async with (
        running(service_settings(url, PLAIN_RULES)) as service,
        Retailer.connect(service, url) as shop,
        Shoppers.connect([service.address], 2) as shoppers,
    ):
        await shop.set_up()
        await shop.stock(STOCK)
        stop = asyncio.Event()
        working = asyncio.gather(shoppers.order(stop, ["MUG"]), shoppers.receive(stop, STOCK))
        await shoppers.more_orders(ORDERS)

        await asyncio.to_thread(pair.primary.kill)
        unanswered = await refused(shop.sellable("MUG"))
        await shoppers.repeats_one()
        await asyncio.to_thread(pair.standby.promote)

        await shoppers.more_orders(ORDERS)
        stop.set()
        await working
        await shoppers.ask_again()
        await check_each_order_is_there_once(shop, shoppers, STOCK)
        [row] = await store.pool.rows("SELECT pg_is_in_recovery() AS is_standby")
        assert not row["is_standby"]
    await store.close()
    ledger = await asyncio.to_thread(database_commands.verify_ledger, Settings(database_url=url))

    assert unanswered.code() is grpc.StatusCode.UNAVAILABLE
    assert ledger.balanced


async def test_an_order_is_not_answered_again_before_both_servers_have_it(pair: ReplicatedPair) -> None:
    """Its answer may have been lost just because the standby was away: then it is on one server alone."""
    url = pair.url()
    await asyncio.to_thread(database_commands.migrate_database, Settings(database_url=url))
    async with running(service_settings(url, PLAIN_RULES)) as service, Retailer.connect(service, url) as shop:
        await shop.set_up()
        await shop.stock(STOCK)
        order = order_request("A-1", {"MUG": 1}, SOLD, request_id=request_id())
        answer = await shop.allocations.AllocateOrder(order)
        await asyncio.to_thread(pair.standby.kill)

        late = await refused(shop.allocations.AllocateOrder(order, timeout=1))
        await asyncio.to_thread(pair.standby.start)
        repeated = await shop.allocations.AllocateOrder(order)

    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert repeated == answer


async def test_a_service_on_the_standby_alone_does_not_start(pair: ReplicatedPair) -> None:
    await asyncio.to_thread(database_commands.migrate_database, Settings(database_url=pair.url()))
    await eventually_has_tables(pair)

    with pytest.raises(StartError, match="target_session_attrs=read-write"):
        async with running(service_settings(pair.url(pair.standby), PLAIN_RULES)):
            pass


async def test_a_connection_to_a_machine_that_has_lost_its_power_ends(pair: ReplicatedPair) -> None:
    """No machine can be switched off here: the system's timers are what ends such a connection."""
    connection = await Hosts(pair.url()).connect()
    end = connection._transport.get_extra_info("socket")

    assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 8_000
    await connection.close()


async def eventually_has_tables(pair: ReplicatedPair) -> None:
    async def has_tables() -> bool:
        table = await asyncio.to_thread(pair.standby.sql, "SELECT to_regclass('alembic_version')", "shop")
        return bool(table)

    await eventually(has_tables)
