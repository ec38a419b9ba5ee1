"""An upgrade without a pause: the version before and this one serve one database while it is migrated.

The version before is a commit of this repository, built in an environment of its own.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from bench.compare.revision import RevisionError, Tree, build, find_commit
from service.database import migrate
from tests.acceptance.test_many_servers import ORDERS_BETWEEN, SKUS, STOCK
from tests.retailer import Retailer
from tests.server_processes import ServerProcess, server_processes
from tests.steady_shoppers import Shoppers, check_each_order_is_there_once
from truestock.v1 import order_pb2

pytestmark = [pytest.mark.database, pytest.mark.long]

VERSION_BEFORE = "74b4e47e"
"""Its schema is `migrate.SERVES_SINCE`. Both move to a later commit once no release before that is in use."""
DESTINATION = order_pb2.Destination(country="US", region="TX", postal_code="78701")
REPLAYED = 10


def version_before() -> Tree:
    """The version before this one. Where its commit is missing, as in a shallow clone, the test is skipped by name."""
    try:
        return build(find_commit(VERSION_BEFORE))
    except RevisionError as error:
        if os.environ.get("VERSION_BEFORE") == "required":
            raise
        pytest.skip(f"the version before is not here: {error}")


def test_the_version_before_has_the_schema_since_which_versions_serve() -> None:
    migrations = version_before().folder / "service" / "database" / "migrations" / "versions"

    assert max(path.name[:4] for path in migrations.glob("[0-9]*.py")) == migrate.SERVES_SINCE


async def test_two_versions_serve_one_database_while_it_is_migrated(empty_database_url: str) -> None:
    """Each repeats and cancels orders of the other; nothing is lost or doubled, and no personal data overlooked."""
    tree = await asyncio.to_thread(version_before)
    url = empty_database_url
    before = [ServerProcess(url, python=tree.python, folder=tree.folder, is_owner=True) for _ in range(2)]
    await asyncio.to_thread(before[0].migrate)
    with server_processes(*before) as (first, second):
        async with (
            Retailer.connect_to_process(first.address, url) as shop,
            Shoppers.connect([first.address, second.address], 3, destination=DESTINATION) as shoppers,
        ):
            await shop.set_up()
            await shop.stock(STOCK)
            stop = asyncio.Event()
            working = asyncio.gather(shoppers.order(stop, SKUS), shoppers.receive(stop, STOCK))
            await shoppers.more_orders(ORDERS_BETWEEN)
            assert (await migrate.schema(url)).revision == migrate.SERVES_SINCE

            await migrate.migrate(url)
            await shoppers.more_orders(ORDERS_BETWEEN)
            await asyncio.to_thread(first.kill)
            await asyncio.to_thread(first.start_this_version)
            await shoppers.more_orders(ORDERS_BETWEEN)
            await shoppers.cancel(REPLAYED)
            await shoppers.ask_again()
            await asyncio.to_thread(second.stop)
            await asyncio.to_thread(second.start_this_version)
            await shoppers.more_orders(ORDERS_BETWEEN)
            stop.set()
            await working

            await shoppers.cancel(REPLAYED)
            await shoppers.ask_again()
            await check_each_order_is_there_once(shop, shoppers, STOCK)
            decisions = await shop.sql("SELECT id FROM decision ORDER BY id")
            for row in [*decisions[:REPLAYED], *decisions[-REPLAYED:]]:
                assert (await shop.replay(str(row["id"]))).identical
            assert await shop.sql("SELECT id FROM allocation WHERE NOT holds_personal_data") == []
