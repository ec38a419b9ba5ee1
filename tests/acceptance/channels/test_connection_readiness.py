"""What is broken between a shop and its connector turns its own question of readiness red, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.channels.connector_processes import Processes, processes
from tests.connector_site import PUBLIC_URL, until
from tests.fakes.square.merchant import SquareMerchant
from truestock.v1 import listing_pb2, outlet_pb2, readiness_service_pb2 as readiness_pb

ACCOUNT, CHANNEL = "square-us", "square"
OF_CONNECTORS = ("connector_", "connection_")
pytestmark = pytest.mark.long


async def answers(running: Processes) -> dict[str, Any]:
    """The answers about connectors, by question."""
    request = readiness_pb.CheckReadinessRequest(channel_id=CHANNEL)
    found = await running.retailer.readiness.CheckReadiness(request, timeout=60)
    return {x.question: x for x in found.answers if x.question.startswith(OF_CONNECTORS)}


async def red(running: Processes) -> set[str]:
    found = await answers(running)
    return {name for name, x in found.items() if x.result == readiness_pb.READINESS_RESULT_FAIL}


async def connect(running: Processes, *words: str, code: int = 0) -> None:
    await asyncio.to_thread(running.run, "connect", ACCOUNT, *words, code=code)


@asynccontextmanager
async def square(database_url: str, folder: Path) -> AsyncIterator[tuple[SquareMerchant, Processes]]:
    """A merchant whose application may look at its webhooks, and which subscribes them with the key of the account."""
    with SquareMerchant(seed=6).serving() as merchant:
        secrets = {"TEST_OWNER_TOKEN": merchant.tokens.personal_token}
        async with processes(database_url, folder, merchant, more_secrets=secrets) as running:
            file = folder / "channels.yaml"
            owner = "      personal_access_token: {env: TEST_OWNER_TOKEN}\n"
            file.write_text(file.read_text().replace("    returns:", f"{owner}    returns:"))
            running.subscribe()
            yield merchant, running


async def test_each_thing_that_breaks_turns_its_own_question_red(database_url: str, tmp_path: Path) -> None:
    async with square(database_url, tmp_path) as (merchant, running):
        # That each is green again once it is mended, the next one shows, which is red alone.
        office = merchant.books.add_location("Office")
        await connect(running)
        assert await red(running) == {"connection_outlets"}
        outlet = outlet_pb2.Outlet(channel_id=CHANNEL, outlet_id=office.id, location_id="dc")
        await running.retailer.locations("dc")
        await running.retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=[outlet]))

        bowl = merchant.books.add_variation("BOWL", {})
        await connect(running)
        broken = (await answers(running))["connection_items"]
        assert await red(running) == {"connection_items"}
        assert list(broken.details) == [f"{bowl.id} (BOWL)"]
        listing = listing_pb2.Listing(channel_id=CHANNEL, item_id=bowl.id, sku="MUG")
        await running.retailer.catalog.UpsertListings(listing_pb2.UpsertListingsRequest(listings=[listing]))

        merchant.tokens.scopes.remove("PAYMENTS_READ")
        await connect(running, code=1)
        assert await red(running) == {"connection_scopes"}
        merchant.tokens.scopes.append("PAYMENTS_READ")
        # Somebody made the subscription anew, so webhooks are signed with another key.
        merchant.unsubscribe()
        await connect(running, code=1)
        assert await red(running) == {"connection_webhooks"}
        merchant.unsubscribe()
        merchant.subscribe(f"{PUBLIC_URL}/webhooks/{ACCOUNT}", leads_to=_webhooks_of(running))
        await connect(running)
        assert await red(running) == set()

        merchant.revoke()
        assert await until(lambda: red(running), "a red question") == {"connection_authorized"}
        merchant.tokens.authorized = True
        await connect(running, "--code", merchant.tokens.code)

        running.replicas[0].kill()
        await running.retailer.sql("UPDATE channel_connection SET report_time = report_time - interval '6 minutes'")
        assert await red(running) == {"connector_heard"}
        running.replicas[0].start()
        whole = await until(lambda: _works(running), "a connector that is heard again")
        assert whole.last_pass_time.ToNanoseconds() > 0
        running.replicas[0].stop()
        await asyncio.to_thread(running.run, "forget", CHANNEL)
        forgotten = await answers(running)

    assert list(forgotten) == ["connector_heard"]
    assert forgotten["connector_heard"].finding.startswith("not connected")


async def _works(running: Processes) -> Any:
    found = (await answers(running))["connector_heard"]
    return found if found.result == readiness_pb.READINESS_RESULT_PASS else None


def _webhooks_of(running: Processes) -> str:
    return f"http://{running.replicas[0].address}/webhooks/{ACCOUNT}"
